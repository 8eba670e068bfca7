use base::UnixMillis;
use idp::{
    model::{Digest, Ticket, TicketKind},
    repository::{Fut, Tickets},
};

use crate::{
    SqlRepository,
    cells::{json, params},
    database::Statement,
};

impl Tickets for SqlRepository {
    fn create_ticket<'a>(&'a self, tenant: &'a str, ticket: &'a Ticket) -> Fut<'a, ()> {
        Box::pin(async move {
            let (kind, user) = (ticket.kind.as_str(), &ticket.user_id);
            let void = "DELETE FROM tickets WHERE tenant_id = $1 AND user_id = $2 AND kind = $3";
            let keep = "INSERT INTO tickets (tenant_id, token, kind, user_id, terms, expires_at)
                        VALUES ($1, $2, $3, $4, $5, $6)";
            let terms = json(&ticket.terms)?;
            let statements = vec![
                Statement::new(void, params![tenant, user, kind]),
                Statement::new(keep, params![tenant, &ticket.token, kind, user, terms, ticket.expires_at]),
            ];
            self.database.transact(statements).await?;
            Ok(())
        })
    }

    fn ticket<'a>(
        &'a self,
        tenant: &'a str,
        token: &'a Digest,
        kind: TicketKind,
        now: UnixMillis,
    ) -> Fut<'a, Option<Ticket>> {
        Box::pin(async move {
            let sql = "SELECT token, user_id, terms, expires_at FROM tickets
                       WHERE tenant_id = $1 AND token = $2 AND kind = $3 AND expires_at > $4";
            let row = self.database.row(sql, params![tenant, token, kind.as_str(), now]).await?;
            row.map(|row| {
                let (token, user_id) = (row.digest(0)?, row.text(1)?.to_owned());
                Ok(Ticket { token, kind, user_id, terms: row.json(2)?, expires_at: row.int(3)? })
            })
            .transpose()
        })
    }

    fn use_ticket<'a>(&'a self, tenant: &'a str, token: &'a Digest, now: UnixMillis) -> Fut<'a, bool> {
        Box::pin(async move {
            let sql =
                "DELETE FROM tickets WHERE tenant_id = $1 AND token = $2 AND expires_at > $3 RETURNING kind";
            Ok(!self.database.write(sql, params![tenant, token, now]).await?.is_empty())
        })
    }
}
