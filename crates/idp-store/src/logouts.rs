use base::UnixMillis;
use idp::{
    model::LogoutDelivery,
    repository::{Fut, Logouts},
};

use crate::{
    SqlRepository,
    cells::{json, params},
    database::Statement,
};

impl Logouts for SqlRepository {
    fn end_session_telling<'a>(
        &'a self,
        tenant: &'a str,
        sid: &'a str,
        deliveries: &'a [LogoutDelivery],
        now: UnixMillis,
    ) -> Fut<'a, bool> {
        Box::pin(async move {
            let end = "UPDATE sessions SET ended_at = $3 WHERE tenant_id = $1 AND sid = $2
                       AND ended_at IS NULL RETURNING sid";
            let mut statements = vec![Statement::deciding(end, params![tenant, sid, now])];
            let keep = "INSERT INTO logout_deliveries (tenant_id, id, body, attempts, due_at)
                        VALUES ($1, $2, $3, 0, $4)";
            for delivery in deliveries {
                statements.push(Statement::new(keep, params![tenant, &delivery.id, json(delivery)?, now]));
            }
            let results = self.database.transact(statements).await?;
            Ok(results.first().is_some_and(|ended| !ended.is_empty()))
        })
    }

    fn claim_logouts(
        &self,
        now: UnixMillis,
        until: UnixMillis,
        limit: u32,
    ) -> Fut<'_, Vec<(String, LogoutDelivery)>> {
        Box::pin(async move {
            // Every second somebody asks, and almost always there is nothing: reading costs no commit.
            let sql = "SELECT id FROM logout_deliveries WHERE due_at <= $1 LIMIT 1";
            if self.database.row(sql, params![now]).await?.is_none() {
                return Ok(Vec::new());
            }
            let sql = "UPDATE logout_deliveries SET due_at = $2, attempts = attempts + 1
                       WHERE due_at <= $1 AND id IN
                       (SELECT id FROM logout_deliveries WHERE due_at <= $1 ORDER BY due_at, id LIMIT $3)
                       RETURNING tenant_id, body, attempts";
            let rows = self.database.write(sql, params![now, until, limit]).await?;
            rows.iter()
                .map(|row| {
                    let delivery: LogoutDelivery = row.json(1)?;
                    let attempts = row.int(2)?;
                    Ok((row.text(0)?.to_owned(), LogoutDelivery { attempts, ..delivery }))
                })
                .collect()
        })
    }

    fn postpone_logout<'a>(&'a self, tenant: &'a str, id: &'a str, due_at: UnixMillis) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "UPDATE logout_deliveries SET due_at = $3 WHERE tenant_id = $1 AND id = $2";
            self.database.write(sql, params![tenant, id, due_at]).await?;
            Ok(())
        })
    }

    fn forget_logout<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "DELETE FROM logout_deliveries WHERE tenant_id = $1 AND id = $2";
            self.database.write(sql, params![tenant, id]).await?;
            Ok(())
        })
    }
}
