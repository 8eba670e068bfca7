//! The plans oidcc-basic, -implicit and -hybrid, and their form_post twins.

use std::time::Duration;

use axum::http::StatusCode;
use jose::Alg;
use serde_json::{Value, json};

use super::{Suite, is_error, is_refusal, through};
use crate::tests::{
    claims::SCOPES,
    world::{CHALLENGE, VERIFIER},
};

const RESPONSE_TYPES: [&str; 6] =
    ["code", "id_token", "id_token token", "code id_token", "code token", "code id_token token"];

#[tokio::test]
async fn oidcc_server_gives_what_each_response_type_names_by_redirect_and_by_form() {
    let suite = Suite::new().await;
    for response_type in RESPONSE_TYPES {
        let client = suite.client_of(response_type).await;
        for mode in ["-", "form_post"] {
            let mut agent = suite.world.agent();
            let change = [("response_mode", mode)];
            let back = client.authorize(&mut agent, response_type, &change).await;
            for (word, name) in [("code", "code"), ("id_token", "id_token"), ("token", "access_token")] {
                let asked = response_type.split(' ').any(|part| part == word);
                assert_eq!(back.contains_key(name), asked, "{response_type} {mode}: {name}");
            }
            let subject = client.check(&back, response_type).await;
            // oidcc-prompt-none-logged-in, oidcc-id-token-hint: the same person, without a page.
            let silent = agent.open(&client.request(response_type, &[change[0], ("prompt", "none")])).await;
            let back = super::callback(&silent);
            assert_eq!(client.check(&back, response_type).await, subject);
            if let Some(hint) = back.get("id_token").cloned() {
                let change = [change[0], ("prompt", "none"), ("id_token_hint", hint.as_str())];
                let again = super::callback(&agent.open(&client.request(response_type, &change)).await);
                assert_eq!(client.check(&again, response_type).await, subject);
            }
            // oidcc-prompt-none-not-logged-in.
            let mut stranger = suite.world.agent();
            let refused =
                stranger.open(&client.request(response_type, &[change[0], ("prompt", "none")])).await;
            let codes = ["login_required", "interaction_required", "consent_required"];
            is_refusal(&super::callback(&refused), &codes);
        }
        client.unregister().await;
    }
}

#[tokio::test]
async fn oidcc_ensure_request_without_nonce_fails_but_for_the_code_flow() {
    let suite = Suite::new().await;
    for response_type in RESPONSE_TYPES {
        let client = suite.client_of(response_type).await;
        let mut agent = suite.world.agent();
        let back = client.authorize(&mut agent, response_type, &[("nonce", "-")]).await;
        if response_type.contains("id_token") {
            is_refusal(&back, &["invalid_request"]);
        } else {
            assert!(back.contains_key("code"), "{response_type}: {back:?}");
            let tokens = client.tokens(&back["code"]).await;
            let said = client.id_token(tokens["id_token"].as_str().unwrap(), Alg::RS256).await;
            assert!(said.get("nonce").is_none());
        }
    }
}

#[tokio::test]
async fn oidcc_response_type_missing_and_oidcc_ensure_registered_redirect_uri() {
    let suite = Suite::new().await;
    let client = suite.client_of("code").await;
    let page = suite.world.agent().open(&client.request("-", &[("response_type", "-")])).await;
    is_refusal(&super::callback(&page), &["unsupported_response_type", "invalid_request"]);
    let elsewhere = [("redirect_uri", "https://suite.example/test/a/p/callback/unregistered")];
    suite.world.agent().open(&client.request("code", &elsewhere)).await.is_error_page();
}

