//! Rows to entries and back, each with its checksum.

use aws_lc_rs::digest::{Context, SHA256};
use base::UnixMillis;
use sqlx::{SqliteConnection, SqlitePool};

use super::file::{corrupt, failure};
use crate::{Entry, StoreError};

/// Bytes of a checksum: SHA-256, cut. It finds damage, not malice: who can write the file can write the sum.
const SUM_BYTES: usize = 8;

type Columns = (Vec<u8>, Vec<u8>, i64, i64, Option<i64>, Vec<u8>);
type JoinedColumns =
    (i64, Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>, Option<i64>, Option<i64>, Option<i64>, Option<Vec<u8>>);

pub(super) async fn one(pool: &SqlitePool, key: &str) -> Result<Option<Entry>, StoreError> {
    let columns: Option<Columns> = sqlx::query_as(
        "SELECT key, value, create_revision, modify_revision, lease_expires, sum FROM entries WHERE key = $1",
    )
    .bind(key.as_bytes())
    .fetch_optional(pool)
    .await
    .map_err(failure)?;
    columns.map(entry).transpose()
}

/// The entries from `from` up to `to` (not included), and the revision, as of one moment because of one statement.
pub(super) async fn between(
    pool: &SqlitePool,
    from: Vec<u8>,
    to: Vec<u8>,
    limit: i64,
) -> Result<(Vec<Entry>, u64), StoreError> {
    let rows: Vec<JoinedColumns> = sqlx::query_as(
        "SELECT s.revision, s.sum, e.key, e.value, e.create_revision, e.modify_revision, e.lease_expires, e.sum
         FROM state s LEFT JOIN entries e ON e.key >= $1 AND e.key < $2
         ORDER BY e.key LIMIT $3",
    )
    .bind(from)
    .bind(to)
    .bind(limit)
    .fetch_all(pool)
    .await
    .map_err(failure)?;
    let Some((revision, sum, ..)) = rows.first() else {
        return Err(corrupt("it has no revision".to_owned()));
    };
    let revision = checked_revision(*revision, sum)?;
    let columns = |row: JoinedColumns| {
        let (_, _, key, value, create, modify, lease, sum) = row;
        Some((key?, value?, create?, modify?, lease, sum?))
    };
    let entries = rows.into_iter().filter_map(columns).map(entry).collect::<Result<_, _>>()?;
    Ok((entries, revision))
}

/// `limit` entries whose keys are not less than `from`.
pub(super) async fn some(
    connection: &mut SqliteConnection,
    from: &[u8],
    limit: usize,
) -> Result<Vec<Entry>, StoreError> {
    let rows: Vec<Columns> = sqlx::query_as(
        "SELECT key, value, create_revision, modify_revision, lease_expires, sum FROM entries
         WHERE key >= $1 ORDER BY key LIMIT $2",
    )
    .bind(from)
    .bind(signed(limit as u64))
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    rows.into_iter().map(entry).collect()
}

/// Create and modify revision of a key.
pub(super) async fn revisions(
    connection: &mut SqliteConnection,
    key: &str,
) -> Result<Option<(u64, u64)>, StoreError> {
    let found: Option<(i64, i64)> =
        sqlx::query_as("SELECT create_revision, modify_revision FROM entries WHERE key = $1")
            .bind(key.as_bytes())
            .fetch_optional(connection)
            .await
            .map_err(failure)?;
    found.map(|(create, modify)| Ok((unsigned(create)?, unsigned(modify)?))).transpose()
}

pub(super) async fn put(connection: &mut SqliteConnection, entry: &Entry) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO entries (key, value, create_revision, modify_revision, lease_expires, sum)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value, modify_revision = excluded.modify_revision,
             lease_expires = excluded.lease_expires, sum = excluded.sum",
    )
    .bind(entry.key.as_bytes())
    .bind(entry.value.as_slice())
    .bind(signed(entry.create_revision))
    .bind(signed(entry.modify_revision))
    .bind(entry.lease_expires.map(|at| at.0))
    .bind(sum_of(entry))
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}

