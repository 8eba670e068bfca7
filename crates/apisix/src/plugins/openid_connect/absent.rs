//! What APISIX and its library know and this build does not do.

use serde_json::{Value, json};

use crate::schema::Schema;

/// A name, and what it would be.
const ABSENT: [(&str, &str); 1] = [("pass_cookies", "cookies that are sent to the provider")];

pub(super) fn fields(schema: Schema) -> Schema {
    let never = "tokens are always verified; true is refused";
    let schema = schema
        .field("accept_none_alg", Schema::boolean().default(false).check(refuse_unsigned).doc(never))
        .field(
            "accept_unsupported_alg",
            Schema::boolean().default(true).doc("accepted; tokens are always verified"),
        );
    let absent = |schema: Schema, (name, doc): (&'static str, &'static str)| {
        schema.field(name, Schema::any().unimplemented_except(json!({})).doc(doc))
    };
    ABSENT.into_iter().fold(schema, absent)
}

fn refuse_unsigned(value: &Value) -> Result<(), String> {
    if value == &Value::Bool(true) { Err("unsigned tokens are never accepted".to_owned()) } else { Ok(()) }
}
