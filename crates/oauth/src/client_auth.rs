use std::fmt;

use base::Secret;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use serde::{Deserialize, Serialize};

/// Bytes of a Basic header that are looked at.
const MAX_HEADER: usize = 8 * 1024;

/// How a client proves who it is at the token, introspection and revocation endpoints (RFC 6749 2.3, OIDC Core 9,
/// RFC 8705).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ClientAuthMethod {
    /// A public client: its `client_id` in the body, no proof.
    #[serde(rename = "none")]
    None,
    /// HTTP Basic.
    #[serde(rename = "client_secret_basic")]
    ClientSecretBasic,
    /// The secret in the body.
    #[serde(rename = "client_secret_post")]
    ClientSecretPost,
    /// An assertion under HMAC with the secret.
    #[serde(rename = "client_secret_jwt")]
    ClientSecretJwt,
    /// An assertion signed by the client's private key.
    #[serde(rename = "private_key_jwt")]
    PrivateKeyJwt,
    /// A client certificate from a known CA.
    #[serde(rename = "tls_client_auth")]
    TlsClientAuth,
    /// A client certificate that is registered itself.
    #[serde(rename = "self_signed_tls_client_auth")]
    SelfSignedTlsClientAuth,
}

impl ClientAuthMethod {
    const ALL: [Self; 7] = [
        Self::None,
        Self::ClientSecretBasic,
        Self::ClientSecretPost,
        Self::ClientSecretJwt,
        Self::PrivateKeyJwt,
        Self::TlsClientAuth,
        Self::SelfSignedTlsClientAuth,
    ];

    /// The registered name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::ClientSecretJwt => "client_secret_jwt",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::TlsClientAuth => "tls_client_auth",
            Self::SelfSignedTlsClientAuth => "self_signed_tls_client_auth",
        }
    }

    /// Whether a client certificate is the proof (RFC 8705).
    pub const fn is_certificate(self) -> bool {
        matches!(self, Self::TlsClientAuth | Self::SelfSignedTlsClientAuth)
    }

    /// The method with this registered name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == name)
    }
}

impl fmt::Display for ClientAuthMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `client_secret_basic`: id and secret of a client (RFC 6749 section 2.3.1).
#[derive(Clone, Debug)]
pub struct BasicCredentials {
    /// The client's id.
    pub client_id: String,
    /// Its secret; may be empty.
    pub secret: Secret<String>,
}

/// Why an `Authorization: Basic` header does not name a client. The answer is `invalid_client` with 401.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Authorization header holds no client credentials")]
pub struct ClientCredentialsError;

impl BasicCredentials {
    /// The value of the `Authorization` header: both parts form-urlencoded first, then joined and base64
    /// (RFC 6749 section 2.3.1), so that a colon in the id cannot move the boundary.
    pub fn header(client_id: &str, secret: &Secret<String>) -> Secret<String> {
        let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let plain = Secret::new(format!("{}:{}", encode(client_id), encode(secret.expose())));
        Secret::new(format!("Basic {}", STANDARD.encode(plain.expose())))
    }

    /// Reads the value of one `Authorization` header. `Ok(None)` when it is of another scheme.
    ///
    /// # Errors
    ///
    /// When the scheme is Basic, but what follows is not base64 of `id:secret` in form encoding.
    pub fn parse(header: &[u8]) -> Result<Option<Self>, ClientCredentialsError> {
        let mut halves = header.splitn(2, |byte| *byte == b' ');
        if !halves.next().unwrap_or_default().eq_ignore_ascii_case(b"basic") {
            return Ok(None);
        }
        let encoded = halves.next().unwrap_or_default().trim_ascii();
        if encoded.is_empty() || encoded.len() > MAX_HEADER {
            return Err(ClientCredentialsError);
        }
        let plain = STANDARD.decode(encoded).or_else(|_| STANDARD_NO_PAD.decode(encoded));
        let plain = Secret::new(plain.map_err(|_| ClientCredentialsError)?);
        let colon = plain.expose().iter().position(|byte| *byte == b':').ok_or(ClientCredentialsError)?;
        let (id, secret) = plain.expose().split_at(colon);
        let client_id = decode(id)?;
        let secret = decode(secret.get(1..).unwrap_or_default())?;
        if client_id.is_empty() {
            return Err(ClientCredentialsError);
        }
        Ok(Some(Self { client_id, secret: Secret::new(secret) }))
    }
}

/// Form-decodes; a `%` that begins no escape stands for itself, since many clients do not encode at all.
fn decode(text: &[u8]) -> Result<String, ClientCredentialsError> {
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let decoded: Vec<u8> = percent_encoding::percent_decode(&spaced).collect();
    String::from_utf8(decoded).map_err(|_| ClientCredentialsError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_and_secret_are_form_encoded_before_base64() {
        let header = BasicCredentials::header("a:b c", &Secret::new("p%+ä".to_owned()));
        let encoded = header.expose().strip_prefix("Basic ").unwrap();
        assert_eq!(STANDARD.decode(encoded).unwrap(), b"a%3Ab+c:p%25%2B%C3%A4");
        let back = BasicCredentials::parse(header.expose().as_bytes()).unwrap().unwrap();
        assert_eq!((back.client_id.as_str(), back.secret.expose().as_str()), ("a:b c", "p%+ä"));
    }

    #[test]
    fn the_scheme_is_read_in_any_case_and_others_are_left_alone() {
        let value = format!("bAsIc {}", STANDARD.encode("id:"));
        assert_eq!(BasicCredentials::parse(value.as_bytes()).unwrap().unwrap().client_id, "id");
        assert!(BasicCredentials::parse(b"Bearer abc").unwrap().is_none());
        assert!(BasicCredentials::parse(b"").unwrap().is_none());
    }

    #[test]
    fn broken_basic_headers_are_refused() {
        let no_colon = format!("Basic {}", STANDARD.encode("id"));
        let no_id = format!("Basic {}", STANDARD.encode(":secret"));
        let not_utf8 = format!("Basic {}", STANDARD.encode(b"id:\xff"));
        for bad in ["Basic", "Basic ", "Basic !!!", &no_colon, &no_id, &not_utf8] {
            assert_eq!(BasicCredentials::parse(bad.as_bytes()).unwrap_err(), ClientCredentialsError, "{bad}");
        }
    }

    #[test]
    fn methods_have_their_registered_names() {
        for method in ClientAuthMethod::ALL {
            assert_eq!(ClientAuthMethod::parse(method.as_str()), Some(method));
            assert_eq!(serde_json::to_value(method).unwrap(), method.as_str());
        }
        assert_eq!(ClientAuthMethod::parse("basic"), None);
    }
}
