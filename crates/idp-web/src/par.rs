//! `/oauth/par` (RFC 9126).

use axum::{
    Extension, Json,
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use idp::{EndpointError, Presented};
use oauth::{ErrorCode, OAuthError, Params};
use serde_json::json;

use crate::{IdpState, answer, cors, fields, proof, visit::Visit};

/// `POST /oauth/par`.
pub(crate) async fn push(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    let (site, url) = (&visit.site, visit.url("/oauth/par"));
    let response = match read(&visit, &headers, &url, query.as_deref(), body).await {
        Ok((presented, params)) => match state.idp.pushed_requests.push(site, presented, &params).await {
            Ok(pushed) => {
                let body = json!({ "request_uri": pushed.request_uri, "expires_in": pushed.expires_in });
                answer::uncached((StatusCode::CREATED, Json(body)).into_response())
            }
            // The tenant has no such endpoint: as every other that is not there.
            Err(EndpointError::OAuth(error)) if is_disabled(&error.code) => {
                (StatusCode::NOT_FOUND, Json(&error)).into_response()
            }
            Err(error) => answer::endpoint_error(site, error, presented.authorization.is_some()),
        },
        Err(error) => answer::refusal(site, &error, false),
    };
    cors::open(&state, &visit, &headers, proof::with_nonce(&state, &headers, response)).await
}

/// The credentials and parameters of a request, which comes as a form (RFC 9126 section 2.1).
async fn read<'h>(
    visit: &'h Visit,
    headers: &'h HeaderMap,
    url: &'h str,
    query: Option<&str>,
    body: Body,
) -> Result<(Presented<'h>, Params<'static>), OAuthError> {
    fields::none_in_query(query)?;
    let presented = proof::presented(visit, headers, "POST", url)?;
    Ok((presented, fields::of_form_body(headers, body).await?))
}

fn is_disabled(code: &ErrorCode) -> bool {
    code.as_str() == "endpoint_disabled"
}
