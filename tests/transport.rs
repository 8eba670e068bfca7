//! Group T of the threat catalogue: HTTP/1.1, HTTP/2 and TLS, from the outside.
//!
//! Every row that can be asked of this build is a test that carries its id. The others, with the reason:
//!
//! | row | why there is no test of that name here |
//! |---|---|
//! | T13 | the corpus of a million streams belongs to a nightly run; a seeded sample of it runs here (`t13_…`) |
//! | T14 | compares with nginx and HAProxy: it is in `suites/differential.rs` |
//!
//! Where the gateway deviates from a row on purpose: a bare LF ends a line of the head (T06); a request with both
//! `Content-Length` and `Transfer-Encoding` is read by the latter and its connection closed (T01, RFC 9112 section
//! 6.1); a chunk size may have any number of leading zeros (T04). Everything is serialised anew, so none of it reaches
//! an upstream.

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
