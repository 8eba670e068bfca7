//! `multipart/form-data` (RFC 7578) as Kong's Admin API takes it: parts with names, whose contents are texts.

pub(crate) use plugins::multipart::boundary;
use plugins::multipart::{MAX_HEAD, name, split};

use crate::form::{FormError, Node, from_pairs};

/// Reads a body.
pub(crate) fn parse(body: &[u8], boundary: &str) -> Result<Vec<(String, Node)>, FormError> {
    from_pairs(pairs(body, boundary)?.into_iter())
}

/// Names and contents of the parts.
pub(crate) fn pairs(body: &[u8], boundary: &str) -> Result<Vec<(String, String)>, FormError> {
    let open = format!("--{boundary}");
    let (_, mut rest) = split(body, open.as_bytes()).ok_or(FormError::Multipart)?;
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
        let name = head.and_then(name).filter(|name| !name.is_empty()).ok_or(FormError::Multipart)?;
        let content = String::from_utf8(content.to_vec()).map_err(|_| FormError::Multipart)?;
        pairs.push((name.to_owned(), content));
        rest = next;
    }
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
