//! Certificates of authorities that the gate trusts.

use serde_json::{Map, Value, json};

use super::{stamped, tags};
use crate::schema::{Field, Schema, Violations};

pub(super) fn schema() -> Schema {
    stamped()
        .field("cert", Field::string().required().doc("one certificate of an authority, PEM"))
        .field("cert_digest", Field::string().unique().auto().doc("SHA-256 of it; computed"))
        .field("tags", tags())
}

/// Computes the digest of an authority's certificate, which is what is unique about it.
pub(crate) fn complete(ca: &mut Map<String, Value>) -> Result<(), Violations> {
    let Some(pem) = ca.get("cert").and_then(Value::as_str) else { return Ok(()) };
    let digest = gateway::authority_digest(pem).map_err(|why| match why {
        why if why.starts_with("invalid") => Violations::of("cert", why),
        why => {
            let mut violations = Violations::default();
            violations.add_entity(why);
            violations
        }
    })?;
    ca.insert("cert_digest".to_owned(), json!(digest));
    Ok(())
}
