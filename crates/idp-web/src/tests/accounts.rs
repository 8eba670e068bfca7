//! Accounts under attack: guesses, names that pretend.

use std::net::SocketAddr;

use axum::{Extension, extract::ConnectInfo, http::StatusCode};
use serde_json::json;

use super::world::World;
use crate::{IdpState, router};

/// A world whose requests come from this peer, and which trusts the proxies of 10.0.0.0/8.
async fn behind(peer: &str) -> World {
    let mut world = World::new().await;
    let state = IdpState::new(world.idp.clone(), world.clock.clone());
    let peer: SocketAddr = peer.parse().unwrap();
    let trusting = state.trusting(&["10.0.0.0/8".parse().unwrap()]);
    world.router = router(trusting).layer(Extension(ConnectInfo(peer)));
    world
}

/// Guesses the demo user's password until that is refused, each time with the next of these addresses in
/// `X-Forwarded-For`, then logs in from the last; whether that works.
async fn guess_then_log_in(world: &World, addresses: &[&str], last: &str) -> bool {
    let mut agent = world.agent();
    let page = agent.open(&world.authorize(&[])).await;
    let user = world.seeded.user.clone();
    for number in 0..10 {
        agent.extra = vec![("x-forwarded-for", addresses[number % addresses.len()].to_owned())];
        agent.submit(&page, &[("username", &user), ("password", "wrong")]).await;
    }
    agent.extra = vec![("x-forwarded-for", last.to_owned())];
    agent.log_in(&page).await.param("code").is_some()
}

#[tokio::test]
async fn o22_behind_a_trusted_proxy_a_guesser_locks_out_himself_only() {
    let world = behind("10.0.0.1:5000").await;
    assert!(guess_then_log_in(&world, &["198.51.100.7"], "203.0.113.9").await);
    let world = behind("10.0.0.1:5000").await;
    assert!(!guess_then_log_in(&world, &["198.51.100.7"], "203.0.113.9, 198.51.100.7").await);
}

#[tokio::test]
async fn o20_an_untrusted_peer_does_not_change_its_address_by_a_header() {
    let world = behind("192.0.2.1:5000").await;
    assert!(!guess_then_log_in(&world, &["198.51.100.7", "198.51.100.8"], "203.0.113.9").await);
}

/// One wrong password for each of many accounts.
async fn spray(world: &World, address: &'static str, accounts: std::ops::Range<usize>) -> Vec<StatusCode> {
    let mut agent = world.agent();
    agent.peer = Some(address.parse().unwrap());
    let page = agent.open(&world.authorize(&[])).await;
    let mut statuses = Vec::new();
    for number in accounts {
        let name = format!("somebody-{number}@example.com");
        statuses.push(agent.submit(&page, &[("username", &name), ("password", "guess")]).await.status);
    }
    statuses
}

#[tokio::test]
async fn o21_one_guess_for_each_of_many_accounts_ends_after_a_few_and_harms_nobody_else() {
    let world = World::new().await;
    let log_in = async |address: &'static str| {
        let mut agent = world.agent();
        agent.peer = Some(address.parse().unwrap());
        let page = agent.open(&world.authorize(&[])).await;
        agent.log_in(&page).await.param("code").is_some()
    };
    // Somebody has logged in behind the same address before.
    assert!(log_in("198.51.100.7").await);
    let statuses = spray(&world, "198.51.100.7", 0..105).await;
    let (first, rest) = statuses.split_at(100);
    assert!(first.iter().all(|status| *status == StatusCode::BAD_REQUEST), "{statuses:?}");
    assert!(rest.iter().all(|status| *status == StatusCode::TOO_MANY_REQUESTS), "{statuses:?}");
    // Nor does the answer tell who has been there before.
    let mut agent = world.agent();
    agent.peer = Some("198.51.100.7".parse().unwrap());
    let page = agent.open(&world.authorize(&[])).await;
    let guessed = agent.submit(&page, &[("username", &world.seeded.user), ("password", "guess")]).await;
    assert_eq!(guessed.status, StatusCode::TOO_MANY_REQUESTS);
    // A right password is no exception, or guessing would go on; but who is at home there is let in.
    assert!(log_in("198.51.100.7").await);
    assert!(log_in("203.0.113.9").await);
    assert!(!log_in("198.51.100.7").await, "the last login came from elsewhere");
    // One network has one address.
    let of_network = spray(&world, "2001:db8::1", 200..300).await;
    assert!(of_network.iter().all(|status| *status == StatusCode::BAD_REQUEST));
    assert_eq!(spray(&world, "2001:db8::ffff", 400..401).await, [StatusCode::TOO_MANY_REQUESTS]);
    assert_eq!(spray(&world, "2001:db8:0:1::1", 400..401).await, [StatusCode::BAD_REQUEST]);

    world.idp.write_logs().await.unwrap();
    let token = world.management_token("").await;
    let logged = world.call(&token, "GET", "logs?q=type:limit_mu", None).await.json();
    assert!(!logged.as_array().unwrap().is_empty(), "{logged}");
    let place = "anomaly/blocks/ips/198.51.100.7";
    assert_eq!(world.call(&token, "GET", place, None).await.status, StatusCode::OK);
    let free = world.call(&token, "GET", "anomaly/blocks/ips/192.0.2.1", None).await;
    assert_eq!(free.status, StatusCode::NOT_FOUND);
    let odd = world.call(&token, "GET", "anomaly/blocks/ips/x", None).await;
    assert_eq!(odd.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.call(&token, "DELETE", place, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.call(&token, "GET", place, None).await.status, StatusCode::NOT_FOUND);
    assert!(log_in("198.51.100.7").await);
    // It is over after a while by itself.
    assert_eq!(spray(&world, "2001:db8::1", 500..501).await, [StatusCode::TOO_MANY_REQUESTS]);
    world.clock.advance(std::time::Duration::from_secs(16 * 60));
    assert_eq!(spray(&world, "2001:db8::1", 501..502).await, [StatusCode::BAD_REQUEST]);
}

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

#[tokio::test]
async fn o12_a_refresh_gives_no_more_than_the_api_still_gives_to_users() {
    let world = World::new().await;
    let management = world.management_token("").await;
    let wanted =
        [("audience", world.seeded.audience.as_str()), ("scope", "openid offline_access read:things")];
    let code = world.agent().code(&wanted).await;
    let mut tokens = world.redeem(&code).await.json();
    assert_eq!(tokens["scope"], "openid offline_access read:things");
    let api = format!(
        "resource-servers/{}",
        crate::fields::to_query([(world.seeded.audience.as_str(), "")].into_iter())
    );
    let api = api.trim_end_matches('=').to_owned();
    let change = async |body| {
        let answer = world.call(&management, "PATCH", &api, Some(body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    };
    let refresh = async |tokens: &serde_json::Value| {
        let token = tokens["refresh_token"].as_str().unwrap();
        world.token(&[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    };
    change(json!({ "scopes": [{ "value": "write:things" }] })).await;
    tokens = refresh(&tokens).await.json();
    assert_eq!(tokens["scope"], "openid offline_access");
    change(json!({ "subject_type_authorization": { "user": { "policy": "deny_all" } } })).await;
    assert_eq!(refresh(&tokens).await.json()["error"], "invalid_grant");
}
