use std::net::IpAddr;

use aws_lc_rs::digest;
use base::UnixMillis;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    objects::{oid_registry, oid2abbrev},
    pem::parse_x509_pem,
    prelude::FromDer,
    x509::X509Name,
};

/// The certificate whose private key a client has proven to have in its TLS handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    der: Vec<u8>,
    trusted: bool,
}

impl ClientCertificate {
    /// `trusted`: whether a chain leads from it to an authority that vouches for clients here, today.
    pub fn new(der: Vec<u8>, trusted: bool) -> Self {
        Self { der, trusted }
    }

    /// The first certificate of a PEM text. Nobody vouches for it.
    pub(crate) fn from_pem(text: &str) -> Option<Self> {
        let (_, block) = parse_x509_pem(text.as_bytes()).ok()?;
        let found = Self::new(block.contents, false);
        let read = found.with(|_| ());
        (block.label == "CERTIFICATE" && read.is_some()).then_some(found)
    }

    /// `x5t#S256` (RFC 8705 section 3.1).
    pub fn thumbprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &self.der))
    }

    /// Its DER.
    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whether an authority for clients vouches for it.
    pub(crate) fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Its subject as RFC 4514 writes it.
    pub(crate) fn subject(&self) -> Option<String> {
        let parts = self.with(|certificate| attributes(certificate.subject()))??;
        let written = |(kind, value): &(String, String)| format!("{kind}={}", escaped(value));
        Some(parts.iter().map(written).collect::<Vec<_>>().join(","))
    }

    /// When it ends.
    pub(crate) fn end(&self) -> Option<UnixMillis> {
        self.with(|certificate| UnixMillis::from_secs(certificate.validity().not_after.timestamp()))
    }

    /// Whether its subject is this one (RFC 4514), whatever the spelling.
    pub(crate) fn has_subject(&self, name: &str) -> bool {
        let Some(wanted) = read_name(name) else { return false };
        self.with(|certificate| attributes(certificate.subject()) == Some(wanted)).unwrap_or(false)
    }

    /// Whether this DNS name is among its alternative names.
    pub(crate) fn has_dns(&self, name: &str) -> bool {
        self.has_name(|found| matches!(found, GeneralName::DNSName(dns) if dns.eq_ignore_ascii_case(name)))
    }

    /// Whether this URI is among its alternative names.
    pub(crate) fn has_uri(&self, name: &str) -> bool {
        self.has_name(|found| matches!(found, GeneralName::URI(uri) if *uri == name))
    }

    /// Whether this e-mail address is among its alternative names.
    pub(crate) fn has_email(&self, name: &str) -> bool {
        self.has_name(|found| matches!(found, GeneralName::RFC822Name(email) if *email == name))
    }

    /// Whether this address is among its alternative names.
    pub(crate) fn has_address(&self, name: &str) -> bool {
        let Ok(wanted) = name.parse::<IpAddr>() else { return false };
        let is = |bytes: &[u8]| match wanted {
            IpAddr::V4(address) => bytes == address.octets(),
            IpAddr::V6(address) => bytes == address.octets(),
        };
        self.has_name(|found| matches!(found, GeneralName::IPAddress(bytes) if is(bytes)))
    }

    fn has_name(&self, is: impl Fn(&GeneralName<'_>) -> bool) -> bool {
        self.with(|certificate| {
            let names = certificate.subject_alternative_name().ok().flatten();
            names.is_some_and(|names| names.value.general_names.iter().any(is))
        })
        .unwrap_or(false)
    }

    fn with<T>(&self, read: impl FnOnce(&X509Certificate<'_>) -> T) -> Option<T> {
        let (rest, certificate) = X509Certificate::from_der(&self.der).ok()?;
        rest.is_empty().then(|| read(&certificate))
    }
}

/// A name's attributes, the most specific one first as in RFC 4514: each its type in capitals and its value in lower
/// case with single spaces, as directories compare them (RFC 4518).
type Attributes = Vec<(String, String)>;

/// `None` where a relative name has several parts, or a value is no text: then it equals nothing.
fn attributes(name: &X509Name<'_>) -> Option<Attributes> {
    let mut found = Vec::new();
    for relative in name.iter() {
        let mut parts = relative.iter();
        let (part, None) = (parts.next()?, parts.next()) else { return None };
        let oid = part.attr_type();
        let kind = oid2abbrev(oid, oid_registry()).map_or_else(|_| oid.to_id_string(), str::to_owned);
        found.push((kind.to_ascii_uppercase(), folded(part.as_str().ok()?)));
    }
    found.reverse();
    Some(found)
}

/// RFC 4514 section 2.4.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for letter in value.chars() {
        if matches!(letter, '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '#' | '=') {
            out.push('\\');
        }
        out.push(letter);
    }
    out
}

