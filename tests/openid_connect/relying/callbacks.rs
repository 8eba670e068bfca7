//! The way back from the provider: what it must say, and in which way.

use std::sync::{Arc, Mutex};

use jose::{Alg, SigningKey};
use serde_json::{Value, json};

use super::{CLIENT, SECRET, Visitor, expect_no_login, form, gives_session, login, query};
use crate::support::{Answer, Browser, Provider, Request, process::locked, shared, tokens};

#[tokio::test]
async fn r04_an_id_token_without_this_logins_nonce_makes_no_session() {
    let provider = Provider::start(CLIENT);
    let site = login::site(shared(), &provider, json!({})).await;
    let (sign, first) = (provider.signer(), Arc::new(Mutex::new(None)));
    let keep = Arc::clone(&first);
    provider.make_id_tokens(move |claims| locked(&keep).get_or_insert_with(|| sign(&claims)).clone());
    site.logged_in().await;
    expect_no_login(&site, "an ID token of an earlier login", 502).await;
    for nonce in [None, Some(json!("wrong")), Some(json!(1)), Some(json!(""))] {
        let (sign, what) = (provider.signer(), format!("{nonce:?}"));
        provider.make_id_tokens(move |mut claims| {
            match &nonce {
                Some(nonce) => claims["nonce"] = nonce.clone(),
                None => drop(claims.as_object_mut().unwrap().remove("nonce")),
            }
            sign(&claims)
        });
        expect_no_login(&site, &what, 502).await;
    }
    provider.make_good_id_tokens();
    site.logged_in().await;
    assert_eq!(site.reached(), 2);
}

#[tokio::test]
async fn r05_a_code_of_another_login_fails_on_pkce() {
    let provider = Provider::start(CLIENT);
    let site = login::site(shared(), &provider, json!({})).await;
    let (_attacker, stolen) = site.before_the_callback(&provider).await;
    let (victim, own) = site.before_the_callback(&provider).await;
    let (stolen, own) = (query(stolen.as_str()), query(own.as_str()));
    assert_ne!(stolen["code"], own["code"]);
    let target = format!("callback?code={}&state={}", stolen["code"], own["state"]);
    let answer = site.with_cookies(&target, &login::cookies(&victim)).await;
    assert!(answer.status == 400 && !gives_session(&answer), "{answer:?}");
    let [exchange] = provider.hits("/token").try_into().unwrap();
    assert_eq!(form(&exchange)["code"], stolen["code"]);
    assert_eq!(site.reached(), 0);
}

#[tokio::test]
async fn r06_every_login_has_a_challenge_nonce_and_state_of_its_own() {
    let provider = Provider::start(CLIENT);
    let site = login::site(shared(), &provider, json!({})).await;
    let mut visitor = Visitor::of(&site.gate).await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..1000 {
        let away = visitor.ask(&site.target("page"), "").await;
        let asked = query(away.header("location").unwrap_or_else(|| panic!("{away:?}")));
        assert_eq!((asked["code_challenge_method"].as_str(), asked["code_challenge"].len()), ("S256", 43));
        for name in ["code_challenge", "nonce", "state"] {
            assert!(seen.insert(asked[name].clone()), "{name} repeats");
        }
    }
    assert_eq!((provider.hits("/authorize").len(), site.reached()), (0, 0), "nobody followed");
}

#[tokio::test]
async fn r07_pkce_stays_when_the_provider_does_not_speak_of_it() {
    for methods in [Value::Null, json!(["plain"]), json!([])] {
        let provider = Provider::start(CLIENT);
        provider.publish(json!({"code_challenge_methods_supported": methods}));
        let site = login::site(shared(), &provider, json!({"use_pkce": false})).await;
        site.logged_in().await;
        let [asked] = provider.hits("/authorize").try_into().unwrap();
        assert!(asked.target.contains("code_challenge_method=S256"), "{methods}: {}", asked.target);
        let [exchange] = provider.hits("/token").try_into().unwrap();
        let verifier = &form(&exchange)["code_verifier"];
        assert!((43..=128).contains(&verifier.len()), "{methods}: {verifier}");
    }
}

