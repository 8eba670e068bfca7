//! Routes: which requests go to a service.

use std::sync::Arc;

use regex::bytes::RegexBuilder;
use serde_json::{Map, Value, json};

use super::{stamped, tags, values};
use crate::schema::{Field, Schema};

/// What a route needs one of.
const MATCHED: [&str; 5] = ["methods", "hosts", "headers", "paths", "snis"];
/// Highest priority of an expression.
const HIGHEST: i64 = (1 << 46) - 1;
/// The protocols of calls of gRPC.
const CALLS: [&str; 2] = ["grpc", "grpcs"];
/// Bytes of one compiled pattern, which bounds repetitions like `(a{1000}){1000}`.
const MAX_PATTERN: usize = 1 << 20;
/// In front of a header's value that is a pattern.
const PATTERN: &str = "~*";

pub(super) fn schema() -> Schema {
    stamped()
        .field("name", Field::string().unique().text(values::name).doc("stands for the id in paths; unique"))
        .field(
            "protocols",
            Field::set(Field::string().text(protocol))
                .required()
                .default(json!(["http", "https"]))
                .fewest(1)
                .value(one_kind)
                .doc(
                    "`https` alone: requests in the clear are answered by `https_redirect_status_code`; or `grpc` and \
                     `grpcs`: other requests are refused",
                ),
        )
        .field("methods", Field::set(Field::string().text(values::method)).doc("any of these methods"))
        .field(
            "hosts",
            Field::array(Field::string().text(values::host_pattern))
                .doc("any of these hosts; `*.example.com`, `example.*` and ports too"),
        )
        .field(
            "paths",
            Field::array(Field::string().text(values::router_path))
                .doc("any of these beginnings of the path, or patterns behind `~`"),
        )
        .field(
            "headers",
            Field::map(Field::array(Field::string().text(header_value)).fewest(1))
                .value(header_names)
                .doc("each of these headers with any of its values, or a pattern behind `~*`"),
        )
        .field(
            "https_redirect_status_code",
            Field::integer()
                .required()
                .default(426)
                .one_of_numbers(&[426, 301, 302, 307, 308])
                .doc("what requests in the clear are answered with where `protocols` has `https` alone"),
        )
        .field(
            "regex_priority",
            Field::integer()
                .default(0)
                .between(-2_147_483_648, 2_147_483_647)
                .doc("among patterns, higher goes first"),
        )
        .field(
            "strip_path",
            Field::boolean().required().default(true).doc("whether the matched path is taken off"),
        )
        .field(
            "path_handling",
            Field::string()
                .default("v0")
                .one_of(&["v0", "v1"])
                .doc("`v0`: one slash between the service's path and the request's; `v1`: none is put there"),
        )
        .field(
            "preserve_host",
            Field::boolean().required().default(false).doc("whether the upstream sees the client's Host"),
        )
        .field(
            "request_buffering",
            Field::boolean().required().default(true).doc("either way, bodies are streamed"),
        )
        .field(
            "response_buffering",
            Field::boolean().required().default(true).doc("either way, bodies are streamed"),
        )
        .field(
            "snis",
            Field::set(Field::string().text(values::sni)).doc("any of these server names, over TLS"),
        )
        .field("sources", Field::opaque())
        .field("destinations", Field::opaque())
        .field(
            "expression",
            Field::string()
                .silent()
                .doc("instead of all these: a condition in the language of Kong's router"),
        )
        .field(
            "priority",
            Field::integer()
                .silent()
                .between(0, HIGHEST)
                .doc("among expressions, higher goes first; other routes go before them"),
        )
        .field("tags", tags())
        .field("service", Field::foreign("services").doc("where its requests go"))
        .check_field("strip_path", |route| match route.get("strip_path") {
            Some(Value::Bool(true)) => not_with_calls(route, "strip_path"),
            _ => Ok(()),
        })
        .check_field("methods", |route| match route.get("methods") {
            None | Some(Value::Null) => Ok(()),
            Some(_) => not_with_calls(route, "methods"),
        })
        .check_entity(matches_something)
        .check_entity(expression)
        .check_entity(server_names_over_tls)
}

fn protocol(text: &str) -> Result<(), String> {
    const OTHERS: [&str; 6] = ["tcp", "tls", "tls_passthrough", "udp", "ws", "wss"];
    match text {
        "http" | "https" | "grpc" | "grpcs" => Ok(()),
        other if OTHERS.contains(&other) => {
            Err(format!("the protocol {other} is not implemented in this build"))
        }
        _ => Err(super::NO_PROTOCOL.to_owned()),
    }
}

/// Whether a route is for requests of this protocol.
fn is_for(route: &Map<String, Value>, protocol: &str) -> bool {
    match route.get("protocols") {
        Some(Value::Array(all)) => all.iter().any(|one| one == protocol),
        Some(Value::String(one)) => one == protocol,
        _ => false,
    }
}

