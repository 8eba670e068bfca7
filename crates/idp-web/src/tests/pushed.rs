//! `/oauth/par` (RFC 9126). Names in comments are those of the OpenID Foundation's FAPI 2.0 modules that check the same.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use serde_json::json;

use super::world::{HTTPS, Payload, World, basic};

#[tokio::test]
async fn a_pushed_request_is_answered_once() {
    let world = World::new().await;
    let pushed = world.push(&[]).await;
    assert_eq!(pushed.status, StatusCode::CREATED, "{}", pushed.body);
    assert_eq!(pushed.header("cache-control"), Some("no-store"));
    let body = pushed.json();
    assert!(body["request_uri"].as_str().unwrap().starts_with("urn:ietf:params:oauth:request_uri:"));
    assert_eq!(body["expires_in"], 60);

    // par-attempt-reuse-request_uri: a page may be loaded again before the login.
    let url = world.authorize_pushed(&pushed);
    let mut agent = world.agent();
    assert!(agent.open(&url).await.has_id("login-title"));
    let page = agent.open(&url).await;
    // par-attempt-to-use-expired-request_uri: what counts is when it was begun.
    world.clock.advance(Duration::from_secs(61));
    let back = agent.log_in(&page).await;
    assert_eq!(back.param("state").as_deref(), Some("xyz"));
    assert_eq!(back.param("iss").as_deref(), Some("http://localhost:9400/"));
    assert_eq!(world.redeem(&back.param("code").unwrap()).await.status, StatusCode::OK);
    agent.get(&url).await.is_error_page();
}

#[tokio::test]
async fn o14_two_logins_with_one_pushed_request_get_one_answer() {
    let world = World::new().await;
    let url = world.authorize_pushed(&world.push(&[]).await);
    let (mut one, mut other) = (world.agent(), world.agent());
    let (first, second) = (one.open(&url).await, other.open(&url).await);
    assert!(one.log_in(&first).await.param("code").is_some());
    let late = other.log_in(&second).await;
    late.is_error_page();
    // Also where the answer is an error.
    let url = world.authorize_pushed(&world.push(&[("prompt", "none")]).await);
    assert_eq!(world.agent().get(&url).await.param("error").as_deref(), Some("login_required"));
    world.agent().get(&url).await.is_error_page();
}

#[tokio::test]
async fn o14_a_request_uri_that_is_used_expired_or_anothers_leads_nowhere() {
    let world = World::new().await;
    let url = world.authorize_pushed(&world.push(&[]).await);
    let foreign = url.replace(&world.seeded.client_id, &world.seeded.management_client_id);
    for bad in [foreign, format!("{url}x"), url.replace("request_uri%3A", "request_uri%3Ax")] {
        let answer = world.agent().get(&bad).await;
        answer.is_error_page();
        assert!(answer.body.contains("invalid_request_uri"), "{}", answer.body);
    }
    world.clock.advance(Duration::from_secs(61));
    let late = world.agent().get(&url).await;
    late.is_error_page();
    assert!(late.body.contains("invalid_request_uri"), "{}", late.body);
    assert!(world.network.asked().is_empty());
}

#[tokio::test]
async fn parameters_beside_a_pushed_request_do_not_count() {
    // state-only-outside-request-object-not-used and its like.
    let world = World::new().await;
    let url = world.authorize_pushed(&world.push(&[("state", "-")]).await);
    let mut agent = world.agent();
    let evil = "&state=outer&redirect_uri=https%3A%2F%2Fevil.example%2F&scope=openid+offline_access";
    let page = agent.open(&format!("{url}{evil}")).await;
    let back = agent.log_in(&page).await;
    assert!(back.location().unwrap().starts_with(super::world::CALLBACK), "{back:?}");
    assert_eq!(back.param("state"), None);
    let tokens = world.redeem(&back.param("code").unwrap()).await.json();
    assert!(tokens.get("refresh_token").is_none());
}

#[tokio::test]
async fn a_push_is_refused_where_the_request_would_be() {
    let world = World::new().await;
    let cases = [
        (&[("response_type", "-")][..], "invalid_request"),
        (&[("response_type", "token")], "unsupported_response_type"),
        (&[("redirect_uri", "-")], "invalid_request"),
        (&[("redirect_uri", "https://evil.example/")], "invalid_request"),
        (&[("code_challenge_method", "plain")], "invalid_request"),
        (&[("code_challenge", "-")], "invalid_request"),
        (&[("prompt", "none login")], "invalid_request"),
        (&[("max_age", "soon")], "invalid_request"),
        (&[("response_mode", "smoke")], "invalid_request"),
        (&[("audience", "https://nothing/")], "access_denied"),
        (&[("request_uri", "urn:ietf:params:oauth:request_uri:x")], "invalid_request"),
        (&[("client_id", "somebody")], "invalid_request"),
        (&[("id_token_hint", "x.y.z")], "invalid_request"),
        (&[("scope", "a\"b")], "invalid_scope"),
    ];
    for (extra, code) in cases {
        let answer = world.push(extra).await;
        let error = answer.json()["error"].as_str().map(str::to_owned);
        assert_eq!((answer.status, error.as_deref()), (StatusCode::BAD_REQUEST, Some(code)), "{extra:?}");
    }
}

