//! The header section of a message. One connection's messages have most of their lines in common, so each is compared
//! with the line that stood in its place in the last one before it is read: what is equal byte for byte means the same.

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Most lines that are remembered, and most bytes of them.
const MOST_LINES: usize = 48;
const MOST_BYTES: usize = 8 * 1024;

/// One line as it came, and what was read from it.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// With its end.
    raw: Bytes,
    /// How much of `raw` is the name and its colon.
    name_length: usize,
    name: HeaderName,
    pub(crate) value: HeaderValue,
    pub(crate) meaning: Meaning,
    /// What the reader of the section wants to know of each name.
    pub(crate) marked: bool,
}

/// What a line is to the connection that it came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    EndToEnd,
    Cookie,
    Length,
    Coding,
    Connection,
    Expect,
    Te,
    Upgrade,
    /// Anything else of this hop alone.
    Hop,
}

impl Meaning {
    /// What a header of this name, in lower case, is.
    pub(crate) fn of(name: &str) -> Self {
        match name {
            "content-length" => Self::Length,
            "transfer-encoding" => Self::Coding,
            "connection" => Self::Connection,
            "cookie" => Self::Cookie,
            "expect" => Self::Expect,
            "te" => Self::Te,
            "upgrade" => Self::Upgrade,
            "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "http2-settings" => Self::Hop,
            _ => Self::EndToEnd,
        }
    }

    /// Whether it belongs to the connection alone (RFC 9110 section 7.6.1).
    pub(crate) const fn is_of_one_hop(self) -> bool {
        matches!(self, Self::Coding | Self::Connection | Self::Te | Self::Upgrade | Self::Hop)
    }
}

/// The lines of the last message of a connection.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    lines: Vec<Line>,
    bytes: usize,
    /// They are of use to this message alone.
    passing: bool,
}

/// A line has a name or a value that no header can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

impl Lines {
    /// The section at the beginning of `bytes` by the lines of the last one, of which any may have got another value: how
    /// long it is, and how many lines it has. `None`: it has to be read.
    pub(crate) fn recall(&mut self, bytes: &[u8]) -> Option<(usize, usize)> {
        let (mut at, mut count) = (0, 0);
        loop {
            let rest = bytes.get(at..)?;
            if rest.starts_with(b"\r\n") {
                return Some((at + 2, count));
            }
            let line = self.lines.get_mut(count)?;
            at += if rest.starts_with(&line.raw) {
                line.raw.len()
            } else {
                let before = line.raw.len();
                let length = line.renew(rest, MOST_BYTES.checked_sub(self.bytes - before)?)?;
                self.bytes = self.bytes - before + length;
                length
            };
            count += 1;
        }
    }

    /// Remembers the lines that were read from `head`, instead of the last ones; `mark` says what is marked of them.
    pub(crate) fn learn(
        &mut self,
        head: &[u8],
        read: &[httparse::Header<'_>],
        mark: impl Fn(&HeaderName) -> bool,
    ) -> Result<(), Unreadable> {
        let copy = Bytes::copy_from_slice(head);
        let base = head.as_ptr() as usize;
        let span = |part: &[u8]| -> Range<usize> {
            let start = part.as_ptr() as usize - base;
            start..start + part.len()
        };
        self.passing = read.len() > MOST_LINES || head.len() > MOST_BYTES || !head.ends_with(b"\r\n\r\n");
        self.bytes = 0;
        let mut next = head.len().saturating_sub(2);
        let mut lines = Vec::with_capacity(read.len());
        for (place, header) in read.iter().enumerate().rev() {
            let (name, value) = (span(header.name.as_bytes()), span(header.value));
            let raw = copy.slice(name.start..next);
            next = name.start;
            self.bytes += raw.len();
            let name_length = name.len() + 1;
            let known = self.lines.get(place).filter(|known| {
                known.name_length == name_length && raw.get(..name_length) == known.raw.get(..name_length)
            });
            let (name, meaning, marked) = match known {
                Some(known) => (known.name.clone(), known.meaning, known.marked),
                None => {
                    let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| Unreadable)?;
                    let (meaning, marked) = (Meaning::of(name.as_str()), mark(&name));
                    (name, meaning, marked)
                }
            };
            let value = HeaderValue::from_maybe_shared(copy.slice(value)).map_err(|_| Unreadable)?;
            lines.push(Line { raw, name_length, name, value, meaning, marked });
        }
        lines.reverse();
        self.lines = lines;
        Ok(())
    }

    /// The first `count` of them.
    pub(crate) fn first(&self, count: usize) -> &[Line] {
        self.lines.get(..count).unwrap_or_default()
    }

    /// Whether nothing is remembered.
    pub(crate) const fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Lets go of what is of no use to the next message.
    pub(crate) fn settle(&mut self) {
        if self.passing {
            *self = Self::default();
        }
    }
}

