//! Consumers known by a secret with which they sign their requests, so that it never travels.
//!
//! What is signed is a line with the key's id and a line for each header that the client names; `@request-target` stands
//! for method and target. A signature without a date in it would be good for ever: `date` is always among the headers
//! that must be signed, and must be near (CVE-2026-47341).
//!
//! A body is not signed itself: the route may demand its digest in `Digest` (RFC 3230), and that this header is signed.

use std::{any::Any, sync::Arc, time::Duration};

use base::{Clock, Secret};
use gateway::{
    consumer::{CompiledCredential, Credential},
    error::ConfigError,
    plugin::{Flow, Phases, Plugin, PluginRequest, RequestHead},
};
use http::{HeaderMap, HeaderName, header};

pub use crate::hmac_signature::Algorithm;
use crate::{
    authentication::{Fallback, Guard},
    body_digest::BodyDigest,
    hmac_signature::{self, Keys, Signature, is_near, line},
};

/// The engine's name of it.
pub const NAME: &str = "hmac-auth";

/// What a client may name besides headers.
const REQUEST_TARGET: &str = "@request-target";
/// How signatures are judged.
#[derive(Clone, Debug)]
pub struct Config {
    /// Those that count.
    pub algorithms: Vec<Algorithm>,
    /// How far the request's date may be from the gate's.
    pub clock_skew: Duration,
    /// What must be signed besides the date: headers, or `@request-target`.
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
struct HmacAuth {
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
        if name != REQUEST_TARGET && HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(ConfigError::new("signed_headers", "it has what is not the name of a header"));
        }
    }
    if !config.signed.iter().any(|name| name == "date") {
        config.signed.push("date".to_owned());
    }
    let guard = Arc::new(Guard::new("hmac", config.fallback.clone())?);
    Ok(Arc::new(HmacAuth { config, guard }))
}

/// A consumer's key id and secret.
///
/// # Errors
///
/// When one of them is empty.
pub fn credential(key_id: &str, secret: &Secret<String>) -> Result<CompiledCredential, ConfigError> {
    hmac_signature::credential(NAME, ("key_id", key_id), ("secret_key", secret))
}

/// Of the one `Authorization` header.
fn signature(headers: &HeaderMap) -> Result<Signature<'_>, &'static str> {
    const MISSING: &str = "client request can't be validated: missing Authorization header";
    const OTHER: &str =
        "client request can't be validated: Authorization header does not start with 'Signature'";
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let line = lines.next().ok_or(MISSING)?;
    if lines.next().is_some() {
        return Err(UNPROVEN);
    }
    let line = line.to_str().map_err(|_| UNPROVEN)?;
    let (scheme, fields) = line.split_once(' ').unwrap_or((line, ""));
    if !scheme.eq_ignore_ascii_case("signature") {
        return Err(OTHER);
    }
    Signature::read(fields, "keyId").ok_or(UNPROVEN)
}

/// The text that is signed; `None` when it names a header that is not there once.
fn signed_text(signature: &Signature<'_>, head: &RequestHead) -> Option<String> {
    let mut text = format!("{}\n", signature.signer);
    for name in &signature.headers {
        match name.as_str() {
            REQUEST_TARGET => text.push_str(&format!("{} {}", head.method, head.target)),
            name => text.push_str(&line(head, name)?),
        }
        text.push('\n');
    }
    Some(text)
}

/// What all failures are told of which more would help to forge.
const UNPROVEN: &str = "client request can't be validated";

impl HmacAuth {
    fn find(&self, request: &PluginRequest<'_>) -> Result<Arc<Credential>, &'static str> {
        let signature = signature(&request.head.headers)?;
        self.judge(request, &signature).ok_or(UNPROVEN)
    }

    fn judge(&self, request: &PluginRequest<'_>, signature: &Signature<'_>) -> Option<Arc<Credential>> {
        let algorithm = signature.algorithm_of(&self.config.algorithms)?;
        if !self.config.signed.iter().all(|demanded| signature.headers.contains(demanded)) {
            return None;
        }
        let credential = request.consumers.credential(NAME, signature.signer.as_bytes())?;
        let text = signed_text(signature, request.head)?;
        let proven = credential.material::<Keys>()?.verify(algorithm, &text, signature.value)
            && is_near(&request.head.headers, &header::DATE, &self.config.clock, self.config.clock_skew);
        proven.then(|| Arc::clone(credential))
    }

    /// Goes on with a signed request once its body is known to be the one that `Digest` is of.
    fn inspect(&self, request: &PluginRequest<'_>, signer: Arc<Credential>, limit: usize) -> Flow {
        let promised = BodyDigest::of(&request.head.headers);
        let hidden = self.config.hide.then_some(header::AUTHORIZATION);
        self.guard.inspect(request, limit, hidden, move |body| {
            let fits = promised.is_some_and(|promised| promised.fits(body));
            fits.then_some(signer).ok_or_else(|| UNPROVEN.into())
        })
    }
}

impl Plugin for HmacAuth {
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
        let found = match (self.find(request), self.config.checked_body) {
            (Ok(signer), Some(limit)) => return self.inspect(request, signer, limit),
            (found, _) => found,
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
