//! Reads a configuration that fits its schema.

use gateway::error::ConfigError;
use http::HeaderName;
use plugins::text::Text;
use serde_json::{Map, Value};

use crate::schema::NONE_FITS;

/// The text of a member.
pub(super) fn text<'a>(conf: &'a Value, name: &str) -> Option<&'a str> {
    conf.get(name).and_then(Value::as_str)
}

/// A member that says yes or no; `unset` where it is left out.
pub(super) fn flag(conf: &Value, name: &str, unset: bool) -> bool {
    conf.get(name).and_then(Value::as_bool).unwrap_or(unset)
}

/// A whole number, also when it is written `1.0`.
pub(super) fn integer(conf: &Value, name: &str) -> Option<u64> {
    let value = conf.get(name)?;
    value.as_u64().or_else(|| {
        let float = value.as_f64().filter(|float| float.fract() == 0.0 && *float >= 0.0 && *float < 9e15)?;
        Some(float as u64)
    })
}

/// The texts of a list.
pub(super) fn texts(conf: &Value, name: &str) -> Vec<String> {
    let items = conf.get(name).and_then(Value::as_array);
    items.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Whether edits of headers are sorted by what they do; otherwise all of them set.
pub(super) fn is_grouped(headers: &Value) -> bool {
    headers.get("add").is_some_and(|add| add.is_object() || add.is_array())
        || headers.get("set").is_some_and(Value::is_object)
        || headers.get("remove").is_some_and(Value::is_array)
}

/// Whether these are values of headers by name, at least one; `lists`: whether a name may have several.
pub(super) fn is_dictionary(value: &Value, lists: bool) -> bool {
    let single = |value: &Value| value.is_string() || value.is_number();
    let fits = |value: &Value| {
        single(value) || (lists && value.as_array().is_some_and(|items| items.iter().all(single)))
    };
    let members = value.as_object();
    members.is_some_and(|members| {
        !members.is_empty() && members.iter().all(|(name, value)| name.is_empty() || fits(value))
    })
}

/// Whether this is a list of headers' names, at least one.
pub(super) fn is_names(value: &Value) -> bool {
    let is_name = |name: &Value| name.as_str().is_some_and(|name| !name.is_empty() && !name.contains(':'));
    value.as_array().is_some_and(|names| !names.is_empty() && names.iter().all(is_name))
}

/// Checks edits of headers in APISIX's words: sorted ones, which `is_sorted` knows, or a dictionary of what is set.
pub(super) fn check_header_edits(
    headers: &Value,
    is_sorted: fn(&Map<String, Value>) -> bool,
    lists: bool,
) -> Result<(), String> {
    let Some(edits) = headers.as_object().filter(|edits| !edits.is_empty()) else {
        return Err(NONE_FITS.to_owned());
    };
    let grouped = is_grouped(headers);
    if !(if grouped { is_sorted(edits) } else { is_dictionary(headers, lists) }) {
        return Err(NONE_FITS.to_owned());
    }
    if grouped {
        return Ok(());
    }
    for name in edits.keys() {
        if name.is_empty() {
            return Err("invalid field length in header".to_owned());
        }
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err("invalid field character in header".to_owned());
        }
    }
    Ok(())
}

/// A dictionary of values for headers, each a text, a number, or a list of both.
pub(super) fn header_values(conf: Option<&Value>) -> Result<Vec<(String, Text)>, ConfigError> {
    let mut out = Vec::new();
    for (name, value) in conf.and_then(Value::as_object).into_iter().flatten() {
        let values = match value {
            Value::Array(items) => items.iter().collect(),
            one => vec![one],
        };
        for value in values {
            let text = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            out.push((name.clone(), Text::parse("headers", &text)?));
        }
    }
    Ok(out)
}
