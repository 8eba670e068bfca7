//! The beginning of a login: the browser is sent to the provider (OIDC Core 3.1.2.1).

use gateway::plugin::Reply;
use http::StatusCode;
use oauth::{AuthorizationRequest, ProviderMetadata, Verifier};
use rp::session::{Continued, Login};

use super::{Inner, answer, browser::Browser, login_config::ResponseMode, visitor::Visitor};

/// What is answered where a login would have to send its cookies over plain http.
pub(super) const NEEDS_HTTPS: &str = "a login needs https: over plain http only this machine's own names get session cookies; \
     a proxy in front that ends TLS must be one of the trusted proxies";

/// Sends the browser to log in, and to come back to the page it asked for. A login that `continues` a session asks nothing
/// of the user.
pub(super) fn begin(
    inner: &Inner,
    browser: &Browser,
    visitor: &Visitor,
    metadata: &ProviderMetadata,
    continues: Option<Continued>,
) -> Reply {
    let redirect_uri = browser.redirect_uri(visitor);
    let (services, page) = (&inner.services, visitor.target.as_str());
    let (now, origin) = (services.clock.now(), browser.origin(visitor));
    let login = Login::begin(&services.random, now, &origin, page, &redirect_uri).continuing(continues);
    send(inner, browser, visitor, metadata, &login)
}

/// Sends the browser to log in with `login`.
pub(super) fn send(
    inner: &Inner,
    browser: &Browser,
    visitor: &Visitor,
    metadata: &ProviderMetadata,
    login: &Login,
) -> Reply {
    if !visitor.may_log_in() {
        return visitor.error(StatusCode::BAD_REQUEST, NEEDS_HTTPS);
    }
    let redirect_uri = browser.redirect_uri(visitor);
    let nonce = login.nonce();
    let Some(location) = location(inner, browser, &redirect_uri, metadata, login, &nonce) else {
        let why = "the identity provider names no place to log in";
        return visitor.error(StatusCode::BAD_GATEWAY, why);
    };
    let cookies = browser.jar.remember(login, &visitor.cookies(), visitor.https);
    answer::redirect(visitor.redirect_status(), &location, cookies)
}

fn location(
    inner: &Inner,
    browser: &Browser,
    redirect_uri: &str,
    metadata: &ProviderMetadata,
    login: &Login,
    nonce: &str,
) -> Option<String> {
    let mut extra = browser.config.authorization_params.clone();
    if login.continues.is_some() {
        extra.push(("prompt".to_owned(), "none".to_owned()));
    }
    let challenge = Verifier::parse(&login.verifier()).ok()?.challenge();
    let request = AuthorizationRequest {
        client_id: &inner.client.client_id,
        redirect_uri,
        scope: &browser.config.scope,
        state: &login.state,
        nonce: Some(nonce),
        challenge: Some(&challenge),
        response_mode: (browser.config.way_back.mode == ResponseMode::FormPost).then_some("form_post"),
        extra: &extra,
    };
    request.url(metadata.authorization_endpoint.as_deref()?).ok()
}
