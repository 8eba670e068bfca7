//! The counters of the process, by what they count.
//!
//! A core that counts a key often finds its counter in a cache of its own and touches nothing that others use but the
//! counter's one word. Only the first look at a key goes to the table, which is in parts with a lock each. When the table
//! is full of counters that still matter, new keys of one limit share a few: that is stricter for them, never looser,
//! and nobody who makes up keys can push another's counter out.

use std::{
    cell::RefCell,
    collections::{HashMap, hash_map::RandomState},
    fmt,
    hash::{BuildHasher, Hash},
    sync::{Arc, Mutex, PoisonError},
};

use quick_cache::unsync::Cache;

use super::counter::Counter;

/// Parts of the table.
const SHARDS: usize = 64;
/// Counters of a part: 262,144 in all, some 25 MiB.
const PER_SHARD: usize = 4096;
/// Counters that one core remembers.
const NEAR: usize = 4096;
/// Counters that the keys of one limit share when the table is full.
const CROWD: u64 = 64;
/// Milliseconds between two sweeps of a part.
const SWEEP: i64 = 1000;

thread_local! {
    static NEAR_COUNTERS: RefCell<Cache<u128, Arc<Counter>>> = RefCell::new(Cache::new(NEAR));
}

/// All counters.
pub struct Counters {
    shards: Vec<Mutex<Shard>>,
    /// Two keyed hashes make one of 128 bits, of which nobody outside can find two keys with the same.
    hashers: [RandomState; 2],
    per_shard: usize,
}

#[derive(Default)]
struct Shard {
    counters: HashMap<u128, Arc<Counter>>,
    swept: i64,
}

impl Default for Counters {
    fn default() -> Self {
        Self::holding(PER_SHARD)
    }
}

impl Counters {
    fn holding(per_shard: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hashers: [RandomState::new(), RandomState::new()], per_shard }
    }

    /// The counter of what `scope` counts under `key`.
    pub(super) fn find(&self, scope: &str, rule: usize, key: &str, now: i64) -> Arc<Counter> {
        let id = self.hash(&(scope, rule, key));
        NEAR_COUNTERS.with_borrow_mut(|near| {
            if let Some(counter) = near.get(&id) {
                return Arc::clone(counter);
            }
            let counter = self.look(id, now).unwrap_or_else(|| {
                let share = self.hash(&(scope, rule, (id as u64) % CROWD));
                self.shared(share)
            });
            near.insert(id, Arc::clone(&counter));
            counter
        })
    }

    /// The counter in the table; `None` when there is none and no room for one.
    fn look(&self, id: u128, now: i64) -> Option<Arc<Counter>> {
        let mut shard = self.shard(id)?.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = shard.counters.get(&id) {
            return Some(Arc::clone(counter));
        }
        if shard.counters.len() >= self.per_shard && now.abs_diff(shard.swept) >= SWEEP.unsigned_abs() {
            shard.swept = now;
            // What a core still holds may be counted in at any time.
            shard.counters.retain(|_, counter| Arc::strong_count(counter) > 1 || !counter.is_over(now));
        }
        (shard.counters.len() < self.per_shard).then(|| Arc::clone(shard.counters.entry(id).or_default()))
    }

    fn shared(&self, id: u128) -> Arc<Counter> {
        match self.shard(id) {
            None => Arc::default(),
            Some(shard) => {
                let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                Arc::clone(shard.counters.entry(id).or_default())
            }
        }
    }

    fn shard(&self, id: u128) -> Option<&Mutex<Shard>> {
        self.shards.get((id >> 64) as usize % SHARDS)
    }

    fn hash(&self, value: &impl Hash) -> u128 {
        let [one, other] = &self.hashers;
        u128::from(one.hash_one(value)) << 64 | u128::from(other.hash_one(value))
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counters")
    }
}

#[cfg(test)]
mod tests {
    use super::{super::counter::Span, *};

    const NOW: i64 = 1_800_000_000_000;

    #[test]
    fn scopes_rules_and_keys_are_counted_apart() {
        let counters = Counters::default();
        let spend =
            |scope, rule, key| counters.find(scope, rule, key, NOW).spend(Span::FromFirst(1000), 9, NOW).used;
        assert_eq!(spend("a", 0, "k"), 1);
        assert_eq!(spend("a", 0, "k"), 2);
        assert_eq!(spend("b", 0, "k"), 1);
        assert_eq!(spend("a", 1, "k"), 1);
        assert_eq!(spend("a", 0, "l"), 1);
    }

    #[test]
    fn two_threads_share_a_counter() {
        let counters = Arc::new(Counters::default());
        let other = Arc::clone(&counters);
        let spend =
            |counters: &Counters| counters.find("a", 0, "k", NOW).spend(Span::FromFirst(1000), 9, NOW).used;
        assert_eq!(std::thread::spawn(move || spend(&other)).join().unwrap(), 1);
        assert_eq!(spend(&counters), 2);
    }

    #[test]
    fn a_full_table_makes_new_keys_share_and_pushes_nobody_out() {
        let counters = Counters::holding(4);
        let spend = |key: &str, limit| {
            counters.find("a", 0, key, NOW).spend(Span::FromFirst(1000), limit, NOW).allowed
        };
        assert!(spend("mine", 1));
        let let_in = (0..5000).filter(|number| spend(&format!("flood-{number}"), 1)).count();
        assert!(let_in <= 4 * SHARDS + usize::try_from(CROWD).unwrap(), "{let_in}");
        // On a core that has not seen it, too.
        std::thread::scope(|scope| {
            let looked =
                scope.spawn(|| counters.find("a", 0, "mine", NOW).spend(Span::FromFirst(1000), 1, NOW));
            assert!(!looked.join().unwrap().allowed);
        });
    }

    #[test]
    fn what_is_over_makes_room() {
        let counters = Counters::holding(1);
        for (at, number) in (0..4000).map(|number| (i64::from(number) * 2000, number)) {
            let key = number.to_string();
            counters.find("a", 0, &key, NOW + at).spend(Span::FromFirst(1000), 1, NOW + at);
            NEAR_COUNTERS.with_borrow_mut(Cache::clear);
        }
        let held: usize = counters.shards.iter().map(|shard| shard.lock().unwrap().counters.len()).sum();
        assert!(held <= SHARDS, "{held}");
    }
}
