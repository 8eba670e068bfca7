use std::fmt;

use aws_lc_rs::{
    agreement,
    encoding::AsDer,
    rsa::{self, OaepAlgorithm, OaepPrivateDecryptingKey, PrivateDecryptingKey},
};
use base::same_bytes;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{Enc, KeyAlg};
use crate::{
    JoseError,
    jwk::{Curve, Jwk},
};

/// Bytes of an X25519 key, public or private.
const X25519_BYTES: usize = 32;

/// A private or shared key that JWEs are decrypted with, parsed once. It knows the algorithms it may be used with.
pub struct DecryptionKey {
    pub(super) kid: Option<String>,
    pub(super) algs: Vec<KeyAlg>,
    /// The one content encryption of a key for direct use; `None` leaves it to the caller.
    pub(super) enc: Option<Enc>,
    pub(super) material: Material,
}

pub(super) enum Material {
    Secret(Zeroizing<Vec<u8>>),
    Rsa(OaepPrivateDecryptingKey),
    Ec(Curve, agreement::PrivateKey),
    X25519(agreement::PrivateKey),
}

impl DecryptionKey {
    /// Reads a private or symmetric JWK. `alg` pins the one key management algorithm, or, as RFC 7520 section 5.6 has
    /// it, the one content encryption of a key for `dir`. Without it the key does all that its kind and length allow.
    /// Refused: public keys, keys for signing, weak RSA keys, halves that do not go together, and RSA keys without
    /// their prime factors.
    pub fn from_jwk(jwk: &Value) -> Result<Self, JoseError> {
        let jwk = Jwk::new(jwk)?;
        jwk.check_purpose("enc", &["decrypt", "unwrapKey", "deriveKey", "deriveBits"])?;
        let (material, algs) = match jwk.kty()? {
            "RSA" => (Material::Rsa(oaep_key(jwk)?), KeyAlg::RSA.to_vec()),
            "EC" => (ec_key(jwk)?, KeyAlg::AGREEMENT.to_vec()),
            "OKP" => (x25519_key(jwk)?, KeyAlg::AGREEMENT.to_vec()),
            "oct" => {
                let secret = Zeroizing::new(jwk.bytes("k")?);
                let algs = secret_algs(secret.len());
                (Material::Secret(secret), algs)
            }
            _ => return Err(JoseError::Key("the JWK's kty is not supported")),
        };
        let mut key = Self { kid: jwk.kid()?, algs, enc: None, material };
        if let Some(name) = jwk.text("alg")? {
            key.pin(name)?;
        }
        Ok(key)
    }

    /// A shared key for direct use with one content encryption, whose length it must have.
    pub fn from_secret(secret: &[u8], enc: Enc) -> Result<Self, JoseError> {
        if secret.len() != enc.key_bytes() {
            return Err(JoseError::Key("the shared key has not the length that its algorithm asks for"));
        }
        let material = Material::Secret(Zeroizing::new(secret.to_vec()));
        Ok(Self { kid: None, algs: vec![KeyAlg::Dir], enc: Some(enc), material })
    }

    /// The key's id, if it came with one.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The key management algorithms it may be used with.
    pub fn algs(&self) -> &[KeyAlg] {
        &self.algs
    }

    pub(super) fn allows(&self, alg: KeyAlg, enc: Enc) -> bool {
        self.algs.contains(&alg) && self.enc.is_none_or(|pinned| pinned == enc)
    }

    pub(super) fn secret(&self) -> Result<&[u8], JoseError> {
        match &self.material {
            Material::Secret(secret) => Ok(secret),
            _ => Err(JoseError::Decryption),
        }
    }

    pub(super) fn unwrap_oaep(&self, alg: KeyAlg, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, JoseError> {
        let Material::Rsa(key) = &self.material else { return Err(JoseError::Decryption) };
        let algorithm: &'static OaepAlgorithm = match alg {
            KeyAlg::RsaOaep => &rsa::OAEP_SHA1_MGF1SHA1,
            _ => &rsa::OAEP_SHA256_MGF1SHA256,
        };
        let mut content_key = Zeroizing::new(vec![0; key.min_output_size()]);
        let length =
            key.decrypt(algorithm, wrapped, &mut content_key, None).map_err(|_| JoseError::Decryption)?.len();
        content_key.truncate(length);
        Ok(content_key)
    }

