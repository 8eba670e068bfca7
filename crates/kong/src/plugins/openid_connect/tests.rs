use plugins::{
    grants::{self, Kind},
    openid_connect::{self, ClaimRule, TokenSource, Verification},
};

use super::*;

fn translated(members: Value) -> Result<login_methods::Config, ConfigError> {
    let schema = fields::schema();
    let config = schema.complete(members.as_object().unwrap().clone());
    schema.check(&config).map_err(|violations| ConfigError::new("schema", violations.message()))?;
    Reader::of(&config)?.translate()
}

fn with(base: &Value, members: &Value) -> Value {
    let mut all = base.clone();
    all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    all
}

fn grants(members: Value) -> Result<grants::Config, ConfigError> {
    let base = json!({"issuer": "https://idp.example/", "auth_methods": ["client_credentials"]});
    translated(with(&base, &members)).map(|config| config.grants.unwrap())
}

fn tokens(members: Value) -> Result<openid_connect::Config, ConfigError> {
    let base = json!({
        "issuer": "https://idp.example/", "auth_methods": ["bearer", "session", "authorization_code"], "client_id": ["c"],
    });
    translated(with(&base, &members)).map(|config| config.tokens.unwrap())
}

#[test]
fn the_issuer_alone_is_enough_and_turns_off_what_needs_a_client() {
    let config = translated(json!({"issuer": "https://idp.example/"})).unwrap();
    let (tokens, grants) = (config.tokens.unwrap(), config.grants.unwrap());
    assert!(tokens.login.is_none() && tokens.bearer.unwrap().userinfo);
    assert_eq!(grants.ways.iter().map(|way| &way.kind).collect::<Vec<_>>(), [&Kind::ClientCredentials]);
    let config = translated(json!({"issuer": "https://idp.example/", "client_id": ["c"]})).unwrap();
    let (tokens, grants) = (config.tokens.unwrap(), config.grants.unwrap());
    assert!(tokens.login.is_some());
    assert!(matches!(tokens.bearer.unwrap().verification, Verification::Discovered(_)));
    let kinds: Vec<_> = grants.ways.into_iter().map(|way| way.kind).collect();
    assert_eq!(kinds, [Kind::RefreshToken(None), Kind::Password, Kind::ClientCredentials], "in Kong's order");
    for method in CLIENTS_OWN {
        let alone = json!({"issuer": "https://idp.example/", "auth_methods": ["bearer", method]});
        assert_eq!(translated(alone).unwrap_err().path, "client_id", "{method}");
    }
}

#[test]
fn the_issuer_is_taken_with_and_without_its_suffix() {
    for issuer in [
        "https://a.auth0.com",
        "https://a.auth0.com/",
        "https://a.auth0.com/.well-known/openid-configuration",
    ] {
        let config = grants(json!({"issuer": issuer})).unwrap();
        assert_eq!(config.discovery, "https://a.auth0.com/.well-known/openid-configuration");
        assert_eq!(config.answers.realm, "a.auth0.com");
    }
    for bad in ["a", "ftp://a/", "https://a/?x=1"] {
        assert_eq!(grants(json!({"issuer": bad})).unwrap_err().path, "issuer", "{bad}");
    }
}

