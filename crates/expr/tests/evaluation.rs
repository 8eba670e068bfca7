//! What compiled `vars` say about requests. The cases follow the documented behaviour of APISIX's `vars`.

#![allow(clippy::unwrap_used)] // A test's helpers may panic as the tests do.

use std::{borrow::Cow, collections::HashMap};

use expr::{Expression, Variable, Variables};
use serde_json::{Value, json};

struct Request(HashMap<Variable, String>);

impl Variables for Request {
    fn value(&self, name: &Variable) -> Option<Cow<'_, str>> {
        self.0.get(name).map(|value| Cow::Borrowed(value.as_str()))
    }
}

fn request(values: &[(&str, &str)]) -> Request {
    Request(
        values.iter().map(|(name, value)| (Variable::parse(name).unwrap(), (*value).to_owned())).collect(),
    )
}

fn holds(vars: Value, values: &[(&str, &str)]) -> bool {
    Expression::compile(&vars).unwrap().matches(&request(values))
}

#[test]
fn an_empty_list_holds_for_everything() {
    assert!(holds(json!([]), &[]));
}

#[test]
fn conditions_are_joined_by_and() {
    let vars = json!([["arg_k", "==", "v"], ["host", "localhost"], ["server_port", "==", "9080"]]);
    assert!(holds(vars.clone(), &[("arg_k", "v"), ("host", "localhost"), ("server_port", "9080")]));
    assert!(!holds(vars, &[("arg_k", "v"), ("host", "localhost"), ("server_port", "9081")]));
}

#[test]
fn a_number_compares_with_the_number_a_text_is() {
    for (value, equal) in
        [("18", true), ("18.0", true), (" 18 ", true), ("016", false), ("aa", false), ("", false)]
    {
        assert_eq!(holds(json!([["arg_age", "==", 18]]), &[("arg_age", value)]), equal, "{value:?}");
        assert_eq!(holds(json!([["arg_age", "~=", 18]]), &[("arg_age", value)]), !equal, "{value:?}");
    }
    assert!(!holds(json!([["arg_age", "==", "18"]]), &[("arg_age", "18.0")]));
}

#[test]
fn order_is_numeric_whatever_the_type_written() {
    assert!(holds(json!([["arg_k", ">=", "2"]]), &[("arg_k", "2")]));
    assert!(holds(json!([["arg_k", ">", 9]]), &[("arg_k", "10")]));
    assert!(holds(json!([["arg_k", "<", 10]]), &[("arg_k", "9.5")]));
    assert!(holds(json!([["arg_k", "<=", 3]]), &[("arg_k", "3")]));
    for value in ["nan", "inf", "", "x", "1x"] {
        assert!(!holds(json!([["arg_k", ">", -1]]), &[("arg_k", value)]), "{value:?}");
        assert!(!holds(json!([["arg_k", "<", 1e300]]), &[("arg_k", value)]), "{value:?}");
    }
}

#[test]
fn a_missing_value_differs_from_everything_and_satisfies_nothing_else() {
    assert!(holds(json!([["arg_name", "~=", "jack"]]), &[]));
    assert!(holds(json!([["arg_name", "~=", 1]]), &[]));
    for (operator, value) in [
        ("==", json!("")),
        ("~~", json!(".*")),
        ("~*", json!("")),
        (">", json!(-1)),
        ("in", json!([""])),
        ("ipmatch", json!("0.0.0.0/0")),
    ] {
        assert!(!holds(json!([["arg_name", operator, value]]), &[]), "{operator}");
        assert!(holds(json!([["arg_name", "!", operator, value]]), &[]), "! {operator}");
    }
}

#[test]
fn null_stands_for_a_missing_value() {
    assert!(holds(json!([["http_test", "==", null]]), &[]));
    assert!(!holds(json!([["http_test", "~=", null]]), &[]));
    assert!(holds(json!([["http_test", "~=", null]]), &[("http_test", "")]));
}

#[test]
fn patterns_search_and_fold_case_when_asked() {
    assert!(holds(json!([["uri", "~~", "/v[0-9]+/"]]), &[("uri", "/api/v12/users")]));
    assert!(!holds(json!([["uri", "~~", "^/V"]]), &[("uri", "/v1")]));
    assert!(holds(json!([["uri", "~*", "^/V"]]), &[("uri", "/v1")]));
    assert!(holds(json!([["uri", "!", "~~", "[a-z]"]]), &[("uri", "9")]));
}

