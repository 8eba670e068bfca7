//! What happened, as administrators read it.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::world::{Answer, World};

/// The kinds of events, the oldest first, of a list.
fn kinds(answer: &Answer) -> Vec<String> {
    let events = answer.json();
    let events = events.as_array().unwrap_or_else(|| panic!("{}", answer.body)).iter();
    events.map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

async fn wrong_login(world: &World, name: &str, password: &str) -> StatusCode {
    let mut agent = world.agent();
    let page = agent.open(&world.authorize(&[])).await;
    agent.submit(&page, &[("username", name), ("password", password)]).await.status
}

#[tokio::test]
async fn logins_tokens_and_changes_are_told_by_auth0s_codes_and_without_secrets() {
    let world = World::new().await;
    let token = world.management_token("").await;
    let user = world.seeded.user.clone();
    assert_eq!(wrong_login(&world, &user, "Wrong-canary-1").await, StatusCode::BAD_REQUEST);
    assert_eq!(wrong_login(&world, "nobody@example.com", "Wrong-canary-2").await, StatusCode::BAD_REQUEST);
    let mut agent = world.agent();
    agent.extra.push(("user-agent", "Test/1 Mobile".to_owned()));
    let code = agent.code(&[("scope", "openid offline_access")]).await;
    let tokens = world.redeem(&code).await.json();
    let refresh = tokens["refresh_token"].as_str().unwrap();
    world.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh)]).await;
    world.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh)]).await;
    world.redeem(&code).await;
    let client = world.call(&token, "POST", "clients", Some(json!({ "name": "canary" }))).await.json();
    world.call(&token, "PATCH", "clients/nope", Some(json!({ "name": "x" }))).await;
    agent.get(&format!("/v2/logout?client_id={}", world.seeded.client_id)).await;

    let logs = world.call(&token, "GET", "logs?sort=date:1", None).await;
    assert_eq!(
        kinds(&logs),
        ["seccft", "fp", "fu", "s", "seacft", "sertft", "fertft", "feacft", "sapi", "fapi", "slo"]
    );
    let events = logs.json();
    let find =
        |kind: &str| events.as_array().unwrap().iter().find(|event| event["type"] == kind).unwrap().clone();
    let login = find("s");
    assert_eq!((&login["user_name"], &login["strategy"]), (&json!(user), &json!("auth0")));
    assert_eq!(login["connection"], "Username-Password-Authentication");
    assert_eq!((&login["isMobile"], &login["hostname"]), (&json!(true), &json!("localhost:9400")));
    assert_eq!(find("seacft")["user_id"], login["user_id"]);
    assert_eq!(find("seacft")["client_id"], world.seeded.client_id.as_str());
    assert_eq!(
        find("sapi")["details"]["request"],
        json!({ "method": "post", "path": "/api/v2/clients", "channel": "api" })
    );
    assert_eq!(find("fapi")["details"]["response"]["statusCode"], 404);
    for secret in [
        world.seeded.password.expose().as_str(),
        world.seeded.client_secret.expose(),
        client["client_secret"].as_str().unwrap(),
        "Wrong-canary",
        refresh,
        &code,
        tokens["id_token"].as_str().unwrap(),
        tokens["access_token"].as_str().unwrap(),
    ] {
        assert!(!logs.body.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn logs_are_read_by_page_by_checkpoint_by_search_and_by_user() {
    let world = World::new().await;
    let token = world.management_token("").await;
    for n in 0..5 {
        world.clock.advance(std::time::Duration::from_secs(1));
        wrong_login(&world, &format!("nobody{n}@example.com"), "x").await;
    }
    wrong_login(&world, &world.seeded.user, "x").await;
    let call = async |path: &str| world.call(&token, "GET", path, None).await;
    let all = call("logs?include_totals=true&per_page=2").await.json();
    assert_eq!((&all["total"], &all["logs"][0]["type"]), (&json!(7), &json!("fp")), "{all}");
    assert_eq!(kinds(&call("logs?q=type:fu&per_page=3").await), ["fu", "fu", "fu"]);
    let found = call("logs?q=type:(fu%20OR%20fp)%20AND%20user_name:%22nobody3@example.com%22").await.json();
    assert_eq!((found.as_array().unwrap().len(), &found[0]["user_name"]), (1, &json!("nobody3@example.com")));

    // By checkpoint, the oldest first, until nothing is left.
    let (mut path, mut seen) = ("logs?take=3".to_owned(), Vec::new());
    loop {
        let part = call(&path).await;
        seen.extend(kinds(&part));
        let Some(link) = part.header("link") else { break };
        let next = link.strip_prefix("<http://localhost:9400/api/v2/").unwrap();
        path = next.split('>').next().unwrap().to_owned();
        assert!(link.ends_with("rel=\"next\""));
    }
    assert_eq!(seen, ["seccft", "fu", "fu", "fu", "fu", "fu", "fp"]);

    let newest = call("logs?per_page=1").await.json()[0].clone();
    let id = newest["log_id"].as_str().unwrap();
    assert_eq!(call(&format!("logs/{id}")).await.json(), newest);
    assert_eq!(call(&format!("logs?from={id}&take=5")).await.json(), json!([]));
    let user = newest["user_id"].as_str().unwrap().replace('|', "%7C");
    assert_eq!(kinds(&call(&format!("users/{user}/logs")).await), ["fp"]);
    for (path, status) in [
        ("logs/1", 404),
        ("users/auth0%7Cno/logs", 404),
        ("logs?take=0", 400),
        ("logs?take=101", 400),
        ("logs?from=x", 400),
        ("logs?q=(", 400),
        ("logs?sort=type:1", 400),
        ("logs?evil=1", 400),
    ] {
        assert_eq!(call(path).await.status.as_u16(), status, "{path}");
    }
}

#[tokio::test]
async fn logs_are_kept_for_thirty_days() {
    let world = World::new().await;
    wrong_login(&world, "nobody@example.com", "x").await;
    world.idp.write_logs().await.unwrap();
    let days = |days: u64| world.clock.advance(std::time::Duration::from_secs(days * 86_400));
    days(29);
    world.idp.purge().await.unwrap();
    let token = world.management_token("").await;
    assert_eq!(kinds(&world.call(&token, "GET", "logs?q=type:fu", None).await), ["fu"]);
    days(2);
    world.idp.purge().await.unwrap();
    let token = world.management_token("").await;
    assert_eq!(kinds(&world.call(&token, "GET", "logs?q=type:fu", None).await), Vec::<String>::new());
}

#[tokio::test]
async fn o41_logs_of_one_tenant_are_nothing_to_another() {
    let world = World::new().await;
    let origins = ["https://other.example".to_owned()];
    idp::seed::tenant(&world.idp, "other", "Other", &origins).await.unwrap();
    wrong_login(&world, "nobody@example.com", "x").await;
    let site = world.idp.site("other.example").await.unwrap().unwrap();
    let search = idp::management::LogSearch::default();
    let found = world.idp.management.logs.list(&site, &search, idp::repository::Page::ALL).await.unwrap();
    assert_eq!(found.total, 0);
}

#[tokio::test]
async fn o20_a_user_who_is_locked_out_is_listed_and_let_in_by_an_administrator() {
    let world = World::new().await;
    let token = world.management_token("").await;
    let user = world.seeded.user.clone();
    for _ in 0..10 {
        assert_eq!(wrong_login(&world, &user, "x").await, StatusCode::BAD_REQUEST);
    }
    assert_eq!(wrong_login(&world, &user, "x").await, StatusCode::TOO_MANY_REQUESTS);
    let call = async |method: &str, path: &str| world.call(&token, method, path, None).await;
    let id = call("GET", "users").await.json()[0]["user_id"].as_str().unwrap().replace('|', "%7C");
    let by_name = format!("user-blocks?identifier={}", user.replace('@', "%40"));
    for path in [by_name.clone(), format!("user-blocks/{id}")] {
        let blocks = call("GET", &path).await.json();
        let block: &Value = &blocks["blocked_for"][0];
        assert_eq!(block["identifier"], user.as_str(), "{path}: {blocks}");
        assert_eq!(block["connection"], "Username-Password-Authentication");
    }
    let limited = call("GET", "logs?q=type:limit_wc").await;
    assert_eq!(limited.json().as_array().unwrap().len(), 1);
    assert_eq!(call("DELETE", &by_name).await.status, StatusCode::NO_CONTENT);
    assert_eq!(call("GET", &by_name).await.json(), json!({ "blocked_for": [] }));
    assert_eq!(wrong_login(&world, &user, "x").await, StatusCode::BAD_REQUEST);
    for _ in 0..10 {
        wrong_login(&world, &user, "x").await;
    }
    assert_eq!(call("DELETE", &format!("user-blocks/{id}")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(wrong_login(&world, &user, "x").await, StatusCode::BAD_REQUEST);
    assert_eq!(call("GET", "user-blocks").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(call("GET", "user-blocks/auth0%7Cno").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn grants_are_listed_and_taken_back() {
    let world = World::new().await;
    let token = world.management_token("").await;
    let third = json!({ "is_first_party": false, "name": "Third" });
    let path = format!("clients/{}", world.seeded.client_id);
    assert_eq!(world.call(&token, "PATCH", &path, Some(third)).await.status, StatusCode::OK);
    let connection = world.call(&token, "GET", "connections", None).await.json()[0]["id"].clone();
    let domain = json!({ "is_domain_connection": true });
    let connection = format!("connections/{}", connection.as_str().unwrap());
    assert_eq!(world.call(&token, "PATCH", &connection, Some(domain)).await.status, StatusCode::OK);
    let mut agent = world.agent();
    let page = agent.open(&world.authorize(&[])).await;
    let consent = agent.log_in(&page).await;
    assert!(consent.has_id("allow"), "{consent:?}");
    let answer = agent.submit(&consent, &[("action", "accept")]).await;
    assert!(answer.param("code").is_some(), "{answer:?}");
    let grants = world.call(&token, "GET", "grants?include_totals=true", None).await.json();
    assert_eq!(grants["total"], 1, "{grants}");
    let grant = &grants["grants"][0];
    assert_eq!((&grant["clientID"], &grant["audience"]), (&json!(world.seeded.client_id), &Value::Null));
    let none = world.call(&token, "GET", "grants?client_id=other", None).await;
    assert_eq!(none.json(), json!([]));
    let path = format!("grants/{}", grant["id"].as_str().unwrap());
    assert_eq!(world.call(&token, "DELETE", &path, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.call(&token, "DELETE", &path, None).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.call(&token, "DELETE", "grants", None).await.status, StatusCode::BAD_REQUEST);
    let user = grant["user_id"].as_str().unwrap().replace('|', "%7C");
    let all = world.call(&token, "DELETE", &format!("grants?user_id={user}"), None).await;
    assert_eq!(all.status, StatusCode::NO_CONTENT);
    assert!(agent.open(&world.authorize(&[])).await.has_id("allow"), "asked again");
}
