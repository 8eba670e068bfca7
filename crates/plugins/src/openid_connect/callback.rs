//! The end of a login: the provider has sent the browser back (OIDC Core 3.1.2.5 and 3.1.3).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use gateway::plugin::{Answering, BodyReader, Flow, Reply, Verdict};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use oauth::{ErrorCode, OAuthError, Params, ProviderMetadata, TokenResponse, Verifier, form};
use rp::{
    provider::{Granted, ProviderError, issuer_may_vary},
    session::{Login, Marks, Recalled, Session, SessionSpan, Standing, StorageError},
};

use super::{
    Inner, answer,
    browser::Browser,
    login,
    login_config::{Handed, LoginEnd, ResponseMode},
    shared::storage_away,
    tokens::{BadIdToken, Expected},
    userinfo::AnotherUser,
    visitor::Visitor,
};

/// Bytes of a code at most; the longest known ones have about 2 KB.
const MAX_CODE: usize = 8192;
/// Bytes of an answer that is posted.
const MAX_FORM: usize = 64 * 1024;
/// Times a login is begun again by itself when a new try may cure it.
const MAX_RESTARTS: u8 = 1;

/// Headers of the provider's answer that the browser is told.
type Told = Vec<(HeaderName, HeaderValue)>;

/// Why a login came to nothing.
enum Failed {
    /// The request is at fault, and why.
    Request(&'static str),
    /// The user, or the provider on the user's behalf, said no.
    Refused(OAuthError),
    /// The provider is at fault. What exactly is for the log.
    Provider(String),
    /// The session could not be kept.
    Storage,
}

impl Inner {
    /// Answers at the redirect URI. The answer is read where the request asked for it, and nowhere else.
    pub(super) fn callback(self: &Arc<Self>, browser: &Browser, visitor: Visitor) -> Flow {
        let (expected, allow, why) = match browser.config.way_back.mode {
            ResponseMode::Query => (Method::GET, "GET", "a login comes back by GET"),
            ResponseMode::FormPost => (Method::POST, "POST", "a login comes back by POST"),
        };
        if visitor.method != expected {
            let mut reply = visitor.error(StatusCode::METHOD_NOT_ALLOWED, why);
            reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
            return Flow::respond(reply);
        }
        if !visitor.may_log_in() {
            return Flow::respond(visitor.error(StatusCode::BAD_REQUEST, login::NEEDS_HTTPS));
        }
        if browser.config.way_back.mode == ResponseMode::Query {
            let query = visitor.target.query().unwrap_or_default();
            return self.read_callback(browser, &visitor, query.as_bytes());
        }
        if !visitor.form {
            return Flow::respond(visitor.error(StatusCode::BAD_REQUEST, "a login comes back in a form"));
        }
        let inner = Arc::clone(self);
        let answer = move |body: Bytes| -> Answering {
            Box::pin(async move {
                let Some(browser) = &inner.browser else { return Reply::default() };
                match inner.read_callback(browser, &visitor, &body) {
                    Flow::Suspend(rest) => rest.await.reply.map(|reply| *reply).unwrap_or_default(),
                    Flow::Respond(reply) => *reply,
                    Flow::Continue | Flow::Read(_) | Flow::Inspect(_) => Reply::default(),
                }
            })
        };
        Flow::Read(BodyReader { limit: MAX_FORM, answer: Box::new(answer) })
    }

