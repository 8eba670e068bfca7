//! `portcullis jose verify` and `portcullis jose decrypt`: the code that the gateway uses, for a person or a test
//! vector. Reasons are sentences; nothing of a token or a key is in them.

use serde_json::{Map, Value};

use crate::{
    Alg, CompactJws, JoseError, KeySet, VerifyingKey,
    jwe::{CompactJwe, DecryptionKey, Enc, KeyAlg},
    parse_json,
};

/// Depth of a JWK or a JWKS.
const MAX_DEPTH: usize = 8;

/// Verifies one compact JWS with a JWK or JWKS and returns the payload. `alg`, when given, is the only algorithm
/// allowed; the key's own list holds in any case. Unlike a provider's set, the file may have symmetric keys, though
/// not beside public ones, and private keys, of which the public half is taken.
pub fn verify(jwk_json: &[u8], alg: Option<&str>, token: &str) -> Result<Vec<u8>, String> {
    verify_token(jwk_json, alg, one_line(token)).map_err(|reason| reason.to_string())
}

/// Decrypts one compact JWE with a private or symmetric JWK, or a JWKS of such. `alg` and `enc`, when given, are the
/// only algorithms allowed; the key's own list holds in any case.
pub fn decrypt(
    jwk_json: &[u8],
    alg: Option<&str>,
    enc: Option<&str>,
    token: &str,
) -> Result<Vec<u8>, String> {
    decrypt_token(jwk_json, alg, enc, one_line(token)).map_err(|reason| reason.to_string())
}

fn verify_token(jwk_json: &[u8], alg: Option<&str>, token: &str) -> Result<Vec<u8>, JoseError> {
    refuse_json(token)?;
    let allowed = match alg {
        Some(name) => vec![name.parse()?],
        None => Alg::ALL.to_vec(),
    };
    let document = parse_json(jwk_json, MAX_DEPTH)?;
    if document.get("keys").is_none() {
        let key = VerifyingKey::from_jwk(&public_half(&document))?.restricted_to(&allowed)?;
        return CompactJws::parse(token)?.verify(&key);
    }
    let set = KeySet::parse_with(jwk_json, |jwk| VerifyingKey::from_jwk(&public_half(jwk)))?;
    // Whoever reads such a set cannot tell what it is for: published, its secrets are none.
    let symmetric = |key: &VerifyingKey| key.algs().iter().any(|alg| alg.is_symmetric());
    if set.keys().iter().any(symmetric) && !set.keys().iter().all(symmetric) {
        return Err(JoseError::KeySet("it mixes symmetric and public keys"));
    }
    if let (true, [_, ..]) = (set.keys().is_empty(), set.skipped()) {
        return Err(first_refusal(&document));
    }
    set.verify(&CompactJws::parse(token)?, &allowed)
}

fn decrypt_token(
    jwk_json: &[u8],
    alg: Option<&str>,
    enc: Option<&str>,
    token: &str,
) -> Result<Vec<u8>, JoseError> {
    refuse_json(token)?;
    let algs: Vec<KeyAlg> = match alg {
        Some(name) => vec![name.parse()?],
        None => KeyAlg::ALL.to_vec(),
    };
    let encs: Vec<Enc> = match enc {
        Some(name) => vec![name.parse()?],
        None => Enc::ALL.to_vec(),
    };
    let document = parse_json(jwk_json, MAX_DEPTH)?;
    let jwe = CompactJwe::parse(token)?;
    let Some(entries) = document.get("keys") else {
        return jwe.decrypt(&DecryptionKey::from_jwk(&document)?, &algs, &encs);
    };
    let entries = entries.as_array().ok_or(JoseError::KeySet("`keys` is not an array"))?;
    let kid = jwe.kid().map(Value::from);
    let mut named = entries.iter().filter(|entry| kid.is_none() || entry.get("kid") == kid.as_ref());
    match (named.next(), named.next()) {
        (Some(entry), None) => jwe.decrypt(&DecryptionKey::from_jwk(entry)?, &algs, &encs),
        (Some(_), Some(_)) => Err(JoseError::AmbiguousKid),
        (None, _) => Err(JoseError::UnknownKid),
    }
}

/// Why the first key of a set that has no usable one was refused.
fn first_refusal(document: &Value) -> JoseError {
    let first = document.pointer("/keys/0").map(|jwk| VerifyingKey::from_jwk(&public_half(jwk)));
    match first {
        Some(Err(reason)) => reason,
        _ => JoseError::NoKey,
    }
}

/// The JWK without its private members, so that a person may point at the file of a private key. Its `key_ops` may say
/// `sign` where the public half's would say `verify`.
fn public_half(jwk: &Value) -> Value {
    let Value::Object(members) = jwk else { return jwk.clone() };
    if !members.contains_key("d") || members.get("kty").is_some_and(|kty| kty == "oct") {
        return jwk.clone();
    }
    let mut public = Map::new();
    for (name, value) in members {
        match (name.as_str(), value) {
            ("d" | "p" | "q" | "dp" | "dq" | "qi", _) => {}
            ("key_ops", Value::Array(operations))
                if operations.iter().any(|operation| operation == "sign") =>
            {
                public.insert(name.clone(), Value::from(vec!["verify"]));
            }
            _ => {
                public.insert(name.clone(), value.clone());
            }
        }
    }
    Value::Object(public)
}

/// The JSON serialisations by their name (RFC 7515 section 7.2, RFC 7516 section 7.2): what is read here otherwise would
/// complain of parts.
fn refuse_json(token: &str) -> Result<(), JoseError> {
    match token.trim_start().starts_with('{') {
        true => Err(JoseError::Unsupported("the JSON serialisation")),
        false => Ok(()),
    }
}

/// The token without the line end that a file or a shell puts after it.
fn one_line(token: &str) -> &str {
    let token = token.strip_suffix('\n').unwrap_or(token);
    token.strip_suffix('\r').unwrap_or(token)
}
