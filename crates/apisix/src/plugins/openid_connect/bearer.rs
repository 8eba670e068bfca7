//! Access tokens.

use std::time::Duration;

use base::Secret;
use gateway::error::ConfigError;
use http::HeaderName;
use jose::Alg;
use plugins::openid_connect::{
    AudienceRule, BearerConfig, Introspection, PROOF_AGE, TokenSource, Verification,
};
use rp::provider::Introspecting;
use serde_json::Value;

use super::{claims, is_on, plain_members, proof, session, text, texts};
use crate::schema::Schema;

/// How long an introspection answer counts where nothing is said. APISIX keeps it until `exp`, and lets revoked tokens
/// in for as long.
const INTROSPECTION_MAX_AGE: u64 = 60;
/// "Until `exp`", as a limit that is never the shorter one.
pub(super) const UNTIL_EXP: u64 = 10 * 365 * 86_400;
const PASS_COOKIES: &str = "pass_cookies";
const ALGS: &[&str] = &[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256",
    "HS384", "HS512",
];

pub(super) fn fields(schema: Schema) -> Schema {
    let flag = |default: bool, doc: &'static str| Schema::boolean().default(default).doc(doc);
    let strings = || Schema::array(Schema::string());
    let issuer = Schema::object().field(
        "valid_issuers",
        strings().doc("issuers that count in place of the one that discovery names; byte for byte"),
    );
    let audience = Schema::object()
        .field("claim", Schema::string().default("aud").doc("claim that names the audience"))
        .field("required", flag(false, "whether an access token must name an audience"))
        .field(
            "match_with_client_id",
            flag(false, "whether the audience must be client_id; implies required"),
        )
        .field("values", strings().doc("audiences of which a token must name one; implies required"));
    schema
        .field("bearer_only", flag(false, "only access tokens: no login, no session"))
        .field("use_jwks", flag(false, "access tokens are verified with the provider's published keys"))
        .field("public_key", Schema::string().doc("PEM of the key that access tokens are verified with"))
        .field(
            "symmetric_key",
            Schema::string().secret().doc("key of HS* access tokens: HS256 unless token_signing_alg_values_expected is another one"),
        )
        .field(
            "auth_accept_token_as",
            Schema::string().default("header").doc("where access tokens come: header, or cookie:NAME"),
        )
        .field(
            "auth_accept_token_as_header_name",
            Schema::string().default("Authorization").doc("header that they come in, with or without Bearer in front"),
        )
        .field(
            "token_signing_alg_values_expected",
            Schema::string().choices(ALGS).doc("the one algorithm of tokens; HS* verifies ID tokens with client_secret, access tokens with symmetric_key"),
        )
        .field("introspection_endpoint", Schema::string().doc("URL of RFC 7662 introspection for access tokens"))
        .field(
            "introspection_interval",
            Schema::integer().at_least(0).doc(
                "seconds an introspection answer counts at most, 60 when left out; 0: until exp, revoked or not",
            ),
        )
        .field(
            "introspection_expiry_claim",
            Schema::string().default("exp").doc("another member that says for how many seconds the answer counts"),
        )
        .field(
            "introspection_addon_headers",
            Schema::array(Schema::string().pattern("^[^:]+$"))
                .at_least(1)
                .doc("request headers that go along to the introspection endpoint; each set has its own answer"),
        )
        .field(
            "introspection_token_param_name",
            Schema::string().length(1, 128).default("token").doc("name of the field that holds the token there"),
        )
        .field(
            "introspection_params",
            Schema::map(Schema::any_of(vec![Schema::string(), Schema::number(), Schema::boolean()]))
                .doc("further fields of the introspection request"),
        )
        .field(
            "pass_cookies",
            Schema::string().length(1, 4096).doc(
                "names of cookies, separated by blanks, that go along to the introspection endpoint; never the gate's own; each \
                 set has its own answer",
            ),
        )
        .field("introspection_cache_ignore", flag(false, "asks the introspection endpoint on every request"))
        .field(
            "introspection_enable_negative_cache",
            flag(false, "remembers for 60 s at most that a token is not active, too"),
        )
        .field("required_scopes", strings().doc("scopes that every token or session must have"))
        .field(
            "claim_validator",
            Schema::object().field("issuer", issuer).field("audience", audience).doc("claims of access tokens"),
        )
        .field(
            "iat_slack",
            Schema::integer().at_least(0).at_most(3600).default(120).doc(
                "seconds clocks may differ for iat, nbf and ID tokens; when written, exp of access tokens gets it too",
            ),
        )
        .field("require_at_jwt", flag(false, "only JWTs whose header says at+jwt (RFC 9068) are access tokens"))
        .field("cache_segment", Schema::string().doc("keeps the cached verdicts of this route apart"))
        .field("jwt_verification_cache_ignore", flag(false, "verifies every token on every request"))
}

