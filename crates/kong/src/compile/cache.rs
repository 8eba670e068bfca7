use std::{hash::Hash, sync::Arc};

use base::WeakMap;

/// What was compiled, by what it was compiled from. It keeps alive what was made since the last [`Cache::prune`], and
/// nothing else.
pub(super) struct Cache<K, T: ?Sized> {
    made: WeakMap<K, T>,
    recent: Vec<Arc<T>>,
}

impl<K, T: ?Sized> Default for Cache<K, T> {
    fn default() -> Self {
        Self { made: WeakMap::default(), recent: Vec::new() }
    }
}

impl<K: Eq + Hash, T: ?Sized> Cache<K, T> {
    /// The one made from `key`, or a new one.
    pub(super) fn find_or<E>(
        &mut self,
        key: K,
        make: impl FnOnce() -> Result<Arc<T>, E>,
    ) -> Result<Arc<T>, E> {
        if let Some(found) = self.made.get(&key) {
            return Ok(found);
        }
        let made = make()?;
        self.made.insert(key, &made);
        self.recent.push(Arc::clone(&made));
        Ok(made)
    }

    /// Lets go of what nothing uses.
    pub(super) fn prune(&mut self) {
        self.recent.clear();
    }
}
