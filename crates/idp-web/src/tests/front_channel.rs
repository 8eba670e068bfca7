//! Answers of `/authorize` that hold more than a code: the implicit and hybrid flows (OpenID Connect Core 3.2 and 3.3).

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jose::{Alg, half_hash};
use serde_json::{Value, json};

use super::world::{Agent, Answer, CALLBACK, World};

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// A world whose demo application may use these grant types, with the implicit flow switched on or off.
async fn world(implicit_flow: bool, grant_types: &[&str]) -> World {
    let world = World::new().await;
    let token = world.management_token("").await;
    let flags = json!({ "flags": { "enable_implicit_flow": implicit_flow } });
    let set = world.call(&token, "PATCH", "tenants/settings", Some(flags)).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.body);
    let client = format!("clients/{}", world.seeded.client_id);
    let set = world.call(&token, "PATCH", &client, Some(json!({ "grant_types": grant_types }))).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.body);
    world
}

async fn open_world() -> World {
    world(true, &["authorization_code", "refresh_token", "implicit"]).await
}

/// The answer to a request of a browser that logs in for it.
async fn answer(world: &World, extra: &[(&str, &str)]) -> Answer {
    let mut agent = world.agent();
    let page = agent.open(&world.authorize(extra)).await;
    if page.status == StatusCode::OK { agent.log_in(&page).await } else { page }
}

fn error(answer: &Answer) -> Option<String> {
    answer.param("error")
}

#[tokio::test]
async fn each_response_type_holds_what_it_names_and_nothing_else() {
    let world = open_world().await;
    for kind in ["code id_token", "id_token", "token", "token id_token", "code token", "id_token code token"]
    {
        let back = answer(&world, &[("response_type", kind)]).await;
        assert!(back.location().unwrap().starts_with(&format!("{CALLBACK}#")), "{kind}: {back:?}");
        for (word, name) in [("code", "code"), ("id_token", "id_token"), ("token", "access_token")] {
            let asked = kind.split(' ').any(|part| part == word);
            assert_eq!(back.param(name).is_some(), asked, "{kind}: {name}");
        }
        assert_eq!(back.param("state").as_deref(), Some("xyz"), "{kind}");
        assert_eq!(back.param("iss").as_deref(), Some("http://localhost:9400/"), "{kind}");
        assert!(back.param("refresh_token").is_none());
        if let Some(id_token) = back.param("id_token") {
            let claims = claims(&id_token);
            assert_eq!((&claims["nonce"], &claims["aud"]), (&json!("n-1"), &json!(world.seeded.client_id)));
            let hash = |name: &str| back.param(name).map(|value| json!(half_hash(Alg::RS256, &value)));
            assert_eq!(claims.get("c_hash"), hash("code").as_ref(), "{kind}");
            assert_eq!(claims.get("at_hash"), hash("access_token").as_ref(), "{kind}");
        }
        if let Some(token) = back.param("access_token") {
            assert_eq!(back.param("token_type").as_deref(), Some("Bearer"));
            assert!(back.param("expires_in").unwrap().parse::<u64>().unwrap() > 0);
            let mut program = world.agent();
            program.extra.push(("authorization", format!("Bearer {token}")));
            assert_eq!(program.get("/userinfo").await.json()["email"], world.seeded.user.as_str(), "{kind}");
        }
        if let Some(code) = back.param("code") {
            let tokens = world.redeem(&code).await.json();
            assert_eq!(claims(tokens["id_token"].as_str().unwrap())["nonce"], "n-1", "{kind}");
        }
    }
}

#[tokio::test]
async fn an_answer_with_tokens_goes_by_form_when_asked_and_never_by_query() {
    let world = open_world().await;
    let form = answer(&world, &[("response_type", "code id_token"), ("response_mode", "form_post")]).await;
    assert_eq!(form.status, StatusCode::OK, "{form:?}");
    for name in ["code", "id_token", "state", "iss"] {
        assert!(form.body.contains(&format!("name=\"{name}\"")), "{name}: {}", form.body);
    }
    let query = answer(&world, &[("response_type", "code token"), ("response_mode", "query")]).await;
    assert_eq!(error(&query).as_deref(), Some("invalid_request"));
    assert!(query.location().unwrap().starts_with(&format!("{CALLBACK}#")), "{query:?}");
}

