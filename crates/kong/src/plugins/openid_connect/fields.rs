//! Every field of the schema of Kong 3.15. Each list of names below is of fields that are described alike.

use serde_json::{Value, json};

use crate::schema::{Field, Schema};

/// The field that separates the cached tokens of plugins.
pub(super) const SALT: &str = "cache_tokens_salt";

const GRANTS: [&str; 9] = [
    "password",
    "client_credentials",
    "authorization_code",
    "bearer",
    "introspection",
    "userinfo",
    "kong_oauth2",
    "refresh_token",
    "session",
];
const CLIENT_AUTH: [&str; 7] = [
    "client_secret_basic",
    "client_secret_post",
    "client_secret_jwt",
    "private_key_jwt",
    "tls_client_auth",
    "self_signed_tls_client_auth",
    "none",
];
const PLACES: [&str; 3] = ["header", "query", "body"];

pub(super) fn schema() -> Schema {
    let schema = issuer(Schema::new());
    let schema = client(schema);
    let schema = credentials(schema);
    let schema = verification(schema);
    let schema = authorisation(schema);
    let schema = headers(schema);
    let schema = requests(schema);
    let schema = caching(schema);
    let schema = answers(schema);
    let schema = logout(schema);
    let schema = sessions(schema);
    protections(schema)
}

fn text() -> Field {
    Field::string().unimplemented()
}

fn texts() -> Field {
    Field::strings().unimplemented()
}

fn number() -> Field {
    Field::number().unimplemented()
}

fn flag(default: bool) -> Field {
    Field::boolean().default(default).unimplemented()
}

fn defaulted(field: Field, default: impl Into<Value>) -> Field {
    field.default(default).unimplemented()
}

fn grants() -> Field {
    Field::set(Field::string().one_of(&GRANTS))
}

/// Core: issuer, discovery, trust.
fn issuer(schema: Schema) -> Schema {
    schema
        .field("issuer", Field::string().required().doc("issuer, or URL of the discovery document"))
        .field("using_pseudo_issuer", flag(false))
        .field("rediscovery_lifetime", defaulted(Field::number(), 30))
        .fields(&["discovery_headers_names", "discovery_headers_values", "extra_jwks_uris"], &texts())
        .field(
            "issuers_allowed",
            Field::strings().doc("accepted `iss` of tokens; without it, the discovered issuer"),
        )
        .field("verify_parameters", flag(false))
        .fields(
            &[
                "jwks_endpoint",
                "authorization_endpoint",
                "token_endpoint",
                "introspection_endpoint",
                "revocation_endpoint",
                "userinfo_endpoint",
                "end_session_endpoint",
                "pushed_authorization_request_endpoint",
                "token_exchange_endpoint",
                "mtls_token_endpoint",
                "mtls_introspection_endpoint",
                "mtls_revocation_endpoint",
            ],
            &text(),
        )
}

/// The gateway's own clients, and how they authenticate. Of `client_credentials` the caller brings its own.
fn client(schema: Schema) -> Schema {
    schema
        .field("client_id", texts().secret())
        .field("client_secret", texts().secret())
        .field(
            "client_auth",
            Field::array(Field::string().one_of(&CLIENT_AUTH))
                .doc("how the token endpoint is shown id and secret; the first counts"),
        )
        .field("client_alg", texts())
        .field("client_jwk", Field::opaque())
        .field("client_arg", defaulted(Field::string(), "client_id"))
        .field(
            "token_endpoint_auth_method",
            Field::string().one_of(&CLIENT_AUTH).doc("goes before `client_auth`"),
        )
        .fields(
            &[
                "introspection_endpoint_auth_method",
                "revocation_endpoint_auth_method",
                "pushed_authorization_request_endpoint_auth_method",
                "tls_client_auth_cert_id",
            ],
            &text(),
        )
        .field("tls_client_auth_ssl_verify", flag(true))
}

