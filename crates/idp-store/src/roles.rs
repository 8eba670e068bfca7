use idp::{
    RepositoryError,
    model::{HeldPermission, Permission, Role, User, fold},
    repository::{Fut, Listing, Page, Roles},
};

use crate::{
    SqlRepository,
    cells::{Row, json, params},
    database::Statement,
    users::{pattern, user_of},
};

/// Columns: audience, permission.
fn permission_of(row: &Row) -> Result<Permission, RepositoryError> {
    Ok(Permission { audience: row.text(0)?.to_owned(), name: row.text(1)?.to_owned() })
}

/// One statement for each permission, with the tenant and the owner before it.
fn for_each(
    sql: &'static str,
    tenant: &str,
    owner: &str,
    permissions: &[Permission],
) -> impl Iterator<Item = Statement> {
    permissions.iter().map(move |permission| {
        Statement::new(sql, params![tenant, owner, &permission.audience, &permission.name])
    })
}

impl SqlRepository {
    /// Does `statements` if what the first one selects exists.
    async fn where_there_is(
        &self,
        exists: Statement,
        statements: impl Iterator<Item = Statement>,
    ) -> Result<bool, RepositoryError> {
        let all = std::iter::once(exists).chain(statements).collect();
        Ok(self.database.transact(all).await?.first().is_some_and(|found| !found.is_empty()))
    }
}

/// A row that is locked as long as the transaction lasts, so that what hangs on it cannot be orphaned meanwhile.
const ROLE_EXISTS: &str = "UPDATE roles SET body = body WHERE tenant_id = $1 AND id = $2 RETURNING id";
const USER_EXISTS: &str =
    "UPDATE users SET body = body WHERE tenant_id = $1 AND user_id = $2 RETURNING user_id";

impl Roles for SqlRepository {
    fn role<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, Option<Role>> {
        Box::pin(async move {
            let sql = "SELECT body FROM roles WHERE tenant_id = $1 AND id = $2";
            self.database.row(sql, params![tenant, id]).await?.map(|row| row.json(0)).transpose()
        })
    }

