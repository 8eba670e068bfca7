//! Signing keys as they are published, with their certificates.

use serde_json::{Value, json};

use super::world::World;

fn pem(jwk: &Value) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", jwk["x5c"][0].as_str().unwrap())
}

async fn jwks(world: &World) -> Vec<Value> {
    let published = world.agent().get("/.well-known/jwks.json").await.json();
    let keys = published["keys"].as_array().unwrap();
    keys.iter().filter(|key| key["use"] == "sig").cloned().collect()
}

#[tokio::test]
async fn each_published_key_has_a_certificate_and_tokens_verify_by_it() {
    let world = World::new().await;
    let tokens = world.redeem(&world.agent().code(&[]).await).await.json();
    let id_token = jose::CompactJws::parse(tokens["id_token"].as_str().unwrap()).unwrap();
    let kid = id_token.header().kid.as_deref().unwrap().to_owned();
    let keys = jwks(&world).await;
    for key in &keys {
        assert_eq!(key["x5c"].as_array().unwrap().len(), 1, "{key}");
        assert!(key["x5t"].as_str().is_some_and(|digest| digest.len() == 27), "{key}");
        assert!(key.get("d").is_none(), "{key}");
    }
    let signer = keys.iter().find(|key| key["kid"] == kid.as_str()).unwrap();
    let certified = jose::VerifyingKey::from_pem(&pem(signer)).unwrap();
    assert!(id_token.verify(&certified).is_ok());
    let other = keys.iter().find(|key| key["kid"] != kid.as_str() && key["alg"] == "RS256").unwrap();
    assert!(id_token.verify(&jose::VerifyingKey::from_pem(&pem(other)).unwrap()).is_err());

    let token = world.management_token("").await;
    let listed = world.call(&token, "GET", "keys/signing", None).await.json();
    let shown = listed.as_array().unwrap().iter().find(|key| key["kid"] == kid.as_str()).unwrap();
    assert_eq!(shown["cert"].as_str().unwrap().replace('\n', ""), pem(signer).replace('\n', ""));
    let (fingerprint, thumbprint) =
        (shown["fingerprint"].as_str().unwrap(), shown["thumbprint"].as_str().unwrap());
    assert_eq!((fingerprint.replace(':', "").as_str(), fingerprint.len()), (thumbprint, 59));
}

#[tokio::test]
async fn a_key_that_is_older_than_certificates_gets_one_that_stays() {
    let world = World::new().await;
    let repository = world.idp.repository();
    for key in repository.signing_keys("dev").await.unwrap().into_iter().filter(|key| key.signs()) {
        let mut bare = key.public_jwk.clone();
        bare.as_object_mut().unwrap().retain(|name, _| !name.starts_with("x5"));
        assert!(repository.set_public_jwk("dev", &key, &bare).await.unwrap());
        // Whoever comes second changes nothing.
        assert!(!repository.set_public_jwk("dev", &key, &json!({})).await.unwrap());
    }
    // By then every process looks again.
    let wait = std::time::Duration::from_secs(31);
    world.clock.advance(wait);
    let first = jwks(&world).await;
    assert!(first.iter().all(|key| key["x5c"][0].is_string()), "{first:?}");
    world.clock.advance(wait);
    assert_eq!(jwks(&world).await, first);
}
