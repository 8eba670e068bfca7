//! APISIX's Control API: what the gate has, for tools and people on its own machine. There is no key, so there are no
//! secrets in it, and it is served on loopback alone; nothing can be written.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
    routing::any,
};
use base::UnixMillis;
use gateway::upstream::Checker;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::{
    admin::{self, Access},
    answer::Answer,
    dialect::Dialect,
    resources::{Kind, Reader},
    schema::excerpt,
};

/// Collections by their names in this API, and the words for one of them.
const KINDS: [(&str, &str, Kind); 4] = [
    ("routes", "route", Kind::Route),
    ("services", "service", Kind::Service),
    ("upstreams", "upstream", Kind::Upstream),
    ("plugin_metadatas", "plugin_metadata", Kind::PluginMetadata),
];

/// What the handlers share.
#[derive(Clone, Debug)]
pub struct ControlState {
    /// The dialect behind it.
    pub dialect: Arc<Dialect>,
    /// When the process started.
    pub started: UnixMillis,
    /// The machine's name.
    pub hostname: String,
}

/// The Control API: everything below `/v1`.
pub fn router(state: ControlState) -> Router {
    Router::new().route("/v1/{*rest}", any(handle)).with_state(state)
}

async fn handle(State(state): State<ControlState>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    // Without keys only the names under which a browser may reach it are left to judge by.
    let answer =
        Access::keyless().check_origin(&parts).and_then(|()| serve(&state, &parts.method, parts.uri.path()));
    respond(&parts.method, answer.unwrap_or_else(|answer| answer))
}

fn serve(state: &ControlState, method: &Method, path: &str) -> Result<Answer, Answer> {
    let segments: Vec<&str> = path.strip_prefix("/v1/").unwrap_or_default().split('/').collect();
    let dialect = &state.dialect;
    let reading = matches!(*method, Method::GET | Method::HEAD);
    match segments.as_slice() {
        // Memory is given back as soon as nothing uses it.
        ["gc"] if *method == Method::POST => Ok(Answer::new(StatusCode::OK, Value::Null)),
        ["plugins", "reload"] if *method == Method::PUT => Ok(Answer::new(StatusCode::OK, json!("done"))),
        ["schema"] if reading => Ok(Answer::new(StatusCode::OK, schema(dialect))),
        ["server_info"] if reading => Ok(Answer::new(StatusCode::OK, server_info(state))),
        ["healthcheck"] if reading => Ok(Answer::new(
            StatusCode::OK,
            dialect.checkers().iter().map(|checker| health(checker)).collect(),
        )),
        ["healthcheck", kind @ ("routes" | "services" | "upstreams"), id] if reading => {
            let name = format!("{kind}/{id}");
            if let Some(checker) = dialect.checkers().iter().find(|checker| *checker.id == *name) {
                return Ok(Answer::new(StatusCode::OK, health(checker)));
            }
            let text = format!("no checker for {kind}[{}]", excerpt(id));
            Err(Answer::error(StatusCode::NOT_FOUND, text))
        }
        ["healthcheck", kind, _] if reading => {
            Err(Answer::refuse(format!("invalid src type {}", excerpt(kind))))
        }
        [many] if reading => {
            let (_, _, kind) = KINDS.into_iter().find(|(name, ..)| name == many).ok_or_else(nothing)?;
            let list = dialect.list(kind);
            Ok(Answer::new(
                StatusCode::OK,
                list.iter().map(|it| admin::shown(dialect, it, Reader::Viewer)).collect(),
            ))
        }
        [one, id] if reading => {
            let (_, word, kind) = KINDS.into_iter().find(|(_, word, _)| word == one).ok_or_else(nothing)?;
            let gone = || Answer::error(StatusCode::NOT_FOUND, format!("{word}[{}] not found", excerpt(id)));
            let found = dialect.find(kind, id).ok_or_else(gone)?;
            Ok(Answer::new(StatusCode::OK, admin::shown(dialect, &found, Reader::Viewer)))
        }
        _ => Err(nothing()),
    }
}

/// The nodes of a checked upstream, and what was counted.
fn health(checker: &Checker) -> Value {
    let nodes = checker.nodes().filter(|node| node.weight > 0).map(|node| {
        let counted = node.health;
        json!({
            "ip": node.host,
            "port": node.port,
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
    json!({"name": format!("/apisix/{}", checker.id), "type": checker.kind(), "nodes": nodes})
}

fn nothing() -> Answer {
    Answer::error(StatusCode::NOT_FOUND, "not found")
}

fn schema(dialect: &Dialect) -> Value {
    let main: Map<String, Value> =
        Kind::ALL.into_iter().map(|kind| (kind.schema_name().to_owned(), kind.schema().to_json())).collect();
    json!({"main": main, "plugins": admin::all_plugins(dialect), "stream_plugins": {}})
}

fn server_info(state: &ControlState) -> Value {
    let now = state.dialect.now();
    let up: Duration = now.since(state.started);
    json!({
        "id": state.hostname,
        "hostname": state.hostname,
        "version": admin::VERSION,
        "boot_time": state.started.secs(),
        "up_time": up.as_secs(),
    })
}

fn respond(method: &Method, answer: Answer) -> Response {
    let body = match answer.body {
        Value::Null => Body::empty(),
        _ if *method == Method::HEAD => Body::empty(),
        Value::String(text) => Body::from(text),
        body => Body::from(format!("{body}\n")),
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
