//! The plans oidcc-config, oidcc-dynamic and oidcc-3rdparty-init-login.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use jose::{Alg, CompactJws, SigningKey};
use serde_json::{Value, json};

use super::{CALLBACK, Party, Suite, is_error};
use crate::tests::world::{Answer, HTTPS, signed};

const KEYS: &str = "https://suite.example/test/a/p/jwks";

#[tokio::test]
async fn oidcc_discovery_endpoint_verification() {
    let suite = Suite::new().await;
    let mut agent = suite.world.agent();
    agent.host = HTTPS;
    let answer = agent.get("/.well-known/openid-configuration").await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, Some("application/json")));
    let document = answer.json();
    assert_eq!(document["issuer"], "https://localhost:9401/");
    let has = |name: &str, values: &[&str]| {
        let list = document[name].as_array().unwrap_or_else(|| panic!("no {name}"));
        let missing = values.iter().find(|value| !list.contains(&json!(value)));
        assert_eq!(missing, None, "{name}");
    };
    has("response_types_supported", &["code", "id_token", "id_token token", "code id_token token"]);
    has("grant_types_supported", &["authorization_code", "implicit", "refresh_token"]);
    has("subject_types_supported", &["public", "pairwise"]);
    has("id_token_signing_alg_values_supported", &["RS256", "PS256", "ES256", "EdDSA", "none"]);
    has("userinfo_signing_alg_values_supported", &["RS256", "PS256"]);
    has("request_object_signing_alg_values_supported", &["RS256", "none"]);
    has(
        "token_endpoint_auth_methods_supported",
        &["private_key_jwt", "tls_client_auth", "client_secret_jwt"],
    );
    has("token_endpoint_auth_signing_alg_values_supported", &["PS256", "ES256"]);
    has("dpop_signing_alg_values_supported", &["PS256", "ES256", "EdDSA"]);
    has("backchannel_authentication_request_signing_alg_values_supported", &["PS256", "ES256"]);
    has("backchannel_token_delivery_modes_supported", &["poll", "ping"]);
    has("authorization_signing_alg_values_supported", &["PS256", "ES256"]);
    has("scopes_supported", &["openid", "profile", "email", "address", "phone", "offline_access"]);
    has("claims_supported", &["sub", "name", "email", "address", "phone_number", "sid"]);
    has("code_challenge_methods_supported", &["S256"]);
    has("response_modes_supported", &["query", "fragment", "form_post", "jwt"]);
    for name in
        ["request_parameter_supported", "request_uri_parameter_supported", "claims_parameter_supported"]
    {
        assert_eq!(document[name], true, "{name}");
    }
    // oidcc-backchannel-, -frontchannel-, -session-management- and -rp-initiated-logout-discovery-endpoint-verification.
    for kind in ["backchannel", "frontchannel"] {
        assert_eq!(document[format!("{kind}_logout_supported")], true);
        assert_eq!(document[format!("{kind}_logout_session_supported")], true);
    }
    let endpoints = ["end_session_endpoint", "check_session_iframe", "registration_endpoint", "jwks_uri"];
    assert!(endpoints.iter().all(|name| document[*name].is_string()));
    assert_eq!(document["authorization_response_iss_parameter_supported"], true);
    assert_eq!(document["tls_client_certificate_bound_access_tokens"], true);
    // Every URL that is in it, whatever it is called.
    for (name, value) in document.as_object().unwrap() {
        let url = value.as_str().unwrap_or("https://");
        assert!(!name.ends_with("endpoint") || url.starts_with("https://localhost:9401/"), "{name}: {url}");
        assert!(!url.starts_with("http://"), "{name}: {url}");
        assert!(!value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()), "{name}");
    }
    let keys = agent.get("/.well-known/jwks.json").await.json();
    for key in keys["keys"].as_array().unwrap() {
        // The others are to encrypt for, each by every algorithm of its kind.
        let signs = key["use"] == "sig" && key["alg"].is_string();
        assert!(key["kid"].is_string() && (signs || key["use"] == "enc"), "{key}");
        assert!(key.get("d").is_none() && key.get("k").is_none() && key["kty"] != "oct", "{key}");
        // The suite cannot read keys of the kind AKP.
        assert!(["RSA", "EC", "OKP"].contains(&key["kty"].as_str().unwrap()), "{key}");
    }
    let oauth = agent.get("/.well-known/oauth-authorization-server").await;
    assert_eq!((oauth.status, oauth.json()), (StatusCode::OK, document));
}

