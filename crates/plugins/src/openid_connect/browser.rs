//! Requests of browsers: found logged in by their session cookie, or not.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::digest;
use base::{Secret, UnixMillis};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use gateway::{
    error::{ConfigError, Failure},
    plugin::{BodyInspector, Flow, HeaderEdit, PluginRequest, Reply, RequestHead, Suspended, Verdict},
};
use http::{HeaderName, HeaderValue, StatusCode, Uri, header::AUTHORIZATION};
use jose::CompactJws;
use oauth::ProviderMetadata;
use rp::{
    bearer::{CoreCache, VerdictKey, Weigh},
    provider::{issuer_matches, issuer_may_vary},
    session::{Continued, Cookies, Jar, Session, SharedSessions, Standing, StorageError},
};
use serde_json::{Map, Value};

use super::{
    AccessTokenHeader, Config, Inner, LoginConfig, Services, Unauthenticated, answer,
    caller::{Caller, Place},
    known::{self, Known},
    login,
    shared::storage_away,
    token_headers::{self, TokenPart},
    visitor::{Visitor, is_private},
};
use crate::{
    fields::{BodyKind, Fields},
    login_methods::settled,
};

pub(super) const X_ACCESS_TOKEN: HeaderName = HeaderName::from_static("x-access-token");
pub(super) const X_USERINFO: HeaderName = HeaderName::from_static("x-userinfo");
const X_ID_TOKEN: HeaderName = HeaderName::from_static("x-id-token");
const X_RAW_ID_TOKEN: HeaderName = HeaderName::from_static("x-raw-id-token");
const X_REFRESH_TOKEN: HeaderName = HeaderName::from_static("x-refresh-token");

/// Behind the path of a page: where the provider sends the browser back to when nothing else is configured.
const DERIVED: &str = "/.apisix/redirect";
/// Bytes of opened sessions that one core keeps.
const CACHE_BYTES: u64 = 8 << 20;
/// How long a login counts where each visit must go through the provider: enough for the page and what is on it.
const REAUTHORIZED_FOR: Duration = Duration::from_secs(10);
/// How often one core issues the cookie of one session anew.
const ISSUED_AGAIN_EVERY: Duration = Duration::from_secs(1);
/// Bytes of a form that may end a session.
const MAX_LOGOUT: usize = 64 * 1024;
/// Bytes of one header for the upstream. A session's never have as many.
const MAX_HEADER: usize = 48 * 1024;

thread_local! {
    /// What this core's cookies opened to, by the digest of cookie, keys and configuration.
    static SESSIONS: RefCell<CoreCache<Opened, VerdictKey>> = RefCell::new(CoreCache::new("sessions", CACHE_BYTES));
}

/// The compiled rules for browsers.
pub(super) struct Browser {
    pub(super) jar: Jar,
    pub(super) config: LoginConfig,
    redirect: Redirect,
    /// Path at which the provider's answer arrives, where it is not the redirect URI's.
    local_path: Option<String>,
    logout_path: String,
    /// Digest of the cookies' keys and of the whole configuration.
    pub(super) reader: [u8; 32],
    /// Sessions in Redis; `None`: they are in the cookies.
    pub(super) shared: Option<SharedSessions>,
}

/// Where the provider sends the browser back to.
enum Redirect {
    /// To a URL, or to a path of the host that was asked; and the path alone.
    To { place: String, path: String },
    /// To a path behind the page's own.
    Derived,
    /// To the page itself.
    Page,
}

/// A session, and what the upstream is told of it, encoded once.
pub(super) struct Opened {
    pub(super) session: Session,
    /// Why its claims do not match the configured schema.
    pub(super) misfit: Option<Box<str>>,
    /// Who it is; what it tells is set whenever the session is good.
    pub(super) caller: Caller,
    /// Set while the access token is good.
    access_token: Box<[(HeaderName, HeaderValue)]>,
    /// The same on the answer.
    access_token_back: Box<[(HeaderName, HeaderValue)]>,
    /// When this core last issued its cookie anew.
    issued_again: Cell<Option<UnixMillis>>,
    weight: usize,
}

impl Weigh for Opened {
    fn weigh(&self) -> usize {
        self.weight
    }
}

