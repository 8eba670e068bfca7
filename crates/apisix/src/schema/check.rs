use serde_json::{Map, Number as JsonNumber, Value};

use super::{List, Naming, Number, Object, Others, Rule, Schema, Shape, Support, Text};

impl Schema {
    /// Checks `value`. The error is worded like the `jsonschema` library of APISIX: `property "timeout" validation
    /// failed: wrong type: expected integer, got string`. Secrets are not in it.
    pub fn validate(&self, value: &Value) -> Result<(), String> {
        match &self.shape {
            Shape::Any => Ok(()),
            Shape::Boolean => value.as_bool().map(drop).ok_or_else(|| wrong_type("boolean", value)),
            Shape::Text(text) => value
                .as_str()
                .ok_or_else(|| wrong_type("string", value))
                .and_then(|found| self.check_text(text, found)),
            Shape::Number(number) => check_number(number, value),
            Shape::List(list) => value
                .as_array()
                .ok_or_else(|| wrong_type("array", value))
                .and_then(|items| check_list(list, items)),
            Shape::Object(object) => value
                .as_object()
                .ok_or_else(|| wrong_type("object", value))
                .and_then(|members| check_object(object, members)),
            Shape::AnyOf(alternatives, none) => check_alternatives(alternatives, none, value),
        }?;
        self.rules.iter().try_for_each(|rule| rule.check(value))
    }

    fn check_text(&self, text: &Text, found: &str) -> Result<(), String> {
        let length = found.chars().count();
        if let Some(shortest) = text.shortest.filter(|shortest| length < *shortest) {
            return Err(format!("string too short, expected at least {shortest}, got {length}"));
        }
        if let Some(longest) = text.longest.filter(|longest| length > *longest) {
            return Err(format!("string too long, expected at most {longest}, got {length}"));
        }
        if let Some(pattern) = text.pattern.as_ref().filter(|pattern| !pattern.regex.is_match(found)) {
            let shown = if self.secret { "[secret]".to_owned() } else { excerpt(found) };
            return Err(format!("failed to match pattern {} with {}", quoted(pattern.text), quoted(&shown)));
        }
        if text.absent_choices.contains(&found) {
            return Err(format!("`{found}` {NOT_HERE}"));
        }
        if !text.choices.is_empty() && !text.choices.contains(&found) {
            return Err("matches none of the enum values".to_owned());
        }
        Ok(())
    }
}

/// Ends every refusal of what APISIX has and this build has not.
const NOT_HERE: &str = "is not implemented in this build";

/// Text as Lua's `%q` writes it, which is how the library quotes patterns and what they were tried on.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
}

fn check_number(number: &Number, value: &Value) -> Result<(), String> {
    let kind = if number.integer { "integer" } else { "number" };
    let found = value.as_number().ok_or_else(|| wrong_type(kind, value))?;
    if number.integer && !is_integer(found) {
        return Err(wrong_type(kind, value));
    }
    // Bounds are small; what a double rounds is far beyond them.
    let float = found.as_f64().unwrap_or(f64::NAN);
    let bound = |bound: Option<i64>, broken: fn(f64, f64) -> bool| {
        #[allow(clippy::cast_precision_loss)]
        bound.filter(|bound| broken(float, *bound as f64))
    };
    if let Some(least) = bound(number.least, |found, least| found < least) {
        return Err(format!("expected {found} to be at least {least}"));
    }
    if let Some(limit) = bound(number.above, |found, limit| found <= limit) {
        return Err(format!("expected {found} to be greater than {limit}"));
    }
    if let Some(most) = bound(number.most, |found, most| found > most) {
        return Err(format!("expected {found} to be at most {most}"));
    }
    Ok(())
}

/// Integers beyond 64 bits are none: nothing here could count so far.
fn is_integer(number: &JsonNumber) -> bool {
    number.is_i64() || number.is_u64()
}

fn check_list(list: &List, items: &[Value]) -> Result<(), String> {
    if let Some(least) = list.least.filter(|least| items.len() < *least) {
        return Err(format!("expect array to have at least {least} items"));
    }
    if let Some(most) = list.most.filter(|most| items.len() > *most) {
        return Err(format!("expect array to have at most {most} items"));
    }
    for (index, item) in items.iter().enumerate() {
        list.items
            .validate(item)
            .map_err(|error| format!("failed to validate item {}: {error}", index + 1))?;
    }
    if list.unique {
        // Texts of the items: comparing each with each would be quadratic in what a client may send.
        let mut seen = std::collections::HashMap::new();
        for (index, item) in items.iter().enumerate() {
            if let Some(first) = seen.insert(item.to_string(), index + 1) {
                return Err(format!("expected unique items but items {first} and {} are equal", index + 1));
            }
        }
    }
    Ok(())
}

