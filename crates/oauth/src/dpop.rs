//! Proofs of possession (RFC 9449).

mod verify;

pub use verify::{ALGS, Expected, ProofError, Proven, challenge, verify};
