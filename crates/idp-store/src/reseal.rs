//! Sealing again, with the keyring's first key, what its other keys sealed: in batches, each durable and small, so that it
//! can be stopped anywhere, started again, and run beside the processes that use the database.

use base::{Keyring, Random};
use idp::RepositoryError;

use crate::{
    SqlRepository,
    cells::{Param, Row, params},
    clients,
    database::Statement,
    deferred, deployment_keys, resource_servers, signing_keys,
};

/// Values that are sealed again in one transaction.
const BATCH: i64 = 100;

/// What sealing everything again came to.
#[derive(Debug, Default)]
pub struct Resealed {
    /// Values that another than the first key had sealed.
    pub sealed_again: u64,
    /// Values that no key of the ring opens, by their places, with the reason.
    pub failed: Vec<String>,
}

/// A column whose values are sealed. The statements find rows by two columns: text, and text or bytes.
pub(crate) struct Sealed {
    /// Table and column.
    pub(crate) column: (&'static str, &'static str),
    /// At most `$3` rows after (`$1`, `$2`), in order: both columns, and the sealed value.
    select: &'static str,
    /// Replaces the value `$4` by `$3` in the row (`$1`, `$2`) and returns something if it was still there.
    update: &'static str,
    /// The place of a row; an id of bytes in hexadecimal.
    place: fn(&str, &str) -> String,
}

/// Every column that holds what [`crate::seal::Seal`] made.
pub(crate) const SEALED: [Sealed; 5] = [
    Sealed {
        column: ("clients", "secret"),
        select: "SELECT tenant_id, client_id, secret FROM clients
                 WHERE secret IS NOT NULL AND (tenant_id, client_id) > ($1, $2)
                 ORDER BY tenant_id, client_id LIMIT $3",
        update: "UPDATE clients SET secret = $3 WHERE tenant_id = $1 AND client_id = $2 AND secret = $4
                 RETURNING client_id",
        place: clients::place,
    },
    Sealed {
        column: ("resource_servers", "signing_secret"),
        select: "SELECT tenant_id, id, signing_secret FROM resource_servers
                 WHERE signing_secret IS NOT NULL AND (tenant_id, id) > ($1, $2)
                 ORDER BY tenant_id, id LIMIT $3",
        update: "UPDATE resource_servers SET signing_secret = $3
                 WHERE tenant_id = $1 AND id = $2 AND signing_secret = $4 RETURNING id",
        place: resource_servers::place,
    },
    Sealed {
        column: ("signing_keys", "pkcs8"),
        select: "SELECT tenant_id, kid, pkcs8 FROM signing_keys WHERE (tenant_id, kid) > ($1, $2)
                 ORDER BY tenant_id, kid LIMIT $3",
        update: "UPDATE signing_keys SET pkcs8 = $3 WHERE tenant_id = $1 AND kid = $2 AND pkcs8 = $4
                 RETURNING kid",
        place: signing_keys::place,
    },
    Sealed {
        column: ("deployment_keys", "keys"),
        select: "SELECT '', name, keys FROM deployment_keys WHERE name > $2 AND $1 = '' ORDER BY name LIMIT $3",
        update: "UPDATE deployment_keys SET keys = $3 WHERE name = $2 AND keys = $4 AND $1 = '' RETURNING name",
        place: deployment_keys::place,
    },
    Sealed {
        column: ("deferred_requests", "notification"),
        select: "SELECT tenant_id, handle, notification FROM deferred_requests
                 WHERE notification IS NOT NULL AND (tenant_id, handle) > ($1, $2)
                 ORDER BY tenant_id, handle LIMIT $3",
        update: "UPDATE deferred_requests SET notification = $3
                 WHERE tenant_id = $1 AND handle = $2 AND notification = $4 RETURNING tenant_id",
        place: deferred::place_of,
    },
];

/// What tells a row from others of its tenant.
enum Id {
    Text(String),
    Bytes(Vec<u8>),
}

impl Id {
    /// Before every other one.
    fn first(sealed: &Sealed) -> Self {
        match sealed.column {
            ("deferred_requests", _) => Self::Bytes(Vec::new()),
            _ => Self::Text(String::new()),
        }
    }

    fn of(row: &Row) -> Result<Self, RepositoryError> {
        match row.bytes_or_null(1) {
            Ok(Some(bytes)) => Ok(Self::Bytes(bytes.to_vec())),
            _ => Ok(Self::Text(row.text(1)?.to_owned())),
        }
    }

    fn param(&self) -> Param {
        match self {
            Self::Text(text) => Param::from(text),
            Self::Bytes(bytes) => Param::from(bytes.clone()),
        }
    }

