//! Conditions over request variables, compiled once and evaluated without I/O.
//!
//! The language is APISIX's `vars`: a JSON list of `[variable, operator, value]`, joined by AND unless a list begins
//! with `OR`, `AND`, `!OR` or `!AND`. The engine calls [`Expression::matches`] for each candidate route; what a
//! variable holds is the engine's answer, through [`Variables`].
//!
//! [`Rule`] is the other language, that of Kong's router.

mod compile;
mod expression;
mod rule;
mod template;
mod variable;

pub use compile::{ExprError, Fault};
pub use expression::Expression;
pub use rule::{Beginning, Datum, Fact, Facts, Rule, RuleError};
pub use template::{NoCapture, Part, Template};
pub use variable::{ExchangeVariable, Variable, VariableError, Variables};
