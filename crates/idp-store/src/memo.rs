//! What every request reads and hardly anybody writes, kept in memory: tenants, clients, APIs and client grants. Only for
//! SQLite, where all writes pass through this process; another node on PostgreSQL may have changed them a moment ago.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use idp::{
    RepositoryError,
    model::{Client, ClientGrant, ResourceServer, Tenant},
    repository::Listing,
};

use crate::database::Statement;

/// Records of one kind at most. Beyond, all are forgotten and read again when they are wanted.
const MAX_RECORDS: usize = 4096;
/// The tables whose records are kept. A statement that names one of them ends everything that is known.
const TABLES: [&str; 4] = ["tenants", "clients", "resource_servers", "client_grants"];

/// Keys are kept by whoever uses them; here it is only counted how often they change.
const SIGNING_KEYS: &str = "signing_keys";

/// The records that are known.
#[derive(Default)]
pub(crate) struct Memo {
    pub(crate) tenants: Shelf<Vec<Tenant>>,
    pub(crate) clients: Shelf<Client>,
    pub(crate) apis: Shelf<ResourceServer>,
    pub(crate) client_grants: Shelf<Listing<ClientGrant>>,
    /// How often signing keys were written.
    signing_keys: AtomicU64,
}

/// What a batch of writes may have changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    records: bool,
    signing_keys: bool,
}

impl Changes {
    /// Those of several transactions.
    pub(crate) fn of(transactions: &[Vec<Statement>]) -> Self {
        let touches = |table: &str| {
            transactions.iter().flatten().any(|statement: &Statement| statement.sql.contains(table))
        };
        Self { records: TABLES.into_iter().any(touches), signing_keys: touches(SIGNING_KEYS) }
    }
}

impl Memo {
    /// Forgets what the writes may have changed. To be called after a commit and before its answer, so that whoever was
    /// answered reads what was written.
    pub(crate) fn forget(&self, changes: Changes) {
        if changes.records {
            self.tenants.forget();
            self.clients.forget();
            self.apis.forget();
            self.client_grants.forget();
        }
        if changes.signing_keys {
            self.signing_keys.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// How often signing keys were written.
    pub(crate) fn signing_key_writes(&self) -> u64 {
        self.signing_keys.load(Ordering::Acquire)
    }
}

/// Records of one kind by their keys.
pub(crate) struct Shelf<T>(Mutex<Records<T>>);

struct Records<T> {
    /// How often everything was forgotten.
    age: u64,
    known: HashMap<Vec<String>, T>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(Mutex::new(Records { age: 0, known: HashMap::new() }))
    }
}

impl<T: Clone> Shelf<T> {
    /// The record with this key: the one that is known, or else what `read` finds.
    pub(crate) async fn find(
        &self,
        key: &[&str],
        read: impl Future<Output = Result<Option<T>, RepositoryError>>,
    ) -> Result<Option<T>, RepositoryError> {
        let key: Vec<String> = key.iter().map(|part| (*part).to_owned()).collect();
        let age = {
            let records = self.records();
            if let Some(known) = records.known.get(&key) {
                return Ok(Some(known.clone()));
            }
            records.age
        };
        let found = read.await?;
        if let Some(found) = &found {
            let mut records = self.records();
            // What was read before a write that is over by now may be what that write replaced.
            if records.age == age {
                if records.known.len() >= MAX_RECORDS {
                    records.known.clear();
                }
                records.known.insert(key, found.clone());
            }
        }
        Ok(found)
    }
}

impl<T> Shelf<T> {
    fn forget(&self) {
        let mut records = self.records();
        records.age += 1;
        records.known.clear();
    }

    fn records(&self) -> MutexGuard<'_, Records<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_record_is_read_once_until_something_is_written() {
        let shelf = Shelf::<u8>::default();
        assert_eq!(shelf.find(&["t", "a"], async { Ok(Some(1)) }).await.unwrap(), Some(1));
        assert_eq!(shelf.find(&["t", "a"], async { Ok(Some(2)) }).await.unwrap(), Some(1));
        shelf.forget();
        assert_eq!(shelf.find(&["t", "a"], async { Ok(Some(2)) }).await.unwrap(), Some(2));
    }

    #[tokio::test]
    async fn what_was_read_before_a_write_is_not_kept_after_it() {
        let shelf = Shelf::<u8>::default();
        let overtaken = async {
            shelf.forget();
            Ok(Some(1))
        };
        assert_eq!(shelf.find(&["a"], overtaken).await.unwrap(), Some(1));
        assert_eq!(shelf.find(&["a"], async { Ok(Some(2)) }).await.unwrap(), Some(2));
    }

    #[tokio::test]
    async fn what_is_not_there_is_looked_for_again_and_the_shelf_does_not_grow() {
        let shelf = Shelf::<u8>::default();
        assert_eq!(shelf.find(&["a"], async { Ok(None) }).await.unwrap(), None);
        assert_eq!(shelf.find(&["a"], async { Ok(Some(1)) }).await.unwrap(), Some(1));
        for number in 0..MAX_RECORDS + 10 {
            let _ = shelf.find(&[&number.to_string()], async { Ok(Some(0)) }).await;
        }
        assert!(shelf.records().known.len() <= MAX_RECORDS);
    }

    #[test]
    fn every_write_to_a_table_that_is_kept_is_noticed() {
        let writes = ["INSERT INTO {} (a)", "UPDATE {} SET a = 1", "DELETE FROM {} WHERE a = 1"];
        let changes = |sql: &'static str| Changes::of(&[vec![], vec![Statement::new(sql, Vec::new())]]);
        for sql in writes {
            for table in TABLES {
                assert_eq!(
                    changes(sql.replace("{}", table).leak()),
                    Changes { records: true, signing_keys: false },
                    "{sql} {table}"
                );
            }
            assert_eq!(
                changes(sql.replace("{}", SIGNING_KEYS).leak()),
                Changes { records: false, signing_keys: true }
            );
        }
        let tokens = "UPDATE refresh_tokens SET used_at = $1 WHERE tenant_id = $2 AND client_id = $3";
        assert_eq!(changes(tokens), Changes::default());
    }
}
