//! Accounts under attack: guesses, names that pretend.

use axum::http::StatusCode;
use serde_json::json;

use super::world::World;

#[tokio::test]
async fn o50_names_longer_than_any_user_has_are_counted_as_one() {
    let world = World::new().await;
    let mut agent = world.agent();
    let page = agent.open(&world.authorize(&[])).await;
    let mut last = StatusCode::OK;
    for number in 0..11 {
        // Each of its own would be remembered whole: a hundred thousand of them fill the memory.
        let name = format!("{number}{}", "x".repeat(8000));
        last = agent.submit(&page, &[("username", &name), ("password", "x")]).await.status;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    let page = agent.open(&world.authorize(&[])).await;
    assert!(agent.log_in(&page).await.param("code").is_some());
}

#[tokio::test]
async fn o46_a_user_whose_id_ends_like_a_clients_is_blocked_like_any_other() {
    let world = World::new().await;
    let management = world.management_token("").await;
    let user = json!({
        "connection": "Username-Password-Authentication",
        "user_id": "x@clients",
        "email": "x@example.com",
        "password": "Abcdef-12345",
    });
    let made = world.call(&management, "POST", "users", Some(user)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);

    let mut agent = world.agent();
    let page = agent.open(&world.authorize(&[("audience", &world.seeded.audience)])).await;
    let answer = agent.submit(&page, &[("username", "x@example.com"), ("password", "Abcdef-12345")]).await;
    let code = agent.follow(answer).await.param("code").unwrap();
    let token = world.redeem(&code).await.json()["access_token"].as_str().unwrap().to_owned();
    agent.extra = vec![("authorization", format!("Bearer {token}"))];
    assert_eq!(agent.get("/userinfo").await.json()["sub"], "auth0|x@clients");

    let block = Some(json!({ "blocked": true }));
    let blocked = world.call(&management, "PATCH", "users/auth0%7Cx%40clients", block).await;
    assert_eq!(blocked.status, StatusCode::OK, "{}", blocked.body);
    assert_eq!(agent.get("/userinfo").await.status, StatusCode::UNAUTHORIZED);
}
