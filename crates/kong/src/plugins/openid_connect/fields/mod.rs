//! Every field of the schema of Kong 3.15. Each list of names below is of fields that are described alike.

mod sessions;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::schema::{Field, Schema};

/// The field that separates the cached tokens of plugins.
pub(super) const SALT: &str = "cache_tokens_salt";

/// All methods, which is also the default.
pub(super) const GRANTS: [&str; 9] = [
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
/// Where credentials are looked for by default.
pub(super) const PLACES: [&str; 3] = ["header", "query", "body"];
/// Of `tls_client_auth` and `self_signed_tls_client_auth`.
const OF_TLS_CLIENTS: &str = "where the gate shows the provider a certificate of its own";
/// What Kong looks up in its own database: no plugin of this build issues such tokens.
const KONG_OAUTH2: &str = "kong_oauth2";

pub(super) fn schema() -> Schema {
    let schema = issuer(Schema::new());
    let schema = client(schema);
    let schema = credentials(schema);
    let schema = verification(schema);
    let schema = authorisation(schema);
    let schema = headers(schema);
    let schema = requests(schema);
    let schema = caching(schema);
    sessions::schema(schema)
}

fn text() -> Field {
    Field::string().unimplemented()
}

fn texts() -> Field {
    Field::strings().unimplemented()
}

fn flag(default: bool) -> Field {
    Field::boolean().default(default).unimplemented()
}

fn defaulted(field: Field, default: impl Into<Value>) -> Field {
    field.default(default).unimplemented()
}

fn required() -> Field {
    Field::strings().doc("one of these must be there, and of one with blanks all its words")
}

fn built_path(claim: &str) -> Field {
    Field::strings().default(json!([claim])).fewest(1).doc("path of the claim")
}

/// Tokens of Kong's own `oauth2` plugin: a list that names them wants them found. In the default nothing is looked for.
fn built(methods: &Value) -> Result<(), String> {
    let named = methods.as_array().map(Vec::as_slice).unwrap_or_default();
    let is_default = GRANTS.iter().all(|method| named.iter().any(|name| name == method));
    match named.iter().any(|name| name == KONG_OAUTH2) && !is_default {
        false => Ok(()),
        true => Err(format!("{KONG_OAUTH2} is not implemented in this build: leave it out")),
    }
}

/// Exchange of access tokens (RFC 8693).
fn token_exchange() -> Schema {
    let words = |doc: &'static str| Field::strings().doc(doc);
    let conditions = Schema::new()
        .field("has_scopes", words("scopes that it has"))
        .field("missing_scopes", words("scopes of which it lacks one"))
        .field("has_audience", words("audiences that it is for"))
        .field("missing_audience", words("audiences of which it is not for one"));
    let issuer = Schema::new()
        .field("issuer", Field::string().required().doc("`iss` of the tokens that are exchanged"))
        .field("jwks_uri", text())
        .field("verify_signature", flag(false))
        .field("conditions", Field::record(Arc::new(conditions)).doc("what a token must meet"));
    let request = Schema::new()
        .field("scopes", words("`scope` of the exchange; else `scopes`"))
        .field("audience", words("`audience` of the exchange; else `audience`"))
        .field("empty_scopes", Field::boolean().default(false).doc("no `scope` at all"))
        .field("empty_audience", Field::boolean().default(false).doc("no `audience` at all"));
    let cache = Schema::new()
        .field(
            "enabled",
            Field::boolean().default(true).doc("whether a new token serves more than one request"),
        )
        .field("ttl", Field::number().between(0, 31_536_000).doc("seconds that it is kept at most"));
    Schema::new()
        .field("subject_token_issuers", Field::array(Field::record(Arc::new(issuer))).required().fewest(1))
        .field("request", Field::record(Arc::new(request)))
        .field("cache", Field::record(Arc::new(cache)))
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
        .field(
            "extra_jwks_uris",
            Field::strings()
                .doc("key sets whose keys count beside the provider's; whose tokens, says `issuers_allowed`"),
        )
        .field("discovery_headers_names", Field::strings().doc("further headers of the discovery request"))
        .field("discovery_headers_values", Field::strings().secret().doc("their values, in the same order"))
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
            ],
            &Field::string().doc("in place of the one that discovery names"),
        )
        .fields(
            &["mtls_token_endpoint", "mtls_introspection_endpoint", "mtls_revocation_endpoint"],
            &Field::string().moot(OF_TLS_CLIENTS),
        )
        .field("token_exchange_endpoint", text())
}

