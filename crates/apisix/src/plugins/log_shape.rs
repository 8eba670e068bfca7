//! What the logging plugins of the dialect have in common.

use std::time::Duration;

use expr::Template;
use gateway::error::ConfigError;
use plugins::exchange_log::{Batches, Member, Shape};
use serde_json::{Map, Value};

use super::conf::integer;
use crate::schema::{Schema, wrong_type};

/// Members that a format has, those within others included.
const MAX_MEMBERS: usize = 128;
/// Bytes of the text of one.
const MAX_TEXT: usize = 4096;
/// Objects within each other, the entry among them; APISIX leaves deeper ones empty.
const MAX_DEPTH: usize = 5;

/// `log_format` and `log_format_extra`.
pub(super) fn format_fields(schema: Schema) -> Schema {
    let members = || Schema::object().open().check(check_format);
    schema
        .field(
            "log_format",
            members().doc(
                "members of an entry in the place of the usual ones: texts of variables, and objects of such",
            ),
        )
        .field("log_format_extra", members().doc("members beside the usual ones"))
}

fn check_format(format: &Value) -> Result<(), String> {
    fn check(format: &Value, left: &mut usize) -> Result<(), String> {
        for (name, member) in format.as_object().into_iter().flatten() {
            *left = left
                .checked_sub(1)
                .ok_or_else(|| format!("expect object to have at most {MAX_MEMBERS} properties"))?;
            let wrong = match member {
                Value::Object(_) => {
                    check(member, left)?;
                    continue;
                }
                Value::String(text) if text.len() <= MAX_TEXT => continue,
                Value::String(text) => {
                    format!("string too long, expected at most {MAX_TEXT}, got {}", text.len())
                }
                other => wrong_type("string", other),
            };
            return Err(format!("failed to validate {name} (matching \".*\"): {wrong}"));
        }
        Ok(())
    }
    check(format, &mut MAX_MEMBERS.clone())
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
        return format(conf, "log_format").map(Shape::Members);
    }
    if conf.get("log_format_extra").is_some() {
        return format(conf, "log_format_extra").map(Shape::ApisixAnd);
    }
    Ok(Shape::Apisix)
}

fn format(conf: &Value, name: &str) -> Result<Vec<(String, Member)>, ConfigError> {
    conf.get(name).map_or_else(|| Ok(Vec::new()), |format| members(format, name, 1))
}

fn members(format: &Value, path: &str, depth: usize) -> Result<Vec<(String, Member)>, ConfigError> {
    if depth > MAX_DEPTH {
        tracing::warn!(path, "what is deeper than {MAX_DEPTH} objects in a log's format is left out");
        return Ok(Vec::new());
    }
    let members = format.as_object().into_iter().flatten();
    let read = |(name, member): (&String, &Value)| {
        let path = format!("{path}.{name}");
        let member = match member {
            Value::Object(_) => Member::Object(self::members(member, &path, depth + 1)?),
            text => Member::Text(
                Template::parse(text.as_str().unwrap_or_default())
                    .map_err(|error| ConfigError::new(path, error.to_string()))?,
            ),
        };
        Ok((name.clone(), member))
    };
    members.map(read).collect()
}
