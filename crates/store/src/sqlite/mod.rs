//! One node's store in a SQLite file: WAL, `synchronous=FULL`, one writer, a few readers.

mod beside;
mod file;
mod rows;
mod writer;

use std::{path::Path, sync::Arc};

use base::Clock;
use sqlx::SqlitePool;
use tokio::sync::{mpsc, oneshot};

pub use self::beside::{Pass, SqliteFile};
use self::{
    file::Lock,
    writer::{Request, Writer},
};
use crate::{
    Condition, Entry, Fut, Operation, Page, Store, StoreError, Watch,
    store::{check, prefix_end},
    watch::History,
};

/// Conditions and operations of one transaction, each.
const MAX_OPERATIONS: usize = 10_000;
/// Writers that may wait; the next one waits for a place.
const MAX_WAITING: usize = 1024;
/// Bytes of the file, unless opened with another limit.
const MAX_BYTES: u64 = 4 << 30;

/// A store in a file of its own, used by one process at a time. Writers that wait together share one commit, and each
/// is answered after it.
#[derive(Debug)]
pub struct SqliteStore {
    writer: mpsc::Sender<Request>,
    readers: SqlitePool,
    history: Arc<History>,
    _lock: Lock,
}

impl SqliteStore {
    /// Opens the store at `path`, or makes it, with file mode 0600. Everything in it is checked: a damaged store is
    /// [`StoreError::Corrupt`], one that another process uses [`StoreError::Unavailable`].
    ///
    /// Call it inside a Tokio runtime; the store's writer lives there.
    pub async fn open(path: impl AsRef<Path>, clock: Clock) -> Result<Self, StoreError> {
        Self::open_with(path, clock, MAX_BYTES).await
    }

    /// [`SqliteStore::open`] with a limit of `max_bytes` for the file. A write that would make it larger is
    /// [`StoreError::Unavailable`], as on a full disk.
    pub async fn open_with(path: impl AsRef<Path>, clock: Clock, max_bytes: u64) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let lock = Lock::take(path)?;
        file::create(path)?;
        let options = file::options(path, max_bytes);
        let (connection, revision) = file::open_and_check(&options).await?;
        let history = History::starting_at(revision);
        let (sender, requests) = mpsc::channel(MAX_WAITING);
        let writer = Writer::new(connection, options, revision, Arc::clone(&history), clock);
        tokio::spawn(writer.run(requests));
        Ok(Self { writer: sender, readers: file::readers(path), history, _lock: lock })
    }

    /// Finishes the writes that wait, puts everything into the one file and closes it. Later calls are
    /// [`StoreError::Unavailable`].
    pub async fn close(&self) {
        self.readers.close().await;
        // An error means that it was closed before.
        let _ = self.ask(Request::Close).await;
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, StoreError> {
        let closed = || StoreError::Unavailable { reason: "the store was closed".to_owned() };
        let (answer, answered) = oneshot::channel();
        self.writer.send(request(answer)).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())
    }
}

impl Store for SqliteStore {
    fn get<'a>(&'a self, key: &'a str) -> Fut<'a, Option<Entry>> {
        Box::pin(rows::one(&self.readers, key))
    }

    fn range<'a>(&'a self, prefix: &'a str) -> Fut<'a, (Vec<Entry>, u64)> {
        Box::pin(rows::between(&self.readers, prefix.as_bytes().to_vec(), prefix_end(prefix), i64::MAX))
    }

    fn page<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> Fut<'a, Page> {
        Box::pin(async move {
            let mut from = prefix.as_bytes().to_vec();
            if let Some(after) = after.filter(|after| *after >= prefix) {
                // Keys have no NUL, so this is the least key after `after`.
                from = after.as_bytes().to_vec();
                from.push(0);
            }
            let limit = limit.clamp(1, i64::MAX as usize - 1);
            // One more than asked tells whether there is a next page.
            let (mut entries, revision) =
                rows::between(&self.readers, from, prefix_end(prefix), limit as i64 + 1).await?;
            let more = entries.len() > limit;
            entries.truncate(limit);
            let next = entries.last().filter(|_| more).map(|entry| entry.key.clone());
            Ok(Page { entries, revision, next })
        })
    }

    fn commit(&self, conditions: Vec<Condition>, operations: Vec<Operation>) -> Fut<'_, u64> {
        Box::pin(async move {
            check(&conditions, &operations, MAX_OPERATIONS)?;
            self.ask(|answer| Request::Commit { conditions, operations, answer }).await?
        })
    }

    fn watch<'a>(&'a self, prefix: &'a str, after_revision: u64) -> Fut<'a, Watch> {
        Box::pin(async move {
            if after_revision > self.history.newest() {
                // Readers see a commit a moment before its events are published; let the writer finish.
                self.ask(Request::Settle).await?;
            }
            self.history.watch(prefix, after_revision)
        })
    }

    fn expire_due(&self) -> Fut<'_, usize> {
        Box::pin(async move { self.ask(|answer| Request::ExpireDue { answer }).await? })
    }
}
