//! Reading the head of a request. What can be read in two ways is not read at all.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri, Version, request::Parts};
use smallvec::{SmallVec, smallvec};

use crate::{
    error::Failure,
    h1::{
        body::Decoder,
        lines::{Line, Lines, Meaning, Unreadable, has_bare_lf},
    },
    hygiene::{self, Seen},
};

/// Longest target.
const MAX_TARGET: usize = 64 * 1024 - 2;
/// Longest target that is remembered.
const MAX_REMEMBERED: usize = 2 * 1024;
/// Header lines that there is always room to read.
const USUAL_HEADERS: usize = 100;

const TOO_LARGE: Failure =
    Failure::Client(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the head of the request is too large");
const TOO_LONG: Failure = Failure::Client(StatusCode::URI_TOO_LONG, "the target is too long");

const fn malformed(why: &'static str) -> Failure {
    Failure::Client(StatusCode::BAD_REQUEST, why)
}

/// What came, and what it asks of the connection.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) parts: Parts,
    pub(crate) seen: Seen,
    /// How long it is.
    pub(crate) length: usize,
    pub(crate) body: Decoder,
    pub(crate) keep_alive: bool,
    /// The client waits for leave to send the body.
    pub(crate) waits: bool,
    pub(crate) takes_trailers: bool,
    pub(crate) upgrades: bool,
}

/// What of a head is bounded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) bytes: usize,
    pub(crate) lines: usize,
}

/// The last head of a connection.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Its first line with its end, and what was read from it.
    line: Bytes,
    method: Method,
    target: Uri,
    lines: Lines,
    /// Whether the client is a proxy that is trusted to say what it passes on.
    trusted: bool,
}

impl Memory {
    pub(crate) fn new(trusted: bool) -> Self {
        let (line, method, target) = (Bytes::new(), Method::GET, Uri::default());
        Self { line, method, target, lines: Lines::default(), trusted }
    }

    /// The head at the beginning of `buffer`, or why there is none. `None`: it is not complete;
    /// `spare` gives an empty map.
    pub(crate) fn read(
        &mut self,
        buffer: &[u8],
        bounds: Bounds,
        spare: impl FnOnce() -> HeaderMap,
    ) -> Result<Option<Head>, Failure> {
        let recalled = self.recall(buffer);
        let found = match recalled {
            Some(found) => found,
            None => match self.parse(buffer, bounds)? {
                Some(found) => found,
                None if buffer.len() >= bounds.bytes => {
                    return Err(TOO_LARGE);
                }
                None => return Ok(None),
            },
        };
        if found.length > bounds.bytes || found.lines > bounds.lines {
            return Err(TOO_LARGE);
        }
        let head = self.head(&found, spare());
        self.lines.settle();
        if self.line.is_empty() {
            self.target = Uri::default();
        }
        head.map(Some)
    }

    /// The head, where it is much like the last one.
    fn recall(&mut self, buffer: &[u8]) -> Option<Found> {
        let begin = if !self.line.is_empty() && buffer.starts_with(&self.line) {
            self.line.len()
        } else {
            let end = memchr::memchr(b'\n', buffer)? + 1;
            let (method, target) = plain_line(buffer.get(..end)?)?;
            if self.lines.is_empty() || target.len() > MAX_REMEMBERED {
                return None;
            }
            let line = Bytes::copy_from_slice(buffer.get(..end)?);
            let start = method.len() + 1;
            let target = Uri::from_maybe_shared(line.slice(start..start + target.len())).ok()?;
            (self.method, self.target, self.line) = (Method::from_bytes(method).ok()?, target, line);
            end
        };
        let (length, lines) = self.lines.recall(buffer.get(begin..)?)?;
        Some(Found { version: Version::HTTP_11, length: begin + length, lines })
    }

