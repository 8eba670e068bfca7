use base64::{Engine, engine::general_purpose::STANDARD};
use x509_parser::{
    certificate::X509Certificate,
    prelude::FromDer,
    public_key::{PublicKey, RSAPublicKey},
    x509::SubjectPublicKeyInfo,
};
use zeroize::Zeroizing;

use crate::{Alg, JoseError, VerifyingKey, jwk::Curve};

/// RFC 8410 section 3.
const ED25519_OID: &str = "1.3.101.112";

const UNREADABLE: JoseError = JoseError::Key("the PEM block's contents cannot be read");

/// A PEM block: the label between BEGIN and END, and the bytes.
pub(crate) struct Block {
    pub(crate) label: String,
    pub(crate) der: Zeroizing<Vec<u8>>,
}

/// The first block of `text` that has one of `labels` (RFC 7468). Text around blocks is passed over.
pub(crate) fn first_block(text: &str, labels: &[&str]) -> Result<Block, JoseError> {
    const BEGIN: &str = "-----BEGIN ";
    const DASHES: &str = "-----";
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let (label, after) = after.split_once(DASHES).ok_or(JoseError::Key("the PEM is cut off"))?;
        let end = format!("-----END {label}-----");
        let (body, after) = after.split_once(end.as_str()).ok_or(JoseError::Key("the PEM is cut off"))?;
        rest = after;
        if !labels.contains(&label) {
            continue;
        }
        let body = Zeroizing::new(body.split_ascii_whitespace().collect::<String>());
        let der = STANDARD.decode(body.as_bytes()).map_err(|_| JoseError::Key("the PEM is not base64"))?;
        return Ok(Block { label: label.to_owned(), der: Zeroizing::new(der) });
    }
    Err(JoseError::Key("there is no PEM block of a kind that is wanted"))
}

/// The public key of the first `PUBLIC KEY`, `RSA PUBLIC KEY` or `CERTIFICATE` block.
pub(crate) fn public_key(text: &str) -> Result<VerifyingKey, JoseError> {
    let block = public_block(text)?;
    match block.label.as_str() {
        "RSA PUBLIC KEY" => rsa(&whole::<RSAPublicKey<'_>>(&block.der)?),
        "CERTIFICATE" => subject_key(&whole::<X509Certificate<'_>>(&block.der)?.tbs_certificate.subject_pki),
        _ => subject_key(&whole::<SubjectPublicKeyInfo<'_>>(&block.der)?),
    }
}

/// Modulus and exponent of the RSA key in the first `PUBLIC KEY`, `RSA PUBLIC KEY` or `CERTIFICATE` block.
pub(crate) fn rsa_numbers(text: &str) -> Result<(Vec<u8>, Vec<u8>), JoseError> {
    let block = public_block(text)?;
    let numbers = |key: &RSAPublicKey<'_>| -> Result<_, JoseError> {
        Ok((unsigned(key.modulus)?.to_vec(), unsigned(key.exponent)?.to_vec()))
    };
    let subject = |info: &SubjectPublicKeyInfo<'_>| match info.parsed() {
        Ok(PublicKey::RSA(key)) if info.subject_public_key.unused_bits == 0 => numbers(&key),
        _ => Err(JoseError::Key("it is no RSA key")),
    };
    match block.label.as_str() {
        "RSA PUBLIC KEY" => numbers(&whole::<RSAPublicKey<'_>>(&block.der)?),
        "CERTIFICATE" => subject(&whole::<X509Certificate<'_>>(&block.der)?.tbs_certificate.subject_pki),
        _ => subject(&whole::<SubjectPublicKeyInfo<'_>>(&block.der)?),
    }
}

/// The first block that holds a public key.
pub(crate) fn public_block(text: &str) -> Result<Block, JoseError> {
    first_block(text, &["PUBLIC KEY", "RSA PUBLIC KEY", "CERTIFICATE"])
}

/// Reads a structure that takes up all of `der`.
fn whole<'a, T: FromDer<'a, x509_parser::error::X509Error>>(der: &'a [u8]) -> Result<T, JoseError> {
    match T::from_der(der) {
        Ok(([], structure)) => Ok(structure),
        _ => Err(UNREADABLE),
    }
}

fn subject_key(info: &SubjectPublicKeyInfo<'_>) -> Result<VerifyingKey, JoseError> {
    if info.subject_public_key.unused_bits != 0 {
        return Err(UNREADABLE);
    }
    match info.parsed().map_err(|_| UNREADABLE)? {
        PublicKey::RSA(key) => rsa(&key),
        PublicKey::EC(point) => {
            let curve = info.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
            let curve = curve.map(|oid| oid.to_id_string()).unwrap_or_default();
            let curve = Curve::ALL.into_iter().find(|known| known.oid() == curve);
            VerifyingKey::ec(curve.ok_or(JoseError::Key("the EC curve is not supported"))?, point.data())
        }
        PublicKey::Unknown(bytes) if info.algorithm.algorithm.to_id_string() == ED25519_OID => {
            VerifyingKey::ed25519(bytes)
        }
        _ => Err(JoseError::Key("the kind of key is not supported")),
    }
}

fn rsa(key: &RSAPublicKey<'_>) -> Result<VerifyingKey, JoseError> {
    VerifyingKey::rsa(unsigned(key.modulus)?, unsigned(key.exponent)?, &Alg::RSA)
}

/// A DER integer's bytes without the zero that keeps it positive.
fn unsigned(integer: &[u8]) -> Result<&[u8], JoseError> {
    match integer {
        [0, rest @ ..] => Ok(rest),
        [first, ..] if first & 0x80 == 0 => Ok(integer),
        _ => Err(UNREADABLE),
    }
}