    fn in_place(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

impl SqlRepository {
    /// Seals everything again that another than the keyring's first key sealed. `progress` is told how many values that
    /// were so far, after each batch. A value that somebody writes meanwhile stays as written. When nothing failed, no
    /// value needs the other keys any more.
    ///
    /// # Errors
    ///
    /// When the database fails; what was done until then is durable.
    pub async fn reseal(&self, mut progress: impl FnMut(u64)) -> Result<Resealed, RepositoryError> {
        let mut resealed = Resealed::default();
        for sealed in &SEALED {
            // A row that was written between reading and writing is looked at once more, until none was.
            while self.reseal_column(sealed, &mut resealed, &mut progress).await? > 0 {}
        }
        resealed.failed.sort_unstable();
        resealed.failed.dedup();
        Ok(resealed)
    }

    /// How many rows somebody else wrote first.
    async fn reseal_column(
        &self,
        sealed: &Sealed,
        resealed: &mut Resealed,
        progress: &mut impl FnMut(u64),
    ) -> Result<u64, RepositoryError> {
        let (mut tenant, mut id, mut overtaken) = (String::new(), Id::first(sealed), 0);
        loop {
            let rows = self.database.read(sealed.select, params![&tenant, id.param(), BATCH]).await?;
            let Some(last) = rows.last() else { return Ok(overtaken) };
            (tenant, id) = (last.text(0)?.to_owned(), Id::of(last)?);
            let mut updates = Vec::new();
            for row in &rows {
                match self.resealed(sealed, row) {
                    Ok(Some(update)) => updates.push(update),
                    Ok(None) => {}
                    Err(RepositoryError::Failed(reason)) => {
                        let (table, column) = sealed.column;
                        resealed.failed.push(format!("{table}.{column}: {reason}"));
                    }
                    Err(error) => return Err(error),
                }
            }
            if updates.is_empty() {
                continue;
            }
            let asked = updates.len() as u64;
            let done = self.database.transact(updates).await?;
            let done = done.iter().filter(|returned| !returned.is_empty()).count() as u64;
            resealed.sealed_again += done;
            overtaken += asked - done;
            progress(resealed.sealed_again);
        }
    }

    fn resealed(&self, sealed: &Sealed, row: &Row) -> Result<Option<Statement>, RepositoryError> {
        let (tenant, id) = (row.text(0)?, Id::of(row)?);
        let old = row.bytes_or_null(2)?.unwrap_or_default();
        let new = self.seal.again(old, &(sealed.place)(tenant, &id.in_place()))?;
        Ok(new.map(|new| Statement::new(sealed.update, params![tenant, id.param(), new, old.to_vec()])))
    }

    /// The keys of the provider's keyed hashes: made at first, and from then on the same for every process that uses this
    /// database. They do not come from the keyring, so that sessions and tokens outlive its keys.
    ///
    /// # Errors
    ///
    /// When the database fails, or no key of the keyring opens them.
    pub async fn hash_keys(&self, random: &Random) -> Result<Keyring, RepositoryError> {
        self.deployment_keys("hashes", random).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::MIGRATIONS;

    /// Columns of bytes that hold keyed hashes.
    const HASHES: [(&str, &str); 11] = [
        ("sessions", "cookie"),
        ("login_transactions", "handle"),
        ("login_transactions", "browser"),
        ("codes", "code"),
        ("refresh_tokens", "token"),
        ("access_tokens", "token"),
        ("pushed_requests", "handle"),
        ("deferred_requests", "handle"),
        ("deferred_requests", "user_code"),
        ("login_attempts", "account"),
        ("tickets", "token"),
    ];

    #[test]
    fn s03_every_column_of_bytes_is_a_hash_or_is_sealed_again() {
        let mut found = Vec::new();
        for line in MIGRATIONS.iter().flat_map(|text| text.split(";\n")) {
            let code: Vec<&str> = line.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
            let words: Vec<&str> = code.iter().flat_map(|line| line.split_whitespace()).collect();
            let table = match words.as_slice() {
                ["CREATE" | "ALTER", "TABLE", table, ..] => *table,
                _ => continue,
            };
            for pair in words.windows(2) {
                if pair[1].trim_end_matches(',') == "BYTES" {
                    found.push((table, pair[0]));
                }
            }
        }
        let mut known: Vec<_> = SEALED.iter().map(|sealed| sealed.column).chain(HASHES).collect();
        found.sort_unstable();
        known.sort_unstable();
        assert_eq!(found, known, "a column of bytes is a keyed hash, or it belongs into SEALED");
    }
}