#[tokio::test]
async fn oidcc_idtoken_rs256_idtoken_signature_userinfo_rs256_and_idtoken_unsigned() {
    let suite = Suite::new().await;
    for (name, alg) in [("RS256", Alg::RS256), ("ES256", Alg::ES256), ("PS256", Alg::PS256)] {
        let algs = json!({ "id_token_signed_response_alg": name, "userinfo_signed_response_alg": name });
        let client = suite.register(algs).await;
        let back = client.authorize(&mut suite.world.agent(), "code", &[]).await;
        let tokens = client.tokens(&back["code"]).await;
        let said = client.id_token(tokens["id_token"].as_str().unwrap(), alg).await;
        let answer = client.userinfo(tokens["access_token"].as_str().unwrap()).await;
        assert_eq!(answer.header("content-type"), Some("application/jwt"));
        let jws = CompactJws::parse(&answer.body).unwrap();
        assert_eq!(jws.alg().unwrap(), alg);
        let told: Value = serde_json::from_slice(&jws.payload_unverified().unwrap()).unwrap();
        assert_eq!((&told["sub"], &told["iss"], &told["aud"]), (&said["sub"], &said["iss"], &said["aud"]));
    }
    for response_type in ["code", "code token"] {
        let grants = ["authorization_code", "implicit"];
        let change = json!({
            "id_token_signed_response_alg": "none", "response_types": [response_type],
            "grant_types": if response_type == "code" { &grants[..1] } else { &grants[..] },
        });
        let client = suite.register(change).await;
        let back = client.authorize(&mut suite.world.agent(), response_type, &[]).await;
        let tokens = client.tokens(&back["code"]).await;
        let id_token = tokens["id_token"].as_str().unwrap();
        assert!(id_token.ends_with('.') && id_token.split('.').count() == 3, "{id_token}");
        // Not through the browser, whatever the client asks for.
        let front = client.authorize(&mut suite.world.agent(), "code id_token", &[]).await;
        assert!(front.contains_key("error") && !front.contains_key("id_token"), "{front:?}");
    }
}

#[tokio::test]
async fn oidcc_ensure_redirect_uri_in_authorization_request_and_redirect_uri_query() {
    let suite = Suite::new().await;
    let several = json!({ "redirect_uris": [CALLBACK, "https://suite.example/other"] });
    let client = suite.register(several).await;
    suite.world.agent().open(&client.request("code", &[("redirect_uri", "-")])).await.is_error_page();
    // oidcc-redirect-uri-query-ok: what was in the callback's query still is.
    let with_query = format!("{CALLBACK}?foo=bar");
    let client = suite.register(json!({ "redirect_uris": [with_query] })).await;
    let back = client.authorize(&mut suite.world.agent(), "code", &[("redirect_uri", &with_query)]).await;
    assert!(back["foo"] == "bar" && back.contains_key("code"), "{back:?}");
    let form = [("grant_type", "authorization_code"), ("code", &back["code"]), ("redirect_uri", &with_query)];
    assert_eq!(client.token(&form).await.status, StatusCode::OK);
    // oidcc-redirect-uri-query-mismatch, oidcc-redirect-uri-query-added.
    for other in [CALLBACK.to_owned(), format!("{CALLBACK}?foo=other"), format!("{with_query}&more=1")] {
        let page = suite.world.agent().open(&client.request("code", &[("redirect_uri", &other)])).await;
        page.is_error_page();
    }
    let client = suite.client_of("code").await;
    let added = format!("{CALLBACK}?foo=bar");
    suite.world.agent().open(&client.request("code", &[("redirect_uri", &added)])).await.is_error_page();
    // oidcc-redirect-uri-regfrag.
    let fragment = suite.try_to_register(json!({ "redirect_uris": [format!("{CALLBACK}#foobar")] })).await;
    is_error(&fragment, &["invalid_redirect_uri", "invalid_client_metadata"]);
}

#[tokio::test]
async fn oidcc_registration_logo_uri_policy_uri_and_tos_uri_are_on_the_login_page() {
    let suite = Suite::new().await;
    for name in ["logo_uri", "policy_uri", "tos_uri"] {
        let url = format!("https://suite.example/{name}");
        let client = suite.register(json!({ name: url })).await;
        assert_eq!(client.text(name), url);
        let page = suite.world.agent().open(&client.request("code", &[])).await;
        assert!(page.has_id("login-title") && page.body.contains(&url), "{name}: {}", page.body);
    }
}