    /// The head as a parser finds it. `None`: it is not complete. Kept apart for the room that it takes on the stack.
    #[inline(never)]
    fn parse(&mut self, buffer: &[u8], bounds: Bounds) -> Result<Option<Found>, Failure> {
        // What is remembered of a first line, if anything, is that of a head that can be recalled.
        self.line = Bytes::new();
        let mut room: SmallVec<[MaybeUninit<httparse::Header<'_>>; USUAL_HEADERS]> =
            smallvec![MaybeUninit::uninit(); bounds.lines.max(USUAL_HEADERS)];
        let mut request = httparse::Request::new(&mut []);
        let parser = httparse::ParserConfig::default();
        let length = match parser.parse_request_with_uninit_headers(&mut request, buffer, &mut room) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(TOO_LARGE),
            Err(error) => return Err(malformed(why(error))),
        };
        let (Some(method), Some(target)) = (request.method, request.path) else {
            return Err(malformed("the request has no first line"));
        };
        if target.len() > MAX_TARGET {
            return Err(TOO_LONG);
        }
        self.method =
            Method::from_bytes(method.as_bytes()).map_err(|_| malformed("the method is not a method"))?;
        let copy = Bytes::copy_from_slice(target.as_bytes());
        self.target = Uri::from_maybe_shared(copy).map_err(|_| malformed(NO_TARGET))?;
        let head = buffer.get(..length).unwrap_or_default();
        // Some take it for the end of a line, some do not.
        if has_bare_lf(head) {
            return Err(malformed("a line ends without a carriage return"));
        }
        let mark = |name: &_| hygiene::is_claim(name, self.trusted);
        self.lines.learn(head, request.headers, mark).map_err(|Unreadable| malformed(NO_HEADER))?;
        let version = if request.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
        Ok(Some(Found { version, length, lines: request.headers.len() }))
    }

    /// Decides on the framing (RFC 9112 section 6.3) and on what becomes of the connection.
    fn head(&self, found: &Found, mut headers: HeaderMap) -> Result<Head, Failure> {
        let http_11 = found.version == Version::HTTP_11;
        let mut seen = Seen::default();
        let mut declared = Declared { length: None, coding: None };
        let (mut closes, mut keeps) = (false, http_11);
        let (mut waits, mut takes_trailers, mut upgrades) = (false, false, false);
        for line in self.lines.first(found.lines) {
            match line.meaning {
                Meaning::EndToEnd | Meaning::Cookie | Meaning::Hop => {}
                Meaning::Length if !declared.see_length(line)? => continue,
                Meaning::Length => {}
                Meaning::Coding => declared.coding = Some(names_last(line, "chunked")),
                Meaning::Connection => {
                    closes |= names(line, "close");
                    keeps |= names(line, "keep-alive");
                }
                Meaning::Expect => waits = line.value.as_bytes().eq_ignore_ascii_case(b"100-continue"),
                Meaning::Te => takes_trailers |= names(line, "trailers"),
                Meaning::Upgrade => upgrades = http_11,
            }
            seen.note(line.name(), line.meaning, line.marked);
            line.add_to(&mut headers);
        }
        let body = match (declared.coding, declared.length) {
            (Some(chunked), length) => {
                if !http_11 {
                    return Err(malformed("this version has no transfer codings"));
                }
                if !chunked {
                    return Err(malformed(
                        "where another coding than chunked is the last, nobody knows the end",
                    ));
                }
                if length.is_some() {
                    return Err(malformed("there are both a length and a transfer coding"));
                }
                Decoder::CHUNKED
            }
            (None, length) => Decoder::Length(length.unwrap_or(0)),
        };
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = self.method.clone();
        parts.uri = self.target.clone();
        parts.version = found.version;
        parts.headers = headers;
        Ok(Head {
            parts,
            seen,
            length: found.length,
            keep_alive: keeps && !closes,
            waits: waits && http_11 && !body.is_done(),
            body,
            takes_trailers,
            upgrades,
        })
    }
}

/// Where a head ends, and what its first line says beside what is remembered of it.
struct Found {
    version: Version,
    length: usize,
    lines: usize,
}

struct Declared {
    length: Option<u64>,
    /// Whether `chunked` comes last of the codings.
    coding: Option<bool>,
}

