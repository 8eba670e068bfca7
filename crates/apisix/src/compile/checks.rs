//! `checks` of an upstream in the engine's terms.

use std::{sync::Arc, time::Duration};

use gateway::{
    error::ConfigError,
    upstream::{
        ActiveChecks, ClientIdentity, HealthChecks, HttpProbe, Probe, Shortage, Thresholds, TlsPolicy,
    },
};
use http::{HeaderName, HeaderValue, uri::PathAndQuery};
use serde_json::Value;

use super::upstream::{number, seconds, text};
use crate::schema::excerpt;

/// What holds where the configuration does not say.
pub(crate) struct Defaults {
    pub(crate) healthy_statuses: &'static [u16],
    pub(crate) successes: u8,
    pub(crate) unhealthy_statuses: &'static [u16],
    pub(crate) http_failures: u8,
    pub(crate) tcp_failures: u8,
    pub(crate) timeouts: u8,
}

/// For nodes that are asked.
pub(crate) const ACTIVE: Defaults = Defaults {
    healthy_statuses: &[200, 302],
    successes: 2,
    unhealthy_statuses: &[429, 404, 500, 501, 502, 503, 504, 505],
    http_failures: 5,
    tcp_failures: 2,
    timeouts: 3,
};

/// For what nodes answer to clients.
pub(crate) const PASSIVE: Defaults = Defaults {
    healthy_statuses: &[
        200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 306, 307, 308,
    ],
    successes: 5,
    unhealthy_statuses: &[429, 500, 503],
    http_failures: 5,
    tcp_failures: 2,
    timeouts: 7,
};

/// The checks of the upstream `value`, whose nodes are sent `host` where that is the configuration's.
/// Over TLS they are shown `client`.
pub(super) fn checks(
    value: &Value,
    host: Option<&str>,
    client: Option<&ClientIdentity>,
) -> Result<Option<HealthChecks>, ConfigError> {
    let Some(active) = value.pointer("/checks/active") else { return Ok(None) };
    let passive = value.pointer("/checks/passive");
    Ok(Some(HealthChecks {
        active: active_checks(active, host, client)?,
        passive: passive.map(|passive| thresholds(passive, &PASSIVE)),
        shortage: Shortage::UseAll,
    }))
}

fn active_checks(
    active: &Value,
    host: Option<&str>,
    client: Option<&ClientIdentity>,
) -> Result<ActiveChecks, ConfigError> {
    // As in APISIX: what has no section of its own is not asked; what has one is asked every second.
    let interval = |section: &str| {
        let section = active.get(section)?;
        let seconds = section.get("interval").and_then(Value::as_u64).unwrap_or(1);
        Some(Duration::from_secs(seconds))
    };
    Ok(ActiveChecks {
        probe: match text(active, "type") {
            Some("tcp") => Probe::Tcp,
            Some("https") => {
                let verify = active.get("https_verify_certificate").and_then(Value::as_bool).unwrap_or(true);
                let tls = TlsPolicy { verify, client: client.cloned(), roots: None };
                Probe::Http(http_probe(active, host, Some(tls))?)
            }
            _ => Probe::Http(http_probe(active, host, None)?),
        },
        timeout: seconds(active, "timeout")?.unwrap_or(Duration::from_secs(1)),
        concurrency: active.get("concurrency").and_then(number).map_or(10, |count: u16| usize::from(count)),
        port: active.get("port").and_then(number),
        healthy_interval: interval("healthy"),
        unhealthy_interval: interval("unhealthy"),
        thresholds: thresholds(active, &ACTIVE),
    })
}

fn http_probe(active: &Value, host: Option<&str>, tls: Option<TlsPolicy>) -> Result<HttpProbe, ConfigError> {
    let wrong = |member: &str, text: &str, why: &str| {
        ConfigError::new(format!("checks.active.{member}"), format!("`{}` is {why}", excerpt(text)))
    };
    let path = text(active, "http_path").unwrap_or("/");
    if !path.starts_with('/') || path.parse::<PathAndQuery>().is_err() {
        return Err(wrong("http_path", path, "not a path that begins with `/`"));
    }
    let mut lines = Vec::new();
    for line in active.get("req_headers").and_then(Value::as_array).into_iter().flatten() {
        let line = line.as_str().unwrap_or_default();
        let header = line.split_once(':').and_then(|(name, value)| {
            Some((name, HeaderName::try_from(name).ok()?, HeaderValue::from_str(value.trim()).ok()?))
        });
        let Some((written, name, value)) = header else {
            return Err(wrong("req_headers", line, "not a header: expected `Name: value`"));
        };
        let value = value.to_str().map_err(|_| wrong("req_headers", line, "not ASCII"))?;
        if [http::header::CONTENT_LENGTH, http::header::TRANSFER_ENCODING].contains(&name) {
            return Err(wrong("req_headers", line, "about a body, and a check has none"));
        }
        lines.push(format!("{written}: {value}").into());
    }
    Ok(HttpProbe {
        tls,
        host: text(active, "host").or(host).map(Box::from),
        server_name: None,
        start: format!("GET {path}").into(),
        lines,
    })
}

fn thresholds(section: &Value, default: &Defaults) -> Thresholds {
    let statuses = |path: &str, default: &[u16]| -> Arc<[u16]> {
        let found = section.pointer(path).and_then(Value::as_array);
        found.map_or_else(|| default.into(), |found| found.iter().filter_map(number).collect())
    };
    let count = |path: &str, default| section.pointer(path).and_then(number).unwrap_or(default);
    Thresholds {
        healthy_statuses: statuses("/healthy/http_statuses", default.healthy_statuses),
        successes: count("/healthy/successes", default.successes),
        unhealthy_statuses: statuses("/unhealthy/http_statuses", default.unhealthy_statuses),
        http_failures: count("/unhealthy/http_failures", default.http_failures),
        tcp_failures: count("/unhealthy/tcp_failures", default.tcp_failures),
        timeouts: count("/unhealthy/timeouts", default.timeouts),
    }
}
