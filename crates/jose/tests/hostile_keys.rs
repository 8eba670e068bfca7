//! Keys and key sets that must not be used: rows J13 to J18, J40 and J41 of the threat catalogue, as far as a library
//! decides them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod forge;

use forge::*;
use jose::{Alg, CompactJws, JoseError, KeySet, SigningKey, VerifyingKey};
use serde_json::{Value, json};

fn set_of(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({"keys": keys}).to_string().as_bytes()).unwrap()
}

/// The JWK with one member changed; null takes it away.
fn with(jwk: &Value, name: &str, value: Value) -> Value {
    let mut jwk = jwk.clone();
    match value {
        Value::Null => jwk.as_object_mut().unwrap().shift_remove(name),
        value => jwk.as_object_mut().unwrap().insert(name.to_owned(), value),
    };
    jwk
}

#[test]
fn j13_a_curve_and_its_algorithm_belong_together() {
    let jwk = EC.public_jwk();
    for wrong in [
        with(&jwk, "crv", json!("P-384")),
        with(&jwk, "crv", json!("secp256k1")),
        with(&jwk, "crv", json!("Ed25519")),
        with(&jwk, "crv", Value::Null),
        with(&jwk, "alg", json!("ES384")),
        with(&jwk, "alg", json!("ES256K")),
        with(&jwk, "alg", json!("RS256")),
        with(&jwk, "x", jwk["y"].clone()),
        with(&jwk, "x", json!(b64([0; 32]))),
        with(&jwk, "x", json!(b64([&[0], unb64(jwk["x"].as_str().unwrap()).as_slice()].concat()))),
        with(&jwk, "y", Value::Null),
        with(&jwk, "y", json!(7)),
        with(&jwk, "x", json!("not base64url!")),
    ] {
        let refused = VerifyingKey::from_jwk(&wrong).unwrap_err();
        // A curve that is left out altogether is refused by its name.
        assert!(matches!(refused, JoseError::Key(_) | JoseError::Unsupported(_)), "{wrong}: {refused:?}");
        let set = set_of(&[wrong.clone(), jwk.clone()]);
        assert_eq!((set.keys().len(), set.skipped().is_empty()), (1, false), "{wrong}");
    }
    let p384 = SigningKey::generate(Alg::ES384, "ec".into()).unwrap();
    let token = EC.sign(None, CLAIMS).unwrap();
    let jws = CompactJws::parse(&token).unwrap();
    assert_eq!(jws.verify(&p384.verifying_key()).unwrap_err(), JoseError::AlgNotAllowed);
    let small = with(&ED.public_jwk(), "x", json!(b64([1; 31])));
    assert!(VerifyingKey::from_jwk(&small).is_err());
    assert!(VerifyingKey::from_jwk(&with(&ED.public_jwk(), "crv", json!("Ed448"))).is_err());
}

#[test]
fn j14_weak_and_costly_rsa_keys_are_refused() {
    let modulus = |bits: usize| {
        let mut n = vec![0x5a; bits.div_ceil(8)];
        n[0] = 1 << ((bits - 1) % 8);
        *n.last_mut().unwrap() = 0x5b;
        json!(b64(n))
    };
    let good = rsa_jwk();
    for bits in [512, 1024, 2047, 8193, 16384] {
        assert!(VerifyingKey::from_jwk(&with(&good, "n", modulus(bits))).is_err(), "{bits}");
    }
    for bits in [2048, 4096, 8192] {
        assert!(VerifyingKey::from_jwk(&with(&good, "n", modulus(bits))).is_ok(), "{bits}");
    }
    let mut even = unb64(good["n"].as_str().unwrap());
    *even.last_mut().unwrap() &= 0xfe;
    assert!(VerifyingKey::from_jwk(&with(&good, "n", json!(b64(even)))).is_err(), "even modulus");
    let exponents: [&[u8]; 8] =
        [&[], &[0], &[1], &[3], &[1, 0, 0], &[0, 1, 0, 1], &[1, 0, 0, 0, 1], &[0xff; 32]];
    for e in exponents {
        assert!(VerifyingKey::from_jwk(&with(&good, "e", json!(b64(e)))).is_err(), "{e:?}");
    }
    let padded = [&[0], unb64(good["n"].as_str().unwrap()).as_slice()].concat();
    assert!(VerifyingKey::from_jwk(&with(&good, "n", json!(b64(padded)))).is_err(), "leading zero");
}

