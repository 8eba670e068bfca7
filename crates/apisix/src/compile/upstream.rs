use std::{sync::Arc, time::Duration};

use base::Secret;
use expr::{Part, Template, Variable, VariableError};
use gateway::{
    error::ConfigError,
    upstream::{
        Balance, ClientIdentity, FailureWords, HostRewrite, KeepAlive, Node, PrivateKeyPem, Scheme, Timeouts,
        TlsPolicy, UpstreamSpec,
    },
};
use http::HeaderName;
use serde_json::Value;

use super::checks::checks;
use crate::schema::excerpt;

/// Answers of 5xx say in it what the nodes said.
const UPSTREAM_STATUS: HeaderName = HeaderName::from_static("x-apisix-upstream-status");

/// An upstream in the engine's terms. `value` fits the schema; what that cannot say is checked here.
pub(crate) fn upstream_spec(id: &str, value: &Value) -> Result<UpstreamSpec, ConfigError> {
    let scheme = match text(value, "scheme") {
        Some("https") => Scheme::Https,
        Some("grpc") => Scheme::Grpc,
        Some("grpcs") => Scheme::Grpcs,
        _ => Scheme::Http,
    };
    let host = match (text(value, "pass_host"), text(value, "upstream_host")) {
        (Some("node"), _) => HostRewrite::Node,
        (Some("rewrite"), Some(host)) => HostRewrite::Fixed(host.into()),
        _ => HostRewrite::Pass,
    };
    let fixed = match &host {
        HostRewrite::Fixed(host) => Some(&**host),
        HostRewrite::Pass | HostRewrite::Node => None,
    };
    let tls = tls(value);
    let checks = checks(value, fixed, tls.client.as_ref())?;
    Ok(UpstreamSpec {
        id: Arc::from(id),
        vitals_id: Arc::from(id),
        scheme,
        nodes: nodes(value.get("nodes"), scheme)?,
        balance: balance(value)?,
        host,
        timeouts: timeouts(value)?.unwrap_or_default(),
        retries: value.get("retries").and_then(Value::as_u64).and_then(|retries| u32::try_from(retries).ok()),
        retry_timeout: seconds(value, "retry_timeout")?.filter(|limit| !limit.is_zero()),
        keep_alive: keep_alive(value)?,
        tls,
        failure_header: Some(UPSTREAM_STATUS),
        words: FailureWords::OWN,
        checks,
    })
}

/// How requests are spread; without `key` nothing but a consumer's name can be hashed.
fn balance(value: &Value) -> Result<Balance, ConfigError> {
    match text(value, "type") {
        Some("chash") => {}
        Some("least_conn") => return Ok(Balance::LeastBusy),
        Some("ewma") => return Ok(Balance::Fastest),
        _ => return Ok(Balance::RoundRobin),
    }
    let key = text(value, "key").unwrap_or_default();
    let wrong = |error: VariableError| ConfigError::new("key", error.to_string());
    let variable = |name: &str| Variable::parse(name).map_err(wrong);
    let variable = match text(value, "hash_on") {
        Some("consumer") => Variable::ConsumerName,
        Some("header") => variable(&format!("http_{}", key.replace('-', "_").to_ascii_lowercase()))?,
        Some("cookie") => variable(&format!("cookie_{key}"))?,
        Some("vars_combinations") => return Template::parse(key).map(Balance::Hash).map_err(wrong),
        _ => variable(key)?,
    };
    Ok(Balance::Hash(Template::of(vec![Part::Variable(variable)])))
}

/// The `timeout` of an upstream or a route.
pub(super) fn timeouts(value: &Value) -> Result<Option<Timeouts>, ConfigError> {
    let Some(timeout) = value.get("timeout") else { return Ok(None) };
    let of = |name| seconds(timeout, name).map(|found| found.unwrap_or(Timeouts::default().read));
    Ok(Some(Timeouts { connect: of("connect")?, send: of("send")?, read: of("read")? }))
}

