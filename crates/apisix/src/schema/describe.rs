use serde_json::{Map, Value, json};

use super::{Number, Object, Others, Rule, Schema, Shape, Support, Text};

/// One attribute in the operator's reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Dotted path: `session.secret`.
    pub path: String,
    /// Type and bounds: `string, 16–64 characters`.
    pub kind: String,
    /// Default as JSON; empty when there is none.
    pub default: String,
    /// Whether it must be there.
    pub required: bool,
    /// Whether it is sealed at rest.
    pub secret: bool,
    /// Whether this build implements it.
    pub implemented: bool,
    /// What it is for.
    pub doc: &'static str,
}

impl Schema {
    /// Every attribute in it, depth first, in the order of the schema.
    pub fn rows(&self) -> Vec<Row> {
        let Shape::Object(object) = &self.shape else { return Vec::new() };
        let mut rows = Vec::new();
        for field in &object.fields {
            let schema = &field.schema;
            rows.push(Row {
                path: field.name.to_owned(),
                kind: kind(schema),
                default: schema.default.as_ref().map(Value::to_string).unwrap_or_default(),
                required: field.required,
                secret: schema.secret,
                implemented: schema.support == Support::Full,
                doc: schema.doc,
            });
            rows.extend(
                schema
                    .rows()
                    .into_iter()
                    .map(|row| Row { path: format!("{}.{}", field.name, row.path), ..row }),
            );
        }
        rows
    }
}

/// Type and bounds in words.
fn kind(schema: &Schema) -> String {
    match &schema.shape {
        Shape::Any => "any".to_owned(),
        Shape::Boolean => "boolean".to_owned(),
        Shape::Text(text) => text_kind(text),
        Shape::Number(number) => number_kind(number),
        Shape::List(list) => format!("array of {}", kind(&list.items)),
        Shape::Object(_) => "object".to_owned(),
        Shape::AnyOf(alternatives, _) => alternatives.iter().map(kind).collect::<Vec<_>>().join(" or "),
    }
}

fn text_kind(text: &Text) -> String {
    let mut out = if text.choices.is_empty() {
        "string".to_owned()
    } else {
        text.choices.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", ")
    };
    match (text.shortest, text.longest) {
        (Some(least), Some(most)) => out.push_str(&format!(", {least}–{most} characters")),
        (Some(least), None) => out.push_str(&format!(", at least {least} characters")),
        (None, Some(most)) => out.push_str(&format!(", at most {most} characters")),
        (None, None) => {}
    }
    if let Some(pattern) = &text.pattern {
        out.push_str(&format!(", matching `{}`", pattern.text));
    }
    out
}

fn number_kind(number: &Number) -> String {
    let mut out = if number.integer { "integer" } else { "number" }.to_owned();
    for (word, bound) in [("≥", number.least), (">", number.above), ("≤", number.most)] {
        if let Some(bound) = bound {
            out.push_str(&format!(" {word} {bound}"));
        }
    }
    out
}

/// As JSON Schema, without the default.
pub(super) fn json_schema(schema: &Schema) -> Value {
    let mut out = Map::new();
    if !schema.doc.is_empty() {
        out.insert("description".to_owned(), schema.doc.into());
    }
    let mut set = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    match &schema.shape {
        Shape::Any => {}
        Shape::Boolean => set("type", json!("boolean")),
        Shape::Text(text) => json_text(text, &mut set),
        Shape::Number(number) => json_number(number, &mut set),
        Shape::List(list) => {
            set("type", json!("array"));
            set("items", list.items.to_json());
            bound(&mut set, "minItems", list.least);
            bound(&mut set, "maxItems", list.most);
            if list.unique {
                set("uniqueItems", json!(true));
            }
        }
        Shape::Object(object) => json_object(object, &mut set),
        Shape::AnyOf(alternatives, _) => set("anyOf", alternatives.iter().map(Schema::to_json).collect()),
    }
    for rule in &schema.rules {
        json_rule(rule, &mut set);
    }
    Value::Object(out)
}

fn json_text(text: &Text, set: &mut impl FnMut(&str, Value)) {
    set("type", json!("string"));
    bound(set, "minLength", text.shortest);
    bound(set, "maxLength", text.longest);
    if let Some(pattern) = &text.pattern {
        set("pattern", json!(pattern.text));
    }
    if !text.choices.is_empty() {
        set("enum", json!(text.choices));
    }
}

fn json_number(number: &Number, set: &mut impl FnMut(&str, Value)) {
    set("type", json!(if number.integer { "integer" } else { "number" }));
    bound(set, "minimum", number.least);
    bound(set, "exclusiveMinimum", number.above);
    bound(set, "maximum", number.most);
}

fn json_object(object: &Object, set: &mut impl FnMut(&str, Value)) {
    set("type", json!("object"));
    // What this build would refuse is not advertised.
    let offered = || object.fields.iter().filter(|field| field.schema.support == Support::Full);
    let properties: Map<_, _> =
        offered().map(|field| (field.name.to_owned(), field.schema.to_json())).collect();
    set("properties", Value::Object(properties));
    let required: Vec<_> = offered().filter(|field| field.required).map(|field| field.name).collect();
    if !required.is_empty() {
        set("required", json!(required));
    }
    match &object.others {
        Others::Refused => set("additionalProperties", json!(false)),
        Others::Accepted => {}
        Others::Each(schema, _) => set("additionalProperties", schema.to_json()),
    }
    bound(set, "minProperties", object.least);
    bound(set, "maxProperties", object.most);
}

fn json_rule(rule: &Rule, set: &mut impl FnMut(&str, Value)) {
    let sets = |sets: &[&[&str]]| sets.iter().map(|names| json!({"required": names})).collect::<Value>();
    match rule {
        Rule::AnyRequired { sets: names, .. } => set("anyOf", sets(names)),
        Rule::OneRequired(names) => set("oneOf", sets(names)),
        Rule::Clause(_, names) => set("allOf", json!([{"oneOf": sets(names)}])),
        Rule::Needs(member, needed) => set("dependencies", json!({*member: [needed]})),
        Rule::Check(_) => {}
    }
}

fn bound(set: &mut impl FnMut(&str, Value), name: &str, bound: Option<impl Into<Value>>) {
    if let Some(bound) = bound {
        set(name, bound.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_names_every_attribute_with_its_bounds() {
        let schema = Schema::object().required("id", Schema::string().length(1, 64).doc("its id")).field(
            "session",
            Schema::object()
                .field("secret", Schema::string().length(16, usize::MAX).secret())
                .field("lua", Schema::string().unimplemented()),
        );
        let rows = schema.rows();
        let paths: Vec<_> = rows.iter().map(|row| row.path.as_str()).collect();
        assert_eq!(paths, ["id", "session", "session.secret", "session.lua"]);
        assert_eq!(rows[0].kind, "string, 1–64 characters");
        assert!(rows[2].secret && !rows[3].implemented);
        assert_eq!(
            schema.to_json()["properties"]["session"],
            json!({
                "type": "object",
                "properties": {"secret": {"type": "string", "minLength": 16}},
                "additionalProperties": false,
            })
        );
    }
}
