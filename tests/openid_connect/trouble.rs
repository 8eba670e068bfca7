//! The provider is down, slow, lying, rotating its keys, or has another time. Each time: what the user sees, what
//! reaches the upstream, and what the provider is asked.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{CLIENT, conf, expect_refused, guarded};
use crate::support::{Answer, Browser, Portcullis, Provider, Upstream, shared, tokens, unique};

const DISCOVERY: &str = "/.well-known/openid-configuration";

fn tokens_only() -> Value {
    json!({"bearer_only": true, "use_jwks": true})
}

#[tokio::test]
async fn r37_other_routes_serve_while_a_provider_is_down() {
    let provider = Provider::start(CLIENT);
    provider.stop();
    let site = guarded(shared(), &provider, tokens_only()).await;
    let upstream = Upstream::start();
    let id = unique("open-");
    site.gate.admin().route(&id, &format!("/{id}"), &upstream, json!({})).await;
    assert_eq!(site.gate.get(&format!("/{id}")).await.status, 200);
    let answer = site.with_token(&provider.access_token(&json!({}))).await;
    assert_eq!((answer.status, answer.header("www-authenticate"), site.reached()), (503, None, 0));
}

#[tokio::test]
async fn a_provider_that_hangs_costs_a_request_its_timeout_and_no_more() {
    let provider = Provider::start(CLIENT);
    for path in [DISCOVERY, "/jwks"] {
        provider.lie(path, |_| Answer::Stall);
    }
    let mut further = tokens_only();
    further["timeout"] = json!(1);
    let site = guarded(shared(), &provider, further).await;
    let begun = std::time::Instant::now();
    let answer = site.with_token(&provider.access_token(&json!({}))).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    provider.be_honest();
    let back = std::time::Instant::now();
    while site.with_token(&provider.access_token(&json!({}))).await.status == 503 {
        assert!(back.elapsed() < Duration::from_secs(10), "it does not heal");
    }
}

