//! Fields that Kong's authentication plugins have in common.

use std::sync::Arc;

use plugins::{Fallback, Realm};
use serde_json::{Map, Value};

use crate::schema::{Field, Schema};

/// `hide_credentials`, `anonymous`, `run_on_preflight` and `realm`.
pub(super) fn fields(schema: Schema, realm: Option<&'static str>) -> Arc<Schema> {
    let realm = match realm {
        Some(default) => Field::string().default(default),
        None => Field::string(),
    };
    Arc::new(
        schema
            .field(
                "hide_credentials",
                Field::boolean()
                    .required()
                    .default(false)
                    .doc("true: the upstream does not see the credential"),
            )
            .field(
                "anonymous",
                Field::string()
                    .doc("id or name of the consumer that requests without a good credential are taken for"),
            )
            .field("realm", realm.text(printable).doc("realm of the challenge")),
    )
}

/// For plugins that let preflight requests be asked, too.
pub(super) fn preflight(schema: Schema) -> Schema {
    schema.field(
        "run_on_preflight",
        Field::boolean().required().default(true).doc("false: `OPTIONS` passes without a credential"),
    )
}

fn printable(text: &str) -> Result<(), String> {
    let good = text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && !b"\"\\".contains(&byte));
    if good { Ok(()) } else { Err("it must be printable ASCII without quotes and backslashes".to_owned()) }
}

/// What happens to requests without a good credential.
pub(super) fn fallback(config: &Map<String, Value>) -> Fallback {
    let realm = text(config, "realm").map_or(Realm::Unnamed, |realm| Realm::Named(realm.to_owned()));
    Fallback {
        realm,
        anonymous: text(config, "anonymous").map(str::to_owned),
        alternatives: true,
        passes_preflight: !flag(config, "run_on_preflight", true),
    }
}

pub(super) fn text<'a>(config: &'a Map<String, Value>, field: &str) -> Option<&'a str> {
    config.get(field)?.as_str()
}

pub(super) fn texts<'a>(config: &'a Map<String, Value>, field: &str) -> Vec<&'a str> {
    config.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

pub(super) fn flag(config: &Map<String, Value>, field: &str, unset: bool) -> bool {
    config.get(field).and_then(Value::as_bool).unwrap_or(unset)
}
