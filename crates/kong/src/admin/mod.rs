//! The Admin API over HTTP: who may ask, what is asked for, and the answer's headers. What a write does is `change`.

mod access;
mod groups;
mod health;
mod issuers;
mod read;
mod request;
mod target;

use std::sync::Arc;

use axum::{
    Router,
    body::Body as HttpBody,
    extract::{Request, State},
    response::Response,
    routing::any,
};
use gateway::engine::Traffic;
use http::{HeaderValue, Method, StatusCode, header, request::Parts};
use serde_json::{Map, Value};

pub(crate) use request::digest;

pub use access::{Access, AccessError, AdminKey, Role};

use self::{read::Listing, request::Query, target::Target};
use crate::{
    answer::Answer,
    catalog::{Catalog, Entity},
    change::{Body, Verb, Write, validate},
    declared::Declaration,
    dialect::Dialect,
    entities::{Kind, Reference, named},
};

/// What Kong calls itself; clients parse the version.
const SERVER: HeaderValue = HeaderValue::from_static("kong/3.9.1");
/// What the Admin API's handlers share.
#[derive(Clone, Debug)]
pub struct AdminState {
    /// The dialect behind it.
    pub dialect: Arc<Dialect>,
    /// Who may ask.
    pub access: Arc<Access>,
    /// Whether the entities are declared in the configuration file, so that every write is refused.
    pub read_only: bool,
    /// What the engine counts of clients.
    pub traffic: Traffic,
    /// What the machine calls itself.
    pub hostname: String,
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
        Method::GET | Method::HEAD => tell(state, &target, parts, role == Role::Admin).await,
        _ if role == Role::Viewer => Err(Answer::message(StatusCode::FORBIDDEN, "this key may only read")),
        _ => match target.written().filter(|_| state.read_only) {
            Some(written) => Err(Answer::unsupported(&written.refusal(&parts.method))),
            None => write(dialect, &target, parts, body).await,
        },
    }
}

async fn tell(
    state: &AdminState,
    target: &Target<'_>,
    parts: &Parts,
    secrets: bool,
) -> Result<Answer, Answer> {
    let dialect = &*state.dialect;
    let query = Query::parse(parts.uri.query());
    match *target {
        Target::Node => Ok(read::node(dialect, &state.hostname, state.read_only)),
        Target::Status => Ok(read::status(dialect, state.traffic.totals()).await),
        Target::Config => Ok(read::config(dialect, secrets)),
        Target::Endpoints => Ok(read::list(target::endpoints().into_iter().map(Value::from))),
        Target::EnabledPlugins => Ok(read::enabled_plugins(dialect)),
        Target::Tags(tag) => read::tags(dialect, tag, parts.uri.path(), &query),
        Target::Schema(kind) => Ok(Answer::ok(kind.schema().describe())),
        Target::PluginSchema(name) => read::plugin_schema(dialect, name),
        Target::VaultSchema(name) => read::vault_schema(name),
        Target::Validate(_) | Target::Cache | Target::Settled(_) => Err(Answer::method_not_allowed()),
        Target::Collection(kind, parent) => {
            Listing { kind, parent, path: parts.uri.path(), query: &query }.answer(dialect, secrets)
        }
        Target::Entity(kind, key, parent) => {
            let catalog = dialect.read();
            let found = find(&catalog, kind, key, parent)?;
            let answer = read::one(dialect, &catalog, found, secrets);
            Ok(if kind == Kind::ConsumerGroup {
                groups::describe(dialect, &catalog, found, answer)
            } else {
                answer
            })
        }
        Target::Named(kind, key, reference) => {
            let catalog = dialect.read();
            let found = find_named(&catalog, kind, key, reference)?;
            Ok(read::one(dialect, &catalog, found, secrets))
        }
        Target::GroupConsumers(group, consumer) => groups::consumers(dialect, group, consumer),
        Target::ConsumerGroups(consumer, group) => groups::groups(dialect, consumer, group),
        Target::Health(upstream) => health::tell(dialect, upstream, parts.uri.path(), &query).await,
        Target::Issuers(None) => Ok(issuers::list(dialect)),
        Target::Issuers(Some(key)) => issuers::one(dialect, key),
        Target::OwnKeys => Ok(issuers::own_keys(dialect)),
    }
}

