use base::{Clock, Keyring, Random};
use fetch::{Fetcher, Policy};
use plugins::openid_connect::{AccessTokenHeader, TokenSource, Verification};
use rp::{
    assertion::AssertionKeys,
    provider::Providers,
    session::{
        EndedRecord, EndedSessions, EndedStore, Lifetimes, RedisLinks, Refreshes, SameSite, Saved, TlsChoices,
    },
};
use serde_json::json;
use tokio::runtime::Handle;

use super::*;

mod client;

struct Nowhere;

impl EndedStore for Nowhere {
    fn save(&self, _record: EndedRecord) -> Saved {
        Box::pin(async { Ok(()) })
    }

    fn forget(&self, _keys: Vec<String>) -> Saved {
        Box::pin(async { Ok(()) })
    }
}

/// No Redis is asked for in these tests.
fn redis(runtime: &Handle) -> RedisLinks {
    let tls = fetch::tls_config(None, true).unwrap();
    RedisLinks::new(runtime.clone(), TlsChoices { verified: tls.clone(), unverified: tls }, Vec::new())
}

fn plugin() -> OpenidConnect {
    let (clock, random, runtime) = (Clock::system(), Random::system(), Handle::current());
    let fetcher = Fetcher::new(&Policy::default(), runtime.clone(), clock.clone()).unwrap();
    OpenidConnect::new(Services {
        providers: Providers::new(fetcher, clock.clone(), runtime.clone()),
        session_keys: Keyring::generate(&random),
        assertion_keys: Arc::new(AssertionKeys::new(Vec::new())),
        used_states: Arc::default(),
        used_logouts: Arc::default(),
        redis: redis(&runtime),
        ended: Arc::new(EndedSessions::new(Arc::new(Nowhere), [])),
        refreshes: Arc::new(Refreshes::new(runtime, clock.clone(), random.clone())),
        proofs: Arc::default(),
        revocations: Arc::default(),
        clock,
        random,
    })
}

fn least() -> Value {
    json!({
        "client_id": "a", "client_secret": "b",
        "discovery": "https://idp.example/.well-known/openid-configuration",
    })
}

fn with(members: Value) -> Value {
    let mut conf = least();
    conf.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    conf
}

