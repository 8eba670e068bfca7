//! The Kong dialect: its entities and their schemas, its Admin API, and the way from there to the engine.
//!
//! A write comes in through [`admin`], is read and checked by the one description of its entity in [`schema`],
//! compiled by `compile`, committed to the store, and published to the engine by the one writer behind [`Dialect`];
//! then it is answered. Nothing below this crate has heard of Kong.

pub mod admin;
mod answer;
mod answer_headers;
mod catalog;
mod change;
mod compile;
mod declared;
mod dialect;
mod entities;
mod form;
mod multipart;
pub mod plugins;
mod reseal;
pub mod schema;
mod seal;
mod serving;
#[cfg(test)]
mod tests;
mod vaults;
mod writer;

pub use admin::{Access, AccessError, AdminKey, AdminState, Role, router};
pub use answer_headers::AnswerHeaders;
pub use dialect::{Dialect, Options, OwnKeys, Replace};
pub use entities::Kind;
pub use reseal::Resealer;
pub use vaults::Environment;

/// The version of Kong whose Admin API this is.
pub const VERSION: &str = "3.9.1";
