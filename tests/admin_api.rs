//! Group A of the threat catalogue: the Admin API in APISIX's dialect, from the outside.
//!
//! Every row that can be asked of this build is a test that carries its id. The others, with the reason:
//!
//! | row | why there is no test of that name here |
//! |---|---|
//! | A02 | keys are compared as digests, in constant time (`apisix::admin::Access`); a test of nanoseconds over a socket would only be noise |
//! | A09 | the fuzz of 50,000 cases belongs to a nightly run; a seeded sample of it runs here (`a09_…`) |
//! | A13 | roles do not differ in the upstreams they may write; an upstream that is the process itself is A07 |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, as tests do"
)]

mod support;

#[path = "admin_api/access.rs"]
mod access;
#[path = "admin_api/bodies.rs"]
mod bodies;
#[path = "admin_api/configs.rs"]
mod configs;
#[path = "admin_api/control.rs"]
mod control;
#[path = "admin_api/managers.rs"]
mod managers;
#[path = "admin_api/references.rs"]
mod references;
#[path = "admin_api/wording.rs"]
mod wording;
#[path = "admin_api/writes.rs"]
mod writes;
