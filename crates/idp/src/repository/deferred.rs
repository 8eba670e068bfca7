use base::UnixMillis;

use super::Fut;
use crate::model::{DeferredKind, DeferredRequest, Digest, Grant};

/// A deferred request as its client finds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Polled {
    /// The request, its interval already longer where it came too soon.
    pub request: DeferredRequest,
    /// Whether it came before the interval had passed.
    pub too_soon: bool,
}

/// Requests that are answered elsewhere than where they were made.
pub trait DeferredRequests {
    /// Keeps one. Conflict: `user_code`.
    fn create_deferred<'a>(&'a self, tenant: &'a str, request: &'a DeferredRequest) -> Fut<'a, ()>;
    /// One that nobody has decided and that has not expired at `now`, by its handle.
    fn deferred<'a>(
        &'a self,
        tenant: &'a str,
        handle: &'a Digest,
        now: UnixMillis,
    ) -> Fut<'a, Option<DeferredRequest>>;
    /// The same by the code that the person types.
    fn deferred_by_user_code<'a>(
        &'a self,
        tenant: &'a str,
        user_code: &'a Digest,
        now: UnixMillis,
    ) -> Fut<'a, Option<DeferredRequest>>;
    /// Those that wait for this user, the oldest first.
    fn deferred_of_user<'a>(
        &'a self,
        tenant: &'a str,
        user_id: &'a str,
        now: UnixMillis,
    ) -> Fut<'a, Vec<DeferredRequest>>;
    /// One of this client, also when decided or expired. Notes the poll: one that comes before the interval has passed
    /// makes the interval five seconds longer (RFC 8628 section 3.5).
    fn poll_deferred<'a>(
        &'a self,
        tenant: &'a str,
        client_id: &'a str,
        kind: DeferredKind,
        handle: &'a Digest,
        now: UnixMillis,
    ) -> Fut<'a, Option<Polled>>;
    /// Decides it: with a grant for yes, without one for no. `true` for exactly one caller.
    fn decide_deferred<'a>(
        &'a self,
        tenant: &'a str,
        handle: &'a Digest,
        grant: Option<&'a Grant>,
        now: UnixMillis,
    ) -> Fut<'a, bool>;
    /// Takes the grant of one that was allowed: exactly one caller gets it.
    fn redeem_deferred<'a>(
        &'a self,
        tenant: &'a str,
        client_id: &'a str,
        handle: &'a Digest,
        now: UnixMillis,
    ) -> Fut<'a, Option<Grant>>;
}
