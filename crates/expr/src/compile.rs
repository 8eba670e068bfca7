use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use regex::bytes::RegexBuilder;
use serde_json::Value;

use crate::{
    expression::{Node, Operand, Test, number},
    variable::{Variable, VariableError},
};

/// Lists inside lists.
const MAX_DEPTH: usize = 16;
/// Conditions, groups and list elements of one expression together.
const MAX_ELEMENTS: usize = 4096;
/// Bytes of one text value or pattern.
const MAX_TEXT: usize = 8192;
/// Bytes of one compiled pattern, which bounds repetitions like `(a{1000}){1000}`.
const MAX_PATTERN: usize = 1 << 20;
/// Patterns of one expression, which bounds its memory to 64 MiB whatever they are.
const MAX_PATTERNS: usize = 64;

/// Why `vars` cannot be compiled, with the place of the element at fault, counted from 0: `vars[1][2]`.
///
/// What APISIX has words for is said in them alone, since its clients compare the whole text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ExprError {
    /// Where the fault is.
    pub at: String,
    /// What it is.
    pub kind: Fault,
}

impl fmt::Display for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Fault::TooShort | Fault::Unwrapped | Fault::Condition | Fault::Not | Fault::Operator(_) => {
                self.kind.fmt(f)
            }
            kind => write!(f, "{}: {kind}", self.at),
        }
    }
}

/// What is wrong with an element of `vars`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The element is not the kind of JSON value that belongs here.
    #[error("expected {expected}, got {got}")]
    Shape {
        /// What belongs here.
        expected: &'static str,
        /// What is there.
        got: &'static str,
    },
    /// A group without enough conditions in it.
    #[error("rule too short")]
    TooShort,
    /// A single condition where a list of conditions belongs.
    #[error("rule should be wrapped inside brackets")]
    Unwrapped,
    /// A condition of one element, or of more than four: it is `[variable, operator, value]` or
    /// `[variable, "!", operator, value]`.
    #[error("invalid expression")]
    Condition,
    /// A condition of four elements whose second is not `!`.
    #[error("bad 'not' expression")]
    Not,
    /// The variable is not one that conditions can ask for.
    #[error(transparent)]
    Variable(#[from] VariableError),
    /// There is no such operator.
    #[error("invalid operator '{0}'")]
    Operator(String),
    /// The variable is a list, and is asked for something else than an element.
    #[error("a list can be asked by `has` alone")]
    List,
    /// The pattern does not compile. Look-around and back-references are not part of the language.
    #[error("invalid regular expression: {0}")]
    Pattern(String),
    /// Not an IP address and not a network in CIDR notation.
    #[error("`{0}` is neither an IP address nor a network")]
    Address(String),
    /// More levels than the limit.
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// More elements than the limit.
    #[error("more than {MAX_ELEMENTS} elements")]
    TooLarge,
    /// More patterns than the limit.
    #[error("more than {MAX_PATTERNS} regular expressions")]
    TooManyPatterns,
    /// A text longer than the limit.
    #[error("a text of more than {MAX_TEXT} bytes")]
    TooLong,
}

/// How a name is read.
pub(crate) type Names = fn(&str) -> Result<Variable, VariableError>;

pub(crate) fn compile(vars: &Value, names: Names) -> Result<Node, ExprError> {
    let mut compiler = Compiler { names, place: Vec::new(), elements: 0, patterns: 0 };
    compiler.root(vars).map_err(|kind| ExprError { at: Place(&compiler.place).to_string(), kind })
}

/// Walks the JSON. `place` is where it stands; a fault leaves it standing there.
struct Compiler {
    names: Names,
    place: Vec<usize>,
    elements: usize,
    patterns: usize,
}

struct Place<'a>(&'a [usize]);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("vars")?;
        self.0.iter().try_for_each(|index| write!(f, "[{index}]"))
    }
}