    /// Reads the provider's answer. Everything that can be judged without the provider is, first.
    fn read_callback(self: &Arc<Self>, browser: &Browser, visitor: &Visitor, form: &[u8]) -> Flow {
        let Ok(params) = form::parse(form) else {
            return Flow::respond(
                visitor.error(StatusCode::BAD_REQUEST, "the callback's parameters cannot be read"),
            );
        };
        let redirect_uri = browser.redirect_uri(visitor);
        let now = self.services.clock.now();
        let recalled = params.value("state").map_or(Recalled::Unknown, |state| {
            browser.jar.recall(state, &redirect_uri, &visitor.cookies(), visitor.https, now)
        });
        let (inner, visitor) = (Arc::clone(self), visitor.clone());
        match recalled {
            Recalled::Current(login) => {
                let params = params.into_owned();
                Flow::Suspend(Box::pin(async move { inner.finish(&visitor, &params, &login).await }))
            }
            Recalled::Expired(login) => {
                let failed = Failed::Request("the login took too long");
                Flow::Suspend(Box::pin(async move { inner.begin_again(&visitor, &login, failed).await }))
            }
            Recalled::Unknown => {
                let why = format!(
                    "unhandled request to the redirect_uri: no login of this browser is waiting for it; go back to the \
                     page you came for and try again, at {}, where logins of it come back to",
                    browser.origin(&visitor)
                );
                let reply = answer::login_failed(self, false, &why, &visitor);
                Flow::respond(reply.unwrap_or_else(|| visitor.error(StatusCode::BAD_REQUEST, &why)))
            }
        }
    }

    async fn finish(&self, visitor: &Visitor, params: &Params<'_>, login: &Login) -> Verdict {
        let Some(browser) = &self.browser else { return Verdict::default() };
        let code = match self.provider.ready().await {
            Ok(metadata) => match self.read_answer(&metadata, params) {
                Ok(code) => self.claim(browser, login).await.map(|()| code),
                Err(failed) => Err(failed),
            },
            Err(error) => Err(Failed::Provider(error.to_string())),
        };
        let session = match code {
            Ok(code) => self.log_in(browser, visitor, login, &code).await,
            Err(failed) if passing(&failed) => return self.begin_again(visitor, login, failed).await,
            Err(failed) if login.continues.is_some() && asks_for_a_page(&failed) => {
                return self.ask_the_user(browser, visitor, login, failed).await;
            }
            Err(failed) => Err(failed),
        };
        Verdict::respond(match session {
            Ok((session, told, handed)) => {
                let mut reply = self.welcome(browser, visitor, login, &session, &handed).await;
                for (name, value) in told {
                    reply.headers_mut().append(name, value);
                }
                reply
            }
            Err(failed) => self.give_up(browser, visitor, login, failed),
        })
    }

    /// Uses the state up, if it is good for one more exchange. Only an exchange does: the record of used ones is bounded,
    /// and an answer that asks nothing of the provider must be no cheap way to fill it.
    async fn claim(&self, browser: &Browser, login: &Login) -> Result<(), Failed> {
        let is_fresh = self.services.used_states.claim(login, self.services.clock.now())
            && match &browser.shared {
                Some(shared) => shared
                    .claim(login, browser.config.cookies.logins.lifetime)
                    .await
                    .map_err(|_: StorageError| Failed::Storage)?,
                None => true,
            };
        is_fresh.then_some(()).ok_or(Failed::Request("this login is finished already"))
    }

    /// The code, if the answer is this provider's to this client (RFC 6749 4.1.2, RFC 9207).
    fn read_answer(&self, metadata: &ProviderMetadata, params: &Params<'_>) -> Result<String, Failed> {
        check_issuer(metadata, params.value("iss"))?;
        if params.value("client_id").is_some_and(|client| client != self.client.client_id) {
            return Err(Failed::Request("the answer is for another client"));
        }
        if let Some(error) = params.value("error") {
            let error = OAuthError::from_parts(error, params.value("error_description"));
            return Err(error.map_or(Failed::Request("the answer cannot be read"), Failed::Refused));
        }
        let code = params.value("code").filter(|code| code.len() <= MAX_CODE);
        let code = code.ok_or(Failed::Request(
            "unhandled request to the redirect_uri: it has no code that can be read",
        ))?;
        Ok(code.to_owned())
    }

