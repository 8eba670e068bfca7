//! Access tokens (RFC 6750): read, verified once, judged on every request.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use aws_lc_rs::digest;
use base::{Secret, UnixMillis};
use base64::{Engine, engine::general_purpose::STANDARD};
use gateway::{
    error::{ConfigError, ErrorBody},
    plugin::{Flow, HeaderEdit, PluginRequest, Reply, RequestHead, SEALED_COOKIE, Verdict},
};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, COOKIE},
};
use jose::{CompactJws, KeySet, MAX_TOKEN_BYTES};
use rp::{
    bearer::{Claims, CoreCache, Refusal, VerdictKey, Weigh, numeric_date},
    provider::{Introspected, Provider, ProviderError},
    session::SharedProofs,
};
use serde_json::{Map, Value};

use super::{
    AccessTokenHeader, BearerConfig, Config, Inner, Introspection, Services, Verification, answer,
    browser::{X_ACCESS_TOKEN, X_USERINFO, encoded},
    caller::{Caller, Introduction, Place},
    claims::Documents,
    issuers::{self, Issuer, Verifier, Way},
    proof::{self, Presented, Showing, Unproven},
    source::{Sent, TokenSource},
    tokens::{Failure, Unverified, may_be_newer, verify_by_jwks},
};

/// Bytes of verdicts that one core keeps.
const CACHE_BYTES: u64 = 8 << 20;
/// That a token is not active is remembered no longer, where it is remembered at all.
const REFUSED_FOR: Duration = Duration::from_secs(60);
/// A verdict by signature is kept no longer, whatever the token says.
const VERIFIED_FOR: Duration = Duration::from_secs(300);

thread_local! {
    /// The verdicts of this core, over all routes and snapshots. A verdict is found by the digest of token and
    /// configuration, so that a route that is compiled again unchanged finds its own.
    static VERDICTS: RefCell<CoreCache<Verified, VerdictKey>> = RefCell::new(CoreCache::new("verdicts", CACHE_BYTES));
}

/// The compiled rules for access tokens.
pub(super) struct Bearer {
    /// Digest of the whole configuration: the same token is another matter under another one.
    identity: [u8; 32],
    source: TokenSource,
    /// Headers of the client's request that go along to the introspection endpoint.
    further: Vec<HeaderName>,
    /// Cookies that do.
    cookies: Vec<String>,
    /// Whose tokens are taken, the route's own provider first.
    issuers: Vec<Issuer>,
    /// Whether a request without a token goes on.
    optional: bool,
    uncached: bool,
    /// Where all nodes note the proofs they were shown.
    proofs: Option<SharedProofs>,
}

/// A token that was verified: all that is needed to judge it again.
struct Verified {
    claims: Claims,
    caller: Caller,
    /// Why its claims do not match the configured schema.
    misfit: Option<Box<str>>,
    /// Place of its issuer among those of the route.
    issuer: usize,
    /// The key set that verified it; another one verifies again.
    keys: Option<Arc<KeySet>>,
    /// When it is verified again.
    until: UnixMillis,
}

impl Weigh for Verified {
    fn weigh(&self) -> usize {
        let misfit = self.misfit.as_ref().map_or(0, |misfit| misfit.len());
        self.claims.weight() + self.caller.weight() + misfit + size_of::<Self>()
    }
}

impl Bearer {
    /// `identity` is the digest of all that a verdict depends on but secrets.
    pub(super) fn compile(
        bearer: &BearerConfig,
        config: &Config,
        provider: &Arc<Provider>,
        services: &Services,
        identity: [u8; 32],
    ) -> Result<Self, ConfigError> {
        let issuers = issuers::compile(bearer, config, provider, services)?;
        let identity = match &bearer.verification {
            Verification::SymmetricKey { key, .. } => with_secret(identity, key),
            _ => identity,
        };
        let along = bearer.introspection().map(|asked| (asked.headers.clone(), asked.cookies.clone()));
        let (further, cookies) = along.unwrap_or_default();
        let source = bearer.source.clone();
        let proofs = bearer.proof_record.as_ref();
        let proofs = proofs.map(|settings| SharedProofs::new(&services.redis, settings));
        Ok(Self {
            identity,
            source,
            further,
            cookies,
            issuers,
            optional: bearer.optional,
            uncached: bearer.uncached,
            proofs,
        })
    }