    fn roles<'a>(&'a self, tenant: &'a str, name: Option<&'a str>, page: Page) -> Fut<'a, Listing<Role>> {
        Box::pin(async move {
            let params = params![tenant, name.map(pattern)];
            let sql = r"SELECT COUNT(*) FROM roles WHERE tenant_id = $1 AND ($2 IS NULL OR folded LIKE $2 ESCAPE '\')";
            let total = self.database.count(sql, params.clone()).await?;
            let sql = r"SELECT body FROM roles WHERE tenant_id = $1 AND ($2 IS NULL OR folded LIKE $2 ESCAPE '\')
                       ORDER BY created_at, id LIMIT $3 OFFSET $4";
            let rows = self.database.read(sql, [params, params![page.limit, page.offset]].concat()).await?;
            let items = rows.iter().map(|row| row.json(0)).collect::<Result<_, _>>()?;
            Ok(Listing { items, total })
        })
    }

    fn create_role<'a>(&'a self, tenant: &'a str, role: &'a Role) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "INSERT INTO roles (tenant_id, id, name, folded, body, created_at)
                       VALUES ($1, $2, $3, $4, $5, $6)";
            let (name, body) = (&role.name, json(role)?);
            self.database
                .write(sql, params![tenant, &role.id, name, fold(name), body, role.created_at])
                .await?;
            Ok(())
        })
    }

    fn update_role<'a>(&'a self, tenant: &'a str, role: &'a Role) -> Fut<'a, bool> {
        Box::pin(async move {
            let sql = "UPDATE roles SET name = $3, folded = $4, body = $5
                       WHERE tenant_id = $1 AND id = $2 RETURNING id";
            let name = &role.name;
            let params = params![tenant, &role.id, name, fold(name), json(role)?];
            Ok(!self.database.write(sql, params).await?.is_empty())
        })
    }

    fn delete_role<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, bool> {
        Box::pin(async move {
            let statements = [
                "DELETE FROM roles WHERE tenant_id = $1 AND id = $2 RETURNING id",
                "DELETE FROM role_permissions WHERE tenant_id = $1 AND role_id = $2",
                "DELETE FROM user_roles WHERE tenant_id = $1 AND role_id = $2",
            ];
            let statement = |sql| Statement::new(sql, params![tenant, id]);
            let results = self.database.transact(statements.into_iter().map(statement).collect()).await?;
            Ok(results.first().is_some_and(|deleted| !deleted.is_empty()))
        })
    }

    fn role_permissions<'a>(
        &'a self,
        tenant: &'a str,
        role: &'a str,
        page: Page,
    ) -> Fut<'a, Listing<Permission>> {
        Box::pin(async move {
            let sql = "SELECT COUNT(*) FROM role_permissions WHERE tenant_id = $1 AND role_id = $2";
            let total = self.database.count(sql, params![tenant, role]).await?;
            let sql =
                "SELECT audience, permission FROM role_permissions WHERE tenant_id = $1 AND role_id = $2
                       ORDER BY audience, permission LIMIT $3 OFFSET $4";
            let rows = self.database.read(sql, params![tenant, role, page.limit, page.offset]).await?;
            let items = rows.iter().map(permission_of).collect::<Result<_, _>>()?;
            Ok(Listing { items, total })
        })
    }

    fn add_role_permissions<'a>(
        &'a self,
        tenant: &'a str,
        role: &'a str,
        permissions: &'a [Permission],
    ) -> Fut<'a, bool> {
        Box::pin(async move {
            let exists = Statement::deciding(ROLE_EXISTS, params![tenant, role]);
            let sql = "INSERT INTO role_permissions (tenant_id, role_id, audience, permission)
                       VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
            self.where_there_is(exists, for_each(sql, tenant, role, permissions)).await
        })
    }

    fn remove_role_permissions<'a>(
        &'a self,
        tenant: &'a str,
        role: &'a str,
        permissions: &'a [Permission],
    ) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "DELETE FROM role_permissions
                       WHERE tenant_id = $1 AND role_id = $2 AND audience = $3 AND permission = $4";
            self.database.transact(for_each(sql, tenant, role, permissions).collect()).await?;
            Ok(())
        })
    }

    fn role_users<'a>(&'a self, tenant: &'a str, role: &'a str, page: Page) -> Fut<'a, Listing<User>> {
        Box::pin(async move {
            let sql = "SELECT COUNT(*) FROM user_roles WHERE tenant_id = $1 AND role_id = $2";
            let total = self.database.count(sql, params![tenant, role]).await?;
            let sql = "SELECT u.body, u.last_login, u.last_ip, u.logins_count, u.last_password_reset
                       FROM user_roles r JOIN users u ON u.tenant_id = r.tenant_id AND u.user_id = r.user_id
                       WHERE r.tenant_id = $1 AND r.role_id = $2
                       ORDER BY r.created_at, r.user_id LIMIT $3 OFFSET $4";
            let rows = self.database.read(sql, params![tenant, role, page.limit, page.offset]).await?;
            let items = rows.iter().map(user_of).collect::<Result<_, _>>()?;
            Ok(Listing { items, total })
        })
    }

    fn user_roles<'a>(&'a self, tenant: &'a str, user_id: &'a str, page: Page) -> Fut<'a, Listing<Role>> {
        Box::pin(async move {
            let sql = "SELECT COUNT(*) FROM user_roles WHERE tenant_id = $1 AND user_id = $2";
            let total = self.database.count(sql, params![tenant, user_id]).await?;
            let sql = "SELECT o.body FROM user_roles r
                       JOIN roles o ON o.tenant_id = r.tenant_id AND o.id = r.role_id
                       WHERE r.tenant_id = $1 AND r.user_id = $2 ORDER BY o.created_at, o.id LIMIT $3 OFFSET $4";
            let rows = self.database.read(sql, params![tenant, user_id, page.limit, page.offset]).await?;
            let items = rows.iter().map(|row| row.json(0)).collect::<Result<_, _>>()?;
            Ok(Listing { items, total })
        })
    }

    fn assign_roles<'a>(
        &'a self,
        tenant: &'a str,
        users: &'a [String],
        roles: &'a [String],
        now: i64,
    ) -> Fut<'a, bool> {
        Box::pin(async move {
            // In one order whoever asks, so that no two transactions wait for each other.
            let sorted = |ids: &[String]| {
                let mut ids = ids.to_vec();
                ids.sort_unstable();
                ids.dedup();
                ids
            };
            let (users, roles) = (sorted(users), sorted(roles));
            let mut statements = Vec::with_capacity(users.len() + roles.len() + users.len() * roles.len());
            statements
                .extend(roles.iter().map(|role| Statement::deciding(ROLE_EXISTS, params![tenant, role])));
            statements
                .extend(users.iter().map(|user| Statement::deciding(USER_EXISTS, params![tenant, user])));
            let checks = statements.len();
            let sql = "INSERT INTO user_roles (tenant_id, user_id, role_id, created_at)
                       VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
            for user in &users {
                let pairs = roles.iter().map(|role| Statement::new(sql, params![tenant, user, role, now]));
                statements.extend(pairs);
            }
            let results = self.database.transact(statements).await?;
            Ok(results.iter().take(checks).all(|found| !found.is_empty()))
        })
    }

    fn unassign_roles<'a>(&'a self, tenant: &'a str, user_id: &'a str, roles: &'a [String]) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "DELETE FROM user_roles WHERE tenant_id = $1 AND user_id = $2 AND role_id = $3";
            let statement = |role| Statement::new(sql, params![tenant, user_id, role]);
            self.database.transact(roles.iter().map(statement).collect()).await?;
            Ok(())
        })
    }

    fn held_permissions<'a>(&'a self, tenant: &'a str, user_id: &'a str) -> Fut<'a, Vec<HeldPermission>> {
        Box::pin(async move {
            // Direct ones have an empty role; those come first.
            let sql = "SELECT audience, permission, '' AS role_id, '' AS role_name FROM user_permissions
                       WHERE tenant_id = $1 AND user_id = $2
                       UNION ALL
                       SELECT p.audience, p.permission, o.id AS role_id, o.name AS role_name FROM user_roles r
                       JOIN roles o ON o.tenant_id = r.tenant_id AND o.id = r.role_id
                       JOIN role_permissions p ON p.tenant_id = r.tenant_id AND p.role_id = r.role_id
                       WHERE r.tenant_id = $1 AND r.user_id = $2
                       ORDER BY audience, permission, role_name, role_id";
            let mut held: Vec<HeldPermission> = Vec::new();
            for row in self.database.read(sql, params![tenant, user_id]).await? {
                let permission = permission_of(&row)?;
                if held.last().is_none_or(|last| last.permission != permission) {
                    held.push(HeldPermission { permission, roles: Vec::new(), direct: false });
                }
                let Some(last) = held.last_mut() else { continue };
                match row.text(2)? {
                    "" => last.direct = true,
                    role => last.roles.push((role.to_owned(), row.text(3)?.to_owned())),
                }
            }
            Ok(held)
        })
    }

    fn permission_names<'a>(
        &'a self,
        tenant: &'a str,
        user_id: &'a str,
        audience: &'a str,
    ) -> Fut<'a, Vec<String>> {
        Box::pin(async move {
            let sql = "SELECT permission FROM user_permissions
                       WHERE tenant_id = $1 AND user_id = $2 AND audience = $3
                       UNION
                       SELECT p.permission FROM user_roles r
                       JOIN role_permissions p ON p.tenant_id = r.tenant_id AND p.role_id = r.role_id
                       WHERE r.tenant_id = $1 AND r.user_id = $2 AND p.audience = $3
                       ORDER BY permission";
            let rows = self.database.read(sql, params![tenant, user_id, audience]).await?;
            rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
        })
    }

    fn add_user_permissions<'a>(
        &'a self,
        tenant: &'a str,
        user_id: &'a str,
        permissions: &'a [Permission],
    ) -> Fut<'a, bool> {
        Box::pin(async move {
            let exists = Statement::deciding(USER_EXISTS, params![tenant, user_id]);
            let sql = "INSERT INTO user_permissions (tenant_id, user_id, audience, permission)
                       VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
            self.where_there_is(exists, for_each(sql, tenant, user_id, permissions)).await
        })
    }

    fn remove_user_permissions<'a>(
        &'a self,
        tenant: &'a str,
        user_id: &'a str,
        permissions: &'a [Permission],
    ) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "DELETE FROM user_permissions
                       WHERE tenant_id = $1 AND user_id = $2 AND audience = $3 AND permission = $4";
            self.database.transact(for_each(sql, tenant, user_id, permissions).collect()).await?;
            Ok(())
        })
    }

    fn drop_permissions<'a>(&'a self, tenant: &'a str, permissions: &'a [Permission]) -> Fut<'a, ()> {
        Box::pin(async move {
            let statements = [
                "DELETE FROM role_permissions WHERE tenant_id = $1 AND audience = $2 AND permission = $3",
                "DELETE FROM user_permissions WHERE tenant_id = $1 AND audience = $2 AND permission = $3",
            ];
            let of = |permission: &Permission| {
                let params = params![tenant, &permission.audience, &permission.name];
                statements.map(|sql| Statement::new(sql, params.clone()))
            };
            self.database.transact(permissions.iter().flat_map(of).collect()).await?;
            Ok(())
        })
    }
}
