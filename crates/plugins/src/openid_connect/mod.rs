//! OpenID Connect in the request path: access tokens, and logins of browsers by the authorization
//! code flow, with what is known of the user handed to the upstream in headers.
//!
//! A request goes through [`Plugin::rewrite`] here. `bearer` judges a token; without one, `browser` looks for a
//! session, and sends to `login`, `callback`, `refresh` or `logout`. A request that is warm, whose token was verified
//! or whose cookie was opened on this core before, does no cryptography but one SHA-256, reads no JSON, takes no lock
//! and waits for nothing.

mod additions;
mod answer;
mod assertion;
mod backchannel;
mod bearer;
mod browser;
mod callback;
mod caller;
mod claim_headers;
mod claims;
mod client;
mod config;
mod frontchannel;
mod id_token;
mod issuers;
mod known;
mod login;
mod login_config;
mod logout;
mod proof;
mod refresh;
mod shared;
mod source;
#[cfg(test)]
pub(crate) mod tests;
mod token_headers;
mod tokens;
mod userinfo;
mod visitor;

use std::{any::Any, fmt, sync::Arc};

use aws_lc_rs::digest;
use base::{Clock, Keyring, Random, Secret};
use gateway::{
    error::ConfigError,
    plugin::{Flow, Phases, Plugin, PluginRequest, RequestHead, Suspended},
};
use http::HeaderName;
use rp::{
    assertion::AssertionKeys,
    bearer::{Revocations, SeenProofs},
    provider::{Client, Provider, ProviderError, Providers},
    session::{EndedSessions, RedisLinks, Refreshes, UsedStates, UsedTokens},
};

pub use additions::{Additions, PassedOn, Replay};
pub use assertion::AssertionConfig;
pub use caller::{ConsumerConfig, ConsumerName, GroupsClaim, Judging};
pub use claim_headers::{CREDENTIAL_IDENTIFIER, ClaimHeader};
pub use claims::{ClaimRef, ClaimRule, ClaimTest, Document};
pub use client::{ClientAssertionConfig, DeploymentKeys, PossessionConfig};
pub use config::{
    AccessTokenHeader, AudienceRule, BearerConfig, Calls, Config, Headers, Introspection, LoginConfig,
    Pushing, Unauthenticated, Verification, Words,
};

pub use issuers::IssuerConfig;
pub use login_config::{Contents, DecryptionKeys, LoginEnd, LoginPart, LogoutConfig, ResponseMode, WayBack};
pub use proof::{PROOF_AGE, RequiredProof};
pub(crate) use source::ACCESS_TOKEN;
pub use source::{Places, TokenSource};
pub use token_headers::{TokenHeader, TokenPart};

pub(crate) use caller::{Known as KnownCaller, Membership, NoMember, judge_token, member_of};
pub(crate) use claim_headers::{check as check_claim_headers, remove_from as remove_headers};
pub(crate) use client::{client_of, provider_of};
pub(crate) use token_headers::{check as check_token_headers, jwk_of, told as told_tokens};
pub(crate) use tokens::{Unverified, verify_by_jwks};

use crate::json_schema::JsonSchema;
use bearer::Bearer;
use browser::Browser;

/// What the instances of this plugin share: one each per process, made by the binary.
#[derive(Clone)]
pub struct Services {
    /// All providers in use.
    pub providers: Providers,
    /// The process's clock.
    pub clock: Clock,
    /// The process's randomness.
    pub random: Random,
    /// Seals the cookies of routes that have no secret of their own; the first key seals, all open.
    pub session_keys: Keyring,
    /// Signs what the gate vouches for.
    pub assertion_keys: Arc<AssertionKeys>,
    /// States that have bought their exchange.
    pub used_states: Arc<UsedStates>,
    /// Sessions that have ended.
    pub ended: Arc<EndedSessions>,
    /// Logout tokens that have done their work.
    pub used_logouts: Arc<UsedTokens>,
    /// Connections to the Redis of routes that share their sessions.
    pub redis: RedisLinks,
    /// Refreshes that are running, or ran just now.
    pub refreshes: Arc<Refreshes>,
    /// Proofs of possession that were shown.
    pub proofs: Arc<SeenProofs>,
    /// Tokens that the provider of this process took back.
    pub revocations: Arc<Revocations>,
}

/// Compiles `config` into a plugin. What it cached stays valid when the same configuration is compiled again.
///
/// # Errors
///
/// When the configuration could not work or would not be safe; the field is named as in the APISIX dialect.
pub fn compile(config: Config, services: &Services) -> Result<Arc<dyn Plugin>, ConfigError> {
    Ok(Arc::new(compile_whole(config, services)?))
}

