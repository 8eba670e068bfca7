//! What may be written into an entity: one description from which a form is understood, a body checked in Kong's
//! words, and what was left out filled in.

mod check;
mod complete;
mod describe;
mod violations;

pub(crate) use complete::whole;

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Value};

pub use violations::Violations;

/// The fields of an entity or a record, in the order in which they are returned.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    pub(crate) fields: IndexMap<&'static str, Field>,
    pub(crate) checks: Vec<Check>,
    /// Rules over a whole record: the error stands in the record's place.
    pub(crate) whole: Vec<Check>,
    /// What the client is told of one field where others do not go with it.
    pub(crate) field_checks: Vec<(&'static str, Check)>,
    pub(crate) conditionals: Vec<Conditional>,
    /// Of each of these pairs the fields must not be equal.
    pub(crate) distinct: Vec<[&'static str; 2]>,
    /// Of each of these lists one field at least must be there, and not be empty. Here and in conditionals a field of a
    /// record is named with a dot: `config.allow`.
    pub(crate) any_of: Vec<&'static [&'static str]>,
    /// Of each of these lists exactly one.
    pub(crate) one_of: Vec<&'static [&'static str]>,
}

/// A rule over several fields of an entity whose fields are all right by themselves; the error is what the client is
/// told under `@entity`.
pub type Check = fn(&Map<String, Value>) -> Result<(), String>;

/// What a field must be where another one has a certain text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditional {
    pub(crate) if_field: &'static str,
    pub(crate) when: When,
    pub(crate) then_field: &'static str,
    pub(crate) then: Then,
}

/// What the one field must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    /// This text.
    Is(&'static str),
    /// None of these texts.
    NoneOf(&'static [&'static str]),
    /// A number above zero.
    Positive,
}

/// What the other field must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Then {
    Required,
    Absent,
    OneOf(&'static [&'static str]),
    /// A list with this text in it.
    Contains(&'static str),
}

/// One field.
#[derive(Clone, Debug)]
pub struct Field {
    pub(crate) shape: Shape,
    pub(crate) required: bool,
    pub(crate) default: Option<Value>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) secret: bool,
    /// Only one entity may have a value.
    pub(crate) unique: bool,
    /// It is filled in by the gate.
    pub(crate) auto: bool,
    /// Where it is null, the entity has no such field.
    pub(crate) silent: bool,
    pub(crate) support: Support,
    pub(crate) doc: &'static str,
}

/// Of what type a field is.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    String,
    Integer,
    Number,
    Boolean,
    Array(Box<Field>),
    /// An array without duplicates whose order means nothing.
    Set(Box<Field>),
    Record(Arc<Schema>),
    /// Values under names that the schema does not know.
    Map(Box<Field>),
    /// Another entity of the kind of that name, by `{"id": …}`.
    Foreign(&'static str),
    /// Of no type that is known here.
    Opaque,
}

/// What a value must keep to besides its type.
#[derive(Clone, Debug)]
pub(crate) enum Rule {
    OneOf(&'static [&'static str]),
    OneOfNumbers(&'static [i64]),
    Between(i64, i64),
    /// Shortest array or set.
    Fewest(usize),
    Text(fn(&str) -> Result<(), String>),
    /// Any value of its type.
    Value(fn(&Value) -> Result<(), String>),
    /// It must be left out.
    Absent,
}

/// Whether a field does anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Support {
    Full,
    /// It is known, and only its default is taken.
    DefaultOnly,
    /// It belongs to something that is refused, and without that means nothing: every value of its type is taken.
    Moot,
}

impl Schema {
    /// No fields yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one field more.
    #[must_use]
    pub fn field(mut self, name: &'static str, field: Field) -> Self {
        self.fields.insert(name, field);
        self
    }

    /// With several fields of one description more.
    #[must_use]
    pub fn fields(mut self, names: &[&'static str], field: &Field) -> Self {
        self.fields.extend(names.iter().map(|name| (*name, field.clone())));
        self
    }

    /// With a rule over several fields more.
    #[must_use]
    pub fn check_entity(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// With a rule over the whole of a record more.
    #[must_use]
    pub(crate) fn check_whole(mut self, check: Check) -> Self {
        self.whole.push(check);
        self
    }

    /// With a rule over several fields more, whose error is this field's.
    #[must_use]
    pub(crate) fn check_field(mut self, field: &'static str, check: Check) -> Self {
        self.field_checks.push((field, check));
        self
    }

    /// With the rule that a field must be something where another one has this text.
    #[must_use]
    pub(crate) fn conditional(
        mut self,
        if_field: &'static str,
        is: &'static str,
        then_field: &'static str,
        then: Then,
    ) -> Self {
        self.conditionals.push(Conditional { if_field, when: When::Is(is), then_field, then });
        self
    }

    /// With the rule that a field must be something where another one is a number above zero.
    #[must_use]
    pub(crate) fn if_positive(
        mut self,
        if_field: &'static str,
        then_field: &'static str,
        then: Then,
    ) -> Self {
        self.conditionals.push(Conditional { if_field, when: When::Positive, then_field, then });
        self
    }

    /// With the rule that a field must be left out unless another one has one of these texts.
    #[must_use]
    pub(crate) fn only_with(
        mut self,
        if_field: &'static str,
        one_of: &'static [&'static str],
        then_field: &'static str,
    ) -> Self {
        let (when, then) = (When::NoneOf(one_of), Then::Absent);
        self.conditionals.push(Conditional { if_field, when, then_field, then });
        self
    }

    /// With the rule that these are not equal.
    #[must_use]
    pub(crate) fn distinct(mut self, one: &'static str, other: &'static str) -> Self {
        self.distinct.push([one, other]);
        self
    }

    /// With the rule that one of these must be there.
    #[must_use]
    pub fn at_least_one_of(mut self, names: &'static [&'static str]) -> Self {
        self.any_of.push(names);
        self
    }