/// Reads a distinguished name in RFC 4514's form, spaces around its separators allowed.
fn read_name(text: &str) -> Option<Attributes> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let (kind, after) = rest.split_once('=')?;
        let (value, after) = read_value(after)?;
        let kind = kind.trim().to_ascii_uppercase();
        let kind = match kind.strip_prefix("OID.").unwrap_or(&kind) {
            "EMAIL" | "E" | "EMAILADDRESS" => "EMAILADDRESS",
            "S" => "ST",
            other => other,
        };
        if kind.is_empty() {
            return None;
        }
        found.push((kind.to_owned(), folded(&value)));
        match after {
            Some(after) => rest = after,
            None => return Some(found),
        }
    }
}

/// A value with its escapes undone (RFC 4514 section 2.4), and what follows its comma.
fn read_value(text: &str) -> Option<(String, Option<&str>)> {
    let mut value = Vec::new();
    let mut at = 0;
    let bytes = text.as_bytes();
    while let Some(byte) = bytes.get(at) {
        match byte {
            b',' | b';' => {
                return Some((String::from_utf8(value).ok()?, text.get(at + 1..)));
            }
            // Relative names of several parts are not compared.
            b'+' => return None,
            b'\\' => {
                let next = *bytes.get(at + 1)?;
                let pair = text.get(at + 1..at + 3).and_then(|pair| u8::from_str_radix(pair, 16).ok());
                match pair {
                    Some(byte) => {
                        value.push(byte);
                        at += 3;
                    }
                    None => {
                        value.push(next);
                        at += 2;
                    }
                }
            }
            byte => {
                value.push(*byte);
                at += 1;
            }
        }
    }
    Some((String::from_utf8(value).ok()?, None))
}

fn folded(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate() -> ClientCertificate {
        let mut params = CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::IpAddress("192.0.2.7".parse().unwrap()));
        params.subject_alt_names.push(SanType::URI("spiffe://example/client".try_into().unwrap()));
        params.subject_alt_names.push(SanType::Rfc822Name("ops@example.com".try_into().unwrap()));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "DE");
        params.distinguished_name.push(DnType::OrganizationName, "Example, Inc.");
        params.distinguished_name.push(DnType::CommonName, "The Client");
        let key = KeyPair::generate().unwrap();
        ClientCertificate::new(params.self_signed(&key).unwrap().der().to_vec(), false)
    }

    #[test]
    fn a_subject_is_compared_as_directories_do() {
        let certificate = certificate();
        for same in [
            "CN=The Client,O=Example\\, Inc.,C=DE",
            "cn=the  client, o=example\\2c inc., c=de",
            "CN=The Client;O=Example\\, Inc.;C=DE",
        ] {
            assert!(certificate.has_subject(same), "{same}");
        }
        for other in [
            "",
            "CN=The Client",
            "CN=The Client,O=Example",
            "C=DE,O=Example\\, Inc.,CN=The Client",
            "CN=The Client,O=Example\\, Inc.,C=DE,C=DE",
            "CN=The Client+O=Example\\, Inc.,C=DE",
            "CN=The Client,O=Example\\, Inc.,C=DE,",
            "The Client",
        ] {
            assert!(!certificate.has_subject(other), "{other}");
        }
    }

    #[test]
    fn a_certificate_in_pem_says_its_subject_as_it_is_compared() {
        let der = certificate().der;
        let text = base64::engine::general_purpose::STANDARD.encode(&der);
        let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
        let read = ClientCertificate::from_pem(&pem).unwrap();
        assert_eq!(read, ClientCertificate::new(der, false));
        assert!(read.has_subject(&read.subject().unwrap()), "{:?}", read.subject());
        assert!(read.end().is_some());
        assert_eq!(
            ClientCertificate::from_pem("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"),
            None
        );
    }

    #[test]
    fn alternative_names_count_by_their_kind() {
        let certificate = certificate();
        assert!(certificate.has_dns("Client.Example") && !certificate.has_dns("example"));
        assert!(certificate.has_uri("spiffe://example/client") && !certificate.has_uri("client.example"));
        assert!(certificate.has_email("ops@example.com") && !certificate.has_email("client.example"));
        assert!(certificate.has_address("192.0.2.7") && !certificate.has_address("192.0.2.8"));
        assert!(!ClientCertificate::new(b"none".to_vec(), true).has_dns("client.example"));
    }
}