/// What a write of `conf` comes to; an error as the client sees it, behind `err: `.
fn save(plugin: &OpenidConnect, conf: &Value) -> Result<(), String> {
    plugin.check_before_schema(conf.as_object().unwrap())?;
    plugin.schema().validate(conf)?;
    plugin.check_after_schema(conf.as_object().unwrap())?;
    let cx = CompileContext { resource: "routes/1" };
    plugin.compile(conf, &cx).map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn the_configurations_of_the_guides_are_accepted() {
    let plugin = plugin();
    for conf in [
        json!({"scope": "openid profile", "redirect_uri": "http://localhost:9080/anything/callback"}),
        json!({"scope": "openid profile", "redirect_uri": "http://localhost:9080/anything/callback",
               "bearer_only": true, "use_jwks": true}),
        json!({"scope": "openid profile email", "redirect_uri": "http://your-app.com/callback",
               "bearer_only": true, "realm": "Auth0"}),
        json!({"scope": "openid profile email", "bearer_only": true}),
    ] {
        assert_eq!(save(&plugin, &with(conf.clone())), Ok(()), "{conf}");
    }
    assert_eq!(plugin.aliases(), [("relm", "realm")]);
}

#[tokio::test]
async fn save_time_errors_are_worded_like_apisix() {
    let plugin = plugin();
    let mut without_secret = least();
    without_secret.as_object_mut().unwrap().remove("client_secret");
    let without = |conf: Value| {
        let mut members = without_secret.clone();
        members.as_object_mut().unwrap().extend(conf.as_object().unwrap().clone());
        save(&plugin, &members)
    };
    let required = Err(r#"property "client_secret" is required"#.to_owned());
    assert_eq!(without(json!({})), required);
    assert_eq!(without(json!({"bearer_only": true})), required);
    assert_eq!(without(json!({"bearer_only": true, "use_jwks": true})), Ok(()));
    assert_eq!(without(json!({"use_pkce": true})), Ok(()));
    for (conf, text) in [
        (
            json!({"client_id": 1}),
            r#"property "client_id" validation failed: wrong type: expected string, got number"#,
        ),
        (json!({"timeout": 0}), r#"property "timeout" validation failed: expected 0 to be at least 1"#),
        (
            json!({"session": {"secret": "short"}}),
            r#"property "session" validation failed: property "secret" validation failed: string too short, expected at least 16, got 5"#,
        ),
        (
            json!({"unauth_action": "x"}),
            r#"property "unauth_action" validation failed: matches none of the enum values"#,
        ),
        (json!({"use_par": true}), r#"property "use_par" is not allowed, use "par.enabled" instead"#),
        (json!({"nonsense": 1}), "additional properties forbidden, found nonsense"),
        (
            json!({"accept_none_alg": true}),
            r#"property "accept_none_alg" validation failed: unsigned tokens are never accepted"#,
        ),
    ] {
        assert_eq!(save(&plugin, &with(conf.clone())), Err(text.to_owned()), "{conf}");
    }
}

#[tokio::test]
async fn what_is_not_implemented_is_refused_by_name() {
    let plugin = plugin();
    for (conf, name) in [
        (
            json!({"session": {"secret": "0123456789abcdef", "storage": "redis"}}),
            r#"property "session" validation failed: then clause did not match"#,
        ),
        (json!({"session": {"redis": {"host": "x"}}}), "string too short"),
        (json!({"response_mode": "fragment"}), "fragment"),
        (json!({"authorization_params": {"state": "x"}}), "authorization_params.state"),
    ] {
        let error = save(&plugin, &with(conf.clone())).expect_err("it is refused");
        assert!(error.contains(name), "{conf}: {error}");
    }
    let harmless = json!({
        "par": {"enabled": false}, "dpop": {"enabled": false}, "accept_none_alg": false, "accept_unsupported_alg": true,
        "session": {"secret": "0123456789abcdef", "storage": "cookie"}, "response_mode": "query", "use_nonce": true,
    });
    assert_eq!(save(&plugin, &with(harmless)), Ok(()));
}

/// Every attribute of APISIX 3.18 with a value it takes there, and those of its library that people use. Those of the
/// second list are not implemented.
#[tokio::test]
async fn every_attribute_of_apisix_works_or_is_refused_by_name() {
    let plugin = plugin();
    let works: Value = serde_json::from_str(
        r#"{
        "scope": "openid email", "required_scopes": ["a"], "realm": "r", "bearer_only": true, "logout_path": "/out",
        "post_logout_redirect_uri": "https://app.example/", "redirect_uri": "/back", "unauth_action": "deny", "timeout": 5,
        "ssl_verify": false, "introspection_endpoint": "https://idp.example/introspect",
        "introspection_endpoint_auth_method": "client_secret_post", "token_endpoint_auth_method": "client_secret_post",
        "use_jwks": true, "token_signing_alg_values_expected": "RS256", "use_pkce": true, "use_nonce": true,
        "set_access_token_header": false, "access_token_in_authorization_header": true, "set_id_token_header": false,
        "set_raw_id_token_header": true, "set_userinfo_header": false, "set_refresh_token_header": true,
        "authorization_params": {"audience": "x"}, "renew_access_token_on_expiry": false, "access_token_expires_in": 60,
        "access_token_expires_leeway": 5, "iat_slack": 5, "accept_none_alg": false, "accept_unsupported_alg": false,
        "force_reauthorize": true, "revoke_tokens_on_logout": true, "jwk_expires_in": 60,
        "jwt_verification_cache_ignore": true, "cache_segment": "s", "introspection_interval": 5,
        "introspection_expiry_claim": "ttl", "claim_validator": {"audience": {"claim": "aud", "required": true}},
        "prompt": "login", "display": "page", "response_mode": "form_post", "session_contents": {"user": true},
        "refresh_session_interval": 1, "redirect_after_logout_uri": "/", "redirect_after_logout_with_id_token_hint": true,
        "redirect_after_logout_with_client_id": true, "local_redirect_uri_path": "/", "redirect_uri_scheme": "https",
        "authorization_state_expires_in": 1, "authorization_state_max_number": 1,
        "backchannel_logout_path": "/back", "frontchannel_logout_path": "/front",
        "claim_rules": [{"claim": "a"}], "claim_headers": {"X-A": "a"},
        "par": {"enabled": true, "endpoint": "https://idp.example/par", "endpoint_auth_method": "client_secret_basic"},
        "dpop": {"enabled": false, "signing_alg": "PS256"}, "proxy_opts": {"https_proxy": "http://proxy.example:3128"},
        "client_rsa_private_key": "x", "client_rsa_private_key_id": "x", "client_jwt_assertion_expires_in": 60,
        "client_jwt_assertion_alg": "RS256", "client_jwt_assertion_audience": "x",
        "introspection_addon_headers": ["X-Tenant"], "claim_schema": {}, "discovery_expires_in": 1,
        "introspection_params": {"a": "b"}, "introspection_token_param_name": "x", "introspection_cache_ignore": true,
        "introspection_enable_negative_cache": true, "keepalive": "no",
        "session": {"secret": "0123456789abcdef", "cookie_name": "n", "cookie_path": "/", "cookie_domain": "app.example",
            "cookie_secure": true, "cookie_http_only": true, "cookie_same_site": "Strict", "idling_timeout": 1,
            "rolling_timeout": 1, "absolute_timeout": 1, "cookie": {"lifetime": 1}, "storage": "redis",
            "redis": {"host": "redis.example", "port": 1, "database": 3, "prefix": "p", "username": "u", "password": "w",
                "ssl": true, "ssl_verify": false, "server_name": "r.example", "connect_timeout": 1, "send_timeout": 1,
                "read_timeout": 1, "keepalive_timeout": 1000}}
    }"#,
    )
    .unwrap();
    let absent: Value = serde_json::from_str(
        r#"{
        "accept_none_alg": true, "response_mode": "fragment", "pass_cookies": "a;b"
    }"#,
    )
    .unwrap();
    for (name, value) in works.as_object().unwrap() {
        assert_eq!(save(&plugin, &with(json!({ name: value }))), Ok(()), "{name}");
    }
    for (path, value) in absent.as_object().unwrap() {
        let (conf, name) = match path.split_once('.') {
            Some((outer, name)) => (json!({ outer: { name: value } }), name),
            None => (json!({ path: value }), path.as_str()),
        };
        let answer = save(&plugin, &with(conf));
        let harmless = value == &json!({});
        match answer {
            Err(error) => assert!(error.contains(name), "{path}: {error}"),
            Ok(()) => assert!(harmless, "{path} is accepted and ignored"),
        }
    }
    let longest = json!({"timeout": 3_600_000});
    assert_eq!(save(&plugin, &with(longest)), Ok(()), "an hour, in milliseconds");
    assert!(save(&plugin, &with(json!({"timeout": 3601}))).unwrap_err().contains("timeout"));
}

#[test]
fn attributes_mean_what_apisix_says() {
    let config = config(&with(json!({
        "bearer_only": false, "introspection_endpoint": "https://idp.example/introspect", "timeout": 5000,
        "ssl_verify": "no", "iat_slack": 7, "introspection_interval": 0, "prompt": "login",
        "authorization_params": {"audience": "https://api/", "max_age": 5, "prompt": "consent"},
        "claim_validator": {"issuer": {"valid_issuers": ["i"]}, "audience": {"match_with_client_id": true}},
        "session": {"cookie": {"lifetime": 50}, "cookie_same_site": "Strict", "cookie_http_only": false},
        "set_access_token_header": true, "access_token_in_authorization_header": true,
    })))
    .unwrap();
    assert_eq!(config.calls.timeout, Duration::from_secs(5));
    assert!(!config.calls.verify_tls);
    assert_eq!((config.slack, config.expiry_leeway), (Duration::from_secs(7), Duration::from_secs(7)));
    assert_eq!(config.issuers, ["i"]);
    assert_eq!(config.headers.access_token, AccessTokenHeader::Authorization);
    let bearer = config.bearer.unwrap();
    assert!(bearer.audience.required && bearer.audience.is_client && bearer.audience.claim == "aud");
    let Verification::Introspection(introspection) = bearer.verification else {
        panic!("another verification")
    };
    assert_eq!(introspection.max_age, Duration::from_secs(bearer::UNTIL_EXP));
    let login = config.login.unwrap();
    assert_eq!(login.lifetimes.absolute, Duration::from_secs(50));
    assert_eq!(login.cookies.same_site, SameSite::Strict);
    assert!(login.cookies.readable_by_scripts && login.secret.is_none());
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected = [
        pair("prompt", "login"),
        pair("audience", "https://api/"),
        pair("max_age", "5"),
        pair("prompt", "consent"),
    ];
    assert_eq!(login.authorization_params, expected);
}

#[test]
fn left_out_attributes_have_apisix_defaults_or_safer_ones() {
    let config = config(&least()).unwrap();
    assert!(config.bearer.is_none());
    assert_eq!(config.calls.timeout, Duration::from_secs(3));
    assert!(config.calls.verify_tls);
    assert_eq!((config.slack, config.expiry_leeway), (Duration::from_secs(120), Duration::ZERO));
    let login = config.login.unwrap();
    assert_eq!((login.scope.as_str(), login.logout_path.as_str()), ("openid", "/logout"));
    assert_eq!(login.lifetimes, Lifetimes::default());
    assert!(login.renew);
}

#[test]
fn bearer_only_alone_judges_tokens_by_what_discovery_names() {
    let verification = |conf: Value| config(&with(conf)).unwrap().bearer.unwrap().verification;
    assert!(matches!(verification(json!({"bearer_only": true})), Verification::Discovered(_)));
    assert!(matches!(verification(json!({"use_jwks": true})), Verification::Jwks));
    let key = json!({"public_key": "pem", "use_jwks": true, "introspection_endpoint": "https://x/"});
    assert!(matches!(verification(key), Verification::PublicKey(_)));
    let local = json!({"use_jwks": true, "introspection_endpoint": "https://x/"});
    assert!(matches!(verification(local), Verification::Jwks));
    assert!(config(&with(json!({"bearer_only": true}))).unwrap().login.is_none());
}

#[test]
fn s01_secrets_are_known_as_such() {
    let paths = schema().secret_paths();
    for secret in [
        "client_secret",
        "symmetric_key",
        "session.secret",
        "session.redis.password",
        "id_token_decryption_key",
        "client_rsa_private_key",
        "dpop.private_key",
        "proxy_opts.http_proxy_authorization",
        "proxy_opts.https_proxy_authorization",
    ] {
        assert!(paths.iter().any(|path| path == secret), "{secret}");
    }
}

#[tokio::test]
async fn a_key_of_hs_tokens_is_long_enough_and_alone() {
    let plugin = plugin();
    let key = "0123456789abcdef0123456789abcdef";
    assert_eq!(save(&plugin, &with(json!({"bearer_only": true, "symmetric_key": key}))), Ok(()));
    for (conf, name) in [
        (json!({"symmetric_key": &key[1..]}), "symmetric_key"),
        (json!({"symmetric_key": ""}), "symmetric_key"),
        (json!({"symmetric_key": key, "use_jwks": true}), "symmetric_key"),
        (json!({"symmetric_key": key, "public_key": "pem"}), "symmetric_key"),
        (json!({"symmetric_key": key, "introspection_endpoint": "https://idp.example/"}), "symmetric_key"),
        (json!({"symmetric_key": key, "token_signing_alg_values_expected": "HS512"}), "symmetric_key"),
        (
            json!({"symmetric_key": key, "token_signing_alg_values_expected": "RS256"}),
            "token_signing_alg_values_expected",
        ),
    ] {
        let mut conf = conf;
        conf["bearer_only"] = json!(true);
        let error = save(&plugin, &with(conf.clone())).expect_err("it is refused");
        assert!(error.starts_with(&format!("{name}: ")), "j16: {error}");
        assert!(!error.contains("0123456789"), "s04: {error}");
    }
}

#[tokio::test]
async fn where_tokens_come_from_is_one_place() {
    let plugin = plugin();
    let bearer = |conf: Value| {
        let mut conf = with(conf);
        conf["bearer_only"] = json!(true);
        conf
    };
    let source = |conf: Value| config(&bearer(conf)).unwrap().bearer.unwrap().source;
    assert_eq!(source(json!({})), TokenSource::Authorization);
    assert_eq!(source(json!({"auth_accept_token_as": "header"})), TokenSource::Authorization);
    let cookie = source(json!({"auth_accept_token_as": "cookie:at"}));
    assert_eq!(cookie, TokenSource::Cookie("at".to_owned()));
    let header = source(json!({"auth_accept_token_as_header_name": "X-Token"}));
    assert_eq!(header, TokenSource::Header(http::HeaderName::from_static("x-token")));
    for (conf, name) in [
        (json!({"auth_accept_token_as": "query"}), "auth_accept_token_as"),
        (json!({"auth_accept_token_as": "cookie"}), "auth_accept_token_as"),
        (json!({"auth_accept_token_as": "cookie:a b"}), "auth_accept_token_as"),
        (
            json!({"auth_accept_token_as": "cookie:a", "auth_accept_token_as_header_name": "x"}),
            "auth_accept_token_as_header_name",
        ),
        (json!({"auth_accept_token_as_header_name": "a b"}), "auth_accept_token_as_header_name"),
        (json!({"auth_accept_token_as_header_name": "X-Access-Token"}), "auth_accept_token_as_header_name"),
        (json!({"auth_accept_token_as_header_name": "Host"}), "auth_accept_token_as_header_name"),
    ] {
        let error = save(&plugin, &bearer(conf.clone())).expect_err("it is refused");
        assert!(error.starts_with(&format!("{name}: ")), "{conf}: {error}");
    }
    let unused = save(&plugin, &with(json!({"auth_accept_token_as": "cookie:a"}))).unwrap_err();
    assert!(unused.contains("does not look at access tokens"), "{unused}");
}

#[tokio::test]
async fn claims_are_named_in_any_of_their_forms() {
    let plugin = plugin();
    let good = json!({
        "bearer_only": true,
        "claim_rules": [
            {"claim": "email_verified", "any_of": [true]},
            {"claim": "realm_access.roles", "any_of": ["admin", "editor"], "none_of": ["blocked"]},
            {"claim": ["resource_access", "my.app", "roles"], "all_of": ["a"]},
            {"claim": "https://example.com/roles", "in": "id_token", "any_of": ["x"]},
            {"any": [{"claim": "/tid", "any_of": ["t"]}, {"claim": "groups", "any_of": ["g"]}]},
        ],
        "claim_headers": {
            "X-User-Email": "email", "X-Roles": ["realm_access", "roles"],
            "X-Name": {"claim": "name", "in": "userinfo"},
        },
        "claim_validator": {"audience": {"values": ["https://api/"]}},
        "additional_issuers": [{
            "discovery": "https://other.example/.well-known/openid-configuration", "client_id": "b",
            "valid_issuers": ["https://other.example/"], "audiences": ["https://api/"], "required_scopes": ["a"],
            "claim_rules": [{"claim": "sub"}],
        }],
    });
    assert_eq!(save(&plugin, &with(good.clone())), Ok(()));
    let read = config(&with(good)).unwrap();
    assert_eq!((read.claim_rules.len(), read.claim_headers.len()), (5, 3));
    let bearer = read.bearer.unwrap();
    assert!(bearer.audience.required && bearer.audience.values == ["https://api/"]);
    assert_eq!(bearer.additional_issuers[0].client_id.as_deref(), Some("b"));
    for (conf, name) in [
        (json!({"claim_rules": [{"any_of": ["a"]}]}), "claim_rules"),
        (json!({"claim_rules": [{"claim": ""}]}), "claim_rules[0]"),
        (json!({"claim_rules": [{"claim": "a", "any_of": []}]}), "any_of"),
        (json!({"claim_rules": [{"claim": "a", "some_of": ["x"]}]}), "some_of"),
        (json!({"claim_rules": [{"claim": "a", "any_of": [{}]}]}), "any_of"),
        (json!({"claim_rules": [{"any": [{"claim": "a"}], "any_of": ["x"]}]}), "claim_rules[0]"),
        (json!({"claim_rules": [{"claim": "a", "in": "cookie"}]}), "in"),
        (json!({"claim_headers": {"Content-Length": "a"}}), "claim_headers.content-length"),
        (json!({"claim_headers": {"X-Userinfo": "a"}}), "claim_headers.x-userinfo"),
        (json!({"claim_headers": {"a b": "a"}}), "claim_headers.a b"),
        (json!({"claim_headers": {"X-A": ""}}), "claim_headers.X-A"),
        (json!({"additional_issuers": [{}]}), "discovery"),
        (json!({"additional_issuers": [{"discovery": "ftp://x/"}]}), "additional_issuers[0].discovery"),
        (
            json!({"additional_issuers": [{"discovery": least()["discovery"]}]}),
            "additional_issuers[0].discovery",
        ),
    ] {
        let mut conf = conf;
        conf["bearer_only"] = json!(true);
        let error = save(&plugin, &with(conf.clone())).expect_err("it is refused");
        assert!(error.contains(name), "{conf}: {error}");
    }
}
