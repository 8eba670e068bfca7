//! Kong's `response-transformer`.

use std::sync::Arc;

use expr::{Part, Template};
use gateway::{error::ConfigError, plugin::Plugin};
use plugins::{
    response_edit::{BodyRule, Config, HeaderEdit, JsonEdit, MAX_BODY, compile},
    text::Text,
};
use serde_json::{Map, Value, json};

use super::{
    DialectPlugin,
    conf::{excerpt, record, texts},
};
use crate::schema::{Field, Schema};

/// The plugin of the dialect.
pub(super) struct ResponseTransformer;

impl DialectPlugin for ResponseTransformer {
    fn name(&self) -> &'static str {
        "response-transformer"
    }

    fn priority(&self) -> i64 {
        800
    }

    fn schema(&self) -> Arc<Schema> {
        Arc::new(schema())
    }

    fn compile(&self, config: &Map<String, Value>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let edits = json_edits(config)?;
        let body = (!edits.is_empty()).then_some(BodyRule::Json { edits, limit: MAX_BODY });
        compile(Config { headers: header_edits(config)?, body, ..Config::default() })
    }
}

fn list<'a>(config: &'a Map<String, Value>, what: &str, of: &str) -> Vec<&'a str> {
    record(config, what).map(|record| texts(record, of)).unwrap_or_default()
}

fn split<'a>(what: &str, of: &str, pair: &'a str) -> Result<(String, &'a str), ConfigError> {
    pair.split_once(':')
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| (name.to_owned(), value))
        .ok_or_else(|| ConfigError::new(format!("{what}.{of}"), "expected the form 'name:value'"))
}

/// In the order in which Kong makes them.
fn header_edits(config: &Map<String, Value>) -> Result<Vec<HeaderEdit>, ConfigError> {
    let mut edits = Vec::new();
    for item in list(config, "remove", "headers") {
        edits.push(match item.split_once(':') {
            Some((name, value)) => HeaderEdit::RemoveValue(name.to_owned(), value.trim().to_owned()),
            None => HeaderEdit::Remove(item.to_owned()),
        });
    }
    for pair in list(config, "rename", "headers") {
        let (from, to) = split("rename", "headers", pair)?;
        edits.push(HeaderEdit::Rename(from, to.to_owned()));
    }
    type Make = fn(String, Text) -> HeaderEdit;
    let rest: [(&str, Make); 3] =
        [("replace", HeaderEdit::Replace), ("add", HeaderEdit::Add), ("append", HeaderEdit::Append)];
    for (what, make) in rest {
        for pair in list(config, what, "headers") {
            let (name, value) = split(what, "headers", pair)?;
            let text = Template::of(vec![Part::Text(value.into())]);
            edits.push(make(name, Text::of(&format!("{what}.headers"), text)?));
        }
    }
    Ok(edits)
}

fn json_edits(config: &Map<String, Value>) -> Result<Vec<JsonEdit>, ConfigError> {
    let mut edits: Vec<JsonEdit> =
        list(config, "remove", "json").into_iter().map(|name| JsonEdit::Remove(name.to_owned())).collect();
    for pair in list(config, "rename", "json") {
        let (from, to) = split("rename", "json", pair)?;
        edits.push(JsonEdit::Rename(from, to.to_owned()));
    }
    type Make = fn(String, Value) -> JsonEdit;
    let rest: [(&str, Make); 3] =
        [("replace", JsonEdit::Replace), ("add", JsonEdit::Add), ("append", JsonEdit::Append)];
    for (what, make) in rest {
        let types = list(config, what, "json_types");
        for (place, pair) in list(config, what, "json").into_iter().enumerate() {
            let (name, value) = split(what, "json", pair)?;
            let typed = match types.get(place) {
                Some(&"boolean") => value.parse().ok().map(Value::Bool),
                Some(&"number") => serde_json::from_str(value).ok().filter(Value::is_number),
                _ => Some(Value::from(value)),
            };
            let wrong = || ConfigError::new(format!("{what}.json"), format!("{name} is not of its type"));
            edits.push(make(name.clone(), typed.ok_or_else(wrong)?));
        }
    }
    Ok(edits)
}

fn pair(text: &str) -> Result<(), String> {
    match text.split_once(':') {
        Some((name, _)) if !name.is_empty() => Ok(()),
        _ => Err(format!("invalid value: {}", excerpt(text))),
    }
}

fn schema() -> Schema {
    let names = || Field::array(Field::string()).required().default(json!([]));
    let pairs = || Field::array(Field::string().text(pair)).required().default(json!([]));
    let typed = || {
        let types = Field::array(Field::string().one_of(&["boolean", "number", "string"]));
        let schema = Schema::new()
            .field("json", pairs().doc("members of a JSON object"))
            .field("json_types", types.required().default(json!([])).doc("their types, in the same order"))
            .field("headers", pairs().doc("headers"));
        Field::record(Arc::new(schema)).required()
    };
    let both = |each: &dyn Fn() -> Field| {
        let schema = Schema::new()
            .field("json", each().doc("members of a JSON object"))
            .field("headers", each().doc("headers"));
        Field::record(Arc::new(schema)).required()
    };
    Schema::new()
        .field("remove", both(&names).doc("what is taken out; of a header `name:value`, that value"))
        .field("rename", both(&pairs).doc("what gets another name, `old:new`"))
        .field("replace", typed().doc("what takes the place of something, `name:value`"))
        .field("add", typed().doc("what is put where there is nothing, `name:value`"))
        .field("append", typed().doc("what is put beside, `name:value`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_of_their_types() {
        let config = json!({"add": {"json": ["a:1", "b:true", "c:x"], "json_types": ["number", "boolean"]}});
        let edits = json_edits(config.as_object().unwrap()).unwrap();
        let add = |name: &str, value: Value| JsonEdit::Add(name.to_owned(), value);
        assert_eq!(edits, [add("a", json!(1)), add("b", json!(true)), add("c", json!("x"))]);
        let config = json!({"add": {"json": ["a:x"], "json_types": ["number"]}});
        assert!(json_edits(config.as_object().unwrap()).is_err());
    }
}
