//! Client certificates: who is asked for one, what counts as one, and which requests a connection may carry by it.

use std::{fmt, sync::Arc, time::Duration};

use ::aws_lc_rs::digest;
use base::UnixMillis;
use http::StatusCode;
use regex::{RegexSet, RegexSetBuilder};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, HandshakeKind, RootCertStore, ServerConnection,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, UnixTime, pem::PemObject},
    server::{
        ProducesTickets, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use crate::{
    error::{ConfigError, Failure},
    listener::ConnectionInfo,
    plugin::{ClientCertificate, RequestHead},
    tls::{Certificates, NO_CERTIFICATE},
};

/// Bytes of the compiled skip patterns of one policy.
const MAX_PATTERNS: usize = 1 << 20;

/// What a server name asks of its clients. Its id stands for authorities, depth and demand: a connection, and a session
/// that is resumed, count under another policy as if no certificate had been shown.
pub struct ClientPolicy {
    id: [u8; 32],
    verifier: Arc<Verifier>,
    /// Paths that need no certificate.
    skip: Option<RegexSet>,
}

/// The SHA-256 of the one certificate in `pem`, as hexadecimal digits.
///
/// # Errors
///
/// When there is none, more than one, or one that no chain can end in.
pub fn authority_digest(pem: &str) -> Result<String, String> {
    let invalid = || "invalid certificate: it is not one in PEM".to_owned();
    let mut certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
    let certificate = certificates.next().and_then(Result::ok).ok_or_else(invalid)?;
    if certificates.next().is_some() {
        return Err("please submit only one certificate at a time".to_owned());
    }
    let digest = digest::digest(&digest::SHA256, &certificate);
    RootCertStore::empty().add(certificate).map_err(|_| invalid())?;
    Ok(digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// When a certificate is missing or worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Demand {
    /// There is no connection.
    Always,
    /// A missing one is no fault, a bad one is.
    Never,
    /// There is a connection, and its requests for most paths are refused.
    PerRequest,
}

impl ClientPolicy {
    /// Certificates must be issued by an authority in `ca` (PEM) through at most `depth` intermediate ones, as OpenSSL
    /// counts them. Where `skip` has patterns (linear-time, found anywhere in the normalised path), a connection without
    /// such a certificate carries requests for the paths they match; without any, there is no such connection.
    ///
    /// # Errors
    ///
    /// No certificate in `ca`, or a pattern that is none.
    pub fn compile(ca: &str, depth: usize, skip: &[String]) -> Result<Arc<Self>, ConfigError> {
        let skip = (!skip.is_empty())
            .then(|| RegexSetBuilder::new(skip).size_limit(MAX_PATTERNS).build())
            .transpose()
            .map_err(|error| {
                let reason = format!("not a pattern that is matched in linear time: {error}");
                ConfigError::new("client.skip_mtls_uri_regex", reason)
            })?;
        let demand = if skip.is_some() { Demand::PerRequest } else { Demand::Always };
        Self::new(ca, depth, demand, skip).map_err(|reason| ConfigError::new("client.ca", reason))
    }

    /// What a listener asks of everybody: a certificate by `ca`, or none.
    pub(crate) fn optional(ca: &str) -> Result<Arc<Self>, ConfigError> {
        Self::new(ca, usize::MAX, Demand::Never, None).map_err(|reason| ConfigError::new("client_ca", reason))
    }

    fn new(ca: &str, depth: usize, demand: Demand, skip: Option<RegexSet>) -> Result<Arc<Self>, String> {
        let mut roots = RootCertStore::empty();
        let mut context = digest::Context::new(&digest::SHA256);
        for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
            let certificate = certificate.map_err(|_| NO_CERTIFICATE)?;
            context.update(&certificate.len().to_be_bytes());
            context.update(&certificate);
            roots.add(certificate).map_err(|error| error.to_string())?;
        }
        if roots.is_empty() {
            return Err(NO_CERTIFICATE.to_owned());
        }
        context.update(&depth.to_be_bytes());
        context.update(format!("{demand:?}").as_bytes());
        let mut id = [0; 32];
        id.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chains = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .allow_unauthenticated()
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Arc::new(Self { id, verifier: Arc::new(Verifier { chains, depth, demand }), skip }))
    }

    /// For the handshake.
    pub(crate) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.verifier) as _
    }

    /// Stands for the policy in tickets.
    pub(crate) fn id(&self) -> [u8; 32] {
        self.id
    }

    /// The verified certificate of a connection whose handshake is done. The error: it may not go on. What was verified
    /// when a session began is verified again when it is resumed, because certificates expire in between.
    pub(crate) fn certificate(
        &self,
        connection: &ServerConnection,
        now: UnixMillis,
    ) -> Result<Option<Arc<ClientCertificate>>, Unproven> {
        let demand = self.verifier.demand;
        let Some((first, rest)) = connection.peer_certificates().and_then(<[_]>::split_first) else {
            return if demand == Demand::Always { Err(Unproven) } else { Ok(None) };
        };
        let unseen =
            demand == Demand::PerRequest || connection.handshake_kind() == Some(HandshakeKind::Resumed);
        let seconds = u64::try_from(now.secs()).unwrap_or(0);
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        if unseen && self.verifier.check(first, rest, now).is_err() {
            return if demand == Demand::PerRequest { Ok(None) } else { Err(Unproven) };
        }
        Ok(Some(Arc::new(ClientCertificate::new(first))))
    }

    fn skips(&self, path: &str) -> bool {
        self.skip.as_ref().is_some_and(|skip| skip.is_match(path))
    }
}

