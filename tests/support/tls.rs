//! TLS clients that trust what `dev` says is its CA, and certificates made for a test.

use std::{net::Ipv4Addr, path::Path, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Connection, Portcullis, within};

/// What a client wants of TLS, beside the name.
pub(crate) struct Wanted<'a> {
    /// ALPN protocols, the preferred one first.
    pub(crate) alpn: &'a [&'a str],
    /// Protocol versions.
    pub(crate) versions: &'a [&'static SupportedProtocolVersion],
    /// The client's own certificate chain and key.
    pub(crate) identity: Option<Identity>,
}

impl Default for Wanted<'_> {
    fn default() -> Self {
        Self { alpn: &["http/1.1"], versions: rustls::ALL_VERSIONS, identity: None }
    }
}

/// A certificate chain, the end-entity certificate first, and its key.
#[derive(Clone)]
pub(crate) struct Identity {
    /// The chain, DER.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// PKCS#8.
    pub(crate) key: Vec<u8>,
}

impl Identity {
    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.clone().into())
    }

    /// The chain as PEM.
    pub(crate) fn chain_pem(&self) -> String {
        self.chain.iter().map(|certificate| pem("CERTIFICATE", certificate)).collect()
    }

    /// The key as PEM.
    pub(crate) fn key_pem(&self) -> String {
        pem("PRIVATE KEY", &self.key)
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A certification authority of a test's own.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A new one.
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// The authority of `dev`, which signs what clients show on port 9444.
    pub(crate) fn development(gate: &Portcullis) -> Self {
        let key = std::fs::read_to_string(gate.state().join("ca.key")).unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "Portcullis development authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::from_pem(&key).unwrap()).unwrap())
    }

    /// A certificate for these names, altered by `change` before it is signed.
    pub(crate) fn issue(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity { chain: vec![certificate.der().clone()], key: key.serialize_der() }
    }

    /// Its own certificate, as PEM.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }
}

/// A server configuration that shows `identity`.
pub(crate) fn server(identity: &Identity) -> Arc<ServerConfig> {
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key())
        .unwrap();
    Arc::new(config)
}

/// The same, for clients that show a certificate of `clients`.
pub(crate) fn server_for(identity: &Identity, clients: &Authority) -> Arc<ServerConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(clients.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(identity.chain.clone(), identity.key())
        .unwrap();
    Arc::new(config)
}

/// A client that trusts the CA in `authority` and nobody else.
pub(crate) fn client(authority: &Path, wanted: &Wanted<'_>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(wanted.versions)
            .unwrap()
            .with_root_certificates(roots);
    let mut config = match &wanted.identity {
        Some(identity) => builder.with_client_auth_cert(identity.chain.clone(), identity.key()).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = wanted.alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// Opens TLS to a port of this machine, or says why not.
pub(crate) async fn handshake(
    config: Arc<ClientConfig>,
    port: u16,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    over(config, TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?, name).await
}

/// The same on a connection that is there.
pub(crate) async fn over(
    config: Arc<ClientConfig>,
    stream: TcpStream,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    within("a TLS handshake", TlsConnector::from(config).connect(name, stream)).await
}

impl Portcullis {
    /// The path of `dev`'s own CA.
    pub(crate) fn authority(&self) -> std::path::PathBuf {
        self.variable("DEV_CA").into()
    }

    /// An HTTP/1.1 connection over TLS to a port of the contract.
    pub(crate) async fn connect_tls(&self, port: u16) -> Connection {
        let config = client(&self.authority(), &Wanted::default());
        Connection::over(handshake(config, self.port(port), "localhost").await.unwrap())
    }
}
