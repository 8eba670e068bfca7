//! Upstreams and their targets: several addresses under one name that services use as their host.

use std::{borrow::Cow, sync::Arc};

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use super::{stamped, tags, values};
use crate::schema::{Field, Schema, Then};

const ALGORITHMS: [&str; 4] = ["consistent-hashing", "least-connections", "round-robin", "latency"];
const HASHED: [&str; 8] = ["none", "consumer", "ip", "header", "cookie", "path", "query_arg", "uri_capture"];
const CHECKS: [&str; 5] = ["tcp", "http", "https", "grpc", "grpcs"];
/// Largest count of Kong's health checks.
const MOST: i64 = 255;
/// Longest time of theirs, in seconds.
const LONGEST: i64 = 65_535;

pub(super) fn schema() -> Schema {
    let hashed = |doc| Field::string().default("none").one_of(&HASHED).doc(doc);
    let header = |doc| Field::string().text(values::header_name).doc(doc);
    let text = |doc| Field::string().doc(doc);
    hashing(stamped())
        .field(
            "name",
            Field::string().required().unique().text(name).doc("what services name as their host; unique"),
        )
        .field(
            "algorithm",
            Field::string()
                .default("round-robin")
                .one_of(&ALGORITHMS)
                .doc("how requests are spread by weight: by turns, to whom is at the fewest, to the faster of two that are drawn, or by hashing"),
        )
        .field("hash_on", hashed("what is hashed; a value makes the algorithm `consistent-hashing`"))
        .field("hash_fallback", hashed("what is hashed where the request has none of that; `none`: targets take turns"))
        .field("hash_on_header", header("its values, joined by `, `"))
        .field("hash_fallback_header", header("the same for `hash_fallback`"))
        .field("hash_on_cookie", Field::string().text(values::cookie_name).doc("clients without it get one"))
        .field("hash_on_cookie_path", Field::string().default("/").text(values::path).doc("where they send it to"))
        .field("hash_on_query_arg", text("its values, sorted and joined by `,`"))
        .field("hash_fallback_query_arg", text("the same for `hash_fallback`"))
        .field("hash_on_uri_capture", text("a named group of the route's pattern"))
        .field("hash_fallback_uri_capture", text("the same for `hash_fallback`"))
        .field(
            "slots",
            Field::integer()
                .default(10_000)
                .between(10, 65_536)
                .doc("size of the wheel of `consistent-hashing`, at least 1000; other algorithms have none"),
        )
        .field(
            "healthchecks",
            Field::record(Arc::new(healthchecks()))
                .required()
                .doc("which targets are well: the others get no requests, and without one that is, requests are a 503"),
        )
        .field("tags", tags())
        .field("host_header", Field::string().text(values::host_header).doc("the Host that targets see"))
        .field("client_certificate", Field::foreign("certificates").doc("what targets over TLS are shown"))
        .field("use_srv_name", Field::boolean().default(false).unimplemented())
}

/// Kong's defaults check nothing: an interval of 0 asks nobody, a count of 0 changes nothing.
fn healthchecks() -> Schema {
    let count = || Field::integer().default(0).between(0, MOST);
    let seconds = |default: i64| Field::number().default(default).between(0, LONGEST);
    let statuses = |default: Value| Field::array(Field::integer().between(100, 999)).default(default);
    let record = |schema: Schema| Field::record(Arc::new(schema)).required();
    let kind = || Field::string().default("http").one_of(&CHECKS).text(check_type);
    let failures = ["tcp_failures", "timeouts", "http_failures"];
    let healthy = Schema::new()
        .field("interval", seconds(0))
        .field("http_statuses", statuses(json!([200, 302])))
        .field("successes", count());
    let unhealthy = Schema::new()
        .field("interval", seconds(0))
        .field("http_statuses", statuses(json!([429, 404, 500, 501, 502, 503, 504, 505])))
        .fields(&failures, &count());
    let active = Schema::new()
        .field("type", kind())
        .field("timeout", seconds(1))
        .field("concurrency", Field::integer().default(10).between(1, 2_147_483_648))
        .field("http_path", Field::string().default("/").text(values::path))
        .field("https_sni", Field::string().text(values::sni))
        .field("https_verify_certificate", Field::boolean().default(true).required())
        .field("headers", Field::map(Field::strings()).value(headers))
        .field("healthy", record(healthy))
        .field("unhealthy", record(unhealthy));
    let passed = json!([
        200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 306, 307, 308
    ]);
    let healthy = Schema::new().field("http_statuses", statuses(passed)).field("successes", count());
    let unhealthy =
        Schema::new().field("http_statuses", statuses(json!([429, 500, 503]))).fields(&failures, &count());
    let passive = Schema::new()
        .field("type", kind())
        .field("healthy", record(healthy))
        .field("unhealthy", record(unhealthy));
    Schema::new()
        .field("active", record(active))
        .field("passive", record(passive))
        .field("threshold", Field::number().default(0).between(0, 100))
}

