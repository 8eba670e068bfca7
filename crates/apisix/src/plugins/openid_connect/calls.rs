//! How the provider is called.

use std::time::Duration;

use gateway::error::ConfigError;
use plugins::openid_connect::Calls;
use rp::provider::TokenAuth;
use serde_json::Value;

use super::{seconds, text};
use crate::schema::Schema;

const AUTH_METHODS: &[&str] = &["client_secret_basic", "client_secret_post"];
const ABSENT_AUTH_METHODS: &[&str] = &["private_key_jwt", "client_secret_jwt"];

pub(super) fn fields(schema: Schema) -> Schema {
    let auth = |doc: &'static str| {
        Schema::string()
            .choices(AUTH_METHODS)
            .absent_choices(ABSENT_AUTH_METHODS)
            .default("client_secret_basic")
            .doc(doc)
    };
    let verify = Schema::any_of(vec![Schema::boolean(), Schema::string().choices(&["no"])]);
    schema
        .field(
            "realm",
            Schema::string().default("apisix").doc("realm of WWW-Authenticate; `relm` is understood too"),
        )
        .field(
            "timeout",
            Schema::integer()
                .at_least(1)
                .default(3)
                .doc("seconds a call to the provider may take; a multiple of 1000 counts as milliseconds"),
        )
        .field(
            "ssl_verify",
            verify.default(true).doc("whether the provider's certificates are verified; \"no\" is false"),
        )
        .field("token_endpoint_auth_method", auth("client authentication at the token endpoint"))
        .field(
            "introspection_endpoint_auth_method",
            auth("client authentication at the introspection endpoint"),
        )
        .field(
            "jwk_expires_in",
            Schema::integer().at_least(1).default(86_400).doc("seconds a key set is used at most"),
        )
}

pub(super) fn calls(conf: &Value) -> Result<Calls, ConfigError> {
    let auth = |name: &str| match text(conf, name) {
        Some(method) => TokenAuth::parse(&method).map_err(|error| ConfigError::new(name, error.to_string())),
        None => Ok(TokenAuth::Basic),
    };
    let timeout = match conf.get("timeout").and_then(Value::as_u64).unwrap_or(3) {
        // Older configurations have milliseconds here.
        millis if millis >= 1000 && millis % 1000 == 0 => Duration::from_millis(millis),
        seconds => Duration::from_secs(seconds),
    };
    let verify_tls = conf.get("ssl_verify").is_none_or(|verify| verify.as_bool().unwrap_or(false));
    Ok(Calls {
        timeout,
        verify_tls,
        jwks_ttl: seconds(conf, "jwk_expires_in", 86_400),
        token_auth: auth("token_endpoint_auth_method")?,
        introspection_auth: auth("introspection_endpoint_auth_method")?,
    })
}
