//! The Admin API over HTTP: who may ask, what is asked for, and the answer's headers. What a write does is `change`.

mod access;
mod read;
mod request;

use std::sync::Arc;

use axum::{
    Router,
    body::Body as HttpBody,
    extract::{Request, State},
    response::Response,
    routing::any,
};
use http::{HeaderValue, Method, StatusCode, header, request::Parts};
use serde_json::Map;

pub use access::{Access, AccessError, AdminKey, Role};

use self::{read::Listing, request::Query};
use crate::{
    answer::Answer,
    catalog::Entity,
    change::{Body, Verb, Write},
    dialect::Dialect,
    entities::{Kind, reference},
};

/// What Kong calls itself; clients parse the version.
const SERVER: HeaderValue = HeaderValue::from_static("kong/3.9.1");
/// What Kong's Admin API has and this build has not.
const ABSENT: [&str; 29] = [
    "acls",
    "basic-auths",
    "ca_certificates",
    "cache",
    "certificates",
    "clustering",
    "config",
    "consumer_groups",
    "consumers",
    "debug",
    "endpoints",
    "filter-chains",
    "hmac-auths",
    "jwts",
    "key-auths",
    "key-sets",
    "keys",
    "licenses",
    "oauth2",
    "oauth2_tokens",
    "openid-connect",
    "partials",
    "schemas",
    "snis",
    "tags",
    "targets",
    "timers",
    "upstreams",
    "vaults",
];

/// What the Admin API's handlers share.
#[derive(Clone, Debug)]
pub struct AdminState {
    /// The dialect behind it.
    pub dialect: Arc<Dialect>,
    /// Who may ask.
    pub access: Arc<Access>,
    /// Whether the entities are declared in the configuration file, so that every write is refused.
    pub read_only: bool,
}

/// The Admin API, at `/` and at `/kong-admin`.
pub fn router(state: AdminState) -> Router {
    Router::new().route("/", any(handle)).route("/{*rest}", any(handle)).with_state(state)
}

async fn handle(State(state): State<AdminState>, request: Request) -> Response {
    let clock = state.dialect.clock().clone();
    let began = clock.monotonic();
    let (parts, body) = request.into_parts();
    let method = parts.method.clone();
    let answer = serve(&state, &parts, body).await.unwrap_or_else(|answer| answer);
    if !matches!(method, Method::GET | Method::HEAD | Method::OPTIONS) {
        // Path and verdict only: bodies and queries hold secrets.
        tracing::info!(target: "audit", %method, path = parts.uri.path(), status = answer.status.as_u16(), "admin");
    }
    let took = clock.monotonic().saturating_sub(began).as_millis();
    respond(&method, answer, &took.to_string(), parts.uri.path())
}

/// What a path names.
enum Target<'p> {
    Node,
    Status,
    EnabledPlugins,
    /// All of a kind, or those under one entity.
    Collection(Kind, Option<(Kind, &'p str)>),
    /// One, perhaps under another.
    Entity(Kind, &'p str, Option<(Kind, &'p str)>),
    /// The entity that another one names in a field.
    Named(Kind, &'p str, Kind),
}

impl<'p> Target<'p> {
    fn of(path: &'p [String]) -> Result<Self, Answer> {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let target = match path.as_slice() {
            [] => Some(Self::Node),
            ["status"] => Some(Self::Status),
            ["plugins", "enabled"] => Some(Self::EnabledPlugins),
            [plural] => Kind::of_plural(plural).map(|kind| Self::Collection(kind, None)),
            [plural, key] => Kind::of_plural(plural).map(|kind| Self::Entity(kind, key, None)),
            [plural, key, below] => Kind::of_plural(plural).and_then(|kind| Self::below(kind, key, below)),
            [plural, key, below, child] => {
                match Kind::of_plural(plural).and_then(|kind| Self::below(kind, key, below)) {
                    Some(Self::Collection(kind, parent)) => Some(Self::Entity(kind, child, parent)),
                    _ => None,
                }
            }
            _ => None,
        };
        target.ok_or_else(|| match path.iter().find(|name| ABSENT.contains(*name)) {
            Some(name) => Answer::message(
                StatusCode::NOT_FOUND,
                format!("Not found: /{name} is not implemented in this build"),
            ),
            None => Answer::not_found(),
        })
    }

    fn below(kind: Kind, key: &'p str, below: &str) -> Option<Self> {
        if let Some(child) = Kind::of_plural(below) {
            return child.parents().contains(&kind).then_some(Self::Collection(child, Some((kind, key))));
        }
        let named = Kind::of_singular(below)?;
        kind.parents().contains(&named).then_some(Self::Named(kind, key, named))
    }

    fn methods(&self) -> &'static str {
        match self {
            Self::Node | Self::Status | Self::EnabledPlugins => "GET, HEAD, OPTIONS",
            Self::Collection(..) => "GET, HEAD, OPTIONS, POST",
            Self::Entity(..) => "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
            Self::Named(..) => "GET, HEAD, OPTIONS, PATCH, PUT",
        }
    }
}