/// Puts `value` in the place of the entry's, which stays of the same revision. Whether it was still there.
pub(super) async fn replace(
    connection: &mut SqliteConnection,
    old: &Entry,
    value: Vec<u8>,
) -> Result<bool, StoreError> {
    let new = Entry { value, ..old.clone() };
    let done = sqlx::query(
        "UPDATE entries SET value = $1, sum = $2 WHERE key = $3 AND modify_revision = $4 AND sum = $5 AND value = $6",
    )
    .bind(new.value.as_slice())
    .bind(sum_of(&new))
    .bind(old.key.as_bytes())
    .bind(signed(old.modify_revision))
    .bind(sum_of(old))
    .bind(old.value.as_slice())
    .execute(connection)
    .await;
    Ok(done.map_err(failure)?.rows_affected() > 0)
}

/// Whether there was something to delete.
pub(super) async fn delete(connection: &mut SqliteConnection, key: &str) -> Result<bool, StoreError> {
    let done =
        sqlx::query("DELETE FROM entries WHERE key = $1").bind(key.as_bytes()).execute(connection).await;
    Ok(done.map_err(failure)?.rows_affected() > 0)
}

/// The keys whose leases have run out by `now`, and what they take away.
pub(super) async fn due(
    connection: &mut SqliteConnection,
    now: UnixMillis,
) -> Result<Vec<String>, StoreError> {
    let keys: Vec<(Vec<u8>,)> =
        sqlx::query_as("SELECT key FROM entries WHERE lease_expires <= $1 ORDER BY key")
            .bind(now.0)
            .fetch_all(connection)
            .await
            .map_err(failure)?;
    keys.into_iter().map(|(key,)| text(key)).collect()
}

pub(super) async fn revision(connection: &mut SqliteConnection) -> Result<u64, StoreError> {
    let found: Option<(i64, Vec<u8>)> = sqlx::query_as("SELECT revision, sum FROM state")
        .fetch_optional(connection)
        .await
        .map_err(failure)?;
    let (revision, sum) = found.ok_or_else(|| corrupt("it has no revision".to_owned()))?;
    checked_revision(revision, &sum)
}

pub(super) async fn set_revision(connection: &mut SqliteConnection, revision: u64) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO state (id, revision, sum) VALUES (1, $1, $2)
         ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, sum = excluded.sum",
    )
    .bind(signed(revision))
    .bind(sum(&[&revision.to_be_bytes()]))
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}

fn checked_revision(revision: i64, found: &[u8]) -> Result<u64, StoreError> {
    let revision = unsigned(revision)?;
    if found == sum(&[&revision.to_be_bytes()]) {
        Ok(revision)
    } else {
        Err(corrupt("its revision was altered".to_owned()))
    }
}

fn entry((key, value, create, modify, lease, sum): Columns) -> Result<Entry, StoreError> {
    let entry = Entry {
        key: text(key)?,
        value,
        create_revision: unsigned(create)?,
        modify_revision: unsigned(modify)?,
        lease_expires: lease.map(UnixMillis),
    };
    if sum == sum_of(&entry) { Ok(entry) } else { Err(corrupt(format!("`{}` was altered", entry.key))) }
}

fn sum_of(entry: &Entry) -> Vec<u8> {
    let lease = entry.lease_expires.map_or(i64::MIN, |at| at.0);
    sum(&[
        &(entry.key.len() as u64).to_be_bytes(),
        entry.key.as_bytes(),
        &entry.value,
        &entry.create_revision.to_be_bytes(),
        &entry.modify_revision.to_be_bytes(),
        &lease.to_be_bytes(),
    ])
}

fn sum(parts: &[&[u8]]) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().iter().copied().take(SUM_BYTES).collect()
}

fn text(key: Vec<u8>) -> Result<String, StoreError> {
    String::from_utf8(key).map_err(|_| corrupt("a key is not UTF-8".to_owned()))
}

/// Revisions count single transactions: none reaches 2^63.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| corrupt("a revision is negative".to_owned()))
}