async fn write(
    dialect: &Dialect,
    target: &Target<'_>,
    parts: &Parts,
    body: HttpBody,
) -> Result<Answer, Answer> {
    let verb = match parts.method {
        Method::POST => Verb::Post,
        Method::PUT => Verb::Put,
        Method::PATCH => Verb::Patch,
        _ => Verb::Delete,
    };
    let (kind, key, parent) = match *target {
        Target::Collection(kind, parent) => (kind, None, parent),
        Target::Entity(kind, key, parent) => (kind, Some(key.to_owned()), parent),
        Target::Named(kind, key, reference) => {
            let id = find_named(&dialect.read(), kind, key, reference)?.id.clone();
            (reference.kind, Some(id), None)
        }
        Target::GroupConsumers(group, consumer) => {
            let body = sent(verb, parts, body).await?;
            return groups::write_consumers(dialect, group, consumer, verb, body).await;
        }
        Target::ConsumerGroups(consumer, group) => {
            let body = sent(verb, parts, body).await?;
            return groups::write_groups(dialect, consumer, group, verb, body).await;
        }
        Target::Config => {
            let query = Query::parse(parts.uri.query());
            let on = |name: &str| query.get(name).is_some_and(|value| matches!(value, "1" | "true"));
            let (document, hash) = request::document(&parts.headers, body).await?;
            if on("check_hash") && dialect.is_current(&hash) {
                return Ok(Answer::new(StatusCode::NOT_MODIFIED, Value::Null));
            }
            let declaration = Declaration::read(document, on("flatten_errors"));
            let declaration = declaration.map_err(Answer::invalid_declaration)?;
            return Ok(dialect.replace(declaration, hash).await);
        }
        Target::Issuers(key) => return issuers::forget(dialect, key).await,
        Target::Cache => {
            dialect.clear_cache();
            return Ok(Answer::nothing());
        }
        Target::OwnKeys => return issuers::replace_own_keys(dialect).await,
        Target::Settled(settled) => return health::settle(dialect, settled).await,
        Target::Validate(kind) => {
            let body = sent(verb, parts, body).await?;
            validate(dialect.registry(), kind, &body)?;
            return Ok(Answer::message(StatusCode::OK, "schema validation successful"));
        }
        _ => return Err(Answer::method_not_allowed()),
    };
    let body = sent(verb, parts, body).await?;
    let parent = parent.map(|(reference, key)| (reference, key.to_owned()));
    Ok(dialect.write(Write { verb, kind, key, parent, body }).await)
}

/// What comes with a DELETE means nothing (RFC 9110 section 9.3.5).
async fn sent(verb: Verb, parts: &Parts, body: HttpBody) -> Result<Body, Answer> {
    match verb {
        Verb::Delete => Ok(Body::Json(Map::new())),
        Verb::Post | Verb::Put | Verb::Patch => request::body(&parts.headers, body).await,
    }
}

/// The entity that another one names in a field.
fn find_named<'c>(
    catalog: &'c Catalog,
    kind: Kind,
    key: &str,
    reference: Reference,
) -> Result<&'c Arc<Entity>, Answer> {
    let entity = find(catalog, kind, key, None)?;
    let id = named(&entity.value, reference.field).ok_or_else(Answer::not_found)?;
    catalog.find(reference.kind, id).ok_or_else(Answer::not_found)
}

/// The entity of that id or name, below the one that the path puts it under.
fn find<'c>(
    catalog: &'c Catalog,
    kind: Kind,
    key: &str,
    parent: Option<(Reference, &str)>,
) -> Result<&'c Arc<Entity>, Answer> {
    let parent_id = match parent {
        Some((of, key)) => {
            Some(catalog.lookup(of.kind, key, None).ok_or_else(Answer::not_found)?.id.as_str())
        }
        None => None,
    };
    let found = catalog.lookup(kind, key, parent_id).ok_or_else(Answer::not_found)?;
    match parent {
        Some((of, _)) if named(&found.value, of.field) != parent_id => Err(Answer::not_found()),
        _ => Ok(found),
    }
}

fn respond(method: &Method, answer: Answer, latency: &str, path: &str) -> Response {
    // Of an answer to HEAD the server sends the length alone (RFC 9110 section 8.6).
    let body =
        if answer.body.is_null() { HttpBody::empty() } else { HttpBody::from(answer.body.to_string()) };
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
