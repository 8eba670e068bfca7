use serde_json::{Map, Number, Value};

use super::{Condition, Dependency, ListRules, NumberRules, ObjectRules, Rules, Schema, TextRules, Type};

/// Steps from schema to schema on the way to one value. A reference to itself would never end.
const MAX_DEPTH: usize = 256;

pub(super) struct Check<'a> {
    pub(super) targets: &'a [Schema],
}

impl Check<'_> {
    pub(super) fn schema(&self, schema: &Schema, value: &Value, depth: usize) -> Result<(), String> {
        match schema {
            Schema::Always => Ok(()),
            Schema::Never => Err("always invalid".to_owned()),
            Schema::Rules(_) if depth > MAX_DEPTH => {
                Err("the schema refers to itself without end".to_owned())
            }
            Schema::Rules(rules) => self.rules(rules, value, depth + 1),
        }
    }

    fn rules(&self, rules: &Rules, value: &Value, depth: usize) -> Result<(), String> {
        if let Some(at) = rules.reference {
            let target = self.targets.get(at).ok_or_else(|| "always invalid".to_owned())?;
            return self.schema(target, value, depth);
        }
        if !rules.types.is_empty() && !rules.types.iter().any(|kind| kind.is_of(value)) {
            return Err(wrong_type(&rules.types, value));
        }
        if rules.choices.as_ref().is_some_and(|choices| !choices.iter().any(|choice| same(choice, value))) {
            return Err("matches none of the enum values".to_owned());
        }
        if rules.constant.as_ref().is_some_and(|constant| !same(constant, value)) {
            return Err("matches none of the const values".to_owned());
        }
        match value {
            Value::Number(number) => check_number(&rules.number, number)?,
            Value::String(text) => check_text(&rules.text, text)?,
            Value::Array(items) => self.list(&rules.list, items, depth)?,
            Value::Object(members) => self.object(&rules.object, members, value, depth)?,
            Value::Null | Value::Bool(_) => {}
        }
        self.combined(rules, value, depth)
    }

    fn combined(&self, rules: &Rules, value: &Value, depth: usize) -> Result<(), String> {
        for (at, schema) in rules.all_of.iter().enumerate() {
            self.schema(schema, value, depth).map_err(|error| format!("allOf {} failed: {error}", at + 1))?;
        }
        let fits = |schema: &Schema| self.schema(schema, value, depth).is_ok();
        if !rules.any_of.is_empty() && !rules.any_of.iter().any(fits) {
            return Err("object matches none of the required".to_owned());
        }
        if !rules.one_of.is_empty() {
            let mut fitting = rules.one_of.iter().enumerate().filter(|(_, schema)| fits(schema));
            match (fitting.next(), fitting.next()) {
                (Some(_), None) => {}
                (Some((first, _)), Some((second, _))) => {
                    let both = format!("matches both schemas {} and {}", first + 1, second + 1);
                    return Err(format!("value should match only one schema, but {both}"));
                }
                (None, _) => {
                    return Err("value should match only one schema, but matches none".to_owned());
                }
            }
        }
        if rules.not.as_ref().is_some_and(fits) {
            return Err("object matches the schema it must not match".to_owned());
        }
        let Some(Condition { when, then, otherwise }) = &rules.condition else { return Ok(()) };
        let (clause, name) = if fits(when) { (then, "then") } else { (otherwise, "else") };
        self.schema(clause, value, depth).map_err(|error| format!("{name} clause did not match: {error}"))
    }

    fn list(&self, rules: &ListRules, items: &[Value], depth: usize) -> Result<(), String> {
        let length = items.len() as u64;
        if let Some(least) = rules.least.filter(|least| length < *least) {
            return Err(format!("expect array to have at least {least} items"));
        }
        if let Some(most) = rules.most.filter(|most| length > *most) {
            return Err(format!("expect array to have at most {most} items"));
        }
        for (at, item) in items.iter().enumerate() {
            if let Some(schema) = rules.first.get(at).or(rules.others.as_ref()) {
                self.schema(schema, item, depth)
                    .map_err(|error| format!("failed to validate item {}: {error}", at + 1))?;
            }
        }
        let fits = |schema: &Schema| items.iter().any(|item| self.schema(schema, item, depth).is_ok());
        if rules.contains.as_ref().is_some_and(|schema| !fits(schema)) {
            return Err("array contains no item that is wanted".to_owned());
        }
        if rules.unique {
            for (at, item) in items.iter().enumerate() {
                if let Some(before) = items.iter().take(at).position(|before| same(before, item)) {
                    let (first, second) = (before + 1, at + 1);
                    return Err(format!("expected unique items but items {first} and {second} are equal"));
                }
            }
        }
        Ok(())
    }

    fn object(
        &self,
        rules: &ObjectRules,
        members: &Map<String, Value>,
        whole: &Value,
        depth: usize,
    ) -> Result<(), String> {
        let count = members.len() as u64;
        if let Some(least) = rules.least.filter(|least| count < *least) {
            return Err(format!("expect object to have at least {least} properties"));
        }
        if let Some(most) = rules.most.filter(|most| count > *most) {
            return Err(format!("expect object to have at most {most} properties"));
        }
        for (name, schema) in &rules.properties {
            if let Some(value) = members.get(name) {
                self.member(name, schema, value, depth)?;
            }
        }
        if let Some(missing) = rules.required.iter().find(|name| !members.contains_key(*name)) {
            return Err(format!("property \"{missing}\" is required"));
        }
        for (name, value) in members {
            let named = rules.properties.iter().any(|(own, _)| own == name);
            let mut matched = named;
            for (_, schema) in rules.patterns.iter().filter(|(pattern, _)| pattern.is_match(name)) {
                matched = true;
                self.member(name, schema, value, depth)?;
            }
            match &rules.others {
                Some(Schema::Never) if !matched => {
                    return Err("additional properties forbidden".to_owned());
                }
                Some(schema) if !matched => self.member(name, schema, value, depth)?,
                _ => {}
            }
            if let Some(names) = &rules.names {
                self.schema(names, &Value::String(name.clone()), depth)
                    .map_err(|error| format!("a property's name is not valid: {error}"))?;
            }
        }
        for (name, needs) in rules.dependencies.iter().filter(|(name, _)| members.contains_key(name)) {
            match needs {
                Dependency::Members(needed) => {
                    if let Some(missing) = needed.iter().find(|needed| !members.contains_key(*needed)) {
                        return Err(format!("property \"{missing}\" is required when \"{name}\" is set"));
                    }
                }
                Dependency::Schema(schema) => self.schema(schema, whole, depth)?,
            }
        }
        Ok(())
    }

    /// Names that the schema says are told; those that only the document has are not.
    fn member(&self, name: &str, schema: &Schema, value: &Value, depth: usize) -> Result<(), String> {
        let told: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
        self.schema(schema, value, depth)
            .map_err(|error| format!("property \"{told}\" validation failed: {error}"))
    }
}

