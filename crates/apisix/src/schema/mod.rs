//! Wire schemas as values: what may be written, checked with APISIX's wording, and described for people.
//!
//! One description serves three readers: [`Schema::validate`], the Admin API's `schema/…`, and the operator's reference.

mod check;
mod describe;

use std::{fmt, sync::Arc};

use regex::Regex;
use serde_json::{Value, json};

pub(crate) use check::{NONE_FITS, excerpt, wrong_type};
pub use describe::Row;

/// What one value may look like. Made by the constructors, narrowed by the methods that follow them.
#[derive(Clone, Debug)]
pub struct Schema {
    shape: Shape,
    doc: &'static str,
    default: Option<Value>,
    secret: bool,
    support: Support,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
enum Shape {
    Any,
    Boolean,
    Text(Text),
    Number(Number),
    List(List),
    Object(Object),
    /// One of several, and what is said where none fits.
    AnyOf(Vec<Schema>, &'static str),
}

#[derive(Clone, Debug, Default)]
struct Text {
    shortest: Option<usize>,
    longest: Option<usize>,
    pattern: Option<Pattern>,
    choices: &'static [&'static str],
    absent_choices: &'static [&'static str],
}

#[derive(Clone)]
struct Pattern {
    text: &'static str,
    regex: Arc<Regex>,
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

#[derive(Clone, Debug, Default)]
struct Number {
    integer: bool,
    least: Option<i64>,
    most: Option<i64>,
    above: Option<i64>,
}

#[derive(Clone, Debug)]
struct List {
    items: Box<Schema>,
    least: Option<usize>,
    most: Option<usize>,
    unique: bool,
}

#[derive(Clone, Debug, Default)]
struct Object {
    fields: Vec<Field>,
    others: Others,
    least: Option<usize>,
    most: Option<usize>,
}

#[derive(Clone, Debug)]
struct Field {
    name: &'static str,
    required: bool,
    schema: Schema,
}

/// What an object says to members it does not name.
#[derive(Clone, Debug, Default)]
enum Others {
    #[default]
    Refused,
    Accepted,
    /// Each is checked; the error says so in the words for `patternProperties`, or for `additionalProperties`.
    Each(Box<Schema>, Naming),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naming {
    Matching,
    Additional,
}

/// Whether this build does what the attribute says.
#[derive(Clone, Debug, PartialEq)]
enum Support {
    Full,
    /// Refused by name, unless it has this value, which asks for nothing.
    Absent(Option<Value>),
}

/// Sets of members' names.
type Sets = &'static [&'static [&'static str]];

#[derive(Clone, Debug)]
enum Rule {
    /// At least one of these sets of members is there; `told` are those that the error names.
    AnyRequired { sets: Sets, told: Sets },
    /// Exactly one of these sets of members is there.
    OneRequired(Sets),
    /// The same, as the rule of this number among several (`allOf`).
    Clause(usize, Sets),
    /// The second is there when the first is.
    Needs(&'static str, &'static str),
    /// Anything else; the error is the whole text.
    Check(fn(&Value) -> Result<(), String>),
}

impl Schema {
    const fn of(shape: Shape) -> Self {
        Self { shape, doc: "", default: None, secret: false, support: Support::Full, rules: Vec::new() }
    }

    /// Any JSON value.
    pub const fn any() -> Self {
        Self::of(Shape::Any)
    }

    /// `true` or `false`.
    pub const fn boolean() -> Self {
        Self::of(Shape::Boolean)
    }

    /// A string of any length.
    pub fn string() -> Self {
        Self::of(Shape::Text(Text::default()))
    }

    /// A number without fraction; `1.0` counts as one.
    pub fn integer() -> Self {
        Self::of(Shape::Number(Number { integer: true, ..Number::default() }))
    }

    /// A number.
    pub fn number() -> Self {
        Self::of(Shape::Number(Number::default()))
    }

    /// A list of `items`.
    pub fn array(items: Schema) -> Self {
        Self::of(Shape::List(List { items: Box::new(items), least: None, most: None, unique: false }))
    }

    /// An object with the fields that follow; other members are refused until said otherwise.
    pub fn object() -> Self {
        Self::of(Shape::Object(Object::default()))
    }

    /// An object used as a dictionary: every member is a `value`.
    pub fn map(value: Schema) -> Self {
        Self::dictionary(value, Naming::Matching)
    }

    /// The same, where APISIX's schema has `additionalProperties` in place of a pattern for all names: its errors differ.
    pub fn additional(value: Schema) -> Self {
        Self::dictionary(value, Naming::Additional)
    }

    fn dictionary(value: Schema, naming: Naming) -> Self {
        let others = Others::Each(Box::new(value), naming);
        Self::of(Shape::Object(Object { others, ..Object::default() }))
    }

    /// Any one of `alternatives`.
    pub fn any_of(alternatives: Vec<Schema>) -> Self {
        Self::of(Shape::AnyOf(alternatives, NONE_FITS))
    }

    /// The same, where APISIX's schema says `oneOf`: its error differs.
    pub fn one_of(alternatives: Vec<Schema>) -> Self {
        Self::of(Shape::AnyOf(alternatives, "value should match only one schema, but matches none"))
    }

    /// What it is for, in one line with its unit, for the operator's reference.
    pub fn doc(mut self, doc: &'static str) -> Self {
        self.doc = doc;
        self
    }

    /// What holds when it is left out. It is described, never written into what is stored.
    pub fn default(mut self, default: impl Into<Value>) -> Self {
        self.default = Some(default.into());
        self
    }

    /// A secret: sealed at rest, hidden from viewers, never in an error.
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Known to APISIX but not to this build: refused by name.
    pub fn unimplemented(mut self) -> Self {
        self.support = Support::Absent(None);
        self
    }

    /// Like [`Schema::unimplemented`], but `harmless` is accepted, because it asks for nothing.
    pub fn unimplemented_except(mut self, harmless: impl Into<Value>) -> Self {
        self.support = Support::Absent(Some(harmless.into()));
        self
    }

    /// Strings: length in characters, both ends included.
    pub fn length(mut self, shortest: usize, longest: usize) -> Self {
        if let Shape::Text(text) = &mut self.shape {
            text.shortest = (shortest > 0).then_some(shortest);
            text.longest = (longest < usize::MAX).then_some(longest);
        }
        self
    }

    /// Strings: a regular expression that must be found in it.
    pub fn pattern(mut self, pattern: &'static str) -> Self {
        if let Shape::Text(text) = &mut self.shape {
            #[allow(clippy::expect_used)]
            let regex =
                Regex::new(pattern).expect("patterns are constants, and every schema is built in the tests");
            text.pattern = Some(Pattern { text: pattern, regex: Arc::new(regex) });
        }
        self
    }

    /// Strings: one of these.
    pub fn choices(mut self, choices: &'static [&'static str]) -> Self {
        if let Shape::Text(text) = &mut self.shape {
            text.choices = choices;
        }
        self
    }

    /// Strings with choices: further ones that APISIX has and this build refuses by name.
    pub fn absent_choices(mut self, choices: &'static [&'static str]) -> Self {
        if let Shape::Text(text) = &mut self.shape {
            text.absent_choices = choices;
        }
        self
    }

