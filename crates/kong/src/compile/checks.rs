//! `healthchecks` of an upstream in the engine's terms.

use std::time::Duration;

use gateway::{
    error::ConfigError,
    upstream::{
        ActiveChecks, ClientIdentity, HealthChecks, HttpProbe, Probe, Shortage, Thresholds, TlsPolicy,
    },
};
use serde_json::{Map, Value};

use super::text;

/// Kong looks for questions that are due ten times a second.
const SHORTEST: Duration = Duration::from_millis(100);
/// What a limit of 0 means to nginx.
const NO_LIMIT: Duration = Duration::from_secs(60);

/// The checks of a complete upstream, whose targets are shown `client` over TLS. An upstream that has none on is checked
/// as well: somebody may say that a target is ill.
pub(super) fn checks(
    upstream: &Map<String, Value>,
    client: Option<ClientIdentity>,
) -> Result<HealthChecks, ConfigError> {
    let missing = || ConfigError::new("healthchecks", "required field missing");
    let section = |name: &str| upstream.get("healthchecks")?.get(name)?.as_object();
    let (active, passive) = (section("active").ok_or_else(missing)?, section("passive").ok_or_else(missing)?);
    let threshold = upstream.get("healthchecks").and_then(|checks| checks.get("threshold")?.as_f64());
    // 0 to 100, by the schema.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let share = (threshold.unwrap_or(0.0) * 10_000.0) as u32;
    Ok(HealthChecks {
        active: active_checks(active, text(upstream, "host_header"), client),
        passive: Some(thresholds(passive)),
        shortage: Shortage::Refuse { share },
    })
}

fn active_checks(
    active: &Map<String, Value>,
    host: Option<&str>,
    client: Option<ClientIdentity>,
) -> ActiveChecks {
    let interval = |section: &str| {
        let interval = seconds(active.get(section)?.get("interval")?)?;
        (!interval.is_zero()).then(|| interval.max(SHORTEST))
    };
    let timeout = active.get("timeout").and_then(seconds).unwrap_or(Duration::from_secs(1));
    let concurrency = active.get("concurrency").and_then(Value::as_u64).unwrap_or(10);
    ActiveChecks {
        probe: match text(active, "type") {
            Some("tcp") => Probe::Tcp,
            kind => {
                let verify = active.get("https_verify_certificate").and_then(Value::as_bool).unwrap_or(true);
                let tls = (kind == Some("https")).then_some(TlsPolicy { verify, client, roots: None });
                Probe::Http(http_probe(active, host, tls))
            }
        },
        timeout: if timeout.is_zero() { NO_LIMIT } else { timeout },
        concurrency: usize::try_from(concurrency).unwrap_or(usize::MAX),
        port: None,
        healthy_interval: interval("healthy"),
        unhealthy_interval: interval("unhealthy"),
        thresholds: thresholds(active),
    }
}

fn http_probe(active: &Map<String, Value>, host: Option<&str>, tls: Option<TlsPolicy>) -> HttpProbe {
    let mut lines = Vec::new();
    for (name, values) in active.get("headers").and_then(Value::as_object).into_iter().flatten() {
        let values = values.as_array().into_iter().flatten().filter_map(Value::as_str);
        lines.extend(values.map(|value| Box::from(format!("{name}: {value}"))));
    }
    HttpProbe {
        tls,
        host: host.map(Box::from),
        server_name: text(active, "https_sni").map(Box::from),
        start: format!("GET {}", text(active, "http_path").unwrap_or("/")).into(),
        lines,
    }
}

/// What a section says of answers. Over `tcp` alone their statuses are nobody's failures.
fn thresholds(section: &Map<String, Value>) -> Thresholds {
    let of = |health: &str, name: &str| section.get(health).and_then(|health| health.get(name));
    let statuses = |health: &str| {
        let found = of(health, "http_statuses").and_then(Value::as_array).into_iter().flatten();
        found.filter_map(|status| u16::try_from(status.as_u64()?).ok()).collect()
    };
    let count = |health: &str, name: &str| {
        of(health, name).and_then(Value::as_u64).and_then(|count| u8::try_from(count).ok()).unwrap_or(0)
    };
    let by_status = text(section, "type") != Some("tcp");
    Thresholds {
        healthy_statuses: statuses("healthy"),
        successes: count("healthy", "successes"),
        unhealthy_statuses: statuses("unhealthy"),
        http_failures: if by_status { count("unhealthy", "http_failures") } else { 0 },
        tcp_failures: count("unhealthy", "tcp_failures"),
        timeouts: count("unhealthy", "timeouts"),
    }
}

fn seconds(value: &Value) -> Option<Duration> {
    Duration::try_from_secs_f64(value.as_f64()?).ok()
}

/// Whether anything is found out by these checks, as Kong sees it.
pub(crate) fn are_on(upstream: &Value) -> bool {
    [
        "/active/healthy/interval",
        "/active/unhealthy/interval",
        "/passive/unhealthy/tcp_failures",
        "/passive/unhealthy/timeouts",
        "/passive/unhealthy/http_failures",
    ]
    .iter()
    .any(|path| {
        let found = upstream.get("healthchecks").and_then(|checks| checks.pointer(path)?.as_f64());
        found.is_some_and(|number| number > 0.0)
    })
}
