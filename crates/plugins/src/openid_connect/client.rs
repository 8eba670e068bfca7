//! What the gate proves itself with to the provider: the client's secret, a key that signs assertions, a key that its
//! tokens are bound to.

use std::{sync::Arc, time::Duration};

use base::{Random, Secret};
use gateway::error::ConfigError;
use jose::{Alg, JoseError, SigningKey};
use oauth::{TokenType, dpop::ProofKey};
use rp::provider::{Assertions, Client, Possession, TokenAuth};

use super::{Config, Inner};

/// How assertions of who the client is are made (RFC 7523).
#[derive(Clone, Debug)]
pub struct ClientAssertionConfig {
    /// PEM of the private key for `private_key_jwt`.
    pub private_key: Option<Secret<String>>,
    /// Its id.
    pub key_id: Option<String>,
    /// What they are signed with; `None`: RS256 with a private key, HS256 with the secret.
    pub alg: Option<Alg>,
    /// How long one counts.
    pub lifetime: Duration,
    /// Whom they are for; `None`: the endpoint that is called.
    pub audience: Option<String>,
}

/// The key that tokens from logins are bound to (RFC 9449).
#[derive(Clone, Debug)]
pub struct PossessionConfig {
    /// What proofs are signed with.
    pub alg: Alg,
    /// PEM of the private key.
    pub private_key: Secret<String>,
}

impl Default for ClientAssertionConfig {
    fn default() -> Self {
        let lifetime = Duration::from_secs(60);
        Self { private_key: None, key_id: None, alg: None, lifetime, audience: None }
    }
}

impl Config {
    /// Whether some endpoint that this configuration can reach is told of the client by `method`.
    fn uses(&self, method: TokenAuth) -> bool {
        let pushing = self.login.as_ref().and_then(|login| login.pushing.auth);
        let token = self.login.as_ref().map(|_| self.calls.token_auth);
        let introspection = self.bearer.as_ref().map(|_| self.calls.introspection_auth);
        [pushing, token, introspection].contains(&Some(method))
    }

    pub(super) fn client(&self, random: &Random) -> Result<Client, ConfigError> {
        let (calls, assertion) = (&self.calls, &self.calls.assertion);
        let signed_by = |symmetric: bool, default: Alg| {
            assertion.alg.filter(|alg| alg.is_symmetric() == symmetric).unwrap_or(default)
        };
        let secret = self.client_secret.as_ref().map(|secret| {
            let alg = signed_by(true, Alg::HS256);
            SigningKey::from_hmac_secret(alg, String::new(), secret.expose().as_bytes())
        });
        let key = assertion.private_key.as_ref().map(|pem| {
            let kid = assertion.key_id.clone().unwrap_or_default();
            SigningKey::from_pem(signed_by(false, Alg::RS256), kid, pem.expose())
        });
        warn_of("client_secret", self.uses(TokenAuth::SecretJwt), secret.as_ref());
        warn_of("client_rsa_private_key", self.uses(TokenAuth::PrivateKeyJwt), key.as_ref());
        let assertions = Assertions {
            secret,
            key,
            lifetime: assertion.lifetime,
            audience: assertion.audience.clone(),
            random: random.clone(),
        };
        let possession = calls.possession.as_ref().map(|possession| {
            let key = SigningKey::from_pem(possession.alg, String::new(), possession.private_key.expose());
            let key = key.and_then(ProofKey::new);
            let key = key.map_err(|error| ConfigError::new("dpop.private_key", error.to_string()))?;
            Ok(Arc::new(Possession::new(key, random.clone())))
        });
        Ok(Client {
            client_id: self.client_id.clone(),
            client_secret: self.client_secret.clone(),
            assertions: Some(Arc::new(assertions)),
            possession: possession.transpose()?,
            token_auth: calls.token_auth,
            introspection_auth: calls.introspection_auth,
            timeout: calls.timeout,
        })
    }
}

/// A key that cannot sign is taken, as APISIX takes it, for the calls that need it to fail with its name.
fn warn_of(field: &str, used: bool, key: Option<&Result<SigningKey, JoseError>>) {
    if let (true, Some(Err(error))) = (used, key) {
        tracing::warn!(field, %error, "calls to the provider will fail: the client cannot sign with this");
    }
}

impl Inner {
    /// The kind of token that the provider must give this client.
    pub(super) fn token_type(&self) -> TokenType {
        if self.client.possession.is_some() { TokenType::Dpop } else { TokenType::Bearer }
    }
}
