//! The way in and the way out of every request.

use std::net::{IpAddr, SocketAddr};

use axum::{
    body::{Body, HttpBody},
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::Response,
};
use base::Secret;
use idp::{Browser, ClientCertificate, Site};

use crate::{
    IdpState, PeerCertificate, answer, cookies::Cookie, headers, origin::Destination, pages, peer, proof,
};

/// Characters of a browser's own name that are kept.
const MAX_AGENT: usize = 512;

/// A request's origin and sender, as an extension of the request.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    /// The tenant, through one of its origins.
    pub(crate) site: Site,
    /// The connection's other end, or who a trusted proxy there says is behind it.
    peer: Option<IpAddr>,
    /// What the client has proven to have.
    certificate: Option<ClientCertificate>,
    /// Host and port as the client named them.
    authority: String,
}

impl Visit {
    /// The URL of a path as the client sees it: proofs of possession name it.
    pub(crate) fn url(&self, path: &str) -> String {
        let scheme = if self.site.is_https() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.authority)
    }

    /// Where the request comes from.
    pub(crate) fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// The client's certificate.
    pub(crate) fn certificate(&self) -> Option<&ClientCertificate> {
        self.certificate.as_ref()
    }

    /// What the request says about the browser behind it.
    pub(crate) fn browser(&self, headers: &HeaderMap) -> Browser {
        let secret = |cookie: Cookie| {
            cookie.read(headers, self.site.is_https()).map(|value| Secret::new(value.to_owned()))
        };
        let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        Browser {
            session: secret(Cookie::Session),
            binding: secret(Cookie::Browser),
            ip: self.peer,
            user_agent: agent.map(|agent| agent.chars().take(MAX_AGENT).collect()),
        }
    }
}

/// Finds the origin a request is for, and protects whatever is answered.
pub(crate) async fn arrive(State(state): State<IdpState>, mut request: Request, next: Next) -> Response {
    let head = request.method() == Method::HEAD;
    let destination = Destination::of(request.uri(), request.headers());
    let mut pin = false;
    let mut response = match &destination {
        None => {
            pages::error_page(StatusCode::BAD_REQUEST, "invalid_request", "The request names no usable host.")
        }
        Some(destination) => match state.idp.site(&destination.to_string()).await {
            Err(error) => answer::failure_page(&error),
            Ok(None) => pages::error_page(
                StatusCode::NOT_FOUND,
                "not_found",
                "Nothing is served under this host name.",
            ),
            Ok(Some(site)) => {
                pin = site.is_https() && destination.is_public_name();
                let connected = request.extensions().get::<ConnectInfo<SocketAddr>>();
                let peer =
                    connected.map(|info| peer::address(info.0.ip(), request.headers(), &state.proxies));
                let shown = request.extensions().get::<PeerCertificate>().map(|shown| shown.0.clone());
                let said = connected
                    .filter(|_| state.forwarded_certificates)
                    .and_then(|info| proof::forwarded(info.0.ip(), request.headers(), &state.proxies));
                let (certificate, authority) = (shown.or(said), destination.to_string());
                let look = pages::Look::of(&site, request.headers());
                request.extensions_mut().insert(Visit { site, peer, certificate, authority });
                look.on(next.run(request)).await
            }
        },
    };
    headers::protect(response.headers_mut(), pin);
    if head { without_body(response) } else { response }
}

/// A HEAD is answered with the length that a GET would have had (RFC 9110 section 9.3.2).
fn without_body(mut response: Response) -> Response {
    if let Some(length) = response.body().size_hint().exact().filter(|length| *length > 0) {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from(length));
    }
    *response.body_mut() = Body::empty();
    response
}
