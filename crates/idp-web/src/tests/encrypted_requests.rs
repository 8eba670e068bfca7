//! Request objects and ID token hints that are encrypted for the provider (RFC 9101 section 6.1, OpenID Connect Core 6.1 and
//! 3.1.2.1).

use axum::http::StatusCode;
use base::Random;
use jose::{
    Alg, SigningKey,
    jwe::{DecryptionKey, Enc, EncryptionKey, KeyAlg},
};
use serde_json::{Value, json};

use super::{
    request_objects::{is_refused, object, send, signing, unsigned},
    world::World,
};

const RSA: [KeyAlg; 2] = [KeyAlg::RsaOaep, KeyAlg::RsaOaep256];
const EC: [KeyAlg; 3] = [KeyAlg::EcdhEs, KeyAlg::EcdhEsA128Kw, KeyAlg::EcdhEsA256Kw];

/// The published keys to encrypt for, the RSA one first.
async fn published(world: &World) -> Vec<Value> {
    let jwks = world.agent().get("/.well-known/jwks.json").await.json();
    let keys = jwks["keys"].as_array().unwrap().iter().filter(|key| key["use"] == "enc").cloned();
    let mut keys: Vec<Value> = keys.collect();
    keys.sort_by_key(|key| key["kty"] == "EC");
    keys
}

fn encrypted(key: &Value, alg: KeyAlg, text: &str) -> String {
    let key = EncryptionKey::from_public_jwk(key).unwrap();
    key.encrypt(&Random::system(), alg, Enc::A128CbcHs256, Some("JWT"), text.as_bytes()).unwrap()
}

