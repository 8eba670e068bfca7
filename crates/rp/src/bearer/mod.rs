//! Access tokens at a resource server: what a token may be, and the cache of those that were verified.
//!
//! A token is verified once: signature, header, issuer, and the shape of its claims. [`Claims`] is what is left of it.
//! Time is judged again on every request, from there; what depends on claims alone is judged once, with the verdict. Nothing here does I/O: whose keys are used,
//! and what is asked of an introspection endpoint, the plugin decides.

mod cache;
mod claims;
mod counts;
mod path;
mod refusal;

pub use cache::{CoreCache, VerdictKey, Weigh};
pub use claims::{ClaimRules, Claims, numeric_date, scopes};
pub use counts::{CacheCounts, cache_counts};
pub use path::{ClaimPath, Found};
pub use refusal::Refusal;
