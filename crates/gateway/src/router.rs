//! Finds the route of a request: host first, then path, then the route's other conditions.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use crate::{
    arrival::Arrival,
    route::{HostPattern, PathPattern, Route},
    trie::Trie,
};

/// All routes of a snapshot. Host-bound routes are tried first, the longest host pattern before shorter ones, and
/// fall through to the routes without a host when none of them takes the request.
#[derive(Debug, Default)]
pub(crate) struct Router {
    exact: HashMap<Box<str>, Arc<PathTable>, RandomState>,
    /// Keyed by the reversed suffix.
    suffixes: Trie<Arc<PathTable>>,
    any: Arc<PathTable>,
}

impl Router {
    /// Sorts `routes` into tables; a host whose routes did not change keeps its table from `previous`.
    pub(crate) fn build(routes: impl Iterator<Item = Arc<Route>>, previous: Option<&Self>) -> Self {
        let mut any = Vec::new();
        let mut by_host: BTreeMap<(bool, Box<str>), Vec<Arc<Route>>> = BTreeMap::new();
        for route in routes {
            if route.matcher.hosts.is_empty() {
                any.push(Arc::clone(&route));
            }
            for host in &route.matcher.hosts {
                let key = match host {
                    HostPattern::Exact(name) => (true, name.clone()),
                    HostPattern::Suffix(suffix) => (false, suffix.clone()),
                };
                by_host.entry(key).or_default().push(Arc::clone(&route));
            }
        }
        let mut router = Self {
            any: PathTable::reuse_or_build(any, previous.map(|previous| &previous.any)),
            ..Self::default()
        };
        for ((is_exact, host), routes) in by_host {
            if is_exact {
                let old = previous.and_then(|previous| previous.exact.get(&host));
                router.exact.insert(host, PathTable::reuse_or_build(routes, old));
            } else {
                let reversed: Vec<u8> = host.bytes().rev().collect();
                let old = previous.and_then(|previous| previous.suffixes.get(&reversed));
                let table = PathTable::reuse_or_build(routes, old);
                router.suffixes.insert(&reversed, table);
            }
        }
        router
    }

    /// The route that takes the request.
    pub(crate) fn find(&self, request: &Arrival<'_>) -> Option<&Arc<Route>> {
        let host = request.head.host();
        if let Some(route) = self.exact.get(host).and_then(|table| table.find(request)) {
            return Some(route);
        }
        if !self.suffixes.is_empty() {
            let reversed: SmallVec<[u8; 64]> = host.bytes().rev().collect();
            // A wildcard stands for at least one character.
            let longer = |length: usize| length < reversed.len();
            let found = self.suffixes.prefixes_of(&reversed).into_iter().rev();
            for table in found.filter(|(length, _)| longer(*length)).map(|(_, table)| table) {
                if let Some(route) = table.find(request) {
                    return Some(route);
                }
            }
        }
        self.any.find(request)
    }
}

/// The routes of one host: an exact path goes before any prefix, a longer prefix before a shorter one; routes of one
/// pattern go by priority, then in the order they were given.
#[derive(Debug, Default)]
struct PathTable {
    exact: HashMap<Box<str>, Vec<Arc<Route>>, RandomState>,
    prefixes: Trie<Vec<Arc<Route>>>,
    /// What this was built from.
    routes: Vec<Arc<Route>>,
}

impl PathTable {
    fn reuse_or_build(routes: Vec<Arc<Route>>, old: Option<&Arc<Self>>) -> Arc<Self> {
        let same = |old: &&Arc<Self>| {
            old.routes.len() == routes.len() && old.routes.iter().zip(&routes).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        match old.filter(same) {
            Some(old) => Arc::clone(old),
            None => Arc::new(Self::build(routes)),
        }
    }

    fn build(routes: Vec<Arc<Route>>) -> Self {
        let mut table = Self::default();
        let mut sorted: Vec<&Arc<Route>> = routes.iter().collect();
        sorted.sort_by_key(|route| std::cmp::Reverse(route.matcher.priority));
        for route in sorted {
            for path in &route.matcher.paths {
                match path {
                    PathPattern::Exact(path) => {
                        table.exact.entry(path.clone()).or_default().push(Arc::clone(route));
                    }
                    PathPattern::Prefix(prefix) => {
                        table.prefixes.entry(prefix.as_bytes()).push(Arc::clone(route));
                    }
                }
            }
        }
        table.routes = routes;
        table
    }

    fn find(&self, request: &Arrival<'_>) -> Option<&Arc<Route>> {
        let path = request.head.path();
        let takes = |routes: &'_ &Arc<Route>| request.satisfies(routes);
        if let Some(route) = self.exact.get(path).and_then(|routes| routes.iter().find(takes)) {
            return Some(route);
        }
        let prefixes = self.prefixes.prefixes_of(path.as_bytes());
        prefixes.into_iter().rev().find_map(|(_, routes)| routes.iter().find(takes))
    }
}