    /// Numbers, lists and objects: not below.
    pub fn at_least(mut self, least: i64) -> Self {
        match &mut self.shape {
            Shape::Number(number) => number.least = Some(least),
            Shape::List(list) => list.least = usize::try_from(least).ok(),
            Shape::Object(object) => object.least = usize::try_from(least).ok(),
            _ => {}
        }
        self
    }

    /// Numbers, lists and objects: not above.
    pub fn at_most(mut self, most: i64) -> Self {
        match &mut self.shape {
            Shape::Number(number) => number.most = Some(most),
            Shape::List(list) => list.most = usize::try_from(most).ok(),
            Shape::Object(object) => object.most = usize::try_from(most).ok(),
            _ => {}
        }
        self
    }

    /// Numbers: strictly above.
    pub fn above(mut self, bound: i64) -> Self {
        if let Shape::Number(number) = &mut self.shape {
            number.above = Some(bound);
        }
        self
    }

    /// Lists: no two items are equal.
    pub fn unique(mut self) -> Self {
        if let Shape::List(list) = &mut self.shape {
            list.unique = true;
        }
        self
    }

    /// Objects: a member that may be left out.
    pub fn field(self, name: &'static str, schema: Schema) -> Self {
        self.with_field(Field { name, required: false, schema })
    }

    /// Objects: a member that must be there.
    pub fn required(self, name: &'static str, schema: Schema) -> Self {
        self.with_field(Field { name, required: true, schema })
    }

    fn with_field(mut self, field: Field) -> Self {
        if let Shape::Object(object) = &mut self.shape {
            object.fields.push(field);
        }
        self
    }

    /// Objects: members without a name here are accepted as they are.
    pub fn open(mut self) -> Self {
        if let Shape::Object(object) = &mut self.shape {
            object.others = Others::Accepted;
        }
        self
    }

    /// Objects: at least one of these sets of members is there.
    pub fn any_required(self, sets: Sets) -> Self {
        self.any_required_telling(sets, sets)
    }

    /// Like [`Schema::any_required`]; the error names the sets `told`, which APISIX has.
    pub fn any_required_telling(mut self, sets: Sets, told: Sets) -> Self {
        self.rules.push(Rule::AnyRequired { sets, told });
        self
    }

    /// Objects: exactly one of these sets of members is there.
    pub fn one_required(mut self, sets: Sets) -> Self {
        self.rules.push(Rule::OneRequired(sets));
        self
    }

    /// Like [`Schema::one_required`], as the rule of this number among those that APISIX counts (`allOf`).
    pub fn clause(mut self, number: usize, sets: Sets) -> Self {
        self.rules.push(Rule::Clause(number, sets));
        self
    }

    /// Objects: where `member` is there, `needed` must be too.
    pub fn needs(mut self, member: &'static str, needed: &'static str) -> Self {
        self.rules.push(Rule::Needs(member, needed));
        self
    }

    /// A check in code, after all others; its error is the whole text.
    pub fn check(mut self, check: fn(&Value) -> Result<(), String>) -> Self {
        self.rules.push(Rule::Check(check));
        self
    }

    /// Dotted paths of the secrets in it: `session.secret`. Lists are not walked: no plugin keeps secrets in them.
    pub fn secret_paths(&self) -> Vec<String> {
        let Shape::Object(object) = &self.shape else { return Vec::new() };
        let mut paths = Vec::new();
        for field in &object.fields {
            if field.schema.secret {
                paths.push(field.name.to_owned());
            }
            paths
                .extend(field.schema.secret_paths().into_iter().map(|rest| format!("{}.{rest}", field.name)));
        }
        paths
    }

    /// As JSON Schema, the answer of the Admin API's `schema/…`.
    pub fn to_json(&self) -> Value {
        let mut out = describe::json_schema(self);
        if let (Some(object), Some(default)) = (out.as_object_mut(), &self.default) {
            object.insert("default".to_owned(), json!(default));
        }
        out
    }
}