/// Where credentials are looked for.
fn credentials(schema: Schema) -> Schema {
    let places = || defaulted(Field::array(Field::string().one_of(&PLACES)), json!(PLACES));
    schema
        .field("auth_methods", grants().default(json!(GRANTS)).doc("`[\"client_credentials\"]`"))
        .field("bearer_token_param_type", places())
        .fields(&["bearer_token_cookie_name", "bearer_token_header_name"], &text())
        .field(
            "client_credentials_param_type",
            // Kong's default has the body too; what is not looked at must not be listed.
            Field::array(Field::string().one_of(&PLACES))
                .default(json!(["header", "query"]))
                .fewest(1)
                .doc("where the caller's id and secret are: `header` (Basic), `query`"),
        )
        .fields(&["password_param_type", "refresh_token_param_type", "id_token_param_type"], &places())
        .fields(&["refresh_token_param_name", "id_token_param_name", "jwt_session_cookie"], &text())
        .field("jwt_session_claim", defaulted(Field::string(), "sid"))
        .field("introspect_jwt_tokens", flag(false))
        .field(
            "hide_credentials",
            Field::boolean().default(true).doc("whether the upstream does not see id and secret"),
        )
        .field("anonymous", text())
        .field("run_on_preflight", Field::boolean().default(true).doc("whether OPTIONS needs credentials"))
        .field("refresh_tokens", flag(true))
        .field("search_user_info", flag(false))
}

/// What is checked of tokens.
fn verification(schema: Schema) -> Schema {
    schema
        .field("verify_signature", Field::boolean().default(true).doc("of tokens that are JWTs"))
        .field(
            "ignore_signature",
            grants().default(json!([])).doc("grants whose tokens' signatures are not verified"),
        )
        .field("enable_hs_signatures", flag(false))
        .field(
            "verify_claims",
            Field::boolean().default(true).doc("issuer and times of tokens that are JWTs"),
        )
        .field("verify_nonce", flag(true))
        .field(
            "leeway",
            Field::number().default(0).between(0, 3600).doc("seconds that a token's times may be off"),
        )
        .field("domains", texts())
        .field("max_age", number())
        .field("introspection_check_active", flag(true))
        .fields(&["reverify", "resolve_distributed_claims"], &flag(false))
}

/// Who may, and who it is.
fn authorisation(schema: Schema) -> Schema {
    let path = |claim: &str| defaulted(Field::strings(), json!([claim]));
    schema
        .field("scopes_required", texts())
        .field("scopes_claim", path("scope"))
        .field("audience_required", texts())
        .field("audience_claim", path("aud"))
        .field("groups_required", texts())
        .field("groups_claim", path("groups"))
        .field("roles_required", texts())
        .field("roles_claim", path("roles"))
        .field("claims_forbidden", texts())
        .field("consumer_claims", Field::opaque())
        .field("consumer_claim", texts())
        .field("consumer_by", defaulted(Field::set(Field::string()), json!(["custom_id", "username"])))
        .fields(&["by_username_ignore_case", "consumer_optional", "consumer_groups_optional"], &flag(false))
        .field("consumer_groups_claim", texts())
        .field("credential_claim", path("sub"))
        .field("authenticated_groups_claim", texts())
        .field("principals", Field::opaque())
}

/// What upstream and client are told of the tokens.
fn headers(schema: Schema) -> Schema {
    schema
        .field(
            "upstream_access_token_header",
            Field::string()
                .default("authorization:bearer")
                .doc("header for the token; `:bearer` puts `Bearer` before it; null: none"),
        )
        .fields(
            &[
                "upstream_access_token_jwk_header",
                "upstream_id_token_header",
                "upstream_id_token_jwk_header",
                "upstream_refresh_token_header",
                "upstream_user_info_header",
                "upstream_user_info_jwt_header",
                "upstream_introspection_header",
                "upstream_introspection_jwt_header",
                "upstream_session_id_header",
                "downstream_access_token_header",
                "downstream_access_token_jwk_header",
                "downstream_id_token_header",
                "downstream_id_token_jwk_header",
                "downstream_refresh_token_header",
                "downstream_user_info_header",
                "downstream_user_info_jwt_header",
                "downstream_introspection_header",
                "downstream_introspection_jwt_header",
                "downstream_session_id_header",
            ],
            &text(),
        )
        .fields(&["upstream_headers", "downstream_headers"], &Field::opaque())
        .fields(
            &[
                "upstream_headers_claims",
                "upstream_headers_names",
                "downstream_headers_claims",
                "downstream_headers_names",
            ],
            &texts(),
        )
}