    /// With the rule that exactly one of these must be there.
    #[must_use]
    pub(crate) fn only_one_of(mut self, names: &'static [&'static str]) -> Self {
        self.one_of.push(names);
        self
    }

    /// Calls `visit` with the path and the place of every secret in `value`.
    pub(crate) fn for_each_secret(
        &self,
        path: &str,
        value: &mut Map<String, Value>,
        visit: &mut dyn FnMut(&str, &mut Value),
    ) {
        for (name, field) in &self.fields {
            let Some(found) = value.get_mut(*name) else { continue };
            let path = if path.is_empty() { (*name).to_owned() } else { format!("{path}.{name}") };
            match (&field.shape, found) {
                (Shape::Record(schema), Value::Object(members)) => {
                    schema.for_each_secret(&path, members, visit)
                }
                (_, Value::Array(items)) if field.secret => {
                    for (at, item) in items.iter_mut().enumerate() {
                        visit(&format!("{path}[{at}]"), item);
                    }
                }
                (_, found @ Value::String(_)) if field.secret => visit(&path, found),
                _ => {}
            }
        }
    }
}

impl Field {
    fn of(shape: Shape) -> Self {
        Self {
            shape,
            required: false,
            default: None,
            rules: Vec::new(),
            secret: false,
            unique: false,
            auto: false,
            silent: false,
            support: Support::Full,
            doc: "",
        }
    }

    /// A text of at least one character.
    pub fn string() -> Self {
        Self::of(Shape::String)
    }

    /// A whole number.
    pub fn integer() -> Self {
        Self::of(Shape::Integer)
    }

    /// A number.
    pub fn number() -> Self {
        Self::of(Shape::Number)
    }

    /// `true` or `false`.
    pub fn boolean() -> Self {
        Self::of(Shape::Boolean)
    }

    /// A list.
    pub fn array(element: Self) -> Self {
        Self::of(Shape::Array(Box::new(element)))
    }

    /// A list whose order means nothing.
    pub fn set(element: Self) -> Self {
        Self::of(Shape::Set(Box::new(element)))
    }

    /// A list of texts.
    pub fn strings() -> Self {
        Self::array(Self::string())
    }

    /// A structure of its own.
    pub fn record(schema: Arc<Schema>) -> Self {
        Self::of(Shape::Record(schema))
    }

    /// Values of one description under any names.
    pub fn map(value: Self) -> Self {
        Self::of(Shape::Map(Box::new(value)))
    }

    /// Another entity of this kind.
    pub fn foreign(kind: &'static str) -> Self {
        Self::of(Shape::Foreign(kind))
    }

    /// Anything.
    pub(crate) fn any() -> Self {
        Self::of(Shape::Opaque)
    }

    /// Something of which only its absence is known here.
    pub fn opaque() -> Self {
        Self::of(Shape::Opaque).unimplemented()
    }

    /// It must be there, and not null.
    #[must_use]
    pub fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// What it is when it is left out.
    #[must_use]
    pub fn default(self, value: impl Into<Value>) -> Self {
        Self { default: Some(value.into()), ..self }
    }

    /// One of these texts.
    #[must_use]
    pub fn one_of(self, allowed: &'static [&'static str]) -> Self {
        self.rule(Rule::OneOf(allowed))
    }

    /// One of these numbers.
    #[must_use]
    pub fn one_of_numbers(self, allowed: &'static [i64]) -> Self {
        self.rule(Rule::OneOfNumbers(allowed))
    }

    /// From the first to the second number.
    #[must_use]
    pub fn between(self, least: i64, most: i64) -> Self {
        self.rule(Rule::Between(least, most))
    }

    /// At least so many elements.
    #[must_use]
    pub fn fewest(self, count: usize) -> Self {
        self.rule(Rule::Fewest(count))
    }

    /// A text that this function takes; its error is what the client is told.
    #[must_use]
    pub fn text(self, check: fn(&str) -> Result<(), String>) -> Self {
        self.rule(Rule::Text(check))
    }

    /// A value that this function takes; its error is what the client is told.
    #[must_use]
    pub fn value(self, check: fn(&Value) -> Result<(), String>) -> Self {
        self.rule(Rule::Value(check))
    }

    /// Only one entity may have a value.
    #[must_use]
    pub fn unique(self) -> Self {
        Self { unique: true, ..self }
    }

    /// The gate fills it in.
    #[must_use]
    pub fn auto(self) -> Self {
        Self { auto: true, ..self }
    }

    /// Where it is null, the entity has no such field: Kong has it in some deployments alone.
    #[must_use]
    pub(crate) fn silent(self) -> Self {
        Self { silent: true, ..self }
    }

    /// It must be left out.
    #[must_use]
    pub fn absent(self) -> Self {
        self.rule(Rule::Absent)
    }

    /// Sealed at rest, and hidden from viewers.
    #[must_use]
    pub fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    /// Known, and refused when it is set to anything but its default.
    #[must_use]
    pub fn unimplemented(self) -> Self {
        Self { support: Support::DefaultOnly, ..self }
    }

    /// Without meaning, because what it belongs to is refused: `doc` says what that is.
    #[must_use]
    pub fn moot(self, doc: &'static str) -> Self {
        Self { support: Support::Moot, doc, ..self }
    }

    /// What it means, for the operator's reference.
    #[must_use]
    pub fn doc(self, doc: &'static str) -> Self {
        Self { doc, ..self }
    }

    /// What it means.
    pub fn description(&self) -> &'static str {
        self.doc
    }

    fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }
}
