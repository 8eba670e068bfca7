use std::{fmt, sync::Arc};

use aws_lc_rs::{
    hmac,
    signature::{self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents},
};
use serde_json::Value;

use crate::{
    Alg, JoseError,
    jwk::{Curve, Jwk},
    pem, rsa,
};

/// A key that signatures are verified with: parsed once, cheap to clone, shared by threads. It knows the algorithms it
/// may be used with, and no token can add one.
#[derive(Clone)]
pub struct VerifyingKey(Arc<Inner>);

struct Inner {
    kid: Option<String>,
    algs: Vec<Alg>,
    /// One for each of `algs`, in the same order.
    checks: Vec<Check>,
}

#[derive(Clone)]
enum Check {
    Signature(ParsedPublicKey),
    Mac(Box<hmac::Key>),
}

impl VerifyingKey {
    /// Reads a public JWK, or a symmetric one. `alg` pins the one algorithm; without it an RSA key does RS* and PS*, an
    /// `oct` key each HMAC its length is enough for. Refused: private RSA, EC and OKP keys, keys whose `use` or
    /// `key_ops` is not for verifying, weak RSA keys, points off their curve, and anything not to the letter of
    /// RFC 7518 section 6. For keys from elsewhere than the operator take [`VerifyingKey::from_public_jwk`].
    pub fn from_jwk(jwk: &Value) -> Result<Self, JoseError> {
        let jwk = Jwk::new(jwk)?;
        let kty = jwk.kty()?;
        if kty != "oct" && jwk.has_private_members() {
            return Err(JoseError::Key("the JWK is a private one"));
        }
        jwk.check_purpose("sig", &["verify"])?;
        let key = match kty {
            "RSA" => Self::rsa(&jwk.bytes("n")?, &jwk.bytes("e")?, &jwk.algs(&Alg::RSA)?)?,
            "EC" => {
                let curve = jwk.curve()?;
                jwk.algs(&[curve.alg()])?;
                Self::ec(curve, &jwk.point(curve)?)?
            }
            "OKP" => {
                jwk.algs(&[Alg::EdDSA])?;
                match jwk.text("crv")? {
                    Some("Ed25519") => Self::ed25519(&jwk.bytes("x")?)?,
                    _ => return Err(JoseError::Key("an OKP key's crv must be Ed25519")),
                }
            }
            "oct" => Self::oct(jwk)?,
            _ => return Err(JoseError::Key("the JWK's kty is not supported")),
        };
        Ok(match jwk.kid()? {
            Some(kid) => key.with_kid(&kid),
            None => key,
        })
    }

    /// As [`VerifyingKey::from_jwk`], but a symmetric key is refused too: for keys that come from a provider, a client
    /// or a proof.
    pub fn from_public_jwk(jwk: &Value) -> Result<Self, JoseError> {
        if Jwk::new(jwk)?.kty()? == "oct" {
            return Err(JoseError::Key("a symmetric key is not for publishing"));
        }
        Self::from_jwk(jwk)
    }

    /// Reads PEM: `PUBLIC KEY`, `RSA PUBLIC KEY`, or the first `CERTIFICATE`, of which only the key is taken, without
    /// a look at its dates or its issuer.
    pub fn from_pem(pem: &str) -> Result<Self, JoseError> {
        pem::public_key(pem)
    }

    /// A key for one HMAC. The secret must be as long as the hash (RFC 7518 section 3.2).
    pub fn from_hmac_secret(secret: &[u8], alg: Alg) -> Result<Self, JoseError> {
        Ok(Self::made_of(vec![(alg, Check::Mac(Box::new(hmac_key(alg, secret)?)))]))
    }

    /// The same for a secret of any length but none, for a vendor whose users have such. A short one may be guessed from
    /// one token; see [`Alg::min_secret`].
    pub fn from_short_hmac_secret(secret: &[u8], alg: Alg) -> Result<Self, JoseError> {
        if secret.is_empty() {
            return Err(TOO_SHORT);
        }
        Ok(Self::made_of(vec![(alg, Check::Mac(Box::new(hmac_key_of_any_length(alg, secret)?)))]))
    }

    /// The key's id, if it came with one.
    pub fn kid(&self) -> Option<&str> {
        self.0.kid.as_deref()
    }

    /// The same key under another id.
    #[must_use]
    pub fn with_kid(&self, kid: &str) -> Self {
        let Inner { algs, checks, .. } = &*self.0;
        Self(Arc::new(Inner { kid: Some(kid.to_owned()), algs: algs.clone(), checks: checks.clone() }))
    }

    /// The algorithms this key may verify.
    pub fn algs(&self) -> &[Alg] {
        &self.0.algs
    }

    /// The same key with only those of its algorithms that are in `allowed`; an error when none is left.
    pub fn restricted_to(&self, allowed: &[Alg]) -> Result<Self, JoseError> {
        let Inner { kid, algs, checks } = &*self.0;
        let (algs, checks): (Vec<_>, Vec<_>) = algs
            .iter()
            .zip(checks)
            .filter(|(alg, _)| allowed.contains(alg))
            .map(|(alg, check)| (*alg, check.clone()))
            .unzip();
        if algs.is_empty() {
            return Err(JoseError::AlgNotAllowed);
        }
        Ok(Self(Arc::new(Inner { kid: kid.clone(), algs, checks })))
    }

