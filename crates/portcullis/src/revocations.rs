//! From the identity provider to the gate of the same process: tokens that are good no longer.

use std::sync::{Arc, Mutex, PoisonError};

use base::{Clock, UnixMillis};
use idp::{Idp, RepositoryError, RevocationListener};
use rp::bearer::Revocations;

/// What is read again at each look: the clocks of nodes differ, and what one of them wrote may be seen late.
const OVERLAP_MS: i64 = 60_000;

/// Tells the gate at once of what this node revokes.
pub(crate) struct Told(pub(crate) Arc<Revocations>);

impl RevocationListener for Told {
    fn revoked(&self, id: &str, until: UnixMillis) {
        self.0.add(id, until);
    }
}

/// Reads what any node has revoked.
#[derive(Clone)]
pub(crate) struct RevocationFeed {
    idp: Arc<Idp>,
    revocations: Arc<Revocations>,
    clock: Clock,
    /// Up to when everything was read.
    read: Arc<Mutex<UnixMillis>>,
}

impl RevocationFeed {
    /// A feed of which nothing is read yet.
    pub(crate) fn new(idp: Arc<Idp>, revocations: Arc<Revocations>, clock: Clock) -> Self {
        Self { idp, revocations, clock, read: Arc::new(Mutex::new(UnixMillis(0))) }
    }

    /// Takes in what is new.
    pub(crate) async fn look(&self) -> Result<(), RepositoryError> {
        let read = *self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let since = UnixMillis(read.0.saturating_sub(OVERLAP_MS).max(0));
        let mut last = read;
        for revoked in self.idp.repository().revocations_since(since).await? {
            self.revocations.add(&revoked.id, revoked.until);
            last = last.max(revoked.at);
        }
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = last;
        Ok(())
    }

    /// Drops what is over.
    pub(crate) fn forget(&self) {
        self.revocations.forget(self.clock.now());
    }
}
