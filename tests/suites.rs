//! Suites that others wrote, run against the binary. `cargo xtask test` builds the programs among them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, as tests do"
)]

mod support;

#[cfg(feature = "peers")]
#[path = "suites/differential.rs"]
mod differential;
#[cfg(feature = "peers")]
#[path = "suites/h2spec.rs"]
mod h2spec;
#[path = "suites/json.rs"]
mod json;
