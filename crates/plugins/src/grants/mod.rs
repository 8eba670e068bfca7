//! Callers that bring something the provider gives a token for: a client's id and secret, a user's name and password, a
//! refresh token, or a token that is exchanged for another. The gate obtains an access token for it, and sends the
//! request on with that token in its place.
//!
//! A token is obtained once for each caller and configuration, whichever core and however many requests ask for it
//! ([`ClientTokens`]), and used until shortly before its end. It is found again by a keyed digest of all that it depends
//! on, the secret included, so that a wrong secret never meets a right one's token. A warm request does one HMAC and
//! waits for nothing.

mod acquire;
mod config;
mod credentials;
#[cfg(test)]
mod tests;
mod tokens;

use std::{borrow::Cow, cell::RefCell, fmt, sync::Arc};

use base::{Clock, Random};
use gateway::{
    consumer::Consumers,
    error::{ConfigError, ErrorBody},
    plugin::{Flow, HeaderEdit, PluginRequest, Reply, RequestHead, Suspended, Verdict},
};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use oauth::bearer::challenge;
use rp::{
    bearer::CoreCache,
    provider::{Client, Further, Provider, Providers, TokenAuth},
};

pub use config::{
    Answers, CacheRules, Conditions, Config, Exchange, ExchangedIssuer, Kind, Sources, Verification, Way,
};
pub use tokens::ClientTokens;

use crate::{
    fields::Fields,
    openid_connect::{Calls, ClientAssertionConfig, Membership, NoMember, client_of, member_of, provider_of},
    query,
};
pub(crate) use credentials::Found;
use credentials::{Credentials, Means, Place};
use tokens::{Failure, Kept, Token};

/// Bytes of tokens that one core keeps.
const CORE_BYTES: u64 = 4 << 20;

thread_local! {
    /// The tokens this core has used, over all routes and snapshots.
    static TOKENS: RefCell<CoreCache<Kept>> = RefCell::new(CoreCache::new("grants", CORE_BYTES));
}

/// What the instances of this plugin share: one each per process, made by the binary.
#[derive(Clone)]
pub struct Services {
    /// All providers in use.
    pub providers: Providers,
    /// The process's clock.
    pub clock: Clock,
    /// The process's randomness.
    pub random: Random,
    /// The tokens of all callers.
    pub tokens: Arc<ClientTokens>,
}

/// Compiles `config`. Tokens that were obtained under the same configuration stay in use.
///
/// # Errors
///
/// When the configuration could not work or would not be safe; the field is named as in the Kong dialect.
pub fn compile(config: Config, services: &Services) -> Result<Grants, ConfigError> {
    config.check()?;
    let provider = provider_of(&config.discovery, &config.issuers, &config.calls, &services.providers)?;
    let own = config.own.as_ref();
    let own = own.map(|(id, secret)| client_of(id, secret.as_ref(), &config.calls, &services.random));
    let own = own.transpose()?;
    let identity = config.identity();
    let callers = callers(&config.calls);
    Ok(Grants(Arc::new(Inner { config, identity, provider, own, callers, services: services.clone() })))
}

/// Whoever names a client must show its secret: no key of the gate's vouches for it, and none goes without.
fn callers(calls: &Calls) -> Calls {
    let token_auth = match calls.token_auth {
        TokenAuth::PrivateKeyJwt | TokenAuth::None => TokenAuth::Basic,
        secret => secret,
    };
    let assertion = ClientAssertionConfig { private_key: None, deployments: None, ..calls.assertion.clone() };
    Calls { token_auth, assertion, possession: None, ..calls.clone() }
}

/// The compiled form.
#[derive(Clone)]
pub struct Grants(Arc<Inner>);

/// What a suspended phase takes with it.
struct Inner {
    config: Config,
    /// Digest of everything in the configuration that a token depends on.
    identity: [u8; 32],
    provider: Arc<Provider>,
    /// The gate's own client.
    own: Option<Client>,
    /// How the provider is called in the name of callers, who have nothing but their secret to prove themselves by.
    callers: Calls,
    services: Services,
}

