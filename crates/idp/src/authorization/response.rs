//! How an authorization response travels: RFC 6749 section 4.1.2, the Multiple Response Types and Form Post Response Mode
//! specifications, RFC 9207, and JARM.

use std::time::Duration;

use oauth::OAuthError;
use serde_json::{Map, Value, json};
use url::Url;

use super::{
    AuthorizeOutcome,
    request::{ReturnAddress, invalid},
};
use crate::{
    IdpError, Site,
    idp::Core,
    model::{AuthorizeRequest, Client, ResponseMode},
    urls,
};

/// How long a signed response is good for: JARM section 2.1 advises ten minutes at most.
const SIGNED_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// An authorization response for the client.
#[derive(Debug)]
pub struct AuthorizationResponse {
    /// Where it goes.
    pub redirect_uri: String,
    /// How it goes there.
    pub mode: ResponseMode,
    /// Its parameters: what was asked for, or `error` and `error_description`; `state`, and `iss` (RFC 9207). Where the
    /// client asked for a JWT, that is `response` and the only one.
    pub params: Vec<(&'static str, String)>,
    /// What the browser's cookie must say for `session_state` among the parameters to hold.
    pub browser_state: Option<String>,
}

impl AuthorizationResponse {
    /// The URL of the redirect for the modes `query` and `fragment`; the bare redirect URI for the others.
    pub fn location(&self) -> String {
        let Ok(mut url) = Url::parse(&self.redirect_uri) else { return self.redirect_uri.clone() };
        match self.mode {
            ResponseMode::Query => {
                url.query_pairs_mut().extend_pairs(&self.params);
            }
            ResponseMode::Fragment => {
                let mut query = url.clone();
                query.set_query(None);
                query.query_pairs_mut().extend_pairs(&self.params);
                url.set_fragment(query.query());
            }
            ResponseMode::FormPost | ResponseMode::WebMessage => return self.redirect_uri.clone(),
        }
        url.into()
    }

    /// The origin of the redirect URI, the target of `postMessage`.
    pub fn target_origin(&self) -> String {
        Url::parse(&self.redirect_uri).map(|url| urls::origin_of(&url)).unwrap_or_default()
    }
}

impl Core {
    /// The response with these parameters, and what every response has.
    pub(super) async fn response(
        &self,
        site: &Site,
        client: &Client,
        address: &ReturnAddress,
        issuer: &str,
        mut params: Vec<(&'static str, String)>,
    ) -> Result<AuthorizationResponse, IdpError> {
        params.extend(address.state.clone().map(|state| ("state", state)));
        params.push(("iss", issuer.to_owned()));
        if address.jwt {
            params = vec![("response", self.signed_response(site, client, params).await?)];
        }
        let (redirect_uri, mode) = (address.redirect_uri.clone(), address.mode);
        Ok(AuthorizationResponse { redirect_uri, mode, params, browser_state: None })
    }

    /// The response that tells an error.
    pub(super) async fn error_response(
        &self,
        site: &Site,
        client: &Client,
        address: &ReturnAddress,
        issuer: &str,
        error: &OAuthError,
    ) -> Result<AuthorizationResponse, IdpError> {
        let mut params = vec![("error", error.code.as_str().to_owned())];
        params.extend(error.description.clone().map(|text| ("error_description", text)));
        self.response(site, client, address, issuer, params).await
    }

    /// JARM section 2.1: the parameters as claims, for this client, with an end.
    async fn signed_response(
        &self,
        site: &Site,
        client: &Client,
        params: Vec<(&'static str, String)>,
    ) -> Result<String, IdpError> {
        let mut claims: Map<String, Value> =
            params.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value))).collect();
        claims.insert("aud".to_owned(), json!(client.client_id));
        claims.insert("exp".to_owned(), json!((self.clock.now() + SIGNED_LIFETIME).secs()));
        let protection = client.authorization_protection();
        let response = self.protected(site, client, protection, "JWT", &claims).await?;
        Ok(response.expose().clone())
    }

    /// Uses up the pushed request that this one is. `false` where its answer has been given already.
    pub(super) async fn settle(&self, site: &Site, request: &AuthorizeRequest) -> Result<bool, IdpError> {
        match &request.pushed {
            None => Ok(true),
            Some(handle) => {
                let now = self.clock.now();
                Ok(self.repository.use_pushed_request(&site.tenant.id, handle, now).await?)
            }
        }
    }
}

/// The page for a pushed request that had its answer.
pub(super) fn answered() -> AuthorizeOutcome {
    AuthorizeOutcome::ErrorPage(invalid(
        "This request has been answered already. Go back to the application and try again.",
    ))
}

impl From<&AuthorizeRequest> for ReturnAddress {
    fn from(request: &AuthorizeRequest) -> Self {
        Self {
            redirect_uri: request.redirect_uri.clone(),
            given: request.redirect_uri_given,
            mode: request.response_mode,
            jwt: request.response_jwt,
            state: request.state.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(redirect_uri: &str, mode: ResponseMode) -> AuthorizationResponse {
        let params = vec![("code", "a b".to_owned()), ("state", "x&y".to_owned())];
        AuthorizationResponse { redirect_uri: redirect_uri.to_owned(), mode, params, browser_state: None }
    }

    #[test]
    fn a_response_is_added_to_the_callbacks_own_query() {
        let query = response("https://a.example/cb?x=1", ResponseMode::Query);
        assert_eq!(query.location(), "https://a.example/cb?x=1&code=a+b&state=x%26y");
        let fragment = response("https://a.example/cb?x=1", ResponseMode::Fragment);
        assert_eq!(fragment.location(), "https://a.example/cb?x=1#code=a+b&state=x%26y");
        assert_eq!(response("app://cb", ResponseMode::Query).location(), "app://cb?code=a+b&state=x%26y");
        let message = response("https://a.example:444/cb", ResponseMode::WebMessage);
        assert_eq!(message.target_origin(), "https://a.example:444");
    }
}
