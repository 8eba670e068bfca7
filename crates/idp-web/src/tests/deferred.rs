//! The device flow (RFC 8628) and CIBA: requests that are answered elsewhere than where they were made.

use std::time::Duration;

use axum::http::StatusCode;
use idp::model::Client;
use jose::{Alg, SigningKey};
use serde_json::{Value, json};

use super::world::{Agent, Answer, HTTP, World, basic, claims, signed};

const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const CIBA: &str = "urn:openid:params:grant-type:ciba";
const HOOK: &str = "https://client.example/hook";

fn caller<'w>(world: &'w World, client: &Client) -> Agent<'w> {
    let mut agent = world.agent();
    let secret = client.client_secret.as_ref().unwrap().expose();
    agent.extra.push(("authorization", basic(&client.client_id, secret)));
    agent
}

#[track_caller]
fn is_refused(answer: &Answer, error: &str) {
    assert!(answer.status.is_client_error(), "{answer:?}");
    assert_eq!(answer.json()["error"], error, "{}", answer.body);
}

async fn television(world: &World) -> Client {
    world.client(json!({"app_type": "native", "grant_types": [DEVICE, "refresh_token"]})).await
}

async fn begin(world: &World, client: &Client) -> Value {
    let form = [("client_id", client.client_id.as_str()), ("scope", "openid offline_access")];
    let begun = world.agent().post("/oauth/device/code", &form).await;
    assert_eq!(begun.status, StatusCode::OK, "{}", begun.body);
    begun.json()
}

async fn poll(world: &World, client: &Client, code: &str) -> Answer {
    let form = [("grant_type", DEVICE), ("client_id", client.client_id.as_str()), ("device_code", code)];
    world.agent().post("/oauth/token", &form).await
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap()
}

#[tokio::test]
async fn a_device_gets_tokens_once_its_code_was_typed_and_allowed() {
    let world = World::new().await;
    let client = television(&world).await;
    let begun = begin(&world, &client).await;
    assert_eq!(begun["verification_uri"], format!("http://{HTTP}/activate"));
    assert_eq!((&begun["expires_in"], &begun["interval"]), (&json!(900), &json!(5)));
    let code = text(&begun, "device_code");
    is_refused(&poll(&world, &client, code).await, "authorization_pending");
    is_refused(&poll(&world, &client, code).await, "slow_down");
    world.clock.advance(Duration::from_secs(9));
    is_refused(&poll(&world, &client, code).await, "slow_down");
    world.clock.advance(Duration::from_secs(16));
    is_refused(&poll(&world, &client, code).await, "authorization_pending");

    let mut browser = world.agent();
    let page = browser.get(&format!("/activate?user_code={}", text(&begun, "user_code"))).await;
    assert!(page.has_id("user_code") && page.has_id("submit-code"), "{page:?}");
    assert!(page.body.contains(text(&begun, "user_code")), "{}", page.body);
    let typed = text(&begun, "user_code").to_lowercase();
    let next = browser.submit(&page, &[("user_code", &typed)]).await;
    let login = browser.follow(next).await;
    assert!(login.has_id("login-title"), "{login:?}");
    let consent = browser.log_in(&login).await;
    assert!(consent.has_id("allow") && consent.has_id("deny"), "{consent:?}");
    is_refused(&poll(&world, &client, code).await, "slow_down");
    world.clock.advance(Duration::from_secs(60));
    let done = browser.submit(&consent, &[("action", "accept")]).await;
    assert!(done.has_id("device-allowed"), "{done:?}");
    let again = browser.submit(&page, &[("user_code", &typed)]).await;
    assert_eq!(again.status, StatusCode::BAD_REQUEST);

    let tokens = poll(&world, &client, code).await;
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
    let tokens = tokens.json();
    assert!(tokens["refresh_token"].is_string() && tokens["access_token"].is_string());
    assert_eq!(claims(text(&tokens, "id_token"))["aud"], client.client_id.as_str());
    world.clock.advance(Duration::from_secs(60));
    is_refused(&poll(&world, &client, code).await, "invalid_grant");
}

