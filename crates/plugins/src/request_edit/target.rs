//! Another path, and another query.

use std::fmt::Write;

use expr::{Part, Template, Variables};
use gateway::{error::ConfigError, normalise_path, plugin::RequestHead};
use http::uri::PathAndQuery;
use regex::{Captures, Regex};

use super::{
    has_captures,
    list::{Query, QueryValue},
    pattern,
};
use crate::{text::Text, upstream_path::has_dot_segment};

/// Another path.
#[derive(Clone, Debug)]
pub enum TargetEdit {
    /// This one, with variables; what follows a `?` goes before the request's query.
    Path(Text),
    /// The first of these patterns that is found in the path, and what replaces the part in which it is found.
    Patterns(Vec<(String, String)>),
}

/// The compiled form.
pub(super) enum Target {
    Path(Text),
    Patterns(Vec<(Regex, Template)>),
}

/// What a path becomes, and the query that was written with it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NewPath {
    pub(super) path: String,
    pub(super) query: Option<String>,
}

/// A pattern that was found in a path.
pub(super) struct Found<'t, 'p> {
    /// What its groups found.
    pub(super) captures: Captures<'p>,
    replacement: &'t Template,
}

impl Target {
    pub(super) fn compile(edit: TargetEdit) -> Result<Self, ConfigError> {
        match edit {
            TargetEdit::Path(text) => {
                if has_captures(&text) {
                    return Err(ConfigError::new("uri", "`$1` has a meaning with patterns only"));
                }
                let begins = text
                    .parts()
                    .first()
                    .is_some_and(|part| !matches!(part, Part::Text(text) if !text.starts_with('/')));
                if !begins {
                    return Err(ConfigError::new("uri", "it does not begin with a slash"));
                }
                Ok(Self::Path(text))
            }
            TargetEdit::Patterns(pairs) => {
                let compiled = pairs.into_iter().map(|(text, with)| {
                    let replacement = Template::captures(&with)
                        .map_err(|error| ConfigError::new("regex_uri", error.to_string()))?;
                    Ok((pattern("regex_uri", &text)?, replacement))
                });
                Ok(Self::Patterns(compiled.collect::<Result<_, _>>()?))
            }
        }
    }

    /// The first pattern that is found in this path.
    pub(super) fn find<'p>(&self, path: &'p str) -> Option<Found<'_, 'p>> {
        let Self::Patterns(pairs) = self else { return None };
        pairs.iter().find_map(|(pattern, replacement)| {
            pattern.captures(path).map(|captures| Found { captures, replacement })
        })
    }

    /// The new path; `None` when it stays.
    pub(super) fn of(
        &self,
        path: &str,
        variables: &dyn Variables,
        found: Option<&Found<'_, '_>>,
    ) -> Result<Option<NewPath>, &'static str> {
        let mut out = Builder::default();
        match self {
            Self::Path(text) => out.fill(text.parts(), Some(variables), None),
            Self::Patterns(_) => {
                let Some(Found { captures, replacement }) = found else { return Ok(None) };
                let Some(whole) = captures.get(0) else { return Ok(None) };
                out.foreign(path.get(..whole.start()).unwrap_or_default());
                out.fill(replacement.parts(), None, Some(captures));
                out.foreign(path.get(whole.end()..).unwrap_or_default());
            }
        }
        out.finish().map(Some)
    }
}

/// A path while it is put together: what the operator wrote may begin a query, what a client chose may not.
#[derive(Default)]
struct Builder {
    path: String,
    query: Option<String>,
}

impl Builder {
    fn fill(&mut self, parts: &[Part], variables: Option<&dyn Variables>, captures: Option<&Captures<'_>>) {
        for part in parts {
            match part {
                Part::Text(text) => self.own(text),
                Part::Variable(variable) => {
                    let value = variables.and_then(|variables| variables.value(variable)).unwrap_or_default();
                    self.foreign(&value);
                }
                Part::Capture(group) => {
                    let found = captures.and_then(|captures| captures.get(*group));
                    self.foreign(found.map(|found| found.as_str()).unwrap_or_default());
                }
            }
        }
    }

