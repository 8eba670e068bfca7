//! Signatures of tokens, by the keys that the provider publishes.

use std::sync::Arc;

use base::{Secret, UnixMillis};
use jose::{Alg, CompactJws, JoseError, KeySet, VerifyingKey};
use oauth::ProviderMetadata;
use rp::{
    bearer::Refusal,
    provider::{Provider, ProviderError, issuer_matches},
    session::{IdToken, IdTokenError, IdTokenRules},
};

pub(crate) use rp::provider::Unverified;
pub(super) use rp::provider::may_be_newer;

use super::{Config, Inner};

/// Why a token has no verdict, or a bad one.
#[derive(Debug)]
pub(super) enum Failure {
    /// The token is at fault.
    Refused(Refusal),
    /// The provider could not be asked.
    Provider(ProviderError),
}

/// Why an ID token is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadIdToken {
    /// Its signature is not verified.
    #[error("the ID token is not taken: {0}")]
    Unverified(#[from] Unverified),
    /// It breaks a rule.
    #[error("{0}")]
    Rule(#[from] IdTokenError),
}

/// What an ID token must agree with.
pub(super) struct Expected<'a> {
    pub(super) nonce: Option<&'a str>,
    pub(super) authenticated_since: Option<UnixMillis>,
    pub(super) access_token: &'a Secret<String>,
    pub(super) code: Option<&'a str>,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<ProviderError> for Failure {
    fn from(error: ProviderError) -> Self {
        Self::Provider(error)
    }
}

/// Verifies `jws` with the provider's keys.
pub(crate) async fn verify_by_jwks(
    provider: &Provider,
    jws: &CompactJws<'_>,
    algs: &[Alg],
) -> Result<(Vec<u8>, Arc<KeySet>), Unverified> {
    provider.verify(jws, algs).await
}

impl Config {
    /// The algorithms that a token verified with a public key may have.
    pub(super) fn public_algs(&self) -> Vec<Alg> {
        let public = |alg: &Alg| !alg.is_symmetric() && self.alg.is_none_or(|only| only == *alg);
        Alg::ALL.into_iter().filter(public).collect()
    }
}

impl Inner {
    /// Verifies an ID token: its signature, by the provider's keys or, where the configuration names a symmetric
    /// algorithm, by the client's secret; then OIDC Core 3.1.3.7.
    pub(super) async fn check_id_token(
        &self,
        id_token: &Secret<String>,
        expected: &Expected<'_>,
        now: UnixMillis,
    ) -> Result<IdToken, BadIdToken> {
        let metadata = self.provider.ready().await.map_err(Unverified::from)?;
        let (alg, payload) = self.verify_id_token(id_token.expose(), &metadata).await?;
        let rules = IdTokenRules {
            issuer: &|iss, tid| issuer_matches(&metadata, iss, tid),
            client_id: &self.client.client_id,
            nonce: expected.nonce,
            authenticated_since: expected.authenticated_since,
            access_token: Some(expected.access_token.expose()),
            code: expected.code,
            alg,
            slack: self.config.slack,
        };
        Ok(rules.check(&payload, now)?)
    }

    pub(super) async fn verify_id_token(
        &self,
        token: &str,
        metadata: &ProviderMetadata,
    ) -> Result<(Alg, Vec<u8>), Unverified> {
        let jws = CompactJws::parse(token)?;
        let alg = jws.alg()?;
        let Some(only) = self.config.alg.filter(|alg| alg.is_symmetric()) else {
            let (payload, _) = verify_by_jwks(&self.provider, &jws, &self.id_token_algs(metadata)).await?;
            return Ok((alg, payload));
        };
        let secret = self.client.client_secret.as_ref().ok_or(JoseError::NoKey)?;
        let key = VerifyingKey::from_hmac_secret(secret.expose().as_bytes(), only)?;
        Ok((alg, jws.verify(&key)?))
    }

    /// Those that the provider says it signs ID tokens with, where it says so.
    fn id_token_algs(&self, metadata: &ProviderMetadata) -> Vec<Alg> {
        let listed = metadata.id_token_signing_alg_values_supported.as_deref();
        let listed = |alg: &Alg| listed.is_none_or(|names| names.iter().any(|name| name == alg.as_str()));
        self.config.public_algs().into_iter().filter(listed).collect()
    }
}
