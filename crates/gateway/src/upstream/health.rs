//! Health checks as configured: which nodes are asked how often, and what tells that one is well or ill.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{spec::TlsPolicy, vitals::Counter};

/// How the nodes of an upstream are judged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HealthChecks {
    /// Nodes are asked on their own.
    pub active: ActiveChecks,
    /// What nodes answer to clients counts; `None`: it does not.
    pub passive: Option<Thresholds>,
    /// What becomes of requests when too few nodes are well.
    pub shortage: Shortage,
}

/// What becomes of requests when too few nodes are well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shortage {
    /// With no node that is well, all are used.
    UseAll,
    /// None is used unless the nodes that are well have all of the weight, or more than this share of it, in
    /// millionths.
    Refuse {
        /// From 0, with which one node is enough, to 1 000 000.
        share: u32,
    },
}

impl Shortage {
    /// Whether `well` of `total` weight is enough.
    pub fn has_enough(self, well: u64, total: u64) -> bool {
        match self {
            Self::UseAll => true,
            Self::Refuse { share } => {
                total > 0 && (well == total || well * 1_000_000 > u64::from(share) * total)
            }
        }
    }
}

/// Asks each node at intervals.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ActiveChecks {
    /// What is asked.
    pub probe: Probe,
    /// How long an answer may take.
    pub timeout: Duration,
    /// So many nodes of an upstream are asked at once.
    pub concurrency: usize,
    /// The port that is asked, where it is not the node's own.
    pub port: Option<u16>,
    /// Between two questions to a node that is well; `None`: it is not asked.
    pub healthy_interval: Option<Duration>,
    /// Between two questions to a node that is ill; `None`: it is not asked.
    pub unhealthy_interval: Option<Duration>,
    /// What the answers mean.
    pub thresholds: Thresholds,
}

/// What a node is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Probe {
    /// Whether it takes connections.
    Tcp,
    /// For a status.
    Http(HttpProbe),
}

/// A request whose answer's status counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpProbe {
    /// Whether it goes over TLS, and then how.
    pub tls: Option<TlsPolicy>,
    /// The Host that is sent, and over TLS the server name; `None`: the node's own.
    pub host: Option<Box<str>>,
    /// Over TLS, the server name where that is not the host.
    pub server_name: Option<Box<str>>,
    /// `GET /status`, without the version.
    pub start: Box<str>,
    /// Further lines of the head, each `Name: value`.
    pub lines: Vec<Box<str>>,
}

impl HttpProbe {
    /// The request as it is sent to a node of this authority.
    pub(super) fn request(&self, authority: &str) -> Bytes {
        let host = self.host.as_deref().unwrap_or(authority);
        let mut out = format!("{} HTTP/1.1\r\n", self.start);
        let says_host = |line: &str| line.get(..5).is_some_and(|name| name.eq_ignore_ascii_case("host:"));
        if !self.lines.iter().any(|line| says_host(line)) {
            out.push_str(&format!("Host: {host}\r\n"));
        }
        for line in &self.lines {
            out.push_str(line);
            out.push_str("\r\n");
        }
        out.push_str("Connection: close\r\n\r\n");
        Bytes::from(out)
    }
}

/// Which answers count for and against a node, and how many of them change what it is held to be. A count of 0 changes
/// nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Thresholds {
    /// Statuses that count for it.
    pub healthy_statuses: Arc<[u16]>,
    /// So many successes in a row make it well.
    pub successes: u8,
    /// Statuses that count against it.
    pub unhealthy_statuses: Arc<[u16]>,
    /// So many of these statuses without a success between them make it ill.
    pub http_failures: u8,
    /// So many failed connections and broken exchanges do.
    pub tcp_failures: u8,
    /// So many timeouts do.
    pub timeouts: u8,
}

/// What became of one question, or of a client's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It takes connections.
    Connected,
    /// It answered.
    Status(u16),
    /// It answered what is no HTTP.
    Malformed,
    /// The connection failed.
    Broken,
    /// It took too long.
    Late,
}

impl Thresholds {
    /// What a sign counts for, and how many of them decide.
    pub(super) fn judge(&self, sign: Sign) -> Option<(Counter, u8)> {
        let success = (Counter::Successes, self.successes);
        let http = (Counter::HttpFailures, self.http_failures);
        let judged = match sign {
            Sign::Connected => success,
            Sign::Status(status) if self.healthy_statuses.contains(&status) => success,
            Sign::Status(status) if self.unhealthy_statuses.contains(&status) => http,
            Sign::Status(_) => return None,
            Sign::Malformed => http,
            Sign::Broken => (Counter::TcpFailures, self.tcp_failures),
            Sign::Late => (Counter::Timeouts, self.timeouts),
        };
        (judged.1 > 0).then_some(judged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_is_more_than_the_share_or_all_there_is() {
        let enough =
            |percent: u32, well, total| Shortage::Refuse { share: percent * 10_000 }.has_enough(well, total);
        assert!(enough(0, 1, 100) && !enough(0, 0, 100) && !enough(0, 0, 0));
        assert!(!enough(50, 50, 100) && enough(50, 51, 100));
        assert!(!enough(100, 99, 100) && enough(100, 100, 100));
        assert!(Shortage::UseAll.has_enough(0, 100));
    }
}
