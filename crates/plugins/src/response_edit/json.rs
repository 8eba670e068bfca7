//! Edits of an answer that is a JSON object.

use bytes::Bytes;
use http::{HeaderMap, header};
use serde_json::{Map, Value};

/// One change to the members of a JSON object. Names are names, not paths.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonEdit {
    /// Takes a member out.
    Remove(String),
    /// Gives a member another name.
    Rename(String, String),
    /// Puts a value in the place of a member that is there.
    Replace(String, Value),
    /// Puts a member there where there is none.
    Add(String, Value),
    /// Makes a list of a member, with this at its end.
    Append(String, Value),
}

/// The members of a JSON object.
pub type Members = Map<String, Value>;

pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The edited body; one that is no JSON object stays as it is.
pub(super) fn apply(edits: &[JsonEdit], body: Bytes) -> Bytes {
    let Ok(Value::Object(mut members)) = serde_json::from_slice(&body) else { return body };
    for edit in edits {
        edit_members(&mut members, edit);
    }
    Bytes::from(Value::Object(members).to_string())
}

fn edit_members(members: &mut Members, edit: &JsonEdit) {
    match edit {
        JsonEdit::Remove(name) => {
            members.shift_remove(name);
        }
        JsonEdit::Rename(from, to) => {
            if let Some(found) = members.shift_remove(from) {
                members.insert(to.clone(), found);
            }
        }
        JsonEdit::Replace(name, value) => {
            if let Some(found) = members.get_mut(name) {
                *found = value.clone();
            }
        }
        JsonEdit::Add(name, value) => {
            members.entry(name.clone()).or_insert_with(|| value.clone());
        }
        JsonEdit::Append(name, value) => match members.get_mut(name) {
            None => {
                members.insert(name.clone(), value.clone());
            }
            Some(Value::Array(items)) => items.push(value.clone()),
            Some(found) => *found = Value::Array(vec![found.take(), value.clone()]),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_edited_in_order_and_other_bodies_stay() {
        let edits = [
            JsonEdit::Remove("secret".to_owned()),
            JsonEdit::Rename("old".to_owned(), "new".to_owned()),
            JsonEdit::Replace("there".to_owned(), json!(1)),
            JsonEdit::Replace("absent".to_owned(), json!(1)),
            JsonEdit::Add("there".to_owned(), json!(2)),
            JsonEdit::Add("added".to_owned(), json!(2)),
            JsonEdit::Append("added".to_owned(), json!(3)),
        ];
        let body = json!({"secret": 1, "old": 2, "there": 0}).to_string();
        let edited: Value = serde_json::from_slice(&apply(&edits, Bytes::from(body))).unwrap();
        assert_eq!(edited, json!({"new": 2, "there": 1, "added": [2, 3]}));
        for body in ["[1]", "no json", ""] {
            assert_eq!(apply(&edits, Bytes::from(body)), body);
        }
    }
}
