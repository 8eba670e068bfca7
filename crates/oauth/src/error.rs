use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};

/// Characters an error code may have at most.
const MAX_CODE: usize = 64;
/// Characters of a stranger's description that are kept.
const MAX_DESCRIPTION: usize = 256;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The error codes of OAuth 2.0, OpenID Connect and their extensions.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
            /// A code that no RFC known here defines, as some providers send.
            Other(Box<str>),
        }

        impl ErrorCode {
            /// The code as it goes over the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Other(code) => code,
                }
            }

            /// Reads a code. `None` for what RFC 6749 section 5.2 does not allow as one (`%x20-21 / %x23-5B /
            /// %x5D-7E`), or for more than 64 characters.
            pub fn parse(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$name),)*
                    _ if !text.is_empty() && text.len() <= MAX_CODE && text.bytes().all(is_error_char) => {
                        Some(Self::Other(text.into()))
                    }
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// RFC 6749 4.1.2.1 and 5.2: a parameter is missing, repeated or malformed.
    InvalidRequest = "invalid_request",
    /// RFC 6749 5.2: client authentication failed.
    InvalidClient = "invalid_client",
    /// RFC 6749 5.2: the code or refresh token is wrong, used, expired or somebody else's.
    InvalidGrant = "invalid_grant",
    /// RFC 6749 4.1.2.1 and 5.2: this client may not use this grant or response type.
    UnauthorizedClient = "unauthorized_client",
    /// RFC 6749 5.2: the grant type is not supported.
    UnsupportedGrantType = "unsupported_grant_type",
    /// RFC 6749 4.1.2.1: the response type is not supported.
    UnsupportedResponseType = "unsupported_response_type",
    /// RFC 6749 4.1.2.1 and 5.2: a scope is unknown, malformed or not granted.
    InvalidScope = "invalid_scope",
    /// RFC 6749 4.1.2.1: the user or the server said no.
    AccessDenied = "access_denied",
    /// RFC 6749 4.1.2.1: the authorization server failed.
    ServerError = "server_error",
    /// RFC 6749 4.1.2.1: the authorization server is overloaded or in maintenance.
    TemporarilyUnavailable = "temporarily_unavailable",
    /// RFC 6750 3.1: the access token is expired, revoked, malformed or not for here.
    InvalidToken = "invalid_token",
    /// RFC 6750 3.1: the access token lacks a scope.
    InsufficientScope = "insufficient_scope",
    /// RFC 7009 2.2.1: tokens of this type cannot be revoked.
    UnsupportedTokenType = "unsupported_token_type",
    /// RFC 8707 2: the `resource` is not acceptable.
    InvalidTarget = "invalid_target",
    /// RFC 9396 5: the `authorization_details` are malformed, or of a type that is not known.
    InvalidAuthorizationDetails = "invalid_authorization_details",
    /// RFC 7591 3.2.2: a redirect URI of a registration is not acceptable.
    InvalidRedirectUri = "invalid_redirect_uri",
    /// RFC 7591 3.2.2: another member of a registration is not acceptable.
    InvalidClientMetadata = "invalid_client_metadata",
    /// CIBA 13: the hint names no user.
    UnknownUserId = "unknown_user_id",
    /// CIBA 13: the binding message cannot be shown.
    InvalidBindingMessage = "invalid_binding_message",
    /// Auth0's: too many failed logins.
    TooManyAttempts = "too_many_attempts",
    /// RFC 8628 3.5: the user has not finished yet.
    AuthorizationPending = "authorization_pending",
    /// RFC 8628 3.5: poll more slowly.
    SlowDown = "slow_down",
    /// RFC 8628 3.5: the device code expired.
    ExpiredToken = "expired_token",
    /// RFC 9449 5: the DPoP proof is not acceptable.
    InvalidDpopProof = "invalid_dpop_proof",
    /// RFC 9449 8: the DPoP proof needs the server's nonce.
    UseDpopNonce = "use_dpop_nonce",
    /// RFC 9470 3: the token's authentication is too weak or too old.
    InsufficientUserAuthentication = "insufficient_user_authentication",
    /// OIDC Core 3.1.2.6: `prompt=none`, but the user must log in.
    LoginRequired = "login_required",
    /// OIDC Core 3.1.2.6: `prompt=none`, but some page must be shown.
    InteractionRequired = "interaction_required",
    /// OIDC Core 3.1.2.6: `prompt=none`, but the user must choose an account.
    AccountSelectionRequired = "account_selection_required",
    /// OIDC Core 3.1.2.6: `prompt=none`, but the user must consent.
    ConsentRequired = "consent_required",
    /// OIDC Core 3.1.2.6: the request object at `request_uri` cannot be fetched or used.
    InvalidRequestUri = "invalid_request_uri",
    /// OIDC Core 3.1.2.6: the request object is not valid.
    InvalidRequestObject = "invalid_request_object",
    /// OIDC Core 3.1.2.6: `request` is not supported.
    RequestNotSupported = "request_not_supported",
    /// OIDC Core 3.1.2.6: `request_uri` is not supported.
    RequestUriNotSupported = "request_uri_not_supported",
    /// OIDC Core 3.1.2.6: `registration` is not supported.
    RegistrationNotSupported = "registration_not_supported",
    /// OIDC Unmet Authentication Requirements: the requested `acr` or the like cannot be met.
    UnmetAuthenticationRequirements = "unmet_authentication_requirements",
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// An error as one side tells it to the other (RFC 6749 5.2), or as it arrives in a redirect (4.1.2.1).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}")]
pub struct OAuthError {
    /// What kind of error.
    pub code: ErrorCode,
    /// `error_description`: for the developer of the other side. Not part of `Display`, because when it arrives from
    /// outside it is a stranger's text.
    pub description: Option<String>,
}

