use idp::{
    model::Connection,
    repository::{Connections, Fut, Listing, Page},
};

use crate::{
    SqlRepository,
    cells::{json, params},
    database::Statement,
};

impl Connections for SqlRepository {
    fn connection<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, Option<Connection>> {
        Box::pin(async move {
            // An id has an underscore, which no name can have.
            let sql = "SELECT body FROM connections WHERE tenant_id = $1 AND (id = $2 OR name = $2) LIMIT 1";
            let row = self.database.row(sql, params![tenant, id]).await?;
            row.map(|row| row.json(0)).transpose()
        })
    }

    fn connections<'a>(&'a self, tenant: &'a str, page: Page) -> Fut<'a, Listing<Connection>> {
        Box::pin(async move {
            let sql = "SELECT COUNT(*) FROM connections WHERE tenant_id = $1";
            let total = self.database.count(sql, params![tenant]).await?;
            let sql = "SELECT body FROM connections WHERE tenant_id = $1
                       ORDER BY created_at, id LIMIT $2 OFFSET $3";
            let rows = self.database.read(sql, params![tenant, page.limit, page.offset]).await?;
            let items = rows.iter().map(|row| row.json(0)).collect::<Result<_, _>>()?;
            Ok(Listing { items, total })
        })
    }

    fn create_connection<'a>(&'a self, tenant: &'a str, connection: &'a Connection) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql =
                "INSERT INTO connections (tenant_id, id, name, body, created_at) VALUES ($1, $2, $3, $4, $5)";
            let (id, name) = (&connection.id, &connection.name);
            self.database
                .write(sql, params![tenant, id, name, json(connection)?, connection.created_at])
                .await?;
            Ok(())
        })
    }

    fn update_connection<'a>(&'a self, tenant: &'a str, connection: &'a Connection) -> Fut<'a, bool> {
        Box::pin(async move {
            let sql = "UPDATE connections SET body = $3 WHERE tenant_id = $1 AND id = $2 RETURNING id";
            Ok(!self
                .database
                .write(sql, params![tenant, &connection.id, json(connection)?])
                .await?
                .is_empty())
        })
    }

    fn delete_connection<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, bool> {
        Box::pin(async move {
            let statements = [
                "DELETE FROM password_history WHERE tenant_id = $1 AND user_id IN
                 (SELECT u.user_id FROM users u JOIN connections c ON c.tenant_id = u.tenant_id
                  AND c.name = u.connection WHERE u.tenant_id = $1 AND c.id = $2)",
                "DELETE FROM user_roles WHERE tenant_id = $1 AND user_id IN
                 (SELECT u.user_id FROM users u JOIN connections c ON c.tenant_id = u.tenant_id
                  AND c.name = u.connection WHERE u.tenant_id = $1 AND c.id = $2)",
                "DELETE FROM user_permissions WHERE tenant_id = $1 AND user_id IN
                 (SELECT u.user_id FROM users u JOIN connections c ON c.tenant_id = u.tenant_id
                  AND c.name = u.connection WHERE u.tenant_id = $1 AND c.id = $2)",
                "DELETE FROM sessions WHERE tenant_id = $1 AND user_id IN
                 (SELECT u.user_id FROM users u JOIN connections c ON c.tenant_id = u.tenant_id
                  AND c.name = u.connection WHERE u.tenant_id = $1 AND c.id = $2)",
                "DELETE FROM consents WHERE tenant_id = $1 AND user_id IN
                 (SELECT u.user_id FROM users u JOIN connections c ON c.tenant_id = u.tenant_id
                  AND c.name = u.connection WHERE u.tenant_id = $1 AND c.id = $2)",
                "DELETE FROM codes WHERE tenant_id = $1 AND user_id IN
                 (SELECT u.user_id FROM users u JOIN connections c ON c.tenant_id = u.tenant_id
                  AND c.name = u.connection WHERE u.tenant_id = $1 AND c.id = $2)",
                "DELETE FROM refresh_tokens WHERE tenant_id = $1 AND user_id IN
                 (SELECT u.user_id FROM users u JOIN connections c ON c.tenant_id = u.tenant_id
                  AND c.name = u.connection WHERE u.tenant_id = $1 AND c.id = $2)",
                "DELETE FROM access_tokens WHERE tenant_id = $1 AND user_id IN
                 (SELECT u.user_id FROM users u JOIN connections c ON c.tenant_id = u.tenant_id
                  AND c.name = u.connection WHERE u.tenant_id = $1 AND c.id = $2)",
                "DELETE FROM users WHERE tenant_id = $1 AND connection IN
                 (SELECT name FROM connections WHERE tenant_id = $1 AND id = $2)",
                "DELETE FROM connections WHERE tenant_id = $1 AND id = $2 RETURNING id",
            ];
            let statement = |sql| Statement::new(sql, params![tenant, id]);
            let results = self.database.transact(statements.into_iter().map(statement).collect()).await?;
            Ok(results.last().is_some_and(|deleted| !deleted.is_empty()))
        })
    }
}