fn check_number(rules: &NumberRules, number: &Number) -> Result<(), String> {
    let value = number.as_f64().unwrap_or(f64::NAN);
    let broken = |bound: &Option<Number>, breaks: fn(f64, f64) -> bool| {
        let bound = bound.as_ref()?;
        breaks(value, bound.as_f64().unwrap_or(f64::NAN)).then(|| bound.to_string())
    };
    if let Some(least) = broken(&rules.least, |value, least| value < least) {
        return Err(format!("expected a number of at least {least}"));
    }
    if let Some(most) = broken(&rules.most, |value, most| value > most) {
        return Err(format!("expected a number of at most {most}"));
    }
    if let Some(above) = broken(&rules.above, |value, above| value <= above) {
        return Err(format!("expected a number greater than {above}"));
    }
    if let Some(below) = broken(&rules.below, |value, below| value >= below) {
        return Err(format!("expected a number smaller than {below}"));
    }
    let uneven = |value: f64, step: f64| {
        let times = value / step;
        (times - times.round()).abs() > 1e-9 * times.abs().max(1.0)
    };
    if let Some(step) = broken(&rules.multiple_of, uneven) {
        return Err(format!("expected a multiple of {step}"));
    }
    Ok(())
}

fn check_text(rules: &TextRules, text: &str) -> Result<(), String> {
    if rules.shortest.is_some() || rules.longest.is_some() {
        let length = text.chars().count() as u64;
        if let Some(shortest) = rules.shortest.filter(|shortest| length < *shortest) {
            return Err(format!("string too short, expected at least {shortest}, got {length}"));
        }
        if let Some(longest) = rules.longest.filter(|longest| length > *longest) {
            return Err(format!("string too long, expected at most {longest}, got {length}"));
        }
    }
    match rules.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
        Some(pattern) => Err(format!("failed to match pattern \"{}\"", pattern.as_str())),
        None => Ok(()),
    }
}

/// Equality of JSON: numbers by value, objects without regard to order.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            let among =
                |(name, value): (&String, &Value)| b.get(name).is_some_and(|other| same(value, other));
            a.len() == b.len() && a.iter().all(among)
        }
        _ => a == b,
    }
}

fn wrong_type(types: &[Type], value: &Value) -> String {
    // Lua's names: an array is a table too.
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) | Value::Object(_) => "table",
    };
    let names: Vec<&str> = types.iter().map(|kind| kind.name()).collect();
    let among = if names.len() == 1 { "" } else { "one of " };
    format!("wrong type: expected {among}{}, got {found}", names.join(", "))
}

impl Type {
    fn is_of(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Integer, Value::Number(number)) => {
                number.is_i64()
                    || number.is_u64()
                    || number.as_f64().is_some_and(|float| float.fract() == 0.0)
            }
            (Self::Null, Value::Null)
            | (Self::Boolean, Value::Bool(_))
            | (Self::Number, Value::Number(_))
            | (Self::String, Value::String(_))
            | (Self::Array, Value::Array(_))
            | (Self::Object, Value::Object(_)) => true,
            _ => false,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }
}
