//! How verdicts become answers: which status an error has, and who gets to see what of it.

use axum::{
    Json,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use idp::{EndpointError, IdpError, RepositoryError, Site};
use oauth::{ErrorCode, OAuthError};

use crate::pages;

/// Seconds after which it makes sense to try again when passwords queue up or the database is away.
pub(crate) const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");

/// A redirect to `location`. 303 after a POST, so that no browser sends the form on (RFC 9700 section 4.12).
pub(crate) fn redirect(status: StatusCode, location: &str) -> Response {
    match HeaderValue::from_str(location) {
        Ok(location) => (status, [(header::LOCATION, location)]).into_response(),
        Err(_) => pages::error_page(
            StatusCode::BAD_REQUEST,
            "invalid_request",
            "The address to go to is not a valid one.",
        ),
    }
}

/// An error for the person in front of the browser.
pub(crate) fn error_page(error: &OAuthError) -> Response {
    let description = error.description.as_deref().unwrap_or_default();
    pages::error_page(StatusCode::BAD_REQUEST, error.code.as_str(), description)
}

/// The error page for a fault of our own. The log has the reason.
pub(crate) fn failure_page(error: &IdpError) -> Response {
    let (status, code) = failure(error);
    let mut response =
        pages::error_page(status, code.as_str(), "We could not do this. Please try again in a moment.");
    retry_after(response.headers_mut(), status);
    response
}

/// The JSON answer of a protocol endpoint that refuses or fails. `basic`: the client used the `Authorization` header,
/// so a 401 must name a scheme (RFC 6749 section 5.2).
pub(crate) fn endpoint_error(site: &Site, error: EndpointError, basic: bool) -> Response {
    match error {
        EndpointError::OAuth(error) => refusal(site, &error, basic),
        EndpointError::Internal(error) => {
            let (status, code) = failure(&error);
            let mut response = (status, Json(OAuthError::new(code, "try again later"))).into_response();
            retry_after(response.headers_mut(), status);
            uncached(response)
        }
    }
}

/// The JSON answer of a protocol endpoint that refuses.
pub(crate) fn refusal(site: &Site, error: &OAuthError, basic: bool) -> Response {
    let status = status_of(site, &error.code);
    let mut response = (status, Json(error)).into_response();
    if status == StatusCode::UNAUTHORIZED && basic {
        let challenge = format!("Basic realm=\"{}\"", site.issuer());
        if let Ok(challenge) = HeaderValue::from_str(&challenge) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
    }
    uncached(response)
}

/// RFC 6749 section 5.2 has 400 for all but failed client authentication. Auth0 has 403 for most; a tenant may choose.
fn status_of(site: &Site, code: &ErrorCode) -> StatusCode {
    let auth0 = site.tenant.settings.flags.auth0_status_codes;
    match code {
        ErrorCode::InvalidClient => StatusCode::UNAUTHORIZED,
        ErrorCode::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::InvalidGrant
        | ErrorCode::AccessDenied
        | ErrorCode::UnauthorizedClient
        | ErrorCode::UnsupportedGrantType
            if auth0 =>
        {
            StatusCode::FORBIDDEN
        }
        _ => StatusCode::BAD_REQUEST,
    }
}

/// Marks an answer that holds tokens or says something about them (RFC 6749 section 5.1).
pub(crate) fn uncached(mut response: Response) -> Response {
    const PRAGMA: HeaderName = header::PRAGMA;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// A JWT of this media type, which is not to be kept.
pub(crate) fn jwt(media_type: &'static str, token: &str) -> Response {
    uncached(([(header::CONTENT_TYPE, media_type)], token.to_owned()).into_response())
}

/// Logs a fault of our own and says how to answer it.
fn failure(error: &IdpError) -> (StatusCode, ErrorCode) {
    match error {
        IdpError::Busy | IdpError::Repository(RepositoryError::Unavailable(_)) => {
            tracing::warn!(%error, "the identity provider cannot answer at the moment");
            (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::TemporarilyUnavailable)
        }
        _ => {
            tracing::error!(%error, "the identity provider failed");
            (StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::ServerError)
        }
    }
}

fn retry_after(headers: &mut HeaderMap, status: StatusCode) {
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, RETRY_AFTER);
    }
}

/// The one `Authorization` header. Two of them are two readers' choice, so they are refused.
pub(crate) fn authorization(headers: &HeaderMap) -> Result<Option<&str>, OAuthError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(value), None) => Ok(Some(value)),
        (_, Some(_)) => Err(crate::fields::refused("there is more than one Authorization header")),
        (Err(_), None) => Err(crate::fields::refused("the Authorization header is not ASCII text")),
    }
}
