//! Request objects (RFC 9101, OpenID Connect Core 6, FAPI 2.0 Message Signing 5.3.1).

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jose::{Alg, SigningKey};
use serde_json::{Value, json};

use super::world::{Answer, CALLBACK, World};

pub(super) fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// A world whose demo application signs its requests with `key`.
pub(super) async fn signing(alg: Alg, further: Value) -> (World, SigningKey) {
    let world = World::new().await;
    let key = SigningKey::generate(alg, "k1".to_owned()).unwrap();
    let mut change = json!({ "jwks": { "keys": [key.public_jwk()] } });
    for (name, value) in further.as_object().unwrap() {
        change[name] = value.clone();
    }
    world.set_client(change).await;
    (world, key)
}

/// The claims of a good request object of the demo application, with `change` laid over them (a null takes one away).
pub(super) fn object(world: &World, change: &Value) -> Value {
    let now = world.clock.now().secs();
    let mut object = json!({
        "iss": world.seeded.client_id, "aud": "http://localhost:9400/", "nbf": now, "exp": now + 300,
    });
    for (name, value) in world.parameters(&[("state", "inner")]) {
        object[name] = value.into();
    }
    for (name, value) in change.as_object().unwrap() {
        match value {
            Value::Null => drop(object.as_object_mut().unwrap().shift_remove(name)),
            value => object[name] = value.clone(),
        }
    }
    object
}

pub(super) fn unsigned(claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.", encode(&json!({ "alg": "none" })), encode(claims))
}

/// `/authorize` with an object by value and what OpenID Connect wants outside of it.
pub(super) async fn send(world: &World, request: &str) -> Answer {
    let params = [
        ("client_id", world.seeded.client_id.as_str()),
        ("response_type", "code"),
        ("scope", "openid"),
        ("redirect_uri", CALLBACK),
        ("state", "outer"),
        ("request", request),
    ];
    world.agent().open(&format!("/authorize?{}", crate::fields::to_query(params.into_iter()))).await
}

#[track_caller]
pub(super) fn is_refused(answer: &Answer, why: &str) {
    assert_eq!(answer.param("error").as_deref(), Some("invalid_request_object"), "{why}: {answer:?}");
    assert!(answer.location().unwrap().starts_with(CALLBACK), "{why}");
}

#[tokio::test]
async fn a_signed_object_is_the_request() {
    // request-uri-signed-rs256, ensure-request-object-with-redirect-uri: the object wins.
    for alg in [Alg::RS256, Alg::PS256, Alg::ES256, Alg::EdDSA] {
        let (world, key) = signing(alg, json!({})).await;
        let claims_wanted = object(&world, &json!({ "max_age": 3600, "nonce": "inner-nonce" }));
        let request = key.sign(Some("oauth-authz-req+jwt"), claims_wanted.to_string().as_bytes()).unwrap();
        let mut agent = world.agent();
        let query = [
            ("client_id", world.seeded.client_id.as_str()),
            ("state", "outer"),
            ("nonce", "outer"),
            ("scope", "openid offline_access"),
            ("redirect_uri", "http://localhost:9080/anything/callback"),
            ("request", &request),
        ];
        let page = agent.open(&format!("/authorize?{}", crate::fields::to_query(query.into_iter()))).await;
        let back = agent.log_in(&page).await;
        assert!(back.location().unwrap().starts_with(CALLBACK), "{alg}: {back:?}");
        assert_eq!(back.param("state").as_deref(), Some("inner"));
        let tokens = world.redeem(&back.param("code").unwrap()).await.json();
        let id_token = claims(tokens["id_token"].as_str().unwrap());
        assert_eq!(id_token["nonce"], "inner-nonce");
        assert!(id_token["auth_time"].is_number() && tokens.get("refresh_token").is_none());
    }
}

