//! APISIX's `multi-auth`.

use std::sync::Arc;

use gateway::{error::ConfigError, plugin::Plugin};
use plugins::multi_auth::compile;
use serde_json::{Map, Value};

use super::{CompileContext, DialectPlugin, Registry};
use crate::schema::{Schema, excerpt};

/// The plugin of the dialect.
pub struct MultiAuth {
    schema: Schema,
    plugins: Registry,
}

impl MultiAuth {
    /// The plugin, which can try those of `plugins` that authenticate.
    pub fn new(plugins: Registry) -> Self {
        Self { schema: schema(), plugins }
    }
}

/// What may be written on a route.
pub(crate) fn schema() -> Schema {
    let plugin = Schema::object().open();
    Schema::object().required(
        "auth_plugins",
        Schema::array(plugin)
            .at_least(2)
            .doc("authentication plugins, each an object with its name and configuration; the first that succeeds counts"),
    )
}

/// Names and configurations, in order.
fn listed(conf: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let list = conf.get("auth_plugins").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_object).flatten()
}

impl DialectPlugin for MultiAuth {
    fn name(&self) -> &'static str {
        "multi-auth"
    }

    fn priority(&self) -> i64 {
        2600
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn authenticates(&self) -> bool {
        true
    }

    fn check_after_schema(&self, conf: &Map<String, Value>) -> Result<(), String> {
        for (name, conf) in listed(&Value::Object(conf.clone())) {
            match self.plugins.find(name) {
                None => return Err(format!("{} plugin did not found", excerpt(name))),
                Some(plugin) if !plugin.authenticates() => {
                    return Err(format!("{} plugin is not supported", excerpt(name)));
                }
                Some(_) => {
                    self.plugins
                        .check_for_route(name, conf)
                        .map_err(|error| format!("plugin {name} {error}"))?;
                }
            }
        }
        Ok(())
    }

    fn compile(&self, conf: &Value, cx: &CompileContext<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let mut compiled = Vec::new();
        for (name, conf) in listed(conf) {
            let prepared =
                self.plugins.prepare(name, conf).map_err(|error| ConfigError::new("auth_plugins", error))?;
            if !prepared.disabled {
                let one = prepared.compile(cx).map_err(|error| ConfigError::new("auth_plugins", error))?;
                compiled.push(prepared.terms.apply(one));
            }
        }
        compile(compiled)
    }
}
