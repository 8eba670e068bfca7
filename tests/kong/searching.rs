//! What `openid-connect` finds out of callers beside their tokens, and what it remembers.

use std::time::Duration;

use support::{Provider, tokens};

use super::{
    machines::basic,
    methods::{Known, OPAQUE},
    *,
};

#[tokio::test]
async fn a_username_is_found_however_it_is_written_where_that_is_wanted() {
    let (kong, known) = (Kong::new().await, Known::start());
    let (ann, bob) = (unique("Ann-"), unique("bob-"));
    for name in [&ann, &bob, &bob.to_uppercase()] {
        kong.made("POST", "/consumers", json!({"username": name})).await;
    }
    for (ignores, said, found) in [
        (false, ann.clone(), Some(&ann)),
        (false, ann.to_lowercase(), None),
        (true, ann.clone(), Some(&ann)),
        (true, ann.to_lowercase(), Some(&ann)),
        (true, ann.to_uppercase(), Some(&ann)),
        (true, bob.clone(), Some(&bob)),
        // It may be either.
        (true, bob.replacen('b', "B", 1), None),
    ] {
        let more = json!({
            "consumer_claim": ["preferred_username"], "consumer_by": ["username"],
            "by_username_ignore_case": ignores,
        });
        kong.plugin("openid-connect", known.config(json!(["bearer"]), more)).await;
        let token = known.token(&json!({"sub": "u", "preferred_username": said}));
        let answer = kong.send(kong.request("GET", "/").bearer(&token)).await;
        assert_eq!(answer.status, if found.is_some() { 200 } else { 403 }, "{ignores} {said}");
        if let Some(found) = found {
            let seen = kong.upstream.seen().pop().unwrap();
            assert_eq!(seen.header("x-consumer-username"), Some(found.as_str()), "{ignores} {said}");
        }
    }
}

#[tokio::test]
async fn the_userinfo_endpoint_says_what_a_token_does_not() {
    let (kong, known) = (Kong::new().await, Known::start());
    let consumer = unique("ann-");
    kong.made("POST", "/consumers", json!({"username": consumer})).await;
    let named = consumer.clone();
    known.provider.lie("/userinfo", move |_| {
        Answer::json(&json!({"sub": "user-7", "nickname": named, "scope": "everything"}))
    });
    let more = json!({
        "search_user_info": true, "consumer_claim": ["nickname"],
        "upstream_headers_claims": ["nickname", "sub"], "upstream_headers_names": ["x-nickname", "x-sub"],
        "upstream_user_info_header": "x-user-info",
    });
    let token = known.token(&json!({"sub": "user-7", "scope": "read"}));
    for method in ["bearer", "introspection"] {
        kong.plugin("openid-connect", known.config(json!([method]), more.clone())).await;
        let before = known.provider.hits("/userinfo").len();
        if method == "introspection" {
            let exp = tokens::now() + 3600;
            known.provider.lie("/introspect", move |_| {
                Answer::json(&json!({"active": true, "sub": "user-7", "exp": exp}))
            });
        }
        let token = if method == "bearer" { token.as_str() } else { OPAQUE };
        for _ in 0..2 {
            let answer = kong.send(kong.request("GET", "/").bearer(token)).await;
            assert_eq!(answer.status, 200, "{method}: {}", answer.text());
            let seen = kong.upstream.seen().pop().unwrap();
            assert_eq!(seen.header("x-consumer-username"), Some(consumer.as_str()));
            assert_eq!(
                (seen.header("x-nickname"), seen.header("x-sub")),
                (Some(consumer.as_str()), Some("user-7"))
            );
            assert!(seen.header("x-user-info").is_some());
        }
        assert_eq!(known.provider.hits("/userinfo").len() - before, 1, "{method}: it is remembered");
    }
    // What a token may is for the token alone to say, and another user's claims are nobody's.
    let mut strict = more.clone();
    strict["scopes_required"] = json!(["everything"]);
    kong.plugin("openid-connect", known.config(json!(["bearer"]), strict)).await;
    assert_eq!(kong.send(kong.request("GET", "/").bearer(&token)).await.status, 403);
    kong.plugin("openid-connect", known.config(json!(["bearer"]), more.clone())).await;
    let other = known.token(&json!({"sub": "user-8"}));
    assert_eq!(kong.send(kong.request("GET", "/").bearer(&other)).await.status, 401);
    let before = known.provider.hits("/userinfo").len();
    let late = known.token(&json!({"sub": "user-7", "exp": tokens::now() - 10}));
    assert_eq!(kong.send(kong.request("GET", "/").bearer(&late)).await.status, 401);
    assert_eq!(known.provider.hits("/userinfo").len(), before, "nobody is asked about it");
    let mut off = more;
    off["search_user_info"] = json!(false);
    kong.plugin("openid-connect", known.config(json!(["bearer"]), off)).await;
    assert_eq!(kong.send(kong.request("GET", "/").bearer(&token)).await.status, 403, "nobody asks");
}