/// The gateway's own clients, and how they authenticate. Of `client_credentials` the caller brings its own.
fn client(schema: Schema) -> Schema {
    schema
        .field(
            "client_id",
            Field::strings().secret().doc("the gate's own client, for introspection and logins; one"),
        )
        .field("client_secret", Field::strings().secret().doc("its secret"))
        .field(
            "client_auth",
            Field::array(Field::string().one_of(&CLIENT_AUTH)).doc(
                "how the provider's endpoints are shown who asks; one. `private_key_jwt` has the keys of \
                     `/openid-connect/jwks`; callers' own secrets are shown as they are in any case",
            ),
        )
        .field(
            "client_alg",
            Field::array(Field::string().one_of(&["HS256", "HS384", "HS512", "ES256"]))
                .doc("what `client_secret_jwt` signs with; else HS256. `private_key_jwt` signs with ES256"),
        )
        .field("client_jwk", Field::opaque())
        .field(
            "client_arg",
            Field::string().default("client_id").moot("names one of several clients; there is one"),
        )
        .field(
            "token_endpoint_auth_method",
            Field::string().one_of(&CLIENT_AUTH).doc("goes before `client_auth`"),
        )
        .field(
            "introspection_endpoint_auth_method",
            Field::string()
                .one_of(&CLIENT_AUTH)
                .doc("goes before `client_auth` at the introspection endpoint"),
        )
        .field(
            "pushed_authorization_request_endpoint_auth_method",
            Field::string()
                .one_of(&CLIENT_AUTH)
                .doc("goes before `client_auth` where authorization requests are pushed"),
        )
        .field(
            "revocation_endpoint_auth_method",
            Field::string().one_of(&CLIENT_AUTH).doc("the same as at the token endpoint"),
        )
        .field("tls_client_auth_cert_id", Field::string().moot(OF_TLS_CLIENTS))
        .field("tls_client_auth_ssl_verify", Field::boolean().default(true).moot(OF_TLS_CLIENTS))
}

/// Where credentials are looked for.
fn credentials(schema: Schema) -> Schema {
    let places = |doc: &'static str| {
        Field::array(Field::string().one_of(&PLACES)).default(json!(PLACES)).fewest(1).doc(doc)
    };
    schema
        .field(
            "auth_methods",
            Field::array(Field::string().one_of(&GRANTS))
                .default(json!(GRANTS))
                .fewest(1)
                .value(built)
                .doc(
                    "how callers are known; of the first that a request has something for, the outcome counts. In the default, \
                     what needs a `client_id` is off without one, and no tokens are kong_oauth2's",
                ),
        )
        .field(
            "bearer_token_param_type",
            Field::array(Field::string().one_of(&["header", "query", "body", "cookie"]))
                .default(json!(PLACES))
                .fewest(1)
                .doc(
                    "where access tokens are: `header` (`Authorization: Bearer`, `Access-Token`), `query` and `body` \
                     (`access_token`), `cookie`",
                ),
        )
        .field("bearer_token_cookie_name", Field::string().doc("cookie with the token"))
        .field(
            "bearer_token_header_name",
            Field::string().doc("the only header with a token, with or without `Bearer` in front"),
        )
        .field(
            "client_credentials_param_type",
            places(
                "where the caller's id and secret are: `header` (Basic), `query` and `body` (`client_id`, `client_secret`)",
            ),
        )
        .field(
            "password_param_type",
            places("where a user's name and password are: `header` (Basic), `query` and `body` (`username`, `password`)"),
        )
        .field("refresh_token_param_type", places("where a refresh token is"))
        .field(
            "refresh_token_param_name",
            Field::string().doc("its header or argument; else `Refresh-Token` and `refresh_token`"),
        )
        .field("id_token_param_type", defaulted(Field::array(Field::string().one_of(&PLACES)), json!(PLACES)))
        .fields(&["id_token_param_name", "jwt_session_cookie"], &text())
        .field("jwt_session_claim", Field::string().default("sid").moot("of `jwt_session_cookie`"))
        .field("introspect_jwt_tokens", Field::boolean().default(false).doc("JWTs are introspected as well"))
        .field(
            "hide_credentials",
            Field::boolean().default(true).doc("whether the upstream does not see what the caller brought where it was found"),
        )
        .field("anonymous", Field::string().doc("id or name of the consumer that refused requests are taken for"))
        .field("run_on_preflight", Field::boolean().default(true).doc("whether OPTIONS needs credentials"))
        .field("refresh_tokens", Field::boolean().default(true).doc("an access token of a session that is over is refreshed"))
        .field(
            "search_user_info",
            Field::boolean()
                .default(false)
                .doc("whether the userinfo endpoint is asked for claims of access tokens, for consumers and headers"),
        )
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
        .field("domains", Field::strings().doc("accepted `hd`"))
        .field(
            "max_age",
            Field::integer().between(0, 31_536_000).doc("seconds since the user proved who it is"),
        )
        .field("introspection_check_active", flag(true))
        .fields(&["reverify", "resolve_distributed_claims"], &flag(false))
}

