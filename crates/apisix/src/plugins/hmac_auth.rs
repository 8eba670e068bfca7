//! APISIX's `hmac-auth`.

use std::{sync::Arc, time::Duration};

use base::{Clock, Secret};
use gateway::{consumer::CompiledCredential, error::ConfigError, plugin::Plugin};
use plugins::hmac_auth::{Algorithm, Config, compile, credential};
use serde_json::{Value, json};

use super::authentication::{Scheme, fallback, fields, hides, is_on, text};
use crate::schema::Schema;

const ALGORITHMS: &[&str] = &["hmac-sha1", "hmac-sha256", "hmac-sha512"];

/// APISIX's limit of bodies that are checked, in bytes.
const MAX_BODY: u64 = 64 << 20;

/// Consumers known by a secret with which they sign.
#[derive(Debug)]
pub struct HmacAuth {
    /// Tells the time.
    pub clock: Clock,
}

impl Scheme for HmacAuth {
    const NAME: &'static str = "hmac-auth";
    const PRIORITY: i64 = 2530;

    fn schema() -> Schema {
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
                Schema::boolean().default(false).doc(
                    "true: `Digest` must be `SHA-256=` and the body's digest in base64; with `digest` in `signed_headers` nobody \
                     on the way can replace both",
                ),
            )
            .field(
                "max_req_body_size",
                Schema::integer()
                    .at_least(1)
                    .default(MAX_BODY)
                    .doc("bytes of the longest body whose digest is checked; longer ones are 413"),
            );
        fields(schema, "hmac")
    }

    fn consumer_schema() -> Schema {
        Schema::object()
            .required(
                "key_id",
                Schema::string().length(1, 256).doc("what signatures call the consumer; no other has it"),
            )
            .required("secret_key", Schema::string().length(1, 256).secret().doc("what it signs with"))
    }

    fn compile_credential(conf: &Value) -> Result<CompiledCredential, ConfigError> {
        credential(&text(conf, "key_id", ""), &Secret::new(text(conf, "secret_key", "")))
    }

    fn compile(&self, conf: &Value) -> Result<Arc<dyn Plugin>, ConfigError> {
        let list = |name: &str| -> Option<Vec<String>> {
            let list = conf.get(name)?.as_array()?;
            Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        };
        let allowed = list("allowed_algorithms");
        let counts = |algorithm: &Algorithm| match &allowed {
            Some(allowed) => allowed.iter().any(|name| name == algorithm.name()),
            None => ALGORITHMS.contains(&algorithm.name()),
        };
        let limit = conf.get("max_req_body_size").and_then(Value::as_u64).unwrap_or(MAX_BODY);
        compile(Config {
            checked_body: is_on(conf, "validate_request_body")
                .then(|| usize::try_from(limit).unwrap_or(usize::MAX)),
            algorithms: Algorithm::ALL.into_iter().filter(counts).collect(),
            clock_skew: Duration::from_secs(conf.get("clock_skew").and_then(Value::as_u64).unwrap_or(300)),
            signed: list("signed_headers").unwrap_or_default(),
            hide: hides(conf),
            fallback: fallback(conf, "hmac"),
            clock: self.clock.clone(),
        })
    }
}
