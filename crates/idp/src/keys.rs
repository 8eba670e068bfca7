use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base::{Clock, Random, Secret, UnixMillis};
use jose::{
    Alg, KeySet, SigningKey, VerifyingKey,
    jwe::{CompactJwe, DecryptionKey, Enc, KeyAlg},
};
use serde_json::{Value, json};

use crate::{
    IdpError,
    key_certificate::certify,
    model::{KeyState, SigningKeyRecord},
    repository::Repository,
    sealing::KEY_ALGS,
};

/// What tokens are signed with; the JWKS has keys for each. The first one is the default.
pub(crate) const SIGNING_ALGS: [Alg; 4] = [Alg::RS256, Alg::PS256, Alg::ES256, Alg::EdDSA];

/// What can be encrypted for a tenant: a key of each kind, kept under this name.
const ENCRYPTION_ALGS: [KeyAlg; 2] = [KeyAlg::RsaOaep256, KeyAlg::EcdhEs];

/// How long loaded keys are used without looking at more of them than whether they are still the same.
const STALE: Duration = Duration::from_secs(30);

/// The keys of all tenants: those that sign, and those that clients encrypt for. For each algorithm a tenant has a current key and the next one, which is published
/// before it signs; after a rotation the previous one stays published until its last token has expired.
///
/// Several processes may share the store, and any of them may rotate and revoke. Each asks before it signs, verifies or
/// publishes whether its keys are still the tenant's: so whatever one signs with, all publish and accept, however fast
/// rotations follow each other, and what one revokes is over everywhere.
#[derive(Clone)]
pub struct Keys {
    inner: Arc<Inner>,
}

struct Inner {
    repository: Arc<dyn Repository>,
    clock: Clock,
    random: Random,
    loaded: Mutex<HashMap<String, Arc<Loaded>>>,
    /// One at a time makes keys: two that start together would both spend a second on it.
    making: tokio::sync::Mutex<()>,
}

/// The keys of one tenant, ready for use.
struct Loaded {
    at: UnixMillis,
    /// The store's, before they were read.
    version: String,
    jwks: Value,
    signing: Vec<Arc<SigningKey>>,
    verifying: Arc<KeySet>,
    decrypting: Vec<DecryptionKey>,
}

impl Keys {
    pub(crate) fn new(repository: Arc<dyn Repository>, clock: Clock, random: Random) -> Self {
        let (loaded, making) = (Mutex::new(HashMap::new()), tokio::sync::Mutex::new(()));
        Self { inner: Arc::new(Inner { repository, clock, random, loaded, making }) }
    }

    /// The document of `/.well-known/jwks.json`: public members only.
    pub async fn jwks(&self, tenant: &str) -> Result<Value, IdpError> {
        Ok(self.loaded(tenant).await?.jwks.clone())
    }

    /// Every key that is not revoked, those for encryption too.
    pub async fn list(&self, tenant: &str) -> Result<Vec<SigningKeyRecord>, IdpError> {
        self.loaded(tenant).await?;
        Ok(self.inner.repository.signing_keys(tenant).await?)
    }

    /// Makes the next key of `alg` the current one, and a new next one. The new current key's id. Where several rotate
    /// at once, one rotation happens.
    pub async fn rotate(&self, tenant: &str, alg: Alg) -> Result<String, IdpError> {
        let missing = || IdpError::NoKey { tenant: tenant.to_owned(), alg: alg.as_str().to_owned() };
        let of_state = |keys: &[SigningKeyRecord], state: KeyState| {
            keys.iter().find(|key| key.alg == alg.as_str() && key.state == state).map(|key| key.kid.clone())
        };
        let keys = self.list(tenant).await?;
        let current = of_state(&keys, KeyState::Current).ok_or_else(missing)?;
        let key = self.make(tenant, alg, KeyState::Next).await?;
        let now = self.inner.clock.now();
        self.inner.repository.rotate_signing_key(tenant, &current, &key, now).await?;
        self.forget(tenant);
        of_state(&self.list(tenant).await?, KeyState::Current).ok_or_else(missing)
    }

    /// Makes new keys to encrypt for. What was encrypted for the ones before can still be read for a while; they are not
    /// published any more (OpenID Connect Core 10.2.1).
    pub async fn rotate_encryption(&self, tenant: &str) -> Result<(), IdpError> {
        for known in self.list(tenant).await? {
            let Some(alg) = known.encryption_alg().filter(|_| known.state == KeyState::Current) else {
                continue;
            };
            let key = self.make_for_encryption(alg).await?;
            let now = self.inner.clock.now();
            self.inner.repository.rotate_signing_key(tenant, &known.kid, &key, now).await?;
        }
        self.forget(tenant);
        Ok(())
    }

