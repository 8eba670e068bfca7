//! Kong's `prometheus`.

use std::sync::Arc;

use gateway::{error::ConfigError, plugin::Plugin};
use plugins::prometheus::{Config, Dialect, Registry, compile};
use serde_json::{Map, Value};

use super::{DialectPlugin, conf::flag};
use crate::schema::{Field, Schema};

/// The plugin of the dialect.
pub struct Prometheus(Arc<Registry>);

impl Prometheus {
    /// Counting here.
    pub const fn new(registry: Arc<Registry>) -> Self {
        Self(registry)
    }
}

impl DialectPlugin for Prometheus {
    fn name(&self) -> &'static str {
        "prometheus"
    }

    fn priority(&self) -> i64 {
        13
    }

    fn schema(&self) -> Arc<Schema> {
        Arc::new(schema())
    }

    fn compile(&self, config: &Map<String, Value>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let config = Config {
            dialect: Dialect::Kong,
            prefers_names: true,
            by_consumer: flag(config, "per_consumer", false),
            latencies: flag(config, "latency_metrics", false),
            bandwidth: flag(config, "bandwidth_metrics", false),
            statuses: flag(config, "status_code_metrics", false),
        };
        Ok(compile(config, &self.0))
    }
}

fn schema() -> Schema {
    let choice = || Field::boolean().required().default(false);
    Schema::new()
        .field("per_consumer", choice().doc("whether consumers are told apart"))
        .field("status_code_metrics", choice().doc("`kong_http_requests_total`"))
        .field(
            "latency_metrics",
            choice().doc("`kong_request_latency_ms`, `kong_upstream_latency_ms`, `kong_kong_latency_ms`"),
        )
        .field("bandwidth_metrics", choice().doc("`kong_bandwidth_bytes`"))
        .field("upstream_health_metrics", choice().unimplemented())
        .field("ai_metrics", choice().unimplemented())
        .field("wasm_metrics", choice().unimplemented())
}
