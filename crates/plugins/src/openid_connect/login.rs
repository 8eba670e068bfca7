//! The beginning of a login: the browser is sent to the provider (OIDC Core 3.1.2.1), its request pushed there before
//! it where that is wanted (RFC 9126).

use gateway::plugin::Reply;
use http::StatusCode;
use oauth::{AuthorizationRequest, ProviderMetadata, Verifier};
use rp::{
    provider::ProviderError,
    session::{Continued, Login},
};

use super::{Inner, answer, browser::Browser, login_config::ResponseMode, visitor::Visitor};

/// What is answered where a login would have to send its cookies over plain http.
pub(super) const NEEDS_HTTPS: &str = "a login needs https: over plain http only this machine's own names get session cookies; \
     a proxy in front that ends TLS must be one of the trusted proxies";

/// Why a browser cannot be sent to the provider.
enum Stuck {
    /// The provider's metadata name no place to log in.
    NoPlace,
    /// The provider does not take the pushed request.
    Refused(ProviderError),
    /// It cannot be asked.
    Unavailable(ProviderError),
}

/// Sends the browser to log in, and to come back to the page it asked for. A login that `continues` a session asks
/// nothing of the user. `None` where the provider must be told
/// first: see [`begin_pushed`].
pub(super) fn begin(
    inner: &Inner,
    browser: &Browser,
    visitor: &Visitor,
    metadata: &ProviderMetadata,
    continues: Option<Continued>,
) -> Option<Reply> {
    if is_pushed(browser, metadata) {
        return None;
    }
    let login = new(inner, browser, visitor, continues);
    Some(depart(inner, browser, visitor, &login, |request| address(request, metadata)))
}

/// The same, telling the provider first where that is wanted.
pub(super) async fn begin_pushed(
    inner: &Inner,
    browser: &Browser,
    visitor: &Visitor,
    metadata: &ProviderMetadata,
    continues: Option<Continued>,
) -> Reply {
    let login = new(inner, browser, visitor, continues);
    send(inner, browser, visitor, metadata, &login).await
}

/// Sends the browser to log in with `login`.
pub(super) async fn send(
    inner: &Inner,
    browser: &Browser,
    visitor: &Visitor,
    metadata: &ProviderMetadata,
    login: &Login,
) -> Reply {
    let location = match is_pushed(browser, metadata) && visitor.may_log_in() {
        true => Some(push(inner, browser, visitor, metadata, login).await),
        false => None,
    };
    depart(inner, browser, visitor, login, |request| location.unwrap_or_else(|| address(request, metadata)))
}

fn new(inner: &Inner, browser: &Browser, visitor: &Visitor, continues: Option<Continued>) -> Login {
    let redirect_uri = browser.redirect_uri(visitor);
    let (services, page) = (&inner.services, visitor.target.as_str());
    let (now, origin) = (services.clock.now(), browser.origin(visitor));
    Login::begin(&services.random, now, &origin, page, &redirect_uri).continuing(continues)
}

/// By configuration, or because the provider takes no other requests.
fn is_pushed(browser: &Browser, metadata: &ProviderMetadata) -> bool {
    browser.config.pushing.enabled || metadata.require_pushed_authorization_requests == Some(true)
}

fn stuck(inner: &Inner, visitor: &Visitor, why: &str) -> Reply {
    let reply = answer::login_failed(inner, true, &why, visitor);
    reply.unwrap_or_else(|| visitor.error(StatusCode::BAD_GATEWAY, why))
}

fn depart(
    inner: &Inner,
    browser: &Browser,
    visitor: &Visitor,
    login: &Login,
    location: impl FnOnce(&AuthorizationRequest<'_>) -> Result<String, Stuck>,
) -> Reply {
    if !visitor.may_log_in() {
        return visitor.error(StatusCode::BAD_REQUEST, NEEDS_HTTPS);
    }
    let (errors, html) = visitor.errors();
    match with_request(inner, browser, visitor, login, location) {
        Ok(location) => {
            let cookies = browser.jar.remember(login, &visitor.cookies(), visitor.https);
            answer::redirect(visitor.redirect_status(), &location, cookies)
        }
        Err(Stuck::NoPlace) => stuck(inner, visitor, "the identity provider names no place to log in"),
        Err(Stuck::Refused(error)) => {
            tracing::warn!(%error, "a login is not begun");
            stuck(inner, visitor, "the identity provider does not take the login's request")
        }
        Err(Stuck::Unavailable(error)) => answer::unavailable(inner, &error, errors, html),
    }
}

/// Calls `then` with the authorization request of `login`.
fn with_request<T>(
    inner: &Inner,
    browser: &Browser,
    visitor: &Visitor,
    login: &Login,
    then: impl FnOnce(&AuthorizationRequest<'_>) -> Result<T, Stuck>,
) -> Result<T, Stuck> {
    let challenge = Verifier::parse(&login.verifier()).map_err(|_| Stuck::NoPlace)?.challenge();
    let (redirect_uri, nonce) = (browser.redirect_uri(visitor), login.nonce());
    let mut extra = browser.config.authorization_params.clone();
    extra.retain(|(name, _)| !visitor.authorization.iter().any(|(other, _)| other == name));
    extra.extend(visitor.authorization.iter().cloned());
    if login.continues.is_some() {
        extra.push(("prompt".to_owned(), "none".to_owned()));
    }
    // RFC 9449 section 10: the code is bound to the key from the beginning.
    let possession = inner.client.possession.as_ref();
    extra.extend(possession.map(|key| ("dpop_jkt".to_owned(), key.thumbprint().to_owned())));
    then(&AuthorizationRequest {
        client_id: &inner.client.client_id,
        redirect_uri: &redirect_uri,
        scope: &browser.config.scope,
        state: &login.state,
        nonce: Some(&nonce),
        challenge: Some(&challenge),
        response_mode: (browser.config.way_back.mode == ResponseMode::FormPost).then_some("form_post"),
        extra: &extra,
    })
}

/// The address with all parameters in it.
fn address(request: &AuthorizationRequest<'_>, metadata: &ProviderMetadata) -> Result<String, Stuck> {
    let endpoint = metadata.authorization_endpoint.as_deref().ok_or(Stuck::NoPlace)?;
    request.url(endpoint).map_err(|_| Stuck::NoPlace)
}

/// Pushes the parameters; the address has a reference to them alone (RFC 9126 section 4).
async fn push(
    inner: &Inner,
    browser: &Browser,
    visitor: &Visitor,
    metadata: &ProviderMetadata,
    login: &Login,
) -> Result<String, Stuck> {
    let owned = |params: Vec<(&str, &str)>| -> Vec<(String, String)> {
        params.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let params = with_request(inner, browser, visitor, login, |request| Ok(owned(request.params())))?;
    let params: Vec<_> = params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let pushing = &browser.config.pushing;
    let pushed = inner.provider.push(&inner.client, pushing.endpoint.as_deref(), pushing.auth, &params).await;
    let request_uri = pushed.map_err(|error| match error {
        ProviderError::Unreachable { .. } | ProviderError::NotReady => Stuck::Unavailable(error),
        error => Stuck::Refused(error),
    })?;
    let endpoint = metadata.authorization_endpoint.as_deref().ok_or(Stuck::NoPlace)?;
    AuthorizationRequest::pushed_url(endpoint, &inner.client.client_id, &request_uri)
        .map_err(|_| Stuck::NoPlace)
}
