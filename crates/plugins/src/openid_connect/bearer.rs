//! Access tokens in `Authorization` (RFC 6750): read, verified once, judged on every request.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use base::{Secret, UnixMillis};
use base64::{Engine, engine::general_purpose::STANDARD};
use gateway::{
    error::{ConfigError, ErrorBody},
    plugin::{Flow, HeaderEdit, PluginRequest, Reply, Verdict},
};
use http::{HeaderValue, header::AUTHORIZATION};
use jose::{Alg, CompactJws, KeySet, MAX_TOKEN_BYTES, VerifyingKey};
use oauth::{
    ProviderMetadata,
    bearer::{Authorization, BearerError, names_access_token, parse},
};
use rp::{
    bearer::{ClaimRules, Claims, CoreCache, Refusal, VerdictKey, Weigh, numeric_date},
    provider::{Introspected, ProviderError},
};
use serde_json::{Map, Value};

use super::{
    AccessTokenHeader, AudienceRule, BearerConfig, Config, Inner, Introspection, Verification, answer,
    browser::{X_ACCESS_TOKEN, X_USERINFO, encoded},
    tokens::{Failure, Unverified, may_be_newer, verify_by_jwks},
};

/// Bytes of verdicts that one core keeps.
const CACHE_BYTES: u64 = 8 << 20;
/// A verdict by signature is kept no longer, whatever the token says.
const VERIFIED_FOR: Duration = Duration::from_secs(300);

thread_local! {
    /// The verdicts of this core, over all routes and snapshots. A verdict is found by the digest of token and
    /// configuration, so that a route that is compiled again unchanged finds its own.
    static VERDICTS: RefCell<CoreCache<Verified, VerdictKey>> = RefCell::new(CoreCache::new(CACHE_BYTES));
}

/// The compiled rules for access tokens.
pub(super) struct Bearer {
    /// Digest of the whole configuration: the same token is another matter under another one.
    identity: [u8; 32],
    verification: Verifier,
    algs: Vec<Alg>,
    audience: AudienceRule,
    uncached: bool,
}

enum Verifier {
    Key(VerifyingKey),
    Jwks,
    Introspection(Introspection),
    Discovered(Introspection),
}

/// A token that was verified: all that is needed to judge it again.
struct Verified {
    claims: Claims,
    /// `X-Userinfo`, where it is asked for.
    userinfo: Option<HeaderValue>,
    /// The key set that verified it; another one verifies again.
    keys: Option<Arc<KeySet>>,
    /// When it is verified again.
    until: UnixMillis,
}

impl Weigh for Verified {
    fn weigh(&self) -> usize {
        self.claims.weight() + self.userinfo.as_ref().map_or(0, HeaderValue::len) + size_of::<Self>()
    }
}

impl Bearer {
    /// `identity` is the digest of all that a verdict depends on.
    pub(super) fn compile(
        bearer: &BearerConfig,
        config: &Config,
        identity: [u8; 32],
    ) -> Result<Self, ConfigError> {
        let algs = config.public_algs();
        let verification = match &bearer.verification {
            Verification::PublicKey(pem) => Verifier::Key(public_key(pem, &algs)?),
            Verification::Jwks => Verifier::Jwks,
            Verification::Introspection(introspection) => Verifier::Introspection(introspection.clone()),
            Verification::Discovered(introspection) => Verifier::Discovered(introspection.clone()),
        };
        let (audience, uncached) = (bearer.audience.clone(), bearer.uncached);
        Ok(Self { identity, verification, algs, audience, uncached })
    }

    /// What becomes of the request by its token. `None`: it has none, and need not have one.
    pub(super) fn judge(&self, inner: &Arc<Inner>, request: &mut PluginRequest<'_>) -> Option<Flow> {
        let values = request.head.headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
        let token = match parse(values) {
            Ok(Authorization::Bearer(token)) => token,
            Ok(Authorization::Absent | Authorization::Other) if inner.browser.is_some() => return None,
            Ok(Authorization::Absent | Authorization::Other) => {
                return Some(Denial::NoToken.flow(inner, request));
            }
            Err(BearerError::Malformed) => {
                return Some(Denial::Refused(Refusal::Malformed).flow(inner, request));
            }
            Err(error @ (BearerError::Repeated | BearerError::NoCredentials)) => {
                return Some(Denial::Unreadable(error.to_string()).flow(inner, request));
            }
        };
        // RFC 6750 section 2: one way to send a token at a time.
        if request.head.query().is_some_and(|query| names_access_token(query.as_bytes())) {
            let why = "the access token is sent in two ways".to_owned();
            return Some(Denial::Unreadable(why).flow(inner, request));
        }
        let outcome = match self.verified(inner, token) {
            Some(Ok(verified)) => {
                self.decide(inner, &verified).map(|()| inner.bearer_edits(token, &verified))
            }
            Some(Err(refusal)) => Err(Denial::Refused(refusal)),
            None => {
                let (inner, token) = (Arc::clone(inner), Secret::new(token.to_owned()));
                let (errors, html) = (request.errors(), request.head.prefers_html());
                inner.remove_own_cookies(request.head, request.peer.https);
                return Some(Flow::Suspend(Box::pin(
                    async move { inner.settle(&token, errors, html).await },
                )));
            }
        };
        Some(match outcome {
            Ok(edits) => {
                inner.remove_own_cookies(request.head, request.peer.https);
                edits.into_iter().flatten().for_each(|edit| edit.apply(&mut request.head.headers));
                Flow::Continue
            }
            Err(denial) => denial.flow(inner, request),
        })
    }