/// Of Kong's checks those that are built.
fn check_type(text: &str) -> Result<(), String> {
    match text {
        "grpc" | "grpcs" => {
            Err("not implemented in this build: `tcp`, `http` and `https` are accepted".to_owned())
        }
        _ => Ok(()),
    }
}

/// What a check may send besides its Host: names of headers, each with its values.
fn headers(value: &Value) -> Result<(), String> {
    for (name, values) in value.as_object().into_iter().flatten() {
        let known = HeaderName::try_from(name);
        let known = known.map_err(|_| format!("'{}' is not the name of a header", values::excerpt(name)))?;
        if [http::header::CONTENT_LENGTH, http::header::TRANSFER_ENCODING].contains(&known) {
            return Err(format!("'{known}' is about a body, and a check has none"));
        }
        for value in values.as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !value.is_ascii() || HeaderValue::from_str(value).is_err() {
                return Err(format!("the value of '{known}' has characters that a header cannot have"));
            }
        }
    }
    Ok(())
}

/// What fields of hashing must be beside one another.
fn hashing(schema: Schema) -> Schema {
    let named = [
        ("hash_on", "header", "hash_on_header"),
        ("hash_fallback", "header", "hash_fallback_header"),
        ("hash_on", "cookie", "hash_on_cookie"),
        ("hash_fallback", "cookie", "hash_on_cookie"),
        ("hash_on", "query_arg", "hash_on_query_arg"),
        ("hash_fallback", "query_arg", "hash_fallback_query_arg"),
        ("hash_on", "uri_capture", "hash_on_uri_capture"),
        ("hash_fallback", "uri_capture", "hash_fallback_uri_capture"),
    ];
    let schema = named
        .into_iter()
        .fold(schema, |schema, (field, is, then)| schema.conditional(field, is, then, Then::Required));
    let others: [(&str, &[&str]); 5] = [
        ("none", &["none"]),
        // Who has no cookie gets one.
        ("cookie", &["none"]),
        ("consumer", &["none", "ip", "header", "cookie", "path", "query_arg", "uri_capture"]),
        ("ip", &["none", "consumer", "header", "cookie", "path", "query_arg", "uri_capture"]),
        ("path", &["none", "consumer", "ip", "header", "cookie", "query_arg", "uri_capture"]),
    ];
    let schema = others.into_iter().fold(schema, |schema, (is, allowed)| {
        schema.conditional("hash_on", is, "hash_fallback", Then::OneOf(allowed))
    });
    schema
        .distinct("hash_on_header", "hash_fallback_header")
        .distinct("hash_on_query_arg", "hash_fallback_query_arg")
        .distinct("hash_on_uri_capture", "hash_fallback_uri_capture")
}

/// What the fields that choose the algorithm say of each other: who names something to be hashed wants it hashed.
pub(super) fn expand_algorithm(upstream: &mut Map<String, Value>) {
    let text = |field: &str| upstream.get(field).and_then(Value::as_str);
    let algorithm = match text("hash_on") {
        Some("none") if upstream.get("algorithm").is_none_or(Value::is_null) => "round-robin",
        None | Some("none") => {
            if text("algorithm") == Some("least-connections") && !upstream.contains_key("hash_on") {
                upstream.insert("hash_on".to_owned(), json!("none"));
            }
            return;
        }
        Some(_) => "consistent-hashing",
    };
    upstream.insert("algorithm".to_owned(), json!(algorithm));
}

