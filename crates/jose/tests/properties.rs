//! For arbitrary and for damaged input: no panic, no acceptance; and what is signed verifies.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod forge;

use std::sync::LazyLock;

use forge::*;
use jose::{Alg, CompactJws, KeySet, SigningKey, VerifyingKey, jwe::CompactJwe, parse_json};
use proptest::prelude::*;

static KEYS: LazyLock<Vec<SigningKey>> = LazyLock::new(|| {
    Alg::ALL.into_iter().map(|alg| SigningKey::generate(alg, alg.to_string()).unwrap()).collect()
});

#[test]
fn every_algorithm_signs_what_it_verifies_and_survives_storage() {
    for key in KEYS.iter() {
        let token = key.sign(Some("JWT"), CLAIMS).unwrap();
        let jws = CompactJws::parse(&token).unwrap();
        assert_eq!(jws.header().alg, key.alg().as_str());
        assert_eq!(jws.header().kid.as_deref(), Some(key.kid()));
        assert_eq!(jws.verify(&key.verifying_key()).unwrap(), CLAIMS);
        assert_eq!(key.verifying_key().algs(), [key.alg()]);
        for other in KEYS.iter().filter(|other| other.alg() != key.alg()) {
            assert!(jws.verify(&other.verifying_key()).is_err(), "{} by {}", key.alg(), other.alg());
        }
        if key.alg().is_symmetric() {
            continue;
        }
        let published = VerifyingKey::from_public_jwk(&key.public_jwk()).unwrap();
        assert_eq!((published.kid(), published.algs()), (Some(key.kid()), &[key.alg()][..]));
        assert_eq!(jws.verify(&published).unwrap(), CLAIMS);
        let stored = SigningKey::from_pkcs8(key.alg(), "stored".into(), &key.to_pkcs8().unwrap()).unwrap();
        let token = stored.sign(None, CLAIMS).unwrap();
        assert_eq!(CompactJws::parse(&token).unwrap().verify(&published).unwrap(), CLAIMS);
        let pem = pem("PRIVATE KEY", &key.to_pkcs8().unwrap());
        assert_eq!(
            SigningKey::from_pem(key.alg(), key.kid().into(), &pem).unwrap().public_jwk(),
            key.public_jwk()
        );
    }
}

#[test]
fn keys_are_shared_by_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<(VerifyingKey, KeySet, SigningKey, jose::jwe::DecryptionKey)>();
}

#[test]
fn a_private_key_is_not_taken_for_another_algorithms_kind() {
    for key in KEYS.iter().filter(|key| !key.alg().is_symmetric()) {
        for alg in Alg::ALL {
            let same = SigningKey::from_pkcs8(alg, "k".into(), &key.to_pkcs8().unwrap()).is_ok();
            let rsa = |alg: Alg| matches!(alg.as_str().as_bytes()[0], b'R' | b'P');
            assert_eq!(same, alg == key.alg() || rsa(alg) && rsa(key.alg()), "{} as {alg}", key.alg());
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_text_is_refused_without_a_panic(text in ".*") {
        prop_assert!(CompactJws::parse(&text).is_err());
        prop_assert!(CompactJwe::parse(&text).is_err());
        let _ = VerifyingKey::from_pem(&text);
    }

    #[test]
    fn text_that_looks_like_a_token_does_not_panic(
        text in "[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}(\\.[A-Za-z0-9_-]{0,20}){0,3}",
    ) {
        let _ = CompactJws::parse(&text);
        let _ = CompactJwe::parse(&text);
    }

    #[test]
    fn arbitrary_headers_do_not_panic(header in "\\{(\"(alg|kid|typ|crit|x)\":(\"RS256\"|1|null|\\[\\]|\\{\\}),?){0,5}\\}") {
        let _ = CompactJws::parse(&token(&header, CLAIMS, b"x"));
    }

    #[test]
    fn arbitrary_bytes_are_no_json_bomb(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_json(&bytes, 8);
        let _ = KeySet::parse(&bytes);
        let damaged = pem("PUBLIC KEY", &bytes);
        prop_assert!(VerifyingKey::from_pem(&damaged).is_err());
        prop_assert!(VerifyingKey::from_pem(&pem("CERTIFICATE", &bytes)).is_err());
    }

    #[test]
    fn a_damaged_token_is_refused(which in 0..13usize, place in any::<prop::sample::Index>(), letter in "[ -~]") {
        let key = &KEYS[which];
        let good = key.sign(Some("JWT"), CLAIMS).unwrap();
        let place = place.index(good.len());
        let damaged = format!("{}{letter}{}", &good[..place], &good[place + 1..]);
        prop_assume!(damaged != good);
        let refused = CompactJws::parse(&damaged).and_then(|jws| jws.verify(&key.verifying_key()));
        prop_assert!(refused.is_err());
    }

    #[test]
    fn a_cut_token_is_refused(which in 0..13usize, cut in any::<prop::sample::Index>()) {
        let key = &KEYS[which];
        let good = key.sign(None, CLAIMS).unwrap();
        let cut = &good[..cut.index(good.len())];
        prop_assert!(CompactJws::parse(cut).and_then(|jws| jws.verify(&key.verifying_key())).is_err());
    }

    #[test]
    fn any_payload_comes_back(payload in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let good = ED.sign(None, &payload).unwrap();
        prop_assert_eq!(CompactJws::parse(&good).unwrap().verify(&ED.verifying_key()).unwrap(), payload);
    }

    #[test]
    fn strict_json_reads_what_serde_json_writes(text in ".*", number in any::<i64>(), flag in any::<bool>()) {
        prop_assume!(!text.contains('\0'));
        let value = serde_json::json!({"text": text, "list": [number, flag, null], "object": {"n": number}});
        prop_assert_eq!(parse_json(value.to_string().as_bytes(), 3).unwrap(), value);
    }
}
