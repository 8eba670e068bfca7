use base::UnixMillis;
use idp::{
    RepositoryError,
    model::Consent,
    repository::{Consents, Fut, Listing, Page},
};
use oauth::Scopes;

use crate::{
    SqlRepository,
    cells::{Row, params},
    database::Statement,
};

/// Columns: id, user_id, client_id, audience, scope.
fn consent_of(row: &Row) -> Result<Consent, RepositoryError> {
    let scope = Scopes::parse(row.text(4)?).map_err(|error| RepositoryError::Failed(error.to_string()))?;
    Ok(Consent {
        id: row.text(0)?.to_owned(),
        user_id: row.text(1)?.to_owned(),
        client_id: row.text(2)?.to_owned(),
        audience: row.text(3)?.to_owned(),
        scope,
    })
}

impl Consents for SqlRepository {
    fn consent<'a>(
        &'a self,
        tenant: &'a str,
        user_id: &'a str,
        client_id: &'a str,
        audience: &'a str,
    ) -> Fut<'a, Option<Consent>> {
        Box::pin(async move {
            let sql = "SELECT id, user_id, client_id, audience, scope FROM consents
                       WHERE tenant_id = $1 AND user_id = $2 AND client_id = $3 AND audience = $4";
            let row = self.database.row(sql, params![tenant, user_id, client_id, audience]).await?;
            row.map(|row| consent_of(&row)).transpose()
        })
    }

    fn consents<'a>(
        &'a self,
        tenant: &'a str,
        user_id: Option<&'a str>,
        page: Page,
    ) -> Fut<'a, Listing<Consent>> {
        Box::pin(async move {
            let sql = "SELECT COUNT(*) FROM consents WHERE tenant_id = $1 AND ($2 IS NULL OR user_id = $2)";
            let total = self.database.count(sql, params![tenant, user_id]).await?;
            let sql = "SELECT id, user_id, client_id, audience, scope FROM consents
                       WHERE tenant_id = $1 AND ($2 IS NULL OR user_id = $2)
                       ORDER BY updated_at, id LIMIT $3 OFFSET $4";
            let rows = self.database.read(sql, params![tenant, user_id, page.limit, page.offset]).await?;
            let items = rows.iter().map(consent_of).collect::<Result<_, _>>()?;
            Ok(Listing { items, total })
        })
    }

    fn put_consent<'a>(&'a self, tenant: &'a str, consent: &'a Consent, now: UnixMillis) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "INSERT INTO consents (tenant_id, id, user_id, client_id, audience, scope, updated_at)
                       VALUES ($1, $2, $3, $4, $5, $6, $7)
                       ON CONFLICT (tenant_id, user_id, client_id, audience)
                       DO UPDATE SET scope = excluded.scope, updated_at = excluded.updated_at";
            let (user, client, audience) = (&consent.user_id, &consent.client_id, &consent.audience);
            let params = params![tenant, &consent.id, user, client, audience, consent.scope.to_string(), now];
            self.database.write(sql, params).await?;
            Ok(())
        })
    }

    fn delete_consent<'a>(&'a self, tenant: &'a str, id: &'a str, now: UnixMillis) -> Fut<'a, bool> {
        Box::pin(async move {
            let revoke =
                "UPDATE refresh_tokens SET revoked_at = $3 WHERE tenant_id = $1 AND revoked_at IS NULL
                          AND EXISTS (SELECT 1 FROM consents c WHERE c.tenant_id = $1 AND c.id = $2
                          AND c.user_id = refresh_tokens.user_id AND c.client_id = refresh_tokens.client_id)";
            let delete = "DELETE FROM consents WHERE tenant_id = $1 AND id = $2 RETURNING id";
            let results = self.database.transact(vec![
                Statement::new(revoke, params![tenant, id, now]),
                Statement::new(delete, params![tenant, id]),
            ]);
            Ok(results.await?.last().is_some_and(|deleted| !deleted.is_empty()))
        })
    }
}
