//! Proofs of possession (RFC 9449, RFC 8705): a token that is bound to a key or to a certificate is nothing without it.
//!
//! The verdict about a token is kept; the proof is judged on every request.

use std::{sync::Arc, time::Duration};

use base::UnixMillis;
use gateway::{
    error::ErrorBody,
    plugin::{ClientCertificate, PluginRequest, Reply},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};
use oauth::dpop::{self, Expected, ProofError};
use rp::{
    bearer::{Binding, Refusal, Seen},
    session::{SharedProofs, StorageError},
};

use super::{
    Inner,
    answer::{self, unproven},
};

const DPOP: HeaderName = HeaderName::from_static("dpop");
/// How old a proof may be where nothing else is said, beside what clocks may differ.
pub const PROOF_AGE: Duration = Duration::from_secs(60);

/// Which tokens a route takes. A bound token always needs its proof.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequiredProof {
    /// Also those that are bound to nothing.
    #[default]
    None,
    /// Only those that are bound to a key.
    Dpop,
    /// Only those that are bound to a client certificate.
    Mtls,
    /// Only those that are bound to either.
    Any,
}

/// What a request shows beside its token.
pub(super) struct Presented {
    /// There where the token came as `Authorization: DPoP`.
    dpop: Option<Box<Attempt>>,
    /// The verified certificate of the connection.
    certificate: Option<Arc<ClientCertificate>>,
}

struct Attempt {
    /// The one proof; `None`: there is none, or more than one.
    proof: Option<String>,
    method: String,
    url: String,
}

/// Why a token is nothing without what was presented, or with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unproven {
    /// The token is not to be used like this.
    Token(Refusal),
    /// There is not exactly one `DPoP` header.
    NotOne,
    /// The proof is none.
    Proof(ProofError),
    /// The proof was shown before.
    Again,
    /// No more proofs can be remembered, so none can be taken.
    Full,
    /// The record that the nodes share does not answer, so that nobody knows whether it was shown before.
    Unknown,
}

/// A good proof that this process was not shown before, and another node may have been.
#[must_use]
#[derive(Debug)]
pub(super) struct Showing {
    thumbprint: String,
    jti: String,
    until: UnixMillis,
}

impl Showing {
    /// Notes it where all nodes look.
    pub(super) async fn note(self, record: &SharedProofs, now: UnixMillis) -> Result<(), Unproven> {
        match record.show(&self.thumbprint, &self.jti, self.until, now).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Unproven::Again),
            Err(StorageError) => Err(Unproven::Unknown),
        }
    }
}

impl Presented {
    /// Takes the proof out of the request: it is for the gate, and whoever saw it upstream could take it for the
    /// upstream's own.
    pub(super) fn take(request: &mut PluginRequest<'_>) -> Self {
        let certificate = request.peer.certificate.clone();
        let by_dpop = is_dpop(&request.head.headers);
        let dpop = by_dpop.then(|| {
            let head = &*request.head;
            let mut proofs = head.headers.get_all(DPOP).iter();
            let proof = proofs.next().filter(|_| proofs.next().is_none());
            Box::new(Attempt {
                proof: proof.and_then(|proof| proof.to_str().ok()).map(str::to_owned),
                method: head.method.as_str().to_owned(),
                url: format!("{}://{}{}", request.peer.scheme(), head.public_host().authority(), head.path()),
            })
        });
        request.head.headers.remove(DPOP);
        Self { dpop, certificate }
    }

    /// Whether the token came as one that is bound to a key.
    pub(super) fn by_dpop(&self) -> bool {
        self.dpop.is_some()
    }

