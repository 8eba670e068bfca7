//! APISIX's `jwt-auth`.

use std::{sync::Arc, time::Duration};

use base::{Clock, Secret};
use base64::{Engine, engine::general_purpose::STANDARD};
use gateway::{consumer::CompiledCredential, error::ConfigError, plugin::Plugin};
use jose::Alg;
use plugins::{
    Places,
    jwt_auth::{Config, Verification, compile, credential},
};
use serde_json::{Map, Value};

use super::authentication::{Scheme, fallback, fields, header, header_name, hides, is_on, member, text};
use crate::schema::Schema;

const ALGS: &[&str] = &[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384",
    "PS512", "EdDSA",
];

/// Consumers known by a signed token.
#[derive(Debug)]
pub struct JwtAuth {
    /// Tells the time.
    pub clock: Clock,
}

impl Scheme for JwtAuth {
    const NAME: &'static str = "jwt-auth";
    const PRIORITY: i64 = 2510;

    fn schema() -> Schema {
        let name = || Schema::string().length(1, 256);
        let claims = Schema::array(Schema::string().choices(&["exp", "nbf"])).unique();
        let schema = Schema::object()
            .field(
                "header",
                header_name().default("authorization").doc("header with the token, after `Bearer ` or alone"),
            )
            .field("query", name().default("jwt").doc("query argument with the token"))
            .field("cookie", name().default("jwt").doc("cookie with the token"))
            .field("key_claim_name", name().default("key").doc("claim that names the consumer's key"))
            .field("store_in_ctx", Schema::boolean().unimplemented_except(false))
            .field(
                "claims_to_verify",
                claims.doc("claims that must be there; those that are there are always verified"),
            );
        fields(schema, "jwt")
    }

    fn consumer_schema() -> Schema {
        Schema::object()
            .required(
                "key",
                Schema::string().length(1, 4096).doc("what tokens call the consumer; no other has it"),
            )
            .field(
                "secret",
                Schema::string()
                    .length(1, 4096)
                    .secret()
                    .doc("what HS* tokens are signed with; one that is shorter than the hash (32, 48 or 64 bytes) is named in the log"),
            )
            .field(
                "public_key",
                Schema::string().length(1, 65536).doc("PEM of the key that other tokens are verified with"),
            )
            .field(
                "algorithm",
                Schema::string().choices(ALGS).default("HS256").doc("the one algorithm of the consumer's tokens"),
            )
            .field(
                "exp",
                Schema::integer()
                    .at_least(1)
                    .default(86400)
                    .doc("lifetime of tokens, in seconds, for those who sign them; not used by the gate"),
            )
            .field("base64_secret", Schema::boolean().default(false).doc("whether `secret` is in base64"))
            .field(
                "lifetime_grace_period",
                Schema::integer().at_least(0).at_most(86400).default(0).doc("seconds that clocks may differ"),
            )
    }

    fn check_consumer(conf: &Map<String, Value>) -> Result<(), String> {
        let symmetric = conf.get("algorithm").and_then(Value::as_str).is_none_or(|alg| alg.starts_with("HS"));
        let in_base64 = conf.get("base64_secret") == Some(&Value::Bool(true));
        let secret = conf.get("secret").and_then(Value::as_str);
        match (symmetric, secret) {
            (true, None) => {
                Err("property \"secret\" is required when \"algorithm\" is HS256, HS384 or HS512".to_owned())
            }
            (true, Some(secret)) if in_base64 && STANDARD.decode(secret).is_err() => {
                Err("base64_secret required but the secret is not in base64 format".to_owned())
            }
            (false, _) if !conf.contains_key("public_key") => Err("missing valid public key".to_owned()),
            _ => Ok(()),
        }
    }

    fn compile_credential(conf: &Value) -> Result<CompiledCredential, ConfigError> {
        let wrong = |field: &str, why: &str| ConfigError::new(field, why);
        let alg: Alg = text(conf, "algorithm", "HS256")
            .parse()
            .map_err(|_| wrong("algorithm", "matches none of the enum values"))?;
        let verification = if alg.is_symmetric() {
            let secret = Secret::new(text(conf, "secret", ""));
            let in_base64 = is_on(conf, "base64_secret");
            let bytes = if in_base64 {
                STANDARD.decode(secret.expose()).map_err(|_| wrong("secret", "it is not in base64"))?
            } else {
                secret.expose().as_bytes().to_vec()
            };
            Verification::Secret(Secret::new(bytes))
        } else {
            let pem =
                member(conf, "public_key").ok_or_else(|| wrong("public_key", "missing valid public key"))?;
            Verification::PublicKey(pem)
        };
        let grace = conf.get("lifetime_grace_period").and_then(Value::as_u64).unwrap_or(0);
        credential(&text(conf, "key", ""), alg, &verification, Duration::from_secs(grace))
    }

    fn compile(&self, conf: &Value) -> Result<Arc<dyn Plugin>, ConfigError> {
        let demands = |claim: &str| {
            let listed = conf.get("claims_to_verify").and_then(Value::as_array);
            listed.is_some_and(|listed| listed.iter().any(|name| name == claim))
        };
        compile(Config {
            places: vec![Places {
                header: Some(header(conf, "authorization")?),
                query: Some(text(conf, "query", "jwt")),
                cookie: Some(text(conf, "cookie", "jwt")),
            }],
            bearer_only: false,
            one_token: false,
            secrets_in_base64: false,
            key_in_header: false,
            longest: None,
            words: |fault| fault.plain(),
            hide: hides(conf),
            key_claim: text(conf, "key_claim_name", "key"),
            demands_exp: demands("exp"),
            demands_nbf: demands("nbf"),
            fallback: fallback(conf, "jwt"),
            clock: self.clock.clone(),
        })
    }
}
