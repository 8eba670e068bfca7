use serde_json::{Map, Value};

use super::{Field, Schema, Shape};
use crate::form::Node;

impl Schema {
    /// Every field, in order: what is missing has its default or is null, or is left out where the field is silent; sets
    /// name everything once. What the schema does not know stays at the end.
    pub(crate) fn complete(&self, mut value: Map<String, Value>) -> Map<String, Value> {
        let mut out = Map::new();
        for (name, field) in &self.fields {
            let sent = value.shift_remove(*name);
            let value = field.complete(sent);
            if !(field.silent && value.is_null()) {
                out.insert((*name).to_owned(), value);
            }
        }
        out.extend(value);
        out
    }

    /// `change` laid over `old`: records are merged, everything else is replaced.
    pub(crate) fn merge(&self, old: &mut Map<String, Value>, change: Map<String, Value>) {
        for (name, new) in change {
            let record = self.fields.get(name.as_str()).and_then(|field| match &field.shape {
                Shape::Record(schema) => Some(schema),
                _ => None,
            });
            match (record, old.get_mut(&name), new) {
                (Some(schema), Some(Value::Object(old)), Value::Object(new)) => schema.merge(old, new),
                (_, _, new) => {
                    old.insert(name, new);
                }
            }
        }
    }

    /// What a form says, in the types that the fields have. What does not fit stays a text, for the check to name.
    pub(crate) fn infer(&self, members: Vec<(String, Node)>) -> Map<String, Value> {
        let infer = |(name, node): (String, Node)| {
            let value = match self.fields.get(name.as_str()) {
                Some(field) => field.infer(node),
                None => node.into_plain(),
            };
            (name, value)
        };
        members.into_iter().map(infer).collect()
    }
}

impl Field {
    fn complete(&self, sent: Option<Value>) -> Value {
        match (&self.shape, sent) {
            (Shape::Record(schema), Some(Value::Object(members))) => Value::Object(schema.complete(members)),
            (Shape::Record(schema), None) if self.required => Value::Object(schema.complete(Map::new())),
            (Shape::Set(_), Some(Value::Array(items))) => {
                let mut once: Vec<Value> = Vec::with_capacity(items.len());
                for item in items {
                    if !once.contains(&item) {
                        once.push(item);
                    }
                }
                Value::Array(once)
            }
            (_, Some(value)) => value,
            (_, None) => self.default.clone().unwrap_or(Value::Null),
        }
    }

    fn infer(&self, node: Node) -> Value {
        match (&self.shape, node) {
            (Shape::Array(element) | Shape::Set(element), Node::Texts(mut texts)) => {
                // A field that is sent empty is a field that is not there.
                if texts.len() == 1 && texts.first().is_some_and(String::is_empty) {
                    return Value::Null;
                }
                texts.drain(..).map(|text| element.infer(Node::Texts(vec![text]))).collect()
            }
            (Shape::Array(element) | Shape::Set(element), Node::Items(items)) => {
                items.into_iter().map(|item| element.infer(item)).collect()
            }
            (Shape::Record(schema), Node::Members(members)) => Value::Object(schema.infer(members)),
            (Shape::Map(value), Node::Members(members)) => {
                Value::Object(members.into_iter().map(|(name, member)| (name, value.infer(member))).collect())
            }
            (shape, Node::Texts(mut texts)) if texts.len() == 1 => {
                shape.infer(texts.pop().unwrap_or_default())
            }
            (_, node) => node.into_plain(),
        }
    }
}

impl Shape {
    fn infer(&self, text: String) -> Value {
        if text.is_empty() {
            return Value::Null;
        }
        match self {
            Self::Boolean if text == "true" => Value::Bool(true),
            Self::Boolean if text == "false" => Value::Bool(false),
            Self::Integer | Self::Number => number(&text).unwrap_or(Value::String(text)),
            _ => Value::String(text),
        }
    }
}