#[test]
fn a12_a_pattern_made_to_backtrack_answers_at_once() {
    let vars = json!([["uri", "~~", "^(a+)+$"]]);
    let long = format!("{}!", "a".repeat(200_000));
    assert!(!holds(vars, &[("uri", &long)]));
}

#[test]
fn lists_hold_texts_and_numbers() {
    assert!(holds(json!([["arg_k", "in", ["1", "2"]]]), &[("arg_k", "2")]));
    assert!(!holds(json!([["arg_k", "in", ["1", "2"]]]), &[("arg_k", "4")]));
    assert!(holds(json!([["arg_k", "!", "IN", [1, 2]]]), &[("arg_k", "3")]));
    assert!(!holds(json!([["arg_k", "!", "in", [1, 2]]]), &[("arg_k", "1")]));
}

#[test]
fn addresses_match_networks_of_their_family() {
    let vars = json!([["remote_addr", "ipmatch", ["10.0.0.0/8", "::1", "2001:db8::/32"]]]);
    for (address, within) in [
        ("10.1.2.3", true),
        ("11.0.0.1", false),
        ("::1", true),
        ("2001:db8::5", true),
        ("::ffff:10.0.0.1", true),
        ("x", false),
    ] {
        assert_eq!(holds(vars.clone(), &[("remote_addr", address)]), within, "{address}");
    }
    assert!(holds(json!([["remote_addr", "ipmatch", "127.0.0.1"]]), &[("remote_addr", "127.0.0.1")]));
}

#[test]
fn a_text_is_not_a_list_and_has_nothing() {
    assert!(!holds(json!([["arg_k", "has", "a"]]), &[("arg_k", "a")]));
    assert!(holds(json!([["arg_k", "!", "has", "a"]]), &[("arg_k", "a")]));
}

#[test]
fn groups_nest_and_negate() {
    let vars = json!([
        "OR",
        ["or", ["arg_weight", ">", 20], ["arg_weight", "!", ">", 15]],
        ["AND", ["arg_height", ">", 10], ["arg_height", "!", "<", 15]]
    ]);
    assert!(holds(vars.clone(), &[("arg_weight", "16"), ("arg_height", "16")]));
    assert!(!holds(vars, &[("arg_weight", "16"), ("arg_height", "14")]));
    let both = [("arg_a", "1"), ("arg_b", "1")];
    let one = [("arg_a", "1")];
    for (word, with_both, with_one) in
        [("AND", true, false), ("OR", true, true), ("!AND", false, true), ("!OR", false, false)]
    {
        let vars = json!([[word, ["arg_a", "1"], ["arg_b", "1"]]]);
        assert_eq!(holds(vars.clone(), &both), with_both, "{word}");
        assert_eq!(holds(vars, &one), with_one, "{word}");
    }
}

#[test]
fn a_list_is_asked_for_an_element_and_nothing_else() {
    struct Root;
    impl Variables for Root {
        fn value(&self, name: &Variable) -> Option<Cow<'_, str>> {
            (*name == Variable::GraphqlRootField("owner".into())).then_some(Cow::Borrowed("owner"))
        }
    }
    let holds = |vars| Expression::compile_for_routes(&vars).unwrap().matches(&Root);
    assert!(holds(json!([["graphql_root_fields", "has", "owner"]])));
    assert!(!holds(json!([["graphql_root_fields", "has", "repo"]])));
    assert!(holds(json!([["graphql_root_fields", "!", "has", "repo"]])));
    for vars in [
        json!([["graphql_root_fields", "owner"]]),
        json!([["graphql_root_fields", "==", "owner"]]),
        json!([["graphql_root_fields", "!", "in", ["owner"]]]),
    ] {
        let error = Expression::compile_for_routes(&vars).unwrap_err().to_string();
        assert!(error.contains("`has` alone"), "{error}");
    }
    assert!(Expression::compile(&json!([["graphql_root_fields", "has", "owner"]])).is_err());
}
