//! The identity provider's repositories: one SQL text for SQLite and PostgreSQL.
//!
//! [`SqlRepository`] implements the traits of `idp::repository`. What it is not: it decides nothing. Every row carries its
//! tenant; objects that administrators manage are kept as JSON beside the columns they are found by. Client secrets,
//! signing secrets and private keys are sealed for their record and field; codes, tokens and cookies arrive here as keyed
//! hashes already. A write is on the disk before it is answered.

mod access_tokens;
mod attempts;
mod cells;
mod clients;
mod codes;
mod connections;
mod consents;
mod database;
mod deferred;
mod deployment_keys;
mod jobs;
mod logouts;
mod logs;
mod memo;
mod migrate;
mod pairwise_subjects;
mod postgres;
mod pushed_requests;
mod refresh_tokens;
mod reseal;
mod resource_servers;
mod revocations;
mod roles;
mod seal;
mod sessions;
mod signing_keys;
mod sqlite;
mod tenants;
mod tickets;
mod transactions;
mod users;

use std::{path::Path, sync::Arc};

use base::{Keyring, Random, Secret, UnixMillis};
use idp::{
    RepositoryError,
    repository::{Fut, Repository},
};

pub use crate::reseal::Resealed;
use crate::{cells::params, database::Database, seal::Seal};

/// Days for which codes and refresh tokens that are over are still known: one that comes again ends its family.
const KEPT_DAYS: i64 = 1;
/// Days after which no token is left that a key signed before it was rotated away (30, the longest lifetime, and one).
const KEY_DAYS: i64 = 31;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// All repositories on one database.
pub struct SqlRepository {
    database: Database,
    seal: Seal,
}

/// Opens (or makes, readable by its owner alone) the SQLite file at `path` and brings its tables up to date. It is
/// meant for one process: several would wait for one another's commits.
///
/// # Errors
///
/// When the file cannot be made or opened, was made by a newer version, or holds something else.
pub async fn open_sqlite(
    path: &Path,
    keyring: Keyring,
    random: Random,
) -> Result<Arc<SqlRepository>, RepositoryError> {
    let database = sqlite::open(path).await?;
    Ok(Arc::new(SqlRepository { database, seal: Seal::new(keyring, random) }))
}

/// Says whether [`open_sqlite`] would take the file at `path`, and changes nothing: it may be in use, or not there yet.
///
/// # Errors
///
/// As [`open_sqlite`].
pub async fn check_sqlite(path: &Path) -> Result<(), RepositoryError> {
    sqlite::check(path).await
}

/// Says whether [`open_postgres`] would take the database at `url`, and changes nothing.
///
/// # Errors
///
/// As [`open_postgres`].
pub async fn check_postgres(url: &Secret<String>) -> Result<(), RepositoryError> {
    postgres::check(url.expose()).await
}

/// Rewrites the SQLite file at `path` so that nothing is left of what was deleted or replaced. It may be in use.
///
/// # Errors
///
/// When the file cannot be written, or others keep it busy for some seconds.
pub async fn scrub_sqlite(path: &Path) -> Result<(), RepositoryError> {
    sqlite::scrub(path).await
}

/// Connects to PostgreSQL at `url` (`postgres://user:password@host/database`) and brings its tables up to date.
///
/// # Errors
///
/// When the server cannot be reached, or its tables were made by a newer version.
pub async fn open_postgres(
    url: &Secret<String>,
    keyring: Keyring,
    random: Random,
) -> Result<Arc<SqlRepository>, RepositoryError> {
    let database = postgres::open(url.expose()).await?;
    Ok(Arc::new(SqlRepository { database, seal: Seal::new(keyring, random) }))
}

impl Repository for SqlRepository {
    fn purge(&self, now: UnixMillis) -> Fut<'_, u64> {
        Box::pin(async move {
            let statements = [
                "DELETE FROM sessions WHERE expires_at < $1 OR idle_expires_at < $1 OR ended_at < $1 RETURNING sid",
                "DELETE FROM tickets WHERE expires_at < $1 RETURNING kind",
                "DELETE FROM login_transactions WHERE expires_at < $1 RETURNING expires_at",
                "DELETE FROM access_tokens WHERE expires_at < $1 OR revoked_at < $1 RETURNING expires_at",
                "DELETE FROM revocations WHERE expires_at < $1 RETURNING id",
            ];
            let mut deleted = 0;
            for sql in statements {
                deleted += self.database.write(sql, params![now]).await?.len() as u64;
            }
            let orphans = "DELETE FROM session_clients WHERE NOT EXISTS (SELECT 1 FROM sessions s
                           WHERE s.tenant_id = session_clients.tenant_id AND s.sid = session_clients.sid)";
            self.database.write(orphans, params![]).await?;
            let sql = "DELETE FROM login_attempts WHERE since < $1 RETURNING since";
            deleted += self.database.write(sql, params![now.0 - DAY_MS]).await?.len() as u64;
            let sql = "DELETE FROM jobs WHERE created_at < $1 RETURNING id";
            deleted += self.database.write(sql, params![now.0 - DAY_MS]).await?.len() as u64;
            let remembered = [
                "DELETE FROM codes WHERE expires_at < $1 RETURNING expires_at",
                "DELETE FROM pushed_requests WHERE expires_at < $1 RETURNING expires_at",
                "DELETE FROM deferred_requests WHERE expires_at < $1 RETURNING expires_at",
                "DELETE FROM refresh_tokens
                 WHERE expires_at < $1 OR idle_expires_at < $1 OR revoked_at < $1 RETURNING id",
            ];
            for sql in remembered {
                deleted += self.database.write(sql, params![now.0 - KEPT_DAYS * DAY_MS]).await?.len() as u64;
            }
            // A copy of so old a token is refused as unknown; its family is not told.
            let sql = "DELETE FROM refresh_tokens WHERE rotated_at < $1 RETURNING id";
            deleted += self.database.write(sql, params![now.0 - KEY_DAYS * DAY_MS]).await?.len() as u64;
            let sql = "UPDATE signing_keys SET state = 'revoked', changed_at = $1
                       WHERE state = 'previous' AND changed_at < $2 RETURNING kid";
            deleted += self.database.write(sql, params![now, now.0 - KEY_DAYS * DAY_MS]).await?.len() as u64;
            Ok(deleted)
        })
    }
}
