use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use base::{Random, WeakMap};
use http::HeaderValue;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use tokio::{runtime::Handle, time::Instant};

use super::{
    checker::{Checked, Checker, Rounds},
    health::{HealthChecks, HttpProbe, Probe},
    resolve::Resolver,
    spec::{KeepAlive, Node, Scheme, TlsPolicy, UpstreamSpec},
    vitals::Vitals,
};
use crate::{error::ConfigError, tls::refuse_version_1};

/// What outlives a snapshot on the way to the upstreams: targets and balancer positions, found again by content, the
/// resolver, the trusted roots, and the addresses that are never connected to.
#[derive(Debug)]
pub struct Live {
    pub(super) reach: Arc<Reach>,
    extra_roots: Vec<CertificateDer<'static>>,
    roots: OnceLock<Arc<RootCertStore>>,
    targets: Mutex<WeakMap<TargetKey, Target>>,
    positions: Mutex<WeakMap<u64, AtomicUsize>>,
    vitals: Mutex<WeakMap<VitalsKey, Vitals>>,
    checkers: Mutex<HashMap<Arc<str>, Vec<Weak<Checker>>>>,
    rounds: OnceLock<Rounds>,
    tls_configs: Mutex<WeakMap<(TlsPolicy, bool), ClientConfig>>,
    next_id: AtomicU64,
    hasher: RandomState,
    /// Where times of answers are counted from.
    pub(super) began: Instant,
}

/// What a connection to a target takes.
#[derive(Debug)]
pub(super) struct Reach {
    pub(super) resolver: Resolver,
    /// The process's own administrative listeners.
    forbidden: Vec<SocketAddr>,
}

impl Reach {
    /// Whether this is one of the process's own administrative listeners.
    pub(crate) fn is_forbidden(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        self.forbidden.iter().any(|own| {
            own.port() == address.port()
                && (own.ip() == ip
                    || (own.ip().is_unspecified())
                    || (ip.is_unspecified() && own.ip().is_loopback()))
        })
    }
}

/// Under which id, and host and port of the node.
type VitalsKey = (Arc<str>, Box<str>, u16);

#[derive(Debug, PartialEq, Eq, Hash)]
struct TargetKey {
    host: Box<str>,
    port: u16,
    scheme: Scheme,
    keep_alive: KeepAlive,
    tls: Option<TlsPolicy>,
    /// What it is called in TLS, where that is not its host.
    name: Option<Box<str>>,
}

/// One host and port, spoken to in one way. Connections of a core are kept under its id.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) id: u64,
    pub(crate) host: Box<str>,
    /// The host, where it is an address already.
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: u16,
    pub(crate) scheme: Scheme,
    pub(crate) keep_alive: KeepAlive,
    pub(crate) tls: Option<TargetTls>,
    /// Host and, unless it is the scheme's default, port.
    pub(crate) authority: HeaderValue,
    /// `host:port`, for logs.
    pub(crate) label: Arc<str>,
    /// Nobody asks for it any more: its connections are not kept.
    pub(crate) retired: AtomicBool,
}

/// TLS with a target. Connections and sessions are of one target, hence of one name.
#[derive(Debug)]
pub(crate) struct TargetTls {
    pub(crate) config: Arc<ClientConfig>,
    /// Sent in the handshake, unless it is an address, and verified by `config`.
    pub(crate) name: ServerName<'static>,
    /// Whom it is verified by; `None`: it is not.
    roots: Option<Arc<RootCertStore>>,
}

