//! What is known of the caller, as sets of claims, and rules over them.
//!
//! A bearer token is one set. A session has up to three: its access token's claims, if that is a JWT, its ID token's,
//! and what the userinfo endpoint said. Rules are judged once for a token or session, and the outcome is kept with it.

use rp::bearer::{ClaimPath, Found};
use serde_json::{Map, Value};

/// A claim, and whose word on it counts.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimRef {
    /// Where it stands.
    pub path: ClaimPath,
    /// In which of a session's sets of claims. A bearer token has one.
    pub document: Document,
}

/// A set of claims of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Document {
    /// The first that has the claim, in the order that follows.
    #[default]
    Any,
    /// The access token's, if it is a JWT.
    AccessToken,
    /// The ID token's.
    IdToken,
    /// The userinfo endpoint's.
    Userinfo,
}

/// A condition over claims. All of a route's must hold.
#[derive(Clone, Debug)]
pub enum ClaimRule {
    /// This test.
    Test(ClaimTest),
    /// At least one of these tests.
    AnyOf(Vec<ClaimTest>),
    /// This claim is not there.
    Absent(ClaimRef),
}

/// What the values of one claim must be. Values are compared as they are: letters with their case, no number with a
/// text. `scope` and `scp` that are a text are its words.
#[derive(Clone, Debug)]
pub struct ClaimTest {
    /// The claim.
    pub claim: ClaimRef,
    /// One of these is among its values. Empty: not asked for.
    pub any_of: Vec<Value>,
    /// All of these are among its values.
    pub all_of: Vec<Value>,
    /// None of these is among its values.
    pub none_of: Vec<Value>,
}

/// The sets of claims of one caller.
#[derive(Clone, Copy, Default)]
pub(super) struct Documents<'a> {
    pub(super) access_token: Option<&'a Map<String, Value>>,
    pub(super) id_token: Option<&'a Map<String, Value>>,
    pub(super) userinfo: Option<&'a Map<String, Value>>,
}

impl<'a> Documents<'a> {
    /// A bearer token's claims: its word is all there is, whichever is asked for.
    pub(super) fn of_token(claims: &'a Map<String, Value>) -> Self {
        Self { access_token: Some(claims), id_token: Some(claims), userinfo: Some(claims) }
    }