async fn serve(state: &AdminState, parts: &Parts, body: HttpBody) -> Result<Answer, Answer> {
    state.access.check_origin(parts)?;
    let role = match parts.method {
        Method::OPTIONS => Role::Viewer,
        _ => state.access.role(&parts.headers)?,
    };
    let path = request::segments(parts.uri.path()).ok_or_else(Answer::not_found)?;
    let target = Target::of(&path)?;
    let allowed = target.methods().split(", ").any(|method| method == parts.method.as_str());
    if !allowed {
        return Err(Answer::method_not_allowed());
    }
    let dialect = &state.dialect;
    match parts.method {
        Method::OPTIONS => Ok(Answer::nothing()),
        Method::GET | Method::HEAD => tell(dialect, &target, parts, role == Role::Admin).await,
        _ if role == Role::Viewer => Err(Answer::message(StatusCode::FORBIDDEN, "this key may only read")),
        _ if state.read_only => {
            let why = "the entities are declared in the configuration file: the Admin API is read-only";
            Err(Answer::message(StatusCode::FORBIDDEN, why))
        }
        _ => {
            let write = write(dialect, &target, parts, body).await?;
            Ok(dialect.write(write).await)
        }
    }
}

async fn tell(
    dialect: &Dialect,
    target: &Target<'_>,
    parts: &Parts,
    secrets: bool,
) -> Result<Answer, Answer> {
    match *target {
        Target::Node => Ok(read::node(dialect)),
        Target::Status => Ok(read::status(dialect).await),
        Target::EnabledPlugins => Ok(read::enabled_plugins(dialect)),
        Target::Collection(kind, parent) => {
            let query = Query::parse(parts.uri.query());
            Listing { kind, parent, path: parts.uri.path(), query: &query }.answer(dialect, secrets)
        }
        Target::Entity(kind, key, parent) => {
            let found = find(dialect, kind, key).ok_or_else(Answer::not_found)?;
            if let Some((parent, parent_key)) = parent {
                let parent_id = find(dialect, parent, parent_key).map(|parent| parent.id.clone());
                if parent_id.is_none() || reference(&found.value, parent) != parent_id.as_deref() {
                    return Err(Answer::not_found());
                }
            }
            Ok(read::one(dialect, &found, secrets))
        }
        Target::Named(kind, key, named) => {
            let id = named_id(dialect, kind, key, named)?;
            let found = find(dialect, named, &id).ok_or_else(Answer::not_found)?;
            Ok(read::one(dialect, &found, secrets))
        }
    }
}

async fn write(
    dialect: &Dialect,
    target: &Target<'_>,
    parts: &Parts,
    body: HttpBody,
) -> Result<Write, Answer> {
    let verb = match parts.method {
        Method::POST => Verb::Post,
        Method::PUT => Verb::Put,
        Method::PATCH => Verb::Patch,
        _ => Verb::Delete,
    };
    let (kind, key, parent) = match *target {
        Target::Collection(kind, parent) => (kind, None, parent),
        Target::Entity(kind, key, parent) => (kind, Some(key.to_owned()), parent),
        Target::Named(kind, key, named) => (named, Some(named_id(dialect, kind, key, named)?), None),
        Target::Node | Target::Status | Target::EnabledPlugins => return Err(Answer::method_not_allowed()),
    };
    let body = match verb {
        // What comes with a DELETE means nothing (RFC 9110 section 9.3.5).
        Verb::Delete => Body::Json(Map::new()),
        Verb::Post | Verb::Put | Verb::Patch => request::body(&parts.headers, body).await?,
    };
    Ok(Write { verb, kind, key, parent: parent.map(|(kind, key)| (kind, key.to_owned())), body })
}

/// The id that an entity names in its field for `named`.
fn named_id(dialect: &Dialect, kind: Kind, key: &str, named: Kind) -> Result<String, Answer> {
    let entity = find(dialect, kind, key).ok_or_else(Answer::not_found)?;
    reference(&entity.value, named).map(str::to_owned).ok_or_else(Answer::not_found)
}

fn find(dialect: &Dialect, kind: Kind, key: &str) -> Option<Arc<Entity>> {
    dialect.read().lookup(kind, key).cloned()
}

fn respond(method: &Method, answer: Answer, latency: &str, path: &str) -> Response {
    let empty = answer.body.is_null() || *method == Method::HEAD;
    let body = if empty { HttpBody::empty() } else { HttpBody::from(answer.body.to_string()) };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    if answer.status != StatusCode::NO_CONTENT {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    }
    headers.insert(header::SERVER, SERVER);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(latency) = HeaderValue::from_str(latency) {
        headers.insert("x-kong-admin-latency", latency);
    }
    if *method == Method::OPTIONS || answer.status == StatusCode::METHOD_NOT_ALLOWED {
        let segments = request::segments(path).unwrap_or_default();
        if let Ok(target) = Target::of(&segments) {
            let methods = HeaderValue::from_static(target.methods());
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods.clone());
            headers.insert(header::ALLOW, methods);
        }
    }
    response
}
