//! The certificate of a signing key: self-signed, for clients that ask for `x5c` in the JWKS, or for PEM.
//!
//! It is made once with the key and kept in its JWK: an ECDSA signature is another one each time, and all processes
//! are to publish the same.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base::UnixMillis;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jose::Alg;
use rcgen::{
    CertificateParams, DnType, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519,
    PKCS_RSA_SHA256,
};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::{IdpError, model::SigningKeyRecord};

/// Keys are replaced long before.
const LIFE: Duration = Duration::days(3650);

/// Puts `x5c` and `x5t` (RFC 7517 sections 4.7 and 4.8) into the key's JWK, as Auth0 does, for an issuer at `host`.
pub(crate) fn certify(key: &mut SigningKeyRecord, host: &str) -> Result<(), IdpError> {
    let der = self_signed(key, host).map_err(|_| jose::JoseError::Crypto)?;
    if let Some(jwk) = key.public_jwk.as_object_mut() {
        jwk.insert("x5c".to_owned(), json!([STANDARD.encode(&der)]));
        let thumbprint = digest(&SHA1_FOR_LEGACY_USE_ONLY, &der);
        jwk.insert("x5t".to_owned(), json!(URL_SAFE_NO_PAD.encode(thumbprint)));
    }
    Ok(())
}

fn self_signed(key: &SigningKeyRecord, host: &str) -> Result<Vec<u8>, rcgen::Error> {
    let alg = match key.alg.parse() {
        Ok(Alg::ES256) => &PKCS_ECDSA_P256_SHA256,
        Ok(Alg::EdDSA) => &PKCS_ED25519,
        // A key of PS256 is an RSA key like any other to whoever reads certificates.
        _ => &PKCS_RSA_SHA256,
    };
    let pair = KeyPair::from_pkcs8_der_and_sign_algo(&key.pkcs8.expose().as_slice().into(), alg)?;
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, host);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let made = OffsetDateTime::from_unix_timestamp(UnixMillis(key.created_at).secs())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    (params.not_before, params.not_after) = (made, made + LIFE);
    Ok(params.self_signed(&pair)?.der().to_vec())
}

impl SigningKeyRecord {
    /// The certificate as PEM.
    pub fn certificate(&self) -> Option<String> {
        let der = self.public_jwk.get("x5c")?.get(0)?.as_str()?;
        let lines: Vec<&str> =
            der.as_bytes().chunks(64).filter_map(|line| str::from_utf8(line).ok()).collect();
        let lines = lines.join("\n");
        Some(format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"))
    }

    /// The certificate's SHA-1 thumbprint in hexadecimal digits.
    pub fn thumbprint(&self) -> Option<String> {
        let digest = self.public_jwk.get("x5t").and_then(Value::as_str)?;
        let bytes = URL_SAFE_NO_PAD.decode(digest).ok()?;
        Some(bytes.iter().map(|byte| format!("{byte:02X}")).collect())
    }
}

#[cfg(test)]
mod tests {
    use base::Secret;
    use jose::SigningKey;

    use super::*;
    use crate::model::KeyState;

    #[test]
    fn each_algorithms_key_gets_a_certificate_that_verifies_itself_and_what_the_key_signs() {
        for alg in crate::keys::SIGNING_ALGS {
            let key = SigningKey::generate(alg, "kid".to_owned()).unwrap();
            let mut record = SigningKeyRecord {
                kid: "kid".to_owned(),
                alg: alg.as_str().to_owned(),
                state: KeyState::Current,
                public_jwk: key.public_jwk(),
                pkcs8: Secret::new(key.to_pkcs8().unwrap().to_vec()),
                created_at: 1_800_000_000_000,
            };
            assert_eq!((record.certificate(), record.thumbprint()), (None, None));
            certify(&mut record, "login.example.com").unwrap();
            let der = STANDARD.decode(record.public_jwk["x5c"][0].as_str().unwrap()).unwrap();
            let (rest, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
            assert!(rest.is_empty(), "{alg}");
            assert_eq!(certificate.subject().to_string(), "CN=login.example.com");
            assert_eq!(certificate.subject(), certificate.issuer());
            assert_eq!(certificate.validity().not_before.timestamp(), 1_800_000_000);
            let token = key.sign(None, b"{}").unwrap();
            let verifier = jose::VerifyingKey::from_pem(&record.certificate().unwrap()).unwrap();
            let jws = jose::CompactJws::parse(&token).unwrap();
            assert!(jws.verify(&verifier).is_ok(), "{alg}");
            let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, &der);
            let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
            assert_eq!(record.thumbprint(), Some(hex));
            // What is published is still a key.
            assert!(jose::VerifyingKey::from_public_jwk(&record.public_jwk).is_ok());
        }
    }
}
