/// Why something was refused. No variant carries text from a token or a key, so that every one may be logged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoseError {
    /// Longer than this many bytes.
    #[error("longer than {0} bytes")]
    TooLong(usize),
    /// Not a compact JWS: not three parts, or no signature. JSON serialisations and compact JWEs end here too.
    #[error("not a compact JWS: it must be three parts, the last not empty")]
    NotCompactJws,
    /// Not a compact JWE, which has five parts.
    #[error("not a compact JWE: it must be five parts")]
    NotCompactJwe,
    /// The named part is not base64url without padding, white space or spare bits (RFC 7515 section 2).
    #[error("the {0} is not strict base64url")]
    Base64(&'static str),
    /// Not JSON as it is accepted here, with what is wrong with it.
    #[error("not acceptable JSON: {0}")]
    Json(&'static str),
    /// The token's header breaks a rule, with the rule.
    #[error("the header is not acceptable: {0}")]
    Header(&'static str),
    /// The header has `crit`, and no extension is understood here (RFC 7515 section 4.1.11).
    #[error("the header has critical extensions, and none is supported")]
    Critical,
    /// The header's algorithm is not one of those implemented; `none` is among the missing.
    #[error("the algorithm is not supported")]
    UnsupportedAlg,
    /// A part of JOSE that is left out on purpose, by its name.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// The header's algorithm is not among those the caller or the key allows.
    #[error("the algorithm is not allowed here")]
    AlgNotAllowed,
    /// The header names a key that the set does not have. Reason to fetch the set again, once.
    #[error("the key set has no key of this id")]
    UnknownKid,
    /// Several keys of the set have the id that the header names, and would fit.
    #[error("several keys of the set have this id")]
    AmbiguousKid,
    /// No key of the set fits the header's algorithm.
    #[error("no key of the set fits the algorithm")]
    NoKey,
    /// The signature is not this key's for these bytes.
    #[error("the signature is wrong")]
    Signature,
    /// The key is refused, with the rule it breaks.
    #[error("the key is refused: {0}")]
    Key(&'static str),
    /// The document is no key set, with what is wrong with it.
    #[error("not a key set: {0}")]
    KeySet(&'static str),
    /// The ciphertext does not open. One answer for every cause, so that there is no oracle (RFC 7516 section 11.5).
    #[error("decryption failed")]
    Decryption,
    /// The cryptographic library refused to make a key or a signature.
    #[error("the cryptographic library failed")]
    Crypto,
}
