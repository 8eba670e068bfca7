//! What APISIX has for taking tokens unverified, which nothing here does.

use serde_json::Value;

use crate::schema::Schema;

pub(super) fn fields(schema: Schema) -> Schema {
    let never = "tokens are always verified; true is refused";
    schema.field("accept_none_alg", Schema::boolean().default(false).check(refuse_unsigned).doc(never)).field(
        "accept_unsupported_alg",
        Schema::boolean().default(true).doc("accepted; tokens are always verified"),
    )
}

fn refuse_unsigned(value: &Value) -> Result<(), String> {
    if value == &Value::Bool(true) { Err("unsigned tokens are never accepted".to_owned()) } else { Ok(()) }
}
