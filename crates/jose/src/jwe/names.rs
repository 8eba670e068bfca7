use std::{fmt, str::FromStr};

use crate::JoseError;

/// A key management algorithm (RFC 7518 section 4.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum KeyAlg {
    /// RSAES-OAEP with SHA-1, which its security does not rest on.
    RsaOaep,
    /// RSAES-OAEP with SHA-256.
    RsaOaep256,
    /// Key agreement, the agreed key encrypting the content.
    EcdhEs,
    /// Key agreement, the agreed key wrapping the content key with AES-128.
    EcdhEsA128Kw,
    /// Key agreement, the agreed key wrapping the content key with AES-256.
    EcdhEsA256Kw,
    /// The shared key encrypts the content.
    Dir,
    /// AES-128 key wrap.
    A128Kw,
    /// AES-256 key wrap.
    A256Kw,
    /// Key wrap with AES-128 in GCM.
    A128GcmKw,
    /// Key wrap with AES-192 in GCM.
    A192GcmKw,
    /// Key wrap with AES-256 in GCM.
    A256GcmKw,
}

impl KeyAlg {
    /// Every algorithm, for configuration schemas and for callers that leave the choice to the key.
    pub const ALL: [Self; 11] = [
        Self::RsaOaep,
        Self::RsaOaep256,
        Self::EcdhEs,
        Self::EcdhEsA128Kw,
        Self::EcdhEsA256Kw,
        Self::Dir,
        Self::A128Kw,
        Self::A256Kw,
        Self::A128GcmKw,
        Self::A192GcmKw,
        Self::A256GcmKw,
    ];

    pub(super) const RSA: [Self; 2] = [Self::RsaOaep256, Self::RsaOaep];
    pub(super) const AGREEMENT: [Self; 3] = [Self::EcdhEs, Self::EcdhEsA128Kw, Self::EcdhEsA256Kw];

    /// The name in a header's `alg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RsaOaep => "RSA-OAEP",
            Self::RsaOaep256 => "RSA-OAEP-256",
            Self::EcdhEs => "ECDH-ES",
            Self::EcdhEsA128Kw => "ECDH-ES+A128KW",
            Self::EcdhEsA256Kw => "ECDH-ES+A256KW",
            Self::Dir => "dir",
            Self::A128Kw => "A128KW",
            Self::A256Kw => "A256KW",
            Self::A128GcmKw => "A128GCMKW",
            Self::A192GcmKw => "A192GCMKW",
            Self::A256GcmKw => "A256GCMKW",
        }
    }

    /// Bytes of the shared key, for the algorithms that have one of a fixed length.
    pub(super) const fn secret_bytes(self) -> Option<usize> {
        match self {
            Self::A128Kw | Self::A128GcmKw => Some(16),
            Self::A192GcmKw => Some(24),
            Self::A256Kw | Self::A256GcmKw => Some(32),
            _ => None,
        }
    }
}

impl fmt::Display for KeyAlg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyAlg {
    type Err = JoseError;

    fn from_str(name: &str) -> Result<Self, JoseError> {
        if let Some(alg) = Self::ALL.into_iter().find(|alg| alg.as_str() == name) {
            return Ok(alg);
        }
        Err(match name {
            "RSA1_5" => JoseError::Unsupported("RSA1_5"),
            "A192KW" | "ECDH-ES+A192KW" => JoseError::Unsupported("AES-192 key wrap"),
            _ if name.starts_with("PBES2") => JoseError::Unsupported("PBES2"),
            _ => JoseError::UnsupportedAlg,
        })
    }
}

/// A content encryption algorithm (RFC 7518 section 5.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Enc {
    /// AES-128 in GCM.
    A128Gcm,
    /// AES-192 in GCM.
    A192Gcm,
    /// AES-256 in GCM.
    A256Gcm,
    /// AES-128 in CBC with HMAC-SHA-256.
    A128CbcHs256,
    /// AES-192 in CBC with HMAC-SHA-384.
    A192CbcHs384,
    /// AES-256 in CBC with HMAC-SHA-512.
    A256CbcHs512,
}

impl Enc {
    /// Every algorithm.
    pub const ALL: [Self; 6] = [
        Self::A128Gcm,
        Self::A192Gcm,
        Self::A256Gcm,
        Self::A128CbcHs256,
        Self::A192CbcHs384,
        Self::A256CbcHs512,
    ];

    /// The name in a header's `enc`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A128Gcm => "A128GCM",
            Self::A192Gcm => "A192GCM",
            Self::A256Gcm => "A256GCM",
            Self::A128CbcHs256 => "A128CBC-HS256",
            Self::A192CbcHs384 => "A192CBC-HS384",
            Self::A256CbcHs512 => "A256CBC-HS512",
        }
    }

    /// Bytes of its key; with CBC that is the MAC's key and the cipher's, a half each.
    pub const fn key_bytes(self) -> usize {
        match self {
            Self::A128Gcm => 16,
            Self::A192Gcm => 24,
            Self::A256Gcm | Self::A128CbcHs256 => 32,
            Self::A192CbcHs384 => 48,
            Self::A256CbcHs512 => 64,
        }
    }
}

impl fmt::Display for Enc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Enc {
    type Err = JoseError;

    fn from_str(name: &str) -> Result<Self, JoseError> {
        Self::ALL.into_iter().find(|enc| enc.as_str() == name).ok_or(JoseError::UnsupportedAlg)
    }
}
