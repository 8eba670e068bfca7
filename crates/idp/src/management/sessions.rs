//! Browser sessions and refresh tokens, as administrators see and end them.

use std::sync::Arc;

use base::UnixMillis;
use serde_json::{Value, json};

use super::{
    ManagementError, Object,
    wording::{additional, invalid},
};
use crate::{
    Site,
    idp::Core,
    model::{LogoutInitiator, RefreshTokenRecord, Session, SessionCookieMode, iso8601},
    repository::{Listing, Page, RefreshTokenFilter},
};

/// `/sessions`, `/refresh-tokens` and those of `/users/{id}`.
#[derive(Clone)]
pub struct SessionService {
    core: Arc<Core>,
}

impl SessionService {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// A session by its `sid`.
    pub async fn read(&self, site: &Site, sid: &str) -> Result<Value, ManagementError> {
        let session = self.live(site, sid).await?;
        self.shown(site, &session).await
    }

    /// Ends a session (202). What it gave clients for when the user is away lives on.
    pub async fn end(&self, site: &Site, sid: &str) -> Result<(), ManagementError> {
        let session = self.live(site, sid).await?;
        self.core.end_session(site, &session, LogoutInitiator::SessionRevoked).await?;
        Ok(())
    }

    /// Ends a session with every refresh token that came from it (202).
    pub async fn revoke(&self, site: &Site, sid: &str) -> Result<(), ManagementError> {
        self.end(site, sid).await?;
        let filter = RefreshTokenFilter { sid: Some(sid), ..RefreshTokenFilter::default() };
        self.end_tokens(site, filter).await
    }

    /// The sessions of a user.
    pub async fn of_user(
        &self,
        site: &Site,
        user: &str,
        page: Page,
    ) -> Result<Listing<Value>, ManagementError> {
        self.user_exists(site, user).await?;
        let now = self.core.clock.now();
        let found = self.core.repository.user_sessions(&site.tenant.id, user, now, page).await?;
        let mut items = Vec::with_capacity(found.items.len());
        for session in &found.items {
            items.push(self.shown(site, session).await?);
        }
        Ok(Listing { items, total: found.total })
    }

    /// Ends every session of a user (202).
    pub async fn end_of_user(&self, site: &Site, user: &str) -> Result<(), ManagementError> {
        self.user_exists(site, user).await?;
        Ok(self.core.end_sessions_of(site, user, LogoutInitiator::SessionRevoked).await?)
    }

    /// A refresh token's family by its id.
    pub async fn read_token(&self, site: &Site, id: &str) -> Result<Value, ManagementError> {
        let filter = RefreshTokenFilter { family: Some(id), ..RefreshTokenFilter::default() };
        let found = self.tokens(site, filter, Page { offset: 0, limit: 1 }).await?;
        found.items.into_iter().next().ok_or(NO_TOKEN)
    }

    /// Revokes a refresh token with all that was made from it (202).
    pub async fn end_token(&self, site: &Site, id: &str) -> Result<(), ManagementError> {
        self.read_token(site, id).await?;
        Ok(self.core.revoke_family(site, id).await?)
    }

    /// The refresh tokens of a user.
    pub async fn tokens_of_user(
        &self,
        site: &Site,
        user: &str,
        page: Page,
    ) -> Result<Listing<Value>, ManagementError> {
        self.user_exists(site, user).await?;
        let filter = RefreshTokenFilter { user_id: Some(user), ..RefreshTokenFilter::default() };
        self.tokens(site, filter, page).await
    }

    /// The same of one client, where one is named.
    pub async fn tokens_of(
        &self,
        site: &Site,
        user: &str,
        client_id: Option<&str>,
        page: Page,
    ) -> Result<Listing<Value>, ManagementError> {
        self.user_exists(site, user).await?;
        let filter = RefreshTokenFilter { user_id: Some(user), client_id, ..RefreshTokenFilter::default() };
        self.tokens(site, filter, page).await
    }

    /// Revokes every refresh token of a user (202).
    pub async fn end_tokens_of_user(&self, site: &Site, user: &str) -> Result<(), ManagementError> {
        self.user_exists(site, user).await?;
        let filter = RefreshTokenFilter { user_id: Some(user), ..RefreshTokenFilter::default() };
        self.end_tokens(site, filter).await
    }

