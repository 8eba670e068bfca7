//! Decryption keys as people write them: PEM blocks, a JWK, or a JWK Set.

use aws_lc_rs::{
    agreement,
    encoding::AsDer,
    rsa::{OaepPrivateDecryptingKey, PrivateDecryptingKey},
    signature::{KeyPair, RsaKeyPair},
};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{DecryptionKey, KeyAlg, key::Material};
use crate::{JoseError, jwk::Curve, parse_json, pem, rsa};

/// Private keys, unencrypted: PKCS#8, PKCS#1 and SEC1.
const LABELS: [&str; 3] = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"];
/// A key set, a key in it, its members.
const MAX_DEPTH: usize = 4;
/// Keys that are read at most: the current one, and some that are on their way out.
const MAX_KEYS: usize = 8;
/// What stands before the 32 bytes of an X25519 key in PKCS#8 (RFC 8410 section 7).
const X25519_PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x04, 0x22, 0x04, 0x20];
const UNREADABLE: JoseError = JoseError::Key("it is no RSA, EC or X25519 private key");

impl DecryptionKey {
    /// Reads the private keys of `text`: PEM blocks one behind the other, a JWK, or a JWK Set. Shared keys are refused.
    ///
    /// # Errors
    ///
    /// When there is none, or one of them is not as [`DecryptionKey::from_jwk`] wants it.
    pub fn read_all(text: &str) -> Result<Vec<Self>, JoseError> {
        let keys = if text.trim_start().starts_with('{') { from_json(text)? } else { from_pem(text)? };
        match keys.len() {
            0 => Err(JoseError::Key("there is no key")),
            1..=MAX_KEYS => Ok(keys),
            _ => Err(JoseError::Key("there are too many keys")),
        }
    }

    /// Reads the first private key of a PEM text. It does all that its kind allows.
    ///
    /// # Errors
    ///
    /// When there is none, or it is weak or of a kind that nothing is encrypted for.
    pub fn from_pem(text: &str) -> Result<Self, JoseError> {
        let block = pem::first_block(text, &LABELS)?;
        let (material, algs) = material(&block)?;
        Ok(Self { kid: None, algs: algs.to_vec(), enc: None, material })
    }
}

/// Reads one PKCS#8 key.
pub(super) fn from_pkcs8(kid: String, der: &[u8]) -> Result<DecryptionKey, JoseError> {
    let block = pem::Block { label: "PRIVATE KEY".to_owned(), der: Zeroizing::new(der.to_vec()) };
    let (material, algs) = material(&block)?;
    Ok(DecryptionKey { kid: Some(kid), algs: algs.to_vec(), enc: None, material })
}

fn from_json(text: &str) -> Result<Vec<DecryptionKey>, JoseError> {
    let read = |jwk: &Value| {
        if jwk.get("kty").and_then(Value::as_str) == Some("oct") {
            return Err(JoseError::Key("a shared key does not prove who encrypted; a private key is wanted"));
        }
        DecryptionKey::from_jwk(jwk)
    };
    let value = parse_json(text.as_bytes(), MAX_DEPTH)?;
    match value.get("keys") {
        None => Ok(vec![read(&value)?]),
        Some(Value::Array(keys)) => keys.iter().map(read).collect(),
        Some(_) => Err(JoseError::KeySet("keys is no list")),
    }
}

fn from_pem(text: &str) -> Result<Vec<DecryptionKey>, JoseError> {
    const BEGIN: &str = "-----BEGIN ";
    let starts = text.match_indices(BEGIN).map(|(at, _)| at);
    let blocks = starts.filter_map(|at| text.get(at..)).filter(|block| {
        let label = block.strip_prefix(BEGIN).unwrap_or_default();
        LABELS.iter().any(|known| label.starts_with(&format!("{known}-----")))
    });
    blocks.map(DecryptionKey::from_pem).collect()
}

fn material(block: &pem::Block) -> Result<(Material, &'static [KeyAlg]), JoseError> {
    let der = block.der.as_slice();
    let pair = match block.label.as_str() {
        "RSA PRIVATE KEY" => Some(RsaKeyPair::from_der(der).map_err(|_| UNREADABLE)?),
        "PRIVATE KEY" => RsaKeyPair::from_pkcs8(der).ok(),
        _ => None,
    };
    if let Some(pair) = pair {
        return Ok((Material::Rsa(oaep(&pair)?), &KeyAlg::RSA));
    }
    if let Some(seed) = der.strip_prefix(&X25519_PKCS8).filter(|seed| seed.len() == 32) {
        let key =
            agreement::PrivateKey::from_private_key(&agreement::X25519, seed).map_err(|_| UNREADABLE)?;
        return Ok((Material::X25519(key), &KeyAlg::AGREEMENT));
    }
    let ec = Curve::ALL.into_iter().find_map(|curve| {
        let key = agreement::PrivateKey::from_private_key_der(curve.agreement(), der).ok()?;
        Some(Material::Ec(curve, key))
    });
    ec.map(|material| (material, KeyAlg::AGREEMENT.as_slice())).ok_or(UNREADABLE)
}

fn oaep(pair: &RsaKeyPair) -> Result<OaepPrivateDecryptingKey, JoseError> {
    let public = pair.public_key();
    let (n, e) = (public.modulus(), public.exponent());
    rsa::check_public(n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero())?;
    let der = pair.as_der().map_err(|_| JoseError::Crypto)?;
    let key = PrivateDecryptingKey::from_pkcs8(der.as_ref()).ok();
    key.and_then(|key| OaepPrivateDecryptingKey::new(key).ok()).ok_or(UNREADABLE)
}
