//! The APISIX dialect: its resources and wire schemas, its Admin API, and the way from there to the engine.
//!
//! A write comes in through [`admin`], is checked against [`schema`] and [`plugins`], compiled by `compile`, committed
//! to the store, and published to the engine by the one writer behind [`Dialect`]; then it is answered. Nothing below
//! this crate has heard of APISIX.

pub mod admin;
mod answer;
mod catalog;
mod change;
mod compile;
pub mod control;
mod dialect;
mod document;
mod json;
mod listed;
mod patch;
pub mod plugins;
mod references;
mod replace;
mod reseal;
mod resources;
pub mod schema;
mod serving;
mod writer;

pub use base::yaml::typed;
pub use dialect::{Dialect, Options};
pub use references::{Environment, References};
pub use reseal::Resealer;
pub use resources::Kind;

#[cfg(test)]
mod tests;