#[tokio::test]
async fn keys_of_further_sets_count_and_outlive_their_absence() {
    let kong = Kong::new().await;
    let (main, other) = (Provider::start("gate"), Provider::start("gate"));
    other.rotate("other-key", false);
    let keys = other.described()["jwks_uri"].clone();
    let put = async |more: Value| {
        let mut config = json!({"issuer": main.issuer(), "auth_methods": ["bearer"]});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        kong.plugin("openid-connect", config).await;
    };
    let ask = async |provider: &Provider| {
        let token = provider.access_token(&json!({"sub": "ann"}));
        kong.send(kong.request("GET", "/").bearer(&token)).await.status
    };
    let allowed = json!([main.issuer(), other.issuer()]);
    put(json!({})).await;
    assert_eq!((ask(&main).await, ask(&other).await), (200, 401));
    put(json!({"issuers_allowed": allowed})).await;
    assert_eq!((ask(&main).await, ask(&other).await), (200, 401), "nobody knows the key");
    put(json!({"extra_jwks_uris": [keys]})).await;
    assert_eq!((ask(&main).await, ask(&other).await), (200, 401), "its issuer is not allowed");
    put(json!({"issuers_allowed": allowed, "extra_jwks_uris": [keys]})).await;
    assert_eq!((ask(&main).await, ask(&other).await), (200, 200));
    other.stop();
    main.rotate("main-2", false);
    assert_eq!((ask(&main).await, ask(&other).await), (200, 200), "what was there last counts on");
    let config = json!({"issuer": main.issuer(), "extra_jwks_uris": ["ftp://x/"]});
    let body = json!({"name": "openid-connect", "config": config});
    let refused = kong.call("POST", "/schemas/plugins/validate", body).await.json();
    assert!(refused["fields"]["config"]["extra_jwks_uris"].is_string(), "{refused}");
}

#[tokio::test]
async fn refused_credentials_are_remembered_where_that_is_wanted_and_lives_have_a_least() {
    let (kong, provider) = (Kong::on(Arc::new(Portcullis::dev())).await, Provider::start("gate"));
    let refuse = |_: &support::Seen| {
        Answer::with(401, &[("Content-Type", "application/json")], r#"{"error":"invalid_client"}"#)
    };
    let put = async |more: Value| {
        let mut config = json!({
            "issuer": provider.issuer(), "auth_methods": ["client_credentials"], "cache_tokens_salt": unique("s-"),
        });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        kong.plugin("openid-connect", config).await;
    };
    let ask = async || {
        let request = kong.request("GET", "/").header("Authorization", &basic("app", "secret"));
        kong.send(request).await.status
    };
    let advance = async |seconds: u64| kong.gate.advance(Duration::from_secs(seconds)).await;
    provider.lie("/token", refuse);
    put(json!({})).await;
    assert_eq!((ask().await, ask().await), (401, 401));
    assert_eq!(provider.hits("/token").len(), 2, "asked each time");
    put(json!({"cache_ttl_neg": 30})).await;
    for _ in 0..3 {
        assert_eq!(ask().await, 401);
    }
    assert_eq!(provider.hits("/token").len(), 3);
    provider.lie("/token", |_| Answer::json(&json!({"access_token": "opaque", "token_type": "Bearer"})));
    assert_eq!(ask().await, 401, "also when it would be taken by now");
    let other = kong.request("GET", "/").header("Authorization", &basic("app", "another"));
    assert_eq!(kong.send(other).await.status, 200, "another secret is another matter");
    advance(31).await;
    assert_eq!(ask().await, 200);
    let calls = provider.hits("/token").len();
    put(json!({"cache_ttl": 10, "cache_ttl_min": 100})).await;
    assert_eq!(ask().await, 200);
    advance(60).await;
    assert_eq!((ask().await, provider.hits("/token").len()), (200, calls + 1));
    advance(60).await;
    assert_eq!((ask().await, provider.hits("/token").len()), (200, calls + 2));
    // What the provider says of its token counts in any case.
    provider.lie("/token", |_| {
        Answer::json(&json!({"access_token": "opaque", "token_type": "Bearer", "expires_in": 10}))
    });
    put(json!({"cache_ttl_min": 100})).await;
    assert_eq!(ask().await, 200);
    advance(11).await;
    assert_eq!((ask().await, provider.hits("/token").len()), (200, calls + 4));
}
