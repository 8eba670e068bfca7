//! Tables, brought up to date when the database is opened.

use idp::RepositoryError;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, SqliteConnection};

use crate::database::failure;

/// In the order in which they are done; a place in this list is a version.
pub(crate) const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_initial.sql"),
    include_str!("../migrations/0002_roles.sql"),
    include_str!("../migrations/0003_sessions.sql"),
    include_str!("../migrations/0004_pushed_requests.sql"),
    include_str!("../migrations/0005_deferred_requests.sql"),
    include_str!("../migrations/0006_logs.sql"),
    include_str!("../migrations/0007_tickets.sql"),
    include_str!("../migrations/0008_deployment_keys.sql"),
    include_str!("../migrations/0009_revoked_at.sql"),
    include_str!("../migrations/0010_jobs.sql"),
    include_str!("../migrations/0011_pairwise_subjects.sql"),
    include_str!("../migrations/0012_password_history.sql"),
    include_str!("../migrations/0013_live_refresh_tokens.sql"),
];

const VERSIONS: &str = "CREATE TABLE IF NOT EXISTS identity_schema (version BIGINT NOT NULL PRIMARY KEY)";
const VERSION: &str = "SELECT COALESCE(MAX(version), 0) FROM identity_schema";
const DONE: &str = "INSERT INTO identity_schema (version) VALUES ($1)";

/// `PRAGMA application_id` of the gateway's configuration store: "port".
const CONFIGURATION: i64 = 0x706f_7274;

/// Only one process migrates at a time: the key of PostgreSQL's advisory lock, "port" twice.
const LOCK: i64 = 0x706f_7274_706f_7274;

pub(crate) async fn sqlite(connection: &mut SqliteConnection) -> Result<(), RepositoryError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(|error| failure(&error))?;
    run(&mut transaction, "BLOB").await?;
    transaction.commit().await.map_err(|error| failure(&error))
}

/// Refuses a file that holds something else, and one of a newer version. An empty one is fine.
pub(crate) async fn recognise_sqlite(connection: &mut SqliteConnection) -> Result<(), RepositoryError> {
    let failed = |error: sqlx::Error| failure(&error);
    let (application,): (i64,) =
        sqlx::query_as("PRAGMA application_id").fetch_one(&mut *connection).await.map_err(failed)?;
    let tables: Vec<(String,)> = sqlx::query_as("SELECT name FROM sqlite_schema WHERE type = 'table'")
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
    if application == CONFIGURATION {
        let text = "the file is the gateway's configuration store; identities need a file of their own";
        return Err(RepositoryError::Failed(text.to_owned()));
    }
    if tables.is_empty() {
        return Ok(());
    }
    if !tables.iter().any(|(name,)| name == "identity_schema") {
        let text = "the file holds another program's tables; identities need a file of their own";
        return Err(RepositoryError::Failed(text.to_owned()));
    }
    let (version,): (i64,) = sqlx::query_as(VERSION).fetch_one(&mut *connection).await.map_err(failed)?;
    known(version).map(drop)
}

/// Refuses a database of a newer version.
pub(crate) async fn recognise_postgres(connection: &mut PgConnection) -> Result<(), RepositoryError> {
    let failed = |error: sqlx::Error| failure(&error);
    let (there,): (bool,) = sqlx::query_as("SELECT to_regclass('identity_schema') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    if !there {
        return Ok(());
    }
    let (version,): (i64,) = sqlx::query_as(VERSION).fetch_one(&mut *connection).await.map_err(failed)?;
    known(version).map(drop)
}

/// How many migrations were done, unless this build does not know them all.
fn known(version: i64) -> Result<usize, RepositoryError> {
    let done = usize::try_from(version).unwrap_or(0);
    if done > MIGRATIONS.len() {
        let known = MIGRATIONS.len();
        let text = format!(
            "the identity database has version {done}, made by a newer build; this one knows {known}"
        );
        return Err(RepositoryError::Failed(text));
    }
    Ok(done)
}

pub(crate) async fn postgres(connection: &mut PgConnection) -> Result<(), RepositoryError> {
    let mut transaction = connection.begin().await.map_err(|error| failure(&error))?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *transaction)
        .await
        .map_err(|error| failure(&error))?;
    run(&mut transaction, "BYTEA").await?;
    transaction.commit().await.map_err(|error| failure(&error))
}

async fn run<DB>(transaction: &mut sqlx::Transaction<'_, DB>, bytes: &str) -> Result<(), RepositoryError>
where
    DB: sqlx::Database,
    for<'c> &'c mut DB::Connection: sqlx::Executor<'c, Database = DB>,
    DB::Arguments: sqlx::IntoArguments<DB>,
    for<'q> i64: sqlx::Encode<'q, DB> + sqlx::Type<DB> + sqlx::Decode<'q, DB>,
    usize: sqlx::ColumnIndex<DB::Row>,
{
    let failed = |error: sqlx::Error| failure(&error);
    sqlx::query(VERSIONS).execute(&mut **transaction).await.map_err(failed)?;
    let row = sqlx::query(VERSION).fetch_one(&mut **transaction).await.map_err(failed)?;
    let version: i64 = row.try_get(0).map_err(failed)?;
    let done = known(version)?;
    for (place, text) in MIGRATIONS.iter().enumerate().skip(done) {
        for statement in statements(text, bytes) {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut **transaction).await.map_err(failed)?;
        }
        let version = i64::try_from(place + 1).unwrap_or(i64::MAX);
        sqlx::query(DONE).bind(version).execute(&mut **transaction).await.map_err(failed)?;
    }
    Ok(())
}

/// The statements of a migration, with the database's own name for a column of bytes.
fn statements(text: &str, bytes: &str) -> Vec<String> {
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    code.join("\n")
        .split(";\n")
        .map(|statement| statement.trim().trim_end_matches(';').replace(" BYTES", &format!(" {bytes}")))
        .filter(|statement| !statement.is_empty())
        .collect()
}