fn check_object(object: &Object, members: &Map<String, Value>) -> Result<(), String> {
    for field in &object.fields {
        match members.get(field.name) {
            Some(value) => check_field(field.name, &field.schema, value)?,
            None if field.required => return Err(format!("property \"{}\" is required", field.name)),
            None => {}
        }
    }
    for (name, value) in members {
        if object.fields.iter().any(|field| field.name == name) {
            continue;
        }
        match &object.others {
            Others::Refused => {
                return Err(format!("additional properties forbidden, found {}", excerpt(name)));
            }
            Others::Accepted => {}
            Others::Each(schema, naming) => schema.validate(value).map_err(|error| match naming {
                Naming::Matching => {
                    format!("failed to validate {} (matching \".*\"): {error}", excerpt(name))
                }
                Naming::Additional => {
                    format!("failed to validate additional property {}: {error}", excerpt(name))
                }
            })?,
        }
    }
    if let Some(least) = object.least.filter(|least| members.len() < *least) {
        return Err(format!("expect object to have at least {least} properties"));
    }
    match object.most.filter(|most| members.len() > *most) {
        Some(most) => Err(format!("expect object to have at most {most} properties")),
        None => Ok(()),
    }
}

fn check_field(name: &str, schema: &Schema, value: &Value) -> Result<(), String> {
    schema.validate(value).map_err(|error| format!("property \"{name}\" validation failed: {error}"))?;
    match &schema.support {
        Support::Absent(harmless) if harmless.as_ref() != Some(value) => {
            Err(format!("property \"{name}\" {NOT_HERE}"))
        }
        _ => Ok(()),
    }
}

/// What the library says where none of several schemas fits; which one nearly did, it does not say, and clients compare
/// the whole text.
pub(crate) const NONE_FITS: &str = "object matches none of the required";

fn check_alternatives(alternatives: &[Schema], none: &str, value: &Value) -> Result<(), String> {
    let mut complaint = None;
    for schema in alternatives {
        match schema.validate(value) {
            Ok(()) => return Ok(()),
            // What this build has not is said: the value is not at fault.
            Err(error) if error.ends_with(NOT_HERE) => complaint = complaint.or(Some(error)),
            Err(_) => {}
        }
    }
    Err(complaint.unwrap_or_else(|| none.to_owned()))
}

impl Rule {
    fn check(&self, value: &Value) -> Result<(), String> {
        let has = |set: &&'static [&'static str]| set.iter().all(|name| value.get(*name).is_some());
        match self {
            Self::AnyRequired { sets, told } if !sets.iter().any(has) => Err(none_of(told)),
            Self::OneRequired(sets) => one_of(sets.iter().map(has)),
            Self::Clause(number, sets) => {
                one_of(sets.iter().map(has)).map_err(|error| format!("allOf {number} failed: {error}"))
            }
            Self::Needs(member, needed) if value.get(member).is_some() && value.get(needed).is_none() => {
                Err(format!("property \"{needed}\" is required when \"{member}\" is set"))
            }
            Self::Check(check) => check(value),
            Self::AnyRequired { .. } | Self::Needs(..) => Ok(()),
        }
    }
}

/// Exactly one of several schemas fits.
fn one_of(fits: impl Iterator<Item = bool>) -> Result<(), String> {
    let mut found = fits.enumerate().filter(|(_, fits)| *fits).map(|(index, _)| index + 1);
    let only_one = "value should match only one schema, but matches";
    match (found.next(), found.next()) {
        (None, _) => Err(format!("{only_one} none")),
        (Some(_), None) => Ok(()),
        (Some(first), Some(second)) => Err(format!("{only_one} both schemas {first} and {second}")),
    }
}

fn none_of(sets: &[&[&str]]) -> String {
    let sets: Vec<String> = sets.iter().map(|set| format!("[\"{}\"]", set.join("\",\""))).collect();
    format!("object matches none of the required: {}", sets.join(" or "))
}

pub(crate) fn wrong_type(expected: &str, value: &Value) -> String {
    // Lua's names: an array is a table too.
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) | Value::Object(_) => "table",
    };
    format!("wrong type: expected {expected}, got {found}")
}

