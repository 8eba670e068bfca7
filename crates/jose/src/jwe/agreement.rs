use aws_lc_rs::{
    agreement::{UnparsedPublicKey, agree},
    digest,
};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::DecryptionKey;
use crate::{JoseError, base64url, jwk::Jwk};

/// Bytes of `apu` and `apv` each.
const MAX_PARTY_INFO: usize = 1024;

/// The key of ECDH-ES (RFC 7518 section 4.6): agreement with the header's `epk`, then the Concat KDF for `algorithm`.
/// A point off the curve, and an X25519 point of low order, agree on nothing: aws-lc refuses them.
pub(super) fn derive(
    key: &DecryptionKey,
    header: &Map<String, Value>,
    algorithm: &str,
    bytes: usize,
) -> Result<Zeroizing<Vec<u8>>, JoseError> {
    let epk = header.get("epk").ok_or(JoseError::Header("epk is missing"))?;
    let (private, public) = key.agreement_with(Jwk::new(epk)?)?;
    let info = other_info(algorithm, &party_info(header, "apu")?, &party_info(header, "apv")?, bytes);
    let public = UnparsedPublicKey::new(private.algorithm(), public);
    agree(private, public, JoseError::Decryption, |shared| Ok(concat_kdf(shared, &info, bytes)))
}

fn party_info(header: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, JoseError> {
    let bytes = match header.get(name) {
        None => Some(Vec::new()),
        Some(Value::String(text)) => base64url::decode(text),
        Some(_) => None,
    };
    bytes
        .filter(|bytes| bytes.len() <= MAX_PARTY_INFO)
        .ok_or(JoseError::Header("apu and apv are short base64url"))
}

/// AlgorithmID, PartyUInfo, PartyVInfo and SuppPubInfo of RFC 7518 section 4.6.2.
pub(super) fn other_info(algorithm: &str, apu: &[u8], apv: &[u8], bytes: usize) -> Vec<u8> {
    let mut info = Vec::with_capacity(16 + algorithm.len() + apu.len() + apv.len());
    for part in [algorithm.as_bytes(), apu, apv] {
        // Parts are names of this crate, or bounded above.
        info.extend_from_slice(&(part.len() as u32).to_be_bytes());
        info.extend_from_slice(part);
    }
    info.extend_from_slice(&(bytes as u32 * 8).to_be_bytes());
    info
}

/// NIST SP 800-56A, section 5.8.1, with SHA-256.
pub(super) fn concat_kdf(shared: &[u8], info: &[u8], bytes: usize) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(Vec::with_capacity(bytes + 32));
    let mut round = 1u32;
    while key.len() < bytes {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(&round.to_be_bytes());
        hash.update(shared);
        hash.update(info);
        key.extend_from_slice(hash.finish().as_ref());
        round += 1;
    }
    key.truncate(bytes);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_derivation_of_rfc_7518_appendix_c_comes_out() {
        let shared = [
            158, 86, 217, 29, 129, 113, 53, 211, 114, 131, 66, 131, 191, 132, 38, 156, 251, 49, 110, 163,
            218, 128, 106, 72, 246, 218, 167, 121, 140, 254, 144, 196,
        ];
        let info = other_info("A128GCM", b"Alice", b"Bob", 16);
        assert_eq!(base64url::encode(concat_kdf(&shared, &info, 16).as_slice()), "VqqN6vgjbSBcIijNcacQGg");
        assert_eq!(concat_kdf(&shared, &info, 64).len(), 64);
    }
}
