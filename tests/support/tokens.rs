//! Tokens and their keys.

use jose::{Alg, SigningKey};
use serde_json::{Value, json};

/// A signing key, made once for each algorithm's first letters: RSA keys take long to make.
pub(crate) fn key(alg: Alg, kid: &str) -> SigningKey {
    SigningKey::generate(alg, kid.to_owned()).unwrap()
}

/// A JWT over these claims.
pub(crate) fn mint(key: &SigningKey, claims: &Value) -> String {
    key.sign(Some("JWT"), claims.to_string().as_bytes()).unwrap()
}

/// A JWKS of these keys' public halves.
pub(crate) fn jwks(keys: &[&SigningKey]) -> Value {
    json!({"keys": keys.iter().map(|key| key.public_jwk()).collect::<Vec<_>>()})
}

/// Seconds since the epoch, by this machine's clock.
pub(crate) fn now() -> i64 {
    base::Clock::system().now().secs()
}
