//! Plugins of routes from outside: what the client is answered, and what reached the upstream.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, as tests do"
)]

mod support;

#[path = "plugins/meta.rs"]
mod meta;
#[path = "plugins/redirect.rs"]
mod redirect;
