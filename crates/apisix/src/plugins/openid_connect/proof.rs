//! Proofs of possession.

use plugins::openid_connect::RequiredProof;
use serde_json::Value;

use super::text;
use crate::schema::Schema;

pub(super) fn fields(schema: Schema) -> Schema {
    schema.field(
        "require_proof",
        Schema::string().choices(&["none", "dpop", "mtls", "any"]).default("none").doc(
            "which access tokens are taken: `dpop` only those bound to a key, `mtls` to a client certificate, `any` to \
             either; a bound one always needs its proof. An extension, not in APISIX",
        ),
    )
}

pub(super) fn required(conf: &Value) -> RequiredProof {
    match text(conf, "require_proof").as_deref() {
        Some("dpop") => RequiredProof::Dpop,
        Some("mtls") => RequiredProof::Mtls,
        Some("any") => RequiredProof::Any,
        _ => RequiredProof::None,
    }
}
