use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::request::Query;
use crate::{
    answer::Answer,
    dialect::Dialect,
    plugins::{DialectPlugin, meta},
    resources::{Kind, upstream},
    schema::{Schema, excerpt},
};

/// `schema/…` and `plugins/…`; `None` for every other resource.
pub(super) fn serve(
    dialect: &Dialect,
    method: &Method,
    resource: &str,
    rest: &[String],
    query: &Query,
    body: Option<&Value>,
) -> Option<Result<Answer, Answer>> {
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    let reading = matches!(*method, Method::GET | Method::HEAD);
    Some(match (resource, rest.as_slice()) {
        ("schema", ["validate", kind]) if *method == Method::POST => validate(kind, body),
        ("plugins", ["list"]) if reading => list(dialect, query),
        ("plugins", ["reload"]) => reload(method),
        ("schema", ["plugins", name]) | ("plugins", [name]) if reading => plugin(dialect, name, query),
        ("schema", [kind]) if reading => Kind::of_schema_name(kind)
            .map(|kind| Answer::new(StatusCode::OK, kind.schema().to_json()))
            .ok_or_else(|| Answer::refuse(format!("not found schema: {}", excerpt(kind)))),
        ("plugins", []) if reading && query.get("all") == Some("true") => subsystem(query).map(|streams| {
            let all = if streams { Value::Object(Map::new()) } else { all(dialect) };
            Answer::new(StatusCode::OK, all)
        }),
        // A plugin without a name is one that is not found, once the subsystem is one.
        ("plugins", []) if reading => subsystem(query).and_then(|streams| Err(not_found(streams))),
        ("schema" | "plugins", _) => Err(Answer::error(StatusCode::NOT_FOUND, "not found")),
        _ => return None,
    })
}

/// Checks a body against a kind's schema, without its plugins and references.
fn validate(kind: &str, body: Option<&Value>) -> Result<Answer, Answer> {
    let unsupported = || format!("Unsupported resource type: {}", excerpt(kind));
    let kind = Kind::of_plural(kind).ok_or_else(|| Answer::error(StatusCode::NOT_FOUND, unsupported()))?;
    let body = body.ok_or_else(|| Answer::refuse("missing configurations"))?;
    kind.schema().validate(body).map_err(Answer::refuse)?;
    Ok(Answer::new(StatusCode::OK, Value::Null))
}

/// There is nothing to load anew: the plugins are the binary's own.
fn reload(method: &Method) -> Result<Answer, Answer> {
    if *method == Method::PUT {
        return Ok(Answer::new(StatusCode::OK, json!("done")));
    }
    let text = format!("please use PUT method to reload the plugins, {method} method is not allowed.");
    Err(Answer::error(StatusCode::METHOD_NOT_ALLOWED, text))
}

/// Whether `subsystem` asks for the plugins of streams, of which there are none.
fn subsystem(query: &Query) -> Result<bool, Answer> {
    match query.get("subsystem") {
        None | Some("http") => Ok(false),
        Some("stream") => Ok(true),
        Some(other) => Err(Answer::refuse(format!("unsupported subsystem: {}", excerpt(other)))),
    }
}

fn plugin(dialect: &Dialect, name: &str, query: &Query) -> Result<Answer, Answer> {
    let streams = subsystem(query)?;
    let plugin = dialect.registry().find(name).filter(|_| !streams);
    let plugin = plugin.ok_or_else(|| not_found(streams))?;
    let schema = match query.get("schema_type") {
        Some("consumer") => plugin.consumer_schema(),
        _ => Some(plugin.schema()),
    };
    let schema = schema.ok_or_else(|| Answer::refuse("not found schema"))?;
    Ok(Answer::new(StatusCode::OK, with_meta(schema)))
}

fn not_found(streams: bool) -> Answer {
    let subsystem = if streams { "stream" } else { "http" };
    Answer::error(StatusCode::NOT_FOUND, format!("plugin not found in subsystem {subsystem}"))
}

/// A plugin's schema with what every plugin's configuration may have.
fn with_meta(schema: &Schema) -> Value {
    let mut described = schema.to_json();
    if let Some(properties) = described.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert(meta::NAME.to_owned(), meta::json_schema());
    }
    described
}

/// Names, from the highest priority to the lowest.
fn list(dialect: &Dialect, query: &Query) -> Result<Answer, Answer> {
    let names = match query.get("subsystem") {
        None | Some("http") => by_priority(dialect).into_iter().map(|plugin| json!(plugin.name())).collect(),
        Some("stream") => json!([]),
        // APISIX answers with the bare text.
        Some(_) => return Err(Answer::new(StatusCode::BAD_REQUEST, json!("invalid subsystem passed"))),
    };
    Ok(Answer::new(StatusCode::OK, names))
}

/// What APISIX's schema has besides the resources of this build: the list of plugins that a node loads, what `chash`
/// takes as its key, and two kinds of resource of which nothing can be written here.
pub(crate) fn other_schemas() -> impl Iterator<Item = (&'static str, Value)> {
    let absent = || json!({"type": "object", "description": "not implemented in this build", "not": {}});
    let plugins = json!({
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"name": {"type": "string", "minLength": 1}, "stream": {"type": "boolean"}},
            "required": ["name"],
        },
    });
    [
        ("plugins", plugins),
        ("proto", absent()),
        ("stream_route", absent()),
        ("upstream_hash_vars_schema", upstream::HASH_VARIABLE.to_json()),
        ("upstream_hash_header_schema", upstream::HASH_NAME.to_json()),
    ]
    .into_iter()
}

/// Every plugin with what may be written of it.
pub(crate) fn all(dialect: &Dialect) -> Value {
    let described = |plugin: &dyn DialectPlugin| {
        let mut about = Map::new();
        about.insert("version".to_owned(), json!(0.1));
        about.insert("priority".to_owned(), json!(plugin.priority()));
        about.insert("schema".to_owned(), with_meta(plugin.schema()));
        if plugin.authenticates() {
            about.insert("type".to_owned(), json!("auth"));
        }
        if let Some(schema) = plugin.consumer_schema() {
            about.insert("consumer_schema".to_owned(), with_meta(schema));
        }
        if let Some(schema) = plugin.metadata_schema() {
            about.insert("metadata_schema".to_owned(), schema.to_json());
        }
        (plugin.name().to_owned(), Value::Object(about))
    };
    Value::Object(by_priority(dialect).into_iter().map(described).collect::<Map<_, _>>())
}

fn by_priority(dialect: &Dialect) -> Vec<&dyn DialectPlugin> {
    let mut plugins: Vec<_> = dialect.registry().iter().collect();
    plugins.sort_by_key(|plugin| std::cmp::Reverse(plugin.priority()));
    plugins
}
