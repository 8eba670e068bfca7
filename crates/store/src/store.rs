use std::{collections::HashSet, future::Future, pin::Pin, time::Duration};

use base::UnixMillis;

use crate::{StoreError, Watch};

/// Longest key, in bytes.
const MAX_KEY: usize = 1024;
/// Longest value, in bytes: etcd's own limit for a whole request.
const MAX_VALUE: usize = 1536 * 1024;

/// The answer of a store, in the making.
pub type Fut<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// One key and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value, whatever its writer made of it.
    pub value: Vec<u8>,
    /// The revision that made the key, after its last deletion.
    pub create_revision: u64,
    /// The revision that last wrote it.
    pub modify_revision: u64,
    /// When it deletes itself, if it was written with a time to live.
    pub lease_expires: Option<UnixMillis>,
}

/// What must hold for a transaction to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// There is no such key.
    Absent(String),
    /// The key was last written by this revision.
    Unchanged {
        /// The key.
        key: String,
        /// [`Entry::modify_revision`] as the caller last read it.
        modify_revision: u64,
    },
    /// The key exists.
    Present(String),
}

impl Condition {
    /// The key it speaks of.
    pub fn key(&self) -> &str {
        match self {
            Self::Absent(key) | Self::Present(key) | Self::Unchanged { key, .. } => key,
        }
    }

    /// Whether it holds for a key last written by the revision `found`, or for no key.
    pub(crate) fn holds(&self, found: Option<u64>) -> bool {
        match self {
            Self::Absent(_) => found.is_none(),
            Self::Present(_) => found.is_some(),
            Self::Unchanged { modify_revision, .. } => found == Some(*modify_revision),
        }
    }
}

/// One write of a transaction. A transaction names each key once at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Writes a key. Without `ttl` a lease that the key had is gone.
    Put {
        /// The key.
        key: String,
        /// The new value.
        value: Vec<u8>,
        /// After this time the key is deleted, as a revision of its own.
        ttl: Option<Duration>,
    },
    /// Deletes a key. Nothing happens when there is none.
    Delete {
        /// The key.
        key: String,
    },
}

impl Operation {
    /// The key it writes.
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// A change, as a watch reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The key was written; the entry is as of that revision.
    Put(Entry),
    /// The key was deleted, by a writer or because its lease ran out.
    Delete {
        /// The key.
        key: String,
        /// The revision that deleted it.
        revision: u64,
    },
}

impl Event {
    /// The key that changed.
    pub fn key(&self) -> &str {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Delete { key, .. } => key,
        }
    }

    /// The revision of the change.
    pub fn revision(&self) -> u64 {
        match self {
            Self::Put(entry) => entry.modify_revision,
            Self::Delete { revision, .. } => *revision,
        }
    }
}

/// A part of a prefix's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Entries in the order of their keys' bytes.
    pub entries: Vec<Entry>,
    /// The revision as of which they are true.
    pub revision: u64,
    /// Where the next page begins: pass it as `after`. `None` when this was the last.
    pub next: Option<String>,
}

/// A configuration store. Revisions are counted from 1 and grow by one with each transaction that changed anything.
///
/// Readers see committed transactions only, whole ones only, and all of their own. A key whose lease has run out is
/// seen until [`Store::expire_due`] deletes it, because a deletion is a revision like any other.
pub trait Store: Send + Sync {
    /// One key.
    fn get<'a>(&'a self, key: &'a str) -> Fut<'a, Option<Entry>>;

    /// All keys that begin with `prefix` in the order of their bytes, and the revision as of which they are true.
    fn range<'a>(&'a self, prefix: &'a str) -> Fut<'a, (Vec<Entry>, u64)>;

    /// At most `limit` keys that begin with `prefix`, after the key `after`. Pages of one listing are read at
    /// different times: compare their revisions where that matters.
    fn page<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> Fut<'a, Page>;

    /// Does all `operations` as one revision if all `conditions` hold, durably before it answers. The answer is the
    /// store's revision after it: unchanged when there was nothing to do.
    fn commit(&self, conditions: Vec<Condition>, operations: Vec<Operation>) -> Fut<'_, u64>;

    /// The changes of keys that begin with `prefix` after the revision `after_revision`, in order, without gaps.
    /// [`StoreError::Compacted`] when some of them are gone already.
    fn watch<'a>(&'a self, prefix: &'a str, after_revision: u64) -> Fut<'a, Watch>;

    /// Deletes every key whose lease has run out, as one revision, and says how many there were. The owner of the
    /// store calls this about once a second, and after it moved the clock.
    fn expire_due(&self) -> Fut<'_, usize>;
}

/// The checks that need no store: keys and values of sane size, each key written once. `limit` is how many conditions
/// and operations a transaction may have, each.
pub(crate) fn check(
    conditions: &[Condition],
    operations: &[Operation],
    limit: usize,
) -> Result<(), StoreError> {
    let size = conditions.len().max(operations.len());
    if size > limit {
        return Err(StoreError::TooLarge { size, limit, unit: "operations" });
    }
    let invalid = |reason: String| Err(StoreError::Invalid { reason });
    for key in conditions.iter().map(Condition::key).chain(operations.iter().map(Operation::key)) {
        if key.is_empty() || key.len() > MAX_KEY || key.contains('\0') {
            return invalid(format!("a key has 1 to {MAX_KEY} bytes and no NUL"));
        }
    }
    let mut written = HashSet::with_capacity(operations.len());
    for operation in operations {
        if !written.insert(operation.key()) {
            return invalid(format!("`{}` is written twice", operation.key()));
        }
        if let Operation::Put { value, .. } = operation
            && value.len() > MAX_VALUE
        {
            return Err(StoreError::TooLarge { size: value.len(), limit: MAX_VALUE, unit: "bytes" });
        }
    }
    Ok(())
}

/// Bytes that sort after every key that begins with `prefix` and before every other: keys are UTF-8, which has no byte
/// 0xFF, so the last byte always has a successor.
pub(crate) fn prefix_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    match end.pop() {
        Some(last) => end.push(last.saturating_add(1)),
        None => end.push(u8::MAX),
    }
    end
}
