//! Answers that are signed, encrypted, or about pairwise subjects. Names in comments are those of the OpenID Foundation's
//! modules that check the same.

use axum::http::StatusCode;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jose::{
    Alg, CompactJws, KeySet, SigningKey,
    jwe::{DecryptionKey, Enc, KeyAlg, decrypt},
};
use serde_json::{Value, json};

use super::world::{Answer, World, claims};

/// A key pair of a client for what is encrypted for it.
fn recipient(alg: Alg) -> (Value, DecryptionKey) {
    let key = SigningKey::generate(alg, "enc".to_owned()).unwrap();
    let mut public = key.public_jwk();
    public.as_object_mut().unwrap().retain(|name, _| name != "alg");
    public["use"] = json!("enc");
    let der = STANDARD.encode(&*key.to_pkcs8().unwrap());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
    (public, DecryptionKey::from_pem(&pem).unwrap())
}

fn opened(token: &str, key: &DecryptionKey) -> String {
    String::from_utf8(decrypt(token, key, &KeyAlg::ALL, &Enc::ALL).unwrap()).unwrap()
}

async fn tokens(world: &World) -> Value {
    let answer = world.redeem(&world.agent().code(&[]).await).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.json()
}

async fn userinfo(world: &World, tokens: &Value) -> Answer {
    let mut program = world.agent();
    program.extra.push(("authorization", format!("Bearer {}", tokens["access_token"].as_str().unwrap())));
    program.get("/userinfo").await
}

async fn verified(world: &World, token: &str, alg: Alg) -> Value {
    let jwks = world.agent().get("/.well-known/jwks.json").await.body;
    let keys = KeySet::parse(jwks.as_bytes()).unwrap();
    keys.verify(&CompactJws::parse(token).unwrap(), &[alg]).unwrap();
    claims(token)
}

