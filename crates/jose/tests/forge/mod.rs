//! What an attacker has: public keys in every spelling, and tokens put together by hand.
// Every test file takes what it needs.
#![allow(dead_code)]

use std::sync::LazyLock;

use aws_lc_rs::{
    encoding::AsDer,
    hmac,
    signature::{EcdsaKeyPair, KeyPair, RsaKeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jose::{Alg, CompactJws, JoseError, KeySet, SigningKey};
use serde_json::{Value, json};

pub(crate) static RSA: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(Alg::RS256, "rsa".into()).unwrap());
pub(crate) static EC: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(Alg::ES256, "ec".into()).unwrap());
pub(crate) static ED: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(Alg::EdDSA, "ed".into()).unwrap());

pub(crate) const CLAIMS: &[u8] = br#"{"sub":"alice"}"#;

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn unb64(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

pub(crate) fn token(header: &str, payload: &[u8], signature: &[u8]) -> String {
    format!("{}.{}.{}", b64(header), b64(payload), b64(signature))
}

/// A token with a MAC over it, under any secret and header.
pub(crate) fn mac_token(alg: &str, kid: &str, secret: &[u8]) -> String {
    let hash = match alg {
        "HS384" => hmac::HMAC_SHA384,
        "HS512" => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    };
    let input = format!("{}.{}", b64(json!({"alg": alg, "kid": kid}).to_string()), b64(CLAIMS));
    let mac = hmac::sign(&hmac::Key::new(hash, secret), input.as_bytes());
    format!("{input}.{}", b64(mac))
}

/// The three parts of a token.
pub(crate) fn parts(token: &str) -> [&str; 3] {
    token.split('.').collect::<Vec<_>>().try_into().unwrap()
}

/// A set of the public keys of RSA (without `alg`, so that it would do six), EC and ED.
pub(crate) fn key_set() -> KeySet {
    KeySet::parse(json!({"keys": [rsa_jwk(), EC.public_jwk(), ED.public_jwk()]}).to_string().as_bytes())
        .unwrap()
}

pub(crate) fn rsa_jwk() -> Value {
    let mut jwk = RSA.public_jwk();
    jwk.as_object_mut().unwrap().shift_remove("alg");
    jwk
}

/// What a resource server that allows every algorithm says.
pub(crate) fn verdict(token: &str) -> Result<Vec<u8>, JoseError> {
    key_set().verify(&CompactJws::parse(token)?, &Alg::ALL)
}

/// Whether neither the set nor any of its keys alone takes the token.
pub(crate) fn is_refused(token: &str) -> bool {
    let set = key_set();
    let Ok(jws) = CompactJws::parse(token) else { return true };
    set.verify(&jws, &Alg::ALL).is_err() && set.keys().iter().all(|key| jws.verify(key).is_err())
}

pub(crate) fn rsa_pem() -> String {
    pem("PUBLIC KEY", &rsa_der())
}

pub(crate) fn rsa_der() -> Vec<u8> {
    let pair = RsaKeyPair::from_pkcs8(&RSA.to_pkcs8().unwrap()).unwrap();
    AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap().as_ref().to_vec()
}

pub(crate) fn rsa_pkcs1_pem() -> String {
    let pair = RsaKeyPair::from_pkcs8(&RSA.to_pkcs8().unwrap()).unwrap();
    pem("RSA PUBLIC KEY", pair.public_key().as_ref())
}

pub(crate) fn ec_pem() -> String {
    let algorithm = &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, &EC.to_pkcs8().unwrap()).unwrap();
    let der = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
    pem("PUBLIC KEY", der.as_ref())
}

pub(crate) fn ec_point() -> Vec<u8> {
    let jwk = EC.public_jwk();
    [vec![4], unb64(jwk["x"].as_str().unwrap()), unb64(jwk["y"].as_str().unwrap())].concat()
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> =
        body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
