use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// What is known of one node of an upstream while the process runs. It is found again when the configuration changes and
/// the node stays.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    /// Requests of all cores that the node has not finished.
    busy: AtomicU32,
}

impl Vitals {
    /// How many requests the node is at.
    pub(super) fn busy(&self) -> u32 {
        self.busy.load(Ordering::Relaxed)
    }

    /// Counts a request for as long as what is returned is kept.
    pub(super) fn engage(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }
}

/// A request that a node is at.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Vitals>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}
