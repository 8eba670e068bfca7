//! `/authorize`, and where it goes on after a page.

use axum::{
    Extension,
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use idp::{
    AuthorizationResponse, AuthorizeOutcome, Interaction, Site,
    model::{ResponseMode, ScreenHint},
};
use oauth::{OAuthError, Params};
use serde_json::{Map, Value, json};

use crate::{IdpState, answer, cookies::Cookie, fields, pages, visit::Visit};

/// `GET /authorize` (RFC 6749 section 4.1.1, OpenID Connect Core 3.1.2.1).
pub(crate) async fn start(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    match fields::of_query(query.as_deref()) {
        Ok(params) => judge(&state, &visit, &headers, StatusCode::FOUND, &params).await,
        Err(error) => answer::error_page(&error),
    }
}

/// `POST /authorize`: the same parameters in a form. From another site it brings no `SameSite=Lax` cookies; the browser
/// is then sent on with a GET, which does.
pub(crate) async fn start_by_form(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    if query.is_some_and(|query| !query.is_empty()) {
        return answer::error_page(&fields::refused("the parameters must be in the form, none in the query"));
    }
    match fields::of_form_body(&headers, body).await {
        Ok(params) if visit.browser(&headers).session.is_some() => {
            judge(&state, &visit, &headers, StatusCode::SEE_OTHER, &params).await
        }
        Ok(params) => {
            let query = fields::to_query(params.iter());
            answer::redirect(StatusCode::SEE_OTHER, &format!("/authorize?{query}"))
        }
        Err(error) => answer::error_page(&error),
    }
}

async fn judge(
    state: &IdpState,
    visit: &Visit,
    headers: &HeaderMap,
    status: StatusCode,
    params: &Params<'_>,
) -> Response {
    match state.idp.authorization.start(&visit.site, params, &visit.browser(headers)).await {
        Ok(outcome) => next(&visit.site, status, outcome),
        Err(error) => answer::failure_page(&error),
    }
}

/// `GET /authorize/resume?state=…`: what a finished page leads to.
pub(crate) async fn resume(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let handle = fields::of_query(query.as_deref()).and_then(|params| handle(&params));
    let handle = match handle {
        Ok(handle) => handle,
        Err(error) => return answer::error_page(&error),
    };
    match state.idp.authorization.resume(&visit.site, &handle, &visit.browser(&headers)).await {
        Ok(outcome) => next(&visit.site, StatusCode::FOUND, outcome),
        Err(error) => answer::failure_page(&error),
    }
}

/// The transaction's handle among the parameters of a page.
pub(crate) fn handle(params: &Params<'_>) -> Result<String, OAuthError> {
    match params.value("state") {
        Some(handle) if handle.len() <= 256 => Ok(handle.to_owned()),
        Some(_) => Err(fields::refused("state is too long")),
        None => Err(fields::refused("state is missing")),
    }
}

/// Sends the browser where the outcome says, by redirects of this status.
pub(crate) fn next(site: &Site, status: StatusCode, outcome: AuthorizeOutcome) -> Response {
    match outcome {
        AuthorizeOutcome::ErrorPage(error) => answer::error_page(&error),
        AuthorizeOutcome::Respond(response) => respond(site, status, &response),
        AuthorizeOutcome::Login(interaction) => {
            let path = match interaction.screen_hint {
                None => "/u/login",
                Some(ScreenHint::SignUp) => "/u/signup",
                Some(ScreenHint::ResetPassword) => "/u/reset-password/request",
            };
            show(site, status, path, &interaction)
        }
        AuthorizeOutcome::Consent(interaction) => show(site, status, "/u/consent", &interaction),
        AuthorizeOutcome::Decided { allowed } => pages::page(StatusCode::OK, &pages::Decided { allowed }),
    }
}

/// Relative, because `dev` also answers under names that are not its origins, and cookies stay with the name.
fn show(site: &Site, status: StatusCode, path: &str, interaction: &Interaction) -> Response {
    let query = fields::to_query([("state", interaction.handle.as_str())].into_iter());
    let mut response = answer::redirect(status, &format!("{path}?{query}"));
    let binding = interaction.new_binding.as_ref();
    if let Some(cookie) = binding.and_then(|value| Cookie::Browser.set(value.expose(), None, site.is_https()))
    {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

fn respond(site: &Site, status: StatusCode, response: &AuthorizationResponse) -> Response {
    let mut answer = carry(status, response);
    if let Some(state) = &response.browser_state {
        let max_age = site.tenant.settings.cookie_lifetime().map(|age| age.as_secs());
        let cookie = Cookie::State.set(state, max_age, site.is_https());
        answer.headers_mut().extend(cookie.map(|cookie| (header::SET_COOKIE, cookie)));
    }
    answer
}

fn carry(status: StatusCode, response: &AuthorizationResponse) -> Response {
    match response.mode {
        ResponseMode::Query | ResponseMode::Fragment => answer::redirect(status, &response.location()),
        ResponseMode::FormPost => {
            let params: Vec<_> =
                response.params.iter().map(|(name, value)| (*name, value.as_str())).collect();
            pages::form_post(&response.redirect_uri, &params)
        }
        ResponseMode::WebMessage => {
            let message: Map<String, Value> =
                response.params.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            pages::web_message(&response.target_origin(), &Value::Object(message).to_string())
        }
    }
}