/// Who may, and who it is.
fn authorisation(schema: Schema) -> Schema {
    schema
        .field("scopes_required", required())
        .field("scopes_claim", built_path("scope"))
        .field("audience_required", required())
        .field("audience_claim", built_path("aud"))
        .field("groups_required", required())
        .field("groups_claim", built_path("groups"))
        .field("roles_required", required())
        .field("roles_claim", built_path("roles"))
        .field("claims_forbidden", Field::strings().doc("claims that must not be there"))
        .field(
            "consumer_claims",
            Field::array(Field::strings())
                .doc("paths of claims that may name the consumer; the first that is there counts"),
        )
        .field("consumer_claim", Field::strings().doc("path of the claim that names the consumer"))
        .field(
            "consumer_by",
            Field::array(Field::string().one_of(&["id", "username", "custom_id"]))
                .default(json!(["custom_id", "username"]))
                .fewest(1)
                .doc("what the claim may hold, in this order"),
        )
        .field(
            "consumer_optional",
            Field::boolean().default(false).doc("callers who are no consumer get in as well"),
        )
        .field(
            "by_username_ignore_case",
            Field::boolean().default(false).doc("whether capital letters do not matter in a username"),
        )
        .field(
            "consumer_groups_optional",
            Field::boolean().default(false).doc("callers of no known group get in as well"),
        )
        .field(
            "consumer_groups_claim",
            Field::strings().doc(
                "path of the claim with the consumer groups of a caller who is no consumer; the plugins of the first that there \
                 is run",
            ),
        )
        .field(
            "credential_claim",
            Field::strings()
                .default(json!(["sub"]))
                .doc("path of the claim that tells callers apart where none of them is a consumer"),
        )
        .field(
            "authenticated_groups_claim",
            Field::strings()
                .doc("path of the claim with the groups that `acl` looks at, as `X-Authenticated-Groups`"),
        )
        .field("principals", Field::record(Arc::new(principals())).doc("Kong's own directory; off"))
}

/// Look-ups in Kong's own directory.
fn principals() -> Schema {
    let of = "of `enabled`";
    let flag = |default: bool| Field::boolean().default(default).moot(of);
    Schema::new()
        .field("enabled", defaulted(Field::boolean(), false))
        .field("directory", Field::string().default("default").moot(of))
        .field("error_on_miss", flag(true))
        .field("match_consumer", flag(true))
        .field("match_consumer_groups", flag(true))
        .field("principal_by", Field::string().moot(of))
        .field("principal_claim", Field::strings().moot(of))
}

