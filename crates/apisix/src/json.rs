//! Reading JSON that a client sent: duplicate members are refused, because two readers could see two documents in one
//! (CVE-2022-25757), and depth is bounded.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::schema::excerpt;

mod wording;

/// Deepest nesting. `vars` and plugin configurations need a dozen levels.
const MAX_DEPTH: usize = 64;
/// Beyond this a double no longer holds every integer.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Reads one document. Numbers without a fraction become integers, as in Lua; the error quotes no value.
pub(crate) fn parse(text: &[u8]) -> Result<Value, String> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Strict { depth: 0 }.deserialize(&mut reader);
    let value = value.and_then(|value| reader.end().map(|()| value));
    // What is JSON and refused all the same is told in words of our own.
    value.map_err(|error| wording::problem(text).unwrap_or_else(|| error.to_string()))
}

#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        if value.fract() == 0.0 && value.abs() <= EXACT {
            #[allow(clippy::cast_possible_truncation)]
            return Ok(Value::Number((value as i64).into()));
        }
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut out = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            out.push(item);
        }
        Ok(Value::Array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut out = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(inner)?;
            if out.contains_key(&name) {
                return Err(A::Error::custom(format!("duplicate member \"{}\"", excerpt(&name))));
            }
            out.insert(name, value);
        }
        Ok(Value::Object(out))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a10_duplicate_members_are_refused_also_when_one_is_escaped() {
        for text in [r#"{"uri":"/a","uri":"/b"}"#, r#"{"a":{"b":1,"\u0062":2}}"#] {
            assert!(parse(text.as_bytes()).unwrap_err().contains("duplicate member"), "{text}");
        }
    }

    #[test]
    fn a10_depth_and_absurd_numbers_are_refused() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse(deep(64).as_bytes()).is_ok());
        assert!(parse(deep(65).as_bytes()).unwrap_err().contains("deeper than 64"));
        assert!(parse(deep(10_000).as_bytes()).is_err());
        for text in [
            "1e400",
            "NaN",
            "-Infinity",
            "01",
            "1.",
            "+1",
            "0x10",
            "1 2",
            "",
            "\u{feff}{}",
            "[1,]",
            "{'a':1}",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse(b"\"\xff\"").is_err());
        assert!(parse(b"\"\\ud800\"").is_err());
    }

    #[test]
    fn whole_numbers_are_integers_however_written() {
        assert_eq!(parse(b"[1.0,-2e2,1.5,0.0]").unwrap(), json!([1, -200, 1.5, 0]));
    }
}
