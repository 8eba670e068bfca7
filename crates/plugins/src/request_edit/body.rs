//! Edits of a body that is a form or a JSON object.

use bytes::Bytes;
use expr::Variables;
use gateway::error::ConfigError;
use http::{HeaderMap, HeaderValue, header};
use serde_json::{Map, Value};

use super::{
    list::{Edit, Query},
    multipart,
};

/// Bytes of a body that is edited; a longer one is answered with 413.
pub const MAX_BODY: usize = 8 << 20;

/// Edits of a body.
#[derive(Debug)]
pub(super) struct BodyRules {
    form: Query,
    edits: Vec<Edit>,
}

enum Kind<'t> {
    Form,
    /// In parts, with this boundary.
    Multipart(&'t str),
    Json,
}

impl BodyRules {
    pub(super) fn compile(edits: Vec<Edit>) -> Result<Option<Self>, ConfigError> {
        let form = Query::compile(edits.clone()).map_err(|error| ConfigError::new("body", error.reason))?;
        Ok((!edits.is_empty()).then_some(Self { form, edits }))
    }

    /// Whether a request of these headers has a body that can be edited.
    pub(super) fn concern(&self, headers: &HeaderMap) -> bool {
        kind(headers.get(header::CONTENT_TYPE)).is_some()
    }

    pub(super) fn fill(&self, variables: &dyn Variables) -> Vec<String> {
        self.form.fill(variables)
    }

    /// The edited body; one that is not what its type says stays as it is.
    pub(super) fn apply(&self, content_type: Option<&HeaderValue>, values: &[String], body: Bytes) -> Bytes {
        match kind(content_type) {
            None => body,
            Some(Kind::Form) => {
                let Ok(text) = std::str::from_utf8(&body) else { return body };
                Bytes::from(self.form.apply(Some(text), values).unwrap_or_default())
            }
            Some(Kind::Multipart(boundary)) => {
                multipart::edited(&body, boundary, &self.edits, values).map_or(body, Bytes::from)
            }
            Some(Kind::Json) => {
                let parsed: Result<Value, _> = if body.is_empty() {
                    Ok(Value::Object(Map::new()))
                } else {
                    serde_json::from_slice(&body)
                };
                let Ok(Value::Object(mut members)) = parsed else { return body };
                for (edit, value) in self.edits.iter().zip(values) {
                    edit_members(&mut members, edit, value);
                }
                Bytes::from(Value::Object(members).to_string())
            }
        }
    }
}

/// Whether a request of these headers has a form that is not in parts.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    matches!(kind(headers.get(header::CONTENT_TYPE)), Some(Kind::Form))
}

fn kind(content_type: Option<&HeaderValue>) -> Option<Kind<'_>> {
    let text = content_type?.to_str().ok()?;
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/x-www-form-urlencoded" => Some(Kind::Form),
        "multipart/form-data" => crate::multipart::boundary(text).map(Kind::Multipart),
        "application/json" => Some(Kind::Json),
        _ => None,
    }
}

fn edit_members(members: &mut Map<String, Value>, edit: &Edit, value: &str) {
    let value = || Value::from(value);
    match edit {
        Edit::Remove(name) => {
            members.shift_remove(name);
        }
        Edit::Rename(from, to) => {
            if let Some(found) = members.shift_remove(from) {
                members.insert(to.clone(), found);
            }
        }
        Edit::Replace(name, _) if !members.contains_key(name) => {}
        Edit::Add(name, _) if members.contains_key(name) => {}
        Edit::Replace(name, _) | Edit::Set(name, _) | Edit::Add(name, _) => {
            members.insert(name.clone(), value());
        }
        Edit::Append(name, _) => match members.get_mut(name) {
            None => {
                members.insert(name.clone(), value());
            }
            Some(Value::Array(items)) => items.push(value()),
            Some(found) => *found = Value::Array(vec![found.take(), value()]),
        },
    }
}
