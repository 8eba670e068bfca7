//! The Admin API over HTTP: who may ask, what is asked for, and the answer's headers. What a write does is `change`.

mod access;
mod configs;
mod describe;
mod read;
mod request;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
    routing::any,
};
use http::{HeaderValue, Method, StatusCode, header, request::Parts};
use serde_json::Value;

pub use access::{Access, AccessError, AdminKey, Role};

use self::request::Query;
pub(crate) use self::{
    describe::{all as all_plugins, other_schemas},
    read::shown,
};
use crate::{
    answer::Answer,
    change::{Verb, Write},
    dialect::Dialect,
    resources::{Kind, Reader, check_manager},
    schema::excerpt,
};

/// What APISIX calls itself; clients parse the version.
const SERVER: HeaderValue = HeaderValue::from_static("APISIX/3.18.0");
/// The version in it.
pub(crate) const VERSION: &str = "3.18.0";
/// Why nothing is written.
const READ_ONLY: &str = "the resources are declared in the configuration file: the Admin API is read-only";
/// Resources of APISIX that this build does not have.
const ABSENT: [&str; 1] = ["protos"];

/// What the Admin API's handlers share.
#[derive(Clone, Debug)]
pub struct AdminState {
    /// The dialect behind it.
    pub dialect: Arc<Dialect>,
    /// Who may ask.
    pub access: Arc<Access>,
    /// Whether the resources are declared in the configuration file, so that every write is refused.
    pub read_only: bool,
}

/// The Admin API: everything at and below `/apisix/admin`.
pub fn router(state: AdminState) -> Router {
    Router::new()
        .route("/apisix/admin", any(handle))
        .route("/apisix/admin/", any(handle))
        .route("/apisix/admin/{*rest}", any(handle))
        .with_state(state)
}

async fn handle(State(state): State<AdminState>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let method = parts.method.clone();
    let answer = serve(&state, &parts, body).await.unwrap_or_else(|answer| answer);
    if !matches!(method, Method::GET | Method::HEAD | Method::OPTIONS) {
        // Role, path and verdict only: bodies and queries hold secrets.
        let role = state.access.role(&parts.headers).map_or("nobody", Role::name);
        let (path, status) = (parts.uri.path(), answer.status.as_u16());
        tracing::info!(target: "audit", role, %method, path, status, "a write to the Admin API");
    }
    respond(&method, answer)
}

async fn serve(state: &AdminState, parts: &Parts, body: Body) -> Result<Answer, Answer> {
    state.access.check_origin(parts)?;
    if parts.method == Method::OPTIONS {
        return Ok(Answer::new(StatusCode::OK, Value::Null));
    }
    let path = request::segments(parts.uri.path())?;
    if parts.method == Method::HEAD && path.is_empty() {
        return Ok(Answer::new(StatusCode::OK, Value::Null));
    }
    let role = state.access.role(&parts.headers)?;
    let reading = matches!(parts.method, Method::GET | Method::HEAD);
    if role == Role::Viewer && !reading {
        return Err(access::denied(StatusCode::FORBIDDEN, "invalid method for role viewer"));
    }
    let query = Query::parse(parts.uri.query());
    query.check_gateway_group()?;
    let ttl = query.ttl()?;
    let (resource, rest) = match path.split_first() {
        Some((first, rest)) => (first.as_str(), rest),
        None => return Err(Answer::error(StatusCode::NOT_FOUND, "not found")),
    };
    let body = match (resource, &parts.method) {
        (_, &Method::GET | &Method::HEAD | &Method::DELETE) => None,
        ("configs", _) => request::document(parts, body, configs::is_yaml(&parts.headers)).await?,
        _ => request::body(parts, body).await?,
    };
    let reader = if role == Role::Admin { Reader::Admin } else { Reader::Viewer };
    if resource == "configs" {
        return configs::serve(&state.dialect, parts, rest, body, reader, state.read_only).await;
    }
    let Some(kind) = Kind::of_plural(resource).filter(|kind| *kind != Kind::Credential) else {
        return describe::serve(&state.dialect, &parts.method, resource, rest, &query, body.as_ref())
            .unwrap_or_else(|| Err(unsupported(resource)));
    };
    // `consumers/{username}/credentials/{id}` and `secrets/{manager}/{id}`.
    let (kind, parent, rest) = match rest.split_first().map(|(name, rest)| (name, rest.split_first())) {
        Some((username, Some((collection, rest))))
            if kind == Kind::Consumer && collection == "credentials" =>
        {
            (Kind::Credential, Some(username.clone()), rest)
        }
        Some((manager, _)) if kind == Kind::Secret => {
            (kind, Some(manager.clone()), rest.get(1..).unwrap_or_default())
        }
        _ => (kind, None, rest),
    };
    if reading {
        return read::serve(&state.dialect, kind, parent.as_deref(), rest, &query, reader);
    }
    if state.read_only {
        return Err(Answer::error(StatusCode::FORBIDDEN, READ_ONLY));
    }
    let (id, sub_path) = match rest.split_first() {
        Some((id, sub_path)) => (Some(id.clone()), sub_path.to_vec()),
        None => (None, Vec::new()),
    };
    let verb = match parts.method {
        Method::POST => Verb::Post,
        Method::PUT => Verb::Put,
        Method::PATCH => Verb::Patch,
        Method::DELETE => Verb::Delete,
        _ => return Err(Answer::error(StatusCode::NOT_FOUND, "not found")),
    };
    if (verb == Verb::Post && !kind.posts()) || (verb == Verb::Patch && !kind.patches()) {
        let text = format!("not supported `{}` method for {}", parts.method, kind.word());
        return Err(Answer::error(StatusCode::METHOD_NOT_ALLOWED, text));
    }
    if kind == Kind::Secret {
        check_manager(parent.as_deref().unwrap_or_default()).map_err(Answer::refuse)?;
    }
    if verb != Verb::Patch && !sub_path.is_empty() {
        return Err(Answer::error(StatusCode::NOT_FOUND, "not found"));
    }
    let force = query.get("force") == Some("true");
    Ok(state.dialect.write(Write { verb, kind, parent, id, sub_path, body, ttl, force }).await)
}

fn unsupported(resource: &str) -> Answer {
    if resource == "stream_routes" {
        // As APISIX answers every verb where streams are switched off, which tools such as ADC know.
        return Answer::refuse("stream mode is disabled, can not add stream routes");
    }
    let text = if ABSENT.contains(&resource) {
        format!("{resource} is not implemented in this build")
    } else {
        format!("Unsupported resource type: {}", excerpt(resource))
    };
    Answer::error(StatusCode::NOT_FOUND, text)
}

fn respond(method: &Method, answer: Answer) -> Response {
    let empty = answer.body.is_null() || *method == Method::HEAD;
    let body = match answer.body {
        _ if empty => Body::empty(),
        // APISIX says plain words as they are.
        Value::String(text) => Body::from(text),
        body => Body::from(format!("{body}\n")),
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::SERVER, SERVER);
    headers.insert("x-api-version", HeaderValue::from_static("v3"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for (name, value) in answer.headers {
        headers.insert(name, value);
    }
    if *method == Method::OPTIONS {
        headers
            .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    response
}
