//! APISIX's `client-control`: what may be written, and what it means.

use std::sync::Arc;

use gateway::{error::ConfigError, plugin::Plugin};
use plugins::body_limit::{Config, compile};
use serde_json::Value;

use super::{CompileContext, DialectPlugin, conf::integer};
use crate::schema::Schema;

/// The plugin of the dialect.
pub struct ClientControl {
    schema: Schema,
}

impl Default for ClientControl {
    fn default() -> Self {
        Self { schema: schema() }
    }
}

impl DialectPlugin for ClientControl {
    fn name(&self) -> &'static str {
        "client-control"
    }

    fn priority(&self) -> i64 {
        22000
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn compile(&self, conf: &Value, _cx: &CompileContext<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
        // 0 stands for no restriction, and the gateway's own limit holds on.
        let limit = integer(conf, "max_body_size").filter(|limit| *limit > 0).unwrap_or(u64::MAX);
        let message = "the request's body is too large".to_owned();
        Ok(compile(Config { limit, demands_length: false, message, late: false }))
    }
}

pub(crate) fn schema() -> Schema {
    Schema::object().field(
        "max_body_size",
        Schema::integer()
            .at_least(0)
            .doc("bytes that a request's body may have; `0`: as many as the gateway takes"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins::tests::told;

    #[test]
    fn a_size_is_not_negative() {
        let told = |conf: Value| told(ClientControl::default(), conf);
        assert_eq!(told(json!({"max_body_size": 5})), "fine");
        assert_eq!(
            told(json!({"max_body_size": -1})),
            "property \"max_body_size\" validation failed: expected -1 to be at least 0"
        );
    }
}
