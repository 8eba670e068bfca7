use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bytes a scope string may have at most.
const MAX_SCOPES: usize = 8 * 1024;

/// A set of scope tokens in the order in which they were first named. Tokens are compared byte for byte
/// (RFC 6749 section 3.3: case-sensitive).
#[derive(Clone, Debug, Default)]
pub struct Scopes(Vec<Box<str>>);

/// Why a text is no list of scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// A character outside `%x21 / %x23-5B / %x5D-7E` (RFC 6749 section 3.3).
    #[error("a scope may hold visible ASCII characters only, without quotes and backslashes")]
    Character,
    /// More than 8 KiB.
    #[error("the scope parameter is longer than 8192 bytes")]
    TooLong,
}

impl Scopes {
    /// Reads tokens separated by spaces; a token named twice counts once. Empty text is an empty set.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        if text.len() > MAX_SCOPES {
            return Err(ScopeError::TooLong);
        }
        text.split(' ').filter(|token| !token.is_empty()).try_fold(Self::default(), |mut scopes, token| {
            if !token.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)) {
                return Err(ScopeError::Character);
            }
            scopes.insert(token);
            Ok(scopes)
        })
    }

    /// Adds a token at the end unless it is there. The caller has checked its characters.
    fn insert(&mut self, token: &str) {
        if !self.contains(token) {
            self.0.push(token.into());
        }
    }

    /// Whether this very token is in the set: no prefix, no other case.
    pub fn contains(&self, token: &str) -> bool {
        self.0.iter().any(|have| **have == *token)
    }

    /// Whether every token of `others` is in the set.
    pub fn contains_all(&self, others: &Self) -> bool {
        others.iter().all(|token| self.contains(token))
    }

    /// The tokens that are in `allowed` too, in this set's order.
    pub fn intersection(&self, allowed: &Self) -> Self {
        Self(self.0.iter().filter(|token| allowed.contains(token)).cloned().collect())
    }

    /// The tokens of both, this set's first.
    pub fn union(&self, others: &Self) -> Self {
        let mut all = self.clone();
        others.iter().for_each(|token| all.insert(token));
        all
    }

    /// All tokens but this one.
    #[must_use]
    pub fn without(&self, token: &str) -> Self {
        Self(self.0.iter().filter(|known| ***known != *token).cloned().collect())
    }

    /// The tokens in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// How many tokens.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Equal as sets: the order carries no meaning (RFC 6749 section 3.3).
impl PartialEq for Scopes {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.contains_all(other)
    }
}

impl Eq for Scopes {}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(place, token)| {
            if place > 0 {
                f.write_str(" ")?;
            }
            f.write_str(token)
        })
    }
}

impl std::str::FromStr for Scopes {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        Self::parse(text)
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_keep_their_order_and_count_once() {
        let scopes = Scopes::parse("openid  profile openid email ").unwrap();
        assert_eq!(scopes.to_string(), "openid profile email");
        assert_eq!(scopes, Scopes::parse("email openid profile").unwrap());
    }

    #[test]
    fn a_scope_is_neither_a_prefix_nor_of_another_case() {
        let scopes = Scopes::parse("read:things").unwrap();
        assert!(scopes.contains("read:things"));
        assert!(!scopes.contains("read:thing"));
        assert!(!scopes.contains("Read:Things"));
        assert!(!scopes.contains_all(&Scopes::parse("read:things write:things").unwrap()));
    }

    #[test]
    fn characters_outside_rfc_6749_are_refused() {
        for bad in ["a\"", "a\\b", "a\tb", "a\nb", "ä", "a\u{0}"] {
            assert_eq!(Scopes::parse(bad), Err(ScopeError::Character), "{bad:?}");
        }
        assert_eq!(Scopes::parse(&"x".repeat(8193)), Err(ScopeError::TooLong));
    }

    #[test]
    fn an_intersection_keeps_the_order_of_the_request() {
        let asked = Scopes::parse("c b a").unwrap();
        assert_eq!(asked.intersection(&Scopes::parse("a b").unwrap()).to_string(), "b a");
        assert_eq!(asked.union(&Scopes::parse("d a").unwrap()).to_string(), "c b a d");
    }
}
