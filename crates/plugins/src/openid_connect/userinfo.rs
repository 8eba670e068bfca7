//! What the userinfo endpoint says of the user who logs in (OIDC Core 5.3).

use std::sync::Arc;

use base::Secret;
use jose::{Alg, CompactJws};
use oauth::TokenResponse;
use rp::provider::{Further, ProviderError, Userinfo, issuer_matches};
use serde_json::{Map, Value};

use super::{
    Inner,
    tokens::{Unverified, verify_by_jwks},
};

/// Why there is no userinfo.
#[derive(Debug, thiserror::Error)]
enum Without {
    /// The provider has no such endpoint.
    #[error("the provider has none")]
    NoEndpoint,
    /// It failed, or talked nonsense.
    #[error("{0}")]
    Provider(ProviderError),
    /// It is a JWT whose signature is not the provider's.
    #[error("{0}")]
    Unverified(#[from] Unverified),
    /// It is a JWT, and not from this provider or not for this client.
    #[error("its {0} is wrong")]
    Claim(&'static str),
}

/// Claims, and the JWT that they are from, if they are from one.
type Signed = (Map<String, Value>, Option<Arc<str>>);

/// Userinfo speaks of somebody else than the ID token.
pub(super) struct AnotherUser;

impl Inner {
    /// What the userinfo endpoint says, which is told `further` things, as JSON. A provider without one, or whose one fails, leaves the session
    /// without.
    ///
    /// # Errors
    ///
    /// When it speaks of somebody else (OIDC Core 5.3.2): the login must end.
    pub(super) async fn userinfo(
        &self,
        tokens: &TokenResponse,
        subject: &str,
        further: &Further,
    ) -> Result<Option<String>, AnotherUser> {
        let wanted = self.config.headers.userinfo || self.config.looks_into_userinfo();
        if !wanted && self.claim_schema.is_none() {
            return Ok(None);
        }
        match self.asked_for_userinfo(&tokens.access_token, further).await {
            Ok((claims, _)) if claims.get("sub").and_then(Value::as_str) == Some(subject) => {
                Ok(serde_json::to_string(&claims).ok())
            }
            Ok(_) => Err(AnotherUser),
            Err(Without::NoEndpoint) => Ok(None),
            Err(error) => {
                tracing::warn!(%error, "a session begins without userinfo");
                Ok(None)
            }
        }
    }

    /// The claims of whose access token this is, and the answer as it was signed, where it was; `None`: the endpoint does not
    /// take it.
    pub(super) async fn claims_of(
        &self,
        token: &Secret<String>,
        further: &Further,
    ) -> Result<Option<Signed>, ProviderError> {
        let refused = |error: &ProviderError| {
            error.denial().is_some() || matches!(error, ProviderError::Status { status: 400 | 401 | 403, .. })
        };
        match self.asked_for_userinfo(token, further).await {
            // OIDC Core 5.3.2: the subject is always there.
            Ok(said) if said.0.get("sub").is_some_and(Value::is_string) => Ok(Some(said)),
            Ok(_) => Ok(None),
            Err(Without::Provider(error)) if refused(&error) => Ok(None),
            Err(Without::Provider(error) | Without::Unverified(Unverified::Provider(error))) => Err(error),
            Err(Without::NoEndpoint) => Err(ProviderError::Missing("userinfo_endpoint")),
            Err(error) => {
                tracing::warn!(%error, "what the userinfo endpoint says is not taken");
                Ok(None)
            }
        }
    }

    async fn asked_for_userinfo(&self, token: &Secret<String>, further: &Further) -> Result<Signed, Without> {
        match self.provider.userinfo(&self.client.saying(further), token).await {
            Ok(Userinfo::Plain(claims)) => Ok((claims, None)),
            Ok(Userinfo::Signed(jwt)) => {
                let claims = self.signed_userinfo(jwt.expose()).await?;
                Ok((claims, Some(jwt.expose().as_str().into())))
            }
            Err(ProviderError::Missing(_)) => Err(Without::NoEndpoint),
            Err(error) => Err(Without::Provider(error)),
        }
    }

    /// The claims of a signed answer. It may lack `iss` and `aud` (OIDC Core 5.3.2 says SHOULD); where they are, they
    /// must be right.
    async fn signed_userinfo(&self, jwt: &str) -> Result<Map<String, Value>, Without> {
        let metadata = self.provider.ready().await.map_err(Without::Provider)?;
        let listed = metadata.userinfo_signing_alg_values_supported.as_deref();
        let listed = |alg: &Alg| listed.is_none_or(|names| names.iter().any(|name| name == alg.as_str()));
        let algs: Vec<Alg> = Alg::ALL.into_iter().filter(|alg| !alg.is_symmetric()).filter(listed).collect();
        let jws = CompactJws::parse(jwt).map_err(Unverified::from)?;
        let (payload, _) = verify_by_jwks(&self.provider, &jws, &algs).await?;
        let claims = oauth::json_object(&payload).map_err(|_| Without::Claim("payload"))?;
        let text = |name: &str| claims.get(name).map(|value| value.as_str().unwrap_or_default());
        if text("iss").is_some_and(|iss| !issuer_matches(&metadata, iss, text("tid"))) {
            return Err(Without::Claim("iss"));
        }
        let client = self.client.client_id.as_str();
        let is_ours = |aud: &Value| match aud {
            Value::Array(all) => all.iter().any(|one| one == client),
            one => one == client,
        };
        if claims.get("aud").is_some_and(|aud| !is_ours(aud)) {
            return Err(Without::Claim("aud"));
        }
        Ok(claims)
    }
}
