use std::net::IpAddr;

use ipnet::IpNet;
use regex::bytes::RegexBuilder;

use super::{Fact, Node, Operand, Predicate, RuleError, Test};

/// Bytes of a whole rule.
const MAX_TEXT: usize = 64 * 1024;
/// Parentheses and functions inside each other.
const MAX_DEPTH: usize = 32;
/// Bytes of one compiled pattern, which bounds repetitions like `(a{1000}){1000}`.
const MAX_PATTERN: usize = 1 << 20;
/// Patterns of one rule, which bounds its memory.
const MAX_PATTERNS: usize = 64;

/// Of what kind the values of a field are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Address,
}

pub(super) fn parse(text: &str) -> Result<Node, RuleError> {
    let mut parser = Parser { text, at: 0, depth: 0, patterns: 0 };
    if text.len() > MAX_TEXT {
        return Err(parser.wrong(format!("more than {MAX_TEXT} bytes")));
    }
    let node = parser.expression()?;
    parser.skip();
    if parser.rest().is_empty() { Ok(node) } else { Err(parser.wrong("expected `&&`, `||` or the end")) }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    patterns: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn wrong(&self, why: impl Into<String>) -> RuleError {
        RuleError { at: self.at, why: why.into() }
    }

    fn skip(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Goes behind `token`, if it is what comes next.
    fn takes(&mut self, token: &str) -> bool {
        self.skip();
        let is_next = self.rest().starts_with(token);
        self.at += if is_next { token.len() } else { 0 };
        is_next
    }

    /// The same for a word, which ends where its letters do.
    fn takes_word(&mut self, word: &str) -> bool {
        self.skip();
        let next = self.rest().strip_prefix(word).map(|rest| rest.chars().next());
        let is_next = next.is_some_and(|after| !after.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_'));
        self.at += if is_next { word.len() } else { 0 };
        is_next
    }

    fn expects(&mut self, token: &str) -> Result<(), RuleError> {
        if self.takes(token) { Ok(()) } else { Err(self.wrong(format!("expected `{token}`"))) }
    }

    fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, RuleError>) -> Result<T, RuleError> {
        if self.depth >= MAX_DEPTH {
            return Err(self.wrong(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.depth += 1;
        let done = work(self)?;
        self.depth -= 1;
        Ok(done)
    }

    /// `&&` binds more closely than `||`.
    fn expression(&mut self) -> Result<Node, RuleError> {
        let mut any = vec![self.conjunction()?];
        while self.takes("||") {
            any.push(self.conjunction()?);
        }
        Ok(alone_or(any, Node::Any))
    }

    fn conjunction(&mut self) -> Result<Node, RuleError> {
        let mut all = vec![self.term()?];
        while self.takes("&&") {
            all.push(self.term()?);
        }
        Ok(alone_or(all, Node::All))
    }

    fn term(&mut self) -> Result<Node, RuleError> {
        let negated = self.takes("!");
        if !self.takes("(") {
            return match negated {
                true => Err(self.wrong("expected `(`")),
                false => self.predicate().map(Node::Predicate),
            };
        }
        let inner = self.deeper(Self::expression)?;
        self.expects(")")?;
        Ok(if negated { Node::Not(Box::new(inner)) } else { inner })
    }

    fn predicate(&mut self) -> Result<Predicate, RuleError> {
        let (mut lower, mut any) = (false, false);
        let (fact, kind) = self.field(&mut lower, &mut any)?;
        if lower && kind != Kind::Text {
            return Err(self.wrong("lower() is for texts"));
        }
        let test = self.test(kind)?;
        Ok(Predicate { fact, lower, any, test })
    }

    fn field(&mut self, lower: &mut bool, any: &mut bool) -> Result<(Fact, Kind), RuleError> {
        self.skip();
        let rest = self.rest();
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
        let name = rest.get(..rest.find(|c| !is_of_name(c)).unwrap_or(rest.len())).unwrap_or_default();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(self.wrong("expected a field"));
        }
        let begin = self.at;
        self.at += name.len();
        if self.takes("(") {
            match name {
                "lower" => *lower = true,
                "any" => *any = true,
                _ => return Err(RuleError { at: begin, why: format!("unknown function `{name}`") }),
            }
            let found = self.deeper(|parser| parser.field(lower, any))?;
            self.expects(")")?;
            return Ok(found);
        }
        fact(name).map_err(|why| RuleError { at: begin, why: why.to_owned() })
    }

    fn test(&mut self, kind: Kind) -> Result<Test, RuleError> {
        self.skip();
        let at = self.at;
        let unfit = |why: &str| Err(RuleError { at, why: why.to_owned() });
        const TOKENS: [&str; 10] = ["==", "!=", "^=", "=^", "~", ">=", ">", "<=", "<", "contains"];
        let operator = match TOKENS.into_iter().find(|token| self.takes(token)) {
            Some(token) => token,
            None if self.takes_word("in") => "in",
            None if self.takes_word("not") && self.takes_word("in") => "not in",
            None => return unfit("expected an operator"),
        };
        match (operator, kind) {
            ("==", _) => Ok(Test::Equals(self.operand(kind)?)),
            ("!=", _) => Ok(Test::Differs(self.operand(kind)?)),
            ("^=", Kind::Text) => Ok(Test::Begins(self.string()?.into())),
            ("=^", Kind::Text) => Ok(Test::Ends(self.string()?.into())),
            ("contains", Kind::Text) => Ok(Test::Contains(self.string()?.into())),
            ("~", Kind::Text) => self.pattern(),
            (">", Kind::Number) => Ok(Test::Above(self.number()?)),
            ("<", Kind::Number) => Ok(Test::Below(self.number()?)),
            (">=", Kind::Number) => Ok(Test::Above(self.number()?.saturating_sub(1))),
            ("<=", Kind::Number) => Ok(Test::Below(self.number()?.saturating_add(1))),
            ("in", Kind::Address) => self.network().map(Test::Within),
            ("not in", Kind::Address) => self.network().map(Test::Without),
            ("in" | "not in", _) => unfit("In/NotIn operators only supports IP in CIDR"),
            ("~", _) => unfit("Regex operators only supports string operands"),
            ("^=" | "=^", _) => unfit("Prefix/Postfix operators only supports string operands"),
            ("contains", _) => unfit("Contains operator only supports string operands"),
            _ => unfit("Greater/Less operators only supports integer operands"),
        }
    }

    fn operand(&mut self, kind: Kind) -> Result<Operand, RuleError> {
        Ok(match kind {
            Kind::Text => Operand::Text(self.string()?.into()),
            Kind::Number => Operand::Number(self.number()?),
            Kind::Address => Operand::Address(self.literal("an IP address", |text| text.parse().ok())?),
        })
    }

    fn pattern(&mut self) -> Result<Test, RuleError> {
        self.patterns += 1;
        if self.patterns > MAX_PATTERNS {
            return Err(self.wrong(format!("more than {MAX_PATTERNS} regular expressions")));
        }
        let text = self.string()?;
        let built = RegexBuilder::new(&text).size_limit(MAX_PATTERN).dfa_size_limit(MAX_PATTERN).build();
        built.map(Test::Matches).map_err(|_| self.wrong("regex parse error"))
    }

    /// `"…"` with escapes, or `r#"…"#` without.
    fn string(&mut self) -> Result<String, RuleError> {
        self.skip();
        if let Some(raw) = self.rest().strip_prefix("r#\"") {
            let end = raw.find("\"#").ok_or_else(|| self.wrong("a text without an end"))?;
            self.at += "r#\"".len() + end + "\"#".len();
            return Ok(raw.get(..end).unwrap_or_default().to_owned());
        }
        self.expects("\"").map_err(|_| self.wrong("expected a text"))?;
        let (mut out, mut escaped) = (String::new(), false);
        for (at, c) in self.rest().char_indices() {
            match (escaped, c) {
                (false, '"') => {
                    self.at += at + 1;
                    return Ok(out);
                }
                (false, '\\') => {
                    escaped = true;
                    continue;
                }
                (true, 'n') => out.push('\n'),
                (true, 'r') => out.push('\r'),
                (true, 't') => out.push('\t'),
                (true, '"' | '\\') | (false, _) => out.push(c),
                (true, _) => {
                    self.at += at;
                    return Err(self.wrong("unknown escape"));
                }
            }
            escaped = false;
        }
        Err(self.wrong("a text without an end"))
    }

    fn number(&mut self) -> Result<i64, RuleError> {
        self.literal("a number", |text| {
            let (sign, digits) = match text.strip_prefix('-') {
                Some(digits) => (-1, digits),
                None => (1, text),
            };
            if !digits.starts_with(|c: char| c.is_ascii_digit()) {
                return None;
            }
            let (digits, radix) = match (digits.strip_prefix("0x"), digits.strip_prefix('0')) {
                (Some(hex), _) => (hex, 16),
                (None, Some(octal)) if !octal.is_empty() => (octal, 8),
                _ => (digits, 10),
            };
            i64::from_str_radix(digits, radix).ok()?.checked_mul(sign)
        })
    }

    fn network(&mut self) -> Result<IpNet, RuleError> {
        self.literal("an IP address or a network", |text| {
            text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
        })
    }

    /// What stands without quotes.
    fn literal<T>(&mut self, what: &str, read: impl FnOnce(&str) -> Option<T>) -> Result<T, RuleError> {
        self.skip();
        let rest = self.rest();
        let ends = |c: char| c.is_whitespace() || matches!(c, ')' | '&' | '|');
        let text = rest.get(..rest.find(ends).unwrap_or(rest.len())).unwrap_or_default();
        let value = read(text).ok_or_else(|| self.wrong(format!("expected {what}")))?;
        self.at += text.len();
        Ok(value)
    }
}

fn alone_or(mut nodes: Vec<Node>, group: fn(Vec<Node>) -> Node) -> Node {
    match (nodes.pop(), nodes.is_empty()) {
        (Some(node), true) => node,
        (last, _) => {
            nodes.extend(last);
            group(nodes)
        }
    }
}

fn fact(name: &str) -> Result<(Fact, Kind), &'static str> {
    Ok(match name {
        "net.protocol" => (Fact::Protocol, Kind::Text),
        "tls.sni" => (Fact::ServerName, Kind::Text),
        "http.method" => (Fact::Method, Kind::Text),
        "http.host" => (Fact::Host, Kind::Text),
        "http.path" => (Fact::Path, Kind::Text),
        "http.path.segments.len" => (Fact::SegmentCount, Kind::Number),
        "net.src.ip" => (Fact::SourceAddress, Kind::Address),
        "net.src.port" => (Fact::SourcePort, Kind::Number),
        "net.dst.ip" => (Fact::DestinationAddress, Kind::Address),
        "net.dst.port" => (Fact::DestinationPort, Kind::Number),
        other => {
            let of = |family: &str| other.strip_prefix(family).filter(|name| !name.is_empty());
            if let Some(name) = of("http.headers.") {
                return Ok((Fact::Header(name.to_ascii_lowercase().replace('_', "-").into()), Kind::Text));
            }
            if let Some(name) = of("http.queries.") {
                return Ok((Fact::Query(name.into()), Kind::Text));
            }
            let range = of("http.path.segments.").ok_or("Unknown LHS field")?;
            let (first, last) = segments(range).ok_or("illformed http.path.segments.* field")?;
            (Fact::Segments(first, last), Kind::Text)
        }
    })
}

/// `1`, or `1_2`.
fn segments(range: &str) -> Option<(usize, usize)> {
    let number = |text: &str| {
        let plain = text == "0" || !text.starts_with('0');
        text.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
        text.parse::<usize>().ok().filter(|_| plain)
    };
    match range.split_once('_') {
        None => number(range).map(|one| (one, one)),
        Some((first, last)) => Some((number(first)?, number(last)?)).filter(|(first, last)| first < last),
    }
}
