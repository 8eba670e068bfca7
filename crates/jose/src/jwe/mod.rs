//! Compact JWE (RFC 7516): decryption with a key that says itself what it may be used for, and encryption for a public key.
//!
//! Left out on purpose, and refused by name: RSA1_5 (padding oracles), PBES2 (a sender chooses the work), `zip` (a
//! sender chooses the size), and AES-192 key wrap, which aws-lc-rs does not offer.

mod agreement;
mod content;
mod encryption;
mod generation;
mod key;
mod names;
mod reading;

use std::fmt;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

pub use self::{
    encryption::EncryptionKey,
    generation::NewKeyPair,
    key::DecryptionKey,
    names::{Enc, KeyAlg},
};
use crate::{JoseError, base64url, header::is_plausible_kid, jwk::Jwk, parse_json};

/// The longest compact JWE that is looked at, in bytes: a JWS of [`crate::MAX_TOKEN_BYTES`] fits inside.
pub const MAX_BYTES: usize = 16_384;

/// The header, its `epk`, and one level more.
const MAX_DEPTH: usize = 4;

/// Decrypts a compact JWE: its `alg` and `enc` must be allowed both by the caller and by the key.
pub fn decrypt(
    token: &str,
    key: &DecryptionKey,
    allowed_algs: &[KeyAlg],
    allowed_encs: &[Enc],
) -> Result<Vec<u8>, JoseError> {
    CompactJwe::parse(token)?.decrypt(key, allowed_algs, allowed_encs)
}

/// A compact JWE, split, its header read.
#[derive(Clone)]
pub struct CompactJwe<'t> {
    alg: KeyAlg,
    enc: Enc,
    header: Map<String, Value>,
    /// The encoded header, which is the additional authenticated data.
    protected: &'t str,
    encrypted_key: Vec<u8>,
    iv: Vec<u8>,
    ciphertext: Vec<u8>,
    tag: Vec<u8>,
}

impl<'t> CompactJwe<'t> {
    /// Splits `token` and reads its header, strictly as with a JWS. What is not supported is refused here, before any
    /// work that its parameters could ask for.
    pub fn parse(token: &'t str) -> Result<Self, JoseError> {
        if token.len() > MAX_BYTES {
            return Err(JoseError::TooLong(MAX_BYTES));
        }
        let mut parts = token.split('.');
        let mut part = || parts.next().ok_or(JoseError::NotCompactJwe);
        let (protected, encrypted_key, iv, ciphertext, tag) = (part()?, part()?, part()?, part()?, part()?);
        if parts.next().is_some() || protected.is_empty() {
            return Err(JoseError::NotCompactJwe);
        }
        let decode = |text, name| base64url::decode(text).ok_or(JoseError::Base64(name));
        let Value::Object(header) = parse_json(&decode(protected, "header")?, MAX_DEPTH)? else {
            return Err(JoseError::Header("it is not an object"));
        };
        let (alg, enc) = read_header(&header)?;
        Ok(Self {
            alg,
            enc,
            header,
            protected,
            encrypted_key: decode(encrypted_key, "encrypted key")?,
            iv: decode(iv, "initialisation vector")?,
            ciphertext: decode(ciphertext, "ciphertext")?,
            tag: decode(tag, "authentication tag")?,
        })
    }

    /// How the content key is found.
    pub fn alg(&self) -> KeyAlg {
        self.alg
    }

    /// How the content is encrypted.
    pub fn enc(&self) -> Enc {
        self.enc
    }

    /// Which key it is for, if it says so.
    pub fn kid(&self) -> Option<&str> {
        self.header.get("kid").and_then(Value::as_str)
    }

    /// `cty`: `JWT` when the plaintext is a token in its turn.
    pub fn cty(&self) -> Option<&str> {
        self.header.get("cty").and_then(Value::as_str)
    }

    /// Decrypts, when `alg` and `enc` are allowed by the caller and by `key`.
    pub fn decrypt(
        &self,
        key: &DecryptionKey,
        allowed_algs: &[KeyAlg],
        allowed_encs: &[Enc],
    ) -> Result<Vec<u8>, JoseError> {
        let allowed = allowed_algs.contains(&self.alg) && allowed_encs.contains(&self.enc);
        if !allowed || !key.allows(self.alg, self.enc) {
            return Err(JoseError::AlgNotAllowed);
        }
        let content_key = self.content_key(key)?;
        content::open(
            self.enc,
            &content_key,
            &self.iv,
            self.protected.as_bytes(),
            &self.ciphertext,
            &self.tag,
        )
    }

    fn content_key(&self, key: &DecryptionKey) -> Result<Zeroizing<Vec<u8>>, JoseError> {
        let wrapped = &self.encrypted_key;
        match self.alg {
            // RFC 7518 sections 4.5 and 4.6: with direct use the encrypted key is empty.
            KeyAlg::Dir | KeyAlg::EcdhEs if !wrapped.is_empty() => Err(JoseError::Decryption),
            KeyAlg::Dir => key.secret().map(|secret| Zeroizing::new(secret.to_vec())),
            KeyAlg::A128Kw | KeyAlg::A256Kw => content::unwrap(key.secret()?, wrapped),
            KeyAlg::A128GcmKw | KeyAlg::A192GcmKw | KeyAlg::A256GcmKw => {
                let jwk = Jwk::of_members(&self.header);
                content::unwrap_gcm(key.secret()?, &jwk.bytes("iv")?, wrapped, &jwk.bytes("tag")?)
            }
            KeyAlg::RsaOaep | KeyAlg::RsaOaep256 => key.unwrap_oaep(self.alg, wrapped),
            KeyAlg::EcdhEs => agreement::derive(key, &self.header, self.enc.as_str(), self.enc.key_bytes()),
            KeyAlg::EcdhEsA128Kw => {
                let wrapping = agreement::derive(key, &self.header, self.alg.as_str(), 16)?;
                content::unwrap(&wrapping, wrapped)
            }
            KeyAlg::EcdhEsA256Kw => {
                let wrapping = agreement::derive(key, &self.header, self.alg.as_str(), 32)?;
                content::unwrap(&wrapping, wrapped)
            }
        }
    }
}

impl fmt::Debug for CompactJwe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompactJwe").field("alg", &self.alg).field("enc", &self.enc).finish_non_exhaustive()
    }
}

fn read_header(header: &Map<String, Value>) -> Result<(KeyAlg, Enc), JoseError> {
    if header.contains_key("crit") {
        return Err(JoseError::Critical);
    }
    if header.contains_key("zip") {
        return Err(JoseError::Unsupported("compressed plaintext (zip)"));
    }
    let text = |name| match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(JoseError::Header("alg, enc, kid, typ and cty are strings")),
    };
    text("typ")?;
    text("cty")?;
    if text("kid")?.is_some_and(|kid| !is_plausible_kid(kid)) {
        return Err(JoseError::Header("kid is empty, too long or has control characters"));
    }
    let alg = text("alg")?.ok_or(JoseError::Header("alg is missing"))?.parse()?;
    let enc = text("enc")?.ok_or(JoseError::Header("enc is missing"))?.parse()?;
    Ok((alg, enc))
}
