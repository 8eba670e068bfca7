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

use crate::{IdpState, answer, fields, visit::Visit};

/// `POST /oauth/par`.
pub(crate) async fn push(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    let site = &visit.site;
    if query.is_some_and(|query| !query.is_empty()) {
        let error = fields::refused("the parameters must be in the body, none in the query");
        return answer::refusal(site, &error, false);
    }
    let authorization = match answer::authorization(&headers) {
        Ok(authorization) => authorization,
        Err(error) => return answer::refusal(site, &error, false),
    };
    let params = match fields::of_form_body(&headers, body).await {
        Ok(params) => params,
        Err(error) => return answer::refusal(site, &error, authorization.is_some()),
    };
    match state.idp.pushed_requests.push(site, authorization, &params).await {
        Ok(pushed) => {
            let body = json!({ "request_uri": pushed.request_uri, "expires_in": pushed.expires_in });
            answer::uncached((StatusCode::CREATED, Json(body)).into_response())
        }
        // The tenant has no such endpoint: as every other that is not there.
        Err(EndpointError::OAuth(error)) if is_disabled(&error.code) => {
            (StatusCode::NOT_FOUND, Json(&error)).into_response()
        }
        Err(error) => answer::endpoint_error(site, error, authorization.is_some()),
    }
}

fn is_disabled(code: &ErrorCode) -> bool {
    code.as_str() == "endpoint_disabled"
}
