//! Access tokens: by whom they are verified, and what they must say.

use std::sync::Arc;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jose::{Alg, SigningKey};
use serde_json::{Value, json};

use super::{CLIENT, SECRET, decoded, expect_refused, form, guarded};
use crate::support::{Answer, Portcullis, Provider, Request, shared, tokens, unique};

#[tokio::test]
async fn a_route_may_let_requests_without_a_token_pass_but_none_with_a_bad_one() {
    let provider = Provider::start(CLIENT);
    let further = json!({"bearer_only": true, "use_jwks": true, "unauth_action": "pass"});
    let site = guarded(shared(), &provider, further).await;
    let answer = site.gate.send(Request::get(&site.target("open")).header("X-Userinfo", "forged")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(site.last().header("x-userinfo"), None);
    assert_eq!(site.with_token(&provider.access_token(&json!({}))).await.status, 200);
    assert!(site.last().header("x-userinfo").is_some());
    expect_refused(&site, "a token of somebody else's", &Provider::start(CLIENT).access_token(&json!({})))
        .await;
}

#[tokio::test]
async fn a_token_is_verified_by_the_keys_that_the_provider_publishes() {
    let (provider, stranger) = (Provider::start(CLIENT), Provider::start(CLIENT));
    let site = guarded(shared(), &provider, json!({"bearer_only": true, "use_jwks": true})).await;
    let token = provider.access_token(&json!({"scope": "read:things"}));
    for _ in 0..5 {
        let answer = site.with_token(&token).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
        let seen = site.last();
        assert_eq!(seen.header("x-access-token"), Some(token.as_str()));
        assert_eq!(seen.header("authorization"), Some(format!("Bearer {token}").as_str()));
        assert_eq!(decoded(&seen, "x-userinfo")["sub"], "user-1");
        assert!(seen.header("x-id-token").is_none() && seen.header("x-refresh-token").is_none());
    }
    let without = site.get("api").await;
    assert_eq!((without.status, without.header("www-authenticate")), (401, Some(r#"Bearer realm="apisix""#)));
    assert_eq!(site.reached(), 5);
    let now = tokens::now();
    for (what, token) in [
        ("one of another provider", stranger.access_token(&json!({}))),
        ("one that is over", provider.access_token(&json!({"exp": now - 1}))),
        ("one without an end", provider.access_token(&json!({"exp": null}))),
        ("one that begins tomorrow", provider.access_token(&json!({"nbf": now + 86_400}))),
        ("one from tomorrow", provider.access_token(&json!({"iat": now + 86_400}))),
        ("one that is bound to a key", provider.access_token(&json!({"cnf": {"jkt": "x"}}))),
        (
            "one of another issuer",
            provider.access_token(&json!({"iss": provider.issuer().trim_end_matches('/')})),
        ),
        ("an ID token", provider.access_token(&json!({"aud": CLIENT, "nonce": "n"}))),
        ("one that is cut", token[..token.len() - 2].to_owned()),
    ] {
        expect_refused(&site, what, &token).await;
    }
    let asked = |path: &str| provider.hits(path).len();
    let hits = (asked("/.well-known/openid-configuration"), asked("/jwks"));
    assert_eq!(
        hits,
        (2, 2),
        "once, and once more for the signatures that are wrong: the key may be another by now"
    );
}

#[tokio::test]
async fn a_token_is_verified_by_the_key_of_the_configuration_alone() {
    let provider = Provider::start(CLIENT);
    let key = tokens::key(Alg::ES256, "any");
    let further = json!({"bearer_only": true, "public_key": pem(&key)});
    let site = guarded(shared(), &provider, further).await;
    let claims = |more: Value| {
        let now = tokens::now();
        let mut claims = json!({"iss": provider.issuer(), "sub": "machine", "iat": now, "exp": now + 600});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        claims
    };
    let answer = site.with_token(&tokens::mint(&key, &claims(json!({})))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(decoded(&site.last(), "x-userinfo")["sub"], "machine");
    expect_refused(&site, "one by a key of the provider's", &provider.access_token(&json!({}))).await;
    let elsewhere = claims(json!({"iss": "https://other.example/"}));
    expect_refused(&site, "one of another issuer", &tokens::mint(&key, &elsewhere)).await;
}

/// A P-256 key as an operator pastes it: SPKI (RFC 5480) in PEM.
fn pem(key: &SigningKey) -> String {
    const HEAD: [u8; 27] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
        0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
    ];
    let jwk = key.public_jwk();
    let part = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    let spki = [HEAD.to_vec(), part("x"), part("y")].concat();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(spki))
}

#[tokio::test]
async fn an_opaque_token_is_introspected_once_and_then_remembered() {
    let provider = Provider::start(CLIENT);
    let further =
        json!({"bearer_only": true, "introspection_endpoint": format!("{}introspect", provider.issuer())});
    let site = guarded(shared(), &provider, further).await;
    for _ in 0..3 {
        let answer = site.with_token("opaque-1").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(site.last().header("x-access-token"), Some("opaque-1"));
        assert_eq!(decoded(&site.last(), "x-userinfo")["sub"], "user-1");
    }
    let asked = provider.hits("/introspect");
    assert_eq!(asked.len(), 1, "the answer is remembered");
    assert_eq!((asked[0].method.as_str(), form(&asked[0])["token"].as_str()), ("POST", "opaque-1"));
    let basic = format!("Basic {}", STANDARD.encode(format!("{CLIENT}:{}", SECRET.replace(' ', "+"))));
    assert_eq!(asked[0].header("authorization"), Some(basic.as_str()));

    let reached = site.reached();
    provider.lie("/introspect", |_| Answer::json(&json!({"active": false})));
    expect_refused(&site, "one that is not active", "opaque-2").await;
    for (what, lie) in [
        ("an error", Answer::with(500, &[], "")),
        ("a stranger's no", Answer::with(401, &[], r#"{"error":"invalid_client"}"#)),
        ("a page", Answer::text("<html>")),
        ("a close", Answer::Close),
    ] {
        provider.lie("/introspect", move |_| lie.clone());
        let answer = site.with_token("opaque-3").await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (503, None), "{what}: {answer:?}");
    }
    provider.lie("/introspect", |_| {
        Answer::json(&json!({"active": "true", "sub": "u", "exp": i64::from(u32::MAX)}))
    });
    expect_refused(&site, "an active that is no true", "opaque-4").await;
    assert_eq!(site.with_token("opaque-1").await.status, 200, "what is remembered still counts");
    assert_eq!(site.reached(), reached + 1);
}

#[tokio::test]
async fn all_required_scopes_must_be_there() {
    let provider = Provider::start(CLIENT);
    let further =
        json!({"bearer_only": true, "use_jwks": true, "required_scopes": ["read:things", "write:things"]});
    let site = guarded(shared(), &provider, further).await;
    let with = |scope: Value| provider.access_token(&json!({"scope": scope}));
    assert_eq!(site.with_token(&with(json!("openid write:things read:things"))).await.status, 200);
    for scope in [
        json!("read:things"),
        json!("read:things write:thingsX"),
        json!("read:things,write:things"),
        Value::Null,
    ] {
        let answer = site.with_token(&with(scope.clone())).await;
        assert_eq!(answer.status, 403, "{scope}");
        assert_eq!(answer.text(), r#"{"error":"required scopes read:things, write:things not present"}"#);
    }
    assert_eq!(site.reached(), 1);
}

#[tokio::test]
async fn the_claim_validator_judges_issuer_and_audience() {
    let provider = Provider::start(CLIENT);
    let with = async |validator: Value| {
        let further = json!({"bearer_only": true, "use_jwks": true, "claim_validator": validator});
        guarded(shared(), &provider, further).await
    };
    let token = |claims: Value| provider.access_token(&claims);

    let issuers = with(json!({"issuer": {"valid_issuers": ["https://public.example/"]}})).await;
    assert_eq!(issuers.with_token(&token(json!({"iss": "https://public.example/"}))).await.status, 200);
    expect_refused(&issuers, "the discovered issuer", &token(json!({}))).await;
    expect_refused(&issuers, "a longer issuer", &token(json!({"iss": "https://public.example/x"}))).await;

    let required = with(json!({"audience": {"required": true}})).await;
    assert_eq!(required.with_token(&token(json!({}))).await.status, 200);
    expect_refused(&required, "an audience that is null", &token(json!({"aud": null}))).await;
    let answer = required.with_token(&token(json!({"aud": ""}))).await;
    assert_eq!(answer.text(), r#"{"error":"required audience claim not present"}"#);
    assert_eq!((answer.status, required.reached()), (403, 1));

    let own = with(json!({"audience": {"match_with_client_id": true}})).await;
    let good = [json!({"aud": [CLIENT, "x"]}), json!({"aud": CLIENT, "scope": "a"})];
    for claims in &good {
        assert_eq!(own.with_token(&token(claims.clone())).await.status, 200, "{claims}");
    }
    for claims in [json!({}), json!({"aud": ["oidc"]}), json!({"aud": format!("{CLIENT}2")})] {
        let answer = own.with_token(&token(claims.clone())).await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (403, r#"{"error":"mismatched audience"}"#),
            "{claims}"
        );
    }
    assert_eq!(own.reached(), good.len());
}

#[tokio::test]
async fn what_is_remembered_and_what_is_not_is_counted() {
    let gate = Arc::new(Portcullis::dev());
    let provider = Provider::start(CLIENT);
    let site = guarded(Arc::clone(&gate), &provider, json!({"bearer_only": true, "use_jwks": true})).await;
    let token = provider.access_token(&json!({}));
    for _ in 0..20 {
        assert_eq!(site.with_token(&token).await.status, 200);
    }
    let text = Request::get("/metrics").send(gate.port(9091)).await.text();
    let count = |what: &str| -> u64 {
        let name = format!("portcullis_cache_{what}_total{{cache=\"verdicts\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    };
    let (hits, misses) = (count("hits"), count("misses"));
    assert!(hits > 0 && misses > 0 && hits + misses >= 20, "{hits} {misses}");
    assert_eq!(count("evictions"), 0);
}

#[tokio::test]
async fn j47_j48_two_tokens_are_a_400_and_odd_schemes_open_nothing() {
    let provider = Provider::start(CLIENT);
    let site = guarded(shared(), &provider, json!({"bearer_only": true, "use_jwks": true})).await;
    let token = provider.access_token(&json!({}));
    let send = async |lines: &[String], target: &str| {
        let request = Request::get(&site.target(target));
        let request = lines.iter().fold(request, |request, line| request.header("Authorization", line));
        site.gate.send(request).await.status
    };
    let good = format!("Bearer {token}");
    assert_eq!(send(&[good.replace("Bearer", "bEARER")], "a").await, 200);
    assert_eq!(send(&[good.clone(), good.clone()], "a").await, 400);
    assert_eq!(send(&["Basic eDp5".to_owned(), good.clone()], "a").await, 400);
    assert_eq!(send(std::slice::from_ref(&good), &format!("a?access_token={token}")).await, 400);
    assert_eq!(send(&[], &format!("a?access_token={token}")).await, 401);
    assert_eq!(send(&["Bearer".to_owned()], "a").await, 400);
    for odd in ["Basic eDp5", "Bearer\tx", "Bearer x y", "Bearer x, Bearer y", "Digest x"] {
        assert_eq!(send(&[odd.replace('x', &token)], "a").await, 401, "{odd}");
    }
    assert_eq!(site.reached(), 1);
}

#[tokio::test]
async fn j52_a_verdict_is_of_one_token_on_one_route_and_of_nothing_else() {
    let provider = Provider::start(CLIENT);
    let with = async |further: Value| {
        let mut conf = json!({"bearer_only": true, "use_jwks": true});
        conf.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        guarded(shared(), &provider, conf).await
    };
    let open = with(json!({})).await;
    let other_audience =
        with(json!({"claim_validator": {"audience": {"values": ["https://other.example/"]}}})).await;
    let scoped = with(json!({"required_scopes": ["admin"]})).await;
    let other_issuer =
        with(json!({"claim_validator": {"issuer": {"valid_issuers": ["https://other.example/"]}}})).await;
    let token = provider.access_token(&json!({"scope": "read not-admin"}));
    for _ in 0..3 {
        // Each route in turn, so that what one has judged is remembered when the next is asked.
        assert_eq!(open.with_token(&token).await.status, 200);
        assert_eq!(other_audience.with_token(&token).await.status, 403);
        assert_eq!(scoped.with_token(&token).await.status, 403);
        assert_eq!(other_issuer.with_token(&token).await.status, 401);
    }
    for at in [0, token.len() / 3, token.len() / 2, token.len() - 1] {
        let mut bent = token.clone().into_bytes();
        bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
        let bent = String::from_utf8(bent).unwrap();
        expect_refused(&open, &format!("one letter at {at}"), &bent).await;
    }
    let endpoint = format!("{}introspect", provider.issuer());
    let opaque = with(json!({"use_jwks": false, "introspection_endpoint": endpoint})).await;
    let good = unique("opaque-token-");
    let known = good.clone();
    provider.lie("/introspect", move |seen| {
        let is_known = form(seen).get("token") == Some(&known);
        Answer::json(&json!({"active": is_known, "sub": "user-1", "exp": tokens::now() + 600}))
    });
    assert_eq!(opaque.with_token(&good).await.status, 200);
    for bad in [&good[..good.len() - 1], &format!("{good}0"), &good[1..], &good.to_uppercase()] {
        expect_refused(&opaque, bad, bad).await;
    }
    assert_eq!(opaque.with_token(&good).await.status, 200);
    assert_eq!(
        (open.reached(), other_audience.reached() + scoped.reached() + other_issuer.reached()),
        (3, 0)
    );
}
