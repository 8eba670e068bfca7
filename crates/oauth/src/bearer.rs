//! Bearer tokens in requests and challenges in answers (RFC 6750, RFC 9110 section 11).

use std::borrow::Cow;

/// What the `Authorization` headers of a request say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authorization<'a> {
    /// There is none.
    Absent,
    /// Credentials of another scheme, such as Basic.
    Other,
    /// A bearer token: `b64token` of RFC 6750 section 2.1, not yet verified.
    Bearer(&'a str),
    /// A token that needs a proof of possession (RFC 9449 section 7.1), of the same letters.
    Dpop(&'a str),
}

/// Why the `Authorization` headers of a request cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BearerError {
    /// There is more than one: 400 `invalid_request` (RFC 6750 section 2 and 3.1).
    #[error("there is more than one Authorization header")]
    Repeated,
    /// A scheme and nothing behind it, or an empty header.
    #[error("the Authorization header holds no credentials")]
    NoCredentials,
    /// The scheme is Bearer or DPoP, but one token and nothing else does not follow: 401.
    #[error("the Authorization header holds no well-formed token")]
    Malformed,
}

/// Reads the values of all `Authorization` headers of a request: tokens of the schemes Bearer and DPoP. The scheme is compared without case; behind it come
/// spaces only (no tab) and exactly one token.
///
/// # Errors
///
/// More than one header, or a header that is neither another scheme's nor one token.
pub fn parse<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Authorization<'a>, BearerError> {
    let mut values = values.into_iter();
    let Some(value) = values.next() else { return Ok(Authorization::Absent) };
    if values.next().is_some() {
        return Err(BearerError::Repeated);
    }
    let value = value.trim_ascii();
    let end = value.iter().position(|byte| !is_scheme_char(*byte)).ok_or(BearerError::NoCredentials)?;
    let (scheme, rest) = value.split_at(end);
    let scheme: Option<fn(_) -> _> = if scheme.eq_ignore_ascii_case(b"bearer") {
        Some(Authorization::Bearer)
    } else if scheme.eq_ignore_ascii_case(b"dpop") {
        Some(Authorization::Dpop)
    } else {
        None
    };
    let Some(rest) = rest.strip_prefix(b" ") else {
        return Err(if scheme.is_some() { BearerError::Malformed } else { BearerError::NoCredentials });
    };
    let Some(scheme) = scheme else { return Ok(Authorization::Other) };
    let from = rest.iter().position(|byte| *byte != b' ').unwrap_or(rest.len());
    let token = rest.get(from..).and_then(|token| std::str::from_utf8(token).ok());
    token.filter(|token| is_b64token(token)).map(scheme).ok_or(BearerError::Malformed)
}

/// Whether a query or form names `access_token` (RFC 6750 sections 2.2 and 2.3). Together with a header that is a 400
/// `invalid_request`: a client must not use more than one way.
pub fn names_access_token(form: &[u8]) -> bool {
    form.split(|byte| *byte == b'&').any(|piece| {
        let name = piece.split(|byte| *byte == b'=').next().unwrap_or_default();
        let name: Cow<'_, [u8]> = percent_encoding::percent_decode(name).into();
        name.as_ref() == b"access_token"
    })
}

/// The value of `WWW-Authenticate` for a bearer-protected resource (RFC 6750 section 3). Every value is quoted with
/// `"` and `\` escaped, and characters that may not stand in a header become spaces.
pub fn challenge(realm: &str, params: &[(&str, &str)]) -> String {
    let mut out = String::from("Bearer realm=");
    quote(&mut out, realm);
    for (name, value) in params {
        out.push_str(", ");
        out.push_str(name);
        out.push('=');
        quote(&mut out, value);
    }
    out
}

/// RFC 9110 5.6.2: a token.
fn is_scheme_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether it may be a bearer token, RFC 6750 section 2.1:
/// `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`.
pub fn is_b64token(token: &str) -> bool {
    let body = token.trim_end_matches('=');
    !body.is_empty() && body.bytes().fold(true, |all, byte| all & stands_in_b64token(byte))
}

/// Letters, digits and `-._~+/`. Every byte of a warm request's token comes by here: without branches, the compiler looks at
/// many at once. From `-` to `9` the table of ASCII has `-`, `.`, `/` and the digits.
const fn stands_in_b64token(byte: u8) -> bool {
    let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    is_letter | (byte.wrapping_sub(b'-') <= b'9' - b'-') | (byte == b'_') | (byte == b'~') | (byte == b'+')
}

pub(crate) fn quote(out: &mut String, value: &str) {
    out.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => out.push(' '),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_b64token_is_made_of_the_characters_of_rfc_6750() {
        for byte in 0..=0x7f_u8 {
            let allowed = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            let text = format!("a{}b", char::from(byte));
            assert_eq!(is_b64token(&text), allowed, "{text:?}");
        }
        assert!(is_b64token("a==") && !is_b64token("==") && !is_b64token("a=b") && !is_b64token("é"));
    }

    fn one(value: &str) -> Result<Authorization<'_>, BearerError> {
        parse([value.as_bytes()])
    }

    #[test]
    fn j48_the_scheme_is_read_in_any_case() {
        for scheme in ["Bearer", "bearer", "BEARER"] {
            assert_eq!(
                one(&format!("{scheme} a.b-c_d~e+f/g==")),
                Ok(Authorization::Bearer("a.b-c_d~e+f/g=="))
            );
        }
        assert_eq!(one("Bearer   abc"), Ok(Authorization::Bearer("abc")));
        for scheme in ["DPoP", "dpop", "DPOP"] {
            assert_eq!(one(&format!("{scheme} abc")), Ok(Authorization::Dpop("abc")));
        }
        assert_eq!(one("DPoP a b"), Err(BearerError::Malformed));
        assert_eq!(one("DPoPx abc"), Ok(Authorization::Other));
    }

    #[test]
    fn j48_anything_but_one_token_is_malformed() {
        for bad in [
            "Bearer\tabc",
            "Bearer a b",
            "Bearer a,b",
            "Bearer a, Bearer b",
            "Bearer \tabc",
            "Bearer =",
            "Bearer ä",
        ] {
            assert_eq!(one(bad), Err(BearerError::Malformed), "{bad:?}");
        }
        for empty in ["Bearer", "Bearer ", "Basic", "", " "] {
            assert_eq!(one(empty), Err(BearerError::NoCredentials), "{empty:?}");
        }
    }

    #[test]
    fn j47_two_authorization_headers_are_one_too_many() {
        assert_eq!(parse([&b"Bearer a"[..], b"Bearer a"]), Err(BearerError::Repeated));
        assert_eq!(parse([&b"Basic a"[..], b"Bearer a"]), Err(BearerError::Repeated));
        assert_eq!(parse([]), Ok(Authorization::Absent));
        assert_eq!(one("Basic YTpi"), Ok(Authorization::Other));
    }

    #[test]
    fn j47_a_token_in_a_query_or_form_is_seen_in_any_encoding() {
        assert!(names_access_token(b"a=1&access_token=x"));
        assert!(names_access_token(b"acc%65ss_token"));
        assert!(!names_access_token(b"xaccess_token=1&a=access_token"));
    }

    #[test]
    fn a_challenge_keeps_its_values_inside_their_quotes() {
        assert_eq!(
            challenge("a\"b", &[("error", "invalid_token"), ("error_description", "x\r\ny\\")]),
            r#"Bearer realm="a\"b", error="invalid_token", error_description="x  y\\""#
        );
    }
}
