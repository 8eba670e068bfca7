use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use base::{Random, UnixMillis};
use base64::{Engine, engine::general_purpose::STANDARD};
use jose::{Alg, JoseError, SigningKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::{Zeroize, Zeroizing};

/// A key signs for so long before its successor is made.
const ROTATE_AFTER: Duration = Duration::from_secs(30 * 86_400);
/// A new key is published for so long before it signs. Longer than anybody caches the set.
const PUBLISH_BEFORE: Duration = Duration::from_secs(3600);
/// An old key stays published for so long after it signed last. Longer than an assertion counts.
const KEEP_AFTER: Duration = Duration::from_secs(86_400);

/// The keys of this deployment's assertions, shared by all cores. The set is replaced as a whole.
pub struct AssertionKeys(ArcSwap<Ring>);

/// Newest first.
struct Ring {
    keys: Vec<AssertionKey>,
    jwks: Arc<str>,
}

/// One key.
#[derive(Clone)]
pub struct AssertionKey {
    key: Arc<SigningKey>,
    created: UnixMillis,
}

/// A key as it is kept, sealed, in the store.
#[derive(Serialize, Deserialize)]
pub struct KeyRecord {
    kid: String,
    /// Unix milliseconds.
    created: i64,
    /// PKCS#8, base64.
    key: String,
}

impl Drop for KeyRecord {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl AssertionKey {
    /// A new ES256 key.
    pub fn generate(random: &Random, now: UnixMillis) -> Result<Self, JoseError> {
        Ok(Self { key: Arc::new(SigningKey::generate(Alg::ES256, random.hex(8))?), created: now })
    }

    /// Reads what [`AssertionKey::to_record`] wrote.
    pub fn from_record(record: &KeyRecord) -> Result<Self, JoseError> {
        let der = Zeroizing::new(STANDARD.decode(record.key.as_bytes()).unwrap_or_default());
        let key = SigningKey::from_pkcs8(Alg::ES256, record.kid.clone(), &der)?;
        Ok(Self { key: Arc::new(key), created: UnixMillis(record.created) })
    }

    /// For the store, which seals it.
    pub fn to_record(&self) -> Result<KeyRecord, JoseError> {
        let der = self.key.to_pkcs8()?;
        let key = STANDARD.encode(&*der);
        Ok(KeyRecord { kid: self.key.kid().to_owned(), created: self.created.0, key })
    }

    fn signs_from(&self) -> UnixMillis {
        self.created + PUBLISH_BEFORE
    }
}

impl AssertionKeys {
    /// A set of these.
    pub fn new(keys: Vec<AssertionKey>) -> Self {
        Self(ArcSwap::from_pointee(Ring::of(keys)))
    }

    /// Replaces the set.
    pub fn replace(&self, keys: Vec<AssertionKey>) {
        self.0.store(Arc::new(Ring::of(keys)));
    }

    /// All keys, newest first.
    pub fn all(&self) -> Vec<AssertionKey> {
        self.0.load().keys.clone()
    }

    /// The set that upstreams verify with, as JSON.
    pub fn jwks(&self) -> Arc<str> {
        Arc::clone(&self.0.load().jwks)
    }

    /// What the set becomes at `now`; `None`: it stays as it is.
    pub fn due(
        keys: &[AssertionKey],
        random: &Random,
        now: UnixMillis,
    ) -> Result<Option<Vec<AssertionKey>>, JoseError> {
        let mut next = keys.to_vec();
        next.sort_by_key(|key| std::cmp::Reverse(key.created.0));
        if next.first().is_none_or(|newest| newest.created + ROTATE_AFTER <= now) {
            next.insert(0, AssertionKey::generate(random, now)?);
        }
        // Every key older than one that has signed for long enough is of no more use.
        if let Some(in_use) = next.iter().position(|key| key.signs_from() + KEEP_AFTER <= now) {
            next.truncate(in_use + 1);
        }
        let same = next.len() == keys.len()
            && next.iter().zip(keys).all(|(one, other)| one.key.kid() == other.key.kid());
        Ok((!same).then_some(next))
    }

    /// What the set becomes where a successor is wanted before its time; `None`: one is published already, and waits.
    pub fn replaced(
        keys: &[AssertionKey],
        random: &Random,
        now: UnixMillis,
    ) -> Result<Option<Vec<AssertionKey>>, JoseError> {
        let mut next = keys.to_vec();
        next.sort_by_key(|key| std::cmp::Reverse(key.created.0));
        if next.first().is_some_and(|newest| now < newest.signs_from()) {
            return Ok(None);
        }
        next.insert(0, AssertionKey::generate(random, now)?);
        Ok(Some(next))
    }

    /// Signs `claims`, with the newest key that has been published for long enough.
    pub fn sign(&self, claims: &Value, now: UnixMillis) -> Result<String, JoseError> {
        self.signing(now)?.sign(Some("JWT"), claims.to_string().as_bytes())
    }

    /// The newest key that has been published for long enough.
    pub fn signing(&self, now: UnixMillis) -> Result<Arc<SigningKey>, JoseError> {
        let ring = self.0.load();
        let ready = ring.keys.iter().find(|key| key.signs_from() <= now);
        ready.or(ring.keys.last()).map(|key| Arc::clone(&key.key)).ok_or(JoseError::NoKey)
    }
}

impl Ring {
    fn of(mut keys: Vec<AssertionKey>) -> Self {
        keys.sort_by_key(|key| std::cmp::Reverse(key.created.0));
        let public: Vec<Value> = keys.iter().map(|key| key.key.public_jwk()).collect();
        Self { keys, jwks: json!({ "keys": public }).to_string().into() }
    }
}

impl fmt::Debug for AssertionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssertionKeys").field("keys", &self.0.load().keys.len()).finish()
    }
}

