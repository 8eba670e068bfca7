//! What the file says, held against the world: ports, files, keys, certificates.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use base::Keyring;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::{
    section::{At, Findings},
    tree::Mark,
};

/// Keys that are public: the samples of APISIX's documentation.
pub(crate) const REFUSED_KEYS: [&str; 2] =
    ["edd1c9f034335f136f87ad84b625c8f1", "4054f7cf07e344346cd3f287985e76a2"];
/// Characters below which an admin key can be guessed.
const SHORTEST_KEY: usize = 16;

/// Addresses given away so far.
#[derive(Default)]
pub(super) struct Ports(Vec<(SocketAddr, String)>);

impl Ports {
    /// Notes that `path` listens on `address`, and says so if something else already does.
    pub(super) fn take(&mut self, address: &At<SocketAddr>, path: &str, findings: &mut Findings) {
        let (mark, address) = (address.mark, address.value);
        let clash = |other: &SocketAddr| {
            other.port() == address.port()
                && (other.ip() == address.ip()
                    || other.ip().is_unspecified()
                    || address.ip().is_unspecified())
        };
        if address.port() == 0 {
            findings.add(mark, format!("`{path}` needs a port other than 0"));
        } else if let Some((_, other)) = self.0.iter().find(|(other, _)| clash(other)) {
            findings.add(mark, format!("`{path}` takes the port of `{other}`"));
        }
        self.0.push((address, path.to_owned()));
    }
}

/// Why `key` cannot be a key of the Admin API.
pub(crate) fn admin_key(key: &str) -> Result<(), String> {
    if REFUSED_KEYS.contains(&key) {
        return Err(
            "is the sample key of the vendor's documentation, which everybody knows; choose another".into()
        );
    }
    if key.len() < SHORTEST_KEY {
        return Err(format!(
            "must have {SHORTEST_KEY} characters at least, such as `openssl rand -hex 16` prints"
        ));
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("must consist of visible ASCII characters, since it travels in a header".into());
    }
    Ok(())
}

/// Looks at a certificate and its key as a TLS server would.
pub(super) fn certificate(chain: &At<PathBuf>, key: &At<PathBuf>, findings: &mut Findings) {
    let certificates = read(chain, findings).and_then(|text| {
        let read = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
        let read = read.ok().filter(|read| !read.is_empty());
        if read.is_none() {
            findings.add(chain.mark, format!("{} holds no certificate in PEM", chain.value.display()));
        }
        read
    });
    let private = read(key, findings).and_then(|text| {
        let read = PrivateKeyDer::from_pem_slice(&text).ok();
        if read.is_none() {
            findings.add(key.mark, format!("{} holds no private key in PEM", key.value.display()));
        }
        read
    });
    if let (Some(certificates), Some(private)) = (certificates, private)
        && let Err(error) = pair(certificates, private)
    {
        findings.add(chain.mark, format!("certificate and key do not make a TLS server: {error}"));
    }
}

fn pair(
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<(), rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map(|_| ())
}

/// Looks at a file of trusted certificates.
pub(super) fn certificates(file: &At<PathBuf>, path: &str, findings: &mut Findings) {
    let Some(text) = read(file, findings) else { return };
    let all = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    if !all.is_ok_and(|all| !all.is_empty()) {
        findings.add(file.mark, format!("`{path}`: {} holds no certificates in PEM", file.value.display()));
    }
}

/// Reads a keyring and looks at who else may read it.
pub(super) fn keyring_file(file: &At<PathBuf>, findings: &mut Findings) -> Option<Keyring> {
    let text = read(file, findings)?;
    if readable_by_others(&file.value) {
        let shown = file.value.display();
        findings.add(file.mark, format!("{shown} can be read by everybody; `chmod 600 {shown}`"));
    }
    let parsed = std::str::from_utf8(&text).map_err(|_| "it is not text".to_owned());
    let parsed = parsed.and_then(|text| Keyring::parse(text).map_err(|error| error.to_string()));
    parsed.map_err(|reason| findings.add(file.mark, format!("`encryption.keyring.file`: {reason}"))).ok()
}

/// Looks whether a database file can be there.
pub(super) fn database(file: &At<PathBuf>, path: &str, findings: &mut Findings) {
    let folder =
        file.value.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        findings.add(file.mark, format!("`{path}`: the folder {} does not exist", folder.display()));
    } else if file.value.is_dir() {
        findings.add(file.mark, format!("`{path}`: {} is a folder", file.value.display()));
    } else if file.value.exists()
        && let Err(error) = fs::OpenOptions::new().read(true).write(true).open(&file.value)
    {
        findings.add(file.mark, format!("`{path}`: {} cannot be opened: {error}", file.value.display()));
    }
}

/// Looks whether the identity database would come to lie in the file of the configuration store.
pub(super) fn two_files(store: &Path, identities: &Path, mark: Mark, findings: &mut Findings) {
    let same_file = match (fs::metadata(store), fs::metadata(identities)) {
        (Ok(one), Ok(other)) => one.dev() == other.dev() && one.ino() == other.ino(),
        _ => place(store).is_some_and(|one| place(identities) == Some(one)),
    };
    if same_file {
        let reason =
            "`identity.database.sqlite` is the file of `store.sqlite`; give identities a file of their own";
        findings.add(mark, reason);
    }
}

/// Where a file is, or would be made.
fn place(file: &Path) -> Option<PathBuf> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    file.canonicalize().ok().or_else(|| Some(folder.canonicalize().ok()?.join(file.file_name()?)))
}

/// Looks at one of a tenant's domains.
pub(super) fn origin(domain: &At<String>, path: &str, taken: bool, findings: &mut Findings) {
    let sound = url::Url::parse(&domain.value).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == domain.value
    });
    if !sound {
        let example = "https://login.example.com, lower case and without a slash at the end";
        findings.add(domain.mark, format!("`{path}` lists origins such as {example}"));
    }
    if taken {
        findings.add(domain.mark, format!("`{path}`: another tenant has this origin"));
    }
}

fn read(file: &At<PathBuf>, findings: &mut Findings) -> Option<Vec<u8>> {
    fs::read(&file.value)
        .map_err(|error| findings.add(file.mark, format!("{} cannot be read: {error}", file.value.display())))
        .ok()
}

fn readable_by_others(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}
