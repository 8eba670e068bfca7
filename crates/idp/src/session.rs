use base::{Secret, UnixMillis};

use crate::{
    Browser, IdpError, Site,
    idp::Core,
    login::NewSession,
    model::{Client, Connection, LogoutInitiator, Session, Transaction, User},
    repository::Page,
};

/// A longer cookie or handle is nobody's.
const MAX_VALUE: usize = 256;
/// Writing the end without use at every request would be a write for each; it moves in steps of this part of it.
const TOUCH_PARTS: u32 = 60;

impl Core {
    /// The browser's session and its user: alive, and not blocked.
    pub(crate) async fn session(
        &self,
        site: &Site,
        browser: &Browser,
    ) -> Result<Option<(Session, User)>, IdpError> {
        let Some(cookie) = browser.session.as_ref().filter(|value| value.expose().len() <= MAX_VALUE) else {
            return Ok(None);
        };
        let (tenant, now) = (&site.tenant.id, self.clock.now());
        for digest in self.digester.all(cookie.expose()) {
            let Some(session) = self.repository.session(tenant, &digest, now).await? else { continue };
            let Some(user) =
                self.repository.user(tenant, &session.user_id).await?.filter(|user| !user.blocked)
            else {
                return Ok(None);
            };
            self.touch(site, &session, now).await?;
            return Ok(Some((session, user)));
        }
        Ok(None)
    }

    async fn touch(&self, site: &Site, session: &Session, now: UnixMillis) -> Result<(), IdpError> {
        let idle = site.tenant.settings.idle_lifetime();
        let moved = now + idle;
        if UnixMillis(session.idle_expires_at) + idle / TOUCH_PARTS < moved {
            self.repository.touch_session(&site.tenant.id, &session.sid, moved).await?;
        }
        Ok(())
    }

    /// Starts a session for a user who has just proven to be one. It has another secret than whatever the browser sent
    /// (O17). The user's own session goes on under its name, so that clients know it for the same (OpenID Connect
    /// Back-Channel Logout 1.0 section 2.1); somebody else's ends, and its clients are told.
    pub(crate) async fn start_session(
        &self,
        site: &Site,
        user: &User,
        browser: &Browser,
    ) -> Result<(Session, NewSession), IdpError> {
        let (tenant, now) = (&site.tenant.id, self.clock.now());
        let settings = &site.tenant.settings;
        let cookie = Secret::new(self.random.token(32));
        let new = Session {
            sid: self.random.alphanumeric(32),
            cookie: self.digester.digest(cookie.expose()),
            user_id: user.user_id.clone(),
            ip: browser.ip.map(|ip| ip.to_string()),
            user_agent: browser.user_agent.clone(),
            authenticated_at: now.0,
            created_at: now.0,
            expires_at: (now + settings.absolute_lifetime()).0,
            idle_expires_at: (now + settings.idle_lifetime()).0,
        };
        let session = match self.session(site, browser).await? {
            Some((old, owner)) if owner.user_id == user.user_id => {
                let Session { cookie, authenticated_at, expires_at, idle_expires_at, .. } = new.clone();
                let renewed =
                    Session { cookie, authenticated_at, expires_at, idle_expires_at, ..old.clone() };
                let goes_on = self.repository.renew_session(tenant, &old.cookie, &renewed).await?;
                goes_on.then_some(renewed)
            }
            Some((old, _)) => {
                self.end_session(site, &old, LogoutInitiator::IdpLogout).await?;
                None
            }
            None => None,
        };
        let session = match session {
            Some(session) => session,
            None => {
                self.repository.create_session(tenant, &new).await?;
                new
            }
        };
        let browser_state = self.browser_state(&session.sid);
        Ok((session, NewSession { cookie, max_age: settings.cookie_lifetime(), browser_state }))
    }

    /// The transaction of a handle, if it lives and belongs to this browser.
    pub(crate) async fn transaction(
        &self,
        site: &Site,
        handle: &str,
        browser: &Browser,
    ) -> Result<Option<Transaction>, IdpError> {
        let Some(binding) = &browser.binding else { return Ok(None) };
        if handle.len() > MAX_VALUE || binding.expose().len() > MAX_VALUE {
            return Ok(None);
        }
        let now = self.clock.now();
        for digest in self.digester.all(handle) {
            if let Some(found) = self.repository.transaction(&site.tenant.id, &digest, now).await? {
                let bound = self.digester.all(binding.expose()).any(|digest| digest == found.browser);
                return Ok(bound.then_some(found));
            }
        }
        Ok(None)
    }

    /// The session in which this transaction's user has logged in, if it is still this browser's.
    pub(crate) async fn transaction_session(
        &self,
        site: &Site,
        transaction: &Transaction,
        browser: &Browser,
    ) -> Result<Option<(Session, User)>, IdpError> {
        let session = self.session(site, browser).await?;
        Ok(session.filter(|(session, _)| transaction.sid.as_deref() == Some(session.sid.as_str())))
    }

    /// The database connection that asks the client's users for their passwords: the one the request names, else the
    /// tenant's default, else the first that is offered to the client.
    pub(crate) async fn login_connection(
        &self,
        site: &Site,
        client: &Client,
        asked: Option<&str>,
    ) -> Result<Option<Connection>, IdpError> {
        let connections = self.repository.connections(&site.tenant.id, Page::ALL).await?.items;
        let serving: Vec<Connection> =
            connections.into_iter().filter(|connection| connection.serves(client)).collect();
        let named = |name: &str| {
            serving.iter().find(|known| known.name == name || known.realms.iter().any(|realm| realm == name))
        };
        Ok(match asked {
            Some(name) => named(name).cloned(),
            None => {
                let default = site.tenant.settings.default_directory.as_deref().and_then(named);
                default.or(serving.first()).cloned()
            }
        })
    }

    /// Whether a user may use the client at all: a session of one client must not open another that the user's connection
    /// is not offered to.
    pub(crate) async fn may_use(&self, site: &Site, client: &Client, user: &User) -> Result<bool, IdpError> {
        let connection = self.repository.connection(&site.tenant.id, &user.connection).await?;
        Ok(connection.is_some_and(|connection| connection.serves(client)))
    }
}
