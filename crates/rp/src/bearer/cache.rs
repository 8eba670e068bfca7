use std::{fmt, rc::Rc};

use aws_lc_rs::digest;
use quick_cache::{Weighter, unsync::Cache};

/// Entries that tables are sized for at first.
const ENTRIES: usize = 1024;

/// A cache of one core: bounded by bytes, with S3-FIFO eviction, so that tokens seen once do not push out those in
/// use. It keeps what was verified, never what was refused, under a digest of everything the verdict depends on.
pub struct CoreCache<V>(Cache<[u8; 32], Rc<V>, ByWeight>);

/// What can be kept in a [`CoreCache`].
pub trait Weigh {
    /// About how many bytes it takes, key aside.
    fn weigh(&self) -> usize;
}

#[derive(Clone)]
struct ByWeight;

impl<V: Weigh> Weighter<[u8; 32], Rc<V>> for ByWeight {
    fn weight(&self, _key: &[u8; 32], value: &Rc<V>) -> u64 {
        // Key, table slots and the two counts of the Rc.
        u64::try_from(value.weigh() + 96).unwrap_or(u64::MAX)
    }
}

impl<V: Weigh> CoreCache<V> {
    /// An empty cache of at most `bytes`.
    pub fn new(bytes: u64) -> Self {
        Self(Cache::with_weighter(ENTRIES, bytes, ByWeight))
    }

    /// What is kept under `key`.
    pub fn get(&self, key: &[u8; 32]) -> Option<Rc<V>> {
        self.0.get(key).cloned()
    }

    /// Keeps `value` under `key`.
    pub fn insert(&mut self, key: [u8; 32], value: V) -> Rc<V> {
        let value = Rc::new(value);
        self.0.insert(key, Rc::clone(&value));
        value
    }

    /// Drops what is kept under `key`.
    pub fn remove(&mut self, key: &[u8; 32]) {
        self.0.remove(key);
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<V> fmt::Debug for CoreCache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CoreCache")
    }
}

/// The key of a verdict: SHA-256 over who judges (`verifier`: a digest of provider, client, algorithms, issuers and
/// rules) and the exact token. By which keys it was verified is kept with the verdict.
pub fn verdict_key(verifier: &[u8; 32], token: &[u8]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(verifier);
    context.update(token);
    let mut key = [0; 32];
    key.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Heavy(usize);

    impl Weigh for Heavy {
        fn weigh(&self) -> usize {
            self.0
        }
    }

    #[test]
    fn a_cache_stays_within_its_bytes() {
        let mut cache = CoreCache::new(100_000);
        for number in 0_u64..10_000 {
            cache.insert(verdict_key(&[0; 32], &number.to_be_bytes()), Heavy(904));
        }
        assert!((1..=100).contains(&cache.len()), "{}", cache.len());
    }

    #[test]
    fn j52_a_verdict_is_found_by_this_token_and_this_verifier_alone() {
        let keys = [
            verdict_key(&[0; 32], b"token"),
            verdict_key(&[1; 32], b"token"),
            verdict_key(&[0; 32], b"tokeo"),
            verdict_key(&[0; 32], b"toke"),
        ];
        let mut cache = CoreCache::new(100_000);
        cache.insert(keys[0], Heavy(1));
        assert!(cache.get(&keys[0]).is_some());
        assert!(keys[1..].iter().all(|key| cache.get(key).is_none()));
        cache.remove(&keys[0]);
        assert!(cache.is_empty());
    }
}