#[tokio::test]
async fn r35_a_discovery_document_that_lies_is_not_used_and_the_last_good_one_stays() {
    let gate = Arc::new(Portcullis::dev());
    let provider = Provider::start(CLIENT);
    let mut further = tokens_only();
    further["discovery_expires_in"] = json!(60);
    let site = guarded(Arc::clone(&gate), &provider, further).await;
    assert_eq!(site.with_token(&provider.access_token(&json!({}))).await.status, 200);
    let issuer = provider.issuer();
    let large = "x".repeat(10 << 20);
    let lies = [
        json!({"issuer": "https://evil.example/", "jwks_uri": format!("{issuer}jwks")}).to_string(),
        json!({"issuer": issuer, "jwks_uri": "file:///etc/passwd"}).to_string(),
        json!({"issuer": issuer, "jwks_uri": "http://169.254.169.254/keys"}).to_string(),
        json!({"issuer": issuer, "jwks_uri": "http://10.1.2.3/keys"}).to_string(),
        format!(r#"{{"issuer":"{issuer}","issuer":"{issuer}","jwks_uri":"{issuer}jwks"}}"#),
        format!(r#"{{"issuer":"{issuer}","x":"{large}"}}"#),
        "<html>".to_owned(),
    ];
    for lie in lies {
        let asked = provider.hits(DISCOVERY).len();
        let told = Answer::with(200, &[("Content-Type", "application/json")], &lie);
        provider.lie(DISCOVERY, move |_| told.clone());
        gate.advance(Duration::from_secs(61)).await;
        assert!(provider.hits(DISCOVERY).len() > asked, "it was looked at");
        assert_eq!(site.with_token(&provider.access_token(&json!({}))).await.status, 200, "{:.80}", lie);
    }
    let truth = provider.described().to_string();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", truth.len());
    for (what, lie) in [
        ("a bomb", Answer::bomb(10)),
        ("a drip", Answer::Drip(head.into_bytes(), truth.into_bytes(), Duration::from_millis(500))),
        (
            "a document that breaks off",
            Answer::SendAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".into()),
        ),
    ] {
        provider.lie(DISCOVERY, move |_| lie.clone());
        gate.advance(Duration::from_secs(61)).await;
        assert_eq!(site.with_token(&provider.access_token(&json!({}))).await.status, 200, "{what}");
    }
}

#[tokio::test]
async fn j37_an_empty_or_failing_key_set_costs_one_fetch_however_many_keys_are_made_up() {
    for lie in [Answer::json(&json!({"keys": []})), Answer::with(500, &[], "")] {
        let provider = Provider::start(CLIENT);
        let site = guarded(shared(), &provider, tokens_only()).await;
        let good = provider.access_token(&json!({}));
        assert_eq!(site.with_token(&good).await.status, 200);
        provider.lie("/jwks", move |_| lie.clone());
        let stranger = Provider::start(CLIENT);
        let before = provider.hits("/jwks").len();
        for number in 0..30 {
            stranger.rotate(&format!("made-up-{number}"), false);
            let token = stranger.access_token(&json!({"iss": provider.issuer()}));
            let answer = site.with_token(&token).await;
            assert!(matches!(answer.status, 401 | 503), "{answer:?}");
        }
        assert!(provider.hits("/jwks").len() <= before + 2, "{}", provider.hits("/jwks").len() - before);
        assert_eq!(site.with_token(&good).await.status, 200, "the last good set stays");
        assert_eq!(site.reached(), 2);
    }
}

#[tokio::test]
async fn j40_j41_a_key_set_that_is_hostile_opens_nothing_and_hurts_nobody() {
    let gate = Arc::new(Portcullis::dev());
    let provider = Provider::start(CLIENT);
    let mut further = tokens_only();
    further["jwk_expires_in"] = json!(60);
    let site = guarded(Arc::clone(&gate), &provider, further).await;
    let good = || provider.access_token(&json!({"exp": tokens::now() + 100_000}));
    assert_eq!(site.with_token(&good()).await.status, 200);
    let own = provider.published_keys();
    let many: Vec<Value> =
        (0..1000).map(|n| json!({"kty": "oct", "kid": format!("k{n}"), "k": "AAAA"})).collect();
    for (what, body) in [
        ("10 MiB", format!(r#"{{"keys":[],"x":"{}"}}"#, "x".repeat(10 << 20))),
        ("HTML", "<html>".to_owned()),
        ("cut off", own.to_string()[..40].to_owned()),
        ("no list", r#"{"keys":{}}"#.to_owned()),
    ] {
        let told = Answer::with(200, &[("Content-Type", "application/json")], &body);
        provider.lie("/jwks", move |_| told.clone());
        gate.advance(Duration::from_secs(61)).await;
        assert_eq!(site.with_token(&good()).await.status, 200, "{what}: the last good set stays");
    }
    let symmetric = json!({ "keys": many });
    provider.lie("/jwks", move |_| Answer::json(&symmetric));
    gate.advance(Duration::from_secs(61)).await;
    expect_refused(&site, "one of a set that has had its time and names no key of use", &good()).await;
    let mut twice = own.clone();
    let again = tokens::key(jose::Alg::ES256, "key-1").public_jwk();
    twice["keys"].as_array_mut().unwrap().push(again);
    provider.lie("/jwks", move |_| Answer::json(&twice));
    gate.advance(Duration::from_secs(61)).await;
    expect_refused(&site, "one whose kid two keys have", &good()).await;
    provider.lie("/jwks", move |_| Answer::json(&own));
    gate.advance(Duration::from_secs(61)).await;
    assert_eq!(site.with_token(&good()).await.status, 200);
}

#[tokio::test]
async fn j41_a_key_set_that_is_packed_or_comes_byte_by_byte_leaves_the_last_good_one() {
    let gate = Arc::new(Portcullis::dev());
    let provider = Provider::start(CLIENT);
    let mut further = tokens_only();
    further["jwk_expires_in"] = json!(60);
    let site = guarded(Arc::clone(&gate), &provider, further).await;
    let good = provider.access_token(&json!({"exp": tokens::now() + 100_000}));
    assert_eq!(site.with_token(&good).await.status, 200);
    let before = gate.resident();
    let keys = provider.published_keys().to_string();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", keys.len());
    for (what, lie) in [
        ("a bomb", Answer::bomb(64)),
        ("a drip", Answer::Drip(head.into_bytes(), keys.into_bytes(), Duration::from_millis(500))),
        (
            "one that breaks off",
            Answer::SendAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".into()),
        ),
        (
            "one without end",
            Answer::Flood(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
                b"400\r\n".iter().copied().chain([b' '; 1024]).chain(*b"\r\n").collect(),
            ),
        ),
    ] {
        let asked = provider.hits("/jwks").len();
        provider.lie("/jwks", move |_| lie.clone());
        let begun = std::time::Instant::now();
        gate.advance(Duration::from_secs(61)).await;
        assert!(provider.hits("/jwks").len() > asked, "{what}: it was looked at");
        assert_eq!(site.with_token(&good).await.status, 200, "{what}: the last good set stays");
        assert!(begun.elapsed() < Duration::from_secs(15), "{what}: {:?}", begun.elapsed());
    }
    let grown = gate.resident().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
}

#[tokio::test]
async fn j40_a_token_that_names_no_key_is_tried_with_eight_that_fit_at_most() {
    let own = tokens::key(jose::Alg::ES256, "own");
    let strangers: Vec<Value> =
        (0..100).map(|n| tokens::key(jose::Alg::ES256, &format!("key-{n}")).public_jwk()).collect();
    let others: Vec<Value> =
        (0..20).map(|n| tokens::key(jose::Alg::EdDSA, &format!("other-{n}")).public_jwk()).collect();
    for (before, status) in [(0, 200), (4, 200), (7, 200), (8, 401), (99, 401)] {
        let provider = Provider::start(CLIENT);
        let mut keys = others.clone();
        keys.extend(strangers[..before].iter().cloned());
        keys.push(own.public_jwk());
        let set = json!({ "keys": keys });
        provider.lie("/jwks", move |_| Answer::json(&set));
        let site = guarded(shared(), &provider, tokens_only()).await;
        let now = tokens::now();
        let claims = json!({"iss": provider.issuer(), "sub": "user-1", "aud": provider.audience(), "iat": now,
                            "exp": now + 600});
        let nameless = json!({"kid": null});
        let payload = claims.to_string();
        let token = own.sign_with_header(nameless.as_object().unwrap(), payload.as_bytes()).unwrap();
        assert_eq!(
            site.with_token(&token).await.status,
            status,
            "behind {before} that fit, and 20 that do not"
        );
        assert_eq!(
            site.with_token(&tokens::mint(&own, &claims)).await.status,
            200,
            "by its name it is found"
        );
        assert_eq!(site.reached(), 1 + usize::from(status == 200));
    }
}

#[tokio::test]
async fn clocks_that_differ_a_little_do_not_matter_and_those_that_differ_much_do() {
    let provider = Provider::start(CLIENT);
    let site = guarded(shared(), &provider, tokens_only()).await;
    let now = tokens::now();
    let fast = provider.access_token(&json!({"iat": now + 60, "nbf": now + 60, "exp": now + 600}));
    assert_eq!(
        site.with_token(&fast).await.status,
        200,
        "two minutes are allowed unless iat_slack says otherwise"
    );
    let far = provider.access_token(&json!({"iat": now + 300, "exp": now + 900}));
    expect_refused(&site, "one from the future", &far).await;
    let not_yet = provider.access_token(&json!({"nbf": now + 300, "exp": now + 900}));
    expect_refused(&site, "one that does not count yet", &not_yet).await;
    expect_refused(&site, "one that is over", &provider.access_token(&json!({"exp": now - 5}))).await;
    let mut lenient = tokens_only();
    lenient["iat_slack"] = json!(30);
    let lenient = guarded(shared(), &provider, lenient).await;
    assert_eq!(lenient.with_token(&provider.access_token(&json!({"exp": now - 5}))).await.status, 200);

    let login = super::login::site(shared(), &provider, json!({})).await;
    provider.claim(json!({"iat": now + 600}));
    let mut browser = Browser::new();
    let page = browser.open(&login.url("first")).await;
    assert_eq!(
        (page.status(), browser.cookie("session")),
        (502, None),
        "an ID token of another time: {page:?}"
    );
}

#[tokio::test]
async fn r34_providers_are_only_where_the_operator_allows_them() {
    let upstream = Upstream::start();
    let (gate, provider) = (shared(), Provider::start(CLIENT));
    let own_admin = format!("http://127.0.0.1:{}/x", gate.port(9180));
    for bad in [
        "http://169.254.169.254/.well-known/openid-configuration",
        "https://10.0.0.1/.well-known/openid-configuration",
        "file:///etc/passwd",
        "http://[::ffff:10.0.0.1]/x",
        "http://167772161/x",
        "http://0x0a.0.0.1/x",
        "gopher://127.0.0.1/x",
        "http://user:pass@127.0.0.1/x",
        own_admin.as_str(),
    ] {
        let plugins = json!({"openid-connect": conf(&provider, json!({"discovery": bad}))});
        let body = json!({"uri": "/r34", "plugins": plugins, "upstream": {"nodes": {upstream.node(): 1}}});
        let answer = gate.admin().put("routes/r34", &body).await;
        assert_eq!(answer.status, 400, "{bad}: {answer:?}");
        assert!(answer.text().contains("discovery"), "{bad}: {answer:?}");
    }
    let places = [
        ("introspection_endpoint", json!({"introspection_endpoint": "http://10.0.0.1/i"})),
        ("par.endpoint", json!({"par": {"enabled": true, "endpoint": "http://10.0.0.1/p"}})),
        ("proxy", json!({"proxy_opts": {"http_proxy": "http://169.254.169.254:80"}})),
        ("proxy", json!({"proxy_opts": {"https_proxy": format!("http://127.0.0.1:{}", gate.port(9180))}})),
    ];
    for (field, further) in places {
        let plugins = json!({"openid-connect": conf(&provider, further)});
        let body = json!({"uri": "/r34", "plugins": plugins, "upstream": {"nodes": {upstream.node(): 1}}});
        let answer = gate.admin().put("routes/r34", &body).await;
        assert!(answer.status == 400 && answer.text().contains(field), "{field}: {answer:?}");
    }
    let redirect = Answer::with(302, &[("Location", &own_admin)], "");
    provider.lie(DISCOVERY, move |_| redirect.clone());
    let site = guarded(shared(), &provider, tokens_only()).await;
    assert_eq!(
        site.with_token(&provider.access_token(&json!({}))).await.status,
        503,
        "no redirect is followed"
    );
}
