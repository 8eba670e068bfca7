//! Texts with variables in them: `https://$host/x${arg_y}`.

use crate::variable::{Variable, VariableError};

/// A text with variables, parsed once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Template(Vec<Part>);

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Part {
    /// Stands for itself.
    Text(Box<str>),
    /// What the request says.
    Variable(Variable),
    /// What a group of a pattern found; 0 is the whole of it.
    Capture(usize),
}

/// Why a text is no template of captures.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`${0}` is not the number of a group")]
pub struct NoCapture(pub String);

impl Template {
    /// Reads `$name` and `${name}` as variables and `$1` as what a group found; `\$name` stands for itself, backslash and
    /// all, and so does a `$` before anything else. Names that nobody knows are left out, as APISIX does.
    ///
    /// # Errors
    ///
    /// Names that APISIX knows and this build does not.
    pub fn parse(text: &str) -> Result<Self, VariableError> {
        let mut parts = Parts::default();
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            let escaped = rest.strip_prefix('\\').and_then(name);
            if let Some((_, end)) = escaped {
                let (literal, further) = rest.split_at_checked(end + 1).unwrap_or((rest, ""));
                parts.text(literal);
                rest = further;
            } else if let Some((found, end)) = name(rest) {
                match number(found) {
                    Some(group) => parts.push(Part::Capture(group)),
                    None => match Variable::parse(found) {
                        Ok(variable) => parts.push(Part::Variable(variable)),
                        Err(VariableError::Unknown(_)) => {}
                        Err(error) => return Err(error),
                    },
                }
                rest = rest.get(end..).unwrap_or_default();
            } else {
                let (literal, further) = rest.split_at_checked(letter.len_utf8()).unwrap_or((rest, ""));
                parts.text(literal);
                rest = further;
            }
        }
        Ok(Self(parts.0))
    }

    /// Reads `$1` and `${1}` as what a group found and `$$` as `$`, which is all that the replacement of a pattern may
    /// hold.
    ///
    /// # Errors
    ///
    /// A name where only a number has a meaning.
    pub fn captures(text: &str) -> Result<Self, NoCapture> {
        let mut parts = Parts::default();
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            if let Some(further) = rest.strip_prefix("$$") {
                parts.text("$");
                rest = further;
            } else if let Some((found, end)) = digits(rest) {
                parts.push(Part::Capture(number(found).ok_or_else(|| NoCapture(found.to_owned()))?));
                rest = rest.get(end..).unwrap_or_default();
            } else if letter == '$' {
                return Err(NoCapture(rest.chars().skip(1).take(16).collect()));
            } else {
                let (literal, further) = rest.split_at_checked(letter.len_utf8()).unwrap_or((rest, ""));
                parts.text(literal);
                rest = further;
            }
        }
        Ok(Self(parts.0))
    }

    /// A template of these pieces.
    pub const fn of(parts: Vec<Part>) -> Self {
        Self(parts)
    }

    /// Its pieces in order.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }
}

#[derive(Default)]
struct Parts(Vec<Part>);

impl Parts {
    fn push(&mut self, part: Part) {
        self.0.push(part);
    }

    fn text(&mut self, text: &str) {
        if let Some(Part::Text(before)) = self.0.last_mut() {
            *before = format!("{before}{text}").into();
        } else {
            self.push(Part::Text(text.into()));
        }
    }
}

/// The name behind a `$` or `${` at the beginning of `text`, and where it ends.
fn name(text: &str) -> Option<(&str, usize)> {
    reference(text, |byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn digits(text: &str) -> Option<(&str, usize)> {
    reference(text, |byte| byte.is_ascii_digit())
}

fn reference(text: &str, belongs: fn(u8) -> bool) -> Option<(&str, usize)> {
    let after = text.strip_prefix('$')?;
    if let Some(braced) = after.strip_prefix('{') {
        let (found, _) = braced.split_once('}')?;
        return (!found.is_empty() && found.bytes().all(belongs)).then(|| (found, found.len() + 3));
    }
    let length = after.bytes().take_while(|byte| belongs(*byte)).count();
    let found = after.get(..length)?;
    (length > 0).then_some((found, length + 1))
}

/// Groups are few.
fn number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|number| *number < 100 && text.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Part {
        Part::Text(text.into())
    }

    fn parts(template: &str) -> Vec<Part> {
        Template::parse(template).unwrap().0
    }

    #[test]
    fn variables_stand_with_and_without_braces() {
        assert_eq!(
            parts("https://$host/x${arg_y}z"),
            [
                text("https://"),
                Part::Variable(Variable::Host),
                text("/x"),
                Part::Variable(Variable::Arg("y".into())),
                text("z"),
            ]
        );
        assert_eq!(parts("/foo$$uri"), [text("/foo$"), Part::Variable(Variable::Uri)]);
        assert_eq!(parts(r"/a\$uri\x$"), [text(r"/a\$uri\x$")]);
        assert_eq!(parts("${uri"), [text("${uri")]);
        assert_eq!(parts("/$1/${12}"), [text("/"), Part::Capture(1), text("/"), Part::Capture(12)]);
    }

    #[test]
    fn an_unknown_name_is_nothing_and_one_that_is_not_built_is_refused() {
        assert_eq!(parts("/foo$asdf233"), [text("/foo")]);
        assert!(matches!(Template::parse("/$graphql_name"), Err(VariableError::Unsupported(_))));
        assert!(matches!(Template::parse("/$arg_"), Err(VariableError::BadName(_))));
    }

    #[test]
    fn a_replacement_knows_groups_alone() {
        let captures = |text: &str| Template::captures(text).map(|template| template.0);
        assert_eq!(
            captures("/$1-${2}$$").unwrap(),
            [text("/"), Part::Capture(1), text("-"), Part::Capture(2), text("$"),]
        );
        for bad in ["/$uri", "/$", "/${a}", "/$999"] {
            assert!(captures(bad).is_err(), "{bad}");
        }
    }
}
