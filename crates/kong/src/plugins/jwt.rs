//! Kong's `jwt`.

use std::{borrow::Cow, sync::Arc, time::Duration};

use base::Clock;
use gateway::{error::ConfigError, plugin::Plugin};
use http::HeaderName;
use plugins::{
    Places, Refusal,
    jwt_auth::{Config, Fault, compile},
};
use serde_json::{Map, Value, json};

use super::{
    DialectPlugin,
    authentication::{fallback, fields, preflight, text, texts},
};
use crate::schema::{Field, Schema, Then};

/// The plugin of the dialect, which tells the time by a clock.
pub(super) struct Jwt(pub(super) Clock);

/// A year, in seconds: Kong's longest.
const LONGEST: i64 = 31_536_000;

fn schema() -> Arc<Schema> {
    let schema = Schema::new()
        .field(
            "uri_param_names",
            Field::set(Field::string()).default(json!(["jwt"])).doc("query arguments with the token"),
        )
        .field("cookie_names", Field::set(Field::string()).default(json!([])).doc("cookies with the token"))
        .field(
            "key_claim_name",
            Field::string()
                .default("iss")
                .doc("claim, or `kid` of the token's header, that names the credential's `key`"),
        )
        .field(
            "secret_is_base64",
            Field::boolean().required().default(false).doc("whether the credentials' secrets are in base64"),
        )
        .field(
            "claims_to_verify",
            Field::set(Field::string().one_of(&["exp", "nbf"]))
                .doc("claims that must be there; those that are there are always verified"),
        )
        .field(
            "maximum_expiration",
            Field::number()
                .default(0)
                .between(0, LONGEST)
                .doc("seconds that the end of a token may be away; 0: any"),
        )
        .field(
            "header_names",
            Field::set(Field::string())
                .default(json!(["authorization"]))
                .doc("headers with the token after `Bearer`"),
        );
    fields(preflight(schema), None)
}

/// Failures in Kong's words.
fn word(fault: &Fault<'_>) -> Refusal {
    let of_token = |text: Cow<'static, str>| Refusal { text, member: None, invalid_token: true };
    match fault {
        Fault::Missing => "Unauthorized".into(),
        Fault::Unclear => of_token("Multiple tokens provided".into()),
        Fault::Unreadable => of_token("Bad token; invalid JWT".into()),
        Fault::NoKey(claim) => of_token(format!("No mandatory '{claim}' in claims").into()),
        Fault::EmptyKey(claim) => of_token(format!("Invalid '{claim}' in claims").into()),
        Fault::UnknownKey(claim) => of_token(format!("No credentials found for given '{claim}'").into()),
        Fault::Secret => of_token("Invalid key/secret".into()),
        Fault::Algorithm => of_token("Invalid algorithm".into()),
        Fault::Signature => of_token("Invalid signature".into()),
        Fault::Time(claim, why) => Refusal { member: Some(claim), ..of_token((*why).into()) },
    }
}

impl DialectPlugin for Jwt {
    fn name(&self) -> &'static str {
        "jwt"
    }

    fn priority(&self) -> i64 {
        1450
    }

    fn authenticates(&self) -> bool {
        true
    }

    fn schema(&self) -> Arc<Schema> {
        schema()
    }

    fn rules(&self, entity: Schema) -> Schema {
        let exp = Then::Contains("exp");
        entity.if_positive("config.maximum_expiration", "config.claims_to_verify", exp)
    }

    fn compile(&self, config: &Map<String, Value>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let query = |name: &str| Places { header: None, query: Some(name.to_owned()), cookie: None };
        let cookie = |name: &str| Places { header: None, query: None, cookie: Some(name.to_owned()) };
        let header = |name: &str| {
            let header = HeaderName::from_bytes(name.as_bytes());
            let header = header.map_err(|error| ConfigError::new("header_names", error.to_string()))?;
            Ok(Places { header: Some(header), query: None, cookie: None })
        };
        let mut places: Vec<Places> = texts(config, "uri_param_names").into_iter().map(query).collect();
        places.extend(texts(config, "cookie_names").into_iter().map(cookie));
        for name in texts(config, "header_names") {
            places.push(header(name)?);
        }
        let demanded = texts(config, "claims_to_verify");
        let longest =
            config.get("maximum_expiration").and_then(Value::as_f64).filter(|longest| *longest > 0.0);
        let longest = longest.map(Duration::try_from_secs_f64).transpose();
        compile(Config {
            places,
            bearer_only: true,
            one_token: true,
            secrets_in_base64: super::authentication::flag(config, "secret_is_base64", false),
            hide: super::authentication::flag(config, "hide_credentials", false),
            key_claim: text(config, "key_claim_name").unwrap_or("iss").to_owned(),
            key_in_header: true,
            longest: longest.map_err(|error| ConfigError::new("maximum_expiration", error.to_string()))?,
            words: word,
            demands_exp: demanded.contains(&"exp"),
            demands_nbf: demanded.contains(&"nbf"),
            fallback: fallback(config),
            clock: self.0.clone(),
        })
    }
}
