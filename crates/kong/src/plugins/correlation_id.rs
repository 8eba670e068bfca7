//! Kong's `correlation-id`.

use std::sync::Arc;

use base::{Clock, Random};
use gateway::{error::ConfigError, plugin::Plugin};
use plugins::request_id::{Algorithm, Config, compile};
use serde_json::{Map, Value};

use super::{
    DialectPlugin,
    conf::{flag, text},
};
use crate::schema::{Field, Schema};

/// The plugin of the dialect.
pub(super) struct CorrelationId {
    pub(super) random: Random,
    pub(super) clock: Clock,
}

impl DialectPlugin for CorrelationId {
    fn name(&self) -> &'static str {
        "correlation-id"
    }

    fn priority(&self) -> i64 {
        100_001
    }

    fn schema(&self) -> Arc<Schema> {
        Arc::new(schema())
    }

    fn compile(&self, config: &Map<String, Value>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let config = Config {
            header: text(config, "header_name").unwrap_or("Kong-Request-ID").to_owned(),
            echo: flag(config, "echo_downstream", false),
            keeps_clients: true,
            keeps_upstreams: false,
            algorithm: match text(config, "generator") {
                Some("uuid") => Algorithm::Uuid,
                Some("tracker") => Algorithm::Tracker,
                _ => Algorithm::Counter,
            },
        };
        compile(config, &self.random, &self.clock)
    }
}

fn schema() -> Schema {
    Schema::new()
        .field(
            "header_name",
            Field::string().default("Kong-Request-ID").doc("the header that carries the name of a request"),
        )
        .field(
            "generator",
            Field::string()
                .required()
                .default("uuid#counter")
                .one_of(&["uuid", "uuid#counter", "tracker"])
                .doc("what new names look like"),
        )
        .field(
            "echo_downstream",
            Field::boolean().required().default(false).doc("whether the client is told"),
        )
}
