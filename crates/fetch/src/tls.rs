use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};

use crate::error::SetupError;

/// The two ways to speak TLS: one that verifies, and one for configurations that ask in so many words not to.
pub(crate) struct TlsConfigs {
    pub(crate) verified: Arc<ClientConfig>,
    pub(crate) unverified: Arc<ClientConfig>,
}

impl TlsConfigs {
    /// The system's authorities and those in `extra` (PEM). A system without any leaves those in `extra`.
    pub(crate) fn new(extra: Option<&[u8]>) -> Result<Self, SetupError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for certificate in CertificateDer::pem_slice_iter(extra.unwrap_or_default()) {
            roots.add(certificate.map_err(|_| SetupError::Roots)?).map_err(|_| SetupError::Roots)?;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder =
            || ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let mut verified = builder()?.with_root_certificates(roots).with_no_client_auth();
        let accept = Arc::new(AcceptAny(provider.clone()));
        let mut unverified =
            builder()?.dangerous().with_custom_certificate_verifier(accept).with_no_client_auth();
        for config in [&mut verified, &mut unverified] {
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        Ok(Self { verified: Arc::new(verified), unverified: Arc::new(unverified) })
    }
}

/// How a client speaks TLS to what is no HTTP server: with the system's authorities and those in `extra` (PEM), or taking
/// any certificate where the configuration asks for that in so many words.
///
/// # Errors
///
/// When the certificates cannot be read.
pub fn tls_config(extra: Option<&[u8]>, verify: bool) -> Result<Arc<ClientConfig>, SetupError> {
    let TlsConfigs { verified, unverified } = TlsConfigs::new(extra)?;
    let mut config = ClientConfig::clone(if verify { &verified } else { &unverified });
    config.alpn_protocols.clear();
    Ok(Arc::new(config))
}

/// Takes any certificate, but still demands that the server holds its key.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
