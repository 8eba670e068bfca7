//! What rules in the language of Kong's router say about requests.

#![allow(clippy::unwrap_used)] // A test's helpers may panic as the tests do.

use std::net::IpAddr;

use expr::{Beginning, Datum, Fact, Facts, Rule};

struct Request;

impl Facts for Request {
    fn each(&self, fact: &Fact, judge: &mut dyn FnMut(Datum<'_>)) {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        match fact {
            Fact::Protocol => judge(Datum::Text(b"https")),
            Fact::Method => judge(Datum::Text(b"GET")),
            Fact::Host => judge(Datum::Text(b"shop.example.com")),
            Fact::Path => judge(Datum::Text(b"/Items/12/x")),
            Fact::SegmentCount => judge(Datum::Number(3)),
            Fact::Segments(0, 0) => judge(Datum::Text(b"Items")),
            Fact::Segments(1, 2) => judge(Datum::Text(b"12/x")),
            Fact::Header(name) if &**name == "x-kind" => {
                [&b"a1"[..], b"a2"].into_iter().for_each(|value| judge(Datum::Text(value)));
            }
            Fact::Query(name) if &**name == "q" => judge(Datum::Text(b"")),
            Fact::SourceAddress => judge(Datum::Address(address("10.1.2.3"))),
            Fact::DestinationAddress => judge(Datum::Address(address("2001:db8::1"))),
            Fact::DestinationPort => judge(Datum::Number(8443)),
            _ => {}
        }
    }
}

#[test]
fn predicates_ask_for_all_values_or_for_any() {
    for (text, holds) in [
        (r#"http.method == "GET""#, true),
        (r#"http.method != "GET""#, false),
        (r#"http.path ^= "/Items""#, true),
        (r#"http.path ^= "/items""#, false),
        (r#"lower(http.path) ^= "/items""#, true),
        (r#"http.path =^ "/x""#, true),
        (r#"http.path contains "/12/""#, true),
        (r#"http.path ~ "^/Items/\\d+""#, true),
        (r##"http.path ~ r#"^/Items/\d+/x$"#"##, true),
        (r#"http.host =^ ".example.com""#, true),
        (r#"http.headers.x_kind ^= "a""#, true),
        (r#"http.headers.X_Kind == "a1""#, false),
        (r#"any(http.headers.x_kind) == "a1""#, true),
        (r#"any(lower(http.headers.x_kind)) == "a3""#, false),
        (r#"http.headers.x_kind != "a1""#, false),
        (r#"any(http.headers.x_kind) != "a1""#, true),
        (r#"http.headers.x_none != "a""#, false),
        (r#"!(http.headers.x_none == "a")"#, true),
        (r#"http.queries.q == """#, true),
        ("http.path.segments.len == 3", true),
        ("http.path.segments.len >= 3 && http.path.segments.len <= 3", true),
        ("http.path.segments.len > 3 || http.path.segments.len < 3", false),
        (r#"http.path.segments.0 == "Items""#, true),
        (r#"http.path.segments.1_2 == "12/x""#, true),
        ("net.src.ip in 10.0.0.0/8", true),
        ("net.src.ip not in 10.0.0.0/8", false),
        ("net.src.ip == 10.1.2.3", true),
        ("net.dst.ip in 2001:db8::/32", true),
        ("net.dst.port == 0x20fb", true),
        (r#"tls.sni == "a""#, false),
        // `&&` binds more closely.
        (r#"http.method == "GET" || http.method == "PUT" && http.host == "x""#, true),
        (r#"(http.method == "GET" || http.method == "PUT") && http.host == "x""#, false),
        (r#"!(http.method == "PUT" || (net.protocol == "http"))&&http.method=="GET""#, true),
    ] {
        assert_eq!(Rule::parse(text).unwrap().holds(&Request), holds, "{text}");
    }
}

#[test]
fn what_is_no_rule_is_refused_with_its_place() {
    for (text, told) in [
        ("", "expected a field at 0"),
        (r#"net.foo == "a""#, "Unknown LHS field at 0"),
        (r#"http.path == 1"#, "expected a text at 13"),
        (r#"http.path > "a""#, "Greater/Less operators only supports integer operands at 10"),
        (r#"http.path in 10.0.0.0/8"#, "In/NotIn operators only supports IP in CIDR at 10"),
        ("net.dst.port ^= 1", "Prefix/Postfix operators only supports string operands at 13"),
        ("net.dst.port == 1x", "expected a number at 16"),
        ("net.src.ip in 10.0.0.0/40", "expected an IP address or a network at 14"),
        ("lower(net.dst.port) == 1", "lower() is for texts at 19"),
        (r#"upper(http.path) == "a""#, "unknown function `upper` at 0"),
        (r#"http.path ~ "(""#, "regex parse error at 15"),
        (r#"http.path == "a"#, "a text without an end at 14"),
        (r#"http.path == "\x""#, "unknown escape at 15"),
        (r#"http.path == "a" http.path == "b""#, "expected `&&`, `||` or the end at 17"),
        (r#"(http.path == "a""#, "expected `)` at 17"),
        (r#"!http.path == "a""#, "expected `(` at 1"),
        (r#"http.path =~ "a""#, "expected an operator at 10"),
        (r#"http.path.segments.2_1 == "a""#, "illformed http.path.segments.* field at 0"),
        (r#"http.path.segments.01 == "a""#, "illformed http.path.segments.* field at 0"),
    ] {
        assert_eq!(Rule::parse(text).unwrap_err().to_string(), told, "{text}");
    }
    let deep = format!("{}http.path == \"a\"{}", "(".repeat(64), ")".repeat(64));
    assert!(Rule::parse(&deep).unwrap_err().why.starts_with("nested deeper"));
    let pattern = |count: usize| vec![r#"http.path ~ "a""#; count].join(" && ");
    assert!(Rule::parse(&pattern(64)).is_ok() && Rule::parse(&pattern(65)).is_err());
}

#[test]
fn what_must_hold_whatever_else_does_is_known_beforehand() {
    let of = |text: &str| {
        let rule = Rule::parse(text).unwrap();
        (rule.required_beginning().map(str::to_owned), rule.required_host().map(str::to_owned))
    };
    let some = |text: &str| Some(text.to_owned());
    for (text, expected) in [
        (r#"http.path ^= "/a" && http.host == "x.example""#, (some("/a"), some("x.example"))),
        (r#"(http.method == "GET" && (http.path == "/b")) && http.host =^ "x""#, (some("/b"), None)),
        (r#"http.path ^= "/a" || http.host == "x.example""#, (None, None)),
        (r#"!(http.path ^= "/a") && lower(http.host) == "x.example""#, (None, None)),
        (r#"http.path ~ "^/a""#, (None, None)),
        (r#"http.path != "/a" && http.host != "x""#, (None, None)),
    ] {
        assert_eq!(of(text), expected, "{text}");
    }
}

#[test]
fn a_rule_says_how_paths_begin() {
    let text = r#"(http.path ^= "/a" || http.path == "/b" || http.path ~ "/c\\d") && lower(http.path) ^= "/d"
        && !(http.path ^= "/e") && http.path =^ "/f" && http.host ^= "/g""#;
    let rule = Rule::parse(text).unwrap();
    let expected =
        [Beginning::Text("/a"), Beginning::Text("/b"), Beginning::Pattern(r"/c\d"), Beginning::Folded("/d")];
    assert_eq!(rule.beginnings(), expected);
    assert!(rule.asks_for(&Fact::Host) && !rule.asks_for(&Fact::Method));
}
