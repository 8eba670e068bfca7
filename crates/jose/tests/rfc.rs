//! The examples of the RFCs.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod policy;

use jose::{Alg, CompactJws, KeySet, SigningKey, VerifyingKey, jwe::DecryptionKey};
use serde_json::json;

#[test]
fn the_examples_of_the_rfcs_come_out_byte_for_byte_or_are_refused_by_name() {
    let examples = policy::examples();
    assert_eq!(examples.len(), 36);
    for example in examples {
        let key = example.key.to_string();
        let opened = match example.is_encrypted {
            true => jose::cli::decrypt(key.as_bytes(), None, None, &example.token),
            false => jose::cli::verify(key.as_bytes(), None, &example.token),
        };
        match (opened, example.expected) {
            (Ok(payload), Ok(expected)) => assert_eq!(payload, expected, "{}", example.name),
            (Err(reason), Err(expected)) => {
                assert!(reason.contains(&expected), "{}: {reason}", example.name);
            }
            (opened, _) => panic!("{}: {opened:?}", example.name),
        }
    }
}

/// The keys of RFC 7517 appendix A: the public ones, the private ones, the shared ones.
#[test]
fn the_key_sets_of_rfc_7517_appendix_a_are_read_as_what_they_are() {
    let rsa = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let encrypting = json!({"kty": "EC", "crv": "P-256", "use": "enc", "kid": "1",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"});
    let signing = json!({"kty": "RSA", "n": rsa, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"});
    let set = json!({"keys": [encrypting, signing]}).to_string();
    let set = KeySet::parse(set.as_bytes()).unwrap();
    let kids: Vec<_> = set.keys().iter().map(|key| (key.kid(), key.algs())).collect();
    assert_eq!(kids, [(Some("2011-04-29"), &[Alg::RS256][..])], "the other one is for encryption");
    // RFC 7638 section 3.1.
    assert_eq!(jose::thumbprint(&signing).unwrap(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");

    let mut private = encrypting.clone();
    private["d"] = json!("870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE");
    assert_eq!(DecryptionKey::from_jwk(&private).unwrap().kid(), Some("1"));
    assert!(VerifyingKey::from_jwk(&private).is_err(), "it is for encryption");

    let wrapping = json!({"kty": "oct", "alg": "A128KW", "k": "GawgguFyGrWKav7AX4VKUg"});
    assert_eq!(DecryptionKey::from_jwk(&wrapping).unwrap().algs(), [jose::jwe::KeyAlg::A128Kw]);
    assert!(VerifyingKey::from_jwk(&wrapping).is_err());
    let shared = json!({"keys": [wrapping]}).to_string();
    assert!(
        KeySet::parse(shared.as_bytes()).unwrap().keys().is_empty(),
        "a published set has no shared keys"
    );
}

/// RFC 8037 appendices A.1 to A.3 and A.7: the keys, the thumbprint, and a curve that is not supported.
#[test]
fn the_keys_of_rfc_8037_are_read_and_x448_is_refused() {
    let public = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    assert_eq!(VerifyingKey::from_jwk(&public).unwrap().algs(), [Alg::EdDSA]);
    assert_eq!(jose::thumbprint(&public).unwrap(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    for curve in ["X448", "Ed448"] {
        let jwk = json!({"kty": "OKP", "crv": curve, "x": "AAAA", "d": "AAAA"});
        assert!(VerifyingKey::from_jwk(&jwk).is_err() && DecryptionKey::from_jwk(&jwk).is_err(), "{curve}");
    }
}

#[test]
fn rfc_8037_a4_is_signed_to_the_byte() {
    let jwk = json!({
        "kty": "OKP",
        "crv": "Ed25519",
        "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "alg": "EdDSA",
        "kid": "a4"
    });
    let key = SigningKey::from_jwk(&jwk).unwrap();
    let without_kid = json!({"kid": null});
    let token =
        key.sign_with_header(without_kid.as_object().unwrap(), b"Example of Ed25519 signing").unwrap();
    assert_eq!(
        token,
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    );
    assert_eq!(
        CompactJws::parse(&token).unwrap().verify(&key.verifying_key()).unwrap(),
        b"Example of Ed25519 signing"
    );
    assert_eq!(key.alg(), Alg::EdDSA);
}
