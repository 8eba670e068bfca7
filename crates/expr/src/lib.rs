//! Conditions over request variables, compiled once and evaluated without I/O.
//!
//! The language is APISIX's `vars`: a JSON list of `[variable, operator, value]`, joined by AND unless a list begins
//! with `OR`, `AND`, `!OR` or `!AND`. The engine calls [`Expression::matches`] for each candidate route; what a
//! variable holds is the engine's answer, through [`Variables`].

mod compile;
mod expression;
mod template;
mod variable;

pub use compile::{ExprError, Fault};
pub use expression::Expression;
pub use template::{NoCapture, Part, Template};
pub use variable::{ExchangeVariable, Variable, VariableError, Variables};
