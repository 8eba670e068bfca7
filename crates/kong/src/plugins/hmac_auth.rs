//! Kong's `hmac-auth`.

use std::{sync::Arc, time::Duration};

use base::Clock;
use gateway::{error::ConfigError, plugin::Plugin};
use plugins::signed_request::{Algorithm, Config, compile};
use serde_json::{Map, Value, json};

use super::{
    DialectPlugin,
    authentication::{fallback, fields, flag, texts},
};
use crate::schema::{Field, Schema};

/// The plugin of the dialect, which tells the time by a clock.
pub(super) struct HmacAuth(pub(super) Clock);

/// Bytes of a body that has a digest.
const MAX_BODY: usize = 8 << 20;
const ALGORITHMS: [&str; 4] = ["hmac-sha1", "hmac-sha256", "hmac-sha384", "hmac-sha512"];

fn skew(seconds: &Value) -> Result<(), String> {
    match seconds.as_f64() {
        Some(seconds) if seconds <= 0.0 => Err("value must be greater than 0".to_owned()),
        Some(seconds) if seconds > 31_536_000.0 => {
            Err("more than a year is not implemented in this build".to_owned())
        }
        _ => Ok(()),
    }
}

fn schema() -> Arc<Schema> {
    let schema = Schema::new()
        .field(
            "clock_skew",
            Field::number().default(300).value(skew).doc("seconds that the request's date may be off"),
        )
        .field(
            "validate_request_body",
            Field::boolean().required().default(false).doc(
                "whether the body must be the one of a signed `Digest: SHA-256=…`, or empty without one",
            ),
        )
        .field(
            "enforce_headers",
            Field::array(Field::string())
                .default(json!([]))
                .doc("headers that must be signed; the date always must"),
        )
        .field(
            "algorithms",
            Field::array(Field::string().one_of(&ALGORITHMS))
                .default(json!(ALGORITHMS))
                .doc("those that count"),
        );
    fields(schema, None)
}

impl DialectPlugin for HmacAuth {
    fn name(&self) -> &'static str {
        "hmac-auth"
    }

    fn priority(&self) -> i64 {
        1030
    }

    fn authenticates(&self) -> bool {
        true
    }

    fn schema(&self) -> Arc<Schema> {
        schema()
    }

    fn compile(&self, config: &Map<String, Value>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let named = texts(config, "algorithms");
        let skew = config.get("clock_skew").and_then(Value::as_f64).unwrap_or(300.0);
        compile(Config {
            algorithms: Algorithm::ALL.into_iter().filter(|it| named.contains(&it.name())).collect(),
            clock_skew: Duration::try_from_secs_f64(skew)
                .map_err(|error| ConfigError::new("clock_skew", error.to_string()))?,
            signed: texts(config, "enforce_headers").into_iter().map(str::to_owned).collect(),
            checked_body: flag(config, "validate_request_body", false).then_some(MAX_BODY),
            hide: flag(config, "hide_credentials", false),
            fallback: fallback(config),
            clock: self.0.clone(),
        })
    }
}