#[tokio::test]
async fn userinfo_may_be_signed() {
    // userinfo-rs256.
    let world = World::new().await;
    for alg in [Alg::RS256, Alg::PS256, Alg::ES256] {
        world.set_client(json!({ "userinfo_signed_response_alg": alg.as_str() })).await;
        let tokens = tokens(&world).await;
        let answer = userinfo(&world, &tokens).await;
        assert_eq!(answer.header("content-type"), Some("application/jwt"));
        let said = verified(&world, &answer.body, alg).await;
        assert_eq!(
            (&said["iss"], &said["email"]),
            (&json!("http://localhost:9400/"), &json!(world.seeded.user))
        );
        assert_eq!(said["aud"], world.seeded.client_id.as_str());
        assert_eq!(said["sub"], claims(tokens["id_token"].as_str().unwrap())["sub"]);
        // It is no ID token, and no access token.
        let hinted = world.agent().get(&world.authorize(&[("id_token_hint", &answer.body)])).await;
        assert_eq!(hinted.param("error").as_deref(), Some("invalid_request"));
        let token = json!({ "access_token": answer.body });
        assert_eq!(userinfo(&world, &token).await.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn what_is_encrypted_only_the_client_reads() {
    let world = World::new().await;
    for (kind, alg, enc) in [
        (Alg::RS256, "RSA-OAEP-256", Some("A256GCM")),
        (Alg::RS256, "RSA-OAEP", None),
        (Alg::ES256, "ECDH-ES", Some("A128GCM")),
        (Alg::ES256, "ECDH-ES+A256KW", Some("A256CBC-HS512")),
    ] {
        let (public, private) = recipient(kind);
        world
            .set_client(json!({
                "jwks": { "keys": [public] },
                "id_token_encrypted_response_alg": alg, "id_token_encrypted_response_enc": enc,
                "userinfo_encrypted_response_alg": alg, "userinfo_encrypted_response_enc": enc,
                "introspection_encrypted_response_alg": alg, "introspection_encrypted_response_enc": enc,
                "authorization_encrypted_response_alg": alg, "authorization_encrypted_response_enc": enc,
            }))
            .await;
        let mut agent = world.agent();
        let page = agent.open(&world.authorize(&[("response_mode", "jwt")])).await;
        let back = agent.log_in(&page).await;
        let response = opened(&back.param("response").unwrap(), &private);
        let code = verified(&world, &response, Alg::RS256).await["code"].as_str().unwrap().to_owned();
        let tokens = world.redeem(&code).await.json();
        let id_token = opened(tokens["id_token"].as_str().unwrap(), &private);
        assert_eq!(verified(&world, &id_token, Alg::RS256).await["nonce"], "n-1");
        // Not signed as well, unless that is registered too (OpenID Connect Core 5.3.2).
        let answer = userinfo(&world, &tokens).await;
        assert_eq!(answer.header("content-type"), Some("application/jwt"));
        let said: Value = serde_json::from_str(&opened(&answer.body, &private)).unwrap();
        assert_eq!(said["sub"], claims(&id_token)["sub"]);
        world.set_client(json!({ "userinfo_signed_response_alg": "ES256" })).await;
        let nested = opened(&userinfo(&world, &tokens).await.body, &private);
        assert_eq!(verified(&world, &nested, Alg::ES256).await["sub"], said["sub"]);
        world.set_client(json!({ "userinfo_signed_response_alg": null })).await;
        let mut program = world.agent();
        program.extra.push(("authorization", world.basic()));
        let token = tokens["access_token"].as_str().unwrap();
        let clear = program.post("/oauth/introspect", &[("token", token)]).await;
        assert_eq!(
            (clear.status, &clear.json()["error"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_request"))
        );
        program.extra.push(("accept", "application/token-introspection+jwt".to_owned()));
        let answer = opened(&program.post("/oauth/introspect", &[("token", token)]).await.body, &private);
        assert_eq!(verified(&world, &answer, Alg::RS256).await["token_introspection"]["active"], true);
    }
    // A client that has lost its key gets nothing in the clear.
    let clear = json!({
        "jwks": { "keys": [] }, "authorization_encrypted_response_alg": null, "authorization_encrypted_response_enc": null,
    });
    world.set_client(clear).await;
    let failed = world.redeem(&world.agent().code(&[]).await).await;
    assert!(failed.status.is_server_error() && !failed.body.contains("eyJ"), "{failed:?}");
    for (name, value) in [
        ("id_token_encrypted_response_alg", "RSA1_5"),
        ("id_token_encrypted_response_alg", "dir"),
        ("introspection_encrypted_response_alg", "A128KW"),
        ("userinfo_encrypted_response_enc", "A64GCM"),
        ("userinfo_signed_response_alg", "HS512"),
        ("userinfo_signed_response_alg", "none"),
    ] {
        let token = world.management_token("").await;
        let path = format!("clients/{}", world.seeded.client_id);
        let refused = world.call(&token, "PATCH", &path, Some(json!({ name: value }))).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{name} {value}");
    }
}

#[tokio::test]
async fn unsigned_id_tokens_exist_only_where_the_tenant_says_so() {
    // idtoken-unsigned.
    let world = World::new().await;
    let token = world.management_token("").await;
    let path = format!("clients/{}", world.seeded.client_id);
    world.set_client(json!({ "grant_types": ["authorization_code", "client_credentials"] })).await;
    let wish = json!({ "jwt_configuration": { "alg": "none" } });
    let refused = world.call(&token, "PATCH", &path, Some(wish.clone())).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.body);
    world.set_tenant(json!({ "flags": { "enable_unsigned_id_tokens": true } })).await;
    world.set_client(wish).await;
    let id_token = tokens(&world).await["id_token"].as_str().unwrap().to_owned();
    let payload = URL_SAFE_NO_PAD.decode(id_token.split('.').nth(1).unwrap()).unwrap();
    let said: Value = serde_json::from_slice(&payload).unwrap();
    assert!(id_token.ends_with('.') && said["nonce"] == "n-1", "{id_token}");
    // Never as a proof of anything, and never through the browser (OpenID Connect Core 3.1.3.7, O15).
    let hinted = world.agent().get(&world.authorize(&[("id_token_hint", &id_token)])).await;
    assert_eq!(hinted.param("error").as_deref(), Some("invalid_request"));
    world.agent().get(&format!("/oidc/logout?id_token_hint={id_token}")).await.is_error_page();
    let hybrid = world.agent().get(&world.authorize(&[("response_type", "code id_token")])).await;
    assert!(hybrid.param("error").is_some() || hybrid.param("id_token").is_none());
    world.set_tenant(json!({ "flags": { "enable_unsigned_id_tokens": false } })).await;
    let failed = world.redeem(&world.agent().code(&[]).await).await;
    assert!(failed.status.is_server_error(), "{failed:?}");
}

#[tokio::test]
async fn pairwise_subjects_differ_by_sector_and_stay_the_same() {
    let world = World::new().await;
    let public = claims(tokens(&world).await["id_token"].as_str().unwrap())["sub"].clone();
    world.set_client(json!({ "subject_type": "pairwise" })).await;
    let first = tokens(&world).await;
    let said = claims(first["id_token"].as_str().unwrap());
    let sub = said["sub"].as_str().unwrap().to_owned();
    assert!(public != sub.as_str() && !sub.contains('|') && sub.len() >= 32);
    assert_eq!(userinfo(&world, &first).await.json()["sub"], sub.as_str());
    assert_eq!(claims(tokens(&world).await["id_token"].as_str().unwrap())["sub"], sub.as_str());
    // In JWTs for an API, and what is said about tokens, too.
    let audience = world.seeded.audience.clone();
    let api = [("audience", audience.as_str()), ("scope", "openid read:things")];
    let answer = world.redeem(&world.agent().code(&api).await).await.json();
    let access = answer["access_token"].as_str().unwrap();
    assert_eq!(claims(access)["sub"], sub.as_str());
    assert_eq!(userinfo(&world, &answer).await.json()["sub"], sub.as_str());
    let mut program = world.agent();
    program.extra.push(("authorization", world.basic()));
    for token in [access, first["access_token"].as_str().unwrap()] {
        let said = program.post("/oauth/introspect", &[("token", token)]).await.json();
        assert_eq!((&said["active"], &said["sub"]), (&json!(true), &json!(sub)), "{said}");
    }
    // As a hint and as a wish it names its user.
    let mut agent = world.agent();
    agent.code(&[]).await;
    let id_token = first["id_token"].as_str().unwrap();
    let wish = |sub: &str| json!({ "id_token": { "sub": { "value": sub } } }).to_string();
    for hint in [("id_token_hint", id_token), ("claims", &wish(&sub))] {
        let back = agent.get(&world.authorize(&[("prompt", "none"), hint])).await;
        assert!(back.param("code").is_some(), "{back:?}");
    }
    let other = agent.get(&world.authorize(&[("prompt", "none"), ("claims", &wish("nobody"))])).await;
    assert_eq!(other.param("error").as_deref(), Some("login_required"));
    let discovery = world.agent().get("/.well-known/openid-configuration").await.json();
    assert_eq!(discovery["subject_types_supported"], json!(["public", "pairwise"]));
}

#[tokio::test]
async fn a_sector_is_one_host_or_a_document_that_lists_every_callback() {
    // registration-sector-uri, registration-sector-bad.
    const SECTOR: &str = "https://sector.example/callbacks.json";
    let world = World::new().await;
    let token = world.management_token("").await;
    let path = format!("clients/{}", world.seeded.client_id);
    let callbacks = ["http://localhost:9080/callback", "http://other.localhost:9080/callback"];
    let several = json!({ "subject_type": "pairwise", "callbacks": callbacks });
    let refused = world.call(&token, "PATCH", &path, Some(several)).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.body);
    let with_sector =
        json!({ "subject_type": "pairwise", "callbacks": callbacks, "sector_identifier_uri": SECTOR });
    for document in [None, Some("{}"), Some("[]"), Some("[\"http://localhost:9080/callback\"]")] {
        if let Some(document) = document {
            world.network.publish(SECTOR, document);
        }
        let refused = world.call(&token, "PATCH", &path, Some(with_sector.clone())).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{document:?}: {}", refused.body);
    }
    world.network.publish(SECTOR, &json!(callbacks).to_string());
    world.set_client(with_sector).await;
    let sub = claims(tokens(&world).await["id_token"].as_str().unwrap())["sub"].clone();
    world.set_client(json!({ "sector_identifier_uri": null, "callbacks": [callbacks[0]] })).await;
    assert_ne!(claims(tokens(&world).await["id_token"].as_str().unwrap())["sub"], sub);
}
