//! Whether a value is what a [`Test`] asks for.

use std::cmp::Ordering;

use serde_json::Value;

use super::{End, Range, Test};

/// Whether any of the values at `path` will do; lists stand for each of their items.
pub(super) fn any_value(value: &Value, path: &[String], will_do: &dyn Fn(&Value) -> bool) -> bool {
    match (value, path.split_first()) {
        (Value::Array(items), _) => items.iter().any(|item| any_value(item, path, will_do)),
        (value, None) => will_do(value),
        (Value::Object(members), Some((name, rest))) => {
            members.get(name).is_some_and(|value| any_value(value, rest, will_do))
        }
        _ => false,
    }
}

impl Test {
    /// Whether `value`, the value of a named field, passes.
    pub(super) fn holds(&self, value: &Value) -> bool {
        if matches!(self, Self::Exists) {
            return !value.is_null();
        }
        let Some(text) = text_of(value) else { return false };
        match self {
            Self::Exists => true,
            Self::Word(word) => same(&text, word) || has_word(&text, word),
            Self::Phrase(phrase) => same(&text, phrase),
            Self::Pattern(pattern) => is_like(&text.to_lowercase(), &pattern.to_lowercase()),
            Self::Range(range) => range.contains(&text),
        }
    }

    /// Whether `value`, one of the fields that are looked at without a name, has it in it.
    pub(super) fn is_part_of(&self, value: &Value) -> bool {
        let Some(text) = text_of(value) else { return false };
        let text = text.to_lowercase();
        match self {
            Self::Word(part) | Self::Phrase(part) => text.contains(&part.to_lowercase()),
            Self::Pattern(pattern) => is_like(&text, &pattern.to_lowercase()),
            Self::Exists | Self::Range(_) => false,
        }
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(bool) => Some(bool.to_string()),
        _ => None,
    }
}

/// Ids tell case apart; everything else does not.
fn same(text: &str, wanted: &str) -> bool {
    if text.contains('|') {
        return text == wanted;
    }
    match (text.parse::<f64>(), wanted.parse::<f64>()) {
        (Ok(text), Ok(wanted)) => text == wanted,
        _ => text.to_lowercase() == wanted.to_lowercase(),
    }
}

fn has_word(text: &str, wanted: &str) -> bool {
    let wanted = wanted.to_lowercase();
    text.contains(char::is_whitespace) && text.to_lowercase().split_whitespace().any(|word| word == wanted)
}

impl Range {
    fn contains(&self, text: &str) -> bool {
        let above = self.low.as_ref().is_none_or(|end| match order(text, &end.value) {
            Ordering::Less => false,
            Ordering::Equal => end.inclusive,
            // A day has begun before its hours have: what lies within an excluded day is excluded.
            Ordering::Greater => end.inclusive || !is_within(text, end),
        });
        let below = self.high.as_ref().is_none_or(|end| match order(text, &end.value) {
            Ordering::Less => true,
            Ordering::Equal => end.inclusive,
            Ordering::Greater => end.inclusive && is_within(text, end),
        });
        above && below
    }
}

/// Whether `text` is a moment within the day, month or year that `end` names.
fn is_within(text: &str, end: &End) -> bool {
    let is_date = text.as_bytes().get(10) == Some(&b'T') && text.ends_with('Z');
    is_date && end.value.len() >= 4 && text.starts_with(end.value.as_str())
}

fn order(text: &str, end: &str) -> Ordering {
    match (text.parse::<f64>(), end.parse::<f64>()) {
        (Ok(text), Ok(end)) => text.partial_cmp(&end).unwrap_or(Ordering::Less),
        _ => text.to_lowercase().cmp(&end.to_lowercase()),
    }
}

/// Whether `text` is like `pattern`. Only the last `*` is ever gone back to: that is enough.
fn is_like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    let (mut at, mut of) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(c) = text.get(at) {
        match pattern.get(of) {
            Some('*') => {
                star = Some((of + 1, at));
                of += 1;
            }
            Some(wanted) if *wanted == '?' || wanted == c => (at, of) = (at + 1, of + 1),
            _ => match &mut star {
                Some((after, from)) => {
                    *from += 1;
                    (at, of) = (*from, *after);
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(of).all(|rest| *rest == '*')
}
