//! Access tokens (RFC 6750): read, verified once, judged on every request.

mod inquiry;

use std::{borrow::Cow, cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use aws_lc_rs::digest;
use base::{Secret, UnixMillis};
use base64::{Engine, engine::general_purpose::STANDARD};
use gateway::{
    consumer::Consumers,
    error::{ConfigError, ErrorBody},
    plugin::{Flow, HeaderEdit, PluginRequest, Reply, RequestHead, SEALED_COOKIE, Suspended, Verdict},
    route::Route,
};
use http::{
    HeaderName, HeaderValue,
    header::{AUTHORIZATION, COOKIE},
};
use jose::{CompactJws, KeySet, MAX_TOKEN_BYTES};
use rp::{
    bearer::{Claims, CoreCache, Refusal, VerdictKey, Weigh},
    provider::{Introspected, Provider, ProviderError},
    session::SharedProofs,
};
use serde_json::{Map, Value};
use smallvec::SmallVec;

use super::{
    AccessTokenHeader, BearerConfig, Config, Inner, PassedOn, Services, Verification,
    additions::Along,
    answer,
    browser::{X_ACCESS_TOKEN, X_USERINFO, encoded},
    caller::{Caller, Introduction, Place},
    claims::Documents,
    issuers::{self, Issuer, Verifier, Way},
    proof::{self, Presented, Showing, Unproven},
    source::{Sent, TokenSource},
    token_headers::{self, TokenPart},
    tokens::{Failure, may_be_newer},
};
use inquiry::Inquiry;

/// Bytes of verdicts that one core keeps.
const CACHE_BYTES: u64 = 8 << 20;
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
    /// What else goes along.
    passed: PassedOn,
    /// Whose tokens are taken, the route's own provider first.
    issuers: Vec<Issuer>,
    /// Whether a request without a token goes on.
    optional: bool,
    uncached: bool,
    /// Whether the upstream does not see a token where the client sent it.
    hides: bool,
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
    /// The token itself, where the upstream is told it in a header of the gate's and this is kept.
    token: Option<HeaderValue>,
}

