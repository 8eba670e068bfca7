use aws_lc_rs::{
    aead::{self, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    cipher::{self, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey},
    hmac,
    iv::FixedLength,
    key_wrap::{self, KeyEncryptionKey, KeyWrap},
};
use base::same_bytes;
use zeroize::Zeroizing;

use super::Enc;
use crate::JoseError;

/// Bytes of a GCM tag. Shorter ones are never accepted (RFC 7518 section 5.3).
const GCM_TAG: usize = 16;

/// Opens the content (RFC 7518 sections 5.2 and 5.3).
pub(super) fn open(
    enc: Enc,
    key: &[u8],
    iv: &[u8],
    aad: &[u8],
    ciphertext: &[u8],
    tag: &[u8],
) -> Result<Vec<u8>, JoseError> {
    if key.len() != enc.key_bytes() {
        return Err(JoseError::Decryption);
    }
    match enc {
        Enc::A128Gcm | Enc::A192Gcm | Enc::A256Gcm => open_gcm(key, iv, aad, ciphertext, tag),
        Enc::A128CbcHs256 => open_cbc(&cipher::AES_128, hmac::HMAC_SHA256, key, iv, aad, ciphertext, tag),
        Enc::A192CbcHs384 => open_cbc(&cipher::AES_192, hmac::HMAC_SHA384, key, iv, aad, ciphertext, tag),
        Enc::A256CbcHs512 => open_cbc(&cipher::AES_256, hmac::HMAC_SHA512, key, iv, aad, ciphertext, tag),
    }
}

/// Unwraps a content key with AES key wrap (RFC 3394), AES-128 or AES-256 as the key is long.
pub(super) fn unwrap(key: &[u8], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, JoseError> {
    let cipher = match key.len() {
        16 => &key_wrap::AES_128,
        32 => &key_wrap::AES_256,
        _ => return Err(JoseError::Decryption),
    };
    let key = KeyEncryptionKey::new(cipher, key).map_err(|_| JoseError::Decryption)?;
    let mut content_key = Zeroizing::new(vec![0; wrapped.len()]);
    let length = key.unwrap(wrapped, &mut content_key).map_err(|_| JoseError::Decryption)?.len();
    content_key.truncate(length);
    Ok(content_key)
}

/// Unwraps a content key with AES in GCM (RFC 7518 section 4.7).
pub(super) fn unwrap_gcm(
    key: &[u8],
    iv: &[u8],
    wrapped: &[u8],
    tag: &[u8],
) -> Result<Zeroizing<Vec<u8>>, JoseError> {
    open_gcm(key, iv, &[], wrapped, tag).map(Zeroizing::new)
}

fn open_gcm(key: &[u8], iv: &[u8], aad: &[u8], ciphertext: &[u8], tag: &[u8]) -> Result<Vec<u8>, JoseError> {
    let algorithm = match key.len() {
        16 => &aead::AES_128_GCM,
        24 => &aead::AES_192_GCM,
        32 => &aead::AES_256_GCM,
        _ => return Err(JoseError::Decryption),
    };
    let nonce: [u8; NONCE_LEN] = iv.try_into().map_err(|_| JoseError::Decryption)?;
    if tag.len() != GCM_TAG {
        return Err(JoseError::Decryption);
    }
    let key = UnboundKey::new(algorithm, key).map_err(|_| JoseError::Decryption)?;
    let mut plain = [ciphertext, tag].concat();
    let length = LessSafeKey::new(key)
        .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut plain)
        .map_err(|_| JoseError::Decryption)?
        .len();
    plain.truncate(length);
    Ok(plain)
}

/// AES in CBC, authenticated first (RFC 7518 section 5.2.2.2): padding is only looked at when the MAC is right.
fn open_cbc(
    algorithm: &'static cipher::Algorithm,
    hash: hmac::Algorithm,
    key: &[u8],
    iv: &[u8],
    aad: &[u8],
    ciphertext: &[u8],
    tag: &[u8],
) -> Result<Vec<u8>, JoseError> {
    let (mac_key, cipher_key) = key.split_at_checked(key.len() / 2).ok_or(JoseError::Decryption)?;
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hash, mac_key));
    mac.update(aad);
    mac.update(iv);
    mac.update(ciphertext);
    mac.update(&((aad.len() as u64) * 8).to_be_bytes());
    let mac = mac.sign();
    let expected = mac.as_ref().get(..mac_key.len()).ok_or(JoseError::Decryption)?;
    if !same_bytes(expected, tag) {
        return Err(JoseError::Decryption);
    }
    let iv: [u8; cipher::AES_CBC_IV_LEN] = iv.try_into().map_err(|_| JoseError::Decryption)?;
    let mut plain = ciphertext.to_vec();
    let length = UnboundCipherKey::new(algorithm, cipher_key)
        .and_then(PaddedBlockDecryptingKey::cbc_pkcs7)
        .and_then(|key| {
            key.decrypt(&mut plain, DecryptionContext::Iv128(FixedLength::from(iv))).map(|plain| plain.len())
        })
        .map_err(|_| JoseError::Decryption)?;
    plain.truncate(length);
    Ok(plain)
}
