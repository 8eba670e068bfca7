//! A YAML document as a tree that knows where everything stands in the file, with `${NAME}` in values replaced from
//! the environment. Values are never quoted in a message: any of them may be a secret.

use std::fmt;

use base::Secret;
use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// Nesting that no configuration needs; bounds the recursion.
const MAX_DEPTH: usize = 24;

/// A place in the file, both counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl From<Span> for Mark {
    fn from(span: Span) -> Self {
        Self { line: span.start.line(), column: span.start.col() + 1 }
    }
}

/// Something wrong with the file, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    pub(crate) mark: Mark,
    pub(crate) reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.mark.line, self.mark.column, self.reason)
    }
}

/// A value and where it stands.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) mark: Mark,
    pub(crate) kind: Kind,
}

/// What a value is.
#[derive(Debug)]
pub(crate) enum Kind {
    /// Nothing after the colon, `~` or `null`.
    Null,
    /// One word or text; `plain` when it was not quoted.
    Text {
        text: Secret<String>,
        plain: bool,
    },
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// One `key: value`.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) mark: Mark,
    pub(crate) value: Node,
}

/// Reads one document. `environment` gives the value of a variable; what is missing there is a problem.
pub(crate) fn parse(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Node, Vec<Problem>> {
    let mut builder = Builder { parser: Parser::new_from_str(text), environment, problems: Vec::new() };
    let root = builder.document();
    match root {
        Ok(node) if builder.problems.is_empty() => Ok(node),
        Ok(_) => Err(builder.problems),
        Err(problem) => {
            builder.problems.push(problem);
            Err(builder.problems)
        }
    }
}

struct Builder<'t> {
    parser: Parser<'t, saphyr_parser::StrInput<'t>>,
    environment: &'t dyn Fn(&str) -> Option<String>,
    problems: Vec<Problem>,
}

impl<'t> Builder<'t> {
    fn document(&mut self) -> Result<Node, Problem> {
        let mut root = None;
        loop {
            match self.next()? {
                (Event::StreamEnd, mark) => {
                    return Ok(root
                        .unwrap_or(Node { mark: Mark { line: 1, column: mark.column }, kind: Kind::Null }));
                }
                (Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing, _) => {}
                (event, mark) if root.is_none() => root = Some(self.node(event, mark, 0)?),
                (_, mark) => return Err(problem(mark, "a second document begins here; one file holds one")),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Mark), Problem> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, span.into())),
            // The scanner's own words name characters at most, never values.
            Some(Err(error)) => {
                let mark = Mark { line: error.marker().line(), column: error.marker().col() + 1 };
                Err(problem(mark, format!("this is not YAML: {}", error.info())))
            }
            None => Ok((Event::StreamEnd, Mark::default())),
        }
    }

    fn node(&mut self, event: Event<'t>, mark: Mark, depth: usize) -> Result<Node, Problem> {
        if depth > MAX_DEPTH {
            return Err(problem(mark, format!("nested more than {MAX_DEPTH} deep")));
        }
        let kind = match event {
            Event::Scalar(_, _, anchor, Some(_)) | Event::Scalar(_, _, anchor @ 1.., None) => {
                return Err(refused(mark, anchor));
            }
            Event::SequenceStart(anchor, Some(_)) | Event::SequenceStart(anchor @ 1.., None) => {
                return Err(refused(mark, anchor));
            }
            Event::MappingStart(anchor, Some(_)) | Event::MappingStart(anchor @ 1.., None) => {
                return Err(refused(mark, anchor));
            }
            Event::Alias(anchor) => return Err(refused(mark, anchor)),
            Event::Scalar(text, ScalarStyle::Plain, ..) if matches!(&*text, "" | "~" | "null") => Kind::Null,
            Event::Scalar(text, style, ..) => {
                let plain = style == ScalarStyle::Plain;
                Kind::Text { text: Secret::new(self.substitute(&text, mark)), plain }
            }
            Event::SequenceStart(..) => self.sequence(depth)?,
            Event::MappingStart(..) => self.mapping(depth)?,
            _ => return Err(problem(mark, "a value is missing here")),
        };
        Ok(Node { mark, kind })
    }

    fn sequence(&mut self, depth: usize) -> Result<Kind, Problem> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Kind::Sequence(items)),
                (event, mark) => items.push(self.node(event, mark, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Kind, Problem> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (key, mark) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Kind::Mapping(entries)),
                (Event::Scalar(key, _, 0, None), mark) => (key.into_owned(), mark),
                (_, mark) => return Err(problem(mark, "a key must be a plain word")),
            };
            if entries.iter().any(|entry| entry.key == key) {
                self.problems.push(problem(mark, format!("{} is given twice", shown(&key))));
            }
            let (event, value_mark) = self.next()?;
            let value = self.node(event, value_mark, depth + 1)?;
            entries.push(Entry { key, mark, value });
        }
    }

    /// Replaces every `${NAME}`; `$${` stands for `${` itself. What a variable holds is not looked at again.
    fn substitute(&mut self, text: &str, mark: Mark) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, after) = rest.split_at(at);
            let after = after.strip_prefix("${").unwrap_or_default();
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.push_str("${");
                rest = after;
                continue;
            }
            out.push_str(before);
            let Some((name, following)) = after.split_once('}').filter(|(name, _)| is_variable(name)) else {
                self.problems.push(problem(mark, "`${` must be followed by a variable's name and `}`"));
                return out;
            };
            match (self.environment)(name) {
                Some(value) => out.push_str(&value),
                None => {
                    self.problems.push(problem(mark, format!("the environment variable {name} is not set")))
                }
            }
            rest = following;
        }
        out.push_str(rest);
        out
    }
}