/// Whether access tokens are looked at. `symmetric_key` alone says so, too: APISIX wants `use_jwks` or `public_key`
/// beside it, and then takes tokens by either kind of key.
pub(super) fn is_asked_for(conf: &Value) -> bool {
    is_on(conf, "bearer_only", false)
        || is_on(conf, "use_jwks", false)
        || ["public_key", "symmetric_key", "introspection_endpoint"]
            .iter()
            .any(|name| conf.get(*name).is_some())
}

pub(super) fn bearer_config(conf: &Value, alg: Option<Alg>) -> Result<BearerConfig, ConfigError> {
    let none = Value::Null;
    let audience = conf.pointer("/claim_validator/audience").unwrap_or(&none);
    let is_client = is_on(audience, "match_with_client_id", false);
    let values = texts(audience.get("values"));
    Ok(BearerConfig {
        source: source(conf)?,
        verification: verification(conf, alg)?,
        audience: AudienceRule {
            claim: text(audience, "claim").unwrap_or_else(|| "aud".to_owned()),
            required: is_client || !values.is_empty() || is_on(audience, "required", false),
            is_client,
            values,
        },
        additional_issuers: claims::additional_issuers(conf)?,
        typed: is_on(conf, "require_at_jwt", false),
        optional: text(conf, "unauth_action").as_deref() == Some("pass"),
        uncached: is_on(conf, "jwt_verification_cache_ignore", false),
        userinfo: false,
        hides: false,
        cache_segment: text(conf, "cache_segment"),
        proof: proof::required(conf),
        proof_age: PROOF_AGE,
        proof_record: conf.get("session").map(session::storage).transpose()?.flatten(),
    })
}

/// Attributes that say nothing where no access tokens are looked at.
pub(super) fn refuse_unused(conf: &Value) -> Result<(), ConfigError> {
    const NAMES: [&str; 5] = [
        "auth_accept_token_as",
        "auth_accept_token_as_header_name",
        "additional_issuers",
        "require_at_jwt",
        PASS_COOKIES,
    ];
    match NAMES.iter().find(|name| conf.get(**name).is_some()) {
        None => Ok(()),
        Some(name) => Err(ConfigError::new(
            *name,
            "this route does not look at access tokens: add bearer_only, use_jwks, public_key, symmetric_key or \
             introspection_endpoint",
        )),
    }
}

