use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    ManagementError, Object,
    wording::{additional, explain, invalid},
};

/// What a request body means for an object.
pub(super) struct Rules {
    /// Members that nobody sets: refused like unknown ones, as Auth0 does.
    pub(super) read_only: &'static [&'static str],
    /// Members whose own members are merged one level deep, a null deleting one.
    pub(super) merged: &'static [&'static str],
    /// Members that Auth0 knows and this build does not: refused by name, unless they say what is the case anyway.
    pub(super) unsupported: &'static [&'static str],
}

impl Rules {
    /// Lays `body` over `current`. A null takes a member back to its default.
    pub(super) fn apply<T: Serialize + DeserializeOwned>(
        &self,
        current: &T,
        body: Object,
    ) -> Result<T, ManagementError> {
        let mut object = match serde_json::to_value(current) {
            Ok(Value::Object(object)) => object,
            _ => Object::new(),
        };
        for (name, value) in body {
            if self.read_only.contains(&name.as_str()) {
                return Err(additional(&name));
            }
            if self.unsupported.contains(&name.as_str()) {
                if says_nothing(&value) {
                    continue;
                }
                return Err(ManagementError::Unsupported(format!("The property {name} is not supported.")));
            }
            if value.is_null() && is_unknown::<T>(&name) {
                return Err(additional(&name));
            }
            lay(&mut object, name, value, self.merged);
        }
        serde_path_to_error::deserialize(Value::Object(object)).map_err(|error| explain(&error))
    }
}

/// Whether the object has no such member. A null is laid over nothing, and would not be noticed.
fn is_unknown<T: DeserializeOwned>(name: &str) -> bool {
    let only = Object::from_iter([(name.to_owned(), Value::Null)]);
    let read = serde_json::from_value::<T>(Value::Object(only));
    read.is_err_and(|error| error.to_string().starts_with("unknown field"))
}

/// Refuses `name` inside of `member` as [`Rules::unsupported`] does beside it.
pub(super) fn refuse_within(body: &mut Object, member: &str, name: &str) -> Result<(), ManagementError> {
    let Some(Value::Object(members)) = body.get_mut(member) else { return Ok(()) };
    match members.shift_remove(name) {
        Some(value) if !says_nothing(&value) => {
            Err(ManagementError::Unsupported(format!("The property {member}.{name} is not supported.")))
        }
        _ => Ok(()),
    }
}

/// Takes out a switch that says what is the case here anyway, and refuses one that says otherwise.
pub(super) fn settled(body: &mut Object, name: &str, here: bool) -> Result<(), ManagementError> {
    match body.shift_remove(name) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Bool(value)) if value == here => Ok(()),
        Some(Value::Bool(value)) => {
            Err(ManagementError::Unsupported(format!("{name}={value} is not supported.")))
        }
        Some(_) => Err(invalid(name, "Expected type boolean")),
    }
}

/// Auth0 asks people whether they meant to go to a callback that it cannot verify. Nobody is asked here.
pub(super) fn no_callback_prompt(body: &mut Object) -> Result<(), ManagementError> {
    settled(body, "skip_non_verifiable_callback_uri_confirmation_prompt", true)
}

fn lay(object: &mut Object, name: String, value: Value, merged: &[&str]) {
    match (object.get_mut(&name), value) {
        (Some(Value::Object(old)), Value::Object(new)) if merged.contains(&name.as_str()) => {
            for (key, value) in new {
                put(old, key, value);
            }
        }
        (_, Value::Object(new)) if merged.contains(&name.as_str()) => {
            let kept: Object = new.into_iter().filter(|(_, value)| !value.is_null()).collect();
            object.insert(name, Value::Object(kept));
        }
        (_, value) => put(object, name, value),
    }
}

fn put(object: &mut Object, name: String, value: Value) {
    if value.is_null() {
        object.shift_remove(&name);
    } else {
        object.insert(name, value);
    }
}

/// Null, false, empty, or the word for "not at all".
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty() || text == "deny" || text == "none",
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.values().all(says_nothing),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Client;

    const RULES: Rules =
        Rules { read_only: &["client_id"], merged: &["client_metadata"], unsupported: &["addons"] };

    fn apply(current: &Client, body: Value) -> Result<Client, ManagementError> {
        let Value::Object(body) = body else { panic!("an object") };
        RULES.apply(current, body)
    }

    #[test]
    fn metadata_merges_one_level_and_null_deletes() {
        let first =
            apply(&Client::default(), json!({"name": "a", "client_metadata": {"x": "1", "y": "2"}})).unwrap();
        let second =
            apply(&first, json!({"client_metadata": {"x": null, "z": "3"}, "callbacks": null})).unwrap();
        assert_eq!(second.client_metadata, *json!({"y": "2", "z": "3"}).as_object().unwrap());
        assert_eq!(second.name, "a");
    }

    #[test]
    fn o40_read_only_unknown_and_unsupported_members_are_refused_by_name() {
        let refused = |body: Value| apply(&Client::default(), body).unwrap_err();
        assert!(refused(json!({"client_id": "x"})).to_string().contains("client_id"));
        assert!(
            refused(json!({"tenant_id": "x"}))
                .to_string()
                .contains("Additional properties not allowed: tenant_id")
        );
        assert_eq!(refused(json!({"addons": {"samlp": {"x": 1}}})).status(), 403);
        assert!(apply(&Client::default(), json!({"addons": {}})).is_ok());
        assert_eq!(refused(json!({"callbacks": "x"})).status(), 400);
        assert!(refused(json!({"evil": null})).to_string().contains("not allowed: evil"));
        assert!(apply(&Client::default(), json!({"description": null, "callbacks": null})).is_ok());
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named_by_its_member() {
        let body =
            json!({"name": "a", "callbacks": [], "client_metadata": {"x": "1"}, "is_first_party": "yes"});
        let refused = apply(&Client::default(), body).unwrap_err().to_string();
        assert!(refused.ends_with(" on property is_first_party."), "{refused}");
    }
}
