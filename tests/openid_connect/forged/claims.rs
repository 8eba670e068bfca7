//! Tokens that are signed by the right key and say what no access token may say.

use serde_json::json;

use super::{CLIENT, Door, EC, tokens};

#[tokio::test]
async fn j27_j28_j29_j30_j34_every_claim_has_its_type_and_its_limits() {
    let mut door = Door::open(json!({})).await;
    let now = tokens::now();
    for exp in [
        json!(now - 1),
        json!(now),
        json!(now.to_string()),
        json!(-1),
        json!(null),
        json!(true),
        json!([now + 60]),
    ] {
        door.refuses(format!("exp {exp}"), &door.with(json!({ "exp": exp }))).await;
    }
    let payload = String::from_utf8(door.payload()).unwrap();
    for exp in ["1e300", "1e308", "99999999999999999999"] {
        let text = payload.replace(&format!("\"exp\":{}", now + 600), &format!("\"exp\":{exp}"));
        door.refuses(format!("exp {exp}"), &door.raw(&text)).await;
    }
    door.refuses("no exp", &door.without("exp")).await;
    for name in ["nbf", "iat"] {
        for moment in [json!(now + 300), json!(now.to_string()), json!([])] {
            door.refuses(format!("{name} {moment}"), &door.with(json!({ name: moment }))).await;
        }
    }
    let issuer = door.provider.issuer();
    let bare = issuer.trim_end_matches('/').to_owned();
    for iss in [
        json!(bare),
        json!(issuer.to_uppercase()),
        json!(issuer.replace("http:", "https:")),
        json!(issuer.replace("localhost", "localhost.evil.example")),
        json!(format!("{issuer}x")),
        json!(format!("x{issuer}")),
        json!(&issuer[7..]),
        json!([issuer]),
        json!(issuer.replace('o', "\u{43e}")),
        json!(""),
        json!(null),
        json!(1),
    ] {
        door.refuses(format!("iss {iss}"), &door.with(json!({ "iss": iss }))).await;
    }
    door.refuses("no iss", &door.without("iss")).await;
    for sub in [json!(""), json!(1), json!(null), json!(["alice"]), json!("x".repeat(1 << 16))] {
        door.refuses("sub", &door.with(json!({ "sub": sub }))).await;
    }
    door.refuses("no sub", &door.without("sub")).await;
    for aud in
        [json!(1), json!({"a": door.provider.audience()}), json!([[door.provider.audience()]]), json!(null)]
    {
        door.refuses(format!("aud {aud}"), &door.with(json!({ "aud": aud }))).await;
    }
    door.takes("a fraction of a second", &door.with(json!({"exp": now as f64 + 600.5}))).await;
    door.close(1).await;
}

#[tokio::test]
async fn j30_an_audience_that_is_expected_is_one_of_the_tokens_whole_ones() {
    let audience = "https://api.example/";
    let mut door =
        Door::open(json!({"claim_validator": {"audience": {"values": [audience, "api://second"]}}})).await;
    for aud in [json!(audience), json!(["x", "api://second"])] {
        door.takes(format!("aud {aud}"), &door.with(json!({ "aud": aud }))).await;
    }
    for aud in [
        json!(""),
        json!([]),
        json!("https://api.example"),
        json!("https://api.example/x"),
        json!("api.example"),
        json!("https://other.example/"),
        json!(["https://API.example/"]),
    ] {
        let answer = door.site.with_token(&door.with(json!({ "aud": aud }))).await;
        assert_eq!(answer.status, 403, "{aud}: {answer:?}");
    }
    assert_eq!(door.site.with_token(&door.without("aud")).await.status, 403);
    door.close(2).await;
}

#[tokio::test]
async fn j31_j32_j33_no_other_kind_of_token_opens_an_api() {
    let mut door = Door::open(json!({})).await;
    let payload = door.payload();
    for mark in ["nonce", "at_hash", "c_hash"] {
        door.refuses(mark, &door.with(json!({"aud": CLIENT, mark: "x"}))).await;
        door.refuses(mark, &door.with(json!({"aud": [CLIENT], mark: "x"}))).await;
    }
    for typ in [
        "logout+jwt",
        "dpop+jwt",
        "secevent+jwt",
        "application/logout+jwt",
        "client-authentication+jwt",
        "at+jwtx",
        "token-introspection+jwt",
        "rt+jwt",
        "oauth-authz-req+jwt",
        "",
    ] {
        door.refuses(typ, &EC.sign(Some(typ), &payload).unwrap()).await;
    }
    for (what, claims) in [
        (
            "a logout token",
            json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}, "sid": "s"}),
        ),
        ("a DPoP proof", json!({"htm": "GET", "htu": "https://api.example/"})),
        ("Keycloak's ID token", json!({"typ": "ID"})),
        ("Keycloak's refresh token", json!({"typ": "Refresh"})),
        ("Keycloak's offline token", json!({"typ": "Offline"})),
    ] {
        door.refuses(what, &door.with(claims)).await;
    }
    let typs = [Some("at+jwt"), Some("AT+JWT"), Some("application/at+jwt"), Some("JWT"), None];
    for typ in typs {
        door.takes(format!("{typ:?}"), &EC.sign(typ, &payload).unwrap()).await;
    }
    door.close(typs.len()).await;
    let mut strict = Door::open(json!({"require_at_jwt": true})).await;
    for typ in [Some("JWT"), None, Some("at+jwtx")] {
        strict
            .refuses(format!("{typ:?} where at+jwt is asked for"), &EC.sign(typ, &strict.payload()).unwrap())
            .await;
    }
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt"] {
        strict.takes(typ, &EC.sign(Some(typ), &strict.payload()).unwrap()).await;
    }
    strict.close(3).await;
}
