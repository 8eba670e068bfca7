use std::sync::Arc;

use http::StatusCode;
use regex::{Regex, RegexBuilder};
use serde_json::{Value, json};

use super::request::{Query, number};
use crate::{
    answer::Answer,
    catalog::Resource,
    dialect::Dialect,
    resources::{Kind, Reader, answered, id_text},
};

/// Bytes of a filter's pattern, and of its compiled form.
const MAX_PATTERN: usize = 1024;
const MAX_COMPILED: usize = 1 << 20;

/// One resource, or a list of them.
pub(super) fn serve(
    dialect: &Dialect,
    kind: Kind,
    parent: Option<&str>,
    rest: &[String],
    query: &Query,
    reader: Reader,
) -> Result<Answer, Answer> {
    match rest {
        [] => list(dialect, kind, parent, query, reader),
        [id] => {
            let id = parent.map_or_else(|| id.clone(), |parent| format!("{parent}/{id}"));
            let resource = dialect.find(kind, &id).ok_or_else(Answer::key_not_found)?;
            Ok(Answer::new(StatusCode::OK, one(dialect, &resource, reader)))
        }
        _ => Err(Answer::error(StatusCode::NOT_FOUND, "not found")),
    }
}

fn list(
    dialect: &Dialect,
    kind: Kind,
    parent: Option<&str>,
    query: &Query,
    reader: Reader,
) -> Result<Answer, Answer> {
    let filter = Filter::of(kind, query)?;
    let mut found: Vec<Arc<Resource>> = match (kind, parent) {
        (Kind::Credential, Some(username)) => dialect.credentials_of(username),
        (_, Some(manager)) => {
            let mut all = dialect.list(kind);
            all.retain(|resource| resource.id.split_once('/').is_some_and(|(its, _)| its == manager));
            all
        }
        (_, None) => dialect.list(kind),
    };
    if kind == Kind::Credential && found.is_empty() {
        // APISIX keeps an empty folder for every kind but this one.
        return Err(Answer::key_not_found());
    }
    found.retain(|resource| filter.takes(&resource.value));
    let total = found.len();
    let page = page(query)?;
    let (skip, take) = page.unwrap_or((0, usize::MAX));
    let list: Vec<Value> =
        found.iter().skip(skip).take(take).map(|resource| one(dialect, resource, reader)).collect();
    Ok(Answer::new(StatusCode::OK, json!({"total": total, "list": list})))
}

fn one(dialect: &Dialect, resource: &Resource, reader: Reader) -> Value {
    let mut shown = shown(dialect, resource, reader);
    if let Some(value) = shown.get_mut("value") {
        *value = answered(resource.kind, value.take());
    }
    shown
}

pub(crate) fn shown(dialect: &Dialect, resource: &Resource, reader: Reader) -> Value {
    json!({
        "key": resource.kind.key(&resource.id),
        "value": dialect.show(resource, reader),
        "createdIndex": resource.created,
        "modifiedIndex": resource.modified,
    })
}

/// How many to skip and to show, when both numbers are given.
fn page(query: &Query) -> Result<Option<(usize, usize)>, Answer> {
    let argument = |name| query.get(name).and_then(number);
    let (Some(page), Some(size)) = (argument("page"), argument("page_size")) else { return Ok(None) };
    if !(10.0..=500.0).contains(&size) {
        // APISIX answers with the bare text.
        let text = json!("page_size must be between 10 and 500");
        return Err(Answer::new(StatusCode::BAD_REQUEST, text));
    }
    // Saturating: a page beyond the end is empty.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let (page, size) = (page.max(1.0) as usize, size as usize);
    Ok(Some(((page - 1).saturating_mul(size), size)))
}

/// The conditions of a list. All that are given must hold.
struct Filter {
    name: Option<Regex>,
    uri: Option<Regex>,
    label: Option<String>,
    /// Members and the ids they must have.
    references: Vec<(&'static str, String)>,
}

impl Filter {
    fn of(kind: Kind, query: &Query) -> Result<Self, Answer> {
        let pattern = |name| query.get(name).map(|text| compile(name, text)).transpose();
        let mut references = Vec::new();
        if let (Kind::Route, Some(filter)) = (kind, query.get("filter")) {
            for (key, value) in form_urlencoded::parse(filter.as_bytes()) {
                // APISIX knows these two and ignores all others.
                if let Some(member) = ["service_id", "upstream_id"].into_iter().find(|member| *member == key)
                {
                    references.push((member, value.into_owned()));
                }
            }
        }
        let label = query.get("label").map(str::to_owned);
        Ok(Self { name: pattern("name")?, uri: pattern("uri")?, label, references })
    }

    fn takes(&self, value: &Value) -> bool {
        let text = |member: &str| value.get(member).and_then(Value::as_str);
        let uris = || {
            let many =
                ["uris", "paths"].into_iter().filter_map(|member| value.get(member)?.as_array()).flatten();
            text("uri").into_iter().chain(many.filter_map(Value::as_str))
        };
        self.name.as_ref().is_none_or(|pattern| text("name").is_some_and(|name| pattern.is_match(name)))
            && self.uri.as_ref().is_none_or(|pattern| uris().any(|uri| pattern.is_match(uri)))
            && self
                .label
                .as_ref()
                .is_none_or(|label| value.get("labels").is_some_and(|all| all.get(label).is_some()))
            && self
                .references
                .iter()
                .all(|(member, id)| value.get(*member).and_then(id_text).is_some_and(|found| found == *id))
    }
}

fn compile(name: &str, pattern: &str) -> Result<Regex, Answer> {
    if pattern.len() > MAX_PATTERN {
        return Err(Answer::refuse(format!("{name}: the pattern is longer than {MAX_PATTERN} bytes")));
    }
    RegexBuilder::new(pattern)
        .size_limit(MAX_COMPILED)
        .build()
        .map_err(|error| Answer::refuse(format!("{name}: not a regular expression: {error}")))
}