impl Browser {
    pub(super) fn compile(
        login: &LoginConfig,
        config: &Config,
        identity: [u8; 32],
        services: &Services,
    ) -> Result<Self, ConfigError> {
        let (discovery, client, cookies) = (&config.discovery, &config.client_id, login.cookies.clone());
        let random = services.random.clone();
        let jar = match &login.secret {
            Some(secret) => Jar::from_secret(secret.expose(), discovery, client, cookies, random),
            None => Jar::new(&services.session_keys, discovery, client, cookies, random),
        };
        let redirect = match login.redirect_uri.as_deref() {
            None if login.way_back.is_page => Redirect::Page,
            None => Redirect::Derived,
            Some(place) => Redirect::To { place: place.to_owned(), path: path_of("redirect_uri", place)? },
        };
        let logout_path = match login.logout_path.as_str() {
            "" => String::new(),
            path => path_of("logout_path", path)?,
        };
        let reader = jar.reader(&identity);
        services.ended.expect_lifetimes(jar.realm(), &login.lifetimes);
        let local_path = login.way_back.local_path.clone();
        let shared =
            login.storage.as_ref().map(|settings| SharedSessions::new(&services.redis, settings, &jar));
        Ok(Self { jar, config: login.clone(), redirect, local_path, logout_path, reader, shared })
    }

    /// What becomes of the request by its cookies, or because it belongs to a login or logout. `None`: it has no session.
    pub(super) fn judge(&self, inner: &Arc<Inner>, request: &mut PluginRequest<'_>) -> Option<Flow> {
        let path = request.head.path();
        if self.is_callback(path) && (!self.config.way_back.is_page || answers_a_login(request.head.query()))
        {
            return Some(inner.callback(self, Visitor::of(inner, request)));
        }
        if path == self.logout_path || self.config.logout.is_asked_for(request.head) {
            return Some(inner.log_out(self, Visitor::of(inner, request)));
        }
        let logout = &self.config.logout;
        if logout.backchannel_path.as_deref() == Some(path) {
            return Some(inner.backchannel_logout(request));
        }
        if logout.frontchannel_path.as_deref() == Some(path) {
            return Some(inner.frontchannel_logout(self, Visitor::of(inner, request)));
        }
        if self.shared.is_some() {
            return self.judge_shared(inner, request);
        }
        let (https, now) = (request.peer.https, inner.services.clock.now());
        // A cookie that came over plain http may be anybody's by now, and no new one is set there.
        let cookies = is_private(request).then(|| Cookies::read(&request.head.headers));
        let (opened, standing) = cookies.and_then(|cookies| self.session(inner, &cookies, https, now))?;
        if self.is_unsure(&opened.session, now) {
            return Some(inner.ask_again(&opened.session, request));
        }
        if opened.is_over(now) && self.config.renew {
            opened.session.refresh_token.as_ref()?;
            let (session, visitor) = (opened.session.clone(), Visitor::of(inner, request));
            let inner = Arc::clone(inner);
            inner.remove_credentials(request.head, request.peer.https);
            return Some(Flow::Suspend(Box::pin(async move { inner.refresh(session, visitor).await })));
        }
        if standing == Standing::Stale && opened.is_to_be_issued_again(now) {
            let fresh = self.issue_again(&opened.session, &Cookies::read(&request.head.headers), https, now);
            request.response.extend(answer::cookie_headers(fresh));
        }
        Some(inner.pass(&opened, request, now))
    }

    /// What becomes of a request that ends its session if its body says so. `None`: that is not looked for, or there is no
    /// session to end.
    pub(super) fn judge_body(&self, inner: &Arc<Inner>, request: &mut PluginRequest<'_>) -> Option<Flow> {
        let field = self.config.logout.awaited_field(request.head)?.to_owned();
        let visitor = Visitor::of(inner, request);
        let otherwise = self.judge(inner, request)?;
        let inner = Arc::clone(inner);
        let judge = move |body: Result<Bytes, Failure>| -> Suspended {
            let fields = body.ok().and_then(|body| Fields::read(BodyKind::Form, &body));
            match (&inner.browser, fields.is_some_and(|fields| fields.has(&field))) {
                (Some(browser), true) => settled(inner.log_out(browser, visitor)),
                _ => settled(otherwise),
            }
        };
        Some(Flow::Inspect(BodyInspector { limit: MAX_LOGOUT, judge: Box::new(judge) }))
    }

