//! The header `x-fapi-interaction-id` of resources (FAPI 1.0 Part 1 section 6.2.1, FAPI 2.0 Implementation Advice): the name
//! under which client and server find one exchange in their logs.

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};

use crate::IdpState;

pub(crate) const INTERACTION_ID: HeaderName = HeaderName::from_static("x-fapi-interaction-id");
/// Bytes of an id that is said back. A UUID has 36.
const MAX_ID: usize = 128;

/// Says the client's id back, or gives the exchange one.
pub(crate) async fn name(State(state): State<IdpState>, request: Request, next: Next) -> Response {
    let mut sent = request.headers().get_all(INTERACTION_ID).iter();
    let id = match (sent.next(), sent.next()) {
        (Some(id), None) if is_id(id) => Some(id.clone()),
        _ => HeaderValue::from_str(&state.idp.interaction_id()).ok(),
    };
    let mut response = next.run(request).await;
    if let Some(id) = id {
        response.headers_mut().insert(INTERACTION_ID, id);
    }
    response
}

fn is_id(value: &HeaderValue) -> bool {
    (1..=MAX_ID).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
}
