//! What is compared with what: scenarios, and the shapes of the traffic.

/// What a request has to bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scenario {
    /// Nothing: a route without plugins.
    Plain,
    /// A consumer's key.
    KeyAuth,
    /// An access token: RS256, the same one each time.
    Rs256Warm,
    /// RS256, another one each time.
    Rs256Cold,
    /// ES256, the same one each time.
    Es256Warm,
    /// ES256, another one each time.
    Es256Cold,
    /// A browser's session cookie after a login.
    Session,
    /// A token that an introspection endpoint judged before.
    Introspection,
    /// Id and secret of a client, for which the gateway has bought a token before (Kong's `client_credentials`).
    ClientCredentials,
}

impl Scenario {
    pub(crate) const ALL: [Self; 9] = [
        Self::Plain,
        Self::KeyAuth,
        Self::Rs256Warm,
        Self::Rs256Cold,
        Self::Es256Warm,
        Self::Es256Cold,
        Self::Session,
        Self::Introspection,
        Self::ClientCredentials,
    ];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Plain => "Plain route",
            Self::KeyAuth => "Key of a consumer",
            Self::Rs256Warm => "RS256 bearer, one token",
            Self::Rs256Cold => "RS256 bearer, every token new",
            Self::Es256Warm => "ES256 bearer, one token",
            Self::Es256Cold => "ES256 bearer, every token new",
            Self::Session => "Session cookie",
            Self::Introspection => "Introspected bearer, answer cached",
            Self::ClientCredentials => "Client credentials, token cached",
        }
    }

    /// Its name in `--only`, in raw rows and in file names.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::KeyAuth => "key-auth",
            Self::Rs256Warm => "rs256-warm",
            Self::Rs256Cold => "rs256-cold",
            Self::Es256Warm => "es256-warm",
            Self::Es256Cold => "es256-cold",
            Self::Session => "session",
            Self::Introspection => "introspection",
            Self::ClientCredentials => "client-credentials",
        }
    }

    /// The scenario of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scenario| scenario.name() == name)
    }

    /// First segment of its path, which is the route of Portcullis that it is measured on.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Plain => "/plain",
            Self::KeyAuth => "/keyed",
            Self::Rs256Warm | Self::Rs256Cold | Self::Es256Warm | Self::Es256Cold => "/bearer",
            Self::Session => "/session",
            Self::Introspection => "/introspected",
            Self::ClientCredentials => "/kong",
        }
    }

    /// The same request each time, so that what it costs in allocations is a figure of its own.
    pub(crate) const fn is_steady(self) -> bool {
        !matches!(self, Self::Rs256Cold | Self::Es256Cold)
    }

    /// Whether it is measured in every shape.
    pub(crate) const fn in_all_shapes(self) -> bool {
        matches!(self, Self::Plain | Self::Rs256Warm)
    }
}

/// How requests travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    H1,
    H1Tls,
    H2Tls,
}

/// What traffic looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) protocol: Protocol,
    /// Bytes of each answer's body.
    pub(crate) size: usize,
    pub(crate) connections: usize,
}

/// Bytes of the answers.
pub(crate) const SMALL: usize = 150;
pub(crate) const LARGE: usize = 64 * 1024;

impl Shape {
    /// That of every scenario.
    pub(crate) const STANDARD: Self = Self { protocol: Protocol::H1, size: SMALL, connections: 64 };

    /// All of them, the standard one first.
    pub(crate) fn all() -> Vec<Self> {
        let mut shapes = vec![Self::STANDARD];
        for protocol in [Protocol::H1, Protocol::H1Tls, Protocol::H2Tls] {
            for size in [SMALL, LARGE] {
                let of = |connections| Self { protocol, size, connections };
                shapes.extend([1, 64, 1000].map(of).into_iter().filter(|shape| *shape != Self::STANDARD));
            }
        }
        shapes
    }

    /// Whether latency at a fixed rate is measured: enough connections to hold it, and small answers, since those of
    /// 64 KiB load the target more than the proxy.
    pub(crate) fn has_fixed_rate(self) -> bool {
        self.size == SMALL && self.connections == 64
    }

    /// Requests under way on each connection. HTTP/2 is for sharing connections; a thousand of them share enough.
    pub(crate) const fn streams(self) -> usize {
        match (self.protocol, self.connections) {
            (Protocol::H2Tls, ..1000) => 10,
            _ => 1,
        }
    }

    pub(crate) fn title(self) -> String {
        let protocol = match self.protocol {
            Protocol::H1 => "HTTP/1.1",
            Protocol::H1Tls => "HTTP/1.1, TLS",
            Protocol::H2Tls => "HTTP/2, TLS",
        };
        let size = if self.size == SMALL { "150 B" } else { "64 KiB" };
        let connections = if self.connections == 1 { "connection" } else { "connections" };
        format!("{protocol}, {size}, {} {connections}", self.connections)
    }

    /// Its name in raw rows.
    pub(crate) fn name(self) -> String {
        let protocol = match self.protocol {
            Protocol::H1 => "h1",
            Protocol::H1Tls => "h1tls",
            Protocol::H2Tls => "h2tls",
        };
        format!("{protocol}-{}-{}", self.size, self.connections)
    }

    /// What comes after the first segment of a path: the target answers by it.
    pub(crate) const fn suffix(self) -> &'static str {
        if self.size == SMALL { "" } else { "/large" }
    }
}

impl Protocol {
    /// Its name in a plan.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::H1 => "h1",
            Self::H1Tls => "h1tls",
            Self::H2Tls => "h2tls",
        }
    }
}

/// A proxy under load, in one of its settings.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) scenario: Scenario,
    pub(crate) port: u16,
    /// Where it takes TLS; without it, it is measured in the standard shape alone.
    pub(crate) tls_port: Option<u16>,
    /// Place of its process in the list of processes.
    pub(crate) process: usize,
    /// Place of its credentials in theirs.
    pub(crate) credentials: usize,
}

impl Subject {
    /// The port for traffic of this shape.
    pub(crate) fn port(&self, shape: Shape) -> Option<u16> {
        match shape.protocol {
            Protocol::H1 if shape == Shape::STANDARD || self.tls_port.is_some() => Some(self.port),
            Protocol::H1 => None,
            Protocol::H1Tls | Protocol::H2Tls => self.tls_port,
        }
    }

    pub(crate) fn is_own(&self) -> bool {
        self.name.starts_with("Portcullis")
    }
}
