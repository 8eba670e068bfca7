use oauth::{ErrorCode, OAuthError};

/// Why the provider could not do its own part. Nobody who asks is at fault: the answer is 500, or 503 for
/// [`IdpError::Busy`] and an unreachable database.
#[derive(Debug, thiserror::Error)]
pub enum IdpError {
    /// The repositories failed.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// Too many passwords wait to be hashed. The answer is 503 with `Retry-After`.
    #[error("too many passwords are waiting to be checked")]
    Busy,
    /// Argon2 could not make a hash.
    #[error("the password could not be hashed")]
    Hashing,
    /// A key could not be made, read or used.
    #[error("signing failed: {0}")]
    Signing(#[from] jose::JoseError),
    /// A client is to get something encrypted, and has no key that it could be encrypted for.
    #[error("the client {client} has no key for {alg}")]
    NoClientKey {
        /// Which client.
        client: String,
        /// Which algorithm.
        alg: &'static str,
    },
    /// The tenant has no key for an algorithm that its configuration names.
    #[error("tenant {tenant} has no signing key for {alg}")]
    NoKey {
        /// Which tenant.
        tenant: String,
        /// Which algorithm.
        alg: String,
    },
}

/// Why a repository failed.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// A record with the same unique name exists; the field that clashes.
    #[error("there is already a record with this {0}")]
    Conflict(&'static str),
    /// The database cannot be reached, or is out of connections or space. Trying again may help.
    #[error("the identity database is unavailable: {0}")]
    Unavailable(String),
    /// A statement failed, or a stored record cannot be read.
    #[error("the identity database failed: {0}")]
    Failed(String),
}

/// Why an endpoint of RFC 6749, 7009, 7662 or `/userinfo` does not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The request is at fault: an OAuth error, told to the client.
    #[error(transparent)]
    OAuth(#[from] OAuthError),
    /// The provider is at fault.
    #[error(transparent)]
    Internal(#[from] IdpError),
}

impl EndpointError {
    /// An OAuth error with a description.
    pub fn oauth(code: ErrorCode, description: &str) -> Self {
        Self::OAuth(OAuthError::new(code, description))
    }
}

impl From<RepositoryError> for EndpointError {
    fn from(error: RepositoryError) -> Self {
        Self::Internal(error.into())
    }
}

impl From<jose::JoseError> for EndpointError {
    fn from(error: jose::JoseError) -> Self {
        Self::Internal(error.into())
    }
}
