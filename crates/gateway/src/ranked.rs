//! Routes that are ranked by how much they say, not by which part of a request they say it of: the more of host, path,
//! method, headers and server name a route speaks of, the earlier it is tried. Which rank a route has is its dialect's
//! affair.

use std::{cmp::Reverse, sync::Arc};

use http::{HeaderName, HeaderValue};
use regex::{Regex, RegexBuilder, bytes};

use crate::{
    arrival::Arrival,
    error::ConfigError,
    host::HostName,
    plugin::RequestHead,
    route::Route,
    sharded::{Emptiable, Sharded},
    trie::Trie,
};

/// Bytes of one compiled pattern, which bounds repetitions like `(a{1000}){1000}`.
const MAX_PATTERN: usize = 1 << 20;

/// The conditions of a ranked route, instead of those on host and path of other routes. All that are present must hold.
#[derive(Debug, Default)]
pub struct Ranked {
    /// Any of these hosts; empty: every host.
    pub hosts: Vec<HostRule>,
    /// Any of these paths, each with the rank that the route has by it; empty: no request.
    pub paths: Vec<(PathRule, Rank)>,
    /// Each of these headers.
    pub headers: Vec<HeaderRule>,
    /// Any of these server names, where the connection is TLS; empty: every name.
    pub server_names: Vec<NameRule>,
}

impl Ranked {
    /// What the group of that name or number took of a path that a pattern of the route fits.
    pub(crate) fn group<'p>(&self, path: &'p str, name: &str) -> Option<&'p str> {
        let patterns = self.paths.iter().filter_map(|(rule, _)| match rule {
            PathRule::Pattern(pattern) => Some(pattern),
            PathRule::Prefix(_) => None,
        });
        let captures = patterns.filter_map(|pattern| pattern.captures(path)).next()?;
        let found = match name.parse::<usize>() {
            Ok(number) => captures.get(number),
            Err(_) => captures.name(name),
        };
        found.map(|found| found.as_str())
    }

    /// Whether this host is named here without a wildcard.
    pub(crate) fn names(&self, host: &str) -> bool {
        self.hosts.iter().any(|rule| matches!(&rule.name, NameRule::Exact(name) if &**name == host))
    }
}

/// What decides among routes that take a request: what stands first here counts first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Of how many parts of a request the route speaks.
    pub parts: u8,
    /// Whether it names hosts, all of them without a wildcard.
    pub plain_hosts: bool,
    /// Headers it speaks of.
    pub headers: u8,
    /// Whether the path is a pattern.
    pub pattern: bool,
    /// Among patterns, higher goes first.
    pub priority: i64,
    /// Bytes of a path that is no pattern.
    pub length: usize,
}

/// A host name, or all of one shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// Exactly this one, lower case.
    Exact(Box<str>),
    /// Every one that ends so and is longer: `.example.com`.
    Suffix(Box<str>),
    /// Every one that begins so and is longer: `example.`.
    Prefix(Box<str>),
}

/// A host with or without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRule {
    /// The name.
    pub name: NameRule,
    /// The port that must have been named, or that the scheme stands for; `None`: any.
    pub port: Option<u16>,
}

/// A path.
#[derive(Clone, Debug)]
pub enum PathRule {
    /// Every path that begins so.
    Prefix(Box<str>),
    /// Every path that begins with what this pattern matches.
    Pattern(Regex),
}

/// A header that must be there.
#[derive(Clone, Debug)]
pub struct HeaderRule {
    /// Its name.
    pub name: HeaderName,
    /// Any of these values, whatever the case of their letters.
    pub values: Vec<Box<str>>,
    /// Any of these patterns, found in the value.
    pub patterns: Vec<Arc<bytes::Regex>>,
}

/// A pattern that a path must begin with.
///
/// # Errors
///
/// When it is no regular expression, or one that cannot be matched in linear time.
pub fn path_pattern(text: &str) -> Result<Regex, ConfigError> {
    RegexBuilder::new(&format!("^(?:{text})"))
        .size_limit(MAX_PATTERN)
        .build()
        .map_err(|error| ConfigError::new("paths", error.to_string()))
}

impl NameRule {
    /// Reads `example.com`, `*.example.com`, `example.*` or `*`; letters are folded to lower case.
    pub fn parse(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        if let Some(suffix) = text.strip_prefix('*') {
            return Self::Suffix(suffix.into());
        }
        match text.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.into()),
            None => Self::Exact(text.into()),
        }
    }

    fn fits(&self, name: &str) -> bool {
        match self {
            Self::Exact(own) => name == &**own,
            Self::Suffix(suffix) => name.len() > suffix.len() && name.ends_with(&**suffix),
            Self::Prefix(prefix) => name.len() > prefix.len() && name.starts_with(&**prefix),
        }
    }

    /// How much of a name it says: all of it counts most.
    fn weight(&self) -> (bool, usize) {
        match self {
            Self::Exact(name) => (true, name.len()),
            Self::Suffix(part) | Self::Prefix(part) => (false, part.len()),
        }
    }
}