    /// The private key, and the bytes of the ephemeral public key, which must be of the same curve.
    pub(super) fn agreement_with(
        &self,
        epk: Jwk<'_>,
    ) -> Result<(&agreement::PrivateKey, Vec<u8>), JoseError> {
        match &self.material {
            Material::Ec(curve, private) if epk.kty()? == "EC" && epk.curve()? == *curve => {
                Ok((private, epk.point(*curve)?))
            }
            Material::X25519(private) if epk.kty()? == "OKP" && epk.text("crv")? == Some("X25519") => {
                Ok((private, epk.bytes("x")?))
            }
            _ => Err(JoseError::Header("epk is not of the key's kind")),
        }
    }

    fn pin(&mut self, name: &str) -> Result<(), JoseError> {
        const MISFIT: JoseError = JoseError::Key("the JWK's alg does not go with its kind or length");
        if let (Material::Secret(secret), Ok(enc)) = (&self.material, name.parse::<Enc>()) {
            if secret.len() != enc.key_bytes() {
                return Err(MISFIT);
            }
            (self.algs, self.enc) = (vec![KeyAlg::Dir], Some(enc));
            return Ok(());
        }
        let alg: KeyAlg = name.parse()?;
        if !self.algs.contains(&alg) {
            return Err(MISFIT);
        }
        self.algs = vec![alg];
        Ok(())
    }
}

impl fmt::Debug for DecryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecryptionKey")
            .field("kid", &self.kid)
            .field("algs", &self.algs)
            .finish_non_exhaustive()
    }
}

/// What a shared key of this many bytes can do.
fn secret_algs(bytes: usize) -> Vec<KeyAlg> {
    let direct = Enc::ALL.iter().any(|enc| enc.key_bytes() == bytes).then_some(KeyAlg::Dir);
    let wrapping = KeyAlg::ALL.into_iter().filter(|alg| alg.secret_bytes() == Some(bytes));
    direct.into_iter().chain(wrapping).collect()
}

fn oaep_key(jwk: Jwk<'_>) -> Result<OaepPrivateDecryptingKey, JoseError> {
    let pkcs8 = jwk.rsa_key_pair()?.as_der().map_err(|_| JoseError::Crypto)?;
    PrivateDecryptingKey::from_pkcs8(pkcs8.as_ref())
        .ok()
        .and_then(|key| OaepPrivateDecryptingKey::new(key).ok())
        .ok_or(JoseError::Key("the RSA numbers make no key pair"))
}

fn ec_key(jwk: Jwk<'_>) -> Result<Material, JoseError> {
    let curve = jwk.curve()?;
    let private = private_half(curve.agreement(), jwk, &jwk.point(curve)?)?;
    Ok(Material::Ec(curve, private))
}

fn x25519_key(jwk: Jwk<'_>) -> Result<Material, JoseError> {
    if jwk.text("crv")? != Some("X25519") {
        return Err(JoseError::Key("an OKP key for encryption must have crv X25519"));
    }
    let public = jwk.bytes("x")?;
    if public.len() != X25519_BYTES {
        return Err(JoseError::Key("an X25519 key must have 32 bytes"));
    }
    private_half(&agreement::X25519, jwk, &public).map(Material::X25519)
}

fn private_half(
    algorithm: &'static agreement::Algorithm,
    jwk: Jwk<'_>,
    public: &[u8],
) -> Result<agreement::PrivateKey, JoseError> {
    let secret = Zeroizing::new(jwk.bytes("d")?);
    let private = agreement::PrivateKey::from_private_key(algorithm, &secret)
        .map_err(|_| JoseError::Key("the private member makes no key of its curve"))?;
    let computed = private.compute_public_key().map_err(|_| JoseError::Crypto)?;
    if !same_bytes(computed.as_ref(), public) {
        return Err(JoseError::Key("the private member does not go with the public ones"));
    }
    Ok(private)
}
