//! APISIX's `attach-consumer-label`.

use std::sync::Arc;

use gateway::{error::ConfigError, plugin::Plugin};
use http::HeaderName;
use plugins::attach_consumer_label::{Config, compile};
use serde_json::Value;

use super::{CompileContext, DialectPlugin};
use crate::schema::Schema;

/// The plugin of the dialect.
pub struct AttachConsumerLabel {
    schema: Schema,
}

impl Default for AttachConsumerLabel {
    fn default() -> Self {
        Self { schema: schema() }
    }
}

/// What may be written.
pub(crate) fn schema() -> Schema {
    let label = Schema::string().length(2, 256).pattern(r"^\$.*");
    Schema::object().required(
        "headers",
        Schema::additional(label)
            .at_least(1)
            .doc("headers, each with the label it gets the value of: `$role`"),
    )
}

impl DialectPlugin for AttachConsumerLabel {
    fn name(&self) -> &'static str {
        "attach-consumer-label"
    }

    fn priority(&self) -> i64 {
        2399
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn compile(&self, conf: &Value, _cx: &CompileContext<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let mut headers = Vec::new();
        for (name, label) in conf.get("headers").and_then(Value::as_object).into_iter().flatten() {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| ConfigError::new("headers", "it has what is not the name of a header"))?;
            let label = label.as_str().and_then(|label| label.strip_prefix('$')).unwrap_or_default();
            headers.push((name, label.to_owned()));
        }
        compile(Config { headers })
    }
}