impl fmt::Debug for ClientPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientPolicy")
            .field("depth", &self.verifier.depth)
            .field("demand", &self.verifier.demand)
            .field("skip", &self.skip)
            .finish_non_exhaustive()
    }
}

/// A connection without the certificate it needs.
#[derive(Debug)]
pub(crate) struct Unproven;

/// What the clients of a server name have to show.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    /// Nothing.
    Nothing,
    /// A certificate.
    Certificate(Arc<ClientPolicy>),
    /// It cannot be known: the configuration of the name is broken. The flag says whether it meant to ask.
    Unknown(bool),
}

/// Whether `connection` may carry this request: its host must ask for the same certificates as the name did that the
/// connection was made for (RFC 9110 section 15.5.20). A name is told in the clear before anything is proved, so
/// without this check any other name would open the host.
pub(crate) fn admit(
    certificates: &Certificates,
    connection: &ConnectionInfo,
    head: &RequestHead,
) -> Result<(), Failure> {
    let held = connection.client_policy.as_deref();
    if held.is_none() && !certificates.asks_clients() {
        return Ok(());
    }
    let asked = certificates.asked(head.host());
    let wanted = match asked {
        Some(Asked::Certificate(policy)) => Some(&**policy),
        None | Some(Asked::Nothing) => None,
        Some(Asked::Unknown(asks)) if *asks || connection.peer.https => return Err(misdirected()),
        Some(Asked::Unknown(_)) => return Ok(()),
    };
    let Some(wanted) = wanted else { return if held.is_none() { Ok(()) } else { Err(misdirected()) } };
    if !connection.peer.https {
        // A trusted proxy has terminated TLS, and answers for the certificate.
        let free = connection.peer.trusted || wanted.skips(head.path());
        return if free { Ok(()) } else { Err(misdirected()) };
    }
    if held.is_none_or(|held| held.id != wanted.id) {
        return Err(misdirected());
    }
    if wanted.skip.is_some() && connection.peer.certificate.is_none() && !wanted.skips(head.path()) {
        // APISIX's status.
        return Err(Failure::Client(StatusCode::BAD_REQUEST, "a client certificate is needed"));
    }
    Ok(())
}

const fn misdirected() -> Failure {
    let why = "this connection was not made for this host: its client certificates are another matter";
    Failure::Client(StatusCode::MISDIRECTED_REQUEST, why)
}

/// Verifies certificates during the handshake.
#[derive(Debug)]
struct Verifier {
    chains: Arc<dyn ClientCertVerifier>,
    depth: usize,
    demand: Demand,
}

