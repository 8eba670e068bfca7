use base::UnixMillis;

use super::Fut;
use crate::model::LogoutDelivery;

/// Logout tokens on their way to clients.
pub trait Logouts {
    /// Ends a session and keeps what is to be told of it, in one transaction. `false`, and nothing is kept, where it had
    /// ended before.
    fn end_session_telling<'a>(
        &'a self,
        tenant: &'a str,
        sid: &'a str,
        deliveries: &'a [LogoutDelivery],
        now: UnixMillis,
    ) -> Fut<'a, bool>;
    /// Takes what is due, of any tenant, with the tenant's id: nobody else gets it until `until`. Each counts as tried
    /// from then on.
    fn claim_logouts(
        &self,
        now: UnixMillis,
        until: UnixMillis,
        limit: u32,
    ) -> Fut<'_, Vec<(String, LogoutDelivery)>>;
    /// Tries again then.
    fn postpone_logout<'a>(&'a self, tenant: &'a str, id: &'a str, due_at: UnixMillis) -> Fut<'a, ()>;
    /// Done, or given up.
    fn forget_logout<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, ()>;
}