    fn named(&self, document: Document) -> impl Iterator<Item = &'a Map<String, Value>> {
        let (first, second, third) = match document {
            Document::Any => (self.access_token, self.id_token, self.userinfo),
            Document::AccessToken => (self.access_token, None, None),
            Document::IdToken => (self.id_token, None, None),
            Document::Userinfo => (self.userinfo, None, None),
        };
        [first, second, third].into_iter().flatten()
    }

    /// What the claim is.
    pub(super) fn find(&self, claim: &ClaimRef) -> Found<'a> {
        let mut found = self.named(claim.document).map(|claims| claim.path.find(claims));
        found.find(|found| *found != Found::Nothing).unwrap_or(Found::Nothing)
    }

    /// The names of the claims by which rules fail; empty: all hold.
    pub(super) fn failing(&self, rules: &[ClaimRule]) -> Vec<String> {
        let name = |test: &ClaimTest| test.claim.path.to_string();
        let failing = rules.iter().filter_map(|rule| match rule {
            ClaimRule::Test(test) => (!self.holds(test)).then(|| name(test)),
            // Whichever document has it.
            ClaimRule::Absent(claim) => {
                let has = |claims: &Map<String, Value>| claim.path.find(claims) != Found::Nothing;
                self.named(claim.document).any(has).then(|| claim.path.to_string())
            }
            ClaimRule::AnyOf(tests) => {
                let any = tests.iter().any(|test| self.holds(test));
                (!any).then(|| tests.iter().map(name).collect::<Vec<_>>().join(" or "))
            }
        });
        let mut names: Vec<String> = Vec::new();
        for name in failing {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    fn holds(&self, test: &ClaimTest) -> bool {
        let words = test.claim.path.is("scope") || test.claim.path.is("scp");
        let has = |values: &[&Value], wanted: &Value| values.iter().any(|value| is(value, wanted, words));
        // Whichever document counts: a value that shuts somebody out does so wherever the provider says it.
        let shut_out = self.named(test.claim.document).any(|claims| match test.claim.path.find(claims) {
            Found::Nothing => false,
            Found::Elsewhere => true,
            Found::Values(values) => {
                values.iter().any(|value| value.is_object() || value.is_array())
                    || test.none_of.iter().any(|wanted| has(&values, wanted))
            }
        });
        if !test.none_of.is_empty() && shut_out {
            return false;
        }
        match self.find(&test.claim) {
            Found::Nothing => test.any_of.is_empty() && test.all_of.is_empty() && !test.none_of.is_empty(),
            Found::Elsewhere => false,
            Found::Values(values) => {
                (test.any_of.is_empty() || test.any_of.iter().any(|wanted| has(&values, wanted)))
                    && test.all_of.iter().all(|wanted| has(&values, wanted))
            }
        }
    }
}

fn is(value: &Value, wanted: &Value, words: bool) -> bool {
    match (value, wanted) {
        (Value::String(text), Value::String(wanted)) if words => text.split(' ').any(|word| word == wanted),
        (Value::Number(value), Value::Number(wanted)) => value == wanted || value.as_f64() == wanted.as_f64(),
        _ => value == wanted,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(path: &str) -> ClaimRef {
        ClaimRef { path: ClaimPath::parse(path).unwrap(), document: Document::Any }
    }

    fn test(path: &str, any_of: Value, all_of: Value, none_of: Value) -> ClaimTest {
        let list = |value: Value| value.as_array().cloned().unwrap_or_default();
        ClaimTest { claim: claim(path), any_of: list(any_of), all_of: list(all_of), none_of: list(none_of) }
    }

    fn holds(test: &ClaimTest, claims: Value) -> bool {
        Documents::of_token(claims.as_object().unwrap()).holds(test)
    }

    #[test]
    fn a_test_asks_for_one_for_all_or_for_none() {
        let none = || Value::Null;
        let any = test("roles", json!(["a", "b"]), none(), none());
        let all = test("roles", none(), json!(["a", "b"]), none());
        let not = test("roles", none(), none(), json!(["a", "b"]));
        let there = test("roles", none(), none(), none());
        for (roles, expected) in [
            (json!(["a", "x"]), [true, false, false, true]),
            (json!("a"), [true, false, false, true]),
            (json!(["b", "a"]), [true, true, false, true]),
            (json!(["x"]), [false, false, true, true]),
            (json!([]), [false, false, true, false]),
            (json!(null), [false, false, true, false]),
            (json!({"a": true}), [false, false, false, true]),
            (json!(["A", " a", "a ", "a b", "not-a"]), [false, false, true, true]),
            (json!([["a"]]), [false, false, false, true]),
        ] {
            let got = [&any, &all, &not, &there].map(|test| holds(test, json!({ "roles": roles })));
            assert_eq!(got, expected, "{roles}");
        }
    }

    #[test]
    fn values_keep_their_types() {
        let flag = test("email_verified", json!([true]), Value::Null, Value::Null);
        assert!(holds(&flag, json!({"email_verified": true})));
        assert!(
            !holds(&flag, json!({"email_verified": "true"})) && !holds(&flag, json!({"email_verified": 1}))
        );
        let level = test("level", json!([2]), Value::Null, Value::Null);
        assert!(holds(&level, json!({"level": 2.0})) && !holds(&level, json!({"level": "2"})));
    }

    #[test]
    fn j50_a_scope_in_a_rule_is_a_whole_word_too() {
        let scope = test("scope", json!(["admin"]), Value::Null, Value::Null);
        assert!(holds(&scope, json!({"scope": "read admin"})) && holds(&scope, json!({"scope": ["admin"]})));
        for not in ["not-admin", "read\u{a0}admin", "administrator", "ADMIN"] {
            assert!(!holds(&scope, json!({ "scope": not })), "{not}");
        }
    }

    #[test]
    fn a_claim_kept_elsewhere_fails_every_rule() {
        let claims = json!({"_claim_names": {"groups": "src1"}});
        for (any_of, all_of, none_of) in [
            (json!(["a"]), json!([]), json!([])),
            (json!([]), json!(["a"]), json!([])),
            (json!([]), json!([]), json!(["a"])),
        ] {
            assert!(!holds(&test("groups", any_of, all_of, none_of), claims.clone()));
        }
    }

    #[test]
    fn rules_are_all_to_hold_and_a_group_once() {
        let only = |path: &str, value: &str| test(path, json!([value]), Value::Null, Value::Null);
        let rules = [
            ClaimRule::Test(only("tid", "t")),
            ClaimRule::AnyOf(vec![only("roles", "admin"), only("groups", "ops")]),
        ];
        let failing = |claims: Value| Documents::of_token(claims.as_object().unwrap()).failing(&rules);
        assert!(failing(json!({"tid": "t", "groups": ["ops"]})).is_empty());
        assert!(failing(json!({"tid": "t", "roles": "admin"})).is_empty());
        assert_eq!(failing(json!({"tid": "t"})), ["roles or groups"]);
        assert_eq!(failing(json!({})), ["tid", "roles or groups"]);
    }

    #[test]
    fn a_sessions_claims_are_looked_for_where_the_rule_says() {
        let (access, id, userinfo) =
            (json!({"a": 1}), json!({"a": 2, "b": 2}), json!({"b": 3, "c": 3, "bad": true}));
        let documents = Documents {
            access_token: access.as_object(),
            id_token: id.as_object(),
            userinfo: userinfo.as_object(),
        };
        let find = |path: &str, document| documents.find(&ClaimRef { document, ..claim(path) });
        assert_eq!(find("a", Document::Any), Found::Values(vec![&json!(1)]));
        assert_eq!(find("b", Document::Any), Found::Values(vec![&json!(2)]));
        assert_eq!(find("c", Document::Any), Found::Values(vec![&json!(3)]));
        assert_eq!(find("a", Document::IdToken), Found::Values(vec![&json!(2)]));
        assert_eq!(find("b", Document::Userinfo), Found::Values(vec![&json!(3)]));
        assert_eq!(find("c", Document::AccessToken), Found::Nothing);
        assert!(!documents.holds(&test("b", json!([]), json!([]), json!([3]))), "userinfo shuts out as well");
        assert!(documents.holds(&test("b", json!([]), json!([]), json!([4]))));
    }
}
