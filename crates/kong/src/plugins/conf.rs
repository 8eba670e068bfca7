//! Reads a config that fits its schema.

use serde_json::{Map, Value};

/// The text of a field.
pub(super) fn text<'a>(config: &'a Map<String, Value>, field: &str) -> Option<&'a str> {
    config.get(field)?.as_str()
}

/// The texts of a list.
pub(super) fn texts<'a>(config: &'a Map<String, Value>, field: &str) -> Vec<&'a str> {
    config.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// A field that says yes or no; `unset` where it is left out.
pub(super) fn flag(config: &Map<String, Value>, field: &str, unset: bool) -> bool {
    config.get(field).and_then(Value::as_bool).unwrap_or(unset)
}

/// A whole number.
pub(super) fn integer(config: &Map<String, Value>, field: &str) -> Option<u64> {
    config.get(field)?.as_u64()
}

/// A structure.
pub(super) fn record<'a>(config: &'a Map<String, Value>, field: &str) -> Option<&'a Map<String, Value>> {
    config.get(field)?.as_object()
}

/// As much of a text as an error shows.
pub(super) fn excerpt(text: &str) -> String {
    const MOST: usize = 128;
    let shown: String = text.chars().take(MOST).collect();
    if shown.len() < text.len() { format!("{shown}…") } else { shown }
}
