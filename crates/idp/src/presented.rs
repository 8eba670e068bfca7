use std::net::IpAddr;

use crate::ClientCertificate;

/// What a request shows of its sender, besides its parameters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Presented<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its URL without query, as the client wrote it: what a proof of possession names.
    pub url: &'a str,
    /// The value of its one `Authorization` header.
    pub authorization: Option<&'a str>,
    /// The value of its one `DPoP` header (RFC 9449 section 4.1).
    pub dpop: Option<&'a str>,
    /// Where it comes from.
    pub ip: Option<IpAddr>,
    /// The certificate of its TLS connection.
    pub certificate: Option<&'a ClientCertificate>,
}

impl<'a> From<Option<&'a str>> for Presented<'a> {
    /// Credentials in a header, and nothing else.
    fn from(authorization: Option<&'a str>) -> Self {
        Self { authorization, ..Self::default() }
    }
}

/// An access token at one of the provider's own resources.
#[derive(Clone, Copy, Debug)]
pub struct PresentedToken<'a> {
    /// The token.
    pub token: &'a str,
    /// Whether it came under the scheme `DPoP`.
    pub dpop: bool,
    /// The request it came with.
    pub request: Presented<'a>,
}

impl<'a> From<&'a str> for PresentedToken<'a> {
    /// A bearer token, and nothing else.
    fn from(token: &'a str) -> Self {
        Self { token, dpop: false, request: Presented::default() }
    }
}

impl<'a> From<&'a String> for PresentedToken<'a> {
    fn from(token: &'a String) -> Self {
        token.as_str().into()
    }
}
