//! Registrations with a software statement (RFC 7591 sections 2.3 and 3.1.1).

use axum::http::{Method, StatusCode};
use jose::{Alg, SigningKey};
use serde_json::{Value, json};

use super::world::{Agent, Answer, Payload, World};

const ISSUER: &str = "https://directory.example";
const CALLBACK: &str = "https://client.example/cb";

/// A tenant that trusts `ISSUER`, whose key this is.
async fn trusting(required: bool) -> (World, SigningKey) {
    let world = World::new().await;
    let key = SigningKey::generate(Alg::ES256, "d1".to_owned()).unwrap();
    let issuer = json!({ "issuer": ISSUER, "jwks": { "keys": [key.public_jwk()] } });
    world
        .set_tenant(json!({
            "flags": { "enable_dynamic_client_registration": true },
            "software_statements": { "issuers": [issuer], "required": required },
        }))
        .await;
    (world, key)
}

fn claims(world: &World, change: &Value) -> Value {
    let now = world.clock.now().secs();
    let mut claims = json!({
        "iss": ISSUER, "iat": now, "exp": now + 300, "jti": "1", "software_id": "bank-app",
        "software_version": "2.1", "client_name": "The vouched name", "redirect_uris": [CALLBACK],
    });
    claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    claims
}

fn statement(key: &SigningKey, claims: &Value) -> String {
    key.sign(Some("JWT"), claims.to_string().as_bytes()).unwrap()
}

async fn register(world: &World, metadata: &Value) -> Answer {
    world.agent().send(Method::POST, "/oidc/register", Some(Payload::Json(metadata))).await
}

#[track_caller]
fn is_refused(answer: &Answer, error: &str, why: &str) {
    let shown = (answer.status, answer.json()["error"].as_str().unwrap_or_default().to_owned());
    assert_eq!(shown, (StatusCode::BAD_REQUEST, error.to_owned()), "{why}: {}", answer.body);
}

#[tokio::test]
async fn what_a_statement_says_counts_whatever_the_client_says() {
    let (world, key) = trusting(false).await;
    let statement =
        statement(&key, &claims(&world, &json!({ "client_id": "mine", "client_secret": "mine" })));
    let metadata = json!({
        "software_statement": statement, "client_name": "Another name", "redirect_uris": ["https://evil.example/cb"],
        "token_endpoint_auth_method": "client_secret_post",
    });
    let answer = register(&world, &metadata).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    let made = answer.json();
    assert_eq!(
        (&made["client_name"], &made["redirect_uris"], &made["token_endpoint_auth_method"]),
        (&json!("The vouched name"), &json!([CALLBACK]), &json!("client_secret_post"))
    );
    assert_eq!((&made["software_id"], &made["software_version"]), (&json!("bank-app"), &json!("2.1")));
    // Section 3.2.1: unmodified.
    assert_eq!(made["software_statement"], json!(statement));
    assert!(made["client_id"] != "mine" && made["client_secret"] != "mine", "{made}");
    let mut manager: Agent<'_> = world.agent();
    let token = made["registration_access_token"].as_str().unwrap();
    manager.extra.push(("authorization", format!("Bearer {token}")));
    let place = made["registration_client_uri"].as_str().unwrap();
    let place = place.strip_prefix("http://localhost:9400").unwrap();
    assert_eq!(manager.get(place).await.json()["software_statement"], json!(statement));
    // A client cannot talk itself out of what was said of it by sending the statement again.
    let mut change = metadata.clone();
    change["client_id"] = made["client_id"].clone();
    let changed = manager.send(Method::PUT, place, Some(Payload::Json(&change))).await;
    assert_eq!(changed.json()["redirect_uris"], json!([CALLBACK]), "{}", changed.body);
}