impl HostRule {
    /// Reads a name as [`NameRule::parse`] does, and a port behind a colon.
    pub fn parse(text: &str) -> Self {
        match text.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse().ok()?))) {
            Some((name, port)) => Self { name: NameRule::parse(name), port: Some(port) },
            None => Self { name: NameRule::parse(text), port: None },
        }
    }

    fn fits(&self, host: &HostName, https: bool) -> bool {
        let sent = || host.port().unwrap_or(if https { 443 } else { 80 });
        self.name.fits(host.name()) && self.port.is_none_or(|port| port == sent())
    }
}

impl PathRule {
    fn fits(&self, path: &str) -> bool {
        match self {
            Self::Prefix(prefix) => path.starts_with(&**prefix),
            Self::Pattern(pattern) => pattern.is_match(path),
        }
    }
}

impl HeaderRule {
    fn fits(&self, head: &RequestHead) -> bool {
        head.headers.get_all(&self.name).iter().any(|value| self.takes(value))
    }

    fn takes(&self, value: &HeaderValue) -> bool {
        self.values.iter().any(|own| value.as_bytes().eq_ignore_ascii_case(own.as_bytes()))
            || self.patterns.iter().any(|pattern| pattern.is_match(value.as_bytes()))
    }
}

impl Ranked {
    /// Whether everything but the path holds.
    pub(crate) fn fits(&self, request: &Arrival<'_>) -> bool {
        let (head, peer) = (request.head, request.peer);
        let host = self.hosts.is_empty() || self.hosts.iter().any(|rule| rule.fits(&head.host, peer.https));
        // In the clear there is no server name to compare.
        let name = self.server_names.is_empty()
            || !peer.https
            || peer
                .server_name
                .as_deref()
                .is_some_and(|name| self.server_names.iter().any(|rule| rule.fits(name)));
        host && name && self.headers.iter().all(|rule| rule.fits(head))
    }

    /// How closely host and path of a request that this route takes are named: for the choice among dialects.
    pub(crate) fn closeness(&self, request: &Arrival<'_>) -> Closeness {
        let head = request.head;
        let hosts = self.hosts.iter().filter(|rule| rule.fits(&head.host, request.peer.https));
        let host = hosts.map(|rule| rule.name.weight()).max();
        let paths = self.paths.iter().map(|(rule, _)| rule).filter(|rule| rule.fits(head.path()));
        let path = paths.map(|rule| match rule {
            PathRule::Pattern(_) => (1, 0),
            PathRule::Prefix(prefix) => (0, prefix.len()),
        });
        (host, path.max().unwrap_or_default())
    }
}

/// The host that a route names, then the path: exact, a pattern, or so many bytes of it.
pub(crate) type Closeness = (Option<(bool, usize)>, (u8, usize));

/// All ranked routes of a snapshot. A copy shares what it does not change.
#[derive(Clone, Debug, Default)]
pub(crate) struct RankedTable {
    /// Routes under each host, if they name hosts without a wildcard alone.
    exact: Sharded<Box<str>, Arc<Paths>>,
    /// The others.
    any: Paths,
}

#[derive(Clone, Debug, Default)]
struct Paths {
    prefixes: Trie<Candidates>,
    patterns: Arc<Candidates>,
}

/// Routes by one of their paths, the highest rank first, then the oldest.
#[derive(Clone, Debug, Default)]
struct Candidates(Vec<Candidate>);

/// A route by one of its paths.
#[derive(Clone, Debug)]
struct Candidate {
    rank: Rank,
    created: u64,
    /// Which of the route's paths.
    path: usize,
    route: Arc<Route>,
}

impl RankedTable {
    /// Puts a route in, if it is ranked.
    pub(crate) fn insert(&mut self, created: u64, route: &Arc<Route>) {
        self.each(created, route, |candidates, candidate| candidates.insert(candidate));
    }

    /// Takes out what [`RankedTable::insert`] put in.
    pub(crate) fn remove(&mut self, created: u64, route: &Arc<Route>) {
        self.each(created, route, |candidates, candidate| {
            candidates.0.retain(|other| !Arc::ptr_eq(&other.route, &candidate.route));
        });
    }

    fn each(&mut self, created: u64, route: &Arc<Route>, mut change: impl FnMut(&mut Candidates, Candidate)) {
        let Some(ranked) = &route.matcher.ranked else { return };
        let hosts = ranked.exact_hosts();
        for (path, (rule, rank)) in ranked.paths.iter().enumerate() {
            let candidate = || Candidate { rank: *rank, created, path, route: Arc::clone(route) };
            match &hosts {
                None => self.any.change(rule, |candidates| change(candidates, candidate())),
                Some(hosts) => {
                    for host in hosts {
                        self.exact.change(host, |paths| {
                            Arc::make_mut(paths).change(rule, |candidates| change(candidates, candidate()));
                        });
                    }
                }
            }
        }
    }

    /// The route of the highest rank that takes the request.
    pub(crate) fn find(&self, request: &Arrival<'_>) -> Option<&Arc<Route>> {
        let by_host = self.exact.get(request.head.host()).and_then(|paths| paths.find(request));
        let best = by_host.into_iter().chain(self.any.find(request)).max_by_key(|found| found.order())?;
        Some(&best.route)
    }
}