/// As [`compile`], for a plugin that asks this one in an order of its own.
pub(crate) fn compile_whole(mut config: Config, services: &Services) -> Result<OpenidConnect, ConfigError> {
    config.check()?;
    if let Some(login) = &config.login {
        // What a session does not keep, the upstream is not told.
        config.headers.id_token &= login.contents.claims;
        config.headers.raw_id_token &= login.contents.id_token;
    }
    let provider = provider_of(&config.discovery, &config.issuers, &config.calls, &services.providers)?;
    let introspection = config.bearer.as_ref().and_then(BearerConfig::introspection);
    let introspection = introspection.and_then(|introspection| introspection.how.endpoint.as_ref());
    let pushing = config.login.as_ref().and_then(|login| login.pushing.endpoint.as_ref());
    for (field, endpoint) in [("introspection_endpoint", introspection), ("par.endpoint", pushing)] {
        let refused = |error: ProviderError| ConfigError::new(field, error.to_string());
        endpoint.map_or(Ok(()), |endpoint| provider.permits(endpoint)).map_err(refused)?;
    }
    let client = config.client(&services.random)?;
    let schema = config.claim_schema.as_ref().map(JsonSchema::compile).transpose();
    let claim_schema = schema.map_err(|error| ConfigError::new("claim_schema", error.to_string()))?;
    let identity = identity(&config);
    let bearer = config.bearer.as_ref();
    let bearer = bearer.map(|bearer| Bearer::compile(bearer, &config, &provider, services, identity));
    let bearer = bearer.transpose()?;
    let browser = config
        .login
        .as_ref()
        .map(|login| Browser::compile(login, &config, identity, services))
        .transpose()?;
    let services = services.clone();
    let inner = Inner { config, provider, client, claim_schema, bearer, browser, services };
    Ok(OpenidConnect(Arc::new(inner)))
}

/// The compiled plugin.
pub(crate) struct OpenidConnect(Arc<Inner>);

/// What a suspended phase takes with it.
struct Inner {
    config: Config,
    provider: Arc<Provider>,
    client: Client,
    claim_schema: Option<JsonSchema>,
    bearer: Option<Bearer>,
    browser: Option<Browser>,
    services: Services,
}

impl Plugin for OpenidConnect {
    fn name(&self) -> &'static str {
        "openid-connect"
    }

    fn phases(&self) -> Phases {
        Phases::REWRITE
    }

    /// An access token wins over a session cookie; their claims are never mixed.
    fn rewrite(&self, request: &mut PluginRequest<'_>) -> Flow {
        self.prepare(request)
            .or_else(|| self.by_token(request))
            .or_else(|| self.by_session(request))
            .unwrap_or_else(|| self.by_nothing(request))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl OpenidConnect {
    /// Takes from the request what only the gate may say, and answers where it is asked for its own keys.
    pub(crate) fn prepare(&self, request: &mut PluginRequest<'_>) -> Option<Flow> {
        let inner = &self.0;
        let assertion = inner.config.assertion.as_ref();
        if let Some(reply) =
            assertion.and_then(|assertion| assertion.published(request.head, &inner.services.assertion_keys))
        {
            return Some(Flow::respond(reply));
        }
        let headers = &inner.config.headers;
        if assertion.is_some() || !inner.config.claim_headers.is_empty() || !headers.named.is_empty() {
            let claims = inner.config.claim_headers.iter().map(|header| &header.name);
            // In `Authorization` may be what the caller is known by; it is replaced by what it is known as.
            let tokens = headers.named.iter().filter(|header| !header.downstream).map(|header| &header.name);
            let read = |name: &HeaderName| inner.bearer.as_ref().is_some_and(|bearer| bearer.reads(name));
            let tokens = tokens.filter(|name| **name != http::header::AUTHORIZATION && !read(name));
            let names = claims.chain(tokens).chain(assertion.map(|assertion| &assertion.header));
            claim_headers::remove_from(request.head, names);
        }
        None
    }

    /// What becomes of the request by the access token that it brings. `None`: it brings none.
    pub(crate) fn by_token(&self, request: &mut PluginRequest<'_>) -> Option<Flow> {
        self.0.bearer.as_ref()?.judge(&self.0, request)
    }

    /// What becomes of the request by its cookies, or because it belongs to a login or logout. `None`: it has no session.
    pub(crate) fn by_session(&self, request: &mut PluginRequest<'_>) -> Option<Flow> {
        let browser = self.0.browser.as_ref()?;
        browser.judge_body(&self.0, request).or_else(|| browser.judge(&self.0, request))
    }

    /// What becomes of a request that has neither.
    pub(crate) fn by_nothing(&self, request: &mut PluginRequest<'_>) -> Flow {
        match &self.0.browser {
            Some(_) => self.0.turn_away(request),
            None => Flow::respond(bearer::without_token(&self.0, request)),
        }
    }

    /// Whether a token in the body counts.
    pub(crate) fn reads_bodies(&self) -> bool {
        self.0.bearer.as_ref().is_some_and(Bearer::reads_bodies)
    }

    /// Whether the upstream does not see tokens where clients sent them.
    pub(crate) fn hides_tokens(&self) -> bool {
        self.0.config.bearer.as_ref().is_some_and(|bearer| bearer.hides)
    }

    /// Judges a token that was found in the body of `request`.
    pub(crate) fn judge_later(
        &self,
        request: &mut PluginRequest<'_>,
    ) -> impl FnOnce(Secret<String>) -> Suspended + use<> {
        bearer::later(&self.0, request)
    }

    /// Takes the token out of what goes upstream.
    pub(crate) fn hide_token(&self, head: &mut RequestHead) {
        if let Some(bearer) = &self.0.bearer {
            bearer.hide(head, false);
        }
    }

    /// The token of a request, as far as it is one.
    pub(crate) fn token<'r>(&self, head: &'r RequestHead) -> Option<&'r str> {
        self.0.bearer.as_ref()?.token(head)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenidConnect").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Digest of a whole configuration but its secrets, none of which a verdict about a token depends on. It is taken over
/// the debug text, so that a field added later cannot be forgotten in it.
fn identity(config: &Config) -> [u8; 32] {
    let mut out = [0; 32];
    let digest = digest::digest(&digest::SHA256, format!("{config:?}").as_bytes());
    out.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    out
}