#[tokio::test]
async fn a_token_that_goes_through_the_browser_is_good_for_the_time_that_its_api_gives_it_there() {
    let world = open_world().await;
    let seconds = async |extra: &[(&str, &str)]| {
        let extra = [&[("response_type", "code token")], extra].concat();
        let back = answer(&world, &extra).await;
        let here: i64 = back.param("expires_in").unwrap().parse().unwrap();
        let token = back.param("access_token").unwrap();
        if token.contains('.') {
            let said = claims(&token);
            assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), here);
        }
        (here, world.redeem(&back.param("code").unwrap()).await.json()["expires_in"].as_i64().unwrap())
    };
    let audience = world.seeded.audience.clone();
    let for_api = [("audience", audience.as_str())];
    assert_eq!(seconds(&for_api).await, (7200, 86_400));
    assert_eq!(seconds(&[]).await, (7200, 86_400));
    world.change_api(json!({ "token_lifetime": 1000, "token_lifetime_for_web": 100 })).await;
    assert_eq!(seconds(&for_api).await, (100, 1000));
    // Never more than elsewhere.
    world.change_api(json!({ "token_lifetime": 50 })).await;
    assert_eq!(seconds(&for_api).await, (50, 50));
}

#[tokio::test]
async fn an_id_token_from_the_authorization_endpoint_needs_a_nonce_and_openid() {
    let world = open_world().await;
    for kind in ["id_token", "id_token token", "code id_token"] {
        let back = answer(&world, &[("response_type", kind), ("nonce", "-")]).await;
        assert_eq!(error(&back).as_deref(), Some("invalid_request"), "{kind}: {back:?}");
        let back = answer(&world, &[("response_type", kind), ("scope", "profile")]).await;
        assert_eq!(error(&back).as_deref(), Some("invalid_request"), "{kind}: {back:?}");
    }
    let back = answer(&world, &[("response_type", "token"), ("nonce", "-"), ("scope", "profile")]).await;
    assert!(back.param("access_token").is_some(), "{back:?}");
}

#[tokio::test]
async fn o13_tokens_in_the_browser_exist_only_where_a_tenant_switches_them_on() {
    let off = world(false, &["authorization_code", "implicit"]).await;
    for kind in ["token", "id_token", "id_token token", "code token", "code id_token token"] {
        let back = answer(&off, &[("response_type", kind)]).await;
        assert_eq!(error(&back).as_deref(), Some("unsupported_response_type"), "{kind}: {back:?}");
    }
    let hybrid = answer(&off, &[("response_type", "code id_token")]).await;
    assert!(hybrid.param("id_token").is_some(), "{hybrid:?}");
    let mut program = off.agent();
    let document = program.get("/.well-known/openid-configuration").await.json();
    assert_eq!(document["response_types_supported"], json!(["code", "code id_token"]));
}

#[tokio::test]
async fn o13_a_client_gets_the_response_types_of_its_grant_types() {
    let code_only = world(true, &["authorization_code"]).await;
    for kind in ["token", "code id_token"] {
        let back = answer(&code_only, &[("response_type", kind)]).await;
        assert_eq!(error(&back).as_deref(), Some("unauthorized_client"), "{kind}: {back:?}");
    }
    let implicit_only = world(true, &["implicit"]).await;
    for kind in ["code", "code token"] {
        let back = answer(&implicit_only, &[("response_type", kind)]).await;
        assert_eq!(error(&back).as_deref(), Some("unauthorized_client"), "{kind}: {back:?}");
    }
    assert!(answer(&implicit_only, &[("response_type", "id_token")]).await.param("id_token").is_some());
}

#[tokio::test]
async fn a_silent_request_without_a_session_is_refused_in_the_fragment() {
    let world = open_world().await;
    let mut agent: Agent<'_> = world.agent();
    let back = agent.get(&world.authorize(&[("response_type", "id_token"), ("prompt", "none")])).await;
    assert!(back.location().unwrap().starts_with(&format!("{CALLBACK}#error=login_required")), "{back:?}");
}
