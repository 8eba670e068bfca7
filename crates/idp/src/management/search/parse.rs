//! From the text of a search to a [`Query`].

use super::{End, MAX_LENGTH, Query, Range, Test};

/// Groups in groups.
const MAX_DEPTH: usize = 16;
/// Conditions of one search.
const MAX_CONDITIONS: usize = 64;

const NOT_A_QUERY: &str = "The query is not a valid one";

type Parsed<T> = Result<T, &'static str>;

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Open,
    Close,
    And,
    Or,
    Not,
    Plus,
    Minus,
    /// `name:` in front of a value.
    Field(Vec<String>),
    Word(String),
    /// A word with `*` or `?` in it.
    Pattern(String),
    Phrase(String),
    Range(Range),
}

pub(super) fn query(text: &str) -> Parsed<Query> {
    if text.len() > MAX_LENGTH {
        return Err("The query is too long");
    }
    let mut parser = Parser { tokens: tokens(text)?.into_iter().peekable(), conditions: 0 };
    let query = parser.any(&[], 0)?;
    if parser.tokens.next().is_some() { Err(NOT_A_QUERY) } else { Ok(query) }
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    conditions: usize,
}

impl Parser {
    /// Alternatives. Two conditions side by side are alternatives too, unless one of them is demanded or ruled out.
    fn any(&mut self, field: &[String], depth: usize) -> Parsed<Query> {
        if depth > MAX_DEPTH {
            return Err("The query has too many groups in groups");
        }
        let mut parts: Vec<(Query, bool)> = Vec::new();
        let mut after_or = false;
        loop {
            let demanded = match self.tokens.peek() {
                Some(Token::Plus | Token::Minus | Token::Not) => !after_or,
                _ => false,
            };
            parts.push((self.all(field, depth)?, demanded));
            after_or = false;
            match self.tokens.peek() {
                None | Some(Token::Close) => break,
                Some(Token::Or) => {
                    self.tokens.next();
                    after_or = true;
                    if let Some((_, demanded)) = parts.last_mut() {
                        *demanded = false;
                    }
                }
                Some(_) => {}
            }
        }
        let (demands, alternatives): (Vec<_>, Vec<_>) =
            parts.into_iter().partition(|(_, demanded)| *demanded);
        let mut demands: Vec<Query> = demands.into_iter().map(|(query, _)| query).collect();
        let alternatives: Vec<Query> = alternatives.into_iter().map(|(query, _)| query).collect();
        if demands.is_empty() {
            return Ok(either(alternatives));
        }
        // Beside something that is demanded, alternatives only say what is liked best; beside what is ruled out, one of
        // them has to be.
        let ruled_out = demands.iter().all(|demand| matches!(demand, Query::Not(_)));
        if ruled_out && !alternatives.is_empty() {
            demands.insert(0, either(alternatives));
        }
        Ok(Query::And(demands))
    }

    /// Conditions with AND between them.
    fn all(&mut self, field: &[String], depth: usize) -> Parsed<Query> {
        let mut parts = vec![self.one(field, depth)?];
        while matches!(self.tokens.peek(), Some(Token::And)) {
            self.tokens.next();
            parts.push(self.one(field, depth)?);
        }
        Ok(match parts.pop() {
            Some(only) if parts.is_empty() => only,
            Some(last) => {
                parts.push(last);
                Query::And(parts)
            }
            None => return Err(NOT_A_QUERY),
        })
    }

    fn one(&mut self, field: &[String], depth: usize) -> Parsed<Query> {
        let test = match self.tokens.next().ok_or(NOT_A_QUERY)? {
            Token::Not | Token::Minus if depth <= MAX_DEPTH => {
                return Ok(Query::Not(Box::new(self.one(field, depth + 1)?)));
            }
            Token::Plus if depth <= MAX_DEPTH => return self.one(field, depth + 1),
            Token::Open => {
                let inside = self.any(field, depth + 1)?;
                return if self.tokens.next() == Some(Token::Close) { Ok(inside) } else { Err(NOT_A_QUERY) };
            }
            Token::Field(path) if field.is_empty() => return self.of_field(path, depth),
            Token::Word(word) => Test::Word(word),
            Token::Pattern(pattern) => Test::Pattern(pattern),
            Token::Phrase(phrase) => Test::Phrase(phrase),
            Token::Range(range) if !field.is_empty() => Test::Range(range),
            _ => return Err(NOT_A_QUERY),
        };
        self.condition(field.to_vec(), test)
    }

    fn of_field(&mut self, path: Vec<String>, depth: usize) -> Parsed<Query> {
        if path == ["_exists_"] {
            return match self.tokens.next() {
                Some(Token::Word(name)) if !name.is_empty() => {
                    let path = name.split('.').map(str::to_owned).collect();
                    self.condition(path, Test::Exists)
                }
                _ => Err(NOT_A_QUERY),
            };
        }
        match self.tokens.peek() {
            Some(Token::Word(_) | Token::Pattern(_) | Token::Phrase(_) | Token::Range(_) | Token::Open) => {
                self.one(&path, depth + 1)
            }
            Some(Token::Minus) => {
                // A negative number.
                self.tokens.next();
                match self.tokens.next() {
                    Some(Token::Word(word)) => self.condition(path, Test::Word(format!("-{word}"))),
                    _ => Err(NOT_A_QUERY),
                }
            }
            _ => Err(NOT_A_QUERY),
        }
    }

