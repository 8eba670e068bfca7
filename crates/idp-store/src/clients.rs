use idp::{
    RepositoryError,
    model::{Client, ClientGrant, SubjectType},
    repository::{ClientGrantFilter, ClientGrants, Clients, Fut, Listing, Page},
};

use crate::{
    SqlRepository,
    cells::{Row, json, params},
    database::Statement,
};

pub(crate) fn place(tenant: &str, client_id: &str) -> String {
    format!("client/{tenant}/{client_id}/secret")
}

fn subject_type(kind: SubjectType) -> &'static str {
    match kind {
        SubjectType::Client => "client",
        SubjectType::User => "user",
    }
}

impl SqlRepository {
    /// Columns: body, secret.
    fn client_of(&self, tenant: &str, row: &Row) -> Result<Client, RepositoryError> {
        let mut client: Client = row.json(0)?;
        if let Some(sealed) = row.bytes_or_null(1)? {
            client.client_secret = Some(self.seal.open_text(sealed, &place(tenant, &client.client_id))?);
        }
        Ok(client)
    }

    async fn client_grants_of(
        &self,
        tenant: &str,
        client: &str,
        audience: &str,
        kind: &str,
    ) -> Result<Listing<ClientGrant>, RepositoryError> {
        let sql = "SELECT body FROM client_grants
                   WHERE tenant_id = $1 AND client_id = $2 AND audience = $3 AND subject_type = $4
                   ORDER BY created_at, id";
        let rows = self.database.read(sql, params![tenant, client, audience, kind]).await?;
        let items: Vec<ClientGrant> = rows.iter().map(|row| row.json(0)).collect::<Result<_, _>>()?;
        Ok(Listing { total: items.len() as u64, items })
    }

    fn sealed_secret(&self, tenant: &str, client: &Client) -> Option<Vec<u8>> {
        let place = place(tenant, &client.client_id);
        client.client_secret.as_ref().map(|secret| self.seal.seal(secret.expose().as_bytes(), &place))
    }
}

impl Clients for SqlRepository {
    fn client<'a>(&'a self, tenant: &'a str, client_id: &'a str) -> Fut<'a, Option<Client>> {
        Box::pin(async move {
            let sql = "SELECT body, secret FROM clients WHERE tenant_id = $1 AND client_id = $2";
            let read = async {
                let row = self.database.row(sql, params![tenant, client_id]).await?;
                row.map(|row| self.client_of(tenant, &row)).transpose()
            };
            self.database.known(|memo| &memo.clients, &[tenant, client_id], read).await
        })
    }

    fn clients<'a>(&'a self, tenant: &'a str, page: Page) -> Fut<'a, Listing<Client>> {
        Box::pin(async move {
            let sql = "SELECT COUNT(*) FROM clients WHERE tenant_id = $1";
            let total = self.database.count(sql, params![tenant]).await?;
            let sql = "SELECT body, secret FROM clients WHERE tenant_id = $1
                       ORDER BY created_at, client_id LIMIT $2 OFFSET $3";
            let rows = self.database.read(sql, params![tenant, page.limit, page.offset]).await?;
            let items = rows.iter().map(|row| self.client_of(tenant, row)).collect::<Result<_, _>>()?;
            Ok(Listing { items, total })
        })
    }

    fn create_client<'a>(&'a self, tenant: &'a str, client: &'a Client) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "INSERT INTO clients (tenant_id, client_id, body, secret, created_at)
                       VALUES ($1, $2, $3, $4, $5)";
            let secret = self.sealed_secret(tenant, client);
            let params = params![tenant, &client.client_id, json(client)?, secret, client.created_at];
            self.database.write(sql, params).await?;
            Ok(())
        })
    }

    fn update_client<'a>(&'a self, tenant: &'a str, client: &'a Client) -> Fut<'a, bool> {
        Box::pin(async move {
            let sql = "UPDATE clients SET body = $3, secret = $4
                       WHERE tenant_id = $1 AND client_id = $2 RETURNING client_id";
            let secret = self.sealed_secret(tenant, client);
            let params = params![tenant, &client.client_id, json(client)?, secret];
            Ok(!self.database.write(sql, params).await?.is_empty())
        })
    }

    fn delete_client<'a>(&'a self, tenant: &'a str, client_id: &'a str) -> Fut<'a, bool> {
        Box::pin(async move {
            let statements = [
                "DELETE FROM clients WHERE tenant_id = $1 AND client_id = $2 RETURNING client_id",
                "DELETE FROM client_grants WHERE tenant_id = $1 AND client_id = $2",
                "DELETE FROM consents WHERE tenant_id = $1 AND client_id = $2",
                "DELETE FROM codes WHERE tenant_id = $1 AND client_id = $2",
                "DELETE FROM pushed_requests WHERE tenant_id = $1 AND client_id = $2",
                "DELETE FROM refresh_tokens WHERE tenant_id = $1 AND client_id = $2",
                "DELETE FROM access_tokens WHERE tenant_id = $1 AND client_id = $2",
                "DELETE FROM deferred_requests WHERE tenant_id = $1 AND client_id = $2",
            ];
            let statement = |sql| Statement::new(sql, params![tenant, client_id]);
            let results = self.database.transact(statements.into_iter().map(statement).collect()).await?;
            Ok(results.first().is_some_and(|deleted| !deleted.is_empty()))
        })
    }
}

