//! The fields of a request's body: of a form, or of a JSON object.

use std::collections::HashSet;

use bytes::Bytes;
use gateway::plugin::RequestHead;
use http::header;
use serde_json::{Map, Value};

use crate::query;

/// Levels of nesting in a body that is looked into.
const MAX_DEPTH: usize = 64;

/// What a body is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyKind {
    Form,
    Json,
}

/// The fields of a body.
pub(crate) enum Fields {
    Form(String),
    Json(Map<String, Value>),
}

impl BodyKind {
    /// That of a request which has fields.
    pub(crate) fn of(head: &RequestHead) -> Option<Self> {
        let text = head.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let essence = text.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Some(Self::Form);
        }
        essence.eq_ignore_ascii_case("application/json").then_some(Self::Json)
    }

    /// The body without the fields of these names. One that has none of them keeps its bytes.
    pub(crate) fn without(self, body: Bytes, hidden: &HashSet<String>) -> Bytes {
        match self {
            Self::Form => {
                let Ok(text) = std::str::from_utf8(&body) else { return body };
                let kept = query::without(text, |name| hidden.contains(name));
                if kept.len() == text.len() { body } else { Bytes::from(kept) }
            }
            Self::Json => {
                let Some(Fields::Json(mut members)) = Fields::read(self, &body) else { return body };
                let before = members.len();
                members.retain(|name, _| !hidden.contains(name));
                if members.len() == before { body } else { Bytes::from(Value::Object(members).to_string()) }
            }
        }
    }
}

impl Fields {
    /// `None` for a body that is not what it is said to be.
    pub(crate) fn read(kind: BodyKind, body: &[u8]) -> Option<Self> {
        match kind {
            BodyKind::Form => std::str::from_utf8(body).ok().map(|text| Self::Form(text.to_owned())),
            // A member that is there twice makes it none.
            BodyKind::Json => match jose::parse_json(body, MAX_DEPTH).ok()? {
                Value::Object(members) => Some(Self::Json(members)),
                _ => None,
            },
        }
    }

    /// Whether there is a field of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        match self {
            Self::Form(text) => query::values(text, name).next().is_some(),
            Self::Json(members) => members.contains_key(name),
        }
    }

    /// The one text under a name.
    pub(crate) fn one(&self, name: &str) -> Option<String> {
        match self {
            Self::Form(text) => query::one(text, name),
            Self::Json(members) => members.get(name)?.as_str().map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_once_is_found_and_taken_out() {
        let hidden: HashSet<String> = ["a".to_owned()].into();
        for (kind, body, found, left) in [
            (BodyKind::Form, "a=1&b=%7e", Some("1"), "b=%7e"),
            (BodyKind::Form, "a=1&a=2", None, ""),
            (BodyKind::Form, "b=1", None, "b=1"),
            (BodyKind::Json, r#"{"b":[1],"a":"1"}"#, Some("1"), r#"{"b":[1]}"#),
            (BodyKind::Json, r#"{ "a": null }"#, None, "{}"),
            (BodyKind::Json, r#"{ "b": null }"#, None, r#"{ "b": null }"#),
            (BodyKind::Json, r#"{"a":"1","a":"2"}"#, None, r#"{"a":"1","a":"2"}"#),
            (BodyKind::Json, "[", None, "["),
        ] {
            let fields = Fields::read(kind, body.as_bytes());
            assert_eq!(fields.and_then(|fields| fields.one("a")).as_deref(), found, "{body}");
            assert_eq!(kind.without(Bytes::from(body), &hidden), left, "{body}");
        }
    }
}
