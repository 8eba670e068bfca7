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
use http::{HeaderValue, Method, StatusCode, header, request::Parts};
use serde_json::{Map, Value, json};

use crate::{
    admin::{self, Access},
    answer::Answer,
    catalog::Resource,
    dialect::Dialect,
    resources::{Kind, Reader},
    schema::excerpt,
};

mod health;

/// A collection by its names in this API: all of it, one of it, and the word for one.
const KINDS: [(&str, &str, &str, Kind); 4] = [
    ("routes", "route", "route", Kind::Route),
    ("services", "service", "service", Kind::Service),
    ("upstreams", "upstream", "upstream", Kind::Upstream),
    ("plugin_metadatas", "plugin_metadata", "plugin metadata", Kind::PluginMetadata),
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
    let answer = Access::keyless().check_origin(&parts).and_then(|()| serve(&state, &parts));
    respond(&parts.method, answer.unwrap_or_else(|answer| answer))
}

fn serve(state: &ControlState, parts: &Parts) -> Result<Answer, Answer> {
    let (method, path) = (&parts.method, parts.uri.path());
    let segments: Vec<&str> = path.strip_prefix("/v1/").unwrap_or_default().split('/').collect();
    let dialect = &state.dialect;
    let reading = matches!(*method, Method::GET | Method::HEAD);
    match segments.as_slice() {
        // Memory is given back as soon as nothing uses it.
        ["gc"] if *method == Method::POST => Ok(Answer::new(StatusCode::OK, Value::Null)),
        ["plugins", "reload"] if *method == Method::PUT => Ok(Answer::new(StatusCode::OK, json!("done"))),
        ["schema"] if reading => Ok(Answer::new(StatusCode::OK, schema(dialect))),
        ["server_info"] if reading => Ok(Answer::new(StatusCode::OK, server_info(state))),
        ["healthcheck", rest @ ..] if reading => health::serve(dialect, rest, &parts.headers),
        [many] if reading => {
            let (.., kind) = KINDS.into_iter().find(|(name, ..)| name == many).ok_or_else(nothing)?;
            Ok(read_list(dialect.list(kind).iter().map(|it| shown(dialect, it)).collect()))
        }
        [one, id] if reading => {
            let (_, _, word, kind) =
                KINDS.into_iter().find(|(_, name, ..)| name == one).ok_or_else(nothing)?;
            let gone = || Answer::error(StatusCode::NOT_FOUND, format!("{word}[{}] not found", excerpt(id)));
            let found = dialect.find(kind, id).ok_or_else(gone)?;
            Ok(Answer::new(StatusCode::OK, shown(dialect, &found)))
        }
        _ => Err(nothing()),
    }
}

/// A resource as anybody may see it. Metadata stand alone, without the key they are stored under.
fn shown(dialect: &Dialect, resource: &Resource) -> Value {
    match resource.kind {
        Kind::PluginMetadata => dialect.show(resource, Reader::Viewer),
        _ => admin::shown(dialect, resource, Reader::Viewer),
    }
}

/// APISIX writes a list of nothing as an empty object, and its tools expect that.
fn read_list(items: Vec<Value>) -> Answer {
    Answer::new(StatusCode::OK, if items.is_empty() { json!({}) } else { items.into() })
}

fn nothing() -> Answer {
    Answer::error(StatusCode::NOT_FOUND, "not found")
}

fn schema(dialect: &Dialect) -> Value {
    let mut main: Map<String, Value> =
        Kind::ALL.into_iter().map(|kind| (kind.schema_name().to_owned(), kind.schema().to_json())).collect();
    main.extend(admin::other_schemas().map(|(name, schema)| (name.to_owned(), schema)));
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
    for (name, value) in answer.headers {
        headers.insert(name, value);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