    /// What becomes of the request by its token. `None`: it has none, and need not have one.
    pub(super) fn judge(&self, inner: &Arc<Inner>, request: &mut PluginRequest<'_>) -> Option<Flow> {
        let presented = Presented::take(request);
        let token = match self.source.read(request.head) {
            Sent::Token(token) => token,
            Sent::Nothing if inner.browser.is_some() => return None,
            Sent::Nothing if self.optional => return Some(Flow::Continue),
            Sent::Nothing => return Some(Denial::NoToken.flow(inner, &presented, request)),
            Sent::Malformed => {
                return Some(Denial::Refused(Refusal::Malformed).flow(inner, &presented, request));
            }
            Sent::Unreadable(why) => return Some(Denial::Unreadable(why).flow(inner, &presented, request)),
        };
        let further = self.further_headers(request.head);
        // A proof that other nodes may have been shown is asked about there.
        let here = self.proofs.is_none() || !presented.by_dpop();
        let outcome = match here.then(|| self.verified(inner, token, &further)).flatten() {
            Some(Ok(verified)) => {
                let introduced = Self::decide(inner, &presented, token, &verified, &Place::of(request));
                introduced.map(|(introduction, _)| (inner.token_edit(token), introduction, verified))
            }
            Some(Err(refusal)) => Err(Denial::Refused(refusal)),
            None => {
                let (inner, token) = (Arc::clone(inner), Secret::new(token.to_owned()));
                let (errors, html) = (request.errors(), request.head.prefers_html());
                let (route, consumers) = (Arc::clone(request.route), Arc::clone(request.consumers));
                inner.remove_own_cookies(request.head, request.peer.https);
                return Some(Flow::Suspend(Box::pin(async move {
                    let place = Place { route: &route, consumers: &consumers };
                    let inquiry = Inquiry { token: &token, further: &further };
                    inner.settle(&inquiry, &presented, &place, errors, html).await
                })));
            }
        };
        Some(match outcome {
            Ok((token, Introduction { assertion, attach }, verified)) => {
                inner.remove_own_cookies(request.head, request.peer.https);
                let headers = &mut request.head.headers;
                // Moved, not cloned: the first clone of a value allocates.
                for (name, value) in token.into_iter().chain(assertion) {
                    headers.insert(name, value);
                }
                for (name, value) in &verified.caller.told {
                    headers.insert(name.clone(), value.clone());
                }
                if let Some(who) = attach {
                    request.attach(who);
                }
                Flow::Continue
            }
            Err(denial) => denial.flow(inner, &presented, request),
        })
    }

    /// The verdict that is cached, or that can be had without waiting. `None`: somebody must be asked.
    fn verified(
        &self,
        inner: &Inner,
        token: &str,
        further: &HeaderMap,
    ) -> Option<Result<Rc<Verified>, Refusal>> {
        if token.len() > MAX_TOKEN_BYTES {
            return Some(Err(Refusal::Malformed));
        }
        let now = inner.services.clock.now();
        let key = self.key(token, further);
        if let Some(verified) = self.cached(&key, now) {
            return Some(Ok(verified));
        }
        let place = match issuers::pick(&self.issuers, token) {
            Ok(place) => place?,
            Err(refusal) => return Some(Err(refusal)),
        };
        let issuer = self.issuers.get(place)?;
        match issuer.way(token) {
            Way::Keys => {}
            Way::Introspect(_) => return None,
            Way::Refuse(refusal) => return Some(Err(refusal)),
        }
        if !issuer.is_known() {
            return None;
        }
        let jws = match CompactJws::parse(token) {
            Ok(jws) => jws,
            Err(error) => return Some(Err(error.into())),
        };
        let (payload, keys) = match &issuer.verifier {
            Verifier::Key(key) => (jws.verify(key), None),
            _ => {
                let keys = issuer.provider.keys()?;
                (keys.set.verify(&jws, &issuer.algs), Some(Arc::clone(&keys.set)))
            }
        };
        match payload {
            Ok(payload) => {
                let verified = Self::read_jwt(inner, issuer, place, &jws, &payload, keys, now);
                Some(verified.map(|verified| self.keep(key, verified)))
            }
            Err(error) if may_be_newer(&error) && keys.is_some() => None,
            Err(error) => Some(Err(issuer.signature_refusal(&jws, error))),
        }
    }

