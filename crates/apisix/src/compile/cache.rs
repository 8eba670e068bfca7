use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Weak},
};

/// Entries that are never swept.
const FEW: usize = 64;

/// What was compiled, by what it was compiled from. It keeps alive what was made since the last [`Cache::prune`], and
/// nothing else.
pub(super) struct Cache<K, T: ?Sized> {
    entries: HashMap<K, Weak<T>>,
    recent: Vec<Arc<T>>,
    /// With so many entries those that are dead are swept out.
    sweep_at: usize,
}

impl<K, T: ?Sized> Default for Cache<K, T> {
    fn default() -> Self {
        Self { entries: HashMap::new(), recent: Vec::new(), sweep_at: FEW }
    }
}

impl<K: Eq + Hash, T: ?Sized> Cache<K, T> {
    /// The one made from `key`, or a new one.
    pub(super) fn find_or<E>(
        &mut self,
        key: K,
        make: impl FnOnce() -> Result<Arc<T>, E>,
    ) -> Result<Arc<T>, E> {
        if let Some(found) = self.entries.get(&key).and_then(Weak::upgrade) {
            return Ok(found);
        }
        let made = make()?;
        self.entries.insert(key, Arc::downgrade(&made));
        self.recent.push(Arc::clone(&made));
        Ok(made)
    }

    /// Lets go of what nothing uses. Looking through all entries each time would make a change cost as much as there
    /// are.
    pub(super) fn prune(&mut self) {
        self.recent.clear();
        if self.entries.len() >= self.sweep_at {
            self.entries.retain(|_, made| made.strong_count() > 0);
            self.sweep_at = FEW.max(2 * self.entries.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_is_found_again_and_the_rest_forgotten() {
        let mut cache: Cache<u8, str> = Cache::default();
        let held = cache.find_or(1, || Ok::<_, ()>("a".into())).unwrap();
        let _ = cache.find_or(2, || Ok::<_, ()>("b".into())).unwrap();
        assert!(cache.find_or(2, || Err(())).is_ok(), "it was only just made");
        cache.prune();
        assert!(Arc::ptr_eq(&held, &cache.find_or(1, || Err(())).unwrap()));
        assert!(cache.find_or(2, || Err(())).is_err());
    }

    #[test]
    fn the_dead_do_not_pile_up() {
        let mut cache: Cache<u32, u32> = Cache::default();
        let held: Vec<_> =
            (0..100).map(|key| cache.find_or(key, || Ok::<_, ()>(Arc::new(key))).unwrap()).collect();
        for key in 100..100_000 {
            let _ = cache.find_or(key, || Ok::<_, ()>(Arc::new(key)));
            cache.prune();
        }
        assert!(cache.entries.len() <= 2 * held.len() + FEW);
    }
}
