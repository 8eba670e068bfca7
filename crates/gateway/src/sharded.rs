//! A map of which a copy shares everything that does not change afterwards.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::{BuildHasher, Hash},
    sync::Arc,
};

use foldhash::fast::{FixedState, RandomState};

/// Entries of one part on average, before there are twice as many parts. A write copies one part.
const PER_SHARD: usize = 256;

type Shard<K, V> = Arc<HashMap<K, V, RandomState>>;

/// Hash maps behind counts: cloning it clones the counts, and a write copies the part it falls into.
#[derive(Debug)]
pub(crate) struct Sharded<K, V> {
    /// None, or a power of two.
    shards: Vec<Shard<K, V>>,
    len: usize,
}

impl<K, V> Clone for Sharded<K, V> {
    fn clone(&self) -> Self {
        Self { shards: self.shards.clone(), len: self.len }
    }
}

impl<K, V> Default for Sharded<K, V> {
    fn default() -> Self {
        Self { shards: Vec::new(), len: 0 }
    }
}

impl<K, V> Sharded<K, V> {
    /// How many entries there are.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Sharded<K, V> {
    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.shards.get(shard(key, self.shards.len()))?.get(key)
    }

    /// Puts `value` under `key`.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.len >= PER_SHARD * self.shards.len() {
            self.grow();
        }
        let place = shard(&key, self.shards.len());
        let Some(shard) = self.shards.get_mut(place) else { return };
        if Arc::make_mut(shard).insert(key, value).is_none() {
            self.len += 1;
        }
    }

    /// Takes out what is under `key`.
    pub(crate) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let place = shard(key, self.shards.len());
        let shard = self.shards.get_mut(place).filter(|shard| shard.contains_key(key))?;
        self.len -= 1;
        Arc::make_mut(shard).remove(key)
    }

    /// Changes what is under `key`; what is left as nothing is not kept.
    pub(crate) fn change(&mut self, key: &K, change: impl FnOnce(&mut V))
    where
        V: Default + Emptiable,
    {
        let mut value = self.remove(key).unwrap_or_default();
        change(&mut value);
        if !value.is_empty() {
            self.insert(key.clone(), value);
        }
    }

    /// Calls `differs` with what is under each key here and in `older`, where the two may differ.
    pub(crate) fn compare(&self, older: &Self, mut differs: impl FnMut(Option<&V>, Option<&V>)) {
        let alike = self.shards.len() == older.shards.len();
        // Parts that both hold are the same.
        let differing = |of: &Self, from: &Self| -> Vec<Shard<K, V>> {
            let shared = |place: usize, part: &Shard<K, V>| {
                alike && from.shards.get(place).is_some_and(|other| Arc::ptr_eq(part, other))
            };
            of.shards
                .iter()
                .enumerate()
                .filter(|(place, part)| !shared(*place, part))
                .map(|(_, part)| Arc::clone(part))
                .collect()
        };
        for part in differing(self, older) {
            part.iter().for_each(|(key, value)| differs(Some(value), older.get(key)));
        }
        for part in differing(older, self) {
            let gone = part.iter().filter(|(key, _)| self.get(*key).is_none());
            gone.for_each(|(_, value)| differs(None, Some(value)));
        }
    }

    fn grow(&mut self) {
        let count = (self.shards.len() * 2).max(1);
        let mut maps: Vec<HashMap<K, V, RandomState>> = (0..count).map(|_| HashMap::default()).collect();
        for old in std::mem::take(&mut self.shards) {
            for (key, value) in Arc::unwrap_or_clone(old) {
                if let Some(map) = maps.get_mut(shard(&key, count)) {
                    map.insert(key, value);
                }
            }
        }
        self.shards = maps.into_iter().map(Arc::new).collect();
    }
}

/// A value that may have become nothing.
pub(crate) trait Emptiable {
    /// Whether it is.
    fn is_empty(&self) -> bool;
}

/// Which of `count` parts the key belongs to; `count` is a power of two.
fn shard<Q: Hash + ?Sized>(key: &Q, count: usize) -> usize {
    if count < 2 {
        return 0;
    }
    // Any fixed function will do: what an attacker could crowd is one part of the map, whose own hash is seeded.
    let hash = FixedState::with_seed(0).hash_one(key);
    usize::try_from(hash & (count as u64 - 1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differences(newer: &Sharded<u32, u32>, older: &Sharded<u32, u32>) -> Vec<(Option<u32>, Option<u32>)> {
        let mut found = Vec::new();
        newer.compare(older, |new, old| {
            if new != old {
                found.push((new.copied(), old.copied()));
            }
        });
        found.sort_unstable();
        found
    }

    #[test]
    fn a_copy_keeps_what_it_had_and_the_differences_are_found_at_every_size() {
        let mut map = Sharded::default();
        for number in 0..2_000 {
            let before = map.clone();
            map.insert(number, number);
            assert_eq!((map.len(), before.len()), (number as usize + 1, number as usize));
            assert_eq!(before.get(&number), None);
            assert_eq!(differences(&map, &before), [(Some(number), None)]);
        }
        let before = map.clone();
        map.insert(7, 700);
        map.remove(&8);
        assert_eq!(map.remove(&9_999), None);
        assert_eq!(differences(&map, &before), [(None, Some(8)), (Some(700), Some(7))]);
        assert!((0..2_000).all(|number| before.get(&number) == Some(&number)));
        assert_eq!(map.len(), 1_999);
    }
}
