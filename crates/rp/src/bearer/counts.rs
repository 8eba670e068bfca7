use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// What one core's cache did. Only that core writes, so that counting is a load and a store.
#[derive(Debug, Default)]
pub(super) struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    evicted: AtomicU64,
}

/// What all caches of one name did together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Look-ups that found something.
    pub hits: u64,
    /// Look-ups that did not.
    pub misses: u64,
    /// Entries that made room for others.
    pub evicted: u64,
}

/// Of every cache that was made, one on each core.
static ALL: Mutex<Vec<(&'static str, Arc<Counts>)>> = Mutex::new(Vec::new());

impl Counts {
    /// Those of a new cache.
    pub(super) fn register(name: &'static str) -> Arc<Self> {
        let counts = Arc::<Self>::default();
        ALL.lock().unwrap_or_else(PoisonError::into_inner).push((name, Arc::clone(&counts)));
        counts
    }

    pub(super) fn looked_up(&self, found: bool) {
        add(if found { &self.hits } else { &self.misses }, 1);
    }

    pub(super) fn made_room(&self, entries: usize) {
        add(&self.evicted, entries as u64);
    }
}

fn add(count: &AtomicU64, by: u64) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

/// What the caches of this process did, by name, all cores together.
pub fn cache_counts() -> BTreeMap<&'static str, CacheCounts> {
    let mut sums = BTreeMap::<_, CacheCounts>::new();
    for (name, counts) in &*ALL.lock().unwrap_or_else(PoisonError::into_inner) {
        let sum = sums.entry(*name).or_default();
        sum.hits += counts.hits.load(Ordering::Relaxed);
        sum.misses += counts.misses.load(Ordering::Relaxed);
        sum.evicted += counts.evicted.load(Ordering::Relaxed);
    }
    sums
}
