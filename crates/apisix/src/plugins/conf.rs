//! Reads a configuration that fits its schema.

use gateway::error::ConfigError;
use plugins::text::Text;
use serde_json::Value;

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
