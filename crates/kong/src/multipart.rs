//! `multipart/form-data` (RFC 7578) as Kong's Admin API takes it: parts with names, whose contents are texts.

use crate::form::{FormError, Node, from_pairs};

/// Longest head of a part, in bytes.
const MAX_HEAD: usize = 4096;

/// The boundary that a content type names.
pub(crate) fn boundary(content_type: &str) -> Option<&str> {
    let parameters = content_type.split(';').skip(1).map(str::trim);
    let value = parameters
        .filter_map(|parameter| parameter.split_once('='))
        .find_map(|(name, value)| name.trim().eq_ignore_ascii_case("boundary").then_some(value.trim()))?;
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    // RFC 2046 section 5.1.1.
    (1..=70).contains(&value.len()).then_some(value)
}

/// Reads a body.
pub(crate) fn parse(body: &[u8], boundary: &str) -> Result<Vec<(String, Node)>, FormError> {
    from_pairs(pairs(body, boundary)?.into_iter())
}

/// Names and contents of the parts.
pub(crate) fn pairs(body: &[u8], boundary: &str) -> Result<Vec<(String, String)>, FormError> {
    let open = format!("--{boundary}");
    let mut rest = after(body, open.as_bytes()).ok_or(FormError::Multipart)?;
    let between = format!("\r\n--{boundary}");
    let mut pairs = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Ok(pairs);
        }
        let part = rest.strip_prefix(b"\r\n").ok_or(FormError::Multipart)?;
        let (part, next) = split(part, between.as_bytes()).ok_or(FormError::Multipart)?;
        let (head, content) = match part.strip_prefix(b"\r\n") {
            Some(content) => (&b""[..], content),
            None => split(part, b"\r\n\r\n").ok_or(FormError::Multipart)?,
        };
        let head = std::str::from_utf8(head).ok().filter(|head| head.len() <= MAX_HEAD);
        let name = head.and_then(name).ok_or(FormError::Multipart)?;
        let content = String::from_utf8(content.to_vec()).map_err(|_| FormError::Multipart)?;
        pairs.push((name, content));
        rest = next;
    }
}

/// The name in `Content-Disposition`.
fn name(head: &str) -> Option<String> {
    let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let mut named = lines.filter(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"));
    let (_, value) = named.next()?;
    let parameter = value.split(';').map(str::trim).find_map(|parameter| parameter.strip_prefix("name="))?;
    let name = parameter.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(parameter);
    (!name.is_empty()).then(|| name.to_owned())
}

fn after<'b>(bytes: &'b [u8], what: &[u8]) -> Option<&'b [u8]> {
    split(bytes, what).map(|(_, after)| after)
}

fn split<'b>(bytes: &'b [u8], at: &[u8]) -> Option<(&'b [u8], &'b [u8])> {
    let start = bytes.windows(at.len()).position(|window| window == at)?;
    let (before, rest) = bytes.split_at_checked(start)?;
    Some((before, rest.strip_prefix(at)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_names_and_contents() {
        let body = "--x\r\nContent-Disposition: form-data; name=\"config.issuer\"\r\n\r\nhttp://a\r\n--x\r\n\
                    Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\nContent-Type: text/plain\r\n\r\na\r\nb\r\n--x--\r\n";
        let pairs = pairs(body.as_bytes(), "x").unwrap();
        assert_eq!(
            pairs,
            [("config.issuer".to_owned(), "http://a".to_owned()), ("file".to_owned(), "a\r\nb".to_owned())]
        );
        assert_eq!(boundary("multipart/form-data; boundary=\"a b\""), Some("a b"));
        assert_eq!(boundary("multipart/form-data"), None);
    }

    #[test]
    fn a10_what_is_no_form_is_refused() {
        for bad in [
            "",
            "--x",
            "--x\r\n\r\n",
            "--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--",
            "--y--",
            "--x\r\na",
        ] {
            assert_eq!(pairs(bad.as_bytes(), "x"), Err(FormError::Multipart), "{bad:?}");
        }
        assert_eq!(pairs(b"--x--\r\n", "x").unwrap(), []);
    }
}
