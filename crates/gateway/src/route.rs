//! A compiled route, and the plan of plugins that runs on it.

use std::{cmp::Reverse, fmt, sync::Arc};

use http::{Method, StatusCode};
use ipnet::IpNet;

use crate::{
    error::{ConfigError, ErrorBody},
    plugin::{Phases, Plugin},
    ranked::Ranked,
    upstream::{Timeouts, Upstream},
};

/// A route as the engine knows it: everything is compiled, nothing refers to anything by name.
#[derive(Debug)]
pub struct Route {
    /// Stable id, unique within its dialect: the subject of log lines and metrics.
    pub id: Arc<str>,
    /// Name for people.
    pub name: Option<Arc<str>>,
    /// The dialect it is written in: the name of the contribution that has it.
    pub dialect: &'static str,
    /// Id of the service it belongs to.
    pub service_id: Option<Arc<str>>,
    /// What people call that.
    pub service_name: Option<Arc<str>>,
    /// Which requests it takes.
    pub matcher: Matcher,
    /// What runs on them.
    pub plan: Arc<Plan>,
    /// Where they go.
    pub backend: Backend,
    /// Timeouts that override the upstream's.
    pub timeouts: Option<Timeouts>,
    /// Whether WebSocket upgrades are passed through; refused otherwise.
    pub websocket: bool,
    /// How the gate words its own answers here.
    pub errors: ErrorBody,
}

impl Route {
    /// What the group of that name or number of the route's pattern took of a path.
    pub(crate) fn path_group<'p>(&self, path: &'p str, name: &str) -> Option<&'p str> {
        self.matcher.ranked.as_ref()?.group(path, name)
    }
}

/// Where a route's requests go.
#[derive(Debug)]
pub enum Backend {
    /// To one of the upstream's targets.
    Upstream(Arc<Upstream>),
    /// Nowhere: a plugin answers, or the client gets this status and message.
    None(StatusCode, &'static str),
}

/// The conditions of a route. All that are present must hold.
#[derive(Debug, Default)]
pub struct Matcher {
    /// Any of these hosts; empty: every host.
    pub hosts: Vec<HostPattern>,
    /// Any of these paths.
    pub paths: Vec<PathPattern>,
    /// Any of these methods; empty: every method.
    pub methods: Vec<Method>,
    /// Any of these client addresses; empty: every address.
    pub remotes: Vec<IpNet>,
    /// A condition over request variables.
    pub vars: Option<expr::Expression>,
    /// A condition in the other language.
    pub rule: Option<expr::Rule>,
    /// Among routes of one path pattern, higher goes first.
    pub priority: i64,
    /// Instead of `hosts`, `paths` and `priority`: the conditions of a route that has its place by its rank.
    pub ranked: Option<Ranked>,
}

impl Matcher {
    /// Whether this host is named here without a wildcard.
    pub(crate) fn names(&self, host: &str) -> bool {
        let is_it = |pattern: &HostPattern| matches!(pattern, HostPattern::Exact(name) if &**name == host);
        self.hosts.iter().any(is_it) || self.ranked.as_ref().is_some_and(|ranked| ranked.names(host))
    }
}

/// A host, or all hosts that end in something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// Exactly this host, lower case.
    Exact(Box<str>),
    /// Every host that ends so and is longer: `.example.com` for `*.example.com`; empty: every host.
    Suffix(Box<str>),
}

impl HostPattern {
    /// Reads `example.com`, `*.example.com`, `*example.com` or `*`; letters are folded to lower case.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let text = text.to_ascii_lowercase();
        let (suffix, wild) = match text.strip_prefix('*') {
            Some(rest) => (rest, true),
            None => (text.as_str(), false),
        };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
        if (suffix.is_empty() && !wild) || !suffix.bytes().all(allowed) {
            return Err(ConfigError::new(
                "host",
                format!("`{text}` is neither a host nor `*` and the end of one"),
            ));
        }
        Ok(if wild { Self::Suffix(suffix.into()) } else { Self::Exact(suffix.into()) })
    }
}

/// A path, or all paths that begin with something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// Exactly this path.
    Exact(Box<str>),
    /// Every path that begins so.
    Prefix(Box<str>),
}

impl PathPattern {
    /// Reads `/exact` or `/prefix*`. A `*` elsewhere stands for itself.
    pub fn parse(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.into()),
            None => Self::Exact(text.into()),
        }
    }
}

