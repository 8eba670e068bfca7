//! APISIX's `openid-connect`: what may be written, and what it means.
//!
//! Every attribute of APISIX 3.18 is known here. Those that this build does not implement are refused by name; those
//! whose APISIX default is not safe keep their shape, and their documentation says what holds instead.

use std::{sync::Arc, time::Duration};

use base::Secret;
use gateway::{error::ConfigError, plugin::Plugin};
use jose::Alg;
use plugins::openid_connect::{
    AccessTokenHeader, AudienceRule, BearerConfig, Calls, Config, Headers, Introspection, LoginConfig,
    Services, Unauthenticated, Verification, compile,
};
use rp::{
    provider::TokenAuth,
    session::{CookieSettings, Lifetimes, SameSite},
};
use serde_json::{Map, Value, json};

use super::{CompileContext, DialectPlugin};
use crate::schema::Schema;

/// How long an introspection answer counts where nothing is said. APISIX keeps it until `exp`, and lets revoked tokens
/// in for as long.
const INTROSPECTION_MAX_AGE: u64 = 60;
/// "Until `exp`", as a limit that is never the shorter one.
const UNTIL_EXP: u64 = 10 * 365 * 86_400;

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

const AUTH_METHODS: &[&str] = &["client_secret_basic", "client_secret_post"];
const ABSENT_AUTH_METHODS: &[&str] = &["private_key_jwt", "client_secret_jwt"];
const ALGS: &[&str] = &[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256",
    "HS384", "HS512",
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
    absent_fields(login_fields(bearer_fields(call_fields(schema))))
}

/// How the provider is called, and what the upstream is told.
fn call_fields(schema: Schema) -> Schema {
    let flag = |default: bool, doc: &'static str| Schema::boolean().default(default).doc(doc);
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
        .field("set_access_token_header", flag(true, "sets X-Access-Token to the access token"))
        .field(
            "access_token_in_authorization_header",
            flag(false, "sets Authorization in place of X-Access-Token"),
        )
        .field(
            "set_id_token_header",
            flag(true, "sets X-ID-Token to the ID token's claims, base64 of JSON; sessions only"),
        )
        .field(
            "set_raw_id_token_header",
            flag(false, "sets X-Raw-ID-Token to the ID token as signed; sessions only"),
        )
        .field(
            "set_userinfo_header",
            flag(true, "sets X-Userinfo: userinfo, or the token's claims, base64 of JSON"),
        )
        .field("set_refresh_token_header", flag(false, "sets X-Refresh-Token; sessions only"))
}