/// An assertion of a client, by a key that it publishes.
fn assertion(client: &Party<'_>, key: &SigningKey, id: &str) -> String {
    let (now, own) = (client.world.clock.now().secs(), client.text("client_id"));
    let claims =
        json!({ "iss": own, "sub": own, "aud": super::ISSUER, "jti": id, "iat": now, "exp": now + 60 });
    signed(key, json!({}), &claims)
}

async fn prove(client: &Party<'_>, key: &SigningKey, id: &str, form: &[(&str, &str)]) -> Answer {
    let assertion = assertion(client, key, id);
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let proof = [("client_assertion_type", kind), ("client_assertion", assertion.as_str())];
    client.world.agent().post("/oauth/token", &[form, &proof].concat()).await
}

#[tokio::test]
async fn oidcc_registration_jwks_uri_and_refresh_token_rp_key_rotation() {
    let suite = Suite::new().await;
    let [old, new] = ["old", "new"].map(|kid| SigningKey::generate(Alg::RS256, kid.to_owned()).unwrap());
    let publish = |key: &SigningKey| {
        suite.world.network.publish(KEYS, &json!({ "keys": [key.public_jwk()] }).to_string());
    };
    publish(&old);
    let client = suite
        .register(json!({
            "jwks_uri": KEYS, "token_endpoint_auth_method": "private_key_jwt",
            "grant_types": ["authorization_code", "refresh_token"],
        }))
        .await;
    assert_eq!(client.text("jwks_uri"), KEYS);
    let scope = [("scope", "openid offline_access"), ("prompt", "consent")];
    let back = client.authorize(&mut suite.world.agent(), "code", &scope).await;
    let form = [("grant_type", "authorization_code"), ("code", &back["code"]), ("redirect_uri", CALLBACK)];
    // oidcc-ensure-client-assertion-with-iss-aud-succeeds.
    let tokens = prove(&client, &old, "1", &form).await;
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
    let refresh = tokens.json()["refresh_token"].as_str().unwrap().to_owned();
    publish(&new);
    suite.world.clock.advance(Duration::from_secs(60));
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str())];
    let tokens = prove(&client, &new, "2", &form).await;
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
    is_error(&prove(&client, &old, "3", &form).await, &["invalid_client"]);
}

#[tokio::test]
async fn oidcc_registration_sector_uri_and_registration_sector_bad() {
    const SECTOR: &str = "https://suite.example/test/a/p/redirect_uris.json";
    let suite = Suite::new().await;
    let pairwise = json!({ "subject_type": "pairwise", "sector_identifier_uri": SECTOR });
    suite.world.network.publish(SECTOR, &json!(["https://suite.example/another"]).to_string());
    is_error(&suite.try_to_register(pairwise.clone()).await, &["invalid_client_metadata"]);
    suite.world.network.publish(SECTOR, &json!([CALLBACK]).to_string());
    let client = suite.register(pairwise.clone()).await;
    assert_eq!((client.text("subject_type"), client.text("sector_identifier_uri")), ("pairwise", SECTOR));
    let sub = client.check(&client.authorize(&mut suite.world.agent(), "code", &[]).await, "code").await;
    // Of the same sector the same, of another one another.
    let same = suite.register(pairwise).await;
    assert_eq!(same.check(&same.authorize(&mut suite.world.agent(), "code", &[]).await, "code").await, sub);
    let public = suite.client_of("code").await;
    assert_eq!(public.text("subject_type"), "public");
    let other = public.check(&public.authorize(&mut suite.world.agent(), "code", &[]).await, "code").await;
    assert_ne!(other, sub);
    let internal = json!({
        "subject_type": "pairwise", "sector_identifier_uri": "https://169.254.169.254/latest",
    });
    is_error(&suite.try_to_register(internal).await, &["invalid_client_metadata"]);
}

#[tokio::test]
async fn o54_oidcc_server_rotate_keys() {
    let suite = Suite::new().await;
    let client = suite.client_of("code").await;
    let kids = async || -> Vec<String> {
        let keys = suite.world.agent().get("/.well-known/jwks.json").await.json();
        let keys = keys["keys"].as_array().unwrap().iter();
        keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    };
    let used = async || {
        let back = client.authorize(&mut suite.world.agent(), "code", &[]).await;
        let tokens = client.tokens(&back["code"]).await;
        let id_token = tokens["id_token"].as_str().unwrap().to_owned();
        client.id_token(&id_token, Alg::RS256).await;
        CompactJws::parse(&id_token).unwrap().header().kid.clone().unwrap().to_string()
    };
    let (before, old) = (kids().await, used().await);
    let management = suite.world.management_token("").await;
    let rotated = suite.world.call(&management, "POST", "keys/signing/rotate", None).await;
    assert_eq!(rotated.status, StatusCode::CREATED, "{}", rotated.body);
    let (after, new) = (kids().await, used().await);
    assert!(after.iter().any(|kid| !before.contains(kid)), "a new key is there");
    assert!(after.contains(&old) && after.contains(&new) && new != old, "and the old one stays");
}