    /// The session that the cookies hold, if it is good at `now`. Sessions of two users are nobody's: a neighbour of this
    /// host may have planted one of them in the browser (RFC 6265 section 8.6), and which comes first says nothing.
    fn session(
        &self,
        inner: &Inner,
        cookies: &Cookies<'_>,
        https: bool,
        now: UnixMillis,
    ) -> Option<(Rc<Opened>, Standing)> {
        let mut good = self.opened(inner, cookies, https).filter_map(|opened| {
            let standing = self.standing(inner, &opened.session, now);
            (standing != Standing::Over).then_some((opened, standing))
        });
        let (first, standing) = good.next()?;
        let user = first.session.marks.subject;
        if good.any(|(other, _)| other.session.marks.subject != user) {
            tracing::debug!("the cookies of a request hold sessions of two users, which are nobody's");
            return None;
        }
        Some((first, standing))
    }

    /// The sessions that the cookies hold, good or over.
    pub(super) fn opened<'s, 'c>(
        &'s self,
        inner: &'s Inner,
        cookies: &Cookies<'c>,
        https: bool,
    ) -> impl Iterator<Item = Rc<Opened>> + use<'s, 'c> {
        self.jar.find(cookies, https).into_iter().filter_map(|sealed| {
            let key = sealed.key(&self.reader);
            let known = SESSIONS.with_borrow(|sessions| sessions.get(&key));
            known.or_else(|| {
                let opened = Opened::new(self.jar.open(&sealed)?, inner);
                Some(SESSIONS.with_borrow_mut(|sessions| sessions.insert(key, opened)))
            })
        })
    }

    pub(super) fn standing(&self, inner: &Inner, session: &Session, now: UnixMillis) -> Standing {
        let other_issuer = |metadata: &ProviderMetadata| {
            !issuer_may_vary(metadata) && !issuer_matches(metadata, &session.issuer, None)
        };
        if inner.services.ended.contains(self.jar.realm(), session)
            || inner.provider.metadata().as_deref().is_some_and(other_issuer)
            || (self.config.force_reauthorize && now.since(session.created) >= REAUTHORIZED_FOR)
        {
            return Standing::Over;
        }
        self.config.lifetimes.standing(session, now)
    }

    /// A new cookie for a session in use.
    pub(super) fn issue_again(
        &self,
        session: &Session,
        cookies: &Cookies<'_>,
        https: bool,
        now: UnixMillis,
    ) -> Vec<HeaderValue> {
        let session = session.clone().reissued(&self.config.lifetimes, now);
        self.jar.issue(&session, cookies, https).unwrap_or_else(|error| {
            tracing::warn!(%error, "a session's cookie is not issued anew");
            Vec::new()
        })
    }

    /// The redirect URI for a login that begins at, or comes back to, where `visitor` is.
    pub(super) fn redirect_uri(&self, visitor: &Visitor) -> String {
        match &self.redirect {
            Redirect::To { place, .. } => self.absolute(place, visitor),
            Redirect::Page => self.absolute(visitor.path(), visitor),
            Redirect::Derived if self.redirect.is_callback(visitor.path()) => {
                self.absolute(visitor.path(), visitor)
            }
            Redirect::Derived => {
                let page = visitor.path();
                format!("{}{}{DERIVED}", self.origin(visitor), page.strip_suffix('/').unwrap_or(page))
            }
        }
    }

    /// Scheme, host and port of this host, as `visitor` is to be told them.
    pub(super) fn origin(&self, visitor: &Visitor) -> String {
        match self.config.way_back.scheme {
            Some(scheme) => format!("{scheme}://{}", visitor.authority()),
            None => visitor.origin(),
        }
    }

    /// `place` as an absolute URL, if it is a path of this host.
    pub(super) fn absolute(&self, place: &str, visitor: &Visitor) -> String {
        if place.starts_with('/') { format!("{}{place}", self.origin(visitor)) } else { place.to_owned() }
    }

    fn is_callback(&self, path: &str) -> bool {
        match &self.local_path {
            Some(local) => path == local,
            None => self.redirect.is_callback(path),
        }
    }

    /// Whether it is time to ask the provider if the user of `session` is still logged in there.
    pub(super) fn is_unsure(&self, session: &Session, now: UnixMillis) -> bool {
        self.config
            .refresh_session_interval
            .is_some_and(|interval| now.since(session.authenticated) >= interval)
    }

