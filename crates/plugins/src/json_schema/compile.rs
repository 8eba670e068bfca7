use std::collections::HashMap;

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Number, Value};

use super::{
    Condition, Dependency, JsonSchema, ListRules, NumberRules, ObjectRules, Rules, Schema, SchemaError,
    TextRules, Type,
};

/// Levels of schemas within schemas.
const MAX_DEPTH: usize = 64;
/// Bytes of a compiled pattern.
const MAX_PATTERN: usize = 1 << 20;
/// Assertions of later drafts.
const LATER: [&str; 12] = [
    "$anchor",
    "$dynamicRef",
    "$recursiveRef",
    "dependentRequired",
    "dependentSchemas",
    "maxContains",
    "minContains",
    "prefixItems",
    "propertyDependencies",
    "unevaluatedItems",
    "unevaluatedProperties",
    "$vocabulary",
];

type Made<T> = Result<T, SchemaError>;

pub(super) fn compile(schema: &Value) -> Made<JsonSchema> {
    let mut compiler = Compiler { document: schema, known: HashMap::new(), targets: Vec::new() };
    let root = compiler.schema(schema, &Place::root())?;
    // A reference that is found while another is compiled adds a target; each is there by the end.
    let targets = compiler.targets.into_iter().map(|target| target.unwrap_or(Schema::Never)).collect();
    Ok(JsonSchema { root, targets })
}

/// Where in the schema something stands.
struct Place {
    pointer: String,
    depth: usize,
}

impl Place {
    fn root() -> Self {
        Self { pointer: "#".to_owned(), depth: 0 }
    }

    fn member(&self, name: &str) -> Self {
        Self { pointer: format!("{}/{name}", self.pointer), depth: self.depth + 1 }
    }

    fn wrong<T>(&self, reason: impl Into<String>) -> Made<T> {
        Err(SchemaError { place: self.pointer.clone(), reason: reason.into() })
    }
}

struct Compiler<'a> {
    document: &'a Value,
    /// References that were met, and which target they lead to.
    known: HashMap<String, usize>,
    /// `None` while it is being compiled.
    targets: Vec<Option<Schema>>,
}