#[tokio::test]
async fn o08_a_push_needs_the_clients_authentication() {
    let world = World::new().await;
    let params = world.parameters(&[]);
    let form: Vec<_> = params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(world.agent().post("/oauth/par", &form).await.status, StatusCode::UNAUTHORIZED);
    let mut wrong = world.agent();
    wrong.extra.push(("authorization", basic(&world.seeded.client_id, "x")));
    let refused = wrong.post("/oauth/par", &form).await;
    assert_eq!(
        (refused.status, refused.json()["error"].as_str()),
        (StatusCode::UNAUTHORIZED, Some("invalid_client"))
    );
    let mut posted = form.clone();
    posted.push(("client_secret", world.seeded.client_secret.expose()));
    let pushed = world.agent().post("/oauth/par", &posted).await;
    assert_eq!(pushed.status, StatusCode::CREATED, "{}", pushed.body);
    // Not in the URL, not as JSON, not twice, not by GET.
    let query = crate::fields::to_query(posted.iter().copied());
    let in_url = world.agent().post(&format!("/oauth/par?{query}"), &[]).await;
    assert_eq!(in_url.status, StatusCode::BAD_REQUEST);
    let body = json!({ "client_id": world.seeded.client_id });
    let sent = world.agent().send(Method::POST, "/oauth/par", Some(Payload::Json(&body))).await;
    assert_eq!(sent.status, StatusCode::BAD_REQUEST);
    let twice = Payload::Form(format!("{query}&scope=openid"));
    let sent = world.agent().send(Method::POST, "/oauth/par", Some(twice)).await;
    assert_eq!(
        (sent.status, sent.json()["error"].as_str()),
        (StatusCode::BAD_REQUEST, Some("invalid_request"))
    );
    assert_eq!(world.agent().get("/oauth/par").await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn where_pushing_is_required_nothing_else_is_taken() {
    let world = World::new().await;
    world
        .set_client(json!({ "require_pushed_authorization_requests": true, "par_request_expiry": 300 }))
        .await;
    // ensure-request-object-without-par-fails.
    let direct = world.agent().get(&world.authorize(&[])).await;
    assert_eq!(direct.param("error").as_deref(), Some("invalid_request"), "{direct:?}");
    let pushed = world.push(&[]).await;
    assert_eq!(pushed.json()["expires_in"], 300);
    assert!(world.agent().open(&world.authorize_pushed(&pushed)).await.has_id("login-title"));

    world.set_client(json!({ "require_pushed_authorization_requests": false })).await;
    assert!(world.agent().open(&world.authorize(&[])).await.has_id("login-title"));
    world.set_tenant(json!({ "flags": { "require_pushed_authorization_requests": true } })).await;
    let direct = world.agent().get(&world.authorize(&[])).await;
    assert_eq!(direct.param("error").as_deref(), Some("invalid_request"), "{direct:?}");
    let discovery = world.agent().get("/.well-known/openid-configuration").await.json();
    assert_eq!(discovery["require_pushed_authorization_requests"], true);
    assert_eq!(discovery["pushed_authorization_request_endpoint"], "http://localhost:9400/oauth/par");
    let https = {
        let mut agent = world.agent();
        agent.host = HTTPS;
        agent.get("/.well-known/oauth-authorization-server").await.json()
    };
    assert_eq!(https["pushed_authorization_request_endpoint"], "https://localhost:9401/oauth/par");
}

#[tokio::test]
async fn a_tenant_may_have_no_pushed_requests() {
    let world = World::new().await;
    world.set_tenant(json!({ "pushed_authorization_requests_supported": false })).await;
    let refused = world.push(&[]).await;
    let error = refused.json()["error"].as_str().map(str::to_owned);
    assert_eq!((refused.status, error.as_deref()), (StatusCode::NOT_FOUND, Some("endpoint_disabled")));
    let discovery = world.agent().get("/.well-known/openid-configuration").await.json();
    assert!(discovery.get("pushed_authorization_request_endpoint").is_none());
}

#[tokio::test]
async fn o50_oversized_pushes_are_refused_and_long_values_come_back_whole() {
    let world = World::new().await;
    let long = "x".repeat(60 * 1024);
    for name in ["state", "nonce", "scope", "acr_values"] {
        let refused = world.push(&[(name, &long)]).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{name}");
    }
    // ensure-authorization-request-with-long-state and -with-long-nonce.
    let (state, nonce) = ("s".repeat(1024), "n".repeat(384));
    let url = world.authorize_pushed(&world.push(&[("state", &state), ("nonce", &nonce)]).await);
    let mut agent = world.agent();
    let page = agent.open(&url).await;
    let back = agent.log_in(&page).await;
    assert_eq!(back.param("state"), Some(state));
    let tokens = world.redeem(&back.param("code").unwrap()).await.json();
    assert_eq!(super::request_objects::claims(tokens["id_token"].as_str().unwrap())["nonce"], nonce.as_str());
}
