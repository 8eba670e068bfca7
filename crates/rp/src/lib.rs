//! The relying party and resource server: everything the gate needs to trust somebody else's login.
//!
//! [`provider`] keeps what an OpenID provider publishes (metadata and keys) at hand and makes the calls to it. The other
//! modules build sessions and verified bearer tokens on top, and sign what the gate vouches for. Nothing here knows a dialect or a route; `plugins` calls it.

pub mod assertion;
pub mod bearer;
#[cfg(test)]
mod budgets;
pub mod provider;
pub mod session;
