use base::UnixMillis;
use idp::{
    model::{Digest, PushedRequest},
    repository::{Fut, PushedRequests},
};

use crate::{SqlRepository, cells::params};

impl PushedRequests for SqlRepository {
    fn create_pushed_request<'a>(&'a self, tenant: &'a str, request: &'a PushedRequest) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "INSERT INTO pushed_requests (tenant_id, handle, client_id, params, signed, expires_at)
                       VALUES ($1, $2, $3, $4, $5, $6)";
            let PushedRequest { handle, client_id, params, signed, expires_at } = request;
            let params = params![tenant, handle, client_id, params, i64::from(*signed), *expires_at];
            self.database.write(sql, params).await?;
            Ok(())
        })
    }

    fn pushed_request<'a>(
        &'a self,
        tenant: &'a str,
        handle: &'a Digest,
        now: UnixMillis,
    ) -> Fut<'a, Option<PushedRequest>> {
        Box::pin(async move {
            let sql = "SELECT handle, client_id, params, signed, expires_at FROM pushed_requests
                       WHERE tenant_id = $1 AND handle = $2 AND used_at IS NULL AND expires_at > $3";
            let Some(row) = self.database.row(sql, params![tenant, handle, now]).await? else {
                return Ok(None);
            };
            Ok(Some(PushedRequest {
                handle: row.digest(0)?,
                client_id: row.text(1)?.to_owned(),
                params: row.text(2)?.to_owned(),
                signed: row.int(3)? != 0,
                expires_at: row.int(4)?,
            }))
        })
    }

    fn use_pushed_request<'a>(
        &'a self,
        tenant: &'a str,
        handle: &'a Digest,
        now: UnixMillis,
    ) -> Fut<'a, bool> {
        Box::pin(async move {
            let sql = "UPDATE pushed_requests SET used_at = $3
                       WHERE tenant_id = $1 AND handle = $2 AND used_at IS NULL RETURNING handle";
            Ok(!self.database.write(sql, params![tenant, handle, now]).await?.is_empty())
        })
    }
}
