//! One form of a path, so that what is judged is what is sent (RFC 3986 section 6.2.2).

use std::{borrow::Cow, fmt::Write};

/// Why a path has no form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub &'static str);

/// Brings `path` into its one form: unreserved percent-escapes are decoded, the other escapes are kept in upper case
/// (`%2F` and `%5C` among them), runs of slashes become one, dot segments are resolved. Refused are broken escapes,
/// an escaped NUL, escapes that are not UTF-8, a backslash, and what some servers drop or resolve and others do not:
/// empty or dot segments that carry parameters (`/;x/`, `..;x`), dot segments beside an escaped separator (`..%2F`). A
/// path already in this form is returned as it is.
pub fn normalise(path: &str) -> Result<Cow<'_, str>, Refused> {
    if is_normal(path) {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode_unreserved(path)?;
    let mut out = String::with_capacity(decoded.len());
    for segment in decoded.split('/').skip(1) {
        let bare = without_parameters(segment);
        if matches!(bare, "" | "." | "..") && bare.len() != segment.len() {
            return Err(Refused("an empty or dot segment of the path carries parameters"));
        }
        if hides_dots(segment) {
            return Err(Refused("the path has a dot segment beside an escaped separator"));
        }
        match segment {
            // An empty segment is the second slash of a run, or the end of the path.
            "" | "." => {}
            ".." => out.truncate(out.rfind('/').unwrap_or(0)),
            _ => {
                out.push('/');
                out.push_str(segment);
            }
        }
    }
    if out.is_empty() || matches!(decoded.rsplit('/').next(), Some("" | "." | "..")) {
        out.push('/');
    }
    Ok(Cow::Owned(out))
}

fn without_parameters(segment: &str) -> &str {
    segment.split(';').next().unwrap_or(segment)
}

/// Whether a server that unescapes `%2F` or `%5C` before it resolves dots would find some in `segment`.
fn hides_dots(segment: &str) -> bool {
    if !segment.contains("%2F") && !segment.contains("%5C") {
        return false;
    }
    let mut pieces = segment.split("%2F").flat_map(|piece| piece.split("%5C"));
    pieces.any(|piece| matches!(without_parameters(piece), "." | ".."))
}

/// Whether nothing in `path` needs work. The test may say no to a path in its one form, never yes to another.
fn is_normal(path: &str) -> bool {
    let mut previous = b' ';
    path.starts_with('/')
        && path.bytes().all(|byte| {
            let odd = matches!(byte, b'%' | b'\\')
                || !byte.is_ascii()
                || (previous == b'/' && matches!(byte, b'/' | b'.' | b';'));
            previous = byte;
            !odd
        })
}

fn decode_unreserved(path: &str) -> Result<String, Refused> {
    if !path.starts_with('/') {
        return Err(Refused("the path does not begin with a slash"));
    }
    let mut out = String::with_capacity(path.len());
    let mut meaning = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'\\' => return Err(Refused("the path has a backslash")),
            b'%' => match (bytes.next().and_then(hex), bytes.next().and_then(hex)) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(Refused("the path has a broken percent-escape")),
            },
            byte if byte.is_ascii() => {
                out.push(char::from(byte));
                meaning.push(byte);
                continue;
            }
            byte => byte,
        };
        meaning.push(byte);
        match byte {
            0 => return Err(Refused("the path has an escaped NUL")),
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => out.push(char::from(byte)),
            byte => {
                // Writing to a String cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    if std::str::from_utf8(&meaning).is_err() {
        return Err(Refused("the path's percent-escapes are not UTF-8"));
    }
    Ok(out)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h11_slash_games_end_in_one_form() {
        for (sent, form) in [
            ("/a/b", "/a/b"),
            ("//admin", "/admin"),
            ("/./admin", "/admin"),
            ("/x/../admin", "/admin"),
            ("/admin/.", "/admin/"),
            ("/admin/..", "/"),
            ("/../../admin", "/admin"),
            ("/a//b///c/", "/a/b/c/"),
            ("/", "/"),
            ("//", "/"),
            ("/a/.b/..c", "/a/.b/..c"),
        ] {
            assert_eq!(normalise(sent).as_deref(), Ok(form), "{sent}");
        }
        assert!(normalise("/x\\..\\admin").is_err());
    }

    #[test]
    fn h12_percent_games_end_in_one_form_or_none() {
        for (sent, form) in [
            ("/%61dmin", "/admin"),
            ("/x/%2e%2e/admin", "/admin"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%5cb", "/a%5Cb"),
            ("/%252e%252e/", "/%252e%252e/"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/café", "/caf%C3%A9"),
            ("/a%20b", "/a%20b"),
        ] {
            assert_eq!(normalise(sent).as_deref(), Ok(form), "{sent}");
        }
        for bad in ["/%00", "/%zz", "/%", "/%2", "/%c0%af", "/%e9", "x"] {
            assert!(normalise(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn h12_escaped_separators_do_not_hide_dot_segments() {
        for bad in ["/public/..%2Fadmin", "/public%2f..%2fadmin", "/x%5c..", "/a/%2e%2e%5Cadmin", "/a%2F.;x"]
        {
            assert!(normalise(bad).is_err(), "{bad}");
        }
        assert_eq!(normalise("/group%2fproject/a%2F..b").as_deref(), Ok("/group%2Fproject/a%2F..b"));
    }

    #[test]
    fn h13_parameters_do_not_hide_dot_segments() {
        assert_eq!(normalise("/public;/../admin").as_deref(), Ok("/admin"));
        assert!(normalise("/public/..;/admin").is_err());
        assert!(normalise("/public/%2e%2e;a=b/admin").is_err());
        for bad in ["/;/admin", "/a/;x/b", "/;x"] {
            assert!(normalise(bad).is_err(), "{bad}");
        }
        assert_eq!(normalise("/admin;x").as_deref(), Ok("/admin;x"));
    }

    #[test]
    fn normalising_twice_changes_nothing() {
        for sent in ["/a/%7Eb/./c/../%2F;x", "/%E2%82%AC//x", "/.../a"] {
            let once = normalise(sent).unwrap().into_owned();
            assert_eq!(normalise(&once).as_deref(), Ok(once.as_str()));
        }
    }
}
