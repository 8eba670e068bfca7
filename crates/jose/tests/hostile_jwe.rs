//! Encrypted tokens: rows J43 to J46 of the threat catalogue.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod forge;

use aws_lc_rs::{
    aead::{self, Aad, LessSafeKey, Nonce, UnboundKey},
    digest,
};
use forge::*;
use jose::{
    JoseError,
    jwe::{self, CompactJwe, DecryptionKey, Enc, KeyAlg},
};
use serde_json::{Value, json};

fn decrypt(key: &DecryptionKey, token: &str) -> Result<Vec<u8>, JoseError> {
    jwe::decrypt(token, key, &KeyAlg::ALL, &Enc::ALL)
}

/// A JWE with AES-256 in GCM under `content_key`, and whatever header and encrypted key.
fn seal(header: &Value, encrypted_key: &[u8], content_key: &[u8], plain: &[u8]) -> String {
    let protected = b64(header.to_string());
    let key = LessSafeKey::new(UnboundKey::new(&aead::AES_256_GCM, content_key).unwrap());
    let mut text = plain.to_vec();
    let nonce = Nonce::assume_unique_for_key([9; 12]);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(protected.as_bytes()), &mut text).unwrap();
    format!("{protected}.{}.{}.{}.{}", b64(encrypted_key), b64([9; 12]), b64(text), b64(tag))
}

fn direct() -> (DecryptionKey, [u8; 32]) {
    (DecryptionKey::from_secret(&[5; 32], Enc::A256Gcm).unwrap(), [5; 32])
}

#[test]
fn what_is_honestly_sealed_opens() {
    let (key, secret) = direct();
    let token =
        seal(&json!({"alg": "dir", "enc": "A256GCM", "kid": "k", "cty": "JWT"}), b"", &secret, b"hello");
    assert_eq!(decrypt(&key, &token).unwrap(), b"hello");
    let jwe = CompactJwe::parse(&token).unwrap();
    assert_eq!(
        (jwe.kid(), jwe.cty(), jwe.alg(), jwe.enc()),
        (Some("k"), Some("JWT"), KeyAlg::Dir, Enc::A256Gcm)
    );
    assert_eq!(
        jwe::decrypt(&token, &key, &[KeyAlg::RsaOaep], &Enc::ALL).unwrap_err(),
        JoseError::AlgNotAllowed
    );
    let with_key = seal(&json!({"alg": "dir", "enc": "A256GCM"}), b"x", &secret, b"hello");
    assert_eq!(decrypt(&key, &with_key).unwrap_err(), JoseError::Decryption);
    assert!(DecryptionKey::from_secret(&[5; 31], Enc::A256Gcm).is_err());
}

#[test]
fn j43_compressed_plaintext_is_refused_by_name() {
    let (key, secret) = direct();
    let bomb = seal(&json!({"alg": "dir", "enc": "A256GCM", "zip": "DEF"}), b"", &secret, &[0; 1000]);
    assert_eq!(decrypt(&key, &bomb).unwrap_err(), JoseError::Unsupported("compressed plaintext (zip)"));
    let long = "x".repeat(jwe::MAX_BYTES + 1);
    assert_eq!(decrypt(&key, &long).unwrap_err(), JoseError::TooLong(jwe::MAX_BYTES));
}

#[test]
fn j44_password_based_encryption_is_refused_by_name() {
    let (key, _) = direct();
    for alg in ["PBES2-HS256+A128KW", "PBES2-HS512+A256KW"] {
        let header = json!({"alg": alg, "enc": "A256GCM", "p2s": "AAAA", "p2c": 2_147_483_647});
        let token = seal(&header, &[0; 40], &[5; 32], b"x");
        assert_eq!(decrypt(&key, &token).unwrap_err(), JoseError::Unsupported("PBES2"));
    }
}

#[test]
fn j45_rsa1_5_is_refused_by_name_and_oaep_has_one_answer() {
    let vectors: Value = serde_json::from_str(include_str!("vectors/json_web_encryption_test.json")).unwrap();
    let groups = vectors["testGroups"].as_array().unwrap();
    let of = |comment: &str| groups.iter().find(|group| group["comment"] == comment).unwrap();
    let rsa1_5 = of("jwe_rsa1_5");
    let key = DecryptionKey::from_jwk(&rsa1_5["private"]).unwrap_err();
    assert_eq!(key, JoseError::Unsupported("RSA1_5"));
    let oaep = of("jwe_rsa_oaep_256");
    let key = DecryptionKey::from_jwk(&oaep["private"]).unwrap();
    for test in rsa1_5["tests"].as_array().unwrap() {
        let refused = decrypt(&key, test["jwe"].as_str().unwrap()).unwrap_err();
        assert_eq!(refused, JoseError::Unsupported("RSA1_5"));
    }
    let good = oaep["tests"][0]["jwe"].as_str().unwrap();
    assert!(decrypt(&key, good).is_ok());
    let parts: Vec<&str> = good.split('.').collect();
    let wrapped = unb64(parts[1]);
    let spoiled =
        [vec![0; 256], vec![0xff; 256], wrapped[1..].to_vec(), [&[0], wrapped.as_slice()].concat(), vec![]];
    for wrapped in spoiled {
        let token = [parts[0], &b64(wrapped), parts[2], parts[3], parts[4]].join(".");
        assert_eq!(decrypt(&key, &token).unwrap_err(), JoseError::Decryption);
    }
}

/// The key that ECDH-ES gives for a shared secret (RFC 7518 section 4.6.2), one round of the Concat KDF.
fn agreed(shared: &[u8]) -> Vec<u8> {
    let info = [&[0, 0, 0, 7][..], b"A256GCM", &[0; 8], &[0, 0, 1, 0]].concat();
    let input = [&[0, 0, 0, 1][..], shared, &info].concat();
    digest::digest(&digest::SHA256, &input).as_ref().to_vec()
}

