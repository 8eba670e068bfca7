//! What the verification of a token may take.

use std::hint::black_box;

use allocations::Counting;
use budgets::{Block, check};

use crate::{Alg, CompactJws, KeySet, SigningKey};

#[global_allocator]
static ALLOCATOR: Counting<std::alloc::System> = Counting(std::alloc::System);

const CLAIMS: &str = r#"{"iss":"https://issuer.example/","sub":"auth0|0123456789abcdef01234567","aud":["https://api.example/","https://issuer.example/userinfo"],"iat":1795762870,"exp":1795849270,"scope":"openid profile email read:things write:things","azp":"0123456789abcdefghijklmnopqrstuv"}"#;

#[test]
fn blocks_keep_to_their_budgets() {
    let verify =
        |name, instructions, prepare| Block { name, instructions, allocations: 5.0, times: 20, prepare };
    check(
        "budgets::blocks_keep_to_their_budgets",
        &[
            verify("RS256 verify", 470_000, || verifying(Alg::RS256)),
            verify("ES256 verify", 1_000_000, || verifying(Alg::ES256)),
        ],
    );
}

/// A token that is parsed and verified by one of three keys.
fn verifying(alg: Alg) -> Box<dyn FnMut()> {
    // A key of its own each time would be looked for in another number of steps.
    let pem = include_str!("../tests/keys/rsa_pkcs1.pem");
    let rsa = SigningKey::from_pem(Alg::RS256, "rsa".to_owned(), pem).unwrap();
    let others =
        [Alg::ES256, Alg::EdDSA].map(|kind| SigningKey::generate(kind, format!("{kind:?}")).unwrap());
    let keys: Vec<SigningKey> = std::iter::once(rsa).chain(others).collect();
    let token =
        keys.iter().find(|key| key.alg() == alg).unwrap().sign(Some("at+jwt"), CLAIMS.as_bytes()).unwrap();
    let set = KeySet::new(keys.iter().map(SigningKey::verifying_key).collect());
    Box::new(move || {
        let jws = CompactJws::parse(&token).unwrap();
        assert_eq!(black_box(set.verify(&jws, &[alg]).unwrap()), CLAIMS.as_bytes());
    })
}
