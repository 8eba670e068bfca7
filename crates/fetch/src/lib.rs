//! The outbound HTTP client for talking to providers: small JSON answers over HTTP/1.1, within limits, behind a guard
//! against server-side request forgery.
//!
//! A fetch resolves the host's name once, checks every address it got, and connects to a checked address, so that a
//! name cannot point elsewhere between check and use. It follows no redirect, asks for no compression and refuses a
//! compressed answer, and ends at a total deadline whatever drips in. It never logs, and its errors never quote, a
//! path, a query or a body. Through a forward proxy the guard judges the proxy's addresses, and the target's as far as
//! this machine can tell them: a name that does not resolve here is the proxy's to resolve. Not for proxied traffic: that is `gateway`'s upstream side.
//!
//! All work runs on the runtime whose handle the [`Fetcher`] was made with, so it can be awaited from any other.

mod client;
mod error;
mod guard;
mod pool;
mod proxy;
mod resolve;
#[cfg(test)]
mod tests;
mod tls;

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use ipnet::IpNet;

pub use client::Fetcher;
pub use error::{FetchError, Refusal, SetupError};
pub use proxy::{Proxies, ProxyError, ProxyServer};
pub use resolve::{Resolve, Resolving, SystemResolver};
pub use tls::tls_config;

/// Bytes of an answer's body unless the request says otherwise: 1 MiB.
pub const MAX_BODY: usize = 1024 * 1024;

/// What may be fetched, beyond https from public addresses, and whose certificates count.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Certificates of further authorities, PEM, beside the system's.
    pub roots: Option<Vec<u8>>,
    /// Networks that may be connected to over http and https, though they are not public.
    pub allowed_networks: Vec<IpNet>,
    /// Origins (`scheme://host:port`) that may always be fetched, wherever they are.
    pub allowed_origins: Vec<String>,
    /// Whether this machine's loopback addresses may be connected to, over http too. For `dev`.
    pub allow_loopback: bool,
    /// Whether private networks (RFC 1918, RFC 4193) may be connected to, over http too.
    pub allow_private: bool,
    /// Addresses never connected to, whatever else is allowed: the process's own Admin listeners.
    pub refused: Vec<SocketAddr>,
    /// The way out for requests that name none of their own. These proxies are the operator's, wherever they are.
    pub proxies: Option<Proxies>,
}

/// One request. `Debug` shows neither query, nor headers, nor body.
#[derive(Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The absolute URL. A fragment is not sent.
    pub url: String,
    /// Headers. `Host`, `User-Agent`, what frames the message and what is accepted as encoding are the fetcher's.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// From now to the last byte of the answer.
    pub timeout: Duration,
    /// Bytes the answer's body may have.
    pub max_body: usize,
    /// Whether the server's certificate is verified. Only a configuration that says so in so many words sets false.
    pub verify_tls: bool,
    /// Whether the connection may serve another request afterwards, or may be one that served others.
    pub keep_alive: bool,
    /// The way out through proxies in place of the policy's.
    pub proxies: Option<Arc<Proxies>>,
}

impl Request {
    /// A GET of `url` with the default limits: 5 s, [`MAX_BODY`], certificates verified.
    pub fn get(url: &str) -> Self {
        Self {
            method: Method::GET,
            url: url.to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            timeout: Duration::from_secs(5),
            max_body: MAX_BODY,
            verify_tls: true,
            keep_alive: true,
            proxies: None,
        }
    }

    /// A POST of `body` with the same limits.
    pub fn post(url: &str, body: Bytes) -> Self {
        Self { method: Method::POST, body, ..Self::get(url) }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.split(['?', '#']).next().unwrap_or_default();
        write!(f, "Request({} {url})", self.method)
    }
}

/// One answer, complete. `Debug` shows the status alone.
#[derive(Clone)]
pub struct Response {
    /// The status; redirects are answers like any other.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, not compressed.
    pub body: Bytes,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({})", self.status)
    }
}
