//! Suites that others wrote for HTTP, run against the binary: `cargo xtask test` installs them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, as tests do"
)]

mod support;

#[path = "suites/h2spec.rs"]
mod h2spec;
