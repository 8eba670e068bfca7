use std::{borrow::Cow, net::IpAddr};

use ipnet::IpNet;
use regex::bytes::Regex;
use serde_json::Value;

use crate::{
    compile::{self, ExprError},
    variable::{Variable, Variables},
};

/// A compiled condition. Evaluation is linear in the length of the values it looks at and allocates nothing itself.
#[derive(Debug, Clone)]
pub struct Expression {
    node: Node,
    reads_body: bool,
}

impl From<Node> for Expression {
    fn from(node: Node) -> Self {
        Self { reads_body: node.reads_body(), node }
    }
}

impl Expression {
    /// Compiles `vars` for requests on their way. An empty list holds for every request.
    pub fn compile(vars: &Value) -> Result<Self, ExprError> {
        compile::compile(vars, Variable::parse_under_way).map(Self::from)
    }

    /// The same for requests whose route is looked for.
    pub fn compile_for_routes(vars: &Value) -> Result<Self, ExprError> {
        compile::compile(vars, Variable::parse_at_arrival).map(Self::from)
    }

    /// The same for exchanges that have ended.
    pub fn compile_for_logs(vars: &Value) -> Result<Self, ExprError> {
        compile::compile(vars, Variable::parse).map(Self::from)
    }

    /// The same where the answer may be asked about, too: until there is one, its variables are missing.
    pub fn compile_with_answers(vars: &Value) -> Result<Self, ExprError> {
        compile::compile(vars, Variable::parse_with_answers).map(Self::from)
    }

    /// Whether the condition holds for `request`.
    pub fn matches(&self, request: &dyn Variables) -> bool {
        self.node.holds(request)
    }

    /// Whether it asks for a part of the request's body.
    pub const fn reads_body(&self) -> bool {
        self.reads_body
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Test(Variable, Test),
}

impl Node {
    fn reads_body(&self) -> bool {
        match self {
            Self::All(nodes) | Self::Any(nodes) => nodes.iter().any(Self::reads_body),
            Self::Not(node) => node.reads_body(),
            Self::Test(variable, _) => variable.is_of_body(),
        }
    }

    fn holds(&self, request: &dyn Variables) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.holds(request)),
            Self::Any(nodes) => nodes.iter().any(|node| node.holds(request)),
            Self::Not(node) => !node.holds(request),
            Self::Test(variable, test) => test.holds(request.value(variable)),
        }
    }
}

/// What is asked of one value. A missing value satisfies [`Test::Missing`] alone.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    Missing,
    Equals(Operand),
    Greater(f64),
    GreaterOrEqual(f64),
    Less(f64),
    LessOrEqual(f64),
    Pattern(Regex),
    OneOf(Vec<Operand>),
    Within(Vec<IpNet>),
    /// `has` asks a list for an element; no supported variable is a list, so it never holds.
    Never,
}

impl Test {
    fn holds(&self, value: Option<Cow<'_, str>>) -> bool {
        let Some(value) = value else { return matches!(self, Self::Missing) };
        match self {
            Self::Missing | Self::Never => false,
            Self::Equals(operand) => operand.equals(&value),
            Self::Greater(than) => number(&value).is_some_and(|value| value > *than),
            Self::GreaterOrEqual(than) => number(&value).is_some_and(|value| value >= *than),
            Self::Less(than) => number(&value).is_some_and(|value| value < *than),
            Self::LessOrEqual(than) => number(&value).is_some_and(|value| value <= *than),
            Self::Pattern(pattern) => pattern.is_match(value.as_bytes()),
            Self::OneOf(operands) => operands.iter().any(|operand| operand.equals(&value)),
            Self::Within(nets) => value
                .parse::<IpAddr>()
                .is_ok_and(|address| nets.iter().any(|net| net.contains(&address.to_canonical()))),
        }
    }
}

/// A value written in the configuration: text compares byte by byte, a number with the number that the text is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand {
    Text(Box<str>),
    Number(f64),
}

impl Operand {
    #[allow(clippy::float_cmp)] // Exact equality is what the language defines; both sides are parsed, not computed.
    fn equals(&self, value: &str) -> bool {
        match self {
            Self::Text(text) => **text == *value,
            Self::Number(wanted) => number(value) == Some(*wanted),
        }
    }
}

/// The decimal number that `text` is, white space around it aside. Rust would also read `inf` and `nan`.
pub(crate) fn number(text: &str) -> Option<f64> {
    let text = text.trim_ascii();
    let decimal = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    if text.bytes().all(decimal) { text.parse().ok() } else { None }
}
