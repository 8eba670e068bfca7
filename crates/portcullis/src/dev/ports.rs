//! The ports of `dev`, all on 127.0.0.1.

use std::net::{Ipv4Addr, SocketAddr};

/// The ports, moved by `--port-offset`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    offset: u16,
}

impl Ports {
    /// The ports of the contract, each plus `offset`.
    pub(crate) const fn new(offset: u16) -> Self {
        Self { offset }
    }

    /// Gateway, HTTP.
    pub(crate) const fn http(self) -> u16 {
        9080 + self.offset
    }

    /// Gateway, HTTPS.
    pub(crate) const fn https(self) -> u16 {
        9443 + self.offset
    }

    /// Gateway, HTTPS that asks for a client certificate.
    pub(crate) const fn https_mutual(self) -> u16 {
        9444 + self.offset
    }

    /// Admin API, APISIX dialect.
    pub(crate) const fn admin(self) -> u16 {
        9180 + self.offset
    }

    /// The same over TLS.
    pub(crate) const fn admin_tls(self) -> u16 {
        7443 + self.offset
    }

    /// Admin API, Kong dialect.
    pub(crate) const fn kong(self) -> u16 {
        8001 + self.offset
    }

    /// Prometheus text.
    pub(crate) const fn metrics(self) -> u16 {
        9091 + self.offset
    }

    /// Identity provider, HTTP.
    pub(crate) const fn identity(self) -> u16 {
        9400 + self.offset
    }

    /// Identity provider, HTTPS.
    pub(crate) const fn identity_tls(self) -> u16 {
        9401 + self.offset
    }

    /// Identity provider, HTTPS that asks for a client certificate.
    pub(crate) const fn identity_mutual(self) -> u16 {
        9402 + self.offset
    }

    /// Echo upstream.
    pub(crate) const fn echo(self) -> u16 {
        9480 + self.offset
    }

    /// `port` on this machine.
    pub(crate) const fn address(port: u16) -> SocketAddr {
        SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
    }
}