pub(crate) fn problem(mark: Mark, reason: impl Into<String>) -> Problem {
    Problem { mark, reason: reason.into() }
}

/// A key as it may appear in a message. What does not look like a key may be a value that slipped to the left.
pub(crate) fn shown(key: &str) -> String {
    let plain =
        key.len() <= 40 && key.bytes().all(|byte| byte.is_ascii_lowercase() || b"_-.".contains(&byte));
    if plain { format!("`{key}`") } else { "this key".to_owned() }
}

fn refused(mark: Mark, anchor: usize) -> Problem {
    problem(mark, if anchor > 0 { "anchors and aliases are not supported" } else { "tags are not supported" })
}

fn is_variable(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Node, Vec<Problem>> {
        parse(text, &|name| (name == "KEY").then(|| "line\n${KEY}: x".to_owned()))
    }

    fn text_of(node: &Node, key: &str) -> String {
        let Kind::Mapping(entries) = &node.kind else { panic!("not a mapping") };
        match &entries.iter().find(|entry| entry.key == key).unwrap().value.kind {
            Kind::Text { text, .. } => text.expose().clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_variable_is_replaced_once_and_cannot_change_the_documents_shape() {
        let node = read("a: pre-${KEY}-post\nb: $${KEY}\n").unwrap();
        assert_eq!(text_of(&node, "a"), "pre-line\n${KEY}: x-post");
        assert_eq!(text_of(&node, "b"), "${KEY}");
    }

    #[test]
    fn a_missing_variable_is_named_with_its_place() {
        let problems = read("a:\n  b: ${NOT_THERE}\n").unwrap_err();
        assert_eq!(problems[0].to_string(), "2:6: the environment variable NOT_THERE is not set");
    }

    #[test]
    fn what_could_surprise_is_refused() {
        for (text, word) in [
            ("a: &x 1\nb: *x\n", "anchors"),
            ("a: !!str 1\n", "tags"),
            ("a: 1\na: 2\n", "given twice"),
            ("a: 1\n---\nb: 2\n", "second document"),
            ("a: [1\n", "not YAML"),
            ("a: ${}\n", "variable's name"),
            ("? [a]\n: 1\n", "plain word"),
        ] {
            let problems = read(text).unwrap_err();
            assert!(problems.iter().any(|problem| problem.reason.contains(word)), "{text}: {problems:?}");
        }
        assert!(read(&"[".repeat(5000)).is_err());
    }

    #[test]
    fn s04_a_malformed_value_is_not_quoted() {
        for text in
            ["key: \"hunter2canary\n", "key: 'hunter2canary\n", "key: [hunter2canary\n", "HunterCanary2: {\n"]
        {
            for problem in read(text).unwrap_err() {
                assert!(!problem.reason.to_lowercase().contains("canary"), "{problem}");
            }
        }
    }
}
