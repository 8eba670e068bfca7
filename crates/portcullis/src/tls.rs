//! TLS of the servers beside the gateway.

use std::{fs, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use base::Clock;
use idp::ClientCertificate;
use idp_web::PeerCertificate;
use rustls::{
    CipherSuite, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use crate::config::Certificate;

/// Whether clients are asked for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientCertificates {
    /// They are not.
    Unasked,
    /// They may give any; see [`AnyCertificate`].
    Any,
}

/// The authorities that vouch for certificates of clients.
pub(crate) struct Authorities {
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    clock: Clock,
}

impl Authorities {
    /// Those in `file`; without one nobody vouches for anybody.
    pub(crate) fn read(file: Option<&Path>, clock: Clock) -> anyhow::Result<Self> {
        let Some(file) = file else { return Ok(Self { verifier: None, clock }) };
        let mut roots = RootCertStore::empty();
        let shown = file.display();
        let text = fs::read(file).with_context(|| format!("cannot read {shown}"))?;
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let certificate = certificate.with_context(|| format!("{shown} holds no certificates in PEM"))?;
            roots.add(certificate).with_context(|| format!("{shown} cannot be used"))?;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .with_context(|| format!("{shown} cannot be used"))?;
        Ok(Self { verifier: Some(verifier), clock })
    }

    /// The certificate at the beginning of `chain`, and whether the chain is good at this moment.
    pub(crate) fn judge(&self, chain: &[CertificateDer<'_>]) -> Option<PeerCertificate> {
        let (certificate, intermediates) = chain.split_first()?;
        let now = Duration::from_secs(self.clock.now().secs().try_into().unwrap_or(0));
        let now = UnixTime::since_unix_epoch(now);
        let trusted = self
            .verifier
            .as_ref()
            .is_some_and(|verifier| verifier.verify_client_cert(certificate, intermediates, now).is_ok());
        Some(PeerCertificate(ClientCertificate::new(certificate.to_vec(), trusted)))
    }
}

/// TLS 1.2 and 1.3 with HTTP/2 and HTTP/1.1.
pub(crate) fn server(
    certificate: &Certificate,
    clients: ClientCertificates,
) -> anyhow::Result<Arc<ServerConfig>> {
    let (chain, key) = read(certificate)?;
    let provider = Arc::new(provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match clients {
        ClientCertificates::Unasked => builder.with_no_client_auth(),
        ClientCertificates::Any => builder.with_client_cert_verifier(Arc::new(AnyCertificate { provider })),
    };
    let shown = certificate.chain.display();
    let mut config =
        builder.with_single_cert(chain, key).with_context(|| format!("{shown} cannot be used"))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What the servers beside the gateway negotiate. The identity provider is among them, and with TLS 1.2 FAPI 2.0 leaves
/// ECDHE with AES-GCM alone (Security Profile 5.2.2, BCP 195); TLS 1.3 has no suite that it forbids.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    let chacha = [
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    provider.cipher_suites.retain(|suite| !chacha.contains(&suite.suite()));
    provider
}

/// The chain and the key of `certificate`.
pub(crate) fn read(
    certificate: &Certificate,
) -> anyhow::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let Certificate { chain, key } = certificate;
    let text = fs::read(chain).with_context(|| format!("cannot read {}", chain.display()))?;
    let certificates = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let certificates =
        certificates.with_context(|| format!("{} holds no certificates in PEM", chain.display()))?;
    let private =
        PrivateKeyDer::from_pem_file(key).with_context(|| format!("{} holds no key", key.display()))?;
    Ok((certificates, private))
}

/// Takes every certificate whose private key the client proves to have, and none. Who issued it says nothing here:
/// clients with self-signed certificates are known by the certificate itself (RFC 8705 section 2.2), and tokens are
/// bound to its thumbprint (section 3).
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_1_2_is_ecdhe_with_aes_gcm_and_nothing_else() {
        let names: Vec<String> =
            provider().cipher_suites.iter().map(|suite| format!("{:?}", suite.suite())).collect();
        let (new, old): (Vec<_>, Vec<_>) = names.iter().partition(|name| name.starts_with("TLS13_"));
        assert!(!new.is_empty() && old.len() >= 4, "{names:?}");
        for name in old {
            assert!(
                name.starts_with("TLS_ECDHE_") && name.contains("_AES_") && name.contains("_GCM_"),
                "{name}"
            );
        }
    }
}
