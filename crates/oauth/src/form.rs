//! `application/x-www-form-urlencoded` as OAuth uses it, in bodies and queries: a parameter comes once or the request is
//! refused (RFC 6749 section 3.1 and 3.2), because two readers could pick different ones. `resource` alone may come several
//! times (RFC 8707 section 2).

use std::borrow::Cow;

/// Parameters in one form at most.
pub const MAX_PARAMS: usize = 100;
/// Bytes of one value at most, decoded.
pub const MAX_VALUE: usize = 16 * 1024;
/// Bytes of one name at most, decoded.
pub const MAX_NAME: usize = 256;

/// Parameters that are lists.
const REPEATABLE: [&str; 1] = ["resource"];

/// The parameters of a form or query, each name once but for `resource`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

/// Why a form is refused. The answer is `invalid_request`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// A name comes twice. Its characters outside the RFC's are replaced.
    #[error("the parameter {0} is repeated")]
    Repeated(String),
    /// More than 100 parameters.
    #[error("there are more than {MAX_PARAMS} parameters")]
    TooMany,
    /// A name over 256 bytes or a value over 16 KiB.
    #[error("a parameter is too long")]
    TooLong,
    /// A `%` without two hexadecimal digits, or bytes that are not UTF-8.
    #[error("the parameters are not valid percent-encoded UTF-8")]
    Encoding,
}

/// Reads a form or a query (without its `?`). `+` is a space. Empty pieces between `&` are skipped.
///
/// # Errors
///
/// Repeated names, more than [`MAX_PARAMS`] parameters, overlong names and values, invalid encoding.
pub fn parse(input: &[u8]) -> Result<Params<'_>, FormError> {
    if !percent_encoding_is_whole(input) {
        return Err(FormError::Encoding);
    }
    let mut params = Params::default();
    for piece in input.split(|byte| *byte == b'&').filter(|piece| !piece.is_empty()) {
        if params.0.len() == MAX_PARAMS {
            return Err(FormError::TooMany);
        }
        let mut halves = piece.splitn(2, |byte| *byte == b'=');
        let name = decode(halves.next().unwrap_or_default())?;
        let value = decode(halves.next().unwrap_or_default())?;
        if name.len() > MAX_NAME || value.len() > MAX_VALUE {
            return Err(FormError::TooLong);
        }
        if params.first(&name).is_some() && !REPEATABLE.contains(&name.as_ref()) {
            let shown = name.chars().map(|c| if c.is_ascii_graphic() && c != '"' { c } else { '?' }).take(64);
            return Err(FormError::Repeated(shown.collect()));
        }
        params.0.push((name, value));
    }
    Ok(params)
}

impl Params<'_> {
    /// The value of `name`. A parameter without a value counts as absent (RFC 6749 section 3.1).
    pub fn value(&self, name: &str) -> Option<&str> {
        self.first(name).filter(|value| !value.is_empty())
    }

    /// The value of `name`, also an empty one.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_ref())
    }

    /// Every value of a parameter that may come several times, but for empty ones.
    pub fn values<'p>(&'p self, name: &'p str) -> impl Iterator<Item = &'p str> {
        self.0
            .iter()
            .filter(move |(have, value)| have == name && !value.is_empty())
            .map(|(_, value)| value.as_ref())
    }

    /// All names and values in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// Copies what still points into the input.
    pub fn into_owned(self) -> Params<'static> {
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Params(self.0.into_iter().map(|(name, value)| (own(name), own(value))).collect())
    }
}

/// A `%` that does not begin an escape reads differently in different parsers.
fn percent_encoding_is_whole(input: &[u8]) -> bool {
    let mut rest = input;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        match rest.get(at..) {
            Some([_, high, low, tail @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest = tail
            }
            _ => return false,
        }
    }
    true
}

fn decode(piece: &[u8]) -> Result<Cow<'_, str>, FormError> {
    if !piece.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return std::str::from_utf8(piece).map(Cow::Borrowed).map_err(|_| FormError::Encoding);
    }
    let spaced: Vec<u8> = piece.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let decoded = percent_encoding::percent_decode(&spaced).collect();
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| FormError::Encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_with_plus_as_space() {
        let params =
            parse(b"scope=openid+email&&redirect_uri=http%3A%2F%2Fa%2Fb%3Fc%3Dd&empty=&bare").unwrap();
        assert_eq!(params.value("scope"), Some("openid email"));
        assert_eq!(params.value("redirect_uri"), Some("http://a/b?c=d"));
        assert_eq!(params.value("empty"), None);
        assert_eq!(params.first("empty"), Some(""));
        assert_eq!(params.first("bare"), Some(""));
        assert_eq!(params.value("absent"), None);
    }

    #[test]
    fn a_repeated_parameter_is_refused_also_under_another_encoding() {
        assert_eq!(parse(b"a=1&b=2&a=1"), Err(FormError::Repeated("a".to_owned())));
        assert_eq!(parse(b"state=1&st%61te=2"), Err(FormError::Repeated("state".to_owned())));
        let several = parse(b"resource=a&resource=&resource=b").unwrap();
        assert_eq!(several.values("resource").collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn limits_hold() {
        let many = |count: usize| (0..count).map(|n| format!("p{n}=1")).collect::<Vec<_>>().join("&");
        assert!(parse(many(100).as_bytes()).is_ok());
        assert_eq!(parse(many(101).as_bytes()), Err(FormError::TooMany));
        let long = |count: usize| format!("a={}", "x".repeat(count));
        assert!(parse(long(MAX_VALUE).as_bytes()).is_ok());
        assert_eq!(parse(long(MAX_VALUE + 1).as_bytes()), Err(FormError::TooLong));
    }

    #[test]
    fn broken_encoding_is_refused() {
        for bad in [&b"a=%"[..], b"a=%4", b"a=%zz", b"a=%ff", b"a=\xff"] {
            assert_eq!(parse(bad), Err(FormError::Encoding), "{bad:?}");
        }
    }
}