impl Live {
    /// Trusts the system's roots and `extra_roots` (PEM), and never connects to `forbidden`, the process's own
    /// administrative listeners.
    pub fn new(extra_roots: &str, forbidden: Vec<SocketAddr>) -> Result<Self, ConfigError> {
        let extra_roots = CertificateDer::pem_slice_iter(extra_roots.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| ConfigError::new("outbound.ca", format!("not certificates in PEM: {error}")))?;
        Ok(Self {
            reach: Arc::new(Reach { resolver: Resolver::default(), forbidden }),
            extra_roots,
            roots: OnceLock::new(),
            targets: Mutex::default(),
            positions: Mutex::default(),
            vitals: Mutex::default(),
            checkers: Mutex::default(),
            rounds: OnceLock::new(),
            tls_configs: Mutex::default(),
            next_id: AtomicU64::new(1),
            hasher: RandomState::new(),
            began: Instant::now(),
        })
    }

    pub(super) fn target(
        &self,
        node: &Node,
        scheme: Scheme,
        keep_alive: KeepAlive,
        policy: &TlsPolicy,
        tls: Option<(&Arc<ClientConfig>, Option<&str>)>,
    ) -> Result<Arc<Target>, ConfigError> {
        let key = TargetKey {
            host: node.host.clone(),
            port: node.port,
            scheme,
            keep_alive,
            tls: tls.map(|_| policy.clone()),
            name: tls.and_then(|(_, name)| name).map(Box::from),
        };
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = targets.get(&key) {
            return Ok(target);
        }
        let target = Arc::new(self.new_target(&key, tls.map(|(config, _)| config))?);
        targets.insert(key, &target);
        Ok(target)
    }

    fn new_target(&self, key: &TargetKey, tls: Option<&Arc<ClientConfig>>) -> Result<Target, ConfigError> {
        let bad = |what: &str| ConfigError::new("nodes", format!("`{}` is not a {what}", key.host));
        let address: Option<IpAddr> = key.host.parse().ok();
        let host = match address {
            Some(IpAddr::V6(_)) => format!("[{}]", key.host),
            _ => key.host.to_string(),
        };
        let authority =
            if key.port == key.scheme.default_port() { host.clone() } else { format!("{host}:{}", key.port) };
        let verified = key.tls.as_ref().filter(|policy| policy.verify);
        let roots = verified.map(|policy| self.roots_of(policy)).transpose()?;
        let named = |config: &Arc<ClientConfig>| {
            let own =
                || ServerName::try_from(key.host.to_string()).map_err(|_| bad("name that TLS can verify"));
            let name = match &key.name {
                None => own()?,
                Some(name) => match ServerName::try_from(name.to_string()) {
                    Ok(name) => name,
                    Err(_) if roots.is_none() => own()?,
                    Err(_) => {
                        let why = format!("`{name}` is not a name that TLS can verify");
                        return Err(ConfigError::new("upstream_host", why));
                    }
                },
            };
            Ok(TargetTls { config: Arc::clone(config), name, roots: roots.clone() })
        };
        Ok(Target {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            host: key.host.clone(),
            address,
            port: key.port,
            scheme: key.scheme,
            keep_alive: key.keep_alive,
            tls: tls.map(named).transpose()?,
            authority: HeaderValue::from_str(&authority).map_err(|_| bad("host"))?,
            label: format!("{host}:{}", key.port).into(),
            retired: AtomicBool::new(false),
        })
    }

    /// `target` under the name that a request has for it, with connections and TLS sessions of its own. Its certificate
    /// is one for the target's own name as before; for `name` as well where the configuration says that name: no client
    /// decides whose certificate is good enough. `None`: TLS does not know such a name.
    pub(super) fn greeted(&self, target: &Target, name: &str, configured: bool) -> Option<Target> {
        let tls = target.tls.as_ref()?;
        let name = ServerName::try_from(name.to_owned()).ok()?;
        if !matches!(name, ServerName::DnsName(_)) {
            return None;
        }
        let mut config = (*tls.config).clone();
        config.resumption = Resumption::in_memory_sessions(8);
        if let Some(roots) = &tls.roots {
            let provider = Arc::new(aws_lc_rs::default_provider());
            let roots = Arc::clone(roots);
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build().ok()?;
            let names = std::iter::once(tls.name.clone()).chain(configured.then(|| name.clone())).collect();
            config.dangerous().set_certificate_verifier(Arc::new(AnyOf { verifier, names }));
        }
        Some(Target {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            host: target.host.clone(),
            address: target.address,
            port: target.port,
            scheme: target.scheme,
            keep_alive: target.keep_alive,
            tls: Some(TargetTls { config: Arc::new(config), name, roots: tls.roots.clone() }),
            authority: target.authority.clone(),
            label: target.label.clone(),
            retired: AtomicBool::new(false),
        })
    }

