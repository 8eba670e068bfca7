//! Attributes that APISIX's authentication plugins have in common.

use http::HeaderName;
use plugins::Fallback;
use serde_json::Value;

use crate::schema::Schema;

/// `hide_credentials`, `realm` and `anonymous_consumer`.
pub(super) fn fields(schema: Schema, realm: &'static str) -> Schema {
    schema
        .field(
            "hide_credentials",
            Schema::boolean().default(false).doc("true: the credential is not sent to the upstream"),
        )
        .field(
            "realm",
            Schema::string()
                .length(1, 128)
                .pattern(r#"^[\x20-\x21\x23-\x5B\x5D-\x7E]+$"#)
                .default(realm)
                .doc("realm of the challenge"),
        )
        .field(
            "anonymous_consumer",
            Schema::string()
                .length(1, 256)
                .doc("name of the consumer that requests without a good credential are taken for"),
        )
}

pub(super) fn fallback(conf: &Value, realm: &str) -> Fallback {
    Fallback { realm: text(conf, "realm", realm), anonymous: member(conf, "anonymous_consumer") }
}

pub(super) fn hides(conf: &Value) -> bool {
    conf.get("hide_credentials").and_then(Value::as_bool).unwrap_or(false)
}

/// A header's name in a schema.
pub(super) fn header_name() -> Schema {
    Schema::string().length(1, 256).check(|value| {
        let name = value.as_str().unwrap_or_default();
        HeaderName::from_bytes(name.as_bytes())
            .map(drop)
            .map_err(|_| "it is not the name of a header".to_owned())
    })
}

pub(super) fn member(conf: &Value, name: &str) -> Option<String> {
    conf.get(name).and_then(Value::as_str).map(str::to_owned)
}

pub(super) fn text(conf: &Value, name: &str, default: &str) -> String {
    member(conf, name).unwrap_or_else(|| default.to_owned())
}
