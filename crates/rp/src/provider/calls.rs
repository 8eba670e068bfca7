use std::sync::Arc;

use aws_lc_rs::digest;
use base::{Secret, UnixMillis};
use bytes::Bytes;
use fetch::{Request, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use oauth::{
    BasicCredentials, ClientAssertion, IntrospectionResponse, OAuthError, ProviderMetadata, TokenResponse,
    Verifier,
};
use serde_json::{Map, Value};

use super::{
    Client, Grant, Granted, Introspected, Introspecting, Provider, ProviderError, TokenAuth,
    further::with_query,
};

/// What a userinfo endpoint says.
#[derive(Clone, Debug)]
pub enum Userinfo {
    /// Claims, as the endpoint itself vouches for them.
    Plain(Map<String, Value>),
    /// A JWT that holds them, not verified (OIDC Core 5.3.2).
    Signed(Secret<String>),
}

/// The endpoints' names in errors, and in the metadata.
const TOKEN: &str = "token_endpoint";
const INTROSPECTION: &str = "introspection_endpoint";
const USERINFO: &str = "userinfo_endpoint";
const REVOCATION: &str = "revocation_endpoint";

const CLIENT_ID: &str = "client_id";
const HINT: &str = "token_type_hint";

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
    ) -> Result<Granted, ProviderError> {
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
        let granted = self.grant(client, Grant::RefreshToken(refresh_token), scope, &[]).await?;
        Ok(granted.tokens)
    }

    /// Asks what a token is worth (RFC 7662). `headers` go along with the request, but for those the call needs
    /// itself. `Ok(None)`: the token is not active.
    ///
    /// # Errors
    ///
    /// [`ProviderError::Missing`] when there is no endpoint; [`ProviderError::Denied`] when the provider refuses this
    /// client, which says nothing about the token; [`ProviderError::Junk`] for an answer that is a JWT and not this
    /// provider's to this client (RFC 9701).
    pub async fn introspect(
        &self,
        client: &Client,
        how: &Introspecting,
        token: &Secret<String>,
        headers: &HeaderMap,
    ) -> Result<Option<IntrospectionResponse>, ProviderError> {
        Ok(self.introspection(client, how, token, headers).await?.map(|(answer, _)| answer))
    }

    /// The same, and the answer as it was signed, where it was.
    async fn introspection(
        &self,
        client: &Client,
        how: &Introspecting,
        token: &Secret<String>,
        headers: &HeaderMap,
    ) -> Result<Option<(IntrospectionResponse, Option<Arc<str>>)>, ProviderError> {
        // With a configured endpoint the provider's metadata are of use, but not needed.
        let metadata = match how.endpoint {
            Some(_) => self.metadata(),
            None => Some(self.ready().await?),
        };
        let metadata = metadata.as_deref();
        let own = || metadata.and_then(|metadata| metadata.introspection_endpoint.as_deref());
        let url = how.endpoint.as_deref().or_else(own).ok_or(ProviderError::Missing(INTROSPECTION))?;
        let listed =
            metadata.and_then(|metadata| metadata.introspection_endpoint_auth_methods_supported.as_deref());
        let mut form = vec![(how.token_param.as_str(), token.expose().as_str())];
        let further = how.params.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        form.extend(further.clone());
        if !further.into_iter().any(|(name, _)| name == HINT) {
            form.push((HINT, "access_token"));
        }
        let method = client.method(client.introspection_auth, listed);
        let mut request = self.form(url, client, method, &form)?;
        add(&mut request, &client.further.introspection_headers);
        add(&mut request, headers);
        let response = self.call(INTROSPECTION, request).await?;
        let response = ok(INTROSPECTION, &response, &[StatusCode::OK])?;
        let kind = media_type(response);
        let is_signed = ["application/token-introspection+jwt", "application/jwt"]
            .iter()
            .any(|signed| kind.eq_ignore_ascii_case(signed));
        let (answer, signed) = if is_signed {
            let jwt = std::str::from_utf8(&response.body).unwrap_or_default().trim();
            let members = self.introspection_of(client, jwt).await?;
            (IntrospectionResponse::of(members), Some(Arc::from(jwt)))
        } else {
            let answer = IntrospectionResponse::parse(&response.body);
            (answer.map_err(|error| junk(INTROSPECTION, error))?, None)
        };
        // An answer that names another token is an answer to another question.
        let same = |answer: &IntrospectionResponse| {
            let echoed = answer.claims().get("token");
            echoed.is_none_or(|echoed| echoed.as_str() == Some(token.expose().as_str()))
        };
        Ok(answer.filter(same).map(|answer| (answer, signed)))
    }

    /// The same for all who ask at the same time on whatever core, and remembered until the moment that `until` reads
    /// from an answer, which is `None` for a token that is not active; `until` gives `None`: it is not remembered.
    /// `reader` stands for all that `until` and its caller go by.
    ///
    /// # Errors
    ///
    /// As [`Provider::introspect`]; those who waited for one call share its error.
    pub async fn introspected(
        &self,
        client: &Client,
        how: &Introspecting,
        token: &Secret<String>,
        headers: &HeaderMap,
        reader: &[u8; 32],
        until: impl FnOnce(Option<&Introspected>) -> Option<UnixMillis>,
    ) -> Result<Option<Introspected>, ProviderError> {
        let ask = async {
            let answer = self.introspection(client, how, token, headers).await?;
            let at = self.now();
            Ok(answer.map(|(answer, signed)| Introspected {
                claims: Arc::new(answer.into_claims()),
                signed,
                at,
            }))
        };
        if how.always_asks {
            return ask.await;
        }
        let key = introspection_key(client, how, token, headers, reader);
        self.introspections().answer(key, self.now(), ask, until).await
    }

    /// The same for what another endpoint says of a token, which `ask` finds out. `key` stands for all that the answer
    /// depends on, the token included.
    ///
    /// # Errors
    ///
    /// Those of `ask`, which all who waited for it share.
    pub async fn remembered(
        &self,
        key: [u8; 32],
        ask: impl Future<Output = Result<Option<Introspected>, ProviderError>>,
        until: impl FnOnce(Option<&Introspected>) -> Option<UnixMillis>,
    ) -> Result<Option<Introspected>, ProviderError> {
        self.introspections().answer(key, self.now(), ask, until).await
    }

    /// What the provider says of the user an access token is for (OIDC Core 5.3). Whose claims they are is for the
    /// caller to check: `sub` must be the ID token's.
    ///
    /// # Errors
    ///
    /// [`ProviderError::Missing`] without such an endpoint.
    pub async fn userinfo(
        &self,
        client: &Client,
        access_token: &Secret<String>,
    ) -> Result<Userinfo, ProviderError> {
        let metadata = self.ready().await?;
        let url = metadata.userinfo_endpoint.as_deref().ok_or(ProviderError::Missing(USERINFO))?;
        let scheme = if client.possession.is_some() { "DPoP" } else { "Bearer" };
        let mut request = Request::get(&with_query(url, &client.further.userinfo_query));
        let credentials = Secret::new(format!("{scheme} {}", access_token.expose()));
        insert_secret(&mut request.headers, header::AUTHORIZATION, &credentials);
        add(&mut request, &client.further.userinfo_headers);
        request.timeout = client.timeout;
        let response = self.proven(USERINFO, client, request, Some(access_token)).await?;
        let response = ok(USERINFO, &response, &[StatusCode::OK])?;
        if media_type(response).eq_ignore_ascii_case("application/jwt") {
            let text = std::str::from_utf8(&response.body).map(str::trim);
            let text = text.map_err(|_| junk(USERINFO, oauth::MessageError::NotAnObject))?;
            return Ok(Userinfo::Signed(Secret::new(text.to_owned())));
        }
        let claims = oauth::json_object(&response.body).map_err(|error| junk(USERINFO, error))?;
        Ok(Userinfo::Plain(claims))
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
        let form = vec![("token", token.expose().as_str()), (HINT, hint)];
        let method = client.method(client.token_auth, listed.or(token_auth_methods(&metadata)));
        let response = self.post(REVOCATION, url, client, method, &form).await?;
        ok(REVOCATION, &response, &[StatusCode::OK]).map(|_| ())
    }

    pub(super) async fn token(
        &self,
        client: &Client,
        form: Vec<(&str, &str)>,
    ) -> Result<Granted, ProviderError> {
        let metadata = self.ready().await?;
        let url = metadata.token_endpoint.as_deref().ok_or(ProviderError::Missing(TOKEN))?;
        let method = client.method(client.token_auth, token_auth_methods(&metadata));
        let mut request = self.form(url, client, method, &form)?;
        add(&mut request, &client.further.token_headers);
        let response = self.proven(TOKEN, client, request, None).await?;
        let tokens = TokenResponse::parse(&ok(TOKEN, &response, &[StatusCode::OK])?.body);
        Ok(Granted { tokens: tokens.map_err(|error| junk(TOKEN, error))?, headers: response.headers })
    }

    pub(super) async fn post(
        &self,
        what: &'static str,
        url: &str,
        client: &Client,
        method: TokenAuth,
        form: &[(&str, &str)],
    ) -> Result<Response, ProviderError> {
        self.call(what, self.form(url, client, method, form)?).await
    }

    /// A POST of `form` with the client's proof of who it is.
    fn form(
        &self,
        url: &str,
        client: &Client,
        method: TokenAuth,
        form: &[(&str, &str)],
    ) -> Result<Request, ProviderError> {
        let mut headers = HeaderMap::new();
        let assertion = client.assertion(method, url, self.now())?;
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(form.iter().filter(|(name, _)| *name != CLIENT_ID));
        match (&client.client_secret, method) {
            (Some(secret), TokenAuth::Basic) => {
                let basic = BasicCredentials::header(&client.client_id, secret);
                insert_secret(&mut headers, header::AUTHORIZATION, &basic);
            }
            (Some(secret), TokenAuth::Post) => {
                body.append_pair(CLIENT_ID, &client.client_id);
                body.append_pair("client_secret", secret.expose());
            }
            _ => {
                body.append_pair(CLIENT_ID, &client.client_id);
            }
        }
        if let Some(assertion) = &assertion {
            body.append_pair("client_assertion_type", ClientAssertion::TYPE);
            body.append_pair("client_assertion", assertion.expose());
        }
        // RFC 9126 section 2: the client's id is a parameter of a pushed request, however the client authenticates.
        if method == TokenAuth::Basic && form.iter().any(|(name, _)| *name == CLIENT_ID) {
            body.append_pair(CLIENT_ID, &client.client_id);
        }
        let content_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, content_type);
        let request = Request::post(url, Bytes::from(body.finish()));
        Ok(Request { headers, timeout: client.timeout, ..request })
    }

    /// Sends a request with a proof of possession where the client's tokens are bound to a key; a server that asks
    /// for its nonce in it is answered once (RFC 9449 section 8).
    async fn proven(
        &self,
        what: &'static str,
        client: &Client,
        request: Request,
        access_token: Option<&Secret<String>>,
    ) -> Result<Response, ProviderError> {
        let Some(possession) = &client.possession else { return self.call(what, request).await };
        let access_token = access_token.map(|token| token.expose().as_str());
        let proven = possession.prove(what, request.clone(), access_token, self.now())?;
        let response = self.call(what, proven).await?;
        if !possession.heed(what, &response) {
            return Ok(response);
        }
        let again = possession.prove(what, request, access_token, self.now())?;
        let response = self.call(what, again).await?;
        possession.heed(what, &response);
        Ok(response)
    }

    async fn call(&self, what: &'static str, mut request: Request) -> Result<Response, ProviderError> {
        request.headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("application/json"));
        request.verify_tls = self.verify_tls();
        request.keep_alive = self.keep_alive();
        request.proxies = self.proxies();
        self.fetcher().send(request).await.map_err(|cause| ProviderError::Unreachable { what, cause })
    }
}

