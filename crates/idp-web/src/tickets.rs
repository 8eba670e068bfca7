//! The pages behind links in mails, and the one that asks for such a mail.

use axum::{
    Extension,
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use base::Secret;
use idp::TicketOutcome;

use crate::{IdpState, answer, fields, pages, universal_login, visit::Visit};

/// What is said of every link that is no good, whatever the reason.
const INVALID: &str =
    "This link was used already, was replaced by a newer one, or has expired. Ask for another one.";
const NO_MAIL: &str = "No mail is sent here. Ask an administrator for a new password.";
const DIFFERENT: &str = "The two passwords are not the same.";

/// `GET /u/email-verification`: the link of a mail.
pub(crate) async fn verify_email(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let params = match fields::of_query(query.as_deref()) {
        Ok(params) => params,
        Err(error) => return answer::error_page(&error),
    };
    let ticket = params.value("ticket").unwrap_or_default();
    let browser = visit.browser(&headers);
    match state.idp.tickets.verify_email(&visit.site, &browser, ticket).await {
        Ok(outcome) => finish(
            StatusCode::FOUND,
            outcome,
            "Email verified",
            "Your address is confirmed. You may close this page.",
        ),
        Err(error) => answer::failure_page(&error),
    }
}

/// `GET /u/reset-verify`: the link of a mail. Looking at the page uses nothing up.
pub(crate) async fn reset_page(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    RawQuery(query): RawQuery,
) -> Response {
    let params = match fields::of_query(query.as_deref()) {
        Ok(params) => params,
        Err(error) => return answer::error_page(&error),
    };
    form(&state, &visit, params.value("ticket").unwrap_or_default(), StatusCode::OK, None).await
}

/// `POST /u/reset-verify`.
pub(crate) async fn reset(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if universal_login::is_foreign(&headers) {
        return answer::error_page(&fields::refused("the form was sent by another site"));
    }
    let params = match fields::of_form_body(&headers, body).await {
        Ok(params) => params,
        Err(error) => return answer::error_page(&error),
    };
    let ticket = params.value("ticket").unwrap_or_default();
    let password = params.value("password").unwrap_or_default();
    if params.value("password_again").is_some_and(|again| again != password) {
        return form(&state, &visit, ticket, StatusCode::BAD_REQUEST, Some(DIFFERENT)).await;
    }
    let password = Secret::new(password.to_owned());
    let browser = visit.browser(&headers);
    match state.idp.tickets.reset(&visit.site, &browser, ticket, password).await {
        Ok(TicketOutcome::Refused(error)) => {
            form(&state, &visit, ticket, StatusCode::BAD_REQUEST, Some(&error.to_string())).await
        }
        Ok(outcome) => finish(
            StatusCode::SEE_OTHER,
            outcome,
            "Password changed",
            "You can log in with your new password. Go back to the application to do so.",
        ),
        Err(error) => answer::failure_page(&error),
    }
}

/// `GET /u/reset-password/request`: from the login page.
pub(crate) async fn request_page(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    match universal_login::page(&state, &visit, &headers, query.as_deref()).await {
        Ok((handle, page)) if page.connection.is_none() || !state.idp.tickets.mails() => {
            universal_login::instead(&handle)
        }
        Ok((handle, page)) => {
            let template = pages::ResetRequest { state: &handle, sent: false };
            pages::page_in(StatusCode::OK, &template, page.ui_locales.as_deref())
        }
        Err(response) => *response,
    }
}

/// `POST /u/reset-password/request`. Says the same to everybody.
pub(crate) async fn request(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    let (form, handle) = match universal_login::posted(&headers, query.as_deref(), body).await {
        Ok(posted) => posted,
        Err(error) => return answer::error_page(&error),
    };
    let browser = visit.browser(&headers);
    let page = match state.idp.login.page(&visit.site, &handle, &browser).await {
        Ok(Some(page)) => page,
        Ok(None) => return universal_login::expired(),
        Err(error) => return answer::failure_page(&error),
    };
    let Some(connection) = page.connection.filter(|_| state.idp.tickets.mails()) else {
        return pages::error_page(StatusCode::BAD_REQUEST, "access_denied", NO_MAIL);
    };
    let (email, client) = (form.value("email").unwrap_or_default(), &page.client.client_id);
    match state.idp.tickets.request_reset(&visit.site, &browser, &connection, email, client).await {
        Ok(()) => {
            let template = pages::ResetRequest { state: &handle, sent: true };
            pages::page_in(StatusCode::OK, &template, page.ui_locales.as_deref())
        }
        Err(error) => answer::failure_page(&error),
    }
}

async fn form(
    state: &IdpState,
    visit: &Visit,
    ticket: &str,
    status: StatusCode,
    problem: Option<&str>,
) -> Response {
    match state.idp.tickets.reset_page(&visit.site, ticket).await {
        Ok(Some(account)) => {
            pages::page(status, &pages::ResetPassword { account: &account, ticket, problem })
        }
        Ok(None) => invalid(),
        Err(error) => answer::failure_page(&error),
    }
}

fn finish(status: StatusCode, outcome: TicketOutcome, title: &str, text: &str) -> Response {
    match outcome {
        TicketOutcome::Done(Some(location)) => answer::redirect(status, &location),
        TicketOutcome::Done(None) => pages::page(StatusCode::OK, &pages::Message { title, text }),
        TicketOutcome::Invalid | TicketOutcome::Refused(_) => invalid(),
    }
}

fn invalid() -> Response {
    pages::error_page(StatusCode::BAD_REQUEST, "invalid_ticket", INVALID)
}
