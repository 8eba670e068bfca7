use std::{borrow::Cow, cell::Cell, fmt};

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::JoseError;

/// The largest magnitude of a number written with a fraction or an exponent: beyond it, f64 has long lost digits and
/// two readers see two numbers (RFC 8259 section 6).
const MAX_MAGNITUDE: f64 = 18_446_744_073_709_551_615.0;

const MALFORMED: &str = "it cannot be read";
const DUPLICATE: &str = "an object has the same member twice";
const TOO_DEEP: &str = "it is nested too deeply";
const NUMBER: &str = "a number is too large";
const NUL: &str = "a string has a NUL in it";

/// Reads one JSON value strictly: an object names each member once (also where an escape hides the twin), nothing
/// follows the value but white space, no byte-order mark precedes it, strings are UTF-8 without lone surrogates and
/// without NUL, numbers are bounded, and arrays and objects nest at most `max_depth` deep (0 admits scalars only; the
/// reader's own limit is 127). The caller bounds the length.
pub fn parse_json(bytes: &[u8], max_depth: usize) -> Result<Value, JoseError> {
    let reason = Cell::new(None);
    read(bytes, &reason, Strict { depth: max_depth, fault: Fault(&reason) })
}

/// Drives a strict reader over all of `bytes`. The reader leaves in `reason` what serde's error type cannot carry.
pub(crate) fn read<'de, S: DeserializeSeed<'de>>(
    bytes: &'de [u8],
    reason: &Cell<Option<JoseError>>,
    reader: S,
) -> Result<S::Value, JoseError> {
    let mut input = serde_json::Deserializer::from_slice(bytes);
    let value = reader.deserialize(&mut input);
    match value.and_then(|value| input.end().map(|()| value)) {
        Ok(value) => Ok(value),
        Err(_) => Err(reason.take().unwrap_or(JoseError::Json(MALFORMED))),
    }
}

/// Where a reader leaves its reason before it fails.
#[derive(Clone, Copy)]
pub(crate) struct Fault<'f>(pub(crate) &'f Cell<Option<JoseError>>);

impl Fault<'_> {
    pub(crate) fn raise<T, E: de::Error>(self, reason: JoseError) -> Result<T, E> {
        self.0.set(Some(reason));
        Err(E::custom(MALFORMED))
    }

    pub(crate) fn duplicate<T, E: de::Error>(self) -> Result<T, E> {
        self.raise(JoseError::Json(DUPLICATE))
    }
}

/// A value with at most `depth` levels of nesting.
pub(crate) struct Strict<'f> {
    pub(crate) depth: usize,
    pub(crate) fault: Fault<'f>,
}

impl Strict<'_> {
    fn below<E: de::Error>(&self) -> Result<usize, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(depth),
            None => self.fault.raise(JoseError::Json(TOO_DEEP)),
        }
    }

    fn text<E: de::Error>(&self, text: &str) -> Result<(), E> {
        if text.contains('\0') { self.fault.raise(JoseError::Json(NUL)) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        match Number::from_f64(value) {
            Some(number) if value.abs() <= MAX_MAGNITUDE => Ok(Value::Number(number)),
            _ => self.fault.raise(JoseError::Json(NUMBER)),
        }
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        self.text(value)?;
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        self.text(&value)?;
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let depth = self.below()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Self { depth, fault: self.fault })? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let depth = self.below()?;
        let mut members = Map::new();
        while let Some(name) = map.next_key_seed(Name)? {
            self.text(&name)?;
            let value = map.next_value_seed(Self { depth, fault: self.fault })?;
            if members.insert(name.into_owned(), value).is_some() {
                return self.fault.duplicate();
            }
        }
        Ok(Value::Object(members))
    }
}

/// A member's name, borrowed from the input where it has no escapes.
pub(crate) struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(value.to_owned()))
    }
}
