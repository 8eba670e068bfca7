//! APISIX's `http-logger`: what may be written, and what it means.

use std::{sync::Arc, time::Duration};

use gateway::{error::ConfigError, plugin::Plugin};
use plugins::exchange_log::{Config, HttpTarget, Joined, Services, Target, compile};
use serde_json::{Map, Value};

use super::{
    CompileContext, DialectPlugin,
    conf::{flag, integer, text},
    log_shape::{self, batch_fields, batches, body_fields, format_fields, shape},
};
use crate::schema::Schema;

/// The plugin of the dialect.
pub struct HttpLogger {
    schema: Schema,
    metadata: Schema,
    services: Services,
}

impl HttpLogger {
    /// With this way out.
    pub fn new(services: Services) -> Self {
        Self { schema: schema(), metadata: log_shape::metadata(), services }
    }
}

impl DialectPlugin for HttpLogger {
    fn name(&self) -> &'static str {
        "http-logger"
    }

    fn priority(&self) -> i64 {
        410
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn metadata_schema(&self) -> Option<&Schema> {
        Some(&self.metadata)
    }

    fn apply_metadata(&self, conf: &mut Map<String, Value>, metadata: &Value) {
        log_shape::apply_metadata(conf, metadata);
    }

    fn compile(&self, conf: &Value, _cx: &CompileContext<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let authorization = text(conf, "auth_header").filter(|value| !value.is_empty());
        let target = HttpTarget {
            url: text(conf, "uri").unwrap_or_default().to_owned(),
            method: "POST".to_owned(),
            headers: authorization
                .map(|value| ("Authorization".to_owned(), value.to_owned()))
                .into_iter()
                .collect(),
            timeout: Duration::from_secs(integer(conf, "timeout").unwrap_or(3)),
            verify_tls: flag(conf, "ssl_verify", true),
            joined: if text(conf, "concat_method") == Some("new_line") {
                Joined::Lines
            } else {
                Joined::List
            },
        };
        let config = Config {
            name: "http-logger",
            shape: shape(conf)?,
            only: Vec::new(),
            target: Target::Http(target),
            batches: batches(conf),
        };
        compile(config, &self.services)
    }
}

pub(crate) fn schema() -> Schema {
    let schema = Schema::object()
        .required(
            "uri",
            Schema::string()
                .length(1, 4096)
                .pattern(r"^[^\/]+:\/\/([\da-zA-Z.-]+|\[[\da-fA-F:]+\])(:\d+)?")
                .doc("URL of the server that takes the entries"),
        )
        .field("auth_header", Schema::string().length(0, 8192).secret().doc("`Authorization` of the calls"))
        .field("timeout", Schema::integer().at_least(1).default(3).doc("seconds that an answer may take"))
        .field(
            "concat_method",
            Schema::string()
                .choices(&["json", "new_line"])
                .default("json")
                .doc("several entries are a JSON list (a single one stands for itself), or one a line"),
        )
        .field(
            "ssl_verify",
            Schema::boolean().default(true).doc("whether the server's certificate is verified"),
        );
    batch_fields(body_fields(format_fields(schema)))
}