#[tokio::test]
async fn what_can_be_encrypted_and_for_which_keys_is_published() {
    let world = World::new().await;
    let document = world.agent().get("/.well-known/openid-configuration").await.json();
    let algs = json!(["RSA-OAEP", "RSA-OAEP-256", "ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A256KW"]);
    assert_eq!(document["request_object_encryption_alg_values_supported"], algs);
    assert!(document["request_object_encryption_enc_values_supported"].as_array().unwrap().len() == 6);
    let jwks = world.agent().get("/.well-known/jwks.json").await.json();
    let keys = jwks["keys"].as_array().unwrap();
    let last = keys.len() - 2;
    for (place, key) in keys.iter().enumerate() {
        // Who takes the first key that there is, takes one that signs.
        assert_eq!(key["use"] == "enc", place >= last, "{key}");
        assert!(key.get("d").is_none() && key["kid"].is_string(), "{key}");
    }
    let kinds: Vec<&str> = keys[last..].iter().map(|key| key["kty"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["RSA", "EC"]);
    // They are none that an administrator sees among those that sign.
    let token = world.management_token("").await;
    let listed = world.call(&token, "GET", "keys/signing", None).await.json();
    assert!(listed.as_array().unwrap().iter().all(|key| key["alg"].as_str().unwrap().len() == 5));
}

#[tokio::test]
async fn an_encrypted_object_is_the_request_whichever_way_it_comes() {
    const PLACE: &str = "https://client.example/object.jwt";
    let (world, key) = signing(Alg::PS256, json!({ "request_uris": [PLACE] })).await;
    let signed = key.sign(None, object(&world, &json!({})).to_string().as_bytes()).unwrap();
    let keys = published(&world).await;
    for (key, alg) in RSA.map(|alg| (&keys[0], alg)).into_iter().chain(EC.map(|alg| (&keys[1], alg))) {
        let request = encrypted(key, alg, &signed);
        let mut agent = world.agent();
        let page = agent.open(&send_path(&world, &[("request", &request)])).await;
        let back = agent.log_in(&page).await;
        assert_eq!(back.param("state").as_deref(), Some("inner"), "{alg}: {back:?}");
        let tokens = world.redeem(&back.param("code").unwrap()).await;
        assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
    }
    let request = encrypted(&keys[1], KeyAlg::EcdhEs, &signed);
    world.network.publish(PLACE, &request);
    let page = world.agent().open(&send_path(&world, &[("request_uri", PLACE)])).await;
    assert!(page.has_id("login-title"), "{page:?}");
    let mut agent = world.agent();
    agent.extra.push(("authorization", world.basic()));
    let pushed = agent.post("/oauth/par", &[("request", &request)]).await;
    assert!(world.agent().open(&world.authorize_pushed(&pushed)).await.has_id("login-title"));
}

fn send_path(world: &World, request: &[(&str, &str)]) -> String {
    let own = [
        ("client_id", world.seeded.client_id.as_str()),
        ("response_type", "code"),
        ("scope", "openid"),
        ("redirect_uri", super::world::CALLBACK),
    ];
    format!("/authorize?{}", crate::fields::to_query(own.into_iter().chain(request.iter().copied())))
}

#[tokio::test]
async fn what_cannot_be_read_or_is_not_signed_inside_is_refused() {
    let (world, key) = signing(Alg::ES256, json!({})).await;
    let claims = object(&world, &json!({}));
    let signed = key.sign(None, claims.to_string().as_bytes()).unwrap();
    let keys = published(&world).await;
    let stranger = DecryptionKey::generate(KeyAlg::EcdhEs, keys[1]["kid"].as_str().unwrap().to_owned());
    let stranger = stranger.unwrap().public_jwk;
    let mut renamed = keys[1].clone();
    renamed["kid"] = json!("nobody's");
    let good = encrypted(&keys[1], KeyAlg::EcdhEs, &signed);
    let parts: Vec<&str> = good.split('.').collect();
    let cut = [parts[0], parts[1], parts[2], &parts[3][..parts[3].len() - 4], parts[4]].join(".");
    for (request, why) in [
        (encrypted(&stranger, KeyAlg::EcdhEs, &signed), "another's key"),
        (encrypted(&renamed, KeyAlg::EcdhEs, &signed), "a kid that is none"),
        (cut, "cut"),
        ("a.b.c.d.e".to_owned(), "nonsense"),
        (encrypted(&keys[1], KeyAlg::EcdhEs, &unsigned(&claims)), "unsigned inside"),
        (encrypted(&keys[1], KeyAlg::EcdhEs, &claims.to_string()), "claims inside"),
        (encrypted(&keys[1], KeyAlg::EcdhEs, &good), "twice"),
        (encrypted(&keys[0], KeyAlg::RsaOaep256, "nonsense"), "nonsense inside"),
    ] {
        is_refused(&send(&world, &request).await, why);
    }
    assert!(send(&world, &good).await.has_id("login-title"));
    // Encryption takes the place of no signature: a client that must sign must do so inside.
    world.set_tenant(json!({ "flags": { "enable_unsigned_request_objects": true } })).await;
    let request = encrypted(&keys[1], KeyAlg::EcdhEs, &unsigned(&claims));
    assert!(send(&world, &request).await.has_id("login-title"));
    world.set_client(json!({ "signed_request_object": { "required": true } })).await;
    is_refused(&send(&world, &request).await, "the client must sign");
}

#[tokio::test]
async fn a_client_registers_how_it_may_encrypt_and_still_may_do_otherwise() {
    let (world, key) = signing(Alg::ES256, json!({})).await;
    let set =
        json!({ "request_object_encryption_alg": "ECDH-ES", "request_object_encryption_enc": "A128GCM" });
    world.set_client(set).await;
    let signed = key.sign(None, object(&world, &json!({})).to_string().as_bytes()).unwrap();
    let keys = published(&world).await;
    // OpenID Connect Dynamic Client Registration 2.
    for request in [signed.clone(), encrypted(&keys[0], KeyAlg::RsaOaep, &signed)] {
        assert!(send(&world, &request).await.has_id("login-title"));
    }
    let token = world.management_token("").await;
    let path = format!("clients/{}", world.seeded.client_id);
    for (bad, member) in [
        (json!({ "request_object_encryption_alg": "RSA1_5" }), "request_object_encryption_alg"),
        (json!({ "request_object_encryption_alg": "dir" }), "request_object_encryption_alg"),
        (json!({ "request_object_encryption_enc": "A128KW" }), "request_object_encryption_enc"),
        (json!({ "request_object_encryption_alg": null }), "request_object_encryption_enc"),
    ] {
        let refused = world.call(&token, "PATCH", &path, Some(bad)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.body);
        assert!(refused.body.contains(member), "{}", refused.body);
    }
}

#[tokio::test]
async fn after_a_rotation_the_key_before_is_read_and_not_offered() {
    let (world, key) = signing(Alg::ES256, json!({})).await;
    let before = published(&world).await;
    let token = world.management_token("").await;
    let rotated = world.call(&token, "POST", "keys/signing/rotate", None).await;
    assert_eq!(rotated.status, StatusCode::CREATED, "{}", rotated.body);
    let after = published(&world).await;
    assert_eq!(after.len(), 2);
    assert!(after.iter().all(|key| before.iter().all(|old| old["kid"] != key["kid"])));
    let signed = key.sign(None, object(&world, &json!({})).to_string().as_bytes()).unwrap();
    for keys in [&before, &after] {
        for (key, alg) in [(&keys[0], KeyAlg::RsaOaep256), (&keys[1], KeyAlg::EcdhEsA256Kw)] {
            assert!(send(&world, &encrypted(key, alg, &signed)).await.has_id("login-title"));
        }
    }
    // A month later nobody has it any more.
    world.clock.advance(std::time::Duration::from_secs(32 * 24 * 60 * 60));
    world.idp.purge().await.unwrap();
    let signed = key.sign(None, object(&world, &json!({})).to_string().as_bytes()).unwrap();
    is_refused(&send(&world, &encrypted(&before[1], KeyAlg::EcdhEs, &signed)).await, "purged");
    assert!(send(&world, &encrypted(&after[1], KeyAlg::EcdhEs, &signed)).await.has_id("login-title"));
}

#[tokio::test]
async fn an_id_token_hint_may_be_encrypted_for_the_provider() {
    let world = World::new().await;
    let mut agent = world.agent();
    let tokens = world.redeem(&agent.code(&[]).await).await.json();
    let keys = published(&world).await;
    let hint = encrypted(&keys[0], KeyAlg::RsaOaep256, tokens["id_token"].as_str().unwrap());
    let silent = agent.get(&world.authorize(&[("prompt", "none"), ("id_token_hint", &hint)])).await;
    assert!(silent.param("code").is_some(), "{silent:?}");
    let forged = SigningKey::generate(Alg::RS256, "k".to_owned()).unwrap().sign(None, b"{}").unwrap();
    let hint = encrypted(&keys[0], KeyAlg::RsaOaep256, &forged);
    let refused = agent.get(&world.authorize(&[("prompt", "none"), ("id_token_hint", &hint)])).await;
    assert_eq!(refused.param("error").as_deref(), Some("invalid_request"), "{refused:?}");
}
