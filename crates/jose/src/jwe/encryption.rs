//! Encryption for somebody's public key.

use aws_lc_rs::{
    aead::{self, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    agreement::{self, UnparsedPublicKey, agree},
    cipher::{self, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey},
    digest, hmac,
    iv::FixedLength,
    key_wrap::{self, KeyEncryptionKey, KeyWrap},
    rsa::{self, OaepAlgorithm, OaepPublicEncryptingKey, PublicEncryptingKey, PublicKeyComponents},
};
use base::Random;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::{
    Enc, KeyAlg,
    agreement::{concat_kdf, other_info},
    content::GCM_TAG,
};
use crate::{
    JoseError, base64url,
    jwk::{Curve, Jwk},
    pem,
};

/// Bytes of an X25519 key.
const X25519_BYTES: usize = 32;

/// A public key that JWEs are encrypted for. It knows the algorithms it may be used with.
#[derive(Debug)]
pub struct EncryptionKey {
    kid: Option<String>,
    algs: Vec<KeyAlg>,
    recipient: Recipient,
}

#[derive(Debug)]
enum Recipient {
    Rsa(OaepPublicEncryptingKey),
    /// An uncompressed point.
    Ec(Curve, Vec<u8>),
    X25519(Vec<u8>),
}

impl EncryptionKey {
    /// Reads a public RSA, EC or X25519 JWK; `alg` pins the one key management algorithm. Refused: private and symmetric
    /// keys, keys for signing, weak RSA keys, points off their curve.
    pub fn from_public_jwk(jwk: &Value) -> Result<Self, JoseError> {
        let jwk = Jwk::new(jwk)?;
        if jwk.has_private_members() {
            return Err(JoseError::Key("the JWK is a private one"));
        }
        jwk.check_purpose("enc", &["encrypt", "wrapKey", "deriveKey", "deriveBits"])?;
        let (recipient, algs) = match jwk.kty()? {
            "RSA" => (Recipient::Rsa(oaep_key(jwk)?), KeyAlg::RSA.to_vec()),
            "EC" => {
                let curve = jwk.curve()?;
                let point = jwk.point(curve)?;
                check_point(curve.agreement(), &point)?;
                (Recipient::Ec(curve, point), KeyAlg::AGREEMENT.to_vec())
            }
            "OKP" if jwk.text("crv")? == Some("X25519") => {
                let public = jwk.bytes("x")?;
                if public.len() != X25519_BYTES {
                    return Err(JoseError::Key("an X25519 key must have 32 bytes"));
                }
                (Recipient::X25519(public), KeyAlg::AGREEMENT.to_vec())
            }
            _ => return Err(JoseError::Key("nothing is encrypted for keys of this kty")),
        };
        let algs = match jwk.text("alg")? {
            None => algs,
            Some(name) => {
                let alg: KeyAlg = name.parse()?;
                if !algs.contains(&alg) {
                    return Err(JoseError::Key("the JWK's alg does not go with its kind or length"));
                }
                vec![alg]
            }
        };
        Ok(Self { kid: jwk.kid()?, algs, recipient })
    }

    /// Reads the RSA key in the first `PUBLIC KEY`, `RSA PUBLIC KEY` or `CERTIFICATE` block of a PEM text.
    ///
    /// # Errors
    ///
    /// When there is none, or it is weak or of another kind.
    pub fn from_pem(text: &str, kid: Option<&str>) -> Result<Self, JoseError> {
        let (n, e) = pem::rsa_numbers(text)?;
        let recipient = Recipient::Rsa(oaep_key_of(n, e)?);
        Ok(Self { kid: kid.map(str::to_owned), algs: KeyAlg::RSA.to_vec(), recipient })
    }

    /// The SHA-256 digest of what the first such block holds, in base64url.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn pem_thumbprint(text: &str) -> Result<String, JoseError> {
        let block = pem::public_block(text)?;
        Ok(base64url::encode(digest::digest(&digest::SHA256, &block.der).as_ref()))
    }

    /// The key's id, if it came with one.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The key management algorithms it may be used with.
    pub fn algs(&self) -> &[KeyAlg] {
        &self.algs
    }

    /// Encrypts `plaintext` into a compact JWE, under a content key from `random`. `cty` is `JWT` where it is a token in its turn (RFC 7519 section 5.2).
    ///
    /// # Errors
    ///
    /// When the key is not for `alg`.
    pub fn encrypt(
        &self,
        random: &Random,
        alg: KeyAlg,
        enc: Enc,
        cty: Option<&str>,
        plaintext: &[u8],
    ) -> Result<String, JoseError> {
        if !self.algs.contains(&alg) {
            return Err(JoseError::AlgNotAllowed);
        }
        let mut header = Map::new();
        header.insert("alg".to_owned(), json!(alg.as_str()));
        header.insert("enc".to_owned(), json!(enc.as_str()));
        for (name, value) in [("cty", cty), ("kid", self.kid())] {
            if let Some(value) = value {
                header.insert(name.to_owned(), json!(value));
            }
        }
        let (content_key, encrypted_key) = self.content_key(random, alg, enc, &mut header)?;
        let protected = base64url::encode(Value::Object(header).to_string().as_bytes());
        let sealed = seal(random, enc, &content_key, protected.as_bytes(), plaintext)?;
        let parts = [&encrypted_key, &sealed.iv, &sealed.ciphertext, &sealed.tag];
        let parts = parts.map(|part| base64url::encode(part.as_slice()));
        Ok([protected].into_iter().chain(parts).collect::<Vec<_>>().join("."))
    }

    /// The content key, and what the recipient finds it by.
    fn content_key(
        &self,
        random: &Random,
        alg: KeyAlg,
        enc: Enc,
        header: &mut Map<String, Value>,
    ) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), JoseError> {
        let fresh = || {
            let mut key = Zeroizing::new(vec![0; enc.key_bytes()]);
            random.fill(&mut key);
            key
        };
        match (&self.recipient, alg) {
            (Recipient::Rsa(key), _) => {
                let algorithm: &'static OaepAlgorithm = match alg {
                    KeyAlg::RsaOaep => &rsa::OAEP_SHA1_MGF1SHA1,
                    _ => &rsa::OAEP_SHA256_MGF1SHA256,
                };
                let content_key = fresh();
                let mut wrapped = vec![0; key.ciphertext_size()];
                let encrypted = key.encrypt(algorithm, &content_key, &mut wrapped, None);
                let length = encrypted.map_err(|_| JoseError::Crypto)?.len();
                wrapped.truncate(length);
                Ok((content_key, wrapped))
            }
            (_, KeyAlg::EcdhEs) => {
                let agreed = self.agreed(enc.as_str(), enc.key_bytes(), header)?;
                Ok((agreed, Vec::new()))
            }
            (_, KeyAlg::EcdhEsA128Kw) => self.wrapped(fresh(), alg, 16, header),
            (_, _) => self.wrapped(fresh(), alg, 32, header),
        }
    }

    fn wrapped(
        &self,
        content_key: Zeroizing<Vec<u8>>,
        alg: KeyAlg,
        bytes: usize,
        header: &mut Map<String, Value>,
    ) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), JoseError> {
        let wrapping = self.agreed(alg.as_str(), bytes, header)?;
        let cipher = if bytes == 16 { &key_wrap::AES_128 } else { &key_wrap::AES_256 };
        let key = KeyEncryptionKey::new(cipher, &wrapping).map_err(|_| JoseError::Crypto)?;
        let mut wrapped = vec![0; content_key.len() + 8];
        let length = key.wrap(&content_key, &mut wrapped).map_err(|_| JoseError::Crypto)?.len();
        wrapped.truncate(length);
        Ok((content_key, wrapped))
    }

    /// ECDH-ES with a new key of our own, which goes into the header (RFC 7518 section 4.6).
    fn agreed(
        &self,
        algorithm: &str,
        bytes: usize,
        header: &mut Map<String, Value>,
    ) -> Result<Zeroizing<Vec<u8>>, JoseError> {
        let (curve, theirs) = match &self.recipient {
            Recipient::Ec(curve, point) => (Some(*curve), point),
            Recipient::X25519(public) => (None, public),
            Recipient::Rsa(_) => return Err(JoseError::AlgNotAllowed),
        };
        let kind = curve.map_or(&agreement::X25519, Curve::agreement);
        let ours = agreement::PrivateKey::generate(kind).map_err(|_| JoseError::Crypto)?;
        let public = ours.compute_public_key().map_err(|_| JoseError::Crypto)?;
        let epk = match curve {
            None => json!({ "kty": "OKP", "crv": "X25519", "x": base64url::encode(public.as_ref()) }),
            Some(curve) => {
                let coordinates = public.as_ref().split_first().map(|(_, coordinates)| coordinates);
                let (x, y) = coordinates
                    .and_then(|both| both.split_at_checked(curve.field_bytes()))
                    .ok_or(JoseError::Crypto)?;
                let (x, y) = (base64url::encode(x), base64url::encode(y));
                json!({ "kty": "EC", "crv": curve.name(), "x": x, "y": y })
            }
        };
        header.insert("epk".to_owned(), epk);
        let info = other_info(algorithm, &[], &[], bytes);
        let theirs = UnparsedPublicKey::new(kind, theirs);
        agree(&ours, theirs, JoseError::Crypto, |shared| Ok(concat_kdf(shared, &info, bytes)))
    }
}

