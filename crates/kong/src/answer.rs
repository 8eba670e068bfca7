//! What a client of the Admin API is told: a status and a JSON body, errors in Kong's shape.

use http::StatusCode;
use serde_json::{Map, Value, json};
use store::StoreError;

use crate::{
    catalog::Entity,
    entities::{Kind, lua, lua_value},
    schema::Violations,
};

/// An answer of the Admin API.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// `Null`: no body.
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) const fn new(status: StatusCode, body: Value) -> Self {
        Self { status, body }
    }

    /// 200.
    pub(crate) const fn ok(body: Value) -> Self {
        Self::new(StatusCode::OK, body)
    }

    /// 204.
    pub(crate) const fn nothing() -> Self {
        Self::new(StatusCode::NO_CONTENT, Value::Null)
    }

    /// `{"message": …}` with this status.
    pub(crate) fn message(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, json!({"message": message.into()}))
    }

    /// 404.
    pub(crate) fn not_found() -> Self {
        Self::message(StatusCode::NOT_FOUND, "Not found")
    }

    /// 405.
    pub(crate) fn method_not_allowed() -> Self {
        Self::message(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
    }

    /// 400 with every field at fault.
    pub(crate) fn violation(violations: Violations) -> Self {
        let message = violations.message();
        Self::error(
            StatusCode::BAD_REQUEST,
            2,
            "schema violation",
            message,
            Value::Object(violations.into_fields()),
        )
    }

    /// 409: another entity has this already.
    pub(crate) fn unique_violation(fields: Map<String, Value>) -> Self {
        let message = format!("UNIQUE violation detected on '{}'", lua(&fields));
        Self::error(StatusCode::CONFLICT, 5, "unique constraint violation", message, Value::Object(fields))
    }

    /// 400: there is an entity with this id.
    pub(crate) fn primary_key_violation(id: &str) -> Self {
        let message = format!("primary key violation on key '{{id=\"{id}\"}}'");
        Self::error(StatusCode::BAD_REQUEST, 3, "primary key violation", message, json!({"id": id}))
    }

    /// 400: the entity named by its id in `field` is not there.
    pub(crate) fn foreign_key_violation(field: &str, kind: Kind, id: &str) -> Self {
        let message = format!(
            "the foreign key '{{id=\"{id}\"}}' does not reference an existing '{}' entity.",
            kind.plural()
        );
        let fields = json!({field: {"id": id}});
        Self::error(StatusCode::BAD_REQUEST, 4, "foreign key violation", message, fields)
    }

    /// 400: the entity named by its name is not there.
    pub(crate) fn foreign_key_unresolved(named_in: &str, kind: Kind, name: &str) -> Self {
        let field = kind.endpoint_key().unwrap_or("id");
        let found = json!({field: name});
        let found = found.as_object().map(lua).unwrap_or_default();
        let why = format!(
            "the foreign key cannot be resolved with '{found}' for an existing '{}' entity",
            kind.plural()
        );
        let message = format!("foreign key unresolved ({named_in}.{field}: {why})");
        let fields = json!({named_in: {field: why}});
        Self::error(StatusCode::BAD_REQUEST, 13, "foreign keys unresolved", message, fields)
    }

    /// 400: entities of the kind `by` still name this one.
    pub(crate) fn still_referenced(kind: Kind, by: Kind) -> Self {
        let message =
            format!("an existing '{}' entity references this '{}' entity", by.plural(), kind.plural());
        Self::error(
            StatusCode::BAD_REQUEST,
            4,
            "foreign key violation",
            message,
            json!({"@referenced_by": by.plural()}),
        )
    }

    /// 400: another entity lists this one.
    pub(crate) fn referenced_by_others(entity: &Entity, by: &Entity) -> Self {
        let (id, kind, by) = (&entity.id, by.kind.plural(), &by.id);
        let message = format!("ca certificate {id} is still referenced by {kind} (id = {by})");
        let body = json!({"code": 17, "name": "referenced by others", "message": message});
        Self::new(StatusCode::BAD_REQUEST, body)
    }

    /// 400: the declarative configuration cannot be taken. `fields` say where what is wrong.
    pub(crate) fn invalid_declaration(fields: Value) -> Self {
        let message = format!("declarative config is invalid: {}", lua_value(&fields));
        Self::error(StatusCode::BAD_REQUEST, 14, "invalid declarative configuration", message, fields)
    }

    /// 405: there is no database to write to.
    pub(crate) fn unsupported(why: &str) -> Self {
        let body = json!({"code": 12, "name": "operation unsupported", "message": why});
        Self::new(StatusCode::METHOD_NOT_ALLOWED, body)
    }

    /// 400: a list cannot be cut into pages like that.
    pub(crate) fn invalid_size(why: &str) -> Self {
        let body = json!({"code": 9, "name": "invalid size", "message": why});
        Self::new(StatusCode::BAD_REQUEST, body)
    }

    /// 400: nothing can be found by that.
    pub(crate) fn invalid_unique(field: &str, why: &str) -> Self {
        let body = json!({"code": 10, "name": format!("invalid unique {field}"), "message": why});
        Self::new(StatusCode::BAD_REQUEST, body)
    }

    /// 400: there is no such place in a list.
    pub(crate) fn invalid_offset(offset: &str, why: &str) -> Self {
        let message = format!("'{offset}' is not a valid offset: {why}");
        Self::new(StatusCode::BAD_REQUEST, json!({"code": 7, "name": "invalid offset", "message": message}))
    }

    /// 400: a list cannot be filtered like that.
    pub(crate) fn invalid_option(option: &str, why: &str) -> Self {
        let message = format!("invalid option ({option}: {why})");
        let body =
            json!({"code": 11, "name": "invalid options", "message": message, "options": {option: why}});
        Self::new(StatusCode::BAD_REQUEST, body)
    }

    fn error(status: StatusCode, code: u8, name: &str, message: String, fields: Value) -> Self {
        Self::new(status, json!({"code": code, "name": name, "message": message, "fields": fields}))
    }
}

impl From<Violations> for Answer {
    fn from(violations: Violations) -> Self {
        Self::violation(violations)
    }
}

impl From<StoreError> for Answer {
    fn from(error: StoreError) -> Self {
        let status = match error {
            StoreError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            StoreError::Invalid { .. } => StatusCode::BAD_REQUEST,
            StoreError::Conflict { .. } => StatusCode::CONFLICT,
            StoreError::Unavailable { .. } | StoreError::Compacted { .. } | StoreError::Corrupt { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        Self::message(status, error.to_string())
    }
}
