use std::{sync::Arc, time::Duration};

use base::{Random, Secret};
use http::{HeaderMap, HeaderValue, header};
use oauth::{ErrorCode, Verifier};
use serde_json::json;

use super::{
    super::{Client, Provider, ProviderError, TokenAuth},
    Op, providers, source,
};
use crate::provider::tests::op::Reply;

const DISCOVERY: &str = "/.well-known/openid-configuration";

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn client() -> Client {
    Client {
        client_id: "my:client".to_owned(),
        client_secret: Some(secret("canary secret")),
        token_auth: TokenAuth::Basic,
        introspection_auth: TokenAuth::Post,
        timeout: Duration::from_millis(300),
    }
}

async fn provider(op: &Op) -> Arc<Provider> {
    let (providers, _clock) = providers();
    let provider = providers.provider(&source(op)).unwrap();
    provider.ready().await.unwrap();
    provider
}

fn tokens() -> Reply {
    Reply::json(
        &json!({ "access_token": "at", "token_type": "Bearer", "expires_in": 60, "id_token": "a.b.c" }),
    )
}

#[tokio::test]
async fn a_code_is_exchanged_with_basic_and_the_verifier() {
    let op = Op::start().await;
    op.set("/token", tokens());
    let provider = provider(&op).await;
    let verifier = Verifier::generate(&Random::seeded(1));
    let redirect = "http://localhost/cb?a=b";
    let response = provider.exchange_code(&client(), "co&de", redirect, Some(&verifier)).await.unwrap();
    assert_eq!(response.access_token.expose(), "at");
    let seen = op.last("/token");
    // base64 of "my%3Aclient:canary+secret"
    assert!(seen.head.contains("authorization: Basic bXklM0FjbGllbnQ6Y2FuYXJ5K3NlY3JldA=="), "{}", seen.head);
    assert!(seen.head.contains("accept: application/json"));
    assert_eq!(
        seen.body,
        format!(
            "grant_type=authorization_code&code=co%26de&redirect_uri=http%3A%2F%2Flocalhost%2Fcb%3Fa%3Db&code_verifier={}",
            verifier.expose()
        )
    );
}

#[tokio::test]
async fn the_secret_goes_into_the_body_where_the_provider_takes_it_only_there() {
    let op = Op::start().await;
    let listed = json!({ "token_endpoint_auth_methods_supported": ["client_secret_post"] });
    op.set(DISCOVERY, Reply::json(&op.metadata_with(&listed)));
    op.set("/token", tokens());
    let provider = provider(&op).await;
    provider.refresh(&client(), &secret("rt"), Some("openid email")).await.unwrap();
    let seen = op.last("/token");
    assert!(!seen.head.contains("authorization:"));
    assert_eq!(
        seen.body,
        "grant_type=refresh_token&refresh_token=rt&scope=openid+email&client_id=my%3Aclient&client_secret=canary+secret"
    );
    let public = Client { client_secret: None, ..client() };
    provider.refresh(&public, &secret("rt"), None).await.unwrap();
    assert_eq!(op.last("/token").body, "grant_type=refresh_token&refresh_token=rt&client_id=my%3Aclient");
}

#[tokio::test]
async fn a_provider_that_says_no_is_told_from_one_that_cannot() {
    let op = Op::start().await;
    let provider = provider(&op).await;
    let no = json!({ "error": "invalid_grant", "error_description": "used" }).to_string();
    let later = json!({ "error": "temporarily_unavailable" }).to_string();
    for (reply, denied) in [
        (Reply::of(400, no.clone()), true),
        (Reply::of(403, no.clone()), true),
        (Reply::of(400, later), false),
        (Reply::of(400, "<html>"), false),
        (Reply::of(429, no.clone()), false),
        (Reply::of(503, no.clone()), false),
        (Reply::of(302, no), false),
    ] {
        op.set("/token", reply);
        let error = provider.refresh(&client(), &secret("rt"), None).await.unwrap_err();
        assert_eq!(
            error.denial().is_some_and(|error| error.code == ErrorCode::InvalidGrant),
            denied,
            "{error}"
        );
    }
}

