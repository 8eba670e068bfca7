use std::{
    fmt,
    hash::{Hash, Hasher},
    rc::Rc,
    sync::Arc,
};

use aws_lc_rs::digest;
use quick_cache::{Weighter, unsync::Cache};

use super::{counts::Counts, digests};

/// Entries that tables are sized for at first.
const ENTRIES: usize = 1024;

/// A cache of one core: bounded by bytes, with S3-FIFO eviction, so that tokens seen once do not push out those in
/// use. It keeps what was verified, never what was refused, under a digest of everything the verdict depends on.
pub struct CoreCache<V, K = [u8; 32]> {
    entries: Cache<K, Rc<V>, ByWeight>,
    counts: Arc<Counts>,
}

/// The key of a verdict: who judges (a digest of provider, client, algorithms, issuers and rules), and the SHA-256 of
/// exactly what is judged. By which keys it was verified is kept with the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerdictKey {
    judge: [u8; 32],
    what: [u8; 32],
}

/// What can be kept in a [`CoreCache`].
pub trait Weigh {
    /// About how many bytes it takes, key aside.
    fn weigh(&self) -> usize;
}

#[derive(Clone)]
struct ByWeight;

impl<V: Weigh, K> Weighter<K, Rc<V>> for ByWeight {
    fn weight(&self, _key: &K, value: &Rc<V>) -> u64 {
        // Key, table slots and the two counts of the Rc.
        u64::try_from(value.weigh() + size_of::<K>() + 64).unwrap_or(u64::MAX)
    }
}

impl<V: Weigh, K: Clone + Eq + Hash> CoreCache<V, K> {
    /// An empty cache of at most `bytes`, whose hits and misses are counted under `name`.
    pub fn new(name: &'static str, bytes: u64) -> Self {
        Self { entries: Cache::with_weighter(ENTRIES, bytes, ByWeight), counts: Counts::register(name) }
    }

    /// What is kept under `key`.
    pub fn get(&self, key: &K) -> Option<Rc<V>> {
        let found = self.entries.get(key);
        self.counts.looked_up(found.is_some());
        found.cloned()
    }

    /// Keeps `value` under `key`.
    pub fn insert(&mut self, key: K, value: V) -> Rc<V> {
        let value = Rc::new(value);
        let before = self.entries.len() + usize::from(!self.entries.contains_key(&key));
        self.entries.insert(key, Rc::clone(&value));
        self.counts.made_room(before.saturating_sub(self.entries.len()));
        value
    }

    /// Drops what is kept under `key`.
    pub fn remove(&mut self, key: &K) {
        self.entries.remove(key);
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<V, K> fmt::Debug for CoreCache<V, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CoreCache")
    }
}

impl VerdictKey {
    /// The key of what `judge` says of `token`. One pass over the token and no allocation: a warm request does this and
    /// no cryptography.
    pub fn of(judge: &[u8; 32], token: &[u8]) -> Self {
        Self { judge: *judge, what: digests::sha256(token) }
    }

    /// The same for something in several parts.
    pub fn of_parts<'a>(judge: &[u8; 32], parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        parts.into_iter().for_each(|part| context.update(part));
        Self { judge: *judge, what: digests::array(&context.finish()) }
    }
}

impl Hash for VerdictKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // A digest is as good as random; equality looks at all of it, and at who judges.
        state.write_u64(self.what.first_chunk().map_or(0, |first| u64::from_be_bytes(*first)));
    }
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
        let mut cache = CoreCache::new("test", 100_000);
        for number in 0_u64..10_000 {
            cache.insert(VerdictKey::of(&[0; 32], &number.to_be_bytes()), Heavy(872));
        }
        assert!((1..=100).contains(&cache.len()), "{}", cache.len());
    }

    #[test]
    fn tokens_that_come_once_do_not_push_out_one_in_use() {
        let mut cache = CoreCache::new("test-once", 100_000);
        let hot = VerdictKey::of(&[0; 32], b"hot");
        cache.insert(hot, Heavy(872));
        let mut lost = 0;
        for number in 0_u64..10_000 {
            if cache.get(&hot).is_none() {
                lost += 1;
                cache.insert(hot, Heavy(872));
            }
            cache.insert(VerdictKey::of(&[0; 32], &number.to_be_bytes()), Heavy(872));
        }
        assert!(lost < 10, "it was lost {lost} times");
        let counts = super::super::cache_counts()["test-once"];
        assert_eq!(counts.hits + counts.misses, 10_000);
        assert!(counts.misses == lost && counts.evicted > 9_000, "{counts:?}");
    }

    #[test]
    fn j52_a_verdict_is_found_by_this_token_and_this_verifier_alone() {
        let keys = [
            VerdictKey::of(&[0; 32], b"token"),
            VerdictKey::of(&[1; 32], b"token"),
            VerdictKey::of(&[0; 32], b"tokeo"),
            VerdictKey::of(&[0; 32], b"toke"),
        ];
        assert_eq!(VerdictKey::of_parts(&[0; 32], [b"tok".as_slice(), b"en"]), keys[0]);
        let mut cache = CoreCache::new("test", 100_000);
        cache.insert(keys[0], Heavy(1));
        assert!(cache.get(&keys[0]).is_some());
        assert!(keys[1..].iter().all(|key| cache.get(key).is_none()));
        cache.remove(&keys[0]);
        assert!(cache.is_empty());
    }
}
