//! Where a service's requests go: to its host, or to the targets of the upstream that has the host's name.

use std::{sync::Arc, time::Duration};

use gateway::{
    error::ConfigError,
    upstream::{
        Balance, Checker, FailureWords, HostRewrite, KeepAlive, Node, Scheme, Timeouts, TlsPolicy, Upstream,
        UpstreamSpec,
    },
};
use serde_json::{Map, Value};

use super::{Pass, Watched, checks, flag, named_in, text};
use crate::entities::{Kind, split_target};

/// What Kong says of upstreams that do not answer.
const WORDS: FailureWords = FailureWords {
    no_target: "failure to get a peer from the ring-balancer",
    unresolved: "name resolution failed",
    unreachable: "An invalid response was received from the upstream server",
    broken: "An invalid response was received from the upstream server",
    late: "The upstream server is timing out",
};

/// Under which id the health of an upstream's targets is found. APISIX's upstreams have ids of their own.
pub(crate) fn health_id(upstream: &str) -> String {
    format!("kong/upstreams/{upstream}")
}

impl Pass<'_> {
    pub(super) fn service_upstream(
        &mut self,
        id: &str,
        service: &Map<String, Value>,
        preserve_host: bool,
    ) -> Result<Arc<Upstream>, ConfigError> {
        let scheme = if text(service, "protocol") == Some("https") { Scheme::Https } else { Scheme::Http };
        let timeout =
            |field| Duration::from_millis(service.get(field).and_then(Value::as_u64).unwrap_or(60_000));
        let port = service.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
        let host = text(service, "host").unwrap_or_default();
        let mut client = named_in(service, "client_certificate").map(str::to_owned);
        let mut rewrite = HostRewrite::Node;
        let mut balance = Balance::RoundRobin;
        let own_id: Arc<str> = format!("services/{id}").into();
        let watched = match self.view.upstream(host) {
            None => Watched {
                id: Arc::clone(&own_id),
                nodes: vec![Node { host: host.into(), port: port.unwrap_or(80), weight: 1, priority: 0 }],
                checks: None,
            },
            Some((upstream, _)) => {
                let value =
                    self.open(Kind::Upstream, upstream).map_err(|why| ConfigError::new("host", why))?;
                if let Some(header) = text(&value, "host_header") {
                    rewrite = HostRewrite::Fixed(header.into());
                }
                if text(&value, "algorithm") == Some("least-connections") {
                    balance = Balance::LeastBusy;
                }
                client = client.or_else(|| named_in(&value, "client_certificate").map(str::to_owned));
                self.watched(upstream, &value)?
            }
        };
        let client = match client.filter(|_| scheme.is_tls()) {
            Some(certificate) => Some(self.client_identity(&certificate)?),
            None => None,
        };
        self.compiler.upstream(UpstreamSpec {
            id: own_id,
            vitals_id: watched.id,
            scheme,
            nodes: watched.nodes,
            balance,
            host: if preserve_host { HostRewrite::Pass } else { rewrite },
            timeouts: Timeouts {
                connect: timeout("connect_timeout"),
                send: timeout("write_timeout"),
                read: timeout("read_timeout"),
            },
            retries: service
                .get("retries")
                .and_then(Value::as_u64)
                .and_then(|retries| u32::try_from(retries).ok()),
            retry_timeout: None,
            keep_alive: KeepAlive::default(),
            // Kong verifies upstreams only where it is told to; here they are unless it is told not to.
            tls: TlsPolicy { verify: flag(service, "tls_verify", true), client },
            failure_header: None,
            words: WORDS,
            checks: watched.checks,
        })
    }

    /// The checks of an upstream, which run whether or not a service leads to it.
    pub(crate) fn checker(&mut self, id: &str) -> Result<Arc<Checker>, ConfigError> {
        let value = self.open(Kind::Upstream, id).map_err(|why| ConfigError::new("@entity", why))?;
        let watched = self.watched(id, &value)?;
        self.compiler.checker(watched)
    }

    fn watched(&mut self, id: &str, upstream: &Map<String, Value>) -> Result<Watched, ConfigError> {
        let client = match named_in(upstream, "client_certificate") {
            Some(certificate) => Some(self.client_identity(certificate)?),
            None => None,
        };
        Ok(Watched {
            id: health_id(id).into(),
            nodes: self.targets(id)?,
            checks: Some(checks::checks(upstream, client)?),
        })
    }

    /// Targets in the order of their ids, so that the same ones are the same upstream.
    fn targets(&self, upstream: &str) -> Result<Vec<Node>, ConfigError> {
        let mut nodes = Vec::new();
        for (id, _) in self.view.children(Kind::Target, Kind::Upstream, upstream) {
            let target = self.open(Kind::Target, id).map_err(|why| ConfigError::new("host", why))?;
            let Some((host, port)) = text(&target, "target").and_then(split_target) else { continue };
            let weight = target.get("weight").and_then(Value::as_u64).and_then(|it| u32::try_from(it).ok());
            nodes.push(Node { host: host.into(), port, weight: weight.unwrap_or(100), priority: 0 });
        }
        Ok(nodes)
    }
}
