use base::UnixMillis;
use idp::{
    RepositoryError,
    model::{Digest, RefreshTokenRecord},
    repository::{Fut, Listing, Page, RefreshTokenFilter, RefreshTokens},
};

use crate::{
    SqlRepository,
    cells::{Param, Row, json, params},
    database::Statement,
};

const INSERT: &str =
    "INSERT INTO refresh_tokens (tenant_id, id, token, family, client_id, user_id, sid, grant_body,
    parent, created_at, expires_at, idle_expires_at, rotated_at, revoked_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";

/// A token that is made while its family is being revoked is born dead.
const FOLLOW_FAMILY: &str = "UPDATE refresh_tokens SET revoked_at = $3 WHERE tenant_id = $1 AND id = $2
    AND EXISTS (SELECT 1 FROM revocations r WHERE r.tenant_id = $1 AND r.id = refresh_tokens.family)";

/// Of one user and client 200 tokens live at most.
const EVICT: &str = "UPDATE refresh_tokens SET revoked_at = $4 WHERE tenant_id = $1 AND id IN
    (SELECT id FROM refresh_tokens WHERE tenant_id = $1 AND user_id = $2 AND client_id = $3
     AND revoked_at IS NULL AND rotated_at IS NULL ORDER BY created_at DESC, id LIMIT 1000000 OFFSET 200)";

/// Columns: id, token, grant_body, parent, created_at, expires_at, idle_expires_at, rotated_at, revoked_at.
fn token_of(row: &Row) -> Result<RefreshTokenRecord, RepositoryError> {
    Ok(RefreshTokenRecord {
        id: row.text(0)?.to_owned(),
        token: row.digest(1)?,
        grant: row.json(2)?,
        parent: row.text_or_null(3)?.map(str::to_owned),
        created_at: row.int(4)?,
        expires_at: row.int(5)?,
        idle_expires_at: row.int(6)?,
        rotated_at: row.int_or_null(7)?,
        revoked_at: row.int_or_null(8)?,
    })
}

fn columns(tenant: &str, token: &RefreshTokenRecord) -> Result<Vec<Param>, RepositoryError> {
    let grant = &token.grant;
    let who =
        params![tenant, &token.id, &token.token, &grant.family, &grant.client_id, &grant.user_id, &grant.sid];
    let what = params![json(grant)?, token.parent.as_deref()];
    let when = params![
        token.created_at,
        token.expires_at,
        token.idle_expires_at,
        token.rotated_at,
        token.revoked_at
    ];
    Ok([who, what, when].concat())
}

