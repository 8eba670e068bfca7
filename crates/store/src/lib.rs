//! The configuration store: opaque values under keys, one global revision, transactions, leases and watches.
//!
//! [`Store`] is what callers see; [`SqliteStore`] keeps one node's configuration in a file, [`SqliteFile`]
//! puts sealed values in that file in other words, [`MemoryStore`] is for tests. Values may hold secrets that their writers sealed: nothing here reads them. No backend interprets keys, but
//! by agreement APISIX resources live under `/apisix/` and everything else under `/portcullis/`.

mod error;
mod memory;
mod records;
mod sqlite;
mod store;
mod watch;

pub use error::StoreError;
pub use memory::MemoryStore;
pub use records::Records;
pub use sqlite::{Pass, SqliteFile, SqliteStore};
pub use store::{Condition, Entry, Event, Fut, Operation, Page, Store};
pub use watch::Watch;
