//! Kong's `request-termination`.

use std::sync::Arc;

use base::Random;
use bytes::Bytes;
use expr::Expression;
use gateway::{error::ConfigError, plugin::Plugin};
use plugins::{
    fixed_answer::{Answer, Body, Config, Which, compile},
    text::Text,
};
use serde_json::{Map, Value, json};

use super::{
    DialectPlugin,
    conf::{integer, text},
};
use crate::schema::{Field, Schema};

/// The plugin of the dialect.
pub(super) struct RequestTermination(pub(super) Random);

impl DialectPlugin for RequestTermination {
    fn name(&self) -> &'static str {
        "request-termination"
    }

    fn priority(&self) -> i64 {
        2
    }

    fn schema(&self) -> Arc<Schema> {
        Arc::new(schema())
    }

    fn compile(&self, config: &Map<String, Value>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let status =
            integer(config, "status_code").and_then(|status| u16::try_from(status).ok()).unwrap_or(503);
        let (body, headers) = match text(config, "body") {
            Some(body) => {
                let kind = text(config, "content_type").unwrap_or("application/json; charset=utf-8");
                let kind = Text::of("content_type", expr::Template::of(vec![expr::Part::Text(kind.into())]))?;
                (Body::Text(Bytes::from(body.to_owned())), vec![("Content-Type".to_owned(), kind)])
            }
            None => match text(config, "message").or(default_message(status)) {
                Some(message) => (Body::Message(message.to_owned()), Vec::new()),
                None => (Body::Text(Bytes::new()), Vec::new()),
            },
        };
        let conditions = match text(config, "trigger") {
            Some(trigger) => triggered(trigger)?,
            None => Vec::new(),
        };
        let which = Which { percentage: None, conditions };
        let answer = Some(Answer { status, body, headers, which });
        compile(Config { delay: None, answer, late: true }, &self.0)
    }
}

/// A request that has this header, or this argument.
fn triggered(name: &str) -> Result<Vec<Expression>, ConfigError> {
    let header = format!("http_{}", name.to_ascii_lowercase().replace('-', "_"));
    [header, format!("arg_{name}")]
        .into_iter()
        .map(|variable| {
            let compiled = Expression::compile(&json!([[variable, "~~", "(?s).*"]]));
            compiled.map_err(|error| ConfigError::new("trigger", error.to_string()))
        })
        .collect()
}

/// Other answers have no body of their own.
const fn default_message(status: u16) -> Option<&'static str> {
    Some(match status {
        401 => "Unauthorized",
        404 => "Not found",
        405 => "Method not allowed",
        500 => "An unexpected error occurred",
        502 => "Bad Gateway",
        503 => "Service unavailable",
        _ => return None,
    })
}

fn schema() -> Schema {
    Schema::new()
        .field(
            "status_code",
            Field::integer().required().default(503).between(100, 599).doc("status of the answer, from 200"),
        )
        .field("message", Field::string().doc("its message, in JSON or as a page"))
        .field("content_type", Field::string().doc("type of `body`; left out: JSON"))
        .field("body", Field::string().doc("its body, in the place of a message"))
        .field("echo", Field::boolean().required().default(false).unimplemented())
        .field("trigger", Field::string().doc("only requests with a header or an argument of this name"))
        .check_whole(|config| {
            let there = |field: &str| config.get(field).is_some_and(|value| !value.is_null());
            if there("message") && (there("body") || there("content_type")) {
                return Err("message cannot be used with content_type or body".to_owned());
            }
            if there("content_type") && !there("body") {
                return Err("content_type requires a body".to_owned());
            }
            Ok(())
        })
}