impl fmt::Debug for AssertionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssertionKey").field("kid", &self.key.kid()).field("created", &self.created).finish()
    }
}

#[cfg(test)]
mod tests {
    use jose::{CompactJws, KeySet};

    use super::*;

    const START: UnixMillis = UnixMillis::from_secs(1_800_000_000);

    fn kid(token: &str) -> String {
        CompactJws::parse(token).unwrap().header().kid.clone().unwrap()
    }

    fn verifies(keys: &AssertionKeys, token: &str) -> bool {
        let set = KeySet::parse(keys.jwks().as_bytes()).unwrap();
        set.verify(&CompactJws::parse(token).unwrap(), &[Alg::ES256]).is_ok()
    }

    #[test]
    fn a_successor_is_published_before_it_signs_and_the_old_key_after_it_did() {
        let random = Random::seeded(1);
        let keys = AssertionKeys::new(Vec::new());
        let at = |now: UnixMillis| {
            if let Some(next) = AssertionKeys::due(&keys.all(), &random, now).unwrap() {
                keys.replace(next);
            }
            keys.sign(&json!({"sub": "u"}), now).unwrap()
        };
        let first = at(START);
        assert_eq!((keys.all().len(), verifies(&keys, &first)), (1, true), "the only key signs at once");
        let later = START + ROTATE_AFTER;
        assert_eq!(kid(&at(later - Duration::from_secs(1))), kid(&first));
        assert_eq!(keys.all().len(), 1);
        assert_eq!(kid(&at(later)), kid(&first), "the new one is published, and waits");
        assert_eq!(keys.all().len(), 2);
        let second = at(later + PUBLISH_BEFORE);
        assert_ne!(kid(&second), kid(&first));
        assert!(verifies(&keys, &first) && verifies(&keys, &second));
        at(later + PUBLISH_BEFORE + KEEP_AFTER);
        assert_eq!(keys.all().len(), 1);
        assert!(!verifies(&keys, &first) && verifies(&keys, &second));
    }

    #[test]
    fn a_successor_that_is_wanted_early_is_made_once() {
        let random = Random::seeded(1);
        let first = AssertionKeys::due(&[], &random, START).unwrap().unwrap();
        assert!(AssertionKeys::replaced(&first, &random, START).unwrap().is_none(), "it was never used");
        let later = START + PUBLISH_BEFORE;
        let both = AssertionKeys::replaced(&first, &random, later).unwrap().unwrap();
        assert_eq!(both.len(), 2);
        assert!(AssertionKeys::replaced(&both, &random, later).unwrap().is_none());
        let keys = AssertionKeys::new(both);
        assert_eq!(keys.signing(later).unwrap().kid(), first[0].key.kid());
        assert_ne!(keys.signing(later + PUBLISH_BEFORE).unwrap().kid(), first[0].key.kid());
    }

    #[test]
    fn a_key_comes_back_from_its_record_and_is_shown_to_nobody() {
        let key = AssertionKey::generate(&Random::seeded(1), START).unwrap();
        let record = serde_json::to_vec(&key.to_record().unwrap()).unwrap();
        let read = AssertionKey::from_record(&serde_json::from_slice(&record).unwrap()).unwrap();
        let (one, other) = (AssertionKeys::new(vec![key.clone()]), AssertionKeys::new(vec![read]));
        assert!(verifies(&one, &other.sign(&json!({}), START).unwrap()));
        let shown = format!("{one:?} {key:?} {}", one.jwks());
        assert!(!shown.contains("\"d\"") && !shown.contains("pkcs8"), "{shown}");
        let junk = KeyRecord { kid: "x".to_owned(), created: 0, key: "x".to_owned() };
        assert!(AssertionKey::from_record(&junk).is_err());
    }
}
