//! Group S of the threat catalogue: where secrets are, and where they are not.
//!
//! Every row that can be asked of this build is a test that carries its id. The others, with the reason:
//!
//! | row | why there is no test of that name here |
//! |---|---|
//! | S05 | nothing from outside makes a handler panic: T13, A09 and A10 try |
//! | S10 | nothing exports a store; what a viewer is told is A14 in `admin_api.rs` |
//! | S11 | advisories, licences and the lock file are checked by `cargo xtask ci` |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, as tests do"
)]

mod support;

#[path = "secrets/canaries.rs"]
mod canaries;
#[path = "secrets/identity.rs"]
mod identity;
#[path = "secrets/log.rs"]
mod log;
#[path = "secrets/process.rs"]
mod process;
#[path = "secrets/rotation.rs"]
mod rotation;
