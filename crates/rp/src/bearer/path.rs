use std::fmt;

use serde_json::{Map, Value};

/// Where a claim stands: the names on the way to it. `realm_access`, `roles` are two names; a claim whose name is a URL
/// is one, whatever letters are in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath(Box<[Box<str>]>);

/// What stands at a [`ClaimPath`].
#[derive(Debug, PartialEq)]
pub enum Found<'v> {
    /// Nothing, or `null`.
    Nothing,
    /// The provider keeps the claim elsewhere and sends a reference in its place (OIDC Core 5.6.2; Entra's groups
    /// overage). What it would say is not known.
    Elsewhere,
    /// These values. A list is its elements, so one value and a list of one are the same.
    Values(Vec<&'v Value>),
}

impl ClaimPath {
    /// The path over `names`. `None` if there is none, or one is empty.
    pub fn over(names: impl IntoIterator<Item = impl Into<Box<str>>>) -> Option<Self> {
        let names: Box<[Box<str>]> = names.into_iter().map(Into::into).collect();
        (!names.is_empty() && names.iter().all(|name| !name.is_empty())).then_some(Self(names))
    }

    /// Reads the short form. A text that begins with a slash is a JSON Pointer (RFC 6901); one with a colon or slash
    /// further on is the one name that it is, such as `https://example.com/roles`; in any other, dots part the names.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(pointer) = text.strip_prefix('/') {
            return Self::over(pointer.split('/').map(|name| name.replace("~1", "/").replace("~0", "~")));
        }
        if text.contains([':', '/']) {
            return Self::over([text]);
        }
        Self::over(text.split('.'))
    }

    /// Whether it is the one name `name`.
    pub fn is(&self, name: &str) -> bool {
        matches!(&*self.0, [only] if **only == *name)
    }

    /// What stands there in `claims`. A list on the way stands for each of its elements; a number behind it is the place of
    /// one, counted from 0.
    pub fn find<'v>(&self, claims: &'v Map<String, Value>) -> Found<'v> {
        let Some((first, rest)) = self.0.split_first() else { return Found::Nothing };
        if is_elsewhere(claims, first) {
            return Found::Elsewhere;
        }
        let mut found: Vec<&Value> = claims.get(&**first).into_iter().collect();
        for name in rest {
            found = found.into_iter().flat_map(|value| below(value, name)).collect();
        }
        let there = !found.is_empty();
        let values: Vec<&Value> =
            found.into_iter().flat_map(elements).filter(|value| !value.is_null()).collect();
        if there && !values.is_empty() { Found::Values(values) } else { Found::Nothing }
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// What has this name in `value`.
fn below<'v>(value: &'v Value, name: &str) -> Vec<&'v Value> {
    let is_place = name == "0" || (!name.starts_with('0') && name.bytes().all(|byte| byte.is_ascii_digit()));
    if let (Value::Array(items), true) = (value, is_place) {
        return name.parse::<usize>().ok().and_then(|place| items.get(place)).into_iter().collect();
    }
    elements(value).iter().filter_map(|value| value.as_object()?.get(name)).collect()
}

fn elements(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        other => std::slice::from_ref(other),
    }
}

/// `_claim_names` names the claims that are kept elsewhere. Entra's implicit flow says `hasgroups` in place of that.
fn is_elsewhere(claims: &Map<String, Value>, name: &str) -> bool {
    let named =
        claims.get("_claim_names").and_then(Value::as_object).is_some_and(|names| names.contains_key(name));
    named || (name == "groups" && claims.get("hasgroups").is_some_and(|has| *has != Value::Bool(false)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at<'v>(path: &str, claims: &'v Value) -> Found<'v> {
        ClaimPath::parse(path).unwrap().find(claims.as_object().unwrap())
    }

    #[test]
    fn a_number_behind_a_list_is_a_place_in_it() {
        let claims = json!({"a/b": ["x", "y"], "list": [{"0": "z"}, ["p", "q"]]});
        for (path, expected) in [
            ("/a~1b/0", Some("x")),
            ("/a~1b/1", Some("y")),
            ("list.1.0", Some("p")),
            ("/a~1b/2", None),
            ("/a~1b/01", None),
            ("/a~1b/-", None),
        ] {
            let value = expected.map(Value::from);
            let wanted = value.as_ref().map_or(Found::Nothing, |value| Found::Values(vec![value]));
            assert_eq!(at(path, &claims), wanted, "{path}");
        }
    }

    #[test]
    fn a_claim_is_found_by_its_short_form_its_pointer_and_its_names() {
        let claims = json!({
            "email": "u@example.com",
            "realm_access": {"roles": ["a", "b"]},
            "resource_access": {"my.app": {"roles": ["c"]}},
            "https://example.com/roles": ["d"],
            "a/b": {"~": true},
            "orgs": [{"name": "x"}, {"name": "y"}, {"other": "z"}, 1],
        });
        assert_eq!(at("email", &claims), Found::Values(vec![&json!("u@example.com")]));
        assert_eq!(at("realm_access.roles", &claims), Found::Values(vec![&json!("a"), &json!("b")]));
        assert_eq!(at("/resource_access/my.app/roles", &claims), Found::Values(vec![&json!("c")]));
        assert_eq!(at("https://example.com/roles", &claims), Found::Values(vec![&json!("d")]));
        assert_eq!(at("/a~1b/~0", &claims), Found::Values(vec![&json!(true)]));
        assert_eq!(at("orgs.name", &claims), Found::Values(vec![&json!("x"), &json!("y")]));
        let names = ClaimPath::over(["resource_access", "my.app", "roles"]).unwrap();
        assert_eq!(names.find(claims.as_object().unwrap()), Found::Values(vec![&json!("c")]));
        for nowhere in
            ["email.x", "realm_access.role", "resource_access.my.app.roles", "e", "realm_access.roles.a"]
        {
            assert_eq!(at(nowhere, &claims), Found::Nothing, "{nowhere}");
        }
        for none in ["", ".", "a.", "/", "/a//b"] {
            assert_eq!(ClaimPath::parse(none), None, "{none}");
        }
    }

    #[test]
    fn a_null_an_empty_list_and_nothing_are_the_same() {
        for claims in [json!({}), json!({"a": null}), json!({"a": []}), json!({"a": [null]})] {
            assert_eq!(at("a", &claims), Found::Nothing, "{claims}");
        }
    }

    #[test]
    fn a_claim_that_is_kept_elsewhere_is_not_taken_for_missing() {
        let overage =
            json!({"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {}}, "roles": ["r"]});
        assert_eq!(at("groups", &overage), Found::Elsewhere);
        assert_eq!(at("roles", &overage), Found::Values(vec![&json!("r")]));
        assert_eq!(at("groups", &json!({"hasgroups": true})), Found::Elsewhere);
        assert_eq!(at("groups", &json!({"hasgroups": false, "groups": []})), Found::Nothing);
    }
}