    /// What a session keeps of an ID token whose claims these are: the token, its claims, or neither.
    pub(super) fn kept(
        &self,
        id_token: Secret<String>,
        claims: &Map<String, Value>,
    ) -> (Option<Secret<String>>, Option<String>) {
        let contents = self.config.contents;
        match (contents.id_token, contents.claims) {
            (true, _) => (Some(id_token), None),
            (false, true) => (None, serde_json::to_string(claims).ok()),
            (false, false) => (None, None),
        }
    }
}

/// Whether a query holds the provider's answer to a login (RFC 6749 sections 4.1.2 and 4.1.2.1).
fn answers_a_login(query: Option<&str>) -> bool {
    let names = |name: &str| {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        pairs.into_iter().any(|(own, _)| own == name)
    };
    query.is_some() && names("state") && (names("code") || names("error"))
}

impl Redirect {
    fn is_callback(&self, path: &str) -> bool {
        match self {
            Self::To { path: own, .. } => path == own,
            Self::Derived => path.ends_with(DERIVED),
            Self::Page => true,
        }
    }
}

impl Inner {
    /// Lets a request with a session that is good go on, if its claims suffice.
    pub(super) fn pass(&self, opened: &Opened, request: &mut PluginRequest<'_>, now: UnixMillis) -> Flow {
        if let Some(misfit) = &opened.misfit {
            let (errors, html) = (request.errors(), request.head.prefers_html());
            return Flow::respond(answer::misfit(self, misfit, errors, html));
        }
        let introduced = self.introduce(&opened.caller, &Place::of(request), opened.session.ends, now);
        let introduction = match introduced {
            Ok(introduction) => introduction,
            Err(objection) => {
                let visitor = Visitor::of(self, request);
                return Flow::respond(self.forbid(&objection, &visitor));
            }
        };
        self.remove_credentials(request.head, request.peer.https);
        request.response.extend(opened.answers(now));
        opened.edits(now).for_each(|edit| edit.apply(&mut request.head.headers));
        request.head.headers.extend(introduction.assertion);
        if let Some(who) = introduction.attach {
            request.attach(who);
        }
        if let Some(brought) = introduction.bring {
            request.bring(brought);
        }
        Flow::Continue
    }

    /// 403 to a session that does not suffice, which may be its end.
    pub(super) fn forbid(&self, objection: &str, visitor: &Visitor) -> Reply {
        let reply = answer::forbidden(self, objection, visitor.errors().0);
        match &self.browser {
            Some(browser) if self.config.words.ends_forbidden_sessions => {
                answer::set_cookies(reply, browser.jar.clear(&visitor.cookies(), visitor.https))
            }
            _ => reply,
        }
    }

    /// What becomes of a request without a session.
    pub(super) fn turn_away(self: &Arc<Self>, request: &mut PluginRequest<'_>) -> Flow {
        let visitor = Visitor::of(self, request);
        self.remove_credentials(request.head, request.peer.https);
        match self.turn_away_now(&visitor) {
            Some(Verdict { reply: Some(reply), .. }) => Flow::Respond(reply),
            Some(_) => Flow::Continue,
            None => {
                let inner = Arc::clone(self);
                Flow::Suspend(Box::pin(async move { inner.turn_away_later(&visitor).await }))
            }
        }
    }

    /// `None` where the provider must be waited for.
    fn turn_away_now(&self, visitor: &Visitor) -> Option<Verdict> {
        let browser = self.browser.as_ref()?;
        let login = match browser.config.unauthenticated {
            Unauthenticated::Pass => return Some(Verdict::default()),
            Unauthenticated::Deny => false,
            Unauthenticated::Login => visitor.page_load,
        };
        if !login {
            return Some(Verdict::respond(answer::login_needed(self, visitor)));
        }
        if browser.shared.as_ref().is_some_and(|shared| !shared.is_available()) {
            // A login could not end either.
            return Some(Verdict::respond(storage_away(visitor, StorageError)));
        }
        let metadata = self.provider.metadata()?;
        login::begin(self, browser, visitor, &metadata, None).map(Verdict::respond)
    }

    /// Sends the browser to the provider and back, without a page, to learn whether the user is still logged in there. A
    /// request that is no page load cannot follow, and is not served with what is no longer sure.
    fn ask_again(self: &Arc<Self>, session: &Session, request: &mut PluginRequest<'_>) -> Flow {
        let visitor = Visitor::of(self, request);
        let continued = Continued { span: session.span(), subject: session.marks.subject };
        let inner = Arc::clone(self);
        Flow::Suspend(Box::pin(async move { inner.ask_again_later(continued, &visitor).await }))
    }

