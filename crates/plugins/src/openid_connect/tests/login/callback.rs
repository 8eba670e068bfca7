//! What is asked of the answer that a provider sends a browser back with.

use jose::{Alg, SigningKey};
use serde_json::json;

use super::*;

#[tokio::test]
async fn r01_a_callback_that_this_browser_did_not_begin_is_refused() {
    let gate = Gate::new().await;
    let mut jar = Jar::default();
    let callback = begin(&gate, &mut jar).await;
    let state = query(&callback)["state"].clone();
    let tries = [
        (Jar::default(), callback.clone()),
        (jar.clone(), callback.replace(&state, "")),
        (jar.clone(), callback.replace(&state, &"0".repeat(32))),
        (jar.clone(), format!("{callback}&state={state}")),
        (jar.clone(), "https://app.example/callback".to_owned()),
        (jar.clone(), "https://app.example/callback?code=x".to_owned()),
        (jar.clone(), format!("https://app.example/callback?state={state}")),
        (jar.clone(), format!("{callback}&x=%zz")),
    ];
    for (mut jar, url) in tries {
        let got = jar.go(&gate, &url).await;
        assert!(got.is(400) && !has_session(&jar), "{url}: {got:?}");
    }
    assert_eq!(exchanges(&gate), 0);
}

#[tokio::test]
async fn r02_one_state_buys_one_exchange_also_with_fifty_at_once() {
    let gate = Gate::new().await;
    let mut jar = Jar::default();
    let callback = begin(&gate, &mut jar).await;
    let line = jar.line();
    let sent = (0..50).map(|_| gate.send(get(&callback).with("cookie", &line)));
    let got = futures_util::future::join_all(sent).await;
    assert_eq!(got.iter().filter(|(got, _)| got.is(302)).count(), 1);
    assert_eq!(got.iter().filter(|(got, _)| got.is(400)).count(), 49);
    assert_eq!(exchanges(&gate), 1);
    assert!(gate.send(get(&callback).with("cookie", &line)).await.0.is(400));
    assert_eq!(exchanges(&gate), 1);
}

#[tokio::test]
async fn r03_a_state_of_another_browser_or_route_is_refused() {
    let gate = Gate::new().await;
    let (mut mine, mut theirs) = (Jar::default(), Jar::default());
    let (my_callback, their_callback) = (begin(&gate, &mut mine).await, begin(&gate, &mut theirs).await);
    assert!(mine.go(&gate, &their_callback).await.is(400));
    let other_client = gate.sibling(|config| config.client_id = "another".to_owned());
    assert!(mine.go(&other_client, &my_callback).await.is(400));
    let other_callback = gate.sibling(|config| login(config).redirect_uri = Some("/elsewhere".to_owned()));
    assert!(mine.go(&other_callback, &my_callback.replace("/callback", "/elsewhere")).await.is(400));
    assert_eq!(exchanges(&gate), 0);
}

#[tokio::test]
async fn r04_an_id_token_without_this_logins_nonce_makes_no_session() {
    let gate = Gate::new().await;
    for nonce in [Value::Null, json!("wrong"), json!(1)] {
        let claim = nonce.clone();
        gate.idp
            .script(|script| script.id_token = Some(Box::new(move |claims| claims["nonce"] = claim.clone())));
        let mut jar = Jar::default();
        let callback = begin(&gate, &mut jar).await;
        let got = jar.go(&gate, &callback).await;
        assert!(got.is(502) && !has_session(&jar), "{nonce}: {got:?}");
    }
}

#[tokio::test]
async fn r05_a_code_of_another_login_fails_on_pkce() {
    let gate = Gate::new().await;
    let (mut attacker, mut victim) = (Jar::default(), Jar::default());
    let stolen = query(&begin(&gate, &mut attacker).await)["code"].clone();
    let callback = begin(&gate, &mut victim).await;
    let code = query(&callback)["code"].clone();
    let got = victim.go(&gate, &callback.replace(&code, &stolen)).await;
    assert!(got.is(400) && !has_session(&victim), "{got:?}");
    assert_eq!(exchanges(&gate), 1);
}