/// Access tokens.
fn bearer_fields(schema: Schema) -> Schema {
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

/// Logins and sessions.
fn login_fields(schema: Schema) -> Schema {
    let flag = |default: bool, doc: &'static str| Schema::boolean().default(default).doc(doc);
    let seconds = |default: i64, doc: &'static str| Schema::integer().at_least(0).default(default).doc(doc);
    schema
        .field("scope", Schema::string().default("openid").doc("scopes asked for at login"))
        .field(
            "redirect_uri",
            Schema::string().doc("URL or path the provider sends the browser back to; else path + /.apisix/redirect"),
        )
        .field(
            "unauth_action",
            Schema::string().choices(&["auth", "deny", "pass"]).default("auth").doc(
                "without a session: auth sends page loads to log in and gives others 401; deny 401; pass goes on",
            ),
        )
        .field("logout_path", Schema::string().default("/logout").doc("path that ends the session"))
        .field("post_logout_redirect_uri", Schema::string().doc("URL or path to go to after logout"))
        .field("revoke_tokens_on_logout", flag(false, "logout revokes refresh and access token at the provider"))
        .field("use_pkce", flag(false, "accepted; PKCE with S256 is always used"))
        .field("use_nonce", flag(false, "accepted; a nonce is always used"))
        .field(
            "authorization_params",
            Schema::map(Schema::any_of(vec![Schema::string(), Schema::number(), Schema::boolean()]))
                .doc("further parameters of the authorization request"),
        )
        .field("prompt", Schema::string().doc("prompt of the authorization request"))
        .field("display", Schema::string().doc("display of the authorization request"))
        .field("renew_access_token_on_expiry", flag(true, "an access token that is over is refreshed in the request"))
        .field(
            "access_token_expires_in",
            Schema::integer().at_least(1).default(3600).doc("seconds, where the provider does not say it"),
        )
        .field("access_token_expires_leeway", seconds(0, "seconds before its end that an access token counts as over"))
        .field("force_reauthorize", flag(false, "a login counts for ten seconds: each visit goes through the provider"))
        .field("session", session())
}

fn session() -> Schema {
    let storage = Schema::string().choices(&["cookie"]).absent_choices(&["redis"]);
    let seconds = |default: i64, doc: &'static str| Schema::integer().at_least(0).default(default).doc(doc);
    Schema::object()
        .doc("the session cookie")
        .field(
            "secret",
            Schema::string()
                .length(16, 4096)
                .secret()
                .doc("key material; left out, the deployment's own key is used"),
        )
        .field(
            "cookie_name",
            Schema::string()
                .doc("default session, __Host-session on https where name, path and domain are left out"),
        )
        .field("cookie_path", Schema::string().default("/").doc("Path of the cookie"))
        .field("cookie_domain", Schema::string().doc("Domain of the cookie; none by default"))
        .field("cookie_secure", Schema::boolean().doc("Secure; left out: on https"))
        .field("cookie_http_only", Schema::boolean().default(true).doc("HttpOnly"))
        .field(
            "cookie_same_site",
            Schema::string().choices(&["Strict", "Lax", "None", "Default"]).default("Lax").doc("SameSite"),
        )
        .field(
            "idling_timeout",
            seconds(900, "seconds without a request after which it is over; 0: no such limit"),
        )
        .field(
            "rolling_timeout",
            seconds(3600, "seconds without a renewal after which it is over; 0: no such limit"),
        )
        .field("absolute_timeout", seconds(86_400, "seconds after login at which it is over; 0: 400 days"))
        .field(
            "cookie",
            Schema::object().field(
                "lifetime",
                Schema::integer().at_least(0).doc("deprecated: absolute_timeout where that is left out"),
            ),
        )
        .field("storage", storage.default("cookie").doc("where sessions are kept"))
        .field("redis", Schema::object().open().unimplemented().doc("the Redis where sessions are kept"))
}

/// What APISIX and its library know and this build does not do, and what it would be.
const ABSENT: [(&str, &str); 27] = [
    ("session_contents", "which parts of a session are stored"),
    ("proxy_opts", "a proxy on the way to the provider"),
    ("claim_schema", "JSON Schema that claims must match"),
    ("introspection_params", "further parameters of an introspection request"),
    ("client_rsa_private_key", "PEM of the key for private_key_jwt"),
    ("client_rsa_private_key_id", "kid of that key"),
    ("client_jwt_assertion_expires_in", "seconds that a client assertion counts"),
    ("client_jwt_assertion_alg", "algorithm of a client assertion"),
    ("client_jwt_assertion_audience", "audience of a client assertion"),
    ("refresh_session_interval", "seconds after which a session is checked with prompt=none"),
    ("introspection_addon_headers", "request headers that are copied to the introspection call"),
    ("symmetric_key", "key of HS* access tokens"),
    ("discovery_expires_in", "seconds that metadata are kept"),
    ("redirect_after_logout_uri", "where to go after logout in place of the provider"),
    ("redirect_after_logout_with_id_token_hint", "whether logout names the ID token"),
    ("redirect_after_logout_with_client_id", "whether logout names the client"),
    ("local_redirect_uri_path", "path of the callback where it differs from redirect_uri"),
    ("redirect_uri_scheme", "scheme of a derived redirect_uri"),
    ("auth_accept_token_as", "where else an access token may come from"),
    ("auth_accept_token_as_header_name", "header that an access token may come in"),
    ("introspection_token_param_name", "name of the token in an introspection request"),
    ("introspection_cache_ignore", "asks the introspection endpoint on every request"),
    ("introspection_enable_negative_cache", "keeps the introspection endpoint's no as well"),
    ("pass_cookies", "cookies that are sent to the provider"),
    ("keepalive", "whether connections to the provider are kept"),
    ("authorization_state_expires_in", "seconds that a login may take"),
    ("authorization_state_max_number", "logins that may be under way in one browser"),
];

fn absent_fields(schema: Schema) -> Schema {
    let off = |doc: &'static str| Schema::boolean().unimplemented_except(false).doc(doc);
    let never = "tokens are always verified; true is refused";
    let modes = Schema::string().choices(&["query"]).absent_choices(&["form_post", "fragment"]);
    let schema = schema
        .field("accept_none_alg", Schema::boolean().default(false).check(refuse_unsigned).doc(never))
        .field(
            "accept_unsupported_alg",
            Schema::boolean().default(true).doc("accepted; tokens are always verified"),
        )
        .field("par", Schema::object().field("enabled", off("whether it is used")).open().doc("RFC 9126"))
        .field("dpop", Schema::object().field("enabled", off("whether it is used")).open().doc("RFC 9449"))
        .field("response_mode", modes.doc("how the provider's answer comes back"));
    let absent = |schema: Schema, (name, doc): (&'static str, &'static str)| {
        schema.field(name, Schema::any().unimplemented_except(json!({})).doc(doc))
    };
    ABSENT.into_iter().fold(schema, absent)
}

fn refuse_unsigned(value: &Value) -> Result<(), String> {
    if value == &Value::Bool(true) { Err("unsigned tokens are never accepted".to_owned()) } else { Ok(()) }
}

/// The neutral configuration of a checked one.
fn config(conf: &Value) -> Result<Config, ConfigError> {
    let client_id = text(conf, "client_id").unwrap_or_default();
    let slack = conf.get("iat_slack").and_then(Value::as_u64);
    let bearer = is_on(conf, "bearer_only", false)
        || is_on(conf, "use_jwks", false)
        || conf.get("public_key").is_some()
        || conf.get("introspection_endpoint").is_some();
    let alg = text(conf, "token_signing_alg_values_expected").and_then(|alg| alg.parse::<Alg>().ok());
    Ok(Config {
        client_id,
        client_secret: text(conf, "client_secret").map(Secret::new),
        discovery: text(conf, "discovery").unwrap_or_default(),
        issuers: texts(conf.pointer("/claim_validator/issuer/valid_issuers")),
        calls: calls(conf)?,
        alg,
        slack: Duration::from_secs(slack.unwrap_or(120)),
        expiry_leeway: Duration::from_secs(slack.unwrap_or(0)),
        required_scopes: texts(conf.get("required_scopes")),
        realm: text(conf, "realm").unwrap_or_else(|| "apisix".to_owned()),
        bearer: bearer.then(|| bearer_config(conf)),
        login: (!is_on(conf, "bearer_only", false)).then(|| login_config(conf)),
        headers: headers(conf),
    })
}

fn calls(conf: &Value) -> Result<Calls, ConfigError> {
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

fn headers(conf: &Value) -> Headers {
    let access_token = match (
        is_on(conf, "set_access_token_header", true),
        is_on(conf, "access_token_in_authorization_header", false),
    ) {
        (false, _) => AccessTokenHeader::None,
        (true, false) => AccessTokenHeader::XAccessToken,
        (true, true) => AccessTokenHeader::Authorization,
    };
    Headers {
        access_token,
        id_token: is_on(conf, "set_id_token_header", true),
        raw_id_token: is_on(conf, "set_raw_id_token_header", false),
        userinfo: is_on(conf, "set_userinfo_header", true),
        refresh_token: is_on(conf, "set_refresh_token_header", false),
    }
}

fn bearer_config(conf: &Value) -> BearerConfig {
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

fn login_config(conf: &Value) -> LoginConfig {
    let none = Value::Null;
    let session = conf.get("session").unwrap_or(&none);
    let unauthenticated = match text(conf, "unauth_action").as_deref() {
        Some("deny") => Unauthenticated::Deny,
        Some("pass") => Unauthenticated::Pass,
        _ => Unauthenticated::Login,
    };
    LoginConfig {
        redirect_uri: text(conf, "redirect_uri"),
        scope: text(conf, "scope").unwrap_or_else(|| "openid".to_owned()),
        authorization_params: authorization_params(conf),
        unauthenticated,
        force_reauthorize: is_on(conf, "force_reauthorize", false),
        logout_path: text(conf, "logout_path").unwrap_or_else(|| "/logout".to_owned()),
        post_logout_redirect_uri: text(conf, "post_logout_redirect_uri"),
        revoke_on_logout: is_on(conf, "revoke_tokens_on_logout", false),
        secret: text(session, "secret").map(Secret::new),
        cookies: cookies(session),
        lifetimes: lifetimes(session),
        renew: is_on(conf, "renew_access_token_on_expiry", true),
        default_expires_in: seconds(conf, "access_token_expires_in", 3600),
        expires_leeway: seconds(conf, "access_token_expires_leeway", 0),
    }
}

/// `authorization_params` come last and win over `prompt` and `display`.
fn authorization_params(conf: &Value) -> Vec<(String, String)> {
    let own = ["prompt", "display"].into_iter().filter_map(|name| Some((name.to_owned(), text(conf, name)?)));
    let further = conf.get("authorization_params").and_then(Value::as_object).into_iter().flatten();
    let further = further.map(|(name, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (name.clone(), value)
    });
    own.chain(further).collect()
}

fn cookies(session: &Value) -> CookieSettings {
    CookieSettings {
        name: text(session, "cookie_name"),
        path: text(session, "cookie_path"),
        domain: text(session, "cookie_domain"),
        secure: session.get("cookie_secure").and_then(Value::as_bool),
        readable_by_scripts: !is_on(session, "cookie_http_only", true),
        same_site: match text(session, "cookie_same_site").as_deref() {
            Some("Strict") => SameSite::Strict,
            Some("None") => SameSite::None,
            Some("Default") => SameSite::Unset,
            _ => SameSite::Lax,
        },
    }
}

fn lifetimes(session: &Value) -> Lifetimes {
    let lifetime = session.pointer("/cookie/lifetime").and_then(Value::as_u64);
    Lifetimes {
        idling: seconds(session, "idling_timeout", 900),
        rolling: seconds(session, "rolling_timeout", 3600),
        absolute: seconds(session, "absolute_timeout", lifetime.unwrap_or(86_400)),
    }
}

fn text(conf: &Value, name: &str) -> Option<String> {
    conf.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn texts(list: Option<&Value>) -> Vec<String> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn is_on(conf: &Value, name: &str, default: bool) -> bool {
    conf.get(name).and_then(Value::as_bool).unwrap_or(default)
}

fn seconds(conf: &Value, name: &str, default: u64) -> Duration {
    Duration::from_secs(conf.get(name).and_then(Value::as_u64).unwrap_or(default))
}

#[cfg(test)]
mod tests;
