//! Lists where objects belong. The domain's reader takes a list for the members of an object in their order, which
//! nobody means who writes JSON.

use idp::management::{ManagementError, Object};
use serde_json::Value;

/// Members that are objects wherever they are.
const OBJECTS: [&str; 16] = [
    "app_metadata",
    "backchannel_logout_initiators",
    "client",
    "client_metadata",
    "flags",
    "jwt_configuration",
    "metadata",
    "oidc_logout",
    "options",
    "password_complexity_options",
    "refresh_token",
    "session_cookie",
    "sessions",
    "subject_type_authorization",
    "user",
    "user_metadata",
];

/// Members of a connection's options that are objects; `username` is a user's name elsewhere.
const OPTIONS: [&str; 4] = ["password_dictionary", "password_no_personal_info", "username", "validation"];

/// Members whose inside is the caller's own.
const FREE: [&str; 5] = ["app_metadata", "client_metadata", "jwks", "metadata", "user_metadata"];

/// Refuses, by name, a list in the place of an object, and a list in a list: there is none in this API.
pub(super) fn check(body: &Object) -> Result<(), ManagementError> {
    check_members(body, "")
}

fn check_members(object: &Object, path: &str) -> Result<(), ManagementError> {
    for (name, value) in object {
        let known = |names: &[&str]| names.contains(&name.as_str());
        let here = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match value {
            Value::Array(_) if known(&OBJECTS) || (!path.is_empty() && known(&OPTIONS)) => {
                return Err(wrong("object", &here));
            }
            _ if known(&FREE) => {}
            Value::Object(members) => check_members(members, &here)?,
            Value::Array(items) => {
                for item in items {
                    match item {
                        Value::Array(_) => return Err(wrong("string or object", &here)),
                        Value::Object(members) => check_members(members, &here)?,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn wrong(expected: &str, property: &str) -> ManagementError {
    let property: String = property.chars().take(128).collect();
    let reason = format!("Expected type {expected} but found type array");
    ManagementError::InvalidBody(format!("Payload validation error: '{reason}' on property {property}."))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_no_object_and_holds_no_lists() {
        let words = |body: Value| check(body.as_object().unwrap()).map_err(|error| error.to_string());
        let bad = [
            (json!({ "options": [] }), "options"),
            (json!({ "options": { "validation": [] } }), "options.validation"),
            (json!({ "options": { "validation": { "username": [1, 2] } } }), "options.validation.username"),
            (json!({ "jwt_configuration": [1] }), "jwt_configuration"),
            (
                json!({ "subject_type_authorization": { "user": ["allow_all"] } }),
                "subject_type_authorization.user",
            ),
            (json!({ "scopes": [["read:x"]] }), "scopes"),
        ];
        for (body, property) in bad {
            assert!(words(body).unwrap_err().ends_with(&format!("on property {property}.")), "{property}");
        }
        let good = json!({ "user_metadata": { "a": [[1]] }, "callbacks": [], "username": "x", "scopes": [{ "value": "a" }] });
        assert_eq!(words(good), Ok(()));
    }
}
