//! What claims must look like.

use plugins::json_schema::JsonSchema;
use serde_json::{Map, Value};

use crate::schema::Schema;

pub(super) fn fields(schema: Schema) -> Schema {
    let doc =
        "JSON Schema (drafts 4 to 7): of a token's claims, or of {user, access_token, id_token} of a session";
    schema.field("claim_schema", Schema::object().open().doc(doc))
}

pub(super) fn check(conf: &Map<String, Value>) -> Result<(), String> {
    match conf.get("claim_schema").map(JsonSchema::compile) {
        Some(Err(error)) => Err(format!("check claim_schema failed: {error}")),
        _ => Ok(()),
    }
}
