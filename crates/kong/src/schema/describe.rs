//! A schema as `/schemas` shows it: lists of one field each, in the words of Kong's own schemas.

use serde_json::{Map, Value, json};

use super::{Field, Rule, Schema, Shape, Then, When};

impl Schema {
    /// `{"fields": […], "entity_checks": […]}`
    pub(crate) fn describe(&self) -> Value {
        let mut out = Map::from_iter([("fields".to_owned(), self.describe_fields())]);
        let mut checks: Vec<Value> = self.one_of.iter().map(|names| json!({"only_one_of": names})).collect();
        checks.extend(self.any_of.iter().map(|names| json!({"at_least_one_of": names})));
        checks.extend(self.conditionals.iter().map(|rule| {
            let then = match rule.then {
                Then::Required => json!({"required": true}),
                Then::Absent => json!({"eq": null}),
                Then::OneOf(allowed) => json!({"one_of": allowed}),
                Then::Contains(text) => json!({"contains": text}),
            };
            let when = match rule.when {
                When::Is(text) => json!({"match": format!("^{text}$")}),
                When::NoneOf(texts) => json!({"not_one_of": texts}),
                When::Positive => json!({"gt": 0}),
            };
            json!({"conditional": {
                "if_field": rule.if_field, "if_match": when,
                "then_field": rule.then_field, "then_match": then,
            }})
        }));
        checks.extend(self.distinct.iter().map(|names| json!({"distinct": names})));
        if !checks.is_empty() {
            out.insert("entity_checks".to_owned(), Value::Array(checks));
        }
        Value::Object(out)
    }

    fn describe_fields(&self) -> Value {
        // Silent ones are not there for who does not ask for them.
        let told = self.fields.iter().filter(|(_, field)| !field.silent);
        told.map(|(name, field)| json!({ *name: field.describe() })).collect()
    }
}

impl Field {
    fn describe(&self) -> Value {
        let mut out = Map::new();
        let mut set = |name: &str, value: Value| {
            out.insert(name.to_owned(), value);
        };
        match &self.shape {
            Shape::String => set("type", json!("string")),
            Shape::Integer => set("type", json!("integer")),
            Shape::Number => set("type", json!("number")),
            Shape::Boolean => set("type", json!("boolean")),
            Shape::Array(element) => {
                set("type", json!("array"));
                set("elements", element.describe());
            }
            Shape::Set(element) => {
                set("type", json!("set"));
                set("elements", element.describe());
            }
            Shape::Record(schema) => {
                set("type", json!("record"));
                set("fields", schema.describe_fields());
            }
            Shape::Map(value) => {
                set("type", json!("map"));
                set("keys", json!({"type": "string"}));
                set("values", value.describe());
            }
            Shape::Foreign(kind) => {
                set("type", json!("foreign"));
                set("reference", json!(kind));
            }
            Shape::Opaque => set("type", json!("record")),
        }
        if matches!(self.shape, Shape::Opaque) {
            set("fields", json!([]));
        }
        for (name, on) in [
            ("required", self.required),
            ("unique", self.unique),
            ("auto", self.auto),
            ("encrypted", self.secret),
        ] {
            if on {
                set(name, json!(true));
            }
        }
        if let Some(default) = &self.default {
            set("default", default.clone());
        }
        for rule in &self.rules {
            match rule {
                Rule::OneOf(allowed) => set("one_of", json!(allowed)),
                Rule::OneOfNumbers(allowed) => set("one_of", json!(allowed)),
                Rule::Between(least, most) => set("between", json!([least, most])),
                Rule::Fewest(count) => set("len_min", json!(count)),
                Rule::Absent => set("eq", Value::Null),
                Rule::Text(_) | Rule::Value(_) => {}
            }
        }
        if !self.doc.is_empty() {
            set("description", json!(self.doc));
        }
        Value::Object(out)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_schema_is_described_as_kong_describes_its_own() {
        let inner = Schema::new().field("n", Field::number().default(1));
        let schema = Schema::new()
            .field("name", Field::string().required().unique().one_of(&["a", "b"]))
            .field("tags", Field::set(Field::string()))
            .field("service", Field::foreign("services"))
            .field("map", Field::map(Field::strings()))
            .field("config", Field::record(Arc::new(inner)).required())
            .at_least_one_of(&["name", "tags"]);
        assert_eq!(
            schema.describe(),
            json!({
                "fields": [
                    {"name": {"type": "string", "required": true, "unique": true, "one_of": ["a", "b"]}},
                    {"tags": {"type": "set", "elements": {"type": "string"}}},
                    {"service": {"type": "foreign", "reference": "services"}},
                    {"map": {"type": "map", "keys": {"type": "string"}, "values": {"type": "array", "elements": {"type": "string"}}}},
                    {"config": {"type": "record", "fields": [{"n": {"type": "number", "default": 1}}], "required": true}},
                ],
                "entity_checks": [{"at_least_one_of": ["name", "tags"]}],
            })
        );
    }
}