/// A number as Lua's `tonumber` reads it: whole ones are integers.
fn number(text: &str) -> Option<Value> {
    let trimmed = text.trim();
    let decimal = trimmed.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    if let Some(whole) = trimmed.parse::<i64>().ok().filter(|_| decimal) {
        return Some(whole.into());
    }
    let number: f64 = trimmed.parse().ok().filter(|_| decimal)?;
    serde_json::Number::from_f64(number).map(|number| whole(&number).unwrap_or(Value::Number(number)))
}

/// JSON has one type of number: `80.0` is the integer 80.
pub(crate) fn whole(number: &serde_json::Number) -> Option<Value> {
    /// Beyond this a double no longer holds every integer.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= EXACT)?;
    #[allow(clippy::cast_possible_truncation)]
    Some((float as i64).into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::form;

    fn schema() -> Schema {
        let config = Schema::new()
            .field("issuer", Field::string())
            .field("methods", Field::array(Field::string()).default(json!(["a"])))
            .field("n", Field::number().default(1))
            .field("on", Field::boolean().default(true));
        Schema::new()
            .field("name", Field::string())
            .field("port", Field::integer().default(80))
            .field("tags", Field::set(Field::string()))
            .field("config", Field::record(Arc::new(config)).required())
    }

    fn inferred(body: &str) -> Value {
        Value::Object(schema().infer(form::parse(body.as_bytes()).unwrap()))
    }

    #[test]
    fn a_form_takes_the_types_of_the_fields() {
        assert_eq!(
            inferred("name=8080&port=8080&config.n=1.5&config.on=false&config.methods=x&tags=a&tags=b&y=1"),
            json!({
                "name": "8080", "port": 8080, "config": {"n": 1.5, "on": false, "methods": ["x"]}, "tags": ["a", "b"], "y": "1"
            })
        );
        assert_eq!(
            inferred("config.methods[]=a&config.methods[]=b"),
            json!({"config": {"methods": ["a", "b"]}})
        );
        assert_eq!(
            inferred("config.methods[2]=b&config.methods[1]=a"),
            json!({"config": {"methods": ["a", "b"]}})
        );
        assert_eq!(inferred("config%5Bissuer%5D=x"), json!({"config": {"issuer": "x"}}));
    }

    #[test]
    fn a_form_knows_no_commas_and_nothing_is_null() {
        assert_eq!(
            inferred("tags=a,b&name=&config.methods="),
            json!({"tags": ["a,b"], "name": null, "config": {"methods": null}})
        );
    }

    #[test]
    fn what_does_not_fit_stays_a_text() {
        assert_eq!(
            inferred("port=http&config=x&name=a&name=b"),
            json!({"port": "http", "config": "x", "name": ["a", "b"]})
        );
        assert_eq!(inferred("config.on=yes"), json!({"config": {"on": "yes"}}));
        assert_eq!(inferred("port=inf"), json!({"port": "inf"}));
    }

    #[test]
    fn what_is_left_out_is_filled_in_and_what_is_null_stays_null() {
        let complete = |value: Value| Value::Object(schema().complete(value.as_object().unwrap().clone()));
        assert_eq!(
            complete(json!({"tags": ["a", "a"], "x": 1})),
            json!({
                "name": null, "port": 80, "tags": ["a"], "config": {"issuer": null, "methods": ["a"], "n": 1, "on": true}, "x": 1
            })
        );
        assert_eq!(complete(json!({"port": null}))["port"], Value::Null);
    }

    #[test]
    fn a_patch_merges_records_and_replaces_lists() {
        let mut old =
            json!({"port": 1, "tags": ["a"], "config": {"issuer": "x", "n": 1}}).as_object().unwrap().clone();
        let change = json!({"port": null, "tags": ["b"], "config": {"n": 2}}).as_object().unwrap().clone();
        schema().merge(&mut old, change);
        assert_eq!(
            Value::Object(old),
            json!({"port": null, "tags": ["b"], "config": {"issuer": "x", "n": 2}})
        );
    }
}
