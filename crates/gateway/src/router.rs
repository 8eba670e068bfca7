//! Finds the route of a request: host first, then path, then the route's other conditions.

use std::{cmp::Reverse, sync::Arc};

use smallvec::SmallVec;

use crate::{
    arrival::Arrival,
    ranked::{Closeness, RankedTable},
    route::{HostPattern, PathPattern, Route},
    sharded::{Emptiable, Sharded},
    trie::Trie,
};

/// A dialect's routes by their ids. A copy shares what it does not change, so that one change among many costs little.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    by_id: Sharded<Arc<str>, Ranked>,
}

impl Routes {
    /// Puts `route` under its id. Of routes that take one request, and have one priority, the one that was `created`
    /// first goes first.
    pub fn insert(&mut self, created: u64, route: Arc<Route>) {
        self.by_id.insert(Arc::clone(&route.id), Ranked { created, route });
    }

    /// Takes out the route of this id.
    pub fn remove(&mut self, id: &str) {
        self.by_id.remove(id);
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A route and its place among equals.
#[derive(Clone, Debug)]
struct Ranked {
    created: u64,
    route: Arc<Route>,
}

impl Ranked {
    fn is(&self, other: &Self) -> bool {
        self.created == other.created && Arc::ptr_eq(&self.route, &other.route)
    }
}

/// All routes of a snapshot. Host-bound routes are tried first, the longest host pattern before shorter ones, and
/// fall through to the routes without a host when none of them takes the request. A copy shares what it does not change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Router {
    exact: Sharded<Box<str>, Arc<PathTable>>,
    /// Keyed by the reversed suffix.
    suffixes: Trie<Arc<PathTable>>,
    any: PathTable,
    /// The routes that have their place by their rank.
    ranked: RankedTable,
}

impl Router {
    /// Has `newer` routes of a dialect in the place of its `older` ones.
    pub(crate) fn replace(&mut self, newer: &Routes, older: &Routes) {
        newer.by_id.compare(&older.by_id, |new, old| {
            if new.zip(old).is_some_and(|(new, old)| new.is(old)) {
                return;
            }
            if let Some(old) = old {
                self.ranked.remove(old.created, &old.route);
                self.each_table(&old.route, |table| table.remove(old));
            }
            if let Some(new) = new {
                self.ranked.insert(new.created, &new.route);
                self.each_table(&new.route, |table| table.insert(new));
            }
        });
    }

    fn each_table(&mut self, route: &Route, mut change: impl FnMut(&mut PathTable)) {
        if route.matcher.ranked.is_some() {
            return;
        }
        if route.matcher.hosts.is_empty() {
            change(&mut self.any);
        }
        for host in &route.matcher.hosts {
            match host {
                HostPattern::Exact(name) => self.exact.change(name, |table| change(Arc::make_mut(table))),
                HostPattern::Suffix(suffix) => {
                    let reversed: Vec<u8> = suffix.bytes().rev().collect();
                    self.suffixes.change(&reversed, |table| change(Arc::make_mut(table)));
                }
            }
        }
    }

    /// The route that takes the request. Where one of each kind does, it is the one that names the host more closely;
    /// of equals, the path; of equals, the one that is not ranked.
    pub(crate) fn find(&self, request: &Arrival<'_>) -> Option<&Arc<Route>> {
        let Some(ranked) = self.ranked.find(request) else { return self.find_by_host(request) };
        let Some(other) = self.find_by_host(request) else { return Some(ranked) };
        let closer = ranked.matcher.ranked.as_ref().map(|matcher| matcher.closeness(request))
            > Some(closeness(other, request));
        Some(if closer { ranked } else { other })
    }

    fn find_by_host(&self, request: &Arrival<'_>) -> Option<&Arc<Route>> {
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

/// How closely host and path of a request that this route takes are named.
fn closeness(route: &Route, request: &Arrival<'_>) -> Closeness {
    let (host, path) = (request.head.host(), request.head.path());
    let hosts = route.matcher.hosts.iter().filter_map(|pattern| match pattern {
        HostPattern::Exact(name) => (host == &**name).then_some((true, name.len())),
        HostPattern::Suffix(suffix) => host.ends_with(&**suffix).then_some((false, suffix.len())),
    });
    let paths = route.matcher.paths.iter().filter_map(|pattern| match pattern {
        PathPattern::Exact(exact) => (path == &**exact).then_some((2, exact.len())),
        PathPattern::Prefix(prefix) => path.starts_with(&**prefix).then_some((0, prefix.len())),
    });
    (hosts.max(), paths.max().unwrap_or_default())
}

/// The routes of one host: an exact path goes before any prefix, a longer prefix before a shorter one.
#[derive(Clone, Debug, Default)]
struct PathTable {
    exact: Sharded<Box<str>, Equals>,
    prefixes: Trie<Equals>,
}

impl PathTable {
    fn insert(&mut self, ranked: &Ranked) {
        self.each_pattern(&ranked.route, |equals| equals.insert(ranked));
    }

    fn remove(&mut self, ranked: &Ranked) {
        self.each_pattern(&ranked.route, |equals| equals.0.retain(|other| !other.is(ranked)));
    }

    fn each_pattern(&mut self, route: &Route, mut change: impl FnMut(&mut Equals)) {
        for path in &route.matcher.paths {
            match path {
                PathPattern::Exact(path) => self.exact.change(path, &mut change),
                PathPattern::Prefix(prefix) => self.prefixes.change(prefix.as_bytes(), &mut change),
            }
        }
    }

    fn find(&self, request: &Arrival<'_>) -> Option<&Arc<Route>> {
        let path = request.head.path();
        if let Some(route) = self.exact.get(path).and_then(|equals| equals.find(request)) {
            return Some(route);
        }
        let prefixes = self.prefixes.prefixes_of(path.as_bytes());
        prefixes.into_iter().rev().find_map(|(_, equals)| equals.find(request))
    }
}

impl Emptiable for Arc<PathTable> {
    fn is_empty(&self) -> bool {
        self.exact.len() == 0 && self.prefixes.is_empty()
    }
}

/// The routes of one pattern, by priority, then dialect by dialect in the order in which they were made.
#[derive(Clone, Debug, Default)]
struct Equals(SmallVec<[Ranked; 1]>);

impl Equals {
    fn insert(&mut self, ranked: &Ranked) {
        fn rank(ranked: &Ranked) -> (Reverse<i64>, &'static str, u64, &str) {
            let Ranked { created, route } = ranked;
            (Reverse(route.matcher.priority), route.dialect, *created, &route.id)
        }
        let place = self.0.partition_point(|other| rank(other) <= rank(ranked));
        self.0.insert(place, ranked.clone());
    }

    fn find(&self, request: &Arrival<'_>) -> Option<&Arc<Route>> {
        self.0.iter().map(|ranked| &ranked.route).find(|route| request.satisfies(route))
    }
}

impl Emptiable for Equals {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
