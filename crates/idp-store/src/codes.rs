use base::UnixMillis;
use idp::{
    model::{Digest, Grant},
    repository::{Codes, Fut, Redemption},
};

use crate::{
    SqlRepository,
    cells::{json, params},
    database::Statement,
    sessions::ADD_CLIENT,
};

impl Codes for SqlRepository {
    fn create_code<'a>(
        &'a self,
        tenant: &'a str,
        code: &'a Digest,
        grant: &'a Grant,
        expires_at: UnixMillis,
    ) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "INSERT INTO codes (tenant_id, code, client_id, user_id, grant_body, expires_at)
                       VALUES ($1, $2, $3, $4, $5, $6)";
            let (client, user) = (&grant.client_id, &grant.user_id);
            let statements = vec![
                Statement::new(sql, params![tenant, code, client, user, json(grant)?, expires_at]),
                Statement::new(ADD_CLIENT, params![tenant, &grant.sid, client, &grant.issuer]),
            ];
            self.database.transact(statements).await?;
            Ok(())
        })
    }

    fn redeem_code<'a>(
        &'a self,
        tenant: &'a str,
        client_id: &'a str,
        code: &'a Digest,
        now: UnixMillis,
    ) -> Fut<'a, Redemption> {
        Box::pin(async move {
            let redeem = "UPDATE codes SET used_at = $4 WHERE tenant_id = $1 AND client_id = $2 AND code = $3
                          AND used_at IS NULL AND expires_at > $4 RETURNING grant_body";
            if let Some(row) =
                self.database.write(redeem, params![tenant, client_id, code, now]).await?.first()
            {
                return Ok(Redemption::Fresh(row.json(0)?));
            }
            let used = "SELECT grant_body FROM codes WHERE tenant_id = $1 AND client_id = $2 AND code = $3
                        AND used_at IS NOT NULL";
            let row = self.database.row(used, params![tenant, client_id, code]).await?;
            Ok(match row {
                Some(row) => Redemption::Used(row.json(0)?),
                None => Redemption::Unknown,
            })
        })
    }
}
