//! Group H of the threat catalogue: who the caller is, which path and host are meant, and what may be upgraded.
//!
//! Every row that can be asked of this build is a test that carries its id. The others, with the reason:
//!
//! | row | why there is no test of that name here |
//! |---|---|
//! | H06 | its frames are with those of T23, in `transport.rs` |
//! | H15 | there are no rules that skip authentication by a pattern |
//! | H16 | no plugin rewrites paths |
//! | H19 | what judges a header of the client is in `consumers.rs` |
//! | H26 | no plugin asks another server for permission; introspection is with the bearer tests |
//! | H27 | nothing is mirrored, and error answers are made by the gateway itself |
//! | H29 | it is in `consumers.rs` |
//! | H30 | there is no CORS plugin; answers carry no `Access-Control-*` of the gateway's own (checked in H07) |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, as tests do"
)]

mod support;

#[path = "identity_headers/claims.rs"]
mod claims;
#[path = "identity_headers/client_certificates.rs"]
mod client_certificates;
#[path = "identity_headers/hosts.rs"]
mod hosts;
#[path = "identity_headers/paths.rs"]
mod paths;
#[path = "identity_headers/upgrades.rs"]
mod upgrades;

use serde_json::{Value, json};
use support::{Provider, Site, shared};

/// A route that asks for a bearer token of a provider of its own.
async fn protected() -> (Site, Provider) {
    let provider = Provider::start("h-client");
    let site = Site::on(shared(), bearer(&provider)).await;
    (site, provider)
}

fn bearer(provider: &Provider) -> Value {
    json!({"openid-connect": {
        "client_id": "h-client",
        "client_secret": "the secret of this client in the tests",
        "discovery": provider.discovery(),
        "bearer_only": true,
        "use_jwks": true,
    }})
}