fn is_for_calls(route: &Map<String, Value>) -> bool {
    CALLS.iter().any(|protocol| is_for(route, protocol))
}

/// Calls of gRPC keep their path, unless it is said otherwise, which is refused.
pub(super) fn keep_path_of_calls(route: &mut Map<String, Value>) {
    if is_for_calls(route) && route.get("strip_path").is_none_or(Value::is_null) {
        route.insert("strip_path".to_owned(), json!(false));
    }
}

fn not_with_calls(route: &Map<String, Value>, field: &str) -> Result<(), String> {
    match is_for_calls(route) {
        true => Err(format!("cannot set '{field}' when 'protocols' is 'grpc' or 'grpcs'")),
        false => Ok(()),
    }
}

/// Requests and calls have routes of their own.
fn one_kind(protocols: &Value) -> Result<(), String> {
    let all = protocols.as_array().map(Vec::as_slice).unwrap_or_default();
    let are_calls = |protocol: &Value| CALLS.iter().any(|calls| protocol == calls);
    match all.iter().any(are_calls) && !all.iter().all(are_calls) {
        true => Err("these sets are mutually exclusive: ('http', 'https'), ('grpc', 'grpcs')".to_owned()),
        false => Ok(()),
    }
}

fn matches_something(route: &Map<String, Value>) -> Result<(), String> {
    let set = |name: &str| match route.get(name) {
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(members)) => !members.is_empty(),
        _ => false,
    };
    if MATCHED.into_iter().any(set) || route.get("expression").is_some_and(Value::is_string) {
        return Ok(());
    }
    let fields = match is_for_calls(route) {
        true => "'hosts', 'headers', 'paths'",
        false => "'methods', 'hosts', 'headers', 'paths'",
    };
    let names = if ["https", "grpcs"].iter().any(|tls| is_for(route, tls)) { ", 'snis'" } else { "" };
    let kind = ["https", "grpcs", "grpc"].into_iter().find(|kind| is_for(route, kind)).unwrap_or("http");
    Err(format!("must set one of {fields}{names} when 'protocols' is '{kind}'"))
}

/// An expression stands alone, and can be read.
fn expression(route: &Map<String, Value>) -> Result<(), String> {
    const FIELDS: &str =
        "'methods', 'hosts', 'paths', 'headers', 'snis', 'sources' or 'destinations' simultaneously";
    let wrong = |why: &str| Err(format!("Router Expression failed validation: {why}"));
    let set = |field: &str| match route.get(field) {
        None | Some(Value::Null) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(members)) => !members.is_empty(),
        Some(Value::Number(number)) => number.as_i64() != Some(0),
        Some(_) => true,
    };
    let others = MATCHED.into_iter().any(set);
    let Some(text) = route.get("expression").and_then(Value::as_str) else {
        let prior = others && set("priority");
        return if prior { wrong(&format!("cannot set 'priority' with {FIELDS}")) } else { Ok(()) };
    };
    if others {
        return wrong(&format!("cannot set 'expression' with {FIELDS}"));
    }
    if set("regex_priority") {
        return wrong("cannot set 'regex_priority' with 'expression' simultaneously");
    }
    match expr::Rule::parse(text) {
        Ok(_) => Ok(()),
        Err(why) => wrong(&why.to_string()),
    }
}

fn server_names_over_tls(route: &Map<String, Value>) -> Result<(), String> {
    let named = route.get("snis").and_then(Value::as_array).is_some_and(|snis| !snis.is_empty());
    if !named || ["https", "grpcs"].iter().any(|tls| is_for(route, tls)) {
        return Ok(());
    }
    Err("'snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or 'tls_passthrough'".to_owned())
}

fn header_names(headers: &Value) -> Result<(), String> {
    for name in headers.as_object().into_iter().flat_map(Map::keys) {
        if name.eq_ignore_ascii_case("host") {
            return Err(
                "cannot contain 'host' header, which must be specified in the 'hosts' attribute".to_owned()
            );
        }
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(format!(
                "bad header name '{}', allowed characters are A-Z, a-z, 0-9, '_', and '-'",
                values::excerpt(name)
            ));
        }
    }
    Ok(())
}

fn header_value(text: &str) -> Result<(), String> {
    match header_pattern(text) {
        Some(pattern) => pattern.map(drop),
        None => Ok(()),
    }
}

/// The pattern that a header's value is, if it is one.
pub(crate) fn header_pattern(text: &str) -> Option<Result<Arc<regex::bytes::Regex>, String>> {
    let pattern = text.strip_prefix(PATTERN)?;
    let built = RegexBuilder::new(pattern).size_limit(MAX_PATTERN).build();
    Some(built.map(Arc::new).map_err(|_| format!("invalid regex: '{}'", values::excerpt(pattern))))
}
