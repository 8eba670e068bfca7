//! Consumers known by a secret with which they sign headers of their requests, in the form of the HTTP signatures draft:
//! `hmac username="…", algorithm="…", headers="date request-line", signature="…"`.
//!
//! What is signed are lines `name: value`; `request-line` stands for method, target and version, `@request-target` for
//! method and target. A date, in `date` or `x-date`, must be among them and near: a signature without one would be good
//! for ever.

use std::{any::Any, sync::Arc, time::Duration};

use aws_lc_rs::hmac;
use base::{Clock, Secret};
use base64::{Engine, engine::general_purpose::STANDARD};
use gateway::{
    consumer::{CompiledCredential, Credential},
    error::ConfigError,
    plugin::{Flow, Phases, Plugin, PluginRequest, RequestHead},
};
use http::{HeaderMap, HeaderName, Version, header};
use time::{PrimitiveDateTime, format_description::BorrowedFormatItem, macros::format_description};

use crate::authentication::{Fallback, Guard};

/// The engine's name of it.
pub const NAME: &str = "signed-request";

/// Most headers that a client may sign.
const MAX_HEADERS: usize = 64;
/// Kong's text for every failure that more would help to forge.
const INVALID: &str = "HMAC signature cannot be verified";
const DOES_NOT_MATCH: &str = "HMAC signature does not match";
const DATE: &str =
    "HMAC signature cannot be verified, a valid date or x-date header is required for HMAC Authentication";
/// RFC 9110 section 5.6.7.
const IMF_FIXDATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// A hash to sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-1.
    Sha1,
    /// HMAC with SHA-256.
    Sha256,
    /// HMAC with SHA-384.
    Sha384,
    /// HMAC with SHA-512.
    Sha512,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// As the client writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "hmac-sha1",
            Self::Sha256 => "hmac-sha256",
            Self::Sha384 => "hmac-sha384",
            Self::Sha512 => "hmac-sha512",
        }
    }

    const fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

/// How signatures are judged.
#[derive(Clone, Debug)]
pub struct Config {
    /// Those that count.
    pub algorithms: Vec<Algorithm>,
    /// How far the request's date may be from the gate's.
    pub clock_skew: Duration,
    /// What must be signed besides the date.
    pub signed: Vec<String>,
    /// Whether the upstream gets the signature.
    pub hide: bool,
    /// What happens to requests without a good one.
    pub fallback: Fallback,
    /// Tells the time.
    pub clock: Clock,
}

/// The compiled form.
struct SignedRequest {
    config: Config,
    guard: Guard,
}

/// A consumer's secret, ready for each algorithm.
struct Keys([(Algorithm, hmac::Key); 4]);

/// Compiles `config`.
///
/// # Errors
///
/// When the realm cannot be sent, or a name is no header's.
pub fn compile(mut config: Config) -> Result<Arc<dyn Plugin>, ConfigError> {
    for name in &mut config.signed {
        name.make_ascii_lowercase();
        let special = ["request-line", "@request-target"].contains(&name.as_str());
        if !special && HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(ConfigError::new("enforce_headers", "it has what is not the name of a header"));
        }
    }
    let guard = Guard::new("hmac", config.fallback.clone())?;
    Ok(Arc::new(SignedRequest { config, guard }))
}

/// A consumer's name in signatures, and its secret.
///
/// # Errors
///
/// When one of them is empty.
pub fn credential(username: &str, secret: &Secret<String>) -> Result<CompiledCredential, ConfigError> {
    for (field, text) in [("username", username), ("secret", secret.expose().as_str())] {
        if text.is_empty() {
            return Err(ConfigError::new(field, "it is empty"));
        }
    }
    let key =
        |algorithm: Algorithm| (algorithm, hmac::Key::new(algorithm.hmac(), secret.expose().as_bytes()));
    Ok(CompiledCredential {
        plugin: NAME,
        lookup: Secret::new(username.as_bytes().to_vec()),
        material: Arc::new(Keys(Algorithm::ALL.map(key))),
    })
}

/// What the client said of its signature.
#[derive(Debug, Default, PartialEq, Eq)]
struct Signature<'a> {
    username: &'a str,
    algorithm: &'a str,
    headers: Vec<String>,
    value: &'a str,
}