#[tokio::test]
async fn r08_an_answer_of_another_provider_is_refused_before_the_exchange() {
    let gate = Gate::cold(|_| ()).await;
    gate.idp.script(|script| {
        script.metadata = Some(Box::new(|metadata| {
            metadata["authorization_response_iss_parameter_supported"] = json!(true);
        }));
    });
    let mut jar = Jar::default();
    let callback = begin(&gate, &mut jar).await;
    let issuer = gate.idp.issuer();
    for bad in ["", "&iss=https%3A%2F%2Fother.example%2F", &format!("&iss={issuer}&iss={issuer}"), "&iss="] {
        assert!(jar.clone().go(&gate, &format!("{callback}{bad}")).await.is(400), "{bad}");
    }
    assert!(jar.clone().go(&gate, &format!("{callback}&iss={issuer}&client_id=other")).await.is(400));
    assert_eq!(exchanges(&gate), 0);
    let good = jar.go(&gate, &format!("{callback}&iss={issuer}&client_id={CLIENT}")).await;
    assert!(good.is(302), "{good:?}");
}

#[tokio::test]
async fn r09_an_id_token_that_breaks_a_rule_makes_no_session() {
    let gate = Gate::new().await;
    let broken = [
        ("iss", json!("https://other.example/")),
        ("aud", json!("other")),
        ("aud", json!([CLIENT, "other"])),
        ("azp", json!("other")),
        ("at_hash", json!("AAAA")),
        ("c_hash", json!("AAAA")),
        ("exp", json!(1)),
        ("iat", json!(4_000_000_000_i64)),
        ("sub", Value::Null),
    ];
    for (name, value) in broken {
        let claim = value.clone();
        gate.idp
            .script(|script| script.id_token = Some(Box::new(move |claims| claims[name] = claim.clone())));
        let mut jar = Jar::default();
        let callback = begin(&gate, &mut jar).await;
        let got = jar.go(&gate, &callback).await;
        assert!(got.is(502) && !has_session(&jar), "{name}: {value}: {got:?}");
    }
}

#[tokio::test]
async fn r09_a_login_older_than_the_max_age_that_was_asked_for_makes_no_session() {
    let gate = Gate::with(|config| {
        login(config).authorization_params = vec![("max_age".to_owned(), "60".to_owned())];
    })
    .await;
    for (age, logged_in) in [(Some(0), true), (Some(180), true), (Some(181), false), (None, false)] {
        let auth_time = age.map(|age| gate.clock.now().secs() - age);
        gate.idp.script(|script| {
            script.id_token = Some(Box::new(move |claims| claims["auth_time"] = json!(auth_time)));
        });
        let mut jar = Jar::default();
        let callback = begin(&gate, &mut jar).await;
        let got = jar.go(&gate, &callback).await;
        assert_eq!((got.is(302), has_session(&jar)), (logged_in, logged_in), "{age:?}: {got:?}");
    }
}

#[tokio::test]
async fn r09_an_id_token_signed_otherwise_than_published_makes_no_session() {
    let gate = Gate::cold(|_| ()).await;
    gate.idp.script(|script| {
        script.metadata = Some(Box::new(|metadata| {
            metadata["id_token_signing_alg_values_supported"] = json!(["ES256"]);
        }));
    });
    let rsa = SigningKey::generate(Alg::RS256, "rsa".to_owned()).unwrap();
    let hmac = SigningKey::from_hmac_secret(Alg::HS256, "1".to_owned(), SECRET.as_bytes()).unwrap();
    gate.idp.script(|script| script.published.push(rsa.public_jwk()));
    for key in [rsa, hmac, idp::key("1"), idp::key("unknown")] {
        gate.idp.script(|script| script.key = Some(Arc::new(key)));
        let mut jar = Jar::default();
        let callback = begin(&gate, &mut jar).await;
        let got = jar.go(&gate, &callback).await;
        assert!(got.is(502) && !has_session(&jar), "{got:?}");
    }
    gate.idp.script(|script| {
        script.key = None;
        script.token_response = Some(Box::new(|response| {
            let token = response["id_token"].as_str().unwrap().to_owned();
            let payload = token.split('.').nth(1).unwrap().to_owned();
            response["id_token"] = json!(format!("eyJhbGciOiJub25lIn0.{payload}."));
        }));
    });
    let mut jar = Jar::default();
    let callback = begin(&gate, &mut jar).await;
    assert!(jar.go(&gate, &callback).await.is(502));
}

