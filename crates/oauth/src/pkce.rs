use std::fmt;

use aws_lc_rs::digest;
use base::{Random, Secret, same_bytes};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// The one `code_challenge_method` there is here: `plain` protects nothing (RFC 9700 section 2.1.1).
const METHOD: &str = "S256";

/// A PKCE code verifier (RFC 7636 section 4.1).
#[derive(Clone, Debug)]
pub struct Verifier(Secret<String>);

/// A PKCE code challenge by S256 (RFC 7636 section 4.2): base64url of a SHA-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge(String);

/// Why a verifier or a challenge is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PkceError {
    /// RFC 7636 section 4.1.
    #[error("code_verifier must have 43 to 128 characters of A-Z a-z 0-9 - . _ ~")]
    Verifier,
    /// RFC 7636 section 4.2, with S256.
    #[error("code_challenge must be the 43 characters of a SHA-256 in base64url")]
    Challenge,
    /// Another method than S256, or none (which would mean `plain`, RFC 7636 section 4.3).
    #[error("code_challenge_method must be S256")]
    Method,
}

impl Verifier {
    /// A new one of 256 bits.
    pub fn generate(random: &Random) -> Self {
        Self(Secret::new(random.token(32)))
    }

    /// Reads the `code_verifier` of a token request or of a stored login.
    pub fn parse(text: &str) -> Result<Self, PkceError> {
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        if (43..=128).contains(&text.len()) && text.bytes().all(unreserved) {
            Ok(Self(Secret::new(text.to_owned())))
        } else {
            Err(PkceError::Verifier)
        }
    }

    /// The verifier itself, for the token request or the sealed session.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Its S256 challenge.
    pub fn challenge(&self) -> Challenge {
        let digest = digest::digest(&digest::SHA256, self.0.expose().as_bytes());
        Challenge(URL_SAFE_NO_PAD.encode(digest))
    }
}

impl Challenge {
    /// `S256`, the value of `code_challenge_method`.
    pub const METHOD: &str = METHOD;

    /// Reads `code_challenge` and `code_challenge_method` of an authorization request.
    pub fn parse(challenge: &str, method: Option<&str>) -> Result<Self, PkceError> {
        if method != Some(METHOD) {
            return Err(PkceError::Method);
        }
        match URL_SAFE_NO_PAD.decode(challenge) {
            Ok(digest) if digest.len() == 32 => Ok(Self(challenge.to_owned())),
            _ => Err(PkceError::Challenge),
        }
    }

    /// The challenge as it goes over the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `verifier` belongs to this challenge (RFC 7636 section 4.6), in constant time.
    pub fn matches(&self, verifier: &Verifier) -> bool {
        same_bytes(self.0.as_bytes(), verifier.challenge().0.as_bytes())
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_7636_appendix_b_holds() {
        let verifier = Verifier::parse("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk").unwrap();
        let challenge =
            Challenge::parse("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", Some("S256")).unwrap();
        assert_eq!(verifier.challenge(), challenge);
        assert!(challenge.matches(&verifier));
        assert!(!challenge.matches(&Verifier::generate(&Random::seeded(1))));
    }

    #[test]
    fn plain_and_an_absent_method_are_refused() {
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert_eq!(Challenge::parse(challenge, Some("plain")), Err(PkceError::Method));
        assert_eq!(Challenge::parse(challenge, None), Err(PkceError::Method));
        assert_eq!(Challenge::parse("short", Some("S256")), Err(PkceError::Challenge));
    }

    #[test]
    fn verifiers_have_43_to_128_unreserved_characters() {
        for bad in ["a".repeat(42), "a".repeat(129), format!("{}+", "a".repeat(43))] {
            assert_eq!(Verifier::parse(&bad).unwrap_err(), PkceError::Verifier);
        }
        assert!(Verifier::parse(&"a".repeat(128)).is_ok());
        assert!(Verifier::parse(Verifier::generate(&Random::system()).expose()).is_ok());
    }
}
