//! Where a service's requests go: to its host, or to the targets of the upstream that has the host's name.

use std::{sync::Arc, time::Duration};

use gateway::{
    error::ConfigError,
    path_pattern,
    plugin::Plugin,
    upstream::{
        Balance, Checker, FailureWords, HostRewrite, Node, Scheme, Timeouts, TlsPolicy, Upstream,
        UpstreamSpec,
    },
};
use http::HeaderName;
use plugins::hash_key::{self, Source};
use serde_json::{Map, Value};

use super::{Pass, Watched, checks, flag, named_in, text, texts};
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

fn slots(upstream: &Map<String, Value>) -> u32 {
    let slots = upstream.get("slots").and_then(Value::as_u64);
    slots.and_then(|slots| u32::try_from(slots).ok()).unwrap_or(10_000)
}

/// What `which`, `hash_on` or `hash_fallback`, names.
fn source(
    route: &Map<String, Value>,
    upstream: &Map<String, Value>,
    which: &str,
) -> Result<Option<Source>, ConfigError> {
    let named = |what: &str| {
        let field = format!("{which}_{what}");
        let missing = || ConfigError::new(field.clone(), "required field missing");
        text(upstream, &field).map(str::to_owned).ok_or_else(missing)
    };
    Ok(Some(match text(upstream, which) {
        Some("consumer") => Source::Consumer,
        Some("ip") => Source::Address,
        Some("header") => {
            let name = HeaderName::try_from(named("header")?);
            Source::Header(name.map_err(|_| ConfigError::new(which, "not the name of a header"))?)
        }
        Some("cookie") => Source::Cookie {
            name: text(upstream, "hash_on_cookie").unwrap_or_default().to_owned(),
            path: text(upstream, "hash_on_cookie_path").unwrap_or("/").to_owned(),
        },
        Some("path") => Source::Path,
        Some("query_arg") => Source::Argument(named("query_arg")?),
        Some("uri_capture") => {
            let patterns = texts(route, "paths").filter_map(|path| path.strip_prefix('~'));
            let patterns = patterns.map(path_pattern).collect::<Result<_, _>>()?;
            Source::Capture { name: named("uri_capture")?, patterns }
        }
        _ => return Ok(None),
    }))
}

impl Pass<'_> {
    pub(super) fn service_upstream(
        &mut self,
        id: &str,
        service: &Map<String, Value>,
        preserve_host: bool,
    ) -> Result<Arc<Upstream>, ConfigError> {
        let scheme = match text(service, "protocol") {
            Some("https") => Scheme::Https,
            Some("grpc") => Scheme::Grpc,
            Some("grpcs") => Scheme::Grpcs,
            _ => Scheme::Http,
        };
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
                balance = match text(&value, "algorithm") {
                    Some("least-connections") => Balance::LeastBusy,
                    Some("latency") => Balance::Fastest,
                    Some("consistent-hashing") => Balance::Slots(slots(&value)),
                    _ => Balance::RoundRobin,
                };
                client = client.or_else(|| named_in(&value, "client_certificate").map(str::to_owned));
                self.watched(upstream, &value)?
            }
        };
        let client = match client.filter(|_| scheme.is_tls()) {
            Some(certificate) => Some(self.client_identity(&certificate)?),
            None => None,
        };
        let roots = self.authorities(service).map_err(|why| ConfigError::new("ca_certificates", why))?;
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
            keep_alive: super::KEEP_ALIVE,
            // Kong verifies upstreams only where it is told to; here they are unless it is told not to.
            tls: TlsPolicy { verify: flag(service, "tls_verify", true), client, roots },
            failure_header: None,
            words: WORDS,
            checks: watched.checks,
        })
    }

    /// The authorities that a service names, PEM; `None`: it names none.
    fn authorities(&self, service: &Map<String, Value>) -> Result<Option<Arc<str>>, String> {
        let mut all = String::new();
        for id in texts(service, "ca_certificates") {
            let value = self.open(Kind::CaCertificate, id)?;
            all.push_str(text(&value, "cert").unwrap_or_default());
            all.push('\n');
        }
        Ok((!all.is_empty()).then(|| all.into()))
    }

    /// What the requests of a route are hashed by, where the service's upstream says so.
    pub(super) fn hash_key(
        &self,
        route: &Map<String, Value>,
        service: &Map<String, Value>,
    ) -> Result<Option<Arc<dyn Plugin>>, ConfigError> {
        let host = text(service, "host").unwrap_or_default();
        let Some((id, _)) = self.view.upstream(host) else { return Ok(None) };
        let upstream = self.open(Kind::Upstream, id).map_err(|why| ConfigError::new("host", why))?;
        if text(&upstream, "algorithm") != Some("consistent-hashing") {
            return Ok(None);
        }
        let mut sources = Vec::new();
        for which in ["hash_on", "hash_fallback"] {
            sources.extend(source(route, &upstream, which)?);
        }
        let is_named = !sources.is_empty();
        let key = || hash_key::compile(hash_key::Config { sources }, &self.compiler.random);
        Ok(is_named.then(key))
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
