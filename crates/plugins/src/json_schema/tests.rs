use serde_json::{Value, json};

use super::JsonSchema;

fn told(schema: &Value, document: &Value) -> Result<(), String> {
    JsonSchema::compile(schema).unwrap().check(document)
}

#[test]
fn each_keyword_takes_what_it_should_and_nothing_else() {
    for (schema, good, bad) in [
        (json!({"type": "string"}), json!("a"), json!(1)),
        (json!({"type": ["string", "null"]}), json!(null), json!(false)),
        (json!({"type": "integer"}), json!(1.0), json!(1.5)),
        (json!({"type": "number"}), json!(1), json!("1")),
        (json!({"enum": ["a", 1, {"b": [2]}]}), json!({"b": [2.0]}), json!("1")),
        (json!({"const": 1}), json!(1.0), json!(2)),
        (json!({"minimum": 1, "maximum": 2}), json!(2), json!(2.1)),
        (json!({"exclusiveMinimum": 1}), json!(1.1), json!(1)),
        (json!({"exclusiveMaximum": 1}), json!(0), json!(1)),
        (json!({"minimum": 1, "exclusiveMinimum": true}), json!(2), json!(1)),
        (json!({"maximum": 1, "exclusiveMaximum": true}), json!(0), json!(1)),
        (json!({"maximum": 1, "exclusiveMaximum": false}), json!(1), json!(2)),
        (json!({"multipleOf": 0.1}), json!(0.3), json!(0.35)),
        (json!({"minLength": 2, "maxLength": 3}), json!("äöü"), json!("ä")),
        (json!({"pattern": "^a+$"}), json!("aa"), json!("ab")),
        (json!({"items": {"type": "string"}}), json!(["a"]), json!(["a", 1])),
        (
            json!({"items": [{}, {"type": "string"}], "additionalItems": false}),
            json!([1, "a"]),
            json!([1, "a", 2]),
        ),
        (json!({"contains": {"const": "x"}}), json!(["a", "x"]), json!(["a"])),
        (json!({"minItems": 1, "maxItems": 2}), json!([1]), json!([])),
        (json!({"uniqueItems": true}), json!([1, 2]), json!([1, 2, 1.0])),
        (json!({"required": ["a"]}), json!({"a": null}), json!({"b": 1})),
        (json!({"properties": {"a": {"type": "string"}}}), json!({"b": 1}), json!({"a": 1})),
        (
            json!({"properties": {"a": {}}, "patternProperties": {"^x-": {"type": "string"}}, "additionalProperties": false}),
            json!({"a": 1, "x-b": "s"}),
            json!({"a": 1, "b": 2}),
        ),
        (json!({"additionalProperties": {"type": "number"}}), json!({"a": 1}), json!({"a": "s"})),
        (json!({"propertyNames": {"maxLength": 2}}), json!({"ab": 1}), json!({"abc": 1})),
        (json!({"minProperties": 1, "maxProperties": 1}), json!({"a": 1}), json!({"a": 1, "b": 2})),
        (json!({"dependencies": {"a": ["b"]}}), json!({"b": 1}), json!({"a": 1})),
        (json!({"dependencies": {"a": {"required": ["b"]}}}), json!({"a": 1, "b": 1}), json!({"a": 1})),
        (json!({"allOf": [{"type": "string"}, {"minLength": 1}]}), json!("a"), json!("")),
        (json!({"anyOf": [{"type": "string"}, {"minimum": 5}]}), json!(5), json!(4)),
        (json!({"oneOf": [{"type": "number"}, {"minimum": 5}]}), json!(4), json!(5)),
        (json!({"not": {"type": "string"}}), json!(1), json!("a")),
        (
            json!({"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"required": ["c"]}}),
            json!({"a": 1, "b": 1}),
            json!({"a": 1, "c": 1}),
        ),
        (
            json!({"definitions": {"t/x": {"items": {"$ref": "#/definitions/t~1x"}, "type": "array"}}, "$ref": "#/definitions/t~1x"}),
            json!([[], [[]]]),
            json!([[], [1]]),
        ),
        (json!({"properties": {"a": false}}), json!({}), json!({"a": 1})),
        (json!({"title": "t", "format": "email", "default": 1}), json!("no address"), json!(null)),
    ] {
        assert_eq!(told(&schema, &good), Ok(()), "{schema} {good}");
        let anything = schema.get("title").is_some();
        assert_eq!(told(&schema, &bad).is_err(), !anything, "{schema} {bad}");
    }
}

#[test]
fn errors_are_worded_as_apisix_words_them_and_hold_no_values() {
    let schema = json!({
        "type": "object",
        "required": ["sub", "roles"],
        "properties": {
            "sub": {"type": "string", "pattern": "^u-"},
            "roles": {"type": "array", "items": {"enum": ["admin"]}},
            "age": {"minimum": 18},
        },
    });
    for (document, text) in [
        (json!([]), "wrong type: expected object, got table"),
        (json!({"sub": "u-1"}), r#"property "roles" is required"#),
        (json!({"sub": 1}), r#"property "sub" validation failed: wrong type: expected string, got number"#),
        (json!({"sub": "canary"}), r#"property "sub" validation failed: failed to match pattern "^u-""#),
        (
            json!({"sub": "u-1", "roles": ["canary"]}),
            r#"property "roles" validation failed: failed to validate item 1: matches none of the enum values"#,
        ),
        (
            json!({"sub": "u-1", "roles": [], "age": 17}),
            r#"property "age" validation failed: expected a number of at least 18"#,
        ),
    ] {
        assert_eq!(told(&schema, &document), Err(text.to_owned()), "{document}");
    }
}

#[test]
fn what_is_no_schema_is_refused_with_its_place() {
    for (schema, place) in [
        (json!(1), "#: "),
        (json!({"type": "text"}), "#/type: "),
        (json!({"properties": {"a": {"type": 5}}}), "#/properties/a/type: "),
        (json!({"properties": []}), "#/properties: "),
        (json!({"required": "a"}), "#/required: "),
        (json!({"required": true}), "#/required: "),
        (json!({"minLength": -1}), "#/minLength: "),
        (json!({"pattern": "(?=a)"}), "#/pattern: "),
        (json!({"pattern": "(a{1000}){1000}"}), "#/pattern: "),
        (json!({"enum": []}), "#/enum: "),
        (json!({"anyOf": [{}, 1]}), "#/anyOf/1: "),
        (json!({"multipleOf": 0}), "#/multipleOf: "),
        (json!({"$ref": "https://evil.example/schema"}), "#/$ref: only references into the same schema"),
        (json!({"$ref": "other.json#/x"}), "#/$ref: "),
        (json!({"$ref": "#/nowhere"}), "#/$ref: it leads nowhere"),
        (json!({"unevaluatedProperties": false}), "#/unevaluatedProperties: "),
    ] {
        let error = JsonSchema::compile(&schema).expect_err("it is no schema").to_string();
        assert!(error.starts_with(place), "{schema}: {error}");
    }
    let deep = (0..200).fold(json!({}), |inner, _| json!({ "not": inner }));
    assert!(JsonSchema::compile(&deep).unwrap_err().to_string().contains("too deeply"));
}

#[test]
fn a_schema_that_refers_to_itself_ends() {
    let schema = JsonSchema::compile(&json!({"$ref": "#"})).unwrap();
    assert!(schema.check(&json!(1)).unwrap_err().contains("without end"));
    let tree = json!({"type": "object", "additionalProperties": {"$ref": "#"}});
    assert_eq!(told(&tree, &json!({"a": {"b": {}}})), Ok(()));
    assert!(told(&tree, &json!({"a": {"b": 1}})).is_err());
}
