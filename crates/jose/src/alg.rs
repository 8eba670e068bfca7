use std::{fmt, str::FromStr};

use aws_lc_rs::digest;

use crate::{JoseError, base64url};

/// ECDSA over secp256k1 (RFC 8812 section 3.2), the one registered signature algorithm that is left out: identity
/// providers do not sign with it, and what is not there cannot be confused. It is refused by name.
const ES256K: &str = "ES256K";
pub(crate) const ES256K_REFUSED: JoseError = JoseError::Unsupported("ES256K (secp256k1)");

/// A signature algorithm of RFC 7518 section 3.1 or RFC 8037. `none` and ES256K are not among them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Alg {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256, MGF1 and a salt of the hash's length.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// ECDSA on P-521 with SHA-512.
    ES512,
    /// Ed25519. Ed448 is not supported.
    EdDSA,
    /// HMAC with SHA-256.
    HS256,
    /// HMAC with SHA-384.
    HS384,
    /// HMAC with SHA-512.
    HS512,
}

impl Alg {
    /// Every algorithm, for metadata and configuration schemas.
    pub const ALL: [Self; 13] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::ES512,
        Self::EdDSA,
        Self::HS256,
        Self::HS384,
        Self::HS512,
    ];

    /// What an RSA key can do when nothing narrows it.
    pub(crate) const RSA: [Self; 6] =
        [Self::RS256, Self::RS384, Self::RS512, Self::PS256, Self::PS384, Self::PS512];

    /// The name in a header's `alg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::ES512 => "ES512",
            Self::EdDSA => "EdDSA",
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
        }
    }

    /// Whether the key that verifies is the key that signs.
    pub const fn is_symmetric(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }

    /// The shortest HMAC secret, in bytes: that of the hash (RFC 7518 section 3.2).
    pub const fn min_secret(self) -> usize {
        match self {
            Self::HS256 => 32,
            Self::HS384 => 48,
            _ => 64,
        }
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::RS256 | Self::PS256 | Self::ES256 | Self::HS256 => &digest::SHA256,
            Self::RS384 | Self::PS384 | Self::ES384 | Self::HS384 => &digest::SHA384,
            Self::RS512 | Self::PS512 | Self::ES512 | Self::HS512 | Self::EdDSA => &digest::SHA512,
        }
    }
}

impl fmt::Display for Alg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Alg {
    type Err = JoseError;

    /// Exact and case-sensitive, as RFC 7515 section 4.1.1 says.
    fn from_str(name: &str) -> Result<Self, JoseError> {
        let known = Self::ALL.into_iter().find(|alg| alg.as_str() == name);
        known.ok_or(if name == ES256K { ES256K_REFUSED } else { JoseError::UnsupportedAlg })
    }
}

/// The left half of the hash of `text` in base64url, as in `at_hash` and `c_hash` (OpenID Connect Core 3.1.3.6): the
/// hash is that of the ID token's algorithm, SHA-512 for EdDSA.
pub fn half_hash(alg: Alg, text: &str) -> String {
    let hash = digest::digest(alg.digest(), text.as_bytes());
    let (left, _) = hash.as_ref().split_at(hash.as_ref().len() / 2);
    base64url::encode(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_algorithm_has_one_spelling() {
        for alg in Alg::ALL {
            assert_eq!(alg.as_str().parse(), Ok(alg));
            assert_eq!(alg.as_str().to_lowercase().parse::<Alg>(), Err(JoseError::UnsupportedAlg));
        }
        for name in ["none", "None", "ES256K", "ES521", "RS256 ", "", "Ed25519"] {
            assert!(name.parse::<Alg>().is_err(), "{name}");
        }
        assert!("ES256K".parse::<Alg>().unwrap_err().to_string().contains("ES256K"));
    }

    #[test]
    fn half_hashes_are_those_of_openid_connect_core() {
        // OpenID Connect Core 1.0, appendices A.3 and A.4.
        assert_eq!(
            half_hash(Alg::RS256, "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"),
            "77QmUPtjPfzWtF2AnpK9RQ"
        );
        assert_eq!(half_hash(Alg::EdDSA, "x").len(), 43);
        assert_eq!(half_hash(Alg::ES384, "x").len(), 32);
    }
}
