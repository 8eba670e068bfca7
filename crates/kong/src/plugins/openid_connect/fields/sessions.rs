//! Logins, logouts, sessions, the gate's own answers, and what protects requests and tokens.

use std::sync::Arc;

use serde_json::{Value, json};

use rp::session::LOGIN_LIFETIME;

use super::{GRANTS, defaulted, flag, text, texts, token_exchange};
use crate::schema::{Field, Schema};

/// Adds them.
pub(super) fn schema(schema: Schema) -> Schema {
    let schema = answers(schema);
    let schema = logout(schema);
    let schema = sessions(schema);
    protections(schema)
}

/// What these belong to is known under other fields, which are refused.
const OF_MEMCACHED: &str = "of `session_storage: memcached`";
const OF_REMEMBERING: &str = "of `session_remember`";
/// Longest login of the engine's, in seconds.
const LONGEST_LOGIN: i64 = LOGIN_LIFETIME.as_secs().cast_signed();

fn never(value: &Value) -> Result<(), String> {
    if value == false { Ok(()) } else { Err("not implemented in this build: leave it out".to_owned()) }
}

/// Browsers send a cookie that is `Strict` with no answer of a provider, and scripts read none.
fn of_logins(value: &Value) -> Result<(), String> {
    match value.as_str() {
        Some("Lax" | "Default") => Ok(()),
        _ => Err("not implemented in this build: `Lax` and `Default` are accepted".to_owned()),
    }
}

/// Sessions begin with a login by the browser, and that is how they are switched off: by leaving it out.
fn without_sessions(value: &Value) -> Result<(), String> {
    let own = |name: &str| value.as_array().into_iter().flatten().any(|named| named == name);
    match ["authorization_code", "session"].into_iter().find(|name| own(name)) {
        None => Ok(()),
        Some(name) => Err(format!("sessions of {name} cannot be switched off: leave it out of auth_methods")),
    }
}

fn always(value: &Value) -> Result<(), String> {
    if value == true { Ok(()) } else { Err("it cannot be switched off".to_owned()) }
}

/// The gate's own answers, and how it reaches the provider.
fn answers(schema: Schema) -> Schema {
    schema
        .field(
            "login_action",
            Field::string().default("upstream").one_of(&["upstream", "response", "redirect"]).doc(
                "what a login of a browser ends with: the page that was asked for, `login_tokens` in a JSON object, or a \
                 redirect that carries them",
            ),
        )
        .field(
            "login_methods",
            Field::array(Field::string().one_of(&GRANTS))
                .default(json!(["authorization_code"]))
                .doc("whose logins `login_action` is about: those of `authorization_code`"),
        )
        .field(
            "login_tokens",
            Field::array(Field::string().one_of(&[
                "id_token",
                "access_token",
                "refresh_token",
                "tokens",
                "introspection",
            ]))
            .default(json!(["id_token"]))
            .doc("what is given then; `introspection` never is"),
        )
        .field(
            "login_redirect_mode",
            Field::string()
                .default("fragment")
                .one_of(&["query", "fragment"])
                .doc("where in the address of `redirect` it stands"),
        )
        .field(
            "login_redirect_uri",
            Field::strings().doc("where `redirect` leads; else to the page that was asked for"),
        )
        .field("unauthorized_redirect_uri", Field::strings().doc("where callers are sent in place of a 401"))
        .field("forbidden_redirect_uri", Field::strings().doc("where they are sent in place of a 403"))
        .field("unexpected_redirect_uri", Field::strings().doc("where they are sent in place of a 500"))
        .field(
            "preserve_query_args",
            Field::boolean()
                .default(false)
                .doc("either way, a login ends at the page that was asked for, with its query"),
        )
        .field("display_errors", Field::boolean().default(false).doc("whether the message says why"))
        .field(
            "unauthorized_error_message",
            Field::string().default("Unauthorized").doc("`message` of a 401"),
        )
        .field("forbidden_error_message", Field::string().default("Forbidden").doc("`message` of a 403"))
        .field(
            "keepalive",
            Field::boolean().default(true).doc("whether connections to the provider are kept"),
        )
        .field(
            "unauthorized_destroy_session",
            Field::boolean().default(true).doc(
                "whether a session ends that the provider renews no more; else its requests are refused until it does",
            ),
        )
        .field(
            "forbidden_destroy_session",
            Field::boolean()
                .default(true)
                .doc("whether a session ends with the first request that it may not make"),
        )
        .field(
            "expose_error_code",
            Field::boolean().default(true).doc("whether `WWW-Authenticate` names the error"),
        )
        .field("http_version", defaulted(Field::number(), json!(1.1)))
        .field(
            "ssl_verify",
            Field::boolean().default(true).doc("whether the provider's certificate is verified"),
        )
        .field(
            "timeout",
            Field::integer()
                .default(10_000)
                .between(1, 600_000)
                .doc("milliseconds for one call to the provider"),
        )
        .fields(
            &["http_proxy", "https_proxy"],
            &Field::string().doc("`http://host:port` or `https://host:port` on the way to the provider"),
        )
        .fields(
            &["http_proxy_authorization", "https_proxy_authorization"],
            &Field::string().secret().doc("`Proxy-Authorization` for it"),
        )
        .field("no_proxy", Field::string().doc("hosts that are called directly, separated by commas"))
}

