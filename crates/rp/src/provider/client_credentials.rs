use oauth::TokenResponse;

use super::{Client, Provider, ProviderError};

/// Parameters of the request that [`Provider::client_credentials`] sets itself.
const RESERVED: [&str; 6] =
    ["grant_type", "scope", "client_id", "client_secret", "client_assertion", "client_assertion_type"];

impl Provider {
    /// Obtains a token for `client` itself (RFC 6749 section 4.4). `args` are further parameters of the request, such
    /// as the `audience` that some providers want; those the request sets itself are left out. The token is not
    /// verified.
    ///
    /// # Errors
    ///
    /// [`ProviderError::Denied`] when the provider refuses the client or what it asks for; the others when it is down
    /// or talks nonsense.
    pub async fn client_credentials(
        &self,
        client: &Client,
        scope: Option<&str>,
        args: &[(String, String)],
    ) -> Result<TokenResponse, ProviderError> {
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend(scope.map(|scope| ("scope", scope)));
        let own = args.iter().filter(|(name, _)| !Self::sets_itself(name));
        form.extend(own.map(|(name, value)| (name.as_str(), value.as_str())));
        self.token(client, form).await
    }

    /// Whether [`Provider::client_credentials`] sets this parameter itself, so that it cannot be a further one.
    pub fn sets_itself(parameter: &str) -> bool {
        RESERVED.contains(&parameter)
    }
}
