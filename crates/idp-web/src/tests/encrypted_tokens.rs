//! Access tokens that only their API can read (`token_encryption`).

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::STANDARD};
use jose::{
    Alg, CompactJws, KeySet,
    jwe::{CompactJwe, DecryptionKey, Enc, KeyAlg},
};
use serde_json::{Value, json};

use super::world::{Answer, World, claims};

/// A key pair of an API: the public key as PEM.
fn pair() -> (String, DecryptionKey) {
    // A certificate's or any other key's form is the same to whoever encrypts.
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    (pair.public_key_pem(), DecryptionKey::from_pem(&pair.serialize_pem()).unwrap())
}

fn encryption(pem: &str, change: Value) -> Value {
    let mut key = json!({ "name": "first", "alg": "RSA-OAEP-256", "kid": "api-1", "pem": pem });
    key.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    json!({ "token_encryption": { "format": "compact-nested-jwe", "encryption_key": key } })
}

async fn set(world: &World, change: Value) -> Answer {
    let token = world.management_token("").await;
    let id = world.seeded.audience.replace(':', "%3A").replace('/', "%2F");
    world.call(&token, "PATCH", &format!("resource-servers/{id}"), Some(change)).await
}

/// What is inside of a token, and verified by the published keys.
async fn read(world: &World, token: &str, key: &DecryptionKey) -> Value {
    let jwe = CompactJwe::parse(token).unwrap();
    assert_eq!((jwe.alg(), jwe.enc()), (KeyAlg::RsaOaep256, Enc::A256Gcm));
    assert_eq!((jwe.kid(), jwe.cty()), (Some("api-1"), Some("JWT")));
    let inner = String::from_utf8(jwe.decrypt(key, &KeyAlg::ALL, &Enc::ALL).unwrap()).unwrap();
    let jwks = world.agent().get("/.well-known/jwks.json").await.body;
    let keys = KeySet::parse(jwks.as_bytes()).unwrap();
    keys.verify(&CompactJws::parse(&inner).unwrap(), &[Alg::RS256]).unwrap();
    claims(&inner)
}

#[tokio::test]
async fn tokens_of_such_an_api_are_signed_and_then_encrypted_for_it() {
    let world = World::new().await;
    let (pem, key) = pair();
    let answer = set(&world, encryption(&pem, json!({}))).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let kept = &answer.json()["token_encryption"];
    assert_eq!(
        (&kept["format"], &kept["encryption_key"]["pem"]),
        (&json!("compact-nested-jwe"), &json!(pem))
    );
    assert_eq!(kept["encryption_key"]["thumbprint_sha256"].as_str().map(str::len), Some(43));

    let audience = world.seeded.audience.clone();
    let form = [("grant_type", "client_credentials"), ("audience", audience.as_str())];
    let answer = world.token(&form).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let said = read(&world, answer.json()["access_token"].as_str().unwrap(), &key).await;
    assert_eq!((&said["aud"], &said["iss"]), (&json!(audience), &json!("http://localhost:9400/")));

    // A user's is for the API alone: not even we can read it again.
    let code = world.agent().code(&[("audience", &audience), ("scope", "openid read:things")]).await;
    let tokens = world.redeem(&code).await.json();
    let token = tokens["access_token"].as_str().unwrap();
    let said = read(&world, token, &key).await;
    assert_eq!(
        (&said["aud"], &said["sub"]),
        (&json!(audience), &claims(tokens["id_token"].as_str().unwrap())["sub"])
    );
    let mut program = world.agent();
    program.extra.push(("authorization", format!("Bearer {token}")));
    assert_eq!(program.get("/userinfo").await.status, StatusCode::UNAUTHORIZED);
    let mut gateway = world.agent();
    gateway.extra.push(("authorization", world.basic()));
    let told = gateway.post("/oauth/introspect", &[("token", token)]).await;
    assert_eq!(told.json(), json!({ "active": false }));

    let switched_off = set(&world, json!({ "token_encryption": null })).await;
    assert!(switched_off.json().get("token_encryption").is_none(), "{}", switched_off.body);
    let answer = world.token(&form).await.json();
    assert_eq!(claims(answer["access_token"].as_str().unwrap())["aud"], json!(audience));
}

#[tokio::test]
async fn a_key_that_nothing_can_be_encrypted_for_is_refused_by_name() {
    let world = World::new().await;
    let (pem, _) = pair();
    let curve = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().public_key_pem();
    let private = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap().serialize_pem();
    let nonsense =
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode("nonsense"));
    for (change, member) in [
        (json!({ "alg": "RSA1_5" }), "encryption_key.alg"),
        (json!({ "alg": null }), "encryption_key"),
        (json!({ "pem": "nonsense" }), "encryption_key.pem"),
        (json!({ "pem": nonsense }), "encryption_key.pem"),
        (json!({ "pem": curve }), "encryption_key.pem"),
        (json!({ "pem": private }), "encryption_key.pem"),
        (json!({ "kid": "" }), "encryption_key.kid"),
        (json!({ "name": "x".repeat(129) }), "encryption_key.name"),
        (json!({ "enc": "A128GCM" }), "enc"),
    ] {
        let answer = set(&world, encryption(&pem, change.clone())).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{change}: {}", answer.body);
        assert!(answer.body.contains(member), "{change}: {}", answer.body);
    }
    let other = set(&world, encryption(&pem, json!({ "alg": "RSA-OAEP-512" }))).await;
    assert_eq!(other.status, StatusCode::FORBIDDEN, "{}", other.body);
    assert!(other.body.contains("RSA-OAEP-256"), "{}", other.body);
    let mut format = encryption(&pem, json!({}));
    format["token_encryption"]["format"] = json!("json");
    assert_eq!(set(&world, format).await.status, StatusCode::BAD_REQUEST);
}
