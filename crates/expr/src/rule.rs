//! Conditions in the language of Kong's router: `http.path ^= "/a" && any(http.headers.x_kind) == "b"`.
//!
//! A predicate asks for one field of a request. A field may have several values, as a header has that was sent twice: the
//! predicate holds where all of them fit, or with `any(…)` where one does; and never where there is none.

mod parse;

use std::{borrow::Cow, fmt, net::IpAddr};

use ipnet::IpNet;
use regex::bytes::Regex;

/// What a rule asks a request for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// `net.protocol`: `http` or `https`.
    Protocol,
    /// `tls.sni`.
    ServerName,
    /// `http.method`.
    Method,
    /// `http.host`: without port.
    Host,
    /// `http.path`: the normalised path, without the query.
    Path,
    /// `http.path.segments.len`.
    SegmentCount,
    /// `http.path.segments.0`, `http.path.segments.1_2`: from the one to the other segment.
    Segments(usize, usize),
    /// `http.headers.x_kind`: by its name, in lower case and with dashes.
    Header(Box<str>),
    /// `http.queries.name`.
    Query(Box<str>),
    /// `net.src.ip`.
    SourceAddress,
    /// `net.src.port`.
    SourcePort,
    /// `net.dst.ip`.
    DestinationAddress,
    /// `net.dst.port`.
    DestinationPort,
}

/// One value of a field.
#[derive(Debug, Clone, Copy)]
pub enum Datum<'a> {
    /// Of texts.
    Text(&'a [u8]),
    /// Of numbers.
    Number(i64),
    /// Of addresses.
    Address(IpAddr),
}

/// A request, as far as rules see it.
pub trait Facts {
    /// Calls `judge` with each value that the request has for `fact`.
    fn each(&self, fact: &Fact, judge: &mut dyn FnMut(Datum<'_>));
}

/// How the path may begin of requests for which a rule holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beginning<'a> {
    /// With this text.
    Text(&'a str),
    /// With this text, however its letters are written.
    Folded(&'a str),
    /// With what this regular expression matches.
    Pattern(&'a str),
}

/// Why a text is no rule: where in it, in bytes, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleError {
    /// Where.
    pub at: usize,
    /// What.
    pub why: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.why, self.at)
    }
}

impl std::error::Error for RuleError {}

/// A compiled rule. Evaluation is linear in the length of the values it looks at.
#[derive(Debug, Clone)]
pub struct Rule(Node);

#[derive(Debug, Clone)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Predicate(Predicate),
}

#[derive(Debug, Clone)]
struct Predicate {
    fact: Fact,
    lower: bool,
    any: bool,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    Equals(Operand),
    Differs(Operand),
    Begins(Box<str>),
    Ends(Box<str>),
    Contains(Box<str>),
    Matches(Regex),
    Above(i64),
    Below(i64),
    Within(IpNet),
    Without(IpNet),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Operand {
    Text(Box<str>),
    Number(i64),
    Address(IpAddr),
}

impl Rule {
    /// Reads a rule.
    ///
    /// # Errors
    ///
    /// When the text is none, asks for a field that there is not, or compares it with what it cannot be.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        parse::parse(text).map(Self)
    }

    /// Whether it holds for a request.
    pub fn holds(&self, request: &dyn Facts) -> bool {
        self.0.holds(request)
    }

    /// Whether it asks for this.
    pub fn asks_for(&self, fact: &Fact) -> bool {
        self.0.any(&mut |predicate| predicate.fact == *fact)
    }

    /// How every path begins for which it may hold, as far as that is plain.
    pub fn required_beginning(&self) -> Option<&str> {
        self.0.required(&|predicate| match (&predicate.fact, &predicate.test) {
            (Fact::Path, Test::Begins(text) | Test::Equals(Operand::Text(text))) => Some(text),
            _ => None,
        })
    }

    /// The one host for which it may hold, as far as that is plain.
    pub fn required_host(&self) -> Option<&str> {
        self.0.required(&|predicate| match (&predicate.fact, &predicate.test) {
            (Fact::Host, Test::Equals(Operand::Text(text))) => Some(text),
            _ => None,
        })
    }

