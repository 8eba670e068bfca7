//! `openid-connect` with client credentials, and with the tokens they are exchanged for.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use support::Provider;

use super::*;

pub(super) fn basic(id: &str, secret: &str) -> String {
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
async fn credentials_are_found_where_they_may_be_and_hidden() {
    let (kong, provider) = (Kong::new().await, provider());
    let form = "application/x-www-form-urlencoded";
    let requests = || {
        [
            ("header", kong.request("GET", "/x").header("Authorization", &basic("app", "secret"))),
            ("query", kong.request("GET", "/x?client_id=app&client_secret=secret&a=%7e")),
            (
                "body",
                kong.request("POST", "/x")
                    .header("Content-Type", form)
                    .body("client_id=app&a=%7e&client_secret=secret"),
            ),
            (
                "body",
                kong.request("POST", "/x")
                    .json(&json!({"client_id": "app", "client_secret": "secret", "a": null})),
            ),
        ]
    };
    for (types, found) in [
        (Value::Null, &["header", "query", "body"][..]),
        (json!(["header"]), &["header"]),
        (json!(["query"]), &["query"]),
        (json!(["body"]), &["body"]),
        (json!(["query", "body"]), &["query", "body"]),
    ] {
        let mut more = json!({});
        if !types.is_null() {
            more["client_credentials_param_type"] = types.clone();
        }
        kong.plugin("openid-connect", config(&provider, more)).await;
        for (place, request) in requests() {
            let answer = kong.send(request).await;
            let status = if found.contains(&place) { 200 } else { 401 };
            assert_eq!(answer.status, status, "{place} of {types}: {}", answer.text());
            if status == 200 {
                let seen = kong.upstream.seen().pop().unwrap();
                let raw = String::from_utf8_lossy(&seen.raw).into_owned();
                assert!(
                    !raw.contains("secret") && !raw.contains("Basic") && !raw.contains("client_"),
                    "{place}: {raw}"
                );
                assert!(seen.header("authorization").unwrap().starts_with("Bearer "), "{place}: {raw}");
                let left = match place {
                    "query" => seen.target.ends_with("/x?a=%7e"),
                    "body" => seen.message.body == b"a=%7e" || seen.message.body == br#"{"a":null}"#,
                    _ => true,
                };
                assert!(left, "{place}: {raw}");
            }
        }
    }
    assert_eq!(provider.hits("/token").len(), 1, "once, wherever the credentials are");
    kong.plugin("openid-connect", config(&provider, json!({"hide_credentials": false}))).await;
    let shown = kong.send(kong.request("GET", "/x?client_id=app&client_secret=secret")).await;
    assert_eq!(shown.status, 200);
    assert!(kong.upstream.seen().pop().unwrap().target.ends_with("client_id=app&client_secret=secret"));
}

#[tokio::test]
async fn two_machines_have_two_tokens_and_salts_keep_plugins_apart() {
    let kong = Kong::new().await;
    let provider = Provider::start("app");
    let sign = provider.signer();
    let issuer = provider.issuer();
    provider.lie("/token", move |seen| {
        let who = seen.header("authorization").unwrap_or_default().to_owned();
        let now = support::tokens::now();
        let token = sign(&json!({"iss": issuer, "sub": who, "exp": now + 3600, "jti": unique("t-")}));
        Answer::json(&json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600}))
    });
    let token = async |id: &str| {
        let answer = kong.send(kong.request("GET", "/").header("Authorization", &basic(id, "s"))).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        kong.upstream.seen().pop().unwrap().header("authorization").unwrap().to_owned()
    };
    let salted = |salt: &str| config(&provider, json!({"cache_tokens_salt": salt}));
    kong.plugin("openid-connect", salted("a")).await;
    let (one, two) = (token("one").await, token("two").await);
    assert_ne!(one, two);
    assert_eq!(token("one").await, one);
    kong.plugin("openid-connect", salted("b")).await;
    assert_ne!(token("one").await, one, "another salt");
    kong.plugin("openid-connect", salted("a")).await;
    assert_eq!(token("one").await, one, "the same salt");
    for more in [
        json!({"scopes": ["openid", "more"]}),
        json!({"audience": ["https://other.example/"]}),
        json!({"token_post_args_names": ["x"], "token_post_args_values": ["1"]}),
    ] {
        let mut asked = salted("a");
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        kong.plugin("openid-connect", asked).await;
        assert_ne!(token("one").await, one, "another question: {more}");
    }
    // A salt that nobody chose is made, and stays what it is.
    let key = format!("/plugins/{}-openid-connect", kong.name);
    assert_eq!(kong.ask("DELETE", &key).await.status, 204);
    let made = kong.plugin("openid-connect", config(&provider, json!({}))).await;
    let again = kong.plugin("openid-connect", config(&provider, json!({}))).await;
    let salt = made["config"]["cache_tokens_salt"].as_str().unwrap();
    assert!(salt.len() == 32 && again["config"]["cache_tokens_salt"] == salt, "{salt}");
}

