//! APISIX's `openid-connect`: what may be written, and what it means.
//!
//! A file for each group of attributes: its part of the schema, and its translation. Every attribute of APISIX 3.18 is known here. Those that this build does not implement are refused by name; those
//! whose APISIX default is not safe keep their shape, and their documentation says what holds instead.

mod bearer;
mod calls;
mod claim_schema;
mod claims;
mod client;
mod headers;
mod login;
mod proof;
mod session;
#[cfg(test)]
mod tests;
mod unsigned;

use std::{sync::Arc, time::Duration};

use base::Secret;
use gateway::{error::ConfigError, plugin::Plugin};
use jose::Alg;
use plugins::openid_connect::{Config, Services, Words, compile};
use serde_json::{Map, Value};

use super::{CompileContext, DialectPlugin};
use crate::schema::Schema;

/// Flat names that APISIX refuses, and what it wants in their place.
const FLAT_NAMES: [(&str, &str); 7] = [
    ("use_par", "par.enabled"),
    ("pushed_authorization_request_endpoint", "par.endpoint"),
    ("pushed_authorization_request_endpoint_auth_method", "par.endpoint_auth_method"),
    ("use_dpop", "dpop.enabled"),
    ("dpop_signing_alg", "dpop.signing_alg"),
    ("dpop_private_key", "dpop.private_key"),
    ("dpop_public_jwk", "dpop.public_jwk"),
];

/// The plugin of the dialect.
pub struct OpenidConnect {
    schema: Schema,
    services: Services,
}

impl OpenidConnect {
    /// The plugin, whose instances share `services`.
    pub fn new(services: Services) -> Self {
        Self { schema: schema(), services }
    }
}

impl DialectPlugin for OpenidConnect {
    fn name(&self) -> &'static str {
        "openid-connect"
    }

    fn priority(&self) -> i64 {
        2599
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn aliases(&self) -> &'static [(&'static str, &'static str)] {
        &[("relm", "realm")]
    }

    fn check_before_schema(&self, conf: &Map<String, Value>) -> Result<(), String> {
        check_client_secret(conf)?;
        let flat = FLAT_NAMES.iter().find(|(flat, _)| conf.contains_key(*flat));
        flat.map_or(Ok(()), |(flat, nested)| {
            Err(format!("property \"{flat}\" is not allowed, use \"{nested}\" instead"))
        })
    }

    fn check_after_schema(&self, conf: &Map<String, Value>) -> Result<(), String> {
        claim_schema::check(conf)?;
        client::check(conf)
    }

    fn compile(&self, conf: &Value, _cx: &CompileContext<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
        compile(config(conf)?, &self.services)
    }
}

/// A client without a secret must have another way to prove itself, or nothing to prove.
fn check_client_secret(conf: &Map<String, Value>) -> Result<(), String> {
    let on = |name: &str| conf.get(name).and_then(Value::as_bool).unwrap_or(false);
    let by_key = |name: &str| conf.get(name).and_then(Value::as_str) == Some("private_key_jwt");
    let needless = if on("bearer_only") {
        conf.contains_key("public_key") || on("use_jwks") || by_key("introspection_endpoint_auth_method")
    } else {
        by_key("token_endpoint_auth_method") || on("use_pkce")
    };
    if conf.contains_key("client_secret") || needless {
        Ok(())
    } else {
        Err("property \"client_secret\" is required".to_owned())
    }
}

pub(crate) fn schema() -> Schema {
    let schema = Schema::object()
        .required("client_id", Schema::string().length(1, 4096).doc("id of the client at the provider"))
        .field(
            "client_secret",
            Schema::string().secret().doc("secret of the client; also the key of HS* ID tokens"),
        )
        .required("discovery", Schema::string().doc("URL of the provider's discovery document"));
    let groups = [
        calls::fields as fn(Schema) -> Schema,
        client::fields,
        headers::fields,
        bearer::fields,
        claims::fields,
        claim_schema::fields,
        proof::fields,
        login::fields,
        unsigned::fields,
    ];
    groups.into_iter().fold(schema, |schema, fields| fields(schema))
}

/// The neutral configuration of a checked one.
fn config(conf: &Value) -> Result<Config, ConfigError> {
    let client_id = text(conf, "client_id").unwrap_or_default();
    let slack = conf.get("iat_slack").and_then(Value::as_u64);
    let alg = text(conf, "token_signing_alg_values_expected").and_then(|alg| alg.parse::<Alg>().ok());
    let bearer = bearer::is_asked_for(conf).then(|| bearer::bearer_config(conf, alg)).transpose()?;
    if bearer.is_none() {
        bearer::refuse_unused(conf)?;
    }
    Ok(Config {
        client_id,
        client_secret: text(conf, "client_secret").map(Secret::new),
        discovery: text(conf, "discovery").unwrap_or_default(),
        issuers: texts(conf.pointer("/claim_validator/issuer/valid_issuers")),
        calls: calls::calls(conf)?,
        alg,
        slack: Duration::from_secs(slack.unwrap_or(120)),
        expiry_leeway: Duration::from_secs(slack.unwrap_or(0)),
        required_scopes: texts(conf.get("required_scopes")),
        claim_rules: claims::claim_rules(conf, "claim_rules")?,
        credential: None,
        claim_headers: claims::claim_headers(conf)?,
        assertion: claims::assertion(conf)?,
        consumer: claims::consumer(conf)?,
        realm: text(conf, "realm").unwrap_or_else(|| "apisix".to_owned()),
        bearer,
        login: (!is_on(conf, "bearer_only", false)).then(|| login::login_config(conf)).transpose()?,
        searches_userinfo: false,
        claim_schema: conf.get("claim_schema").cloned(),
        headers: headers::headers(conf),
        words: Words::default(),
    })
}

fn text(conf: &Value, name: &str) -> Option<String> {
    conf.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn texts(list: Option<&Value>) -> Vec<String> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The members of an object whose values are plain, as text.
fn plain_members(object: Option<&Value>) -> Vec<(String, String)> {
    let members = object.and_then(Value::as_object).into_iter().flatten();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    members.map(|(name, value)| (name.clone(), text(value))).collect()
}

fn is_on(conf: &Value, name: &str, default: bool) -> bool {
    conf.get(name).and_then(Value::as_bool).unwrap_or(default)
}

fn seconds(conf: &Value, name: &str, default: u64) -> Duration {
    Duration::from_secs(conf.get(name).and_then(Value::as_u64).unwrap_or(default))
}