#[tokio::test]
async fn r08_an_answer_of_another_provider_is_refused_before_the_exchange() {
    let provider = Provider::start(CLIENT);
    provider.publish(json!({"authorization_response_iss_parameter_supported": true}));
    let site = login::site(shared(), &provider, json!({})).await;
    let (browser, back) = site.before_the_callback(&provider).await;
    let (cookies, query) = (login::cookies(&browser), back.query().unwrap().to_owned());
    let issuer: String = form_urlencoded::byte_serialize(provider.issuer().as_bytes()).collect();
    for (what, more) in [
        ("missing", String::new()),
        ("empty", "&iss=".to_owned()),
        ("another's", "&iss=https%3A%2F%2Fevil.example%2F".to_owned()),
        ("without its slash", format!("&iss={}", issuer.trim_end_matches("%2F"))),
        ("doubled", format!("&iss={issuer}&iss={issuer}")),
        ("doubled with another's", format!("&iss={issuer}&iss=https%3A%2F%2Fevil.example%2F")),
        ("another client's", format!("&iss={issuer}&client_id=another")),
    ] {
        let answer = site.with_cookies(&format!("callback?{query}{more}"), &cookies).await;
        assert!(answer.status == 400 && !gives_session(&answer), "{what}: {answer:?}");
    }
    assert_eq!((provider.hits("/token").len(), site.reached()), (0, 0));
    let good = site.with_cookies(&format!("callback?{query}&iss={issuer}"), &cookies).await;
    assert!(good.status == 302 && gives_session(&good), "{good:?}");
}

#[tokio::test]
async fn r09_an_id_token_that_breaks_a_rule_makes_no_session() {
    let provider = Provider::start(CLIENT);
    let rsa = tokens::key(Alg::RS256, "rsa");
    let keys = {
        let mut keys = provider.published_keys();
        keys["keys"].as_array_mut().unwrap().push(rsa.public_jwk());
        keys
    };
    provider.lie("/jwks", move |_| Answer::json(&keys));
    let site = login::site(shared(), &provider, json!({})).await;
    let now = tokens::now();
    for (name, value) in [
        ("iss", json!("https://evil.example/")),
        ("iss", json!(provider.issuer().trim_end_matches('/'))),
        ("aud", json!("another")),
        ("aud", json!([CLIENT, "another"])),
        ("aud", json!([])),
        ("azp", json!("another")),
        ("at_hash", json!("AAAA")),
        ("c_hash", json!("AAAA")),
        ("exp", json!(now - 121)),
        ("exp", json!("soon")),
        ("iat", json!(now + 600)),
        ("nbf", json!(now + 600)),
        ("sub", Value::Null),
        ("sub", json!("")),
    ] {
        let (sign, what) = (provider.signer(), format!("{name}: {value}"));
        provider.make_id_tokens(move |mut claims| {
            claims[name] = value.clone();
            sign(&claims)
        });
        expect_no_login(&site, &what, 502).await;
    }
    for name in ["iss", "aud", "exp", "iat", "sub"] {
        let sign = provider.signer();
        provider.make_id_tokens(move |mut claims| {
            claims.as_object_mut().unwrap().remove(name);
            sign(&claims)
        });
        expect_no_login(&site, &format!("no {name}"), 502).await;
    }
    let mac = SigningKey::from_hmac_secret(Alg::HS256, "key-1".to_owned(), SECRET.as_bytes()).unwrap();
    let strangers = [
        ("an algorithm that is not listed", rsa),
        ("the client's secret", mac),
        ("another key of this id", tokens::key(Alg::ES256, "key-1")),
        ("a key that nobody knows", tokens::key(Alg::ES256, "unknown")),
    ];
    for (what, key) in strangers {
        provider.make_id_tokens(move |claims| tokens::mint(&key, &claims));
        expect_no_login(&site, what, 502).await;
    }
    let sign = provider.signer();
    provider.make_id_tokens(move |claims| {
        let good = sign(&claims);
        format!("eyJhbGciOiJub25lIn0.{}.", good.split('.').nth(1).unwrap())
    });
    expect_no_login(&site, "no signature", 502).await;
    provider.make_good_id_tokens();
    site.logged_in().await;
    assert_eq!(site.reached(), 1);
}