/// A plugin's place among those that run on a request.
#[derive(Clone)]
pub struct Entry {
    /// What the dialect calls it: of one name, one runs.
    pub name: &'static str,
    /// Higher runs first.
    pub priority: i64,
    /// Of entries of one name, the one of the highest rank counts; of equals, the consumer's.
    pub rank: u8,
    /// Whether it finds out who the consumer is: it is not run again for what the consumer brings.
    pub authenticates: bool,
    /// What runs; `None`: the plugin of that name is switched off.
    pub plugin: Option<Arc<dyn Plugin>>,
}

impl Entry {
    /// A plugin of the lowest rank.
    pub fn new(name: &'static str, priority: i64, plugin: Arc<dyn Plugin>) -> Self {
        Self { name, priority, rank: 0, authenticates: false, plugin: Some(plugin) }
    }
}

/// The plugins that a consumer brings, one of each name.
#[derive(Debug, Default)]
pub struct Layer {
    /// In any order.
    pub entries: Vec<Entry>,
    /// Those that it brings to some routes only; of several of one name, the last whose rank is high enough counts.
    pub bound: Vec<(Binding, Entry)>,
}

/// To which routes a consumer brings a plugin: all that are set must be the route's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// Id of the route.
    pub route: Option<Arc<str>>,
    /// Id of the route's service.
    pub service: Option<Arc<str>>,
}

/// The plugins of a route in the order they run, sorted into the phases they take part in.
#[derive(Clone, Default)]
pub struct Plan {
    entries: Vec<Entry>,
    /// Whose it is.
    place: Binding,
    pub(crate) rewrite: Vec<Arc<dyn Plugin>>,
    pub(crate) access: Vec<Arc<dyn Plugin>>,
    pub(crate) response_headers: Vec<Arc<dyn Plugin>>,
    pub(crate) log: Vec<Arc<dyn Plugin>>,
    /// Whether any of those that log want the heads.
    pub(crate) logs_heads: bool,
}

impl Plan {
    /// A plan of `entries`, one of each name; those of one priority keep their order.
    pub fn new(mut entries: Vec<Entry>) -> Self {
        entries.sort_by_key(|entry| Reverse(entry.priority));
        let of = |phase| in_phase(&entries, phase).collect();
        let (rewrite, access) = (of(Phases::REWRITE), of(Phases::ACCESS));
        let response_headers = of(Phases::RESPONSE_HEADERS);
        let log = of(Phases::LOG);
        let logs_heads = in_phase(&entries, Phases::LOG_HEADS).next().is_some();
        Self { entries, place: Binding::default(), rewrite, access, response_headers, log, logs_heads }
    }

    /// The plan of this route, for what consumers bring to some routes only.
    #[must_use]
    pub fn of(self, place: Binding) -> Self {
        Self { place, ..self }
    }

    /// Whether nothing runs.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// This plan with what a consumer brings, and those of its plugins whose first round is still to run: they are new,
    /// and they are not there to find out who the consumer is.
    pub(crate) fn with(&self, layer: &Layer) -> (Self, Vec<Arc<dyn Plugin>>) {
        let mut entries = self.entries.clone();
        let own = entries.len();
        let bound = layer.bound.iter().filter(|(binding, _)| binding.applies(&self.place));
        for brought in layer.entries.iter().chain(bound.map(|(_, entry)| entry)) {
            match entries.iter_mut().find(|own| own.name == brought.name) {
                Some(own) if own.rank > brought.rank => {}
                Some(own) => *own = brought.clone(),
                None => entries.push(brought.clone()),
            }
        }
        let new = entries.get(own..).unwrap_or_default();
        let mut new: Vec<Entry> = new.iter().filter(|entry| !entry.authenticates).cloned().collect();
        new.sort_by_key(|entry| Reverse(entry.priority));
        (Self::new(entries), in_phase(&new, Phases::REWRITE).collect())
    }
}

impl Layer {
    /// Whether it brings nothing, anywhere.
    pub(crate) const fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.bound.is_empty()
    }
}

impl Binding {
    fn applies(&self, place: &Self) -> bool {
        (self.route.is_none() || self.route == place.route)
            && (self.service.is_none() || self.service == place.service)
    }
}