    /// What a compact JWE holds, if it was encrypted for this tenant and is a text. All else is one answer.
    pub(crate) async fn decrypted(&self, tenant: &str, token: &str) -> Result<Option<String>, IdpError> {
        let loaded = self.loaded(tenant).await?;
        let Ok(jwe) = CompactJwe::parse(token) else { return Ok(None) };
        let fits = |key: &&DecryptionKey| jwe.kid().is_none_or(|kid| key.kid() == Some(kid));
        let mut opened = loaded.decrypting.iter().filter(fits);
        let opened = opened.find_map(|key| jwe.decrypt(key, &KEY_ALGS, &Enc::ALL).ok());
        Ok(opened.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    /// Takes a previous key out of the JWKS; its tokens die. `false` where there is no such previous key.
    pub async fn revoke(&self, tenant: &str, kid: &str) -> Result<bool, IdpError> {
        let is_previous = |key: &SigningKeyRecord| key.kid == kid && key.state == KeyState::Previous;
        if !self.list(tenant).await?.iter().any(is_previous) {
            return Ok(false);
        }
        let revoked = self.inner.repository.set_signing_key_state(tenant, kid, KeyState::Revoked).await?;
        self.forget(tenant);
        Ok(revoked)
    }

    /// The current key of `alg`.
    pub(crate) async fn signing(&self, tenant: &str, alg: Alg) -> Result<Arc<SigningKey>, IdpError> {
        let loaded = self.loaded(tenant).await?;
        let key = loaded.signing.iter().find(|key| key.alg() == alg).cloned();
        key.ok_or_else(|| IdpError::NoKey { tenant: tenant.to_owned(), alg: alg.as_str().to_owned() })
    }

    /// All published keys.
    pub(crate) async fn verifying(&self, tenant: &str) -> Result<Arc<KeySet>, IdpError> {
        Ok(self.loaded(tenant).await?.verifying.clone())
    }

    async fn loaded(&self, tenant: &str) -> Result<Arc<Loaded>, IdpError> {
        let repository = &self.inner.repository;
        let version = repository.signing_keys_version(tenant).await?;
        if let Some(loaded) = self.fresh(tenant, &version) {
            return Ok(loaded);
        }
        let _one = self.inner.making.lock().await;
        // Read before the keys: what changes meanwhile is noticed the next time.
        let mut version = repository.signing_keys_version(tenant).await?;
        if let Some(loaded) = self.fresh(tenant, &version) {
            return Ok(loaded);
        }
        let mut records = repository.signing_keys(tenant).await?;
        let missing = self.missing(tenant, &records).await?;
        if !missing.is_empty() {
            repository.add_signing_keys(tenant, &missing).await?;
        }
        let certified = self.certify_old(tenant, &records).await?;
        if certified || !missing.is_empty() {
            version = repository.signing_keys_version(tenant).await?;
            records = repository.signing_keys(tenant).await?;
        }
        let loaded = Arc::new(Loaded::new(&records, version, self.inner.clock.now())?);
        self.cache().insert(tenant.to_owned(), loaded.clone());
        Ok(loaded)
    }

    fn fresh(&self, tenant: &str, version: &str) -> Option<Arc<Loaded>> {
        let now = self.inner.clock.now();
        let fresh = |loaded: &&Arc<Loaded>| loaded.version == version && now.since(loaded.at) < STALE;
        self.cache().get(tenant).filter(fresh).cloned()
    }

    fn forget(&self, tenant: &str) {
        self.cache().remove(tenant);
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Loaded>>> {
        self.inner.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A key for each algorithm and state that has none.
    async fn missing(
        &self,
        tenant: &str,
        records: &[SigningKeyRecord],
    ) -> Result<Vec<SigningKeyRecord>, IdpError> {
        let mut made = Vec::new();
        for alg in SIGNING_ALGS {
            for state in [KeyState::Current, KeyState::Next] {
                if !records.iter().any(|key| key.alg == alg.as_str() && key.state == state) {
                    made.push(self.make(tenant, alg, state).await?);
                }
            }
        }
        for alg in ENCRYPTION_ALGS {
            let is =
                |key: &SigningKeyRecord| key.encryption_alg() == Some(alg) && key.state == KeyState::Current;
            if !records.iter().any(is) {
                made.push(self.make_for_encryption(alg).await?);
            }
        }
        Ok(made)
    }

    async fn make(&self, tenant: &str, alg: Alg, state: KeyState) -> Result<SigningKeyRecord, IdpError> {
        let kid = self.inner.random.alphanumeric(21);
        let (host, created_at) = (self.host(tenant).await?, self.inner.clock.now().0);
        // An RSA key takes long enough to be noticed by whoever shares the thread.
        blocking(move || {
            let key = SigningKey::generate(alg, kid)?;
            let mut record = SigningKeyRecord {
                kid: key.kid().to_owned(),
                alg: alg.as_str().to_owned(),
                state,
                public_jwk: key.public_jwk(),
                pkcs8: Secret::new(key.to_pkcs8()?.to_vec()),
                created_at,
            };
            certify(&mut record, &host)?;
            Ok(record)
        })
        .await
    }

    async fn make_for_encryption(&self, alg: KeyAlg) -> Result<SigningKeyRecord, IdpError> {
        let (kid, created_at) = (self.inner.random.alphanumeric(21), self.inner.clock.now().0);
        blocking(move || {
            let made = DecryptionKey::generate(alg, kid.clone())?;
            Ok(SigningKeyRecord {
                kid,
                alg: alg.as_str().to_owned(),
                state: KeyState::Current,
                public_jwk: made.public_jwk,
                pkcs8: Secret::new(made.pkcs8.to_vec()),
                created_at,
            })
        })
        .await
    }

    /// Makes certificates for keys that are older than certificates are; whether there were any. Of several processes
    /// that do so at once, the first one's count.
    async fn certify_old(&self, tenant: &str, records: &[SigningKeyRecord]) -> Result<bool, IdpError> {
        let bare: Vec<&SigningKeyRecord> =
            records.iter().filter(|key| key.signs() && key.public_jwk.get("x5c").is_none()).collect();
        for known in &bare {
            let (mut key, host) = ((*known).clone(), self.host(tenant).await?);
            let key = blocking(move || certify(&mut key, &host).map(|()| key)).await?;
            self.inner.repository.set_public_jwk(tenant, known, &key.public_jwk).await?;
        }
        Ok(!bare.is_empty())
    }

    /// What certificates name: the host of the tenant's first origin.
    async fn host(&self, tenant: &str) -> Result<String, IdpError> {
        let tenants = self.inner.repository.tenants().await?;
        let origin = tenants.iter().find(|known| known.id == tenant).and_then(|known| known.origins.first());
        let host = origin.and_then(|origin| url::Url::parse(origin).ok()?.host_str().map(str::to_owned));
        Ok(host.unwrap_or_else(|| tenant.to_owned()))
    }
}

impl Loaded {
    fn new(records: &[SigningKeyRecord], version: String, at: UnixMillis) -> Result<Self, IdpError> {
        let alive = records.iter().filter(|key| key.state != KeyState::Revoked);
        let (mut published, mut encryption): (Vec<&SigningKeyRecord>, Vec<_>) =
            alive.partition(|key| key.signs());
        // Clients that take the first key they find find the one that signs by default.
        published.sort_by_key(|key| {
            let alg = SIGNING_ALGS.iter().position(|alg| alg.as_str() == key.alg);
            (alg.unwrap_or(usize::MAX), order(key.state))
        });
        encryption.sort_by_key(|key| {
            (ENCRYPTION_ALGS.iter().position(|alg| alg.as_str() == key.alg), order(key.state))
        });
        let mut signing = Vec::new();
        let mut verifying = Vec::new();
        for record in &published {
            if record.state == KeyState::Current {
                let alg: Alg = record.alg.parse()?;
                let key = SigningKey::from_pkcs8(alg, record.kid.clone(), record.pkcs8.expose())?;
                signing.push(Arc::new(key));
            }
            verifying.push(VerifyingKey::from_public_jwk(&record.public_jwk)?);
        }
        let decrypting = encryption.iter().map(|key| key.decryption_key()).collect::<Result<_, _>>()?;
        // Who takes any key that it finds for a signature finds one that signs.
        let offered = encryption.iter().filter(|key| key.state == KeyState::Current);
        let keys: Vec<&Value> = published.iter().chain(offered).map(|key| &key.public_jwk).collect();
        let jwks = json!({ "keys": keys });
        let verifying = Arc::new(KeySet::new(verifying));
        Ok(Self { at, version, jwks, signing, verifying, decrypting })
    }
}

impl SigningKeyRecord {
    /// Whether it is a key for signatures; the others are for encryption.
    pub fn signs(&self) -> bool {
        self.encryption_alg().is_none()
    }

    fn encryption_alg(&self) -> Option<KeyAlg> {
        ENCRYPTION_ALGS.into_iter().find(|alg| alg.as_str() == self.alg)
    }

    fn decryption_key(&self) -> Result<DecryptionKey, jose::JoseError> {
        DecryptionKey::from_pkcs8(self.kid.clone(), self.pkcs8.expose())
    }
}

/// Whether a text has the form of a compact JWE (RFC 7516 section 9).
pub(crate) fn is_encrypted(token: &str) -> bool {
    token.bytes().filter(|byte| *byte == b'.').count() == 4
}

/// Does what takes its time away from the threads that serve.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, IdpError> + Send + 'static,
) -> Result<T, IdpError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(jose::JoseError::Crypto.into()))
}

fn order(state: KeyState) -> u8 {
    match state {
        KeyState::Current => 0,
        KeyState::Next => 1,
        KeyState::Previous => 2,
        KeyState::Revoked => 3,
    }
}