impl OAuthError {
    /// An error to tell, with words for the other side's developer. Characters that RFC 6749 5.2 does not allow in
    /// `error_description` become spaces.
    pub fn new(code: ErrorCode, description: &str) -> Self {
        Self { code, description: Some(plain(description)) }
    }

    /// Reads `error` and `error_description` as another server sent them: the code must be one by the RFC's
    /// characters; the description is cut to 256 characters and cleared of control characters.
    pub fn from_parts(error: &str, description: Option<&str>) -> Option<Self> {
        let description =
            description.map(|text| plain(&text.chars().take(MAX_DESCRIPTION).collect::<String>()));
        Some(Self { code: ErrorCode::parse(error)?, description })
    }

    /// Reads the JSON body of an error response. `None` where it is none.
    pub fn from_json(object: &Map<String, Value>) -> Option<Self> {
        Self::from_parts(
            object.get("error")?.as_str()?,
            object.get("error_description").and_then(Value::as_str),
        )
    }
}

impl Serialize for OAuthError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("error", &self.code)?;
        if let Some(description) = &self.description {
            map.serialize_entry("error_description", description)?;
        }
        map.end()
    }
}

/// RFC 6749 appendix A.7 and A.8: visible ASCII and space, without `"` and `\`.
fn is_error_char(byte: u8) -> bool {
    matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)
}

fn plain(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '"' => '\'',
            c if u8::try_from(c).is_ok_and(is_error_char) => c,
            _ => ' ',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_go_over_the_wire_and_back() {
        assert_eq!(ErrorCode::parse("invalid_grant"), Some(ErrorCode::InvalidGrant));
        assert_eq!(ErrorCode::InvalidGrant.as_str(), "invalid_grant");
        assert_eq!(ErrorCode::parse("mfa_required"), Some(ErrorCode::Other("mfa_required".into())));
        for bad in ["", "a\"b", "a\r\nb", "ä", &"x".repeat(65)] {
            assert_eq!(ErrorCode::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_description_cannot_leave_its_quotes_or_its_line() {
        let error = OAuthError::new(ErrorCode::InvalidToken, "a\"b\\c\r\nSet-Cookie: ä");
        assert_eq!(error.description.as_deref(), Some("a'b c  Set-Cookie:  "));
    }

    #[test]
    fn an_error_response_has_the_members_of_rfc_6749() {
        let error = OAuthError::new(ErrorCode::InvalidScope, "unknown scope");
        let json = serde_json::to_string(&error).unwrap();
        assert_eq!(json, r#"{"error":"invalid_scope","error_description":"unknown scope"}"#);
        let Value::Object(object) = serde_json::from_str(&json).unwrap() else { panic!("an object") };
        assert_eq!(OAuthError::from_json(&object), Some(error));
    }

    #[test]
    fn s01_a_strangers_description_is_not_in_the_display() {
        let error = OAuthError::from_parts("invalid_grant", Some("canary")).unwrap();
        assert_eq!(error.to_string(), "invalid_grant");
    }
}