#[test]
fn lists_of_what_is_required_are_ored_and_their_words_anded() {
    let rules = grants(json!({"scopes_required": ["a b", "c"]})).unwrap().judging.rules;
    let [ClaimRule::AnyOf(tests)] = rules.as_slice() else { panic!("{rules:?}") };
    assert_eq!(tests.iter().map(|test| test.all_of.len()).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(tokens(json!({"claims_forbidden": ["a", "b"]})).unwrap().claim_rules.len(), 2);
}

#[test]
fn tokens_sessions_and_logins_are_the_engines() {
    let config = tokens(json!({
        "consumer_claim": ["sub"], "consumer_claims": [["a", "b"]], "consumer_by": ["id", "username"],
        "session_cookie_name": "kong", "upstream_headers_claims": ["email"], "upstream_headers_names": ["x_user_email"],
        "downstream_headers": [{"header": "x-city", "path": ["address", "city"]}],
        "authenticated_groups_claim": ["groups"], "logout_uri_suffix": "/bye", "scopes": ["openid", "email"],
        "discovery_headers_names": ["x-tenant"], "discovery_headers_values": ["a"], "token_endpoint": "https://idp.example/t",
        "upstream_id_token_header": "x_my_id", "unauthorized_redirect_uri": ["https://a.example/"],
    }))
    .unwrap();
    let consumer = config.consumer.unwrap();
    assert!(config.bearer.is_some() && consumer.required && consumer.claims.len() == 2);
    assert_eq!(config.claim_headers[0].name, "x-user-email");
    assert_eq!(config.claim_headers[1].name, "x-authenticated-groups");
    assert_eq!(
        (config.headers.back[0].name.as_str(), config.headers.named[0].name.as_str()),
        ("x-city", "x-my-id")
    );
    assert_eq!(config.calls.endpoints.token.as_deref(), Some("https://idp.example/t"));
    assert!(config.calls.discovery_headers.contains_key("x-tenant"));
    assert_eq!(config.words.unauthorized_redirect.as_deref(), Some("https://a.example/"));
    let login = config.login.unwrap();
    assert_eq!((login.scope.as_str(), login.cookies.name.as_deref()), ("openid email", Some("kong")));
    assert_eq!(login.logout.suffix.as_deref(), Some("/bye"));
    assert!(login.way_back.is_page && login.redirect_uri.is_none());
    for (members, field) in [
        (json!({"client_id": null}), "client_id"),
        (json!({"client_id": ["a", "b"]}), "client_id"),
        (json!({"verify_signature": false}), "verify_signature"),
        (json!({"verify_claims": false}), "verify_claims"),
        (json!({"bearer_token_param_type": ["cookie"]}), "bearer_token_cookie_name"),
        (json!({"bearer_token_header_name": "x-access-token"}), "bearer_token_header_name"),
        (json!({"upstream_access_token_header": "a:basic"}), "upstream_access_token_header"),
        (json!({"upstream_headers_names": ["a"]}), "upstream_headers_names"),
        (json!({"discovery_headers_names": ["a"]}), "discovery_headers_values"),
        (json!({"client_auth": ["tls_client_auth"]}), "client_auth"),
        (
            json!({"introspection_endpoint_auth_method": "tls_client_auth"}),
            "introspection_endpoint_auth_method",
        ),
        (json!({"client_auth": ["nope"]}), "schema"),
        (json!({"revocation_endpoint_auth_method": "client_secret_post"}), "revocation_endpoint_auth_method"),
        (json!({"logout_revoke": true, "logout_revoke_access_token": false}), "logout_revoke_access_token"),
        (json!({"disable_session": ["bearer", "authorization_code"]}), "schema"),
        (json!({"authorization_cookie_same_site": "Strict"}), "schema"),
        (json!({"require_signed_request_object": true}), "schema"),
        (json!({"principals": {"enabled": true}}), "schema"),
    ] {
        assert_eq!(tokens(members.clone()).unwrap_err().path, field, "{members}");
    }
}

#[test]
fn access_tokens_are_looked_for_where_the_configuration_says() {
    let source = |members: Value| match tokens(members).unwrap().bearer.unwrap().source {
        TokenSource::Places(places) => places,
        other => panic!("{other:?}"),
    };
    let all = source(json!({}));
    assert!(all.authorization && all.query && all.body && all.cookie.is_none());
    assert_eq!(all.headers, ["access-token"]);
    let named = source(json!({"bearer_token_param_type": ["header"], "bearer_token_header_name": "x-token"}));
    assert!(!named.authorization && !named.query && !named.body);
    assert_eq!(named.headers, ["x-token"]);
    let cookie = source(json!({"bearer_token_param_type": ["cookie"], "bearer_token_cookie_name": "t"}));
    assert!(!cookie.authorization && cookie.headers.is_empty() && cookie.cookie.as_deref() == Some("t"));
}

#[test]
fn both_ways_to_name_the_audience_send_it_once() {
    let audience = |members: &Value| grants(members.clone()).unwrap().args;
    let expected = vec![("audience".to_owned(), "https://example.com/".to_owned())];
    let args =
        json!({"token_post_args_names": ["audience"], "token_post_args_values": ["https://example.com/"]});
    assert_eq!(audience(&args), expected);
    assert_eq!(audience(&json!({"audience": ["https://example.com/"]})), expected);
    assert_eq!(audience(&with(&args, &json!({"audience": ["https://example.com/"]}))), expected);
    assert!(grants(json!({"token_post_args_names": ["a"]})).is_err());
}

#[test]
fn tokens_of_named_issuers_are_exchanged_under_conditions() {
    let config = translated(json!({
        "issuer": "https://idp.example/", "auth_methods": ["bearer"], "client_id": ["c"], "client_secret": ["s"],
        "audience": ["https://api.example/"],
        "token_exchange": {
            "subject_token_issuers": [{"issuer": "https://other.example/", "conditions": {"missing_scopes": ["a"]}}],
            "request": {"scopes": ["b"]},
            "cache": {"ttl": 5},
        },
    }));
    let exchange = config.unwrap().grants.unwrap().exchange.unwrap();
    assert_eq!(
        (exchange.scope.as_deref(), exchange.audience.as_deref()),
        (Some("b"), Some("https://api.example/"))
    );
    assert_eq!(exchange.longest, Some(Some(Duration::from_secs(5))));
    assert_eq!(exchange.issuers[0].conditions.missing_scopes, ["a"]);
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    for (field, value) in [
        ("reverify", json!(true)),
        ("token_exchange_endpoint", json!("https://a/")),
        ("client_jwk", json!([{}])),
        ("session_bind", json!(["ip"])),
    ] {
        let error = grants(json!({field: value})).unwrap_err();
        assert!(error.reason.contains(&format!("({field}: not implemented")), "{error}");
    }
    for methods in [json!(["kong_oauth2"]), json!(["kong_oauth2", "bearer"]), json!([]), json!(["magic"])] {
        let error = grants(json!({"auth_methods": methods})).unwrap_err();
        assert!(error.path == "schema" && error.reason.contains("auth_methods"), "{error}");
    }
}

#[test]
fn what_belongs_to_something_that_is_refused_is_taken_as_it_is_exported() {
    let config = tokens(json!({
        "client_arg": "client", "login_tokens": ["access_token"], "login_methods": ["bearer"],
        "login_redirect_mode": "query", "login_redirect_uri": ["https://a.example/"],
        "session_remember_cookie_name": "r", "session_memcached_host": "m", "session_memcached_ssl": true,
        "cluster_cache_redis": {"host": "r", "password": "p"}, "tls_client_auth_ssl_verify": false,
        "mtls_token_endpoint": "https://a.example/t", "principals": {"enabled": false, "directory": "d"},
        "require_signed_request_object": false, "preserve_query_args": true, "disable_session": ["bearer", "password"],
        "logout_revoke_access_token": false, "revocation_endpoint_auth_method": "client_secret_basic",
        "authorization_rolling_timeout": 120, "authorization_cookie_same_site": "Lax",
    }))
    .unwrap();
    assert_eq!(config.login.unwrap().cookies.logins.lifetime, Duration::from_secs(120));
    let uncached = |members: Value| tokens(members).unwrap().bearer.unwrap().uncached;
    assert!(uncached(json!({"auth_methods": ["userinfo"], "cache_user_info": false})));
    assert!(!uncached(json!({"auth_methods": ["bearer"], "cache_user_info": false})));
    assert!(!uncached(json!({"auth_methods": ["userinfo"]})));
}

#[test]
fn the_header_for_the_upstream_has_a_name_and_perhaps_bearer() {
    let header = |value: Value| {
        grants(json!({"upstream_access_token_header": value})).map(|config| {
            config.headers.first().map(|header| (header.name.as_str().to_owned(), header.bearer))
        })
    };
    assert_eq!(header(json!("authorization:bearer")).unwrap(), Some(("authorization".to_owned(), true)));
    assert_eq!(header(json!("x_token")).unwrap(), Some(("x-token".to_owned(), false)));
    assert_eq!(header(Value::Null).unwrap(), None);
    assert!(header(json!("a b")).is_err() && header(json!("a:basic")).is_err());
}
