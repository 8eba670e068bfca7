//! What APISIX and its library know and this build does not do.

use serde_json::{Value, json};

use crate::schema::Schema;

/// A name, and what it would be.
const ABSENT: [(&str, &str); 15] = [
    ("proxy_opts", "a proxy on the way to the provider"),
    ("claim_schema", "JSON Schema that claims must match"),
    ("introspection_params", "further parameters of an introspection request"),
    ("client_rsa_private_key", "PEM of the key for private_key_jwt"),
    ("client_rsa_private_key_id", "kid of that key"),
    ("client_jwt_assertion_expires_in", "seconds that a client assertion counts"),
    ("client_jwt_assertion_alg", "algorithm of a client assertion"),
    ("client_jwt_assertion_audience", "audience of a client assertion"),
    ("introspection_addon_headers", "request headers that are copied to the introspection call"),
    ("discovery_expires_in", "seconds that metadata are kept"),
    ("introspection_token_param_name", "name of the token in an introspection request"),
    ("introspection_cache_ignore", "asks the introspection endpoint on every request"),
    ("introspection_enable_negative_cache", "keeps the introspection endpoint's no as well"),
    ("pass_cookies", "cookies that are sent to the provider"),
    ("keepalive", "whether connections to the provider are kept"),
];

pub(super) fn fields(schema: Schema) -> Schema {
    let off = |doc: &'static str| Schema::boolean().unimplemented_except(false).doc(doc);
    let never = "tokens are always verified; true is refused";
    let schema = schema
        .field("accept_none_alg", Schema::boolean().default(false).check(refuse_unsigned).doc(never))
        .field(
            "accept_unsupported_alg",
            Schema::boolean().default(true).doc("accepted; tokens are always verified"),
        )
        .field("par", Schema::object().field("enabled", off("whether it is used")).open().doc("RFC 9126"))
        .field("dpop", Schema::object().field("enabled", off("whether it is used")).open().doc("RFC 9449"));
    let absent = |schema: Schema, (name, doc): (&'static str, &'static str)| {
        schema.field(name, Schema::any().unimplemented_except(json!({})).doc(doc))
    };
    ABSENT.into_iter().fold(schema, absent)
}

fn refuse_unsigned(value: &Value) -> Result<(), String> {
    if value == &Value::Bool(true) { Err("unsigned tokens are never accepted".to_owned()) } else { Ok(()) }
}
