//! Resource indicators (RFC 8707) and rich authorization requests (RFC 9396).

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{
    request_objects::claims,
    world::{Answer, CALLBACK, VERIFIER, World},
};

const PAYMENTS: &str = "https://payments.example/";

/// A world with a second API, which knows payments.
async fn world() -> World {
    let world = World::new().await;
    let token = world.management_token("").await;
    let api = json!({
        "name": "Payments", "identifier": PAYMENTS, "allow_offline_access": true,
        "scopes": [{ "value": "pay" }], "authorization_details": [{ "type": "payment" }],
        "skip_consent_for_verifiable_first_party_clients": true,
    });
    let made = world.call(&token, "POST", "resource-servers", Some(api)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    world
}

/// `/authorize` with these resources and further parameters.
fn request(world: &World, resources: &[&str], extra: &[(&str, &str)]) -> String {
    let resources = resources.iter().map(|resource| ("resource", *resource));
    format!("{}&{}", world.authorize(extra), crate::fields::to_query(resources))
}

async fn redeem(world: &World, code: &str, extra: &[(&str, &str)]) -> Answer {
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    form.extend(extra);
    world.token(&form).await
}

async fn code(world: &World, url: &str) -> String {
    let mut agent = world.agent();
    let page = agent.open(url).await;
    let back = agent.log_in(&page).await;
    let back = if back.has_id("allow") { agent.submit(&back, &[("action", "accept")]).await } else { back };
    back.param("code").unwrap_or_else(|| panic!("no code in {back:?}"))
}

fn audience(tokens: &Value) -> String {
    claims(tokens["access_token"].as_str().unwrap())["aud"].to_string()
}

#[tokio::test]
async fn a_resource_is_an_audience() {
    let world = world().await;
    let url = request(&world, &[PAYMENTS], &[("scope", "openid pay read:things")]);
    let tokens = redeem(&world, &code(&world, &url).await, &[]).await.json();
    assert!(audience(&tokens).contains(PAYMENTS));
    let scope = tokens["scope"].as_str().unwrap();
    assert!(scope.contains("pay") && !scope.contains("read:things"), "{scope}");
    let machine = world
        .token(&[("grant_type", "client_credentials"), ("resource", world.seeded.audience.as_str())])
        .await;
    assert_eq!(machine.status, StatusCode::OK, "{}", machine.body);
    assert!(audience(&machine.json()).contains(&world.seeded.audience));
    for form in [
        &[("resource", PAYMENTS), ("audience", "https://example.com/")][..],
        &[("resource", PAYMENTS), ("resource", "https://example.com/")],
    ] {
        let mut form = form.to_vec();
        form.push(("grant_type", "client_credentials"));
        assert_eq!(world.token(&form).await.json()["error"], "invalid_target");
    }
}

#[tokio::test]
async fn a_code_for_two_resources_gives_a_token_for_each() {
    let world = world().await;
    let things = world.seeded.audience.clone();
    let scope = [("scope", "openid offline_access pay read:things")];
    let url = request(&world, &[PAYMENTS, &things], &scope);
    let tokens = redeem(&world, &code(&world, &url).await, &[("resource", &things)]).await.json();
    assert!(audience(&tokens).contains(&things) && !audience(&tokens).contains(PAYMENTS));
    let granted = tokens["scope"].as_str().unwrap();
    assert!(granted.contains("read:things") && !granted.contains("pay"), "{granted}");
    let refresh = |resource: Option<&'static str>| {
        let token = tokens["refresh_token"].as_str().unwrap();
        let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
        form.extend(resource.map(|resource| ("resource", resource)));
        form
    };
    let payments = world.token(&refresh(Some(PAYMENTS))).await;
    assert_eq!(payments.status, StatusCode::OK, "{}", payments.body);
    assert!(audience(&payments.json()).contains(PAYMENTS));
    let other = world.token(&refresh(Some("https://other.example/"))).await;
    assert_eq!((other.status, &other.json()["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_target")));
    // The first one where none is named.
    let url = request(&world, &[PAYMENTS, &things], &scope);
    let tokens = redeem(&world, &code(&world, &url).await, &[]).await.json();
    assert!(audience(&tokens).contains(PAYMENTS));
    let url = request(&world, &[PAYMENTS], &scope);
    let refused = redeem(&world, &code(&world, &url).await, &[("resource", &things)]).await;
    assert_eq!(refused.json()["error"], "invalid_target");
}