fn in_phase(entries: &[Entry], phase: Phases) -> impl Iterator<Item = Arc<dyn Plugin>> {
    entries
        .iter()
        .filter_map(|entry| entry.plugin.as_ref())
        .filter(move |it| it.phases().contains(phase))
        .cloned()
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let off = if self.plugin.is_some() { "" } else { " (off)" };
        write!(f, "{} at {}{off}", self.name, self.priority)
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.entries).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::any::Any;

    use super::*;

    struct Named(&'static str);

    impl Plugin for Named {
        fn name(&self) -> &'static str {
            self.0
        }

        fn phases(&self) -> Phases {
            Phases::REWRITE.and(Phases::ACCESS)
        }

        fn as_any(&self) -> &dyn Any {
            self
        }
    }

    fn entry(name: &'static str, priority: i64, rank: u8, plugin: Option<&'static str>) -> Entry {
        let plugin = plugin.map(|it| Arc::new(Named(it)) as Arc<dyn Plugin>);
        Entry { name, priority, rank, authenticates: name == "auth", plugin }
    }

    fn names(plugins: &[Arc<dyn Plugin>]) -> Vec<&'static str> {
        plugins.iter().map(|plugin| plugin.name()).collect()
    }

    #[test]
    fn a_consumer_replaces_adds_and_switches_off() {
        let plan = Plan::new(vec![
            entry("limit", 10, 2, Some("route limit")),
            entry("auth", 30, 2, Some("route auth")),
            entry("cors", 20, 2, Some("route cors")),
            entry("log", 5, 9, Some("route log")),
        ]);
        assert_eq!(names(&plan.access), ["route auth", "route cors", "route limit", "route log"]);
        let layer = Layer {
            entries: vec![
                entry("limit", 25, 4, Some("consumer limit")),
                entry("cors", 20, 4, None),
                entry("log", 5, 4, Some("consumer log")),
                entry("last", 1, 4, Some("consumer last")),
                entry("first", 90, 4, Some("consumer first")),
                entry("off", 91, 4, None),
            ],
            ..Layer::default()
        };
        let (merged, new) = plan.with(&layer);
        assert_eq!(
            names(&merged.access),
            ["consumer first", "route auth", "consumer limit", "route log", "consumer last"]
        );
        assert_eq!(names(&new), ["consumer first", "consumer last"]);
    }

    #[test]
    fn what_a_consumer_brings_to_one_route_is_brought_to_no_other() {
        let to = |route: Option<&str>, service: Option<&str>| Binding {
            route: route.map(Arc::from),
            service: service.map(Arc::from),
        };
        let layer = Layer {
            entries: vec![entry("limit", 10, 4, Some("everywhere"))],
            bound: vec![
                (to(None, Some("s")), entry("limit", 10, 8, Some("service"))),
                (to(Some("r"), None), entry("limit", 10, 9, Some("route"))),
                (to(Some("r"), Some("s")), entry("limit", 10, 11, Some("both"))),
            ],
        };
        for (route, service, expected) in
            [("r", "s", "both"), ("r", "t", "route"), ("q", "s", "service"), ("q", "t", "everywhere")]
        {
            let plan = Plan::new(vec![entry("limit", 10, 5, Some("own"))]).of(to(Some(route), Some(service)));
            let expected = if expected == "everywhere" { "own" } else { expected };
            assert_eq!(names(&plan.with(&layer).0.access), [expected], "{route} {service}");
            let bare = Plan::default().of(to(Some(route), Some(service)));
            assert_eq!(names(&bare.with(&layer).1).len(), 1);
        }
    }

    #[test]
    fn what_a_consumer_brings_to_authenticate_is_not_run_for_it() {
        let layer = Layer { entries: vec![entry("auth", 30, 4, Some("consumer auth"))], ..Layer::default() };
        assert!(Plan::default().with(&layer).1.is_empty());
    }

    #[test]
    fn host_patterns_fold_case_and_know_their_wildcard() {
        assert_eq!(HostPattern::parse("Foo.COM").unwrap(), HostPattern::Exact("foo.com".into()));
        assert_eq!(HostPattern::parse("*.Foo.com").unwrap(), HostPattern::Suffix(".foo.com".into()));
        assert_eq!(HostPattern::parse("*").unwrap(), HostPattern::Suffix("".into()));
        for bad in ["", "a*b", "a b", "**", "a/b"] {
            assert!(HostPattern::parse(bad).is_err(), "{bad}");
        }
    }
}
