use std::sync::Arc;

use base::same_bytes;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use oauth::{OAuthError, Params};
use url::Url;

use crate::{
    Browser, IdpError, Site,
    authorization::request::invalid,
    bearer::IdTokenHint,
    idp::Core,
    model::{LogEvent, LogoutInitiator, Session},
    repository::RefreshTokenFilter,
    urls::matches_logout,
};

/// `/oidc/logout` (OpenID Connect RP-Initiated Logout 1.0) and Auth0's `/v2/logout`.
#[derive(Clone)]
pub struct Logout {
    core: Arc<Core>,
}

/// What the browser gets to see next.
#[derive(Debug)]
pub enum LogoutOutcome {
    /// The session is over: clear the cookie and go there.
    Redirect(String),
    /// The session is over: clear the cookie and say so.
    SignedOut,
    /// The session is over: clear the cookie, let frames tell the clients, and then go on.
    Tell {
        /// What they load.
        frames: Vec<String>,
        /// Where to go; nowhere where absent.
        then: Option<String>,
    },
    /// Ask first. The form posts the request's own parameters again and, as `confirmation`, this value.
    Confirm {
        /// Only good for this browser's session.
        confirmation: String,
    },
    /// The request cannot be followed; the session is as it was.
    ErrorPage(OAuthError),
}

impl Logout {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// `/v2/logout` with `client_id` and `returnTo`.
    pub async fn v2(
        &self,
        site: &Site,
        params: &Params<'_>,
        browser: &Browser,
    ) -> Result<LogoutOutcome, IdpError> {
        let client = match params.value("client_id") {
            None => None,
            Some(id) => match self.core.repository.client(&site.tenant.id, id).await? {
                None => return Ok(LogoutOutcome::ErrorPage(invalid("Unknown client"))),
                known => known,
            },
        };
        let tenant_urls = &site.tenant.settings.allowed_logout_urls;
        let allowed = client.as_ref().map_or(tenant_urls, |client| &client.allowed_logout_urls);
        let target = match params.value("returnTo") {
            Some(url) if allowed.iter().any(|pattern| matches_logout(pattern, url)) => Some(url.to_owned()),
            Some(_) => {
                let text = "The returnTo URL is not in the list of allowed logout URLs.";
                return Ok(LogoutOutcome::ErrorPage(invalid(text)));
            }
            // A pattern is no place to go to.
            None => client.as_ref().and_then(|_| allowed.iter().find(|url| !url.contains('*')).cloned()),
        };
        let client_id = client.as_ref().map(|client| client.client_id.as_str());
        Ok(done(self.end(site, browser, client_id).await?, target))
    }

    /// `/oidc/logout`, first call and confirmation (`confirmation` among the parameters) alike.
    pub async fn oidc(
        &self,
        site: &Site,
        params: &Params<'_>,
        browser: &Browser,
    ) -> Result<LogoutOutcome, IdpError> {
        let page = |text: &str| Ok(LogoutOutcome::ErrorPage(invalid(text)));
        let hint = match params.value("id_token_hint") {
            None => None,
            Some(token) => match self.core.id_token_hint(site, token).await? {
                None => return page("The id_token_hint is not an ID token of this issuer."),
                known => known,
            },
        };
        let named = params.value("client_id");
        if let (Some(hint), Some(named)) = (&hint, named)
            && hint.client_id != named
        {
            return page("The client_id is not the one of the id_token_hint.");
        }
        let client_id = hint.as_ref().map(|hint| hint.client_id.as_str()).or(named);
        let client = match client_id {
            None => None,
            Some(id) => match self.core.repository.client(&site.tenant.id, id).await? {
                None => return page("Unknown client"),
                known => known,
            },
        };
        let target = match (params.value("post_logout_redirect_uri"), &client) {
            (None, _) => None,
            (Some(url), Some(client)) if client.allowed_logout_urls.iter().any(|known| known == url) => {
                Some(with_state(url, params.value("state")))
            }
            (Some(_), _) => {
                return page("The post_logout_redirect_uri is not in the list of allowed logout URLs.");
            }
        };
        let session = self.core.session(site, browser).await?.map(|(session, _)| session);
        let proven = match &session {
            None => true,
            Some(session) => self.is_proven(site, params, browser, hint.as_ref(), session),
        };
        if !proven {
            return Ok(LogoutOutcome::Confirm { confirmation: self.confirmation(browser) });
        }
        let client_id = client.as_ref().map(|client| client.client_id.as_str());
        Ok(done(self.end(site, browser, client_id).await?, target))
    }

    /// Whether it is the session's own client or user who asks. An expired hint proves nothing any more: the user is
    /// asked (O15).
    fn is_proven(
        &self,
        site: &Site,
        params: &Params<'_>,
        browser: &Browser,
        hint: Option<&IdTokenHint>,
        session: &Session,
    ) -> bool {
        if !site.tenant.settings.sessions.oidc_logout_prompt_enabled {
            return true;
        }
        let sid = Some(session.sid.as_str());
        let by_token = hint.is_some_and(|hint| !hint.expired && hint.sid.as_deref() == sid);
        let by_name = params.value("logout_hint") == sid;
        let confirmed = params
            .value("confirmation")
            .is_some_and(|given| same_bytes(given.as_bytes(), self.confirmation(browser).as_bytes()));
        by_token || by_name || confirmed
    }

    /// What only a page made for this browser's session can know.
    fn confirmation(&self, browser: &Browser) -> String {
        let cookie = browser.session.as_ref().map_or("", |cookie| cookie.expose().as_str());
        let digest = self.core.digester.digest(&format!("logout confirmation/{cookie}"));
        URL_SAFE_NO_PAD.encode(digest.0)
    }

    /// Ends the browser's session. The refresh tokens that it gave to the client that asks end too (O11); those of other
    /// clients are for when the user is away (OpenID Connect Back-Channel Logout 1.0 section 2.7).
    ///
    /// What comes back are the frames that tell its clients.
    async fn end(
        &self,
        site: &Site,
        browser: &Browser,
        client_id: Option<&str>,
    ) -> Result<Vec<String>, IdpError> {
        let Some((session, _)) = self.core.session(site, browser).await? else { return Ok(Vec::new()) };
        let frames = self.core.logout_frames(site, &session).await?;
        let (tenant, repository, now) = (&site.tenant.id, &self.core.repository, self.core.clock.now());
        let why = match client_id {
            Some(_) => LogoutInitiator::RpLogout,
            None => LogoutInitiator::IdpLogout,
        };
        if self.core.end_session(site, &session, why).await? {
            let event = LogEvent::new("slo").about(&session.user_id);
            let event = client_id.map_or(event.clone(), |client| event.by(client));
            self.core.note(site, Some(browser), event);
        }
        if client_id.is_some() {
            let filter =
                RefreshTokenFilter { sid: Some(&session.sid), client_id, ..RefreshTokenFilter::default() };
            repository.revoke_refresh_tokens(tenant, filter, now).await?;
        }
        Ok(frames)
    }
}

fn done(frames: Vec<String>, target: Option<String>) -> LogoutOutcome {
    match frames.is_empty() {
        true => target.map_or(LogoutOutcome::SignedOut, LogoutOutcome::Redirect),
        false => LogoutOutcome::Tell { frames, then: target },
    }
}

fn with_state(url: &str, state: Option<&str>) -> String {
    match (Url::parse(url), state) {
        (Ok(mut parsed), Some(state)) => {
            parsed.query_pairs_mut().append_pair("state", state);
            parsed.into()
        }
        _ => url.to_owned(),
    }
}