/// What upstream and client are told of the tokens.
fn headers(schema: Schema) -> Schema {
    let header = Schema::new()
        .field("header", Field::string().required())
        .field("path", Field::strings().required().fewest(1));
    let header = Arc::new(header);
    schema
        .field(
            "upstream_access_token_header",
            Field::string()
                .default("authorization:bearer")
                .doc("header for the token; `:bearer` puts `Bearer` before it; null: none"),
        )
        .fields(
            &["upstream_user_info_jwt_header", "downstream_user_info_jwt_header"],
            &Field::string().doc(
                "header for what the userinfo endpoint says of an access token that a caller brings, as it signed it",
            ),
        )
        .fields(
            &["upstream_introspection_jwt_header", "downstream_introspection_jwt_header"],
            &Field::string().doc("header for what the introspection endpoint says, as it signed it"),
        )
        .fields(
            &["upstream_access_token_jwk_header", "downstream_access_token_jwk_header"],
            &Field::string().doc("header for the public key that the token is signed with, base64 of a JWK"),
        )
        .fields(
            &["upstream_id_token_jwk_header", "downstream_id_token_jwk_header"],
            &Field::string()
                .doc("header for the public key that the ID token is signed with, base64 of a JWK"),
        )
        .fields(
            &["upstream_session_id_header", "downstream_session_id_header"],
            &Field::string().doc("header for what tells a session from others; a digest, which opens none"),
        )
        .fields(
            &["upstream_id_token_header", "downstream_id_token_header"],
            &Field::string().doc("header for the ID token"),
        )
        .fields(
            &["upstream_refresh_token_header", "downstream_refresh_token_header"],
            &Field::string().doc("header for the refresh token"),
        )
        .fields(
            &["upstream_user_info_header", "downstream_user_info_header"],
            &Field::string().doc("header for what the userinfo endpoint says, base64 of JSON"),
        )
        .fields(
            &["upstream_introspection_header", "downstream_introspection_header"],
            &Field::string().doc("header for what the introspection endpoint says, base64 of JSON"),
        )
        .field("downstream_access_token_header", Field::string().doc("header of the answer for the token"))
        .field(
            "upstream_headers",
            Field::array(Field::record(Arc::clone(&header)))
                .doc("claims, and the headers that tell the upstream"),
        )
        .field(
            "downstream_headers",
            Field::array(Field::record(header)).doc("claims, and the headers that tell the client"),
        )
        .field("upstream_headers_claims", Field::strings().doc("claims that the upstream is told"))
        .field("downstream_headers_claims", Field::strings().doc("claims that the client is told"))
        .fields(
            &["upstream_headers_names", "downstream_headers_names"],
            &Field::strings().doc("their headers, in the same order"),
        )
}

