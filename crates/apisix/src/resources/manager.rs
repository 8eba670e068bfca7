//! Secret managers, which hold what `$secret://` stands for, and the metadata of plugins.

use std::sync::LazyLock;

use serde_json::Value;

use super::{Description, id_text, with_times};
use crate::{plugins::Registry, references, schema::Schema};

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

fn secret() -> Schema {
    let id = Schema::string().length(1, 128).doc("`vault/` and the id in the path");
    with_times(references::vault_schema().field("id", id))
}

/// What every plugin's metadata may have; each plugin adds its own.
fn plugin_metadata() -> Schema {
    with_times(Schema::object().field("id", Schema::string().length(1, 128).doc("name of the plugin")))
}

/// Why a secret manager of this name cannot be written.
pub(crate) fn check_manager(manager: &str) -> Result<(), String> {
    match manager {
        "vault" => Ok(()),
        "aws" | "gcp" => Err(format!("secret manager {manager} is not implemented in this build")),
        _ => Err(format!("invalid secret manager: {}", crate::schema::excerpt(manager))),
    }
}

/// Manager and id of a secret manager's whole id: `vault/1`.
pub(crate) fn manager_of(id: &str) -> Option<(&str, &str)> {
    id.split_once('/').filter(|(manager, id)| !manager.is_empty() && super::is_id(id))
}

/// A stored manager says by its id which one it is.
pub(super) fn check_secret(value: &Value) -> Result<(), String> {
    let id = value.get("id").and_then(id_text).unwrap_or_default();
    let (manager, _) =
        manager_of(&id).ok_or_else(|| format!("invalid secret id: {}", crate::schema::excerpt(&id)))?;
    check_manager(manager)
}

/// Metadata are a plugin's, in its own words.
pub(super) fn check_metadata(registry: &Registry, value: &Value) -> Result<(), String> {
    let name = value.get("id").and_then(Value::as_str).unwrap_or_default();
    let plugin = registry.find(name).ok_or("invalid plugin name")?;
    let schema = with_times(plugin.metadata_schema().cloned().unwrap_or_else(Schema::object))
        .field("id", Schema::string());
    schema.validate(value).map_err(|error| format!("invalid configuration: {error}"))
}