/// What of a request its verdict needs when the request itself is out of reach.
pub(crate) struct Asking {
    errors: ErrorBody,
    consumers: Arc<Consumers>,
    args: Args,
}

/// What of the token request is the caller's.
#[derive(Clone, Default)]
struct Args {
    params: Vec<(String, String)>,
    headers: Further,
}

impl Asking {
    pub(crate) fn of(grants: &Grants, request: &PluginRequest<'_>) -> Self {
        Self {
            errors: request.errors(),
            consumers: Arc::clone(request.consumers),
            args: grants.0.args_of(request.head),
        }
    }

    /// With what the body has of the caller's parameters that the head has not.
    pub(crate) fn with(mut self, grants: &Grants, fields: &Fields) -> Self {
        for name in &grants.0.config.client_args {
            if !self.args.params.iter().any(|(own, _)| own == name) {
                self.args.params.extend(fields.one(name).map(|value| (name.clone(), value)));
            }
        }
        self
    }
}

impl Grants {
    /// What the head of a request brings.
    pub(crate) fn find(&self, head: &RequestHead) -> Option<Found> {
        credentials::find(&self.0.config.ways, head)
    }

    /// What its body brings.
    pub(crate) fn find_in_body(&self, fields: &Fields) -> Option<Found> {
        credentials::find_in_body(&self.0.config.ways, fields)
    }

    /// Whether the body is looked at.
    pub(crate) fn reads_bodies(&self) -> bool {
        self.0.config.ways.iter().any(|way| way.sources.body)
    }

    pub(crate) fn hides_credentials(&self) -> bool {
        self.0.config.hide_credentials
    }

    /// `token`, if it is one that is exchanged for another. Whether it is good is for the provider to say.
    pub(crate) fn exchanged(&self, token: &str) -> Option<Found> {
        let exchange = self.0.config.exchange.as_ref()?;
        acquire::is_exchanged(exchange, token).then(|| Found::token(token))
    }

    /// Takes from the request what only the gate may say.
    pub(crate) fn prepare(&self, head: &mut RequestHead) {
        let config = &self.0.config;
        let (tokens, claims) = (config.headers.iter(), config.judging.headers.iter());
        let tokens = tokens.filter(|header| !header.downstream).map(|header| &header.name);
        // In `Authorization` are the credentials; it is replaced when they have become a token.
        let names = tokens.filter(|name| **name != header::AUTHORIZATION);
        let names = names.chain(claims.map(|header| &header.name));
        crate::openid_connect::remove_headers(head, names);
    }

    /// What becomes of a request with what was found in its head.
    pub(crate) fn judge(&self, found: Found, request: &mut PluginRequest<'_>) -> Flow {
        let inner = &self.0;
        if inner.config.hide_credentials {
            found.place.hide(request.head);
        }
        let args = inner.args_of(request.head);
        let known = found.means.iter().find_map(|means| inner.known(&inner.key(*means, &found, &args)));
        if let Some(token) = known {
            let verdict = inner.let_in(&token, &found.place, request.errors(), request.consumers);
            let Verdict { request: edits, response, attach, bring, reply, .. } = verdict;
            if let Some(reply) = reply {
                return Flow::Respond(reply);
            }
            edits.into_iter().for_each(|edit| edit.apply(&mut request.head.headers));
            request.response.extend(response);
            if let Some(who) = attach {
                request.attach(who);
            }
            if let Some(brought) = bring {
                request.bring(brought);
            }
            return Flow::Continue;
        }
        let asking = Asking { errors: request.errors(), consumers: Arc::clone(request.consumers), args };
        Flow::Suspend(self.judge_later(found, asking))
    }

    /// What becomes of it where the request is out of reach.
    pub(crate) fn judge_later(&self, found: Found, asking: Asking) -> Suspended {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.settle(found, asking).await })
    }

    /// The answer to a request that brings nothing.
    pub(crate) fn refuse(&self, errors: ErrorBody) -> Reply {
        self.0.unauthorized(errors, None)
    }
}