    /// The verdict that is cached, or that can be had without waiting. `None`: somebody must be asked.
    fn verified(&self, inner: &Inner, token: &str) -> Option<Result<Rc<Verified>, Refusal>> {
        if token.len() > MAX_TOKEN_BYTES {
            return Some(Err(Refusal::Malformed));
        }
        let now = inner.services.clock.now();
        let by_keys = self.is_verified_by_keys(token);
        let keys = if by_keys { self.current_keys(inner)? } else { None };
        if let Some(verified) = self.cached(token, keys.as_ref(), now) {
            return Some(Ok(verified));
        }
        if !by_keys {
            return None;
        }
        let metadata = inner.provider.metadata();
        if metadata.is_none() && inner.config.issuers.is_empty() {
            return None;
        }
        let jws = match CompactJws::parse(token) {
            Ok(jws) => jws,
            Err(error) => return Some(Err(error.into())),
        };
        let payload = match (&self.verification, &keys) {
            (Verifier::Key(key), _) => jws.verify(key),
            (_, Some(keys)) => keys.verify(&jws, &self.algs),
            (_, None) => return None,
        };
        match payload {
            Ok(payload) => {
                let verified = self.read_jwt(inner, metadata.as_deref(), &jws, &payload, keys, now);
                Some(verified.map(|verified| self.keep(token, verified)))
            }
            Err(error) if may_be_newer(&error) && !matches!(self.verification, Verifier::Key(_)) => None,
            Err(error) => Some(Err(self.signature_refusal(&jws, error))),
        }
    }

    /// Two dots make a JWS; anything else is opaque.
    fn is_verified_by_keys(&self, token: &str) -> bool {
        match self.verification {
            Verifier::Key(_) | Verifier::Jwks => true,
            Verifier::Introspection(_) => false,
            Verifier::Discovered(_) => token.bytes().filter(|byte| *byte == b'.').count() == 2,
        }
    }

    /// The keys that a token would be verified with now; inner `None`: the configured one. Outer `None`: none yet.
    #[allow(clippy::option_option)]
    fn current_keys(&self, inner: &Inner) -> Option<Option<Arc<KeySet>>> {
        match self.verification {
            Verifier::Key(_) => Some(None),
            _ => inner.provider.keys().map(|keys| Some(Arc::clone(&keys.set))),
        }
    }

    fn cached(&self, token: &str, keys: Option<&Arc<KeySet>>, now: UnixMillis) -> Option<Rc<Verified>> {
        if self.uncached {
            return None;
        }
        let key = VerdictKey::of(&self.identity, token.as_bytes());
        let verified = VERDICTS.with_borrow(|verdicts| verdicts.get(&key))?;
        let same_keys = match (&verified.keys, keys) {
            (Some(then), Some(now)) => Arc::ptr_eq(then, now),
            (None, None) => true,
            _ => false,
        };
        (same_keys && now < verified.until).then_some(verified)
    }

    fn keep(&self, token: &str, verified: Verified) -> Rc<Verified> {
        if self.uncached {
            return Rc::new(verified);
        }
        let key = VerdictKey::of(&self.identity, token.as_bytes());
        VERDICTS.with_borrow_mut(|verdicts| verdicts.insert(key, verified))
    }

