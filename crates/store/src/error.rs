/// Why the store did not do what it was asked. Nothing of a failed [`crate::Store::commit`] is ever visible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A condition of the transaction does not hold: somebody else wrote first. Read again before trying again.
    #[error("the value of `{key}` changed before it was overwritten")]
    Conflict {
        /// The key whose condition failed.
        key: String,
    },
    /// The backend cannot answer or cannot promise durability: disk full, disk failing, cluster out of reach. The
    /// write was not acknowledged; whether it happened is unknown until the key is read.
    #[error("the configuration store is unavailable: {reason}")]
    Unavailable {
        /// What the backend said.
        reason: String,
    },
    /// The transaction is larger than the backend takes.
    #[error("the change is too large: {size} {unit}, at most {limit}")]
    TooLarge {
        /// How large it is.
        size: usize,
        /// How large it may be.
        limit: usize,
        /// What is counted.
        unit: &'static str,
    },
    /// The watch asked for revisions that are gone. Load everything again and watch from the revision of that.
    #[error("revisions up to {revision} are compacted")]
    Compacted {
        /// The newest revision that can no longer be watched from.
        revision: u64,
    },
    /// The transaction contradicts itself or has a key that is empty or too long. The caller's mistake.
    #[error("invalid transaction: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// The file is not a sound store. Restore it from a copy; it is never repaired by guessing.
    #[error("the configuration store is damaged: {reason}")]
    Corrupt {
        /// What the check found.
        reason: String,
    },
}