impl Compiler {
    fn root(&mut self, vars: &Value) -> Result<Node, Fault> {
        let rules = list(vars)?;
        match rules.first() {
            None => Ok(Node::All(Vec::new())),
            Some(Value::String(first)) if Group::parse(first).is_none() => Err(Fault::Unwrapped),
            Some(_) => self.rule(rules),
        }
    }

    /// A group of rules or one condition; which of them, its first element says.
    fn rule(&mut self, rule: &[Value]) -> Result<Node, Fault> {
        self.count(1)?;
        if self.place.len() > MAX_DEPTH {
            return Err(Fault::TooDeep);
        }
        match rule.first() {
            None => Err(Fault::TooShort),
            Some(Value::Array(_)) => Ok(Node::All(self.rules(rule, 0)?)),
            Some(Value::String(first)) => match Group::parse(first) {
                Some(_) if rule.len() <= 2 => Err(Fault::TooShort),
                Some(group) => Ok(group.of(self.rules(rule, 1)?)),
                None => self.condition(first, rule),
            },
            Some(other) => {
                self.place.push(0);
                Err(shape("a variable, an operator or a list", other))
            }
        }
    }

    fn rules(&mut self, rules: &[Value], from: usize) -> Result<Vec<Node>, Fault> {
        rules
            .iter()
            .enumerate()
            .skip(from)
            .map(|(index, rule)| self.at(index, |c| c.rule(list(rule)?)))
            .collect()
    }

    fn condition(&mut self, name: &str, rule: &[Value]) -> Result<Node, Fault> {
        let variable = self.at(0, |c| Ok((c.names)(name)?))?;
        match rule {
            // APISIX's shorthand for `==`.
            [_, _] if matches!(variable, Variable::GraphqlRootField(_)) => Err(Fault::List),
            [_, value] => self.at(1, |c| c.test("==", value)).map(|test| Node::Test(variable, test)),
            [_, operator, value] => self.comparison(variable, (1, operator), (2, value)),
            [_, not, operator, value] if not.as_str() == Some("!") => {
                Ok(Node::Not(Box::new(self.comparison(variable, (2, operator), (3, value))?)))
            }
            [_, _, _, _] => Err(Fault::Not),
            _ => Err(Fault::Condition),
        }
    }

    fn comparison(
        &mut self,
        variable: Variable,
        (operator_at, operator): (usize, &Value),
        (value_at, value): (usize, &Value),
    ) -> Result<Node, Fault> {
        let operator = self.at(operator_at, |_| {
            let name = operator.as_str().ok_or_else(|| shape("an operator", operator))?.to_ascii_lowercase();
            if OPERATORS.contains(&name.as_str()) {
                Ok(name)
            } else {
                Err(Fault::Operator(name.chars().take(64).collect()))
            }
        })?;
        if matches!(variable, Variable::GraphqlRootField(_)) {
            if operator != "has" {
                return self.at(operator_at, |_| Err(Fault::List));
            }
            let field = self.at(value_at, |_| text(value, "a string"))?;
            let missing = Node::Test(Variable::GraphqlRootField(field.into()), Test::Missing);
            return Ok(Node::Not(Box::new(missing)));
        }
        let test = self.at(value_at, |c| c.test(&operator, value))?;
        let test = Node::Test(variable, test);
        Ok(if operator == "~=" { Node::Not(Box::new(test)) } else { test })
    }

    fn test(&mut self, operator: &str, value: &Value) -> Result<Test, Fault> {
        Ok(match operator {
            ">" => Test::Greater(numeric(value)?),
            ">=" => Test::GreaterOrEqual(numeric(value)?),
            "<" => Test::Less(numeric(value)?),
            "<=" => Test::LessOrEqual(numeric(value)?),
            "~~" => Test::Pattern(self.pattern(value, false)?),
            "~*" => Test::Pattern(self.pattern(value, true)?),
            "in" => Test::OneOf(self.elements(list(value)?, operand)?),
            "ipmatch" => match value {
                Value::Array(values) => Test::Within(self.elements(values, network)?),
                one => Test::Within(vec![network(one)?]),
            },
            "has" => {
                operand(value)?;
                Test::Never
            }
            // `==`, and `~=`, which the caller turns round.
            _ => match value {
                Value::Null => Test::Missing,
                value => Test::Equals(operand(value)?),
            },
        })
    }

