use std::borrow::Cow;

use expr::{Variable, Variables};
use http::HeaderMap;

use super::{list::Query, target::Target, *};

/// A request whose every argument is this.
struct Says(&'static str);

impl Variables for Says {
    fn value(&self, name: &Variable) -> Option<Cow<'_, str>> {
        match name {
            Variable::Uri => Some(Cow::Borrowed("/own")),
            _ => Some(Cow::Borrowed(self.0)),
        }
    }
}

fn text(text: &str) -> Text {
    Text::parse("x", text).unwrap()
}

fn path(
    edit: TargetEdit,
    path: &str,
    says: &'static str,
) -> Result<Option<(String, Option<String>)>, &'static str> {
    let target = Target::compile(edit).unwrap();
    let found = target.find(path);
    let made = target.of(path, &Says(says), found.as_ref())?;
    Ok(made.map(|made| (made.path, made.query)))
}

fn template(written: &str, says: &'static str) -> Result<String, &'static str> {
    let (path, query) = path(TargetEdit::Path(text(written)), "/own", says)?.unwrap();
    Ok(query.map_or(path.clone(), |query| format!("{path}?{query}")))
}

#[test]
fn a_path_is_written_with_variables() {
    assert_eq!(template("/a/$arg_x/b", "y").unwrap(), "/a/y/b");
    assert_eq!(template("$uri/b", "").unwrap(), "/own/b");
    assert_eq!(template("/a?b=c", "").unwrap(), "/a?b=c");
    assert_eq!(template("/a?b=$arg_x", "1&c=2#d").unwrap(), "/a?b=1%26c=2%23d");
    assert_eq!(template("/ä b", "").unwrap(), "/%C3%A4%20b");
}

#[test]
fn h16_what_a_client_chose_stays_one_piece_of_the_path() {
    assert_eq!(template("/a/$arg_x", "b?c=d#e").unwrap(), "/a/b%3Fc=d%23e");
    assert_eq!(template("/a/$arg_x", "b\r\nX: 1").unwrap(), "/a/b%0D%0AX:%201");
    for climbing in ["../admin", "..", "./x", "%2e%2e/admin", "..%2fadmin", "..;a=b/c", "%2E./x", "..\\x"] {
        assert!(template("/a/$arg_x", climbing).is_err(), "{climbing}");
    }
    assert!(template("/a$arg_x", "/../b").is_err());
    // Not even as another host.
    assert_eq!(template("$arg_x", "//evil.example/x").unwrap(), "/evil.example/x");
}

#[test]
fn the_first_pattern_that_is_found_counts() {
    let patterns = |pairs: &[(&str, &str)]| {
        TargetEdit::Patterns(pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect())
    };
    let made =
        |pairs: &[(&str, &str)], of: &str| path(patterns(pairs), of, "").map(|made| made.map(|made| made.0));
    let pairs = [("^/test/(.*)/(.*)$", "/$2/$1"), ("^/(.*)$", "/else/$1")];
    assert_eq!(made(&pairs, "/test/a/b").unwrap().as_deref(), Some("/b/a"));
    assert_eq!(made(&pairs, "/x").unwrap().as_deref(), Some("/else/x"));
    assert_eq!(made(&[("^/test/(.*)$", "/$1")], "/x").unwrap(), None);
    assert_eq!(made(&[("^/v1/(.*)$", "/$1")], "/v1/a%3Fb").unwrap().as_deref(), Some("/a%3Fb"));
    assert!(made(&[("^/a(.*)$", "/$1")], "/a..").is_err());
    assert!(Target::compile(patterns(&[("(", "/")])).is_err());
    assert!(Target::compile(patterns(&[("(?=a)", "/")])).is_err());
    assert!(Target::compile(patterns(&[("a", "/$uri")])).is_err());
}

fn query(edits: Vec<Edit>, before: &str, says: &'static str) -> Option<String> {
    let query = Query::compile(edits).unwrap();
    let values = query.fill(&Says(says));
    query.apply(Some(before), &values)
}

#[test]
fn arguments_are_edited_in_order_and_others_keep_their_bytes() {
    let name = |name: &str| name.to_owned();
    let edits = vec![
        Edit::Remove(name("gone")),
        Edit::Rename(name("old"), name("new")),
        Edit::Replace(name("there"), text("1")),
        Edit::Replace(name("absent"), text("1")),
        Edit::Add(name("there"), text("2")),
        Edit::Add(name("added"), text("$arg_x")),
        Edit::Append(name("there"), text("3")),
    ];
    assert_eq!(
        query(edits, "gone=1&old=%41&raw=%zz&there=0&flag", "a&b=c").unwrap(),
        "new=%41&raw=%zz&there=1&flag&added=a%26b%3Dc&there=3"
    );
    assert_eq!(query(vec![Edit::Remove(name("a b"))], "a+b=1&a%20b=2", ""), None);
}

#[test]
fn headers_are_edited_in_order() {
    let mut headers = HeaderMap::new();
    for (name, value) in [("x-a", "1"), ("x-a", "2"), ("x-b", "3")] {
        headers.append(name, HeaderValue::from_static(value));
    }
    let name = |name: &str| name.to_owned();
    let edits = [
        Edit::Rename(name("X-A"), name("X-C")),
        Edit::Set(name("X-B"), text("b-$arg_x")),
        Edit::Add(name("X-B"), text("no")),
        Edit::Append(name("X-C"), text("4")),
        Edit::Replace(name("X-None"), text("no")),
        Edit::Remove(name("X-Gone")),
    ];
    for edit in edits {
        let rule = header_rule(edit).unwrap();
        rule.apply(&mut headers, rule.value(&Says("q"), None, false));
    }
    let all =
        |name: &str| headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(all("x-c"), ["1", "2", "4"]);
    assert_eq!(all("x-b"), ["b-q"]);
    assert!(!headers.contains_key("x-a") && !headers.contains_key("x-none"));
}

#[test]
fn r06_no_header_of_the_clients_is_renamed_to_an_identity() {
    let refused = |edit: Edit| header_rule(edit).is_err();
    let name = |name: &str| name.to_owned();
    assert!(refused(Edit::Rename(name("X-Mine"), name("X-Consumer-Username"))));
    assert!(refused(Edit::Rename(name("X-Mine"), name("x.userinfo"))));
    assert!(refused(Edit::Set(name("X-Credential-Identifier"), text("$http_x_mine"))));
    assert!(refused(Edit::Append(name("X-Forwarded-For"), text("1"))));
    assert!(!refused(Edit::Remove(name("X-Consumer-Username"))));
}

#[test]
fn a_json_or_form_body_is_edited_and_others_stay() {
    let rules =
        BodyRules::compile(vec![Edit::Remove("a".to_owned()), Edit::Set("b".to_owned(), text("$arg_x"))]);
    let rules = rules.unwrap().unwrap();
    let values = rules.fill(&Says("\"q\""));
    let made = |kind: &'static str, body: &'static str| {
        let kind = HeaderValue::from_static(kind);
        String::from_utf8(rules.apply(Some(&kind), &values, body.into()).to_vec()).unwrap()
    };
    assert_eq!(made("application/json; charset=utf-8", r#"{"a":1,"c":2}"#), r#"{"c":2,"b":"\"q\""}"#);
    assert_eq!(made("application/x-www-form-urlencoded", "a=1&c=2"), "c=2&b=%22q%22");
    assert_eq!(made("application/json", "[1]"), "[1]");
    assert_eq!(made("text/plain", "a=1"), "a=1");
}