    /// The balancer's counter for one tier of an upstream; the same one as long as id and targets stay.
    pub(super) fn position(&self, spec: &UpstreamSpec, priority: i32) -> Arc<AtomicUsize> {
        let key = self.hasher.hash_one((&spec.id, &spec.nodes, priority));
        let mut positions = self.positions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(position) = positions.get(&key) {
            return position;
        }
        let position = Arc::new(AtomicUsize::new(0));
        positions.insert(key, &position);
        position
    }

    /// What is known of a node under this id.
    pub(super) fn vitals(&self, id: &Arc<str>, node: &Node) -> Arc<Vitals> {
        let key = (Arc::clone(id), node.host.clone(), node.port);
        let mut all = self.vitals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(vitals) = all.get(&key) {
            return vitals;
        }
        let vitals = Arc::default();
        all.insert(key, &vitals);
        vitals
    }

    /// Has health checks run on this runtime from now on; without one no node is asked.
    pub fn run_checks(&self, runtime: Handle, random: Random) {
        // They run where the first call said.
        let _ = self.rounds.set(Rounds { runtime, random });
    }

    /// The checks of every upstream that is used, in the order of their ids.
    pub fn checkers(&self) -> Vec<Arc<Checker>> {
        let all = self.checkers.lock().unwrap_or_else(PoisonError::into_inner);
        // Of an upstream that was just changed the older ones may not have ended yet.
        let mut found: Vec<_> =
            all.values().filter_map(|own| own.iter().rev().find_map(Weak::upgrade)).collect();
        found.sort_by(|a, b| a.id.cmp(&b.id));
        found
    }

    /// The checks of the upstreams that share what is known of their nodes under this id, if one of them is used.
    pub fn checker(&self, id: &str) -> Option<Arc<Checker>> {
        let all = self.checkers.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(id)?.iter().rev().find_map(Weak::upgrade)
    }

    /// Checks the nodes of what is known under this id, until nobody holds what is returned. Who asks for the same
    /// checks of the same nodes shares them.
    pub fn check(
        &self,
        id: &Arc<str>,
        nodes: &[Node],
        keep_alive: KeepAlive,
        checks: &HealthChecks,
    ) -> Result<Arc<Checker>, ConfigError> {
        let known = |own: &Vec<Weak<Checker>>| {
            own.iter().filter_map(Weak::upgrade).find(|checker| checker.is_of(checks, nodes))
        };
        let all = self.checkers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(checker) = all.get(id).and_then(known) {
            return Ok(checker);
        }
        drop(all);
        let checked = |node: &Node| {
            let port = checks.active.port.unwrap_or(node.port);
            let asked = Node { port, ..node.clone() };
            let (mut policy, mut config, mut name) = (TlsPolicy::default(), None, None);
            if let Probe::Http(HttpProbe { tls: Some(tls), host, server_name, .. }) = &checks.active.probe {
                policy = tls.clone();
                config = Some(self.tls_config(&policy, false)?);
                name = server_name.as_deref().or(host.as_deref());
            }
            let scheme = if config.is_some() { Scheme::Https } else { Scheme::Http };
            let tls = config.as_ref().map(|config| (config, name));
            let target = self.target(&asked, scheme, keep_alive, &policy, tls)?;
            let vitals = self.vitals(id, node);
            Ok(Checked { host: node.host.clone(), port: node.port, weight: node.weight, target, vitals })
        };
        let nodes = nodes.iter().map(checked).collect::<Result<Vec<_>, ConfigError>>()?;
        let checker = Checker::start(Arc::clone(id), checks.clone(), nodes, &self.reach, self.rounds.get());
        let checker = Arc::new(checker);
        let mut all = self.checkers.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains_key(id) {
            all.retain(|_, own| own.iter().any(|checker| checker.strong_count() > 0));
        }
        let own = all.entry(Arc::clone(id)).or_default();
        own.retain(|checker| checker.strong_count() > 0);
        own.push(Arc::downgrade(&checker));
        Ok(checker)
    }