    /// Buys a session with the code, and finds what the browser is told and given of the provider's answer.
    async fn log_in(
        &self,
        browser: &Browser,
        visitor: &Visitor,
        login: &Login,
        code: &str,
    ) -> Result<(Session, Told, Handed), Failed> {
        let provider = |error: ProviderError| Failed::Provider(error.to_string());
        let verifier = Verifier::parse(&login.verifier()).ok();
        let redirect_uri = browser.redirect_uri(visitor);
        let client = self.client.saying(&visitor.further);
        let exchanged = self.provider.exchange_code(&client, code, &redirect_uri, verifier.as_ref()).await;
        let Granted { tokens, headers } = exchanged.map_err(|error| match error.denial() {
            Some(OAuthError { code: ErrorCode::InvalidGrant, .. }) => {
                Failed::Request("the identity provider does not accept the code")
            }
            _ => provider(error),
        })?;
        if tokens.token_type != self.token_type() {
            return Err(Failed::Provider(
                "the access token is of another type than was asked for".to_owned(),
            ));
        }
        let id_token = tokens.id_token.as_ref().ok_or(Failed::Provider("there is no ID token".to_owned()))?;
        let nonce = login.nonce();
        let expected = Expected {
            nonce: Some(&nonce),
            authenticated_since: browser.config.max_age().map(|age| login.created - age),
            access_token: &tokens.access_token,
            code: Some(code),
        };
        let taken = self.take_id_token(id_token, &expected, self.services.clock.now()).await;
        let (id_token, checked) = taken.map_err(|error: BadIdToken| Failed::Provider(error.to_string()))?;
        let contents = browser.config.contents;
        let userinfo = match contents.userinfo {
            true => self.userinfo(&tokens, &checked.subject, &visitor.further).await,
            false => Ok(None),
        };
        let userinfo =
            userinfo.map_err(|AnotherUser| Failed::Provider("userinfo is about somebody else".to_owned()))?;
        let now = self.services.clock.now();
        let access_expires = browser.access_expires(&tokens, now);
        let keeps_token = contents.access_token;
        if keeps_token && access_expires <= now && browser.config.renew && tokens.refresh_token.is_none() {
            // Such a session would send its user to log in again at once, and again.
            return Err(Failed::Provider("the access token counts as over when it comes".to_owned()));
        }
        let sid = checked.claims.get("sid").and_then(|sid| sid.as_str());
        let marks = Marks::new(browser.jar.realm(), &checked.issuer, &checked.subject, sid);
        let own = SessionSpan {
            id: self.services.random.bytes(),
            created: now,
            ends: browser.config.lifetimes.last_moment(now),
        };
        // A session that the provider only confirmed is the same one, and gets no older for it.
        let continued = login.continues.filter(|continued| continued.subject == marks.subject);
        let span = continued.map_or(own, |continued| continued.span);
        let handed = browser.config.way_back.end.handed(&tokens);
        let (id_token, claims) = browser.kept(id_token, &checked.claims);
        let told = self.config.calls.additions.replay.of("authorization_code", &headers);
        let session = Session {
            id: span.id,
            created: span.created,
            renewed: now,
            touched: now,
            ends: span.ends,
            authenticated: now,
            marks,
            issuer: checked.issuer,
            subject: checked.subject,
            id_token,
            claims,
            access_expires: keeps_token.then_some(access_expires),
            access_token: keeps_token.then_some(tokens.access_token),
            refresh_token: tokens.refresh_token.filter(|_| keeps_token),
            scope: tokens.scope.map(|scope| scope.to_string()),
            userinfo,
        };
        Ok((session, told, handed))
    }

