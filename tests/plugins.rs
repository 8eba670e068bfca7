//! Plugins of routes from outside: what the client is answered, and what reached the upstream.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, as tests do"
)]

mod support;

#[path = "plugins/answers.rs"]
mod answers;
#[path = "plugins/balance.rs"]
mod balance;
#[path = "plugins/cors.rs"]
mod cors;
#[path = "plugins/kong.rs"]
mod kong;
#[path = "plugins/limits.rs"]
mod limits;
#[path = "plugins/logs.rs"]
mod logs;
#[path = "plugins/meta.rs"]
mod meta;
#[path = "plugins/redirect.rs"]
mod redirect;
#[path = "plugins/requests.rs"]
mod requests;
#[path = "plugins/responses.rs"]
mod responses;
