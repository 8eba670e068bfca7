//! Kong's `request-size-limiting`.

use std::sync::Arc;

use gateway::{error::ConfigError, plugin::Plugin};
use plugins::body_limit::{Config, compile};
use serde_json::{Map, Value};

use super::{
    DialectPlugin,
    conf::{flag, integer, text},
};
use crate::schema::{Field, Schema};

/// The plugin of the dialect.
pub(super) struct RequestSizeLimiting;

impl DialectPlugin for RequestSizeLimiting {
    fn name(&self) -> &'static str {
        "request-size-limiting"
    }

    fn priority(&self) -> i64 {
        951
    }

    fn schema(&self) -> Arc<Schema> {
        Arc::new(schema())
    }

    fn compile(&self, config: &Map<String, Value>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let unit = match text(config, "size_unit") {
            Some("bytes") => 1,
            Some("kilobytes") => 1 << 10,
            _ => 1 << 20,
        };
        Ok(compile(Config {
            limit: integer(config, "allowed_payload_size").unwrap_or(128).saturating_mul(unit),
            demands_length: flag(config, "require_content_length", false),
            message: "Request size limit exceeded".to_owned(),
            late: true,
        }))
    }
}

fn schema() -> Schema {
    Schema::new()
        .field(
            "allowed_payload_size",
            Field::integer().default(128).doc("how long a request's body may be, in the unit of `size_unit`"),
        )
        .field(
            "size_unit",
            Field::string()
                .required()
                .default("megabytes")
                .one_of(&["megabytes", "kilobytes", "bytes"])
                .doc("2^20 bytes, 2^10 bytes, or bytes"),
        )
        .field(
            "require_content_length",
            Field::boolean()
                .required()
                .default(false)
                .doc("whether a request that may have a body must say its length: 411"),
        )
}