    /// Gives the browser its session and sends it to the page it came for. What sessions it had before are over, those of
    /// others that were planted there too: they would make the new one nobody's.
    async fn welcome(
        &self,
        browser: &Browser,
        visitor: &Visitor,
        login: &Login,
        session: &Session,
        handed: &Handed,
    ) -> Reply {
        let (cookies, https) = (visitor.cookies(), visitor.https);
        let now = self.services.clock.now();
        if self.services.ended.contains(browser.jar.realm(), session) {
            // It was ended while the provider was asked whether it goes on.
            return self.give_up(browser, visitor, login, Failed::Request("the session has ended"));
        }
        let before: Vec<SessionSpan> = match &browser.shared {
            // Also one that this route does not take without asking the provider again.
            None => {
                let counts =
                    |session: &Session| browser.config.lifetimes.standing(session, now) != Standing::Over;
                let opened = browser.opened(self, &cookies, https);
                opened.filter(|opened| counts(&opened.session)).map(|opened| opened.session.span()).collect()
            }
            Some(_) => browser.shown(&cookies, https).iter().map(|shown| shown.ticket.span).collect(),
        };
        for span in before.into_iter().chain(login.continues.map(|continued| continued.span)) {
            if span.id != session.id
                && let Err(error) = self.end_session(browser, span, now).await
            {
                tracing::warn!(%error, "the end of a session that a new login replaces holds until a restart");
            }
        }
        let issued = match &browser.shared {
            None => browser
                .jar
                .issue(session, &cookies, https)
                .map_err(|error| Failed::Provider(error.to_string())),
            Some(shared) => {
                browser.keep_shared(shared, session, visitor, now).await.map_err(|_| Failed::Storage)
            }
        };
        let mut lines = match issued {
            Ok(lines) => lines,
            Err(failed) => return self.give_up(browser, visitor, login, failed),
        };
        lines.push(browser.jar.forget(&login.state, https));
        // Whoever only confirms a session came for the page.
        let end = if login.continues.is_none() { &browser.config.way_back.end } else { &LoginEnd::Page };
        let place = match end {
            LoginEnd::Page => login.return_to.clone(),
            LoginEnd::Answer(_) => return answer::json(handed, lines),
            LoginEnd::Redirect { place, in_query, .. } => {
                let place = place.as_ref().map(|place| browser.absolute(place, visitor));
                carrying(place.unwrap_or_else(|| login.return_to.clone()), handed, *in_query)
            }
        };
        if browser.jar.is_strict() {
            // Browsers keep a strict cookie back for as long as redirects lead here from another site; a page of
            // this site's own ends that.
            return answer::page(StatusCode::OK, forward_page(&place), lines);
        }
        answer::redirect(visitor.redirect_status(), &place, lines)
    }

    /// The user is no longer logged in at the provider: neither here, until the provider has asked who it is.
    async fn ask_the_user(
        &self,
        browser: &Browser,
        visitor: &Visitor,
        login: &Login,
        failed: Failed,
    ) -> Verdict {
        let now = self.services.clock.now();
        if let Some(continued) = login.continues
            && let Err(error) = self.end_session(browser, continued.span, now).await
        {
            tracing::warn!(%error, "the end of a session that the provider does not confirm holds until a restart");
        }
        let mut verdict = self.begin_again(visitor, login, failed).await;
        verdict.response.extend(answer::cookie_headers(browser.jar.clear(&visitor.cookies(), visitor.https)));
        verdict
    }

    /// Begins the login anew, once; the second time it has failed.
    async fn begin_again(&self, visitor: &Visitor, login: &Login, failed: Failed) -> Verdict {
        let Some(browser) = &self.browser else { return Verdict::default() };
        let forget = browser.jar.forget(&login.state, visitor.https);
        Verdict::respond(match self.provider.ready().await {
            Ok(metadata) if login.restarts < MAX_RESTARTS => {
                let again = login.again(&self.services.random, self.services.clock.now());
                answer::set_cookies(
                    login::send(self, browser, visitor, &metadata, &again).await,
                    vec![forget],
                )
            }
            _ => self.give_up(browser, visitor, login, failed),
        })
    }

