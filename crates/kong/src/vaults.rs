//! `{vault://env/NAME}`: values that stand in the process's environment instead of the entity.

use std::{fmt, sync::Arc};

use serde_json::{Map, Value};

use crate::{catalog::View, entities::excerpt};

/// Reads a variable of the environment; `None`: there is none, or it is not for entities.
pub type Environment = dyn Fn(&str) -> Option<String> + Send + Sync;

/// What leads from references to values.
#[derive(Clone)]
pub(crate) struct Vaults {
    environment: Arc<Environment>,
}

impl Vaults {
    pub(crate) fn new(environment: Arc<Environment>) -> Self {
        Self { environment }
    }

    /// Puts values in the place of all references in `members`. One that leads nowhere is an error: what it stands for
    /// may be what protects the route.
    pub(crate) fn resolve(&self, view: View<'_>, members: &mut Map<String, Value>) -> Result<(), String> {
        for (name, member) in members {
            self.resolve_value(view, member).map_err(|why| format!("{name}: {why}"))?;
        }
        Ok(())
    }

    fn resolve_value(&self, view: View<'_>, value: &mut Value) -> Result<(), String> {
        match value {
            Value::String(text) => {
                if let Some(reference) = inside(text) {
                    let found = self.find(view, reference);
                    *text = found.ok_or_else(|| {
                        format!("the reference {{vault://{}}} leads nowhere", excerpt(reference))
                    })?;
                }
                Ok(())
            }
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.resolve_value(view, item)),
            Value::Object(members) => {
                members.values_mut().try_for_each(|member| self.resolve_value(view, member))
            }
            _ => Ok(()),
        }
    }

    /// `env/NAME`, `env/NAME/member` where the variable holds JSON, or the same with the prefix of a vault entity.
    fn find(&self, view: View<'_>, reference: &str) -> Option<String> {
        let (vault, resource) = reference.split_once('/')?;
        let (resource, member) = match resource.split_once('/') {
            Some((resource, member)) => (resource, Some(member)),
            None => (resource, None),
        };
        let prefix = match vault {
            "env" => "",
            other => view
                .vault(other)?
                .get("config")
                .and_then(|config| config.get("prefix")?.as_str())
                .unwrap_or_default(),
        };
        let name = format!("{prefix}{resource}").replace('-', "_").to_ascii_uppercase();
        let found = (self.environment)(&name)?;
        let Some(member) = member else { return Some(found) };
        let parsed = jose::parse_json(found.as_bytes(), 8).ok()?;
        parsed.get(member)?.as_str().map(str::to_owned)
    }
}

impl fmt::Debug for Vaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vaults")
    }
}

/// What a text refers to, if it is a reference.
fn inside(text: &str) -> Option<&str> {
    text.strip_prefix("{vault://")?.strip_suffix('}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        catalog::{Catalog, Entity},
        entities::Kind,
    };

    #[test]
    fn references_lead_to_the_environment_directly_and_through_vaults() {
        let vaults = Vaults::new(Arc::new(|name| match name {
            "MY_SECRET" => Some("s".to_owned()),
            "APP_KEY" => Some(r#"{"a": "in json"}"#.to_owned()),
            _ => None,
        }));
        let mut catalog = Catalog::default();
        let id = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0".to_owned();
        let value = json!({"id": id, "prefix": "app", "name": "env", "config": {"prefix": "APP_"}});
        catalog.put(Entity { kind: Kind::Vault, id, value, created: 1, modified: 1 });
        let resolved = |text: &str| {
            let mut members = Map::from_iter([("x".to_owned(), json!([text]))]);
            vaults.resolve(View::of(&catalog), &mut members).map(|()| members["x"][0].clone())
        };
        assert_eq!(resolved("{vault://env/my-secret}").unwrap(), "s");
        assert_eq!(resolved("{vault://app/key/a}").unwrap(), "in json");
        assert_eq!(resolved("plain {vault://env/x}").unwrap(), "plain {vault://env/x}");
        for bad in ["{vault://env/none}", "{vault://env}", "{vault://other/my-secret}", "{vault://app/key/b}"]
        {
            let why = resolved(bad).unwrap_err();
            assert!(why.starts_with("x: the reference {vault://"), "{why}");
        }
    }
}
