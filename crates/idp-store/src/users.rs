use base::UnixMillis;
use idp::{
    RepositoryError,
    model::{User, fold},
    repository::{Fut, Listing, Page, UserFilter, Users},
};

use crate::{
    SqlRepository,
    cells::{Param, Row, json, params},
    database::Statement,
};

/// Columns: body and what logins change, which the body's own copies do not count for.
pub(crate) fn user_of(row: &Row) -> Result<User, RepositoryError> {
    let mut user: User = row.json(0)?;
    user.last_login = row.int_or_null(1)?;
    user.last_ip = row.text_or_null(2)?.map(str::to_owned);
    user.logins_count = row.int(3)?;
    user.last_password_reset = row.int_or_null(4)?;
    Ok(user)
}

/// What a search for part of a word looks at: folded, one line each.
fn search_text(user: &User) -> String {
    let fields =
        [&user.email, &user.username, &user.name, &user.nickname, &user.given_name, &user.family_name];
    let mut text = fold(&user.user_id);
    for field in fields.into_iter().flatten() {
        text.push('\n');
        text.push_str(&fold(field));
    }
    text
}

/// Any text that contains `part`, for LIKE with the escape character `\`.
pub(crate) fn pattern(part: &str) -> String {
    let mut out = String::from("%");
    for c in part.chars() {
        if matches!(c, '%' | '_' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('%');
    out
}

/// The body of a user's row: without what has columns of its own, so that one user always has one text.
fn body(user: &User) -> Result<String, RepositoryError> {
    let bare =
        User { last_login: None, last_ip: None, logins_count: 0, last_password_reset: None, ..user.clone() };
    json(&bare)
}

/// Tenant, user, connection, e-mail address, username, search text and body: the placeholders of a user's row.
fn columns(tenant: &str, user: &User) -> Result<Vec<Param>, RepositoryError> {
    let folded = |field: &Option<String>| field.as_deref().map(fold);
    let (email, username) = (folded(&user.email), folded(&user.username));
    Ok(params![tenant, &user.user_id, &user.connection, email, username, search_text(user), body(user)?])
}

impl SqlRepository {
    /// Both records are locked before one of them is looked at, in one statement, so that two callers cannot wait for
    /// each other.
    async fn relink(
        &self,
        tenant: &str,
        known: &User,
        primary: &User,
        secondary: &str,
        replace: &'static str,
        linked_to: Option<&str>,
    ) -> Result<bool, RepositoryError> {
        let lock =
            "UPDATE users SET body = body WHERE tenant_id = $1 AND user_id IN ($2, $3) RETURNING user_id";
        let link = "UPDATE users SET linked_to = $3 WHERE tenant_id = $1 AND user_id = $2";
        let id = &primary.user_id;
        let results = self.database.transact(vec![
            Statement::deciding(lock, params![tenant, id, secondary]),
            Statement::deciding(replace, params![tenant, id, body(primary)?, body(known)?, secondary]),
            Statement::new(link, params![tenant, secondary, linked_to]),
        ]);
        Ok(results.await?.get(1).is_some_and(|replaced| !replaced.is_empty()))
    }
}

impl Users for SqlRepository {
    fn user<'a>(&'a self, tenant: &'a str, user_id: &'a str) -> Fut<'a, Option<User>> {
        Box::pin(async move {
            let sql = "SELECT body, last_login, last_ip, logins_count, last_password_reset
                       FROM users WHERE tenant_id = $1 AND user_id = $2 AND linked_to IS NULL";
            let row = self.database.row(sql, params![tenant, user_id]).await?;
            row.map(|row| user_of(&row)).transpose()
        })
    }

    fn user_by_identifier<'a>(
        &'a self,
        tenant: &'a str,
        connection: &'a str,
        identifier: &'a str,
    ) -> Fut<'a, Option<(User, Option<String>)>> {
        Box::pin(async move {
            // The password is the record's own, the user the one it is linked to.
            let sql =
                "SELECT u.body, u.last_login, u.last_ip, u.logins_count, u.last_password_reset, r.password
                       FROM users r JOIN users u
                       ON u.tenant_id = r.tenant_id AND u.user_id = COALESCE(r.linked_to, r.user_id)
                       WHERE r.tenant_id = $1 AND r.connection = $2 AND (r.email = $3 OR r.username = $3)
                       ORDER BY CASE WHEN r.email = $3 THEN 0 ELSE 1 END LIMIT 1";
            let row = self.database.row(sql, params![tenant, connection, identifier]).await?;
            row.map(|row| Ok((user_of(&row)?, row.text_or_null(5)?.map(str::to_owned)))).transpose()
        })
    }

    fn users<'a>(&'a self, tenant: &'a str, filter: UserFilter<'a>, page: Page) -> Fut<'a, Listing<User>> {
        Box::pin(async move {
            let like = filter.contains.map(pattern);
            let params = params![tenant, filter.connection, filter.email, like];
            let sql = r"SELECT COUNT(*) FROM users WHERE tenant_id = $1 AND linked_to IS NULL
                       AND ($2 IS NULL OR connection = $2) AND ($3 IS NULL OR email = $3)
                       AND ($4 IS NULL OR search LIKE $4 ESCAPE '\')";
            let total = self.database.count(sql, params.clone()).await?;
            let sql = r"SELECT body, last_login, last_ip, logins_count, last_password_reset
                       FROM users WHERE tenant_id = $1 AND linked_to IS NULL
                       AND ($2 IS NULL OR connection = $2) AND ($3 IS NULL OR email = $3)
                       AND ($4 IS NULL OR search LIKE $4 ESCAPE '\')
                       ORDER BY created_at, user_id LIMIT $5 OFFSET $6";
            let params = [params, params![page.limit, page.offset]].concat();
            let rows = self.database.read(sql, params).await?;
            let items = rows.iter().map(user_of).collect::<Result<_, _>>()?;
            Ok(Listing { items, total })
        })
    }

    fn users_after<'a>(
        &'a self,
        tenant: &'a str,
        filter: UserFilter<'a>,
        after: Option<(i64, &'a str)>,
        limit: u32,
    ) -> Fut<'a, Vec<User>> {
        Box::pin(async move {
            let like = filter.contains.map(pattern);
            let (at, id) = after.unwrap_or((i64::MIN, ""));
            let sql = r"SELECT body, last_login, last_ip, logins_count, last_password_reset
                       FROM users WHERE tenant_id = $1 AND linked_to IS NULL
                       AND ($2 IS NULL OR connection = $2) AND ($3 IS NULL OR email = $3)
                       AND ($4 IS NULL OR search LIKE $4 ESCAPE '\')
                       AND (created_at > $5 OR (created_at = $5 AND user_id > $6))
                       ORDER BY created_at, user_id LIMIT $7";
            let params = params![tenant, filter.connection, filter.email, like, at, id, limit];
            self.database.read(sql, params).await?.iter().map(user_of).collect()
        })
    }

    fn link_user<'a>(
        &'a self,
        tenant: &'a str,
        known: &'a User,
        primary: &'a User,
        secondary: &'a str,
    ) -> Fut<'a, bool> {
        Box::pin(async move {
            let sql = "UPDATE users SET body = $3 WHERE tenant_id = $1 AND user_id = $2 AND body = $4
                       AND linked_to IS NULL AND EXISTS (SELECT 1 FROM users s
                       WHERE s.tenant_id = $1 AND s.user_id = $5 AND s.linked_to IS NULL) RETURNING user_id";
            self.relink(tenant, known, primary, secondary, sql, Some(primary.user_id.as_str())).await
        })
    }

    fn unlink_user<'a>(
        &'a self,
        tenant: &'a str,
        known: &'a User,
        primary: &'a User,
        secondary: &'a str,
    ) -> Fut<'a, bool> {
        Box::pin(async move {
            let sql = "UPDATE users SET body = $3 WHERE tenant_id = $1 AND user_id = $2 AND body = $4
                       AND EXISTS (SELECT 1 FROM users s
                       WHERE s.tenant_id = $1 AND s.user_id = $5 AND s.linked_to = $2) RETURNING user_id";
            self.relink(tenant, known, primary, secondary, sql, None).await
        })
    }

    fn create_user<'a>(&'a self, tenant: &'a str, user: &'a User, password: Option<&'a str>) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "INSERT INTO users
                       (tenant_id, user_id, connection, email, username, search, body, password, logins_count, created_at)
                       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9)";
            let params = [columns(tenant, user)?, params![password, user.created_at]].concat();
            self.database.write(sql, params).await?;
            Ok(())
        })
    }

    fn update_user<'a>(&'a self, tenant: &'a str, user: &'a User) -> Fut<'a, bool> {
        Box::pin(async move {
            let sql = "UPDATE users SET connection = $3, email = $4, username = $5, search = $6, body = $7
                       WHERE tenant_id = $1 AND user_id = $2 RETURNING user_id";
            Ok(!self.database.write(sql, columns(tenant, user)?).await?.is_empty())
        })
    }

    fn set_password<'a>(
        &'a self,
        tenant: &'a str,
        user_id: &'a str,
        password: &'a str,
        now: UnixMillis,
    ) -> Fut<'a, bool> {
        Box::pin(async move {
            let sql = "UPDATE users SET password = $3, last_password_reset = $4
                       WHERE tenant_id = $1 AND user_id = $2 RETURNING user_id";
            Ok(!self.database.write(sql, params![tenant, user_id, password, now]).await?.is_empty())
        })
    }

    fn rehash_password<'a>(
        &'a self,
        tenant: &'a str,
        user_id: &'a str,
        known: &'a str,
        password: &'a str,
    ) -> Fut<'a, bool> {
        Box::pin(async move {
            let sql = "UPDATE users SET password = $4
                       WHERE tenant_id = $1 AND user_id = $2 AND password = $3 RETURNING user_id";
            Ok(!self.database.write(sql, params![tenant, user_id, known, password]).await?.is_empty())
        })
    }

    fn change_password<'a>(
        &'a self,
        tenant: &'a str,
        user_id: &'a str,
        password: &'a str,
        remembered: usize,
        now: UnixMillis,
    ) -> Fut<'a, bool> {
        Box::pin(async move {
            let keep = "INSERT INTO password_history (tenant_id, user_id, password, replaced_at)
                        SELECT tenant_id, user_id, password, $3 FROM users
                        WHERE tenant_id = $1 AND user_id = $2 AND password IS NOT NULL";
            // The one in use is remembered by itself.
            let prune = "DELETE FROM password_history WHERE tenant_id = $1 AND user_id = $2
                         AND replaced_at < COALESCE((SELECT MIN(kept.replaced_at) FROM
                         (SELECT replaced_at FROM password_history WHERE tenant_id = $1 AND user_id = $2
                          ORDER BY replaced_at DESC LIMIT $3) kept), 9223372036854775807)";
            let replace = "UPDATE users SET password = $3, last_password_reset = $4
                           WHERE tenant_id = $1 AND user_id = $2 RETURNING user_id";
            let before = i64::try_from(remembered.saturating_sub(1)).unwrap_or(i64::MAX);
            let results = self.database.transact(vec![
                Statement::new(keep, params![tenant, user_id, now]),
                Statement::new(prune, params![tenant, user_id, before]),
                Statement::new(replace, params![tenant, user_id, password, now]),
            ]);
            Ok(results.await?.last().is_some_and(|replaced| !replaced.is_empty()))
        })
    }

    fn last_passwords<'a>(&'a self, tenant: &'a str, user_id: &'a str, limit: usize) -> Fut<'a, Vec<String>> {
        Box::pin(async move {
            let sql = "SELECT p.password FROM
                       (SELECT password, 9223372036854775807 AS replaced_at FROM users
                        WHERE tenant_id = $1 AND user_id = $2 AND password IS NOT NULL
                        UNION ALL
                        SELECT password, replaced_at FROM password_history WHERE tenant_id = $1 AND user_id = $2) p
                       ORDER BY p.replaced_at DESC LIMIT $3";
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = self.database.read(sql, params![tenant, user_id, limit]).await?;
            rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
        })
    }

    fn record_login<'a>(
        &'a self,
        tenant: &'a str,
        user_id: &'a str,
        ip: Option<&'a str>,
        now: UnixMillis,
    ) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "UPDATE users SET logins_count = logins_count + 1, last_login = $3, last_ip = $4
                       WHERE tenant_id = $1 AND user_id = $2";
            self.database.write(sql, params![tenant, user_id, now, ip]).await?;
            Ok(())
        })
    }

    fn delete_user<'a>(&'a self, tenant: &'a str, user_id: &'a str) -> Fut<'a, bool> {
        Box::pin(async move {
            let statements = [
                "DELETE FROM users WHERE tenant_id = $1 AND user_id = $2 AND linked_to IS NULL RETURNING user_id",
                "DELETE FROM users WHERE tenant_id = $1 AND linked_to = $2",
                "DELETE FROM tickets WHERE tenant_id = $1 AND user_id = $2",
                "DELETE FROM password_history WHERE tenant_id = $1 AND user_id = $2",
                "DELETE FROM user_roles WHERE tenant_id = $1 AND user_id = $2",
                "DELETE FROM pairwise_subjects WHERE tenant_id = $1 AND user_id = $2",
                "DELETE FROM user_permissions WHERE tenant_id = $1 AND user_id = $2",
                "DELETE FROM sessions WHERE tenant_id = $1 AND user_id = $2",
                "DELETE FROM consents WHERE tenant_id = $1 AND user_id = $2",
                "DELETE FROM codes WHERE tenant_id = $1 AND user_id = $2",
                "DELETE FROM refresh_tokens WHERE tenant_id = $1 AND user_id = $2",
                "DELETE FROM access_tokens WHERE tenant_id = $1 AND user_id = $2",
            ];
            let statement = |sql| Statement::new(sql, params![tenant, user_id]);
            let results = self.database.transact(statements.into_iter().map(statement).collect()).await?;
            Ok(results.first().is_some_and(|deleted| !deleted.is_empty()))
        })
    }

    fn end_everything<'a>(&'a self, tenant: &'a str, user_id: &'a str, now: UnixMillis) -> Fut<'a, ()> {
        Box::pin(async move {
            let statements = [
                "UPDATE sessions SET ended_at = $3 WHERE tenant_id = $1 AND user_id = $2 AND ended_at IS NULL",
                "UPDATE codes SET used_at = $3 WHERE tenant_id = $1 AND user_id = $2 AND used_at IS NULL",
                "UPDATE refresh_tokens SET revoked_at = $3
                 WHERE tenant_id = $1 AND user_id = $2 AND revoked_at IS NULL",
                "UPDATE access_tokens SET revoked_at = $3
                 WHERE tenant_id = $1 AND user_id = $2 AND revoked_at IS NULL",
            ];
            let statement = |sql| Statement::new(sql, params![tenant, user_id, now]);
            self.database.transact(statements.into_iter().map(statement).collect()).await?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o37_a_search_text_is_never_a_pattern() {
        assert_eq!(pattern(r"50%_a\b"), r"%50\%\_a\\b%");
    }
}