#[test]
fn j46_bad_points_are_refused() {
    let private = json!({"kty": "OKP", "crv": "X25519",
        "d": "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo", "x": "hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo"});
    let key = DecryptionKey::from_jwk(&private).unwrap();
    let mut one = [0; 32];
    one[0] = 1;
    for low_order in [[0; 32], one] {
        // Agreement with a point of low order gives zeros, which a sender who knows nothing can encrypt under.
        let epk = json!({"kty": "OKP", "crv": "X25519", "x": b64(low_order)});
        let token =
            seal(&json!({"alg": "ECDH-ES", "enc": "A256GCM", "epk": epk}), b"", &agreed(&[0; 32]), b"x");
        assert_eq!(decrypt(&key, &token).unwrap_err(), JoseError::Decryption);
    }
    let jwk = EC.public_jwk();
    let algorithm = &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let pair = aws_lc_rs::signature::EcdsaKeyPair::from_pkcs8(algorithm, &EC.to_pkcs8().unwrap()).unwrap();
    let d = aws_lc_rs::encoding::AsBigEndian::<aws_lc_rs::encoding::EcPrivateKeyBin<'_>>::as_be_bytes(
        &pair.private_key(),
    )
    .unwrap();
    let private = json!({"kty": "EC", "crv": "P-256", "x": jwk["x"], "y": jwk["y"], "d": b64(d.as_ref())});
    let key = DecryptionKey::from_jwk(&private).unwrap();
    for epk in [
        json!({"kty": "EC", "crv": "P-256", "x": b64([0; 32]), "y": b64([0; 32])}),
        json!({"kty": "EC", "crv": "P-256", "x": jwk["y"], "y": jwk["x"]}),
        json!({"kty": "EC", "crv": "P-384", "x": b64([1; 48]), "y": b64([1; 48])}),
        json!({"kty": "EC", "crv": "P-256", "x": b64([1; 31]), "y": b64([1; 32])}),
        json!({"kty": "OKP", "crv": "X25519", "x": b64([9; 32])}),
        json!("EC"),
    ] {
        let token =
            seal(&json!({"alg": "ECDH-ES", "enc": "A256GCM", "epk": epk}), b"", &agreed(&[0; 32]), b"x");
        assert!(decrypt(&key, &token).is_err());
    }
    let mismatched = json!({"kty": "EC", "crv": "P-256", "x": jwk["y"], "y": jwk["x"], "d": b64(d.as_ref())});
    assert!(DecryptionKey::from_jwk(&mismatched).is_err());
}

#[test]
fn x25519_agrees_as_in_rfc_8037() {
    // RFC 8037 appendix A.6: Bob's key, the ephemeral key, and the shared secret Z.
    let private = json!({"kty": "OKP", "crv": "X25519", "kid": "Bob",
        "d": "XasIfmJKikt54X-Lg4AO5m87sSkmGLb9HC-LJ_-I4Os", "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"});
    let key = DecryptionKey::from_jwk(&private).unwrap();
    let shared: Vec<u8> = (0..64)
        .step_by(2)
        .map(|i| {
            u8::from_str_radix(
                &"4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"[i..i + 2],
                16,
            )
            .unwrap()
        })
        .collect();
    let epk = json!({"kty": "OKP", "crv": "X25519", "x": "hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo"});
    let token =
        seal(&json!({"alg": "ECDH-ES", "enc": "A256GCM", "epk": epk}), b"", &agreed(&shared), b"hello");
    assert_eq!(decrypt(&key, &token).unwrap(), b"hello");
}

#[test]
fn the_rules_for_headers_hold_for_encrypted_tokens_too() {
    let (key, secret) = direct();
    for header in [
        json!({"alg": "dir", "enc": "A256GCM", "crit": ["x"]}),
        json!({"alg": "dir", "enc": "A256GCM", "kid": ""}),
        json!({"alg": "dir", "enc": "A256GCM", "kid": 1}),
        json!({"alg": "dir", "enc": "a256gcm"}),
        json!({"alg": "dir"}),
        json!({"enc": "A256GCM"}),
        json!({"alg": "A192KW", "enc": "A256GCM"}),
        json!(["dir"]),
    ] {
        assert!(decrypt(&key, &seal(&header, b"", &secret, b"x")).is_err(), "{header}");
    }
    let twice = format!("{}.....", b64(r#"{"alg":"dir","enc":"A256GCM","enc":"A128GCM"}"#));
    assert!(decrypt(&key, &twice).is_err());
    for shape in ["a.b.c", "....", "a.b.c.d.e.f", ""] {
        assert!(decrypt(&key, shape).is_err());
    }
}

#[test]
fn keys_for_something_else_do_not_decrypt() {
    for jwk in [
        json!({"kty": "oct", "k": b64([5; 32]), "use": "sig"}),
        json!({"kty": "oct", "k": b64([5; 32]), "key_ops": ["verify"]}),
        json!({"kty": "oct", "k": b64([5; 32]), "alg": "A128GCM"}),
        json!({"kty": "oct", "k": b64([5; 32]), "alg": "HS256"}),
        EC.public_jwk(),
        RSA.public_jwk(),
    ] {
        assert!(DecryptionKey::from_jwk(&jwk).is_err(), "{jwk}");
    }
    let key = DecryptionKey::from_jwk(&json!({"kty": "oct", "k": b64([5; 32])})).unwrap();
    assert_eq!(key.algs(), [KeyAlg::Dir, KeyAlg::A256Kw, KeyAlg::A256GcmKw]);
    assert!(!format!("{key:?}").contains("BQUF"));
}