#[tokio::test]
async fn a_symmetric_id_token_is_taken_where_the_route_expects_it_and_nothing_else_is() {
    let gate = Gate::with(|config| {
        (config.alg, config.bearer) = (Some(Alg::HS256), None);
    })
    .await;
    let mut jar = Jar::default();
    let callback = begin(&gate, &mut jar).await;
    assert!(jar.go(&gate, &callback).await.is(502), "it is signed with ES256");
    let hmac = SigningKey::from_hmac_secret(Alg::HS256, "1".to_owned(), SECRET.as_bytes()).unwrap();
    gate.idp.script(|script| script.key = Some(Arc::new(hmac)));
    Jar::log_in(&gate, PAGE).await;
}

#[tokio::test]
async fn r10_userinfo_about_somebody_else_ends_the_login_and_junk_is_dropped() {
    let gate = Gate::new().await;
    gate.idp.answer("/userinfo", 200, json!({"sub": "somebody else"}));
    let mut jar = Jar::default();
    let callback = begin(&gate, &mut jar).await;
    assert!(jar.go(&gate, &callback).await.is(502));
    assert!(!has_session(&jar));
    for junk in [json!(["sub"]).to_string(), "x".repeat(2 << 20), "<html>".to_owned()] {
        gate.idp.answer("/userinfo", 200, junk);
        let got = Jar::log_in(&gate, PAGE).await.go(&gate, PAGE).await;
        assert_eq!(got.told("x-userinfo"), None);
        assert_eq!(got.told_json("x-id-token")["sub"], "user");
    }
}

#[tokio::test]
async fn r11_what_a_callback_says_is_escaped_and_splits_no_header() {
    let gate = Gate::new().await;
    for description in [
        "%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "a%0d%0aSet-Cookie:%20x=1",
        "%E2%80%AEtxt",
        "x".repeat(16_000).as_str(),
    ] {
        let mut jar = Jar::default();
        let state = query(&begin(&gate, &mut jar).await)["state"].clone();
        let url = format!(
            "https://app.example/callback?error=access_denied&error_description={description}&state={state}"
        );
        let got = jar.go(&gate, &url).await;
        assert!(got.is(403), "{got:?}");
        assert!(got.body.contains("access_denied"));
        assert!(!got.body.contains("<script") && !got.body.contains('\r') && !got.body.contains('\u{202e}'));
        assert!(got.body.len() < 2000 && !got.header("set-cookie").contains("x=1"));
    }
}

#[tokio::test]
async fn r12_only_a_get_brings_a_login_back() {
    let gate = Gate::new().await;
    let mut jar = Jar::default();
    let callback = begin(&gate, &mut jar).await;
    for method in [Method::POST, Method::HEAD, Method::PUT] {
        let got = jar.clone().send(&gate, get(&callback).method(method)).await;
        assert!(got.is(405) && got.header("allow") == "GET", "{got:?}");
    }
    assert!(jar.clone().go(&gate, "https://app.example/callback#code=x&state=y").await.is(400));
    assert_eq!(exchanges(&gate), 0);
}

#[tokio::test]
async fn r02_only_an_exchange_uses_a_state_up() {
    let gate = Gate::new().await;
    let mut jar = Jar::default();
    let callback = begin(&gate, &mut jar).await;
    let state = query(&callback)["state"].clone();
    for _ in 0..2 {
        let refused = format!("https://app.example/callback?error=access_denied&state={state}");
        assert!(jar.clone().go(&gate, &refused).await.is(403));
        let empty = format!("https://app.example/callback?state={state}");
        assert!(jar.clone().go(&gate, &empty).await.is(400));
    }
    assert!(jar.clone().go(&gate, &callback).await.is(302));
    assert!(jar.clone().go(&gate, &callback).await.is(400));
    assert_eq!(exchanges(&gate), 1);
}