impl Compiler<'_> {
    fn schema(&mut self, schema: &Value, place: &Place) -> Made<Schema> {
        if place.depth > MAX_DEPTH {
            return place.wrong("schemas are nested too deeply");
        }
        match schema {
            Value::Bool(true) => Ok(Schema::Always),
            Value::Bool(false) => Ok(Schema::Never),
            Value::Object(members) => Ok(Schema::Rules(Box::new(self.rules(members, place)?))),
            _ => place.wrong("a schema is an object, or true or false"),
        }
    }

    fn rules(&mut self, schema: &Map<String, Value>, place: &Place) -> Made<Rules> {
        if let Some(later) = LATER.iter().find(|name| schema.contains_key(**name)) {
            return place.member(later).wrong("this keyword is of a later draft than 7 and not supported");
        }
        if let Some(reference) = schema.get("$ref") {
            let place = place.member("$ref");
            let Some(reference) = reference.as_str() else { return place.wrong("it must be a string") };
            return Ok(Rules { reference: Some(self.target(reference, &place)?), ..Rules::default() });
        }
        let choices = match schema.get("enum") {
            None => None,
            Some(Value::Array(choices)) if !choices.is_empty() => Some(choices.clone()),
            Some(_) => return place.member("enum").wrong("it must be an array that is not empty"),
        };
        Ok(Rules {
            reference: None,
            types: types(schema, place)?,
            choices,
            constant: schema.get("const").cloned(),
            number: numbers(schema, place)?,
            text: TextRules {
                shortest: count(schema, "minLength", place)?,
                longest: count(schema, "maxLength", place)?,
                pattern: match schema.get("pattern") {
                    None => None,
                    Some(Value::String(text)) => Some(pattern(text, &place.member("pattern"))?),
                    Some(_) => return place.member("pattern").wrong("it must be a string"),
                },
            },
            list: self.lists(schema, place)?,
            object: self.objects(schema, place)?,
            all_of: self.several(schema, "allOf", place)?,
            any_of: self.several(schema, "anyOf", place)?,
            one_of: self.several(schema, "oneOf", place)?,
            not: self.optional(schema, "not", place)?,
            condition: self.condition(schema, place)?,
        })
    }

    /// The target of a reference: a JSON pointer (RFC 6901) into the same document.
    fn target(&mut self, reference: &str, place: &Place) -> Made<usize> {
        if let Some(at) = self.known.get(reference) {
            return Ok(*at);
        }
        let Some(pointer) = reference.strip_prefix('#') else {
            return place.wrong("only references into the same schema are followed, such as #/definitions/x");
        };
        let pointer = percent_encoding::percent_decode_str(pointer).decode_utf8_lossy();
        let Some(target) = self.document.pointer(&pointer) else {
            return place.wrong("it leads nowhere");
        };
        let at = self.targets.len();
        self.known.insert(reference.to_owned(), at);
        self.targets.push(None);
        let there = Place { pointer: reference.to_owned(), depth: place.depth + 1 };
        let schema = self.schema(target, &there)?;
        if let Some(slot) = self.targets.get_mut(at) {
            *slot = Some(schema);
        }
        Ok(at)
    }

    fn optional(&mut self, schema: &Map<String, Value>, name: &str, place: &Place) -> Made<Option<Schema>> {
        schema.get(name).map(|schema| self.schema(schema, &place.member(name))).transpose()
    }

    fn several(&mut self, schema: &Map<String, Value>, name: &str, place: &Place) -> Made<Vec<Schema>> {
        let place = place.member(name);
        match schema.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(schemas)) if !schemas.is_empty() => self.each(schemas, &place),
            Some(_) => place.wrong("it must be an array of schemas that is not empty"),
        }
    }

    fn each(&mut self, schemas: &[Value], place: &Place) -> Made<Vec<Schema>> {
        let numbered = schemas.iter().enumerate();
        numbered.map(|(at, schema)| self.schema(schema, &place.member(&at.to_string()))).collect()
    }

    fn condition(&mut self, schema: &Map<String, Value>, place: &Place) -> Made<Option<Condition>> {
        let Some(when) = self.optional(schema, "if", place)? else { return Ok(None) };
        let then = self.optional(schema, "then", place)?.unwrap_or(Schema::Always);
        let otherwise = self.optional(schema, "else", place)?.unwrap_or(Schema::Always);
        Ok(Some(Condition { when, then, otherwise }))
    }

    fn lists(&mut self, schema: &Map<String, Value>, place: &Place) -> Made<ListRules> {
        let (first, others) = match schema.get("items") {
            Some(Value::Array(first)) => {
                (self.each(first, &place.member("items"))?, self.optional(schema, "additionalItems", place)?)
            }
            _ => (Vec::new(), self.optional(schema, "items", place)?),
        };
        Ok(ListRules {
            first,
            others,
            contains: self.optional(schema, "contains", place)?,
            least: count(schema, "minItems", place)?,
            most: count(schema, "maxItems", place)?,
            unique: flag(schema, "uniqueItems", place)?,
        })
    }

    fn objects(&mut self, schema: &Map<String, Value>, place: &Place) -> Made<ObjectRules> {
        let mut rules = ObjectRules {
            others: self.optional(schema, "additionalProperties", place)?,
            names: self.optional(schema, "propertyNames", place)?,
            required: match schema.get("required") {
                None => Vec::new(),
                // Drafts before 4 had a flag here, and a schema of theirs would assert nothing.
                Some(names) => names_of(names, &place.member("required"))?,
            },
            least: count(schema, "minProperties", place)?,
            most: count(schema, "maxProperties", place)?,
            ..ObjectRules::default()
        };
        for (name, member) in members(schema, "properties", place)? {
            let place = place.member("properties").member(name);
            rules.properties.push((name.clone(), self.schema(member, &place)?));
        }
        for (text, member) in members(schema, "patternProperties", place)? {
            let place = place.member("patternProperties").member(text);
            rules.patterns.push((pattern(text, &place)?, self.schema(member, &place)?));
        }
        for (name, needs) in members(schema, "dependencies", place)? {
            let place = place.member("dependencies").member(name);
            let needs = match needs {
                Value::Array(_) => Dependency::Members(names_of(needs, &place)?),
                schema => Dependency::Schema(self.schema(schema, &place)?),
            };
            rules.dependencies.push((name.clone(), needs));
        }
        Ok(rules)
    }
}

