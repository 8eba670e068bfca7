//! Which web pages may read the answers of the endpoints that programs call: those of origins that some client of the tenant
//! names, and metadata and keys all of them. Cookies never count there, so an origin opens nothing that its holder could
//! not fetch itself.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base::{Clock, UnixMillis};
use idp::{Site, model::Client, repository::Page};

use crate::{IdpState, visit::Visit};

/// How long a tenant's origins are remembered: browsers ask before every call.
const REMEMBERED: Duration = Duration::from_secs(5);

/// No credentials are involved where this is said, so every web page may read the answer.
pub(crate) const ANY_ORIGIN: (HeaderName, &str) = (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
/// Headers of requests that a page may set.
const ALLOWED: &str = "authorization, auth0-client, content-type, dpop, x-fapi-interaction-id";
/// Headers of answers that it may read.
const EXPOSED: &str = "www-authenticate, retry-after, dpop-nonce, x-fapi-interaction-id";

/// The origins of tenants' clients, by tenant id.
pub(crate) struct Origins {
    clock: Clock,
    known: Mutex<HashMap<String, Known>>,
}

#[derive(Clone)]
struct Known {
    origins: Arc<HashSet<String>>,
    at: UnixMillis,
}

impl Origins {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, known: Mutex::default() }
    }

    fn remembered(&self, tenant: &str) -> Option<Arc<HashSet<String>>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(tenant)?;
        (self.clock.now().since(known.at) < REMEMBERED).then(|| known.origins.clone())
    }

    fn remember(&self, tenant: &str, origins: Arc<HashSet<String>>) {
        let known = Known { origins, at: self.clock.now() };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant.to_owned(), known);
    }
}

/// Answers the question a browser asks before a cross-origin call.
pub(crate) async fn preflight(
    State(state): State<IdpState>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
) -> Response {
    let mut response = open(&state, &visit, &headers, StatusCode::NO_CONTENT.into_response()).await;
    if response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        allow(response.headers_mut(), "GET, POST");
    }
    response
}

/// The same where every page may read the answer: a page that sets a header of its own asks there too.
pub(crate) async fn preflight_for_all() -> Response {
    let mut response = (StatusCode::NO_CONTENT, [ANY_ORIGIN]).into_response();
    allow(response.headers_mut(), "GET");
    response
}

fn allow(headers: &mut HeaderMap, methods: &'static str) {
    let mut add = |name, value| headers.insert(name, HeaderValue::from_static(value));
    add(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    add(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED);
    add(header::ACCESS_CONTROL_MAX_AGE, "600");
}

/// Lets the page that asks read `response`, where its origin is one of the tenant's.
pub(crate) async fn open(
    state: &IdpState,
    visit: &Visit,
    headers: &HeaderMap,
    mut response: Response,
) -> Response {
    let Some(origin) = headers.get(header::ORIGIN) else { return response };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Origin"));
    let known = match origin.to_str() {
        Ok(text) if text != "null" => origins(state, &visit.site).await.contains(text),
        _ => false,
    };
    if known {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        let exposed = HeaderValue::from_static(EXPOSED);
        response.headers_mut().insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    response
}

async fn origins(state: &IdpState, site: &Site) -> Arc<HashSet<String>> {
    let tenant = site.tenant.id.as_str();
    if let Some(known) = state.origins.remembered(tenant) {
        return known;
    }
    match state.idp.repository().clients(tenant, Page::ALL).await {
        Ok(clients) => {
            let origins = Arc::new(clients.items.iter().flat_map(origins_of).collect::<HashSet<_>>());
            state.origins.remember(tenant, origins.clone());
            origins
        }
        Err(error) => {
            tracing::warn!(%error, "the clients' origins cannot be read");
            Arc::default()
        }
    }
}

fn origins_of(client: &Client) -> impl Iterator<Item = String> {
    let callbacks = client.callbacks.iter().filter_map(|callback| origin_of(callback));
    let named = client.web_origins.iter().chain(&client.allowed_origins);
    named.map(|origin| origin.trim_end_matches('/')).chain(callbacks).map(str::to_owned)
}

/// Scheme and authority of a URL.
fn origin_of(url: &str) -> Option<&str> {
    let start = url.find("://")? + 3;
    let rest = url.get(start..)?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    url.get(..start + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_origins_are_its_own_and_its_callbacks() {
        let client = Client {
            callbacks: vec!["http://localhost:3000/cb?x=1".to_owned(), "com.example:/cb".to_owned()],
            web_origins: vec!["https://spa.example.com/".to_owned()],
            ..Client::default()
        };
        let origins: Vec<_> = origins_of(&client).collect();
        assert_eq!(origins, ["https://spa.example.com", "http://localhost:3000"]);
    }
}
