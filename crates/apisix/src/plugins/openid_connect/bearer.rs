//! Access tokens.

use std::time::Duration;

use plugins::openid_connect::{AudienceRule, BearerConfig, Introspection, Verification};
use serde_json::Value;

use super::{is_on, text};
use crate::schema::Schema;

/// How long an introspection answer counts where nothing is said. APISIX keeps it until `exp`, and lets revoked tokens
/// in for as long.
const INTROSPECTION_MAX_AGE: u64 = 60;
/// "Until `exp`", as a limit that is never the shorter one.
pub(super) const UNTIL_EXP: u64 = 10 * 365 * 86_400;
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
        );
    schema
        .field("bearer_only", flag(false, "only access tokens: no login, no session"))
        .field("use_jwks", flag(false, "access tokens are verified with the provider's published keys"))
        .field("public_key", Schema::string().doc("PEM of the key that access tokens are verified with"))
        .field(
            "token_signing_alg_values_expected",
            Schema::string().choices(ALGS).doc("the one algorithm of tokens; HS* verifies ID tokens with client_secret"),
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
        .field("cache_segment", Schema::string().doc("keeps the cached verdicts of this route apart"))
        .field("jwt_verification_cache_ignore", flag(false, "verifies every token on every request"))
}

pub(super) fn bearer_config(conf: &Value) -> BearerConfig {
    let max_age = match conf.get("introspection_interval").and_then(Value::as_u64) {
        None => INTROSPECTION_MAX_AGE,
        Some(0) => UNTIL_EXP,
        Some(seconds) => seconds,
    };
    let introspection = Introspection {
        endpoint: text(conf, "introspection_endpoint"),
        max_age: Duration::from_secs(max_age),
        lifetime_claim: text(conf, "introspection_expiry_claim").filter(|claim| claim != "exp"),
    };
    let verification = match text(conf, "public_key") {
        Some(pem) => Verification::PublicKey(pem),
        None if is_on(conf, "use_jwks", false) => Verification::Jwks,
        None if introspection.endpoint.is_some() => Verification::Introspection(introspection),
        None => Verification::Discovered(introspection),
    };
    let none = Value::Null;
    let audience = conf.pointer("/claim_validator/audience").unwrap_or(&none);
    let is_client = is_on(audience, "match_with_client_id", false);
    BearerConfig {
        verification,
        audience: AudienceRule {
            claim: text(audience, "claim").unwrap_or_else(|| "aud".to_owned()),
            required: is_client || is_on(audience, "required", false),
            is_client,
        },
        uncached: is_on(conf, "jwt_verification_cache_ignore", false),
        cache_segment: text(conf, "cache_segment"),
    }
}
