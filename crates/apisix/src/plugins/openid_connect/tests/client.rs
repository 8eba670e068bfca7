//! What may be written about assertions, pushed requests, proofs of possession and claims; in APISIX's words.

use base64::{Engine, engine::general_purpose::STANDARD};
use jose::SigningKey;
use rp::provider::TokenAuth;

use super::*;

fn pem(key: &SigningKey) -> String {
    let der = STANDARD.encode(key.to_pkcs8().unwrap().as_slice());
    format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n")
}

fn key(alg: Alg) -> SigningKey {
    SigningKey::generate(alg, String::new()).unwrap()
}

/// The public half alone.
fn jwk(key: &SigningKey) -> Value {
    let mut jwk = key.public_jwk();
    for name in ["use", "alg", "kid"] {
        jwk.as_object_mut().unwrap().shift_remove(name);
    }
    jwk
}

fn junk() -> String {
    "-----BEGIN PRIVATE KEY-----\nnope\n-----END PRIVATE KEY-----".to_owned()
}

#[tokio::test]
async fn the_assertions_algorithm_must_fit_the_methods_of_the_endpoints_in_reach() {
    let plugin = plugin();
    let secret_jwt = "client_secret_jwt";
    for (conf, text) in [
        (
            json!({"token_endpoint_auth_method": "private_key_jwt", "client_rsa_private_key": "k",
                   "client_jwt_assertion_alg": "HS256"}),
            r#"property "client_jwt_assertion_alg" "HS256" is symmetric and cannot be used with the private_key_jwt selected by "token_endpoint_auth_method""#,
        ),
        (
            json!({"token_endpoint_auth_method": secret_jwt, "client_jwt_assertion_alg": "RS256"}),
            r#"property "client_jwt_assertion_alg" "RS256" is asymmetric and cannot be used with the client_secret_jwt selected by "token_endpoint_auth_method""#,
        ),
        (
            json!({"par": {"enabled": true, "endpoint_auth_method": secret_jwt}, "client_jwt_assertion_alg": "ES256"}),
            r#"property "client_jwt_assertion_alg" "ES256" is asymmetric and cannot be used with the client_secret_jwt selected by "par.endpoint_auth_method""#,
        ),
        (
            json!({"bearer_only": true, "introspection_endpoint_auth_method": secret_jwt, "client_jwt_assertion_alg": "ES256"}),
            r#"property "client_jwt_assertion_alg" "ES256" is asymmetric and cannot be used with the client_secret_jwt selected by "introspection_endpoint_auth_method""#,
        ),
        (
            json!({"token_endpoint_auth_method": "private_key_jwt", "client_rsa_private_key": "k",
                   "introspection_endpoint": "https://idp.example/i", "introspection_endpoint_auth_method": secret_jwt,
                   "client_jwt_assertion_alg": "RS256"}),
            r#"property "client_jwt_assertion_alg" is a single algorithm, but "token_endpoint_auth_method" selects private_key_jwt and "introspection_endpoint_auth_method" selects client_secret_jwt"#,
        ),
        (
            json!({"client_jwt_assertion_alg": "PS256"}),
            r#"property "client_jwt_assertion_alg" validation failed: matches none of the enum values"#,
        ),
    ] {
        let told = save(&plugin, &with(conf.clone())).expect_err("it is refused");
        assert_eq!(told.split_whitespace().collect::<Vec<_>>().join(" "), text, "{conf}");
    }
    // Without an algorithm each method has its own; what is out of reach does not count.
    for conf in [
        json!({"token_endpoint_auth_method": "private_key_jwt", "client_rsa_private_key": "k",
               "introspection_endpoint_auth_method": secret_jwt}),
        json!({"bearer_only": true, "use_jwks": true, "token_endpoint_auth_method": secret_jwt,
               "client_jwt_assertion_alg": "RS256"}),
        json!({"token_endpoint_auth_method": "private_key_jwt", "client_jwt_assertion_alg": "HS256"}),
    ] {
        assert_eq!(save(&plugin, &with(conf.clone())), Ok(()), "{conf}");
    }
}

