use std::sync::Arc;

use serde_json::{Value, json};

use super::{DialectPlugin, Registry};

/// What a client is told who writes `conf`: the text behind the prefix that names the plugin, or `fine`.
pub(super) fn told(plugin: impl DialectPlugin + 'static, conf: Value) -> String {
    let name = plugin.name();
    let plugins = json!({ name: conf });
    let registry = Registry::new(vec![Arc::new(plugin)]);
    let prefix = format!("failed to check the configuration of plugin {name} err: ");
    match registry.check(plugins.as_object().unwrap()) {
        Ok(()) => "fine".to_owned(),
        Err(error) => error.strip_prefix(&prefix).unwrap_or_else(|| panic!("{error}")).to_owned(),
    }
}
