//! Universal login: the pages between `/authorize` and its answer. Each is one form that works without scripts.
//!
//! A form carries the transaction's handle, which nobody else knows and which counts only together with the browser's
//! cookie. That makes it the protection against forged posts too; what the browser says about where a post comes from
//! is looked at besides.

use axum::{
    Extension,
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use base::Secret;
use idp::{Browser, LoginOutcome, LoginPage, NewSession, SignUpError, SignUpOutcome, Site};
use oauth::{OAuthError, Params};
use serde_json::Value;

use crate::{
    IdpState, answer,
    authorize::{self, handle},
    cookies::Cookie,
    fields, pages,
    visit::Visit,
};

/// What is said about a transaction that cannot go on. Going back to the application starts a new one.
const EXPIRED: &str = "This login has expired, was finished already, or began in another browser. \
                       Go back to the application and try again.";
/// The same for an unknown name and for a wrong password.
const WRONG: &str = "Wrong email or password.";
const BLOCKED: &str = "Too many failed logins. Please wait a while before you try again.";
const USER_BLOCKED: &str = "This user is blocked.";
const NO_SIGN_UP: &str = "Nobody can sign up here.";

/// `GET /u/login`.
pub(crate) async fn login_page(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let (handle, page) = match page(&state, &visit, &headers, query.as_deref()).await {
        Ok(found) => found,
        Err(response) => return *response,
    };
    let username = page.login_hint.clone().unwrap_or_default();
    login_form(&state, StatusCode::OK, &handle, &page, &username, None)
}

/// `POST /u/login`.
pub(crate) async fn log_in(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    let (form, handle) = match posted(&headers, query.as_deref(), body).await {
        Ok(posted) => posted,
        Err(error) => return answer::error_page(&error),
    };
    let browser = visit.browser(&headers);
    if is_cancelled(&form) {
        return cancel(&state, &visit, &handle, &browser).await;
    }
    let name = form.value("username").unwrap_or_default();
    let password = Secret::new(form.value("password").unwrap_or_default().to_owned());
    let outcome = state.idp.login.with_password(&visit.site, &handle, &browser, name, &password).await;
    let (status, problem) = match outcome {
        Ok(LoginOutcome::Done(session)) => return resume(&visit.site, &handle, &session),
        Ok(LoginOutcome::Expired) => return expired(),
        Ok(LoginOutcome::Wrong) => (StatusCode::BAD_REQUEST, WRONG),
        Ok(LoginOutcome::Blocked) => (StatusCode::TOO_MANY_REQUESTS, BLOCKED),
        Ok(LoginOutcome::UserBlocked) => (StatusCode::FORBIDDEN, USER_BLOCKED),
        Err(error) => return answer::failure_page(&error),
    };
    match state.idp.login.page(&visit.site, &handle, &browser).await {
        Ok(Some(page)) => login_form(&state, status, &handle, &page, name, Some(problem)),
        Ok(None) => expired(),
        Err(error) => answer::failure_page(&error),
    }
}

/// `GET /u/signup`.
pub(crate) async fn signup_page(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let (handle, page) = match page(&state, &visit, &headers, query.as_deref()).await {
        Ok(found) => found,
        Err(response) => return *response,
    };
    if !page.signup {
        return instead(&handle);
    }
    let email = page.login_hint.clone().unwrap_or_default();
    signup_form(StatusCode::OK, &handle, &page, &email, "", None)
}

/// `POST /u/signup`.
pub(crate) async fn sign_up(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    let (form, handle) = match posted(&headers, query.as_deref(), body).await {
        Ok(posted) => posted,
        Err(error) => return answer::error_page(&error),
    };
    let browser = visit.browser(&headers);
    if is_cancelled(&form) {
        return cancel(&state, &visit, &handle, &browser).await;
    }
    let (email, username) = (form.value("email").unwrap_or_default(), form.value("username"));
    let password = Secret::new(form.value("password").unwrap_or_default().to_owned());
    let outcome = state.idp.login.sign_up(&visit.site, &handle, &browser, email, username, &password).await;
    let problem = match outcome {
        Ok(SignUpOutcome::Done(session)) => return resume(&visit.site, &handle, &session),
        Ok(SignUpOutcome::Expired) => return expired(),
        Ok(SignUpOutcome::Closed) => {
            return pages::error_page(StatusCode::BAD_REQUEST, "access_denied", NO_SIGN_UP);
        }
        Ok(SignUpOutcome::Refused(error)) => error,
        Err(error) => return answer::failure_page(&error),
    };
    let problem = pages::Problem { field: field_of(&problem), text: &problem.to_string() };
    match state.idp.login.page(&visit.site, &handle, &browser).await {
        Ok(Some(page)) => {
            let username = username.unwrap_or_default();
            signup_form(StatusCode::BAD_REQUEST, &handle, &page, email, username, Some(problem))
        }
        Ok(None) => expired(),
        Err(error) => answer::failure_page(&error),
    }
}

/// Whether the person would rather go back to the application.
fn is_cancelled(form: &Params<'_>) -> bool {
    form.value("action") == Some("cancel")
}

async fn cancel(state: &IdpState, visit: &Visit, handle: &str, browser: &Browser) -> Response {
    match state.idp.login.cancel(&visit.site, handle, browser).await {
        Ok(outcome) => authorize::next(&visit.site, StatusCode::SEE_OTHER, outcome),
        Err(error) => answer::failure_page(&error),
    }
}

/// `GET /u/consent`.
pub(crate) async fn consent_page(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let handle = match fields::of_query(query.as_deref()).and_then(|params| handle(&params)) {
        Ok(handle) => handle,
        Err(error) => return answer::error_page(&error),
    };
    match state.idp.consent.page(&visit.site, &handle, &visit.browser(&headers)).await {
        Ok(Some(page)) => {
            let meaning = |scope: &idp::model::ResourceServerScope| {
                (scope.value.clone(), scope.description.clone().unwrap_or_default())
            };
            let scopes: Vec<_> = page.scopes.iter().map(meaning).collect();
            let whole = |detail: &Value| {
                let kind = detail.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
                (kind, serde_json::to_string_pretty(detail).unwrap_or_default())
            };
            let details: Vec<_> = page.details.iter().map(whole).collect();
            let template = pages::Consent {
                application: &page.client.name,
                account: page.user.display_name(),
                state: &handle,
                scopes: &scopes,
                audiences: &page.audience_names,
                details: &details,
                binding_message: page.binding_message.as_deref(),
            };
            pages::page_in(StatusCode::OK, &template, page.ui_locales.as_deref())
        }
        Ok(None) => expired(),
        Err(error) => answer::failure_page(&error),
    }
}

/// `POST /u/consent`. The form says yes or no, and nothing about what was asked.
pub(crate) async fn consent(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    let posted = posted(&headers, query.as_deref(), body).await;
    let decision = posted.and_then(|(form, handle)| match form.value("action") {
        Some("accept") => Ok((handle, true)),
        Some("deny") => Ok((handle, false)),
        _ => Err(fields::refused("action must be accept or deny")),
    });
    let (handle, allow) = match decision {
        Ok(decision) => decision,
        Err(error) => return answer::error_page(&error),
    };
    let browser = visit.browser(&headers);
    match state.idp.consent.decide(&visit.site, &handle, &browser, allow).await {
        Ok(outcome) => authorize::next(&visit.site, StatusCode::SEE_OTHER, outcome),
        Err(error) => answer::failure_page(&error),
    }
}

/// The transaction of a page that is asked for, and what the page shows.
pub(crate) async fn page(
    state: &IdpState,
    visit: &Visit,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<(String, LoginPage), Box<Response>> {
    let handle = fields::of_query(query)
        .and_then(|params| handle(&params))
        .map_err(|error| Box::new(answer::error_page(&error)))?;
    match state.idp.login.page(&visit.site, &handle, &visit.browser(headers)).await {
        Ok(Some(page)) => Ok((handle, page)),
        Ok(None) => Err(Box::new(expired())),
        Err(error) => Err(Box::new(answer::failure_page(&error))),
    }
}

/// A form that was posted from one of our pages, and its transaction.
pub(crate) async fn posted(
    headers: &HeaderMap,
    query: Option<&str>,
    body: Body,
) -> Result<(Params<'static>, String), OAuthError> {
    if is_foreign(headers) {
        return Err(fields::refused("the form was sent by another site"));
    }
    let form = fields::of_form_body(headers, body).await?;
    let handle = handle(&form)?;
    let query = fields::of_query(query)?;
    if query.value("state").is_some_and(|state| state != handle) {
        return Err(fields::refused("the form belongs to another login"));
    }
    Ok((form, handle))
}

/// Whether the browser says that another site sends this (Fetch Metadata). `none` is a person at the address bar.
/// `Origin` says nothing more: under our `Referrer-Policy` our own forms have `null` there.
pub(crate) fn is_foreign(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site");
    site.is_some_and(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"))
}

fn login_form(
    state: &IdpState,
    status: StatusCode,
    handle: &str,
    page: &LoginPage,
    username: &str,
    problem: Option<&str>,
) -> Response {
    let look = pages::look();
    let logo = page.client.logo_uri.as_deref().filter(|uri| uri.starts_with("https://"));
    let template = pages::Login {
        application: &page.client.name,
        state: handle,
        username,
        usernames: wants_usernames(page),
        signup: page.signup,
        reset: state.idp.tickets.mails() && page.connection.is_some(),
        problem,
        about: pages::About {
            logo: logo.or(look.picture()),
            policy: page.client.policy_uri.as_deref(),
            terms: page.client.tos_uri.as_deref(),
        },
    };
    pages::page_in(status, &template, page.ui_locales.as_deref())
}

fn signup_form(
    status: StatusCode,
    handle: &str,
    page: &LoginPage,
    email: &str,
    username: &str,
    problem: Option<pages::Problem<'_>>,
) -> Response {
    let usernames = wants_usernames(page);
    let template =
        pages::Signup { application: &page.client.name, state: handle, email, username, usernames, problem };
    pages::page_in(status, &template, page.ui_locales.as_deref())
}

/// The field of the sign-up form that is at fault.
fn field_of(error: &SignUpError) -> &'static str {
    match error {
        SignUpError::WeakPassword(_) | SignUpError::UsedPassword => "password",
        SignUpError::Username => "username",
        SignUpError::Email | SignUpError::Exists | SignUpError::Rejected => "email",
    }
}

fn wants_usernames(page: &LoginPage) -> bool {
    page.connection.as_ref().is_some_and(|connection| connection.options.requires_username)
}

/// Gives the browser its new session and lets the authorization go on, on this origin: a redirect to the client right
/// here would be a redirect of a form.
fn resume(site: &Site, handle: &str, session: &NewSession) -> Response {
    let query = fields::to_query([("state", handle)].into_iter());
    let mut response = answer::redirect(StatusCode::SEE_OTHER, &format!("/authorize/resume?{query}"));
    let max_age = session.max_age.map(|age| age.as_secs());
    if let Some(cookie) = Cookie::Session.set(session.cookie.expose(), max_age, site.is_https()) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    if let Some(cookie) = Cookie::State.set(&session.browser_state, max_age, site.is_https()) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// The login page in the place of one that a request may have hinted at and that is not to be had.
pub(crate) fn instead(handle: &str) -> Response {
    let query = fields::to_query([("state", handle)].into_iter());
    answer::redirect(StatusCode::FOUND, &format!("/u/login?{query}"))
}

pub(crate) fn expired() -> Response {
    pages::error_page(StatusCode::BAD_REQUEST, "invalid_request", EXPIRED)
}