impl Line {
    /// Takes the line at the beginning of `bytes` in the place of this one, where it has the same name: its length. It may
    /// have no more than `most` bytes.
    fn renew(&mut self, bytes: &[u8], most: usize) -> Option<usize> {
        let name = self.raw.get(..self.name_length)?;
        if !bytes.starts_with(name) {
            return None;
        }
        let end = memchr::memchr(b'\n', bytes)? + 1;
        if end > most {
            return None;
        }
        let line = bytes.get(..end)?.strip_suffix(b"\r\n")?;
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let begin =
            self.name_length + line.iter().skip(self.name_length).take_while(|byte| is_blank(byte)).count();
        let blanks = line.get(begin..)?.iter().rev().take_while(|byte| is_blank(byte)).count();
        let raw = Bytes::copy_from_slice(bytes.get(..end)?);
        let value = HeaderValue::from_maybe_shared(raw.slice(begin..line.len() - blanks)).ok()?;
        (self.raw, self.value) = (raw, value);
        Some(end)
    }

    /// Puts it among `headers`.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        headers.append(self.name.clone(), self.value.clone());
    }

    pub(crate) const fn name(&self) -> &HeaderName {
        &self.name
    }
}

/// Whether a line feed stands without a carriage return before it.
pub(crate) fn has_bare_lf(text: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', text)
        .any(|end| end.checked_sub(1).and_then(|end| text.get(end)) != Some(&b'\r'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a parser without a memory makes of it.
    fn read(section: &str) -> Option<Vec<(String, Vec<u8>)>> {
        let mut lines = [httparse::EMPTY_HEADER; 64];
        let Ok(httparse::Status::Complete((_, lines))) =
            httparse::parse_headers(section.as_bytes(), &mut lines)
        else {
            return None;
        };
        Some(lines.iter().map(|line| (line.name.to_ascii_lowercase(), line.value.to_vec())).collect())
    }

    fn learned(section: &str) -> Lines {
        let mut lines = Lines::default();
        let mut read = [httparse::EMPTY_HEADER; 64];
        let Ok(httparse::Status::Complete((length, read))) =
            httparse::parse_headers(section.as_bytes(), &mut read)
        else {
            panic!("{section:?} is not read");
        };
        lines.learn(&section.as_bytes()[..length], read, |_| false).unwrap();
        lines.settle();
        lines
    }

    const SECTIONS: [&str; 22] = [
        "\r\n",
        "host: a\r\n\r\n",
        "host: b\r\n\r\n",
        "host:a\r\n\r\n",
        "host:\r\n\r\n",
        "host: \t \r\n\r\n",
        "host: a\n\n",
        "host: a\n\r\n",
        "host: a\r\n b\r\n\r\n",
        "host: a\r\nx: 1\r\n\r\n",
        "host: a\r\nx: 2\r\ny: 3\r\n\r\n",
        "host: a\r\nX: 2 \t\r\ny: \t3\r\n\r\n",
        "host: a\r\nx: 2\r\n y: 3\r\n\r\n",
        "host: a\r\nx : 2\r\ny: 3\r\n\r\n",
        "host: a\r\nx: \x01\r\ny: 3\r\n\r\n",
        "host: a\r\nx: 2\ry: 3\r\n\r\n",
        "host: a\r\nx: 2\ny: 3\r\n\r\n",
        "host: a\r\nhost: a\r\n\r\n",
        "hosts: a\r\nx: 1\r\n\r\n",
        "y: 3\r\nx: 2\r\nhost: a\r\n\r\n",
        "host: a\r\nx: caf\u{e9}\r\n\r\n",
        "host: a\r\nx: 2\r\ny",
    ];

    #[test]
    fn a_remembered_section_reads_as_one_that_is_read_for_the_first_time() {
        let mut recalled = 0;
        for first in SECTIONS.iter().filter(|section| read(section).is_some()) {
            for second in SECTIONS {
                let mut lines = learned(first);
                let Some((length, count)) = lines.recall(second.as_bytes()) else { continue };
                recalled += 1;
                let found: Vec<_> = lines
                    .first(count)
                    .iter()
                    .map(|line| (line.name().to_string(), line.value.as_bytes().to_vec()))
                    .collect();
                assert_eq!(Some(found), read(second), "{second:?} after {first:?}");
                assert_eq!(length, second.len());
                // And what is remembered now is what came.
                assert_eq!(lines.recall(second.as_bytes()), Some((length, count)));
            }
        }
        assert!(recalled > 50, "{recalled}");
    }

    #[test]
    fn what_is_remembered_stays_small() {
        let long = format!("host: a\r\nx: {}\r\n\r\n", "y".repeat(MOST_BYTES));
        assert!(learned(&long).is_empty());
        let mut lines = learned("host: a\r\nx: 1\r\n\r\n");
        assert_eq!(lines.recall(long.as_bytes()), None);
        let many: String = (0..MOST_LINES + 1).map(|number| format!("x{number}: 1\r\n")).collect();
        assert!(learned(&(many + "\r\n")).is_empty());
    }
}
