//! What the gate proves itself with to the provider: assertions, and keys that tokens are bound to.

use std::time::Duration;

use base::Secret;
use jose::{Alg, JoseError, SigningKey};
use plugins::openid_connect::{ClientAssertionConfig, PossessionConfig, Pushing};
use rp::provider::TokenAuth;
use serde_json::{Map, Value};

use super::{is_on, text};
use crate::schema::Schema;

/// The methods that APISIX has, and what each needs.
const PUSH_METHODS: &[&str] =
    &["client_secret_basic", "client_secret_post", "private_key_jwt", "client_secret_jwt"];
const ASSERTION_ALGS: &[&str] = &["HS256", "HS512", "RS256", "RS512", "ES256", "ES512"];
const PROOF_ALGS: &[&str] = &["ES256", "RS256", "PS256"];
/// Members of a JWK that only its owner may know (RFC 7518 section 6).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

pub(super) fn fields(schema: Schema) -> Schema {
    let par = Schema::object()
        .field(
            "enabled",
            Schema::boolean()
                .default(false)
                .doc("pushes authorization requests; a provider that requires it gets them pushed anyway"),
        )
        .field("endpoint", Schema::string().doc("URL to push to; else the one that discovery names"))
        .field(
            "endpoint_auth_method",
            Schema::string()
                .choices(PUSH_METHODS)
                .doc("client authentication there; else as at the token endpoint"),
        )
        .doc("pushed authorization requests, RFC 9126");
    let dpop = Schema::object()
        .field(
            "enabled",
            Schema::boolean()
                .default(false)
                .doc("tokens from logins are bound to this key; the provider must answer token_type DPoP"),
        )
        .field(
            "signing_alg",
            Schema::string().choices(PROOF_ALGS).default("ES256").doc("what proofs are signed with"),
        )
        .field("private_key", Schema::string().secret().doc("PEM of the key; required when enabled"))
        .field(
            "public_jwk",
            Schema::object().open().check(refuse_private).doc("its public half; required when enabled"),
        )
        .check(both_keys)
        .doc("proofs of possession at the token and userinfo endpoints, RFC 9449");
    schema
        .field(
            "client_rsa_private_key",
            Schema::string()
                .secret()
                .doc("PEM of the key for private_key_jwt, RSA or EC as the algorithm says"),
        )
        .field("client_rsa_private_key_id", Schema::string().doc("kid of that key"))
        .field(
            "client_jwt_assertion_alg",
            Schema::string()
                .choices(ASSERTION_ALGS)
                .doc("what assertions are signed with; else RS256 with the key, HS256 with the secret"),
        )
        .field(
            "client_jwt_assertion_expires_in",
            Schema::integer().at_least(1).at_most(3600).default(60).doc("seconds an assertion counts"),
        )
        .field(
            "client_jwt_assertion_audience",
            Schema::string().doc("aud of assertions; else the URL of the endpoint that is called"),
        )
        .field("par", par)
        .field("dpop", dpop)
}

/// APISIX has an `if` with a `then` here, and this is what its library says of it.
fn both_keys(dpop: &Value) -> Result<(), String> {
    let complete = dpop.get("private_key").is_some() && dpop.get("public_jwk").is_some();
    if is_on(dpop, "enabled", false) && !complete {
        return Err("then clause did not match".to_owned());
    }
    Ok(())
}

fn refuse_private(jwk: &Value) -> Result<(), String> {
    match PRIVATE_MEMBERS.iter().find(|member| jwk.get(**member).is_some()) {
        Some(member) => Err(format!("\"{member}\" is private and must not be in it")),
        None => Ok(()),
    }
}

/// The rules that APISIX checks in code, in its order and its words.
pub(super) fn check(conf: &Map<String, Value>) -> Result<(), String> {
    check_proof_key(conf)?;
    check_assertion_alg(conf)?;
    check_push_method(conf)
}

