//! The harness of the black-box tests: starts the binary, speaks to it in bytes, and plays its neighbours.
//!
//! Nothing here sleeps: every wait is for an event, and has a deadline. Nothing here trusts the code under test to
//! read its answers, except for the `jose` crate, which mints tokens.

#![allow(dead_code, unused_imports, reason = "each test binary uses its own part of the harness")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "as tests do"
)]

pub(crate) mod admin;
pub(crate) mod browser;
pub(crate) mod fuzz;
pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod peer;
pub(crate) mod process;
pub(crate) mod provider;
#[cfg(feature = "peers")]
pub(crate) mod proxies;
#[cfg(feature = "peers")]
pub(crate) mod redis;
pub(crate) mod server;
pub(crate) mod site;
pub(crate) mod tls;
pub(crate) mod tokens;

use std::time::Duration;

pub(crate) use self::{
    admin::Admin,
    browser::Browser,
    http1::{Connection, Kind, Line, Request, Response},
    process::{Options, Portcullis, shared},
    provider::Provider,
    server::{Answer, Seen, Upstream},
    site::{Probe, Site},
};

/// How long any single answer may take. Generous, because the tests share two cores with builds.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for `work`; a test that waits longer than [`DEADLINE`] has failed.
pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: nothing came within {DEADLINE:?}"),
    }
}

/// Unpredictable hexadecimal letters, to tell one test's names and canaries from another's.
pub(crate) fn unique(prefix: &str) -> String {
    format!("{prefix}{}", base::Random::system().hex(8))
}