#[tokio::test]
async fn r38_junk_from_the_token_endpoint_is_an_error_without_secrets() {
    let op = Op::start().await;
    let provider = provider(&op).await;
    let with = |members: &str| {
        Reply::of(200, format!(r#"{{"access_token":"canary","token_type":"Bearer"{members}}}"#))
    };
    for junk in [
        Reply::of(500, "canary"),
        Reply::of(200, "<html>canary</html>"),
        with(r#","access_token":"canary2""#),
        Reply::of(200, r#"{"access_token":1,"token_type":"Bearer"}"#),
        with(r#","expires_in":-1"#),
        with(r#","expires_in":"x""#),
        with(r#","expires_in":1e30"#),
        Reply::of(204, ""),
        Reply::of(200, ""),
        Reply::of(200, vec![b' '; 2 << 20]),
        Reply::Drip,
        Reply::Cut,
    ] {
        op.set("/token", junk);
        let error =
            provider.exchange_code(&client(), "canary", "http://localhost/cb", None).await.unwrap_err();
        assert!(error.denial().is_none(), "{error}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}

#[tokio::test]
async fn j51_only_a_clear_yes_makes_a_token_active() {
    let op = Op::start().await;
    let provider = provider(&op).await;
    let ask = |endpoint: Option<String>| {
        let provider = provider.clone();
        async move {
            let token = secret("canary");
            provider.introspect(&client(), endpoint.as_deref(), &token, &HeaderMap::new()).await
        }
    };
    op.set("/introspect", Reply::json(&json!({ "active": true, "sub": "s", "token": "canary" })));
    assert_eq!(ask(None).await.unwrap().unwrap().sub(), Some("s"));
    for lie in [
        json!({ "active": "true" }),
        json!({ "active": 1 }),
        json!({ "active": false }),
        json!({ "active": true, "token": "another" }),
        json!({ "active": true, "token": null }),
        json!({}),
    ] {
        op.set("/introspect", Reply::json(&lie));
        assert_eq!(ask(None).await, Ok(None), "{lie}");
    }
    for broken in
        [Reply::of(500, "{\"active\":true}"), Reply::of(200, vec![b' '; 10 << 20]), Reply::Drip, Reply::Cut]
    {
        op.set("/introspect", broken);
        let error = ask(None).await.unwrap_err();
        assert!(error.denial().is_none() && !format!("{error:?}").contains("canary"), "{error:?}");
    }
    op.set("/introspect", Reply::of(401, json!({ "error": "invalid_client" }).to_string()));
    assert!(ask(None).await.unwrap_err().denial().is_some());
    op.set("/elsewhere", Reply::json(&json!({ "active": true })));
    assert!(ask(Some(op.url("/elsewhere"))).await.unwrap().is_some());
}

#[tokio::test]
async fn further_headers_of_an_introspection_do_not_replace_its_own() {
    let op = Op::start().await;
    let provider = provider(&op).await;
    op.set("/introspect", Reply::json(&json!({ "active": true })));
    let mut headers = HeaderMap::new();
    headers.insert("x-tenant", HeaderValue::from_static("t"));
    headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer evil"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/evil"));
    let basic = Client { introspection_auth: TokenAuth::Basic, ..client() };
    provider.introspect(&basic, None, &secret("t"), &headers).await.unwrap();
    let head = op.last("/introspect").head;
    assert!(
        head.contains("x-tenant: t") && head.contains("authorization: Basic") && !head.contains("evil"),
        "{head}"
    );
    assert_eq!(op.last("/introspect").body, "token=t&token_type_hint=access_token");
}

#[tokio::test]
async fn userinfo_is_a_json_object_and_nothing_else() {
    let op = Op::start().await;
    let provider = provider(&op).await;
    op.set("/userinfo", Reply::json(&json!({ "sub": "s" })));
    assert_eq!(provider.userinfo(&secret("at")).await.unwrap().get("sub"), Some(&json!("s")));
    assert!(op.last("/userinfo").head.contains("authorization: Bearer at"));
    op.set("/userinfo", Reply::with(200, "content-type: application/jwt; charset=utf-8\r\n", "a.b.c"));
    assert!(matches!(provider.userinfo(&secret("at")).await, Err(ProviderError::Unsupported(_))));
    for junk in ["[]", "", r#"{"sub":"a","sub":"b"}"#] {
        op.set("/userinfo", Reply::of(200, junk));
        assert!(matches!(provider.userinfo(&secret("at")).await, Err(ProviderError::Junk { .. })), "{junk}");
    }
}

#[tokio::test]
async fn a_token_is_revoked_where_the_provider_can() {
    let op = Op::start().await;
    op.set("/revoke", Reply::of(200, ""));
    provider(&op).await.revoke(&client(), &secret("rt"), "refresh_token").await.unwrap();
    assert_eq!(op.last("/revoke").body, "token=rt&token_type_hint=refresh_token");
    op.set(DISCOVERY, Reply::json(&op.metadata_with(&json!({ "revocation_endpoint": null }))));
    let error = provider(&op).await.revoke(&client(), &secret("rt"), "refresh_token").await.unwrap_err();
    assert_eq!(error, ProviderError::Missing("revocation_endpoint"));
}

#[tokio::test]
async fn a_client_obtains_a_token_for_itself_and_cannot_be_made_to_ask_as_somebody_else() {
    let op = Op::start().await;
    op.set("/token", tokens());
    let provider = provider(&op).await;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let args = [
        pair("audience", "https://example.com/"),
        pair("grant_type", "password"),
        pair("client_id", "other"),
    ];
    let response = provider.client_credentials(&client(), Some("openid"), &args).await.unwrap();
    assert_eq!(response.access_token.expose(), "at");
    let seen = op.last("/token");
    assert!(seen.head.contains("authorization: Basic bXklM0FjbGllbnQ6Y2FuYXJ5K3NlY3JldA=="), "{}", seen.head);
    assert_eq!(seen.body, "grant_type=client_credentials&scope=openid&audience=https%3A%2F%2Fexample.com%2F");
}
