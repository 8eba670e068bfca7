use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest;
use base::{Secret, UnixMillis};
use bytes::Bytes;
use fetch::{Request, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use oauth::{BasicCredentials, IntrospectionResponse, OAuthError, ProviderMetadata, TokenResponse, Verifier};
use serde_json::{Map, Value};

use super::{Introspected, Provider, ProviderError};

/// How this side authenticates at the token and introspection endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenAuth {
    /// `client_secret_basic`.
    #[default]
    Basic,
    /// `client_secret_post`.
    Post,
}

impl TokenAuth {
    /// The method with this name.
    ///
    /// # Errors
    ///
    /// [`ProviderError::Unsupported`], naming the method, for every other one.
    pub fn parse(name: &str) -> Result<Self, ProviderError> {
        match name {
            "client_secret_basic" => Ok(Self::Basic),
            "client_secret_post" => Ok(Self::Post),
            other => Err(ProviderError::Unsupported(format!("the client authentication method {other:?}"))),
        }
    }

    /// Its registered name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "client_secret_basic",
            Self::Post => "client_secret_post",
        }
    }

    /// This method, or the other one when the provider lists that and not this. A provider that lists neither, or
    /// nothing, gets this one.
    fn usable(self, supported: Option<&[String]>) -> Self {
        let lists =
            |method: Self| supported.is_some_and(|names| names.iter().any(|name| name == method.as_str()));
        let other = match self {
            Self::Basic => Self::Post,
            Self::Post => Self::Basic,
        };
        if !lists(self) && lists(other) { other } else { self }
    }
}

/// Who is calling a provider.
#[derive(Clone, Debug)]
pub struct Client {
    /// The id it is registered under.
    pub client_id: String,
    /// Its secret; without one it is a public client and only names itself.
    pub client_secret: Option<Secret<String>>,
    /// How it authenticates at the token and revocation endpoints.
    pub token_auth: TokenAuth,
    /// How it authenticates at the introspection endpoint.
    pub introspection_auth: TokenAuth,
    /// How long one call may take.
    pub timeout: Duration,
}

/// The endpoints' names in errors, and in the metadata.
const TOKEN: &str = "token_endpoint";
const INTROSPECTION: &str = "introspection_endpoint";
const USERINFO: &str = "userinfo_endpoint";
const REVOCATION: &str = "revocation_endpoint";

/// Headers of a call that further ones never replace or double.
const RESERVED: [HeaderName; 3] = [header::AUTHORIZATION, header::CONTENT_TYPE, header::HOST];