/// The beginning of what a client sent, short enough for an error and without control characters.
pub(crate) fn excerpt(text: &str) -> String {
    const LONGEST: usize = 128;
    let mut out: String =
        text.chars().take(LONGEST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(schema: &Schema, value: Value) -> String {
        schema.validate(&value).expect_err("it is wrong")
    }

    #[test]
    fn errors_are_worded_like_the_lua_library() {
        let schema = Schema::object()
            .required("client_id", Schema::string())
            .field("timeout", Schema::integer().at_least(1))
            .field("alg", Schema::string().choices(&["a"]).absent_choices(&["b"]))
            .field("session", Schema::object().required("secret", Schema::string().length(16, 64).secret()))
            .field("scopes", Schema::array(Schema::string()).at_least(1).unique())
            .field("ratio", Schema::number().above(0).at_most(2))
            .field("par", Schema::object().open().unimplemented_except(json!({})));
        let with = |name: &str, value: Value| {
            let mut object = json!({"client_id": "x"});
            object[name] = value;
            object
        };
        assert_eq!(told(&schema, json!({})), r#"property "client_id" is required"#);
        assert_eq!(
            told(&schema, json!({"client_id": 1})),
            r#"property "client_id" validation failed: wrong type: expected string, got number"#
        );
        assert_eq!(
            told(&schema, with("timeout", json!(0))),
            r#"property "timeout" validation failed: expected 0 to be at least 1"#
        );
        assert_eq!(
            told(&schema, with("timeout", json!(1.5))),
            r#"property "timeout" validation failed: wrong type: expected integer, got number"#
        );
        assert_eq!(
            told(&schema, with("alg", json!("c"))),
            r#"property "alg" validation failed: matches none of the enum values"#
        );
        assert_eq!(
            told(&schema, with("alg", json!("b"))),
            r#"property "alg" validation failed: `b` is not implemented in this build"#
        );
        assert_eq!(
            told(&schema, with("session", json!({"secret": "short"}))),
            "property \"session\" validation failed: property \"secret\" validation failed: \
             string too short, expected at least 16, got 5"
        );
        assert_eq!(
            told(&schema, with("scopes", json!(["a", 1]))),
            r#"property "scopes" validation failed: failed to validate item 2: wrong type: expected string, got number"#
        );
        assert_eq!(
            told(&schema, with("scopes", json!(["a", "a"]))),
            r#"property "scopes" validation failed: expected unique items but items 1 and 2 are equal"#
        );
        assert_eq!(
            told(&schema, with("ratio", json!(0))),
            r#"property "ratio" validation failed: expected 0 to be greater than 0"#
        );
        assert_eq!(told(&schema, with("zzz", json!(0))), "additional properties forbidden, found zzz");
        assert_eq!(
            told(&schema, with("par", json!({"a": 1}))),
            r#"property "par" is not implemented in this build"#
        );
        assert_eq!(schema.validate(&with("par", json!({}))), Ok(()));
        assert_eq!(schema.secret_paths(), ["session.secret"]);
    }

    #[test]
    fn s01_a_secret_is_not_in_the_error_about_it() {
        let schema = Schema::object().field("key", Schema::string().pattern("^k-").secret());
        assert!(!told(&schema, json!({"key": "canary"})).contains("canary"));
    }

    #[test]
    fn sets_of_members_are_counted() {
        let any = Schema::object().open().any_required(&[&["a"], &["b", "c"]]);
        assert_eq!(told(&any, json!({"b": 1})), r#"object matches none of the required: ["a"] or ["b","c"]"#);
        assert_eq!(any.validate(&json!({"a": 1, "b": 1})), Ok(()));
        let clause = Schema::object().open().clause(2, &[&["a"], &["b"]]);
        assert_eq!(
            told(&clause, json!({})),
            "allOf 2 failed: value should match only one schema, but matches none"
        );
        let one = Schema::object().open().one_required(&[&["a"], &["b"]]);
        assert_eq!(told(&one, json!({})), "value should match only one schema, but matches none");
        assert_eq!(
            told(&one, json!({"a": 1, "b": 1})),
            "value should match only one schema, but matches both schemas 1 and 2"
        );
        let needs = Schema::object().open().needs("a", "b");
        assert_eq!(told(&needs, json!({"a": 1})), r#"property "b" is required when "a" is set"#);
    }

    #[test]
    fn of_alternatives_it_is_said_that_none_fits() {
        let id = Schema::any_of(vec![Schema::string().length(1, 3), Schema::integer().at_least(1)]);
        for bad in [json!(0), json!("four"), json!(null)] {
            assert_eq!(told(&id, bad), "object matches none of the required");
        }
        assert_eq!(id.validate(&json!(7)), Ok(()));
        let one = Schema::one_of(vec![Schema::integer().above(0), Schema::string()]);
        assert_eq!(told(&one, json!(0)), "value should match only one schema, but matches none");
        let later = Schema::any_of(vec![Schema::object().field("x", Schema::any().unimplemented())]);
        assert_eq!(told(&later, json!({"x": 1})), r#"property "x" is not implemented in this build"#);
    }

    #[test]
    fn patterns_and_what_they_were_tried_on_are_quoted_as_lua_does() {
        let schema = Schema::string().pattern(r"^\/[^\x22]*$");
        assert_eq!(
            told(&schema, json!(r#"a\b"c"#)),
            r#"failed to match pattern "^\\/[^\\x22]*$" with "a\\b\"c""#
        );
    }
}