fn nodes(value: Option<&Value>, scheme: Scheme) -> Result<Vec<Node>, ConfigError> {
    match value {
        Some(Value::Object(weights)) => {
            weights.iter().map(|(address, weight)| node_of_address(address, weight, scheme)).collect()
        }
        Some(Value::Array(nodes)) => {
            nodes.iter().enumerate().map(|(at, node)| node_of_object(at, node, scheme)).collect()
        }
        _ => Ok(Vec::new()),
    }
}

fn node_of_address(address: &str, weight: &Value, scheme: Scheme) -> Result<Node, ConfigError> {
    let wrong = |reason: &str| ConfigError::new(format!("nodes[\"{}\"]", excerpt(address)), reason);
    // An address in brackets keeps its colons.
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            let port = port
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| wrong("the port is not 1 to 65535"))?;
            (host, port)
        }
        _ => (address, scheme.default_port()),
    };
    let host = host_of(host).ok_or_else(|| wrong("expected `host`, `host:port` or `[IPv6]:port`"))?;
    Ok(Node { host, port, weight: number(weight).unwrap_or(0), priority: 0 })
}

fn node_of_object(at: usize, node: &Value, scheme: Scheme) -> Result<Node, ConfigError> {
    let host = text(node, "host").and_then(host_of);
    let host =
        host.ok_or_else(|| ConfigError::new(format!("nodes[{at}].host"), "expected a name or an address"))?;
    Ok(Node {
        host,
        port: node.get("port").and_then(number).unwrap_or_else(|| scheme.default_port()),
        weight: node.get("weight").and_then(number).unwrap_or(0),
        priority: node.get("priority").and_then(number).unwrap_or(0),
    })
}

/// A name or an address; IPv6 without its brackets.
fn host_of(text: &str) -> Option<Box<str>> {
    if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok().then(|| address.into());
    }
    if text.contains(':') {
        return text.parse::<std::net::Ipv6Addr>().is_ok().then(|| text.into());
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    ((1..=253).contains(&text.len()) && text.bytes().all(allowed)).then(|| text.into())
}

fn keep_alive(value: &Value) -> Result<KeepAlive, ConfigError> {
    let default = KeepAlive::default();
    let Some(pool) = value.get("keepalive_pool") else { return Ok(default) };
    Ok(KeepAlive {
        size: pool.get("size").and_then(number).unwrap_or(default.size),
        idle_timeout: seconds(pool, "idle_timeout")?.unwrap_or(default.idle_timeout),
        requests: pool.get("requests").and_then(number).unwrap_or(default.requests),
    })
}

fn tls(value: &Value) -> TlsPolicy {
    let Some(tls) = value.get("tls") else { return TlsPolicy::default() };
    let client = text(tls, "client_cert").zip(text(tls, "client_key")).map(|(certificate, key)| {
        ClientIdentity { certificate: certificate.into(), key: PrivateKeyPem(Secret::new(key.to_owned())) }
    });
    TlsPolicy { verify: tls.get("verify").and_then(Value::as_bool).unwrap_or(true), client, roots: None }
}

pub(super) fn text<'a>(value: &'a Value, member: &str) -> Option<&'a str> {
    value.get(member).and_then(Value::as_str)
}

pub(super) fn number<N: TryFrom<i64>>(value: &Value) -> Option<N> {
    value.as_i64().and_then(|number| N::try_from(number).ok())
}