    fn condition(&mut self, path: Vec<String>, test: Test) -> Parsed<Query> {
        self.conditions += 1;
        if self.conditions > MAX_CONDITIONS {
            return Err("The query has too many conditions");
        }
        // `.raw` is how the second version of the language asked for exact matches.
        let path = match path.split_last() {
            Some((last, front)) if last == "raw" && !front.is_empty() => front.to_vec(),
            _ => path,
        };
        Ok(Query::Condition { path, test })
    }
}

fn either(mut parts: Vec<Query>) -> Query {
    match parts.len() {
        1 => parts.swap_remove(0),
        _ => Query::Or(parts),
    }
}

fn tokens(text: &str) -> Parsed<Vec<Token>> {
    let mut chars = text.chars().peekable();
    let mut tokens = Vec::new();
    while let Some(&c) = chars.peek() {
        match c {
            c if c.is_whitespace() => drop(chars.next()),
            '(' | ')' | '+' | '-' | '!' => {
                chars.next();
                tokens.push(match c {
                    '(' => Token::Open,
                    ')' => Token::Close,
                    '+' => Token::Plus,
                    '-' => Token::Minus,
                    _ => Token::Not,
                });
            }
            '&' | '|' => {
                chars.next();
                if chars.next() != Some(c) {
                    return Err(NOT_A_QUERY);
                }
                tokens.push(if c == '&' { Token::And } else { Token::Or });
            }
            '"' => {
                chars.next();
                tokens.push(Token::Phrase(phrase(&mut chars)?));
            }
            '[' | '{' => {
                chars.next();
                tokens.push(Token::Range(range(&mut chars, c == '[')?));
            }
            '>' | '<' => {
                chars.next();
                let inclusive = chars.next_if_eq(&'=').is_some();
                let end = Some(End { value: bound(&mut chars)?, inclusive });
                let range =
                    if c == '>' { Range { low: end, high: None } } else { Range { low: None, high: end } };
                tokens.push(Token::Range(range));
            }
            _ => tokens.push(word(&mut chars)?),
        }
    }
    Ok(tokens)
}

type Chars<'t> = std::iter::Peekable<std::str::Chars<'t>>;

/// A word, a pattern, an operator, or a field's name with its colon.
fn word(chars: &mut Chars<'_>) -> Parsed<Token> {
    const SPECIAL: &str = "()[]{}\"^~/!&|<>=";
    let (mut word, mut pattern, mut escaped) = (String::new(), false, false);
    while let Some(&c) = chars.peek() {
        match c {
            '\\' => {
                chars.next();
                word.push(chars.next().ok_or(NOT_A_QUERY)?);
                escaped = true;
                continue;
            }
            ':' if is_field(&word) && !pattern => {
                chars.next();
                return Ok(Token::Field(word.split('.').map(str::to_owned).collect()));
            }
            ')' => break,
            c if c.is_whitespace() => break,
            // A colon in a value: a time, or an address.
            ':' if !word.is_empty() => {}
            '/' | '=' | '|' | '&' if !word.is_empty() => {}
            c if SPECIAL.contains(c) || c == ':' => return Err(NOT_A_QUERY),
            '*' | '?' => pattern = true,
            _ => {}
        }
        word.push(c);
        chars.next();
    }
    Ok(match word.as_str() {
        "AND" if !escaped => Token::And,
        "OR" if !escaped => Token::Or,
        "NOT" if !escaped => Token::Not,
        "" => return Err(NOT_A_QUERY),
        _ if pattern => Token::Pattern(word),
        _ => Token::Word(word),
    })
}

/// Whether this can be a field's name: then a colon ends it. `http` is none: its colon is an address's.
fn is_field(word: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && !part.starts_with(|c: char| c.is_ascii_digit());
    !matches!(word, "" | "http" | "https" | "urn") && word.split('.').all(plain)
}

fn phrase(chars: &mut Chars<'_>) -> Parsed<String> {
    let mut phrase = String::new();
    loop {
        match chars.next().ok_or(NOT_A_QUERY)? {
            '"' => return Ok(phrase),
            '\\' => phrase.push(chars.next().ok_or(NOT_A_QUERY)?),
            c => phrase.push(c),
        }
    }
}

/// What follows a `[` or `{`: `low TO high]`.
fn range(chars: &mut Chars<'_>, inclusive: bool) -> Parsed<Range> {
    let low = bound(chars)?;
    if bound(chars)? != "TO" {
        return Err(NOT_A_QUERY);
    }
    let high = bound(chars)?;
    let end = |value: String, inclusive| (value != "*").then_some(End { value, inclusive });
    skip_blanks(chars);
    let closing = match chars.next() {
        Some(']') => true,
        Some('}') => false,
        _ => return Err(NOT_A_QUERY),
    };
    Ok(Range { low: end(low, inclusive), high: end(high, closing) })
}

/// One end of a range.
fn bound(chars: &mut Chars<'_>) -> Parsed<String> {
    skip_blanks(chars);
    if chars.next_if_eq(&'"').is_some() {
        return phrase(chars);
    }
    let mut value = String::new();
    while let Some(c) = chars.next_if(|c| !c.is_whitespace() && !"[]{}()\"".contains(*c)) {
        match c {
            '\\' => value.push(chars.next().ok_or(NOT_A_QUERY)?),
            c => value.push(c),
        }
    }
    if value.is_empty() { Err(NOT_A_QUERY) } else { Ok(value) }
}

fn skip_blanks(chars: &mut Chars<'_>) {
    while chars.next_if(|c| c.is_whitespace()).is_some() {}
}
