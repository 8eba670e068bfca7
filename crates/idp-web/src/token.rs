//! The endpoints that clients call without a browser: token, introspection, revocation.

use axum::{
    Extension, Json,
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use idp::Presented;
use oauth::{BasicCredentials, OAuthError, Params};

use crate::{IdpState, answer, cors, fields, proof, visit::Visit};

/// `POST /oauth/token` (RFC 6749 section 3.2).
pub(crate) async fn token(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    let (site, url) = (&visit.site, visit.url("/oauth/token"));
    let response = match read(&visit, &headers, &url, query.as_deref(), body).await {
        Ok((presented, params)) => {
            let outcome = state.idp.token.answer(site, presented, &params).await;
            let header = presented.authorization;
            let named = header.and_then(|header| BasicCredentials::parse(header.as_bytes()).ok().flatten());
            let client = named.as_ref().map(|basic| basic.client_id.as_str());
            let browser = visit.browser(&headers);
            state.idp.note_token_request(site, &browser, client, &params, &outcome);
            match outcome {
                Ok(tokens) => answer::uncached(Json(tokens.to_wire()).into_response()),
                Err(error) => answer::endpoint_error(site, error, header.is_some()),
            }
        }
        Err(error) => answer::refusal(site, &error, false),
    };
    let response = proof::with_nonce(&state, &headers, response);
    cors::open(&state, &visit, &headers, response).await
}

/// `POST /oauth/introspect` (RFC 7662), as a JWT where the caller asks for one (RFC 9701 section 4). For servers: no web page may read it.
pub(crate) async fn introspect(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    let (site, url) = (&visit.site, visit.url("/oauth/introspect"));
    match read(&visit, &headers, &url, query.as_deref(), body).await {
        Ok((presented, params)) if wants_jwt(&headers) => {
            match state.idp.introspection.signed(site, presented, &params).await {
                Ok(token) => answer::jwt(INTROSPECTION_JWT, token.expose()),
                Err(error) => answer::endpoint_error(site, error, presented.authorization.is_some()),
            }
        }
        Ok((presented, params)) => match state.idp.introspection.answer(site, presented, &params).await {
            Ok(answer) => answer::uncached(Json(answer).into_response()),
            Err(error) => answer::endpoint_error(site, error, presented.authorization.is_some()),
        },
        Err(error) => answer::refusal(site, &error, false),
    }
}

const INTROSPECTION_JWT: &str = "application/token-introspection+jwt";

/// Whether the answer is to be a JWT (RFC 9701 section 4).
fn wants_jwt(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|range| {
        range.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(INTROSPECTION_JWT))
    })
}

/// `POST /oauth/revoke` (RFC 7009).
pub(crate) async fn revoke(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    let (site, url) = (&visit.site, visit.url("/oauth/revoke"));
    let response = match read(&visit, &headers, &url, query.as_deref(), body).await {
        Ok((presented, params)) => match state.idp.revocation.revoke(site, presented, &params).await {
            Ok(()) => answer::uncached(StatusCode::OK.into_response()),
            Err(error) => answer::endpoint_error(site, error, presented.authorization.is_some()),
        },
        Err(error) => answer::refusal(site, &error, false),
    };
    cors::open(&state, &visit, &headers, response).await
}

/// The credentials and parameters of a request.
pub(crate) async fn read<'h>(
    visit: &'h Visit,
    headers: &'h HeaderMap,
    url: &'h str,
    query: Option<&str>,
    body: Body,
) -> Result<(Presented<'h>, Params<'static>), OAuthError> {
    fields::none_in_query(query)?;
    let presented = proof::presented(visit, headers, "POST", url)?;
    Ok((presented, fields::of_body(headers, body).await?))
}
