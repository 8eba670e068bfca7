use base::UnixMillis;
use idp::{
    RepositoryError,
    model::{KeyState, SigningKeyRecord},
    repository::{Fut, SigningKeys},
};

use crate::{
    SqlRepository,
    cells::{Param, Row, json, params},
    database::Statement,
};

const INSERT: &str = "INSERT INTO signing_keys
    (tenant_id, kid, alg, state, public_jwk, pkcs8, created_at, changed_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT DO NOTHING";

pub(crate) fn place(tenant: &str, kid: &str) -> String {
    format!("signing_key/{tenant}/{kid}/pkcs8")
}

fn name(state: KeyState) -> &'static str {
    match state {
        KeyState::Next => "next",
        KeyState::Current => "current",
        KeyState::Previous => "previous",
        KeyState::Revoked => "revoked",
    }
}

fn state(name: &str) -> Result<KeyState, RepositoryError> {
    let states = [KeyState::Next, KeyState::Current, KeyState::Previous, KeyState::Revoked];
    let found = states.into_iter().find(|state| self::name(*state) == name);
    found.ok_or_else(|| RepositoryError::Failed(format!("{name} is no state of a signing key")))
}

impl SqlRepository {
    /// Columns: kid, alg, state, public_jwk, pkcs8, created_at.
    fn signing_key_of(&self, tenant: &str, row: &Row) -> Result<SigningKeyRecord, RepositoryError> {
        let kid = row.text(0)?.to_owned();
        let sealed = row.bytes_or_null(4)?.unwrap_or_default();
        Ok(SigningKeyRecord {
            pkcs8: self.seal.open(sealed, &place(tenant, &kid))?,
            kid,
            alg: row.text(1)?.to_owned(),
            state: state(row.text(2)?)?,
            public_jwk: row.json(3)?,
            created_at: row.int(5)?,
        })
    }

    fn signing_key_params(
        &self,
        tenant: &str,
        key: &SigningKeyRecord,
    ) -> Result<Vec<Param>, RepositoryError> {
        let pkcs8 = self.seal.seal(key.pkcs8.expose(), &place(tenant, &key.kid));
        let (alg, state, jwk) = (&key.alg, name(key.state), json(&key.public_jwk)?);
        Ok(params![tenant, &key.kid, alg, state, jwk, pkcs8, key.created_at])
    }
}

impl SigningKeys for SqlRepository {
    fn signing_keys<'a>(&'a self, tenant: &'a str) -> Fut<'a, Vec<SigningKeyRecord>> {
        Box::pin(async move {
            let sql = "SELECT kid, alg, state, public_jwk, pkcs8, created_at FROM signing_keys
                       WHERE tenant_id = $1 AND state <> 'revoked' ORDER BY created_at, kid";
            let rows = self.database.read(sql, params![tenant]).await?;
            rows.iter().map(|row| self.signing_key_of(tenant, row)).collect()
        })
    }

    fn signing_keys_version<'a>(&'a self, tenant: &'a str) -> Fut<'a, String> {
        Box::pin(async move {
            if let Some(writes) = self.database.signing_key_writes() {
                return Ok(writes.to_string());
            }
            let sql = "SELECT kid, state FROM signing_keys
                       WHERE tenant_id = $1 AND state <> 'revoked' ORDER BY kid";
            let mut version = String::new();
            for row in self.database.read(sql, params![tenant]).await? {
                version.push_str(row.text(0)?);
                version.push(' ');
                version.push_str(row.text(1)?);
                version.push('\n');
            }
            Ok(version)
        })
    }

    fn add_signing_keys<'a>(&'a self, tenant: &'a str, keys: &'a [SigningKeyRecord]) -> Fut<'a, ()> {
        Box::pin(async move {
            let statement = |key| Ok(Statement::new(INSERT, self.signing_key_params(tenant, key)?));
            let statements = keys.iter().map(statement).collect::<Result<_, RepositoryError>>()?;
            self.database.transact(statements).await?;
            Ok(())
        })
    }

    fn rotate_signing_key<'a>(
        &'a self,
        tenant: &'a str,
        current: &'a str,
        key: &'a SigningKeyRecord,
        now: UnixMillis,
    ) -> Fut<'a, bool> {
        Box::pin(async move {
            let retire = "UPDATE signing_keys SET state = 'previous', changed_at = $3
                          WHERE tenant_id = $1 AND kid = $2 AND state = 'current' RETURNING kid";
            let promote = "UPDATE signing_keys SET state = 'current', changed_at = $3
                           WHERE tenant_id = $1 AND alg = $2 AND state = 'next'";
            let results = self.database.transact(vec![
                Statement::deciding(retire, params![tenant, current, now]),
                Statement::new(promote, params![tenant, &key.alg, now]),
                Statement::new(INSERT, self.signing_key_params(tenant, key)?),
            ]);
            Ok(results.await?.first().is_some_and(|retired| !retired.is_empty()))
        })
    }

    fn set_public_jwk<'a>(
        &'a self,
        tenant: &'a str,
        known: &'a SigningKeyRecord,
        public_jwk: &'a serde_json::Value,
    ) -> Fut<'a, bool> {
        Box::pin(async move {
            let sql = "UPDATE signing_keys SET public_jwk = $4
                       WHERE tenant_id = $1 AND kid = $2 AND public_jwk = $3 RETURNING kid";
            let (old, new) = (json(&known.public_jwk)?, json(public_jwk)?);
            Ok(!self.database.write(sql, params![tenant, &known.kid, old, new]).await?.is_empty())
        })
    }

    fn set_signing_key_state<'a>(&'a self, tenant: &'a str, kid: &'a str, state: KeyState) -> Fut<'a, bool> {
        Box::pin(async move {
            let sql = "UPDATE signing_keys SET state = $3 WHERE tenant_id = $1 AND kid = $2 RETURNING kid";
            Ok(!self.database.write(sql, params![tenant, kid, name(state)]).await?.is_empty())
        })
    }
}
