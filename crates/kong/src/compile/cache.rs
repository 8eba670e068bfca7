use std::{collections::HashMap, hash::Hash, sync::Arc};

/// What was compiled, by what it was compiled from.
pub(super) struct Cache<K, T: ?Sized> {
    entries: HashMap<K, Arc<T>>,
}

impl<K, T: ?Sized> Default for Cache<K, T> {
    fn default() -> Self {
        Self { entries: HashMap::new() }
    }
}

impl<K: Eq + Hash, T: ?Sized> Cache<K, T> {
    /// The one made from `key`, or a new one.
    pub(super) fn find_or<E>(
        &mut self,
        key: K,
        make: impl FnOnce() -> Result<Arc<T>, E>,
    ) -> Result<Arc<T>, E> {
        if let Some(found) = self.entries.get(&key) {
            return Ok(Arc::clone(found));
        }
        let made = make()?;
        self.entries.insert(key, Arc::clone(&made));
        Ok(made)
    }

    /// Drops what only the cache holds.
    pub(super) fn prune(&mut self) {
        self.entries.retain(|_, made| Arc::strong_count(made) > 1);
    }
}
