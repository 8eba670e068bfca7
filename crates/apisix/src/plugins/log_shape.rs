//! What the logging plugins of the dialect have in common.

use std::time::Duration;

use expr::Template;
use gateway::error::ConfigError;
use plugins::exchange_log::{Batches, Shape};
use serde_json::{Map, Value};

use super::conf::integer;
use crate::schema::Schema;

/// `log_format` and `log_format_extra`.
pub(super) fn format_fields(schema: Schema) -> Schema {
    let members = || Schema::map(Schema::string().length(0, 4096)).at_most(128);
    schema
        .field(
            "log_format",
            members().doc("members of an entry, texts of variables, in the place of the usual ones"),
        )
        .field("log_format_extra", members().doc("members beside the usual ones"))
}

/// What `plugin_metadata` of a logging plugin may hold: a shape for the entries of routes that say none.
pub(crate) fn metadata() -> Schema {
    format_fields(Schema::object())
}

/// Takes the shape from there, each part where the route has none of its own.
pub(super) fn apply_metadata(conf: &mut Map<String, Value>, metadata: &Value) {
    for name in ["log_format", "log_format_extra"] {
        let format = metadata.get(name).and_then(Value::as_object).filter(|format| !format.is_empty());
        if let (Some(format), false) = (format, conf.contains_key(name)) {
            conf.insert(name.to_owned(), Value::Object(format.clone()));
        }
    }
}

/// The bodies of requests and answers, which this build does not log.
pub(super) fn body_fields(schema: Schema) -> Schema {
    let list = || Schema::array(Schema::any()).unimplemented();
    schema
        .field("include_req_body", Schema::boolean().unimplemented_except(false))
        .field("include_req_body_expr", list())
        .field("include_resp_body", Schema::boolean().unimplemented_except(false))
        .field("include_resp_body_expr", list())
        .field("max_req_body_bytes", Schema::integer().at_least(1).unimplemented_except(524_288))
        .field("max_resp_body_bytes", Schema::integer().at_least(1).unimplemented_except(524_288))
}

/// How entries are sent together.
pub(super) fn batch_fields(schema: Schema) -> Schema {
    schema
        .field("name", Schema::string().length(1, 256).doc("a name for people"))
        .field(
            "batch_max_size",
            Schema::integer()
                .at_least(1)
                .at_most(100_000)
                .default(1000)
                .doc("entries that are sent together"),
        )
        .field(
            "inactive_timeout",
            Schema::integer()
                .at_least(1)
                .default(5)
                .doc("seconds without a new entry after which a batch is sent"),
        )
        .field(
            "buffer_duration",
            Schema::integer()
                .at_least(1)
                .default(60)
                .doc("seconds that the first entry of a batch waits at most"),
        )
        .field(
            "max_retry_count",
            Schema::integer().at_least(0).at_most(100).default(0).doc("times that a batch is sent again"),
        )
        .field("retry_delay", Schema::integer().at_least(0).default(1).doc("seconds before that"))
        .field(
            "max_pending_entries",
            Schema::integer()
                .at_least(1)
                .at_most(1_000_000)
                .default(8192)
                .doc("entries that may wait; more are left out and counted"),
        )
}

pub(super) fn batches(conf: &Value) -> Batches {
    let number = |name: &str, unset: u64| integer(conf, name).unwrap_or(unset);
    let count = |name: &str, unset: u64| usize::try_from(number(name, unset)).unwrap_or(usize::MAX);
    let seconds = |name: &str, unset: u64| Duration::from_secs(number(name, unset));
    Batches {
        most: count("batch_max_size", 1000),
        idle: seconds("inactive_timeout", 5),
        oldest: seconds("buffer_duration", 60),
        retries: u32::try_from(number("max_retry_count", 0)).unwrap_or(0),
        retry_delay: seconds("retry_delay", 1),
        waiting: count("max_pending_entries", 8192),
    }
}

pub(super) fn shape(conf: &Value) -> Result<Shape, ConfigError> {
    if conf.get("log_format").is_some() {
        return members(conf, "log_format").map(Shape::Members);
    }
    if conf.get("log_format_extra").is_some() {
        return members(conf, "log_format_extra").map(Shape::ApisixAnd);
    }
    Ok(Shape::Apisix)
}

fn members(conf: &Value, name: &str) -> Result<Vec<(String, Template)>, ConfigError> {
    let members = conf.get(name).and_then(Value::as_object);
    members
        .into_iter()
        .flatten()
        .map(|(member, text)| {
            let template = Template::parse(text.as_str().unwrap_or_default());
            let template =
                template.map_err(|error| ConfigError::new(format!("{name}.{member}"), error.to_string()))?;
            Ok((member.clone(), template))
        })
        .collect()
}
