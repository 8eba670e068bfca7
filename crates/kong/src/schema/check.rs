use serde_json::{Map, Value, json};

use super::{Field, Rule, Schema, Shape, Support, Then, Violations, When};

const REQUIRED: &str = "required field missing";
const ABSENT: &str = "value must be null";
const NOT_BUILT: &str = "not implemented in this build: only its default is accepted";

impl Schema {
    /// Checks a complete entity or record. Fields that are not there count as null.
    pub(crate) fn check(&self, value: &Map<String, Value>) -> Result<(), Violations> {
        let violations = self.violations(value);
        if violations.is_empty() { Ok(()) } else { Err(violations) }
    }

    /// What is wrong with a text for this field.
    pub(crate) fn objection(&self, field: &str, text: &str) -> Option<String> {
        self.fields.get(field)?.judge(&json!(text))?.as_str().map(str::to_owned)
    }

    fn violations(&self, value: &Map<String, Value>) -> Violations {
        let mut violations = Violations::default();
        for name in value.keys().filter(|name| !self.fields.contains_key(name.as_str())) {
            violations.add(name, "unknown field");
        }
        for (name, field) in &self.fields {
            if let Some(wrong) = field.judge(value.get(*name).unwrap_or(&Value::Null)) {
                violations.add(name, wrong);
            }
        }
        if violations.is_empty() {
            for (name, check) in &self.field_checks {
                if let Err(reason) = check(value) {
                    violations.add(name, reason);
                }
            }
        }
        let count = |names: &[&str]| names.iter().filter(|name| is_filled(at(value, name))).count();
        let quoted =
            |names: &[&str]| names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
        for names in self.one_of.iter().filter(|names| count(names) != 1) {
            violations
                .add_entity(format!("exactly one of these fields must be non-empty: {}", quoted(names)));
        }
        for names in self.any_of.iter().filter(|names| count(names) == 0) {
            violations
                .add_entity(format!("at least one of these fields must be non-empty: {}", quoted(names)));
        }
        if violations.is_empty() {
            self.judge_together(value, &mut violations);
            self.checks
                .iter()
                .filter_map(|check| check(value).err())
                .for_each(|reason| violations.add_entity(reason));
        }
        violations
    }

    fn judge_together(&self, value: &Map<String, Value>, violations: &mut Violations) {
        let text = |field: &str| at(value, field).and_then(Value::as_str);
        let applies = |rule: &When, field: &str| match rule {
            When::Is(wanted) => text(field) == Some(wanted),
            When::NoneOf(allowed) => text(field).is_some_and(|found| !allowed.contains(&found)),
            When::Positive => at(value, field).and_then(Value::as_f64).is_some_and(|found| found > 0.0),
        };
        let is_set = |field: &str| at(value, field).is_some_and(|found| !found.is_null());
        let contains = |field: &str, text: &str| {
            at(value, field).and_then(Value::as_array).is_some_and(|items| items.iter().any(|it| it == text))
        };
        for rule in self.conditionals.iter().filter(|rule| applies(&rule.when, rule.if_field)) {
            let wrong = match (rule.then, text(rule.then_field)) {
                (Then::Required, None) => REQUIRED.to_owned(),
                (Then::Absent, _) if is_set(rule.then_field) => ABSENT.to_owned(),
                (Then::OneOf(allowed), Some(found)) if !allowed.contains(&found) => {
                    format!("expected one of: {}", allowed.join(", "))
                }
                (Then::Contains(wanted), _) if !contains(rule.then_field, wanted) => {
                    format!("expected to contain: {wanted}")
                }
                _ => continue,
            };
            violations.add_at(rule.then_field, wrong);
            violations.add_entity(format!(
                "failed conditional validation given value of field '{}'",
                rule.if_field
            ));
        }
        for [one, other] in &self.distinct {
            if text(one).is_some() && text(one) == text(other) {
                violations.add_entity(format!("values of these fields must be distinct: '{one}', '{other}'"));
            }
        }
    }
}

