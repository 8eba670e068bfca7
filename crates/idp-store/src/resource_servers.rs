use idp::{
    RepositoryError,
    model::ResourceServer,
    repository::{Fut, Listing, Page, ResourceServers},
};

use crate::{
    SqlRepository,
    cells::{Row, json, params},
    database::Statement,
};

pub(crate) fn place(tenant: &str, id: &str) -> String {
    format!("resource_server/{tenant}/{id}/signing_secret")
}

impl SqlRepository {
    /// Columns: body, signing_secret.
    fn resource_server_of(&self, tenant: &str, row: &Row) -> Result<ResourceServer, RepositoryError> {
        let mut api: ResourceServer = row.json(0)?;
        if let Some(sealed) = row.bytes_or_null(1)? {
            api.signing_secret = Some(self.seal.open_text(sealed, &place(tenant, &api.id))?);
        }
        Ok(api)
    }

    fn sealed_signing_secret(&self, tenant: &str, api: &ResourceServer) -> Option<Vec<u8>> {
        let place = place(tenant, &api.id);
        api.signing_secret.as_ref().map(|secret| self.seal.seal(secret.expose().as_bytes(), &place))
    }
}

impl ResourceServers for SqlRepository {
    fn resource_server<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, Option<ResourceServer>> {
        Box::pin(async move {
            // An API named like another one's id is found by its name.
            let sql = "SELECT body, signing_secret FROM resource_servers
                       WHERE tenant_id = $1 AND (identifier = $2 OR id = $2)
                       ORDER BY CASE WHEN identifier = $2 THEN 0 ELSE 1 END LIMIT 1";
            let read = async {
                let row = self.database.row(sql, params![tenant, id]).await?;
                row.map(|row| self.resource_server_of(tenant, &row)).transpose()
            };
            self.database.known(|memo| &memo.apis, &[tenant, id], read).await
        })
    }

    fn resource_servers<'a>(&'a self, tenant: &'a str, page: Page) -> Fut<'a, Listing<ResourceServer>> {
        Box::pin(async move {
            let sql = "SELECT COUNT(*) FROM resource_servers WHERE tenant_id = $1";
            let total = self.database.count(sql, params![tenant]).await?;
            let sql = "SELECT body, signing_secret FROM resource_servers WHERE tenant_id = $1
                       ORDER BY created_at, id LIMIT $2 OFFSET $3";
            let rows = self.database.read(sql, params![tenant, page.limit, page.offset]).await?;
            let items =
                rows.iter().map(|row| self.resource_server_of(tenant, row)).collect::<Result<_, _>>()?;
            Ok(Listing { items, total })
        })
    }

    fn create_resource_server<'a>(&'a self, tenant: &'a str, api: &'a ResourceServer) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "INSERT INTO resource_servers
                       (tenant_id, id, identifier, body, signing_secret, created_at)
                       VALUES ($1, $2, $3, $4, $5, $6)";
            let secret = self.sealed_signing_secret(tenant, api);
            let params = params![tenant, &api.id, &api.identifier, json(api)?, secret, api.created_at];
            self.database.write(sql, params).await?;
            Ok(())
        })
    }

    fn update_resource_server<'a>(&'a self, tenant: &'a str, api: &'a ResourceServer) -> Fut<'a, bool> {
        Box::pin(async move {
            let sql = "UPDATE resource_servers SET body = $3, signing_secret = $4
                       WHERE tenant_id = $1 AND id = $2 RETURNING id";
            let secret = self.sealed_signing_secret(tenant, api);
            Ok(!self.database.write(sql, params![tenant, &api.id, json(api)?, secret]).await?.is_empty())
        })
    }

    fn delete_resource_server<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, bool> {
        Box::pin(async move {
            let what_names_it = [
                "DELETE FROM client_grants WHERE tenant_id = $1 AND audience IN
                 (SELECT identifier FROM resource_servers WHERE tenant_id = $1 AND id = $2)",
                "DELETE FROM role_permissions WHERE tenant_id = $1 AND audience IN
                 (SELECT identifier FROM resource_servers WHERE tenant_id = $1 AND id = $2)",
                "DELETE FROM user_permissions WHERE tenant_id = $1 AND audience IN
                 (SELECT identifier FROM resource_servers WHERE tenant_id = $1 AND id = $2)",
            ];
            let api = "DELETE FROM resource_servers WHERE tenant_id = $1 AND id = $2 RETURNING id";
            let statement = |sql| Statement::new(sql, params![tenant, id]);
            let statements = what_names_it.into_iter().chain([api]).map(statement).collect();
            let results = self.database.transact(statements).await?;
            Ok(results.last().is_some_and(|deleted| !deleted.is_empty()))
        })
    }
}
