//! Form-encoded bodies as Kong reads them: keys are paths of names in dots or brackets.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::Value;

/// Arguments of one body.
const MAX_ARGS: usize = 1000;
/// Names in one key.
const MAX_DEPTH: usize = 16;

/// A part of a form before its type is known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// What was sent under one key, in order.
    Texts(Vec<String>),
    /// What was sent under numbered or empty brackets.
    Items(Vec<Node>),
    /// What was sent under names.
    Members(Vec<(String, Node)>),
}

/// Why a form cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormError {
    #[error("Too many arguments")]
    TooMany,
    #[error("Cannot parse form body: a key has unmatched brackets or too many names")]
    Key,
    #[error("Cannot parse form body: a key is used for a value and for a structure")]
    Mixed,
    #[error("Cannot parse multipart body")]
    Multipart,
}

impl Node {
    /// Without types: one text is a text, several are a list.
    pub(crate) fn into_plain(self) -> Value {
        match self {
            Self::Texts(mut texts) if texts.len() == 1 => match texts.pop() {
                Some(text) if !text.is_empty() => Value::String(text),
                _ => Value::Null,
            },
            Self::Texts(texts) => texts.into_iter().map(Value::String).collect(),
            Self::Items(items) => items.into_iter().map(Self::into_plain).collect(),
            Self::Members(members) => {
                Value::Object(members.into_iter().map(|(name, node)| (name, node.into_plain())).collect())
            }
        }
    }

    /// The one text, where it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Texts(texts) if texts.len() == 1 => texts.first().map(String::as_str),
            _ => None,
        }
    }
}

/// One name of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Name(String),
    /// `[3]`
    At(usize),
    /// `[]`
    Next,
}

/// What grows while a form is read.
#[derive(Default)]
enum Tree {
    #[default]
    Empty,
    Texts(Vec<String>),
    Items(BTreeMap<usize, Tree>),
    Members(IndexMap<String, Tree>),
}

/// Reads a body.
pub(crate) fn parse(body: &[u8]) -> Result<Vec<(String, Node)>, FormError> {
    from_pairs(form_urlencoded::parse(body).into_owned())
}

/// Reads keys and values.
pub(crate) fn from_pairs(
    pairs: impl Iterator<Item = (String, String)>,
) -> Result<Vec<(String, Node)>, FormError> {
    let mut root = Tree::Members(IndexMap::new());
    for (count, (key, value)) in pairs.enumerate() {
        if count >= MAX_ARGS {
            return Err(FormError::TooMany);
        }
        root.insert(&parts(&key)?, value)?;
    }
    match root.into_node() {
        Node::Members(members) => Ok(members),
        _ => Ok(Vec::new()),
    }
}

impl Tree {
    fn insert(&mut self, path: &[Part], value: String) -> Result<(), FormError> {
        let Some((part, rest)) = path.split_first() else {
            match self {
                Self::Empty => *self = Self::Texts(vec![value]),
                Self::Texts(texts) => texts.push(value),
                Self::Items(_) | Self::Members(_) => return Err(FormError::Mixed),
            }
            return Ok(());
        };
        match (&mut *self, part) {
            (Self::Members(members), Part::Name(name)) => {
                members.entry(name.clone()).or_default().insert(rest, value)
            }
            (Self::Items(items), Part::At(at)) => items.entry(*at).or_default().insert(rest, value),
            (Self::Items(items), Part::Next) => {
                let next = items.keys().next_back().map_or(1, |last| last + 1);
                items.entry(next).or_default().insert(rest, value)
            }
            // A number may also be the name of a member.
            (Self::Members(members), Part::At(at)) => {
                members.entry(at.to_string()).or_default().insert(rest, value)
            }
            (Self::Empty, Part::Name(_)) => {
                *self = Self::Members(IndexMap::new());
                self.insert(path, value)
            }
            (Self::Empty, Part::At(_) | Part::Next) => {
                *self = Self::Items(BTreeMap::new());
                self.insert(path, value)
            }
            _ => Err(FormError::Mixed),
        }
    }

    fn into_node(self) -> Node {
        match self {
            Self::Empty => Node::Texts(Vec::new()),
            Self::Texts(texts) => Node::Texts(texts),
            Self::Items(items) => Node::Items(items.into_values().map(Self::into_node).collect()),
            Self::Members(members) => {
                Node::Members(members.into_iter().map(|(name, tree)| (name, tree.into_node())).collect())
            }
        }
    }
}

/// `a.b[c.d][1][]`: a dot inside brackets is a part of the name.
fn parts(key: &str) -> Result<Vec<Part>, FormError> {
    let mut parts = Vec::new();
    let mut rest = key;
    loop {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, after) = rest.split_at_checked(end).ok_or(FormError::Key)?;
        if !name.is_empty() || parts.is_empty() {
            parts.push(Part::Name(name.to_owned()));
        }
        rest = after;
        while let Some(inside) = rest.strip_prefix('[') {
            let (inside, after) = inside.split_once(']').ok_or(FormError::Key)?;
            parts.push(match (inside, inside.parse::<usize>()) {
                ("", _) => Part::Next,
                (_, Ok(at)) if at <= MAX_ARGS => Part::At(at),
                (name, _) => Part::Name(name.to_owned()),
            });
            rest = after;
        }
        if parts.len() > MAX_DEPTH {
            return Err(FormError::Key);
        }
        match rest.strip_prefix('.') {
            Some(after) => rest = after,
            None if rest.is_empty() => return Ok(parts),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(body: &str) -> Value {
        Node::Members(parse(body.as_bytes()).unwrap()).into_plain()
    }

    #[test]
    fn keys_are_paths() {
        assert_eq!(
            plain("a.b=1&a[c]=2&a[d.e]=3"),
            serde_json::json!({"a": {"b": "1", "c": "2", "d.e": "3"}})
        );
        assert_eq!(plain("a[1].b=x&a[2].b=y"), serde_json::json!({"a": [{"b": "x"}, {"b": "y"}]}));
        assert_eq!(plain("a=1&a=2&b="), serde_json::json!({"a": ["1", "2"], "b": null}));
    }

    #[test]
    fn a10_absurd_forms_are_refused() {
        assert_eq!(parse("a=1&".repeat(1001).as_bytes()), Err(FormError::TooMany));
        assert_eq!(parse(b"a[=1"), Err(FormError::Key));
        assert_eq!(parse(format!("{}=1", "a.".repeat(20)).as_bytes()).unwrap_err(), FormError::Key);
        assert_eq!(parse(b"a=1&a.b=2"), Err(FormError::Mixed));
        assert_eq!(parse(b"a.b=1&a=2"), Err(FormError::Mixed));
        assert!(parse(b"a[99999999999999999999]=1&a[]=1").is_err());
        assert_eq!(parse(b"").unwrap(), Vec::new());
    }
}
