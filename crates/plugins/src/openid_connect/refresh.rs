//! A session whose access token is over gets a new one (RFC 6749 section 6), once for all requests that need it.

use std::sync::Arc;

use base::UnixMillis;
use gateway::plugin::Verdict;
use http::HeaderValue;
use oauth::ErrorCode;
use rp::{
    provider::ProviderError,
    session::{IdTokenError, RefreshError, Session, Standing},
};

use super::{
    Inner, answer,
    browser::{Browser, Opened},
    tokens::{BadIdToken, Expected},
    visitor::Visitor,
};

impl Inner {
    /// The verdict for a request whose session needs a new access token.
    pub(super) async fn refresh(self: Arc<Self>, session: Session, visitor: Visitor) -> Verdict {
        let (Some(browser), Some(token)) = (&self.browser, &session.refresh_token) else {
            return Verdict::default();
        };
        let (realm, work) = (browser.jar.realm(), Arc::clone(&self).renew(session.clone()));
        match self.services.refreshes.run(realm, token, work).await {
            // A provider may give several sessions of a user one refresh token; each keeps what is its own.
            Ok(new) if new.subject == session.subject => {
                let Session { id, created, renewed, ends, authenticated, marks, .. } = session;
                let new = Session { id, created, renewed, ends, authenticated, marks, ..new };
                self.admit(browser, &visitor, new, true).await
            }
            Err(RefreshError::Unavailable) => self.admit(browser, &visitor, session.clone(), false).await,
            Err(RefreshError::Refused) => self.turn_away_later(&visitor).await,
            Ok(_) | Err(RefreshError::Ended) => self.dismiss(browser, &visitor).await,
        }
    }

    /// Lets a request with `session` go on, with a new cookie if it is `new`.
    async fn admit(&self, browser: &Browser, visitor: &Visitor, session: Session, new: bool) -> Verdict {
        // It may have been ended while the provider was asked.
        if self.services.ended.contains(browser.jar.realm(), &session) {
            return self.dismiss(browser, visitor).await;
        }
        let now = self.services.clock.now();
        let opened = Opened::new(session, self);
        let stale = browser.config.lifetimes.standing(&opened.session, now) == Standing::Stale;
        let cookies = match new || stale {
            true => browser.issue_again(&opened.session, &visitor.cookies(), visitor.https, now),
            false => Vec::new(),
        };
        self.usher(visitor, &opened, cookies, now)
    }

    /// Lets a request with a session that is good go on, if its claims suffice.
    pub(super) fn usher(
        &self,
        visitor: &Visitor,
        opened: &Opened,
        cookies: Vec<HeaderValue>,
        now: UnixMillis,
    ) -> Verdict {
        if let Some(misfit) = &opened.misfit {
            let (errors, html) = visitor.errors();
            return Verdict::respond(answer::misfit(self, misfit, errors, html));
        }
        let introduced = self.introduce(&opened.caller, &visitor.place(), opened.session.ends, now);
        let introduction = match introduced {
            Ok(introduction) => introduction,
            Err(objection) => {
                return Verdict::respond(self.forbid(&objection, visitor));
            }
        };
        let mut verdict = Verdict {
            request: opened.edits(now).collect(),
            response: answer::cookie_headers(cookies).into_iter().chain(opened.answers(now)).collect(),
            ..Verdict::default()
        };
        introduction.join(&mut verdict);
        verdict
    }

    /// The session is over: its cookies go, and the request is one without a session.
    pub(super) async fn dismiss(&self, browser: &Browser, visitor: &Visitor) -> Verdict {
        let cookies = answer::cookie_headers(browser.jar.clear(&visitor.cookies(), visitor.https));
        let mut verdict = self.turn_away_later(visitor).await;
        verdict.response.extend(cookies);
        verdict
    }

    /// Asks the provider. Runs once for a refresh token, on the control runtime.
    pub(super) async fn renew(self: Arc<Self>, session: Session) -> Result<Session, RefreshError> {
        let (Some(browser), Some(token)) = (&self.browser, &session.refresh_token) else {
            return Err(RefreshError::Unavailable);
        };
        // What was granted; where the provider did not say, all that was asked for (RFC 6749 section 5.1).
        let scope = session.scope.as_deref().unwrap_or(&browser.config.scope);
        let mut answer = self.provider.refresh(&self.client, token, Some(scope)).await;
        // Whoever granted less and did not say so may hold to that (RFC 6749 section 6).
        let too_much =
            |error: &ProviderError| error.denial().is_some_and(|no| no.code == ErrorCode::InvalidScope);
        if answer.as_ref().err().is_some_and(too_much) {
            answer = self.provider.refresh(&self.client, token, None).await;
        }
        let tokens = match answer {
            Ok(tokens) if tokens.token_type == self.token_type() => tokens,
            Ok(_) => return Err(RefreshError::Unavailable),
            Err(error) if error.denial().is_some_and(|no| no.code == ErrorCode::InvalidGrant) => {
                if self.config.words.keeps_refused_sessions {
                    return Err(RefreshError::Refused);
                }
                return self.end(browser, &session).await;
            }
            Err(error) => {
                tracing::warn!(%error, "a session is not refreshed and goes on without an access token");
                return Err(RefreshError::Unavailable);
            }
        };
        let now = self.services.clock.now();
        let mut kept = (session.id_token.clone(), session.claims.clone());
        if let Some(id_token) = &tokens.id_token {
            let expected = Expected {
                nonce: None,
                authenticated_since: None,
                access_token: &tokens.access_token,
                code: None,
            };
            match self.take_id_token(id_token, &expected, now).await {
                Ok((token, id)) if id.issuer == session.issuer && id.subject == session.subject => {
                    kept = browser.kept(token, &id.claims);
                }
                Ok(_) | Err(BadIdToken::Rule(IdTokenError::Claim("iss" | "sub" | "aud" | "azp"))) => {
                    return self.end(browser, &session).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "a refreshed ID token is not taken");
                    return Err(RefreshError::Unavailable);
                }
            }
        }
        Ok(Session {
            access_expires: Some(browser.access_expires(&tokens, now)),
            access_token: Some(tokens.access_token),
            refresh_token: tokens.refresh_token.or(session.refresh_token),
            id_token: kept.0,
            claims: kept.1,
            scope: tokens.scope.map(|scope| scope.to_string()).or(session.scope),
            ..session
        })
    }

    /// The provider ended the session: every cookie of it is dead.
    async fn end(&self, browser: &Browser, session: &Session) -> Result<Session, RefreshError> {
        let now = self.services.clock.now();
        if let Err(error) = self.services.ended.end(browser.jar.realm(), session.span(), now).await {
            tracing::warn!(%error, "the end of a session holds until a restart");
        }
        Err(RefreshError::Ended)
    }
}
