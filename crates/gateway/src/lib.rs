//! The engine: listeners, routing, plugin phases, upstream connections. It takes a compiled [`snapshot::Snapshot`]
//! and serves requests by it; it has never heard of a dialect, of SQL or of OpenID Connect.
//!
//! The way of a request: `listener` accepts it on one core, `proxy` cleans its head (`hygiene`, `host`, `path`),
//! finds its route (`router`), runs the route's plugins ([`plugin`]), and exchanges it with a target ([`upstream`]).

mod access_log;
mod arrival;
mod body;
#[cfg(test)]
mod budgets;
mod chain;
mod client_body;
mod client_h1;
mod client_policy;
mod client_stream;
pub mod condition;
pub mod consumer;
mod core;
mod delivery;
pub mod engine;
pub mod error;
mod fields;
mod graphql;
mod h1;
mod host;
mod hygiene;
mod listener;
mod local;
mod metrics;
mod path;
pub mod plugin;
mod proxy;
mod proxy_protocol;
pub mod ranked;
pub mod route;
mod router;
mod sharded;
pub mod snapshot;
mod streams;
mod tls;
mod trie;
mod tunnel;
pub mod upstream;

pub use client_policy::{ClientPolicy, authority_digest};
pub use hygiene::{is_identity, is_same_header, is_the_gates};
pub use path::{Refused as PathRefused, normalise as normalise_path};
pub use ranked::path_pattern;
pub use tls::{FOREIGN_KEY, KeyPairPem, NO_CERTIFICATE, NO_KEY, TlsAcceptance, TlsVersions};