    /// How the paths may begin of which it speaks.
    pub fn beginnings(&self) -> Vec<Beginning<'_>> {
        let mut found = Vec::new();
        self.0.beginnings(&mut found);
        found
    }
}

impl Node {
    fn holds(&self, request: &dyn Facts) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.holds(request)),
            Self::Any(nodes) => nodes.iter().any(|node| node.holds(request)),
            Self::Not(node) => !node.holds(request),
            Self::Predicate(predicate) => predicate.holds(request),
        }
    }

    fn any(&self, wanted: &mut dyn FnMut(&Predicate) -> bool) -> bool {
        match self {
            Self::All(nodes) | Self::Any(nodes) => nodes.iter().any(|node| node.any(wanted)),
            Self::Not(node) => node.any(wanted),
            Self::Predicate(predicate) => wanted(predicate),
        }
    }

    /// What a predicate on the text itself says that must hold.
    fn required<'a>(&'a self, said: &dyn Fn(&'a Predicate) -> Option<&'a str>) -> Option<&'a str> {
        match self {
            Self::All(nodes) => nodes.iter().find_map(|node| node.required(said)),
            Self::Predicate(predicate) if !predicate.lower => said(predicate),
            _ => None,
        }
    }

    fn beginnings<'a>(&'a self, found: &mut Vec<Beginning<'a>>) {
        match self {
            Self::All(nodes) | Self::Any(nodes) => nodes.iter().for_each(|node| node.beginnings(found)),
            Self::Not(_) => {}
            Self::Predicate(predicate) => found.extend(predicate.beginning()),
        }
    }
}

impl Predicate {
    fn holds(&self, request: &dyn Facts) -> bool {
        let (mut all, mut fitting) = (0_usize, 0_usize);
        request.each(&self.fact, &mut |datum| {
            all += 1;
            fitting += usize::from(self.fits(datum));
        });
        fitting > 0 && (self.any || fitting == all)
    }

    fn fits(&self, datum: Datum<'_>) -> bool {
        match datum {
            Datum::Text(text) if self.lower => self.test.takes(Datum::Text(&lowered(text))),
            other => self.test.takes(other),
        }
    }

    fn beginning(&self) -> Option<Beginning<'_>> {
        if self.fact != Fact::Path {
            return None;
        }
        match &self.test {
            Test::Begins(text) | Test::Equals(Operand::Text(text)) if self.lower => {
                Some(Beginning::Folded(text))
            }
            Test::Begins(text) | Test::Equals(Operand::Text(text)) => Some(Beginning::Text(text)),
            Test::Matches(pattern) if !self.lower => Some(Beginning::Pattern(pattern.as_str())),
            _ => None,
        }
    }
}

impl Test {
    fn takes(&self, datum: Datum<'_>) -> bool {
        match (self, datum) {
            (Self::Equals(own), datum) => own.is(datum),
            (Self::Differs(own), datum) => !own.is(datum),
            (Self::Begins(own), Datum::Text(text)) => text.starts_with(own.as_bytes()),
            (Self::Ends(own), Datum::Text(text)) => text.ends_with(own.as_bytes()),
            (Self::Contains(own), Datum::Text(text)) => contains(text, own.as_bytes()),
            (Self::Matches(pattern), Datum::Text(text)) => pattern.is_match(text),
            (Self::Above(own), Datum::Number(number)) => number > *own,
            (Self::Below(own), Datum::Number(number)) => number < *own,
            (Self::Within(own), Datum::Address(address)) => own.contains(&address),
            (Self::Without(own), Datum::Address(address)) => !own.contains(&address),
            _ => false,
        }
    }
}

impl Operand {
    fn is(&self, datum: Datum<'_>) -> bool {
        match (self, datum) {
            (Self::Text(own), Datum::Text(text)) => own.as_bytes() == text,
            (Self::Number(own), Datum::Number(number)) => *own == number,
            (Self::Address(own), Datum::Address(address)) => *own == address,
            _ => false,
        }
    }
}

fn lowered(text: &[u8]) -> Cow<'_, [u8]> {
    match std::str::from_utf8(text) {
        Ok(text) => Cow::Owned(text.to_lowercase().into_bytes()),
        Err(_) => Cow::Owned(text.to_ascii_lowercase()),
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}
