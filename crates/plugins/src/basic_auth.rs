//! Consumers known by a name and a password (RFC 7617).

use std::{any::Any, sync::Arc};

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
    /// What happens to requests without a good one.
    pub fallback: Fallback,
}

/// The compiled form.
struct BasicAuth {
    hide: bool,
    guard: Guard,
}

/// What a password is judged by.
struct Password([u8; 32]);

/// Compiles `config`.
///
/// # Errors
///
/// When the realm cannot be sent.
pub fn compile(config: Config) -> Result<Arc<dyn Plugin>, ConfigError> {
    Ok(Arc::new(BasicAuth { hide: config.hide, guard: Guard::new("Basic", config.fallback)? }))
}

/// A consumer's name and password.
///
/// # Errors
///
/// When the name cannot be told from the password (RFC 7617 section 2).
pub fn credential(username: &str, password: &Secret<String>) -> Result<CompiledCredential, ConfigError> {
    if username.is_empty() || username.contains(':') {
        return Err(ConfigError::new("username", "it must not be empty and must not have a colon"));
    }
    Ok(CompiledCredential {
        plugin: NAME,
        lookup: Secret::new(username.as_bytes().to_vec()),
        material: Arc::new(Password(fingerprint(password.expose().as_bytes()))),
    })
}

impl BasicAuth {
    fn find(&self, request: &PluginRequest<'_>) -> Result<Arc<Credential>, &'static str> {
        let sent = sent(&request.head.headers)?;
        // The name ends at the first colon; the rest is the password, colons and all (RFC 7617 section 2): every other
        // split would be somebody else's name.
        let at = memchr::memchr(b':', &sent).ok_or("Invalid authorization in request")?;
        let (username, password) = sent.split_at_checked(at).ok_or("Invalid authorization in request")?;
        let sent = fingerprint(password.strip_prefix(b":").unwrap_or_default());
        let found = request.consumers.credential(NAME, username);
        let expected = found.and_then(|credential| credential.material::<Password>());
        // Unknown names take as long as known ones.
        let same = same_bytes(&sent, &expected.map_or([0; 32], |password| password.0));
        found.filter(|_| same && expected.is_some()).cloned().ok_or("Invalid user authorization")
    }
}

/// Name, colon and password of the one `Authorization`.
fn sent(headers: &HeaderMap) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    const INVALID: &str = "Invalid authorization in request";
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let line = lines.next().ok_or("Missing authorization in request")?;
    if lines.next().is_some() {
        return Err(INVALID);
    }
    let (scheme, credentials) = line.to_str().ok().and_then(|line| line.split_once(' ')).ok_or(INVALID)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(INVALID);
    }
    BASE64.decode(credentials.trim_matches(' ')).map(Zeroizing::new).map_err(|_| INVALID)
}

impl Plugin for BasicAuth {
    fn name(&self) -> &'static str {
        NAME
    }

    fn phases(&self) -> Phases {
        Phases::REWRITE
    }

    fn rewrite(&self, request: &mut PluginRequest<'_>) -> Flow {
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