#[tokio::test]
async fn oidcc_scope_profile_email_address_phone_and_all_are_told_at_userinfo() {
    let suite = Suite::new().await;
    let of_type = |said: &Value, name: &str| match name {
        "updated_at" => said[name].is_number(),
        "email_verified" | "phone_number_verified" => said[name].is_boolean(),
        "address" => said[name].is_object(),
        _ => said[name].as_str().is_some_and(|text| !text.is_empty()),
    };
    let all: Vec<&str> = SCOPES.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let every = "openid profile email address phone";
    let client = suite.client_of("code").await;
    let cases = SCOPES.iter().map(|(scope, names)| (format!("openid {scope}"), names.to_vec()));
    // oidcc-ensure-other-scope-order-succeeds, oidcc-alternate-happy-flow: the order is of no account.
    let orders = [every.to_owned(), "phone address email profile openid".to_owned()];
    let cases: Vec<_> = cases.chain(orders.map(|scope| (scope, all.clone()))).collect();
    for (scope, names) in &cases {
        let mut agent = suite.world.agent();
        let back = client.authorize(&mut agent, "code", &[("scope", scope)]).await;
        let tokens = client.tokens(&back["code"]).await;
        let answer = client.userinfo(tokens["access_token"].as_str().unwrap()).await;
        assert_eq!(answer.status, StatusCode::OK);
        let said = answer.json();
        let missing: Vec<_> = names.iter().filter(|name| !of_type(&said, name)).collect();
        assert!(missing.is_empty(), "{scope}: {missing:?} {said}");
        let beyond =
            said.as_object().unwrap().keys().find(|name| *name != "sub" && !names.contains(&name.as_str()));
        assert_eq!(beyond, None, "{scope}");
        let said = client.id_token(tokens["id_token"].as_str().unwrap(), Alg::RS256).await;
        assert_eq!(names.iter().find(|name| said.get(**name).is_some()), None, "{scope}");
    }
    for response_type in ["id_token token", "code id_token", "code id_token token"] {
        let client = suite.client_of(response_type).await;
        let back = client.authorize(&mut suite.world.agent(), response_type, &[("scope", every)]).await;
        let said = client.id_token(&back["id_token"], Alg::RS256).await;
        assert_eq!(all.iter().find(|name| said.get(**name).is_some()), None, "{response_type}");
    }
    // Without an access token they are in the ID token (OpenID Connect Core 5.4).
    let client = suite.client_of("id_token").await;
    let back = client.authorize(&mut suite.world.agent(), "id_token", &[("scope", every)]).await;
    let said = client.id_token(&back["id_token"], Alg::RS256).await;
    assert!(all.iter().all(|name| of_type(&said, name)), "{said}");
}

#[tokio::test]
async fn oidcc_userinfo_get_post_header_and_post_body_say_the_same() {
    let suite = Suite::new().await;
    let client = suite.client_of("code").await;
    let back = client.authorize(&mut suite.world.agent(), "code", &[]).await;
    let tokens = client.tokens(&back["code"]).await;
    let token = tokens["access_token"].as_str().unwrap();
    let got = client.userinfo(token).await.json();
    let mut agent = suite.world.agent();
    let in_body = agent.post("/userinfo", &[("access_token", token)]).await;
    assert_eq!((in_body.status, in_body.json()), (StatusCode::OK, got.clone()));
    agent.extra.push(("authorization", format!("bearer {token}")));
    let in_header = agent.send(axum::http::Method::POST, "/userinfo", None).await;
    assert_eq!((in_header.status, in_header.json()), (StatusCode::OK, got));
}

#[tokio::test]
async fn oidcc_display_page_popup_login_hint_ui_locales_claims_locales_and_unknown_parameters_break_nothing()
{
    let suite = Suite::new().await;
    let client = suite.client_of("code").await;
    let wish = r#"{"userinfo":{"name":{"essential":true}}}"#;
    let cases: [&[(&str, &str)]; 8] = [
        &[("display", "page")],
        &[("display", "popup")],
        &[("login_hint", "foo@example.com")],
        &[("ui_locales", "se")],
        &[("claims_locales", "se"), ("claims", wish)],
        &[("extra", "foobar")],
        // oidcc-ensure-request-with-acr-values-succeeds.
        &[("acr_values", "1")],
        // oidcc-claims-essential.
        &[("claims", wish)],
    ];
    for change in cases {
        let back = client.authorize(&mut suite.world.agent(), "code", change).await;
        assert!(back.contains_key("code"), "{change:?}: {back:?}");
        let tokens = client.tokens(&back["code"]).await;
        let said = client.userinfo(tokens["access_token"].as_str().unwrap()).await.json();
        let named = change.iter().any(|(name, _)| *name == "claims");
        assert_eq!(said["name"].is_string(), named, "{change:?}: {said}");
        let id_token = client.id_token(tokens["id_token"].as_str().unwrap(), Alg::RS256).await;
        if change[0].0 == "acr_values" {
            assert_eq!(id_token["acr"], "1", "else it is a warning");
        }
    }
    let discovery = suite.world.agent().get("/.well-known/openid-configuration").await.json();
    assert_eq!(discovery["acr_values_supported"], json!(["1"]), "which the suite then asks for");
}

