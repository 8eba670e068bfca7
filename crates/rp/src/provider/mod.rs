//! OpenID providers as live things: their metadata and keys, fetched before anybody asks and kept through outages, and
//! the calls to their endpoints.
//!
//! One [`Provider`] exists per discovery URL for as long as some route uses it, whatever happens to the configuration
//! around it. A task on the control runtime owns its refreshing; a request that finds metadata and keys there reads
//! two pointers.

mod calls;
mod client;
mod discovery;
mod error;
mod freshness;
mod further;
mod grants;
mod introspections;
mod keeper;
mod possession;
mod pushing;
mod refresher;
mod registry;
mod signatures;
#[cfg(test)]
mod tests;

pub use fetch::{Proxies, ProxyError, ProxyServer};

pub use calls::Userinfo;
pub use client::{Assertions, Client, TokenAuth};
pub use discovery::{issuer_matches, issuer_may_vary, named_issuer_matches, names_every_tenant};
pub use error::ProviderError;
pub use further::Further;
pub use grants::{Grant, Granted};
pub use introspections::{Introspected, Introspecting};
pub use keeper::{Keys, Provider};
pub use possession::Possession;
pub use registry::{Endpoints, Providers, SourceConfig};
pub use signatures::{Unverified, may_be_newer};
