//! Consumers known by a secret with which they sign headers of their requests, in the form of the HTTP signatures draft:
//! `hmac username="…", algorithm="…", headers="date request-line", signature="…"`.
//!
//! What is signed are lines `name: value`; `request-line` stands for method, target and version, `@request-target` for
//! method and target. A date, in `date` or `x-date`, must be among them and near: a signature without one would be good
//! for ever.

use std::{any::Any, sync::Arc, time::Duration};

use base::{Clock, Secret};
use gateway::{
    consumer::{CompiledCredential, Credential},
    error::ConfigError,
    plugin::{Flow, Phases, Plugin, PluginRequest, RequestHead},
};
use http::{HeaderMap, HeaderName, Version, header};

pub use crate::hmac_signature::Algorithm;
use crate::{
    authentication::{Fallback, Guard},
    body_digest::{BodyDigest, DIGEST},
    hmac_signature::{self, Keys, Signature, is_near, line},
};

/// The engine's name of it.
pub const NAME: &str = "signed-request";

/// Kong's text for every failure that more would help to forge.
const INVALID: &str = "HMAC signature cannot be verified";
const DOES_NOT_MATCH: &str = "HMAC signature does not match";
const DATE: &str =
    "HMAC signature cannot be verified, a valid date or x-date header is required for HMAC Authentication";
/// How signatures are judged.
#[derive(Clone, Debug)]
pub struct Config {
    /// Those that count.
    pub algorithms: Vec<Algorithm>,
    /// How far the request's date may be from the gate's.
    pub clock_skew: Duration,
    /// What must be signed besides the date.
    pub signed: Vec<String>,
    /// Bytes of the longest body whose digest is checked; `None`: no digest is asked for.
    pub checked_body: Option<usize>,
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
    guard: Arc<Guard>,
}

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
    let guard = Arc::new(Guard::new("hmac", config.fallback.clone())?);
    Ok(Arc::new(SignedRequest { config, guard }))
}

/// A consumer's name in signatures, and its secret.
///
/// # Errors
///
/// When one of them is empty.
pub fn credential(username: &str, secret: &Secret<String>) -> Result<CompiledCredential, ConfigError> {
    hmac_signature::credential(NAME, ("username", username), ("secret", secret))
}

/// In `Authorization`, of which there must be one.
fn signature(headers: &HeaderMap) -> Result<Signature<'_>, &'static str> {
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
    Signature::read(fields, "username").ok_or(INVALID)
}

/// The text that is signed; `None` when it names a header that is not there once.
fn signed_text(signature: &Signature<'_>, head: &RequestHead) -> Option<String> {
    let lines = signature.headers.iter().map(|name| match name.as_str() {
        "request-line" => Some(format!("{} {} {}", head.method, head.target, version(head.version))),
        "@request-target" => {
            Some(format!("@request-target: {} {}", head.method.as_str().to_ascii_lowercase(), head.target))
        }
        name => line(head, name),
    });
    Some(lines.collect::<Option<Vec<String>>>()?.join("\n"))
}

/// The header with the date that is signed.
fn date_header(signature: &Signature<'_>, headers: &HeaderMap) -> Option<HeaderName> {
    let signed = |name: &HeaderName| {
        signature.headers.iter().any(|own| own == name.as_str()) && headers.contains_key(name)
    };
    [HeaderName::from_static("x-date"), header::DATE].into_iter().find(signed)
}

const fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

impl SignedRequest {
    fn find(
        &self,
        request: &PluginRequest<'_>,
        signature: &Signature<'_>,
    ) -> Result<Arc<Credential>, &'static str> {
        let headers = &request.head.headers;
        let date = date_header(signature, headers).ok_or(DATE)?;
        if !is_near(headers, &date, &self.config.clock, self.config.clock_skew) {
            return Err(DATE);
        }
        let algorithm = signature.algorithm_of(&self.config.algorithms).ok_or(INVALID)?;
        if !self.config.signed.iter().all(|demanded| signature.headers.contains(demanded)) {
            return Err(INVALID);
        }
        let credential = request.consumers.credential(NAME, signature.signer.as_bytes()).ok_or(INVALID)?;
        let keys = credential.material::<Keys>().ok_or(INVALID)?;
        let text = signed_text(signature, request.head).ok_or(INVALID)?;
        if !keys.verify(algorithm, &text, signature.value) {
            return Err(DOES_NOT_MATCH);
        }
        Ok(Arc::clone(credential))
    }

    /// Goes on with a signed request once its body is known to be the one that the signed `Digest` is of, or empty.
    fn inspect(
        &self,
        request: &PluginRequest<'_>,
        signer: Arc<Credential>,
        signs_digest: bool,
        limit: usize,
    ) -> Flow {
        let promised = BodyDigest::of(&request.head.headers).filter(|_| signs_digest);
        let has_digest = request.head.headers.contains_key(DIGEST);
        let hidden = self.config.hide.then_some(header::AUTHORIZATION);
        self.guard.inspect(request, limit, hidden, move |body| {
            let fits = match promised {
                Some(promised) => promised.fits(body),
                None => body.is_empty() && !has_digest,
            };
            fits.then_some(signer).ok_or_else(|| DOES_NOT_MATCH.into())
        })
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
        let found = signature(&request.head.headers).and_then(|signature| {
            let signs_digest = signature.headers.iter().any(|name| name == DIGEST.as_str());
            Ok((self.find(request, &signature)?, signs_digest))
        });
        let found = match (found, self.config.checked_body) {
            (Ok((signer, signs_digest)), Some(limit)) => {
                return self.inspect(request, signer, signs_digest, limit);
            }
            (found, _) => found.map(|(signer, _)| signer),
        };
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