    fn cached(&self, key: &VerdictKey, now: UnixMillis) -> Option<Rc<Verified>> {
        if self.uncached {
            return None;
        }
        let verified = VERDICTS.with_borrow(|verdicts| verdicts.get(key))?;
        let same_keys = match &verified.keys {
            None => true,
            Some(then) => {
                let now = self.issuers.get(verified.issuer)?.provider.keys()?;
                Arc::ptr_eq(then, &now.set)
            }
        };
        (same_keys && now < verified.until).then_some(verified)
    }

    fn keep(&self, key: VerdictKey, verified: Verified) -> Rc<Verified> {
        if self.uncached {
            return Rc::new(verified);
        }
        VERDICTS.with_borrow_mut(|verdicts| verdicts.insert(key, verified))
    }

    fn read_jwt(
        inner: &Inner,
        issuer: &Issuer,
        place: usize,
        jws: &CompactJws<'_>,
        payload: &[u8],
        keys: Option<Arc<KeySet>>,
        now: UnixMillis,
    ) -> Result<Verified, Refusal> {
        let (claims, object) = issuer.read_jwt(jws, payload, keys.as_deref())?;
        let until = claims.expires.min(now + VERIFIED_FOR).max(now);
        let caller = caller(inner, issuer.objection(&claims, &object), &object);
        let misfit = misfit(inner, &object);
        Ok(Verified { claims, caller, misfit, issuer: place, keys, until })
    }

    /// Judges a verified token, on every request.
    fn decide(
        inner: &Inner,
        presented: &Presented,
        token: &str,
        verified: &Verified,
        place: &Place<'_>,
    ) -> Result<(Introduction, Option<Showing>), Denial> {
        let (config, now) = (&inner.config, inner.services.clock.now());
        let claims = &verified.claims;
        claims.check_times(now, config.expiry_leeway, config.slack).map_err(Denial::Refused)?;
        if claims.revocation_marks().is_some_and(|marks| inner.services.revocations.contains(marks)) {
            return Err(Denial::Refused(Refusal::Revoked));
        }
        // Before anything is said of its claims: whoever cannot prove that it is theirs learns nothing from it.
        let showing = presented.check(inner, token, claims.binding()).map_err(Denial::Unproven)?;
        let expires = claims.expires + config.expiry_leeway;
        // What rules over claims say comes before the schema, as in APISIX.
        if let (None, Some(misfit)) = (&verified.caller.objection, &verified.misfit) {
            return Err(Denial::Misfit(misfit.clone()));
        }
        let introduction = inner.introduce(&verified.caller, place, expires, now);
        introduction.map(|introduction| (introduction, showing)).map_err(Denial::Forbidden)
    }
}

/// Why a request is not let through by its token.
enum Denial {
    NoToken,
    Unreadable(String),
    Refused(Refusal),
    Forbidden(Box<str>),
    Unproven(Unproven),
    Misfit(Box<str>),
    Provider(ProviderError),
}

impl Denial {
    fn flow(self, inner: &Inner, presented: &Presented, request: &PluginRequest<'_>) -> Flow {
        Flow::respond(self.reply(inner, presented, request.errors(), request.head.prefers_html()))
    }

