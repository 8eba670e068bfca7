use serde_json::{Map, Value, json};

/// Under which name errors of the whole entity stand.
const ENTITY: &str = "@entity";

/// What is wrong with an entity, by field: texts, and objects or arrays of them for what is inside a field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Violations(Map<String, Value>);

impl Violations {
    /// One field, and what is wrong with it.
    pub fn of(field: &str, reason: impl Into<String>) -> Self {
        let mut violations = Self::default();
        violations.add(field, reason.into());
        violations
    }

    /// The same inside the record `field`.
    #[must_use]
    pub fn within(self, field: &str) -> Self {
        let mut outer = Self::default();
        outer.add(field, Value::Object(self.0));
        outer
    }

    pub(crate) fn add(&mut self, field: &str, what: impl Into<Value>) {
        self.0.insert(field.to_owned(), what.into());
    }

    /// The same of a field that may be one of a record's: `config.path`.
    pub(crate) fn add_at(&mut self, field: &str, what: impl Into<Value>) {
        add_at(&mut self.0, field, what.into());
    }

    /// Something that is wrong with the whole.
    pub(crate) fn add_entity(&mut self, reason: String) {
        match self.0.entry(ENTITY).or_insert_with(|| json!([])) {
            Value::Array(reasons) => reasons.push(Value::String(reason)),
            other => *other = json!([reason]),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_fields(self) -> Map<String, Value> {
        self.0
    }

    /// `schema violation (host: required field missing)`, or `2 schema violations (…; …)`: the entity's own first, the
    /// others by name.
    pub(crate) fn message(&self) -> String {
        let mut lines = Vec::new();
        for reason in self.0.get(ENTITY).and_then(Value::as_array).into_iter().flatten() {
            lines.push(reason.as_str().unwrap_or_default().to_owned());
        }
        let mut names: Vec<&String> = self.0.keys().filter(|name| *name != ENTITY).collect();
        names.sort();
        for name in names {
            if let Some(what) = self.0.get(name) {
                flatten(name, what, &mut lines);
            }
        }
        let what = if lines.len() == 1 {
            "schema violation".to_owned()
        } else {
            format!("{} schema violations", lines.len())
        };
        format!("{what} ({})", lines.join("; "))
    }
}

fn add_at(fields: &mut Map<String, Value>, field: &str, what: Value) {
    let Some((record, rest)) = field.split_once('.') else {
        fields.insert(field.to_owned(), what);
        return;
    };
    let inside = fields.entry(record).or_insert_with(|| json!({}));
    // A record that is wrong as a whole stays so.
    if let Value::Object(inside) = inside {
        add_at(inside, rest, what);
    }
}

fn flatten(path: &str, what: &Value, lines: &mut Vec<String>) {
    match what {
        Value::String(reason) => lines.push(format!("{path}: {reason}")),
        Value::Object(members) => {
            let mut names: Vec<&String> = members.keys().collect();
            names.sort();
            for name in names {
                flatten(&format!("{path}.{name}"), members.get(name).unwrap_or(&Value::Null), lines);
            }
        }
        // Lua counts from 1.
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(at, item)| flatten(&format!("{path}.{}", at + 1), item, lines));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_violation_is_named_and_several_are_counted_and_sorted() {
        let one = Violations::of("issuer", "required field missing").within("config");
        assert_eq!(one.message(), "schema violation (config.issuer: required field missing)");
        let mut many = Violations::of("port", "expected an integer");
        many.add("hosts", json!([null, "invalid hostname: b c"]));
        many.add_entity("set one of 'a', 'b'".to_owned());
        assert_eq!(
            many.message(),
            "3 schema violations (set one of 'a', 'b'; hosts.2: invalid hostname: b c; port: expected an integer)"
        );
    }
}
