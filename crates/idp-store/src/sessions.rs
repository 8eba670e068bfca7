use base::UnixMillis;
use idp::{
    RepositoryError,
    model::{Digest, Session},
    repository::{Fut, Listing, Page, Sessions},
};

use crate::{
    SqlRepository,
    cells::{Row, params},
};

/// Columns: sid, cookie, user_id, ip, user_agent, authenticated_at, created_at, expires_at, idle_expires_at.
fn session_of(row: &Row) -> Result<Session, RepositoryError> {
    Ok(Session {
        sid: row.text(0)?.to_owned(),
        cookie: row.digest(1)?,
        user_id: row.text(2)?.to_owned(),
        ip: row.text_or_null(3)?.map(str::to_owned),
        user_agent: row.text_or_null(4)?.map(str::to_owned),
        authenticated_at: row.int(5)?,
        created_at: row.int(6)?,
        expires_at: row.int(7)?,
        idle_expires_at: row.int(8)?,
    })
}

/// Notes that a client got something from a session.
pub(crate) const ADD_CLIENT: &str =
    "INSERT INTO session_clients (tenant_id, sid, client_id, issuer) VALUES ($1, $2, $3, $4)
    ON CONFLICT DO NOTHING";

impl Sessions for SqlRepository {
    fn create_session<'a>(&'a self, tenant: &'a str, session: &'a Session) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "INSERT INTO sessions (tenant_id, sid, cookie, user_id, authenticated_at, created_at,
                       expires_at, idle_expires_at, ip, user_agent)
                       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
            let (sid, cookie, user) = (&session.sid, &session.cookie, &session.user_id);
            let begun = params![tenant, sid, cookie, user, session.authenticated_at, session.created_at];
            let device = params![session.ip.as_deref(), session.user_agent.as_deref()];
            let params = [begun, params![session.expires_at, session.idle_expires_at], device].concat();
            self.database.write(sql, params).await?;
            Ok(())
        })
    }

    fn session<'a>(
        &'a self,
        tenant: &'a str,
        cookie: &'a Digest,
        now: UnixMillis,
    ) -> Fut<'a, Option<Session>> {
        Box::pin(async move {
            let sql = "SELECT sid, cookie, user_id, ip, user_agent, authenticated_at, created_at, expires_at,
                       idle_expires_at FROM sessions WHERE tenant_id = $1 AND cookie = $2
                       AND ended_at IS NULL AND expires_at > $3 AND idle_expires_at > $3";
            let row = self.database.row(sql, params![tenant, cookie, now]).await?;
            row.map(|row| session_of(&row)).transpose()
        })
    }

    fn session_by_sid<'a>(
        &'a self,
        tenant: &'a str,
        sid: &'a str,
        now: UnixMillis,
    ) -> Fut<'a, Option<Session>> {
        Box::pin(async move {
            let sql = "SELECT sid, cookie, user_id, ip, user_agent, authenticated_at, created_at, expires_at,
                       idle_expires_at FROM sessions WHERE tenant_id = $1 AND sid = $2
                       AND ended_at IS NULL AND expires_at > $3 AND idle_expires_at > $3";
            let row = self.database.row(sql, params![tenant, sid, now]).await?;
            row.map(|row| session_of(&row)).transpose()
        })
    }

    fn user_sessions<'a>(
        &'a self,
        tenant: &'a str,
        user_id: &'a str,
        now: UnixMillis,
        page: Page,
    ) -> Fut<'a, Listing<Session>> {
        Box::pin(async move {
            let params = params![tenant, user_id, now];
            let sql = "SELECT COUNT(*) FROM sessions WHERE tenant_id = $1 AND user_id = $2
                       AND ended_at IS NULL AND expires_at > $3 AND idle_expires_at > $3";
            let total = self.database.count(sql, params.clone()).await?;
            let sql = "SELECT sid, cookie, user_id, ip, user_agent, authenticated_at, created_at, expires_at,
                       idle_expires_at FROM sessions WHERE tenant_id = $1 AND user_id = $2
                       AND ended_at IS NULL AND expires_at > $3 AND idle_expires_at > $3
                       ORDER BY created_at, sid LIMIT $4 OFFSET $5";
            let rows = self.database.read(sql, [params, params![page.limit, page.offset]].concat()).await?;
            let items = rows.iter().map(session_of).collect::<Result<_, _>>()?;
            Ok(Listing { items, total })
        })
    }

    fn add_session_client<'a>(
        &'a self,
        tenant: &'a str,
        sid: &'a str,
        client_id: &'a str,
        issuer: &'a str,
    ) -> Fut<'a, ()> {
        Box::pin(async move {
            self.database.write(ADD_CLIENT, params![tenant, sid, client_id, issuer]).await?;
            Ok(())
        })
    }

    fn session_clients<'a>(&'a self, tenant: &'a str, sid: &'a str) -> Fut<'a, Vec<(String, String)>> {
        Box::pin(async move {
            let sql = "SELECT client_id, issuer FROM session_clients
                       WHERE tenant_id = $1 AND sid = $2 ORDER BY client_id";
            let rows = self.database.read(sql, params![tenant, sid]).await?;
            rows.iter().map(|row| Ok((row.text(0)?.to_owned(), row.text(1)?.to_owned()))).collect()
        })
    }

    fn touch_session<'a>(
        &'a self,
        tenant: &'a str,
        sid: &'a str,
        idle_expires_at: UnixMillis,
    ) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "UPDATE sessions SET idle_expires_at = $3
                       WHERE tenant_id = $1 AND sid = $2 AND ended_at IS NULL AND idle_expires_at < $3";
            self.database.write(sql, params![tenant, sid, idle_expires_at]).await?;
            Ok(())
        })
    }

    fn renew_session<'a>(
        &'a self,
        tenant: &'a str,
        cookie: &'a Digest,
        renewed: &'a Session,
    ) -> Fut<'a, bool> {
        Box::pin(async move {
            let sql = "UPDATE sessions SET cookie = $4, authenticated_at = $5, expires_at = $6, idle_expires_at = $7
                       WHERE tenant_id = $1 AND sid = $2 AND cookie = $3 AND ended_at IS NULL RETURNING sid";
            let known = params![tenant, &renewed.sid, cookie, &renewed.cookie];
            let times = params![renewed.authenticated_at, renewed.expires_at, renewed.idle_expires_at];
            Ok(!self.database.write(sql, [known, times].concat()).await?.is_empty())
        })
    }
}
