//! Consumers known by a name and a password (RFC 7617).

use std::{any::Any, sync::Arc};

use aws_lc_rs::digest;
use base::{Secret, same_bytes};
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use gateway::{
    consumer::{CompiledCredential, Credential},
    error::ConfigError,
    plugin::{Flow, Phases, Plugin, PluginRequest},
};
use http::{HeaderMap, header};
use zeroize::Zeroizing;

use crate::authentication::{Fallback, Guard, fingerprint};

/// The engine's name of it.
pub const NAME: &str = "basic-auth";

/// Padding may be left out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What happens to requests.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whether the upstream gets the password.
    pub hide: bool,
    /// What is said to requests without a good one.
    pub words: Words,
    /// What happens to requests without a good one.
    pub fallback: Fallback,
}

/// What is said to requests without a good name and password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    /// There is none.
    pub missing: &'static str,
    /// It cannot be read.
    pub invalid: &'static str,
    /// It is nobody's.
    pub wrong: &'static str,
}

impl Default for Words {
    fn default() -> Self {
        Self {
            missing: "Missing authorization in request",
            invalid: "Invalid authorization in request",
            wrong: "Invalid user authorization",
        }
    }
}

/// The compiled form.
struct BasicAuth {
    hide: bool,
    words: Words,
    guard: Guard,
}

/// What a password is judged by.
struct Password {
    digest: [u8; 32],
    /// Where the digest is of the SHA-1 of the password, in hexadecimal digits: what stands behind the password there.
    sha1_salt: Option<Box<str>>,
}

impl Password {
    fn digest_of(&self, password: &[u8]) -> [u8; 32] {
        let Some(salt) = &self.sha1_salt else { return fingerprint(password) };
        let salted = Zeroizing::new([password, salt.as_bytes()].concat());
        let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &salted);
        let hex: String = sha1.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        fingerprint(hex.as_bytes())
    }
}

/// Compiles `config`.
///
/// # Errors
///
/// When the realm cannot be sent.
pub fn compile(config: Config) -> Result<Arc<dyn Plugin>, ConfigError> {
    let guard = Guard::new("Basic", config.fallback)?;
    Ok(Arc::new(BasicAuth { hide: config.hide, words: config.words, guard }))
}

/// A consumer's name and password.
///
/// # Errors
///
/// When the name cannot be told from the password (RFC 7617 section 2).
pub fn credential(username: &str, password: &Secret<String>) -> Result<CompiledCredential, ConfigError> {
    let digest = fingerprint(password.expose().as_bytes());
    judged_by(username, Password { digest, sha1_salt: None })
}

/// A consumer's name and the SHA-1 of its password and `salt`, in hexadecimal digits: what other gateways keep of it.
///
/// # Errors
///
/// As [`credential`].
pub fn credential_of_sha1(
    username: &str,
    sha1: &Secret<String>,
    salt: &str,
) -> Result<CompiledCredential, ConfigError> {
    let digest = fingerprint(sha1.expose().to_ascii_lowercase().as_bytes());
    judged_by(username, Password { digest, sha1_salt: Some(salt.into()) })
}

fn judged_by(username: &str, password: Password) -> Result<CompiledCredential, ConfigError> {
    if username.is_empty() || username.contains(':') {
        return Err(ConfigError::new("username", "it must not be empty and must not have a colon"));
    }
    let lookup = Secret::new(username.as_bytes().to_vec());
    Ok(CompiledCredential { plugin: NAME, lookup, material: Arc::new(password) })
}

impl BasicAuth {
    fn find(&self, request: &PluginRequest<'_>) -> Result<Arc<Credential>, &'static str> {
        let sent = sent(&request.head.headers, &self.words)?;
        // The name ends at the first colon; the rest is the password, colons and all (RFC 7617 section 2): every other
        // split would be somebody else's name.
        let at = memchr::memchr(b':', &sent).ok_or(self.words.invalid)?;
        let (username, password) = sent.split_at_checked(at).ok_or(self.words.invalid)?;
        let sent = password.strip_prefix(b":").unwrap_or_default();
        let found = request.consumers.credential(NAME, username);
        let expected = found.and_then(|credential| credential.material::<Password>());
        let digest = expected.map_or_else(|| fingerprint(sent), |password| password.digest_of(sent));
        // Unknown names take as long as known ones.
        let same = same_bytes(&digest, &expected.map_or([0; 32], |password| password.digest));
        found.filter(|_| same && expected.is_some()).cloned().ok_or(self.words.wrong)
    }
}

/// Name, colon and password of the one `Authorization`.
fn sent(headers: &HeaderMap, words: &Words) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let line = lines.next().ok_or(words.missing)?;
    if lines.next().is_some() {
        return Err(words.invalid);
    }
    let (scheme, credentials) =
        line.to_str().ok().and_then(|line| line.split_once(' ')).ok_or(words.invalid)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(words.invalid);
    }
    BASE64.decode(credentials.trim_matches(' ')).map(Zeroizing::new).map_err(|_| words.invalid)
}

impl Plugin for BasicAuth {
    fn name(&self) -> &'static str {
        NAME
    }

    fn phases(&self) -> Phases {
        Phases::REWRITE
    }

    fn rewrite(&self, request: &mut PluginRequest<'_>) -> Flow {
        if self.guard.passes(request) {
            return Flow::Continue;
        }
        let found = self.find(request);
        let flow = self.guard.conclude(request, found);
        if self.hide && matches!(flow, Flow::Continue) {
            request.head.headers.remove(header::AUTHORIZATION);
        }
        flow
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
