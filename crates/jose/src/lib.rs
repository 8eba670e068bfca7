//! JOSE for the gate and the gatekeeper: compact JWS (RFC 7515), JWK and JWK Sets (RFC 7517), compact JWE (RFC 7516),
//! on aws-lc-rs keys that are parsed once.
//!
//! What it is: bytes in, verdicts out. Keys are made when configuration is compiled or a key set is fetched; a request
//! then costs one header, one signature and one allocation for the payload. What it is not: it fetches nothing, has no
//! clock, and knows no claims. Whether a payload's `exp`, `iss` or `aud` will do is for its callers to say: the relying
//! party and the plugins on one side, the identity provider on the other, and `portcullis jose` for a person.
//!
//! The rules of RFC 8725 are built in rather than offered: a token's `alg` never chooses a kind of key, it must be
//! among the algorithms the key itself allows; keys that travel in a token are never looked at; unencoded payloads,
//! critical extensions, `none`, RSA1_5, PBES2 and compressed plaintext do not exist here.

mod alg;
mod base64url;
#[cfg(test)]
mod budgets;
pub mod cli;
mod compact;
mod error;
mod header;
mod json;
pub mod jwe;
mod jwk;
mod key;
mod keyset;
mod pem;
mod rsa;
mod signing;

pub use alg::{Alg, half_hash};
pub use compact::CompactJws;
pub use error::JoseError;
pub use header::Header;
pub use json::parse_json;
pub use jwk::thumbprint;
pub use key::VerifyingKey;
pub use keyset::KeySet;
pub use signing::SigningKey;

/// The longest compact JWS that is looked at, in bytes; anything longer is refused before any decoding.
pub const MAX_TOKEN_BYTES: usize = 8192;
