//! Group T of the threat catalogue: HTTP/1.1, HTTP/2 and TLS, from the outside.
//!
//! Every row that can be asked of this build is a test that carries its id. T14 compares with nginx and HAProxy: it is in
//! `suites/differential.rs`. A run of the tests takes a seeded sample of T13's million streams; `cargo xtask fuzz` takes as
//! many as one likes.
//!
//! Where the gateway deviates from a row on purpose: a chunk size may have a few leading zeros (T04), and an empty line in
//! front of a request is skipped (T06, RFC 9112 section 2.2). Everything is serialised anew, so none of it reaches an
//! upstream.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, as tests do"
)]

mod support;

#[path = "transport/balancing.rs"]
mod balancing;
#[path = "transport/bodies.rs"]
mod bodies;
#[path = "transport/drain.rs"]
mod drain;
#[path = "transport/framing.rs"]
mod framing;
#[path = "transport/fuzz.rs"]
mod fuzz;
#[path = "transport/http2.rs"]
mod http2;
#[path = "transport/http2_floods.rs"]
mod http2_floods;
#[path = "transport/leaving.rs"]
mod leaving;
#[path = "transport/limits.rs"]
mod limits;
#[path = "transport/llhttp.rs"]
mod llhttp;
#[path = "transport/passing.rs"]
mod passing;
#[path = "transport/syntax.rs"]
mod syntax;
#[path = "transport/tls.rs"]
mod tls;
#[path = "transport/upstream_answers.rs"]
mod upstream_answers;
#[path = "transport/websocket.rs"]
mod websocket;
