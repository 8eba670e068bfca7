//! Auth0's words for a body that does not fit. They name members and types, never the value that was sent: it may be a
//! secret in the wrong place.

use super::ManagementError;

/// Characters of a path that are told.
const MAX_PATH: usize = 128;

/// A member that does not belong.
pub(super) fn additional(name: &str) -> ManagementError {
    refused(&format!("Additional properties not allowed: {name}"), "")
}

/// A value that does not fit.
pub(super) fn invalid(member: &str, why: &str) -> ManagementError {
    refused(why, member)
}

fn refused(why: &str, member: &str) -> ManagementError {
    let place = if member.is_empty() { String::new() } else { format!(" on property {member}") };
    ManagementError::InvalidBody(format!("Payload validation error: '{why}'{place}."))
}

/// What the reader says about the type of a value, in JSON's terms.
pub(super) fn explain(error: &serde_path_to_error::Error<serde_json::Error>) -> ManagementError {
    let text = error.inner().to_string();
    let path = error.path().to_string();
    let path: String = path.chars().filter(|c| !c.is_control()).take(MAX_PATH).collect();
    // At the top there is no member to name.
    let path = if path == "." { "" } else { path.as_str() };
    if let Some(name) = quoted(&text, "unknown field `") {
        return additional(name);
    }
    if let Some(name) = quoted(&text, "missing field `") {
        return refused(&format!("Missing required property: {name}"), path);
    }
    refused(&reason(&text), path)
}

fn reason(text: &str) -> String {
    // The value itself stands between the first and the last of the reader's words, and may hold any of them.
    let expected = text.rsplit_once(", expected ").map_or("", |(_, expected)| expected);
    if text.starts_with("unknown variant `") {
        let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        return format!("No enum match, must be one of: {}", known.join(", "));
    }
    let expected = type_of(expected);
    if let Some(rest) = text.strip_prefix("invalid type: ") {
        return match (expected, type_of(rest)) {
            (Some(expected), Some(found)) => format!("Expected type {expected} but found type {found}"),
            (Some(expected), None) => format!("Expected type {expected}"),
            (None, Some(found)) => format!("Unexpected type {found}"),
            (None, None) => "Unexpected type".to_owned(),
        };
    }
    match expected {
        Some(expected) if text.starts_with("invalid value: ") => {
            format!("Value is not in the range of type {expected}")
        }
        Some(expected) if text.starts_with("invalid length ") => {
            format!("Expected type {expected} but found type array")
        }
        _ => "Object didn't pass validation".to_owned(),
    }
}

/// The type of JSON that the reader's words begin with.
fn type_of(words: &str) -> Option<&'static str> {
    const TYPES: [(&str, &str); 21] = [
        ("a string", "string"),
        ("a borrowed string", "string"),
        ("string", "string"),
        ("a boolean", "boolean"),
        ("boolean", "boolean"),
        ("a sequence", "array"),
        ("sequence", "array"),
        ("a map", "object"),
        ("map", "object"),
        ("struct ", "object"),
        ("integer", "integer"),
        ("i64", "integer"),
        ("u64", "integer"),
        ("i32", "integer"),
        ("u32", "integer"),
        ("u16", "integer"),
        ("usize", "integer"),
        ("floating point", "number"),
        ("f64", "number"),
        ("null", "null"),
        ("unit", "null"),
    ];
    TYPES.into_iter().find(|(start, _)| words.starts_with(start)).map(|(_, name)| name)
}

fn quoted<'t>(text: &'t str, before: &str) -> Option<&'t str> {
    text.strip_prefix(before)?.split_once('`').map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::{Client, Connection, ResourceServer};

    fn words<T: serde::de::DeserializeOwned>(body: Value) -> String {
        let read: Result<T, _> = serde_path_to_error::deserialize(body);
        explain(&read.err().unwrap()).to_string()
    }

    #[test]
    fn types_are_told_in_jsons_terms_with_the_whole_path() {
        let told = |why: &str, path: &str| format!("Payload validation error: '{why}' on property {path}.");
        let array = "Expected type array but found type string";
        assert_eq!(words::<Client>(json!({ "callbacks": "canary" })), told(array, "callbacks"));
        let string = "Expected type string but found type integer";
        assert_eq!(words::<Client>(json!({ "name": 5 })), told(string, "name"));
        assert_eq!(
            words::<ResourceServer>(json!({ "scopes": [{ "value": 5 }] })),
            told(string, "scopes[0].value")
        );
        assert_eq!(
            words::<ResourceServer>(json!({ "scopes": ["canary"] })),
            told("Expected type object but found type string", "scopes[0]")
        );
        assert_eq!(
            words::<ResourceServer>(json!({ "scopes": [{}] })),
            told("Missing required property: value", "scopes[0]")
        );
        assert_eq!(
            words::<Client>(json!({ "jwt_configuration": { "lifetime_in_seconds": 1.5 } })),
            told("Expected type integer but found type number", "jwt_configuration.lifetime_in_seconds")
        );
        assert_eq!(
            words::<Connection>(json!({ "options": { "passwordPolicy": "canary" } })),
            told("No enum match, must be one of: none, low, fair, good, excellent", "options.passwordPolicy")
        );
        assert_eq!(
            words::<Client>(json!({ "evil": 1 })),
            "Payload validation error: 'Additional properties not allowed: evil'."
        );
    }

    #[test]
    fn s04_the_value_is_never_told_whatever_it_says() {
        for value in
            [json!("canary"), json!("canary`, expected `canary"), json!(["canary"]), json!({"canary": 1})]
        {
            for name in ["callbacks", "app_type", "is_first_party", "refresh_token", "name"] {
                let read: Result<Client, _> =
                    serde_path_to_error::deserialize(json!({ name: value.clone() }));
                let Err(error) = read else { continue };
                let told = explain(&error).to_string();
                // What is named like a member is one: an unknown member is told by its name.
                assert!(!told.contains("canary") || value.is_object(), "{told}");
            }
        }
    }
}
