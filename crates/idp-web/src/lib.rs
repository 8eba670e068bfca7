//! The identity provider's HTTP face: OAuth and OpenID Connect endpoints, universal login pages, Management API.
//!
//! What it is: requests read strictly, one service of [`idp::Idp`] asked, its verdict written as an answer. What it is
//! not: nothing is decided here about who may have which token, and nothing is stored. The binary serves [`router`] on
//! the provider's listeners, plain and TLS alike: the host and port of a request pick the tenant's origin, and the
//! origin's scheme is the configured one. `axum::extract::ConnectInfo<SocketAddr>` among a request's extensions, where
//! there is one, tells the address that failed logins are counted by; [`PeerCertificate`] tells what the client has
//! shown in its handshake.
//!
//! The way of a request: [`visit`] finds its origin and adds the headers that every answer has, then `routes` lead to
//! one file per endpoint, or to [`management`] for everything below `/api/v2/`.

mod answer;
mod authorize;
mod cookies;
mod cors;
mod dbconnections;
mod deferred;
mod fields;
mod headers;
mod interaction;
mod logout;
mod management;
mod origin;
mod pages;
mod par;
mod peer;
mod proof;
mod registration;
#[cfg(test)]
mod tests;
mod tickets;
mod token;
mod universal_login;
mod userinfo;
mod visit;
mod well_known;
mod words;

use std::sync::Arc;

use axum::{
    Json, Router,
    http::{Method, StatusCode, Uri},
    middleware,
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use base::Clock;
use idp::Idp;
use ipnet::IpNet;
use serde_json::json;

use crate::cors::Origins;

pub use crate::proof::PeerCertificate;

/// What the endpoints share.
#[derive(Clone)]
pub struct IdpState {
    idp: Arc<Idp>,
    origins: Arc<Origins>,
    proxies: Arc<[IpNet]>,
    forwarded_certificates: bool,
    development: bool,
}

impl IdpState {
    /// The face of `idp`. The clock ages what is remembered about browsers' origins.
    pub fn new(idp: Arc<Idp>, clock: Clock) -> Self {
        let origins = Arc::new(Origins::new(clock));
        Self { idp, origins, proxies: Arc::default(), forwarded_certificates: false, development: false }
    }

    /// Believes these peers what they say in `X-Forwarded-For`. Behind a proxy that is not among them all users come
    /// from one address, and anybody's wrong guesses lock the guessed user out.
    #[must_use]
    pub fn trusting(self, proxies: &[IpNet]) -> Self {
        Self { proxies: proxies.into(), ..self }
    }

    /// Serves what only `dev` has: `/dev/ciba`, which decides backchannel requests in their users' place.
    #[must_use]
    pub fn for_development(self, development: bool) -> Self {
        Self { development, ..self }
    }

    /// Believes those peers too what they say of client certificates, in the headers `client-certificate` and
    /// `client-certificate-ca-verified`. They must take these headers off what comes to them.
    #[must_use]
    pub fn with_forwarded_certificates(self, forwarded_certificates: bool) -> Self {
        Self { forwarded_certificates, ..self }
    }
}

/// Everything the identity provider serves.
pub fn router(state: IdpState) -> Router {
    let arrival = middleware::from_fn_with_state(state.clone(), visit::arrive);
    let named = middleware::from_fn_with_state(state.clone(), interaction::name);
    let userinfo = get(userinfo::by_header).post(userinfo::by_form).options(cors::preflight);
    let management = any(management::serve).layer(named.clone());
    Router::new()
        .route(
            "/.well-known/openid-configuration",
            get(well_known::discovery).options(cors::preflight_for_all),
        )
        .route(
            "/.well-known/oauth-authorization-server",
            get(well_known::discovery).options(cors::preflight_for_all),
        )
        .route("/.well-known/jwks.json", get(well_known::jwks).options(cors::preflight_for_all))
        .route("/authorize", get(authorize::start).post(authorize::start_by_form))
        .route("/authorize/resume", get(authorize::resume))
        .route("/u/login", get(universal_login::login_page).post(universal_login::log_in))
        .route("/u/signup", get(universal_login::signup_page).post(universal_login::sign_up))
        .route("/u/email-verification", get(tickets::verify_email))
        .route("/u/reset-verify", get(tickets::reset_page).post(tickets::reset))
        .route("/u/reset-password/request", get(tickets::request_page).post(tickets::request))
        .route(idp::management::EXPORT_PATH, get(management::users_export))
        .route("/dbconnections/signup", post(dbconnections::sign_up).options(cors::preflight))
        .route(
            "/dbconnections/change_password",
            post(dbconnections::change_password).options(cors::preflight),
        )
        .route("/u/consent", get(universal_login::consent_page).post(universal_login::consent))
        .route("/u/style.css", get(async || pages::asset("text/css; charset=utf-8", pages::STYLE)))
        .route("/u/submit.js", get(async || pages::asset("text/javascript; charset=utf-8", pages::SUBMIT)))
        .route("/u/message.js", get(async || pages::asset("text/javascript; charset=utf-8", pages::MESSAGE)))
        .route(
            "/u/continue.js",
            get(async || pages::asset("text/javascript; charset=utf-8", pages::CONTINUE)),
        )
        .route(
            "/u/check-session.js",
            get(async || pages::asset("text/javascript; charset=utf-8", pages::CHECK)),
        )
        .route("/oauth/par", post(par::push).options(cors::preflight))
        .route("/oauth/token", post(token::token).options(cors::preflight))
        .route("/oauth/introspect", post(token::introspect))
        .route("/oauth/revoke", post(token::revoke).options(cors::preflight))
        .route("/oauth/device/code", post(deferred::device_code).options(cors::preflight))
        .route("/activate", get(deferred::activation_page).post(deferred::activate))
        .route("/bc-authorize", post(deferred::backchannel))
        .route("/u/requests", get(deferred::requests))
        .route("/dev/ciba", get(deferred::decide))
        .route("/oidc/register", post(registration::register))
        .route(
            "/oidc/register/{client_id}",
            get(registration::read).put(registration::replace).delete(registration::delete),
        )
        .route("/userinfo", userinfo.layer(named))
        .route("/v2/logout", get(logout::v2))
        .route("/oidc/logout", get(logout::oidc).post(logout::oidc_by_form))
        .route(idp::CHECK_SESSION_PATH, get(logout::check_session))
        .route("/api/v2", management.clone())
        .route("/api/v2/", management.clone())
        .route("/api/v2/{*call}", management)
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(arrival)
        .with_state(state)
}

/// Auth0's protocol endpoints that are not served. Programs post to them, and read JSON.
const UNSERVED: [&str; 2] = ["/passwordless/", "/mfa/"];

async fn not_found(method: Method, uri: Uri) -> Response {
    let path = uri.path();
    let is = |known: &&str| path == *known || (known.ends_with('/') && path.starts_with(*known));
    if method == Method::POST && UNSERVED.iter().any(is) {
        let description = "This endpoint is not supported.";
        let body = json!({ "error": "endpoint_disabled", "error_description": description });
        return (StatusCode::NOT_FOUND, Json(body)).into_response();
    }
    pages::error_page(StatusCode::NOT_FOUND, "not_found", "There is no such page.")
}

async fn method_not_allowed() -> Response {
    let description = "This address does not answer to this method.";
    pages::error_page(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", description)
}