    fn give_up(&self, browser: &Browser, visitor: &Visitor, login: &Login, failed: Failed) -> Reply {
        let (status, message) = match &failed {
            Failed::Storage => {
                let reply = storage_away(visitor, StorageError);
                return answer::set_cookies(reply, vec![browser.jar.forget(&login.state, visitor.https)]);
            }
            Failed::Request(why) => (StatusCode::BAD_REQUEST, (*why).to_owned()),
            Failed::Refused(error) => (refusal_status(&error.code), describe(error)),
            Failed::Provider(why) => {
                tracing::warn!(%why, "a login failed at the identity provider");
                (StatusCode::BAD_GATEWAY, "the identity provider did not complete the login".to_owned())
            }
        };
        let by_provider = matches!(failed, Failed::Provider(_));
        let reply = answer::login_failed(self, by_provider, &message, visitor);
        let reply = reply.unwrap_or_else(|| visitor.error(status, &message));
        answer::set_cookies(reply, vec![browser.jar.forget(&login.state, visitor.https)])
    }
}

impl Browser {
    /// When an access token that came at `now` counts as over: a second early, and by the configured leeway.
    pub(super) fn access_expires(&self, tokens: &TokenResponse, now: base::UnixMillis) -> base::UnixMillis {
        let lifetime = tokens.expires_in.unwrap_or(self.config.default_expires_in);
        now + lifetime.saturating_sub(self.config.expires_leeway.saturating_add(Duration::from_secs(1)))
    }
}

/// RFC 9207: an `iss` must be the provider's, and one that promises it must send it. That of a provider with many
/// tenants is known when the ID token is.
fn check_issuer(metadata: &ProviderMetadata, iss: Option<&str>) -> Result<(), Failed> {
    let promised = metadata.authorization_response_iss_parameter_supported == Some(true);
    match iss {
        Some(iss) if iss != metadata.issuer && !issuer_may_vary(metadata) => {
            Err(Failed::Request("the answer comes from another identity provider"))
        }
        None if promised => {
            Err(Failed::Request("the answer does not say which identity provider it comes from"))
        }
        _ => Ok(()),
    }
}

/// Whether a new try may cure it.
fn passing(failed: &Failed) -> bool {
    matches!(failed, Failed::Refused(OAuthError { code: ErrorCode::TemporarilyUnavailable, .. }))
}

/// Whether the provider would have to show a page, which it was asked not to (OIDC Core 3.1.2.6).
fn asks_for_a_page(failed: &Failed) -> bool {
    let Failed::Refused(OAuthError { code, .. }) = failed else { return false };
    matches!(
        code,
        ErrorCode::LoginRequired
            | ErrorCode::InteractionRequired
            | ErrorCode::ConsentRequired
            | ErrorCode::AccountSelectionRequired
    )
}

/// 403 where a person or a policy said no, 502 where the provider, or how it is set up, is at fault.
fn refusal_status(code: &ErrorCode) -> StatusCode {
    match code {
        ErrorCode::AccessDenied
        | ErrorCode::LoginRequired
        | ErrorCode::InteractionRequired
        | ErrorCode::ConsentRequired
        | ErrorCode::AccountSelectionRequired
        | ErrorCode::UnmetAuthenticationRequirements => StatusCode::FORBIDDEN,
        _ => StatusCode::BAD_GATEWAY,
    }
}

/// The error as the provider told it; `OAuthError` has taken out what is no plain text, and the page escapes the rest.
fn describe(error: &OAuthError) -> String {
    match &error.description {
        Some(description) => format!("the login was refused: {}: {description}", error.code),
        None => format!("the login was refused: {}", error.code),
    }
}

/// `place` with what is given, in its query or its fragment.
fn carrying(place: String, handed: &Handed, in_query: bool) -> String {
    if handed.is_empty() {
        return place;
    }
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    for (name, value) in handed {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        pairs.append_pair(name, &text);
    }
    let (pairs, bare) = (pairs.finish(), place.split('#').next().unwrap_or_default());
    match in_query {
        true if bare.contains('?') => format!("{bare}&{pairs}"),
        true => format!("{bare}?{pairs}"),
        false => format!("{bare}#{pairs}"),
    }
}

fn forward_page(target: &str) -> String {
    let target = gateway::error::escape_html(target);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Logged in</title>\n\
         <meta http-equiv=\"refresh\" content=\"0;url={target}\">\n<p><a href=\"{target}\">Continue</a></p>\n</html>\n"
    )
}
