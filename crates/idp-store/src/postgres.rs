//! PostgreSQL: a pool, and one transaction for each write.

use std::{str::FromStr, time::Duration};

use idp::RepositoryError;
use sqlx::{
    Column as _, ConnectOptions, Connection as _, PgConnection, PgPool, Row as _, TypeInfo as _,
    ValueRef as _,
    postgres::{PgConnectOptions, PgPoolOptions, PgRow},
};

use crate::{
    cells::{Cell, Param, Row},
    database::{Database, Outcome, Statement, failure},
    migrate,
};

const CONNECTIONS: u32 = 16;

/// Time for the first connection.
const PATIENCE: Duration = Duration::from_secs(10);

fn options(url: &str) -> Result<PgConnectOptions, RepositoryError> {
    let options = PgConnectOptions::from_str(url)
        // The URL holds a password: what is wrong with it is not told.
        .map_err(|_| RepositoryError::Failed("the database URL is no PostgreSQL URL".to_owned()))?;
    Ok(options.application_name("portcullis").disable_statement_logging())
}

/// Looks at a database without changing it. One connection says at once what a pool would try to get over for seconds.
pub(crate) async fn check(url: &str) -> Result<(), RepositoryError> {
    let options = options(url)?;
    let late = || RepositoryError::Unavailable(format!("it did not answer within {} s", PATIENCE.as_secs()));
    let look = async {
        let mut connection = options.connect().await.map_err(|error| failure(&error))?;
        migrate::recognise_postgres(&mut connection).await?;
        connection.close().await.map_err(|error| failure(&error))
    };
    tokio::time::timeout(PATIENCE, look).await.map_err(|_| late())?
}

pub(crate) async fn open(url: &str) -> Result<Database, RepositoryError> {
    check(url).await?;
    let options = options(url)?;
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(Duration::from_secs(10))
        .connect_with(options)
        .await
        .map_err(|error| failure(&error))?;
    let mut connection = pool.acquire().await.map_err(|error| failure(&error))?;
    migrate::postgres(&mut connection).await?;
    drop(connection);
    Ok(Database::Postgres(pool))
}

pub(crate) async fn transact(pool: &PgPool, statements: Vec<Statement>) -> Outcome {
    let mut connection = pool.acquire().await.map_err(|error| failure(&error))?;
    let mut transaction = connection.begin().await.map_err(|error| failure(&error))?;
    let count = statements.len();
    let mut results = Vec::with_capacity(count);
    for Statement { sql, params, decides } in statements {
        let found = rows(&mut transaction, sql, params).await?;
        let stop = decides && found.is_empty();
        results.push(found);
        if stop {
            break;
        }
    }
    transaction.commit().await.map_err(|error| failure(&error))?;
    results.resize_with(count, Vec::new);
    Ok(results)
}

pub(crate) async fn rows(
    connection: &mut PgConnection,
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

fn read(row: &PgRow) -> Result<Row, sqlx::Error> {
    let cell = |column: &sqlx::postgres::PgColumn| {
        let at = column.ordinal();
        if row.try_get_raw(at)?.is_null() {
            return Ok(Cell::Null);
        }
        match column.type_info().name() {
            "INT8" => row.try_get(at).map(Cell::Int),
            "BYTEA" => row.try_get(at).map(Cell::Bytes),
            _ => row.try_get(at).map(Cell::Text),
        }
    };
    row.columns().iter().map(cell).collect::<Result<_, _>>().map(Row)
}
