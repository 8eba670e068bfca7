//! Upstreams: what a dialect says of them, the compiled form, and the per-core connections to their targets.

mod balance;
mod connect;
mod h1;
mod h2;
mod live;
mod pool;
mod resolve;
mod spec;

pub(crate) use self::{
    balance::Tried,
    connect::Stream,
    h1::{Answer, Broken, H1Body, Outgoing},
    h2::H2Body,
    live::Target,
    pool::Pools,
};
pub use self::{
    balance::Upstream,
    live::Live,
    spec::{
        ClientIdentity, HostRewrite, KeepAlive, Node, PrivateKeyPem, Scheme, Timeouts, TlsPolicy,
        UpstreamSpec,
    },
};