impl Declared {
    /// Whether this is the first line of its kind. Others must say the same.
    fn see_length(&mut self, line: &Line) -> Result<bool, Failure> {
        let digits = line.value.as_bytes();
        let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        let length = line.value.to_str().ok().filter(|_| valid).and_then(|digits| digits.parse().ok());
        // Upstreams count with a sign.
        let length = length.filter(|length| i64::try_from(*length).is_ok());
        let length = length.ok_or(malformed("the length of the body is not a number"))?;
        match self.length.replace(length) {
            None => Ok(true),
            Some(before) if before == length => Ok(false),
            Some(_) => Err(malformed("there are two lengths")),
        }
    }
}

const NO_TARGET: &str = "the target is not a target";
const NO_HEADER: &str = "a header is not a name, a colon and a value";

const fn why(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue => NO_HEADER,
        httparse::Error::NewLine => "a line does not end with carriage return and line feed",
        httparse::Error::Version => "the version is not known",
        _ => "the first line is not a method, a target and a version",
    }
}

/// Method and target of a first line like most: in HTTP/1.1, with a path of unremarkable letters.
fn plain_line(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = line.strip_suffix(b" HTTP/1.1\r\n")?;
    let space = memchr::memchr(b' ', rest)?;
    let (method, target) = (rest.get(..space)?, rest.get(space + 1..)?);
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/?=&-._~%+,;:@!$'()*".contains(byte);
    let plain = !method.is_empty()
        && method.iter().all(u8::is_ascii_uppercase)
        && target.first() == Some(&b'/')
        && target.iter().all(is_plain);
    plain.then_some((method, target))
}

/// Whether the list in this line names `token`.
fn names(line: &Line, token: &str) -> bool {
    entries(line).any(|entry| entry.eq_ignore_ascii_case(token.as_bytes()))
}

/// Whether `token` is its last entry.
fn names_last(line: &Line, token: &str) -> bool {
    entries(line).last().is_some_and(|entry| entry.eq_ignore_ascii_case(token.as_bytes()))
}