impl Verifier {
    /// The path goes through what the client sent behind its own certificate, each certifying the one before (RFC 8446
    /// section 4.4.2), so no more of it is looked at than the path may be long.
    fn check(
        &self,
        certificate: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.chains.verify_client_cert(certificate, sent.get(..self.depth).unwrap_or(sent), now)
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.demand == Demand::Always
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.demand == Demand::PerRequest {
            // It counts as none later, see `ClientPolicy::certificate`.
            return Ok(ClientCertVerified::assertion());
        }
        self.check(certificate, sent, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// Tickets that are good under one policy: a ticket carries the client's certificate, and what one policy verified is
/// nothing to another.
#[derive(Debug)]
pub(crate) struct PolicyTickets {
    pub(crate) tickets: Arc<dyn ProducesTickets>,
    /// Zero: no certificate was asked for.
    pub(crate) policy: [u8; 32],
}

impl ProducesTickets for PolicyTickets {
    fn enabled(&self) -> bool {
        self.tickets.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.tickets.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.tickets.encrypt(&[&self.policy, plain].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.tickets.decrypt(cipher)?.strip_prefix(&self.policy).map(<[u8]>::to_vec)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    use super::*;

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn below(issuer: &CertifiedIssuer<'static, KeyPair>) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "below");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), issuer).unwrap()
    }

    fn client(issuer: &CertifiedIssuer<'static, KeyPair>) -> CertificateDer<'static> {
        let params = CertificateParams::new(vec!["client".to_owned()]).unwrap();
        params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()
    }

    #[test]
    fn a_chain_has_no_more_intermediate_certificates_than_the_depth() {
        let root = authority();
        let (first, second) = (below(&root), below(&below(&root)));
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_700_000_000));
        let accepts = |depth, certificate: &CertificateDer<'_>, sent: &[CertificateDer<'_>]| {
            let policy = ClientPolicy::compile(&root.pem(), depth, &[]).unwrap();
            policy.verifier.check(certificate, sent, now).is_ok()
        };
        assert!(accepts(0, &client(&root), &[]));
        assert!(accepts(0, &client(&root), &[root.der().clone()]), "the authority itself may be sent");
        let two = client(&first);
        assert!(!accepts(0, &two, &[first.der().clone()]));
        assert!(accepts(1, &two, &[first.der().clone(), root.der().clone()]));
        assert!(!accepts(1, &two, &[]), "the intermediate certificate is missing");
        assert!(!accepts(1, &client(&second), &[second.der().clone()]));
        assert!(!accepts(9, &client(&authority()), &[]), "a stranger's");
    }

    #[test]
    fn a_ticket_is_good_under_its_own_policy_alone() {
        let tickets = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
        let under = |policy| PolicyTickets { tickets: Arc::clone(&tickets), policy };
        let ca = authority().pem();
        let id = |depth, skip: &[&str]| {
            let skip: Vec<String> = skip.iter().map(|text| (*text).to_owned()).collect();
            ClientPolicy::compile(&ca, depth, &skip).unwrap().id()
        };
        let ticket = under(id(1, &[])).encrypt(b"session").unwrap();
        assert_eq!(under(id(1, &[])).decrypt(&ticket).unwrap(), b"session");
        for other in [[0; 32], id(2, &[]), id(1, &["^/x"]), ClientPolicy::optional(&ca).unwrap().id()] {
            assert_eq!(under(other).decrypt(&ticket), None);
        }
        let other = ClientPolicy::compile(&authority().pem(), 1, &[]).unwrap();
        assert_eq!(under(other.id()).decrypt(&ticket), None);
        assert_eq!(id(1, &["^/x"]), id(1, &["^/y"]), "who was verified does not depend on the paths");
    }

    #[test]
    fn what_cannot_be_a_policy_is_refused_by_name() {
        let ca = authority().pem();
        let refused =
            |ca: &str, skip: &str| ClientPolicy::compile(ca, 1, &[skip.to_owned()]).unwrap_err().to_string();
        assert!(refused("", "x").starts_with("client.ca: not certificates in PEM"));
        assert!(
            refused("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "x")
                .contains("client.ca")
        );
        for pattern in ["(?=a)", r"(a)\1", "(", "a{9999}{9999}"] {
            assert!(refused(&ca, pattern).starts_with("client.skip_mtls_uri_regex: "), "{pattern}");
        }
    }
}