#[tokio::test]
async fn o14_a_forged_or_foreign_object_is_refused() {
    let (world, key) = signing(Alg::PS256, json!({})).await;
    let now = world.clock.now().secs();
    let cases = [
        json!({ "iss": "somebody" }),
        json!({ "iss": 7 }),
        json!({ "aud": "https://elsewhere.example/" }),
        json!({ "aud": [] }),
        json!({ "aud": ["https://elsewhere.example/"] }),
        json!({ "exp": now }),
        json!({ "exp": "later" }),
        json!({ "nbf": now + 120 }),
        json!({ "iat": now + 120 }),
        json!({ "sub": world.seeded.client_id }),
        json!({ "client_id": "somebody" }),
        json!({ "response_type": "code token" }),
        json!({ "request": "x" }),
        json!({ "request_uri": "urn:ietf:params:oauth:request_uri:x" }),
        json!({ "state": true }),
        json!({ "max_age": 1.5 }),
        json!({ "resource": [1] }),
        json!({ "nonce": null, "scope": ["openid"] }),
        json!({ "scope": { "openid": true } }),
        json!({ "prompt": [] }),
    ];
    for change in cases {
        let request = key.sign(None, object(&world, &change).to_string().as_bytes()).unwrap();
        is_refused(&send(&world, &request).await, &change.to_string());
    }
    let good = object(&world, &json!({})).to_string();
    // Another client's key under the same id, another algorithm, the HMAC of the secret, none, another kind of token.
    let stranger = SigningKey::generate(Alg::PS256, "k1".to_owned()).unwrap();
    is_refused(&send(&world, &stranger.sign(None, good.as_bytes()).unwrap()).await, "another key");
    let secret = world.seeded.client_secret.expose().as_bytes();
    let symmetric = SigningKey::from_hmac_secret(Alg::HS256, "k1".to_owned(), secret).unwrap();
    is_refused(&send(&world, &symmetric.sign(None, good.as_bytes()).unwrap()).await, "HS256");
    is_refused(&send(&world, &unsigned(&object(&world, &json!({})))).await, "none");
    is_refused(&send(&world, &key.sign(Some("dpop+jwt"), good.as_bytes()).unwrap()).await, "typ");
    is_refused(&send(&world, &key.sign(None, b"[]").unwrap()).await, "no object");
    is_refused(&send(&world, "nonsense").await, "no JWT");
    let request = key.sign(None, good.as_bytes()).unwrap();
    let (head, _) = request.rsplit_once('.').unwrap();
    is_refused(&send(&world, &format!("{head}.")).await, "signature taken away");
    is_refused(&send(&world, &format!("{head}.AAAA")).await, "bad signature");
    // And the same keys do make a good one.
    assert!(send(&world, &request).await.has_id("login-title"));
}

#[tokio::test]
async fn members_that_are_no_parameters_are_passed_over_whatever_they_are() {
    let (world, key) = signing(Alg::ES256, json!({})).await;
    let long = "x".repeat(4_000);
    let further = json!({
        "flag": true, "nothing": null, "number": 1.5, "object": { "a": [{ "b": null }] }, "list": [1, "x"],
        "sub": "somebody", "jti": 7, "txn": { "id": 1 }, "purpose": long, "constructor": { "prototype": {} },
        "openbanking_intent_id": { "value": "x", "essential": true },
    });
    let request = key.sign(None, object(&world, &further).to_string().as_bytes()).unwrap();
    assert!(send(&world, &request).await.has_id("login-title"));
    let mut agent = world.agent();
    agent.extra.push(("authorization", world.basic()));
    let pushed = agent.post("/oauth/par", &[("request", &request)]).await;
    assert_eq!(pushed.status, StatusCode::CREATED, "{}", pushed.body);
    // A claim can be `null` in `claims`, which is a parameter.
    let wish = json!({ "claims": { "userinfo": { "email": null } }, "flag": false });
    let request = key.sign(None, object(&world, &wish).to_string().as_bytes()).unwrap();
    assert!(send(&world, &request).await.has_id("login-title"));
    // What is refused by name outside of an object is refused inside too.
    let odd = json!({ "organization": "org_1", "flag": false });
    let request = key.sign(None, object(&world, &odd).to_string().as_bytes()).unwrap();
    let refused = send(&world, &request).await;
    assert_eq!(refused.param("error").as_deref(), Some("invalid_request"), "{refused:?}");
}

