//! Certificates of the gate's own listeners, chosen by server name after the ClientHello.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, OnceLock},
};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

use crate::{
    client_policy::{Asked, ClientPolicy, PolicyTickets},
    error::ConfigError,
};

/// The name that stands for every other one.
const ANY_NAME: &str = "*";

/// Certificate chains with their keys, the names they are shown for, and what those names ask of clients.
pub struct Certificate {
    names: Vec<Box<str>>,
    keys: Arc<Keys>,
    versions: TlsVersions,
    asked: Asked,
    /// Made when first needed: without and with a question for the client's certificate, without and with HTTP/2.
    configurations: [OnceLock<Option<Arc<ServerConfig>>>; 4],
}

/// A certificate chain (end entity first) and its private key, both PEM.
#[derive(Clone, Copy)]
pub struct KeyPairPem<'a> {
    /// The chain.
    pub chain: &'a str,
    /// The key.
    pub key: &'a str,
}

/// Chains for clients of different abilities: the first that a client can verify is shown.
#[derive(Debug)]
struct Keys(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for Keys {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        self.0.iter().find(fits).or(self.0.first()).cloned()
    }
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
    /// Reads chains and their private keys, and checks that each pair belongs together. `names` are the server names
    /// they are shown for: `example.com`, `*.example.com` for one more label, or `*` for all others. `clients` is what
    /// these names ask of their clients.
    pub fn compile(
        names: &[String],
        pairs: &[KeyPairPem<'_>],
        versions: TlsVersions,
        clients: Option<Arc<ClientPolicy>>,
    ) -> Result<Arc<Self>, ConfigError> {
        if !versions.tls12 && !versions.tls13 {
            return Err(ConfigError::new("ssl_protocols", "neither TLSv1.2 nor TLSv1.3 is allowed"));
        }
        let keys = pairs.iter().enumerate().map(|(at, pair)| {
            key_pair(pair).map_err(|error| match at.checked_sub(1) {
                Some(further) => ConfigError { path: format!("{}s[{further}]", error.path), ..error },
                None => error,
            })
        });
        let keys = keys.collect::<Result<_, _>>()?;
        Ok(Self::new(names, keys, versions, clients.map_or(Asked::Nothing, Asked::Certificate)))
    }

    /// What stands in for a certificate that cannot be used: handshakes for its names are refused, so that no other
    /// certificate's name takes them, which may ask for less. `asks_clients`: whether it meant to ask for certificates.
    pub fn closed(names: &[String], asks_clients: bool) -> Arc<Self> {
        Self::new(names, Vec::new(), TlsVersions::default(), Asked::Unknown(asks_clients))
    }

    fn new(names: &[String], keys: Vec<Arc<CertifiedKey>>, versions: TlsVersions, asked: Asked) -> Arc<Self> {
        let names = names.iter().map(|name| name.to_ascii_lowercase().into()).collect();
        let keys = Arc::new(Keys(keys));
        Arc::new(Self { names, keys, versions, asked, configurations: Default::default() })
    }
}

/// Why a `cert` is refused that holds none.
pub const NO_CERTIFICATE: &str = "not certificates in PEM";
/// Why a `key` is refused that is none.
pub const NO_KEY: &str = "not a private key in PEM";
/// Why a `key` is refused that is another certificate's.
pub const FOREIGN_KEY: &str = "the key does not belong to the certificate";

fn key_pair(pair: &KeyPairPem<'_>) -> Result<Arc<CertifiedKey>, ConfigError> {
    let chain = CertificateDer::pem_slice_iter(pair.chain.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .unwrap_or_default();
    if chain.is_empty() {
        return Err(ConfigError::new("cert", NO_CERTIFICATE));
    }
    refuse_version_1(&chain).map_err(|reason| ConfigError::new("cert", reason))?;
    let key =
        PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).map_err(|_| ConfigError::new("key", NO_KEY))?;
    let made = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
    made.map(Arc::new).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => ConfigError::new("key", FOREIGN_KEY),
        other => ConfigError::new("cert", other.to_string()),
    })
}

