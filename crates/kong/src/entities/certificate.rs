//! Certificates, and the server names they are shown for.

use serde_json::{Map, Value, json};

use super::{stamped, tags, values};
use crate::schema::{Field, Schema, Violations};

pub(super) fn schema() -> Schema {
    stamped()
        .field("cert", Field::string().required().doc("the chain, PEM, end entity first"))
        .field("key", Field::string().required().secret().doc("its private key, PEM"))
        .field("cert_alt", Field::string().doc("a further chain, of another kind of key"))
        .field("key_alt", Field::string().secret().doc("its private key"))
        .field("tags", tags())
        .check_entity(pairs)
}

fn pairs(certificate: &Map<String, Value>) -> Result<(), String> {
    let has = |name: &str| certificate.get(name).is_some_and(|found| !found.is_null());
    if has("cert_alt") == has("key_alt") {
        return Ok(());
    }
    Err("all or none of these fields must be set: 'cert_alt', 'key_alt'".to_owned())
}

pub(super) fn sni() -> Schema {
    stamped()
        .field(
            "name",
            Field::string()
                .required()
                .unique()
                .text(values::sni)
                .doc("a server name, `*.example.com` too; unique"),
        )
        .field("certificate", Field::foreign("certificates").required().doc("what is shown for it"))
        .field("tags", tags())
}

/// The shorthand `snis` of a certificate, taken out of it: the server names that it is to have and no others.
pub(crate) fn take_snis(certificate: &mut Map<String, Value>) -> Result<Option<Vec<String>>, Violations> {
    let Some(sent) = certificate.shift_remove("snis") else { return Ok(None) };
    let wrong = |what: Value| {
        let mut violations = Violations::default();
        violations.add("snis", what);
        violations
    };
    let items = match sent {
        Value::Null => return Ok(Some(Vec::new())),
        Value::Array(items) => items,
        one @ Value::String(_) => vec![one],
        _ => return Err(wrong(json!("expected a set"))),
    };
    let mut names: Vec<String> = Vec::new();
    for item in items {
        let Value::String(name) = item else { return Err(wrong(json!("expected a string"))) };
        if let Err(why) = values::sni(&name) {
            return Err(wrong(json!(why)));
        }
        if names.contains(&name) {
            return Err(wrong(json!(format!("{} is duplicated", values::excerpt(&name)))));
        }
        names.push(name);
    }
    Ok(Some(names))
}