#[tokio::test]
async fn o30_a_device_code_is_its_client_s_and_ends_by_itself_or_by_a_no() {
    let world = World::new().await;
    let (client, other) = (television(&world).await, television(&world).await);
    let begun = begin(&world, &client).await;
    is_refused(&poll(&world, &other, text(&begun, "device_code")).await, "invalid_grant");
    is_refused(&poll(&world, &client, "nonsense").await, "invalid_grant");
    is_refused(&poll(&world, &client, text(&begun, "user_code")).await, "invalid_grant");

    let mut browser = world.agent();
    let page = browser.get("/activate").await;
    let next = browser.submit(&page, &[("user_code", text(&begun, "user_code"))]).await;
    let login = browser.follow(next).await;
    let consent = browser.log_in(&login).await;
    let done = browser.submit(&consent, &[("action", "deny")]).await;
    assert!(done.has_id("device-denied"), "{done:?}");
    is_refused(&poll(&world, &client, text(&begun, "device_code")).await, "access_denied");

    let late = begin(&world, &client).await;
    world.clock.advance(Duration::from_secs(901));
    is_refused(&poll(&world, &client, text(&late, "device_code")).await, "expired_token");
    let typed = browser.submit(&page, &[("user_code", text(&late, "user_code"))]).await;
    assert_eq!(typed.status, StatusCode::BAD_REQUEST);
    let strict = world.client(json!({"grant_types": ["authorization_code"]})).await;
    let refused = caller(&world, &strict).post("/oauth/device/code", &[]).await;
    is_refused(&refused, "unauthorized_client");
}

#[tokio::test]
async fn o14_a_device_may_sign_its_request_and_must_where_its_client_must() {
    let world = World::new().await;
    let key = SigningKey::generate(Alg::ES256, "k1".to_owned()).unwrap();
    let client = world
        .client(json!({
            "app_type": "native", "grant_types": [DEVICE, "refresh_token"],
            "jwks": { "keys": [key.public_jwk()] }, "signed_request_object": { "required": true },
        }))
        .await;
    let now = world.clock.now().secs();
    let object = |change: Value| {
        let mut claims = json!({
            "iss": client.client_id, "client_id": client.client_id, "aud": format!("http://{HTTP}/"),
            "nbf": now, "exp": now + 300, "scope": "openid email",
        });
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        signed(&key, json!({ "typ": "oauth-authz-req+jwt" }), &claims)
    };
    let ask = async |extra: &[(&str, &str)]| {
        let form = [&[("client_id", client.client_id.as_str()), ("scope", "openid phone")], extra].concat();
        world.agent().post("/oauth/device/code", &form).await
    };
    is_refused(&ask(&[]).await, "invalid_request");
    is_refused(&ask(&[("request_uri", "https://client.example/request")]).await, "request_uri_not_supported");
    is_refused(&ask(&[("request", "x")]).await, "invalid_request_object");
    is_refused(&ask(&[("request", &object(json!({ "exp": now })))]).await, "invalid_request_object");
    is_refused(&ask(&[("request", &object(json!({ "iss": "x" })))]).await, "invalid_request_object");
    is_refused(&ask(&[("request", &object(json!({ "acr_values": 7.5 })))]).await, "invalid_request_object");
    let begun = ask(&[("request", &object(json!({})))]).await;
    assert_eq!(begun.status, StatusCode::OK, "{}", begun.body);
    let begun = begun.json();
    // What was signed is what is asked for, and nothing beside it.
    let mut browser = world.agent();
    let page = browser.get(&format!("/activate?user_code={}", text(&begun, "user_code"))).await;
    let next = browser.submit(&page, &[("user_code", text(&begun, "user_code"))]).await;
    let login = browser.follow(next).await;
    let consent = browser.log_in(&login).await;
    assert!(consent.body.contains("See your e-mail address"), "{}", consent.body);
    assert!(!consent.body.contains("See your phone number"), "{}", consent.body);
}