#[test]
fn j15_a_roca_modulus_is_refused() {
    let vectors: Value = serde_json::from_str(include_str!("vectors/json_web_key_test.json")).unwrap();
    let groups = vectors["testGroups"].as_array().unwrap();
    let group = groups.iter().find(|group| group["tests"][0]["tcId"] == 7).unwrap();
    let set = KeySet::parse(group["public"].to_string().as_bytes()).unwrap();
    assert!(set.keys().is_empty());
    assert!(set.skipped()[0].contains("ROCA"), "{:?}", set.skipped());
}

#[test]
fn j16_a_short_hmac_secret_is_refused() {
    for (alg, least) in [(Alg::HS256, 32), (Alg::HS384, 48), (Alg::HS512, 64)] {
        for length in [0, 1, least - 1] {
            assert!(VerifyingKey::from_hmac_secret(&vec![7; length], alg).is_err());
            assert!(SigningKey::from_hmac_secret(alg, "k".into(), &vec![7; length]).is_err());
        }
        assert!(VerifyingKey::from_hmac_secret(&vec![7; least], alg).is_ok());
        // Only by the name that says so.
        assert!(VerifyingKey::from_short_hmac_secret(&[7], alg).is_ok());
        assert!(VerifyingKey::from_short_hmac_secret(&[], alg).is_err());
    }
    assert!(VerifyingKey::from_short_hmac_secret(&[7; 64], Alg::RS256).is_err());
    assert!(VerifyingKey::from_short_hmac_secret(b"-----BEGIN PUBLIC KEY-----", Alg::HS256).is_err());
    assert!(VerifyingKey::from_hmac_secret(&[7; 64], Alg::RS256).is_err());
    let jwk = json!({"kty": "oct", "k": b64([7; 48])});
    assert_eq!(VerifyingKey::from_jwk(&jwk).unwrap().algs(), [Alg::HS256, Alg::HS384]);
    assert!(VerifyingKey::from_jwk(&with(&jwk, "alg", json!("HS512"))).is_err());
    assert!(VerifyingKey::from_jwk(&with(&jwk, "k", json!(""))).is_err());
}

