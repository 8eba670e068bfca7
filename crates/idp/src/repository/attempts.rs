use base::UnixMillis;

use super::Fut;
use crate::model::Digest;

/// Failed logins, counted for all nodes together. An account is a digest of whoever is guessed at; an address is a
/// network's text, or empty for the account as a whole.
pub trait Attempts {
    /// Counts one for the account from this address and as a whole, and says how many those are. What was counted
    /// before `since` is forgotten.
    fn count_attempt<'a>(
        &'a self,
        tenant: &'a str,
        account: &'a Digest,
        address: &'a str,
        since: UnixMillis,
        now: UnixMillis,
    ) -> Fut<'a, (i64, i64)>;
    /// Takes one back that was counted for the account from this address and as a whole: it was none.
    fn take_back_attempt<'a>(&'a self, tenant: &'a str, account: &'a Digest, address: &'a str)
    -> Fut<'a, ()>;
    /// What was counted for an account since then: address and number.
    fn attempts<'a>(
        &'a self,
        tenant: &'a str,
        account: &'a Digest,
        since: UnixMillis,
    ) -> Fut<'a, Vec<(String, i64)>>;
    /// Forgets what was counted for an account: from this address and as a whole, or from everywhere.
    fn forget_attempts<'a>(
        &'a self,
        tenant: &'a str,
        account: &'a Digest,
        address: Option<&'a str>,
    ) -> Fut<'a, ()>;
}
