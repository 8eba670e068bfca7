//! Forms with files in them (RFC 7578), as imports of users are sent.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, header};
use idp::management::ManagementError;

use super::invalid_body;

/// Parts of one form.
const MAX_PARTS: usize = 16;

/// The parts by their names.
pub(super) type Parts = BTreeMap<String, Vec<u8>>;

/// Reads a form of this kind; `None` where the body is none. A part that comes twice is refused.
pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Option<Parts>, ManagementError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let Some(boundary) = boundary(kind) else { return Ok(None) };
    let broken = || invalid_body("The body is no multipart/form-data");
    let (dashes, between) = (format!("--{boundary}"), format!("\r\n--{boundary}"));
    let mut rest = body.strip_prefix(dashes.as_bytes()).ok_or_else(broken)?;
    let mut parts = Parts::new();
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        let end = find(part, between.as_bytes()).ok_or_else(broken)?;
        let (whole, after) = part.split_at_checked(end).ok_or_else(broken)?;
        let head_end = find(whole, b"\r\n\r\n").ok_or_else(broken)?;
        let head = whole.get(..head_end).and_then(|head| str::from_utf8(head).ok()).ok_or_else(broken)?;
        let content = whole.get(head_end + 4..).ok_or_else(broken)?;
        let name = name(head).ok_or_else(broken)?;
        if parts.len() == MAX_PARTS || parts.insert(name.clone(), content.to_vec()).is_some() {
            let shown: String = name.chars().filter(|letter| !letter.is_control()).take(64).collect();
            return Err(invalid_body(&format!("The part {shown} is one too many")));
        }
        rest = after.strip_prefix(between.as_bytes()).ok_or_else(broken)?;
    }
    match rest.starts_with(b"--") {
        true => Ok(Some(parts)),
        false => Err(broken()),
    }
}

/// RFC 2046 section 5.1.1.
fn boundary(kind: &str) -> Option<&str> {
    let (media, parameters) = kind.split_once(';')?;
    if !media.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then_some(value)
    })?;
    let boundary = boundary.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(boundary);
    (1..=70).contains(&boundary.len()).then_some(boundary)
}

/// The name in a part's `Content-Disposition`.
fn name(head: &str) -> Option<String> {
    let disposition = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    let mut parameters = disposition.split(';').map(str::trim);
    if !parameters.next()?.eq_ignore_ascii_case("form-data") {
        return None;
    }
    let name = parameters.find_map(|parameter| parameter.strip_prefix("name="))?;
    Some(name.trim_matches('"').to_owned()).filter(|name| (1..=64).contains(&name.len()))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: &str, body: &str) -> Result<Option<Parts>, ManagementError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
        read(&headers, body.as_bytes())
    }

    const KIND: &str = "multipart/form-data; boundary=\"x\"";

    #[test]
    fn parts_are_found_by_their_names() {
        let body = "--x\r\nContent-Disposition: form-data; name=\"users\"; filename=\"a.json\"\r\nContent-Type: \
                    application/json\r\n\r\n[\r\n]\r\n--x\r\ncontent-disposition: form-data; name=upsert\r\n\r\n\
                    true\r\n--x--\r\n";
        let parts = parse(KIND, body).unwrap().unwrap();
        assert_eq!((parts["users"].as_slice(), parts["upsert"].as_slice()), (&b"[\r\n]"[..], &b"true"[..]));
        assert!(parse("application/json", body).unwrap().is_none());
    }

    #[test]
    fn what_is_no_such_form_is_refused() {
        let part = "Content-Disposition: form-data; name=\"a\"\r\n\r\n1";
        for bad in [
            String::new(),
            "--x".to_owned(),
            format!("--x\r\n{part}"),
            format!("--x\r\n{part}\r\n--x"),
            format!("--y\r\n{part}\r\n--y--"),
            "--x\r\nno header\r\n\r\n1\r\n--x--".to_owned(),
            "--x\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--x--".to_owned(),
            format!("--x\r\n{part}\r\n--x\r\n{part}\r\n--x--"),
        ] {
            assert!(parse(KIND, &bad).is_err(), "{bad}");
        }
    }
}
