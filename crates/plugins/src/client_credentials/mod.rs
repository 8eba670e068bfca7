//! Machine callers that know a client id and a secret, and no token: the gate takes the two, obtains an access token
//! for them from the provider (RFC 6749 section 4.4), and sends the request on with the token in their place.
//!
//! A token is obtained once for each client, secret and configuration, whichever core and however many requests ask
//! for it ([`ClientTokens`]), and used until shortly before its end. It is found again by a keyed digest of all that
//! it depends on, the secret included, so that a wrong secret never meets a right one's token. A warm request does one
//! HMAC and waits for nothing.

mod acquire;
mod config;
mod credentials;
#[cfg(test)]
mod tests;
mod tokens;

use std::{any::Any, cell::RefCell, fmt, sync::Arc};

use base::Clock;
use gateway::{
    error::{ConfigError, ErrorBody},
    plugin::{Flow, HeaderEdit, Phases, Plugin, PluginRequest, Reply, RequestHead, Verdict},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use oauth::bearer::challenge;
use rp::{
    bearer::CoreCache,
    provider::{Provider, Providers, SourceConfig},
};

pub use config::{Answers, CacheRules, Calls, Config, Sources, TokenHeader, Verification};
pub use tokens::ClientTokens;

use credentials::{Credentials, Place};
use tokens::{Failure, Kept, Token};

/// Bytes of tokens that one core keeps.
const CORE_BYTES: u64 = 4 << 20;

thread_local! {
    /// The tokens this core has used, over all routes and snapshots.
    static TOKENS: RefCell<CoreCache<Kept>> = RefCell::new(CoreCache::new("client_credentials", CORE_BYTES));
}

/// What the instances of this plugin share: one each per process, made by the binary.
#[derive(Clone)]
pub struct Services {
    /// All providers in use.
    pub providers: Providers,
    /// The process's clock.
    pub clock: Clock,
    /// The tokens of all clients.
    pub tokens: Arc<ClientTokens>,
}

/// Compiles `config` into a plugin. Tokens that were obtained under the same configuration stay in use.
///
/// # Errors
///
/// When the configuration could not work or would not be safe; the field is named as in the Kong dialect.
pub fn compile(config: Config, services: &Services) -> Result<Arc<dyn Plugin>, ConfigError> {
    config.check()?;
    let source = SourceConfig {
        discovery_url: config.discovery.clone(),
        verify_tls: config.calls.verify_tls,
        timeout: config.calls.timeout,
        jwks_ttl: config.calls.jwks_ttl,
        metadata_ttl: None,
        keep_alive: true,
        proxies: None,
        issuers: config.issuers.clone(),
    };
    let provider = services.providers.provider(&source);
    let provider = provider.map_err(|error| ConfigError::new("issuer", error.to_string()))?;
    let identity = config.identity();
    Ok(Arc::new(ClientCredentials(Arc::new(Inner {
        config,
        identity,
        provider,
        services: services.clone(),
    }))))
}

/// The compiled plugin.
struct ClientCredentials(Arc<Inner>);

/// What a suspended phase takes with it.
struct Inner {
    config: Config,
    /// Digest of everything in the configuration that a token depends on.
    identity: [u8; 32],
    provider: Arc<Provider>,
    services: Services,
}

impl Plugin for ClientCredentials {
    fn name(&self) -> &'static str {
        "client-credentials"
    }

    fn phases(&self) -> Phases {
        Phases::REWRITE
    }

    fn rewrite(&self, request: &mut PluginRequest<'_>) -> Flow {
        let inner = &self.0;
        if let Some(header) = &inner.config.upstream_header {
            header.clear(&mut request.head.headers);
        }
        if !inner.config.preflight && request.head.method == Method::OPTIONS {
            // An upstream that takes a token in `Authorization` for the gate's must not see one that nobody judged.
            if inner
                .config
                .upstream_header
                .as_ref()
                .is_some_and(|header| header.name == header::AUTHORIZATION)
            {
                request.head.headers.remove(header::AUTHORIZATION);
            }
            return Flow::Continue;
        }
        let Some((credentials, place)) = credentials::find(inner.config.sources, request.head) else {
            return Flow::respond(inner.unauthorized(request.errors(), false));
        };
        if inner.config.hide_credentials {
            place.hide(request.head);
        }
        let key = inner.services.tokens.key(&inner.identity, &credentials);
        if let Some(token) = inner.known(&key) {
            inner.hand_over(&token, place).apply_all(request.head);
            return Flow::Continue;
        }
        let (inner, errors) = (Arc::clone(inner), request.errors());
        Flow::Suspend(Box::pin(async move { inner.settle(key, credentials, place, errors).await }))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Changes to the headers that go upstream: two at most.
struct Edits([Option<HeaderEdit>; 2]);

impl Edits {
    fn apply_all(self, head: &mut RequestHead) {
        self.0.into_iter().flatten().for_each(|edit| edit.apply(&mut head.headers));
    }
}

impl Inner {
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
    async fn settle(
        self: Arc<Self>,
        key: [u8; 32],
        credentials: Credentials,
        place: Place,
        errors: ErrorBody,
    ) -> Verdict {
        let outcome = match &self.config.cache {
            None => self.acquire(&credentials).await.map(Arc::new),
            Some(_) => {
                let work = {
                    let this = Arc::clone(&self);
                    async move { this.acquire(&credentials).await }
                };
                self.services.tokens.obtain(key, work).await
            }
        };
        match outcome {
            Ok(token) => {
                if self.services.clock.now() < token.until {
                    TOKENS.with_borrow_mut(|tokens| drop(tokens.insert(key, Kept(Arc::clone(&token)))));
                }
                let edits = self.hand_over(&token, place).0;
                Verdict { request: edits.into_iter().flatten().collect(), ..Verdict::default() }
            }
            Err(Failure::Denied) => Verdict::respond(self.unauthorized(errors, true)),
            Err(Failure::Unavailable) => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Verdict::respond(errors.reply(status, &self.config.answers.unexpected, false))
            }
        }
    }

    /// What the upstream sees of the caller: the token, and the credentials only where they are not to be hidden.
    fn hand_over(&self, token: &Token, place: Place) -> Edits {
        let header = self.config.upstream_header.as_ref();
        let set = header.and_then(|header| Some(HeaderEdit::Set(header.name.clone(), header.value(token)?)));
        let hide = self.config.hide_credentials && place == Place::Header;
        let replaced = header.is_some_and(|header| header.name == header::AUTHORIZATION);
        Edits([(hide && !replaced).then_some(HeaderEdit::Remove(header::AUTHORIZATION)), set])
    }

    /// 401 to a caller without credentials, or whose credentials the provider does not accept.
    fn unauthorized(&self, errors: ErrorBody, refused: bool) -> Reply {
        let answers = &self.config.answers;
        let mut reply = errors.reply(StatusCode::UNAUTHORIZED, &answers.unauthorized, false);
        // RFC 6750 section 3.1: a request without credentials is told no error code.
        let error: &[_] = if refused && answers.error_code { &[("error", "invalid_token")] } else { &[] };
        if let Ok(value) = HeaderValue::from_str(&challenge(&answers.realm, error)) {
            reply.headers_mut().insert(header::WWW_AUTHENTICATE, value);
        }
        reply
    }
}

impl TokenHeader {
    /// Takes out what the client sent under this name, in every spelling that an upstream might fold into it. In
    /// `Authorization` are the credentials; it is replaced when they have become a token.
    fn clear(&self, headers: &mut HeaderMap) {
        if self.name == header::AUTHORIZATION {
            return;
        }
        let folded = |name: &str| -> Vec<u8> { name.bytes().filter(|byte| !b"-_.".contains(byte)).collect() };
        let own = folded(self.name.as_str());
        let found: Vec<_> = headers.keys().filter(|name| folded(name.as_str()) == own).cloned().collect();
        for name in found {
            headers.remove(name);
        }
    }

    fn value(&self, token: &Token) -> Option<HeaderValue> {
        if self.bearer { Some(token.bearer.clone()) } else { token.bare() }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCredentials").field("config", &self.config).finish_non_exhaustive()
    }
}
