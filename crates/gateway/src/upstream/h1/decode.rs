//! Reading answers (RFC 9112). What can be read in two ways is not read at all, but for lines of a head that end in LF alone
//! (section 2.2): the connection is given up.

use std::mem::MaybeUninit;

use bytes::{Buf, BytesMut};
use http::{HeaderMap, HeaderName, Method, StatusCode, header};

use crate::{
    h1::{
        body::Decoder,
        lines::{Lines, Meaning, Unreadable},
    },
    hygiene,
};

/// A head that has not ended within so many bytes is given up.
const MAX_HEAD: usize = 64 * 1024;
/// Most header lines of an answer.
const MAX_HEADERS: usize = 128;

/// The head of an answer without its hop-by-hop headers.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) decoder: Decoder,
    pub(super) keep_alive: bool,
}

/// Takes the head of an answer off `buffer`, once it is complete. `lines` are those of the last answer on the connection;
/// `spare` gives an empty map.
pub(super) fn head(
    buffer: &mut BytesMut,
    lines: &mut Lines,
    spare: impl FnOnce() -> HeaderMap,
    method: &Method,
    websocket: bool,
) -> Result<Option<Head>, &'static str> {
    if buffer.is_empty() {
        return Ok(None);
    }
    let found = match recall(buffer, lines) {
        Some(found) => found,
        None => match read(buffer, lines)? {
            Some(found) => found,
            None => return Ok(None),
        },
    };
    buffer.advance(found.length);
    let mut headers = spare();
    let mut seen = Seen::default();
    for line in lines.first(found.lines) {
        match line.meaning {
            Meaning::Length => seen.lengths += 1,
            Meaning::Connection => {
                let plain = plain_connection(line.value.as_bytes());
                if plain.is_some() && seen.connection.is_none() {
                    seen.connection = plain;
                    continue;
                }
                seen.hop = true;
            }
            meaning => seen.hop |= meaning.is_of_one_hop(),
        }
        line.add_to(&mut headers);
    }
    lines.settle();
    frame(found.status, headers, method, seen, found.http_11, websocket).map(Some)
}

/// Where the head of an answer ends, and what its first line says.
struct Found {
    status: StatusCode,
    http_11: bool,
    length: usize,
    lines: usize,
}

/// The head, where it has the lines of the last one.
fn recall(buffer: &[u8], lines: &mut Lines) -> Option<Found> {
    let rest = buffer.strip_prefix(b"HTTP/1.1 ")?;
    let status = StatusCode::from_bytes(rest.get(..3)?).ok()?;
    let reason = rest.get(3..)?;
    let end = memchr::memchr(b'\n', reason)?;
    let reason = reason.get(..end)?.strip_suffix(b"\r")?;
    let is_text = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    if !reason.iter().all(is_text) || reason.first().is_some_and(|first| *first != b' ') {
        return None;
    }
    let begin = buffer.len() - rest.len() + 3 + end + 1;
    let (length, count) = lines.recall(buffer.get(begin..)?)?;
    Some(Found { status, http_11: true, length: begin + length, lines: count })
}

/// The head as a parser finds it. `None`: it is not complete. Kept apart for the room that it takes on the stack.
#[inline(never)]
fn read(buffer: &[u8], lines: &mut Lines) -> Result<Option<Found>, &'static str> {
    let mut room = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    let length = match parser.parse_response_with_uninit_headers(&mut response, buffer, &mut room) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if buffer.len() > MAX_HEAD => {
            return Err("the head of its answer is too long");
        }
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err("its answer has too many headers"),
        Err(_) => return Err("its answer is not HTTP"),
    };
    let status =
        response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or("its answer has no status")?;
    let head = buffer.get(..length).unwrap_or_default();
    lines
        .learn(head, response.headers, |_| false)
        .map_err(|Unreadable| "its answer has a header with control characters")?;
    let http_11 = response.version == Some(1);
    Ok(Some(Found { status, http_11, length, lines: response.headers.len() }))
}

/// What of a head needs a closer look. Most heads have hardly any of it.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// What a line says that is not among the headers.
    connection: Option<Persistence>,
    lengths: usize,
    /// There are headers of this hop.
    hop: bool,
}

/// The two values that `Connection` usually has; they name no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Persistence {
    KeepAlive,
    Close,
}

fn plain_connection(value: &[u8]) -> Option<Persistence> {
    match value.len() {
        10 if value.eq_ignore_ascii_case(b"keep-alive") => Some(Persistence::KeepAlive),
        5 if value.eq_ignore_ascii_case(b"close") => Some(Persistence::Close),
        _ => None,
    }
}