    /// As [`Inner::ask_again`], where the request itself is out of reach.
    pub(super) async fn ask_again_later(&self, continued: Continued, visitor: &Visitor) -> Verdict {
        if !visitor.page_load {
            return Verdict::respond(visitor.error(StatusCode::UNAUTHORIZED, "the login is to be confirmed"));
        }
        let (errors, html) = visitor.errors();
        match (self.provider.ready().await, &self.browser) {
            (Ok(metadata), Some(browser)) => Verdict::respond(
                login::begin_pushed(self, browser, visitor, &metadata, Some(continued)).await,
            ),
            (Err(error), _) => Verdict::respond(answer::unavailable(self, &error, errors, html)),
            (Ok(_), None) => Verdict::default(),
        }
    }

    /// As [`Inner::turn_away_now`], waiting for the provider where that is needed.
    pub(super) async fn turn_away_later(&self, visitor: &Visitor) -> Verdict {
        if let Some(verdict) = self.turn_away_now(visitor) {
            return verdict;
        }
        let (errors, html) = visitor.errors();
        match (self.provider.ready().await, &self.browser) {
            (Ok(metadata), Some(browser)) => {
                Verdict::respond(login::begin_pushed(self, browser, visitor, &metadata, None).await)
            }
            (Err(error), _) => Verdict::respond(answer::unavailable(self, &error, errors, html)),
            (Ok(_), None) => Verdict::default(),
        }
    }

    /// Keeps the gate's own cookies from the upstream.
    pub(super) fn remove_own_cookies(&self, head: &mut RequestHead, https: bool) {
        if let Some(browser) = &self.browser {
            head.remove_cookies(|name| browser.jar.owns(name, https));
        }
    }

    /// Keeps from the upstream what a client without a verified token sent in place of the gate: its cookies, and
    /// `Authorization` where the upstream is to find the gate's word in it.
    pub(super) fn remove_credentials(&self, head: &mut RequestHead, https: bool) {
        self.remove_own_cookies(head, https);
        if self.config.headers.access_token == AccessTokenHeader::Authorization {
            head.headers.remove(AUTHORIZATION);
        }
    }
}

impl Opened {
    pub(super) fn new(session: Session, inner: &Inner) -> Self {
        let config = &inner.config;
        let headers = &config.headers;
        let claims = || session.id_claims().and_then(|claims| encoded(&STANDARD.encode(claims)));
        let userinfo = || session.userinfo.as_ref().and_then(|userinfo| encoded(&STANDARD.encode(userinfo)));
        let refresh_token = || session.refresh_token.as_ref().and_then(secret);
        let identity = [
            headers.id_token.then(claims).flatten().map(|value| (X_ID_TOKEN, value)),
            headers
                .raw_id_token
                .then(|| session.id_token.as_ref().and_then(secret))
                .flatten()
                .map(|value| (X_RAW_ID_TOKEN, value)),
            headers.userinfo.then(userinfo).flatten().map(|value| (X_USERINFO, value)),
            headers.refresh_token.then(refresh_token).flatten().map(|value| (X_REFRESH_TOKEN, value)),
        ];
        let known = Known::of(&session, config);
        let objection = known.objection(&session, config);
        let misfit = inner.claim_schema.as_ref().and_then(|schema| known::misfit(schema, &session));
        let told = identity.into_iter().flatten();
        let userinfo = session.userinfo.as_ref().map(|userinfo| STANDARD.encode(userinfo));
        let shown = |token: &Option<Secret<String>>| token.as_ref().map(|token| token.expose().clone());
        let jwk = |token: &Option<Secret<String>>| {
            token_headers::jwk_of(&inner.provider, token.as_ref()?.expose()).map(Cow::Owned)
        };
        let part = |part: TokenPart| match part {
            TokenPart::IdToken => shown(&session.id_token).map(Cow::Owned),
            TokenPart::RefreshToken => shown(&session.refresh_token).map(Cow::Owned),
            TokenPart::Userinfo => userinfo.as_deref().map(Cow::Borrowed),
            TokenPart::AccessTokenJwk => jwk(&session.access_token),
            TokenPart::IdTokenJwk => jwk(&session.id_token),
            TokenPart::SessionId => Some(Cow::Owned(public_id(&session.id))),
            TokenPart::AccessToken
            | TokenPart::Introspection
            | TokenPart::UserinfoJwt
            | TokenPart::IntrospectionJwt => None,
        };
        let documents = known.documents();
        let caller = Caller::of(config, Some(&session.subject), &documents, told, objection, &part);
        let own = |part: TokenPart| (part == TokenPart::AccessToken).then(|| shown(&session.access_token));
        let named = |downstream: bool| {
            token_headers::told(&headers.named, downstream, |part| own(part).flatten().map(Cow::Owned))
        };
        let access_token = session.access_token.as_ref().and_then(|token| match headers.access_token {
            AccessTokenHeader::None => None,
            AccessTokenHeader::XAccessToken => Some((X_ACCESS_TOKEN, secret(token)?)),
            AccessTokenHeader::Authorization => {
                let value = Secret::new(format!("Bearer {}", token.expose()));
                Some((AUTHORIZATION, secret(&value)?))
            }
        });
        let access_token: Box<[_]> = access_token.into_iter().chain(named(false)).collect();
        let access_token_back: Box<[_]> = named(true).into();
        let values = access_token.iter().chain(&access_token_back);
        let texts = caller.weight() + values.map(|(_, value)| value.len()).sum::<usize>();
        // The session holds the tokens once more.
        let id_token = session.id_token.as_ref().map_or(0, |token| token.expose().len())
            + session.claims.as_ref().map_or(0, String::len);
        let weight = 2 * texts + id_token + session.userinfo.as_ref().map_or(0, String::len) + 512;
        let weight = weight + misfit.as_ref().map_or(0, |misfit| misfit.len());
        Self {
            session,
            misfit,
            caller,
            access_token,
            access_token_back,
            issued_again: Cell::new(None),
            weight,
        }
    }

