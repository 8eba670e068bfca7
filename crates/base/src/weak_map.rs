use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Weak},
};

/// With fewer entries the dead ones are not looked for.
const FEW: usize = 64;

/// What others hold, found again by what it was made from. It keeps nothing alive.
#[derive(Debug)]
pub struct WeakMap<K, T: ?Sized> {
    entries: HashMap<K, Weak<T>>,
    /// With so many entries the dead ones are swept out: looking through all of them each time would make an
    /// insertion cost as much as there are.
    sweep_at: usize,
}

impl<K, T: ?Sized> Default for WeakMap<K, T> {
    fn default() -> Self {
        Self { entries: HashMap::new(), sweep_at: FEW }
    }
}

impl<K: Eq + Hash, T: ?Sized> WeakMap<K, T> {
    /// What was inserted under `key`, if anyone still holds it.
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<Arc<T>>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key).and_then(Weak::upgrade)
    }

    /// Has `value` found under `key` for as long as anyone holds it.
    pub fn insert(&mut self, key: K, value: &Arc<T>) {
        if self.entries.len() >= self.sweep_at {
            self.entries.retain(|_, value| value.strong_count() > 0);
            self.sweep_at = FEW.max(2 * self.entries.len());
        }
        self.entries.insert(key, Arc::downgrade(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_found_and_the_dead_do_not_pile_up() {
        let mut map: WeakMap<u32, str> = WeakMap::default();
        let held: Vec<(u32, Arc<str>)> = (0..100).map(|key| (key, Arc::from("held"))).collect();
        held.iter().for_each(|(key, value)| map.insert(*key, value));
        for key in 100..10_000 {
            let dropped: Arc<str> = Arc::from("dropped");
            map.insert(key, &dropped);
            assert!(map.entries.len() <= 2 * held.len() + FEW);
        }
        assert!(held.iter().all(|(key, value)| map.get(key).is_some_and(|found| Arc::ptr_eq(&found, value))));
        assert!(map.get(&9_999).is_none());
    }
}
