//! The endpoints that clients call without a browser: token, introspection, revocation.

use axum::{
    Extension, Json,
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use oauth::{OAuthError, Params};

use crate::{IdpState, answer, cors, fields, visit::Visit};

/// `POST /oauth/token` (RFC 6749 section 3.2).
pub(crate) async fn token(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    let site = &visit.site;
    let response = match read(&headers, query.as_deref(), body).await {
        Ok((authorization, params)) => match state.idp.token.answer(site, authorization, &params).await {
            Ok(tokens) => answer::uncached(Json(tokens.to_wire()).into_response()),
            Err(error) => answer::endpoint_error(site, error, authorization.is_some()),
        },
        Err(error) => answer::refusal(site, &error, false),
    };
    cors::open(&state, &visit, &headers, response).await
}

/// `POST /oauth/introspect` (RFC 7662). For servers: no web page may read it.
pub(crate) async fn introspect(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    let site = &visit.site;
    match read(&headers, query.as_deref(), body).await {
        Ok((authorization, params)) => {
            match state.idp.introspection.answer(site, authorization, &params).await {
                Ok(answer) => answer::uncached(Json(answer).into_response()),
                Err(error) => answer::endpoint_error(site, error, authorization.is_some()),
            }
        }
        Err(error) => answer::refusal(site, &error, false),
    }
}

/// `POST /oauth/revoke` (RFC 7009).
pub(crate) async fn revoke(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    let site = &visit.site;
    let response = match read(&headers, query.as_deref(), body).await {
        Ok((authorization, params)) => {
            match state.idp.revocation.revoke(site, authorization, &params).await {
                Ok(()) => answer::uncached(StatusCode::OK.into_response()),
                Err(error) => answer::endpoint_error(site, error, authorization.is_some()),
            }
        }
        Err(error) => answer::refusal(site, &error, false),
    };
    cors::open(&state, &visit, &headers, response).await
}

/// The credentials and parameters of a request. Parameters in the query are refused: URLs are logged
/// (RFC 6749 section 2.3.1).
async fn read<'h>(
    headers: &'h HeaderMap,
    query: Option<&str>,
    body: Body,
) -> Result<(Option<&'h str>, Params<'static>), OAuthError> {
    if query.is_some_and(|query| !query.is_empty()) {
        return Err(fields::refused("the parameters must be in the body, none in the query"));
    }
    let authorization = answer::authorization(headers)?;
    Ok((authorization, fields::of_body(headers, body).await?))
}
