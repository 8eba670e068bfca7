//! Secret managers, which hold what `$secret://` stands for, and the metadata of plugins.

use std::sync::LazyLock;

use serde_json::Value;

use super::{Description, Kind, id_text, with_times};
use crate::{
    plugins::Registry,
    references::{self, ManagerKind},
    schema::{Schema, excerpt},
};

pub(super) static SECRET: Description = Description {
    plural: "secrets",
    word: "secret",
    schema_name: "secret",
    schema: LazyLock::new(secret),
    posts: false,
    patches: true,
    references: &[],
};

pub(super) static PLUGIN_METADATA: Description = Description {
    plural: "plugin_metadata",
    word: "plugin_metadata",
    schema_name: "plugin_metadata",
    schema: LazyLock::new(plugin_metadata),
    posts: false,
    patches: false,
    references: &[],
};

/// What every secret manager may have; each kind of them adds its own.
fn secret() -> Schema {
    with_times(
        Schema::object()
            .field("id", Schema::string().length(1, 128).doc("kind and id, as in the path: `vault/1`")),
    )
    .open()
}

/// What may be written of a secret manager of this kind.
pub(crate) fn secret_of(kind: ManagerKind) -> Schema {
    let id = Schema::string().length(1, 128).doc("kind and id, as in the path");
    with_times(references::schema_of(kind).field("id", id))
}

/// What every plugin's metadata may have; each plugin adds its own.
fn plugin_metadata() -> Schema {
    with_times(Schema::object().field("id", Schema::string().length(1, 128).doc("name of the plugin")))
}

/// Why a secret manager of this name cannot be written.
pub(crate) fn check_manager(manager: &str) -> Result<(), String> {
    ManagerKind::named(manager)
        .map(drop)
        .ok_or_else(|| format!("invalid secret manager: {}", excerpt(manager)))
}

/// Manager and id of a secret manager's whole id: `vault/1`.
pub(crate) fn manager_of(id: &str) -> Option<(&str, &str)> {
    id.split_once('/').filter(|(manager, id)| !manager.is_empty() && super::is_id(id))
}

/// A resource as the Admin API shows it: a plugin's metadata are what was written and nothing else, as in APISIX; their
/// name is in the key.
pub(crate) fn answered(kind: Kind, mut value: Value) -> Value {
    if let (Kind::PluginMetadata, Some(members)) = (kind, value.as_object_mut()) {
        for own in ["id", "create_time", "update_time"] {
            members.shift_remove(own);
        }
    }
    value
}

/// A stored manager says by its id which one it is.
pub(super) fn check_secret(value: &Value) -> Result<(), String> {
    static SCHEMAS: LazyLock<[(ManagerKind, Schema); 3]> =
        LazyLock::new(|| ManagerKind::ALL.map(|kind| (kind, secret_of(kind))));
    let id = value.get("id").and_then(id_text).unwrap_or_default();
    let (manager, _) = manager_of(&id).ok_or_else(|| format!("invalid secret id: {}", excerpt(&id)))?;
    check_manager(manager)?;
    let schema = SCHEMAS.iter().find(|(kind, _)| kind.name() == manager).map(|(_, schema)| schema);
    schema
        .map_or(Ok(()), |schema| schema.validate(value))
        .map_err(|error| format!("invalid configuration: {error}"))
}

/// Metadata are a plugin's, in its own words.
pub(super) fn check_metadata(registry: &Registry, value: &Value) -> Result<(), String> {
    let name = value.get("id").and_then(Value::as_str).unwrap_or_default();
    let plugin = registry.find(name).ok_or("invalid plugin name")?;
    let schema = with_times(plugin.metadata_schema().cloned().unwrap_or_else(Schema::object))
        .field("id", Schema::string());
    schema.validate(value).map_err(|error| format!("invalid configuration: {error}"))
}
