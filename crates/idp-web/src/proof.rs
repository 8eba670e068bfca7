//! What a request proves besides its parameters: headers, DPoP proof, client certificate.

use std::net::IpAddr;

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue},
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use idp::{ClientCertificate, Presented};
use ipnet::IpNet;
use oauth::{ErrorCode, OAuthError};
use percent_encoding::percent_decode_str;

use crate::{IdpState, answer, visit::Visit};

const DPOP: HeaderName = HeaderName::from_static("dpop");
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
/// Auth0's names: the certificate in percent-encoded PEM, as nginx writes it, or as RFC 9440 does; and what the proxy
/// found of its chain.
const CERTIFICATE: HeaderName = HeaderName::from_static("client-certificate");
const VERIFIED: HeaderName = HeaderName::from_static("client-certificate-ca-verified");
/// Bytes of a certificate in a header.
const MAX_CERTIFICATE: usize = 16 * 1024;

/// The certificate that a client has shown in its TLS handshake: an extension of its requests.
#[derive(Clone, Debug)]
pub struct PeerCertificate(pub ClientCertificate);

/// What `headers` and the connection show. `url` is [`Visit::url`] of the endpoint.
///
/// # Errors
///
/// `invalid_request` for two `Authorization` headers, `invalid_dpop_proof` for two `DPoP` headers (RFC 9449 section
/// 4.3).
pub(crate) fn presented<'a>(
    visit: &'a Visit,
    headers: &'a HeaderMap,
    method: &'a str,
    url: &'a str,
) -> Result<Presented<'a>, OAuthError> {
    let mut proofs = headers.get_all(&DPOP).iter();
    let dpop = match (proofs.next(), proofs.next()) {
        (None, _) => None,
        (Some(proof), None) => {
            Some(proof.to_str().map_err(|_| refused("The DPoP header is not ASCII text"))?)
        }
        (Some(_), Some(_)) => return Err(refused("There is more than one DPoP header")),
    };
    let authorization = answer::authorization(headers)?;
    Ok(Presented { method, url, authorization, dpop, ip: visit.peer(), certificate: visit.certificate() })
}

fn refused(text: &str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidDpopProof, text)
}

/// Tells a client that sends proofs which nonce the next one must have (RFC 9449 section 8).
pub(crate) fn with_nonce(state: &IdpState, headers: &HeaderMap, mut response: Response) -> Response {
    if headers.contains_key(&DPOP)
        && let Ok(nonce) = HeaderValue::from_str(&state.idp.dpop_nonce())
    {
        response.headers_mut().insert(DPOP_NONCE, nonce);
    }
    response
}

/// The certificate that a trusted proxy says its client has shown.
pub(crate) fn forwarded(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Option<ClientCertificate> {
    let peer = peer.to_canonical();
    if !trusted.iter().any(|network| network.contains(&peer)) {
        return None;
    }
    let value = one(headers, &CERTIFICATE)?;
    let verified = one(headers, &VERIFIED) == Some("SUCCESS");
    Some(ClientCertificate::new(read(value)?, verified))
}

/// A header that comes once.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn read(value: &str) -> Option<Vec<u8>> {
    if value.len() > MAX_CERTIFICATE {
        return None;
    }
    if let Some(encoded) = value.strip_prefix(':').and_then(|rest| rest.strip_suffix(':')) {
        return STANDARD.decode(encoded).ok();
    }
    let text = percent_decode_str(value).decode_utf8().ok()?;
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
    let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_in_a_header_counts_from_trusted_proxies_only() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let mut headers = HeaderMap::new();
        headers.insert(CERTIFICATE, HeaderValue::from_static(":AQID:"));
        let from = |peer: &str, headers: &HeaderMap| forwarded(peer.parse().unwrap(), headers, &trusted);
        assert_eq!(from("192.0.2.1", &headers), None);
        assert_eq!(from("10.1.2.3", &headers), Some(ClientCertificate::new(vec![1, 2, 3], false)));
        headers.insert(VERIFIED, HeaderValue::from_static("SUCCESS"));
        assert_eq!(from("10.1.2.3", &headers), Some(ClientCertificate::new(vec![1, 2, 3], true)));
        let pem = "-----BEGIN%20CERTIFICATE-----%0AAQID%0A-----END%20CERTIFICATE-----%0A";
        headers.insert(CERTIFICATE, HeaderValue::from_static(pem));
        assert_eq!(from("10.1.2.3", &headers), Some(ClientCertificate::new(vec![1, 2, 3], true)));
        headers.append(CERTIFICATE, HeaderValue::from_static(":AQID:"));
        assert_eq!(from("10.1.2.3", &headers), None);
    }
}
