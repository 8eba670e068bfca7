//! SQLite: one connection writes, others read. Writes that wait together share one commit, and so one flush to the disk;
//! each is answered after it.

use std::{
    fs::{File, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    sync::Arc,
    time::Duration,
};

use idp::RepositoryError;
use sqlx::{
    Column as _, ConnectOptions, Connection as _, Row as _, SqliteConnection, TypeInfo as _, ValueRef as _,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    cells::{Cell, Param, Row},
    database::{Database, Outcome, Statement, failure},
    memo::{Changes, Memo},
    migrate,
};

/// Transactions that may wait; more wait for a place.
const QUEUE: usize = 1024;
/// Transactions that share a commit at most, so that the first of them does not wait too long for the last.
const BATCH: usize = 128;
const READERS: u32 = 4;

/// The way to the one connection that writes.
#[derive(Clone)]
pub(crate) struct Writer(mpsc::Sender<Job>);

struct Job {
    statements: Vec<Statement>,
    answer: oneshot::Sender<Outcome>,
}

/// Looks at a file without changing it; one that is not there yet is fine.
pub(crate) async fn check(path: &Path) -> Result<(), RepositoryError> {
    if !path.exists() {
        return Ok(());
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(Duration::from_secs(5))
        .disable_statement_logging();
    let mut connection = options.connect().await.map_err(|error| failure(&error))?;
    migrate::recognise_sqlite(&mut connection).await?;
    connection.close().await.map_err(|error| failure(&error))
}

pub(crate) async fn open(path: &Path) -> Result<Database, RepositoryError> {
    check(path).await?;
    create(path).map_err(|error| {
        RepositoryError::Unavailable(format!("the file {} cannot be used: {error}", path.display()))
    })?;
    let options = writing(path);
    let mut connection = options.connect().await.map_err(|error| failure(&error))?;
    migrate::sqlite(&mut connection).await?;
    let readers = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(Duration::from_secs(5))
        .thread_name(|id| format!("identity-reader-{id}"))
        .disable_statement_logging();
    // One of them always stays: as long as a connection is open, what a failed commit left at the end of the log is
    // written over by the next one. Whoever opened the log anew would take it for done, though it may never have reached
    // the disk, and so would break off there after a loss of power.
    let readers = SqlitePoolOptions::new()
        .min_connections(1)
        .max_connections(READERS)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(Duration::from_secs(10))
        .test_before_acquire(false)
        .connect_lazy_with(readers);
    let (sender, jobs) = mpsc::channel(QUEUE);
    let memo = Arc::<Memo>::default();
    tokio::spawn(write(connection, options, jobs, memo.clone()));
    Ok(Database::Sqlite { readers, writer: Writer(sender), memo })
}

fn writing(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(false)
        .busy_timeout(Duration::from_secs(5))
        .thread_name(|id| format!("identity-writer-{id}"))
        .disable_statement_logging()
}

/// Writes the file anew without its free pages, and empties the log.
pub(crate) async fn scrub(path: &Path) -> Result<(), RepositoryError> {
    let mut connection = writing(path).connect().await.map_err(|error| failure(&error))?;
    plain(&mut connection, "VACUUM").await?;
    let (busy, ..): (i64, i64, i64) = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)")
        .fetch_one(&mut connection)
        .await
        .map_err(|error| failure(&error))?;
    connection.close().await.map_err(|error| failure(&error))?;
    if busy == 0 {
        return Ok(());
    }
    Err(RepositoryError::Unavailable("the database is busy, and its log could not be emptied".to_owned()))
}

/// Makes the file readable by its owner alone before anything is in it; SQLite gives its other files the same mode.
fn create(path: &Path) -> io::Result<()> {
    match OpenOptions::new().create_new(true).write(true).mode(0o600).open(path) {
        Ok(file) => {
            file.sync_all()?;
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::set_permissions(path, Permissions::from_mode(0o600))
        }
        Err(error) => Err(error),
    }
}

impl Writer {
    pub(crate) async fn transact(&self, statements: Vec<Statement>) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        let gone = || RepositoryError::Unavailable("the database was closed".to_owned());
        self.0.send(Job { statements, answer }).await.map_err(|_| gone())?;
        outcome.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// Ends when every [`Writer`] is gone.
async fn write(
    connection: SqliteConnection,
    options: SqliteConnectOptions,
    mut jobs: mpsc::Receiver<Job>,
    memo: Arc<Memo>,
) {
    // `None` after a commit failed. The kernel may have thrown its pages away and say that all is well the next time, so
    // nothing that this connection has cached is used again.
    let mut connection = Some(connection);
    while let Some(first) = jobs.recv().await {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(next) = jobs.try_recv()
        {
            batch.push(next);
        }
        let (statements, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|job| (job.statements, job.answer)).unzip();
        let changes = Changes::of(&statements);
        let mut current = match connection.take() {
            Some(connection) => Ok(connection),
            None => options.connect().await.map_err(|error| failure(&error)),
        };
        let done = match &mut current {
            Ok(connection) => together(connection, statements).await,
            Err(error) => Err(RepositoryError::Unavailable(error.to_string())),
        };
        // Also after a failure: nobody knows what of it is in the file.
        memo.forget(changes);
        match done {
            Ok(outcomes) => {
                connection = current.ok();
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    // Whoever asked may be gone; the write stands.
                    let _ = answer.send(outcome);
                }
            }
            Err(error) => {
                tracing::error!(%error, "a commit of the identity database failed");
                for answer in answers {
                    let _ = answer.send(Err(RepositoryError::Unavailable(error.to_string())));
                }
            }
        }
    }
}

/// Several transactions in one: what one of them did is undone when it fails, without touching the others.
async fn together(
    connection: &mut SqliteConnection,
    batch: Vec<Vec<Statement>>,
) -> Result<Vec<Outcome>, RepositoryError> {
    plain(connection, "BEGIN IMMEDIATE").await?;
    let mut outcomes = Vec::with_capacity(batch.len());
    for statements in batch {
        plain(connection, "SAVEPOINT one").await?;
        let outcome = all(connection, statements).await;
        if outcome.is_err() {
            plain(connection, "ROLLBACK TO one").await?;
        }
        plain(connection, "RELEASE one").await?;
        outcomes.push(outcome);
    }
    plain(connection, "COMMIT").await?;
    Ok(outcomes)
}

async fn all(connection: &mut SqliteConnection, statements: Vec<Statement>) -> Outcome {
    let count = statements.len();
    let mut results = Vec::with_capacity(count);
    for Statement { sql, params, decides } in statements {
        let found = rows(connection, sql, params).await?;
        let stop = decides && found.is_empty();
        results.push(found);
        if stop {
            break;
        }
    }
    results.resize_with(count, Vec::new);
    Ok(results)
}

async fn plain(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), RepositoryError> {
    sqlx::query(sql).execute(connection).await.map(|_| ()).map_err(|error| failure(&error))
}

pub(crate) async fn rows(
    connection: &mut SqliteConnection,
    sql: &'static str,
    params: Vec<Param>,
) -> Result<Vec<Row>, RepositoryError> {
    let mut query = sqlx::query(sql);
    for param in params {
        query = match param {
            Param::Text(value) => query.bind(value),
            Param::Int(value) => query.bind(value),
            Param::Bytes(value) => query.bind(value),
        };
    }
    let found = query.fetch_all(connection).await.map_err(|error| failure(&error))?;
    found.iter().map(|row| read(row).map_err(|error| failure(&error))).collect()
}

fn read(row: &SqliteRow) -> Result<Row, sqlx::Error> {
    let cell = |column: &sqlx::sqlite::SqliteColumn| {
        let at = column.ordinal();
        let raw = row.try_get_raw(at)?;
        if raw.is_null() {
            return Ok(Cell::Null);
        }
        match raw.type_info().name() {
            "INTEGER" => row.try_get(at).map(Cell::Int),
            "BLOB" => row.try_get(at).map(Cell::Bytes),
            _ => row.try_get(at).map(Cell::Text),
        }
    };
    row.columns().iter().map(cell).collect::<Result<_, _>>().map(Row)
}