impl Inner {
    /// What the caller may choose and does, in its query or its headers.
    fn args_of(&self, head: &RequestHead) -> Args {
        let of_header = |name: &str| {
            let name = HeaderName::from_bytes(name.replace('_', "-").as_bytes()).ok()?;
            head.headers.get(name)?.to_str().ok().map(str::to_owned)
        };
        let names = self.config.client_args.iter();
        let found = names.filter_map(|name| {
            let value = head.query().and_then(|query| query::one(query, name)).or_else(|| of_header(name))?;
            Some((name.clone(), value))
        });
        let further = self.config.calls.additions.passed.of(head).further;
        let headers = Further { token_headers: further.token_headers, ..Further::default() };
        Args { params: found.collect(), headers }
    }

    fn key(&self, means: Means, found: &Found, args: &Args) -> [u8; 32] {
        self.services.tokens.key(&self.identity, means, &found.credentials, args)
    }

    /// The token under `key`, where this core has one that is still good.
    fn known(&self, key: &[u8; 32]) -> Option<Arc<Token>> {
        self.config.cache.as_ref()?;
        TOKENS.with_borrow_mut(|tokens| {
            let token = Arc::clone(&tokens.get(key)?.0);
            if self.services.clock.now() < token.until {
                return Some(token);
            }
            tokens.remove(key);
            None
        })
    }

    /// Obtains the token for a request that found none here.
    async fn settle(self: Arc<Self>, found: Found, asking: Asking) -> Verdict {
        let Asking { errors, consumers, args } = asking;
        // What one of them was found to be before, on whichever core, is not asked about again.
        let kept = |means: &Means| {
            self.config.cache.as_ref()?;
            let key = self.key(*means, &found, &args);
            let token = self.services.tokens.kept(&key)?;
            self.remember(key, &token);
            Some(token)
        };
        let mut outcome = found.means.iter().find_map(kept).ok_or(Failure::Denied);
        if outcome.is_err() {
            for means in &found.means {
                outcome = Arc::clone(&self).obtain(*means, &found, &args).await;
                // A user's name may be a client's id; trouble is no answer to whose it is.
                if !matches!(outcome, Err(Failure::Denied)) {
                    break;
                }
            }
        }
        if let (Err(Failure::Unavailable), Some(rules)) = (&outcome, &self.config.cache)
            && !rules.kept_on.is_zero()
        {
            let tokens = &self.services.tokens;
            let kept_on = |means: &Means| tokens.keep_on(self.key(*means, &found, &args), rules.kept_on);
            outcome = found.means.iter().find_map(kept_on).ok_or(Failure::Unavailable);
        }
        match outcome {
            Ok(token) => self.let_in(&token, &found.place, errors, &consumers),
            Err(why @ Failure::Unavailable) => Verdict::respond(self.unexpected(errors, why)),
            Err(why) => Verdict::respond(self.unauthorized(errors, Some(why))),
        }
    }

    async fn obtain(
        self: Arc<Self>,
        means: Means,
        found: &Found,
        args: &Args,
    ) -> Result<Arc<Token>, Failure> {
        let (credentials, args) = (found.credentials.clone(), args.clone());
        let key = self.key(means, found, &args);
        if self.config.cache.is_none() {
            return self.acquire(means, &credentials, &args).await.map(Arc::new);
        }
        let work = {
            let this = Arc::clone(&self);
            async move { this.acquire(means, &credentials, &args).await }
        };
        let tokens = &self.services.tokens;
        if tokens.is_refused(&key) {
            return Err(Failure::Denied);
        }
        let obtained = tokens.obtain(key, work).await;
        if let (Err(Failure::Denied), Some(rules)) = (&obtained, &self.config.cache) {
            tokens.refuse(key, rules.refused);
        }
        let token = obtained?;
        self.remember(key, &token);
        Ok(token)
    }

    /// Has this core know a token that is still good, so that the next request with it waits for nothing.
    fn remember(&self, key: [u8; 32], token: &Arc<Token>) {
        if self.services.clock.now() < token.until {
            TOKENS.with_borrow_mut(|tokens| drop(tokens.insert(key, Kept(Arc::clone(token)))));
        }
    }

