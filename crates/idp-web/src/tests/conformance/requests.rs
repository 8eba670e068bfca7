//! Request objects of the plans oidcc-basic and oidcc-dynamic.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jose::{Alg, SigningKey};
use serde_json::{Value, json};

use super::{CALLBACK, Party, Suite, is_refusal, through};

const PLACE: &str = "https://suite.example/test/a/p/requestobject/r4nd0m";

fn unsigned(claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.", encode(&json!({ "alg": "none" })), encode(claims))
}

/// The request as claims, and the query that stands beside it.
fn object(client: &Party<'_>, redirect_uri: &str) -> (Value, Vec<(&'static str, String)>) {
    let id = client.text("client_id").to_owned();
    let claims = json!({
        "client_id": id, "redirect_uri": redirect_uri, "scope": "openid", "state": "a-state-of-10",
        "nonce": "a-nonce-of-10", "response_type": "code", "iss": id, "aud": super::ISSUER,
    });
    let outer = vec![("client_id", id), ("response_type", "code".to_owned()), ("scope", "openid".to_owned())];
    (claims, outer)
}

async fn send(client: &Party<'_>, outer: &[(&'static str, String)]) -> super::Callback {
    let query = crate::fields::to_query(outer.iter().map(|(name, value)| (*name, value.as_str())));
    let mut agent = client.world.agent();
    let page = agent.open(&format!("/authorize?{query}")).await;
    through(&mut agent, page).await
}

#[tokio::test]
async fn oidcc_unsigned_request_object_supported_correctly_or_rejected_as_unsupported() {
    let suite = Suite::new().await;
    let discovery = suite.world.agent().get("/.well-known/openid-configuration").await.json();
    let algs = discovery["request_object_signing_alg_values_supported"].as_array().unwrap();
    assert!(algs.contains(&json!("none")) && algs.contains(&json!("RS256")));
    let client = suite.client_of("code").await;
    let (claims, mut outer) = object(&client, CALLBACK);
    outer.push(("request", unsigned(&claims)));
    let back = send(&client, &outer).await;
    client.check(&back, "code").await;
    // oidcc-ensure-request-object-with-redirect-uri: what is outside does not count.
    outer.push(("redirect_uri", "https://suite.example/elsewhere".to_owned()));
    outer.push(("state", "another".to_owned()));
    let back = send(&client, &outer).await;
    client.check(&back, "code").await;
}

#[tokio::test]
async fn oidcc_request_uri_unsigned_and_signed_rs256() {
    let suite = Suite::new().await;
    let key = SigningKey::generate(Alg::RS256, "suite".to_owned()).unwrap();
    for alg in ["none", "RS256"] {
        let client = suite
            .register(json!({
                "request_uris": [PLACE], "request_object_signing_alg": alg,
                "jwks": { "keys": [key.public_jwk()] },
            }))
            .await;
        let (claims, mut outer) = object(&client, CALLBACK);
        let signed = key.sign(None, claims.to_string().as_bytes()).unwrap();
        suite.world.network.publish(PLACE, &if alg == "none" { unsigned(&claims) } else { signed });
        outer.push(("request_uri", PLACE.to_owned()));
        client.check(&send(&client, &outer).await, "code").await;
        // With a hash of the content as fragment, as OpenID Connect Core 6.2 recommends.
        outer.last_mut().unwrap().1 = format!("{PLACE}#GkurKxf5T0Y-mnPFCHqWOMiZi4VS138cQO_V7PZHAdM");
        client.check(&send(&client, &outer).await, "code").await;
        suite.world.network.publish(PLACE, "nonsense");
        outer.push(("redirect_uri", CALLBACK.to_owned()));
        is_refusal(&send(&client, &outer).await, &["invalid_request_object", "invalid_request_uri"]);
        client.unregister().await;
    }
}
