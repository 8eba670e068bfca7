//! JSON Schema, drafts 4, 6 and 7, compiled once: what operators write to say what a document must look like.
//!
//! Errors are worded as APISIX's library words them, and hold names and bounds of the schema, never values of the
//! document. Patterns run in linear time. References lead to places of the same schema only; nothing is fetched. An
//! assertion of a later draft is refused by name rather than passed over; annotations, `format` among them, assert
//! nothing.

mod check;
mod compile;
#[cfg(test)]
mod tests;

use regex::Regex;
use serde_json::{Number, Value};

/// A compiled schema.
#[derive(Clone, Debug)]
pub struct JsonSchema {
    root: Schema,
    /// What references lead to.
    targets: Vec<Schema>,
}

/// Why a value is no schema. Holds the place and the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct SchemaError {
    place: String,
    reason: String,
}

impl JsonSchema {
    /// Compiles a schema: an object, or `true` or `false`.
    ///
    /// # Errors
    ///
    /// With the place at which it is none, as a JSON pointer.
    pub fn compile(schema: &Value) -> Result<Self, SchemaError> {
        compile::compile(schema)
    }

    /// Checks a document.
    ///
    /// # Errors
    ///
    /// What is wrong with it first.
    pub fn check(&self, document: &Value) -> Result<(), String> {
        check::Check { targets: &self.targets }.schema(&self.root, document, 0)
    }
}

#[derive(Clone, Debug)]
enum Schema {
    Always,
    Never,
    Rules(Box<Rules>),
}

/// All that a schema object may assert. What is absent asserts nothing.
#[derive(Clone, Debug, Default)]
struct Rules {
    /// Index among the targets. Beside it nothing else counts (draft 7, section 8.3).
    reference: Option<usize>,
    types: Vec<Type>,
    choices: Option<Vec<Value>>,
    constant: Option<Value>,
    number: NumberRules,
    text: TextRules,
    list: ListRules,
    object: ObjectRules,
    all_of: Vec<Schema>,
    any_of: Vec<Schema>,
    one_of: Vec<Schema>,
    not: Option<Schema>,
    condition: Option<Condition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Null,
    Boolean,
    Integer,
    Number,
    String,
    Array,
    Object,
}

#[derive(Clone, Debug, Default)]
struct NumberRules {
    least: Option<Number>,
    most: Option<Number>,
    above: Option<Number>,
    below: Option<Number>,
    multiple_of: Option<Number>,
}

#[derive(Clone, Debug, Default)]
struct TextRules {
    shortest: Option<u64>,
    longest: Option<u64>,
    pattern: Option<Regex>,
}

#[derive(Clone, Debug, Default)]
struct ListRules {
    /// One schema for each of the first items.
    first: Vec<Schema>,
    /// For the items behind those.
    others: Option<Schema>,
    contains: Option<Schema>,
    least: Option<u64>,
    most: Option<u64>,
    unique: bool,
}

#[derive(Clone, Debug, Default)]
struct ObjectRules {
    properties: Vec<(String, Schema)>,
    patterns: Vec<(Regex, Schema)>,
    /// For members that neither of the two above names.
    others: Option<Schema>,
    names: Option<Schema>,
    required: Vec<String>,
    dependencies: Vec<(String, Dependency)>,
    least: Option<u64>,
    most: Option<u64>,
}

#[derive(Clone, Debug)]
enum Dependency {
    Members(Vec<String>),
    Schema(Schema),
}

#[derive(Clone, Debug)]
struct Condition {
    when: Schema,
    then: Schema,
    otherwise: Schema,
}