/// Certificates without extensions (X.509 version 1, RFC 5280 section 4.1.2.1) are refused by TLS clients and servers that
/// are careful, rustls among them: they can name no host, and anybody's may stand between an authority and a host.
pub(crate) fn refuse_version_1(chain: &[CertificateDer<'_>]) -> Result<(), String> {
    let Some(place) = chain.iter().position(|certificate| is_version_1(certificate)) else { return Ok(()) };
    Err(format!(
        "certificate {} of it is of X.509 version 1, which TLS does not take here: sign its request again with extensions, \
         `openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile <(printf \
         'subjectAltName=DNS:example.com') -out server.pem`",
        place + 1
    ))
}

/// A certificate is a sequence of what is signed, which is a sequence that begins with the version, `[0]`, unless that is
/// 1.
fn is_version_1(der: &[u8]) -> bool {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    fn inside(der: &[u8]) -> Option<&[u8]> {
        let (length, rest) = der.strip_prefix(&[SEQUENCE])?.split_first()?;
        // Lengths from 128 are written in as many bytes as this one says.
        let more = if *length < 0x80 { 0 } else { usize::from(length & 0x7f) };
        rest.get(more..)
    }
    let signed = inside(der).and_then(inside);
    signed.is_some_and(|signed| signed.first().is_some_and(|first| *first != VERSION))
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
    asks_clients: bool,
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
        let asks = |certificate: &Arc<Certificate>| !matches!(certificate.asked, Asked::Nothing);
        let asks_clients = by_name.values().any(asks);
        Self { by_name, asks_clients }
    }

    /// Whether any name asks its clients for certificates.
    pub(crate) fn asks_clients(&self) -> bool {
        self.asks_clients
    }

    /// What this host, in lower case, asks of its clients; `None`: nobody has said.
    pub(crate) fn asked(&self, host: &str) -> Option<&Asked> {
        self.find(host).map(|certificate| &certificate.asked)
    }

    fn find(&self, name: &str) -> Option<&Arc<Certificate>> {
        let wildcard =
            || name.split_once('.').and_then(|(_, rest)| self.by_name.get(format!("*.{rest}").as_str()));
        self.by_name.get(name).or_else(wildcard).or_else(|| self.by_name.get(ANY_NAME))
    }
}

/// Makes the TLS configuration of a connection. One per process: the ticket keys are shared by all cores, so that a
/// session begun on one is resumed on another.
pub struct TlsAcceptance {
    provider: Arc<CryptoProvider>,
    ticketer: Arc<dyn ProducesTickets>,
    /// Shown when no certificate of the snapshot has the name asked for.
    fallback: Option<Arc<Certificate>>,
    /// What listeners that ask for client certificates ask for, where the server name does not.
    listeners: Option<Arc<ClientPolicy>>,
}

/// How a handshake goes on.
pub(crate) struct Acceptance {
    pub(crate) config: Arc<ServerConfig>,
    /// By which a client certificate is verified.
    pub(crate) verified_by: Option<Arc<ClientPolicy>>,
    /// What the server name asks of its clients.
    pub(crate) of_name: Option<Arc<ClientPolicy>>,
}

impl TlsAcceptance {
    /// `fallback` is shown for names the snapshot has no certificate for; without it such handshakes are refused.
    /// `client_ca` (PEM) issues the certificates that clients may show where a listener asks.
    pub fn new(fallback: Option<Arc<Certificate>>, client_ca: Option<&str>) -> Result<Self, ConfigError> {
        let ticketer =
            aws_lc_rs::Ticketer::new().map_err(|error| ConfigError::new("tls", error.to_string()))?;
        let listeners = client_ca.map(ClientPolicy::optional).transpose()?;
        Ok(Self { provider: Arc::new(aws_lc_rs::default_provider()), ticketer, fallback, listeners })
    }

    /// What becomes of a ClientHello that names `server_name`; `None`: the handshake is refused.
    pub(crate) fn accept(
        &self,
        certificates: &Certificates,
        server_name: Option<&str>,
        ask_client: bool,
        h2: bool,
    ) -> Option<Acceptance> {
        let found = match server_name {
            Some(name) => certificates.find(&name.to_ascii_lowercase()),
            None => certificates.by_name.get(ANY_NAME),
        };
        let certificate = found.or(self.fallback.as_ref())?;
        let of_name = match &certificate.asked {
            Asked::Nothing => None,
            Asked::Certificate(policy) => Some(Arc::clone(policy)),
            Asked::Unknown(_) => return None,
        };
        let verified_by = of_name.clone().or_else(|| self.listeners.clone().filter(|_| ask_client));
        let place = usize::from(verified_by.is_some()) * 2 + usize::from(h2);
        let made = || self.build(certificate, verified_by.as_deref(), h2).map(Arc::new);
        let config = certificate.configurations.get(place)?.get_or_init(made).clone()?;
        Some(Acceptance { config, verified_by, of_name })
    }

    fn build(
        &self,
        certificate: &Certificate,
        clients: Option<&ClientPolicy>,
        h2: bool,
    ) -> Option<ServerConfig> {
        let versions: &[_] = match (certificate.versions.tls12, certificate.versions.tls13) {
            (true, true) => &[&TLS13, &TLS12],
            (true, false) => &[&TLS12],
            (false, _) => &[&TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(versions)
            .ok()?;
        let builder = match clients {
            Some(policy) => builder.with_client_cert_verifier(policy.verifier()),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::clone(&certificate.keys) as _);
        config.alpn_protocols = match h2 {
            true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            false => vec![b"http/1.1".to_vec()],
        };
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let policy = clients.map(ClientPolicy::id).unwrap_or_default();
        config.ticketer = Arc::new(PolicyTickets { tickets: Arc::clone(&self.ticketer), policy });
        config.send_tls13_tickets = 1;
        Some(config)
    }
}

impl fmt::Debug for TlsAcceptance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptance").field("fallback", &self.fallback).finish_non_exhaustive()
    }
}
