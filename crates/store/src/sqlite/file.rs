//! The file: making it, keeping it to one process, and checking it before anything is believed.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::rows;
use crate::StoreError;

/// `PRAGMA application_id`: "port".
const APPLICATION: i64 = 0x706f_7274;
/// `PRAGMA user_version`: the layout below.
const LAYOUT: i64 = 1;
const PAGE_BYTES: u64 = 4096;
/// Entries that are checked at a time when the store is opened.
const CHECKED_AT_ONCE: usize = 500;

/// The tables, in the order of their names. `sum` is over all the other columns (see `rows`): SQLite itself does not
/// notice a changed byte inside a value.
const TABLES: [&str; 3] = [
    "CREATE TABLE entries (
        key BLOB NOT NULL PRIMARY KEY,
        value BLOB NOT NULL,
        create_revision BIGINT NOT NULL,
        modify_revision BIGINT NOT NULL,
        lease_expires BIGINT,
        sum BLOB NOT NULL
    )",
    "CREATE INDEX entries_lease ON entries (lease_expires) WHERE lease_expires IS NOT NULL",
    "CREATE TABLE state (id INTEGER NOT NULL PRIMARY KEY, revision BIGINT NOT NULL, sum BLOB NOT NULL)",
];

/// Held for as long as the store is open. A file beside the store, because closing any descriptor of the store itself
/// would drop SQLite's own locks on it.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Lock {
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        Self::try_take(path)?.ok_or_else(|| StoreError::Unavailable {
            reason: format!("another process uses it (it holds `{}`)", lock_of(path).display()),
        })
    }

    /// `None` where another process has it.
    pub(super) fn try_take(path: &Path) -> Result<Option<Self>, StoreError> {
        let path = lock_of(path);
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.map_err(|error| unavailable_file(&path, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(unavailable_file(&path, &error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone would leave it locked for as long as a process being forked still has the descriptor.
        let _ = self.file.unlock();
    }
}

/// Makes the file readable by its owner alone before anything is in it; SQLite gives its other files the same mode.
pub(super) fn create(path: &Path) -> Result<(), StoreError> {
    let failed = |error| unavailable_file(path, &error);
    match OpenOptions::new().create_new(true).write(true).mode(0o600).open(path) {
        Ok(file) => {
            file.sync_all().map_err(failed)?;
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all()).map_err(failed)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

pub(super) fn options(path: &Path, max_bytes: u64) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5))
        .pragma("max_page_count", (max_bytes / PAGE_BYTES).max(1).to_string())
        .thread_name(|id| format!("store-writer-{id}"))
        .disable_statement_logging()
}

pub(super) fn readers(path: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(Duration::from_secs(5))
        .thread_name(|id| format!("store-reader-{id}"))
        .disable_statement_logging();
    // One of them always stays: as long as a connection is open, what a failed commit left at the end of the log is
    // written over by the next one. Whoever opened the log anew would take it for done, though it may never have reached
    // the disk, and so would break off there after a loss of power.
    SqlitePoolOptions::new()
        .min_connections(1)
        .max_connections(2)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(Duration::from_secs(10))
        .test_before_acquire(false)
        .connect_lazy_with(options)
}

/// The connection that will write, and the revision the store is at.
pub(super) async fn open_and_check(
    options: &SqliteConnectOptions,
) -> Result<(SqliteConnection, u64), StoreError> {
    let mut connection = options.connect().await.map_err(failure)?;
    recognise(&mut connection).await?;
    let revision = check(&mut connection).await?;
    Ok((connection, revision))
}

/// Makes the tables in an empty file, and refuses what is no store or one of a newer version.
pub(super) async fn recognise(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let (application,): (i64,) = row(connection, "PRAGMA application_id").await?;
    let (layout,): (i64,) = row(connection, "PRAGMA user_version").await?;
    let (tables,): (i64,) = row(connection, "SELECT count(*) FROM sqlite_schema").await?;
    let (identities,): (i64,) =
        row(connection, "SELECT count(*) FROM sqlite_schema WHERE name = 'identity_schema'").await?;
    match (identities > 0, application) {
        (true, APPLICATION) => {
            let reason = "the identity provider's tables are in it too; restore the file from a copy that was made \
                          before `identity.database.sqlite` named it";
            return Err(corrupt(reason.to_owned()));
        }
        (true, _) => {
            let reason = "the file is an identity database; `store.sqlite` needs a file of its own";
            return Err(corrupt(reason.to_owned()));
        }
        _ => {}
    }
    match (application, layout) {
        (0, 0) if tables == 0 => make_tables(connection).await,
        (APPLICATION, LAYOUT) => Ok(()),
        (APPLICATION, newer) if newer > LAYOUT => {
            Err(corrupt(format!("it has layout {newer}, made by a newer version; this one knows {LAYOUT}")))
        }
        _ => Err(corrupt("the file is not a configuration store".to_owned())),
    }
}

async fn make_tables(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    run(connection, "BEGIN IMMEDIATE").await?;
    for table in TABLES {
        run(connection, table).await?;
    }
    rows::set_revision(connection, 0).await?;
    run(connection, "PRAGMA application_id = 1886351988").await?;
    run(connection, "PRAGMA user_version = 1").await?;
    run(connection, "COMMIT").await
}

/// Reads everything once. A store of configuration is small, and a gateway that starts from a silently changed one
/// would be worse than one that does not start.
async fn check(connection: &mut SqliteConnection) -> Result<u64, StoreError> {
    let (found,): (String,) = row(connection, "PRAGMA integrity_check(1)").await?;
    if found != "ok" {
        return Err(corrupt(found));
    }
    let tables: Vec<(String,)> =
        sqlx::query_as("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
            .fetch_all(&mut *connection)
            .await
            .map_err(failure)?;
    if !tables.iter().map(|(sql,)| sql.as_str()).eq(TABLES) {
        return Err(corrupt("its tables were altered".to_owned()));
    }
    let revision = rows::revision(connection).await?;
    let mut from = Vec::new();
    loop {
        let entries = rows::some(connection, &from, CHECKED_AT_ONCE).await?;
        if let Some(entry) = entries.iter().find(|entry| entry.modify_revision > revision) {
            return Err(corrupt(format!("`{}` is of a revision that never was", entry.key)));
        }
        match entries.last() {
            Some(last) if entries.len() == CHECKED_AT_ONCE => {
                from = last.key.as_bytes().to_vec();
                from.push(0);
            }
            _ => return Ok(revision),
        }
    }
}

pub(super) async fn run(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), StoreError> {
    sqlx::raw_sql(sql).execute(connection).await.map(drop).map_err(failure)
}

pub(super) async fn row<T>(connection: &mut SqliteConnection, sql: &'static str) -> Result<T, StoreError>
where
    T: for<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow> + Send + Unpin,
{
    sqlx::query_as(sql).fetch_one(connection).await.map_err(failure)
}

/// What a failed statement means to a caller.
pub(super) fn failure(error: sqlx::Error) -> StoreError {
    // SQLITE_CORRUPT, SQLITE_NOTADB, and SQLITE_ERROR, which fixed statements give only when the tables are not what
    // they were; extended codes have the primary one in their low byte.
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    let reason = match &error {
        sqlx::Error::Database(database) => database.message().to_owned(),
        other => other.to_string(),
    };
    match code.map(|code| code & 0xff) {
        Some(1 | 11 | 26) => StoreError::Corrupt { reason },
        _ => StoreError::Unavailable { reason },
    }
}

pub(super) fn corrupt(reason: String) -> StoreError {
    StoreError::Corrupt { reason }
}

/// Closes the writing connection, which moves the log into the file.
pub(super) async fn close(connection: SqliteConnection) {
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "the configuration store was not closed cleanly; nothing acknowledged is lost");
    }
}

fn unavailable_file(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable { reason: format!("`{}`: {error}", path.display()) }
}

fn lock_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}
