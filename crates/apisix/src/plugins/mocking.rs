//! APISIX's `mocking`: what may be written, and what it means.

use std::{sync::Arc, time::Duration};

use base::Random;
use expr::Template;
use gateway::{error::ConfigError, plugin::Plugin};
use plugins::{
    fixed_answer::{Answer, Body, Config, Delay, Which, compile},
    text::Text,
};
use serde_json::{Map, Value};

use super::{
    CompileContext, DialectPlugin,
    conf::{flag, header_values, integer, text},
};
use crate::schema::Schema;

const CONTENT_TYPE: &str = "application/json;charset=utf8";

/// The plugin of the dialect.
pub struct Mocking {
    schema: Schema,
    random: Random,
}

impl Mocking {
    /// With these dice.
    pub fn new(random: Random) -> Self {
        Self { schema: schema(), random }
    }
}

impl DialectPlugin for Mocking {
    fn name(&self) -> &'static str {
        "mocking"
    }

    fn priority(&self) -> i64 {
        10900
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn check_after_schema(&self, conf: &Map<String, Value>) -> Result<(), String> {
        const KNOWN: [&str; 5] =
            ["application/xml", "application/json", "text/plain", "text/html", "text/xml"];
        let kind = conf.get("content_type").and_then(Value::as_str).unwrap_or(CONTENT_TYPE);
        let essence = kind.split(';').next().unwrap_or_default();
        if KNOWN.contains(&essence) { Ok(()) } else { Err("unsupported content type!".to_owned()) }
    }

    fn compile(&self, conf: &Value, _cx: &CompileContext<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let mut headers = header_values(conf.get("response_headers"))?;
        let kind = text(conf, "content_type").unwrap_or(CONTENT_TYPE);
        headers.push(("Content-Type".to_owned(), Text::parse("content_type", kind)?));
        if flag(conf, "with_mock_header", true) {
            headers.push(("x-mock-by".to_owned(), Text::parse("with_mock_header", "APISIX/3.18.0")?));
        }
        let body = Template::parse(text(conf, "response_example").unwrap_or_default())
            .map_err(|error| ConfigError::new("response_example", error.to_string()))?;
        let answer = Answer {
            status: integer(conf, "response_status")
                .and_then(|status| u16::try_from(status).ok())
                .unwrap_or(200),
            body: Body::Template(body),
            headers,
            which: Which::default(),
        };
        let delay = integer(conf, "delay").filter(|seconds| *seconds > 0);
        let delay =
            delay.map(|seconds| Delay { time: Duration::from_secs(seconds), which: Which::default() });
        compile(Config { delay, answer: Some(answer), late: true }, &self.random)
    }
}

pub(crate) fn schema() -> Schema {
    Schema::object()
        .field("delay", Schema::integer().at_least(0).at_most(3600).default(0).doc("seconds to wait first"))
        .field(
            "response_status",
            Schema::integer().at_least(200).at_most(599).default(200).doc("status of the answer"),
        )
        .field(
            "content_type",
            Schema::string()
                .length(1, 256)
                .default(CONTENT_TYPE)
                .doc("`application/json`, `application/xml`, `text/xml`, `text/plain` or `text/html`"),
        )
        .required("response_example", Schema::string().length(0, 1 << 20).doc("the body, with variables"))
        .field("response_schema", Schema::object().open().unimplemented())
        .field(
            "with_mock_header",
            Schema::boolean().default(true).doc("whether the answer says `x-mock-by: APISIX/3.18.0`"),
        )
        .field(
            "response_headers",
            Schema::map(Schema::any_of(vec![Schema::string(), Schema::number()]))
                .doc("headers of the answer; values may hold variables"),
        )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins::tests::told;

    #[test]
    fn what_is_written_is_checked_in_apisix_words() {
        let told = |conf: Value| told(Mocking::new(Random::seeded(1)), conf);
        assert_eq!(told(json!({"response_example": "{}"})), "fine");
        assert_eq!(
            told(json!({"response_example": "x", "content_type": "image/png"})),
            "unsupported content type!"
        );
        assert!(told(json!({"response_schema": {"type": "object"}})).contains("response_"));
    }
}
