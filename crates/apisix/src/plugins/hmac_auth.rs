//! APISIX's `hmac-auth`.

use std::{sync::Arc, time::Duration};

use base::{Clock, Secret};
use gateway::{consumer::CompiledCredential, error::ConfigError, plugin::Plugin};
use plugins::hmac_auth::{Algorithm, Config, compile, credential};
use serde_json::{Value, json};

use super::{
    CompileContext, DialectPlugin,
    authentication::{fallback, fields, hides, text},
};
use crate::schema::Schema;

const ALGORITHMS: &[&str] = &["hmac-sha1", "hmac-sha256", "hmac-sha512"];

/// The plugin of the dialect.
pub struct HmacAuth {
    schema: Schema,
    consumer: Schema,
    clock: Clock,
}

impl HmacAuth {
    /// The plugin, which tells the time by `clock`.
    pub fn new(clock: Clock) -> Self {
        Self { schema: schema(), consumer: consumer_schema(), clock }
    }
}

/// What may be written on a route.
pub(crate) fn schema() -> Schema {
    let algorithms = Schema::array(Schema::string().choices(ALGORITHMS)).at_least(1).unique();
    let signed = Schema::array(Schema::string().length(1, 50)).at_least(1).at_most(64);
    let schema = Schema::object()
        .field("allowed_algorithms", algorithms.default(json!(ALGORITHMS)).doc("algorithms that count"))
        .field(
            "clock_skew",
            Schema::integer()
                .at_least(1)
                .at_most(86400)
                .default(300)
                .doc("seconds that `Date` may be from the gate's time"),
        )
        .field(
            "signed_headers",
            signed
                .default(json!(["date"]))
                .doc("headers, or `@request-target`, that must be signed; `date` always"),
        )
        .field(
            "validate_request_body",
            Schema::boolean()
                .default(false)
                .unimplemented_except(false)
                .doc("whether the body's digest is checked"),
        )
        .field("max_req_body_size", Schema::integer().unimplemented().doc("largest body that is checked"));
    fields(schema, "hmac")
}

/// What may be written in a consumer.
pub(crate) fn consumer_schema() -> Schema {
    Schema::object()
        .required(
            "key_id",
            Schema::string().length(1, 256).doc("what signatures call the consumer; no other has it"),
        )
        .required("secret_key", Schema::string().length(1, 256).secret().doc("what it signs with"))
}

impl DialectPlugin for HmacAuth {
    fn name(&self) -> &'static str {
        "hmac-auth"
    }

    fn priority(&self) -> i64 {
        2530
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn authenticates(&self) -> bool {
        true
    }

    fn consumer_schema(&self) -> Option<&Schema> {
        Some(&self.consumer)
    }

    fn compile_credential(&self, conf: &Value) -> Result<CompiledCredential, ConfigError> {
        credential(&text(conf, "key_id", ""), &Secret::new(text(conf, "secret_key", "")))
    }

    fn compile(&self, conf: &Value, _cx: &CompileContext<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let list = |name: &str| -> Option<Vec<String>> {
            let list = conf.get(name)?.as_array()?;
            Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        };
        let allowed = list("allowed_algorithms");
        let counts = |algorithm: &Algorithm| {
            allowed.as_ref().is_none_or(|allowed| allowed.iter().any(|name| name == algorithm.name()))
        };
        compile(Config {
            algorithms: Algorithm::ALL.into_iter().filter(counts).collect(),
            clock_skew: Duration::from_secs(conf.get("clock_skew").and_then(Value::as_u64).unwrap_or(300)),
            signed: list("signed_headers").unwrap_or_default(),
            hide: hides(conf),
            fallback: fallback(conf, "hmac"),
            clock: self.clock.clone(),
        })
    }
}
