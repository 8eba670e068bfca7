use base::UnixMillis;
use idp::repository::{Fut, Revocations, RevokedId};

use crate::{SqlRepository, cells::params};

impl Revocations for SqlRepository {
    fn add_revocation<'a>(
        &'a self,
        tenant: &'a str,
        id: &'a str,
        until: UnixMillis,
        now: UnixMillis,
    ) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql =
                "INSERT INTO revocations (tenant_id, id, expires_at, revoked_at) VALUES ($1, $2, $3, $4)
                       ON CONFLICT (tenant_id, id) DO UPDATE
                       SET expires_at = excluded.expires_at, revoked_at = excluded.revoked_at
                       WHERE revocations.expires_at < excluded.expires_at";
            self.database.write(sql, params![tenant, id, until, now]).await?;
            Ok(())
        })
    }

    fn revocations_since(&self, since: UnixMillis) -> Fut<'_, Vec<RevokedId>> {
        Box::pin(async move {
            let sql = "SELECT id, expires_at, revoked_at FROM revocations WHERE revoked_at >= $1";
            let rows = self.database.read(sql, params![since]).await?;
            let revoked = rows.iter().map(|row| {
                let (until, at) = (UnixMillis(row.int(1)?), UnixMillis(row.int(2)?));
                Ok(RevokedId { id: row.text(0)?.to_owned(), until, at })
            });
            revoked.collect()
        })
    }

    fn is_revoked<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, bool> {
        Box::pin(async move {
            let sql = "SELECT id FROM revocations WHERE tenant_id = $1 AND id = $2";
            Ok(self.database.row(sql, params![tenant, id]).await?.is_some())
        })
    }

    fn use_once<'a>(&'a self, tenant: &'a str, id: &'a str, until: UnixMillis) -> Fut<'a, bool> {
        Box::pin(async move {
            let sql = "INSERT INTO revocations (tenant_id, id, expires_at) VALUES ($1, $2, $3)
                       ON CONFLICT DO NOTHING RETURNING id";
            Ok(!self.database.write(sql, params![tenant, id, until]).await?.is_empty())
        })
    }
}