impl ClientGrants for SqlRepository {
    fn client_grant<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, Option<ClientGrant>> {
        Box::pin(async move {
            let sql = "SELECT body FROM client_grants WHERE tenant_id = $1 AND id = $2";
            let row = self.database.row(sql, params![tenant, id]).await?;
            row.map(|row| row.json(0)).transpose()
        })
    }

    fn client_grants<'a>(
        &'a self,
        tenant: &'a str,
        filter: ClientGrantFilter<'a>,
        page: Page,
    ) -> Fut<'a, Listing<ClientGrant>> {
        Box::pin(async move {
            let kind = filter.subject_type.map(subject_type);
            if let (Some(client), Some(audience), Some(kind), Page::ALL) =
                (filter.client_id, filter.audience, kind, page)
            {
                // What a client may have of an API is asked for every token.
                let read = async { self.client_grants_of(tenant, client, audience, kind).await.map(Some) };
                let key = [tenant, client, audience, kind];
                let found = self.database.known(|memo| &memo.client_grants, &key, read).await?;
                return Ok(found.unwrap_or_else(|| Listing { items: Vec::new(), total: 0 }));
            }
            let sql = "SELECT COUNT(*) FROM client_grants WHERE tenant_id = $1
                       AND ($2 IS NULL OR client_id = $2) AND ($3 IS NULL OR audience = $3)
                       AND ($4 IS NULL OR subject_type = $4)";
            let params = params![tenant, filter.client_id, filter.audience, kind];
            let total = self.database.count(sql, params.clone()).await?;
            let sql = "SELECT body FROM client_grants WHERE tenant_id = $1
                       AND ($2 IS NULL OR client_id = $2) AND ($3 IS NULL OR audience = $3)
                       AND ($4 IS NULL OR subject_type = $4)
                       ORDER BY created_at, id LIMIT $5 OFFSET $6";
            let params = [params, params![page.limit, page.offset]].concat();
            let rows = self.database.read(sql, params).await?;
            let items = rows.iter().map(|row| row.json(0)).collect::<Result<_, _>>()?;
            Ok(Listing { items, total })
        })
    }

    fn create_client_grant<'a>(&'a self, tenant: &'a str, grant: &'a ClientGrant) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "INSERT INTO client_grants
                       (tenant_id, id, client_id, audience, subject_type, body, created_at)
                       VALUES ($1, $2, $3, $4, $5, $6, $7)";
            let kind = subject_type(grant.subject_type);
            let (client, audience) = (&grant.client_id, &grant.audience);
            let params = params![tenant, &grant.id, client, audience, kind, json(grant)?, grant.created_at];
            self.database.write(sql, params).await?;
            Ok(())
        })
    }

    fn update_client_grant<'a>(&'a self, tenant: &'a str, grant: &'a ClientGrant) -> Fut<'a, bool> {
        Box::pin(async move {
            let sql = "UPDATE client_grants SET body = $3 WHERE tenant_id = $1 AND id = $2 RETURNING id";
            Ok(!self.database.write(sql, params![tenant, &grant.id, json(grant)?]).await?.is_empty())
        })
    }

    fn delete_client_grant<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, bool> {
        Box::pin(async move {
            let sql = "DELETE FROM client_grants WHERE tenant_id = $1 AND id = $2 RETURNING id";
            Ok(!self.database.write(sql, params![tenant, id]).await?.is_empty())
        })
    }
}
