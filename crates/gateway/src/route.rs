//! A compiled route, and the plan of plugins that runs on it.

use std::{fmt, sync::Arc};

use http::{Method, StatusCode};
use ipnet::IpNet;

use crate::{
    error::{ConfigError, ErrorBody},
    plugin::{Phases, Plugin},
    upstream::{Timeouts, Upstream},
};

/// A route as the engine knows it: everything is compiled, nothing refers to anything by name.
#[derive(Debug)]
pub struct Route {
    /// Stable id, unique within its dialect: the subject of log lines and metrics.
    pub id: Arc<str>,
    /// Name for people.
    pub name: Option<Arc<str>>,
    /// Id of the service it belongs to.
    pub service_id: Option<Arc<str>>,
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
    /// Among routes of one path pattern, higher goes first.
    pub priority: i64,
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

/// The plugins of a route in the order they run, sorted into the phases they take part in.
#[derive(Clone, Default)]
pub struct Plan {
    pub(crate) rewrite: Vec<Arc<dyn Plugin>>,
    pub(crate) access: Vec<Arc<dyn Plugin>>,
    pub(crate) response_headers: Vec<Arc<dyn Plugin>>,
}

impl Plan {
    /// A plan of `plugins`, already in the order in which each phase runs them.
    pub fn new(plugins: &[Arc<dyn Plugin>]) -> Self {
        let of = |phase| plugins.iter().filter(|plugin| plugin.phases().contains(phase)).cloned().collect();
        Self {
            rewrite: of(Phases::REWRITE),
            access: of(Phases::ACCESS),
            response_headers: of(Phases::RESPONSE_HEADERS),
        }
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            |plugins: &[Arc<dyn Plugin>]| plugins.iter().map(|plugin| plugin.name()).collect::<Vec<_>>();
        f.debug_struct("Plan")
            .field("rewrite", &names(&self.rewrite))
            .field("access", &names(&self.access))
            .field("response_headers", &names(&self.response_headers))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
