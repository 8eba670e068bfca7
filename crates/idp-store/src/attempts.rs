use base::UnixMillis;
use idp::{
    model::Digest,
    repository::{Attempts, Fut},
};

use crate::{SqlRepository, cells::params, database::Statement};

impl Attempts for SqlRepository {
    fn count_attempt<'a>(
        &'a self,
        tenant: &'a str,
        account: &'a Digest,
        address: &'a str,
        since: UnixMillis,
        now: UnixMillis,
    ) -> Fut<'a, (i64, i64)> {
        Box::pin(async move {
            let sql = "INSERT INTO login_attempts (tenant_id, account, address, failures, since)
                       VALUES ($1, $2, $3, 1, $5)
                       ON CONFLICT (tenant_id, account, address) DO UPDATE SET
                       failures = CASE WHEN login_attempts.since < $4 THEN 1 ELSE login_attempts.failures + 1 END,
                       since = CASE WHEN login_attempts.since < $4 THEN $5 ELSE login_attempts.since END
                       RETURNING failures";
            // The account as a whole comes first for everybody, so that no two wait for each other.
            let count = |address: &str| Statement::new(sql, params![tenant, account, address, since, now]);
            let results = self.database.transact(vec![count(""), count(address)]).await?;
            let number = |place: usize| {
                results.get(place).and_then(|rows| rows.first()).map_or(Ok(i64::MAX), |row| row.int(0))
            };
            Ok((number(1)?, number(0)?))
        })
    }

    fn take_back_attempt<'a>(
        &'a self,
        tenant: &'a str,
        account: &'a Digest,
        address: &'a str,
    ) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "UPDATE login_attempts SET failures = failures - 1
                       WHERE tenant_id = $1 AND account = $2 AND address = $3 AND failures > 0";
            // In the order in which they were counted, so that no two wait for each other.
            let less = |address: &str| Statement::new(sql, params![tenant, account, address]);
            self.database.transact(vec![less(""), less(address)]).await?;
            Ok(())
        })
    }

    fn attempts<'a>(
        &'a self,
        tenant: &'a str,
        account: &'a Digest,
        since: UnixMillis,
    ) -> Fut<'a, Vec<(String, i64)>> {
        Box::pin(async move {
            let sql = "SELECT address, failures FROM login_attempts
                       WHERE tenant_id = $1 AND account = $2 AND since >= $3 ORDER BY address";
            let rows = self.database.read(sql, params![tenant, account, since]).await?;
            rows.iter().map(|row| Ok((row.text(0)?.to_owned(), row.int(1)?))).collect()
        })
    }

    fn forget_attempts<'a>(
        &'a self,
        tenant: &'a str,
        account: &'a Digest,
        address: Option<&'a str>,
    ) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "DELETE FROM login_attempts WHERE tenant_id = $1 AND account = $2
                       AND ($3 IS NULL OR address = $3 OR address = '')";
            self.database.write(sql, params![tenant, account, address]).await?;
            Ok(())
        })
    }
}