fn entries(line: &Line) -> impl Iterator<Item = &[u8]> {
    line.value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { bytes: 16 * 1024, lines: 100 };

    /// What is told of a head, in words.
    fn told(read: Result<Option<Head>, Failure>) -> String {
        match read {
            Err(failure) => failure.status().as_str().to_owned(),
            Ok(None) => "incomplete".to_owned(),
            Ok(Some(head)) => {
                let http::request::Parts { method, uri, version, headers, .. } = &head.parts;
                format!(
                    "{method} {uri} {version:?} {headers:?} {:?} {} {:?} {} {} {} {}",
                    head.seen,
                    head.length,
                    head.body,
                    head.keep_alive,
                    head.waits,
                    head.takes_trailers,
                    head.upgrades
                )
            }
        }
    }

    fn read(memory: &mut Memory, text: &[u8]) -> String {
        told(memory.read(text, BOUNDS, HeaderMap::new))
    }

    const HEADS: [&str; 40] = [
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /a?b=c HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.0\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n",
        "GET / HTTP/1.1\r\nhost: a\n\n",
        "GET / HTTP/1.1\nhost: a\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET  / HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / x HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /\u{e9} HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /#x HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /%zz HTTP/1.1\r\nhost: a\r\n\r\n",
        "get / HTTP/1.1\r\nhost: a\r\n\r\n",
        "G@T / HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nhost: a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.2\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx-userinfo: me\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nX-Userinfo: you\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: x\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nhello!",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5, 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    ];

    #[test]
    fn a_head_means_the_same_whatever_came_before_it() {
        for first in HEADS {
            for second in HEADS {
                let fresh = read(&mut Memory::new(false), second.as_bytes());
                let mut memory = Memory::new(false);
                read(&mut memory, first.as_bytes());
                for time in 1..4 {
                    let remembered = read(&mut memory, second.as_bytes());
                    assert_eq!(remembered, fresh, "{second:?}, {time} after {first:?}");
                }
            }
        }
    }

    #[test]
    fn t13_a_bent_head_means_the_same_whatever_came_before_it() {
        const PIECES: [&[u8]; 16] = [
            b"\r\n",
            b"\n",
            b"\r",
            b"\0",
            b" ",
            b"\t",
            b":",
            b",",
            b"5",
            b"\xff",
            b"host: b\r\n",
            b" HTTP/1.1\r\n",
            b"content-length: 5\r\n",
            b"transfer-encoding: chunked\r\n",
            b"x-userinfo: me\r\n",
            b"connection: close\r\n",
        ];
        let random = base::Random::seeded(13);
        let pick = |limit: usize| usize::from(u16::from_be_bytes(random.bytes())) % limit.max(1);
        let bend = |text: &mut Vec<u8>| {
            let (from, to) = (pick(text.len() + 1), pick(text.len() + 1));
            let range = from.min(to)..from.max(to).min(from.min(to) + pick(30));
            let range = range.start..range.end.max(range.start);
            let piece = match pick(3) {
                0 => text.get(range.clone()).unwrap_or_default().repeat(2),
                1 => PIECES[pick(PIECES.len())].to_vec(),
                _ => Vec::new(),
            };
            text.splice(range, piece);
        };
        let mut memory = Memory::new(false);
        let mut recalled = 0;
        for _ in 0..20_000 {
            let base = HEADS[pick(HEADS.len())].as_bytes().to_vec();
            let mut bent = base.clone();
            (0..=pick(2)).for_each(|_| bend(&mut bent));
            let cut = bent.get(..pick(bent.len() + 1)).unwrap_or_default().to_vec();
            for text in [base, cut, bent] {
                recalled += usize::from(memory.recall(&text).is_some());
                let (remembered, fresh) = (read(&mut memory, &text), read(&mut Memory::new(false), &text));
                assert_eq!(remembered, fresh, "{:?}", String::from_utf8_lossy(&text));
            }
        }
        assert!(recalled > 2_000, "{recalled}");
    }

    #[test]
    fn a_head_that_is_remembered_is_not_parsed() {
        let mut memory = Memory::new(false);
        let head = |path: &str, trace: u32| {
            format!("GET {path} HTTP/1.1\r\nhost: a\r\ntraceparent: {trace}\r\naccept: */*\r\n\r\n")
        };
        read(&mut memory, head("/a", 1).as_bytes());
        for (path, trace) in [("/a", 1), ("/b", 1), ("/b", 2), ("/c?d=e", 3)] {
            let text = head(path, trace);
            let found = memory.recall(text.as_bytes()).expect("it is much like the last one");
            assert_eq!((found.length, found.lines), (text.len(), 3));
        }
    }

    #[test]
    fn heads_are_bounded_and_long_ones_are_not_kept() {
        let head =
            |letters: usize| format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(letters));
        let mut memory = Memory::new(false);
        let fits = head(BOUNDS.bytes - head(0).len());
        assert_eq!(fits.len(), BOUNDS.bytes);
        assert!(read(&mut memory, fits.as_bytes()).starts_with("GET "));
        assert!(memory.lines.is_empty());
        for text in [head(BOUNDS.bytes), "GET /".repeat(BOUNDS.bytes)] {
            assert!(matches!(read(&mut memory, text.as_bytes()).as_str(), "431" | "400"), "{text}");
        }
        let many = |count: usize| {
            format!(
                "GET / HTTP/1.1\r\n{}\r\n",
                (0..count).map(|n| format!("x{n}: 1\r\n")).collect::<String>()
            )
        };
        assert!(read(&mut memory, many(BOUNDS.lines).as_bytes()).starts_with("GET "));
        assert_eq!(read(&mut memory, many(BOUNDS.lines + 1).as_bytes()), "431");
        let far = Bounds { bytes: usize::MAX, lines: 100 };
        let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "y".repeat(MAX_TARGET));
        assert_eq!(told(memory.read(long.as_bytes(), far, HeaderMap::new)), "414");
    }
}
