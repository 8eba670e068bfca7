use base::UnixMillis;
use idp::{
    model::{AccessTokenRecord, Digest},
    repository::{AccessTokens, Fut},
};

use crate::{
    SqlRepository,
    cells::{json, params},
};

impl AccessTokens for SqlRepository {
    fn create_access_token<'a>(&'a self, tenant: &'a str, token: &'a AccessTokenRecord) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "INSERT INTO access_tokens
                       (tenant_id, token, client_id, user_id, grant_body, created_at, expires_at, revoked_at)
                       VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
            let grant = &token.grant;
            let what = params![tenant, &token.token, &grant.client_id, &grant.user_id, json(grant)?];
            let when = params![token.created_at, token.expires_at, token.revoked_at];
            self.database.write(sql, [what, when].concat()).await?;
            Ok(())
        })
    }

    fn access_token<'a>(&'a self, tenant: &'a str, token: &'a Digest) -> Fut<'a, Option<AccessTokenRecord>> {
        Box::pin(async move {
            let sql = "SELECT token, grant_body, created_at, expires_at, revoked_at FROM access_tokens
                       WHERE tenant_id = $1 AND token = $2";
            let Some(row) = self.database.row(sql, params![tenant, token]).await? else { return Ok(None) };
            Ok(Some(AccessTokenRecord {
                token: row.digest(0)?,
                grant: row.json(1)?,
                created_at: row.int(2)?,
                expires_at: row.int(3)?,
                revoked_at: row.int_or_null(4)?,
            }))
        })
    }

    fn revoke_access_token<'a>(&'a self, tenant: &'a str, token: &'a Digest, now: UnixMillis) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "UPDATE access_tokens SET revoked_at = $3
                       WHERE tenant_id = $1 AND token = $2 AND revoked_at IS NULL";
            self.database.write(sql, params![tenant, token, now]).await?;
            Ok(())
        })
    }
}
