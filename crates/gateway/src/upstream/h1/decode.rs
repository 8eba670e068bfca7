//! Reading answers (RFC 9112). What can be read in two ways is not read at all: the connection is given up.

use std::{mem::MaybeUninit, ops::Range};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use smallvec::SmallVec;

use crate::hygiene;

/// Longest head of an answer.
const MAX_HEAD: usize = 64 * 1024;
/// Most header lines of an answer.
const MAX_HEADERS: usize = 128;
/// Header names of an answer that are remembered for the next one.
const MAX_NAMES: usize = 24;
/// Longest chunk-size line, extensions included.
const MAX_CHUNK_LINE: usize = 4 * 1024;
/// Longest trailer section.
const MAX_TRAILERS: usize = 16 * 1024;

/// The head of an answer without its hop-by-hop headers.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) decoder: Decoder,
    pub(super) keep_alive: bool,
}

/// How much of the body is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoder {
    Length(u64),
    Chunked(Chunk),
    /// Until the target closes.
    Close,
}

/// Where in the chunked coding the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    Done,
}

/// What a decoder makes of the bytes at hand.
#[derive(Debug)]
pub(super) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    /// More bytes are needed.
    More,
}

/// Takes the head of an answer off `buffer`, once it is complete. `names` are those of the last answer on the connection,
/// which is most likely to have had the same ones; `spare` gives an empty map.
pub(super) fn head(
    buffer: &mut BytesMut,
    names: &mut Vec<KnownName>,
    spare: impl FnOnce() -> HeaderMap,
    method: &Method,
    websocket: bool,
) -> Result<Option<Head>, &'static str> {
    if buffer.is_empty() {
        return Ok(None);
    }
    let mut lines = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    let length = match parser.parse_response_with_uninit_headers(&mut response, buffer, &mut lines) {
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
    let http_11 = response.version == Some(1);
    let base = buffer.as_ptr() as usize;
    let span = |part: &[u8]| {
        let start = part.as_ptr() as usize - base;
        start..start + part.len()
    };
    let mut spans = SmallVec::<[(Range<usize>, Range<usize>); 24]>::new();
    for line in &*response.headers {
        spans.push((span(line.name.as_bytes()), span(line.value)));
    }
    let raw = buffer.split_to(length).freeze();
    let mut headers = spare();
    let mut seen = Seen::default();
    for (place, (name, value)) in spans.into_iter().enumerate() {
        let (name, meaning) = known(names, place, raw.get(name).unwrap_or_default())?;
        match meaning {
            Meaning::EndToEnd => {}
            Meaning::Length => seen.lengths += 1,
            Meaning::Hop => seen.hop = true,
            Meaning::Connection => {
                let plain = raw.get(value.clone()).and_then(plain_connection);
                if plain.is_some() && seen.connection.is_none() {
                    seen.connection = plain;
                    continue;
                }
                seen.hop = true;
            }
        }
        let value = HeaderValue::from_maybe_shared(raw.slice(value))
            .map_err(|_| "its answer has a header with control characters")?;
        headers.append(name, value);
    }
    Ok(Some(frame(status, headers, method, seen, http_11, websocket)?))
}

/// A header name as the target writes it, and what it means to the connection that it came on.
#[derive(Clone, Debug)]
pub(super) struct KnownName {
    raw: Box<[u8]>,
    name: HeaderName,
    meaning: Meaning,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    EndToEnd,
    Length,
    Connection,
    /// Anything else of this hop alone.
    Hop,
}

