use base::UnixMillis;

use super::Fut;
use crate::model::{Digest, PushedRequest};

/// Pushed authorization requests (RFC 9126).
pub trait PushedRequests {
    /// Keeps one.
    fn create_pushed_request<'a>(&'a self, tenant: &'a str, request: &'a PushedRequest) -> Fut<'a, ()>;
    /// One that is neither used nor expired at `now`.
    fn pushed_request<'a>(
        &'a self,
        tenant: &'a str,
        handle: &'a Digest,
        now: UnixMillis,
    ) -> Fut<'a, Option<PushedRequest>>;
    /// Uses one up, also when it has expired while its user logged in: `true` for exactly one caller.
    fn use_pushed_request<'a>(
        &'a self,
        tenant: &'a str,
        handle: &'a Digest,
        now: UnixMillis,
    ) -> Fut<'a, bool>;
}