#[tokio::test]
async fn oidcc_prompt_login_max_age_1_and_max_age_10000_ask_again_or_not() {
    let suite = Suite::new().await;
    let client = suite.client_of("code").await;
    let mut agent = suite.world.agent();
    let mut flow = async |change: &[(&str, &str)]| {
        let page = agent.open(&client.request("code", change)).await;
        let asked = page.has_id("login-title");
        let back = through(&mut agent, page).await;
        let tokens = client.tokens(&back["code"]).await;
        (asked, client.id_token(tokens["id_token"].as_str().unwrap(), Alg::RS256).await)
    };
    let (asked, first) = flow(&[("max_age", "15000")]).await;
    assert!(asked && first["auth_time"].is_number());
    suite.world.clock.advance(Duration::from_secs(2));
    let (asked, second) = flow(&[("max_age", "10000")]).await;
    assert!(!asked && second["auth_time"] == first["auth_time"]);
    let (asked, third) = flow(&[("max_age", "1")]).await;
    assert!(asked && third["auth_time"].as_i64() > second["auth_time"].as_i64());
    suite.world.clock.advance(Duration::from_secs(2));
    let (asked, fourth) = flow(&[("prompt", "login")]).await;
    assert!(asked && fourth["auth_time"].as_i64() > third["auth_time"].as_i64());
    assert_eq!((&first["sub"], &second["sub"]), (&third["sub"], &fourth["sub"]));
}

#[tokio::test]
async fn oidcc_codereuse_is_invalid_grant_also_after_30_seconds_and_ends_the_tokens() {
    let suite = Suite::new().await;
    let client = suite.client_of("code").await;
    for seconds in [1, 30] {
        let back = client.authorize(&mut suite.world.agent(), "code", &[]).await;
        let tokens = client.tokens(&back["code"]).await;
        suite.world.clock.advance(Duration::from_secs(seconds));
        is_error(&client.redeem(&back["code"]).await, &["invalid_grant"]);
        let token = tokens["access_token"].as_str().unwrap();
        let dead = client.userinfo(token).await;
        assert_eq!(dead.status, StatusCode::UNAUTHORIZED, "{seconds}");
    }
}

#[tokio::test]
async fn oidcc_ensure_post_request_succeeds_and_oidcc_server_client_secret_post() {
    let suite = Suite::new().await;
    let post = json!({ "token_endpoint_auth_method": "client_secret_post" });
    let client = suite.register(post).await;
    let query = client.request("code", &[]);
    let params = oauth::form::parse(query.split_once('?').unwrap().1.as_bytes()).unwrap().into_owned();
    let form: Vec<(&str, &str)> = params.iter().collect();
    let mut agent = suite.world.agent();
    let posted = agent.post("/authorize", &form).await;
    let page = agent.follow(posted).await;
    let back = through(&mut agent, page).await;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", back["code"].as_str()),
        ("redirect_uri", super::CALLBACK),
        ("client_id", client.text("client_id")),
        ("client_secret", client.text("client_secret")),
    ];
    let wrong_way = client.token(&form[..3]).await;
    is_error(&wrong_way, &["invalid_client"]);
    let answer = suite.world.agent().post("/oauth/token", &form).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
}

#[tokio::test]
async fn oidcc_refresh_token_is_its_clients_and_keeps_the_subject() {
    let suite = Suite::new().await;
    let grants = json!({ "grant_types": ["authorization_code", "refresh_token"] });
    let client = suite.register(grants.clone()).await;
    let other = suite.register(grants).await;
    let scope = [("scope", "openid offline_access"), ("prompt", "consent")];
    let back = client.authorize(&mut suite.world.agent(), "code", &scope).await;
    let tokens = client.tokens(&back["code"]).await;
    let first = client.id_token(tokens["id_token"].as_str().unwrap(), Alg::RS256).await;
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    suite.world.clock.advance(Duration::from_secs(1));
    let again = client.token(&form).await;
    assert_eq!(again.status, StatusCode::OK, "{}", again.body);
    let again = again.json();
    let second = client.id_token(again["id_token"].as_str().unwrap(), Alg::RS256).await;
    // OpenID Connect Core 12.2: what says who logged in when stays, what says when the token was made moves.
    for name in ["iss", "sub", "aud"] {
        assert_eq!(second[name], first[name], "{name}");
    }
    assert!(second["iat"].as_i64() > first["iat"].as_i64() && second.get("nonce").is_none());
    assert_ne!(again["access_token"], tokens["access_token"]);
    is_error(&other.token(&form).await, &["invalid_grant"]);
}

#[tokio::test]
async fn oidcc_ensure_request_with_valid_pkce_succeeds() {
    let suite = Suite::new().await;
    let client = suite.client_of("code").await;
    let pkce = [("code_challenge", CHALLENGE), ("code_challenge_method", "S256")];
    let back = client.authorize(&mut suite.world.agent(), "code", &pkce).await;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", back["code"].as_str()),
        ("redirect_uri", super::CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    assert_eq!(client.token(&form).await.status, StatusCode::OK);
}