    /// What becomes of a request whose caller has this token.
    fn let_in(&self, token: &Token, place: &Place, errors: ErrorBody, consumers: &Consumers) -> Verdict {
        let config = &self.config;
        let Ok(Membership { attach, bring }) = self.admit(token, consumers) else {
            return Verdict::respond(self.forbidden(errors));
        };
        let set = |(name, value): &(HeaderName, HeaderValue)| HeaderEdit::Set(name.clone(), value.clone());
        // The caller's own, where the token does not stand in its place.
        let replaced = token.told.iter().any(|(name, _)| *name == header::AUTHORIZATION);
        let hidden = config.hide_credentials && matches!(place, Place::Authorization | Place::Token);
        let removed = (hidden && !replaced).then_some(HeaderEdit::Remove(header::AUTHORIZATION));
        let told = token.told.iter().chain(&token.known.told);
        Verdict {
            request: removed.into_iter().chain(told.map(set)).collect(),
            response: token.answered.iter().chain(&token.known.back).cloned().collect(),
            attach,
            bring,
            ..Verdict::default()
        }
    }

    /// Who a caller with this token is; the error: it may not.
    fn admit(&self, token: &Token, consumers: &Consumers) -> Result<Membership, NoMember> {
        if token.known.forbidden {
            return Err(NoMember);
        }
        member_of(&token.known, self.config.judging.consumer.as_ref(), consumers)
    }

    /// 403 to a caller whose token lacks what the route demands, or who is no consumer.
    fn forbidden(&self, errors: ErrorBody) -> Reply {
        let answers = &self.config.answers;
        if let Some(place) = &answers.forbidden_redirect {
            return redirect(place);
        }
        let text =
            answers.with_reason(&answers.forbidden, &"the token does not suffice, or is no consumer's");
        let mut reply = errors.reply(StatusCode::FORBIDDEN, &text, false);
        let error: &[_] = if answers.error_code { &[("error", "insufficient_scope")] } else { &[] };
        if let Ok(value) = HeaderValue::from_str(&challenge(&answers.realm, error)) {
            reply.headers_mut().insert(header::WWW_AUTHENTICATE, value);
        }
        reply
    }

    /// 401 to a caller without credentials, or whose credentials the provider does not accept.
    fn unauthorized(&self, errors: ErrorBody, refused: Option<Failure>) -> Reply {
        let answers = &self.config.answers;
        if let Some(place) = &answers.unauthorized_redirect {
            return redirect(place);
        }
        let why = refused.as_ref().map_or(&"the request has no credentials" as &dyn fmt::Display, |why| why);
        let text = answers.with_reason(&answers.unauthorized, why);
        let mut reply = errors.reply(StatusCode::UNAUTHORIZED, &text, false);
        // RFC 6750 section 3.1: a request without credentials is told no error code.
        let error: &[_] =
            if refused.is_some() && answers.error_code { &[("error", "invalid_token")] } else { &[] };
        if let Ok(value) = HeaderValue::from_str(&challenge(&answers.realm, error)) {
            reply.headers_mut().insert(header::WWW_AUTHENTICATE, value);
        }
        reply
    }

    /// 500 where the provider cannot be asked.
    fn unexpected(&self, errors: ErrorBody, why: Failure) -> Reply {
        let answers = &self.config.answers;
        match &answers.unexpected_redirect {
            Some(place) => redirect(place),
            None => {
                let text = answers.with_reason(&answers.unexpected, &why);
                errors.reply(StatusCode::INTERNAL_SERVER_ERROR, &text, false)
            }
        }
    }
}

impl Answers {
    fn with_reason<'t>(&self, text: &'t str, why: &dyn fmt::Display) -> Cow<'t, str> {
        if self.shows_reasons { format!("{text}: {why}").into() } else { text.into() }
    }
}

/// 302, kept by no cache.
fn redirect(place: &str) -> Reply {
    let mut reply = Response::new(bytes::Bytes::new());
    *reply.status_mut() = StatusCode::FOUND;
    let headers = reply.headers_mut();
    headers.extend(HeaderValue::from_str(place).ok().map(|place| (header::LOCATION, place)));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grants").field("config", &self.0.config).finish_non_exhaustive()
    }
}
