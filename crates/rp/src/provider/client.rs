use std::{fmt, sync::Arc, time::Duration};

use base::{Random, Secret, UnixMillis};
use jose::{JoseError, SigningKey};
use oauth::ClientAssertion;

use super::{Further, ProviderError, possession::Possession};
use crate::assertion::AssertionKeys;

/// Bytes of randomness in the id of an assertion.
const JTI_BYTES: usize = 16;

/// How this side authenticates at an endpoint of the provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenAuth {
    /// `client_secret_basic`.
    #[default]
    Basic,
    /// `client_secret_post`.
    Post,
    /// `client_secret_jwt`.
    SecretJwt,
    /// `private_key_jwt`.
    PrivateKeyJwt,
    /// `none`: the client names itself and proves nothing.
    None,
}

impl TokenAuth {
    /// Those that one may turn to in place of another, the most usual first.
    const ALL: [Self; 5] = [Self::Basic, Self::Post, Self::SecretJwt, Self::PrivateKeyJwt, Self::None];

    /// The method with this name.
    ///
    /// # Errors
    ///
    /// [`ProviderError::Unsupported`], naming the method, for every other one.
    pub fn parse(name: &str) -> Result<Self, ProviderError> {
        Self::ALL
            .into_iter()
            .find(|method| method.as_str() == name)
            .ok_or_else(|| ProviderError::Unsupported(format!("the client authentication method {name:?}")))
    }

    /// Its registered name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "client_secret_basic",
            Self::Post => "client_secret_post",
            Self::SecretJwt => "client_secret_jwt",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::None => "none",
        }
    }

    /// Whether it needs nothing but the client's secret as it is.
    pub const fn shows_secret(self) -> bool {
        matches!(self, Self::Basic | Self::Post)
    }
}

/// Who is calling a provider.
#[derive(Clone, Debug)]
pub struct Client {
    /// The id it is registered under.
    pub client_id: String,
    /// Its secret; without one and without a key it is a public client and only names itself.
    pub client_secret: Option<Secret<String>>,
    /// What it signs assertions with; `None`: it makes none.
    pub assertions: Option<Arc<Assertions>>,
    /// What its tokens are bound to; `None`: they are bearer tokens.
    pub possession: Option<Arc<Possession>>,
    /// How it authenticates at the token and revocation endpoints.
    pub token_auth: TokenAuth,
    /// How it authenticates at the introspection endpoint.
    pub introspection_auth: TokenAuth,
    /// How long one call may take.
    pub timeout: Duration,
    /// What is said in its calls beside what they need.
    pub further: Arc<Further>,
}

impl Client {
    /// A client that shows its secret at the token endpoint.
    pub fn with_secret(
        client_id: String,
        secret: Secret<String>,
        token_auth: TokenAuth,
        timeout: Duration,
    ) -> Self {
        Self {
            client_id,
            client_secret: Some(secret),
            assertions: None,
            possession: None,
            token_auth,
            introspection_auth: TokenAuth::Basic,
            timeout,
            further: Arc::default(),
        }
    }

    /// How to authenticate where `wanted` is configured and the provider lists `supported`.
    ///
    /// A method whose credential the client lacks gives way to one it can use. One that shows the secret gives way to
    /// another where the provider lists that and not this; one that does not never does, whatever a list says: the
    /// secret is shown only where the configuration says so. A provider that lists nothing usable gets what is
    /// configured.
    pub(super) fn method(&self, wanted: TokenAuth, supported: Option<&[String]>) -> TokenAuth {
        let lists = |method: TokenAuth| {
            supported.is_some_and(|names| names.iter().any(|name| name == method.as_str()))
        };
        let mut usable = TokenAuth::ALL.into_iter().filter(|method| self.can(*method));
        if self.can(wanted) {
            let mut better = || usable.find(|method| *method != TokenAuth::None && lists(*method));
            return match wanted.shows_secret() && !lists(wanted) {
                true => better().unwrap_or(wanted),
                false => wanted,
            };
        }
        let listed = usable.clone().find(|method| lists(*method));
        listed.or_else(|| usable.next()).unwrap_or(TokenAuth::None)
    }

    /// Whether the client has what the method needs.
    fn can(&self, method: TokenAuth) -> bool {
        let assertions = self.assertions.as_ref();
        match method {
            TokenAuth::Basic | TokenAuth::Post => self.client_secret.is_some(),
            TokenAuth::SecretJwt => assertions.is_some_and(|assertions| assertions.secret.is_some()),
            TokenAuth::PrivateKeyJwt => assertions
                .is_some_and(|assertions| assertions.key.is_some() || assertions.deployments.is_some()),
            TokenAuth::None => true,
        }
    }

