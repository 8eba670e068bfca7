//! Reading of `multipart/form-data` (RFC 7578): what Kong's Admin API and edits of such bodies share.

use memchr::memmem;

/// Longest head of a part, in bytes.
pub const MAX_HEAD: usize = 4096;

/// The boundary that a content type names (RFC 2046 section 5.1.1).
pub fn boundary(content_type: &str) -> Option<&str> {
    let parameters = content_type.split(';').skip(1).map(str::trim);
    let value = parameters
        .filter_map(|parameter| parameter.split_once('='))
        .find_map(|(name, value)| name.trim().eq_ignore_ascii_case("boundary").then_some(value.trim()))?;
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    (1..=70).contains(&value.len()).then_some(value)
}

/// The name in the `Content-Disposition` of a part's head.
pub fn name(head: &str) -> Option<&str> {
    let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let mut named = lines.filter(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"));
    let (_, value) = named.next()?;
    let parameter = value.split(';').map(str::trim).find_map(|parameter| parameter.strip_prefix("name="))?;
    Some(parameter.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(parameter))
}

/// What stands before the first `at`, and what behind it.
pub fn split<'b>(bytes: &'b [u8], at: &[u8]) -> Option<(&'b [u8], &'b [u8])> {
    let (before, rest) = bytes.split_at_checked(memmem::find(bytes, at)?)?;
    Some((before, rest.strip_prefix(at)?))
}
