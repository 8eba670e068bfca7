//! Fuzzing at the door of the built binary: whatever comes in a cookie, a callback, a proof or a body, and whatever the
//! provider publishes or answers, nobody gets in who should not, nothing is a server error, and the process neither
//! panics nor grows. `cargo xtask fuzz` runs these for as long as one likes; see `support/fuzz.rs`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{CLIENT, conf, guarded, login};
use crate::support::{
    Answer, Browser, Line, Portcullis, Provider, Request, Site, Upstream, fuzz::Fuzz, tokens, unique,
};

#[path = "fuzz/browsers.rs"]
mod browsers;
#[path = "fuzz/operators.rs"]
mod operators;
#[path = "fuzz/presented.rs"]
mod presented;
#[path = "fuzz/published.rs"]
mod published;

/// A request as a browser sends it for a page.
fn page(site: &Site, rest: &str) -> Request {
    let host = format!("localhost:{}", site.gate.port(9080));
    Request::get(&site.target(rest)).header("Host", &host).header("Accept", "text/html")
}

/// Attributes of a route that takes tokens alone.
fn tokens_only(further: Value) -> Value {
    let mut conf = json!({"bearer_only": true, "use_jwks": true});
    conf.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    conf
}
