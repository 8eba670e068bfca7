//! `/userinfo` (OpenID Connect Core 5.3), which takes its token as RFC 6750 says: in the header or in a form, one of them.

use axum::{
    Extension, Json,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use idp::{EndpointError, Site};
use oauth::{
    ErrorCode, OAuthError,
    bearer::{self, Authorization},
};

use crate::{IdpState, answer, cors, fields, visit::Visit};

/// `GET /userinfo`.
pub(crate) async fn by_header(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
) -> Response {
    let token = header_token(&headers).map(|token| token.map(str::to_owned));
    answer_with(&state, &visit, &headers, token).await
}

/// `POST /userinfo`.
pub(crate) async fn by_form(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let token = posted_token(&headers, body).await;
    answer_with(&state, &visit, &headers, token).await
}

fn header_token(headers: &HeaderMap) -> Result<Option<&str>, OAuthError> {
    let values = headers.get_all(header::AUTHORIZATION).iter().map(HeaderValue::as_bytes);
    match bearer::parse(values) {
        Ok(Authorization::Bearer(token)) => Ok(Some(token)),
        Ok(Authorization::Absent | Authorization::Other | Authorization::Dpop(_)) => Ok(None),
        Err(error) => Err(fields::refused(&error.to_string())),
    }
}

async fn posted_token(headers: &HeaderMap, body: Body) -> Result<Option<String>, OAuthError> {
    let in_header = header_token(headers)?.map(str::to_owned);
    // A POST with the token in its header needs no body, and then has no media type.
    if fields::media_type(headers).is_none() {
        return Ok(in_header);
    }
    let form = fields::of_form_body(headers, body).await?;
    match (in_header, form.value("access_token")) {
        (Some(_), Some(_)) => Err(fields::refused("there is a token in the header and another in the form")),
        (in_header, in_form) => Ok(in_header.or_else(|| in_form.map(str::to_owned))),
    }
}

async fn answer_with(
    state: &IdpState,
    visit: &Visit,
    headers: &HeaderMap,
    token: Result<Option<String>, OAuthError>,
) -> Response {
    let site = &visit.site;
    let response = match token {
        Ok(Some(token)) => match state.idp.userinfo.claims(site, &token).await {
            Ok(claims) => answer::uncached(Json(claims).into_response()),
            Err(EndpointError::OAuth(error)) => refused(site, Some(&error)),
            Err(error) => answer::endpoint_error(site, error, false),
        },
        Ok(None) => refused(site, None),
        Err(error) => refused(site, Some(&error)),
    };
    cors::open(state, visit, headers, response).await
}

/// RFC 6750 section 3.1. Who sent no token learns only how to send one.
fn refused(site: &Site, error: Option<&OAuthError>) -> Response {
    let status = match error.map(|error| &error.code) {
        None | Some(ErrorCode::InvalidToken) => StatusCode::UNAUTHORIZED,
        Some(ErrorCode::InsufficientScope) => StatusCode::FORBIDDEN,
        Some(_) => StatusCode::BAD_REQUEST,
    };
    let mut params = Vec::new();
    if let Some(error) = error {
        params.push(("error", error.code.as_str()));
        params.extend(error.description.as_deref().map(|description| ("error_description", description)));
    }
    let challenge = bearer::challenge(&site.issuer(), &params);
    let mut response = match error {
        Some(error) => (status, Json(error)).into_response(),
        None => status.into_response(),
    };
    if let Ok(challenge) = HeaderValue::from_str(&challenge) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    answer::uncached(response)
}
