use base::UnixMillis;
use idp::{
    RepositoryError,
    model::LogEvent,
    repository::{Fut, LogFilter, Logs, Page},
};

use crate::{
    SqlRepository,
    cells::{json, params},
    database::Statement,
};

impl Logs for SqlRepository {
    fn add_logs<'a>(&'a self, events: &'a [(String, LogEvent)]) -> Fut<'a, ()> {
        Box::pin(async move {
            let sql = "INSERT INTO logs (tenant_id, id, user_id, at, body) VALUES ($1, $2, $3, $4, $5)
                       ON CONFLICT DO NOTHING";
            let statement = |(tenant, event): &(String, LogEvent)| {
                let user = event.user_id.as_deref();
                Ok(Statement::new(sql, params![tenant, &event.log_id, user, event.at, json(event)?]))
            };
            let statements = events.iter().map(statement).collect::<Result<_, RepositoryError>>()?;
            self.database.transact(statements).await?;
            Ok(())
        })
    }

    fn log<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, Option<LogEvent>> {
        Box::pin(async move {
            let sql = "SELECT body FROM logs WHERE tenant_id = $1 AND id = $2";
            self.database.row(sql, params![tenant, id]).await?.map(|row| row.json(0)).transpose()
        })
    }

    fn logs<'a>(
        &'a self,
        tenant: &'a str,
        filter: LogFilter<'a>,
        falling: bool,
        page: Page,
    ) -> Fut<'a, Vec<LogEvent>> {
        Box::pin(async move {
            // Ids are digits of one length: they sort by time under every collation.
            let sql = if falling {
                "SELECT body FROM logs WHERE tenant_id = $1 AND ($2 IS NULL OR user_id = $2)
                 AND ($3 IS NULL OR id > $3) AND ($4 IS NULL OR id < $4) ORDER BY id DESC LIMIT $5 OFFSET $6"
            } else {
                "SELECT body FROM logs WHERE tenant_id = $1 AND ($2 IS NULL OR user_id = $2)
                 AND ($3 IS NULL OR id > $3) AND ($4 IS NULL OR id < $4) ORDER BY id LIMIT $5 OFFSET $6"
            };
            let LogFilter { user_id, after, before } = filter;
            let params = params![tenant, user_id, after, before, page.limit, page.offset];
            self.database.read(sql, params).await?.iter().map(|row| row.json(0)).collect()
        })
    }

    fn count_logs<'a>(&'a self, tenant: &'a str, filter: LogFilter<'a>) -> Fut<'a, u64> {
        Box::pin(async move {
            let sql = "SELECT COUNT(*) FROM logs WHERE tenant_id = $1 AND ($2 IS NULL OR user_id = $2)
                       AND ($3 IS NULL OR id > $3) AND ($4 IS NULL OR id < $4)";
            let LogFilter { user_id, after, before } = filter;
            self.database.count(sql, params![tenant, user_id, after, before]).await
        })
    }

    fn purge_logs(&self, before: UnixMillis) -> Fut<'_, u64> {
        Box::pin(async move {
            let sql = "DELETE FROM logs WHERE at < $1 RETURNING id";
            Ok(self.database.write(sql, params![before]).await?.len() as u64)
        })
    }
}
