use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use base::Secret;
use expr::Template;
use http::HeaderName;

use super::health::HealthChecks;

/// An upstream in the engine's own terms.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamSpec {
    /// Stable id: what lives (balancer position, pools) is found again under it and the content of the rest.
    pub id: Arc<str>,
    /// Stable id under which what is known of its nodes is found again; upstreams that have it in common share that.
    pub vitals_id: Arc<str>,
    /// How targets are spoken to.
    pub scheme: Scheme,
    /// The targets.
    pub nodes: Vec<Node>,
    /// How requests are spread over those of one priority.
    pub balance: Balance,
    /// The Host sent to them.
    pub host: HostRewrite,
    /// Limits of one try.
    pub timeouts: Timeouts,
    /// Further tries after the first; `None`: one for each further node.
    pub retries: Option<u32>,
    /// No further try is begun after this; `None`: no limit.
    pub retry_timeout: Option<Duration>,
    /// What is kept open.
    pub keep_alive: KeepAlive,
    /// For `https` and `grpcs`.
    pub tls: TlsPolicy,
    /// Header that tells clients what the targets said, each try after the other, where the last of them failed: said
    /// 500 or more, or nothing that can be passed on.
    pub failure_header: Option<HeaderName>,
    /// What clients are told when no target answered.
    pub words: FailureWords,
    /// How it is found out which nodes are well; `None`: all are taken to be.
    pub checks: Option<HealthChecks>,
}

#[cfg(test)]
impl UpstreamSpec {
    /// Targets of one priority on a host of nobody's, with these weights and one port after the other.
    pub(crate) fn weighted(weights: &[u32]) -> Self {
        let node = |(weight, port): (&u32, u16)| Node {
            host: "192.0.2.1".into(),
            port,
            weight: *weight,
            priority: 0,
        };
        Self {
            id: "u".into(),
            vitals_id: "u".into(),
            scheme: Scheme::Http,
            nodes: weights.iter().zip(1..).map(node).collect(),
            balance: Balance::RoundRobin,
            host: HostRewrite::Pass,
            timeouts: Timeouts::default(),
            retries: None,
            retry_timeout: None,
            keep_alive: KeepAlive::default(),
            tls: TlsPolicy::default(),
            failure_header: None,
            words: FailureWords::OWN,
            checks: None,
        }
    }
}

/// What clients are told when no target answered. Targets' addresses are for the log alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FailureWords {
    /// None can be used.
    pub no_target: &'static str,
    /// The name of the last one has no address.
    pub unresolved: &'static str,
    /// A connection to the last one could not be made.
    pub unreachable: &'static str,
    /// The last one broke the exchange off.
    pub broken: &'static str,
    /// The last one took too long.
    pub late: &'static str,
}

impl FailureWords {
    /// The engine's own.
    pub const OWN: Self = Self {
        no_target: "no target of the upstream can be used",
        unresolved: "the upstream cannot be reached",
        unreachable: "the upstream cannot be reached",
        broken: "the upstream broke the exchange off",
        late: "the upstream took too long",
    };
}

/// Protocol towards the targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// HTTP/1.1.
    Http,
    /// HTTP/1.1 over TLS.
    Https,
    /// HTTP/2 by prior knowledge.
    Grpc,
    /// HTTP/2 over TLS, by ALPN.
    Grpcs,
}

impl Scheme {
    /// Whether the connection is TLS.
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Grpcs)
    }

    /// Whether it is HTTP/2.
    pub const fn is_h2(self) -> bool {
        matches!(self, Self::Grpc | Self::Grpcs)
    }

    /// 80 or 443.
    pub const fn default_port(self) -> u16 {
        if self.is_tls() { 443 } else { 80 }
    }
}

/// One target as configured.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// Name or address; IPv6 without brackets.
    pub host: Box<str>,
    /// Port.
    pub port: u16,
    /// Share of the requests; 0: none.
    pub weight: u32,
    /// Targets of a lower priority are used only when those of every higher one failed.
    pub priority: i32,
}

/// How requests are spread over the targets of one priority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Balance {
    /// By turns, each as often as its weight says.
    #[default]
    RoundRobin,
    /// By consistent hashing on a wheel of so many slots, of what a plugin says of each request; by turns where none does.
    Slots(u32),
    /// By consistent hashing: the same text goes to the same target. The client's address stands for a text of whose
    /// variables the request has none.
    Hash(Template),
    /// To the target that is at the fewest requests for its weight; among equals by turns.
    LeastBusy,
    /// Of two that are drawn, to the one that answered faster lately for its weight.
    Fastest,
}

/// Which Host a target sees.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostRewrite {
    /// The client's.
    Pass,
    /// The target's own name, with its port where that is not the scheme's default.
    Node,
    /// This one.
    Fixed(Box<str>),
}

/// Limits of one try. Each is the longest silence tolerated, not a total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timeouts {
    /// Name resolution, TCP and TLS handshake.
    pub connect: Duration,
    /// Between two successful writes of the request.
    pub send: Duration,
    /// Between two successful reads of the answer.
    pub read: Duration,
}

impl Default for Timeouts {
    /// nginx's: 60 seconds each.
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self { connect: minute, send: minute, read: minute }
    }
}

/// Idle connections to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeepAlive {
    /// At most so many idle ones on each core, as nginx counts them for each worker.
    pub size: u32,
    /// Closed after so long without use.
    pub idle_timeout: Duration,
    /// Closed after so many requests.
    pub requests: u32,
}

impl Default for KeepAlive {
    /// APISIX's: 320, 60 s, 1000.
    fn default() -> Self {
        Self { size: 320, idle_timeout: Duration::from_secs(60), requests: 1000 }
    }
}

/// TLS towards the targets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsPolicy {
    /// Whether the target's certificate and name are verified.
    pub verify: bool,
    /// Certificate that the gate shows, PEM.
    pub client: Option<ClientIdentity>,
    /// Authorities that are trusted instead of the process's own, PEM.
    pub roots: Option<Arc<str>>,
}

impl Default for TlsPolicy {
    fn default() -> Self {
        Self { verify: true, client: None, roots: None }
    }
}

/// The gate's own certificate towards an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientIdentity {
    /// Certificate chain, PEM, end entity first.
    pub certificate: Arc<str>,
    /// Its private key, PEM.
    pub key: PrivateKeyPem,
}

/// A private key in PEM that does not print itself.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKeyPem(pub Secret<String>);

impl Hash for PrivateKeyPem {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.expose().hash(state);
    }
}

impl fmt::Debug for PrivateKeyPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
