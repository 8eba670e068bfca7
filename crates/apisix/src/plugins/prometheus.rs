//! APISIX's `prometheus`: what may be written, and what it means.

use std::sync::Arc;

use gateway::{error::ConfigError, plugin::Plugin};
use plugins::prometheus::{Config, Dialect, Registry, compile};
use serde_json::Value;

use super::{CompileContext, DialectPlugin, conf::flag};
use crate::schema::Schema;

/// The plugin of the dialect.
pub struct Prometheus {
    schema: Schema,
    registry: Arc<Registry>,
}

impl Prometheus {
    /// Counting here.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { schema: schema(), registry }
    }
}

impl DialectPlugin for Prometheus {
    fn name(&self) -> &'static str {
        "prometheus"
    }

    fn priority(&self) -> i64 {
        500
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn compile(&self, conf: &Value, _cx: &CompileContext<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let config = Config {
            dialect: Dialect::Apisix,
            prefers_names: flag(conf, "prefer_name", false),
            by_consumer: true,
            latencies: true,
            bandwidth: true,
            statuses: true,
        };
        Ok(compile(config, &self.registry))
    }
}

pub(crate) fn schema() -> Schema {
    Schema::object().field(
        "prefer_name",
        Schema::boolean()
            .default(false)
            .doc("whether the labels `route` and `service` are names, where there are some, and not ids"),
    )
}