#[test]
fn j17_a_key_keeps_to_its_own_algorithm() {
    let pkcs8 = RSA.to_pkcs8().unwrap();
    for alg in [Alg::RS384, Alg::RS512, Alg::PS256, Alg::PS384, Alg::PS512] {
        let token = SigningKey::from_pkcs8(alg, "rsa".into(), &pkcs8).unwrap().sign(None, CLAIMS).unwrap();
        let jws = CompactJws::parse(&token).unwrap();
        let pinned = set_of(&[RSA.public_jwk()]);
        assert_eq!(pinned.verify(&jws, &Alg::ALL).unwrap_err(), JoseError::AlgNotAllowed, "{alg}");
        let open = set_of(&[rsa_jwk()]);
        assert_eq!(open.verify(&jws, &[Alg::RS256]).unwrap_err(), JoseError::AlgNotAllowed, "{alg}");
        assert_eq!(open.verify(&jws, &[alg]).unwrap(), CLAIMS, "{alg}");
        // The same signature under another name is another algorithm's business, and wrong there.
        let [_, payload, signature] = parts(&token);
        let renamed = format!("{}.{payload}.{signature}", b64(r#"{"alg":"RS256","kid":"rsa"}"#));
        assert_eq!(verdict(&renamed).unwrap_err(), JoseError::Signature);
    }
}

#[test]
fn j18_a_key_for_something_else_is_refused() {
    let jwk = rsa_jwk();
    for wrong in [
        with(&jwk, "use", json!("enc")),
        with(&jwk, "use", json!(["sig"])),
        with(&jwk, "key_ops", json!(["encrypt"])),
        with(&jwk, "key_ops", json!([])),
        with(&jwk, "key_ops", json!("verify")),
        with(&jwk, "key_ops", json!(["verify", 1])),
        with(&jwk, "kty", json!("EC")),
        with(&jwk, "kty", json!("rsa")),
        with(&jwk, "kty", Value::Null),
        with(&jwk, "alg", json!("ES256")),
        with(&jwk, "alg", json!("RSA-OAEP")),
        with(&jwk, "alg", json!("none")),
        with(&jwk, "alg", json!(256)),
        with(&jwk, "kid", json!(1)),
        with(&jwk, "d", json!("AQAB")),
        json!("RSA"),
        json!(null),
    ] {
        assert!(VerifyingKey::from_jwk(&wrong).is_err(), "{wrong}");
    }
    assert!(VerifyingKey::from_jwk(&with(&jwk, "key_ops", json!(["verify"]))).is_ok());
    assert!(VerifyingKey::from_public_jwk(&json!({"kty": "oct", "k": b64([7; 32])})).is_err());
}

#[test]
fn j40_an_ambiguous_kid_is_refused() {
    let twin = SigningKey::generate(Alg::ES256, "ec".into()).unwrap();
    let token = EC.sign(None, CLAIMS).unwrap();
    let jws = CompactJws::parse(&token).unwrap();
    let both = set_of(&[EC.public_jwk(), twin.public_jwk()]);
    assert_eq!(both.verify(&jws, &Alg::ALL).unwrap_err(), JoseError::AmbiguousKid);
    // Also when the twin cannot be used, and when only one of them pins its algorithm.
    let broken = with(&EC.public_jwk(), "y", json!("AAAA"));
    assert_eq!(
        set_of(&[EC.public_jwk(), broken]).verify(&jws, &Alg::ALL).unwrap_err(),
        JoseError::AmbiguousKid
    );
    let unpinned = with(&twin.public_jwk(), "alg", Value::Null);
    assert_eq!(
        set_of(&[EC.public_jwk(), unpinned]).verify(&jws, &Alg::ALL).unwrap_err(),
        JoseError::AmbiguousKid
    );
    // One id for two kinds of key is no ambiguity.
    let other_kind = with(&rsa_jwk(), "kid", json!("ec"));
    assert_eq!(set_of(&[other_kind, EC.public_jwk()]).verify(&jws, &Alg::ALL).unwrap(), CLAIMS);
    // An id of the wrong kind only: known, so no reason to fetch the set again.
    let wrong_kind = with(&rsa_jwk(), "kid", json!("ec"));
    assert_eq!(set_of(&[wrong_kind]).verify(&jws, &Alg::ALL).unwrap_err(), JoseError::AlgNotAllowed);
    assert_eq!(set_of(&[ED.public_jwk()]).verify(&jws, &Alg::ALL).unwrap_err(), JoseError::UnknownKid);
}

#[test]
fn j40_without_a_kid_eight_fitting_keys_are_tried() {
    let token = EC.sign_with_header(json!({"kid": null}).as_object().unwrap(), CLAIMS).unwrap();
    let jws = CompactJws::parse(&token).unwrap();
    let stranger = || SigningKey::generate(Alg::ES256, "other".into()).unwrap().public_jwk();
    let after = |count: usize| {
        let mut keys = vec![rsa_jwk(); 3];
        keys.extend((0..count).map(|_| stranger()));
        keys.push(EC.public_jwk());
        set_of(&keys)
    };
    assert_eq!(after(0).verify(&jws, &Alg::ALL).unwrap(), CLAIMS);
    assert_eq!(after(4).verify(&jws, &Alg::ALL).unwrap(), CLAIMS);
    assert_eq!(after(7).verify(&jws, &Alg::ALL).unwrap(), CLAIMS);
    assert_eq!(after(8).verify(&jws, &Alg::ALL).unwrap_err(), JoseError::Signature);
    assert_eq!(after(99).verify(&jws, &Alg::ALL).unwrap_err(), JoseError::Signature);
    assert_eq!(set_of(&[rsa_jwk()]).verify(&jws, &Alg::ALL).unwrap_err(), JoseError::NoKey);
}

#[test]
fn j41_hostile_key_sets_are_refused_or_emptied() {
    for text in ["<html>", r#"{"keys":"#, "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, ""] {
        assert!(KeySet::parse(text.as_bytes()).is_err(), "{text}");
    }
    let long = format!(r#"{{"keys":[],"x":"{}"}}"#, "x".repeat(1 << 20));
    assert_eq!(KeySet::parse(long.as_bytes()).unwrap_err(), JoseError::TooLong(1 << 20));
    let many = json!({"keys": vec![json!({}); 1001]}).to_string();
    assert!(matches!(KeySet::parse(many.as_bytes()), Err(JoseError::KeySet(_))));
    let set = set_of(&[
        json!({"kty": "oct", "k": b64([7; 32]), "kid": "secret"}),
        json!({"kty": "oct", "k": b64([7; 32]), "kid": "a\nb"}),
        json!(1),
        with(&EC.public_jwk(), "d", json!(b64([7; 32]))),
        ED.public_jwk(),
    ]);
    assert_eq!(set.keys().len(), 1);
    assert_eq!(set.skipped().len(), 4);
    assert!(set.skipped()[0].contains("secret") && !set.skipped()[1].contains('\n'));
    assert!(set_of(&[]).keys().is_empty());
}

#[test]
fn pem_and_jwk_make_the_same_key() {
    let token = RSA.sign(None, CLAIMS).unwrap();
    let jws = CompactJws::parse(&token).unwrap();
    for pem in [rsa_pem(), rsa_pkcs1_pem(), format!("some text\n{}", rsa_pem().replace('\n', "\r\n"))] {
        let key = VerifyingKey::from_pem(&pem).unwrap();
        assert_eq!(key.algs().len(), 6);
        assert_eq!(jws.verify(&key).unwrap(), CLAIMS);
        let narrow = key.restricted_to(&[Alg::PS256]).unwrap();
        assert_eq!(jws.verify(&narrow).unwrap_err(), JoseError::AlgNotAllowed);
        assert!(key.restricted_to(&[Alg::HS256]).is_err());
    }
    let token = EC.sign(None, CLAIMS).unwrap();
    let key = VerifyingKey::from_pem(&ec_pem()).unwrap();
    assert_eq!(CompactJws::parse(&token).unwrap().verify(&key).unwrap(), CLAIMS);
}

/// The files were made for this test by OpenSSL 3.0; nothing else uses their keys.
#[test]
fn pem_from_openssl_is_read() {
    let ed = VerifyingKey::from_pem(include_str!("keys/ed25519_public.pem")).unwrap();
    assert_eq!(ed.algs(), [Alg::EdDSA]);
    let certificate = VerifyingKey::from_pem(include_str!("keys/p384_certificate.pem")).unwrap();
    assert_eq!(certificate.algs(), [Alg::ES384]);
    for (alg, pem, public) in [
        (Alg::ES384, include_str!("keys/p384_sec1.pem"), &certificate),
        (Alg::EdDSA, include_str!("keys/ed25519_private.pem"), &ed),
    ] {
        let token = SigningKey::from_pem(alg, "k".into(), pem).unwrap().sign(None, CLAIMS).unwrap();
        assert_eq!(CompactJws::parse(&token).unwrap().verify(public).unwrap(), CLAIMS);
    }
    let rsa = SigningKey::from_pem(Alg::PS256, "k".into(), include_str!("keys/rsa_pkcs1.pem")).unwrap();
    assert_eq!(rsa.public_jwk()["alg"], "PS256");
    for bad in [include_str!("keys/rsa_1024_public.pem"), include_str!("keys/secp256k1_public.pem")] {
        assert!(matches!(VerifyingKey::from_pem(bad), Err(JoseError::Key(_))));
    }
    let pem = ec_pem();
    let cut = &pem[..pem.len() - 40];
    for bad in [cut, "", "-----BEGIN PUBLIC KEY-----", &pem.replace("PUBLIC KEY", "DSA PUBLIC KEY")] {
        assert!(VerifyingKey::from_pem(bad).is_err());
    }
}

#[test]
fn s01_nothing_private_is_in_debug_output() {
    let secret = "canary-canary-canary-canary-canary";
    let signing = SigningKey::from_hmac_secret(Alg::HS256, "k".into(), secret.as_bytes()).unwrap();
    let shown = format!("{signing:?} {:?} {:?} {:?}", signing.verifying_key(), *RSA, *EC);
    assert!(!shown.contains("canary"), "{shown}");
    assert!(shown.len() < 400, "{shown}");
    assert_eq!(signing.public_jwk(), Value::Null);
    assert!(signing.to_pkcs8().is_err());
    for name in ["d", "p", "q", "dp", "dq", "qi", "k"] {
        assert!(RSA.public_jwk().get(name).is_none());
    }
}
