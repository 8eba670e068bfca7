//! What the gate vouches for, signed by itself: a short JWT that tells an upstream who is calling, and the keys for it.
//!
//! The keys are the deployment's own. A new one is published before it signs and an old one for as long as anything it
//! signed may still be looked at, so that an upstream that fetches the set now and then never meets an unknown key. Nothing
//! here does I/O: where the keys are kept, and when they are looked at, the binary decides.

mod keys;

pub use keys::{AssertionKey, AssertionKeys, KeyRecord};