pub(super) fn seconds(value: &Value, member: &str) -> Result<Option<Duration>, ConfigError> {
    let Some(number) = value.get(member).and_then(Value::as_f64) else { return Ok(None) };
    Duration::try_from_secs_f64(number)
        .map(Some)
        .map_err(|_| ConfigError::new(member, "not a number of seconds that can be waited for"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(value: Value) -> UpstreamSpec {
        upstream_spec("upstreams/1", &value).unwrap()
    }

    #[test]
    fn every_shape_of_nodes_is_read() {
        let of = |value: &Value| {
            let spec = spec(value.clone());
            spec.nodes
                .iter()
                .map(|node| (node.host.to_string(), node.port, node.weight, node.priority))
                .collect::<Vec<_>>()
        };
        let node = |host: &str, port, weight, priority| (host.to_owned(), port, weight, priority);
        assert_eq!(
            of(&json!({"nodes": {"a.b:8080": 1, "c": 2}})),
            [node("a.b", 8080, 1, 0), node("c", 80, 2, 0)]
        );
        assert_eq!(
            of(&json!({"nodes": {"[::1]:81": 1, "[::1]": 1}})),
            [node("::1", 81, 1, 0), node("::1", 80, 1, 0)]
        );
        assert_eq!(of(&json!({"nodes": {"a": 1}, "scheme": "grpcs"})), [node("a", 443, 1, 0)]);
        assert_eq!(
            of(
                &json!({"nodes": [{"host": "a", "port": 1, "weight": 0, "priority": -1}, {"host": "[::1]", "weight": 1}]})
            ),
            [node("a", 1, 0, -1), node("::1", 80, 1, 0)]
        );
        assert_eq!(of(&json!({"nodes": []})), []);
        for bad in ["a:0", "a:65536", "a:b", "a b", "", "[x]:1", "::zz", "a/b:1", "http://a:1"] {
            assert!(upstream_spec("u", &json!({"nodes": {bad: 1}})).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_is_a_variable_a_header_a_cookie_a_consumer_or_a_text_of_them() {
        let of = |value: Value| spec(value).balance;
        let by = |variable: Variable| Balance::Hash(Template::of(vec![Part::Variable(variable)]));
        let chash = |hash_on: &str, key: &str| json!({"type": "chash", "hash_on": hash_on, "key": key, "nodes": {"a": 1}});
        assert_eq!(of(json!({"nodes": {"a": 1}, "key": "uri"})), Balance::RoundRobin);
        assert_eq!(of(json!({"type": "chash", "key": "uri", "nodes": {"a": 1}})), by(Variable::Uri));
        assert_eq!(of(json!({"type": "least_conn", "nodes": {"a": 1}})), Balance::LeastBusy);
        assert_eq!(of(json!({"type": "ewma", "nodes": {"a": 1}})), Balance::Fastest);
        assert_eq!(of(chash("vars", "arg_device_id")), by(Variable::Arg("device_id".into())));
        assert_eq!(of(chash("header", "X-Sessionid")), by(Variable::Header("x-sessionid".into())));
        assert_eq!(of(chash("cookie", "jsessionid")), by(Variable::Cookie("jsessionid".into())));
        assert_eq!(of(chash("consumer", "")), by(Variable::ConsumerName));
        let text = Template::parse("$http_host$remote_addr").unwrap();
        assert_eq!(of(chash("vars_combinations", "$http_host$remote_addr")), Balance::Hash(text));
        assert!(upstream_spec("u", &chash("vars", "server_name")).is_err());
    }

    #[test]
    fn what_is_left_out_has_apisix_defaults_and_certificates_are_verified() {
        let plain = spec(json!({"nodes": {"a": 1}}));
        assert_eq!(plain.retries, None);
        assert_eq!(plain.host, HostRewrite::Pass);
        assert_eq!(plain.timeouts, Timeouts::default());
        assert_eq!(plain.keep_alive, KeepAlive::default());
        assert!(plain.tls.verify && spec(json!({"nodes": {}, "tls": {}})).tls.verify);
        assert!(!spec(json!({"nodes": {}, "tls": {"verify": false}})).tls.verify);
        let full = spec(json!({
            "nodes": {"a": 1}, "pass_host": "rewrite", "upstream_host": "x", "retries": 0, "retry_timeout": 1.5,
            "timeout": {"connect": 0.5, "send": 1, "read": 2}, "keepalive_pool": {"size": 5},
        }));
        assert_eq!(full.host, HostRewrite::Fixed("x".into()));
        assert_eq!(full.failure_header, Some(UPSTREAM_STATUS));
        assert_eq!((full.retries, full.retry_timeout), (Some(0), Some(Duration::from_millis(1500))));
        assert_eq!(full.timeouts.connect, Duration::from_millis(500));
        assert_eq!(full.keep_alive.size, 5);
    }
}
