//! OAuth 2.0 and OpenID Connect as types: what both the client and the server side of the protocols say and read.
//!
//! Parsing and rendering only. No I/O, no storage, no clock, no policy: the relying party (`rp`) and the identity
//! provider (`idp`, `idp-web`) decide; this crate sees to it that both mean the same by a scope, an error code, a PKCE
//! challenge or a form, and that neither reads a message that two parsers could read differently.

mod authorization;
pub mod bearer;
mod client_assertion;
mod client_auth;
pub mod dpop;
mod error;
pub mod form;
mod introspection;
mod metadata;
mod pkce;
mod scope;
mod token;

pub use authorization::AuthorizationRequest;
pub use client_assertion::ClientAssertion;
pub use client_auth::{BasicCredentials, ClientAuthMethod, ClientCredentialsError};
pub use error::{ErrorCode, OAuthError};
pub use form::Params;
pub use introspection::IntrospectionResponse;
pub use metadata::{MtlsEndpoints, ProviderMetadata};
pub use pkce::{Challenge, PkceError, Verifier};
pub use scope::{ScopeError, Scopes};
pub use token::{TokenResponse, TokenType, json_object};

/// Why a message of the other side cannot be used. Never holds any part of that message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not a JSON object, or one with a repeated member name (RFC 8259 section 4 leaves open which one counts).
    #[error("it is not a JSON object with distinct member names")]
    NotAnObject,
    /// A member that must be there is not.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// A member has the wrong type or a value out of bounds.
    #[error("its {0} cannot be used")]
    Invalid(&'static str),
}