/// What the provider's endpoints are asked.
fn requests(schema: Schema) -> Schema {
    schema
        .field("scopes", Field::strings().default(json!(["openid"])).doc("`scope` of the token request"))
        .field("audience", Field::strings().doc("`audience` of the token request"))
        .field(
            "redirect_uri",
            Field::strings().doc("where the provider sends the browser back to; else the page itself"),
        )
        .field(
            "response_mode",
            Field::string()
                .default("query")
                .one_of(&["query", "form_post"])
                .doc("how the answer to a login comes"),
        )
        .field("response_type", defaulted(Field::strings(), json!(["code"])))
        .field("token_post_args_names", Field::strings().doc("further arguments of the token request"))
        .field("token_post_args_values", Field::strings().secret().doc("their values, in the same order"))
        .field(
            "token_post_args_client",
            Field::strings()
                .doc("arguments of the token request that are the caller's, from its query, headers or form"),
        )
        .field(
            "introspection_headers_client",
            Field::strings().doc("headers of the caller's that go along to the introspection endpoint"),
        )
        .field("token_headers_names", Field::strings().doc("further headers of the token request"))
        .field("introspection_headers_names", Field::strings().doc("further headers of introspection requests"))
        .field("userinfo_headers_names", Field::strings().doc("further headers of userinfo requests"))
        .fields(
            &["token_headers_values", "introspection_headers_values", "userinfo_headers_values"],
            &Field::strings().secret().doc("their values, in the same order"),
        )
        .field(
            "token_headers_client",
            Field::strings().doc(
                "headers of the caller's that go along to the token endpoint; a session is renewed without them",
            ),
        )
        .field(
            "token_headers_replay",
            Field::strings().doc("headers of the token endpoint's answer that the caller is told"),
        )
        .field("token_headers_prefix", Field::string().doc("what stands before their names"))
        .field(
            "token_headers_grants",
            Field::array(Field::string().one_of(&[
                "password",
                "client_credentials",
                "authorization_code",
                "refresh_token",
            ]))
            .doc("the grants of which they are told; else all"),
        )
        .field(
            "authorization_query_args_client",
            Field::strings().doc(
                "arguments of the caller's query that go along in the authorization request, before those of that name here",
            ),
        )
        .field(
            "introspection_post_args_client",
            Field::strings().doc("arguments of the introspection request that are the caller's, from its query"),
        )
        .field(
            "introspection_post_args_client_headers",
            Field::strings().doc("arguments of the introspection request that are the caller's, from its headers"),
        )
        .field(
            "userinfo_headers_client",
            Field::strings().doc("headers of the caller's that go along to the userinfo endpoint"),
        )
        .field("userinfo_query_args_names", Field::strings().doc("further arguments of userinfo requests"))
        .field("userinfo_query_args_values", Field::strings().doc("their values, in the same order"))
        .field(
            "userinfo_query_args_client",
            Field::strings().doc("arguments of the caller's query that go along to the userinfo endpoint"),
        )
        .field(
            "authorization_query_args_names",
            Field::strings().doc("further arguments of the authorization request"),
        )
        .field("authorization_query_args_values", Field::strings().doc("their values, in the same order"))
        .field(
            "introspection_post_args_names",
            Field::strings().doc("further arguments of the introspection request"),
        )
        .field(
            "introspection_post_args_values",
            Field::strings().secret().doc("their values, in the same order"),
        )
        .field(
            "introspection_hint",
            Field::string().default("access_token").doc("`token_type_hint` of the introspection request"),
        )
        .field(
            "introspection_token_param_name",
            Field::string().default("token").doc("argument with the token"),
        )
        .field("revocation_token_param_name", defaulted(Field::string(), "token"))
        .field(
            "introspection_accept",
            Field::string()
                .one_of(&["application/json", "application/token-introspection+jwt", "application/jwt"])
                .default("application/json")
                .doc("as what introspection answers are asked for; signed ones (RFC 9701) are verified either way"),
        )
        .field(
            "userinfo_accept",
            Field::string()
                .one_of(&["application/json", "application/jwt"])
                .default("application/json")
                .doc("as what claims are asked for; signed ones are verified either way"),
        )
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
        .field(
            "cache_introspection",
            Field::boolean().default(true).doc("an answer counts for a minute at most"),
        )
        .field(
            "cache_user_info",
            Field::boolean()
                .default(true)
                .doc("whether an answer of the userinfo endpoint serves more than one request"),
        )
        .field(
            "cache_token_exchange",
            Field::boolean().default(true).doc("whether an exchanged token serves more than one request"),
        )
        .field(
            "cache_ttl",
            Field::number()
                .default(3600)
                .between(0, 31_536_000)
                .doc("seconds, for tokens that do not say it"),
        )
        .field(
            "cache_ttl_max",
            Field::number()
                .between(0, 31_536_000)
                .doc("seconds that a token, or what an endpoint says of one, is kept at most"),
        )
        .field(
            "cache_ttl_min",
            Field::number().between(0, 31_536_000).doc(
                "seconds that a token is kept at least of which the provider does not say how long it lives",
            ),
        )
        .field(
            "cache_ttl_neg",
            Field::number()
                .between(0, 31_536_000)
                .doc("seconds for which credentials that the provider refused are not shown to it again"),
        )
        .field(
            "cache_ttl_resurrect",
            Field::number().between(0, 31_536_000).doc(
                "seconds at a time for which a token serves on that a provider which is down cannot replace, never beyond \
                 its end",
            ),
        )
        .field("cluster_cache_strategy", defaulted(Field::string(), "off"))
        .field(
            "cluster_cache_items",
            Field::strings().default(json!(["introspection"])).moot("of `cluster_cache_strategy`"),
        )
        .field(
            "cluster_cache_redis",
            Field::record(Arc::new(sessions::redis())).moot("of `cluster_cache_strategy`"),
        )
}