    /// The addresses of a target's host, as connections to it have them; empty: its name has none.
    pub async fn addresses(&self, host: &str) -> Vec<IpAddr> {
        match host.parse() {
            Ok(address) => vec![address],
            Err(_) => self.reach.resolver.resolve(host).await.to_vec(),
        }
    }

    /// The client configuration for `policy`, shared so that TLS sessions are resumed.
    pub(super) fn tls_config(&self, policy: &TlsPolicy, h2: bool) -> Result<Arc<ClientConfig>, ConfigError> {
        let mut configs = self.tls_configs.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (policy.clone(), h2);
        if let Some(config) = configs.get(&key) {
            return Ok(config);
        }
        let config = Arc::new(self.new_tls_config(policy, h2)?);
        configs.insert(key, &config);
        Ok(config)
    }

    fn new_tls_config(&self, policy: &TlsPolicy, h2: bool) -> Result<ClientConfig, ConfigError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let failed = |error: rustls::Error| ConfigError::new("tls", error.to_string());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(failed)?;
        let builder = if policy.verify {
            builder.with_root_certificates(self.roots_of(policy)?)
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
        };
        let mut config = match &policy.client {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes())
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|error| ConfigError::new("tls.client_cert", format!("not PEM: {error}")))?;
                refuse_version_1(&chain).map_err(|reason| ConfigError::new("tls.client_cert", reason))?;
                let key = PrivateKeyDer::from_pem_slice(identity.key.0.expose().as_bytes())
                    .map_err(|_| ConfigError::new("tls.client_key", "not a private key in PEM"))?;
                builder.with_client_auth_cert(chain, key).map_err(failed)?
            }
        };
        config.resumption = Resumption::in_memory_sessions(256);
        if h2 {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        Ok(config)
    }

    /// Whom `policy` trusts.
    fn roots_of(&self, policy: &TlsPolicy) -> Result<Arc<RootCertStore>, ConfigError> {
        let Some(named) = &policy.roots else { return Ok(self.roots()) };
        let wrong = |why: String| ConfigError::new("tls.roots", why);
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(named.as_bytes()) {
            let authority = authority.map_err(|error| wrong(format!("not PEM: {error}")))?;
            roots.add(authority).map_err(|error| wrong(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(wrong("there is no certificate in it".to_owned()));
        }
        Ok(Arc::new(roots))
    }

    /// The system's roots and the configured ones, read when the first TLS upstream is compiled.
    fn roots(&self) -> Arc<RootCertStore> {
        let load = || {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots.add_parsable_certificates(self.extra_roots.iter().cloned());
            Arc::new(roots)
        };
        Arc::clone(self.roots.get_or_init(load))
    }
}

/// Takes certificates for any of these names, whatever name was sent.
#[derive(Debug)]
struct AnyOf {
    verifier: Arc<WebPkiServerVerifier>,
    names: Vec<ServerName<'static>>,
}

impl ServerCertVerifier for AnyOf {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verify =
            |name| self.verifier.verify_server_cert(end_entity, intermediates, name, ocsp_response, now);
        let mut last = Err(rustls::Error::UnsupportedNameType);
        for name in &self.names {
            last = verify(name);
            if last.is_ok() {
                break;
            }
        }
        last
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// For upstreams whose configuration says in so many words that certificates are not verified.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