    fn read_jwt(
        &self,
        inner: &Inner,
        metadata: Option<&ProviderMetadata>,
        jws: &CompactJws<'_>,
        payload: &[u8],
        keys: Option<Arc<KeySet>>,
        now: UnixMillis,
    ) -> Result<Verified, Refusal> {
        let issuer = |iss: &str, tid: Option<&str>| inner.config.is_issuer(metadata, iss, tid);
        let (claims, object) = self.rules(inner, &issuer).read_jwt(jws.header(), payload)?;
        let userinfo = userinfo(inner, &object);
        let until = claims.expires.min(now + VERIFIED_FOR).max(now);
        Ok(Verified { claims, userinfo, keys, until })
    }

    fn rules<'a>(
        &'a self,
        inner: &'a Inner,
        issuer: &'a dyn Fn(&str, Option<&str>) -> bool,
    ) -> ClaimRules<'a> {
        ClaimRules { client_id: &inner.client.client_id, audience_claim: &self.audience.claim, issuer }
    }

    /// A wrong algorithm is named where one is configured.
    fn signature_refusal(&self, jws: &CompactJws<'_>, error: jose::JoseError) -> Refusal {
        match (jws.alg(), error) {
            (Ok(alg), _) if !self.algs.contains(&alg) && self.algs.len() == 1 => Refusal::UnexpectedAlg(alg),
            (_, error) => error.into(),
        }
    }

    /// Judges a verified token: time, scopes, audience. On every request.
    fn decide(&self, inner: &Inner, verified: &Verified) -> Result<(), Denial> {
        let config = &inner.config;
        let now = inner.services.clock.now();
        verified.claims.check_times(now, config.expiry_leeway, config.slack).map_err(Denial::Refused)?;
        if !config.required_scopes.iter().all(|scope| verified.claims.has_scope(scope)) {
            return Err(Denial::Scopes);
        }
        let AudienceRule { required, is_client, .. } = self.audience;
        if (required || is_client) && !verified.claims.has_audience() {
            return Err(Denial::Forbidden("required audience claim not present"));
        }
        if is_client && !verified.claims.is_for(&inner.client.client_id) {
            return Err(Denial::Forbidden("mismatched audience"));
        }
        Ok(())
    }
}

/// Why a request is not let through by its token.
enum Denial {
    NoToken,
    Unreadable(String),
    Refused(Refusal),
    Scopes,
    Forbidden(&'static str),
    Provider(ProviderError),
}

impl Denial {
    fn flow(self, inner: &Inner, request: &PluginRequest<'_>) -> Flow {
        Flow::respond(self.reply(inner, request.errors(), request.head.prefers_html()))
    }

    fn reply(self, inner: &Inner, errors: ErrorBody, html: bool) -> Reply {
        match self {
            Self::NoToken => answer::no_token(inner, errors, html),
            Self::Unreadable(why) => answer::unreadable(inner, &why, errors, html),
            Self::Refused(refusal) => answer::refused(inner, refusal, errors, html),
            Self::Scopes => answer::scopes_missing(&inner.config.required_scopes),
            Self::Forbidden(why) => answer::forbidden(why),
            Self::Provider(error) => answer::unavailable(&error, errors, html),
        }
    }
}

impl From<Failure> for Denial {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => Self::Refused(refusal),
            Failure::Provider(error) => Self::Provider(error),
        }
    }
}

impl Inner {
    /// The verdict of a token about which somebody must be asked.
    async fn settle(self: Arc<Self>, token: &Secret<String>, errors: ErrorBody, html: bool) -> Verdict {
        let Some(bearer) = &self.bearer else { return Verdict::default() };
        let outcome = match bearer.ask(&self, token).await {
            Ok(verified) => {
                bearer.decide(&self, &verified).map(|()| self.bearer_edits(token.expose(), &verified))
            }
            Err(failure) => Err(failure.into()),
        };
        match outcome {
            Ok(edits) => Verdict { request: edits.into_iter().flatten().collect(), ..Verdict::default() },
            Err(denial) => Verdict::respond(denial.reply(&self, errors, html)),
        }
    }

    /// What the upstream is told of a token that is let through. `Authorization` is there already.
    fn bearer_edits(&self, token: &str, verified: &Verified) -> [Option<HeaderEdit>; 2] {
        let token = (self.config.headers.access_token == AccessTokenHeader::XAccessToken)
            .then(|| HeaderValue::from_str(token).ok())
            .flatten()
            .map(|mut value| {
                value.set_sensitive(true);
                HeaderEdit::Set(X_ACCESS_TOKEN, value)
            });
        [token, verified.userinfo.clone().map(|value| HeaderEdit::Set(X_USERINFO, value))]
    }
}