impl Weigh for Verified {
    fn weigh(&self) -> usize {
        let misfit = self.misfit.as_ref().map_or(0, |misfit| misfit.len());
        let token = self.token.as_ref().map_or(0, HeaderValue::len);
        self.claims.weight() + self.caller.weight() + misfit + token + size_of::<Self>()
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
        let passed = config.calls.additions.passed.clone();
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
            passed,
            issuers,
            optional: bearer.optional,
            uncached: bearer.uncached,
            hides: bearer.hides,
            proofs,
        })
    }

    /// What becomes of the request by its token. `None`: it has none.
    pub(super) fn judge(&self, inner: &Arc<Inner>, request: &mut PluginRequest<'_>) -> Option<Flow> {
        let presented = Presented::take(request);
        let token = match self.source.read(request.head) {
            Sent::Token(token) => token,
            Sent::Nothing if inner.browser.is_none() && self.optional => return Some(Flow::Continue),
            Sent::Nothing => return None,
            Sent::Malformed => {
                return Some(Denial::Refused(Refusal::Malformed).flow(inner, &presented, request));
            }
            Sent::Unreadable(why) => return Some(Denial::Unreadable(why).flow(inner, &presented, request)),
        };
        let along = self.along(request.head);
        let stays = self.stays(inner, request.head, &presented);
        // A proof that other nodes may have been shown is asked about there.
        let here = self.proofs.is_none() || !presented.by_dpop();
        let now = inner.services.clock.now();
        let outcome = match here.then(|| self.verified(inner, token, &along, now)).flatten() {
            Some(Ok(verified)) => {
                let introduced = Self::decide(inner, &presented, token, &verified, &Place::of(request), now);
                introduced.map(|(introduction, _)| {
                    (inner.token_edits(token, verified.token.as_ref(), stays), introduction, verified)
                })
            }
            Some(Err(refusal)) => Err(Denial::Refused(refusal)),
            None => {
                let (inner, token) = (Arc::clone(inner), Secret::new(token.to_owned()));
                let asking = Asking::of(request);
                inner.remove_own_cookies(request.head, request.peer.https);
                self.hide(request.head, stays);
                return Some(Flow::Suspend(Box::pin(async move {
                    let inquiry = Inquiry { token: &token, along: &along, stays };
                    inner.settle(&inquiry, &presented, &asking).await
                })));
            }
        };
        Some(match outcome {
            Ok((
                TokenEdits { upstream, downstream },
                Introduction { assertion, attach, bring },
                verified,
            )) => {
                inner.remove_own_cookies(request.head, request.peer.https);
                self.hide(request.head, stays);
                request.response.extend(downstream);
                request.response.extend(verified.caller.back.iter().cloned());
                let headers = &mut request.head.headers;
                // Moved, not cloned: the first clone of a value allocates.
                for (name, value) in upstream.into_iter().chain(assertion) {
                    headers.insert(name, value);
                }
                for (name, value) in &verified.caller.told {
                    headers.insert(name.clone(), value.clone());
                }
                if let Some(who) = attach {
                    request.attach(who);
                }
                if let Some(brought) = bring {
                    request.bring(brought);
                }
                Flow::Continue
            }
            Err(denial) => denial.flow(inner, &presented, request),
        })
    }

    /// Whether a token in the body counts.
    pub(super) fn reads_bodies(&self) -> bool {
        matches!(&self.source, TokenSource::Places(places) if places.body)
    }

    /// Whether tokens are looked for in this header.
    pub(super) fn reads(&self, name: &HeaderName) -> bool {
        self.source.reads(name)
    }

    /// The token of a request, as far as it is one.
    pub(super) fn token<'r>(&self, head: &'r RequestHead) -> Option<&'r str> {
        match self.source.read(head) {
            Sent::Token(token) => Some(token),
            _ => None,
        }
    }

    /// Whether the upstream finds the token where the client put it.
    fn stays(&self, inner: &Inner, head: &RequestHead, presented: &Presented) -> bool {
        inner.config.headers.access_token == AccessTokenHeader::Authorization
            && self.source.is_in_authorization(head)
            && !(self.hides && presented.by_dpop())
    }

    /// Takes the token out of what goes upstream, where that is wanted and it is not told just there.
    pub(super) fn hide(&self, head: &mut RequestHead, stays: bool) {
        if self.hides {
            self.source.hide(head, stays);
        }
    }

    /// The verdict that is cached, or that can be had without waiting. `None`: somebody must be asked.
    fn verified(
        &self,
        inner: &Inner,
        token: &str,
        along: &Along,
        now: UnixMillis,
    ) -> Option<Result<Rc<Verified>, Refusal>> {
        if token.len() > MAX_TOKEN_BYTES {
            return Some(Err(Refusal::Malformed));
        }
        let key = self.key(token, along);
        if let Some(verified) = self.cached(&key, now) {
            return Some(Ok(verified));
        }
        let place = match issuers::pick(&self.issuers, token) {
            Ok(place) => place?,
            Err(refusal) => return Some(Err(refusal)),
        };
        let issuer = self.issuers.get(place)?;
        match issuer.way(token) {
            Way::Keys if inner.config.searches_userinfo => return None,
            Way::Keys => {}
            Way::Introspect(_) | Way::Userinfo => return None,
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
                let verified = Self::read_jwt(inner, issuer, place, &jws, &payload, keys, None);
                Some(verified.map(|verified| self.keep(inner, key, token, verified)))
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
            Some(then) => self.issuers.get(verified.issuer)?.provider.has_keys(then),
        };
        (same_keys && now < verified.until).then_some(verified)
    }

    fn keep(&self, inner: &Inner, key: VerdictKey, token: &str, mut verified: Verified) -> Rc<Verified> {
        if self.uncached {
            return Rc::new(verified);
        }
        if inner.config.headers.access_token == AccessTokenHeader::XAccessToken {
            verified.token = sensitive(HeaderValue::from_str(token));
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
        found: Option<&Introspected>,
    ) -> Result<Verified, Refusal> {
        let now = inner.services.clock.now();
        let (claims, object) = issuer.read_jwt(jws, payload, keys.as_deref())?;
        let until = claims.expires.min(now + VERIFIED_FOR).max(now);
        let jwk = inner.config.headers.tells(TokenPart::AccessTokenJwk);
        let jwk =
            jwk.then(|| token_headers::jwk_named(&issuer.provider, jws.header().kid.as_deref())).flatten();
        let objection = issuer.objection(&claims, &object);
        let said = Said { claims: &object, signed: None, part: None, found };
        let caller = caller(inner, objection, said, jwk.as_deref());
        let misfit = misfit(inner, &object);
        Ok(Verified { claims, caller, misfit, issuer: place, keys, until, token: None })
    }

    /// Judges a verified token, on every request.
    fn decide(
        inner: &Inner,
        presented: &Presented,
        token: &str,
        verified: &Verified,
        place: &Place<'_>,
        now: UnixMillis,
    ) -> Result<(Introduction, Option<Showing>), Denial> {
        let config = &inner.config;
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
            Self::Unreadable(why) => answer::unreadable(inner, &why, errors, html),
            Self::Refused(refusal) if presented.by_dpop() => proof::refused(inner, refusal, errors, html),
            Self::Unproven(unproven) => unproven.reply(inner, presented.by_dpop(), errors, html),
            Self::Refused(refusal) => answer::refused(inner, refusal, errors, html),
            Self::Forbidden(why) => answer::forbidden(inner, &why, errors),
            Self::Misfit(why) => answer::misfit(inner, &why, errors, html),
            Self::Provider(error) => answer::unavailable(inner, &error, errors, html),
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
    async fn settle(&self, inquiry: &Inquiry<'_>, presented: &Presented, asking: &Asking) -> Verdict {
        let Some(bearer) = &self.bearer else { return Verdict::default() };
        let place = Place { route: &asking.route, consumers: &asking.consumers };
        match bearer.settle(self, inquiry, presented, &place).await {
            Ok((introduction, verified)) => {
                let TokenEdits { upstream, downstream } =
                    self.token_edits(inquiry.token.expose(), verified.token.as_ref(), inquiry.stays);
                let told = verified.caller.told.iter().cloned();
                let edits = upstream.into_iter().chain(told);
                let mut verdict = Verdict {
                    request: edits.map(|(name, value)| HeaderEdit::Set(name, value)).collect(),
                    response: downstream.into_iter().chain(verified.caller.back.iter().cloned()).collect(),
                    ..Verdict::default()
                };
                introduction.join(&mut verdict);
                verdict
            }
            Err(denial) => Verdict::respond(denial.reply(self, presented, asking.errors, asking.html)),
        }
    }

    /// Where upstream and client find a token that is let through. `stays`: the upstream finds it in `Authorization`,
    /// as it came; `kept` is its value for a header, where there is one.
    fn token_edits(&self, token: &str, kept: Option<&HeaderValue>, stays: bool) -> TokenEdits {
        let headers = &self.config.headers;
        let own = match headers.access_token {
            AccessTokenHeader::None => None,
            AccessTokenHeader::XAccessToken => {
                let value = kept.cloned().or_else(|| sensitive(HeaderValue::from_str(token)));
                value.map(|value| (X_ACCESS_TOKEN, value))
            }
            AccessTokenHeader::Authorization if stays => None,
            AccessTokenHeader::Authorization => {
                let value = sensitive(HeaderValue::try_from(format!("Bearer {token}")));
                value.map(|value| (AUTHORIZATION, value))
            }
        };
        let named = |downstream: bool| {
            let part = |part: TokenPart| (part == TokenPart::AccessToken).then_some(Cow::Borrowed(token));
            token_headers::told(&headers.named, downstream, part)
        };
        TokenEdits { upstream: own.into_iter().chain(named(false)).collect(), downstream: named(true) }
    }
}

fn sensitive<E>(value: Result<HeaderValue, E>) -> Option<HeaderValue> {
    let mut value = value.ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Where a token is found once it is let through.
struct TokenEdits {
    upstream: SmallVec<[(HeaderName, HeaderValue); 1]>,
    downstream: Vec<(HeaderName, HeaderValue)>,
}

/// What of a request its verdict needs when the request itself is out of reach.
struct Asking {
    errors: ErrorBody,
    html: bool,
    route: Arc<Route>,
    consumers: Arc<Consumers>,
}

impl Asking {
    fn of(request: &PluginRequest<'_>) -> Self {
        Self {
            errors: request.errors(),
            html: request.head.prefers_html(),
            route: Arc::clone(request.route),
            consumers: Arc::clone(request.consumers),
        }
    }
}

/// The answer to a request without a token where one is needed.
pub(super) fn without_token(inner: &Inner, request: &PluginRequest<'_>) -> Reply {
    proof::ask(inner, answer::no_token(inner, request.errors(), request.head.prefers_html()))
}

/// Judges a token that is found in the body of `request`, which comes later.
pub(super) fn later(
    inner: &Arc<Inner>,
    request: &mut PluginRequest<'_>,
) -> impl FnOnce(Secret<String>) -> Suspended + use<> {
    let (inner, asking, presented) = (Arc::clone(inner), Asking::of(request), Presented::take(request));
    let along = inner.bearer.as_ref().map(|bearer| bearer.along(request.head)).unwrap_or_default();
    move |token: Secret<String>| {
        Box::pin(async move {
            let inquiry = Inquiry { token: &token, along: &along, stays: false };
            inner.settle(&inquiry, &presented, &asking).await
        })
    }
}

impl Bearer {
    /// What of the client's request goes along, and the verdict of its token may depend on. Where nothing is configured it
    /// is empty, and nothing is allocated.
    fn along(&self, head: &RequestHead) -> Along {
        let mut along = self.passed.of(head);
        let further = &mut along.headers;
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
        along
    }

    /// Where the verdict of a token is kept: whatever else goes along has its own.
    fn key(&self, token: &str, along: &Along) -> VerdictKey {
        if along.is_empty() {
            return VerdictKey::of(&self.identity, token.as_bytes());
        }
        // No token has a line end in it.
        let mut text = Vec::from(token);
        text.push(b'\n');
        along.write(&mut text);
        VerdictKey::of(&self.identity, &text)
    }
}

/// Whether a cookie's value is one that the gate sealed: whoever holds a copy of a session cookie holds the session.
fn is_the_gates(value: &str) -> bool {
    let value = value.trim_matches([' ', '\t', '"']);
    value.as_bytes().starts_with(SEALED_COOKIE)
}

/// Why the claims do not match the configured schema, found once for each token.
fn misfit(inner: &Inner, object: &Map<String, Value>) -> Option<Box<str>> {
    let schema = inner.claim_schema.as_ref()?;
    schema.check(&Value::Object(object.clone())).err().map(String::into_boxed_str)
}

/// What is said of a token, or by it.
struct Said<'a> {
    claims: &'a Map<String, Value>,
    /// The same as it was signed, where an endpoint said it.
    signed: Option<&'a str>,
    /// Which endpoint said it; `None`: the token itself.
    part: Option<TokenPart>,
    /// What the userinfo endpoint said beside it, where it was asked.
    found: Option<&'a Introspected>,
}

impl<'a> Said<'a> {
    /// By an endpoint.
    fn by(answer: &'a Introspected) -> Self {
        Self { claims: &answer.claims, signed: answer.signed.as_deref(), part: None, found: None }
    }
}

/// Whom a token speaks for of which this is said.
fn caller(inner: &Inner, objection: Option<Box<str>>, said: Said<'_>, jwk: Option<&str>) -> Caller {
    let Said { claims, signed, part, found } = said;
    let subject = claims.get("sub").and_then(Value::as_str);
    let userinfo = userinfo(inner, claims).map(|value| (X_USERINFO, value));
    let json = part.and_then(|_| token_headers::as_json(claims));
    let searched = found.and_then(|found| token_headers::as_json(&found.claims));
    let by = |endpoint: TokenPart| signed.filter(|_| part == Some(endpoint)).map(Cow::Borrowed);
    let value = |asked: TokenPart| match (asked, &searched, found) {
        (TokenPart::AccessTokenJwk, ..) => jwk.map(Cow::Borrowed),
        (TokenPart::Userinfo, Some(searched), _) => Some(Cow::Borrowed(searched.as_str())),
        (TokenPart::UserinfoJwt, _, Some(found)) => found.signed.as_deref().map(Cow::Borrowed),
        (TokenPart::UserinfoJwt, ..) => by(TokenPart::Userinfo),
        (TokenPart::IntrospectionJwt, ..) => by(TokenPart::Introspection),
        _ => json.as_deref().filter(|_| part == Some(asked)).map(Cow::Borrowed),
    };
    let documents = match found {
        None => Documents::of_token(claims),
        Some(found) => {
            Documents { access_token: Some(claims), id_token: None, userinfo: Some(&found.claims) }
        }
    };
    Caller::of(&inner.config, subject, &documents, userinfo.into_iter(), objection, &value)
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

fn userinfo(inner: &Inner, object: &Map<String, Value>) -> Option<HeaderValue> {
    let json = inner.config.headers.userinfo.then(|| serde_json::to_string(object).ok()).flatten()?;
    encoded(&STANDARD.encode(json))
}
