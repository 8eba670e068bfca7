//! The engine: listeners, routing, plugin phases, upstream connections. It takes a compiled [`snapshot::Snapshot`]
//! and serves requests by it; it has never heard of a dialect, of SQL or of OpenID Connect.
//!
//! The way of a request: [`listener`] accepts it on one core, `proxy` cleans its head (`hygiene`, `path`), finds its
//! route (`router`), runs the route's plugins ([`plugin`]), and exchanges it with a target ([`upstream`]).

pub mod error;
pub mod plugin;
pub mod route;
mod router;
pub mod snapshot;
mod tls;
pub mod upstream;