impl Provider {
    /// Exchanges an authorization code for tokens (RFC 6749 4.1.3, RFC 7636 4.5). The tokens are not verified.
    ///
    /// # Errors
    ///
    /// [`ProviderError::Denied`] when the provider refuses the code or the client; the others when it is down or
    /// talks nonsense. The code is spent either way.
    pub async fn exchange_code(
        &self,
        client: &Client,
        code: &str,
        redirect_uri: &str,
        verifier: Option<&Verifier>,
    ) -> Result<TokenResponse, ProviderError> {
        let mut form =
            vec![("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirect_uri)];
        form.extend(verifier.map(|verifier| ("code_verifier", verifier.expose())));
        self.token(client, form).await
    }

    /// Exchanges a refresh token for new tokens (RFC 6749 section 6).
    ///
    /// # Errors
    ///
    /// [`ProviderError::Denied`] with `invalid_grant` when the refresh token is dead; see
    /// [`ProviderError::denial`] for telling that from trouble that passes.
    pub async fn refresh(
        &self,
        client: &Client,
        refresh_token: &Secret<String>,
        scope: Option<&str>,
    ) -> Result<TokenResponse, ProviderError> {
        let mut form =
            vec![("grant_type", "refresh_token"), ("refresh_token", refresh_token.expose().as_str())];
        form.extend(scope.map(|scope| ("scope", scope)));
        self.token(client, form).await
    }

    /// Asks what a token is worth (RFC 7662) at `endpoint`, or at the provider's own without one. `headers` go along
    /// with the request, but for those the call needs itself. `Ok(None)`: the token is not active.
    ///
    /// # Errors
    ///
    /// [`ProviderError::Missing`] when there is no endpoint; [`ProviderError::Denied`] when the provider refuses this
    /// client, which says nothing about the token.
    pub async fn introspect(
        &self,
        client: &Client,
        endpoint: Option<&str>,
        token: &Secret<String>,
        headers: &HeaderMap,
    ) -> Result<Option<IntrospectionResponse>, ProviderError> {
        // With a configured endpoint the provider's metadata are of use, but not needed.
        let metadata = match endpoint {
            Some(_) => self.metadata(),
            None => Some(self.ready().await?),
        };
        let metadata = metadata.as_deref();
        let url = endpoint.or(metadata.and_then(|metadata| metadata.introspection_endpoint.as_deref()));
        let url = url.ok_or(ProviderError::Missing(INTROSPECTION))?;
        let listed =
            metadata.and_then(|metadata| metadata.introspection_endpoint_auth_methods_supported.as_deref());
        let form = vec![("token", token.expose().as_str()), ("token_type_hint", "access_token")];
        let mut request = self.form(url, client, client.introspection_auth.usable(listed), form);
        for (name, value) in headers.iter().filter(|(name, _)| !RESERVED.contains(name)) {
            request.headers.append(name, value.clone());
        }
        let response = self.call(INTROSPECTION, request).await?;
        let answer = IntrospectionResponse::parse(&ok(INTROSPECTION, &response)?.body)
            .map_err(|error| junk(INTROSPECTION, error))?;
        // An answer that names another token is an answer to another question.
        let same = |answer: &IntrospectionResponse| {
            let echoed = answer.claims().get("token");
            echoed.is_none_or(|echoed| echoed.as_str() == Some(token.expose().as_str()))
        };
        Ok(answer.filter(same))
    }

    /// The same for all who ask at the same time on whatever core, and remembered until the moment that `until` reads
    /// from an answer; `None`: it is not remembered. `reader` stands for all that `until` and its caller go by.
    ///
    /// # Errors
    ///
    /// As [`Provider::introspect`]; those who waited for one call share its error.
    pub async fn introspected(
        &self,
        client: &Client,
        endpoint: Option<&str>,
        token: &Secret<String>,
        reader: &[u8; 32],
        until: impl FnOnce(&Introspected) -> Option<UnixMillis>,
    ) -> Result<Option<Introspected>, ProviderError> {
        let key = introspection_key(client, endpoint, token, reader);
        let ask = async {
            let answer = self.introspect(client, endpoint, token, &HeaderMap::new()).await?;
            let at = self.now();
            Ok(answer.map(|answer| Introspected { claims: Arc::new(answer.into_claims()), at }))
        };
        self.introspections().answer(key, self.now(), ask, until).await
    }

    /// The claims of the user an access token is for (OIDC Core 5.3). Whose they are is for the caller to check: `sub`
    /// must be the ID token's.
    ///
    /// # Errors
    ///
    /// [`ProviderError::Unsupported`] for an answer that is a JWT; [`ProviderError::Missing`] without such an endpoint.
    pub async fn userinfo(&self, access_token: &Secret<String>) -> Result<Map<String, Value>, ProviderError> {
        let metadata = self.ready().await?;
        let url = metadata.userinfo_endpoint.as_deref().ok_or(ProviderError::Missing(USERINFO))?;
        let mut request = Request::get(url);
        let bearer = Secret::new(format!("Bearer {}", access_token.expose()));
        insert_secret(&mut request.headers, header::AUTHORIZATION, &bearer);
        request.timeout = self.timeout();
        let response = self.call(USERINFO, request).await?;
        let response = ok(USERINFO, &response)?;
        if media_type(response).eq_ignore_ascii_case("application/jwt") {
            return Err(ProviderError::Unsupported("a userinfo answer as a JWT".to_owned()));
        }
        oauth::json_object(&response.body).map_err(|error| junk(USERINFO, error))
    }

    /// Revokes a token (RFC 7009). `hint` is `refresh_token` or `access_token`. A token the provider does not know is
    /// a success.
    ///
    /// # Errors
    ///
    /// [`ProviderError::Missing`] when the provider cannot revoke.
    pub async fn revoke(
        &self,
        client: &Client,
        token: &Secret<String>,
        hint: &str,
    ) -> Result<(), ProviderError> {
        let metadata = self.ready().await?;
        let url = metadata.revocation_endpoint.as_deref().ok_or(ProviderError::Missing(REVOCATION))?;
        let listed = metadata.revocation_endpoint_auth_methods_supported.as_deref();
        let form = vec![("token", token.expose().as_str()), ("token_type_hint", hint)];
        let request = self.form(url, client, client.token_auth.usable(listed), form);
        let response = self.call(REVOCATION, request).await?;
        ok(REVOCATION, &response).map(|_| ())
    }

    pub(super) async fn token(
        &self,
        client: &Client,
        form: Vec<(&str, &str)>,
    ) -> Result<TokenResponse, ProviderError> {
        let metadata = self.ready().await?;
        let url = metadata.token_endpoint.as_deref().ok_or(ProviderError::Missing(TOKEN))?;
        let request = self.form(url, client, client.token_auth.usable(token_auth_methods(&metadata)), form);
        let response = self.call(TOKEN, request).await?;
        TokenResponse::parse(&ok(TOKEN, &response)?.body).map_err(|error| junk(TOKEN, error))
    }

    /// A POST of `form` with the client's proof of who it is.
    fn form<'a>(
        &self,
        url: &str,
        client: &'a Client,
        auth: TokenAuth,
        mut form: Vec<(&'a str, &'a str)>,
    ) -> Request {
        let mut headers = HeaderMap::new();
        match (&client.client_secret, auth) {
            (Some(secret), TokenAuth::Basic) => {
                let basic = BasicCredentials::header(&client.client_id, secret);
                insert_secret(&mut headers, header::AUTHORIZATION, &basic);
            }
            (Some(secret), TokenAuth::Post) => {
                form.push(("client_id", &client.client_id));
                form.push(("client_secret", secret.expose()));
            }
            (None, _) => form.push(("client_id", &client.client_id)),
        }
        let content_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, content_type);
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = Request::post(url, Bytes::from(body));
        Request { headers, timeout: client.timeout, ..request }
    }

