//! What the gate proves itself with to the provider: the client's secret, a key that signs assertions, a key that its
//! tokens are bound to.

use std::{fmt, sync::Arc, time::Duration};

use base::{Random, Secret};
use gateway::error::ConfigError;
use jose::{Alg, JoseError, SigningKey};
use oauth::{TokenType, dpop::ProofKey};
use rp::assertion::AssertionKeys;
use rp::provider::{Assertions, Client, Endpoints, Possession, Provider, Providers, SourceConfig, TokenAuth};

use super::{Calls, Config, Inner, config::absolute};

/// How assertions of who the client is are made (RFC 7523).
#[derive(Clone, Debug)]
pub struct ClientAssertionConfig {
    /// PEM of the private key for `private_key_jwt`.
    pub private_key: Option<Secret<String>>,
    /// The deployment's own keys, for `private_key_jwt` without a private key; `None`: they are not used.
    pub deployments: Option<DeploymentKeys>,
    /// Its id.
    pub key_id: Option<String>,
    /// What they are signed with; `None`: RS256 with a private key, HS256 with the secret.
    pub alg: Option<Alg>,
    /// How long one counts.
    pub lifetime: Duration,
    /// Whom they are for; `None`: the endpoint that is called.
    pub audience: Option<String>,
}

/// Keys that change by themselves, which no verdict depends on.
#[derive(Clone)]
pub struct DeploymentKeys(pub Arc<AssertionKeys>);

impl fmt::Debug for DeploymentKeys {
    /// Always the same: configurations are told apart by it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeploymentKeys")
    }
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
        Self { private_key: None, deployments: None, key_id: None, alg: None, lifetime, audience: None }
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
        let client = client_of(&self.client_id, self.client_secret.as_ref(), &self.calls, random)?;
        let assertions = client.assertions.as_ref();
        let secret = assertions.and_then(|assertions| assertions.secret.as_ref());
        let key = assertions.and_then(|assertions| assertions.key.as_ref());
        warn_of("client_secret", self.uses(TokenAuth::SecretJwt), secret);
        warn_of("client_rsa_private_key", self.uses(TokenAuth::PrivateKeyJwt), key);
        Ok(client)
    }
}

/// The provider that `calls` go to. Errors name fields as the APISIX dialect does, and endpoints as Kong's.
pub(crate) fn provider_of(
    discovery: &str,
    issuers: &[String],
    calls: &Calls,
    providers: &Providers,
) -> Result<Arc<Provider>, ConfigError> {
    let Endpoints { authorization, token, userinfo, revocation, end_session, jwks } = &calls.endpoints;
    for (field, endpoint) in
        [("authorization_endpoint", authorization), ("end_session_endpoint", end_session)]
    {
        endpoint.as_deref().map_or(Ok(()), |endpoint| absolute(field, endpoint))?;
    }
    for (field, endpoint) in [
        ("token_endpoint", token),
        ("userinfo_endpoint", userinfo),
        ("revocation_endpoint", revocation),
        ("jwks_endpoint", jwks),
    ] {
        let permitted = endpoint.as_deref().map_or(Ok(()), |endpoint| providers.permits(endpoint));
        permitted.map_err(|error| ConfigError::new(field, error.to_string()))?;
    }
    for url in &calls.extra_jwks {
        let permitted = providers.permits(url);
        permitted.map_err(|error| ConfigError::new("extra_jwks_uris", error.to_string()))?;
    }
    let source = SourceConfig {
        discovery_url: discovery.to_owned(),
        verify_tls: calls.verify_tls,
        timeout: calls.timeout,
        jwks_ttl: calls.jwks_ttl,
        metadata_ttl: calls.metadata_ttl,
        keep_alive: calls.keep_alive,
        proxies: calls.proxies.clone(),
        issuers: issuers.to_vec(),
        endpoints: calls.endpoints.clone(),
        headers: calls.discovery_headers.clone(),
        extra_jwks: calls.extra_jwks.clone(),
    };
    providers.provider(&source).map_err(|error| ConfigError::new("discovery", error.to_string()))
}

/// The client of this id, with what it proves itself by.
pub(crate) fn client_of(
    client_id: &str,
    client_secret: Option<&Secret<String>>,
    calls: &Calls,
    random: &Random,
) -> Result<Client, ConfigError> {
    let assertion = &calls.assertion;
    let signed_by = |symmetric: bool, default: Alg| {
        assertion.alg.filter(|alg| alg.is_symmetric() == symmetric).unwrap_or(default)
    };
    let secret = client_secret.map(|secret| {
        let alg = signed_by(true, Alg::HS256);
        SigningKey::from_hmac_secret(alg, String::new(), secret.expose().as_bytes())
    });
    let key = assertion.private_key.as_ref().map(|pem| {
        let kid = assertion.key_id.clone().unwrap_or_default();
        SigningKey::from_pem(signed_by(false, Alg::RS256), kid, pem.expose())
    });
    let assertions = Assertions {
        secret,
        key,
        deployments: assertion.deployments.as_ref().map(|DeploymentKeys(keys)| Arc::clone(keys)),
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
        client_id: client_id.to_owned(),
        client_secret: client_secret.cloned(),
        assertions: Some(Arc::new(assertions)),
        possession: possession.transpose()?,
        token_auth: calls.token_auth,
        introspection_auth: calls.introspection_auth,
        timeout: calls.timeout,
        further: Arc::new(calls.additions.further.clone()),
    })
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
