use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::request::Query;
use crate::{answer::Answer, dialect::Dialect, plugins::DialectPlugin, resources::Kind, schema::excerpt};

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
        ("schema", ["plugins", name]) | ("plugins", [name]) if reading && *name != "list" => {
            plugin(dialect, name)
        }
        ("schema", [kind]) if reading => Kind::of_schema_name(kind)
            .map(|kind| Answer::new(StatusCode::OK, kind.schema().to_json()))
            .ok_or_else(|| Answer::refuse(format!("not found schema: {}", excerpt(kind)))),
        ("plugins", ["list"]) if reading => Ok(Answer::new(StatusCode::OK, list(dialect))),
        ("plugins", []) if reading && query.get("all") == Some("true") => {
            Ok(Answer::new(StatusCode::OK, all(dialect)))
        }
        ("plugins", ["reload"]) if *method == Method::PUT => Ok(Answer::new(StatusCode::OK, json!("done"))),
        ("schema" | "plugins", _) => Err(Answer::error(StatusCode::NOT_FOUND, "not found")),
        _ => return None,
    })
}

/// Checks a body against a kind's schema, without its plugins and references.
fn validate(kind: &str, body: Option<&Value>) -> Result<Answer, Answer> {
    let kind = Kind::of_plural(kind)
        .ok_or_else(|| Answer::refuse(format!("not found schema: {}", excerpt(kind))))?;
    let body = body.ok_or_else(|| Answer::refuse("missing configurations"))?;
    kind.schema().validate(body).map_err(Answer::refuse)?;
    Ok(Answer::new(StatusCode::OK, Value::Null))
}

fn plugin(dialect: &Dialect, name: &str) -> Result<Answer, Answer> {
    match dialect.registry().find(name) {
        Some(plugin) => Ok(Answer::new(StatusCode::OK, plugin.schema().to_json())),
        None => Err(Answer::error(StatusCode::NOT_FOUND, format!("plugin not found: {}", excerpt(name)))),
    }
}

/// Names, from the highest priority to the lowest.
fn list(dialect: &Dialect) -> Value {
    by_priority(dialect).into_iter().map(|plugin| json!(plugin.name())).collect()
}

fn all(dialect: &Dialect) -> Value {
    let described = |plugin: &dyn DialectPlugin| {
        (
            plugin.name().to_owned(),
            json!({"priority": plugin.priority(), "schema": plugin.schema().to_json()}),
        )
    };
    Value::Object(by_priority(dialect).into_iter().map(described).collect::<Map<_, _>>())
}

fn by_priority(dialect: &Dialect) -> Vec<&dyn DialectPlugin> {
    let mut plugins: Vec<_> = dialect.registry().iter().collect();
    plugins.sort_by_key(|plugin| std::cmp::Reverse(plugin.priority()));
    plugins
}
