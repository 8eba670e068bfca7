//! The immutable configuration that a request sees for its whole life, and the way a new one is published.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use http::StatusCode;
use smallvec::SmallVec;

use crate::{
    consumer::Consumers,
    error::ErrorBody,
    route::{Backend, Matcher, Plan, Route},
    router::Router,
    tls::Certificates,
};

pub use crate::{router::Routes, tls::Certificate};

/// What one dialect contributes to a snapshot.
#[derive(Clone, Debug)]
pub struct Contribution {
    /// Its routes.
    pub routes: Routes,
    /// Its certificates; the same list is not looked through again.
    pub certificates: Arc<[Arc<Certificate>]>,
    /// Its consumers and their credentials.
    pub consumers: Arc<Consumers>,
    /// What runs on every request to its routes before their own plugins, and on requests that no route takes.
    pub global: Arc<Plan>,
    /// Revision of the store this was compiled from.
    pub revision: u64,
    /// How it words the answer to a request that no route takes, and that answer's text.
    pub not_found: (ErrorBody, &'static str),
    /// Resources that could not be compiled: `routes/1`, and why. They keep their last good version or answer 503.
    pub broken: Vec<(String, String)>,
}

/// Everything a request needs to know of the configuration.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) router: Router,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) not_found: (ErrorBody, &'static str),
    /// What each dialect says of all its routes.
    pub(crate) parts: SmallVec<[Part; 2]>,
    /// Store revision of each contribution, by the dialect's name.
    pub revisions: BTreeMap<&'static str, u64>,
    /// All resources that could not be compiled, and why.
    pub broken: Vec<(String, String)>,
}

/// What a dialect says of all its routes.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) dialect: &'static str,
    pub(crate) consumers: Arc<Consumers>,
    pub(crate) global: Arc<Plan>,
    /// What stands for the route on requests that no route takes.
    pub(crate) nowhere: Arc<Route>,
}

impl Part {
    fn of(dialect: &'static str, contribution: &Contribution) -> Self {
        let (errors, text) = contribution.not_found;
        let nowhere = Route {
            id: Arc::from(""),
            name: None,
            dialect,
            service_id: None,
            service_name: None,
            matcher: Matcher::default(),
            plan: Arc::default(),
            backend: Backend::None(StatusCode::NOT_FOUND, text),
            timeouts: None,
            websocket: false,
            errors,
        };
        Self {
            dialect,
            consumers: Arc::clone(&contribution.consumers),
            global: Arc::clone(&contribution.global),
            nowhere: Arc::new(nowhere),
        }
    }
}

impl Snapshot {
    /// The consumers of a dialect.
    pub fn consumers(&self, dialect: &str) -> Option<&Arc<Consumers>> {
        self.parts.iter().find(|part| part.dialect == dialect).map(|part| &part.consumers)
    }

    /// What the dialect of `route` says of all its routes.
    pub(crate) fn part(&self, route: &Route) -> Option<&Part> {
        self.parts.iter().find(|part| part.dialect == route.dialect)
    }
}

/// The one place where snapshots are made and swapped. Contributions are merged in the order of their names.
#[derive(Debug)]
pub struct Publisher {
    current: Arc<ArcSwap<Snapshot>>,
    contributions: Mutex<BTreeMap<&'static str, Contribution>>,
}

impl Publisher {
    /// A publisher whose first snapshot has no routes.
    pub fn new(not_found: (ErrorBody, &'static str)) -> Self {
        let empty = Snapshot {
            router: Router::default(),
            certificates: Arc::default(),
            not_found,
            parts: SmallVec::new(),
            revisions: BTreeMap::new(),
            broken: Vec::new(),
        };
        Self { current: Arc::new(ArcSwap::from_pointee(empty)), contributions: Mutex::default() }
    }

    /// The snapshot of this moment, shared with the cores.
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// The cell that the cores read.
    pub(crate) fn cell(&self) -> Arc<ArcSwap<Snapshot>> {
        Arc::clone(&self.current)
    }

    /// Replaces what the dialect `name` contributes. When this returns, every request that begins sees it. The old
    /// snapshot is dropped here, on the caller's thread, or by the last request that still holds it.
    pub fn publish(&self, name: &'static str, contribution: Contribution) {
        let mut contributions = self.contributions.lock().unwrap_or_else(PoisonError::into_inner);
        let previous = self.current.load_full();
        let mut router = previous.router.clone();
        let older = contributions.get(name);
        router.replace(&contribution.routes, older.map_or(&Routes::default(), |older| &older.routes));
        let same_certificates =
            older.is_some_and(|older| Arc::ptr_eq(&older.certificates, &contribution.certificates));
        contributions.insert(name, contribution);
        let certificates = if same_certificates {
            Arc::clone(&previous.certificates)
        } else {
            let all = contributions.values().flat_map(|part| part.certificates.iter().cloned());
            Arc::new(Certificates::build(all))
        };
        let not_found = contributions
            .values()
            .find(|part| !part.routes.is_empty())
            .or_else(|| contributions.values().next())
            .map_or(previous.not_found, |part| part.not_found);
        let next = Snapshot {
            router,
            certificates,
            not_found,
            parts: contributions.iter().map(|(name, part)| Part::of(name, part)).collect(),
            revisions: contributions.iter().map(|(name, part)| (*name, part.revision)).collect(),
            broken: contributions.values().flat_map(|part| part.broken.iter().cloned()).collect(),
        };
        self.current.store(Arc::new(next));
    }
}
