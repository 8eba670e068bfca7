use base::UnixMillis;
use idp::{
    RepositoryError,
    model::{DeferredKind, DeferredRequest, DeferredState, Digest, Grant},
    repository::{DeferredRequests, Fut, Polled},
};

use crate::{
    SqlRepository,
    cells::{Row, json, params},
};

/// Milliseconds that a client that polls too soon has to wait longer.
const SLOWER: i64 = 5000;

fn place(tenant: &str, handle: &Digest) -> String {
    place_of(tenant, &handle.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

pub(crate) fn place_of(tenant: &str, handle: &str) -> String {
    format!("deferred/{tenant}/{handle}/notification")
}

impl SqlRepository {
    /// Columns: handle, kind, user_code, user_id, request, notification, poll_interval, expires_at, state.
    fn deferred_of(&self, tenant: &str, row: &Row) -> Result<DeferredRequest, RepositoryError> {
        let unknown = || RepositoryError::Failed("a deferred request cannot be read".to_owned());
        let handle = row.digest(0)?;
        let notification = match row.bytes_or_null(5)? {
            Some(sealed) => Some(self.seal.open_text(sealed, &place(tenant, &handle))?),
            None => None,
        };
        Ok(DeferredRequest {
            handle,
            kind: DeferredKind::parse(row.text(1)?).ok_or_else(unknown)?,
            user_code: row.bytes_or_null(2)?.is_some().then(|| row.digest(2)).transpose()?,
            user_id: row.text_or_null(3)?.map(str::to_owned),
            request: row.json(4)?,
            notification,
            interval: row.int(6)?,
            expires_at: row.int(7)?,
            state: DeferredState::parse(row.text(8)?).ok_or_else(unknown)?,
        })
    }
}

impl DeferredRequests for SqlRepository {
    fn create_deferred<'a>(&'a self, tenant: &'a str, request: &'a DeferredRequest) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "INSERT INTO deferred_requests (tenant_id, handle, kind, client_id, user_code, user_id,
                       request, notification, poll_interval, too_soon, state, expires_at)
                       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, $11)";
            let place = place(tenant, &request.handle);
            let notification = request.notification.as_ref();
            let sealed = notification.map(|text| self.seal.seal(text.expose().as_bytes(), &place));
            let user_code = request.user_code.as_ref().map(|code| code.0.to_vec());
            let (kind, client) = (request.kind.as_str(), &request.request.client_id);
            let who = params![tenant, &request.handle, kind, client, user_code, request.user_id.as_deref()];
            let what = params![json(&request.request)?, sealed, request.interval];
            let when = params![request.state.as_str(), request.expires_at];
            self.database.write(sql, [who, what, when].concat()).await?;
            Ok(())
        })
    }

    fn deferred<'a>(
        &'a self,
        tenant: &'a str,
        handle: &'a Digest,
        now: UnixMillis,
    ) -> Fut<'a, Option<DeferredRequest>> {
        Box::pin(async move {
            let sql = "SELECT handle, kind, user_code, user_id, request, notification, poll_interval,
                       expires_at, state FROM deferred_requests
                       WHERE tenant_id = $1 AND handle = $2 AND state = 'pending' AND expires_at > $3";
            let row = self.database.row(sql, params![tenant, handle, now]).await?;
            row.map(|row| self.deferred_of(tenant, &row)).transpose()
        })
    }

    fn deferred_by_user_code<'a>(
        &'a self,
        tenant: &'a str,
        user_code: &'a Digest,
        now: UnixMillis,
    ) -> Fut<'a, Option<DeferredRequest>> {
        Box::pin(async move {
            let sql = "SELECT handle, kind, user_code, user_id, request, notification, poll_interval,
                       expires_at, state FROM deferred_requests
                       WHERE tenant_id = $1 AND user_code = $2 AND state = 'pending' AND expires_at > $3";
            let row = self.database.row(sql, params![tenant, user_code, now]).await?;
            row.map(|row| self.deferred_of(tenant, &row)).transpose()
        })
    }

    fn deferred_of_user<'a>(
        &'a self,
        tenant: &'a str,
        user_id: &'a str,
        now: UnixMillis,
    ) -> Fut<'a, Vec<DeferredRequest>> {
        Box::pin(async move {
            let sql = "SELECT handle, kind, user_code, user_id, request, notification, poll_interval,
                       expires_at, state FROM deferred_requests
                       WHERE tenant_id = $1 AND user_id = $2 AND state = 'pending' AND expires_at > $3
                       ORDER BY expires_at, handle LIMIT 100";
            let rows = self.database.read(sql, params![tenant, user_id, now]).await?;
            rows.iter().map(|row| self.deferred_of(tenant, row)).collect()
        })
    }

    fn poll_deferred<'a>(
        &'a self,
        tenant: &'a str,
        client_id: &'a str,
        kind: DeferredKind,
        handle: &'a Digest,
        now: UnixMillis,
    ) -> Fut<'a, Option<Polled>> {
        Box::pin(async move {
            let sql = "UPDATE deferred_requests SET
                       too_soon = CASE WHEN polled_at + poll_interval > $5 THEN 1 ELSE 0 END,
                       poll_interval =
                           CASE WHEN polled_at + poll_interval > $5 THEN poll_interval + $6 ELSE poll_interval END,
                       polled_at = $5
                       WHERE tenant_id = $1 AND client_id = $2 AND kind = $3 AND handle = $4
                       RETURNING handle, kind, user_code, user_id, request, notification, poll_interval,
                       expires_at, state, too_soon";
            let params = params![tenant, client_id, kind.as_str(), handle, now, SLOWER];
            let rows = self.database.write(sql, params).await?;
            let Some(row) = rows.first() else { return Ok(None) };
            Ok(Some(Polled { request: self.deferred_of(tenant, row)?, too_soon: row.int(9)? == 1 }))
        })
    }

    fn decide_deferred<'a>(
        &'a self,
        tenant: &'a str,
        handle: &'a Digest,
        grant: Option<&'a Grant>,
        now: UnixMillis,
    ) -> Fut<'a, bool> {
        Box::pin(async move {
            let sql = "UPDATE deferred_requests SET state = $3, grant_body = $4, user_id = $5
                       WHERE tenant_id = $1 AND handle = $2 AND state = 'pending' AND expires_at > $6
                       RETURNING handle";
            let state = if grant.is_some() { DeferredState::Allowed } else { DeferredState::Denied };
            let body = grant.map(json).transpose()?;
            let user = grant.map(|grant| grant.user_id.as_str());
            let params = params![tenant, handle, state.as_str(), body, user, now];
            Ok(!self.database.write(sql, params).await?.is_empty())
        })
    }

    fn redeem_deferred<'a>(
        &'a self,
        tenant: &'a str,
        client_id: &'a str,
        handle: &'a Digest,
        now: UnixMillis,
    ) -> Fut<'a, Option<Grant>> {
        Box::pin(async move {
            let sql = "UPDATE deferred_requests SET state = 'used'
                       WHERE tenant_id = $1 AND client_id = $2 AND handle = $3 AND state = 'allowed'
                       AND expires_at > $4 RETURNING grant_body";
            let rows = self.database.write(sql, params![tenant, client_id, handle, now]).await?;
            rows.first().map(|row| row.json(0)).transpose()
        })
    }
}
