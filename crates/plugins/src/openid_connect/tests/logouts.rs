//! Logouts that the provider tells of: by a token, and in a frame.

use serde_json::json;

use super::*;

const BACK: &str = "https://app.example/backchannel";
const FRONT: &str = "https://app.example/frontchannel";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

fn paths(config: &mut Config) {
    let login = config.login.as_mut().unwrap();
    login.logout.backchannel_path = Some("/backchannel".to_owned());
    login.logout.frontchannel_path = Some("/frontchannel".to_owned());
}

/// A browser that logged in within the provider's session `sid`.
async fn logged_in(gate: &Gate, subject: &'static str, sid: &'static str) -> Jar {
    gate.idp.script(|script| {
        script.id_token = Some(Box::new(move |claims| {
            claims["sub"] = json!(subject);
            claims["sid"] = json!(sid);
        }));
    });
    gate.idp.answer("/userinfo", 200, json!({ "sub": subject }));
    Jar::log_in(gate, PAGE).await
}

fn claims(gate: &Gate, further: &Value) -> Value {
    let now = gate.clock.now().secs();
    let mut claims = json!({
        "iss": gate.idp.issuer(), "aud": CLIENT, "iat": now, "exp": now + 120, "jti": idp::random().hex(8),
        "events": {EVENT: {}},
    });
    claims.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

async fn tell(gate: &Gate, token: &str) -> Got {
    gate.send(get(BACK).form(&format!("logout_token={token}"))).await.0
}

async fn is_alive(gate: &Gate, jar: &Jar) -> bool {
    jar.clone().go(gate, PAGE).await.passed()
}

#[tokio::test]
async fn r20_a_logout_token_ends_exactly_the_sessions_it_names_durably() {
    let gate = Gate::with(paths).await;
    let (one, two) = (logged_in(&gate, "user", "s1").await, logged_in(&gate, "user", "s2").await);
    let other = logged_in(&gate, "somebody", "s3").await;
    let elsewhere = gate.sibling(|config| config.client_id = CLIENT.to_owned());
    let token = gate.idp.sign("logout+jwt", &claims(&gate, &json!({"sid": "s1", "sub": "user"})));
    let got = tell(&gate, &token).await;
    assert!(got.is(200) && got.body.is_empty(), "{got:?}");
    assert!(got.header("cache-control").contains("no-store"));
    assert_eq!(gate.store.lines.lock().unwrap().len(), 1, "it was recorded before the answer");
    assert!(!is_alive(&gate, &one).await && is_alive(&gate, &two).await && is_alive(&gate, &other).await);
    assert!(!is_alive(&elsewhere, &one).await, "on every route of the client");
    let again = tell(&gate, &token).await;
    assert!(again.is(400) && again.body.contains("invalid_request"), "a replay: {again:?}");
    let token = gate.idp.sign("logout+jwt", &claims(&gate, &json!({"sub": "user"})));
    assert!(tell(&gate, &token).await.is(200));
    assert!(!is_alive(&gate, &two).await && is_alive(&gate, &other).await);
    gate.pass(1);
    assert!(is_alive(&gate, &logged_in(&gate, "user", "s4").await).await, "a later login is another matter");
}

#[tokio::test]
async fn r20_a_wrong_logout_token_ends_nothing() {
    let gate = Gate::with(paths).await;
    let session = logged_in(&gate, "user", "s1").await;
    let good = json!({"sid": "s1", "sub": "user"});
    let now = gate.clock.now().secs();
    for (what, change) in [
        ("no events", json!({"events": null})),
        ("another event", json!({"events": {"http://schemas.openid.net/event/other": {}}})),
        ("with nonce", json!({"nonce": "n"})),
        ("no iat", json!({"iat": null})),
        ("iat to come", json!({"iat": now + 600})),
        ("no jti", json!({"jti": null})),
        ("wrong aud", json!({"aud": "other"})),
        ("wrong iss", json!({"iss": "https://evil.example/"})),
        ("expired", json!({"exp": now - 121})),
        ("no exp", json!({"exp": null})),
        ("neither sub nor sid", json!({"sub": null, "sid": null})),
        ("sid is no text", json!({"sid": 1})),
    ] {
        let mut claims = claims(&gate, &good);
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let got = tell(&gate, &gate.idp.sign("logout+jwt", &claims)).await;
        assert!(got.is(400), "{what}: {got:?}");
        let body: Value = serde_json::from_str(&got.body).unwrap();
        assert_eq!(body["error"], "invalid_request", "{what}");
        assert!(got.header("cache-control").contains("no-store"), "{what}");
    }
    let all = claims(&gate, &good);
    let unsigned = format!("{}.{}.", b64(r#"{"alg":"none","typ":"logout+jwt"}"#), b64(&all.to_string()));
    let forged = idp::key("1").sign(Some("logout+jwt"), all.to_string().as_bytes()).unwrap();
    let id_token = {
        let mut claims = all.clone();
        claims.as_object_mut().unwrap().remove("events");
        claims["nonce"] = json!("n");
        gate.idp.sign("JWT", &claims)
    };
    let mac =
        jose::SigningKey::from_hmac_secret(jose::Alg::HS256, "1".to_owned(), SECRET.as_bytes()).unwrap();
    let mac = mac.sign(Some("logout+jwt"), all.to_string().as_bytes()).unwrap();
    let typed = gate.idp.sign("at+jwt", &all);
    for (what, token) in [
        ("unsigned", unsigned),
        ("forged", forged),
        ("an ID token", id_token),
        ("by the client's secret", mac),
        ("of another type", typed),
        ("nonsense", "x.y.z".to_owned()),
        ("empty", String::new()),
    ] {
        let got = tell(&gate, &token).await;
        assert!(got.is(400), "{what}: {got:?}");
    }
    let token = gate.idp.sign("logout+jwt", &all);
    let twice = get(BACK).form(&format!("logout_token={token}&logout_token={token}"));
    assert!(gate.send(twice).await.0.is(400));
    let json = get(BACK).method(Method::POST).with("content-type", "application/json");
    assert!(gate.send(json).await.0.is(400), "a form is wanted");
    let by_get = gate.send(get(&format!("{BACK}?logout_token={token}"))).await.0;
    assert!(by_get.is(405) && by_get.header("allow") == "POST");
    assert!(is_alive(&gate, &session).await);
    assert!(gate.store.lines.lock().unwrap().is_empty());
    assert!(tell(&gate, &token).await.is(200), "none of that has used it up");
    assert!(!is_alive(&gate, &session).await);
}

#[tokio::test]
async fn r20_a_logout_that_cannot_be_recorded_is_an_error_and_can_be_repeated() {
    let gate = Gate::with(paths).await;
    let session = logged_in(&gate, "user", "s1").await;
    let token = gate.idp.sign("logout+jwt", &claims(&gate, &json!({"sid": "s1"})));
    gate.store.broken.store(true, Ordering::Relaxed);
    let got = tell(&gate, &token).await;
    assert!(got.is(503) && got.body.contains("temporarily_unavailable"), "{got:?}");
    gate.store.broken.store(false, Ordering::Relaxed);
    assert!(tell(&gate, &token).await.is(200));
    assert!(!is_alive(&gate, &session).await);
    assert_eq!(gate.store.lines.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn r21_a_frame_ends_the_session_whose_issuer_and_sid_it_names_and_no_other() {
    let gate = Gate::with(paths).await;
    let mut session = logged_in(&gate, "user", "s1").await;
    let issuer = gate.idp.issuer();
    let frame = |iss: &str, sid: &str| {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("iss", iss)
            .append_pair("sid", sid)
            .finish();
        get(&format!("{FRONT}?{query}")).with("sec-fetch-site", "cross-site").with("sec-fetch-dest", "iframe")
    };
    for (iss, sid) in
        [(issuer.as_str(), "s2"), ("https://evil.example/", "s1"), ("https://evil.example/", "s2")]
    {
        let got = session.send(&gate, frame(iss, sid)).await;
        assert!(got.is(200) && got.set_cookies().is_empty(), "{iss} {sid}: {got:?}");
    }
    for query in ["", "?sid=s1", "?iss=x", "?sid=s1&sid=s2&iss=x"] {
        assert!(session.send(&gate, get(&format!("{FRONT}{query}"))).await.is(400), "{query}");
    }
    assert!(session.send(&gate, frame(&issuer, "s1").method(Method::POST)).await.is(405));
    assert!(is_alive(&gate, &session).await && gate.store.lines.lock().unwrap().is_empty());
    let old = session.clone();
    let got = session.send(&gate, frame(&issuer, "s1")).await;
    assert!(got.is(200) && session.0.is_empty(), "{got:?}");
    assert!(got.header("content-security-policy").contains(&format!("frame-ancestors {}", gate.idp.0.url)));
    assert!(got.header("cache-control").contains("no-store"));
    assert!(!is_alive(&gate, &old).await);
    assert!(gate.idp.hits("/revoke").is_empty(), "the provider has ended its own session");
}

fn b64(text: &str) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}