/// Decides on the framing (RFC 9112 section 6.3) and takes the headers of this hop away.
fn frame(
    status: StatusCode,
    mut headers: HeaderMap,
    method: &Method,
    seen: Seen,
    http_11: bool,
    websocket: bool,
) -> Result<Head, &'static str> {
    let says_close = || seen.hop && names_token(&headers, &header::CONNECTION, "close");
    let wants_close = seen.connection == Some(Persistence::Close) || says_close();
    let decoder = if status == StatusCode::SWITCHING_PROTOCOLS {
        let switched = websocket && names_token(&headers, &header::UPGRADE, "websocket");
        if !switched {
            return Err("it switched to a protocol nobody asked for");
        }
        Decoder::Length(0)
    } else {
        let framing = framing(&headers, seen, http_11)?;
        let bodiless = method == Method::HEAD
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if bodiless { Decoder::Length(0) } else { framing }
    };
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        // It would announce a body that never comes (RFC 9110 sections 15.3.5 and 15.4.5).
        headers.remove(header::CONTENT_LENGTH);
    }
    if seen.hop {
        hygiene::remove_hop_by_hop(&mut headers);
    }
    let keep_alive = http_11 && !wants_close && decoder != Decoder::Close;
    Ok(Head { status, headers, decoder, keep_alive })
}

fn framing(headers: &HeaderMap, seen: Seen, http_11: bool) -> Result<Decoder, &'static str> {
    let mut codings =
        seen.hop.then(|| headers.get_all(header::TRANSFER_ENCODING).iter()).into_iter().flatten();
    match (codings.next(), headers.get(header::CONTENT_LENGTH)) {
        (Some(_), Some(_)) => Err("its answer has both a length and a transfer coding"),
        (Some(coding), None) => {
            let chunked = coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
            if codings.next().is_some() || !chunked || !http_11 {
                return Err("its answer has a transfer coding other than chunked");
            }
            Ok(Decoder::CHUNKED)
        }
        (None, Some(length)) => {
            if seen.lengths > 1 {
                return Err("its answer has two lengths");
            }
            let digits = length.as_bytes();
            let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
            let length = length.to_str().ok().filter(|_| valid).and_then(|length| length.parse().ok());
            length.map(Decoder::Length).ok_or("the length of its answer is not a number")
        }
        (None, None) => Ok(Decoder::Close),
    }
}

fn names_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|entry| entry.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Head>, &'static str> {
        head(&mut BytesMut::from(text), &mut Lines::default(), HeaderMap::new, &Method::GET, false)
    }

    #[test]
    fn t12_an_answer_that_can_be_read_in_two_ways_is_not_read() {
        for head in [
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: +3\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 3, 3\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx: a\rb\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx: a\r\n folded\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx : a\r\n\r\n",
            "HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
            "HTTP/2.7 200 OK\r\n\r\n",
            "200 OK\r\n\r\n",
        ] {
            assert!(read(head).is_err(), "{head}");
        }
    }

    #[test]
    fn the_framing_follows_the_head() {
        let decoder = |text| read(text).unwrap().unwrap().decoder;
        assert_eq!(decoder("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"), Decoder::Length(3));
        assert_eq!(decoder("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"), Decoder::CHUNKED);
        assert_eq!(decoder("HTTP/1.1 200 OK\r\n\r\n"), Decoder::Close);
        assert_eq!(decoder("HTTP/1.1 304 Not Modified\r\ncontent-length: 3\r\n\r\n"), Decoder::Length(0));
        assert!(read("HTTP/1.1 200 OK\r\ncontent-le").unwrap().is_none());
    }

    #[test]
    fn lines_are_those_of_this_answer_whatever_the_last_one_had() {
        let mut known = Lines::default();
        for lines in ["A: 1\r\nb: 2", "a: 1\r\nC: 2\r\nd: 3", "", "c: 1", "a: 1\r\nc: 2\r\nd: 3"] {
            let end = if lines.is_empty() { "" } else { "\r\n" };
            let text = format!("HTTP/1.1 200 OK\r\n{lines}{end}content-length: 0\r\n\r\n");
            let read = head(&mut text.as_str().into(), &mut known, HeaderMap::new, &Method::GET, false);
            let headers = read.unwrap().unwrap().headers;
            let said: Vec<String> =
                headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
            let expected = format!("{}{end}content-length: 0", lines.to_ascii_lowercase());
            assert_eq!(said.join("\r\n"), expected);
        }
    }

    #[test]
    fn what_connection_says_counts_however_it_is_said() {
        for (lines, keep_alive) in [
            ("connection: Keep-Alive", true),
            ("Connection: close", false),
            ("connection: keep-alive\r\nconnection: close", false),
            ("connection: close\r\nconnection: keep-alive", false),
            ("connection: keep-alive, close", false),
            ("connection: x-a\r\nx-a: 1", true),
        ] {
            let head = read(&format!("HTTP/1.1 200 OK\r\n{lines}\r\ncontent-length: 0\r\n\r\n"));
            let head = head.unwrap().unwrap();
            assert_eq!((head.keep_alive, head.headers.len()), (keep_alive, 1), "{lines}");
        }
    }

    #[test]
    fn h04_headers_nominated_by_the_target_stay_on_their_hop() {
        let head = read(
            "HTTP/1.1 200 OK\r\nconnection: x-a, close\r\nx-a: 1\r\nx-b: 2\r\ncontent-length: 0\r\n\r\n",
        );
        let head = head.unwrap().unwrap();
        assert_eq!(head.headers.len(), 2);
        assert!(!head.keep_alive);
    }
}
