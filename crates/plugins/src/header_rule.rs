//! Rules that edit the headers of a request or of an answer, compiled.

use expr::Variables;
use http::{HeaderMap, HeaderName, HeaderValue};
use regex::Captures;

use crate::text::Text;

pub(crate) enum HeaderRule {
    /// Takes all of this name out.
    Remove(HeaderName),
    /// Takes out those with this value.
    RemoveValue(HeaderName, String),
    /// Gives all of the first name the second.
    Rename(HeaderName, HeaderName),
    /// Puts one in the place of all, where there is any.
    Replace(HeaderName, Text),
    /// Puts one in the place of all.
    Set(HeaderName, Text),
    /// Puts one there where there is none.
    Add(HeaderName, Text),
    /// Puts one more there.
    Append(HeaderName, Text),
}

impl HeaderRule {
    /// The value that it gives, where it gives one that a header can carry; with `empty_is_none`, not an empty one.
    pub(crate) fn value(
        &self,
        variables: &dyn Variables,
        captures: Option<&Captures<'_>>,
        empty_is_none: bool,
    ) -> Option<HeaderValue> {
        match self {
            Self::Remove(_) | Self::RemoveValue(..) | Self::Rename(..) => None,
            Self::Replace(_, text) | Self::Set(_, text) | Self::Add(_, text) | Self::Append(_, text) => {
                text.header(variables, captures).filter(|value| !(empty_is_none && value.is_empty()))
            }
        }
    }

    /// Edits `headers`. Without a value that a header can carry, what it would have replaced is taken away.
    pub(crate) fn apply(&self, headers: &mut HeaderMap, value: Option<HeaderValue>) {
        match self {
            Self::Remove(name) => {
                headers.remove(name);
            }
            Self::RemoveValue(name, value) => {
                let kept: Vec<HeaderValue> =
                    headers.get_all(name).iter().filter(|own| *own != value.as_str()).cloned().collect();
                headers.remove(name);
                kept.into_iter().for_each(|value| {
                    headers.append(name, value);
                });
            }
            Self::Rename(from, to) => {
                let values: Vec<HeaderValue> = headers.get_all(from).iter().cloned().collect();
                if !values.is_empty() && from != to {
                    headers.remove(from);
                    headers.remove(to);
                    values.into_iter().for_each(|value| {
                        headers.append(to, value);
                    });
                }
            }
            Self::Replace(name, _) if !headers.contains_key(name) => {}
            Self::Add(name, _) if headers.contains_key(name) => {}
            Self::Replace(name, _) | Self::Set(name, _) | Self::Add(name, _) => {
                headers.remove(name);
                headers.extend(value.map(|value| (name.clone(), value)));
            }
            Self::Append(name, _) => {
                if let Some(value) = value {
                    headers.append(name, value);
                }
            }
        }
    }
}