/// What the provider's endpoints are asked.
fn requests(schema: Schema) -> Schema {
    schema
        .field("scopes", Field::strings().default(json!(["openid"])).doc("`scope` of the token request"))
        .field("audience", Field::strings().doc("`audience` of the token request"))
        .field("redirect_uri", texts())
        .field("response_mode", defaulted(Field::string(), "query"))
        .field("response_type", defaulted(Field::strings(), json!(["code"])))
        .field("token_post_args_names", Field::strings().doc("further arguments of the token request"))
        .field("token_post_args_values", Field::strings().secret().doc("their values, in the same order"))
        .fields(
            &[
                "token_post_args_client",
                "token_headers_names",
                "token_headers_values",
                "token_headers_client",
                "token_headers_replay",
                "token_headers_grants",
                "authorization_query_args_names",
                "authorization_query_args_values",
                "authorization_query_args_client",
                "introspection_headers_names",
                "introspection_headers_values",
                "introspection_headers_client",
                "introspection_post_args_names",
                "introspection_post_args_values",
                "introspection_post_args_client",
                "introspection_post_args_client_headers",
                "userinfo_headers_names",
                "userinfo_headers_values",
                "userinfo_headers_client",
                "userinfo_query_args_names",
                "userinfo_query_args_values",
                "userinfo_query_args_client",
            ],
            &texts(),
        )
        .field("token_headers_prefix", text())
        .field("introspection_hint", defaulted(Field::string(), "access_token"))
        .fields(
            &["introspection_token_param_name", "revocation_token_param_name"],
            &defaulted(Field::string(), "token"),
        )
        .fields(&["introspection_accept", "userinfo_accept"], &defaulted(Field::string(), "application/json"))
}

/// What is kept, and for how long.
fn caching(schema: Schema) -> Schema {
    schema
        .field(
            "cache_tokens",
            Field::boolean().default(true).doc("whether a token serves more than one request"),
        )
        .field(SALT, Field::string().doc("plugins with the same salt share tokens; generated"))
        .field(
            "token_cache_key_include_scope",
            Field::boolean().default(false).doc("scopes always separate tokens here"),
        )
        .fields(&["cache_introspection", "cache_user_info", "cache_token_exchange"], &flag(true))
        .field(
            "cache_ttl",
            Field::number()
                .default(3600)
                .between(0, 31_536_000)
                .doc("seconds, for tokens that do not say it"),
        )
        .field(
            "cache_ttl_max",
            Field::number().between(0, 31_536_000).doc("seconds that a token is kept at most"),
        )
        .fields(&["cache_ttl_min", "cache_ttl_neg", "cache_ttl_resurrect"], &number())
        .field("cluster_cache_strategy", defaulted(Field::string(), "off"))
        .field("cluster_cache_items", defaulted(Field::strings(), json!(["introspection"])))
        .field("cluster_cache_redis", Field::opaque())
}

/// The gate's own answers, and how it reaches the provider.
fn answers(schema: Schema) -> Schema {
    schema
        .field("login_action", defaulted(Field::string(), "upstream"))
        .field("login_methods", defaulted(Field::strings(), json!(["authorization_code"])))
        .field("login_tokens", defaulted(Field::strings(), json!(["id_token"])))
        .field("login_redirect_mode", defaulted(Field::string(), "fragment"))
        .fields(
            &[
                "login_redirect_uri",
                "unauthorized_redirect_uri",
                "forbidden_redirect_uri",
                "unexpected_redirect_uri",
            ],
            &texts(),
        )
        .fields(&["preserve_query_args", "display_errors"], &flag(false))
        .field(
            "unauthorized_error_message",
            Field::string().default("Unauthorized").doc("`message` of a 401"),
        )
        .field("forbidden_error_message", defaulted(Field::string(), "Forbidden"))
        .fields(&["unauthorized_destroy_session", "forbidden_destroy_session", "keepalive"], &flag(true))
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
            &[
                "http_proxy",
                "http_proxy_authorization",
                "https_proxy",
                "https_proxy_authorization",
                "no_proxy",
            ],
            &text(),
        )
}

