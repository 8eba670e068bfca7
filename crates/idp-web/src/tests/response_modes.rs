//! How answers travel: JARM and `web_message`. The others are with the flows.

use axum::http::StatusCode;
use jose::{Alg, CompactJws, KeySet};
use serde_json::{Value, json};

use super::{
    request_objects::claims,
    world::{Answer, CALLBACK, World},
};

/// A browser's answer after a login.
async fn answer(world: &World, extra: &[(&str, &str)]) -> Answer {
    let mut agent = world.agent();
    let page = agent.open(&world.authorize(extra)).await;
    if page.has_id("login-title") { agent.log_in(&page).await } else { page }
}

/// The claims of the answer's JWT, verified with the provider's keys.
async fn verified(world: &World, response: &str, alg: Alg) -> Value {
    let jwks = world.agent().get("/.well-known/jwks.json").await.body;
    let keys = KeySet::parse(jwks.as_bytes()).unwrap();
    keys.verify(&CompactJws::parse(response).unwrap(), &[alg]).unwrap();
    claims(response)
}

#[tokio::test]
async fn an_answer_may_be_one_signed_jwt() {
    let world = World::new().await;
    for (mode, place) in [("jwt", '?'), ("query.jwt", '?'), ("fragment.jwt", '#')] {
        let back = answer(&world, &[("response_mode", mode)]).await;
        assert!(back.location().unwrap().starts_with(&format!("{CALLBACK}{place}response=")), "{back:?}");
        for outside in ["code", "state", "iss", "error"] {
            assert_eq!(back.param(outside), None, "{mode}");
        }
        let inside = verified(&world, &back.param("response").unwrap(), Alg::RS256).await;
        assert_eq!(inside["iss"], "http://localhost:9400/");
        assert_eq!(inside["aud"], world.seeded.client_id.as_str());
        assert_eq!(inside["state"], "xyz");
        assert_eq!(inside["exp"], world.clock.now().secs() + 600);
        let tokens = world.redeem(inside["code"].as_str().unwrap()).await;
        assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
    }
    let form = answer(&world, &[("response_mode", "form_post.jwt")]).await;
    assert_eq!(form.status, StatusCode::OK);
    assert!(form.body.contains("name=\"response\"") && !form.body.contains("name=\"code\""));
}

#[tokio::test]
async fn an_error_is_signed_too_and_by_the_clients_algorithm() {
    let world = World::new().await;
    world.set_client(json!({ "authorization_signed_response_alg": "PS256" })).await;
    let back = answer(&world, &[("response_mode", "jwt"), ("prompt", "none")]).await;
    let inside = verified(&world, &back.param("response").unwrap(), Alg::PS256).await;
    assert_eq!((&inside["error"], &inside["state"]), (&json!("login_required"), &json!("xyz")));
    let back = answer(&world, &[("response_mode", "query.jwt"), ("max_age", "x")]).await;
    let inside = verified(&world, &back.param("response").unwrap(), Alg::PS256).await;
    assert_eq!(inside["error"], "invalid_request");
    // No such thing.
    for mode in ["web_message.jwt", "jwt.jwt", ".jwt", "JWT", "query jwt"] {
        world.agent().get(&world.authorize(&[("response_mode", mode)])).await.is_error_page();
    }
    let discovery = world.agent().get("/.well-known/openid-configuration").await.json();
    for mode in ["jwt", "query.jwt", "fragment.jwt", "form_post.jwt", "web_message"] {
        assert!(discovery["response_modes_supported"].as_array().unwrap().contains(&json!(mode)), "{mode}");
    }
}

#[tokio::test]
async fn a_signed_answer_is_no_token() {
    let world = World::new().await;
    let back = answer(&world, &[("response_mode", "jwt")]).await;
    let response = back.param("response").unwrap();
    let mut program = world.agent();
    program.extra.push(("authorization", format!("Bearer {response}")));
    assert_eq!(program.get("/userinfo").await.status, StatusCode::UNAUTHORIZED);
    let hinted = world.agent().get(&world.authorize(&[("id_token_hint", &response)])).await;
    assert_eq!(hinted.param("error").as_deref(), Some("invalid_request"));
}

#[tokio::test]
async fn tokens_do_not_go_into_a_query_signed_or_not() {
    let world = World::new().await;
    world.set_tenant(json!({ "flags": { "enable_implicit_flow": true } })).await;
    world.set_client(json!({ "grant_types": ["authorization_code", "implicit"] })).await;
    let back = answer(&world, &[("response_type", "code id_token"), ("response_mode", "query.jwt")]).await;
    assert!(back.location().unwrap().starts_with(&format!("{CALLBACK}#response=")), "{back:?}");
    assert_eq!(claims(&back.param("response").unwrap())["error"], "invalid_request");
    let back = answer(&world, &[("response_type", "code id_token"), ("response_mode", "jwt")]).await;
    let inside = claims(&back.param("response").unwrap());
    assert!(
        back.location().unwrap().contains('#')
            && inside["id_token"].is_string()
            && inside["code"].is_string()
    );
}

#[tokio::test]
async fn a_web_message_is_for_the_clients_own_origin() {
    let world = World::new().await;
    let request = [("response_mode", "web_message"), ("prompt", "none")];
    let refused = world.agent().get(&world.authorize(&request)).await;
    refused.is_error_page();
    world.set_client(json!({ "web_origins": ["http://localhost:9080"] })).await;
    let silent = world.agent().get(&world.authorize(&request)).await;
    assert_eq!(silent.status, StatusCode::OK, "{silent:?}");
    assert!(silent.body.contains("data-origin=\"http://localhost:9080\""), "{}", silent.body);
    assert!(silent.body.contains("login_required") && silent.body.contains("/u/message.js"));
    let policy = silent.header("content-security-policy").unwrap();
    assert!(
        policy.contains("frame-ancestors http://localhost:9080") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(silent.header("x-frame-options"), None);

    let mut agent = world.agent();
    agent.code(&[]).await;
    let answered = agent.get(&world.authorize(&request)).await;
    let json = answered.between("data-response=\"", "\"").unwrap().replace("&#34;", "\"");
    let response: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&response["state"], &response["iss"]), (&json!("xyz"), &json!("http://localhost:9400/")));
    assert_eq!(world.redeem(response["code"].as_str().unwrap()).await.status, StatusCode::OK);
    // The login page stays out of frames.
    let page = world.agent().open(&world.authorize(&[("response_mode", "web_message")])).await;
    assert!(page.has_id("login-title"));
    assert!(page.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
}
