//! The file of a store beside the process that uses it: the same values in other words.

use std::path::Path;

use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::{
    MAX_BYTES,
    file::{self, Lock, failure},
    rows,
};
use crate::{Entry, StoreError};

/// Entries that are read, and values that are replaced, in one transaction.
const BATCH: usize = 100;

/// A store's file, to put its values in other words: sealed with another key, say. That is no change of what the store
/// holds, so revisions stay, nobody who watches is told, and the process that has the store open may go on: what it reads
/// from then on are the new words, and what it writes stands.
#[derive(Debug)]
pub struct SqliteFile {
    connection: SqliteConnection,
}

/// What one look at every entry came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// Entries that have other words now, durably.
    pub replaced: u64,
    /// Entries that somebody wrote between being read and being replaced: another pass will find them.
    pub overtaken: u64,
    /// The keys of entries whose words could not be changed, with the reason.
    pub failed: Vec<(String, String)>,
}

impl SqliteFile {
    /// Opens the store at `path`, which must exist.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let options = file::options(path.as_ref(), MAX_BYTES);
        let mut connection = options.connect().await.map_err(failure)?;
        file::recognise(&mut connection).await?;
        Ok(Self { connection })
    }

    /// Whether a process has the store at `path` open.
    pub fn is_in_use(path: impl AsRef<Path>) -> Result<bool, StoreError> {
        Ok(Lock::try_take(path.as_ref())?.is_none())
    }

    /// One key.
    pub async fn get(&mut self, key: &str) -> Result<Option<Entry>, StoreError> {
        let found = rows::some(&mut self.connection, key.as_bytes(), 1).await?.pop();
        Ok(found.filter(|entry| entry.key == key))
    }

    /// Asks `reword` for other words for every entry, and puts them in place unless somebody wrote the entry meanwhile.
    /// `progress` is told how many entries have been replaced, after each batch, which is durable then.
    pub async fn reword(
        &mut self,
        mut reword: impl FnMut(&Entry) -> Result<Option<Vec<u8>>, String>,
        mut progress: impl FnMut(u64),
    ) -> Result<Pass, StoreError> {
        let mut pass = Pass::default();
        let mut from = Vec::new();
        loop {
            let entries = rows::some(&mut self.connection, &from, BATCH).await?;
            let Some(last) = entries.last() else { return Ok(pass) };
            from = last.key.as_bytes().to_vec();
            from.push(0);
            let mut reworded = Vec::new();
            for entry in entries {
                match reword(&entry) {
                    Ok(Some(value)) => reworded.push((entry, value)),
                    Ok(None) => {}
                    Err(reason) => pass.failed.push((entry.key, reason)),
                }
            }
            if !reworded.is_empty() {
                self.replace(reworded, &mut pass).await?;
                progress(pass.replaced);
            }
        }
    }

    async fn replace(&mut self, reworded: Vec<(Entry, Vec<u8>)>, pass: &mut Pass) -> Result<(), StoreError> {
        // Dropped before its end, it is rolled back.
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(failure)?;
        let (mut replaced, mut overtaken) = (0, 0);
        for (old, value) in reworded {
            if rows::replace(&mut transaction, &old, value).await? { replaced += 1 } else { overtaken += 1 }
        }
        transaction.commit().await.map_err(failure)?;
        pass.replaced += replaced;
        pass.overtaken += overtaken;
        Ok(())
    }

    /// Writes the file anew, so that nothing is left in it or in its log of what was deleted or replaced.
    pub async fn scrub(mut self) -> Result<(), StoreError> {
        file::run(&mut self.connection, "VACUUM").await?;
        let (busy, ..): (i64, i64, i64) =
            file::row(&mut self.connection, "PRAGMA wal_checkpoint(TRUNCATE)").await?;
        file::close(self.connection).await;
        if busy == 0 {
            return Ok(());
        }
        Err(StoreError::Unavailable { reason: "it is busy, and its log could not be emptied".to_owned() })
    }
}