/// A field, which with a dot in its name is one of a record's.
fn at<'v>(value: &'v Map<String, Value>, field: &str) -> Option<&'v Value> {
    match field.split_once('.') {
        None => value.get(field),
        Some((record, rest)) => at(value.get(record)?.as_object()?, rest),
    }
}

fn is_filled(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(members)) => !members.is_empty(),
        Some(_) => true,
    }
}

impl Field {
    /// What is wrong with `value`: a text, or for what is inside it an object or an array of texts.
    fn judge(&self, value: &Value) -> Option<Value> {
        if value.is_null() {
            return self.required.then(|| json!(REQUIRED));
        }
        if self.rules.iter().any(|rule| matches!(rule, Rule::Absent)) {
            return Some(json!(ABSENT));
        }
        if self.support == Support::DefaultOnly && !self.is_default(value) {
            return Some(json!(NOT_BUILT));
        }
        let wrong = match (&self.shape, value) {
            (Shape::String, Value::String(text)) if text.is_empty() => Some("length must be at least 1"),
            (Shape::String, Value::String(_)) | (Shape::Boolean, Value::Bool(_)) | (Shape::Opaque, _) => None,
            (Shape::Number, Value::Number(_)) => None,
            (Shape::Integer, Value::Number(number)) if number.as_i64().is_some() => None,
            (Shape::Array(element) | Shape::Set(element), Value::Array(items)) => {
                if let Some(wrong) = element.judge_all(items) {
                    return Some(wrong);
                }
                None
            }
            (Shape::Record(schema), Value::Object(members)) => {
                let inside = schema.violations(members);
                if !inside.is_empty() {
                    return Some(Value::Object(inside.into_fields()));
                }
                return schema.whole.iter().find_map(|check| check(members).err()).map(Value::String);
            }
            // Kong does not say of which name: its clients look for the reason in the field itself.
            (Shape::Map(value), Value::Object(members)) => {
                let judge = |member: &Value| match member {
                    Value::Null => Some(json!(REQUIRED)),
                    member => value.judge(member),
                };
                match members.values().find_map(judge) {
                    Some(wrong) => return Some(wrong),
                    None => None,
                }
            }
            (Shape::Foreign(_), Value::Object(members)) => return judge_reference(members),
            (shape, _) => Some(shape.expected()),
        };
        wrong
            .map(|reason| json!(reason))
            .or_else(|| self.rules.iter().find_map(|rule| rule.judge(value)).map(Value::String))
    }

    fn judge_all(&self, items: &[Value]) -> Option<Value> {
        // A null in a list is no element.
        let judged = |item: &Value| if item.is_null() { Some(json!(REQUIRED)) } else { self.judge(item) };
        let all: Vec<Value> = items.iter().map(|item| judged(item).unwrap_or(Value::Null)).collect();
        let last = all.iter().rposition(|wrong| !wrong.is_null())?;
        Some(Value::Array(all.into_iter().take(last + 1).collect()))
    }

    fn is_default(&self, value: &Value) -> bool {
        match (&self.default, value) {
            (Some(Value::Array(default)), Value::Array(items)) => {
                default.len() == items.len() && default.iter().all(|item| items.contains(item))
            }
            (Some(default), value) => default == value,
            (None, Value::Array(items)) => items.is_empty(),
            (None, Value::Object(members)) => members.is_empty(),
            (None, _) => false,
        }
    }
}

impl Shape {
    fn expected(&self) -> &'static str {
        match self {
            Self::String => "expected a string",
            Self::Integer => "expected an integer",
            Self::Number => "expected a number",
            Self::Boolean => "expected a boolean",
            Self::Array(_) => "expected an array",
            Self::Set(_) => "expected a set",
            Self::Map(_) => "expected a map",
            Self::Record(_) | Self::Foreign(_) | Self::Opaque => "expected a record",
        }
    }
}