fn logout(schema: Schema) -> Schema {
    schema
        .field("logout_query_arg", Field::string().doc("argument of the query that ends the session"))
        .field("logout_post_arg", Field::string().doc("field of a form that ends the session"))
        .field("logout_uri_suffix", Field::string().doc("end of the paths that end the session"))
        .field(
            "logout_methods",
            Field::array(Field::string().one_of(&["POST", "GET", "DELETE"]))
                .default(json!(["POST", "DELETE"]))
                .doc("methods by which these do so"),
        )
        .fields(
            &["logout_redirect_uri", "post_logout_redirect_uri"],
            &Field::strings().doc("where the browser goes after that"),
        )
        .field(
            "logout_revoke",
            Field::boolean().default(false).doc("logout revokes the session's tokens at the provider"),
        )
        .fields(
            &["logout_revoke_access_token", "logout_revoke_refresh_token"],
            &Field::boolean().default(true).doc("`logout_revoke` revokes both; false only where it is off"),
        )
}

fn sessions(schema: Schema) -> Schema {
    let lifetime =
        |default: i64, doc: &'static str| Field::number().default(default).between(0, 31_536_000).doc(doc);
    schema
        .field(
            "session_secret",
            Field::string().secret().doc("key material of the cookies; else the deployment's own"),
        )
        .field("session_audience", defaulted(Field::string(), "default"))
        .field(
            "session_cookie_name",
            Field::string().default("session").doc("`__Host-session` on https unless it is changed"),
        )
        .field("session_cookie_path", Field::string().default("/").doc("`Path` of the cookie"))
        .field("authorization_cookie_path", defaulted(Field::string(), "/"))
        .field("session_cookie_domain", Field::string().doc("`Domain` of the cookie"))
        .field("authorization_cookie_domain", text())
        .field(
            "session_cookie_same_site",
            Field::string()
                .default("Lax")
                .one_of(&["Strict", "Lax", "None", "Default"])
                .doc("`SameSite` of the cookie"),
        )
        .field("session_cookie_http_only", Field::boolean().default(true).doc("`HttpOnly` of the cookie"))
        .field("authorization_cookie_http_only", Field::boolean().default(true).value(always).doc("always"))
        .field("session_cookie_secure", Field::boolean().doc("`Secure` of the cookie; else on https"))
        .field("authorization_cookie_secure", Field::boolean().unimplemented())
        .field(
            "session_idling_timeout",
            lifetime(900, "seconds without a request after which a session is over; 0: no such limit"),
        )
        .field(
            "session_rolling_timeout",
            lifetime(3600, "seconds without a renewal after which it is over; 0: no such limit"),
        )
        .field("session_absolute_timeout", lifetime(86_400, "seconds after the login at which it is over"))
        .field("session_remember", flag(false))
        .field("session_remember_cookie_name", Field::string().default("remember").moot(OF_REMEMBERING))
        .field("session_remember_rolling_timeout", Field::number().default(604_800).moot(OF_REMEMBERING))
        .field("session_remember_absolute_timeout", Field::number().default(2_592_000).moot(OF_REMEMBERING))
        .field(
            "session_storage",
            Field::string().default("cookie").one_of(&["cookie", "redis"]).doc("where sessions are kept"),
        )
        .fields(&["session_bind", "session_request_headers", "session_response_headers"], &texts())
        .field(
            "disable_session",
            Field::array(Field::string().one_of(&GRANTS))
                .value(without_sessions)
                .doc("methods that begin no session, which here are all but `authorization_code`"),
        )
        .fields(&["session_store_metadata", "session_enforce_same_subject"], &flag(false))
        .fields(&["session_hash_subject", "session_hash_storage_key"], &flag(false))
        .field("session_memcached_host", Field::string().default("127.0.0.1").moot(OF_MEMCACHED))
        .field(
            "session_memcached_port",
            Field::integer().default(11_211).between(0, 65_535).moot(OF_MEMCACHED),
        )
        .fields(
            &["session_memcached_prefix", "session_memcached_socket"],
            &Field::string().moot(OF_MEMCACHED),
        )
        .field("session_memcached_ssl", Field::boolean().default(false).moot(OF_MEMCACHED))
        .field("session_memcached_ssl_verify", Field::boolean().default(true).moot(OF_MEMCACHED))
        .field("redis", Field::record(Arc::new(redis())).doc("the Redis of `session_storage`"))
        .field("authorization_cookie_name", defaulted(Field::string(), "authorization"))
        .field(
            "authorization_cookie_same_site",
            Field::string()
                .default("Default")
                .one_of(&["Strict", "Lax", "None", "Default"])
                .value(of_logins)
                .doc(
                    "`Lax`, or `None` where the answer is posted: other values would keep logins from ending",
                ),
        )
        .field(
            "authorization_rolling_timeout",
            Field::number().default(600).between(1, LONGEST_LOGIN).doc("seconds that a login may take"),
        )
}