fn oaep_key(jwk: Jwk<'_>) -> Result<OaepPublicEncryptingKey, JoseError> {
    oaep_key_of(jwk.bytes("n")?, jwk.bytes("e")?)
}

fn oaep_key_of(n: Vec<u8>, e: Vec<u8>) -> Result<OaepPublicEncryptingKey, JoseError> {
    crate::rsa::check_public(&n, &e)?;
    let key: Result<PublicEncryptingKey, _> = PublicKeyComponents { n, e }.try_into();
    key.ok()
        .and_then(|key| OaepPublicEncryptingKey::new(key).ok())
        .ok_or(JoseError::Key("the RSA numbers make no key"))
}

/// A point off its curve agrees on nothing: better to know when the key is read.
fn check_point(kind: &'static agreement::Algorithm, point: &[u8]) -> Result<(), JoseError> {
    let ours = agreement::PrivateKey::generate(kind).map_err(|_| JoseError::Crypto)?;
    let off = JoseError::Key("the EC point is not on its curve");
    agree(&ours, UnparsedPublicKey::new(kind, point), off, |_| Ok(()))
}

struct Sealed {
    iv: Vec<u8>,
    ciphertext: Vec<u8>,
    tag: Vec<u8>,
}

/// RFC 7518 sections 5.2 and 5.3.
fn seal(random: &Random, enc: Enc, key: &[u8], aad: &[u8], plaintext: &[u8]) -> Result<Sealed, JoseError> {
    match enc {
        Enc::A128Gcm => seal_gcm(random, &aead::AES_128_GCM, key, aad, plaintext),
        Enc::A192Gcm => seal_gcm(random, &aead::AES_192_GCM, key, aad, plaintext),
        Enc::A256Gcm => seal_gcm(random, &aead::AES_256_GCM, key, aad, plaintext),
        Enc::A128CbcHs256 => seal_cbc(random, &cipher::AES_128, hmac::HMAC_SHA256, key, aad, plaintext),
        Enc::A192CbcHs384 => seal_cbc(random, &cipher::AES_192, hmac::HMAC_SHA384, key, aad, plaintext),
        Enc::A256CbcHs512 => seal_cbc(random, &cipher::AES_256, hmac::HMAC_SHA512, key, aad, plaintext),
    }
}