#[tokio::test]
async fn oidcc_3rdparty_init_login_is_registered_read_and_refused_without_https() {
    let suite = Suite::new().await;
    let place = "https://suite.example/test/a/p/initiate";
    let client = suite.register(json!({ "initiate_login_uri": place })).await;
    assert_eq!(client.text("initiate_login_uri"), place);
    let read = client.manager().get(&client.place()).await;
    assert_eq!((read.status, &read.json()["initiate_login_uri"]), (StatusCode::OK, &json!(place)));
    // oidcc-3rdparty-init-login-nonhttps.
    for bad in ["http://suite.example/initiate", "http://localhost/initiate", "x"] {
        let refused = suite.try_to_register(json!({ "initiate_login_uri": bad })).await;
        is_error(&refused, &["invalid_client_metadata"]);
    }
    client.unregister().await;
    let gone = client.manager().send(Method::GET, &client.place(), None).await;
    assert_eq!(gone.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn oidcc_registration_dynamic_keeps_what_it_was_given_and_says_so() {
    let suite = Suite::new().await;
    let key = SigningKey::generate(Alg::ES256, "k".to_owned()).unwrap();
    let wish = json!({
        "jwks": { "keys": [key.public_jwk()] }, "client_uri": "https://suite.example/",
        "id_token_encrypted_response_alg": "ECDH-ES", "id_token_encrypted_response_enc": "A128GCM",
        "post_logout_redirect_uris": ["https://suite.example/out"], "default_max_age": 3600,
        "require_auth_time": true, "default_acr_values": ["1"], "request_object_encryption_alg": "RSA-OAEP",
    });
    let client = suite.register(wish.clone()).await;
    for name in wish.as_object().unwrap().keys() {
        assert_eq!(client.registered[name], wish[name], "{name}");
    }
    let read = client.manager().get(&client.place()).await.json();
    assert_eq!(read, client.registered);
    for bad in [
        json!({ "id_token_encrypted_response_alg": "ECDH-ES" }),
        json!({ "id_token_encrypted_response_enc": "A128GCM" }),
        json!({ "subject_type": "ephemeral" }),
        json!({ "default_max_age": -1 }),
        json!({ "default_max_age": "soon" }),
        json!({ "require_auth_time": "yes" }),
        json!({ "default_acr_values": "1" }),
        json!({ "default_acr_values": ["1 2"] }),
        json!({ "request_object_encryption_alg": "RSA1_5" }),
        json!({ "request_object_encryption_enc": "A128GCM" }),
    ] {
        is_error(&suite.try_to_register(bad).await, &["invalid_client_metadata"]);
    }
}

#[tokio::test]
async fn oidcc_registered_defaults_count_where_the_request_says_nothing() {
    let suite = Suite::new().await;
    let wish = json!({ "default_max_age": 60, "default_acr_values": ["1"] });
    let client = suite.register(wish).await;
    let plain = suite.register(json!({})).await;
    let timed = suite.register(json!({ "require_auth_time": true })).await;
    let mut agent = suite.world.agent();
    let back = client.authorize(&mut agent, "code", &[]).await;
    let said = super::claims(client.tokens(&back["code"]).await["id_token"].as_str().unwrap());
    assert!(said["auth_time"].is_number() && said["acr"] == "1", "{said}");
    for (other, told) in [(&plain, false), (&timed, true)] {
        let back = other.authorize(&mut agent, "code", &[]).await;
        let said = super::claims(other.tokens(&back["code"]).await["id_token"].as_str().unwrap());
        assert_eq!((said.get("auth_time").is_some(), said.get("acr")), (told, None), "{said}");
    }
    suite.world.clock.advance(std::time::Duration::from_secs(61));
    assert!(agent.open(&client.request("code", &[])).await.has_id("login-title"), "the login is too old");
    let longer = agent.open(&client.request("code", &[("max_age", "100")])).await;
    assert!(super::callback(&longer).contains_key("code"), "what the request says counts: {longer:?}");
}
