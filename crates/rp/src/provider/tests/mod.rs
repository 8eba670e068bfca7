//! Providers against a server on loopback that says what a test wants.

mod calls;
mod op;
mod refreshing;

use std::time::Duration;

use base::{Clock, UnixMillis};
use fetch::{Fetcher, Policy};
use tokio::runtime::Handle;

use super::{Providers, SourceConfig};
use op::Op;

const NOW: UnixMillis = UnixMillis::from_secs(1_700_000_000);

/// A registry whose clock stands until a test moves it.
fn providers() -> (Providers, Clock) {
    let clock = Clock::fixed(NOW);
    let policy = Policy { allow_loopback: true, ..Policy::default() };
    let fetcher = Fetcher::new(&policy, Handle::current(), clock.clone()).unwrap();
    (Providers::new(fetcher, clock.clone(), Handle::current()), clock)
}

fn source(op: &Op) -> SourceConfig {
    SourceConfig {
        discovery_url: op.url("/.well-known/openid-configuration"),
        verify_tls: true,
        timeout: Duration::from_millis(1500),
        jwks_ttl: Duration::from_secs(86_400),
        metadata_ttl: None,
        keep_alive: true,
        proxies: None,
        issuers: Vec::new(),
        endpoints: Default::default(),
        headers: Default::default(),
        extra_jwks: Vec::new(),
    }
}