/// Adds headers, but for those that the call needs itself.
fn add(request: &mut Request, headers: &HeaderMap) {
    for (name, value) in headers.iter().filter(|(name, _)| !RESERVED.contains(name)) {
        request.headers.append(name, value.clone());
    }
}

/// Of all that an answer depends on: who asks whom about what, and how. Each part has its length in front of it.
fn introspection_key(
    client: &Client,
    how: &Introspecting,
    token: &Secret<String>,
    headers: &HeaderMap,
    reader: &[u8; 32],
) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(reader);
    let mut part = |part: Option<&[u8]>| {
        let bytes = part.unwrap_or_default();
        context.update(&[u8::from(part.is_some())]);
        context.update(&bytes.len().to_be_bytes());
        context.update(bytes);
    };
    part(Some(client.client_id.as_bytes()));
    part(client.client_secret.as_ref().map(|secret| secret.expose().as_bytes()));
    part(Some(client.introspection_auth.as_str().as_bytes()));
    part(how.endpoint.as_ref().map(String::as_bytes));
    part(Some(token.expose().as_bytes()));
    part(Some(how.token_param.as_bytes()));
    for (name, value) in &how.params {
        part(Some(name.as_bytes()));
        part(Some(value.as_bytes()));
    }
    for (name, value) in headers {
        part(Some(name.as_str().as_bytes()));
        part(Some(value.as_bytes()));
    }
    let mut key = [0; 32];
    key.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    key
}

fn token_auth_methods(metadata: &ProviderMetadata) -> Option<&[String]> {
    metadata.token_endpoint_auth_methods_supported.as_deref()
}

/// The answer, if its status is one of `good`. A 4xx with an OAuth error in it is a reasoned no.
pub(super) fn ok<'r>(
    what: &'static str,
    response: &'r Response,
    good: &[StatusCode],
) -> Result<&'r Response, ProviderError> {
    if good.contains(&response.status) {
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
