use base::UnixMillis;
use idp::{
    RepositoryError,
    model::{Digest, Session},
    repository::{Fut, Sessions},
};

use crate::{
    SqlRepository,
    cells::{Row, params},
};

/// Columns: sid, cookie, user_id, authenticated_at, created_at, expires_at, idle_expires_at.
fn session_of(row: &Row) -> Result<Session, RepositoryError> {
    Ok(Session {
        sid: row.text(0)?.to_owned(),
        cookie: row.digest(1)?,
        user_id: row.text(2)?.to_owned(),
        authenticated_at: row.int(3)?,
        created_at: row.int(4)?,
        expires_at: row.int(5)?,
        idle_expires_at: row.int(6)?,
    })
}

impl Sessions for SqlRepository {
    fn create_session<'a>(&'a self, tenant: &'a str, session: &'a Session) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "INSERT INTO sessions (tenant_id, sid, cookie, user_id, authenticated_at, created_at,
                       expires_at, idle_expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
            let (sid, cookie, user) = (&session.sid, &session.cookie, &session.user_id);
            let begun = params![tenant, sid, cookie, user, session.authenticated_at, session.created_at];
            let params = [begun, params![session.expires_at, session.idle_expires_at]].concat();
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
            let sql = "SELECT sid, cookie, user_id, authenticated_at, created_at, expires_at, idle_expires_at
                       FROM sessions WHERE tenant_id = $1 AND cookie = $2
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
            let sql = "SELECT sid, cookie, user_id, authenticated_at, created_at, expires_at, idle_expires_at
                       FROM sessions WHERE tenant_id = $1 AND sid = $2
                       AND ended_at IS NULL AND expires_at > $3 AND idle_expires_at > $3";
            let row = self.database.row(sql, params![tenant, sid, now]).await?;
            row.map(|row| session_of(&row)).transpose()
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

    fn end_session<'a>(&'a self, tenant: &'a str, sid: &'a str, now: UnixMillis) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql =
                "UPDATE sessions SET ended_at = $3 WHERE tenant_id = $1 AND sid = $2 AND ended_at IS NULL";
            self.database.write(sql, params![tenant, sid, now]).await?;
            Ok(())
        })
    }
}