    /// Whether a cookie that grew stale is to be issued anew with this answer. Sealing one costs more than the whole
    /// request, and a client that sends many at once, or keeps no cookies, is not helped by one with each answer.
    fn is_to_be_issued_again(&self, now: UnixMillis) -> bool {
        let lately = self.issued_again.get().is_some_and(|last| now.since(last) < ISSUED_AGAIN_EVERY);
        if !lately {
            self.issued_again.set(Some(now));
        }
        !lately
    }

    /// Whether its access token is over at `now`.
    pub(super) fn is_over(&self, now: UnixMillis) -> bool {
        self.session.access_token.is_some()
            && self.session.access_expires.is_some_and(|expires| now >= expires)
    }

    /// What the upstream is told. An access token that is over is not among it.
    pub(super) fn edits(&self, now: UnixMillis) -> impl Iterator<Item = HeaderEdit> {
        let access_token = self.access_token.iter().filter(move |_| !self.is_over(now));
        let headers = self.caller.told.iter().chain(access_token);
        headers.map(|(name, value)| HeaderEdit::Set(name.clone(), value.clone()))
    }

    /// What the client is told.
    pub(super) fn answers(&self, now: UnixMillis) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let access_token = self.access_token_back.iter().filter(move |_| !self.is_over(now));
        self.caller.back.iter().chain(access_token).cloned()
    }
}

/// What tells a session from others, and opens none: its own id may be the key under which it is kept.
fn public_id(id: &[u8]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"session id\n");
    context.update(id);
    URL_SAFE_NO_PAD.encode(context.finish())
}

/// The path of a URL or of a path with a query.
fn path_of(field: &str, place: &str) -> Result<String, ConfigError> {
    let uri = Uri::try_from(place).map_err(|error| ConfigError::new(field, error.to_string()))?;
    Ok(uri.path().to_owned())
}

/// A header value that debug output does not show. One that no upstream would take, as a provider's boundless answer
/// may become, is left out.
pub(super) fn encoded(text: &str) -> Option<HeaderValue> {
    if text.len() > MAX_HEADER {
        tracing::warn!(bytes = text.len(), "a header for the upstream is left out because it is too long");
        return None;
    }
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn secret(token: &Secret<String>) -> Option<HeaderValue> {
    encoded(token.expose())
}

/// The payload of a token that came from the token endpoint itself.
pub(super) fn payload(jws: &str) -> Option<Vec<u8>> {
    CompactJws::parse(jws).ok()?.payload_unverified().ok()
}
