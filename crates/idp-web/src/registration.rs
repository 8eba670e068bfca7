//! `/oidc/register` and below: dynamic client registration (RFC 7591) and its management (RFC 7592).

use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use idp::EndpointError;
use oauth::{
    ErrorCode, OAuthError,
    bearer::{self, Authorization},
};
use serde_json::{Map, Value, json};

use crate::{IdpState, answer, fields, visit::Visit};

/// `POST /oidc/register`.
pub(crate) async fn register(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let site = &visit.site;
    if !state.idp.registration.is_enabled(site) {
        return disabled();
    }
    let registered = match metadata(&headers, body).await {
        Ok(metadata) => state.idp.registration.register(site, &metadata).await,
        Err(error) => Err(error.into()),
    };
    match registered {
        Ok(wire) => answer::uncached((StatusCode::CREATED, Json(wire)).into_response()),
        Err(error) => refused(&visit, error),
    }
}

/// `GET /oidc/register/{client_id}`.
pub(crate) async fn read(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    Path(client_id): Path<String>,
) -> Response {
    let read = match token(&headers) {
        Ok(token) => state.idp.registration.read(&visit.site, &client_id, token).await,
        Err(error) => Err(error.into()),
    };
    match read {
        Ok(wire) => answer::uncached(Json(wire).into_response()),
        Err(error) => refused(&visit, error),
    }
}

/// `PUT /oidc/register/{client_id}`.
pub(crate) async fn replace(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    Path(client_id): Path<String>,
    body: Body,
) -> Response {
    let token = match token(&headers) {
        Ok(token) => token,
        Err(error) => return refused(&visit, error.into()),
    };
    let replaced = match metadata(&headers, body).await {
        Ok(metadata) => state.idp.registration.replace(&visit.site, &client_id, token, &metadata).await,
        Err(error) => Err(error.into()),
    };
    match replaced {
        Ok(wire) => answer::uncached(Json(wire).into_response()),
        Err(error) => refused(&visit, error),
    }
}

/// `DELETE /oidc/register/{client_id}`.
pub(crate) async fn delete(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    Path(client_id): Path<String>,
) -> Response {
    let deleted = match token(&headers) {
        Ok(token) => state.idp.registration.delete(&visit.site, &client_id, token).await,
        Err(error) => Err(error.into()),
    };
    match deleted {
        Ok(()) => answer::uncached(StatusCode::NO_CONTENT.into_response()),
        Err(error) => refused(&visit, error),
    }
}

/// The body, an object with distinct members.
async fn metadata(headers: &HeaderMap, body: Body) -> Result<Map<String, Value>, OAuthError> {
    let unfit = |text: &str| OAuthError::new(ErrorCode::InvalidClientMetadata, text);
    if fields::media_type(headers).as_deref() != Some("application/json") {
        return Err(unfit("the body must be application/json"));
    }
    let bytes = fields::bytes(body).await.map_err(|_| unfit("the body is too long or broke off"))?;
    match jose::parse_json(&bytes, 16) {
        // Databases disagree on what a NUL means.
        Ok(Value::Object(metadata)) if !bytes.windows(6).any(|six| six == b"\\u0000") => Ok(metadata),
        _ => Err(unfit("the body is no usable JSON object")),
    }
}

/// The registration access token.
fn token(headers: &HeaderMap) -> Result<&str, OAuthError> {
    let values = headers.get_all(header::AUTHORIZATION).iter().map(HeaderValue::as_bytes);
    match bearer::parse(values) {
        Ok(Authorization::Bearer(token)) => Ok(token),
        _ => Err(OAuthError::new(ErrorCode::InvalidToken, "A registration access token is needed.")),
    }
}

fn refused(visit: &Visit, error: EndpointError) -> Response {
    match error {
        EndpointError::OAuth(error) if error.code == ErrorCode::InvalidToken => {
            let mut response = (StatusCode::UNAUTHORIZED, Json(&error)).into_response();
            let challenge = bearer::challenge(&visit.site.issuer(), &[("error", error.code.as_str())]);
            if let Ok(challenge) = HeaderValue::from_str(&challenge) {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            }
            answer::uncached(response)
        }
        error => answer::endpoint_error(&visit.site, error, false),
    }
}

/// As for every endpoint that a tenant does not have.
fn disabled() -> Response {
    let description = "Dynamic client registration is switched off.";
    let body = json!({ "error": "endpoint_disabled", "error_description": description });
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}
