//! The kinds of entities: where they are stored, what they name, and what must be unique about them. What may stand in
//! each is in the file of its name.

mod ca_certificate;
mod certificate;
mod consumer;
mod credentials;
mod kind;
mod plugin;
mod route;
mod service;
mod upstream;
mod values;
mod vault;

use serde_json::{Map, Value, json};

use crate::schema::{Field, Schema, Violations};

pub use self::kind::Kind;
pub(crate) use self::{
    certificate::take_snis,
    credentials::{GENERATED, generated, password_hash},
    kind::{PREFIX, Reference, SEALED_KEYS, named},
    plugin::schema as plugin_schema,
    route::header_pattern,
    upstream::{split as split_target, with_port},
    values::{excerpt, header_name, sni, tag},
    vault::NAME as VAULT,
};

/// A lower-case UUID, as ids are.
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        })
}

/// Replaces what a client may write in short, and computes what nobody writes.
pub(crate) fn expand(kind: Kind, value: &mut Map<String, Value>) -> Result<(), Violations> {
    match kind {
        Kind::Service => service::expand_url(value),
        Kind::CaCertificate => ca_certificate::complete(value),
        Kind::Upstream => {
            upstream::expand_algorithm(value);
            Ok(())
        }
        Kind::Target => {
            upstream::normalize(value);
            Ok(())
        }
        Kind::Route => {
            route::keep_path_of_calls(value);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// What is said of a protocol that Kong does not know either.
const NO_PROTOCOL: &str = "expected one of: grpc, grpcs, http, https, tcp, tls, tls_passthrough, udp";

fn id() -> Field {
    Field::string().auto().text(values::uuid)
}

/// What every entity begins with.
fn stamped() -> Schema {
    Schema::new()
        .field("id", id())
        .field("created_at", Field::integer().auto().doc("seconds since 1970"))
        .field("updated_at", Field::integer().auto().doc("seconds since 1970; set by each write"))
}

fn tags() -> Field {
    Field::set(Field::string().text(values::tag)).doc("labels to list entities by")
}

/// Makes every whole number an integer, as Lua has it.
pub(crate) fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(whole) = crate::schema::whole(number) {
                *value = whole;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(members) => members.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

/// `{name="x"}`: a table as Lua prints it, names sorted.
pub(crate) fn lua(fields: &Map<String, Value>) -> String {
    let mut pairs: Vec<String> =
        fields.iter().map(|(name, value)| format!("{name}={}", lua_value(value))).collect();
    pairs.sort();
    format!("{{{}}}", pairs.join(","))
}

/// A value as Lua prints it in tables.
pub(crate) fn lua_value(value: &Value) -> String {
    match value {
        Value::Object(members) => lua(members),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(lua_value).collect();
            format!("{{{}}}", items.join(","))
        }
        other => other.to_string(),
    }
}

/// Puts a member into an object.
pub(crate) fn set(object: &mut Value, name: &str, member: Value) {
    if let Value::Object(members) = object {
        members.insert(name.to_owned(), member);
    }
}

/// `{"id": id}`
pub(crate) fn by_id(id: &str) -> Value {
    json!({ "id": id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lower_case_uuids_are_ids() {
        assert!(is_uuid("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"));
        for bad in ["", "0F1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f", "x"] {
            assert!(!is_uuid(bad), "{bad}");
        }
    }

    #[test]
    fn tables_are_printed_as_lua_prints_them() {
        let fields = json!({"service": {"id": "x"}, "consumer": null, "name": "a"});
        assert_eq!(lua(fields.as_object().unwrap()), r#"{consumer=null,name="a",service={id="x"}}"#);
    }
}
