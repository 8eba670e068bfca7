//! From the identity provider to the gate of the same process: tokens that are good no longer.

use std::sync::{Arc, Mutex, PoisonError};

use base::{Clock, UnixMillis};
use idp::{RepositoryError, RevocationListener, repository::Repository};
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
    repository: Arc<dyn Repository>,
    revocations: Arc<Revocations>,
    clock: Clock,
    /// Up to when everything was read.
    read: Arc<Mutex<UnixMillis>>,
}

impl RevocationFeed {
    /// A feed of which nothing is read yet.
    pub(crate) fn new(repository: Arc<dyn Repository>, revocations: Arc<Revocations>, clock: Clock) -> Self {
        Self { repository, revocations, clock, read: Arc::new(Mutex::new(UnixMillis(0))) }
    }

    /// Takes in what is new.
    pub(crate) async fn look(&self) -> Result<(), RepositoryError> {
        let read = *self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let since = UnixMillis(read.0.saturating_sub(OVERLAP_MS).max(0));
        let mut last = read;
        for revoked in self.repository.revocations_since(since).await? {
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

#[cfg(test)]
mod tests {
    use base::{Keyring, Random};
    use idp::repository::Revocations as _;
    use rp::bearer::RevocationMarks;

    use super::*;

    #[tokio::test]
    async fn what_another_node_revokes_is_taken_in_also_where_its_clock_is_behind() {
        let folder = tempfile::tempdir().unwrap();
        let random = Random::seeded(1);
        let path = folder.path().join("identity.db");
        let keyring = Keyring::generate(&random);
        let repository = idp_store::open_sqlite(&path, keyring, random).await.unwrap();
        let (revocations, clock) = (Arc::<Revocations>::default(), Clock::fixed(UnixMillis(1_000_000)));
        let feed = RevocationFeed::new(repository.clone(), Arc::clone(&revocations), clock);
        let knows = |id: &str| revocations.contains(&RevocationMarks::of(id));
        let end = UnixMillis(2_000_000);
        for (id, at) in [("one", 1_000_000), ("two", 1_000_000 - OVERLAP_MS)] {
            assert!(!knows(id));
            repository.add_revocation("t", id, end, UnixMillis(at)).await.unwrap();
            feed.look().await.unwrap();
            assert!(knows(id), "{id}");
        }
        // An id that is used up is no revoked one.
        assert!(repository.use_once("t", "proof", end).await.unwrap());
        feed.look().await.unwrap();
        assert!(!knows("proof") && knows("one.a"));
    }
}
