//! `/v2/logout` (Auth0's) and `/oidc/logout` (OpenID Connect RP-Initiated Logout 1.0).

use axum::{
    Extension,
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use idp::LogoutOutcome;
use oauth::Params;

use crate::{IdpState, answer, cookies::Cookie, fields, pages, visit::Visit};

/// The hidden field that makes a confirmation.
const CONFIRMATION: &str = "confirmation";

/// `GET /v2/logout`.
pub(crate) async fn v2(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let params = match fields::of_query(query.as_deref()) {
        Ok(params) => params,
        Err(error) => return answer::error_page(&error),
    };
    match state.idp.logout.v2(&visit.site, &params, &visit.browser(&headers)).await {
        Ok(outcome) => finish(&visit, StatusCode::FOUND, &params, outcome),
        Err(error) => answer::failure_page(&error),
    }
}

/// `GET /oidc/logout`.
pub(crate) async fn oidc(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    match fields::of_query(query.as_deref()) {
        Ok(params) if params.first(CONFIRMATION).is_some() => {
            answer::error_page(&fields::refused("a confirmation must be posted"))
        }
        Ok(params) => log_out(&state, &visit, &headers, StatusCode::FOUND, &params).await,
        Err(error) => answer::error_page(&error),
    }
}

/// `POST /oidc/logout`: from a client, or from the confirmation page. From another site it brings no `SameSite=Lax`
/// cookies; the browser is then sent on with a GET, which does.
pub(crate) async fn oidc_by_form(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match fields::of_form_body(&headers, body).await {
        Ok(params) if params.first(CONFIRMATION).is_some() || visit.browser(&headers).session.is_some() => {
            log_out(&state, &visit, &headers, StatusCode::SEE_OTHER, &params).await
        }
        Ok(params) => {
            let query = fields::to_query(params.iter());
            answer::redirect(StatusCode::SEE_OTHER, &format!("/oidc/logout?{query}"))
        }
        Err(error) => answer::error_page(&error),
    }
}

async fn log_out(
    state: &IdpState,
    visit: &Visit,
    headers: &HeaderMap,
    status: StatusCode,
    params: &Params<'_>,
) -> Response {
    match state.idp.logout.oidc(&visit.site, params, &visit.browser(headers)).await {
        Ok(outcome) => finish(visit, status, params, outcome),
        Err(error) => answer::failure_page(&error),
    }
}

fn finish(visit: &Visit, status: StatusCode, params: &Params<'_>, outcome: LogoutOutcome) -> Response {
    let mut response = match outcome {
        LogoutOutcome::Redirect(location) => answer::redirect(status, &location),
        LogoutOutcome::SignedOut => pages::page(StatusCode::OK, &pages::LoggedOut),
        LogoutOutcome::Tell { frames, then } => pages::logging_out(&frames, then.as_deref()),
        LogoutOutcome::Confirm { confirmation } => {
            let carried: Vec<_> = params.iter().filter(|(name, _)| *name != CONFIRMATION).collect();
            let template = pages::ConfirmLogout { confirmation: &confirmation, carried: &carried };
            return pages::page(StatusCode::OK, &template);
        }
        LogoutOutcome::ErrorPage(error) => return answer::error_page(&error),
    };
    for cookie in [Cookie::Session, Cookie::State] {
        let cleared = cookie.clear(visit.site.is_https());
        response.headers_mut().extend(cleared.map(|cookie| (header::SET_COOKIE, cookie)));
    }
    response
}

/// `GET /oidc/check-session` (OpenID Connect Session Management 1.0 section 3.3).
pub(crate) async fn check_session(Extension(visit): Extension<Visit>) -> Response {
    pages::check_session(Cookie::State.name(visit.site.is_https()))
}
