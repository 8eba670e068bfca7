//! A map of which a copy shares everything that does not change afterwards.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::{BuildHasher, Hash},
    sync::Arc,
};

use foldhash::fast::{FixedState, RandomState};

/// Parts of a map. A write copies one of them, so that it costs a fraction of what is in the map.
const SHARDS: usize = 128;

/// Hash maps behind counts: cloning it clones the counts, and a write copies the part it falls into.
#[derive(Debug)]
pub(super) struct Sharded<K, V> {
    shards: Vec<Arc<HashMap<K, V, RandomState>>>,
}

impl<K, V> Clone for Sharded<K, V> {
    fn clone(&self) -> Self {
        Self { shards: self.shards.clone() }
    }
}

impl<K, V> Default for Sharded<K, V> {
    fn default() -> Self {
        let empty = Arc::new(HashMap::default());
        Self { shards: vec![empty; SHARDS] }
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Sharded<K, V> {
    pub(super) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.shards.get(shard(key))?.get(key)
    }

    /// Changes what is under `key`; what is left as the default is not kept.
    pub(super) fn change(&mut self, key: &K, change: impl FnOnce(&mut V))
    where
        V: Default + Emptiable,
    {
        let Some(shard) = self.shards.get_mut(shard(key)) else { return };
        let map = Arc::make_mut(shard);
        let mut value = map.remove(key).unwrap_or_default();
        change(&mut value);
        if !value.is_empty() {
            map.insert(key.clone(), value);
        }
    }
}

/// A value that may have become nothing.
pub(super) trait Emptiable {
    /// Whether it is.
    fn is_empty(&self) -> bool;
}

fn shard<Q: Hash + ?Sized>(key: &Q) -> usize {
    // Any fixed function will do: what an attacker could crowd is one part of the map, whose own hash is seeded.
    let hash = FixedState::with_seed(0).hash_one(key);
    usize::try_from(hash % SHARDS as u64).unwrap_or(0)
}
