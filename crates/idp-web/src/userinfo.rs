//! `/userinfo` (OpenID Connect Core 5.3), which takes its token as RFC 6750 says: in the header or in a form, one of them.

use axum::{
    Extension, Json,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use idp::{EndpointError, PresentedToken, Site, UserinfoAnswer};
use oauth::{
    ErrorCode, OAuthError,
    bearer::{self, Authorization},
    dpop,
};

use crate::{IdpState, answer, cors, fields, proof, visit::Visit};

/// `GET /userinfo`.
pub(crate) async fn by_header(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
) -> Response {
    let token = header_token(&headers);
    answer_with(&state, &visit, &headers, "GET", token).await
}

/// `POST /userinfo`.
pub(crate) async fn by_form(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let token = posted_token(&headers, body).await;
    answer_with(&state, &visit, &headers, "POST", token).await
}

/// A token, and whether it came under the scheme `DPoP`.
type Token = (String, bool);

fn header_token(headers: &HeaderMap) -> Result<Option<Token>, OAuthError> {
    let values = headers.get_all(header::AUTHORIZATION).iter().map(HeaderValue::as_bytes);
    match bearer::parse(values) {
        Ok(Authorization::Bearer(token)) => Ok(Some((token.to_owned(), false))),
        Ok(Authorization::Dpop(token)) => Ok(Some((token.to_owned(), true))),
        Ok(Authorization::Absent | Authorization::Other) => Ok(None),
        Err(error) => Err(fields::refused(&error.to_string())),
    }
}

async fn posted_token(headers: &HeaderMap, body: Body) -> Result<Option<Token>, OAuthError> {
    let in_header = header_token(headers)?;
    // A POST with the token in its header needs no body, and then has no media type.
    if fields::media_type(headers).is_none() {
        return Ok(in_header);
    }
    let form = fields::of_form_body(headers, body).await?;
    match (in_header, form.value("access_token")) {
        (Some(_), Some(_)) => Err(fields::refused("there is a token in the header and another in the form")),
        (in_header, in_form) => Ok(in_header.or_else(|| in_form.map(|token| (token.to_owned(), false)))),
    }
}

async fn answer_with(
    state: &IdpState,
    visit: &Visit,
    headers: &HeaderMap,
    method: &str,
    token: Result<Option<Token>, OAuthError>,
) -> Response {
    let (site, url) = (&visit.site, visit.url("/userinfo"));
    let by_proof = matches!(&token, Ok(Some((_, true))));
    let shown = token.and_then(|token| Ok((token, proof::presented(visit, headers, method, &url)?)));
    let response = match shown {
        Ok((Some((token, dpop)), request)) => {
            let presented = PresentedToken { token: &token, dpop, request };
            match state.idp.userinfo.answer(site, presented).await {
                Ok(UserinfoAnswer::Claims(claims)) => answer::uncached(Json(claims).into_response()),
                Ok(UserinfoAnswer::Token(token)) => answer::jwt("application/jwt", token.expose()),
                Err(EndpointError::OAuth(error)) => refused(site, Some(&error), dpop),
                Err(error) => answer::endpoint_error(site, error, false),
            }
        }
        Ok((None, _)) => refused(site, None, false),
        Err(error) => refused(site, Some(&error), by_proof),
    };
    cors::open(state, visit, headers, proof::with_nonce(state, headers, response)).await
}

/// RFC 6750 section 3.1 and RFC 9449 section 7.1. Who sent no token learns only how to send one.
fn refused(site: &Site, error: Option<&OAuthError>, by_proof: bool) -> Response {
    let status = match error.map(|error| &error.code) {
        None | Some(ErrorCode::InvalidToken | ErrorCode::UseDpopNonce | ErrorCode::InvalidDpopProof) => {
            StatusCode::UNAUTHORIZED
        }
        Some(ErrorCode::InsufficientScope) => StatusCode::FORBIDDEN,
        Some(_) => StatusCode::BAD_REQUEST,
    };
    let mut params = Vec::new();
    if let Some(error) = error {
        params.push(("error", error.code.as_str()));
        params.extend(error.description.as_deref().map(|description| ("error_description", description)));
    }
    let bearer = bearer::challenge(&site.issuer(), &params);
    let challenges = match error {
        None => vec![bearer, dpop::challenge(&[])],
        // It may be good under the other scheme: nothing is said of why it is not under this one.
        Some(error) if !by_proof && error.code == ErrorCode::InvalidToken => {
            vec![bearer, dpop::challenge(&[])]
        }
        Some(_) if by_proof => vec![dpop::challenge(&params)],
        Some(_) => vec![bearer],
    };
    let mut response = match error {
        Some(error) => (status, Json(error)).into_response(),
        None => status.into_response(),
    };
    for challenge in challenges {
        if let Ok(challenge) = HeaderValue::from_str(&challenge) {
            response.headers_mut().append(header::WWW_AUTHENTICATE, challenge);
        }
    }
    answer::uncached(response)
}