fn seal_gcm(
    random: &Random,
    algorithm: &'static aead::Algorithm,
    key: &[u8],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Sealed, JoseError> {
    let mut nonce = [0; NONCE_LEN];
    random.fill(&mut nonce);
    let key = UnboundKey::new(algorithm, key).map_err(|_| JoseError::Crypto)?;
    let mut ciphertext = plaintext.to_vec();
    // The key is for this one message.
    LessSafeKey::new(key)
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut ciphertext)
        .map_err(|_| JoseError::Crypto)?;
    let tag = ciphertext.split_off(ciphertext.len().saturating_sub(GCM_TAG));
    Ok(Sealed { iv: nonce.to_vec(), ciphertext, tag })
}

fn seal_cbc(
    random: &Random,
    algorithm: &'static cipher::Algorithm,
    hash: hmac::Algorithm,
    key: &[u8],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Sealed, JoseError> {
    let (mac_key, cipher_key) = key.split_at_checked(key.len() / 2).ok_or(JoseError::Crypto)?;
    let mut iv = [0; cipher::AES_CBC_IV_LEN];
    random.fill(&mut iv);
    let mut ciphertext = plaintext.to_vec();
    UnboundCipherKey::new(algorithm, cipher_key)
        .and_then(PaddedBlockEncryptingKey::cbc_pkcs7)
        .and_then(|key| {
            key.less_safe_encrypt(&mut ciphertext, EncryptionContext::Iv128(FixedLength::from(iv)))
        })
        .map_err(|_| JoseError::Crypto)?;
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hash, mac_key));
    mac.update(aad);
    mac.update(&iv);
    mac.update(&ciphertext);
    mac.update(&((aad.len() as u64) * 8).to_be_bytes());
    let tag = mac.sign().as_ref().get(..mac_key.len()).ok_or(JoseError::Crypto)?.to_vec();
    Ok(Sealed { iv: iv.to_vec(), ciphertext, tag })
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::*;
    use crate::{
        Alg, SigningKey,
        jwe::{CompactJwe, DecryptionKey, decrypt},
    };

    /// A new key pair that is not for signing.
    fn pair(alg: Alg) -> (Value, DecryptionKey) {
        let key = SigningKey::generate(alg, "k1".to_owned()).unwrap();
        let mut public = key.public_jwk();
        public.as_object_mut().unwrap().retain(|name, _| name != "use" && name != "alg");
        let der = STANDARD.encode(&*key.to_pkcs8().unwrap());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
        (public, DecryptionKey::from_pem(&pem).unwrap())
    }

    #[test]
    fn what_is_encrypted_comes_out_again() {
        let random = Random::seeded(7);
        for kind in [Alg::RS256, Alg::ES256, Alg::ES384, Alg::ES512] {
            let (public, private) = pair(kind);
            let key = EncryptionKey::from_public_jwk(&public).unwrap();
            assert_eq!((key.kid(), key.algs()), (Some("k1"), private.algs()));
            for alg in key.algs().to_vec() {
                for enc in Enc::ALL {
                    let token = key.encrypt(&random, alg, enc, Some("JWT"), b"a.b.c").unwrap();
                    let read = CompactJwe::parse(&token).unwrap();
                    assert_eq!((read.kid(), read.cty()), (Some("k1"), Some("JWT")));
                    assert_eq!(decrypt(&token, &private, &[alg], &[enc]).unwrap(), b"a.b.c", "{alg} {enc}");
                    assert_ne!(key.encrypt(&random, alg, enc, None, b"a.b.c").unwrap(), token);
                }
            }
        }
    }

    #[test]
    fn x25519_of_rfc_8037_is_a_recipient() {
        let private = json!({
            "kty": "OKP", "crv": "X25519", "x": "hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo",
            "d": "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo",
        });
        let mut public = private.clone();
        public.as_object_mut().unwrap().remove("d");
        let key = EncryptionKey::from_public_jwk(&public).unwrap();
        let token = key.encrypt(&Random::seeded(7), KeyAlg::EcdhEs, Enc::A256Gcm, None, b"x").unwrap();
        let private = DecryptionKey::from_jwk(&private).unwrap();
        assert_eq!(decrypt(&token, &private, &KeyAlg::ALL, &Enc::ALL).unwrap(), b"x");
    }

    #[test]
    fn keys_that_nothing_should_be_encrypted_for_are_refused() {
        let (public, _) = pair(Alg::ES256);
        let with = |name: &str, value: Value| {
            let mut jwk = public.clone();
            jwk[name] = value;
            EncryptionKey::from_public_jwk(&jwk)
        };
        assert!(with("use", json!("enc")).is_ok());
        for (name, value) in [
            ("use", json!("sig")),
            ("key_ops", json!(["verify"])),
            ("alg", json!("RSA-OAEP")),
            ("alg", json!("ES256")),
            ("d", json!("AA")),
            ("x", json!("AAAA")),
            ("crv", json!("P-384")),
            ("kty", json!("oct")),
        ] {
            assert!(with(name, value.clone()).is_err(), "{name}: {value}");
        }
        // A point that is not on the curve.
        let zero = base64url::encode([0; 32].as_slice());
        assert!(with("y", json!(zero)).is_err());
        let key = EncryptionKey::from_public_jwk(&public).unwrap();
        assert!(key.encrypt(&Random::seeded(7), KeyAlg::RsaOaep256, Enc::A128Gcm, None, b"").is_err());
    }
}
