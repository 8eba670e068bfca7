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
];

const VERSIONS: &str = "CREATE TABLE IF NOT EXISTS identity_schema (version BIGINT NOT NULL PRIMARY KEY)";
const VERSION: &str = "SELECT COALESCE(MAX(version), 0) FROM identity_schema";
const DONE: &str = "INSERT INTO identity_schema (version) VALUES ($1)";

/// Only one process migrates at a time: the key of PostgreSQL's advisory lock, "port" twice.
const LOCK: i64 = 0x706f_7274_706f_7274;

pub(crate) async fn sqlite(connection: &mut SqliteConnection) -> Result<(), RepositoryError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(|error| failure(&error))?;
    run(&mut transaction, "BLOB").await?;
    transaction.commit().await.map_err(|error| failure(&error))
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
    let done = usize::try_from(version).unwrap_or(0);
    if done > MIGRATIONS.len() {
        let known = MIGRATIONS.len();
        let text = format!(
            "the identity database has version {done}, made by a newer build; this one knows {known}"
        );
        return Err(RepositoryError::Failed(text));
    }
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
