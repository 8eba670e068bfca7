//! YAML as the JSON that the Admin APIs take, and back: one document, without anchors, tags and duplicate keys, because
//! two readers could see two documents in one.

use std::fmt::Write;

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};
use serde_json::{Map, Number, Value};

/// Deepest nesting.
const MAX_DEPTH: usize = 64;

/// Reads one document.
///
/// # Errors
///
/// What is wrong and where; no value is quoted.
pub fn parse(text: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())?;
    let mut reader = Reader { parser: Parser::new_from_str(text) };
    let mut root = None;
    loop {
        match reader.next()? {
            Event::StreamEnd => return Ok(root.unwrap_or(Value::Null)),
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            event if root.is_none() => root = Some(reader.value(event, 0)?),
            _ => return Err("there is a second document".to_owned()),
        }
    }
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<Event<'t>, String> {
        match self.parser.next_event() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(format!(
                "line {}, column {}: {}",
                error.marker().line(),
                error.marker().col() + 1,
                error.info()
            )),
            None => Ok(Event::StreamEnd),
        }
    }

    fn value(&mut self, event: Event<'t>, depth: usize) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH} levels"));
        }
        match event {
            Event::Scalar(text, ScalarStyle::Plain, 0, None) => Ok(typed(&text)),
            Event::Scalar(text, _, 0, None) => Ok(Value::from(text.into_owned())),
            Event::SequenceStart(0, None) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => return Ok(Value::Array(items)),
                        event => items.push(self.value(event, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(0, None) => self.mapping(depth),
            _ => Err("anchors, aliases and tags are not supported".to_owned()),
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, String> {
        let mut members = Map::new();
        loop {
            let key = match self.next()? {
                Event::MappingEnd => return Ok(Value::Object(members)),
                Event::Scalar(key, _, 0, None) => key.into_owned(),
                _ => return Err("a key must be a plain word".to_owned()),
            };
            let event = self.next()?;
            let value = self.value(event, depth + 1)?;
            if members.insert(key.clone(), value).is_some() {
                return Err(format!("`{}` is given twice", excerpt(&key)));
            }
        }
    }
}

/// The beginning of a key, for an error text.
fn excerpt(text: &str) -> String {
    const MOST: usize = 128;
    text.chars().take(MOST).collect()
}

/// A plain word, typed as in YAML's core schema.
pub fn typed(text: &str) -> Value {
    // What `parse` would take beyond YAML's numbers (`inf`, `nan`) begins with a letter.
    let numeric = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ if !numeric => Value::from(text),
        _ => match text.parse::<i64>() {
            Ok(number) => Value::from(number),
            Err(_) => {
                text.parse().ok().and_then(Number::from_f64).map_or_else(|| Value::from(text), Value::Number)
            }
        },
    }
}

/// Writes a document in block style. Texts are quoted as in JSON, which YAML reads the same way.
pub fn text(value: &Value) -> String {
    let mut out = String::new();
    block(&mut out, value, 0);
    out
}

fn block(out: &mut String, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    // Writing to a string cannot fail.
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                let _ = write!(out, "{indent}{}:", Value::from(name.as_str()));
                nested(out, member, depth + 1);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let _ = write!(out, "{indent}-");
                nested(out, item, depth + 1);
            }
        }
        scalar => {
            let _ = writeln!(out, "{indent}{scalar}");
        }
    }
}

fn nested(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(members) if !members.is_empty() => out.push('\n'),
        Value::Array(items) if !items.is_empty() => out.push('\n'),
        scalar => {
            let _ = writeln!(out, " {scalar}");
            return;
        }
    }
    block(out, value, depth);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_words_are_typed_and_quoted_ones_are_texts() {
        let read = parse(b"a: [1, -2, 1.5, true, '1', \"true\", x, 1.2.3, ~, inf, e, '']\n").unwrap();
        assert_eq!(read, json!({"a": [1, -2, 1.5, true, "1", "true", "x", "1.2.3", null, "inf", "e", ""]}));
    }

    #[test]
    fn what_is_written_reads_back() {
        let value = json!({
            "routes": [
                {"id": "1", "uri": "/a*", "plugins": {}, "vars": [["arg_x", "==", "y: #z"], []]},
                {"id": 2, "desc": "line\nbreak \"quoted\" ä", "n": 1.5, "t": true, "o": null},
            ],
            "routes_conf_version": 3,
            "1": "~",
        });
        assert_eq!(parse(text(&value).as_bytes()).unwrap(), value, "{}", text(&value));
    }

    #[test]
    fn what_could_surprise_is_refused_without_a_value() {
        for (bad, word) in [
            ("a: &x 1\nb: *x\n", "anchors"),
            ("a: !!str 1\n", "tags"),
            ("a: 1\na: 2\n", "given twice"),
            ("a: 1\n---\nb: 2\n", "second document"),
            ("key: [canary\n", "line"),
            ("? [a]\n: 1\n", "plain word"),
        ] {
            let error = parse(bad.as_bytes()).unwrap_err();
            assert!(error.contains(word) && !error.contains("canary"), "{error}");
        }
        assert!(parse("[".repeat(5000).as_bytes()).is_err());
    }
}