#[tokio::test]
async fn o30_guessing_codes_ends_after_a_few() {
    let world = World::new().await;
    let client = television(&world).await;
    let begun = begin(&world, &client).await;
    let mut browser = world.agent();
    for _ in 0..10 {
        let wrong = browser.post("/activate", &[("user_code", "BBBB-BBBB")]).await;
        assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    }
    let right = browser.post("/activate", &[("user_code", text(&begun, "user_code"))]).await;
    assert_eq!(right.status, StatusCode::BAD_REQUEST, "{right:?}");
    world.clock.advance(Duration::from_secs(14 * 60 + 59));
    let mut elsewhere = world.agent();
    elsewhere.extra.push(("sec-fetch-site", "cross-site".to_owned()));
    let foreign = elsewhere.post("/activate", &[("user_code", text(&begun, "user_code"))]).await;
    foreign.is_error_page();
}

#[tokio::test]
async fn o30_a_code_of_one_s_own_in_between_buys_no_more_guesses() {
    let world = World::new().await;
    let client = television(&world).await;
    let (own, aim) = (begin(&world, &client).await, begin(&world, &client).await);
    let mut browser = world.agent();
    let mut typed = async |code: &str| browser.post("/activate", &[("user_code", code)]).await.status;
    for _ in 0..9 {
        assert_eq!(typed("BBBB-BBBB").await, StatusCode::BAD_REQUEST);
        assert_eq!(typed(text(&own, "user_code")).await, StatusCode::SEE_OTHER);
    }
    assert_eq!(typed("BBBB-BBBB").await, StatusCode::BAD_REQUEST);
    for begun in [&own, &aim] {
        assert_eq!(typed(text(begun, "user_code")).await, StatusCode::BAD_REQUEST);
    }
    world.clock.advance(Duration::from_secs(15 * 60 + 1));
    let fresh = begin(&world, &client).await;
    assert_eq!(typed(text(&fresh, "user_code")).await, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn o30_a_user_guesses_no_more_from_many_addresses_and_nobody_else_is_locked_out() {
    let world = World::new().await;
    let client = television(&world).await;
    let begun = begin(&world, &client).await;
    let from = |agent: &mut Agent<'_>, address: u8| agent.peer = Some([192, 0, 2, address].into());
    let mut guesser = world.agent();
    guesser.code(&[]).await;
    for address in 1..=10 {
        from(&mut guesser, address);
        let wrong = guesser.post("/activate", &[("user_code", "BBBB-BBBB")]).await;
        assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    }
    from(&mut guesser, 11);
    let right = [("user_code", text(&begun, "user_code"))];
    assert_eq!(guesser.post("/activate", &right).await.status, StatusCode::BAD_REQUEST);
    let mut other = world.agent();
    from(&mut other, 12);
    assert_eq!(other.post("/activate", &right).await.status, StatusCode::SEE_OTHER);
    // One address is one guesser, with a session or without.
    let mut many = world.agent();
    from(&mut many, 13);
    for _ in 0..10 {
        many.post("/activate", &[("user_code", "BBBB-BBBB")]).await;
    }
    let mut next = world.agent();
    from(&mut next, 13);
    assert_eq!(next.post("/activate", &right).await.status, StatusCode::BAD_REQUEST);
}

async fn bank(world: &World, extra: Value) -> Client {
    let mut body = json!({"grant_types": [CIBA, "refresh_token"]});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    world.client(body).await
}

async fn poll_ciba(world: &World, client: &Client, id: &str) -> Answer {
    caller(world, client).post("/oauth/token", &[("grant_type", CIBA), ("auth_req_id", id)]).await
}

#[tokio::test]
async fn a_user_who_is_asked_elsewhere_decides_on_a_page_of_ours() {
    let world = World::new().await;
    let client = bank(&world, json!({})).await;
    let user = world.seeded.user.clone();
    let form = [("scope", "openid"), ("login_hint", user.as_str()), ("binding_message", "Till 7")];
    let begun = caller(&world, &client).post("/bc-authorize", &form).await;
    assert_eq!(begun.status, StatusCode::OK, "{}", begun.body);
    let begun = begun.json();
    assert_eq!((&begun["expires_in"], &begun["interval"]), (&json!(300), &json!(5)));
    let id = text(&begun, "auth_req_id");
    is_refused(&poll_ciba(&world, &client, id).await, "authorization_pending");
    let other = bank(&world, json!({})).await;
    is_refused(&poll_ciba(&world, &other, id).await, "invalid_grant");

    let mut browser = world.agent();
    assert_eq!(browser.get("/u/requests").await.status, StatusCode::NOT_FOUND);
    let login = browser.open(&world.authorize(&[])).await;
    browser.log_in(&login).await;
    let consent = browser.open("/u/requests").await;
    assert!(consent.has_id("allow") && consent.body.contains("Till 7"), "{consent:?}");
    let done = browser.submit(&consent, &[("action", "accept")]).await;
    assert!(done.has_id("device-allowed"), "{done:?}");
    world.clock.advance(Duration::from_secs(5));
    let tokens = poll_ciba(&world, &client, id).await;
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
    assert!(tokens.json()["id_token"].is_string());
    world.clock.advance(Duration::from_secs(5));
    is_refused(&poll_ciba(&world, &client, id).await, "invalid_grant");
}

#[tokio::test]
async fn backchannel_requests_are_refused_with_the_codes_of_ciba() {
    let world = World::new().await;
    let client = bank(&world, json!({})).await;
    let user = world.seeded.user.clone();
    let good = [("scope", "openid"), ("login_hint", user.as_str())];
    let long = "x".repeat(65);
    let cases: [(&[(&str, &str)], &str); 9] = [
        (&[("scope", "openid")], "invalid_request"),
        (&[("scope", "openid"), ("login_hint", "nobody@example.com")], "unknown_user_id"),
        (&[("scope", "profile"), ("login_hint", &user)], "invalid_scope"),
        (&[good[0], good[1], ("id_token_hint", "x")], "invalid_request"),
        (&[good[0], good[1], ("binding_message", &long)], "invalid_binding_message"),
        (&[good[0], good[1], ("binding_message", "a\u{202e}b")], "invalid_binding_message"),
        (&[good[0], good[1], ("requested_expiry", "0")], "invalid_request"),
        (&[good[0], good[1], ("requested_expiry", "soon")], "invalid_request"),
        (&[good[0], ("login_hint", "{\"format\":\"iss_sub\"}")], "invalid_request"),
    ];
    for (form, error) in cases {
        is_refused(&caller(&world, &client).post("/bc-authorize", form).await, error);
    }
    let strict = world.client(json!({"grant_types": ["authorization_code"]})).await;
    is_refused(&caller(&world, &strict).post("/bc-authorize", &good).await, "unauthorized_client");
    let nobody = world.agent().post("/bc-authorize", &good).await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
    let short = [good[0], good[1], ("requested_expiry", "30")];
    let begun = caller(&world, &client).post("/bc-authorize", &short).await.json();
    assert_eq!(begun["expires_in"], 30);
    world.clock.advance(Duration::from_secs(31));
    is_refused(&poll_ciba(&world, &client, text(&begun, "auth_req_id")).await, "expired_token");
}

#[tokio::test]
async fn a_client_in_ping_mode_is_told_and_dev_may_decide() {
    let world = World::new().await;
    let client = bank(
        &world,
        json!({
            "backchannel_token_delivery_mode": "ping", "backchannel_client_notification_endpoint": HOOK,
        }),
    )
    .await;
    let user = world.seeded.user.clone();
    let form = [("scope", "openid"), ("login_hint", user.as_str())];
    is_refused(&caller(&world, &client).post("/bc-authorize", &form).await, "invalid_request");
    let form = [form[0], form[1], ("client_notification_token", "tell-me")];
    let begun = caller(&world, &client).post("/bc-authorize", &form).await.json();
    let id = text(&begun, "auth_req_id");
    let path = format!("/dev/ciba?auth_req_id={id}&action=");
    assert_eq!(world.agent().get(&format!("{path}maybe")).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.agent().get(&format!("{path}deny")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.agent().get(&format!("{path}allow")).await.status, StatusCode::NOT_FOUND);
    let told = world.network.told().await;
    assert_eq!(told.0, HOOK);
    assert_eq!(told.1["authorization"], "Bearer tell-me");
    assert_eq!(serde_json::from_slice::<Value>(&told.2).unwrap(), json!({ "auth_req_id": id }));
    is_refused(&poll_ciba(&world, &client, id).await, "access_denied");
}

#[tokio::test]
async fn signed_backchannel_requests_are_judged_claim_by_claim() {
    let world = World::new().await;
    let key = SigningKey::generate(Alg::ES256, "k".to_owned()).unwrap();
    let client = bank(
        &world,
        json!({
            "backchannel_authentication_request_signing_alg": "ES256", "jwks": {"keys": [key.public_jwk()]},
        }),
    )
    .await;
    let now = world.clock.now().secs();
    let mut number = 0;
    let mut good = || {
        number += 1;
        json!({
            "iss": client.client_id, "aud": format!("http://{HTTP}/"), "exp": now + 60, "iat": now, "nbf": now,
            "jti": number.to_string(), "scope": "openid", "login_hint": world.seeded.user,
            "requested_expiry": "60",
        })
    };
    let send = async |claims: Value| {
        let request = signed(&key, json!({}), &claims);
        caller(&world, &client).post("/bc-authorize", &[("request", &request)]).await
    };
    let accepted = send(good()).await;
    assert_eq!((accepted.status, &accepted.json()["expires_in"]), (StatusCode::OK, &json!(60)));
    let mut further = good();
    further["flag"] = json!(true);
    further["object"] = json!({ "a": null });
    further["purpose"] = json!("x".repeat(4_000));
    further["acr_values"] = json!("1");
    assert_eq!(send(further).await.status, StatusCode::OK);
    for (name, value) in
        [("scope", json!(["openid"])), ("login_hint", json!({})), ("binding_message", json!(null))]
    {
        let mut odd = good();
        odd[name] = value;
        is_refused(&send(odd).await, "invalid_request");
    }
    for name in ["iss", "aud", "exp", "iat", "nbf", "jti"] {
        let (mut missing, mut wrong) = (good(), good());
        missing.as_object_mut().unwrap().shift_remove(name);
        is_refused(&send(missing).await, "invalid_request");
        wrong[name] = if ["exp", "iat", "nbf"].contains(&name) { json!(now + 90_000) } else { json!("") };
        is_refused(&send(wrong).await, "invalid_request");
    }
    let twice = good();
    assert_eq!(send(twice.clone()).await.status, StatusCode::OK);
    is_refused(&send(twice).await, "invalid_request");
    let user = world.seeded.user.clone();
    let unsigned = [("scope", "openid"), ("login_hint", user.as_str())];
    is_refused(&caller(&world, &client).post("/bc-authorize", &unsigned).await, "invalid_request");
    let foreign = SigningKey::generate(Alg::ES256, "k".to_owned()).unwrap();
    let request = signed(&foreign, json!({}), &good());
    is_refused(
        &caller(&world, &client).post("/bc-authorize", &[("request", &request)]).await,
        "invalid_request",
    );
}

#[tokio::test]
async fn parameters_that_only_ignoring_could_answer_are_refused_as_at_authorize() {
    let world = World::new().await;
    let key = SigningKey::generate(Alg::ES256, "k".to_owned()).unwrap();
    let device = television(&world).await;
    let plain = bank(&world, json!({})).await;
    let signing = bank(
        &world,
        json!({
            "backchannel_authentication_request_signing_alg": "ES256", "jwks": {"keys": [key.public_jwk()]},
        }),
    )
    .await;
    let user = world.seeded.user.clone();
    let good = [("scope", "openid"), ("login_hint", user.as_str())];
    let now = world.clock.now().secs();
    for (name, value, error) in [
        ("registration", "{}", "registration_not_supported"),
        ("organization", "org_1", "invalid_request"),
        ("invitation", "inv_1", "invalid_request"),
        ("connection_scope", "friends", "invalid_request"),
    ] {
        let form = [("client_id", device.client_id.as_str()), ("scope", "openid"), (name, value)];
        is_refused(&world.agent().post("/oauth/device/code", &form).await, error);
        let form = [good[0], good[1], (name, value)];
        is_refused(&caller(&world, &plain).post("/bc-authorize", &form).await, error);
        let request = json!({
            "iss": signing.client_id, "aud": format!("http://{HTTP}/"), "exp": now + 60, "iat": now, "nbf": now,
            "jti": name, "scope": "openid", "login_hint": user, name: value,
        });
        let request = signed(&key, json!({}), &request);
        let answer = caller(&world, &signing).post("/bc-authorize", &[("request", &request)]).await;
        is_refused(&answer, error);
    }
    let form = [good[0], good[1], ("request_uri", "https://client.example/request")];
    is_refused(&caller(&world, &plain).post("/bc-authorize", &form).await, "request_uri_not_supported");
}

const PAYMENT: &str = r#"[{"type":"payment","amount":"12.50"}]"#;

#[tokio::test]
async fn what_is_asked_for_beside_scopes_is_shown_and_told_of_devices_and_elsewhere_too() {
    // RFC 9396 section 5, OpenID Connect Core 5.5.
    let world = World::new().await;
    world.change_api(json!({ "authorization_details": [{ "type": "payment" }] })).await;
    let user = world.seeded.user.clone();
    let wanted = r#"{"id_token":{"email":null,"auth_time":{"essential":true}},"userinfo":{"name":null}}"#;
    let form = [
        ("scope", "openid"),
        ("audience", world.seeded.audience.as_str()),
        ("authorization_details", PAYMENT),
        ("claims", wanted),
        ("acr_values", "1"),
    ];
    let details: Value = serde_json::from_str(PAYMENT).unwrap();
    let (television, bank) = (television(&world).await, bank(&world, json!({})).await);
    let mut browser = world.agent();
    browser.code(&[]).await;
    for device in [true, false] {
        let (id, consent) = if device {
            let mut form = form.to_vec();
            form.push(("client_id", &television.client_id));
            let begun = world.agent().post("/oauth/device/code", &form).await.json();
            let typed = [("user_code", text(&begun, "user_code"))];
            let next = browser.post("/activate", &typed).await;
            (text(&begun, "device_code").to_owned(), browser.follow(next).await)
        } else {
            let mut form = form.to_vec();
            form.push(("login_hint", &user));
            let begun = caller(&world, &bank).post("/bc-authorize", &form).await.json();
            (text(&begun, "auth_req_id").to_owned(), browser.open("/u/requests").await)
        };
        for shown in ["payment", "12.50", "See your name"] {
            assert!(consent.has_id("allow") && consent.body.contains(shown), "{shown}: {}", consent.body);
        }
        assert!(browser.submit(&consent, &[("action", "accept")]).await.has_id("device-allowed"));
        let answer =
            if device { poll(&world, &television, &id).await } else { poll_ciba(&world, &bank, &id).await };
        let tokens = answer.json();
        assert_eq!(tokens["authorization_details"], details, "{tokens}");
        assert_eq!(claims(text(&tokens, "access_token"))["authorization_details"], details);
        let told = claims(text(&tokens, "id_token"));
        assert_eq!(told["email"], user.as_str(), "{told}");
        assert!(told["auth_time"].is_i64() && told["acr"].is_string(), "{told}");
        assert!(told.get("name").is_none(), "{told}");
    }
    // Whoever decides in a person's place allows the same.
    let mut hinted = form.to_vec();
    hinted.push(("login_hint", &user));
    let begun = caller(&world, &bank).post("/bc-authorize", &hinted).await.json();
    let id = text(&begun, "auth_req_id");
    world.agent().get(&format!("/dev/ciba?auth_req_id={id}&action=allow")).await;
    let tokens = poll_ciba(&world, &bank, id).await.json();
    assert_eq!(tokens["authorization_details"], details, "{tokens}");
    assert_eq!(claims(text(&tokens, "id_token"))["email"], user.as_str());

    for (name, value, error) in [
        ("authorization_details", r#"[{"type":"transfer"}]"#, "invalid_authorization_details"),
        ("authorization_details", "{}", "invalid_authorization_details"),
        ("claims", "[]", "invalid_request"),
        (
            "claims",
            r#"{"id_token":{"acr":{"essential":true,"value":"2"}}}"#,
            "unmet_authentication_requirements",
        ),
        ("claims", r#"{"id_token":{"sub":{"value":7}}}"#, "invalid_request"),
        (
            "acr_values",
            "http://schemas.openid.net/pape/policies/2007/06/multi-factor",
            "unmet_authentication_requirements",
        ),
        ("max_age", "soon", "invalid_request"),
    ] {
        let mut form: Vec<_> = form.iter().copied().filter(|field| field.0 != name).collect();
        form.extend([(name, value), ("client_id", television.client_id.as_str())]);
        is_refused(&world.agent().post("/oauth/device/code", &form).await, error);
        form.pop();
        form.push(("login_hint", &user));
        is_refused(&caller(&world, &bank).post("/bc-authorize", &form).await, error);
    }
    // The two ways to name the user name one.
    let form =
        [form[0], ("login_hint", &user), ("claims", r#"{"id_token":{"sub":{"value":"auth0|other"}}}"#)];
    is_refused(&caller(&world, &bank).post("/bc-authorize", &form).await, "invalid_request");
}

#[tokio::test]
async fn how_fresh_a_login_must_be_counts_for_devices_and_elsewhere_too() {
    let world = World::new().await;
    let user = world.seeded.user.clone();
    let aged = json!({"app_type": "native", "grant_types": [DEVICE], "default_max_age": 60});
    let timed = json!({"app_type": "native", "grant_types": [DEVICE], "require_auth_time": true});
    let asked = json!({"app_type": "native", "grant_types": [DEVICE]});
    let (aged, timed, asked) =
        (world.client(aged).await, world.client(timed).await, world.client(asked).await);
    let mut browser = world.agent();
    browser.code(&[]).await;
    world.clock.advance(Duration::from_secs(120));
    for (client, extra, again) in [
        (&aged, None, true),
        (&timed, None, false),
        (&asked, Some(("max_age", "7")), true),
        (&aged, Some(("max_age", "3600")), false),
    ] {
        world.clock.advance(Duration::from_secs(61));
        let mut form = vec![("client_id", client.client_id.as_str()), ("scope", "openid")];
        form.extend(extra);
        let begun = world.agent().post("/oauth/device/code", &form).await.json();
        let next = browser.post("/activate", &[("user_code", text(&begun, "user_code"))]).await;
        let mut page = browser.follow(next).await;
        assert_eq!(page.has_id("login-title"), again, "{form:?}: {page:?}");
        if again {
            page = browser.log_in(&page).await;
        }
        browser.submit(&page, &[("action", "accept")]).await;
        let tokens = poll(&world, client, text(&begun, "device_code")).await.json();
        assert!(claims(text(&tokens, "id_token"))["auth_time"].is_i64(), "{form:?}: {tokens}");
    }
    let bank = bank(&world, json!({ "default_max_age": 60 })).await;
    world.clock.advance(Duration::from_secs(61));
    caller(&world, &bank).post("/bc-authorize", &[("scope", "openid"), ("login_hint", &user)]).await;
    assert!(browser.open("/u/requests").await.has_id("login-title"));
}