fn check_proof_key(conf: &Map<String, Value>) -> Result<(), String> {
    let Some(dpop) = conf.get("dpop").filter(|dpop| is_on(dpop, "enabled", false)) else { return Ok(()) };
    let Some(jwk) = dpop.get("public_jwk") else { return Ok(()) };
    let wrong = |why: String| Err(format!("property \"dpop.public_jwk\" validation failed: {why}"));
    let kty = jwk.get("kty").and_then(Value::as_str).unwrap_or("nil");
    let members: &[&str] = match kty {
        "EC" => &["crv", "x", "y"],
        "RSA" => &["e", "n"],
        _ => return wrong(format!("kty \"{kty}\" is not supported")),
    };
    for member in members {
        match jwk.get(*member) {
            None => return wrong(format!("kty \"{kty}\" requires {}", members.join(", "))),
            Some(Value::String(text)) if !text.is_empty() => {}
            Some(_) => return wrong(format!("\"{member}\" must be a non-empty string")),
        }
    }
    let alg = text(dpop, "signing_alg").unwrap_or_else(|| "ES256".to_owned());
    let needed = if alg == "ES256" { "EC" } else { "RSA" };
    if kty != needed {
        return Err(format!(
            "property \"dpop.signing_alg\" \"{alg}\" requires an {needed} \"dpop.public_jwk\""
        ));
    }
    let curve = jwk.get("crv").and_then(Value::as_str).unwrap_or("nil");
    if kty == "EC" && curve != "P-256" {
        return Err(format!(
            "property \"dpop.signing_alg\" \"{alg}\" requires \"dpop.public_jwk\" crv \"P-256\", got \"{curve}\""
        ));
    }
    let Some(pem) = text(dpop, "private_key").filter(|pem| !is_reference(pem)) else { return Ok(()) };
    let signing: Alg = alg.parse().map_err(|_| format!("\"{alg}\" is not supported"))?;
    let key = private_key(signing, &pem, "dpop.private_key")?;
    let own = key.public_jwk();
    match members.iter().find(|member| own.get(**member) != jwk.get(**member)) {
        Some(member) => Err(format!(
            "property \"dpop.public_jwk\" is not the public key of \"dpop.private_key\": {member} is {}",
            own.get(*member).unwrap_or(&Value::Null)
        )),
        None => Ok(()),
    }
}

/// The key, or why there is none for this algorithm: it cannot be read, or it is of another kind.
fn private_key(alg: Alg, pem: &str, field: &str) -> Result<SigningKey, String> {
    SigningKey::from_pem(alg, String::new(), pem).map_err(|error| match kinds_of(pem).next() {
        Some(kind) => format!("property \"{field}\" is of another kind than \"{alg}\" needs: it is {kind}"),
        None => format!("property \"{field}\" is not a valid key: {error}"),
    })
}

/// What a private key is, as far as one of the algorithms here can use it.
fn kinds_of(pem: &str) -> impl Iterator<Item = &'static str> {
    let kinds = [
        (Alg::RS256, "an RSA key"),
        (Alg::ES256, "a key on curve P-256"),
        (Alg::ES384, "a key on curve P-384"),
        (Alg::ES512, "a key on curve P-521"),
        (Alg::EdDSA, "an Ed25519 key"),
    ];
    let fits = |alg: Alg| -> Result<SigningKey, JoseError> { SigningKey::from_pem(alg, String::new(), pem) };
    kinds.into_iter().filter(move |(alg, _)| fits(*alg).is_ok()).map(|(_, kind)| kind)
}

/// The endpoints that the configuration can reach, and the client authentication there.
fn reachable(conf: &Map<String, Value>) -> Vec<(&'static str, &str)> {
    let on = |name: &str| conf.get(name).and_then(Value::as_bool).unwrap_or(false);
    let method = |name: &str| conf.get(name).and_then(Value::as_str).unwrap_or("client_secret_basic");
    let mut reachable = Vec::new();
    let by_keys = conf.contains_key("public_key") || on("use_jwks");
    if !by_keys && (on("bearer_only") || conf.contains_key("introspection_endpoint")) {
        let field = "introspection_endpoint_auth_method";
        reachable.push((field, method(field)));
    }
    if on("bearer_only") {
        return reachable;
    }
    let field = "token_endpoint_auth_method";
    // Without its credential another method is used in its place.
    if credential(method(field)).is_none_or(|credential| conf.contains_key(credential)) {
        reachable.push((field, method(field)));
    }
    reachable.extend(push_method(conf).map(|method| ("par.endpoint_auth_method", method)));
    reachable
}

fn push_method(conf: &Map<String, Value>) -> Option<&str> {
    let par = conf.get("par").filter(|par| is_on(par, "enabled", false))?;
    par.get("endpoint_auth_method").and_then(Value::as_str)
}

fn credential(method: &str) -> Option<&'static str> {
    match method {
        "private_key_jwt" => Some("client_rsa_private_key"),
        "client_secret_jwt" => Some("client_secret"),
        _ => None,
    }
}

