//! Access tokens at a resource server: what a token may be, and the cache of those that were verified.
//!
//! A token is verified once: signature, header, issuer, and the shape of its claims. [`Claims`] is what is left of it.
//! Time, and the proof that a bound token needs, are judged again on every request, from there; what depends on claims
//! alone is judged once, with the verdict. Nothing here does I/O: whose keys are used, and what is asked of an introspection endpoint, the plugin decides.

mod binding;
mod cache;
mod claims;
mod counts;
mod digests;
mod path;
mod proofs;
mod refusal;
mod revocations;

pub use binding::Binding;
pub use cache::{CoreCache, VerdictKey, Weigh};
pub use claims::{ClaimRules, Claims, numeric_date, scopes};
pub use counts::{CacheCounts, cache_counts};
pub use path::{ClaimPath, Found};
pub use proofs::{Seen, SeenProofs};
pub use refusal::Refusal;
pub use revocations::{RevocationMarks, Revocations};
