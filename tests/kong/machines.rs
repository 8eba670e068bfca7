//! `openid-connect` with client credentials, and with the tokens they are exchanged for.

use base64::{Engine, engine::general_purpose::STANDARD};
use support::Provider;

use super::*;

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

/// A provider that knows `app` with `secret`, and refuses everybody else.
fn provider() -> Provider {
    let provider = Provider::start("app");
    let token = provider.access_token(&json!({"sub": "app@clients", "scope": "read:things openid"}));
    provider.lie("/token", move |seen| {
        if seen.header("authorization") == Some(basic("app", "secret").as_str()) {
            return Answer::json(&json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600}));
        }
        Answer::with(401, &[("content-type", "application/json")], r#"{"error":"invalid_client"}"#)
    });
    provider
}

fn config(provider: &Provider, more: Value) -> Value {
    let mut config = json!({"issuer": provider.discovery(), "auth_methods": ["client_credentials"]});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

#[tokio::test]
async fn credentials_become_a_token_once_and_are_hidden() {
    let (kong, provider) = (Kong::new().await, provider());
    kong.plugin("openid-connect", config(&provider, json!({"audience": ["https://api.example/"]}))).await;
    let refused = kong.send(kong.request("GET", "/")).await;
    assert_eq!((refused.status, refused.text().trim()), (401, r#"{"message":"Unauthorized"}"#));
    let good = || kong.request("GET", "/x").header("Authorization", &basic("app", "secret"));
    let answers = futures_util::future::join_all((0..20).map(|_| kong.send(good()))).await;
    assert!(
        answers.iter().all(|answer| answer.status == 200),
        "{:?}",
        answers.iter().map(|answer| answer.status).collect::<Vec<_>>()
    );
    assert_eq!(provider.hits("/token").len(), 1, "twenty requests at once are one for the provider");
    let asked = provider.hits("/token");
    let body = String::from_utf8_lossy(&asked[0].raw).into_owned();
    assert!(
        body.contains("grant_type=client_credentials")
            && body.contains("audience=https%3A%2F%2Fapi.example%2F"),
        "{body}"
    );
    for (target, header) in
        [("/x", Some(basic("app", "secret"))), ("/x?client_id=app&client_secret=secret&a=1", None)]
    {
        let request = kong.request("GET", target);
        let request = match &header {
            Some(header) => request.header("Authorization", header),
            None => request,
        };
        assert_eq!(kong.send(request).await.status, 200, "{target}");
        let seen = kong.upstream.seen();
        let seen = seen.last().unwrap();
        assert!(seen.header("authorization").unwrap().starts_with("Bearer "), "{seen:?}");
        let raw = String::from_utf8_lossy(&seen.raw).into_owned();
        assert!(!raw.contains("secret") && !raw.contains("Basic"), "{raw}");
    }
    let wrong = kong.send(kong.request("GET", "/x").header("Authorization", &basic("app", "wrong"))).await;
    assert_eq!(
        (wrong.status, wrong.text().trim()),
        (401, r#"{"message":"Unauthorized"}"#),
        "also after a right one was cached"
    );
    assert!(wrong.header("www-authenticate").unwrap().contains("error=\"invalid_token\""));
}

#[tokio::test]
async fn a_provider_that_is_down_is_500_and_never_401() {
    let (kong, provider) = (Kong::new().await, provider());
    provider.stop();
    kong.plugin("openid-connect", config(&provider, json!({}))).await;
    let down = kong.send(kong.request("GET", "/x").header("Authorization", &basic("app", "secret"))).await;
    assert_eq!((down.status, down.text().trim()), (500, r#"{"message":"An unexpected error occurred"}"#));
    assert_eq!(kong.upstream.received(), "", "the upstream was asked");
}
