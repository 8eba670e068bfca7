//! Edits of `multipart/form-data` (RFC 7578). Parts that no edit names keep their bytes, files among them.

use std::ops::Range;

use super::list::Edit;
use crate::multipart::{MAX_HEAD, name, split};

/// One part of a body.
enum Part<'b> {
    /// As it came: its head and its content.
    Own { name: String, bytes: &'b [u8], content: Range<usize> },
    /// One of the gate's own.
    New { name: String, content: Vec<u8> },
}

/// The edited body; `None` for one that is no multipart form, or whose parts would not be told apart.
pub(super) fn edited(body: &[u8], boundary: &str, edits: &[Edit], values: &[String]) -> Option<Vec<u8>> {
    let mut parts = parts(body, boundary)?;
    for (edit, value) in edits.iter().zip(values) {
        let there = |parts: &[Part<'_>], name: &str| parts.iter().any(|part| part.name() == name);
        let new = |name: &str| Part::New { name: name.to_owned(), content: value.clone().into_bytes() };
        match edit {
            Edit::Remove(name) => parts.retain(|part| part.name() != name),
            Edit::Rename(from, to) => {
                for part in parts.iter_mut().filter(|part| part.name() == from) {
                    *part = Part::New { name: to.clone(), content: part.content().to_vec() };
                }
            }
            Edit::Replace(name, _) if !there(&parts, name) => {}
            Edit::Add(name, _) if there(&parts, name) => {}
            Edit::Replace(name, _) | Edit::Set(name, _) | Edit::Add(name, _) => {
                parts.retain(|part| part.name() != name);
                parts.push(new(name));
            }
            Edit::Append(name, _) => parts.push(new(name)),
        }
    }
    let mut out = Vec::with_capacity(body.len());
    for part in &parts {
        out.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        part.write(&mut out, boundary)?;
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Some(out)
}

impl Part<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Own { name, .. } | Self::New { name, .. } => name,
        }
    }

    fn content(&self) -> &[u8] {
        match self {
            Self::Own { bytes, content, .. } => bytes.get(content.clone()).unwrap_or_default(),
            Self::New { content, .. } => content,
        }
    }

    /// `None` for a name that would break out of its head, and for a content that would look like further parts.
    fn write(&self, out: &mut Vec<u8>, boundary: &str) -> Option<()> {
        match self {
            Self::Own { bytes, .. } => out.extend_from_slice(bytes),
            Self::New { name, content } => {
                let line = format!("--{boundary}");
                if name.contains(['"', '\r', '\n'])
                    || memchr::memmem::find(content, line.as_bytes()).is_some()
                {
                    return None;
                }
                let head = format!("Content-Disposition: form-data; name=\"{name}\"\r\n\r\n");
                out.extend_from_slice(head.as_bytes());
                out.extend_from_slice(content);
            }
        }
        Some(())
    }
}

fn parts<'b>(body: &'b [u8], boundary: &str) -> Option<Vec<Part<'b>>> {
    let mut parts = Vec::new();
    if body.is_empty() {
        return Some(parts);
    }
    let between = format!("\r\n--{boundary}");
    // What stands before the first boundary means nothing (RFC 2046 section 5.1.1).
    let open = between.get(2..)?;
    let mut rest = match body.strip_prefix(open.as_bytes()) {
        Some(rest) => rest,
        None => split(body, between.as_bytes())?.1,
    };
    while !rest.starts_with(b"--") {
        let (bytes, next) = split(rest.strip_prefix(b"\r\n")?, between.as_bytes())?;
        let start = match bytes.starts_with(b"\r\n") {
            true => 2,
            false => memchr::memmem::find(bytes, b"\r\n\r\n")? + 4,
        };
        let head = std::str::from_utf8(bytes.get(..start)?).ok().filter(|head| head.len() <= MAX_HEAD)?;
        parts.push(Part::Own { name: name(head)?.to_owned(), bytes, content: start..bytes.len() });
        rest = next;
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Text;

    const FILE: &str = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x\r\nContent-Type: image/png\r\n\
                        Content-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\r\n\u{1}\r\n-\r\n--x--\r\n";

    fn made(body: &str, edits: &[(Edit, &str)]) -> Option<String> {
        let (edits, values): (Vec<Edit>, Vec<String>) =
            edits.iter().map(|(edit, value)| (edit.clone(), (*value).to_owned())).unzip();
        edited(body.as_bytes(), "x", &edits, &values).map(|out| String::from_utf8(out).unwrap())
    }

    fn text() -> Text {
        Text::of("body", expr::Template::of(Vec::new())).unwrap()
    }

    fn part(name: &str, value: &str) -> String {
        format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    }

    #[test]
    fn parts_are_changed_and_others_keep_their_bytes() {
        let rest = FILE.split_once("1\r\n").unwrap().1;
        let named = |name: &str| name.to_owned();
        for (edit, value, expected) in [
            (Edit::Remove(named("a")), "", rest.to_owned()),
            (Edit::Remove(named("b")), "", FILE.to_owned()),
            (Edit::Rename(named("a"), named("b")), "", format!("{}{rest}", part("b", "1"))),
            (Edit::Replace(named("b"), text()), "2", FILE.to_owned()),
            (Edit::Add(named("a"), text()), "2", FILE.to_owned()),
            (
                Edit::Add(named("b"), text()),
                "2",
                format!("{}{}--x--\r\n", FILE.strip_suffix("--x--\r\n").unwrap(), part("b", "2")),
            ),
            (
                Edit::Replace(named("a"), text()),
                "2",
                format!("{}{}--x--\r\n", rest.strip_suffix("--x--\r\n").unwrap(), part("a", "2")),
            ),
        ] {
            assert_eq!(made(FILE, &[(edit.clone(), value)]).as_deref(), Some(expected.as_str()), "{edit:?}");
        }
        let none = made("", &[(Edit::Add(named("a"), text()), "1")]);
        assert_eq!(none, Some(format!("{}--x--\r\n", part("a", "1"))));
    }

    #[test]
    fn no_value_becomes_a_part_of_its_own() {
        let value = "1\r\n--x\r\nContent-Disposition: form-data; name=\"admin\"\r\n\r\ntrue";
        assert_eq!(made(FILE, &[(Edit::Append("b".to_owned(), text()), value)]), None);
        assert_eq!(made(FILE, &[(Edit::Append("b\"; a=\"".to_owned(), text()), "1")]), None);
        for junk in ["junk", "--y--\r\n", "--x\r\n\r\n", "--x\r\nContent-Type: a\r\n\r\nb\r\n--x--"] {
            assert_eq!(made(junk, &[(Edit::Remove("a".to_owned()), "")]), None, "{junk:?}");
        }
    }
}
