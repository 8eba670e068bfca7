//! Requests that are answered elsewhere than where they were made: `/oauth/device/code` with `/activate` (RFC 8628),
//! `/bc-authorize` (OpenID Connect CIBA).

use axum::{
    Extension, Json,
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{
    IdpState, answer, authorize, cors, fields, pages, proof, token, universal_login::is_foreign, visit::Visit,
};

/// The same for a code that nobody has, for one that is over, and after too many wrong ones.
const NO_SUCH_CODE: &str = "This code is wrong, has expired or was used already. After several wrong codes, wait a \
                            while.";
const NOTHING_WAITS: &str = "No request waits for you here. Log in at an application first, if you have not.";

/// `POST /oauth/device/code` (RFC 8628 section 3.1).
pub(crate) async fn device_code(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    let (site, url) = (&visit.site, visit.url("/oauth/device/code"));
    let response = match token::read(&visit, &headers, &url, query.as_deref(), body).await {
        Ok((presented, params)) => match state.idp.device.begin(site, presented, &params).await {
            Ok(begun) => {
                let page = site.url("/activate");
                let complete = fields::to_query([("user_code", begun.user_code.as_str())].into_iter());
                let wire = json!({
                    "device_code": begun.device_code,
                    "user_code": begun.user_code,
                    "verification_uri": page,
                    "verification_uri_complete": format!("{page}?{complete}"),
                    "expires_in": begun.expires_in,
                    "interval": begun.interval,
                });
                answer::uncached(Json(wire).into_response())
            }
            Err(error) => answer::endpoint_error(site, error, presented.authorization.is_some()),
        },
        Err(error) => answer::refusal(site, &error, false),
    };
    cors::open(&state, &visit, &headers, proof::with_nonce(&state, &headers, response)).await
}

/// `GET /activate`. A code in the query is filled in, and still has to be confirmed (RFC 8628 section 3.3.1).
pub(crate) async fn activation_page(RawQuery(query): RawQuery) -> Response {
    match fields::of_query(query.as_deref()) {
        Ok(params) => activation(StatusCode::OK, params.value("user_code").unwrap_or_default(), None),
        Err(error) => answer::error_page(&error),
    }
}

/// `POST /activate`.
pub(crate) async fn activate(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if is_foreign(&headers) {
        return answer::error_page(&fields::refused("the form was sent by another site"));
    }
    let form = match fields::of_form_body(&headers, body).await {
        Ok(form) => form,
        Err(error) => return answer::error_page(&error),
    };
    let code = form.value("user_code").unwrap_or_default();
    match state.idp.device.activate(&visit.site, code, &visit.browser(&headers)).await {
        Ok(Some(outcome)) => authorize::next(&visit.site, StatusCode::SEE_OTHER, outcome),
        Ok(None) => activation(StatusCode::BAD_REQUEST, code, Some(NO_SUCH_CODE)),
        Err(error) => answer::failure_page(&error),
    }
}

fn activation(status: StatusCode, user_code: &str, problem: Option<&str>) -> Response {
    let shown: String = user_code.chars().take(64).collect();
    pages::page(status, &pages::Activate { user_code: &shown, problem })
}

/// `POST /bc-authorize` (CIBA 7.1).
pub(crate) async fn backchannel(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    let (site, url) = (&visit.site, visit.url("/bc-authorize"));
    match token::read(&visit, &headers, &url, query.as_deref(), body).await {
        Ok((presented, params)) => match state.idp.backchannel.begin(site, presented, &params).await {
            Ok(begun) => {
                let wire = json!({
                    "auth_req_id": begun.auth_req_id,
                    "expires_in": begun.expires_in,
                    "interval": begun.interval,
                });
                answer::uncached(Json(wire).into_response())
            }
            Err(error) => answer::endpoint_error(site, error, presented.authorization.is_some()),
        },
        Err(error) => answer::refusal(site, &error, false),
    }
}

/// `GET /u/requests`: the oldest backchannel request that waits for the browser's user.
pub(crate) async fn requests(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
) -> Response {
    match state.idp.backchannel.next(&visit.site, &visit.browser(&headers)).await {
        Ok(Some(outcome)) => authorize::next(&visit.site, StatusCode::FOUND, outcome),
        Ok(None) => pages::error_page(StatusCode::NOT_FOUND, "not_found", NOTHING_WAITS),
        Err(error) => answer::failure_page(&error),
    }
}

/// `GET /dev/ciba?auth_req_id=…&action=allow`: decides in the user's place, as conformance suites ask for. Only in `dev`;
/// only who made the request knows its id.
pub(crate) async fn decide(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    RawQuery(query): RawQuery,
) -> Response {
    if !state.development {
        return pages::error_page(StatusCode::NOT_FOUND, "not_found", "There is no such page.");
    }
    let asked = fields::of_query(query.as_deref()).and_then(|params| {
        let allow = match params.value("action") {
            Some("allow") => true,
            Some("deny") => false,
            _ => return Err(fields::refused("action must be allow or deny")),
        };
        let id = params.value("auth_req_id").ok_or_else(|| fields::refused("auth_req_id is missing"))?;
        Ok((id.to_owned(), allow))
    });
    match asked {
        Ok((id, allow)) => match state.idp.backchannel.decide(&visit.site, &id, allow).await {
            Ok(true) => StatusCode::NO_CONTENT.into_response(),
            Ok(false) => pages::error_page(StatusCode::NOT_FOUND, "not_found", "No such request waits."),
            Err(error) => answer::failure_page(&error),
        },
        Err(error) => answer::error_page(&error),
    }
}
