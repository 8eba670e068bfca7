use std::{cell::Cell, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::{
    JoseError,
    json::{self, Fault, Name, Strict},
};

/// Members a header may have. Real ones have two to six.
const MAX_MEMBERS: usize = 32;
/// Nesting below the header object: a `jwk` or `epk` with an array in it.
const MAX_DEPTH: usize = 4;
/// Bytes of a `kid`.
const MAX_KID: usize = 512;

/// What of a token's header is looked at. `jwk`, `jku`, `x5c`, `x5u` and the like are read past: a token never brings
/// its own key. Anything here is the sender's word until a signature is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// `alg`, whatever it says.
    pub alg: String,
    /// `kid`: which key of a set.
    pub kid: Option<String>,
    /// `typ`: what kind of token. Compare with [`Header::has_typ`].
    pub typ: Option<String>,
    /// `cty`: what the payload is.
    pub cty: Option<String>,
}

impl Header {
    /// Reads a JWS header strictly.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, JoseError> {
        let reason = Cell::new(None);
        json::read(bytes, &reason, HeaderReader(Fault(&reason)))
    }

    /// Whether `typ` is the media type `expected`, such as `at+jwt`: without regard to case, with or without
    /// `application/` (RFC 7515 section 4.1.9). An absent `typ` is none.
    pub fn has_typ(&self, expected: &str) -> bool {
        const PREFIX: &str = "application/";
        let Some(typ) = self.typ.as_deref() else { return false };
        let short = match typ.split_at_checked(PREFIX.len()) {
            Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
            _ => typ,
        };
        short.eq_ignore_ascii_case(expected)
    }
}

struct HeaderReader<'f>(Fault<'f>);

impl<'de> DeserializeSeed<'de> for HeaderReader<'_> {
    type Value = Header;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Header, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeaderReader<'_> {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a header object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let (mut alg, mut kid, mut typ, mut cty) = (None, None, None, None);
        let mut others = Vec::new();
        while let Some(name) = map.next_key_seed(Name)? {
            match &*name {
                "alg" => self.text(&mut map, &mut alg, "alg is not a string")?,
                "kid" => self.text(&mut map, &mut kid, "kid is not a string")?,
                "typ" => self.text(&mut map, &mut typ, "typ is not a string")?,
                "cty" => self.text(&mut map, &mut cty, "cty is not a string")?,
                // RFC 7515 section 4.1.11: what is critical and not understood is refused, and nothing is understood.
                "crit" => return self.0.raise(JoseError::Critical),
                // RFC 7797 is not for JWTs (section 7 there), and half-supported it lets signed bytes differ from read ones.
                "b64" => {
                    return self.0.raise(JoseError::Header("unencoded payloads (b64) are not supported"));
                }
                _ => {
                    map.next_value_seed(Strict { depth: MAX_DEPTH, fault: self.0 })?;
                    if others.contains(&name) {
                        return self.0.duplicate();
                    }
                    others.push(name);
                }
            }
            if others.len() > MAX_MEMBERS {
                return self.0.raise(JoseError::Header("it has too many members"));
            }
        }
        let Some(alg) = alg else { return self.0.raise(JoseError::Header("alg is missing")) };
        if kid.as_deref().is_some_and(|kid| !is_plausible_kid(kid)) {
            return self.0.raise(JoseError::Header("kid is empty, too long or has control characters"));
        }
        Ok(Header { alg, kid, typ, cty })
    }
}

impl HeaderReader<'_> {
    fn text<'de, A: MapAccess<'de>>(
        &self,
        map: &mut A,
        slot: &mut Option<String>,
        otherwise: &'static str,
    ) -> Result<(), A::Error> {
        match map.next_value_seed(Strict { depth: MAX_DEPTH, fault: self.0 })? {
            Value::String(text) if slot.is_none() => {
                *slot = Some(text);
                Ok(())
            }
            Value::String(_) => self.0.duplicate(),
            _ => self.0.raise(JoseError::Header(otherwise)),
        }
    }
}

/// Key ids end up in logs and caches; none that a provider means to be used has control characters.
pub(crate) fn is_plausible_kid(kid: &str) -> bool {
    !kid.is_empty() && kid.len() <= MAX_KID && !kid.chars().any(char::is_control)
}
