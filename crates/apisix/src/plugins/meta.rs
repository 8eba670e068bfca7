//! `_meta`: what APISIX lets every plugin's configuration say beside the plugin's own words.

use std::sync::LazyLock;

use expr::Expression;
use gateway::condition::{Refusal, Terms};
use serde_json::{Map, Value, json};

use super::wrong;
use crate::{resources::refuse_references, schema::Schema};

/// Its name among a configuration's members.
pub(crate) const NAME: &str = "_meta";

static SCHEMA: LazyLock<Schema> = LazyLock::new(schema);

/// What may be written.
pub(crate) fn schema() -> Schema {
    Schema::object()
        .field("disable", Schema::boolean().default(false).doc("true: as if the plugin were not there"))
        .field(
            "filter",
            Schema::array(Schema::any())
                .doc("`vars` that a request must match for the plugin to run on it; found out before its first phase"),
        )
        .field(
            "error_response",
            Schema::any()
                .check(is_text_or_object)
                .doc("body of the plugin's answers of 400 and more: text as it is, or an object as JSON"),
        )
        .field(
            "priority",
            Schema::integer().doc("runs at this priority in place of the plugin's own"),
        )
        .field("pre_function", Schema::string().unimplemented().doc("Lua"))
}

/// As JSON Schema.
pub(crate) fn json_schema() -> Value {
    let mut schema = SCHEMA.to_json();
    if let Some(refusal) = schema.pointer_mut("/properties/error_response").and_then(Value::as_object_mut) {
        refusal.insert("oneOf".to_owned(), json!([{"type": "string"}, {"type": "object"}]));
    }
    schema
}

fn is_text_or_object(value: &Value) -> Result<(), String> {
    if value.is_string() || value.is_object() {
        return Ok(());
    }
    // APISIX's text.
    Err("value should match only one schema, but matches none".to_owned())
}

/// What `_meta` of a configuration says.
#[derive(Default)]
pub(super) struct Meta {
    pub(super) disabled: bool,
    pub(super) priority: Option<i64>,
    pub(super) terms: Terms,
}

impl Meta {
    /// Takes it out of the configuration of `plugin`; the error is the whole text for the client.
    pub(super) fn take(plugin: &str, conf: &mut Map<String, Value>) -> Result<Self, String> {
        let Some(meta) = conf.shift_remove(NAME) else { return Ok(Self::default()) };
        let checked = SCHEMA.validate(&meta);
        checked.map_err(|error| wrong(plugin, &format!("property \"{NAME}\" validation failed: {error}")))?;
        refuse_references(&meta, NAME).map_err(|error| wrong(plugin, &error))?;
        let conditions = meta.get("filter").filter(|filter| *filter != &json!([]));
        let when = conditions.map(Expression::compile_with_answers).transpose();
        // APISIX's text, which names neither plugin nor place.
        let when =
            when.map_err(|error| format!("failed to validate the 'vars' expression: {}", error.kind))?;
        Ok(Self {
            disabled: meta.get("disable").and_then(Value::as_bool).unwrap_or(false),
            priority: meta.get("priority").and_then(Value::as_i64),
            terms: Terms { when, refusal: meta.get("error_response").map(refusal) },
        })
    }

    /// Whether it says more than that the plugin is switched off.
    pub(super) fn is_about_running(&self) -> bool {
        self.priority.is_some() || self.terms.when.is_some() || self.terms.refusal.is_some()
    }
}

fn refusal(said: &Value) -> Refusal {
    match said.as_str() {
        Some(text) => Refusal { body: text.to_owned().into(), media_type: "text/plain; charset=utf-8" },
        None => Refusal { body: format!("{said}\n").into(), media_type: "application/json" },
    }
}