impl Rule {
    fn judge(&self, value: &Value) -> Option<String> {
        let wrong = |fits: bool, reason: &dyn Fn() -> String| (!fits).then(reason);
        match (self, value) {
            (Self::OneOf(allowed), Value::String(text)) => wrong(allowed.contains(&text.as_str()), &|| {
                format!("expected one of: {}", allowed.join(", "))
            }),
            (Self::OneOfNumbers(allowed), value) => {
                let texts = || allowed.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
                let known = value.as_i64().is_some_and(|number| allowed.contains(&number));
                wrong(known, &|| format!("expected one of: {}", texts()))
            }
            (Self::Between(least, most), value) => {
                // The bounds are small enough to be exact.
                #[allow(clippy::cast_precision_loss)]
                let inside =
                    value.as_f64().is_some_and(|number| number >= *least as f64 && number <= *most as f64);
                wrong(inside, &|| format!("value should be between {least} and {most}"))
            }
            (Self::Fewest(count), Value::Array(items)) => {
                wrong(items.len() >= *count, &|| format!("length must be at least {count}"))
            }
            (Self::Text(check), Value::String(text)) => check(text).err(),
            (Self::Value(check), value) => check(value).err(),
            _ => None,
        }
    }
}

/// `{"id": UUID}`; names were looked up before.
fn judge_reference(members: &Map<String, Value>) -> Option<Value> {
    for (name, value) in members {
        let wrong = match (name.as_str(), value) {
            ("id", Value::String(id)) if crate::entities::is_uuid(id) => continue,
            ("id", _) => "expected a valid UUID",
            _ => "unknown field",
        };
        return Some(json!({ name.as_str(): wrong }));
    }
    members.is_empty().then(|| json!({"id": "missing primary key"}))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn schema() -> Schema {
        let inner = Schema::new().field("issuer", Field::string().required()).field("n", Field::number());
        Schema::new()
            .field("name", Field::string())
            .field("host", Field::string().required())
            .field("port", Field::integer().default(80).between(0, 65535))
            .field("protocol", Field::string().default("http").one_of(&["http", "https"]))
            .field("tags", Field::set(Field::string()).fewest(1))
            .field("flag", Field::boolean().default(true).unimplemented())
            .field("list", Field::strings().default(json!(["a", "b"])).unimplemented())
            .field("none", Field::opaque())
            .field("config", Field::record(Arc::new(inner)))
    }

    fn fields(value: Value) -> Value {
        match schema().check(value.as_object().unwrap()) {
            Ok(()) => json!({}),
            Err(violations) => Value::Object(violations.into_fields()),
        }
    }

    #[test]
    fn violations_have_kongs_words() {
        assert_eq!(fields(json!({"host": "a"})), json!({}));
        assert_eq!(fields(json!({})), json!({"host": "required field missing"}));
        assert_eq!(
            fields(json!({
                "host": 1, "port": 70000, "protocol": "ftp", "tags": [], "x": 1, "name": "", "config": {"n": "1", "y": 1}
            })),
            json!({
                "host": "expected a string", "port": "value should be between 0 and 65535",
                "protocol": "expected one of: http, https", "tags": "length must be at least 1", "x": "unknown field",
                "name": "length must be at least 1",
                "config": {"issuer": "required field missing", "n": "expected a number", "y": "unknown field"},
            })
        );
        assert_eq!(fields(json!({"host": "a", "port": 1.5})), json!({"port": "expected an integer"}));
        assert_eq!(
            fields(json!({"host": "a", "tags": ["x", 1, null]})),
            json!({"tags": [null, "expected a string", REQUIRED]})
        );
        assert_eq!(fields(json!({"host": "a", "config": []})), json!({"config": "expected a record"}));
    }

    #[test]
    fn what_is_not_built_takes_its_default_or_nothing() {
        for good in
            [json!({"flag": true}), json!({"flag": null}), json!({"list": ["b", "a"]}), json!({"none": null})]
        {
            let mut value = good.clone();
            value["host"] = json!("a");
            assert_eq!(fields(value), json!({}), "{good}");
        }
        for (name, bad) in
            [("flag", json!(false)), ("list", json!(["a"])), ("list", json!([])), ("none", json!({"a": 1}))]
        {
            assert_eq!(fields(json!({"host": "a", name: bad})), json!({name: NOT_BUILT}), "{name}");
        }
    }
}