impl Ranked {
    /// The hosts that are named, if all of them are without a wildcard.
    fn exact_hosts(&self) -> Option<Vec<Box<str>>> {
        let exact = |rule: &HostRule| match &rule.name {
            NameRule::Exact(name) => Some(name.clone()),
            _ => None,
        };
        let mut names: Vec<Box<str>> = self.hosts.iter().map(exact).collect::<Option<_>>()?;
        names.sort();
        names.dedup();
        (!names.is_empty()).then_some(names)
    }
}

impl Paths {
    fn change(&mut self, rule: &PathRule, change: impl FnOnce(&mut Candidates)) {
        match rule {
            PathRule::Prefix(prefix) => self.prefixes.change(prefix.as_bytes(), change),
            PathRule::Pattern(_) => change(Arc::make_mut(&mut self.patterns)),
        }
    }

    fn find(&self, request: &Arrival<'_>) -> Option<&Candidate> {
        let path = request.head.path();
        let mut best: Option<&Candidate> = None;
        for (_, candidates) in self.prefixes.prefixes_of(path.as_bytes()) {
            best = candidates.better_than(best).find(|it| it.takes(request)).or(best);
        }
        let mut patterns = self.patterns.better_than(best);
        patterns.find(|it| it.fits(path) && it.takes(request)).or(best)
    }
}

impl Emptiable for Arc<Paths> {
    fn is_empty(&self) -> bool {
        self.prefixes.is_empty() && self.patterns.is_empty()
    }
}

impl Candidates {
    fn insert(&mut self, candidate: Candidate) {
        let place = self.0.partition_point(|other| other.order() >= candidate.order());
        self.0.insert(place, candidate);
    }

    fn better_than<'c>(&'c self, best: Option<&'c Candidate>) -> impl Iterator<Item = &'c Candidate> {
        self.0.iter().take_while(move |it| best.is_none_or(|best| it.order() > best.order()))
    }
}

impl Emptiable for Candidates {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Candidate {
    fn order(&self) -> (Rank, Reverse<u64>, Reverse<&str>) {
        (self.rank, Reverse(self.created), Reverse(&self.route.id))
    }

    fn fits(&self, path: &str) -> bool {
        let ranked = self.route.matcher.ranked.as_ref();
        ranked.and_then(|ranked| ranked.paths.get(self.path)).is_some_and(|(rule, _)| rule.fits(path))
    }

    fn takes(&self, request: &Arrival<'_>) -> bool {
        let ranked = self.route.matcher.ranked.as_ref();
        ranked.is_some_and(|ranked| ranked.fits(request)) && request.satisfies(&self.route)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_one_wildcard_at_an_end_and_perhaps_a_port() {
        let fits = |rule: &str, host: &str, https: bool| {
            let host = HostName::parse(&HeaderValue::from_str(host).unwrap()).unwrap();
            HostRule::parse(rule).fits(&host, https)
        };
        for (rule, host) in [
            ("example.com", "Example.com:8000"),
            ("*.example.com", "a.b.example.com"),
            ("example.*", "example.org"),
            ("example.com:80", "example.com"),
            ("example.com:8000", "example.com:8000"),
            ("*.example.com:8000", "a.example.com:8000"),
        ] {
            assert!(fits(rule, host, false), "{rule} {host}");
        }
        for (rule, host) in [
            ("example.com", "a.example.com"),
            ("*.example.com", "example.com"),
            ("example.*", "example"),
            ("example.com:80", "example.com:81"),
        ] {
            assert!(!fits(rule, host, false), "{rule} {host}");
        }
        assert!(fits("example.com:443", "example.com", true) && !fits("example.com:80", "example.com", true));
    }

    #[test]
    fn what_a_route_speaks_of_goes_before_how_closely() {
        let rank = |parts, length| Rank { parts, length, ..Rank::default() };
        assert!(rank(2, 1) > rank(1, 100));
        assert!(rank(1, 2) > rank(1, 1));
        let pattern = Rank { parts: 1, pattern: true, ..Rank::default() };
        assert!(pattern > rank(1, 100) && rank(2, 1) > pattern);
        assert!(Rank { priority: 1, ..pattern } > pattern);
        assert!(Rank { headers: 1, parts: 1, ..Rank::default() } > pattern);
        assert!(
            Rank { plain_hosts: true, parts: 1, ..Rank::default() }
                > Rank { headers: 9, parts: 1, ..Rank::default() }
        );
    }

    #[test]
    fn patterns_are_anchored_at_the_beginning_and_linear() {
        assert!(path_pattern("/a|/b").unwrap().is_match("/b/c"));
        assert!(!path_pattern("/b").unwrap().is_match("/a/b"));
        assert!(path_pattern(r"/u/(?<id>\d+)$").unwrap().is_match("/u/7"));
        for bad in ["/a(", "/a(?=b)", r"/(a)\1", "/(a{1000}){1000}"] {
            assert!(path_pattern(bad).is_err(), "{bad}");
        }
    }
}