#[tokio::test]
async fn tokens_that_are_kept_are_thrown_away_on_demand() {
    // Of its own: others count what is kept.
    let (kong, provider) = (Kong::on(Arc::new(Portcullis::dev())).await, provider());
    kong.plugin("openid-connect", config(&provider, json!({}))).await;
    for calls in [1, 1] {
        let request = kong.request("GET", "/").header("Authorization", &basic("app", "secret"));
        assert_eq!(kong.send(request).await.status, 200);
        assert_eq!(provider.hits("/token").len(), calls);
    }
    // What was right once no longer is.
    provider.lie("/token", |_| {
        Answer::with(401, &[("content-type", "application/json")], r#"{"error":"invalid_client"}"#)
    });
    assert_eq!(kong.ask("DELETE", "/cache").await.status, 204);
    let request = kong.request("GET", "/").header("Authorization", &basic("app", "secret"));
    assert_eq!(kong.send(request).await.status, 401);
    assert_eq!(kong.ask("GET", "/cache/x").await.status, 404);
}

#[tokio::test]
async fn the_token_request_says_what_it_is_told_and_each_thing_once() {
    let (kong, provider) = (Kong::new().await, provider());
    for (more, target, said) in [
        (json!({}), "/", "grant_type=client_credentials&scope=openid"),
        (json!({"scopes": ["a", "b"]}), "/", "grant_type=client_credentials&scope=a+b"),
        (
            json!({"audience": ["https://x/"]}),
            "/",
            "grant_type=client_credentials&scope=openid&audience=https%3A%2F%2Fx%2F",
        ),
        (
            json!({"token_post_args_names": ["audience"], "token_post_args_values": ["https://x/"]}),
            "/",
            "grant_type=client_credentials&scope=openid&audience=https%3A%2F%2Fx%2F",
        ),
        (
            json!({"audience": ["https://x/"], "token_post_args_names": ["audience", "b"], "token_post_args_values": ["https://y/", "2"]}),
            "/",
            "grant_type=client_credentials&scope=openid&audience=https%3A%2F%2Fx%2F&b=2",
        ),
        (
            json!({"token_post_args_client": ["tenant", "scope"]}),
            "/?tenant=t&scope=chosen&client_secret=no",
            "grant_type=client_credentials&scope=chosen&tenant=t&scope=chosen",
        ),
    ] {
        kong.plugin("openid-connect", config(&provider, more.clone())).await;
        let request = kong.request("GET", target).header("Authorization", &basic("app", "secret"));
        assert_eq!(kong.send(request).await.status, 200, "{more}");
        let asked = provider.hits("/token").pop().unwrap();
        let body = String::from_utf8_lossy(&asked.message.body).into_owned();
        let said = said.strip_suffix("&scope=chosen").unwrap_or(said);
        assert_eq!(body, said, "{more}");
        assert_eq!(asked.header("content-type"), Some("application/x-www-form-urlencoded"));
        assert_eq!(asked.header("accept"), Some("application/json"));
    }
}

#[tokio::test]
async fn a_tokens_life_is_believed_with_care() {
    let (kong, provider) = (Kong::new().await, provider());
    for (expires_in, more, calls) in [
        (json!(3600), json!({}), 1),
        (json!(null), json!({}), 1),
        (json!(0), json!({}), 2),
        (json!(315_360_000), json!({}), 1),
        (json!(3600), json!({"cache_tokens": false}), 2),
        (json!(3600), json!({"cache_ttl_max": 0}), 2),
    ] {
        let said = expires_in.clone();
        provider.lie("/token", move |_| {
            let mut answer = json!({"access_token": "opaque", "token_type": "Bearer"});
            if !said.is_null() {
                answer["expires_in"] = said.clone();
            }
            Answer::json(&answer)
        });
        let salt = json!({"cache_tokens_salt": unique("s-")});
        let mut all = config(&provider, more.clone());
        all.as_object_mut().unwrap().extend(salt.as_object().unwrap().clone());
        kong.plugin("openid-connect", all).await;
        let before = provider.hits("/token").len();
        for _ in 0..2 {
            let request = kong.request("GET", "/").header("Authorization", &basic("app", "secret"));
            assert_eq!(kong.send(request).await.status, 200, "{expires_in} {more}");
        }
        assert_eq!(provider.hits("/token").len() - before, calls, "{expires_in} {more}");
    }
    provider.lie("/token", |_| {
        Answer::json(&json!({"access_token": "a", "token_type": "Bearer", "expires_in": -1}))
    });
    kong.plugin("openid-connect", config(&provider, json!({"cache_tokens_salt": unique("s-")}))).await;
    let request = kong.request("GET", "/").header("Authorization", &basic("app", "secret"));
    assert_eq!(kong.send(request).await.status, 500, "nonsense of the provider's");
}

#[tokio::test]
async fn a_token_that_cannot_be_replaced_serves_on_where_that_is_wanted_and_not_beyond_its_end() {
    let (kong, provider) = (Kong::on(Arc::new(Portcullis::dev())).await, provider());
    let ask = async || {
        let request = kong.request("GET", "/").header("Authorization", &basic("app", "secret"));
        let status = kong.send(request).await.status;
        (status, provider.hits("/token").len())
    };
    let later = async |seconds| kong.gate.advance(Duration::from_secs(seconds)).await;
    for (more, on) in [(json!({}), false), (json!({"cache_ttl_resurrect": 30}), true)] {
        let mut all = config(&provider, json!({"cache_ttl_max": 60, "cache_tokens_salt": unique("s-")}));
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        kong.plugin("openid-connect", all).await;
        provider.lie("/token", |_| {
            Answer::json(&json!({"access_token": "opaque", "token_type": "Bearer", "expires_in": 600}))
        });
        let before = ask().await;
        assert_eq!(before.0, 200);
        let calls = before.1;
        provider.lie("/token", |_| Answer::with(503, &[], ""));
        later(61).await;
        assert_eq!(ask().await, (if on { 200 } else { 500 }, calls + 1));
        if on {
            assert_eq!(ask().await, (200, calls + 1), "nobody is asked meanwhile");
            later(31).await;
            assert_eq!(ask().await, (200, calls + 2), "and then again");
            // What is refused is refused.
            provider.lie("/token", |_| Answer::with(401, &[], ""));
            later(31).await;
            assert_eq!(ask().await, (401, calls + 3));
            provider.lie("/token", |_| Answer::with(503, &[], ""));
            later(600).await;
            assert_eq!(ask().await, (500, calls + 4), "its end has come");
        }
    }
}

#[tokio::test]
async fn what_the_provider_answers_decides_between_401_and_500_and_nothing_is_remembered() {
    let (kong, provider) = (Kong::new().await, provider());
    kong.plugin("openid-connect", config(&provider, json!({"timeout": 3_000}))).await;
    let ask = async || {
        let request = kong.request("GET", "/").header("Authorization", &basic("app", "secret"));
        let answer = kong.send(request).await;
        (answer.status, answer.text().trim().to_owned())
    };
    let json = &[("Content-Type", "application/json")][..];
    for (answer, status) in [
        (Answer::with(400, json, r#"{"error":"invalid_client"}"#), 401),
        (Answer::with(401, json, r#"{"error":"access_denied"}"#), 401),
        (Answer::with(401, &[], ""), 401),
        (Answer::with(403, json, r#"{"error":"unauthorized_client"}"#), 401),
        (Answer::with(429, json, r#"{"error":"too_many"}"#), 500),
        (Answer::with(500, json, "{}"), 500),
        (Answer::with(503, &[], ""), 500),
        (Answer::with(200, json, "junk"), 500),
        (Answer::Close, 500),
        (Answer::Stall, 500),
    ] {
        let shown = format!("{answer:?}");
        provider.lie("/token", move |_| answer.clone());
        let (got, body) = ask().await;
        let word = if status == 401 { "Unauthorized" } else { "An unexpected error occurred" };
        assert_eq!((got, body), (status, json!({"message": word}).to_string()), "{shown}");
    }
    assert_eq!(kong.upstream.received(), "");
    let token = provider.access_token(&json!({"sub": "app@clients"}));
    provider.lie("/token", move |_| {
        Answer::json(&json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600}))
    });
    assert_eq!(ask().await.0, 200, "the provider is well again");
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

#[tokio::test]
async fn a_body_that_is_too_long_to_be_looked_into_arrives_whole_or_not_at_all() {
    let (kong, provider) = (Kong::new().await, provider());
    let guest = unique("guest-");
    kong.made("POST", "/consumers", json!({"username": guest})).await;
    let long: Vec<u8> = (0..3 << 20).map(|at| b'a' + (at % 26) as u8).collect();
    for (hides, length) in
        [(false, 10), (false, 3 << 20), (true, 10), (true, (1 << 20) + 100_000), (true, 3 << 20)]
    {
        let more =
            json!({"anonymous": guest, "client_credentials_param_type": ["body"], "hide_credentials": hides});
        kong.plugin("openid-connect", config(&provider, more)).await;
        let body = &long[..length];
        for in_chunks in [false, true] {
            let framing = match in_chunks {
                true => "Transfer-Encoding: chunked".to_owned(),
                false => format!("Content-Length: {length}"),
            };
            let head = format!(
                "POST /{}/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                 {framing}\r\n\r\n",
                kong.name
            );
            let mut bytes = head.into_bytes();
            if in_chunks {
                for chunk in body.chunks(50_000) {
                    bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    bytes.extend_from_slice(chunk);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(b"0\r\n\r\n");
            } else {
                bytes.extend_from_slice(body);
            }
            let before = kong.upstream.seen().len();
            let mut connection = kong.gate.connect().await;
            connection.send(&bytes).await;
            let status = connection.response().await.map(|answer| answer.status);
            let new = kong.upstream.seen().split_off(before);
            let case = format!("{length} bytes, hidden: {hides}, in chunks: {in_chunks}");
            // Nothing can be taken out of what is not read.
            let wanted = if hides && length > 1 << 20 { 413 } else { 200 };
            assert_eq!(status, Some(wanted), "{case}");
            let came: Vec<bool> = new.iter().map(|seen| seen.message.body == body).collect();
            assert_eq!(came, if wanted == 200 { vec![true] } else { vec![] }, "{case}");
        }
    }
}
