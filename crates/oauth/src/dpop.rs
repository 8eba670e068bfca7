//! Proofs of possession (RFC 9449).

mod prove;
mod verify;

pub use prove::{Proof, ProofKey};
pub use verify::{ALGS, Expected, ProofError, Proven, challenge, verify};
