//! Certificates of the gate's own listeners, chosen by server name after the ClientHello.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, OnceLock},
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};

use crate::error::ConfigError;

/// A certificate chain with its key, and the names it is shown for.
pub struct Certificate {
    names: Vec<Box<str>>,
    key: Arc<CertifiedKey>,
    versions: TlsVersions,
    /// Made when first needed: without and with a question for the client's certificate, without and with HTTP/2.
    configurations: [OnceLock<Option<Arc<ServerConfig>>>; 4],
}

/// Oldest and newest TLS version of a certificate's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TlsVersions {
    /// TLS 1.2 (RFC 5246).
    pub tls12: bool,
    /// TLS 1.3 (RFC 8446).
    pub tls13: bool,
}

impl Default for TlsVersions {
    fn default() -> Self {
        Self { tls12: true, tls13: true }
    }
}

impl Certificate {
    /// Reads a chain (end entity first) and its private key, both PEM, and checks that they belong together. `names`
    /// are the server names it is shown for: `example.com`, or `*.example.com` for one more label.
    pub fn compile(
        names: &[String],
        chain_pem: &str,
        key_pem: &str,
        versions: TlsVersions,
    ) -> Result<Arc<Self>, ConfigError> {
        let chain = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| ConfigError::new("cert", format!("not certificates in PEM: {error}")))?;
        if chain.is_empty() {
            return Err(ConfigError::new("cert", "there is no certificate in it"));
        }
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
            .map_err(|_| ConfigError::new("key", "not a private key in PEM"))?;
        let key =
            CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(
                |error| match error {
                    rustls::Error::InconsistentKeys(_) => {
                        ConfigError::new("key", "the key does not belong to the certificate")
                    }
                    other => ConfigError::new("cert", other.to_string()),
                },
            )?;
        if !versions.tls12 && !versions.tls13 {
            return Err(ConfigError::new("ssl_protocols", "neither TLSv1.2 nor TLSv1.3 is allowed"));
        }
        let names = names.iter().map(|name| name.to_ascii_lowercase().into()).collect();
        Ok(Arc::new(Self { names, key: Arc::new(key), versions, configurations: Default::default() }))
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("names", &self.names).finish_non_exhaustive()
    }
}

/// The certificates of a snapshot by server name.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    by_name: HashMap<Box<str>, Arc<Certificate>>,
}

impl Certificates {
    /// The first of several certificates for one name is used.
    pub(crate) fn build(certificates: impl Iterator<Item = Arc<Certificate>>) -> Self {
        let mut by_name = HashMap::new();
        for certificate in certificates {
            for name in &certificate.names {
                by_name.entry(name.clone()).or_insert_with(|| Arc::clone(&certificate));
            }
        }
        Self { by_name }
    }

    fn find(&self, name: &str) -> Option<&Arc<Certificate>> {
        let name = name.to_ascii_lowercase();
        let wildcard =
            || name.split_once('.').and_then(|(_, rest)| self.by_name.get(format!("*.{rest}").as_str()));
        self.by_name.get(name.as_str()).or_else(wildcard)
    }
}

/// Makes the TLS configuration of a connection. One per process: the ticket keys are shared by all cores, so that a
/// session begun on one is resumed on another.
pub struct TlsAcceptance {
    provider: Arc<CryptoProvider>,
    ticketer: Arc<dyn ProducesTickets>,
    /// Shown when no certificate of the snapshot has the name asked for.
    fallback: Option<Arc<Certificate>>,
    /// Issuers of client certificates, for listeners that ask for one.
    client_roots: Option<Arc<RootCertStore>>,
}

impl TlsAcceptance {
    /// `fallback` is shown for names the snapshot has no certificate for; without it such handshakes are refused.
    /// `client_ca` (PEM) issues the certificates that clients may show where a listener asks.
    pub fn new(fallback: Option<Arc<Certificate>>, client_ca: Option<&str>) -> Result<Self, ConfigError> {
        let ticketer =
            aws_lc_rs::Ticketer::new().map_err(|error| ConfigError::new("tls", error.to_string()))?;
        let client_roots = client_ca
            .map(|pem| {
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                    let certificate = certificate.map_err(|error| {
                        ConfigError::new("client_ca", format!("not certificates in PEM: {error}"))
                    })?;
                    roots
                        .add(certificate)
                        .map_err(|error| ConfigError::new("client_ca", error.to_string()))?;
                }
                Ok::<_, ConfigError>(Arc::new(roots))
            })
            .transpose()?;
        Ok(Self { provider: Arc::new(aws_lc_rs::default_provider()), ticketer, fallback, client_roots })
    }

    /// The configuration for a ClientHello that names `server_name`; `None`: the handshake is refused.
    pub(crate) fn configuration(
        &self,
        certificates: &Certificates,
        server_name: Option<&str>,
        ask_client: bool,
        h2: bool,
    ) -> Option<Arc<ServerConfig>> {
        let found = server_name.and_then(|name| certificates.find(name));
        let certificate = found.or(self.fallback.as_ref())?;
        let place = usize::from(ask_client) * 2 + usize::from(h2);
        let made = || self.build(certificate, ask_client, h2).map(Arc::new);
        certificate.configurations.get(place)?.get_or_init(made).clone()
    }

    fn build(&self, certificate: &Certificate, ask_client: bool, h2: bool) -> Option<ServerConfig> {
        let versions: &[_] = match (certificate.versions.tls12, certificate.versions.tls13) {
            (true, true) => &[&TLS13, &TLS12],
            (true, false) => &[&TLS12],
            (false, _) => &[&TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(versions)
            .ok()?;
        let builder = match self.client_roots.as_ref().filter(|_| ask_client) {
            Some(roots) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(
                    Arc::clone(roots),
                    Arc::clone(&self.provider),
                )
                .allow_unauthenticated()
                .build()
                .ok()?;
                builder.with_client_cert_verifier(verifier)
            }
            None => builder.with_no_client_auth(),
        };
        let resolver: Arc<dyn ResolvesServerCert> =
            Arc::new(SingleCertAndKey::from(Arc::clone(&certificate.key)));
        let mut config = builder.with_cert_resolver(resolver);
        config.alpn_protocols = match h2 {
            true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            false => vec![b"http/1.1".to_vec()],
        };
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::clone(&self.ticketer);
        config.send_tls13_tickets = 1;
        Some(config)
    }
}

impl fmt::Debug for TlsAcceptance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptance").field("fallback", &self.fallback).finish_non_exhaustive()
    }
}
