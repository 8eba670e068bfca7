//! Routes: which requests go to a service.

use serde_json::{Map, Value, json};

use super::{stamped, tags, values};
use crate::schema::{Field, Schema};

/// What a route needs one of.
const MATCHED: [&str; 4] = ["methods", "hosts", "headers", "paths"];

pub(super) fn schema() -> Schema {
    stamped()
        .field("name", Field::string().text(values::name).doc("stands for the id in paths; unique"))
        .field(
            "protocols",
            Field::set(Field::string())
                .required()
                .default(json!(["http", "https"]))
                .fewest(1)
                .unimplemented(),
        )
        .field("methods", Field::set(Field::string().text(values::method)).doc("any of these methods"))
        .field(
            "hosts",
            Field::array(Field::string().text(values::host_pattern))
                .doc("any of these hosts, `*.example.com` too"),
        )
        .field(
            "paths",
            Field::array(Field::string().text(values::router_path))
                .doc("any of these beginnings of the path"),
        )
        .field("headers", Field::opaque())
        .field(
            "https_redirect_status_code",
            Field::integer()
                .required()
                .default(426)
                .one_of_numbers(&[426, 301, 302, 307, 308])
                .unimplemented(),
        )
        .field("regex_priority", Field::integer().default(0).unimplemented())
        .field(
            "strip_path",
            Field::boolean().required().default(true).doc("whether the matched path is taken off"),
        )
        .field("path_handling", Field::string().default("v0").one_of(&["v0", "v1"]).unimplemented())
        .field(
            "preserve_host",
            Field::boolean().required().default(false).doc("whether the upstream sees the client's Host"),
        )
        .field(
            "request_buffering",
            Field::boolean().required().default(true).doc("either way, bodies are streamed"),
        )
        .field(
            "response_buffering",
            Field::boolean().required().default(true).doc("either way, bodies are streamed"),
        )
        .field("snis", Field::strings().unimplemented())
        .field("sources", Field::opaque())
        .field("destinations", Field::opaque())
        .field("tags", tags())
        .field("service", Field::foreign().doc("where its requests go"))
        .check_entity(matches_something)
}

fn matches_something(route: &Map<String, Value>) -> Result<(), String> {
    let set = |name: &str| route.get(name).and_then(Value::as_array).is_some_and(|items| !items.is_empty());
    if MATCHED.into_iter().any(set) {
        return Ok(());
    }
    Err("must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https'"
        .to_owned())
}
