//! Kong's `http-log`.

use std::{sync::Arc, time::Duration};

use gateway::{error::ConfigError, plugin::Plugin};
use plugins::exchange_log::{Batches, Config, HttpTarget, Joined, Services, Shape, Target, compile};
use serde_json::{Map, Value, json};

use super::{
    DialectPlugin,
    conf::{integer, record, text},
};
use crate::{
    entities::header_name,
    schema::{Field, Schema},
};

/// The plugin of the dialect.
pub struct HttpLog(Services);

impl HttpLog {
    /// With this way out.
    pub const fn new(services: Services) -> Self {
        Self(services)
    }
}

impl DialectPlugin for HttpLog {
    fn name(&self) -> &'static str {
        "http-log"
    }

    fn priority(&self) -> i64 {
        12
    }

    fn schema(&self) -> Arc<Schema> {
        Arc::new(schema())
    }

    fn compile(&self, config: &Map<String, Value>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let kind = text(config, "content_type").unwrap_or("application/json").to_owned();
        let mut headers = vec![("Content-Type".to_owned(), kind)];
        for (name, value) in record(config, "headers").into_iter().flatten() {
            let value = value.as_str().ok_or_else(|| ConfigError::new("headers", "expected a string"))?;
            headers.push((name.clone(), value.to_owned()));
        }
        let target = HttpTarget {
            url: text(config, "http_endpoint").unwrap_or_default().to_owned(),
            method: text(config, "method").unwrap_or("POST").to_owned(),
            headers,
            timeout: Duration::from_millis(integer(config, "timeout").unwrap_or(10_000)),
            verify_tls: true,
            joined: Joined::List,
        };
        let config = Config {
            name: "http-log",
            shape: Shape::Kong,
            only: Vec::new(),
            target: Target::Http(target),
            batches: batches(record(config, "queue")),
        };
        compile(config, &self.0)
    }
}

fn batches(queue: Option<&Map<String, Value>>) -> Batches {
    let empty = Map::new();
    let queue = queue.unwrap_or(&empty);
    let count = |field: &str, unset: u64| {
        usize::try_from(integer(queue, field).unwrap_or(unset)).unwrap_or(usize::MAX)
    };
    let seconds = |field: &str, unset: f64| {
        let seconds = queue.get(field).and_then(Value::as_f64).unwrap_or(unset);
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    };
    let (first, total) = (seconds("initial_retry_delay", 0.01), seconds("max_retry_time", 60.0));
    // Tries at one distance, as many as the time holds, in the place of ever longer distances.
    let distance = first.max(Duration::from_secs(1));
    Batches {
        most: count("max_batch_size", 1),
        idle: seconds("max_coalescing_delay", 1.0),
        oldest: seconds("max_coalescing_delay", 1.0),
        retries: u32::try_from(total.as_millis() / distance.as_millis().max(1)).unwrap_or(0).min(3600),
        retry_delay: distance,
        waiting: count("max_entries", 10_000),
    }
}

/// Of fields that are in files of older deployments.
const OLDER: &str = "does nothing there either: `queue` says it";

fn url(text: &str) -> Result<(), String> {
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.host().is_some() => Ok(()),
        _ => Err("expected an http or https URL".to_owned()),
    }
}

/// What the calls say themselves.
const OWN: [&str; 3] = ["Host", "Content-Length", "Content-Type"];

fn headers(headers: &Value) -> Result<(), String> {
    for name in headers.as_object().into_iter().flat_map(Map::keys) {
        if let Some(own) = OWN.iter().find(|own| own.eq_ignore_ascii_case(name)) {
            return Err(format!("cannot contain '{own}' header"));
        }
        header_name(name)?;
    }
    Ok(())
}

fn schema() -> Schema {
    let queue = Schema::new()
        .field(
            "max_batch_size",
            Field::integer().default(1).between(1, 1_000_000).doc("entries that are sent together"),
        )
        .field(
            "max_coalescing_delay",
            Field::number().default(1).doc("seconds that an entry waits for others"),
        )
        .field(
            "max_entries",
            Field::integer()
                .default(10_000)
                .between(1, 1_000_000)
                .doc("entries that may wait; more are left out and counted"),
        )
        .field("max_bytes", Field::integer().unimplemented())
        .field("max_retry_time", Field::number().default(60).doc("seconds that a batch is tried for"))
        .field(
            "initial_retry_delay",
            Field::number().default(json!(0.01)).doc("seconds between tries, 1 at least"),
        )
        .field("max_retry_delay", Field::number().default(60).unimplemented())
        .field("concurrency_limit", Field::integer().default(1).one_of_numbers(&[1]).doc("batches at once"));
    Schema::new()
        .field(
            "http_endpoint",
            Field::string().required().text(url).doc("URL of the server that takes the entries"),
        )
        .field(
            "method",
            Field::string().default("POST").one_of(&["POST", "PUT", "PATCH"]).doc("the method of the calls"),
        )
        .field(
            "content_type",
            Field::string()
                .default("application/json")
                .one_of(&["application/json", "application/json; charset=utf-8"])
                .doc("their type"),
        )
        .field("timeout", Field::number().default(10_000).doc("milliseconds that an answer may take"))
        .field("retry_count", Field::integer().silent().moot(OLDER))
        .field("queue_size", Field::integer().silent().moot(OLDER))
        .field("flush_timeout", Field::number().silent().moot(OLDER))
        .field("keepalive", Field::number().default(60_000).unimplemented())
        .field(
            "headers",
            Field::map(Field::string()).value(headers).doc("further headers of the calls, texts by name"),
        )
        .field("queue", Field::record(Arc::new(queue)).required())
        .field("custom_fields_by_lua", Field::opaque())
}