fn members<'a>(
    schema: &'a Map<String, Value>,
    name: &str,
    place: &Place,
) -> Made<impl Iterator<Item = (&'a String, &'a Value)> + use<'a>> {
    match schema.get(name) {
        None => Ok(None.into_iter().flatten()),
        Some(Value::Object(members)) => Ok(Some(members).into_iter().flatten()),
        Some(_) => place.member(name).wrong("it must be an object"),
    }
}

fn names_of(value: &Value, place: &Place) -> Made<Vec<String>> {
    let names = value.as_array().map(|names| names.iter().map(|name| name.as_str().map(str::to_owned)));
    match names.and_then(Iterator::collect) {
        Some(names) => Ok(names),
        None => place.wrong("it must be an array of strings"),
    }
}

fn types(schema: &Map<String, Value>, place: &Place) -> Made<Vec<Type>> {
    let place = place.member("type");
    let one = |name: &Value| match name.as_str().and_then(Type::parse) {
        Some(kind) => Ok(kind),
        None => place.wrong("it names no type of JSON"),
    };
    match schema.get("type") {
        None => Ok(Vec::new()),
        Some(Value::Array(names)) if !names.is_empty() => names.iter().map(one).collect(),
        Some(name) => Ok(vec![one(name)?]),
    }
}

fn numbers(schema: &Map<String, Value>, place: &Place) -> Made<NumberRules> {
    let number = |name: &str| match schema.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => Ok(Some(number.clone())),
        Some(_) => place.member(name).wrong("it must be a number"),
    };
    let mut rules = NumberRules {
        least: number("minimum")?,
        most: number("maximum")?,
        multiple_of: number("multipleOf")?,
        ..NumberRules::default()
    };
    if rules.multiple_of.as_ref().and_then(Number::as_f64).is_some_and(|step| step <= 0.0) {
        return place.member("multipleOf").wrong("it must be above 0");
    }
    // Draft 4 has flags that turn the bound itself into one that is not reached; later drafts have numbers.
    match schema.get("exclusiveMinimum") {
        Some(Value::Bool(exclusive)) => {
            rules.above = exclusive.then(|| rules.least.take()).flatten();
        }
        _ => rules.above = number("exclusiveMinimum")?,
    }
    match schema.get("exclusiveMaximum") {
        Some(Value::Bool(exclusive)) => {
            rules.below = exclusive.then(|| rules.most.take()).flatten();
        }
        _ => rules.below = number("exclusiveMaximum")?,
    }
    Ok(rules)
}

fn count(schema: &Map<String, Value>, name: &str, place: &Place) -> Made<Option<u64>> {
    match schema.get(name) {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            Some(count) => Ok(Some(count)),
            None => place.member(name).wrong("it must be a whole number, 0 or above"),
        },
    }
}

fn flag(schema: &Map<String, Value>, name: &str, place: &Place) -> Made<bool> {
    match schema.get(name) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => place.member(name).wrong("it must be true or false"),
    }
}

fn pattern(text: &str, place: &Place) -> Made<Regex> {
    match RegexBuilder::new(text).size_limit(MAX_PATTERN).build() {
        Ok(regex) => Ok(regex),
        Err(regex::Error::CompiledTooBig(_)) => place.wrong("the pattern is too large"),
        Err(_) => {
            place.wrong("the pattern cannot be compiled; look-around and back-references do not exist here")
        }
    }
}

impl Type {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "null" => Self::Null,
            "boolean" => Self::Boolean,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "string" => Self::String,
            "array" => Self::Array,
            "object" => Self::Object,
            _ => return None,
        })
    }
}
