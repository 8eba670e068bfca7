use std::{io, time::Duration};

/// Why a fetch gave no response. Holds host names at most, never a path, a query or a body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The guard said no; nothing was sent and nothing was connected to.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The whole exchange, name resolution to last byte, took longer than this.
    #[error("no complete answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The name does not resolve, or no address of it accepts a connection.
    #[error("cannot connect to {host}: {kind}")]
    Connect {
        /// The host of the URL.
        host: String,
        /// What the system said.
        kind: io::ErrorKind,
    },
    /// The TLS handshake failed, as with a certificate that is expired, of another name or of an unknown authority.
    #[error("TLS with {host} failed: {reason}")]
    Tls {
        /// The host of the URL.
        host: String,
        /// What rustls said.
        reason: String,
    },
    /// The forward proxy opens no tunnel.
    #[error("the proxy {host} answered CONNECT with status {status}")]
    Proxy {
        /// The proxy's host.
        host: String,
        /// Its status.
        status: u16,
    },
    /// The body is larger than this many bytes.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// What came is not an HTTP response that can be used.
    #[error("the answer is not usable HTTP: {0}")]
    Protocol(&'static str),
    /// The runtime that fetches is shutting down.
    #[error("the process is shutting down")]
    Stopped,
}

/// What the guard refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The text is no absolute URL with a host, or has a user name or password in it.
    #[error("this is no plain absolute URL")]
    Url,
    /// Neither http nor https.
    #[error("the scheme {0} is not fetched")]
    Scheme(String),
    /// http to an address that is neither this machine nor in an allowed network.
    #[error("{0} is only fetched over https")]
    PlainHttp(String),
    /// One of the host's addresses is not public, and neither its network nor its origin is allowed.
    #[error("{0} is at an address that is not allowed")]
    Address(String),
}

/// Why a fetcher cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The extra CA text is not PEM, or holds a certificate that cannot be a root.
    #[error("the extra CA certificates cannot be read")]
    Roots,
    /// An allowed origin is not `scheme://host[:port]`.
    #[error("{0:?} is not an origin (scheme://host:port)")]
    Origin(String),
    /// The TLS provider refuses its own defaults.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}
