use std::{fmt::Write, ops::Range};

/// A `Location` while it is put together. It remembers which bytes the client chose, so that no request can turn a
/// redirect of this site into one to another (an open redirect).
#[derive(Debug, Default)]
pub(super) struct Location {
    text: String,
    foreign: Vec<Range<usize>>,
}

impl Location {
    /// What the operator wrote.
    pub(super) fn push_own(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// What the client chose; nothing in it can end the header or be read as something else by a browser.
    pub(super) fn push_foreign(&mut self, text: &str) {
        let start = self.text.len();
        encode(&mut self.text, text);
        if self.text.len() > start {
            self.foreign.push(start..self.text.len());
        }
    }

    /// The whole; `None` when the client's part of it would name the site.
    pub(super) fn finish(mut self, encoded: bool) -> Option<String> {
        // `//evil.example` is another site to a browser: an empty host, a variable or a group made two slashes of one.
        let slashes = self.text.bytes().take_while(|byte| is_slash(*byte)).count();
        if slashes > 1 && self.touches(&(0..slashes)) {
            let rest = self.text.get(slashes..).unwrap_or_default();
            self.text = format!("/{rest}");
        } else if self.touches(&(0..site_end(&self.text))) {
            return None;
        }
        if !encoded {
            return Some(self.text);
        }
        let mut out = String::with_capacity(self.text.len());
        encode(&mut out, &self.text);
        Some(out)
    }

    fn touches(&self, range: &Range<usize>) -> bool {
        self.foreign.iter().any(|part| part.start < range.end && range.start < part.end)
    }
}

/// Where scheme and authority of a reference end, as a browser reads it (WHATWG URL section 4.4): backslashes count as
/// slashes, and a scheme of its own kind takes any number of them.
fn site_end(text: &str) -> usize {
    let scheme = text.find([':', '/', '\\', '?', '#']).filter(|at| text.as_bytes().get(*at) == Some(&b':'));
    let begin = scheme.map_or(0, |colon| colon + 1);
    let rest = text.get(begin..).unwrap_or_default();
    let slashes = rest.bytes().take_while(|byte| is_slash(*byte)).count();
    if slashes < 2 && scheme.is_none() {
        return 0;
    }
    let authority = rest.get(slashes..).unwrap_or_default();
    begin + slashes + authority.find(['/', '\\', '?', '#']).unwrap_or(authority.len())
}

const fn is_slash(byte: u8) -> bool {
    matches!(byte, b'/' | b'\\')
}

/// Percent-encodes what RFC 3986 keeps out of a URL. What is encoded already stays.
fn encode(out: &mut String, text: &str) {
    for letter in text.chars() {
        if letter.is_ascii_graphic() && !"\"<>\\^`{|}".contains(letter) {
            out.push(letter);
            continue;
        }
        let mut bytes = [0; 4];
        for byte in letter.encode_utf8(&mut bytes).bytes() {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parts by turns the operator's and the client's.
    fn made(parts: &[&str]) -> Option<String> {
        let mut location = Location::default();
        for (at, part) in parts.iter().enumerate() {
            if at % 2 == 0 { location.push_own(part) } else { location.push_foreign(part) }
        }
        location.finish(false)
    }

    #[test]
    fn r15_no_client_chooses_the_site() {
        for parts in [
            ["https://", "evil.example/"],
            ["https://good.example", ".evil.example"],
            ["https://good.example", "@evil.example/"],
            ["https://good.example", ":8080@evil.example/"],
            ["https:", "//evil.example"],
            ["https:/", "/evil.example"],
            ["//", "evil.example"],
            ["", "https://evil.example"],
            ["", "javascript:alert(1)"],
            ["", "https:evil.example"],
            ["java", "script:alert(1)"],
            ["\\\\", "evil.example"],
        ] {
            assert_eq!(made(&parts), None, "{parts:?}");
        }
        for (parts, text) in [
            (["/", "/evil.example"], "/evil.example"),
            (["", "//evil.example/x"], "/evil.example/x"),
            (["", "///evil.example/x"], "/evil.example/x"),
            (["", "/\\evil.example"], "/%5Cevil.example"),
            (["/\\", "/evil.example"], "/evil.example"),
            (["", "\\\\evil.example"], "%5C%5Cevil.example"),
            (["https://good.example", "/a//b"], "https://good.example/a//b"),
            (
                ["https://good.example/?next=", "https://evil.example"],
                "https://good.example/?next=https://evil.example",
            ),
            (["//good.example", "/x"], "//good.example/x"),
            (["", "x/y"], "x/y"),
        ] {
            assert_eq!(made(&parts).as_deref(), Some(text), "{parts:?}");
        }
    }

    #[test]
    fn h16_no_client_ends_the_header() {
        assert_eq!(made(&["/x?", "a\r\nSet-Cookie: b=c\u{0}"]).unwrap(), "/x?a%0D%0ASet-Cookie:%20b=c%00");
        assert_eq!(made(&["/", "ä\u{2028}"]).unwrap(), "/%C3%A4%E2%80%A8");
    }
}
