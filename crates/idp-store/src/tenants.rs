use idp::{
    model::Tenant,
    repository::{Fut, Tenants},
};

use crate::{
    SqlRepository,
    cells::{json, params},
};

impl Tenants for SqlRepository {
    fn tenants(&self) -> Fut<'_, Vec<Tenant>> {
        Box::pin(async move {
            let read = async {
                let rows =
                    self.database.read("SELECT body FROM tenants ORDER BY tenant_id", params![]).await?;
                rows.iter().map(|row| row.json(0)).collect::<Result<Vec<Tenant>, _>>().map(Some)
            };
            Ok(self.database.known(|memo| &memo.tenants, &[], read).await?.unwrap_or_default())
        })
    }

    fn put_tenant<'a>(&'a self, tenant: &'a Tenant) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "INSERT INTO tenants (tenant_id, body) VALUES ($1, $2)
                       ON CONFLICT (tenant_id) DO UPDATE SET body = excluded.body";
            self.database.write(sql, params![&tenant.id, json(tenant)?]).await?;
            Ok(())
        })
    }
}