/// One algorithm signs all assertions, so that the endpoints must agree on its family, and the key must fit it.
fn check_assertion_alg(conf: &Map<String, Value>) -> Result<(), String> {
    let Some(alg) = conf.get("client_jwt_assertion_alg").and_then(Value::as_str) else { return Ok(()) };
    let reachable = reachable(conf);
    let selected_by =
        |wanted: &str| reachable.iter().find(|(_, method)| *method == wanted).map(|(field, _)| *field);
    let (by_key, by_secret) = (selected_by("private_key_jwt"), selected_by("client_secret_jwt"));
    let symmetric = alg.starts_with("HS");
    match (by_key, by_secret) {
        (Some(by_key), Some(by_secret)) => {
            return Err(format!(
                "property \"client_jwt_assertion_alg\" is a single algorithm, but \"{by_key}\" selects \
                 private_key_jwt and \"{by_secret}\" selects client_secret_jwt"
            ));
        }
        (Some(field), None) if symmetric => {
            return Err(format!(
                "property \"client_jwt_assertion_alg\" \"{alg}\" is symmetric and cannot be used with the \
                 private_key_jwt selected by \"{field}\""
            ));
        }
        (None, Some(field)) if !symmetric => {
            return Err(format!(
                "property \"client_jwt_assertion_alg\" \"{alg}\" is asymmetric and cannot be used with the \
                 client_secret_jwt selected by \"{field}\""
            ));
        }
        _ => {}
    }
    let pem = conf.get("client_rsa_private_key").and_then(Value::as_str).filter(|pem| !is_reference(pem));
    let (Some(_), Some(pem), Ok(signing)) = (by_key, pem, alg.parse::<Alg>()) else { return Ok(()) };
    let Err(error) = private_key(signing, pem, "client_rsa_private_key") else { return Ok(()) };
    let (kty, curve) = match alg {
        "ES256" => ("EC", Some("P-256")),
        "ES512" => ("EC", Some("P-521")),
        _ => ("RSA", None),
    };
    let field = format!("property \"client_jwt_assertion_alg\" \"{alg}\" requires");
    match (kinds_of(pem).next(), curve) {
        (None, _) => Err(error),
        (Some(kind), Some(curve)) if kind.contains("curve") => {
            let got = kind.rsplit(' ').next().unwrap_or_default();
            Err(format!("{field} a \"client_rsa_private_key\" on curve \"{curve}\", got \"{got}\""))
        }
        (Some(_), _) => Err(format!("{field} an {kty} \"client_rsa_private_key\"")),
    }
}

fn check_push_method(conf: &Map<String, Value>) -> Result<(), String> {
    let on = |name: &str| conf.get(name).and_then(Value::as_bool).unwrap_or(false);
    let Some(method) = push_method(conf).filter(|_| !on("bearer_only")) else { return Ok(()) };
    match credential(method).filter(|credential| !conf.contains_key(*credential)) {
        Some(credential) => Err(format!(
            "property \"par.endpoint_auth_method\" \"{method}\" requires \"{credential}\" when \"par.enabled\" is true"
        )),
        None => Ok(()),
    }
}

/// Secrets kept elsewhere are not there to be looked at.
fn is_reference(text: &str) -> bool {
    text.starts_with("$secret://") || text.starts_with("$env://") || text.starts_with("$ENV://")
}

pub(super) fn assertion_config(conf: &Value) -> ClientAssertionConfig {
    let lifetime = conf.get("client_jwt_assertion_expires_in").and_then(Value::as_u64).unwrap_or(60);
    ClientAssertionConfig {
        deployments: None,
        private_key: text(conf, "client_rsa_private_key").map(Secret::new),
        key_id: text(conf, "client_rsa_private_key_id"),
        alg: text(conf, "client_jwt_assertion_alg").and_then(|alg| alg.parse().ok()),
        lifetime: Duration::from_secs(lifetime),
        audience: text(conf, "client_jwt_assertion_audience"),
    }
}

pub(super) fn possession_config(conf: &Value) -> Option<PossessionConfig> {
    let dpop = conf.get("dpop").filter(|dpop| is_on(dpop, "enabled", false))?;
    let alg = text(dpop, "signing_alg").and_then(|alg| alg.parse().ok()).unwrap_or(Alg::ES256);
    Some(PossessionConfig { alg, private_key: Secret::new(text(dpop, "private_key")?) })
}

pub(super) fn pushing(conf: &Value) -> Pushing {
    let none = Value::Null;
    let par = conf.get("par").unwrap_or(&none);
    let auth = text(par, "endpoint_auth_method").and_then(|method| TokenAuth::parse(&method).ok());
    Pushing { enabled: is_on(par, "enabled", false), endpoint: text(par, "endpoint"), auth }
}
