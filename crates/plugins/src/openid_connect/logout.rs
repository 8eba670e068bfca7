//! The end of a session, here and at the provider (OIDC RP-Initiated Logout 1.0).

use std::sync::Arc;

use base::UnixMillis;
use gateway::plugin::{Flow, Reply, Verdict};
use http::StatusCode;
use oauth::ProviderMetadata;
use rp::session::{EndedError, Session, SessionSpan};
use url::Url;

use super::{Inner, answer, browser::Browser, shared::Shown, visitor::Visitor};

impl Inner {
    /// Answers at the logout path. A request that another site's page caused ends nothing by itself: the user is asked.
    pub(super) fn log_out(self: &Arc<Self>, browser: &Browser, visitor: Visitor) -> Flow {
        if visitor.cross_site {
            return Flow::respond(answer::page(StatusCode::OK, confirm_page(visitor.path()), Vec::new()));
        }
        if browser.jar.is_crowded(&visitor.cookies(), visitor.https) {
            // Its own may be among those that are not tried, and would go on behind the user's back.
            return Flow::respond(unrecorded(browser, &visitor));
        }
        // All that could ever count again: one that is over by the route's rules of today, and one whose end was not
        // recorded the last time.
        let now = self.services.clock.now();
        let sessions: Vec<Session> = browser
            .opened(self, &visitor.cookies(), visitor.https)
            .filter(|opened| now < opened.session.ends)
            .map(|opened| opened.session.clone())
            .collect();
        let shown = match browser.shared {
            Some(_) => browser.shown(&visitor.cookies(), visitor.https),
            None => Vec::new(),
        };
        let inner = Arc::clone(self);
        Flow::Suspend(Box::pin(async move {
            let Some(browser) = &inner.browser else { return Verdict::default() };
            let mut sessions = sessions;
            if let Some(shared) = &browser.shared {
                for Shown { ticket, .. } in &shown {
                    match shared.load(ticket).await {
                        Ok(stored) => sessions.extend(stored.map(|stored| stored.session)),
                        Err(error) => {
                            tracing::error!(%error, "a logout is not recorded");
                            return Verdict::respond(unrecorded(browser, &visitor));
                        }
                    }
                }
            }
            Verdict::respond(inner.sign_off(browser, &visitor, &sessions).await)
        }))
    }

    /// Ends a session for good, wherever it is kept.
    pub(super) async fn end_session(
        &self,
        browser: &Browser,
        span: SessionSpan,
        now: UnixMillis,
    ) -> Result<(), EndedError> {
        if let Some(shared) = &browser.shared {
            shared.remove(&span.id).await.map_err(|error| EndedError(error.to_string()))?;
        }
        // With shared sessions too: what the cores of this node were told of it no longer holds.
        self.services.ended.end(browser.jar.realm(), span, now).await
    }

    async fn sign_off(&self, browser: &Browser, visitor: &Visitor, sessions: &[Session]) -> Reply {
        let cookies = browser.jar.clear(&visitor.cookies(), visitor.https);
        for session in sessions {
            let now = self.services.clock.now();
            if let Err(error) = self.end_session(browser, session.span(), now).await {
                tracing::error!(%error, "a logout is not recorded");
                return unrecorded(browser, visitor);
            }
            if browser.config.revoke_on_logout {
                self.revoke(session).await;
            }
        }
        if visitor.pixel {
            return answer::set_cookies(answer::pixel(), cookies);
        }
        let metadata = match self.provider.ready().await {
            Ok(metadata) => metadata,
            Err(error) => {
                tracing::warn!(%error, "a user is logged out here and not at the identity provider");
                let why = "you are logged out here, but the identity provider is not available to log you out there";
                return answer::set_cookies(visitor.error(StatusCode::SERVICE_UNAVAILABLE, why), cookies);
            }
        };
        match self.after_logout(browser, visitor, &metadata, sessions.first()) {
            Some(target) => answer::redirect(visitor.redirect_status(), &target, cookies),
            None => {
                answer::page(StatusCode::OK, "<html><body>Logged Out</body></html>\n".to_owned(), cookies)
            }
        }
    }

    /// The tokens are of no use to anybody any more. Best effort.
    async fn revoke(&self, session: &Session) {
        let tokens = [(&session.refresh_token, "refresh_token"), (&session.access_token, "access_token")];
        for (token, hint) in tokens {
            let Some(token) = token else { continue };
            if let Err(error) = self.provider.revoke(&self.client, token, hint).await {
                tracing::warn!(%error, hint, "a token of a session that ended is not revoked");
            }
        }
    }

    /// Where the browser goes after a logout, as lua-resty-openidc has it: to the configured place or the provider's
    /// `end_session_endpoint`, or to the address to return to itself, with what they need to know; or to Ping Federate's
    /// own endpoint; or nowhere.
    fn after_logout(
        &self,
        browser: &Browser,
        visitor: &Visitor,
        metadata: &ProviderMetadata,
        session: Option<&Session>,
    ) -> Option<String> {
        let logout = &browser.config.logout;
        let after = browser.config.post_logout_redirect_uri.as_deref();
        let after = after.map(|place| browser.absolute(place, visitor));
        let own = logout.place.as_deref().map(|place| browser.absolute(place, visitor));
        let is_own = own.is_some();
        let end_session = own.or_else(|| metadata.end_session_endpoint.clone());
        let is_provider = end_session.is_some() && !is_own;
        if logout.bare && end_session.is_none() {
            return after;
        }
        let Some(target) = end_session.or_else(|| after.clone()) else {
            let mut url = Url::parse(metadata.ping_end_session_endpoint.as_deref()?).ok()?;
            url.query_pairs_mut().append_pair("TargetResource", &browser.origin(visitor));
            return Some(url.into());
        };
        let mut url = Url::parse(&target).ok()?;
        let mut params = Vec::new();
        let hint = session.and_then(|session| session.id_token.as_ref());
        if let Some(hint) = hint.filter(|_| is_provider || (is_own && logout.id_token_hint)) {
            params.push(("id_token_hint", hint.expose().as_str()));
        }
        // Without a hint the provider must be told the client, or it cannot know which addresses to return to are the
        // client's.
        if logout.client_id || (is_provider && hint.is_none()) {
            params.push(("client_id", &self.client.client_id));
        }
        if let Some(after) = &after {
            params.push(("post_logout_redirect_uri", after));
        }
        if !params.is_empty() {
            url.query_pairs_mut().extend_pairs(params);
        }
        Some(url.into())
    }
}

fn unrecorded(browser: &Browser, visitor: &Visitor) -> Reply {
    let why = "the logout could not be recorded; the session is gone from this browser only";
    let cookies = browser.jar.clear(&visitor.cookies(), visitor.https);
    answer::set_cookies(visitor.error(StatusCode::SERVICE_UNAVAILABLE, why), cookies)
}

fn confirm_page(path: &str) -> String {
    let path = gateway::error::escape_html(path);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Log out?</title>\n<h1>Log out?</h1>\n\
         <p>Another site asks to log you out here.</p>\n<form method=\"post\" action=\"{path}\">\n\
         <button id=\"confirm-logout\" type=\"submit\">Log out</button>\n</form>\n</html>\n"
    )
}
