//! The public keys of clients: by value, or at the address that they registered.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base::UnixMillis;
use jose::{Alg, CompactJws, JoseError, KeySet, jwe::EncryptionKey};
use serde_json::Value;

use crate::{
    idp::Core,
    model::{Client, Credential},
};

/// How long fetched keys count before they are fetched again.
const FRESH: Duration = Duration::from_secs(10 * 60);
/// How long after a fetch a token with an unknown key causes no other one.
const PAUSE: Duration = Duration::from_secs(10);
/// Addresses whose keys are remembered; when there are more, all are forgotten.
const MAX_REMEMBERED: usize = 4096;
/// The set, its array, a key, and a member such as `x5c`.
const MAX_DEPTH: usize = 8;

/// Keys of clients by the addresses they were fetched from.
#[derive(Default)]
pub(crate) struct ClientKeys {
    fetched: Mutex<HashMap<String, Fetched>>,
}

#[derive(Clone)]
struct Fetched {
    at: UnixMillis,
    /// Absent where the address gave none.
    keys: Option<Arc<Published>>,
}

/// A client's key set.
pub(crate) struct Published {
    /// What verifies its signatures.
    pub(crate) verifying: KeySet,
    /// What something can be encrypted for.
    pub(crate) encrypting: Vec<EncryptionKey>,
    /// The set as it was published, with the certificates that come with its keys.
    pub(crate) document: Value,
}

impl Published {
    fn read(bytes: &[u8]) -> Option<Self> {
        let verifying = KeySet::parse(bytes).ok()?;
        let document = jose::parse_json(bytes, MAX_DEPTH).ok()?;
        let keys = document.get("keys").and_then(Value::as_array).into_iter().flatten();
        // A set has keys for other purposes beside them.
        let encrypting = keys.filter_map(|key| EncryptionKey::from_public_jwk(key).ok()).collect();
        Some(Self { verifying, encrypting, document })
    }
}

impl ClientKeys {
    fn known(&self, url: &str) -> Option<Fetched> {
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner).get(url).cloned()
    }

    fn remember(&self, url: &str, fetched: Fetched) {
        let mut known = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert(url.to_owned(), fetched);
    }
}

impl Core {
    /// The payload of `jws`, if a key of the client signed it by one of `allowed`. Keys at an address are fetched again
    /// when the token names one that is not among them.
    pub(crate) async fn verified_by_client(
        &self,
        client: &Client,
        jws: &CompactJws<'_>,
        allowed: &[Alg],
    ) -> Option<Vec<u8>> {
        match client.chosen_credentials(self.clock.now()) {
            Some(chosen) => {
                let keys = KeySet::new(chosen.filter_map(Credential::key).collect());
                keys.verify(jws, allowed).ok()
            }
            None => {
                let (jwks, uri) = (client.jwks.as_ref(), client.jwks_uri.as_deref());
                self.verified_by_keys(jwks, uri, jws, allowed).await
            }
        }
    }

    /// The payload of `jws`, if one of these keys signed it by one of `allowed`: those of a set, or those at an address.
    pub(crate) async fn verified_by_keys(
        &self,
        jwks: Option<&Value>,
        uri: Option<&str>,
        jws: &CompactJws<'_>,
        allowed: &[Alg],
    ) -> Option<Vec<u8>> {
        let keys = self.keys_no_older_than(jwks, uri, FRESH).await?;
        match keys.verifying.verify(jws, allowed) {
            Ok(payload) => Some(payload),
            Err(JoseError::UnknownKid | JoseError::NoKey | JoseError::Signature) if jwks.is_none() => {
                let again = self.keys_no_older_than(jwks, uri, PAUSE).await?;
                again.verifying.verify(jws, allowed).ok()
            }
            Err(_) => None,
        }
    }

    /// The keys in the client's JWK Set: credentials only sign.
    pub(crate) async fn published_keys(&self, client: &Client) -> Option<Arc<Published>> {
        self.keys_no_older_than(client.jwks.as_ref(), client.jwks_uri.as_deref(), FRESH).await
    }

    async fn keys_no_older_than(
        &self,
        jwks: Option<&Value>,
        uri: Option<&str>,
        age: Duration,
    ) -> Option<Arc<Published>> {
        if let Some(jwks) = jwks {
            return Published::read(jwks.to_string().as_bytes()).map(Arc::new);
        }
        let url = uri?;
        let known = self.client_keys.known(url);
        let now = self.clock.now();
        // A failure counts for the shorter time, or a client would be locked out by one of its own restarts.
        let fresh = |fetched: &&Fetched| {
            now.since(fetched.at) < if fetched.keys.is_some() { age } else { age.min(PAUSE) }
        };
        if let Some(fetched) = known.as_ref().filter(fresh) {
            return fetched.keys.clone();
        }
        let document = self.document(url, "application/jwk-set+json, application/json").await;
        let keys = document.and_then(|bytes| Published::read(&bytes)).map(Arc::new);
        // An address that is away for a moment does not take back what it said.
        let keys = keys.or_else(|| known.and_then(|known| known.keys));
        self.client_keys.remember(url, Fetched { at: now, keys: keys.clone() });
        keys
    }
}
