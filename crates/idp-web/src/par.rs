//! `/oauth/par` (RFC 9126).

use axum::{
    Extension, Json,
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use idp::EndpointError;
use oauth::ErrorCode;
use serde_json::json;

use crate::{IdpState, answer, fields, proof, visit::Visit};

/// `POST /oauth/par`.
pub(crate) async fn push(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    let (site, url) = (&visit.site, visit.url("/oauth/par"));
    if query.is_some_and(|query| !query.is_empty()) {
        let error = fields::refused("the parameters must be in the body, none in the query");
        return answer::refusal(site, &error, false);
    }
    let presented = match proof::presented(&visit, &headers, "POST", &url) {
        Ok(presented) => presented,
        Err(error) => return answer::refusal(site, &error, false),
    };
    let basic = presented.authorization.is_some();
    let params = match fields::of_form_body(&headers, body).await {
        Ok(params) => params,
        Err(error) => return answer::refusal(site, &error, basic),
    };
    let response = match state.idp.pushed_requests.push(site, presented, &params).await {
        Ok(pushed) => {
            let body = json!({ "request_uri": pushed.request_uri, "expires_in": pushed.expires_in });
            answer::uncached((StatusCode::CREATED, Json(body)).into_response())
        }
        // The tenant has no such endpoint: as every other that is not there.
        Err(EndpointError::OAuth(error)) if is_disabled(&error.code) => {
            (StatusCode::NOT_FOUND, Json(&error)).into_response()
        }
        Err(error) => answer::endpoint_error(site, error, basic),
    };
    proof::with_nonce(&state, &headers, response)
}

fn is_disabled(code: &ErrorCode) -> bool {
    code.as_str() == "endpoint_disabled"
}