impl Meaning {
    fn of(name: &HeaderName) -> Self {
        match name.as_str() {
            "content-length" => Self::Length,
            "connection" => Self::Connection,
            name if hygiene::is_of_one_hop(name) => Self::Hop,
            _ => Self::EndToEnd,
        }
    }
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

/// The name `raw` and its meaning. It is compared with what was in its place in the last answer before it is read.
fn known(
    names: &mut Vec<KnownName>,
    place: usize,
    raw: &[u8],
) -> Result<(HeaderName, Meaning), &'static str> {
    if let Some(known) = names.get(place)
        && *known.raw == *raw
    {
        return Ok((known.name.clone(), known.meaning));
    }
    let name = HeaderName::from_bytes(raw).map_err(|_| "its answer has a header without name")?;
    let meaning = Meaning::of(&name);
    if place < MAX_NAMES {
        names.truncate(place);
        names.push(KnownName { raw: raw.into(), name: name.clone(), meaning });
    }
    Ok((name, meaning))
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
            Ok(Decoder::Chunked(Chunk::Size))
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

impl Decoder {
    /// The exact length, where it is known beforehand.
    pub(super) const fn length(&self) -> Option<u64> {
        match self {
            Self::Length(length) => Some(*length),
            Self::Chunked(_) | Self::Close => None,
        }
    }

    pub(super) const fn is_done(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunk::Done))
    }

    pub(super) const fn ends_with_connection(&self) -> bool {
        matches!(self, Self::Close)
    }

    /// Takes the next piece of the body off `buffer`.
    pub(super) fn next(&mut self, buffer: &mut BytesMut) -> Result<Piece, &'static str> {
        match self {
            Self::Length(0) | Self::Chunked(Chunk::Done) => Ok(Piece::End),
            _ if buffer.is_empty() => Ok(Piece::More),
            Self::Length(left) => Ok(Piece::Data(take(buffer, left))),
            Self::Close => Ok(Piece::Data(buffer.split().freeze())),
            Self::Chunked(state) => next_chunk(state, buffer),
        }
    }
}

fn take(buffer: &mut BytesMut, left: &mut u64) -> Bytes {
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
    *left -= length as u64;
    buffer.split_to(length).freeze()
}

fn next_chunk(state: &mut Chunk, buffer: &mut BytesMut) -> Result<Piece, &'static str> {
    loop {
        match state {
            Chunk::Size => {
                let Some(size) = chunk_size(buffer)? else { return Ok(Piece::More) };
                *state = if size == 0 { Chunk::Trailers } else { Chunk::Data(size) };
            }
            Chunk::Data(_) if buffer.is_empty() => return Ok(Piece::More),
            Chunk::Data(left) => {
                let data = take(buffer, left);
                if *left == 0 {
                    *state = Chunk::DataEnd;
                }
                return Ok(Piece::Data(data));
            }
            Chunk::DataEnd => {
                match buffer.as_ref() {
                    [b'\r', b'\n', ..] => buffer.advance(2),
                    [] | [b'\r'] => return Ok(Piece::More),
                    _ => return Err("a chunk of its answer is longer than it says"),
                }
                *state = Chunk::Size;
            }
            Chunk::Trailers => {
                let Some(trailers) = trailers(buffer)? else { return Ok(Piece::More) };
                *state = Chunk::Done;
                return Ok(if trailers.is_empty() { Piece::End } else { Piece::Trailers(trailers) });
            }
            Chunk::Done => return Ok(Piece::End),
        }
    }
}

/// The size of the next chunk, its line taken off; `None` while the line is incomplete.
fn chunk_size(buffer: &mut BytesMut) -> Result<Option<u64>, &'static str> {
    let Some(end) = memchr::memchr(b'\n', buffer) else {
        return if buffer.len() > MAX_CHUNK_LINE {
            Err("a chunk size of its answer is too long")
        } else {
            Ok(None)
        };
    };
    let line =
        buffer.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or("a chunk size ends without CR")?;
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let odd = line.len() > MAX_CHUNK_LINE || line.contains(&b'\r');
    if odd || digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err("a chunk size of its answer is not a number");
    }
    let digits = std::str::from_utf8(digits).map_err(|_| "a chunk size of its answer is not a number")?;
    let size = u64::from_str_radix(digits, 16).map_err(|_| "a chunk size of its answer is too large")?;
    buffer.advance(end + 1);
    Ok(Some(size))
}

