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
pub(super) const GCM_TAG: usize = 16;

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

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7518 appendix B: each algorithm, its ciphertext and its tag. Key and text are the same in all.
    const EXAMPLES: [(Enc, &str, &str); 3] = [
        (
            Enc::A128CbcHs256,
            "c80edfa32ddf39d5ef00c0b468834279a2e46a1b8049f792f76bfe54b903a9c9a94ac9b47ad2655c5f10f9aef71427e2fc6f9b3f399a221489f16362c703233609d45ac69864e3321cf82935ac4096c86e133314c54019e8ca7980dfa4b9cf1b384c486f3a54c51078158ee5d79de59fbd34d848b3d69550a67646344427ade54b8851ffb598f7f80074b9473c82e2db",
            "652c3fa36b0a7c5b3219fab3a30bc1c4",
        ),
        (
            Enc::A192CbcHs384,
            "ea65da6b59e61edb419be62d19712ae5d303eeb50052d0dfd6697f77224c8edb000d279bdc14c1072654bd30944230c657bed4ca0c9f4a8466f22b226d1746214bf8cfc2400add9f5126e479663fc90b3bed787a2f0ffcbf3904be2a641d5c2105bfe591bae23b1d7449e532eef60a9ac8bb6c6b01d35d49787bcd57ef484927f280adc91ac0c4e79c7b11efc60054e3",
            "8490ac0e58949bfe51875d733f93ac2075168039ccc733d7",
        ),
        (
            Enc::A256CbcHs512,
            "4affaaadb78c31c5da4b1b590d10ffbd3dd8d5d302423526912da037ecbcc7bd822c301dd67c373bccb584ad3e9279c2e6d12a1374b77f077553df829410446b36ebd97066296ae6427ea75c2e0846a11a09ccf5370dc80bfecbad28c73f09b3a3b75e662a2594410ae496b2e2e6609e31e6e02cc837f053d21f37ff4f51950bbe2638d09dd7a4930930806d0703b1f6",
            "4dd3b4c088a7f45c216839645b2012bf2e6269a8c56a816dbc1b267761955bc5",
        ),
    ];
    const PLAIN: &[u8] =
        b"A cipher system must not be required to be secret, and it must be able to fall into the hands of \
                           the enemy without inconvenience";
    const ASSOCIATED: &[u8] = b"The second principle of Auguste Kerckhoffs";
    const IV: &str = "1af38c2dc2b96ffdd86694092341bc04";

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn the_examples_of_rfc_7518_appendix_b_open_and_nothing_near_them_does() {
        for (enc, ciphertext, tag) in EXAMPLES {
            let key: Vec<u8> = (0..).take(enc.key_bytes()).collect();
            let (ciphertext, tag, iv) = (unhex(ciphertext), unhex(tag), unhex(IV));
            let opened = open(enc, &key, &iv, ASSOCIATED, &ciphertext, &tag);
            assert_eq!(opened.as_deref(), Ok(PLAIN), "{enc}");
            let spoil = |bytes: &[u8], at: usize| {
                let mut spoilt = bytes.to_vec();
                spoilt[at] ^= 1;
                spoilt
            };
            for bad in [
                open(enc, &key, &iv, b"another", &ciphertext, &tag),
                open(enc, &spoil(&key, 0), &iv, ASSOCIATED, &ciphertext, &tag),
                open(enc, &key, &spoil(&iv, 3), ASSOCIATED, &ciphertext, &tag),
                open(enc, &key, &iv, ASSOCIATED, &spoil(&ciphertext, 127), &tag),
                open(enc, &key, &iv, ASSOCIATED, &ciphertext, &spoil(&tag, 0)),
                open(enc, &key, &iv, ASSOCIATED, &ciphertext, &tag[1..]),
                open(enc, &key[1..], &iv, ASSOCIATED, &ciphertext, &tag),
            ] {
                assert_eq!(bad, Err(JoseError::Decryption), "{enc}");
            }
        }
    }
}
