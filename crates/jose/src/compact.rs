use std::fmt;

use serde_json::Value;

use crate::{Alg, Header, JoseError, MAX_TOKEN_BYTES, VerifyingKey, base64url, parse_json};

/// Nesting of a header with a key in it.
const MAX_HEADER_DEPTH: usize = 4;

/// The longest signature: RSA with 8192 bits, and two bytes that base64 decoding wants to spare.
const SIGNATURE_ROOM: usize = 1024 + 2;

/// A token in JWS compact serialisation (RFC 7515 section 7.1), split and checked, with its header read. Nothing in it
/// is to be believed before [`CompactJws::verify`].
#[derive(Clone)]
pub struct CompactJws<'t> {
    header: Header,
    alg: Option<Alg>,
    signing_input: &'t str,
    payload: &'t str,
    signature: &'t str,
}

impl<'t> CompactJws<'t> {
    /// Splits `token` and reads its header. Refused here: more than [`MAX_TOKEN_BYTES`], anything but three parts of
    /// strict base64url with a signature, a header that is not strict JSON or breaks its rules, `crit` and `b64`.
    pub fn parse(token: &'t str) -> Result<Self, JoseError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(JoseError::TooLong(MAX_TOKEN_BYTES));
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(JoseError::NotCompactJws)?;
        let (header, payload) = signing_input.split_once('.').ok_or(JoseError::NotCompactJws)?;
        if header.is_empty() || signature.is_empty() || payload.contains('.') {
            return Err(JoseError::NotCompactJws);
        }
        if !base64url::is_strict(payload.as_bytes()) {
            return Err(JoseError::Base64("payload"));
        }
        if !base64url::is_strict(signature.as_bytes()) {
            return Err(JoseError::Base64("signature"));
        }
        let header = base64url::decode(header).ok_or(JoseError::Base64("header"))?;
        let header = Header::parse(&header)?;
        let alg = header.alg.parse().ok();
        Ok(Self { header, alg, signing_input, payload, signature })
    }

    /// The header, unverified.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The header's algorithm, if it is one that exists here.
    pub fn alg(&self) -> Result<Alg, JoseError> {
        // Parsed anew for the reason alone.
        self.alg.map_or_else(|| self.header.alg.parse(), Ok)
    }

    /// The key that the token carries in its own header (`jwk`), for proofs of possession alone (RFC 9449): there the
    /// key is what is proved, and its thumbprint is compared with one that somebody trusted has vouched for. Whoever
    /// believes anything else that is signed by such a key believes everybody.
    pub fn carried_key(&self) -> Result<Value, JoseError> {
        let header = self.signing_input.split('.').next().unwrap_or_default();
        let header = base64url::decode(header).ok_or(JoseError::Base64("header"))?;
        let mut header = parse_json(&header, MAX_HEADER_DEPTH)?;
        match header.get_mut("jwk").map(Value::take) {
            Some(key @ Value::Object(_)) => Ok(key),
            _ => Err(JoseError::Key("the token carries no key")),
        }
    }

    /// The bytes that are signed: header, dot, payload, as they came.
    pub fn signing_input(&self) -> &'t [u8] {
        self.signing_input.as_bytes()
    }

    /// Verifies the signature with `key`, whose own algorithms must contain the header's, and returns the payload.
    /// The key's id is not compared: the caller chose this key.
    pub fn verify(&self, key: &VerifyingKey) -> Result<Vec<u8>, JoseError> {
        let alg = self.alg()?;
        if !key.algs().contains(&alg) {
            return Err(JoseError::AlgNotAllowed);
        }
        if self.is_signed_by(key, alg) { self.payload_unverified() } else { Err(JoseError::Signature) }
    }

    /// The payload without any proof of who wrote it: for choosing an issuer's keys, never for a decision.
    pub fn payload_unverified(&self) -> Result<Vec<u8>, JoseError> {
        base64url::decode(self.payload).ok_or(JoseError::Base64("payload"))
    }

    pub(crate) fn is_signed_by(&self, key: &VerifyingKey, alg: Alg) -> bool {
        let mut room = [0; SIGNATURE_ROOM];
        base64url::decode_into(self.signature, &mut room)
            .is_some_and(|signature| key.verify(alg, self.signing_input(), signature))
    }
}

impl fmt::Debug for CompactJws<'_> {
    /// The header only: payload and signature together are a credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompactJws").field("header", &self.header).finish_non_exhaustive()
    }
}
