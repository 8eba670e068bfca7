use base::Secret;
use http::HeaderMap;
use oauth::TokenResponse;

use super::{Client, Provider, ProviderError};

/// What a client has that it wants a token for.
#[derive(Clone, Copy, Debug)]
pub enum Grant<'a> {
    /// Its own credentials (RFC 6749 section 4.4).
    ClientCredentials,
    /// A user's name and password (RFC 6749 section 4.3).
    Password {
        /// The name.
        username: &'a str,
        /// The password.
        password: &'a Secret<String>,
    },
    /// A refresh token (RFC 6749 section 6).
    RefreshToken(&'a Secret<String>),
    /// An access token of this or another issuer (RFC 8693 section 2.1).
    TokenExchange(&'a Secret<String>),
}

/// What the token endpoint gave.
#[derive(Debug)]
pub struct Granted {
    /// The tokens.
    pub tokens: TokenResponse,
    /// The headers of its answer.
    pub headers: HeaderMap,
}

/// Parameters of a token request that are set by what is asked for and by who asks.
const RESERVED: [&str; 17] = [
    "grant_type",
    "scope",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "username",
    "password",
    "refresh_token",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "code",
    "code_verifier",
    "redirect_uri",
    "assertion",
];

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

impl Grant<'_> {
    fn params(&self) -> Vec<(&str, &str)> {
        match self {
            Self::ClientCredentials => vec![("grant_type", "client_credentials")],
            Self::Password { username, password } => {
                vec![("grant_type", "password"), ("username", username), ("password", password.expose())]
            }
            Self::RefreshToken(token) => {
                vec![("grant_type", "refresh_token"), ("refresh_token", token.expose())]
            }
            Self::TokenExchange(token) => vec![
                ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                ("subject_token", token.expose()),
                ("subject_token_type", ACCESS_TOKEN),
            ],
        }
    }
}

impl Provider {
    /// Obtains a token for what `grant` brings. `args` are further parameters of the request, such as the `audience`
    /// that some providers want; those the request sets itself are left out. The token is not verified.
    ///
    /// # Errors
    ///
    /// [`ProviderError::Denied`] when the provider refuses the client, what it brings, or what it asks for; the others
    /// when it is down or talks nonsense.
    pub async fn grant(
        &self,
        client: &Client,
        grant: Grant<'_>,
        scope: Option<&str>,
        args: &[(String, String)],
    ) -> Result<Granted, ProviderError> {
        let mut form = grant.params();
        form.extend(scope.map(|scope| ("scope", scope)));
        let own = args.iter().filter(|(name, _)| !Self::sets_itself(name));
        form.extend(own.map(|(name, value)| (name.as_str(), value.as_str())));
        self.token(client, form).await
    }

    /// Whether [`Provider::grant`] sets this parameter itself, so that it cannot be a further one.
    pub fn sets_itself(parameter: &str) -> bool {
        RESERVED.contains(&parameter)
    }
}