#[tokio::test]
async fn an_object_that_cannot_be_read_gets_a_page_where_nothing_outside_says_where_to() {
    let (world, key) = signing(Alg::ES256, json!({})).await;
    let request = key.sign(None, object(&world, &json!({ "aud": "x" })).to_string().as_bytes()).unwrap();
    let query = [("client_id", world.seeded.client_id.as_str()), ("request", &request)];
    let answer =
        world.agent().get(&format!("/authorize?{}", crate::fields::to_query(query.into_iter()))).await;
    answer.is_error_page();
    // Nor does an object lead to an address that is not the client's.
    let evil = object(&world, &json!({ "redirect_uri": "https://evil.example/" }));
    let answer = send(&world, &key.sign(None, evil.to_string().as_bytes()).unwrap()).await;
    answer.is_error_page();
    let both = [
        ("client_id", world.seeded.client_id.as_str()),
        ("redirect_uri", CALLBACK),
        ("request", &request),
        ("request_uri", "https://client.example/object"),
    ];
    let answer =
        world.agent().get(&format!("/authorize?{}", crate::fields::to_query(both.into_iter()))).await;
    assert_eq!(answer.param("error").as_deref(), Some("invalid_request"), "{answer:?}");
}

#[tokio::test]
async fn unsigned_objects_count_only_where_the_tenant_says_so() {
    // unsigned-request-object-supported-correctly-or-rejected-as-unsupported.
    let world = World::new().await;
    let request = unsigned(&object(&world, &json!({ "iss": null, "aud": null, "exp": null, "nbf": null })));
    is_refused(&send(&world, &request).await, "off");
    world.set_tenant(json!({ "flags": { "enable_unsigned_request_objects": true } })).await;
    assert!(send(&world, &request).await.has_id("login-title"));
    let listed = |discovery: &Value| {
        let algs = discovery["request_object_signing_alg_values_supported"].as_array().unwrap();
        algs.iter().any(|alg| alg == "none")
    };
    assert!(listed(&world.agent().get("/.well-known/openid-configuration").await.json()));
    world.set_client(json!({ "request_object_signing_alg": "PS256" })).await;
    is_refused(&send(&world, &request).await, "the client signs");
    world.set_client(json!({ "request_object_signing_alg": null })).await;
    world.set_client(json!({ "signed_request_object": { "required": true } })).await;
    is_refused(&send(&world, &request).await, "the client must sign");
}

#[tokio::test]
async fn a_client_that_must_sign_is_held_to_message_signing() {
    let required =
        json!({ "signed_request_object": { "required": true }, "request_object_signing_alg": "ES256" });
    let (world, key) = signing(Alg::ES256, required).await;
    let plain = world.agent().get(&world.authorize(&[])).await;
    assert_eq!(plain.param("error").as_deref(), Some("invalid_request"), "{plain:?}");
    let pushed = world.push(&[]).await;
    assert_eq!(pushed.json()["error"], "invalid_request", "unsigned-request-object-fails-at-par");
    let now = world.clock.now().secs();
    let push = async |change: &Value| {
        let request = key.sign(None, object(&world, change).to_string().as_bytes()).unwrap();
        let mut agent = world.agent();
        agent.extra.push(("authorization", world.basic()));
        agent.post("/oauth/par", &[("request", &request)]).await
    };
    for change in [
        json!({ "exp": null }),
        json!({ "nbf": null }),
        json!({ "exp": now - 1 }),
        json!({ "exp": now + 3601 }),
        json!({ "nbf": now - 3601 }),
        json!({ "aud": null }),
        json!({ "aud": "http://localhost:9400/oauth/token" }),
        json!({ "iss": null }),
    ] {
        let refused = push(&change).await;
        let error = refused.json()["error"].as_str().map(str::to_owned);
        let expected = (StatusCode::BAD_REQUEST, Some("invalid_request_object"));
        assert_eq!((refused.status, error.as_deref()), expected, "{change}");
    }
    for change in [
        json!({}),
        json!({ "nbf": now + 8 }),
        json!({ "aud": ["https://other.example/", "http://localhost:9400/"] }),
    ] {
        let pushed = push(&change).await;
        assert_eq!(pushed.status, StatusCode::CREATED, "{change}: {}", pushed.body);
    }
    // The object counts when the browser comes: it may expire before the login is done.
    let pushed = push(&json!({ "exp": now + 30 })).await;
    let mut agent = world.agent();
    let page = agent.open(&world.authorize_pushed(&pushed)).await;
    world.clock.advance(std::time::Duration::from_secs(45));
    let back = agent.log_in(&page).await;
    assert_eq!(back.param("state").as_deref(), Some("inner"), "{back:?}");
}