/// A Redis, in the words of every field that names one.
pub(super) fn redis() -> Schema {
    let millis = || Field::integer().default(2000).between(1, 2_147_483_646);
    Schema::new()
        .field("host", Field::string().default("127.0.0.1"))
        .field("port", Field::integer().default(6379).between(1, 65_535))
        .field("username", Field::string())
        .field("password", Field::string().secret())
        .field("database", Field::integer().default(0).between(0, 65_535))
        .field("prefix", Field::string())
        .fields(&["ssl", "ssl_verify"], &Field::boolean())
        .field("server_name", Field::string())
        .fields(&["connect_timeout", "send_timeout", "read_timeout"], &millis())
        .field("socket", text())
        .field("keepalive_pool_size", defaulted(Field::integer(), 256))
        .field("keepalive_backlog", Field::integer().unimplemented())
        .fields(&["sentinel_master", "sentinel_role", "sentinel_username", "sentinel_password"], &text())
        .fields(&["sentinel_nodes", "cluster_nodes", "cloud_authentication"], &Field::opaque())
        .field("cluster_max_redirections", defaulted(Field::integer(), 5))
        .field("connection_is_proxied", flag(false))
}

/// PKCE, pushed and signed requests, proof of possession, token exchange.
fn protections(schema: Schema) -> Schema {
    schema
        .field(
            "require_proof_key_for_code_exchange",
            Field::boolean().value(always).doc("PKCE with S256 is always used"),
        )
        .field(
            "require_pushed_authorization_requests",
            Field::boolean().doc("whether requests are pushed although the provider takes others"),
        )
        .field("require_signed_request_object", Field::boolean().value(never).doc("requests are not signed"))
        .fields(
            &["proof_of_possession_mtls", "proof_of_possession_dpop"],
            &Field::string()
                .default("off")
                .one_of(&["off", "optional", "strict"])
                .doc("`strict`: only bound tokens; a bound token needs its proof in any case"),
        )
        .field("proof_of_possession_mtls_from_header", Field::opaque())
        .field(
            "dpop_proof_lifetime",
            Field::number().default(300).between(1, 3600).doc("seconds for which a proof of DPoP counts"),
        )
        .field("dpop_use_nonce", flag(false))
        .field(
            "proof_of_possession_auth_methods_validation",
            Field::boolean().default(true).doc(
                "whether methods are refused beside a proof of possession that know none; else they get in without",
            ),
        )
        .field(
            "token_exchange",
            Field::record(Arc::new(token_exchange()))
                .doc("tokens of these issuers are exchanged for the provider's (RFC 8693)"),
        )
}