    fn pattern(&mut self, value: &Value, fold: bool) -> Result<regex::bytes::Regex, Fault> {
        self.patterns += 1;
        if self.patterns > MAX_PATTERNS {
            return Err(Fault::TooManyPatterns);
        }
        // Bytes and ASCII classes, as nginx runs PCRE without its `u` flag; this also keeps compiled classes small.
        RegexBuilder::new(text(value, "a regular expression")?)
            .case_insensitive(fold)
            .unicode(false)
            .size_limit(MAX_PATTERN)
            .dfa_size_limit(MAX_PATTERN)
            .build()
            .map_err(|error| Fault::Pattern(last_line(&error.to_string())))
    }

    fn elements<T>(
        &mut self,
        values: &[Value],
        read: fn(&Value) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        self.count(values.len())?;
        values.iter().enumerate().map(|(index, value)| self.at(index, |_| read(value))).collect()
    }

    fn count(&mut self, more: usize) -> Result<(), Fault> {
        self.elements = self.elements.saturating_add(more);
        if self.elements > MAX_ELEMENTS { Err(Fault::TooLarge) } else { Ok(()) }
    }

    fn at<T>(&mut self, index: usize, work: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        self.place.push(index);
        let done = work(self)?;
        self.place.pop();
        Ok(done)
    }
}

const OPERATORS: &[&str] = &["==", "~=", ">", ">=", "<", "<=", "~~", "~*", "in", "has", "ipmatch"];

#[derive(Clone, Copy)]
enum Group {
    And,
    Or,
    NotAnd,
    NotOr,
}

impl Group {
    fn parse(word: &str) -> Option<Self> {
        Some(match word.to_ascii_uppercase().as_str() {
            "AND" => Self::And,
            "OR" => Self::Or,
            "!AND" => Self::NotAnd,
            "!OR" => Self::NotOr,
            _ => return None,
        })
    }

    fn of(self, nodes: Vec<Node>) -> Node {
        match self {
            Self::And => Node::All(nodes),
            Self::Or => Node::Any(nodes),
            Self::NotAnd => Node::Not(Box::new(Node::All(nodes))),
            Self::NotOr => Node::Not(Box::new(Node::Any(nodes))),
        }
    }
}

fn list(value: &Value) -> Result<&[Value], Fault> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| shape("a list", value))
}

fn operand(value: &Value) -> Result<Operand, Fault> {
    match value {
        Value::Number(number) => {
            number.as_f64().map(Operand::Number).ok_or_else(|| shape("a string or a number", value))
        }
        value => text(value, "a string or a number").map(|text| Operand::Text(text.into())),
    }
}

/// The order operators compare numbers only; a text that is one will do.
fn numeric(value: &Value) -> Result<f64, Fault> {
    value.as_f64().or_else(|| number(value.as_str()?)).ok_or_else(|| shape("a number", value))
}

/// The parser draws the pattern with a caret under the fault and ends with what is wrong.
fn last_line(message: &str) -> String {
    let line = message.lines().rfind(|line| !line.trim().is_empty()).unwrap_or(message);
    line.trim().trim_start_matches("error: ").to_owned()
}

fn network(value: &Value) -> Result<IpNet, Fault> {
    let text = text(value, "an IP address or a network")?;
    text.parse::<IpNet>()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(|address| IpNet::from(address.to_canonical())))
        .ok_or_else(|| Fault::Address(text.chars().take(64).collect()))
}