fn verification(conf: &Value, alg: Option<Alg>) -> Result<Verification, ConfigError> {
    let max_age = match conf.get("introspection_interval").and_then(Value::as_u64) {
        None => INTROSPECTION_MAX_AGE,
        Some(0) => UNTIL_EXP,
        Some(seconds) => seconds,
    };
    let introspection = Introspection {
        how: Introspecting {
            endpoint: text(conf, "introspection_endpoint"),
            token_param: text(conf, "introspection_token_param_name").unwrap_or_else(|| "token".to_owned()),
            params: plain_members(conf.get("introspection_params")),
            always_asks: is_on(conf, "introspection_cache_ignore", false),
        },
        headers: header_names(conf)?,
        cookies: cookie_names(conf)?,
        remembers_refusals: is_on(conf, "introspection_enable_negative_cache", false),
        max_age: Duration::from_secs(max_age),
        lifetime_claim: text(conf, "introspection_expiry_claim").filter(|claim| claim != "exp"),
    };
    let by_key = ["symmetric_key", "public_key"].into_iter().find(|name| conf.get(*name).is_some());
    let by_key = by_key.or_else(|| is_on(conf, "use_jwks", false).then_some("use_jwks"));
    if let Some(by_key) = by_key.filter(|_| conf.get(PASS_COOKIES).is_some()) {
        let reason = format!("it is for introspection, and {by_key} verifies tokens without: leave one out");
        return Err(ConfigError::new(PASS_COOKIES, reason));
    }
    if let Some(key) = text(conf, "symmetric_key") {
        let beside = ["public_key", "use_jwks", "introspection_endpoint"];
        let used = |name: &&&str| conf.get(**name).is_some_and(|value| *value != Value::Bool(false));
        if let Some(other) = beside.iter().find(used) {
            let reason =
                format!("a token would choose between this key and {other}: leave {other} out, or this one");
            return Err(ConfigError::new("symmetric_key", reason));
        }
        let alg = alg.unwrap_or(Alg::HS256);
        if !alg.is_symmetric() {
            let reason = "symmetric_key verifies HS256, HS384 and HS512 only";
            return Err(ConfigError::new("token_signing_alg_values_expected", reason));
        }
        return Ok(Verification::SymmetricKey { key: Secret::new(key), alg });
    }
    Ok(match text(conf, "public_key") {
        Some(pem) => Verification::PublicKey(pem),
        None if is_on(conf, "use_jwks", false) => Verification::Jwks,
        None if introspection.how.endpoint.is_some() => Verification::Introspection(introspection),
        None => Verification::Discovered(introspection),
    })
}

fn cookie_names(conf: &Value) -> Result<Vec<String>, ConfigError> {
    let written = text(conf, PASS_COOKIES).unwrap_or_default();
    let names: Vec<String> = written.split_ascii_whitespace().map(str::to_owned).collect();
    match names.iter().find(|name| !is_cookie_name(name)) {
        Some(_) => Err(ConfigError::new(PASS_COOKIES, "one of them is no name of a cookie")),
        None => Ok(names),
    }
}

fn header_names(conf: &Value) -> Result<Vec<HeaderName>, ConfigError> {
    const FIELD: &str = "introspection_addon_headers";
    let name = |name: String| {
        HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| ConfigError::new(FIELD, "one of them is no name of a header"))
    };
    texts(conf.get(FIELD)).into_iter().map(name).collect()
}

fn source(conf: &Value) -> Result<TokenSource, ConfigError> {
    const AS: &str = "auth_accept_token_as";
    const NAME: &str = "auth_accept_token_as_header_name";
    let header = text(conf, NAME);
    let place = text(conf, AS).unwrap_or_else(|| "header".to_owned());
    match (place.split_once(':').map_or((place.as_str(), None), |(kind, name)| (kind, Some(name))), header) {
        (("header", None), None) => Ok(TokenSource::Authorization),
        (("header", None), Some(name)) if name.eq_ignore_ascii_case("authorization") => {
            Ok(TokenSource::Authorization)
        }
        (("header", None), Some(name)) => {
            let parsed = HeaderName::from_bytes(name.as_bytes());
            parsed
                .map(TokenSource::Header)
                .map_err(|_| ConfigError::new(NAME, "this is not the name of a header"))
        }
        (("cookie", _), Some(_)) => {
            Err(ConfigError::new(NAME, "access tokens come in a cookie on this route"))
        }
        (("cookie", Some(name)), None) if is_cookie_name(name) => Ok(TokenSource::Cookie(name.to_owned())),
        _ => Err(ConfigError::new(AS, "it must be `header`, or `cookie:` and the cookie's name")),
    }
}

/// RFC 6265 section 4.1.1: a token.
fn is_cookie_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(letter)
}
