//! What is said about users: the scopes' claims, the `claims` parameter, `acr_values`, and how the user was asked.
//! Names in comments are those of the OpenID Foundation's OpenID Connect modules that check the same.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{
    request_objects::claims as claims_of,
    world::{Answer, World},
};

/// Each scope and the claims that it gives (OpenID Connect Core 5.4, and Auth0's `nickname`).
pub(super) const SCOPES: [(&str, &[&str]); 4] = [
    (
        "profile",
        &[
            "name",
            "family_name",
            "given_name",
            "middle_name",
            "nickname",
            "preferred_username",
            "profile",
            "picture",
            "website",
            "gender",
            "birthdate",
            "zoneinfo",
            "locale",
            "updated_at",
        ],
    ),
    ("email", &["email", "email_verified"]),
    ("address", &["address"]),
    ("phone", &["phone_number", "phone_number_verified"]),
];

/// A world whose demo user has everything that one can have.
async fn furnished() -> World {
    let world = World::new().await;
    let token = world.management_token("").await;
    let found = world.call(&token, "GET", "users", None).await.json();
    let id = found[0]["user_id"].as_str().unwrap().replace('|', "%7C");
    let change = json!({
        "name": "Jane Doe", "given_name": "Jane", "family_name": "Doe", "picture": "https://a.example/p.png",
        "phone_number": "+4912345", "phone_verified": true,
        "user_metadata": {
            "address": { "country": "DE", "locality": "Kassel", "planet": "Earth" }, "birthdate": "1959-01-02",
            "locale": "de-DE", "zoneinfo": "Europe/Berlin", "website": "https://a.example/", "gender": "female",
            "profile": "https://a.example/jane", "middle_name": "Q", "email": "evil@example.com",
            "email_verified": true, "sub": "evil",
        },
    });
    let set = world.call(&token, "PATCH", &format!("users/{id}"), Some(change)).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.body);
    world
}

/// ID token's claims and userinfo of a login.
async fn said(world: &World, extra: &[(&str, &str)]) -> (Value, Value) {
    let tokens = world.redeem(&world.agent().code(extra).await).await.json();
    let id_token = claims_of(tokens["id_token"].as_str().unwrap());
    (id_token, userinfo(world, &tokens).await.json())
}

async fn userinfo(world: &World, tokens: &Value) -> Answer {
    let mut program = world.agent();
    program.extra.push(("authorization", format!("Bearer {}", tokens["access_token"].as_str().unwrap())));
    program.get("/userinfo").await
}

#[tokio::test]
async fn each_scope_gives_its_claims_and_no_others() {
    // scope-profile, scope-email, scope-address, scope-phone, scope-all.
    let world = furnished().await;
    for (scope, names) in SCOPES {
        let (_, userinfo) = said(&world, &[("scope", &format!("openid {scope}"))]).await;
        let mut given: Vec<&str> = userinfo.as_object().unwrap().keys().map(String::as_str).collect();
        let mut expected: Vec<&str> = names.iter().copied().chain(["sub"]).collect();
        given.sort_unstable();
        expected.sort_unstable();
        assert_eq!(given, expected, "{scope}");
    }
    let (_, all) = said(&world, &[("scope", "phone address email profile openid")]).await;
    assert_eq!(all["address"], json!({ "country": "DE", "locality": "Kassel" }));
    assert_eq!((&all["phone_number_verified"], &all["updated_at"].is_number()), (&json!(true), &true));
    assert_eq!(all["email"], world.seeded.user.as_str());
    assert_ne!(all["sub"], "evil");
}

#[tokio::test]
async fn claims_asked_for_come_where_they_were_asked_for() {
    // claims-essential, claims-parameter-identity-claims.
    let world = furnished().await;
    let wish = r#"{"userinfo":{"name":{"essential":true},"phone_number":null,"unknown":null},
        "id_token":{"given_name":null,"auth_time":{"essential":true},"amr":null,"acr":{"values":["0","1"]}}}"#;
    let (id_token, userinfo) = said(&world, &[("scope", "openid"), ("claims", wish)]).await;
    assert_eq!((&userinfo["name"], &userinfo["phone_number"]), (&json!("Jane Doe"), &json!("+4912345")));
    assert!(userinfo.get("given_name").is_none() && userinfo.get("unknown").is_none());
    assert_eq!((&id_token["given_name"], &id_token["amr"]), (&json!("Jane"), &json!(["pwd"])));
    assert_eq!(id_token["acr"], "1");
    assert!(id_token["auth_time"].is_number() && id_token.get("name").is_none());

    // The same where the access token is a JWT for an API.
    let audience = world.seeded.audience.clone();
    let api = [("scope", "openid read:things"), ("claims", wish), ("audience", audience.as_str())];
    let (_, userinfo) = said(&world, &api).await;
    assert_eq!((&userinfo["name"], &userinfo["phone_number"]), (&json!("Jane Doe"), &json!("+4912345")));

    // claims-locales, ui-locales, display-page and -popup, login-hint, acr-values: nothing breaks.
    let hints = [
        ("claims_locales", "de en"),
        ("ui_locales", "de-DE de"),
        ("display", "popup"),
        ("login_hint", "someone@example.com"),
        ("acr_values", "1 2"),
        ("extra", "foobar"),
    ];
    let (id_token, _) = said(&world, &hints).await;
    assert_eq!(id_token["acr"], "1");
}