    fn own(&mut self, text: &str) {
        match (&mut self.query, text.split_once('?')) {
            (Some(query), _) => encode(query, text, ""),
            (None, None) => encode(&mut self.path, text, "#"),
            (None, Some((path, rest))) => {
                encode(&mut self.path, path, "#");
                let mut query = String::new();
                encode(&mut query, rest, "#");
                self.query = Some(query);
            }
        }
    }

    fn foreign(&mut self, text: &str) {
        match &mut self.query {
            Some(query) => encode(query, text, "&#+?"),
            None => encode(&mut self.path, text, "?#"),
        }
    }

    fn finish(self) -> Result<NewPath, &'static str> {
        let Self { mut path, query } = self;
        if !path.starts_with('/') {
            path.insert(0, '/');
        }
        // The path was judged as it came; a part of it must not lead anywhere else (`/files/$arg_name` with `../admin`).
        if has_dot_segment(&decode_dots(&path)) {
            return Err("the path would have dot segments");
        }
        let path = normalise_path(&path).map_err(|refused| refused.0)?.into_owned();
        Ok(NewPath { path, query })
    }
}

/// Percent-encodes what a path or query cannot hold, and the letters of `also`. What is encoded already stays.
fn encode(out: &mut String, text: &str, also: &str) {
    text.bytes().for_each(|byte| encode_byte(out, byte, also));
}

fn encode_byte(out: &mut String, byte: u8, also: &str) {
    if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) && !also.as_bytes().contains(&byte) {
        out.push(char::from(byte));
    } else {
        // Writing to a string cannot fail.
        let _ = write!(out, "%{byte:02X}");
    }
}

/// `path` with its encoded dots and separators as a server that decodes them would see them.
fn decode_dots(path: &str) -> String {
    let mut out = path.to_owned();
    for (code, letter) in [("%2e", "."), ("%2E", "."), ("%2f", "/"), ("%2F", "/"), ("%5c", "/"), ("%5C", "/")]
    {
        if out.contains(code) {
            out = out.replace(code, letter);
        }
    }
    out
}

/// Puts path and query in place.
pub(super) fn put(
    head: &mut RequestHead,
    target: Option<NewPath>,
    values: &[QueryValue],
    rules: &Query,
) -> Result<(), &'static str> {
    if target.is_none() && rules.is_empty() {
        return Ok(());
    }
    let own = head.query().map(str::to_owned);
    let (mut out, written) = match target {
        Some(NewPath { path, query }) => (path, query),
        None => (head.path().to_owned(), None),
    };
    let query = match (written, own) {
        (Some(written), Some(own)) if !own.is_empty() && !written.is_empty() => {
            Some(format!("{written}&{own}"))
        }
        (Some(written), own) if !written.is_empty() || own.is_none() => Some(written),
        (_, own) => own,
    };
    let query = if rules.is_empty() { query } else { rules.apply(query.as_deref(), values) };
    if let Some(query) = query {
        out.push('?');
        out.push_str(&query);
    }
    head.target = PathAndQuery::from_maybe_shared(out).map_err(|_| "the path is not a path")?;
    Ok(())
}

/// `target` with the fields of a form behind its query, edited by these rules.
pub(super) fn with_form(
    target: &PathAndQuery,
    form: &[u8],
    values: &[QueryValue],
    rules: &Query,
) -> Result<PathAndQuery, &'static str> {
    let mut query = target.query().unwrap_or_default().to_owned();
    for pair in form.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        if !query.is_empty() {
            query.push('&');
        }
        pair.iter().for_each(|byte| encode_byte(&mut query, *byte, "#"));
    }
    let query = if rules.is_empty() {
        Some(query).filter(|query| !query.is_empty())
    } else {
        rules.apply(Some(&query), values)
    };
    let whole = match query {
        Some(query) => format!("{}?{query}", target.path()),
        None => target.path().to_owned(),
    };
    PathAndQuery::from_maybe_shared(whole).map_err(|_| "the query would be too long")
}
