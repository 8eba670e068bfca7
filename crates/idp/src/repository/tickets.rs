use base::UnixMillis;

use super::Fut;
use crate::model::{Digest, Ticket, TicketKind};

/// Links that were sent to users.
pub trait Tickets {
    /// Keeps one; those of the same kind that the user had before count no more.
    fn create_ticket<'a>(&'a self, tenant: &'a str, ticket: &'a Ticket) -> Fut<'a, ()>;
    /// One that was not used and has not expired at `now`.
    fn ticket<'a>(
        &'a self,
        tenant: &'a str,
        token: &'a Digest,
        kind: TicketKind,
        now: UnixMillis,
    ) -> Fut<'a, Option<Ticket>>;
    /// Uses it up: `true` for exactly one caller.
    fn use_ticket<'a>(&'a self, tenant: &'a str, token: &'a Digest, now: UnixMillis) -> Fut<'a, bool>;
}
