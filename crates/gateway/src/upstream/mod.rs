//! Upstreams: what a dialect says of them, the compiled form, and the per-core connections to their targets.

mod balance;
mod connect;
mod pool;
mod resolve;
mod spec;

pub use self::{
    balance::Upstream,
    resolve::Resolver,
    spec::{ClientIdentity, HostRewrite, KeepAlive, Node, PrivateKeyPem, Scheme, Timeouts, TlsPolicy, UpstreamSpec},
};