#[tokio::test]
async fn o14_a_statement_that_is_forged_stale_or_somebody_elses_is_refused() {
    let (world, key) = trusting(false).await;
    let now = world.clock.now().secs();
    let send = async |statement: &str| {
        register(&world, &json!({ "software_statement": statement, "redirect_uris": [CALLBACK] })).await
    };
    for change in [
        json!({ "exp": now }),
        json!({ "exp": "soon" }),
        json!({ "nbf": now + 120 }),
        json!({ "iat": now + 120 }),
        json!({ "aud": "https://elsewhere.example/" }),
        json!({ "aud": [] }),
    ] {
        let answer = send(&statement(&key, &claims(&world, &change))).await;
        is_refused(&answer, "invalid_software_statement", &change.to_string());
    }
    for change in [json!({ "iss": "https://stranger.example" }), json!({ "iss": null }), json!({ "iss": 7 })]
    {
        let answer = send(&statement(&key, &claims(&world, &change))).await;
        is_refused(&answer, "unapproved_software_statement", &change.to_string());
    }
    let good = claims(&world, &json!({ "aud": ["http://localhost:9400/oidc/register"] }));
    let stranger = SigningKey::generate(Alg::ES256, "d1".to_owned()).unwrap();
    let secret = SigningKey::from_hmac_secret(Alg::HS256, "d1".to_owned(), &[7; 32]).unwrap();
    let typed = key.sign(Some("at+jwt"), good.to_string().as_bytes()).unwrap();
    let signed = statement(&key, &good);
    let (head, _) = signed.rsplit_once('.').unwrap();
    for (text, why) in [
        (statement(&stranger, &good), "another key"),
        (statement(&secret, &good), "HS256"),
        (typed, "typ"),
        (format!("{head}."), "no signature"),
        (format!("{head}.AAAA"), "bad signature"),
        ("nonsense".to_owned(), "no JWT"),
        (key.sign(None, b"[]").unwrap(), "no object"),
    ] {
        is_refused(&send(&text).await, "invalid_software_statement", why);
    }
    is_refused(
        &register(&world, &json!({ "software_statement": 7, "redirect_uris": [CALLBACK] })).await,
        "invalid_software_statement",
        "a number",
    );
    // What it vouches for is judged like everything else.
    let bad = claims(&world, &json!({ "redirect_uris": ["http://client.example/cb"] }));
    is_refused(&send(&statement(&key, &bad)).await, "invalid_redirect_uri", "http");
    assert_eq!(send(&signed).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_tenant_trusts_nobody_by_itself_and_may_want_a_statement_from_all() {
    let world = World::new().await;
    world.set_tenant(json!({ "flags": { "enable_dynamic_client_registration": true } })).await;
    let key = SigningKey::generate(Alg::ES256, "d1".to_owned()).unwrap();
    let text = statement(&key, &claims(&world, &json!({})));
    let answer = register(&world, &json!({ "software_statement": text, "redirect_uris": [CALLBACK] })).await;
    is_refused(&answer, "unapproved_software_statement", "nobody is trusted");
    let (world, key) = trusting(true).await;
    let bare = register(&world, &json!({ "redirect_uris": [CALLBACK] })).await;
    is_refused(&bare, "invalid_software_statement", "required");
    let text = statement(&key, &claims(&world, &json!({})));
    assert_eq!(register(&world, &json!({ "software_statement": text })).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn keys_of_an_issuer_may_lie_at_an_address_and_settings_that_make_no_sense_are_refused() {
    const KEYS: &str = "https://directory.example/jwks.json";
    let (world, key) = trusting(false).await;
    let at = json!({ "issuers": [{ "issuer": ISSUER, "jwks_uri": KEYS }] });
    world.set_tenant(json!({ "software_statements": at })).await;
    let text = statement(&key, &claims(&world, &json!({})));
    let metadata = json!({ "software_statement": text });
    is_refused(&register(&world, &metadata).await, "invalid_software_statement", "no keys");
    world.network.publish(KEYS, &json!({ "keys": [key.public_jwk()] }).to_string());
    world.clock.advance(std::time::Duration::from_secs(15));
    assert_eq!(register(&world, &metadata).await.status, StatusCode::CREATED);
    let token = world.management_token("").await;
    for issuer in [
        json!({ "issuer": ISSUER }),
        json!({ "issuer": "", "jwks_uri": KEYS }),
        json!({ "issuer": ISSUER, "jwks_uri": KEYS, "jwks": { "keys": [key.public_jwk()] } }),
        json!({ "issuer": ISSUER, "jwks": { "keys": [] } }),
        json!({ "issuer": ISSUER, "jwks": "x" }),
        json!({ "issuer": ISSUER, "jwks_uri": "ftp://directory.example/" }),
        json!({ "issuer": ISSUER, "jwks_uri": KEYS, "evil": 1 }),
    ] {
        let change = json!({ "software_statements": { "issuers": [issuer] } });
        let refused = world.call(&token, "PATCH", "tenants/settings", Some(change)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{issuer}: {}", refused.body);
        let named = ["software_statements", "evil"].iter().any(|name| refused.body.contains(name));
        assert!(named, "{}", refused.body);
    }
}
