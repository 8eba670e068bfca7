//! What decK's files say beside the entities: labels and values that all of them have, and configurations that plugins
//! share.

use serde_json::{Map, Value, json};

use crate::entities::Kind;

const CONFIG: &str = "config";
/// By this a plugin names the configuration that it begins with.
const NAMED: &str = "_config";

/// What such a file says of all entities.
#[derive(Clone, Debug, Default)]
pub(super) struct Deck {
    /// Labels of every entity.
    tags: Vec<Value>,
    /// Values of fields that an entity leaves out, by the singular of its kind.
    defaults: Map<String, Value>,
    /// Configurations of plugins, by name.
    pub(super) configs: Map<String, Value>,
}

impl Deck {
    /// Reads `_info`; the error is what is wrong with it.
    pub(super) fn read_info(&mut self, info: Value) -> Result<(), Value> {
        let Value::Object(members) = info else { return Err(json!("expected a record")) };
        let mut wrong = Map::new();
        for (name, value) in members {
            let why = match (name.as_str(), value) {
                (_, Value::Null) => continue,
                ("select_tags", Value::Array(tags)) if tags.iter().all(Value::is_string) => {
                    self.tags = tags;
                    continue;
                }
                ("select_tags", _) => "expected an array",
                ("defaults", Value::Object(defaults)) => {
                    let known = |name: &String| Kind::ALL.iter().any(|kind| singular(*kind) == name);
                    if let Some(other) = defaults.keys().find(|name| !known(name)) {
                        wrong.insert(name, json!({ other.as_str(): "unknown field" }));
                        continue;
                    }
                    self.defaults = defaults;
                    continue;
                }
                ("defaults", _) => "expected a record",
                _ => "not implemented in this build",
            };
            wrong.insert(name, json!(why));
        }
        if wrong.is_empty() { Ok(()) } else { Err(Value::Object(wrong)) }
    }

    /// Completes an entity by what is said of all; the error is what is wrong with it.
    pub(super) fn complete(&self, kind: Kind, entity: &mut Map<String, Value>) -> Result<(), Value> {
        if kind == Kind::Plugin
            && let Some(name) = entity.shift_remove(NAMED)
        {
            let shared = name.as_str().and_then(|name| self.configs.get(name)).and_then(Value::as_object);
            let shared = shared.ok_or_else(|| json!({ NAMED: "it is not among the _plugin_configs" }))?;
            let config = entity.entry(CONFIG).or_insert_with(|| json!({}));
            if let Value::Object(config) = config {
                fill(config, shared);
            }
        }
        if let Some(Value::Object(defaults)) = self.defaults.get(singular(kind)) {
            fill(entity, defaults);
        }
        if !self.tags.is_empty() && kind.schema().fields.contains_key("tags") {
            let tags = entity.entry("tags").or_insert(Value::Null);
            if tags.is_null() {
                *tags = json!([]);
            }
            if let Value::Array(own) = tags {
                let more: Vec<Value> = self.tags.iter().filter(|tag| !own.contains(tag)).cloned().collect();
                own.extend(more);
            }
        }
        Ok(())
    }
}

fn singular(kind: Kind) -> &'static str {
    let plural = kind.plural();
    plural.strip_suffix('s').unwrap_or(plural)
}

/// Puts in what is not there, also within records.
fn fill(members: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (name, value) in more {
        match (members.get_mut(name), value) {
            (None, value) => drop(members.insert(name.clone(), value.clone())),
            (Some(Value::Object(own)), Value::Object(more)) => fill(own, more),
            (Some(_), _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deck(info: Value) -> Deck {
        let mut deck = Deck::default();
        deck.read_info(info).unwrap();
        deck
    }

    #[test]
    fn what_an_entity_leaves_out_is_what_is_said_of_all() {
        let mut deck = deck(json!({
            "select_tags": ["a", "b"],
            "defaults": {"service": {"port": 81, "retries": 1}, "upstream": {"healthchecks": {"threshold": 5}}},
        }));
        deck.configs = json!({"short": {"minute": 1, "redis": {"port": 1}}}).as_object().unwrap().clone();
        for (kind, entity, completed) in [
            (
                Kind::Service,
                json!({"port": 80, "tags": ["b"]}),
                json!({"port": 80, "tags": ["b", "a"], "retries": 1}),
            ),
            (
                Kind::Upstream,
                json!({"healthchecks": {"active": {}}}),
                json!({"healthchecks": {"active": {}, "threshold": 5}, "tags": ["a", "b"]}),
            ),
            (Kind::Member, json!({}), json!({})),
            (
                Kind::Plugin,
                json!({"_config": "short", "config": {"minute": 2, "redis": {"host": "h"}}}),
                json!({"config": {"minute": 2, "redis": {"host": "h", "port": 1}}, "tags": ["a", "b"]}),
            ),
        ] {
            let mut value = entity.as_object().unwrap().clone();
            deck.complete(kind, &mut value).unwrap();
            assert_eq!(Value::Object(value), completed, "{entity}");
        }
        let mut lost = json!({"_config": "none"}).as_object().unwrap().clone();
        assert!(deck.complete(Kind::Plugin, &mut lost).is_err());
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (info, field) in [
            (json!({"select_tags": "a"}), "select_tags"),
            (json!({"defaults": {"services": {}}}), "defaults"),
            (json!({"default_lookup_tags": {"services": ["a"]}}), "default_lookup_tags"),
        ] {
            let wrong = Deck::default().read_info(info.clone()).unwrap_err();
            assert!(wrong.get(field).is_some(), "{info}: {wrong}");
        }
    }
}