fn logout(schema: Schema) -> Schema {
    schema
        .fields(&["logout_query_arg", "logout_post_arg", "logout_uri_suffix"], &text())
        .field("logout_methods", defaulted(Field::set(Field::string()), json!(["DELETE", "POST"])))
        .fields(&["logout_redirect_uri", "post_logout_redirect_uri"], &texts())
        .field("logout_revoke", flag(false))
        .fields(&["logout_revoke_access_token", "logout_revoke_refresh_token"], &flag(true))
}

fn sessions(schema: Schema) -> Schema {
    let seconds = |default: i64| defaulted(Field::number(), default);
    schema
        .field("session_secret", text().secret())
        .field("session_audience", defaulted(Field::string(), "default"))
        .field("session_cookie_name", defaulted(Field::string(), "session"))
        .fields(&["session_cookie_path", "authorization_cookie_path"], &defaulted(Field::string(), "/"))
        .fields(&["session_cookie_domain", "authorization_cookie_domain"], &text())
        .field("session_cookie_same_site", defaulted(Field::string(), "Lax"))
        .fields(&["session_cookie_http_only", "authorization_cookie_http_only"], &flag(true))
        .fields(&["session_cookie_secure", "authorization_cookie_secure"], &Field::boolean().unimplemented())
        .field("session_idling_timeout", seconds(900))
        .field("session_rolling_timeout", seconds(3600))
        .field("session_absolute_timeout", seconds(86_400))
        .field("session_remember", flag(false))
        .field("session_remember_cookie_name", defaulted(Field::string(), "remember"))
        .field("session_remember_rolling_timeout", seconds(604_800))
        .field("session_remember_absolute_timeout", seconds(2_592_000))
        .field("session_storage", defaulted(Field::string(), "cookie"))
        .fields(
            &["session_bind", "session_request_headers", "session_response_headers", "disable_session"],
            &texts(),
        )
        .fields(
            &[
                "session_store_metadata",
                "session_enforce_same_subject",
                "session_hash_subject",
                "session_hash_storage_key",
                "session_memcached_ssl",
            ],
            &flag(false),
        )
        .field("session_memcached_host", defaulted(Field::string(), "127.0.0.1"))
        .field("session_memcached_port", defaulted(Field::integer(), 11_211))
        .fields(&["session_memcached_prefix", "session_memcached_socket"], &text())
        .field("session_memcached_ssl_verify", flag(true))
        .field("redis", Field::opaque())
        .field("authorization_cookie_name", defaulted(Field::string(), "authorization"))
        .field("authorization_cookie_same_site", defaulted(Field::string(), "Default"))
        .field("authorization_rolling_timeout", seconds(600))
}

/// PKCE, pushed and signed requests, proof of possession, token exchange.
fn protections(schema: Schema) -> Schema {
    schema
        .fields(
            &[
                "require_proof_key_for_code_exchange",
                "require_pushed_authorization_requests",
                "require_signed_request_object",
            ],
            &Field::boolean().unimplemented(),
        )
        .fields(&["proof_of_possession_mtls", "proof_of_possession_dpop"], &defaulted(Field::string(), "off"))
        .field("proof_of_possession_mtls_from_header", Field::opaque())
        .field("dpop_proof_lifetime", defaulted(Field::number(), 300))
        .field("dpop_use_nonce", flag(false))
        .field("proof_of_possession_auth_methods_validation", flag(true))
        .field("token_exchange", Field::opaque())
}