    /// Whether `signature` is by this key, with `alg`, over `signing_input`. Always false for an algorithm that is not
    /// the key's own. ECDSA signatures are the fixed-length R and S of RFC 7518 section 3.4.
    pub fn verify(&self, alg: Alg, signing_input: &[u8], signature: &[u8]) -> bool {
        let mut own = self.0.algs.iter().zip(&self.0.checks);
        match own.find(|(candidate, _)| **candidate == alg) {
            Some((_, Check::Signature(key))) => key.verify_sig(signing_input, signature).is_ok(),
            Some((_, Check::Mac(key))) => hmac::verify(key, signing_input, signature).is_ok(),
            None => false,
        }
    }

    /// An RSA key of big-endian numbers without leading zeros, for `algs`.
    pub(crate) fn rsa(n: &[u8], e: &[u8], algs: &[Alg]) -> Result<Self, JoseError> {
        rsa::check_public(n, e)?;
        let numbers = RsaPublicKeyComponents { n, e };
        let checks = algs.iter().map(|&alg| {
            let parsed = numbers.to_parsed_public_key(rsa_parameters(alg)?);
            Ok((alg, Check::Signature(parsed.map_err(|_| JoseError::Key("the RSA numbers make no key"))?)))
        });
        Ok(Self::made_of(checks.collect::<Result<_, JoseError>>()?))
    }

    /// An EC key of an uncompressed point, which must be on its curve.
    pub(crate) fn ec(curve: Curve, point: &[u8]) -> Result<Self, JoseError> {
        // aws-lc-rs also takes compressed points and whole SubjectPublicKeyInfos here.
        if point.first() != Some(&4) || point.len() != 1 + 2 * curve.field_bytes() {
            return Err(JoseError::Key("an EC point must be uncompressed"));
        }
        let parsed = ParsedPublicKey::new(curve.verification(), point)
            .map_err(|_| JoseError::Key("the EC point is not on its curve"))?;
        Ok(Self::made_of(vec![(curve.alg(), Check::Signature(parsed))]))
    }

    /// An Ed25519 key of its 32 bytes.
    pub(crate) fn ed25519(x: &[u8]) -> Result<Self, JoseError> {
        if x.len() != signature::ED25519_PUBLIC_KEY_LEN {
            return Err(JoseError::Key("an Ed25519 key must have 32 bytes"));
        }
        let parsed = ParsedPublicKey::new(&signature::ED25519, x)
            .map_err(|_| JoseError::Key("these bytes make no Ed25519 key"))?;
        Ok(Self::made_of(vec![(Alg::EdDSA, Check::Signature(parsed))]))
    }

    fn oct(jwk: Jwk<'_>) -> Result<Self, JoseError> {
        let secret = zeroize::Zeroizing::new(jwk.bytes("k")?);
        let algs = jwk.algs(&[Alg::HS256, Alg::HS384, Alg::HS512])?;
        // An algorithm that is pinned must fit; of those that are merely possible, the ones that fit are taken.
        let pinned = algs.len() == 1;
        let checks = algs.iter().filter(|alg| pinned || alg.min_secret() <= secret.len());
        let checks = checks.map(|&alg| Ok((alg, Check::Mac(Box::new(hmac_key(alg, &secret)?)))));
        let checks = checks.collect::<Result<Vec<_>, JoseError>>()?;
        if checks.is_empty() { Err(TOO_SHORT) } else { Ok(Self::made_of(checks)) }
    }

    fn made_of(checks: Vec<(Alg, Check)>) -> Self {
        let (algs, checks) = checks.into_iter().unzip();
        Self(Arc::new(Inner { kid: None, algs, checks }))
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("kid", &self.0.kid)
            .field("algs", &self.0.algs)
            .finish_non_exhaustive()
    }
}

const TOO_SHORT: JoseError =
    JoseError::Key("an HMAC secret must be as long as the hash: 32, 48 or 64 bytes (RFC 7518 section 3.2)");

pub(crate) fn hmac_key(alg: Alg, secret: &[u8]) -> Result<hmac::Key, JoseError> {
    if alg.is_symmetric() && secret.len() < alg.min_secret() {
        return Err(TOO_SHORT);
    }
    hmac_key_of_any_length(alg, secret)
}

fn hmac_key_of_any_length(alg: Alg, secret: &[u8]) -> Result<hmac::Key, JoseError> {
    let hash = match alg {
        Alg::HS256 => hmac::HMAC_SHA256,
        Alg::HS384 => hmac::HMAC_SHA384,
        Alg::HS512 => hmac::HMAC_SHA512,
        _ => return Err(JoseError::Key("a secret goes with HS256, HS384 or HS512 only")),
    };
    // Everybody has a public key's bytes: as a secret they are the classic confusion (CVE-2015-9235).
    if secret.trim_ascii_start().starts_with(b"-----BEGIN ") {
        return Err(JoseError::Key("a PEM block is no HMAC secret"));
    }
    Ok(hmac::Key::new(hash, secret))
}

fn rsa_parameters(alg: Alg) -> Result<&'static RsaParameters, JoseError> {
    match alg {
        Alg::RS256 => Ok(&signature::RSA_PKCS1_2048_8192_SHA256),
        Alg::RS384 => Ok(&signature::RSA_PKCS1_2048_8192_SHA384),
        Alg::RS512 => Ok(&signature::RSA_PKCS1_2048_8192_SHA512),
        Alg::PS256 => Ok(&signature::RSA_PSS_2048_8192_SHA256),
        Alg::PS384 => Ok(&signature::RSA_PSS_2048_8192_SHA384),
        Alg::PS512 => Ok(&signature::RSA_PSS_2048_8192_SHA512),
        _ => Err(JoseError::Key("an RSA key goes with RS* and PS* only")),
    }
}