    async fn call(&self, what: &'static str, mut request: Request) -> Result<Response, ProviderError> {
        request.headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("application/json"));
        request.verify_tls = self.verify_tls();
        self.fetcher().send(request).await.map_err(|cause| ProviderError::Unreachable { what, cause })
    }
}

/// Of all that an answer depends on: who asks whom about what. Each part has its length in front of it.
fn introspection_key(
    client: &Client,
    endpoint: Option<&str>,
    token: &Secret<String>,
    reader: &[u8; 32],
) -> [u8; 32] {
    let secret = client.client_secret.as_ref().map(|secret| secret.expose().as_str());
    let auth = client.introspection_auth.as_str();
    let parts =
        [Some(client.client_id.as_str()), secret, Some(auth), endpoint, Some(token.expose().as_str())];
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(reader);
    for part in parts {
        let text = part.unwrap_or_default();
        context.update(&[u8::from(part.is_some())]);
        context.update(&text.len().to_be_bytes());
        context.update(text.as_bytes());
    }
    let mut key = [0; 32];
    key.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    key
}

fn token_auth_methods(metadata: &ProviderMetadata) -> Option<&[String]> {
    metadata.token_endpoint_auth_methods_supported.as_deref()
}

/// The answer, if its status is 200. A 4xx with an OAuth error in it is a reasoned no.
fn ok<'r>(what: &'static str, response: &'r Response) -> Result<&'r Response, ProviderError> {
    if response.status == StatusCode::OK {
        return Ok(response);
    }
    let status = response.status;
    let said = || OAuthError::from_json(&oauth::json_object(&response.body).ok()?);
    match said().filter(|_| status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS) {
        Some(error) => Err(ProviderError::Denied(error)),
        None => Err(ProviderError::Status { what, status: status.as_u16() }),
    }
}

fn junk(what: &'static str, error: oauth::MessageError) -> ProviderError {
    ProviderError::Junk { what, why: error.to_string() }
}

fn media_type(response: &Response) -> &str {
    let value = response.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().split(';').next().unwrap_or_default().trim()
}

/// A value that no debug output shows. Characters that cannot stand in a header leave it out, and the provider says no.
fn insert_secret(headers: &mut HeaderMap, name: HeaderName, value: &Secret<String>) {
    if let Ok(mut value) = HeaderValue::from_str(value.expose()) {
        value.set_sensitive(true);
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_methods_are_refused_by_name() {
        assert_eq!(TokenAuth::parse("client_secret_post"), Ok(TokenAuth::Post));
        for name in ["private_key_jwt", "client_secret_jwt", "none", "tls_client_auth", ""] {
            let error = TokenAuth::parse(name).unwrap_err().to_string();
            assert!(error.contains(&format!("{name:?}")), "{error}");
        }
    }

    #[test]
    fn the_providers_list_decides_only_where_the_configured_method_is_not_on_it() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(TokenAuth::Basic.usable(None), TokenAuth::Basic);
        assert_eq!(TokenAuth::Basic.usable(Some(&list(&["client_secret_post"]))), TokenAuth::Post);
        assert_eq!(
            TokenAuth::Post.usable(Some(&list(&["client_secret_basic", "client_secret_post"]))),
            TokenAuth::Post
        );
        assert_eq!(TokenAuth::Basic.usable(Some(&list(&["private_key_jwt"]))), TokenAuth::Basic);
    }
}