impl RefreshTokens for SqlRepository {
    fn create_refresh_token<'a>(&'a self, tenant: &'a str, token: &'a RefreshTokenRecord) -> Fut<'a, ()> {
        Box::pin(async move {
            let (grant, now) = (&token.grant, token.created_at);
            let statements = vec![
                Statement::new(INSERT, columns(tenant, token)?),
                Statement::new(FOLLOW_FAMILY, params![tenant, &token.id, now]),
                Statement::new(EVICT, params![tenant, &grant.user_id, &grant.client_id, now]),
            ];
            self.database.transact(statements).await?;
            Ok(())
        })
    }

    fn refresh_token<'a>(
        &'a self,
        tenant: &'a str,
        token: &'a Digest,
    ) -> Fut<'a, Option<RefreshTokenRecord>> {
        Box::pin(async move {
            let sql =
                "SELECT id, token, grant_body, parent, created_at, expires_at, idle_expires_at, rotated_at,
                       revoked_at FROM refresh_tokens WHERE tenant_id = $1 AND token = $2";
            let row = self.database.row(sql, params![tenant, token]).await?;
            row.map(|row| token_of(&row)).transpose()
        })
    }

    fn rotate_refresh_token<'a>(
        &'a self,
        tenant: &'a str,
        old: &'a str,
        rotated_at: Option<i64>,
        next: &'a RefreshTokenRecord,
        now: UnixMillis,
    ) -> Fut<'a, bool> {
        Box::pin(async move {
            let first = "UPDATE refresh_tokens SET rotated_at = $3 WHERE tenant_id = $1 AND id = $2
                         AND rotated_at IS NULL AND revoked_at IS NULL RETURNING id";
            let again = "UPDATE refresh_tokens SET rotated_at = $3 WHERE tenant_id = $1 AND id = $2
                         AND rotated_at = $3 AND revoked_at IS NULL RETURNING id";
            let claim = match rotated_at {
                None => Statement::deciding(first, params![tenant, old, now]),
                Some(at) => Statement::deciding(again, params![tenant, old, at]),
            };
            let results = self.database.transact(vec![
                claim,
                Statement::new(INSERT, columns(tenant, next)?),
                Statement::new(FOLLOW_FAMILY, params![tenant, &next.id, now]),
            ]);
            Ok(results.await?.first().is_some_and(|claimed| !claimed.is_empty()))
        })
    }

    fn touch_refresh_token<'a>(
        &'a self,
        tenant: &'a str,
        id: &'a str,
        idle_expires_at: i64,
    ) -> Fut<'a, bool> {
        Box::pin(async move {
            // Nothing to write where it never ends by itself.
            let unchanged = "SELECT id FROM refresh_tokens
                             WHERE tenant_id = $1 AND id = $2 AND idle_expires_at = $3 AND revoked_at IS NULL";
            if self.database.row(unchanged, params![tenant, id, idle_expires_at]).await?.is_some() {
                return Ok(true);
            }
            let sql = "UPDATE refresh_tokens SET idle_expires_at = $3
                       WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL RETURNING id";
            Ok(!self.database.write(sql, params![tenant, id, idle_expires_at]).await?.is_empty())
        })
    }

    fn has_grandchild<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, bool> {
        Box::pin(async move {
            let sql = "SELECT id FROM refresh_tokens
                       WHERE tenant_id = $1 AND parent = $2 AND rotated_at IS NOT NULL LIMIT 1";
            Ok(self.database.row(sql, params![tenant, id]).await?.is_some())
        })
    }

    fn refresh_tokens<'a>(
        &'a self,
        tenant: &'a str,
        filter: RefreshTokenFilter<'a>,
        now: UnixMillis,
        page: Page,
    ) -> Fut<'a, Listing<RefreshTokenRecord>> {
        Box::pin(async move {
            let RefreshTokenFilter { user_id, client_id, sid, family } = filter;
            let params = params![tenant, now, user_id, client_id, sid, family];
            let sql = "SELECT COUNT(DISTINCT family) FROM refresh_tokens WHERE tenant_id = $1
                       AND revoked_at IS NULL AND rotated_at IS NULL AND expires_at > $2 AND idle_expires_at > $2
                       AND ($3 IS NULL OR user_id = $3) AND ($4 IS NULL OR client_id = $4)
                       AND ($5 IS NULL OR sid = $5) AND ($6 IS NULL OR family = $6)";
            let total = self.database.count(sql, params.clone()).await?;
            let sql = "SELECT id, token, grant_body, parent, created_at, expires_at, idle_expires_at, rotated_at,
                       revoked_at FROM refresh_tokens t WHERE tenant_id = $1
                       AND revoked_at IS NULL AND rotated_at IS NULL AND expires_at > $2 AND idle_expires_at > $2
                       AND ($3 IS NULL OR user_id = $3) AND ($4 IS NULL OR client_id = $4)
                       AND ($5 IS NULL OR sid = $5) AND ($6 IS NULL OR family = $6)
                       AND NOT EXISTS (SELECT 1 FROM refresh_tokens y WHERE y.tenant_id = $1 AND y.family = t.family
                           AND y.revoked_at IS NULL AND y.rotated_at IS NULL
                           AND (y.created_at > t.created_at OR (y.created_at = t.created_at AND y.id > t.id)))
                       ORDER BY created_at, id LIMIT $7 OFFSET $8";
            let rows = self.database.read(sql, [params, params![page.limit, page.offset]].concat()).await?;
            let items = rows.iter().map(token_of).collect::<Result<_, _>>()?;
            Ok(Listing { items, total })
        })
    }

    fn revoke_refresh_tokens<'a>(
        &'a self,
        tenant: &'a str,
        filter: RefreshTokenFilter<'a>,
        now: UnixMillis,
    ) -> Fut<'a, u64> {
        Box::pin(async move {
            let sql = "UPDATE refresh_tokens SET revoked_at = $2 WHERE tenant_id = $1 AND revoked_at IS NULL
                       AND ($3 IS NULL OR user_id = $3) AND ($4 IS NULL OR client_id = $4)
                       AND ($5 IS NULL OR sid = $5) AND ($6 IS NULL OR family = $6) RETURNING id";
            let RefreshTokenFilter { user_id, client_id, sid, family } = filter;
            Ok(self.database.write(sql, params![tenant, now, user_id, client_id, sid, family]).await?.len()
                as u64)
        })
    }
}
