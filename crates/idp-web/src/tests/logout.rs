//! Logging out, with and without being asked.

use axum::http::StatusCode;

use super::world::{Agent, World};

const RETURN: &str = "http://localhost:9080/";

/// A browser that is logged in, and its ID token.
async fn logged_in(world: &World) -> (Agent<'_>, String) {
    let mut agent = world.agent();
    let code = agent.code(&[]).await;
    let tokens = world.redeem(&code).await.json();
    (agent, tokens["id_token"].as_str().unwrap().to_owned())
}

async fn is_logged_in(agent: &mut Agent<'_>, world: &World) -> bool {
    agent.get(&world.authorize(&[("prompt", "none")])).await.param("code").is_some()
}

fn query(path: &str, params: &[(&str, &str)]) -> String {
    format!("{path}?{}", crate::fields::to_query(params.iter().copied()))
}

#[tokio::test]
async fn v2_logout_ends_the_session_and_returns_to_an_allowed_address() {
    let world = World::new().await;
    let (mut agent, _) = logged_in(&world).await;
    let session = agent.cookies["pc_idp"].clone();
    let client = world.seeded.client_id.as_str();
    let answer = agent.get(&query("/v2/logout", &[("client_id", client), ("returnTo", RETURN)])).await;
    assert_eq!((answer.status, answer.location().as_deref()), (StatusCode::FOUND, Some(RETURN)));
    assert!(!agent.cookies.contains_key("pc_idp"));
    agent.cookies.insert("pc_idp".to_owned(), session);
    assert!(!is_logged_in(&mut agent, &world).await, "a kept cookie is dead");
}

#[tokio::test]
async fn o15_v2_logout_returns_nowhere_else() {
    let world = World::new().await;
    let client = world.seeded.client_id.as_str();
    for bad in [
        "http://evil.example/",
        "http://localhost:9080.evil.example/",
        "javascript:alert(1)",
        "//evil.example",
    ] {
        let (mut agent, _) = logged_in(&world).await;
        let answer = agent.get(&query("/v2/logout", &[("client_id", client), ("returnTo", bad)])).await;
        answer.is_error_page();
        assert!(!answer.body.contains("evil.example"));
        agent.get(&query("/v2/logout", &[("returnTo", bad)])).await.is_error_page();
    }
}

#[tokio::test]
async fn rp_initiated_logout_with_a_hint_needs_no_confirmation() {
    let world = World::new().await;
    let (mut agent, hint) = logged_in(&world).await;
    let params = [("id_token_hint", hint.as_str()), ("post_logout_redirect_uri", RETURN), ("state", "s&1")];
    let answer = agent.get(&query("/oidc/logout", &params)).await;
    assert_eq!(answer.location().as_deref(), Some("http://localhost:9080/?state=s%261"), "{answer:?}");
    assert!(!is_logged_in(&mut agent, &world).await);
}

#[tokio::test]
async fn rp_initiated_logout_may_be_posted() {
    let world = World::new().await;
    let (mut agent, hint) = logged_in(&world).await;
    // From another site: no cookies with the POST, all of them with the GET that follows.
    let foreign = world.agent().post("/oidc/logout", &[("id_token_hint", &hint)]).await;
    assert_eq!(foreign.status, StatusCode::SEE_OTHER);
    assert!(agent.follow(foreign).await.has_id("logged-out"));
    assert!(!is_logged_in(&mut agent, &world).await);
    let (mut agent, hint) = logged_in(&world).await;
    let own = agent.post("/oidc/logout", &[("id_token_hint", &hint)]).await;
    assert!(own.has_id("logged-out"), "{own:?}");
    assert!(!is_logged_in(&mut agent, &world).await);
}

#[tokio::test]
async fn without_a_hint_the_person_is_asked() {
    let world = World::new().await;
    let (mut agent, _) = logged_in(&world).await;
    let page = agent.get("/oidc/logout").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.has_id("confirm-logout"));
    assert!(is_logged_in(&mut agent, &world).await, "asking ends nothing");
    let done = agent.submit(&page, &[]).await;
    assert!(done.has_id("logged-out"), "{done:?}");
    assert!(!is_logged_in(&mut agent, &world).await);
}

#[tokio::test]
async fn o15_a_forged_or_foreign_hint_ends_nothing_by_itself() {
    let world = World::new().await;
    let (mut agent, hint) = logged_in(&world).await;
    let (head, rest) = hint.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    let none = format!("eyJhbGciOiJub25lIn0.{payload}.");
    let flipped = format!("{head}.{payload}.{}", signature.chars().rev().collect::<String>());
    for bad in [none.as_str(), &flipped, "x"] {
        for extra in [None, Some(("post_logout_redirect_uri", RETURN))] {
            let mut params = vec![("id_token_hint", bad)];
            params.extend(extra);
            let answer = agent.get(&query("/oidc/logout", &params)).await;
            assert!(answer.location().is_none(), "{answer:?}");
            assert!(answer.has_id("confirm-logout") || answer.has_id("error"), "{answer:?}");
        }
    }
    let params = [("id_token_hint", hint.as_str()), ("post_logout_redirect_uri", "http://evil.example/")];
    let answer = agent.get(&query("/oidc/logout", &params)).await;
    assert!(answer.location().is_none() && !answer.body.contains("href=\"http://evil"), "{answer:?}");
    assert!(is_logged_in(&mut agent, &world).await);
}

#[tokio::test]
async fn a_confirmation_counts_for_its_own_browser_and_when_posted() {
    let world = World::new().await;
    let (mut agent, _) = logged_in(&world).await;
    let page = agent.get("/oidc/logout").await;
    let confirmation = page.between("name=\"confirmation\" value=\"", "\"").unwrap().to_owned();
    agent.get(&query("/oidc/logout", &[("confirmation", &confirmation)])).await.is_error_page();
    let (mut other, _) = logged_in(&world).await;
    let answer = other.post("/oidc/logout", &[("confirmation", &confirmation)]).await;
    assert!(!answer.has_id("logged-out"), "{answer:?}");
    assert!(is_logged_in(&mut other, &world).await);
    assert!(is_logged_in(&mut agent, &world).await);
}
