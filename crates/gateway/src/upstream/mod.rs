//! Upstreams: what a dialect says of them, the compiled form, and the per-core connections to their targets.

mod balance;
mod checker;
mod connect;
mod h1;
mod h2;
mod health;
mod live;
mod pool;
mod resolve;
mod ring;
mod slots;
mod spec;
mod vitals;

use std::time::Duration;

use tokio::time::Instant;

pub use self::{
    balance::Upstream,
    checker::{Checker, NodeHealth},
    health::{ActiveChecks, HealthChecks, HttpProbe, Probe, Shortage, Thresholds},
    live::Live,
    slots::hash as slot_hash,
    spec::{
        Balance, ClientIdentity, FailureWords, HostRewrite, KeepAlive, Node, PrivateKeyPem, Scheme, Timeouts,
        TlsPolicy, UpstreamSpec,
    },
    vitals::Health,
};
pub(crate) use self::{
    balance::{KeyHash, SentHost, Tried},
    connect::Stream,
    h1::{Answer, Broken, H1Body, Outgoing},
    h2::H2Body,
    health::Sign,
    live::Target,
    pool::Pools,
    vitals::Busy,
};

/// A year: configured limits may be longer than the clock can count.
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// When `limit` will be over.
pub(crate) fn deadline(limit: Duration) -> Instant {
    Instant::now() + limit.min(LONGEST)
}