    /// The assertion for `endpoint`, made for this one call.
    pub(super) fn assertion(
        &self,
        method: TokenAuth,
        endpoint: &str,
        now: UnixMillis,
    ) -> Result<Option<Secret<String>>, ProviderError> {
        let Some(assertions) = &self.assertions else { return Ok(None) };
        let (key, field) = match method {
            TokenAuth::SecretJwt => (&assertions.secret, "client_secret"),
            TokenAuth::PrivateKeyJwt => (&assertions.key, "private key"),
            _ => return Ok(None),
        };
        let deployments = match (method, &assertions.deployments) {
            (TokenAuth::PrivateKeyJwt, Some(keys)) if key.is_none() => Some(keys.signing(now)),
            _ => None,
        };
        let deployments = deployments.transpose().map_err(|error| failed(method, field, error))?;
        let key = match (key, &deployments) {
            (Some(key), _) => key.as_ref().map_err(|error| failed(method, field, error.clone()))?,
            (None, Some(key)) => key.as_ref(),
            (None, None) => return Ok(None),
        };
        let assertion = ClientAssertion {
            client_id: &self.client_id,
            audience: assertions.audience.as_deref().unwrap_or(endpoint),
            jti: &assertions.random.token(JTI_BYTES),
            at: now,
            lifetime: assertions.lifetime,
        };
        let signed = assertion.sign(key).map(Secret::new);
        signed.map(Some).map_err(|error| failed(method, field, error))
    }
}

fn failed(method: TokenAuth, field: &str, error: JoseError) -> ProviderError {
    ProviderError::Unsupported(format!("{method} with this {field} ({error})", method = method.as_str()))
}

/// What a client signs assertions of who it is with (RFC 7523).
pub struct Assertions {
    /// Its secret, for `client_secret_jwt`. An error: the secret cannot sign, and calls that need it fail with that.
    pub secret: Option<Result<SigningKey, JoseError>>,
    /// Its private key, for `private_key_jwt`, in the same way.
    pub key: Option<Result<SigningKey, JoseError>>,
    /// The deployment's own keys, for `private_key_jwt` of clients without one of theirs; `None`: they are not used.
    pub deployments: Option<Arc<AssertionKeys>>,
    /// How long one counts.
    pub lifetime: Duration,
    /// Whom they are for; `None`: the endpoint that is called.
    pub audience: Option<String>,
    /// Makes each one's id.
    pub random: Random,
}

impl fmt::Debug for Assertions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assertions")
            .field("secret", &self.secret)
            .field("key", &self.key)
            .field("lifetime", &self.lifetime)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use jose::Alg;

    use super::*;

    fn client(secret: bool, key: bool) -> Client {
        let sound = || SigningKey::generate(Alg::ES256, String::new());
        let short = || SigningKey::from_hmac_secret(Alg::HS256, String::new(), b"short");
        let assertions = Assertions {
            secret: secret.then(short),
            key: key.then(sound),
            deployments: None,
            lifetime: Duration::from_secs(60),
            audience: None,
            random: Random::seeded(1),
        };
        let whole = Client::with_secret(
            "c".to_owned(),
            Secret::new("short".to_owned()),
            TokenAuth::Basic,
            Duration::from_secs(1),
        );
        Client {
            client_secret: whole.client_secret.filter(|_| secret),
            assertions: Some(Arc::new(assertions)),
            ..whole
        }
    }

    fn list(names: &[&str]) -> Option<Vec<String>> {
        Some(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn other_methods_are_refused_by_name() {
        assert_eq!(TokenAuth::parse("client_secret_post"), Ok(TokenAuth::Post));
        assert_eq!(TokenAuth::parse("private_key_jwt"), Ok(TokenAuth::PrivateKeyJwt));
        for name in ["tls_client_auth", "self_signed_tls_client_auth", ""] {
            let error = TokenAuth::parse(name).unwrap_err().to_string();
            assert!(error.contains(&format!("{name:?}")), "{error}");
        }
    }

    #[test]
    fn the_providers_list_decides_only_where_the_configured_method_is_not_on_it() {
        use TokenAuth::{Basic, None as Public, Post, PrivateKeyJwt, SecretJwt};
        let basic = &["client_secret_basic"][..];
        for (secret, key, wanted, listed, expected) in [
            (true, false, Basic, None, Basic),
            (true, false, Basic, list(&["client_secret_post"]), Post),
            (true, false, Post, list(&["client_secret_basic", "client_secret_post"]), Post),
            (true, false, Basic, list(&["private_key_jwt"]), Basic),
            (true, true, Basic, list(&["private_key_jwt"]), PrivateKeyJwt),
            (true, true, Basic, list(&["none"]), Basic),
            // A proof is never given up for showing the secret.
            (true, true, PrivateKeyJwt, list(basic), PrivateKeyJwt),
            (true, true, SecretJwt, list(basic), SecretJwt),
            // Without the key there is nothing to prove with.
            (true, false, PrivateKeyJwt, list(&["client_secret_post"]), Post),
            (true, false, PrivateKeyJwt, None, Basic),
            (false, false, PrivateKeyJwt, list(basic), Public),
            (false, true, Basic, None, PrivateKeyJwt),
            (false, false, Basic, None, Public),
        ] {
            let chosen = client(secret, key).method(wanted, listed.as_deref());
            assert_eq!(chosen, expected, "{secret} {key} {wanted:?} {listed:?}");
        }
    }

    #[test]
    fn every_call_has_an_assertion_of_its_own_and_a_key_that_cannot_sign_is_named() {
        let client = client(true, true);
        let now = UnixMillis::from_secs(1000);
        let make = |method| client.assertion(method, "https://op/token", now);
        let (one, two) = (make(TokenAuth::PrivateKeyJwt).unwrap(), make(TokenAuth::PrivateKeyJwt).unwrap());
        assert!(one.is_some() && one != two);
        let error = make(TokenAuth::SecretJwt).unwrap_err().to_string();
        assert!(error.contains("client_secret_jwt") && error.contains("32"), "{error}");
        assert_eq!(make(TokenAuth::Basic), Ok(None));
    }
}
