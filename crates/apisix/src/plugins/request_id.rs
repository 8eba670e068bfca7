//! APISIX's `request-id`: what may be written, and what it means.

use std::sync::Arc;

use base::{Clock, Random};
use gateway::{error::ConfigError, plugin::Plugin};
use plugins::request_id::{Algorithm, Config, compile};
use serde_json::{Value, json};

use super::{
    CompileContext, DialectPlugin,
    conf::{flag, integer, text},
};
use crate::schema::Schema;

/// APISIX's own alphabet, `G` twice as there.
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIGKLMNOPQRSTUVWXYZ0123456789";

/// The plugin of the dialect.
pub struct RequestId {
    schema: Schema,
    random: Random,
    clock: Clock,
}

impl RequestId {
    /// With this source of names.
    pub fn new(random: Random, clock: Clock) -> Self {
        Self { schema: schema(), random, clock }
    }
}

impl DialectPlugin for RequestId {
    fn name(&self) -> &'static str {
        "request-id"
    }

    fn priority(&self) -> i64 {
        12015
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn compile(&self, conf: &Value, _cx: &CompileContext<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let range = conf.get("range_id").unwrap_or(&Value::Null);
        let config = Config {
            header: text(conf, "header_name").unwrap_or("X-Request-Id").to_owned(),
            echo: flag(conf, "include_in_response", true),
            keeps_clients: true,
            keeps_upstreams: true,
            algorithm: match text(conf, "algorithm") {
                Some("uuidv7") => Algorithm::UuidV7,
                Some("nanoid") => Algorithm::Nanoid,
                Some("ksuid") => Algorithm::Ksuid,
                Some("range_id") => Algorithm::Letters(
                    usize::try_from(integer(range, "length").unwrap_or(16)).unwrap_or(usize::MAX),
                    text(range, "char_set").unwrap_or(LETTERS).to_owned(),
                ),
                _ => Algorithm::Uuid,
            },
        };
        compile(config, &self.random, &self.clock)
    }
}

pub(crate) fn schema() -> Schema {
    Schema::object()
        .field(
            "header_name",
            Schema::string().length(1, 256).default("X-Request-Id").doc("the header that carries the name"),
        )
        .field(
            "include_in_response",
            Schema::boolean()
                .default(true)
                .doc("whether the answer has it too, unless the upstream set its own"),
        )
        .field(
            "algorithm",
            Schema::string()
                .choices(&["uuid", "uuidv7", "nanoid", "range_id", "ksuid"])
                .default("uuid")
                .doc("what new names look like"),
        )
        .field(
            "range_id",
            Schema::object()
                .field(
                    "length",
                    Schema::integer().at_least(6).at_most(256).default(16).doc("how many letters"),
                )
                .field("char_set", Schema::string().length(6, 256).default(LETTERS).doc("of which"))
                .default(json!({"length": 16, "char_set": LETTERS}))
                .doc("for the algorithm of that name"),
        )
}

#[cfg(test)]
mod tests {
    use base::UnixMillis;

    use super::*;
    use crate::plugins::tests::told;

    #[test]
    fn short_and_unknown_names_are_refused() {
        let plugin = || RequestId::new(Random::seeded(1), Clock::fixed(UnixMillis(0)));
        let told = |conf: Value| told(plugin(), conf);
        assert_eq!(
            told(json!({"algorithm": "range_id", "range_id": {"length": 6, "char_set": "abcdef"}})),
            "fine"
        );
        assert_eq!(
            told(json!({"algorithm": "snowflake"})),
            "property \"algorithm\" validation failed: matches none of the enum values"
        );
        assert!(
            told(json!({"range_id": {"char_set": "abc"}})).contains("string too short, expected at least 6")
        );
        assert!(told(json!({"range_id": {"length": 2}})).contains("expected 2 to be at least 6"));
        for bad in ["Content-Length", "X-Userinfo", "a b"] {
            let conf = json!({ "header_name": bad });
            assert!(plugin().compile(&conf, &CompileContext { resource: "routes/1" }).is_err(), "{bad}");
        }
    }
}