#[tokio::test]
async fn the_assertions_key_must_fit_the_algorithm() {
    let plugin = plugin();
    let (p256, p521, rsa) = (pem(&key(Alg::ES256)), pem(&key(Alg::ES512)), pem(&key(Alg::RS256)));
    let check = |alg: &str, pem: &str| {
        let method = "private_key_jwt";
        let conf = json!({"token_endpoint_auth_method": method, "client_rsa_private_key": pem, "client_jwt_assertion_alg": alg});
        save(&plugin, &with(conf))
    };
    for (alg, good) in [("ES256", &p256), ("ES512", &p521), ("RS256", &rsa), ("RS512", &rsa)] {
        assert_eq!(check(alg, good), Ok(()), "{alg}");
    }
    let begins = r#"property "client_jwt_assertion_alg""#;
    for (alg, bad, text) in [
        ("ES256", &rsa, format!(r#"{begins} "ES256" requires an EC "client_rsa_private_key""#)),
        ("RS256", &p256, format!(r#"{begins} "RS256" requires an RSA "client_rsa_private_key""#)),
        (
            "ES512",
            &p256,
            format!(r#"{begins} "ES512" requires a "client_rsa_private_key" on curve "P-521", got "P-256""#),
        ),
    ] {
        assert_eq!(check(alg, bad), Err(text), "{alg}");
    }
    let error = check("ES256", &junk()).unwrap_err();
    assert!(error.starts_with(r#"property "client_rsa_private_key" is not a valid key"#), "{error}");
    assert_eq!(check("ES256", "$secret://vault/1/key"), Ok(()), "what is kept elsewhere is not looked at");
}

#[tokio::test]
async fn proofs_need_a_key_pair_that_fits() {
    let plugin = plugin();
    let (own, other) = (key(Alg::ES256), key(Alg::ES256));
    let rsa = json!({"kty": "RSA", "e": "AQAB", "n": "abc"});
    let check = |alg: &str, pem: &str, jwk: &Value| {
        let dpop = json!({"enabled": true, "signing_alg": alg, "private_key": pem, "public_jwk": jwk});
        save(&plugin, &with(json!({ "dpop": dpop })))
    };
    assert_eq!(check("ES256", &pem(&own), &jwk(&own)), Ok(()));
    let error = check("ES256", &pem(&other), &jwk(&own)).unwrap_err();
    assert!(
        error.starts_with(r#"property "dpop.public_jwk" is not the public key of "dpop.private_key": x is "#)
    );
    let error = check("ES256", &junk(), &jwk(&own)).unwrap_err();
    assert!(error.starts_with(r#"property "dpop.private_key" is not a valid key"#), "{error}");
    let failed = r#"property "dpop.public_jwk" validation failed:"#;
    for (alg, key, text) in [
        ("RS256", json!({"kty": "RSA"}), format!(r#"{failed} kty "RSA" requires e, n"#)),
        ("ES256", json!({"kty": "EC", "crv": "P-256"}), format!(r#"{failed} kty "EC" requires crv, x, y"#)),
        ("ES256", json!({"kty": "OKP", "x": "abc"}), format!(r#"{failed} kty "OKP" is not supported"#)),
        (
            "ES256",
            json!({"kty": "EC", "crv": "P-256", "x": 1, "y": "y"}),
            format!(r#"{failed} "x" must be a non-empty string"#),
        ),
        (
            "ES256",
            json!({"kty": "EC", "crv": "P-384", "x": "x", "y": "y"}),
            r#"property "dpop.signing_alg" "ES256" requires "dpop.public_jwk" crv "P-256", got "P-384""#
                .to_owned(),
        ),
        (
            "ES256",
            rsa.clone(),
            r#"property "dpop.signing_alg" "ES256" requires an EC "dpop.public_jwk""#.to_owned(),
        ),
        (
            "PS256",
            jwk(&own),
            r#"property "dpop.signing_alg" "PS256" requires an RSA "dpop.public_jwk""#.to_owned(),
        ),
    ] {
        assert_eq!(check(alg, &junk(), &key), Err(text), "{alg} {key}");
    }
    for (dpop, text) in [
        (json!({"enabled": true}), r#"property "dpop" validation failed: then clause did not match"#),
        (
            json!({"signing_alg": "HS256"}),
            r#"property "dpop" validation failed: property "signing_alg" validation failed: matches none of the enum values"#,
        ),
        (
            json!({"public_jwk": {"kty": "RSA", "d": "x"}}),
            r#"property "dpop" validation failed: property "public_jwk" validation failed: "d" is private and must not be in it"#,
        ),
    ] {
        assert_eq!(save(&plugin, &with(json!({ "dpop": dpop }))), Err(text.to_owned()), "{dpop}");
    }
    // What is staged before it is switched on is not looked at.
    for dpop in [json!({"public_jwk": rsa}), json!({"enabled": false, "private_key": "not-a-key"})] {
        assert_eq!(save(&plugin, &with(json!({ "dpop": dpop }))), Ok(()), "{dpop}");
    }
}

#[tokio::test]
async fn a_method_for_pushing_needs_its_credential() {
    let plugin = plugin();
    let mut public = with(json!({"use_pkce": true}));
    public.as_object_mut().unwrap().shift_remove("client_secret");
    for (method, credential) in
        [("private_key_jwt", "client_rsa_private_key"), ("client_secret_jwt", "client_secret")]
    {
        let mut conf = public.clone();
        conf["par"] = json!({"enabled": true, "endpoint_auth_method": method});
        let text = format!(
            r#"property "par.endpoint_auth_method" "{method}" requires "{credential}" when "par.enabled" is true"#
        );
        assert_eq!(save(&plugin, &conf), Err(text));
        conf["par"]["enabled"] = json!(false);
        assert_eq!(save(&plugin, &conf), Ok(()));
    }
    let bogus = json!({"par": {"enabled": true, "endpoint_auth_method": "bogus"}});
    let text = r#"property "par" validation failed: property "endpoint_auth_method" validation failed: matches none of the enum values"#;
    assert_eq!(save(&plugin, &with(bogus)), Err(text.to_owned()));
    let pushing =
        config(&with(json!({"par": {"enabled": true, "endpoint_auth_method": "client_secret_post"}})));
    let pushing = pushing.unwrap().login.unwrap().pushing;
    assert_eq!((pushing.enabled, pushing.auth), (true, Some(TokenAuth::Post)));
}

#[tokio::test]
async fn a_schema_of_claims_is_compiled_when_it_is_saved() {
    let plugin = plugin();
    let check = |schema: Value| save(&plugin, &with(json!({ "claim_schema": schema })));
    assert_eq!(check(json!({"type": "object", "required": ["sub"]})), Ok(()));
    for bad in
        [json!({"type": "text"}), json!({"$ref": "https://evil.example/s"}), json!({"pattern": "(?=x)"})]
    {
        let error = check(bad.clone()).unwrap_err();
        assert!(error.starts_with("check claim_schema failed: #/"), "{bad}: {error}");
    }
}

#[tokio::test]
async fn what_an_introspection_request_is_made_of_is_checked() {
    let plugin = plugin();
    let check = |conf: Value| save(&plugin, &with(conf));
    let endpoint = "https://idp.example/i";
    for (conf, text) in [
        (json!({"introspection_addon_headers": []}), "expect array to have at least 1 items"),
        (json!({"introspection_addon_headers": ["a:b"]}), r#"failed to match pattern "^[^:]+$" with "a:b""#),
        (
            json!({"introspection_endpoint": endpoint, "introspection_addon_headers": ["a b"]}),
            "introspection_addon_headers",
        ),
        (
            json!({"introspection_endpoint": endpoint, "introspection_addon_headers": ["Authorization"]}),
            "authorization of the call is the gate's own",
        ),
        (
            json!({"introspection_endpoint": endpoint, "introspection_params": {"client_id": "x"}}),
            "introspection_params.client_id",
        ),
        (
            json!({"introspection_endpoint": endpoint, "introspection_token_param_name": "client_secret"}),
            "introspection_token_param_name",
        ),
    ] {
        let error = check(conf.clone()).expect_err("it is refused");
        assert!(error.contains(text), "{conf}: {error}");
    }
}

#[test]
fn proxies_are_bare_urls_and_their_credentials_are_sealed() {
    let opts = json!({"https_proxy": "http://proxy:3128", "https_proxy_authorization": "Basic dTpw", "no_proxy": "a,b"});
    let proxies = config(&with(json!({ "proxy_opts": opts }))).unwrap().calls.proxies.unwrap();
    assert!(proxies.http.is_none() && proxies.https.is_some());
    assert_eq!(proxies.except, ["a", "b"]);
    let over_tls = json!({"proxy_opts": {"http_proxy": "https://proxy:1", "https_proxy": "https://proxy"}});
    assert!(schema().validate(&with(over_tls)).is_ok());
    for bad in ["socks5://proxy:1", "proxy:1", "http://u:p@proxy:1", "https://u:p@proxy:1", "https://proxy/x"]
    {
        let conf = with(json!({"proxy_opts": {"http_proxy": bad}}));
        assert!(schema().validate(&conf).is_err(), "{bad}");
    }
    let calls = config(&with(json!({"keepalive": "no", "discovery_expires_in": 5}))).unwrap().calls;
    assert_eq!((calls.keep_alive, calls.metadata_ttl), (false, Some(Duration::from_secs(5))));
    assert!(config(&least()).unwrap().calls.keep_alive);
}
