//! What one proxy core owns.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fmt,
    rc::Rc,
    sync::Arc,
    task::Waker,
};

use arc_swap::{ArcSwap, Cache};
use base::Clock;
use ipnet::IpNet;

use crate::{
    access_log::CoreLog, chain::MergedPlans, client_h1::Date, engine::Limits, metrics::CoreMetrics,
    snapshot::Snapshot, tls::TlsAcceptance, upstream::Pools,
};

/// Settings that all cores share and nothing changes while they run.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) clock: Clock,
    pub(crate) tls: TlsAcceptance,
}

/// A snapshot counted by one core: its requests do not contend for the count that all cores share.
#[allow(clippy::redundant_allocation)] // the second count is the point
pub(crate) type CoreSnapshot = Rc<Arc<Snapshot>>;

/// One thread's share of the engine. Nothing in it is touched by another thread, but for the counters it shows.
pub(crate) struct Core {
    snapshots: RefCell<Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>>,
    /// The snapshot in use.
    current: RefCell<CoreSnapshot>,
    pub(crate) pools: Pools,
    pub(crate) metrics: Arc<CoreMetrics>,
    pub(crate) log: CoreLog,
    pub(crate) settings: Arc<Settings>,
    pub(crate) connections: Connections,
    pub(crate) merged: MergedPlans,
    pub(crate) date: Date,
}

impl Core {
    pub(crate) fn new(
        snapshots: Arc<ArcSwap<Snapshot>>,
        pools: Pools,
        metrics: Arc<CoreMetrics>,
        log: CoreLog,
        settings: Arc<Settings>,
    ) -> Self {
        let mut snapshots = Cache::new(snapshots);
        let current = Rc::new(Arc::clone(snapshots.load()));
        Self {
            snapshots: RefCell::new(snapshots),
            current: RefCell::new(current),
            pools,
            metrics,
            log,
            settings,
            connections: Connections::default(),
            merged: MergedPlans::default(),
            date: Date::default(),
        }
    }

    /// The configuration for a request that begins now.
    pub(crate) fn snapshot(&self) -> CoreSnapshot {
        let mut snapshots = self.snapshots.borrow_mut();
        let newest = snapshots.load();
        let mut current = self.current.borrow_mut();
        if !Arc::ptr_eq(newest, &current) {
            *current = Rc::new(Arc::clone(newest));
        }
        Rc::clone(&current)
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}

/// The open client connections of a core, so that a drain reaches each of them.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    draining: Cell<bool>,
    next: Cell<u64>,
    open: RefCell<HashMap<u64, Option<Waker>>>,
    /// Woken when the last connection closes.
    empty: tokio::sync::Notify,
}

impl Connections {
    /// Counts a connection in; it is counted out when the guard is dropped.
    pub(crate) fn enter(core: &Rc<Core>) -> Entered {
        let connections = &core.connections;
        let id = connections.next.get();
        connections.next.set(id.wrapping_add(1));
        connections.open.borrow_mut().insert(id, None);
        Entered { core: Rc::clone(core), id, known: RefCell::new(None) }
    }

    /// Whether connections are to end after the exchange in flight.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Tells every connection to end after the exchange in flight.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
        let open = self.open.borrow();
        open.values().flatten().for_each(Waker::wake_by_ref);
    }

    /// Waits until no connection is open.
    pub(crate) async fn all_closed(&self) {
        while !self.open.borrow().is_empty() {
            self.empty.notified().await;
        }
    }
}

/// A connection that is counted in.
#[derive(Debug)]
pub(crate) struct Entered {
    core: Rc<Core>,
    id: u64,
    /// The waker that the core knows of.
    known: RefCell<Option<Waker>>,
}

impl Entered {
    /// Has `waker` woken when a drain begins.
    pub(crate) fn wake_on_drain(&self, waker: &Waker) {
        let mut known = self.known.borrow_mut();
        if known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return;
        }
        *known = Some(waker.clone());
        if let Some(place) = self.core.connections.open.borrow_mut().get_mut(&self.id) {
            place.clone_from(&known);
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let connections = &self.core.connections;
        let mut open = connections.open.borrow_mut();
        open.remove(&self.id);
        if open.is_empty() {
            connections.empty.notify_one();
        }
    }
}