impl<'a> Signature<'a> {
    /// In `Authorization`, of which there must be one.
    fn of(headers: &'a HeaderMap) -> Result<Self, &'static str> {
        let mut lines = headers.get_all(header::AUTHORIZATION).iter();
        let line = lines.next().ok_or("Unauthorized")?;
        if lines.next().is_some() {
            return Err(INVALID);
        }
        let line = line.to_str().map_err(|_| INVALID)?;
        let (scheme, fields) = line.split_once(' ').unwrap_or((line, ""));
        if !scheme.eq_ignore_ascii_case("hmac") {
            return Err(INVALID);
        }
        Self::read(fields).ok_or(INVALID)
    }

    /// `name="value"` pairs after commas; each name at most once.
    fn read(fields: &'a str) -> Option<Self> {
        let mut signature = Self::default();
        for field in fields.split(',') {
            let (name, value) = field.trim_matches(' ').split_once('=')?;
            let value = value.strip_prefix('"')?.strip_suffix('"').filter(|value| !value.is_empty())?;
            let place = match name {
                "username" => &mut signature.username,
                "algorithm" => &mut signature.algorithm,
                "signature" => &mut signature.value,
                "headers" if signature.headers.is_empty() => {
                    signature.headers = value.split(' ').map(str::to_ascii_lowercase).collect();
                    continue;
                }
                _ => return None,
            };
            if !place.is_empty() {
                return None;
            }
            *place = value;
        }
        let whole = ![signature.username, signature.algorithm, signature.value].contains(&"");
        Some(signature).filter(|signature| whole && signature.headers.len() <= MAX_HEADERS)
    }

    /// The text that is signed; `None` when it names a header that is not there once.
    fn text(&self, head: &RequestHead) -> Option<String> {
        let mut lines = Vec::with_capacity(self.headers.len());
        for name in &self.headers {
            lines.push(match name.as_str() {
                "request-line" => format!("{} {} {}", head.method, head.target, version(head.version)),
                "@request-target" => {
                    format!("@request-target: {} {}", head.method.as_str().to_ascii_lowercase(), head.target)
                }
                "host" => format!("host: {}", head.authority()),
                name => {
                    let mut values = head.headers.get_all(name).iter();
                    let value = values.next()?.to_str().ok()?;
                    if values.next().is_some() {
                        return None;
                    }
                    format!("{name}: {value}")
                }
            });
        }
        Some(lines.join("\n"))
    }

    /// The header with the date that is signed.
    fn date_header(&self, headers: &HeaderMap) -> Option<&'static str> {
        let signed = |name: &&&'static str| {
            self.headers.iter().any(|own| own == **name) && headers.contains_key(**name)
        };
        ["x-date", "date"].iter().find(signed).copied()
    }
}

const fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

impl SignedRequest {
    fn find(&self, request: &PluginRequest<'_>) -> Result<Arc<Credential>, &'static str> {
        let headers = &request.head.headers;
        let signature = Signature::of(headers)?;
        let date = signature.date_header(headers).ok_or(DATE)?;
        if !self.is_now(headers, date) {
            return Err(DATE);
        }
        let algorithms = self.config.algorithms.iter();
        let algorithm = *algorithms.clone().find(|it| it.name() == signature.algorithm).ok_or(INVALID)?;
        if !self.config.signed.iter().all(|demanded| signature.headers.contains(demanded)) {
            return Err(INVALID);
        }
        let credential = request.consumers.credential(NAME, signature.username.as_bytes()).ok_or(INVALID)?;
        let keys = credential.material::<Keys>().ok_or(INVALID)?;
        let (_, key) = keys.0.iter().find(|(known, _)| *known == algorithm).ok_or(INVALID)?;
        let text = signature.text(request.head).ok_or(INVALID)?;
        let value = STANDARD.decode(signature.value).map_err(|_| DOES_NOT_MATCH)?;
        hmac::verify(key, text.as_bytes(), &value).map_err(|_| DOES_NOT_MATCH)?;
        Ok(Arc::clone(credential))
    }

    fn is_now(&self, headers: &HeaderMap, name: &str) -> bool {
        let date = headers.get(name).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| PrimitiveDateTime::parse(date, IMF_FIXDATE).ok());
        let Some(date) = date.map(|date| date.assume_utc().unix_timestamp()) else { return false };
        date.abs_diff(self.config.clock.now().secs()) <= self.config.clock_skew.as_secs()
    }
}

impl Plugin for SignedRequest {
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
        if self.config.hide && matches!(flow, Flow::Continue) {
            request.head.headers.remove(header::AUTHORIZATION);
        }
        flow
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_names_each_of_its_fields_once() {
        let good = Signature::read(
            r#"username="bob", algorithm="hmac-sha256", headers="date Request-Line", signature="c2ln""#,
        );
        let expected = Signature {
            username: "bob",
            algorithm: "hmac-sha256",
            headers: vec!["date".to_owned(), "request-line".to_owned()],
            value: "c2ln",
        };
        assert_eq!(good, Some(expected));
        for bad in [
            "",
            r#"username="bob""#,
            r#"username="bob",algorithm="a",signature="s",username="eve""#,
            r#"username="bob",algorithm="a",signature="s",more="x""#,
            r#"username=bob,algorithm="a",signature="s""#,
        ] {
            assert_eq!(Signature::read(bad), None, "{bad}");
        }
    }
}
