//! Consumers at the built binary: what their credentials open, what reaches the upstream, and what does not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, as tests do"
)]

mod support;

#[path = "consumers/layers.rs"]
mod layers;
#[path = "consumers/passwords.rs"]
mod passwords;
#[path = "consumers/signatures.rs"]
mod signatures;
#[path = "consumers/tokens.rs"]
mod tokens;

use serde_json::{Value, json};
use support::{Portcullis, Request, Response, Site};

/// Headers by which the upstream is told who calls.
const TOLD: [&str; 3] = ["x-consumer-username", "x-consumer-custom-id", "x-credential-identifier"];

/// Makes a consumer with these plugins.
async fn consumer(gate: &Portcullis, name: &str, plugins: Value) {
    gate.admin().set("consumers", &json!({"username": name, "plugins": plugins})).await;
}

/// Asserts a refusal in APISIX's words, with its challenge, of which nothing reached the upstream.
fn refused(site: &Site, answer: &Response, why: &str, challenge: &str) {
    assert_eq!((answer.status, answer.text()), (401, format!("{{\"message\":\"{why}\"}}\n")));
    assert_eq!(answer.header("www-authenticate"), Some(challenge));
    assert_eq!(site.upstream.received(), "", "the upstream was asked");
}

/// One request below the site's path, with claims of its own about who it is.
fn forged(site: &Site, rest: &str) -> Request {
    let request = Request::get(&site.target(rest));
    let request = TOLD.into_iter().fold(request, |request, name| request.header(name, "evil"));
    request.header("X_Consumer_Username", "evil").header("Connection", "close, X-Consumer-Username")
}

/// What the upstream was told of the caller of its newest request.
fn told(site: &Site) -> [Option<String>; 3] {
    let seen = site.upstream.seen();
    let newest = seen.last().expect("a request reached the upstream");
    assert!(!String::from_utf8_lossy(&newest.raw).contains("evil"), "{newest:?}");
    TOLD.map(|name| newest.header(name).map(str::to_owned))
}
