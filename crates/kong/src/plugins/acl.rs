//! Kong's `acl`.

use std::sync::Arc;

use gateway::{error::ConfigError, plugin::Plugin};
use plugins::acl::{Config, List, compile};
use serde_json::{Map, Value};

use super::{
    DialectPlugin,
    authentication::{flag, texts},
};
use crate::schema::{Field, Schema};

/// The plugin of the dialect.
pub(super) struct Acl;

fn schema() -> Arc<Schema> {
    Arc::new(
        Schema::new()
            .field("allow", Field::strings().doc("groups that get in"))
            .field("deny", Field::strings().doc("groups that do not"))
            .field(
                "hide_groups_header",
                Field::boolean()
                    .required()
                    .default(false)
                    .doc("true: the upstream is not told of the groups"),
            )
            .field(
                "always_use_authenticated_groups",
                Field::boolean()
                    .required()
                    .default(false)
                    .doc("groups of `openid-connect` count before those of the consumer"),
            )
            .field(
                "include_consumer_groups",
                Field::boolean().silent().doc("whether the names of consumer groups are such groups, too"),
            ),
    )
}

const LISTS: &[&str] = &["config.allow", "config.deny"];

impl DialectPlugin for Acl {
    fn name(&self) -> &'static str {
        "acl"
    }

    fn priority(&self) -> i64 {
        950
    }

    fn takes_consumers(&self) -> bool {
        false
    }

    fn schema(&self) -> Arc<Schema> {
        schema()
    }

    fn rules(&self, entity: Schema) -> Schema {
        entity.only_one_of(LISTS).at_least_one_of(LISTS)
    }

    fn compile(&self, config: &Map<String, Value>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let groups =
            |field: &str| -> Vec<String> { texts(config, field).into_iter().map(str::to_owned).collect() };
        let list = match groups("allow") {
            allow if !allow.is_empty() => List::Allow(allow),
            _ => List::Deny(groups("deny")),
        };
        compile(Config {
            list,
            hide_groups: flag(config, "hide_groups_header", false),
            with_memberships: flag(config, "include_consumer_groups", false),
            prefer_authenticated: flag(config, "always_use_authenticated_groups", false),
        })
    }
}