fn name(text: &str) -> Result<(), String> {
    let invalid = |why: &str| Err(format!("Invalid name ('{}'); {why}", values::excerpt(text)));
    if text.parse::<std::net::IpAddr>().is_ok() {
        return invalid("no ip addresses allowed");
    }
    match values::host(text) {
        Ok(()) => Ok(()),
        Err(why) if why == "must not have a port" => invalid("no port allowed"),
        Err(_) => invalid("must be a valid hostname"),
    }
}

pub(super) fn target() -> Schema {
    Schema::new()
        .field("id", super::id())
        .field("created_at", Field::number().auto().doc("seconds since 1970, with milliseconds"))
        .field(
            "updated_at",
            Field::number().auto().doc("seconds since 1970, with milliseconds; set by each write"),
        )
        .field("upstream", Field::foreign("upstreams").required().doc("where it belongs"))
        .field(
            "target",
            Field::string().required().text(address).doc("`host` or `host:port`; 8000 without a port"),
        )
        .field(
            "weight",
            Field::integer().default(100).between(0, 65_535).doc("share of the requests; 0: none"),
        )
        .field("tags", tags())
        .field("failover", Field::boolean().default(false).unimplemented())
}

/// Kong's port where a target names none.
const PORT: u16 = 8000;

/// Host and port of a target.
pub(crate) fn split(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, rest.strip_prefix(':').or_else(|| rest.is_empty().then_some(""))?)
        }
        None if text.parse::<std::net::Ipv6Addr>().is_ok() => (text, ""),
        None => text.rsplit_once(':').unwrap_or((text, "")),
    };
    let port = if port.is_empty() { PORT } else { port.parse().ok().filter(|port| *port > 0)? };
    values::host(host).ok().map(|()| (host.to_owned(), port))
}

fn address(text: &str) -> Result<(), String> {
    match split(text) {
        Some(_) if !text.ends_with(':') => Ok(()),
        _ => {
            let shown = values::excerpt(text);
            Err(format!("Invalid target ('{shown}'); not a valid hostname or ip address"))
        }
    }
}

/// A target in the one form by which it is compared: with its port.
pub(crate) fn normalize(target: &mut Map<String, Value>) {
    let Some(text) = target.get("target").and_then(Value::as_str).map(with_port) else { return };
    target.insert("target".to_owned(), json!(text));
}

/// The address of a target with its port. What is none stays as it is.
pub(crate) fn with_port(text: &str) -> Cow<'_, str> {
    match split(text) {
        Some((host, port)) if host.contains(':') => Cow::Owned(format!("[{host}]:{port}")),
        Some((host, port)) => Cow::Owned(format!("{host}:{port}")),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_a_host_and_a_port() {
        for (text, host, port) in [
            ("a", "a", 8000),
            ("a.b:80", "a.b", 80),
            ("1.2.3.4:1", "1.2.3.4", 1),
            ("[::1]:2", "::1", 2),
            ("::1", "::1", 8000),
        ] {
            assert_eq!(split(text), Some((host.to_owned(), port)), "{text}");
        }
        for bad in ["", "a:0", "a:70000", "a b", "a:x", "[::1", "http://a", "a:"] {
            assert!(address(bad).is_err(), "{bad}");
        }
        let mut value = Map::from_iter([("target".to_owned(), json!("a"))]);
        normalize(&mut value);
        assert_eq!(value["target"], "a:8000");
    }

    #[test]
    fn an_upstream_is_named_like_a_host_and_is_none() {
        assert_eq!(name("a.b"), Ok(()));
        assert_eq!(name("1.2.3.4"), Err("Invalid name ('1.2.3.4'); no ip addresses allowed".to_owned()));
        assert_eq!(name("a:80"), Err("Invalid name ('a:80'); no port allowed".to_owned()));
        assert_eq!(name("a b"), Err("Invalid name ('a b'); must be a valid hostname".to_owned()));
    }
}