fn text<'a>(value: &'a Value, expected: &'static str) -> Result<&'a str, Fault> {
    match value.as_str() {
        Some(text) if text.len() > MAX_TEXT => Err(Fault::TooLong),
        Some(text) => Ok(text),
        None => Err(shape(expected, value)),
    }
}

fn shape(expected: &'static str, value: &Value) -> Fault {
    let got = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Fault::Shape { expected, got }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fault(vars: Value) -> String {
        compile(&vars, Variable::parse).unwrap_err().to_string()
    }

    #[test]
    fn an_error_names_the_element_at_fault() {
        assert_eq!(
            fault(json!([["uri", "==", "/a"], ["uri", "==", true]])),
            "vars[1][2]: expected a string or a number, got a boolean"
        );
        assert_eq!(
            fault(json!(["OR", ["uri", "/a"], ["arg_k", "in", ["1", {}]]])),
            "vars[2][2][1]: expected a string or a number, got an object"
        );
        assert_eq!(
            fault(json!([["post_arg_x", "==", "1"]])),
            "vars[0][0]: variable `post_arg_x` is not supported"
        );
        assert_eq!(fault(json!([["uri", "invalid", 10]])), "invalid operator 'invalid'");
        assert_eq!(
            fault(json!([["remote_addr", "ipmatch", ["10.0.0.0/33"]]])),
            "vars[0][2][0]: `10.0.0.0/33` is neither an IP address nor a network"
        );
    }

    #[test]
    fn malformed_shapes_are_refused() {
        assert_eq!(fault(json!(["uri", "==", "/a"])), "rule should be wrapped inside brackets");
        assert_eq!(fault(json!(["OR", ["uri", "/a"]])), "rule too short");
        assert_eq!(fault(json!([[]])), "rule too short");
        assert_eq!(fault(json!({})), "vars: expected a list, got an object");
        assert_eq!(fault(json!([1])), "vars[0]: expected a variable, an operator or a list, got a number");
        assert_eq!(fault(json!([["uri", "==", "/a"], "uri"])), "vars[1]: expected a list, got a string");
        assert_eq!(fault(json!([["arg_a", ">", "b"]])), "vars[0][2]: expected a number, got a string");
        assert_eq!(fault(json!([["uri", "==", "a", "b", "c"]])), "invalid expression");
        assert_eq!(fault(json!([["uri", "no", "==", "b"]])), "bad 'not' expression");
        assert_eq!(fault(json!([["uri"]])), "invalid expression");
    }

    #[test]
    fn a12_patterns_outside_linear_time_are_refused() {
        assert_eq!(
            fault(json!([["uri", "~~", "^(?!/admin)"]])),
            "vars[0][2]: invalid regular expression: look-around, including look-ahead and look-behind, is not supported"
        );
        assert_eq!(
            fault(json!([["uri", "~~", r"(a)\1"]])),
            "vars[0][2]: invalid regular expression: backreferences are not supported"
        );
        assert!(fault(json!([["uri", "~~", "((a{1000}){1000}){1000}"]])).contains("size limit"));
    }

    #[test]
    fn a12_nesting_and_size_are_capped() {
        let mut deep = json!([["uri", "/a"]]);
        for _ in 0..40 {
            deep = json!([deep]);
        }
        assert!(fault(deep).ends_with("nested deeper than 16 levels"));
        let wide: Vec<Value> = (0..5000).map(|_| json!(["uri", "/a"])).collect();
        assert!(fault(json!(wide)).ends_with("more than 4096 elements"));
        let values: Vec<Value> = (0..5000).map(|n| json!(n)).collect();
        assert_eq!(fault(json!([["arg_n", "in", values]])), "vars[0][2]: more than 4096 elements");
        assert_eq!(
            fault(json!([["uri", "==", "x".repeat(9000)]])),
            "vars[0][2]: a text of more than 8192 bytes"
        );
    }
}
