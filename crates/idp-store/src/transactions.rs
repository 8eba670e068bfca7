use base::UnixMillis;
use idp::{
    model::{Digest, Transaction},
    repository::{Fut, Transactions},
};

use crate::{
    SqlRepository,
    cells::{json, params},
};

impl Transactions for SqlRepository {
    fn create_transaction<'a>(&'a self, tenant: &'a str, transaction: &'a Transaction) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "INSERT INTO login_transactions (tenant_id, handle, browser, request, sid, expires_at)
                       VALUES ($1, $2, $3, $4, $5, $6)";
            let (handle, browser) = (&transaction.handle, &transaction.browser);
            let (request, sid) = (json(&transaction.request)?, transaction.sid.as_deref());
            let params = params![tenant, handle, browser, request, sid, transaction.expires_at];
            self.database.write(sql, params).await?;
            Ok(())
        })
    }

    fn transaction<'a>(
        &'a self,
        tenant: &'a str,
        handle: &'a Digest,
        now: UnixMillis,
    ) -> Fut<'a, Option<Transaction>> {
        Box::pin(async move {
            let sql = "SELECT handle, browser, request, sid, expires_at FROM login_transactions
                       WHERE tenant_id = $1 AND handle = $2 AND finished_at IS NULL AND expires_at > $3";
            let Some(row) = self.database.row(sql, params![tenant, handle, now]).await? else {
                return Ok(None);
            };
            Ok(Some(Transaction {
                handle: row.digest(0)?,
                browser: row.digest(1)?,
                request: row.json(2)?,
                sid: row.text_or_null(3)?.map(str::to_owned),
                expires_at: row.int(4)?,
            }))
        })
    }

    fn set_transaction_session<'a>(
        &'a self,
        tenant: &'a str,
        handle: &'a Digest,
        sid: &'a str,
    ) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "UPDATE login_transactions SET sid = $3 WHERE tenant_id = $1 AND handle = $2";
            self.database.write(sql, params![tenant, handle, sid]).await?;
            Ok(())
        })
    }

    fn finish_transaction<'a>(
        &'a self,
        tenant: &'a str,
        handle: &'a Digest,
        now: UnixMillis,
    ) -> Fut<'a, bool> {
        Box::pin(async move {
            let sql = "UPDATE login_transactions SET finished_at = $3
                       WHERE tenant_id = $1 AND handle = $2 AND finished_at IS NULL AND expires_at > $3
                       RETURNING expires_at";
            Ok(!self.database.write(sql, params![tenant, handle, now]).await?.is_empty())
        })
    }
}
