use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use base::{Random, UnixMillis};
use fetch::{Request, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use oauth::{
    ErrorCode, OAuthError,
    dpop::{Proof, ProofKey},
};

use super::ProviderError;

const DPOP: HeaderName = HeaderName::from_static("dpop");
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
/// Bytes of randomness in the id of a proof.
const JTI_BYTES: usize = 16;
/// Bytes of a nonce that is remembered.
const MAX_NONCE: usize = 1024;

/// A client's key that its tokens are bound to (RFC 9449), and what its servers asked for last.
pub struct Possession {
    key: ProofKey,
    random: Random,
    /// The nonce to use next, by endpoint: the token endpoint and the userinfo endpoint are different servers.
    nonces: Mutex<HashMap<&'static str, String>>,
}

impl Possession {
    /// Proves possession of `key`.
    pub fn new(key: ProofKey, random: Random) -> Self {
        Self { key, random, nonces: Mutex::default() }
    }

    /// `dpop_jkt` of an authorization request.
    pub fn thumbprint(&self) -> &str {
        self.key.thumbprint()
    }

    /// `request` with a proof made for it alone.
    pub(super) fn prove(
        &self,
        what: &'static str,
        mut request: Request,
        access_token: Option<&str>,
        now: UnixMillis,
    ) -> Result<Request, ProviderError> {
        let nonce = self.nonces.lock().unwrap_or_else(PoisonError::into_inner).get(what).cloned();
        let proof = Proof {
            method: request.method.as_str(),
            url: &request.url,
            jti: &self.random.token(JTI_BYTES),
            at: now,
            access_token,
            nonce: nonce.as_deref(),
        };
        let failed = |why: String| ProviderError::Unsupported(format!("a DPoP proof with this key ({why})"));
        let proof = self.key.prove(&proof).map_err(|error| failed(error.to_string()))?;
        let proof = HeaderValue::from_str(&proof).map_err(|error| failed(error.to_string()))?;
        request.headers.insert(DPOP, proof);
        Ok(request)
    }

    /// Remembers the nonce of an answer. Whether the answer asks for the request again with it (sections 8 and 9).
    pub(super) fn heed(&self, what: &'static str, response: &Response) -> bool {
        let nonce = response.headers.get(DPOP_NONCE).and_then(|nonce| nonce.to_str().ok());
        let Some(nonce) = nonce.filter(|nonce| !nonce.is_empty() && nonce.len() <= MAX_NONCE) else {
            return false;
        };
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        nonces.insert(what, nonce.to_owned());
        match response.status {
            StatusCode::BAD_REQUEST => {
                let error =
                    oauth::json_object(&response.body).ok().and_then(|body| OAuthError::from_json(&body));
                error.is_some_and(|error| error.code == ErrorCode::UseDpopNonce)
            }
            StatusCode::UNAUTHORIZED => {
                let mut challenges = response.headers.get_all(header::WWW_AUTHENTICATE).iter();
                challenges.any(|value| value.to_str().is_ok_and(|text| text.contains("use_dpop_nonce")))
            }
            _ => false,
        }
    }
}

impl fmt::Debug for Possession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Possession").field("thumbprint", &self.thumbprint()).finish_non_exhaustive()
    }
}