#[tokio::test]
async fn r12_the_answer_comes_back_in_the_one_way_that_was_asked_for() {
    let provider = Provider::start(CLIENT);
    let site = login::site(shared(), &provider, json!({})).await;
    let (browser, back) = site.before_the_callback(&provider).await;
    let (cookies, query) = (login::cookies(&browser), back.query().unwrap().to_owned());
    let host = format!("localhost:{}", site.gate.port(9080));
    let send = async |method: &str, target: &str, body: Option<&str>| {
        let request = Request::new(method, target).header("Host", &host).header("Cookie", &cookies);
        let request = match body {
            Some(body) => request.header("Content-Type", "application/x-www-form-urlencoded").body(body),
            None => request,
        };
        site.gate.send(request).await
    };
    let callback = site.target("callback");
    for (method, target, body) in [
        ("POST", callback.clone(), Some(query.as_str())),
        // CVE-2025-3891: an empty one.
        ("POST", callback.clone(), Some("")),
        ("POST", callback.clone(), None),
        ("POST", format!("{callback}?{query}"), Some("")),
        ("HEAD", format!("{callback}?{query}"), None),
        ("PUT", format!("{callback}?{query}"), None),
    ] {
        let answer = send(method, &target, body).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET")), "{method} {target}");
    }
    // A fragment stays in the browser: what arrives is the bare address.
    assert_eq!(send("GET", &callback, None).await.status, 400);
    assert_eq!((provider.hits("/token").len(), site.reached()), (0, 0));

    let posting = login::site(shared(), &provider, json!({"response_mode": "form_post"})).await;
    let mut browser = Browser::new();
    let away = browser.open_only(&posting.url("first")).await;
    let (away, cookies) = (away.location().unwrap(), login::cookies(&browser));
    assert!(away.query().unwrap().contains("response_mode=form_post"), "{away}");
    let back = Browser::new().open_only(away.as_str()).await.location().unwrap();
    let (query, callback) = (back.query().unwrap().to_owned(), posting.target("callback"));
    let send = async |method: &str, target: &str, kind: &str, body: &str| {
        let request = Request::new(method, target).header("Host", &host).header("Cookie", &cookies);
        let request = request.header("Origin", "https://idp.example").header("Content-Type", kind);
        posting.gate.send(if body.is_empty() { request } else { request.body(body) }).await
    };
    const FORM: &str = "application/x-www-form-urlencoded";
    for method in ["GET", "HEAD", "PUT"] {
        let answer = send(method, &format!("{callback}?{query}"), FORM, "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
    }
    for (what, target, kind, body) in [
        ("in the query", format!("{callback}?{query}"), FORM, "x=y"),
        ("as JSON", callback.clone(), "application/json", query.as_str()),
        ("garbled", callback.clone(), FORM, "code=%zz&state=%"),
        ("empty", callback.clone(), FORM, ""),
    ] {
        let answer = send("POST", &target, kind, body).await;
        assert!(matches!(answer.status, 400 | 411 | 415), "{what}: {answer:?}");
        assert!(!gives_session(&answer), "{what}: {answer:?}");
    }
    assert_eq!((provider.hits("/token").len(), posting.reached()), (0, 0));
    let good = send("POST", &callback, FORM, &query).await;
    assert!(good.status == 303 && gives_session(&good), "{good:?}");
    assert_eq!(provider.hits("/token").len(), 1);
}

#[tokio::test]
async fn r16_no_altered_letter_of_the_state_or_its_cookie_is_accepted() {
    let provider = Provider::start(CLIENT);
    let site = login::site(shared(), &provider, json!({})).await;
    let (browser, back) = site.before_the_callback(&provider).await;
    let (own, asked) = (login::cookies(&browser), query(back.as_str()));
    let (code, state) = (&asked["code"], &asked["state"]);
    let mut visitor = Visitor::of(&site.gate).await;
    let altered = |text: &str, at: usize| {
        let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
        format!("{}{other}{}", &text[..at], &text[at + 1..])
    };
    for at in 0..state.len() {
        let target = site.target(&format!("callback?code={code}&state={}", altered(state, at)));
        let answer = visitor.ask(&target, &own).await;
        assert!(answer.status == 400 && !gives_session(&answer), "state {at}: {answer:?}");
    }
    let (name, value) = own.split_once('=').unwrap();
    assert!(value.len() > 100 && name.contains(state.as_str()), "{own}");
    let target = site.target(&format!("callback?code={code}&state={state}"));
    for at in 0..value.len() {
        let answer = visitor.ask(&target, &format!("{name}={}", altered(value, at))).await;
        assert!(answer.status == 400 && !gives_session(&answer), "cookie {at}: {answer:?}");
    }
    assert_eq!((provider.hits("/token").len(), site.reached()), (0, 0));
    assert!(gives_session(&visitor.ask(&target, &own).await), "none of that has used the login up");
}

#[tokio::test]
async fn r39_a_provider_that_always_fails_is_tried_twice_and_no_more() {
    let provider = Provider::start(CLIENT);
    let site = login::site(shared(), &provider, json!({})).await;
    for (error, status, tries) in [
        ("temporarily_unavailable", 502, 2),
        ("server_error", 502, 1),
        ("invalid_scope", 502, 1),
        ("access_denied", 403, 1),
        ("login_required", 403, 1),
    ] {
        provider.lie("/authorize", move |seen| {
            let asked = query(&format!("http://idp{}", seen.target));
            let back = format!("{}?error={error}&state={}", asked["redirect_uri"], asked["state"]);
            Answer::with(302, &[("Location", &back)], "")
        });
        let before = provider.hits("/authorize").len();
        let mut browser = Browser::new();
        let page = browser.open(&site.url("first")).await;
        assert!(page.status() == status && page.has_id("error"), "{error}: {page:?}");
        assert_eq!(provider.hits("/authorize").len() - before, tries, "{error}");
        assert!(browser.cookie_names().is_empty(), "{error}: the login is forgotten");
    }
    assert_eq!((provider.hits("/token").len(), site.reached()), (0, 0));
}
