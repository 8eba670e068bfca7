//! Plugins: what happens to the requests of a route, a service, a consumer, a group of consumers, or all of them.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{stamped, tags, values};
use crate::schema::{Field, Schema};

/// The protocols a plugin works on unless it is told otherwise.
const PROTOCOLS: [&str; 4] = ["grpc", "grpcs", "http", "https"];

/// A plugin entity whose `config` is this; without one, whatever the plugin. `for_consumers`: whether it may be bound
/// to those who send requests; what finds out who they are may not.
pub(crate) fn schema(config: Option<Arc<Schema>>, for_consumers: bool) -> Schema {
    let config = config.map_or_else(Field::any, |config| Field::record(config).required());
    let bound = |field: Field| if for_consumers { field } else { field.absent() };
    stamped()
        .field("name", Field::string().required().doc("which plugin"))
        .field(
            "instance_name",
            Field::string().unique().text(values::name).doc("stands for the id in paths; unique"),
        )
        .field("route", Field::foreign("routes").doc("works on this route's requests only"))
        .field(
            "service",
            Field::foreign("services").doc("works on the requests of this service's routes only"),
        )
        .field("consumer", bound(Field::foreign("consumers")).doc("works on this consumer's requests only"))
        .field(
            "consumer_group",
            bound(Field::foreign("consumer_groups"))
                .doc("works on the requests of this group's consumers only"),
        )
        .field("config", config)
        .field(
            "protocols",
            Field::set(Field::string().one_of(&PROTOCOLS)).required().default(json!(PROTOCOLS)),
        )
        .field("enabled", Field::boolean().required().default(true).doc("false: as if it were not there"))
        .field("tags", tags())
        .check_entity(works_on_http)
        .check_entity(one_kind_of_caller)
}

/// Every route here serves `http` and `https`; a plugin that left one of them alone would leave it unprotected.
fn works_on_http(plugin: &Map<String, Value>) -> Result<(), String> {
    let protocols = plugin.get("protocols").and_then(Value::as_array);
    if protocols.is_some_and(|all| ["http", "https"].iter().all(|one| all.contains(&json!(one)))) {
        return Ok(());
    }
    Err("'protocols' without both 'http' and 'https' is not implemented in this build".to_owned())
}

fn one_kind_of_caller(plugin: &Map<String, Value>) -> Result<(), String> {
    let set = |name: &str| plugin.get(name).is_some_and(|found| !found.is_null());
    if set("consumer") && set("consumer_group") {
        return Err("only one of these fields may be set: 'consumer', 'consumer_group'".to_owned());
    }
    Ok(())
}
