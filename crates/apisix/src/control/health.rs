//! `/v1/healthcheck`: which upstreams are checked, and how their nodes are; for people as a page.

use gateway::{error::escape_html, upstream::Checker};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::{nothing, read_list};
use crate::{answer::Answer, dialect::Dialect, resources::Kind, schema::excerpt};

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// Everything that is checked, or what is asked for by kind and id.
pub(super) fn serve(dialect: &Dialect, rest: &[&str], headers: &HeaderMap) -> Result<Answer, Answer> {
    let checkers = dialect.checkers();
    match *rest {
        [] => {
            let all: Vec<Value> = checkers.iter().map(|checker| shown(dialect, checker)).collect();
            Ok(told(headers, &all).unwrap_or_else(|| read_list(all)))
        }
        [kind] => {
            let text = format!("missing src id for src type {}", excerpt(kind));
            Err(Answer::error(StatusCode::NOT_FOUND, text))
        }
        [name, id] => {
            let kind = Kind::of_plural(name)
                .filter(|kind| matches!(kind, Kind::Route | Kind::Service | Kind::Upstream))
                .ok_or_else(|| Answer::refuse(format!("invalid src type {}", excerpt(name))))?;
            let missing = |text: String| Answer::error(StatusCode::NOT_FOUND, text);
            let found = dialect.find(kind, id);
            let found = found.ok_or_else(|| missing(format!("{name}[{}] not found", excerpt(id))))?;
            let checks = checks_of(&found.value);
            let checks = checks.ok_or_else(|| missing(format!("no checker for {name}[{}]", excerpt(id))))?;
            let running = checkers.iter().find(|checker| *checker.id == kind.name(id));
            let one = running.map_or_else(
                // Nothing leads to it yet, so that nobody asks its nodes.
                || json!({"name": kind.key(id), "type": kind_of(checks), "nodes": {}}),
                |checker| shown(dialect, checker),
            );
            Ok(told(headers, std::slice::from_ref(&one)).unwrap_or_else(|| Answer::new(StatusCode::OK, one)))
        }
        _ => Err(nothing()),
    }
}

fn checks_of(resource: &Value) -> Option<&Value> {
    resource.get("checks").or_else(|| resource.pointer("/upstream/checks"))
}

fn kind_of(checks: &Value) -> &str {
    checks.pointer("/active/type").and_then(Value::as_str).unwrap_or("http")
}

/// A checked upstream, its nodes, and what was counted of them.
fn shown(dialect: &Dialect, checker: &Checker) -> Value {
    let key = format!("/apisix/{}", checker.id);
    let resource = Kind::of_key(&key).and_then(|(kind, id)| dialect.find(kind, &id));
    let host =
        resource.as_ref().and_then(|resource| checks_of(&resource.value)?.pointer("/active/host")?.as_str());
    let nodes = checker.nodes().filter(|node| node.weight > 0).map(|node| {
        let counted = node.health;
        json!({
            "ip": node.host,
            "port": node.port,
            "hostname": host.unwrap_or(node.host),
            "status": counted.word(),
            "counter": {
                "success": counted.successes,
                "http_failure": counted.http_failures,
                "tcp_failure": counted.tcp_failures,
                "timeout_failure": counted.timeouts,
            },
        })
    });
    let nodes: Vec<Value> = nodes.collect();
    json!({"name": key, "type": checker.kind(), "nodes": nodes})
}

/// The page, for who asks for one.
fn told(headers: &HeaderMap, all: &[Value]) -> Option<Answer> {
    let accept = headers.get(header::ACCEPT)?.to_str().ok()?;
    accept.contains("text/html").then(|| {
        let mut answer = Answer::new(StatusCode::OK, page(all).into());
        answer.headers.push((header::CONTENT_TYPE, HTML));
        answer
    })
}

fn page(all: &[Value]) -> String {
    const COLUMNS: [&str; 9] = [
        "Index",
        "Upstream",
        "Check type",
        "Host",
        "Status",
        "Success counts",
        "TCP failures",
        "HTTP failures",
        "Timeouts",
    ];
    let cells = |row: &[String], tag: &str| -> String {
        row.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape_html(cell))).collect()
    };
    let head = cells(&COLUMNS.map(str::to_owned), "th");
    let mut rows = String::new();
    let mut index = 0_u32;
    for upstream in all {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        for node in upstream.get("nodes").and_then(Value::as_array).into_iter().flatten() {
            index = index.saturating_add(1);
            let of = |path: &str| node.pointer(path).map(text).unwrap_or_default();
            let row = [
                index.to_string(),
                upstream.get("name").map(text).unwrap_or_default(),
                upstream.get("type").map(text).unwrap_or_default(),
                format!("{}:{}", of("/ip"), of("/port")),
                of("/status"),
                of("/counter/success"),
                of("/counter/tcp_failure"),
                of("/counter/http_failure"),
                of("/counter/timeout_failure"),
            ];
            let color = if of("/status").ends_with("unhealthy") { " bgcolor=\"#FF8080\"" } else { "" };
            rows.push_str(&format!("<tr{color}>{}</tr>\n", cells(&row, "td")));
        }
    }
    format!(
        "<html xmlns=\"http://www.w3.org/1999/xhtml\">\n<head><title>Checked upstreams</title></head>\n<body>\n\
         <h1>Checked upstreams</h1>\n<table cellpadding=\"3\" border=\"1\">\n<tr>{head}</tr>\n{rows}</table>\n\
         </body>\n</html>\n"
    )
}