    /// `/users/{id}/revoke-access` (202): sessions, and the refresh tokens with them unless `preserve_refresh_tokens`; of
    /// one session where `session_id` names it.
    pub async fn revoke_access(
        &self,
        site: &Site,
        user: &str,
        mut body: Object,
    ) -> Result<(), ManagementError> {
        let sid = match body.shift_remove("session_id") {
            None | Some(Value::Null) => None,
            Some(Value::String(sid)) if !sid.is_empty() && sid.len() <= 256 => Some(sid),
            Some(_) => return Err(invalid("session_id", "Expected type string")),
        };
        let preserve = match body.shift_remove("preserve_refresh_tokens") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(preserve)) => preserve,
            Some(_) => return Err(invalid("preserve_refresh_tokens", "Expected type boolean")),
        };
        if let Some(name) = body.keys().next() {
            return Err(additional(name));
        }
        self.user_exists(site, user).await?;
        match &sid {
            Some(sid) => {
                let session = self.live(site, sid).await?;
                if session.user_id != user {
                    return Err(NO_SESSION);
                }
                self.core.end_session(site, &session, LogoutInitiator::SessionRevoked).await?;
            }
            None => self.end_of_user(site, user).await?,
        }
        if preserve {
            return Ok(());
        }
        let filter =
            RefreshTokenFilter { user_id: Some(user), sid: sid.as_deref(), ..RefreshTokenFilter::default() };
        self.end_tokens(site, filter).await
    }

    async fn live(&self, site: &Site, sid: &str) -> Result<Session, ManagementError> {
        let now = self.core.clock.now();
        self.core.repository.session_by_sid(&site.tenant.id, sid, now).await?.ok_or(NO_SESSION)
    }

    async fn user_exists(&self, site: &Site, user: &str) -> Result<(), ManagementError> {
        let missing =
            ManagementError::NotFound { code: Some("inexistent_user"), message: "The user does not exist." };
        self.core.repository.user(&site.tenant.id, user).await?.map(|_| ()).ok_or(missing)
    }

    async fn tokens(
        &self,
        site: &Site,
        filter: RefreshTokenFilter<'_>,
        page: Page,
    ) -> Result<Listing<Value>, ManagementError> {
        let now = self.core.clock.now();
        let found = self.core.repository.refresh_tokens(&site.tenant.id, filter, now, page).await?;
        Ok(Listing { items: found.items.iter().map(shown_token).collect(), total: found.total })
    }

    /// Families and all: what was made from them is refused wherever it is asked about.
    async fn end_tokens(&self, site: &Site, filter: RefreshTokenFilter<'_>) -> Result<(), ManagementError> {
        let (tenant, now) = (&site.tenant.id, self.core.clock.now());
        let found = self.core.repository.refresh_tokens(tenant, filter, now, Page::ALL).await?;
        for token in found.items {
            self.core.revoke_family(site, &token.grant.family).await?;
        }
        // One that was made meanwhile.
        self.core.repository.revoke_refresh_tokens(tenant, filter, now).await?;
        Ok(())
    }

    async fn shown(&self, site: &Site, session: &Session) -> Result<Value, ManagementError> {
        let clients = self.core.repository.session_clients(&site.tenant.id, &session.sid).await?;
        let clients: Vec<Value> = clients.iter().map(|(id, _)| json!({ "client_id": id })).collect();
        let settings = &site.tenant.settings;
        let moment = |at: i64| json!(iso8601(UnixMillis(at)));
        // The end without use moves with the last one.
        let idle = i64::try_from(settings.idle_lifetime().as_millis()).unwrap_or(i64::MAX);
        let last = session.idle_expires_at.saturating_sub(idle).max(session.created_at);
        let mode = match settings.session_cookie.mode {
            SessionCookieMode::Persistent => "persistent",
            SessionCookieMode::NonPersistent => "non-persistent",
        };
        Ok(json!({
            "id": session.sid,
            "user_id": session.user_id,
            "created_at": moment(session.created_at),
            "updated_at": moment(last),
            "authenticated_at": moment(session.authenticated_at),
            "last_interacted_at": moment(last),
            "idle_expires_at": moment(session.idle_expires_at),
            "expires_at": moment(session.expires_at),
            "device": {
                "initial_ip": session.ip,
                "initial_user_agent": session.user_agent,
                "last_ip": session.ip,
                "last_user_agent": session.user_agent,
            },
            "clients": clients,
            "authentication": {
                "methods": [{ "name": "pwd", "timestamp": moment(session.authenticated_at) }],
            },
            "cookie": { "mode": mode },
        }))
    }
}

const NO_SESSION: ManagementError =
    ManagementError::NotFound { code: Some("inexistent_session"), message: "The session does not exist." };
const NO_TOKEN: ManagementError = ManagementError::NotFound {
    code: Some("inexistent_refresh_token"),
    message: "The refresh token does not exist.",
};

/// A family by its youngest token. Its id stays the same when the token rotates.
fn shown_token(token: &RefreshTokenRecord) -> Value {
    let grant = &token.grant;
    let end = |at: i64| (at != i64::MAX).then(|| iso8601(UnixMillis(at)));
    let servers: Vec<Value> = grant
        .audience
        .iter()
        .map(|audience| json!({ "audience": audience, "scopes": grant.scope.to_string() }))
        .collect();
    let exchanged = token.parent.as_ref().map(|_| iso8601(UnixMillis(token.created_at)));
    json!({
        "id": grant.family,
        "user_id": grant.user_id,
        "client_id": grant.client_id,
        "session_id": grant.sid,
        "created_at": iso8601(UnixMillis(token.created_at)),
        "expires_at": end(token.expires_at),
        "idle_expires_at": end(token.idle_expires_at),
        "last_exchanged_at": exchanged,
        "resource_servers": servers,
    })
}
