use url::Url;

use crate::{Challenge, MessageError};

/// An authorization request of the code flow, on its way to the provider (RFC 6749 section 4.1.1, OIDC Core 3.1.2.1).
#[derive(Clone, Copy, Debug)]
pub struct AuthorizationRequest<'a> {
    /// The client's id.
    pub client_id: &'a str,
    /// Where the provider sends the browser back to.
    pub redirect_uri: &'a str,
    /// Scopes, as they are to be sent.
    pub scope: &'a str,
    /// Binds the answer to this browser (RFC 9700 section 4.7).
    pub state: &'a str,
    /// Binds the ID token to this request (OIDC Core 3.1.2.1).
    pub nonce: Option<&'a str>,
    /// PKCE (RFC 7636), always S256.
    pub challenge: Option<&'a Challenge>,
    /// `query`, `form_post` …; absent means the default of the response type.
    pub response_mode: Option<&'a str>,
    /// Further parameters, such as `audience` or `prompt`. One of them replaces what is above under the same name,
    /// unless [`AuthorizationRequest::is_protected`].
    pub extra: &'a [(String, String)],
}

impl AuthorizationRequest<'_> {
    /// Names that further parameters cannot replace: what ties the answer to the request, and the request to the client.
    pub const PROTECTED: [&'static str; 7] = [
        "client_id",
        "redirect_uri",
        "response_type",
        "state",
        "nonce",
        "code_challenge",
        "code_challenge_method",
    ];

    /// Whether `name` is one of [`Self::PROTECTED`]; a configuration that names it as a further parameter is refused.
    pub fn is_protected(name: &str) -> bool {
        Self::PROTECTED.contains(&name)
    }

    /// The request's parameters in order, each name once.
    pub fn params(&self) -> Vec<(&str, &str)> {
        let optional = |name, value: Option<_>| value.map(|value| (name, value));
        let own = [
            Some(("response_type", "code")),
            Some(("client_id", self.client_id)),
            Some(("redirect_uri", self.redirect_uri)),
            optional("scope", Some(self.scope).filter(|scope| !scope.is_empty())),
            Some(("state", self.state)),
            optional("nonce", self.nonce),
            optional("code_challenge", self.challenge.map(Challenge::as_str)),
            optional("code_challenge_method", self.challenge.map(|_| Challenge::METHOD)),
            optional("response_mode", self.response_mode),
        ];
        let extra: Vec<(&str, &str)> = self
            .extra
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(name, _)| !Self::is_protected(name))
            .collect();
        let replaced = |name: &str| extra.iter().any(|(other, _)| *other == name);
        let mut params: Vec<_> = own.into_iter().flatten().filter(|(name, _)| !replaced(name)).collect();
        for (at, (name, value)) in extra.iter().enumerate() {
            if !extra.iter().skip(at + 1).any(|(later, _)| later == name) {
                params.push((name, value));
            }
        }
        params
    }

    /// The URL to send the browser to. A query that the endpoint already has is kept (RFC 6749 section 3.1), except
    /// for names that the request sets itself.
    ///
    /// # Errors
    ///
    /// When `endpoint` is no absolute http or https URL.
    pub fn url(&self, endpoint: &str) -> Result<String, MessageError> {
        with_params(endpoint, &self.params())
    }

    /// The URL that stands for a request which was pushed before (RFC 9126 section 4).
    ///
    /// # Errors
    ///
    /// As [`AuthorizationRequest::url`].
    pub fn pushed_url(endpoint: &str, client_id: &str, request_uri: &str) -> Result<String, MessageError> {
        with_params(endpoint, &[("client_id", client_id), ("request_uri", request_uri)])
    }
}

fn with_params(endpoint: &str, params: &[(&str, &str)]) -> Result<String, MessageError> {
    let mut url = Url::parse(endpoint).map_err(|_| MessageError::Invalid("authorization_endpoint"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(MessageError::Invalid("authorization_endpoint"));
    }
    let kept: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| !params.iter().any(|(own, _)| own == name))
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    url.set_fragment(None);
    url.query_pairs_mut().clear().extend_pairs(kept).extend_pairs(params);
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: AuthorizationRequest<'_> = AuthorizationRequest {
        client_id: "c",
        redirect_uri: "http://localhost/cb",
        scope: "openid email",
        state: "s",
        nonce: Some("n"),
        challenge: None,
        response_mode: None,
        extra: &[],
    };

    #[test]
    fn a_request_keeps_the_endpoints_own_query() {
        assert_eq!(
            REQUEST.url("https://op/authorize?tenant=1&state=fixed#f").unwrap(),
            "https://op/authorize?tenant=1&response_type=code&client_id=c&redirect_uri=http%3A%2F%2Flocalhost%2Fcb\
             &scope=openid+email&state=s&nonce=n"
        );
    }

    #[test]
    fn a_pushed_request_is_a_reference_and_nothing_else() {
        assert_eq!(
            AuthorizationRequest::pushed_url("https://op/authorize?tenant=1", "c", "urn:x:1").unwrap(),
            "https://op/authorize?tenant=1&client_id=c&request_uri=urn%3Ax%3A1"
        );
    }

    #[test]
    fn further_parameters_replace_all_but_what_binds_the_answer() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let extra = [pair("scope", "x"), pair("audience", "a"), pair("state", "evil"), pair("audience", "b")];
        let request = AuthorizationRequest { extra: &extra, ..REQUEST };
        let params = request.params();
        assert!(params.contains(&("state", "s")) && !params.contains(&("state", "evil")));
        assert_eq!(params.iter().filter(|(name, _)| *name == "scope").collect::<Vec<_>>(), [&("scope", "x")]);
        assert_eq!(
            params.iter().filter(|(name, _)| *name == "audience").collect::<Vec<_>>(),
            [&("audience", "b")]
        );
    }

    #[test]
    fn an_endpoint_of_another_scheme_is_refused() {
        for bad in ["javascript:alert(1)", "/authorize", "file:///x"] {
            assert!(REQUEST.url(bad).is_err());
        }
    }
}