#[tokio::test]
async fn o14_a_pushed_request_lives_no_longer_than_the_object_in_it() {
    let (world, key) = signing(Alg::ES256, json!({ "par_request_expiry": 300 })).await;
    let now = world.clock.now().secs();
    for (end, expected) in [(now + 20, 20), (now + 3000, 300)] {
        let claims = object(&world, &json!({ "exp": end }));
        let request = key.sign(Some("oauth-authz-req+jwt"), claims.to_string().as_bytes()).unwrap();
        let mut agent = world.agent();
        agent.extra.push(("authorization", world.basic()));
        let pushed = agent.post("/oauth/par", &[("request", &request)]).await;
        assert_eq!(pushed.json()["expires_in"], expected, "{}", pushed.body);
        let url = world.authorize_pushed(&pushed);
        assert!(world.agent().open(&url).await.has_id("login-title"));
        if expected == 20 {
            world.clock.advance(std::time::Duration::from_secs(21));
            world.agent().get(&url).await.is_error_page();
        }
    }
}

#[tokio::test]
async fn o14_an_object_is_fetched_from_registered_addresses_alone() {
    const PLACE: &str = "https://client.example/object.jwt";
    let (world, key) = signing(Alg::RS256, json!({ "request_uris": [PLACE] })).await;
    let request = key.sign(None, object(&world, &json!({})).to_string().as_bytes()).unwrap();
    let get = async |uri: &str| {
        let query = [
            ("client_id", world.seeded.client_id.as_str()),
            ("redirect_uri", CALLBACK),
            ("response_type", "code"),
            ("request_uri", uri),
        ];
        world.agent().open(&format!("/authorize?{}", crate::fields::to_query(query.into_iter()))).await
    };
    for foreign in [
        "https://client.example/other.jwt",
        "https://client.example/object.jwt?x",
        "https://client.example:443/object.jwt",
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:9180/apisix/admin/routes",
        "file:///etc/passwd",
        "urn:something:else",
        "x",
    ] {
        let refused = get(foreign).await;
        assert_eq!(refused.param("error").as_deref(), Some("invalid_request_uri"), "{foreign}: {refused:?}");
    }
    assert!(world.network.asked().is_empty());
    let nothing = get(PLACE).await;
    assert_eq!(nothing.param("error").as_deref(), Some("invalid_request_uri"), "{nothing:?}");
    world.network.publish(PLACE, &request);
    assert!(get(PLACE).await.has_id("login-title"));
    assert!(get(&format!("{PLACE}#anything")).await.has_id("login-title"));
    assert_eq!(world.network.asked(), [PLACE, PLACE, PLACE]);
    world.network.publish(PLACE, "<html>not a JWT</html>");
    is_refused(&get(PLACE).await, "no JWT");
}

#[tokio::test]
async fn keys_at_an_address_are_fetched_once_and_again_for_a_new_key() {
    const KEYS: &str = "https://client.example/jwks.json";
    let (world, old) = signing(Alg::ES256, json!({})).await;
    world.set_client(json!({ "jwks": null, "jwks_uri": KEYS })).await;
    let set = |key: &SigningKey| json!({ "keys": [key.public_jwk()] }).to_string();
    world.network.publish(KEYS, &set(&old));
    let request =
        |key: &SigningKey| key.sign(None, object(&world, &json!({})).to_string().as_bytes()).unwrap();
    for _ in 0..3 {
        assert!(send(&world, &request(&old)).await.has_id("login-title"));
    }
    assert_eq!(world.network.asked().len(), 1);
    // refresh-token-rp-key-rotation and its like: the client has a new key.
    let new = SigningKey::generate(Alg::ES256, "k2".to_owned()).unwrap();
    world.network.publish(KEYS, &set(&new));
    is_refused(&send(&world, &request(&new)).await, "fetched a moment ago");
    world.clock.advance(std::time::Duration::from_secs(15));
    assert!(send(&world, &request(&new)).await.has_id("login-title"));
    is_refused(&send(&world, &request(&old)).await, "the old key is gone");
    assert_eq!(world.network.asked().len(), 2);
}