    /// Judges what was presented with a token of this binding. What is good so far may have to be noted where all nodes
    /// look, too.
    pub(super) fn check(
        &self,
        inner: &Inner,
        token: &str,
        binding: Option<&Binding>,
    ) -> Result<Option<Showing>, Unproven> {
        let required = inner.config.bearer.as_ref().map(|bearer| bearer.proof).unwrap_or_default();
        let (jkt, certificate) = match binding {
            None if self.dpop.is_none() && required == RequiredProof::None => return Ok(None),
            None => (None, None),
            Some(binding) => (binding.jkt.as_deref(), binding.certificate.as_ref()),
        };
        let missing = match required {
            RequiredProof::None => false,
            RequiredProof::Dpop => jkt.is_none(),
            RequiredProof::Mtls => certificate.is_none(),
            RequiredProof::Any => jkt.is_none() && certificate.is_none(),
        };
        if missing {
            return Err(Unproven::Token(Refusal::Unbound));
        }
        if let Some(bound) = certificate
            && self.certificate.as_ref().is_none_or(|shown| shown.sha256 != *bound)
        {
            return Err(Unproven::Token(Refusal::OtherCertificate));
        }
        match (jkt, &self.dpop) {
            (None, None) => Ok(None),
            // A key that is not the token's proves nothing about the token.
            (None, Some(_)) => Err(Unproven::Token(Refusal::Unbound)),
            // RFC 9449 section 7.2: it must not pass as a bearer token.
            (Some(_), None) => Err(Unproven::Token(Refusal::ProofMissing)),
            (Some(jkt), Some(attempt)) => attempt.check(inner, token, jkt).map(Some),
        }
    }
}

/// Whether the first `Authorization` header is of the scheme DPoP. What stands behind it, and whether it is the only
/// one, is for the reader of tokens.
fn is_dpop(headers: &HeaderMap) -> bool {
    let value = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    value.trim_ascii_start().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"dpop "))
}

impl Attempt {
    fn check(&self, inner: &Inner, token: &str, jkt: &str) -> Result<Showing, Unproven> {
        let now = inner.services.clock.now();
        let proven =
            dpop::verify(self.proof.as_deref().ok_or(Unproven::NotOne)?, &self.expected(inner, token, now))
                .map_err(Unproven::Proof)?;
        if proven.thumbprint != jkt {
            return Err(Unproven::Token(Refusal::OtherKey));
        }
        match inner.services.proofs.show(&proven.thumbprint, &proven.jti, proven.until, now) {
            Seen::First => {
                Ok(Showing { thumbprint: proven.thumbprint, jti: proven.jti, until: proven.until })
            }
            Seen::Again => Err(Unproven::Again),
            Seen::Full => Err(Unproven::Full),
        }
    }

    fn expected<'a>(&'a self, inner: &Inner, token: &'a str, now: UnixMillis) -> Expected<'a> {
        let slack = inner.config.slack;
        let age = inner.config.bearer.as_ref().map_or(PROOF_AGE, |bearer| bearer.proof_age);
        Expected {
            method: &self.method,
            url: &self.url,
            access_token: Some(token),
            nonce: None,
            now,
            max_age: age + slack,
            ahead: slack,
        }
    }
}

impl Unproven {
    /// 401 in the words of RFC 9449 section 7.1, or of RFC 6750 for a certificate.
    pub(super) fn reply(self, inner: &Inner, by_dpop: bool, errors: ErrorBody, html: bool) -> Reply {
        match self {
            Self::Token(refusal) if by_dpop || refusal == Refusal::ProofMissing => {
                refused(inner, refusal, errors, html)
            }
            Self::Token(refusal) => answer::refused(inner, refusal, errors, html),
            Self::NotOne => {
                unproven(inner, "invalid_dpop_proof", "there is not one DPoP header", errors, html)
            }
            Self::Proof(error) => unproven(inner, error.code(), &error.to_string(), errors, html),
            Self::Again => unproven(inner, "invalid_dpop_proof", "the proof was used before", errors, html),
            Self::Full => {
                tracing::warn!("the record of proofs of possession is full, so none is taken");
                let why = "too many proofs of possession at once";
                errors.reply(StatusCode::SERVICE_UNAVAILABLE, why, html)
            }
            Self::Unknown => {
                let why = "the record of proofs of possession is not available";
                errors.reply(StatusCode::SERVICE_UNAVAILABLE, why, html)
            }
        }
    }
}

/// 401 to a token that came as one that is bound to a key.
pub(super) fn refused(inner: &Inner, refusal: Refusal, errors: ErrorBody, html: bool) -> Reply {
    unproven(inner, "invalid_token", &refusal.to_string(), errors, html)
}

/// Adds the challenge of RFC 9449 to an answer that asks for a token, where the route takes such tokens only.
pub(super) fn ask(inner: &Inner, mut reply: Reply) -> Reply {
    let required = inner.config.bearer.as_ref().map(|bearer| bearer.proof).unwrap_or_default();
    if matches!(required, RequiredProof::Dpop | RequiredProof::Any)
        && let Ok(value) = HeaderValue::try_from(dpop::challenge(&[]))
    {
        reply.headers_mut().append(WWW_AUTHENTICATE, value);
    }
    reply
}
