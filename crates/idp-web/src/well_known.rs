//! Metadata and keys, which anybody may read from anywhere.

use axum::{
    Extension, Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use crate::{IdpState, answer, cors::ANY_ORIGIN, visit::Visit};

/// `/.well-known/openid-configuration` (OpenID Connect Discovery 1.0) and, the same document, RFC 8414.
pub(crate) async fn discovery(State(state): State<IdpState>, Extension(visit): Extension<Visit>) -> Response {
    let document = state.idp.discovery.document(&visit.site);
    ([(header::CACHE_CONTROL, "public, max-age=300"), ANY_ORIGIN], Json(document)).into_response()
}

/// `/.well-known/jwks.json`. Kept for seconds only: a key that was revoked must go soon. What is published before it
/// signs needs no haste.
pub(crate) async fn jwks(State(state): State<IdpState>, Extension(visit): Extension<Visit>) -> Response {
    const CACHING: &str = "public, max-age=15, stale-while-revalidate=15, stale-if-error=86400";
    match state.idp.keys.jwks(&visit.site.tenant.id).await {
        Ok(keys) => ([(header::CACHE_CONTROL, CACHING), ANY_ORIGIN], Json(keys)).into_response(),
        Err(error) => answer::failure_page(&error),
    }
}