#[tokio::test]
async fn id_tokens_tell_the_scopes_claims_as_auth0_s_do_unless_the_tenant_says_otherwise() {
    // scope-email: OpenID Connect Core 5.4.
    let world = furnished().await;
    world.set_client(json!({ "grant_types": ["authorization_code", "refresh_token"] })).await;
    let wish = r#"{"id_token":{"given_name":null}}"#;
    let request = [("scope", "openid profile email offline_access"), ("claims", wish)];
    for alone in [false, true] {
        world.set_tenant(json!({ "flags": { "scope_claims_in_userinfo_alone": alone } })).await;
        let tokens = world.redeem(&world.agent().code(&request).await).await.json();
        let form =
            [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
        let mut program = world.agent();
        program.extra.push(("authorization", world.basic()));
        let refreshed = program.post("/oauth/token", &form).await.json();
        for tokens in [tokens, refreshed] {
            let said = claims_of(tokens["id_token"].as_str().unwrap());
            assert_eq!((said.get("email").is_none(), said.get("name").is_none()), (alone, alone), "{said}");
            // What was asked for by name comes where it was asked for.
            assert_eq!(said["given_name"], "Jane");
            let userinfo = userinfo(&world, &tokens).await.json();
            assert_eq!(
                (&userinfo["email"], &userinfo["name"]),
                (&json!(world.seeded.user), &json!("Jane Doe"))
            );
        }
    }
}

#[tokio::test]
async fn what_the_claims_parameter_cannot_have_is_refused() {
    let world = World::new().await;
    let cases = [
        (("claims", "[]"), "invalid_request"),
        (("claims", "{\"userinfo\":{\"name\":1}}"), "invalid_request"),
        (("claims", "{\"id_token\":{\"sub\":{\"value\":7}}}"), "invalid_request"),
        (
            ("claims", "{\"id_token\":{\"acr\":{\"essential\":true,\"values\":[\"9\"]}}}"),
            "unmet_authentication_requirements",
        ),
        (
            ("acr_values", "http://schemas.openid.net/pape/policies/2007/06/multi-factor"),
            "unmet_authentication_requirements",
        ),
        (("display", "hologram"), "invalid_request"),
        (("prompt", "maybe"), "invalid_request"),
        (("max_age", "-1"), "invalid_request"),
        (("max_age", "1e3"), "invalid_request"),
        (("id_token_hint", "nonsense"), "invalid_request"),
        (("registration", "{}"), "registration_not_supported"),
    ];
    for (extra, code) in cases {
        let answer = world.agent().get(&world.authorize(&[extra])).await;
        assert_eq!(answer.param("error").as_deref(), Some(code), "{extra:?}: {answer:?}");
    }
}

#[tokio::test]
async fn the_user_that_comes_out_is_the_one_asked_for() {
    // id-token-hint, and OpenID Connect Core 5.5.1: the sub of the claims parameter.
    let world = World::new().await;
    let mut agent = world.agent();
    let tokens = world.redeem(&agent.code(&[]).await).await.json();
    let id_token = tokens["id_token"].as_str().unwrap();
    let sub = claims_of(id_token)["sub"].as_str().unwrap().to_owned();
    let wish = |sub: &str| json!({ "id_token": { "sub": { "value": sub } } }).to_string();
    let silent = [("prompt", "none"), ("id_token_hint", id_token)];
    assert!(agent.get(&world.authorize(&silent)).await.param("code").is_some());
    assert!(
        agent
            .get(&world.authorize(&[("prompt", "none"), ("claims", &wish(&sub))]))
            .await
            .param("code")
            .is_some()
    );
    let other = agent.get(&world.authorize(&[("prompt", "none"), ("claims", &wish("auth0|other"))])).await;
    assert_eq!(other.param("error").as_deref(), Some("login_required"));
    let both = [("id_token_hint", id_token), ("claims", &wish("auth0|other"))];
    let both = agent.get(&world.authorize(&both)).await;
    assert_eq!(both.param("error").as_deref(), Some("invalid_request"));
    // Another user who logs in is not let through.
    let page = agent.open(&world.authorize(&[("claims", &wish("auth0|other"))])).await;
    assert_eq!(agent.log_in(&page).await.param("error").as_deref(), Some("login_required"));
}

#[tokio::test]
async fn a_third_partys_single_claims_are_shown_and_remembered() {
    let world = furnished().await;
    world.set_client(json!({ "is_first_party": false })).await;
    let token = world.management_token("").await;
    let connections = world.call(&token, "GET", "connections", None).await.json();
    let path = format!("connections/{}", connections[0]["id"].as_str().unwrap());
    world.call(&token, "PATCH", &path, Some(json!({ "is_domain_connection": true }))).await;
    let mut agent = world.agent();
    let plain = [("scope", "openid")];
    let page = agent.open(&world.authorize(&plain)).await;
    let page = agent.log_in(&page).await;
    assert!(page.has_id("allow") && !page.body.contains("phone"));
    agent.submit(&page, &[("action", "accept")]).await;
    assert!(agent.get(&world.authorize(&plain)).await.param("code").is_some());
    // More than was allowed: asked again, and then no more.
    let wish = r#"{"userinfo":{"phone_number":null}}"#;
    let more = [("scope", "openid"), ("claims", wish)];
    let page = agent.open(&world.authorize(&more)).await;
    assert!(page.has_id("allow") && page.body.contains("See your phone number"), "{}", page.body);
    agent.submit(&page, &[("action", "accept")]).await;
    assert!(agent.get(&world.authorize(&more)).await.param("code").is_some());
}