/// The trailer section, taken off; `None` while it is incomplete.
fn trailers(buffer: &mut BytesMut) -> Result<Option<HeaderMap>, &'static str> {
    if buffer.starts_with(b"\r\n") {
        buffer.advance(2);
        return Ok(Some(HeaderMap::new()));
    }
    let mut lines = [httparse::EMPTY_HEADER; 32];
    let (length, mut map) = match httparse::parse_headers(buffer, &mut lines) {
        Ok(httparse::Status::Complete((length, lines))) => {
            let map = lines
                .iter()
                .filter_map(|line| {
                    let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
                    Some((name, HeaderValue::from_bytes(line.value).ok()?))
                })
                .collect::<HeaderMap>();
            (length, map)
        }
        Ok(httparse::Status::Partial) if buffer.len() <= MAX_TRAILERS => return Ok(None),
        _ => return Err("the trailers of its answer cannot be read"),
    };
    buffer.advance(length);
    hygiene::clean_trailers(&mut map);
    Ok(Some(map))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Head>, &'static str> {
        head(&mut BytesMut::from(text), &mut Vec::new(), HeaderMap::new, &Method::GET, false)
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
        assert_eq!(
            decoder("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"),
            Decoder::Chunked(Chunk::Size)
        );
        assert_eq!(decoder("HTTP/1.1 200 OK\r\n\r\n"), Decoder::Close);
        assert_eq!(decoder("HTTP/1.1 304 Not Modified\r\ncontent-length: 3\r\n\r\n"), Decoder::Length(0));
        assert!(read("HTTP/1.1 200 OK\r\ncontent-le").unwrap().is_none());
    }

    #[test]
    fn names_are_those_of_this_answer_whatever_the_last_one_had() {
        let mut names = Vec::new();
        for lines in ["A: 1\r\nb: 2", "a: 1\r\nC: 2\r\nd: 3", "", "c: 1", "a: 1\r\nc: 2\r\nd: 3"] {
            let end = if lines.is_empty() { "" } else { "\r\n" };
            let text = format!("HTTP/1.1 200 OK\r\n{lines}{end}content-length: 0\r\n\r\n");
            let read = head(&mut text.as_str().into(), &mut names, HeaderMap::new, &Method::GET, false);
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

    fn decode_chunks(text: &[u8], step: usize) -> Result<(Vec<u8>, HeaderMap), &'static str> {
        let (mut decoder, mut buffer, mut out) = (Decoder::Chunked(Chunk::Size), BytesMut::new(), Vec::new());
        let mut trailers = HeaderMap::new();
        let mut rest = text.chunks(step);
        loop {
            match decoder.next(&mut buffer)? {
                Piece::Data(data) => out.extend_from_slice(&data),
                Piece::Trailers(found) => trailers = found,
                Piece::End => return Ok((out, trailers)),
                Piece::More => buffer.extend_from_slice(rest.next().ok_or("short")?),
            }
        }
    }

    #[test]
    fn chunks_are_decoded_however_the_bytes_are_cut() {
        let text = b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nx-sum: 1\r\n\r\n";
        for step in 1..text.len() {
            let (body, trailers) = decode_chunks(text, step).unwrap();
            assert_eq!(body, b"hello world");
            assert_eq!(trailers.get("x-sum").unwrap(), "1");
        }
    }

    #[test]
    fn t04_odd_chunk_sizes_are_refused() {
        for text in [
            "\r\n",
            "0x1\r\na",
            "+1\r\na",
            "-1\r\na",
            "1_0\r\n",
            "1 \r\na\r\n0\r\n\r\n",
            "11111111111111111\r\n",
            "1\na",
            "1\r\naX\r\n",
        ] {
            assert!(decode_chunks(text.as_bytes(), 1000).is_err(), "{text:?}");
        }
    }
}
