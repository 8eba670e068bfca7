//! The certificates of `dev`: an authority made at first start, and one certificate for this machine's own names.
//!
//! The authority may vouch for no name but `localhost` (RFC 5280 4.2.1.10), so that a stolen `ca.key` is of no use against
//! the names that anybody who trusted `ca.pem` visits. Addresses are not constrained: BoringSSL, and gRPC with it, knows no
//! constraints of that form and refuses every certificate of an address under an authority that has one.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, anyhow};
use base::{Clock, UnixMillis};
use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, NameConstraints,
};
use x509_parser::pem::Pem;

use super::folder::Folder;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// A certificate with less than this left is made anew at the next start.
const RENEWAL: Duration = DAY.saturating_mul(30);
/// Browsers take server certificates of at most 398 days from private authorities, too.
const LEAF_LIFE: Duration = DAY.saturating_mul(397);
const AUTHORITY_LIFE: Duration = DAY.saturating_mul(3650);

/// Where the certificates of `dev` are.
#[derive(Clone, Debug)]
pub(crate) struct DevCertificates {
    /// The authority, PEM.
    pub(crate) authority: PathBuf,
    /// The system's roots and ours, PEM.
    pub(crate) bundle: PathBuf,
    /// Certificate for `localhost`, `127.0.0.1` and `::1`, PEM.
    pub(crate) chain: PathBuf,
    /// Its key, PEM.
    pub(crate) key: PathBuf,
}

impl DevCertificates {
    /// Finds the certificates in `folder`; what is missing or about to expire is made.
    pub(crate) fn open(folder: &Folder, clock: &Clock) -> anyhow::Result<Self> {
        let paths = Self {
            authority: folder.path("ca.pem"),
            bundle: folder.path("ca-bundle.pem"),
            chain: folder.path("localhost.pem"),
            key: folder.path("localhost.key"),
        };
        let authority_key = folder.path("ca.key");
        let fresh_authority = !(authority_key.exists() && lasts(&paths.authority, clock));
        if fresh_authority {
            let key = KeyPair::generate().context("cannot make a key for the authority")?;
            let params = authority(clock)?;
            let certificate = params.self_signed(&key).context("cannot sign the authority")?;
            folder.write_secret("ca.key", &key.serialize_pem())?;
            folder.write("ca.pem", &certificate.pem())?;
        }
        if fresh_authority || !paths.key.exists() || !lasts(&paths.chain, clock) {
            let signer = fs::read_to_string(&authority_key).context("cannot read ca.key")?;
            let signer = KeyPair::from_pem(&signer).context("ca.key is not a private key")?;
            let issuer = Issuer::new(authority(clock)?, signer);
            let key = KeyPair::generate().context("cannot make a key for localhost")?;
            let certificate = leaf(clock)?.signed_by(&key, &issuer).context("cannot sign for localhost")?;
            folder.write_secret("localhost.key", &key.serialize_pem())?;
            folder.write("localhost.pem", &certificate.pem())?;
        }
        if fresh_authority || !paths.bundle.exists() {
            let own = fs::read_to_string(&paths.authority).context("cannot read ca.pem")?;
            folder.write("ca-bundle.pem", &format!("{own}{}", system_roots()))?;
        }
        Ok(paths)
    }
}

fn authority(clock: &Clock) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(DnType::CommonName, "Portcullis development authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("localhost".to_owned())],
        excluded_subtrees: Vec::new(),
    });
    valid(&mut params, clock, AUTHORITY_LIFE)?;
    Ok(params)
}

fn leaf(clock: &Clock) -> anyhow::Result<CertificateParams> {
    let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let names = std::iter::once("localhost".to_owned()).chain(addresses.iter().map(IpAddr::to_string));
    let mut params = CertificateParams::new(names.collect::<Vec<_>>())?;
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    valid(&mut params, clock, LEAF_LIFE)?;
    Ok(params)
}

/// From an hour ago, since clocks of test machines differ, for `life`.
fn valid(params: &mut CertificateParams, clock: &Clock, life: Duration) -> anyhow::Result<()> {
    let date = |moment: UnixMillis| time::OffsetDateTime::from_unix_timestamp(moment.secs());
    params.not_before = date(clock.now() - Duration::from_secs(3600))?;
    params.not_after = date(clock.now() + life)?;
    Ok(())
}

/// Whether the first certificate of `file` is valid now and for a good while.
fn lasts(file: &std::path::Path, clock: &Clock) -> bool {
    let read = || -> anyhow::Result<bool> {
        let text = fs::read(file)?;
        let pem = Pem::iter_from_buffer(&text).next().ok_or_else(|| anyhow!("no certificate"))??;
        let validity = pem.parse_x509()?.validity().clone();
        let now = clock.now();
        Ok(validity.not_before.timestamp() <= now.secs()
            && (now + RENEWAL).secs() < validity.not_after.timestamp())
    };
    read().unwrap_or(false)
}

/// The system's trusted certificates as PEM; none where the system has none.
fn system_roots() -> String {
    let mut text = String::new();
    for root in rustls_native_certs::load_native_certs().certs {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = STANDARD.encode(&root);
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, following) = rest.split_at(rest.len().min(64));
            text.push_str(line);
            text.push('\n');
            rest = following;
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use x509_parser::extensions::GeneralName;

    use super::*;

    #[test]
    fn certificates_are_kept_and_renewed_before_they_expire() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(temporary.path()).unwrap();
        let clock = Clock::system();
        let read = |path: &PathBuf| fs::read_to_string(path).unwrap();
        let first = DevCertificates::open(&folder, &clock).unwrap();
        let (authority, chain) = (read(&first.authority), read(&first.chain));
        DevCertificates::open(&folder, &clock).unwrap();
        assert_eq!(read(&first.chain), chain);
        clock.advance(LEAF_LIFE - RENEWAL + DAY);
        DevCertificates::open(&folder, &clock).unwrap();
        assert_ne!(read(&first.chain), chain);
        assert_eq!(read(&first.authority), authority);
        assert!(read(&first.bundle).starts_with(&authority));
    }

    #[test]
    fn names_are_constrained_in_the_one_form_that_every_library_knows() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(temporary.path()).unwrap();
        let made = DevCertificates::open(&folder, &Clock::system()).unwrap();
        let parsed =
            |path: &PathBuf| Pem::iter_from_buffer(&fs::read(path).unwrap()).next().unwrap().unwrap();
        let authority = parsed(&made.authority);
        let authority = authority.parse_x509().unwrap();
        let constraints = authority.name_constraints().unwrap().unwrap().value;
        let permitted: Vec<_> =
            constraints.permitted_subtrees.iter().flatten().map(|tree| tree.base.clone()).collect();
        assert_eq!(permitted, [GeneralName::DNSName("localhost")]);
        assert!(constraints.excluded_subtrees.is_none());
        let chain = parsed(&made.chain);
        let chain = chain.parse_x509().unwrap();
        let names = &chain.subject_alternative_name().unwrap().unwrap().value.general_names;
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let bytes = loopback.map(|address| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        });
        for address in &bytes {
            assert!(names.contains(&GeneralName::IPAddress(address)), "{names:?}");
        }
    }
}