    fn reply(self, inner: &Inner, presented: &Presented, errors: ErrorBody, html: bool) -> Reply {
        match self {
            Self::NoToken => proof::ask(inner, answer::no_token(inner, errors, html)),
            Self::Unreadable(why) => answer::unreadable(inner, &why, errors, html),
            Self::Refused(refusal) if presented.by_dpop() => proof::refused(refusal, errors, html),
            Self::Unproven(unproven) => unproven.reply(inner, presented.by_dpop(), errors, html),
            Self::Refused(refusal) => answer::refused(inner, refusal, errors, html),
            Self::Forbidden(why) => answer::forbidden(&why),
            Self::Misfit(why) => answer::misfit(inner, &why, errors, html),
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
    async fn settle(
        &self,
        inquiry: &Inquiry<'_>,
        presented: &Presented,
        place: &Place<'_>,
        errors: ErrorBody,
        html: bool,
    ) -> Verdict {
        let Some(bearer) = &self.bearer else { return Verdict::default() };
        match bearer.settle(self, inquiry, presented, place).await {
            Ok((introduction, verified)) => {
                let token = self.token_edit(inquiry.token.expose());
                let edits = token.iter().chain(&verified.caller.told);
                let edits = edits.map(|(name, value)| HeaderEdit::Set(name.clone(), value.clone()));
                let mut verdict = Verdict { request: edits.collect(), ..Verdict::default() };
                introduction.join(&mut verdict);
                verdict
            }
            Err(denial) => Verdict::respond(denial.reply(self, presented, errors, html)),
        }
    }

    /// Where the upstream finds a token that is let through.
    fn token_edit(&self, token: &str) -> Option<(HeaderName, HeaderValue)> {
        let in_authorization =
            self.bearer.as_ref().is_some_and(|bearer| bearer.source == TokenSource::Authorization);
        let (name, value) = match self.config.headers.access_token {
            AccessTokenHeader::None => return None,
            AccessTokenHeader::XAccessToken => (X_ACCESS_TOKEN, HeaderValue::from_str(token)),
            AccessTokenHeader::Authorization if in_authorization => return None,
            AccessTokenHeader::Authorization => {
                (AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}")))
            }
        };
        let mut value = value.ok()?;
        value.set_sensitive(true);
        Some((name, value))
    }
}

impl Bearer {
    async fn settle(
        &self,
        inner: &Inner,
        inquiry: &Inquiry<'_>,
        presented: &Presented,
        place: &Place<'_>,
    ) -> Result<(Introduction, Rc<Verified>), Denial> {
        let token = inquiry.token.expose();
        let verified = match self.verified(inner, token, inquiry.further) {
            Some(known) => known.map_err(Denial::Refused)?,
            None => self.ask(inner, inquiry).await.map_err(Denial::from)?,
        };
        let (introduction, showing) = Self::decide(inner, presented, token, &verified, place)?;
        if let (Some(showing), Some(record)) = (showing, &self.proofs) {
            let noted = showing.note(record, inner.services.clock.now()).await;
            noted.map_err(Denial::Unproven)?;
        }
        Ok((introduction, verified))
    }

    async fn ask(&self, inner: &Inner, inquiry: &Inquiry<'_>) -> Result<Rc<Verified>, Failure> {
        let Inquiry { token, further } = *inquiry;
        let place = issuers::pick_later(&self.issuers, token.expose()).await?;
        let issuer = self.issuers.get(place).ok_or(Refusal::Issuer)?;
        match issuer.way(token.expose()) {
            Way::Keys => {
                let key = self.key(token.expose(), further);
                self.ask_for_keys(inner, issuer, place, token.expose(), key).await
            }
            Way::Refuse(refusal) => Err(refusal.into()),
            Way::Introspect(introspection) => {
                let discovered = matches!(issuer.verifier, Verifier::Discovered(_));
                match self.introspect(inner, issuer, place, introspection, inquiry).await {
                    Err(Failure::Provider(ProviderError::Missing(_))) if discovered => Err(unreadable(token)),
                    other => other,
                }
            }
        }
    }

    async fn ask_for_keys(
        &self,
        inner: &Inner,
        issuer: &Issuer,
        place: usize,
        token: &str,
        key: VerdictKey,
    ) -> Result<Rc<Verified>, Failure> {
        let jws = CompactJws::parse(token).map_err(Refusal::from)?;
        issuer.until_known().await?;
        let (payload, keys) = match &issuer.verifier {
            Verifier::Key(key) => {
                (jws.verify(key).map_err(|error| issuer.signature_refusal(&jws, error))?, None)
            }
            _ => match verify_by_jwks(&issuer.provider, &jws, &issuer.algs).await {
                Ok((payload, keys)) => (payload, Some(keys)),
                Err(Unverified::Jose(error)) => return Err(issuer.signature_refusal(&jws, error).into()),
                Err(Unverified::Provider(error)) => return Err(error.into()),
            },
        };
        let now = inner.services.clock.now();
        let verified = Self::read_jwt(inner, issuer, place, &jws, &payload, keys, now)?;
        Ok(self.keep(key, verified))
    }

    async fn introspect(
        &self,
        inner: &Inner,
        issuer: &Issuer,
        place: usize,
        introspection: &Introspection,
        inquiry: &Inquiry<'_>,
    ) -> Result<Rc<Verified>, Failure> {
        let Inquiry { token, further } = *inquiry;
        let read = |answer: &Introspected| read_introspection(inner, issuer, place, introspection, answer);
        let refused_until = || {
            let counts = introspection.max_age.min(REFUSED_FOR);
            introspection.remembers_refusals.then(|| inner.services.clock.now() + counts)
        };
        let until = |answer: Option<&Introspected>| match answer {
            _ if self.uncached => None,
            Some(answer) => read(answer).ok().map(|verified| verified.until),
            None => refused_until(),
        };
        let (client, how, reader) = (&inner.client, &introspection.how, &self.identity);
        let answer = issuer.provider.introspected(client, how, token, further, reader, until).await?;
        let verified = read(&answer.ok_or(Refusal::Inactive)?)?;
        if how.always_asks {
            return Ok(Rc::new(verified));
        }
        Ok(self.keep(self.key(token.expose(), further), verified))
    }

    /// The headers of the client's request that an introspection answer may depend on. Where none are configured it is
    /// empty, and nothing is allocated.
    fn further_headers(&self, head: &RequestHead) -> HeaderMap {
        let mut further = HeaderMap::new();
        for name in &self.further {
            for value in head.headers.get_all(name) {
                further.append(name, value.clone());
            }
        }
        let cookie = |name: &String| {
            let value = head.cookies(name).next().filter(|value| !is_the_gates(value))?;
            Some(format!("{name}={value}"))
        };
        let cookies: Vec<String> = self.cookies.iter().filter_map(cookie).collect();
        if !cookies.is_empty()
            && let Ok(mut line) = HeaderValue::try_from(cookies.join("; "))
        {
            line.set_sensitive(true);
            further.insert(COOKIE, line);
        }
        further
    }

    /// Where the verdict of a token is kept: each set of further headers has its own.
    fn key(&self, token: &str, further: &HeaderMap) -> VerdictKey {
        if further.is_empty() {
            return VerdictKey::of(&self.identity, token.as_bytes());
        }
        let mut text = Vec::from(token);
        for (name, value) in further {
            // None of the three has a line end in it, so that no two sets make one text.
            text.push(b'\n');
            text.extend_from_slice(name.as_str().as_bytes());
            text.push(b'\n');
            text.extend_from_slice(value.as_bytes());
        }
        VerdictKey::of(&self.identity, &text)
    }
}

/// Whether a cookie's value is one that the gate sealed: whoever holds a copy of a session cookie holds the session.
fn is_the_gates(value: &str) -> bool {
    let value = value.trim_matches([' ', '\t', '"']);
    value.as_bytes().starts_with(SEALED_COOKIE)
}

/// A token, and the headers that came with it and are asked about together with it.
#[derive(Clone, Copy)]
struct Inquiry<'a> {
    token: &'a Secret<String>,
    further: &'a HeaderMap,
}

/// Why the claims do not match the configured schema, found once for each token.
fn misfit(inner: &Inner, object: &Map<String, Value>) -> Option<Box<str>> {
    let schema = inner.claim_schema.as_ref()?;
    schema.check(&Value::Object(object.clone())).err().map(String::into_boxed_str)
}

fn read_introspection(
    inner: &Inner,
    issuer: &Issuer,
    place: usize,
    introspection: &Introspection,
    answer: &Introspected,
) -> Result<Verified, Refusal> {
    let object = &answer.claims;
    let expires = expiry(introspection, object, answer.at)?;
    let claims = issuer.read_introspection(object, expires)?;
    let until = claims.expires.min(answer.at + introspection.max_age);
    let caller = caller(inner, issuer.objection(&claims, object), object);
    Ok(Verified { claims, caller, misfit: misfit(inner, object), issuer: place, keys: None, until })
}

/// Why a token that nobody can be asked about is refused.
fn unreadable(token: &Secret<String>) -> Failure {
    let encrypted = token.expose().bytes().filter(|byte| *byte == b'.').count() == 4;
    if encrypted { Refusal::Encrypted.into() } else { Refusal::Opaque.into() }
}

/// Whom a token with these claims speaks for.
fn caller(inner: &Inner, objection: Option<Box<str>>, object: &Map<String, Value>) -> Caller {
    let subject = object.get("sub").and_then(Value::as_str);
    let userinfo = userinfo(inner, object).map(|value| (X_USERINFO, value));
    Caller::of(&inner.config, subject, &Documents::of_token(object), userinfo.into_iter(), objection)
}

/// `identity`, and a digest of a secret that a verdict depends on.
fn with_secret(identity: [u8; 32], secret: &Secret<String>) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&identity);
    context.update(secret.expose().as_bytes());
    let mut out = [0; 32];
    out.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    out
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