impl Bearer {
    async fn ask(&self, inner: &Inner, token: &Secret<String>) -> Result<Rc<Verified>, Failure> {
        match &self.verification {
            _ if self.is_verified_by_keys(token.expose()) => self.ask_for_keys(inner, token.expose()).await,
            Verifier::Introspection(introspection) => self.introspect(inner, introspection, token).await,
            Verifier::Discovered(introspection) => match self.introspect(inner, introspection, token).await {
                Err(Failure::Provider(ProviderError::Missing(_))) => Err(Refusal::Opaque.into()),
                other => other,
            },
            Verifier::Key(_) | Verifier::Jwks => Err(Refusal::Malformed.into()),
        }
    }

    async fn ask_for_keys(&self, inner: &Inner, token: &str) -> Result<Rc<Verified>, Failure> {
        let jws = CompactJws::parse(token).map_err(Refusal::from)?;
        let metadata = match inner.config.issuers.is_empty() {
            true => Some(inner.provider.ready().await?),
            false => inner.provider.metadata(),
        };
        let (payload, keys) = match &self.verification {
            Verifier::Key(key) => {
                (jws.verify(key).map_err(|error| self.signature_refusal(&jws, error))?, None)
            }
            _ => match verify_by_jwks(&inner.provider, &jws, &self.algs).await {
                Ok((payload, keys)) => (payload, Some(keys)),
                Err(Unverified::Jose(error)) => return Err(self.signature_refusal(&jws, error).into()),
                Err(Unverified::Provider(error)) => return Err(error.into()),
            },
        };
        let now = inner.services.clock.now();
        let verified = self.read_jwt(inner, metadata.as_deref(), &jws, &payload, keys, now)?;
        Ok(self.keep(token, verified))
    }

    async fn introspect(
        &self,
        inner: &Inner,
        introspection: &Introspection,
        token: &Secret<String>,
    ) -> Result<Rc<Verified>, Failure> {
        let read = |answer: &Introspected| self.read_introspection(inner, introspection, answer);
        let until = |answer: &Introspected| {
            read(answer).ok().filter(|_| !self.uncached).map(|verified| verified.until)
        };
        let (endpoint, reader) = (introspection.endpoint.as_deref(), &self.identity);
        let answer = inner.provider.introspected(&inner.client, endpoint, token, reader, until).await?;
        let verified = read(&answer.ok_or(Refusal::Inactive)?)?;
        Ok(self.keep(token.expose(), verified))
    }

    fn read_introspection(
        &self,
        inner: &Inner,
        introspection: &Introspection,
        answer: &Introspected,
    ) -> Result<Verified, Refusal> {
        let object = &answer.claims;
        let expires = expiry(introspection, object, answer.at)?;
        let metadata = inner.provider.metadata();
        // Without metadata an issuer in the answer cannot be compared; the endpoint is the operator's own word then.
        let unknown = metadata.is_none() && inner.config.issuers.is_empty();
        let issuer =
            |iss: &str, tid: Option<&str>| unknown || inner.config.is_issuer(metadata.as_deref(), iss, tid);
        let claims = self.rules(inner, &issuer).read_introspection(object, expires)?;
        let userinfo = userinfo(inner, object);
        let until = claims.expires.min(answer.at + introspection.max_age);
        Ok(Verified { claims, userinfo, keys: None, until })
    }
}

fn public_key(pem: &str, algs: &[Alg]) -> Result<VerifyingKey, ConfigError> {
    let key =
        VerifyingKey::from_pem(pem).map_err(|error| ConfigError::new("public_key", error.to_string()))?;
    let misfit = "the public key cannot verify this algorithm";
    key.restricted_to(algs).map_err(|_| ConfigError::new("token_signing_alg_values_expected", misfit))
}

/// Until when an introspection answer counts.
fn expiry(
    introspection: &Introspection,
    object: &Map<String, Value>,
    asked: UnixMillis,
) -> Result<UnixMillis, Refusal> {
    let exp = object.get("exp").map(|exp| numeric_date(exp).ok_or(Refusal::Claim("exp"))).transpose()?;
    let Some(claim) = &introspection.lifetime_claim else { return exp.ok_or(Refusal::Claim("exp")) };
    let seconds =
        object.get(claim).and_then(Value::as_u64).ok_or(Refusal::Claim("introspection_expiry_claim"))?;
    let until = asked + Duration::from_secs(seconds);
    Ok(exp.map_or(until, |exp| exp.min(until)))
}

fn userinfo(inner: &Inner, object: &Map<String, Value>) -> Option<HeaderValue> {
    let json = inner.config.headers.userinfo.then(|| serde_json::to_string(object).ok()).flatten()?;
    encoded(&STANDARD.encode(json))
}