#[tokio::test]
async fn o12_a_token_is_for_no_other_api_than_those_granted_by_whichever_name_it_is_asked_for() {
    let world = world().await;
    let things = world.seeded.audience.clone();
    let scope = ("scope", "openid offline_access pay read:things");
    let url = world.authorize(&[scope, ("audience", &things)]);
    let tokens = redeem(&world, &code(&world, &url).await, &[("audience", &things)]).await.json();
    let refresh = |extra: &[(&'static str, &str)]| {
        let mut form = vec![
            ("grant_type".to_owned(), "refresh_token".to_owned()),
            ("refresh_token".to_owned(), tokens["refresh_token"].as_str().unwrap().to_owned()),
        ];
        form.extend(extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        form
    };
    for extra in [
        &[("audience", PAYMENTS)][..],
        &[("audience", "https://nothing.example/")],
        &[("audience", "http://localhost:9400/userinfo")],
        &[("audience", things.as_str()), ("resource", PAYMENTS)],
    ] {
        let form = refresh(extra);
        let form: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let refused = world.token(&form).await;
        assert_eq!(
            (refused.status, &refused.json()["error"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_target")),
            "{extra:?}"
        );
    }
    let form = refresh(&[("audience", &things)]);
    let form: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let same = world.token(&form).await;
    assert_eq!(same.status, StatusCode::OK, "the refusals have used up nothing: {}", same.body);
    assert!(audience(&same.json()).contains(&things));
    // A code is no different, and where no API was asked for there is none but /userinfo.
    let refused = redeem(&world, &code(&world, &url).await, &[("audience", PAYMENTS)]).await;
    assert_eq!(refused.json()["error"], "invalid_target");
    let plain = world.authorize(&[]);
    let refused = redeem(&world, &code(&world, &plain).await, &[("audience", &things)]).await;
    assert_eq!(refused.json()["error"], "invalid_target");
    let userinfo = [("audience", "http://localhost:9400/userinfo")];
    assert_eq!(redeem(&world, &code(&world, &plain).await, &userinfo).await.status, StatusCode::OK);
}

#[tokio::test]
async fn resources_that_are_none_are_invalid_targets() {
    let world = world().await;
    for bad in
        ["https://nothing.example/", "payments", "https://payments.example/#x", "/relative", "https://"]
    {
        let answer = world.agent().get(&request(&world, &[bad], &[])).await;
        assert_eq!(answer.param("error").as_deref(), Some("invalid_target"), "{bad}: {answer:?}");
    }
    let many: Vec<String> = (0..12).map(|n| format!("https://{n}.example/")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let answer = world.agent().get(&request(&world, &many, &[])).await;
    assert_eq!(answer.param("error").as_deref(), Some("invalid_target"));
    // Both ways at once are two targets.
    let both = request(&world, &[PAYMENTS], &[("audience", &world.seeded.audience), ("scope", "openid pay")]);
    let tokens = redeem(&world, &code(&world, &both).await, &[("resource", PAYMENTS)]).await.json();
    assert!(audience(&tokens).contains(PAYMENTS));
}

const PAYMENT: &str =
    r#"[{"type":"payment","actions":["initiate"],"amount":{"currency":"EUR","value":"12.50"}}]"#;

#[tokio::test]
async fn details_are_shown_allowed_and_told() {
    let world = world().await;
    let extra = [("scope", "openid"), ("authorization_details", PAYMENT)];
    let url = request(&world, &[PAYMENTS], &extra);
    let mut agent = world.agent();
    let page = agent.open(&url).await;
    let page = agent.log_in(&page).await;
    assert!(
        page.has_id("allow") && page.body.contains("payment") && page.body.contains("12.50"),
        "{}",
        page.body
    );
    let silent = request(&world, &[PAYMENTS], &[extra[0], extra[1], ("prompt", "none")]);
    assert_eq!(agent.get(&silent).await.param("error").as_deref(), Some("consent_required"));
    let back = agent.submit(&page, &[("action", "accept")]).await;
    let tokens = redeem(&world, &back.param("code").unwrap(), &[]).await.json();
    let expected: Value = serde_json::from_str(PAYMENT).unwrap();
    assert_eq!(tokens["authorization_details"], expected);
    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!(claims(access)["authorization_details"], expected);
    let mut program = world.agent();
    program.extra.push(("authorization", world.basic()));
    let answer = program.post("/oauth/introspect", &[("token", access)]).await.json();
    assert_eq!(answer["authorization_details"], expected);
    // One act, one consent: the next request asks again.
    assert!(agent.open(&url).await.has_id("allow"));
}

#[tokio::test]
async fn details_are_narrowed_and_never_widened() {
    let world = world().await;
    let two = r#"[{"type":"payment","identifier":"a"},{"type":"payment","identifier":"b"}]"#;
    let url = request(&world, &[PAYMENTS], &[("authorization_details", two)]);
    let one = r#"[{"type":"payment","identifier":"b"}]"#;
    let tokens = redeem(&world, &code(&world, &url).await, &[("authorization_details", one)]).await.json();
    assert_eq!(tokens["authorization_details"], json!([{ "type": "payment", "identifier": "b" }]));
    let more = r#"[{"type":"payment","identifier":"c"}]"#;
    let refused = redeem(&world, &code(&world, &url).await, &[("authorization_details", more)]).await;
    let error = refused.json()["error"].as_str().map(str::to_owned);
    assert_eq!(
        (refused.status, error.as_deref()),
        (StatusCode::BAD_REQUEST, Some("invalid_authorization_details"))
    );
    // Details are for the API whose they are.
    let things = world.seeded.audience.clone();
    let url = request(&world, &[PAYMENTS, &things], &[("authorization_details", one)]);
    let tokens = redeem(&world, &code(&world, &url).await, &[("resource", &things)]).await.json();
    let access = claims(tokens["access_token"].as_str().unwrap());
    assert!(access.get("authorization_details").is_none(), "{access}");
}

#[tokio::test]
async fn details_that_no_api_knows_are_refused() {
    let world = world().await;
    let bad = [
        "x",
        "{}",
        "[]",
        "[1]",
        "[{}]",
        r#"[{"type":""}]"#,
        r#"[{"type":7}]"#,
        r#"[{"type":"payment","actions":"all"}]"#,
        r#"[{"type":"payment","locations":[1]}]"#,
        r#"[{"type":"payment","identifier":{}}]"#,
        r#"[{"type":"payment","type":"payment"}]"#,
        r#"[{"type":"unknown"}]"#,
        r#"[{"type":"payment","locations":["https://elsewhere.example/"]}]"#,
    ];
    for details in bad {
        let url = request(&world, &[PAYMENTS], &[("authorization_details", details)]);
        let answer = world.agent().get(&url).await;
        let error = answer.param("error");
        assert_eq!(error.as_deref(), Some("invalid_authorization_details"), "{details}: {answer:?}");
    }
    // Nor without the API.
    let answer = world.agent().get(&world.authorize(&[("authorization_details", PAYMENT)])).await;
    assert_eq!(answer.param("error").as_deref(), Some("invalid_authorization_details"));
}
