use jose::{Alg, JoseError};

/// Why a token is refused, in the words of `error_description` (RFC 6750 section 3). The words are fixed: nothing of
/// the token, and nothing of what a provider answered, is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a compact JWS by the rules of RFC 7515 and 8725.
    #[error("invalid jwt: invalid jwt string")]
    Malformed,
    /// Unsigned, or signed in a way that does not exist here.
    #[error("jwt signature verification failed: the algorithm is not supported")]
    UnsupportedAlg,
    /// Signed by another algorithm than the one expected.
    #[error("token is signed by unexpected algorithm \"{0}\"")]
    UnexpectedAlg(Alg),
    /// The key set has no key for it.
    #[error("jwt signature verification failed: the provider publishes no key for it")]
    NoKey,
    /// The signature is wrong.
    #[error("jwt signature verification failed")]
    Signature,
    /// A claim is missing or has the wrong type.
    #[error("the claim '{0}' is missing or malformed")]
    Claim(&'static str),
    /// There is no issuer.
    #[error("jwt signature verification failed: 'iss' claim is required.")]
    IssuerMissing,
    /// The issuer is another.
    #[error("jwt signature verification failed: Claim 'iss' returned failure")]
    Issuer,
    /// Over.
    #[error("JWT expired")]
    Expired,
    /// `nbf` lies ahead.
    #[error("the token is not valid yet")]
    NotYet,
    /// `iat` lies ahead.
    #[error("the token was issued in the future")]
    Future,
    /// Bound in a way (RFC 7800) of which no proof is known here.
    #[error("the token is bound in a way that is not known here")]
    Bound,
    /// Bound to a key, and sent as if it were not.
    #[error("the token is bound to a key, and came without a proof of it")]
    ProofMissing,
    /// Bound to another key than the one that was proved.
    #[error("the token is bound to another key")]
    OtherKey,
    /// Bound to another client certificate than the connection's, or the connection has none.
    #[error("the token is bound to a client certificate that the connection does not have")]
    OtherCertificate,
    /// Not bound as it has to be here.
    #[error("the token is not bound to what was shown with it, or has to be shown")]
    Unbound,
    /// An ID token, a logout token, a refresh token or the like.
    #[error("the token is not an access token")]
    NotAccessToken,
    /// The introspection endpoint does not say that it is active.
    #[error("invalid token")]
    Inactive,
    /// Its provider, which is the one of this process, took it back.
    #[error("the token was revoked")]
    Revoked,
    /// A JWE: only whom it is encrypted for can read it.
    #[error("the token is encrypted, and there is no key here to open it")]
    Encrypted,
    /// Opaque, and there is nobody to ask.
    #[error("no endpoint URI for introspection")]
    Opaque,
}

impl From<JoseError> for Refusal {
    fn from(error: JoseError) -> Self {
        match error {
            JoseError::UnsupportedAlg | JoseError::Unsupported(_) | JoseError::AlgNotAllowed => {
                Self::UnsupportedAlg
            }
            JoseError::UnknownKid | JoseError::AmbiguousKid | JoseError::NoKey => Self::NoKey,
            JoseError::Signature => Self::Signature,
            _ => Self::Malformed,
        }
    }
}
