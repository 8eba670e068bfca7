use std::sync::Arc;

use idp::RepositoryError;
use sqlx::{PgPool, SqlitePool};

use crate::{
    cells::{Param, Row},
    memo::{Memo, Shelf},
    postgres,
    sqlite::{self, Writer},
};

/// A database of either kind.
pub(crate) enum Database {
    Sqlite { readers: SqlitePool, writer: Writer, memo: Arc<Memo> },
    Postgres(PgPool),
}

/// One statement of a transaction.
#[derive(Clone)]
pub(crate) struct Statement {
    pub(crate) sql: &'static str,
    pub(crate) params: Vec<Param>,
    /// When it returns no row, what follows it in the transaction does not happen.
    pub(crate) decides: bool,
}

/// What is done together, with the rows that each statement returned. Statements that did not happen returned none.
pub(crate) type Outcome = Result<Vec<Vec<Row>>, RepositoryError>;

impl Statement {
    pub(crate) fn new(sql: &'static str, params: Vec<Param>) -> Self {
        Self { sql, params, decides: false }
    }

    pub(crate) fn deciding(sql: &'static str, params: Vec<Param>) -> Self {
        Self { sql, params, decides: true }
    }
}

impl Database {
    /// Reads. Sees every write that was answered before.
    pub(crate) async fn read(
        &self,
        sql: &'static str,
        params: Vec<Param>,
    ) -> Result<Vec<Row>, RepositoryError> {
        match self {
            Self::Sqlite { readers, .. } => {
                let mut connection = readers.acquire().await.map_err(|error| failure(&error))?;
                sqlite::rows(&mut connection, sql, params).await
            }
            Self::Postgres(pool) => {
                let mut connection = pool.acquire().await.map_err(|error| failure(&error))?;
                postgres::rows(&mut connection, sql, params).await
            }
        }
    }

    /// The record with this key: one that is known, or what `read` finds in the database.
    pub(crate) async fn known<T: Clone>(
        &self,
        shelf: impl Fn(&Memo) -> &Shelf<T>,
        key: &[&str],
        read: impl Future<Output = Result<Option<T>, RepositoryError>>,
    ) -> Result<Option<T>, RepositoryError> {
        match self {
            Self::Sqlite { memo, .. } => shelf(memo).find(key, read).await,
            Self::Postgres(_) => read.await,
        }
    }

    /// How often signing keys were written, where every write passes through this process.
    pub(crate) fn signing_key_writes(&self) -> Option<u64> {
        match self {
            Self::Sqlite { memo, .. } => Some(memo.signing_key_writes()),
            Self::Postgres(_) => None,
        }
    }

    /// The first row of a result.
    pub(crate) async fn row(
        &self,
        sql: &'static str,
        params: Vec<Param>,
    ) -> Result<Option<Row>, RepositoryError> {
        Ok(self.read(sql, params).await?.into_iter().next())
    }

    /// The number that a `SELECT COUNT(*)` gives.
    pub(crate) async fn count(&self, sql: &'static str, params: Vec<Param>) -> Result<u64, RepositoryError> {
        let count = self.row(sql, params).await?.map_or(Ok(0), |row| row.int(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Does one statement; durable when it answers. What it returned.
    pub(crate) async fn write(
        &self,
        sql: &'static str,
        params: Vec<Param>,
    ) -> Result<Vec<Row>, RepositoryError> {
        Ok(self.transact(vec![Statement::new(sql, params)]).await?.pop().unwrap_or_default())
    }

    /// Does all statements or none; durable when it answers.
    pub(crate) async fn transact(&self, statements: Vec<Statement>) -> Outcome {
        match self {
            Self::Sqlite { writer, .. } => writer.transact(statements).await,
            Self::Postgres(pool) => postgres::transact(pool, statements).await,
        }
    }
}

/// Unique names by the field that is told; the first that the database's words contain counts, so that `username` comes
/// before `name`.
const FIELDS: [&str; 7] = ["email", "username", "identifier", "client_id", "user_id", "name", "kid"];

/// What failed, without the values that were bound.
pub(crate) fn failure(error: &sqlx::Error) -> RepositoryError {
    match error {
        sqlx::Error::Database(database) if database.is_unique_violation() => {
            let words = database.constraint().unwrap_or_else(|| database.message());
            let field = FIELDS.into_iter().find(|field| words.contains(field));
            RepositoryError::Conflict(field.unwrap_or("id"))
        }
        sqlx::Error::Database(database) => RepositoryError::Failed(database.message().to_owned()),
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Tls(_) => {
            RepositoryError::Unavailable(error.to_string())
        }
        other => RepositoryError::Failed(other.to_string()),
    }
}
