//! How long a body is, and where in it the next byte stands (RFC 9112 sections 6 and 7).

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::lines::has_bare_lf;
use crate::hygiene;

/// Longest chunk-size line, extensions included.
const MAX_CHUNK_LINE: usize = 4 * 1024;
/// Most bytes of chunk extensions in one body: they cost much and say nothing.
const MAX_EXTENSIONS: usize = 16 * 1024;
/// A trailer section that has not ended within so many bytes is given up.
const MAX_TRAILERS: usize = 16 * 1024;
/// Pieces up to this size are copied: the memory that the connection reads into stays its own.
const COPIED: usize = 2 * 1024;

/// How much of the body is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoder {
    Length(u64),
    Chunked(Chunked),
    /// Until the sender closes.
    Close,
}

/// A body in the chunked coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunked {
    at: Chunk,
    /// Bytes of chunk extensions that are still borne.
    extensions: usize,
}

/// Where in the chunked coding the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    Done,
}

/// What a decoder makes of the bytes at hand.
#[derive(Debug)]
pub(crate) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    /// More bytes are needed.
    More,
}

impl Decoder {
    pub(crate) const CHUNKED: Self = Self::Chunked(Chunked { at: Chunk::Size, extensions: MAX_EXTENSIONS });

    /// The exact length, where it is known beforehand.
    pub(crate) const fn length(&self) -> Option<u64> {
        match self {
            Self::Length(length) => Some(*length),
            Self::Chunked(_) | Self::Close => None,
        }
    }

    pub(crate) const fn is_done(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunked { at: Chunk::Done, .. }))
    }

    pub(crate) const fn ends_with_connection(&self) -> bool {
        matches!(self, Self::Close)
    }

    /// Takes the next piece of the body off `buffer`.
    pub(crate) fn next(&mut self, buffer: &mut BytesMut) -> Result<Piece, &'static str> {
        match self {
            Self::Length(0) | Self::Chunked(Chunked { at: Chunk::Done, .. }) => Ok(Piece::End),
            _ if buffer.is_empty() => Ok(Piece::More),
            Self::Length(left) => Ok(Piece::Data(take(buffer, left))),
            Self::Close => Ok(Piece::Data(buffer.split().freeze())),
            Self::Chunked(chunked) => chunked.next(buffer),
        }
    }
}

fn take(buffer: &mut BytesMut, left: &mut u64) -> Bytes {
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
    *left -= length as u64;
    take_bytes(buffer, length)
}

/// The first `length` bytes of `buffer`, taken off.
pub(crate) fn take_bytes(buffer: &mut BytesMut, length: usize) -> Bytes {
    if length > COPIED {
        return buffer.split_to(length).freeze();
    }
    let taken = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
    buffer.advance(length.min(buffer.len()));
    taken
}

impl Chunked {
    fn next(&mut self, buffer: &mut BytesMut) -> Result<Piece, &'static str> {
        loop {
            match &mut self.at {
                Chunk::Size => {
                    let Some((size, extensions)) = chunk_size(buffer)? else { return Ok(Piece::More) };
                    self.extensions =
                        self.extensions.checked_sub(extensions).ok_or("the chunk extensions are too long")?;
                    self.at = if size == 0 { Chunk::Trailers } else { Chunk::Data(size) };
                }
                Chunk::Data(_) if buffer.is_empty() => return Ok(Piece::More),
                Chunk::Data(left) => {
                    let data = take(buffer, left);
                    if *left == 0 {
                        self.at = Chunk::DataEnd;
                    }
                    return Ok(Piece::Data(data));
                }
                Chunk::DataEnd => {
                    match buffer.as_ref() {
                        [b'\r', b'\n', ..] => buffer.advance(2),
                        [] | [b'\r'] => return Ok(Piece::More),
                        _ => return Err("a chunk is longer than it says"),
                    }
                    self.at = Chunk::Size;
                }
                Chunk::Trailers => {
                    let Some(trailers) = trailers(buffer)? else { return Ok(Piece::More) };
                    self.at = Chunk::Done;
                    return Ok(if trailers.is_empty() { Piece::End } else { Piece::Trailers(trailers) });
                }
                Chunk::Done => return Ok(Piece::End),
            }
        }
    }
}

/// The size of the next chunk and how many bytes of extensions it has, its line taken off; `None` while the line is
/// incomplete.
fn chunk_size(buffer: &mut BytesMut) -> Result<Option<(u64, usize)>, &'static str> {
    let Some(end) = memchr::memchr(b'\n', buffer) else {
        return if buffer.len() > MAX_CHUNK_LINE { Err("a chunk size is too long") } else { Ok(None) };
    };
    let line =
        buffer.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or("a chunk size ends without CR")?;
    let digits = match memchr::memchr(b';', line) {
        None => line,
        // Blanks may stand before an extension (section 7.1.1).
        Some(extension) => line.get(..extension).unwrap_or_default().trim_ascii_end(),
    };
    let is_control = |byte: &u8| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f;
    let odd = line.len() > MAX_CHUNK_LINE || line.iter().any(is_control);
    if odd || digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err("a chunk size is not a number");
    }
    let digits = std::str::from_utf8(digits).map_err(|_| "a chunk size is not a number")?;
    let size = u64::from_str_radix(digits, 16).map_err(|_| "a chunk size is too large")?;
    let extensions = line.len() - digits.len();
    buffer.advance(end + 1);
    Ok(Some((size, extensions)))
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
            if has_bare_lf(buffer.get(..length).unwrap_or_default()) {
                return Err("a trailer ends without a carriage return");
            }
            (length, map)
        }
        Ok(httparse::Status::Partial) if buffer.len() <= MAX_TRAILERS => return Ok(None),
        _ => return Err("the trailers cannot be read"),
    };
    buffer.advance(length);
    hygiene::clean_trailers(&mut map);
    Ok(Some(map))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_chunks(text: &[u8], step: usize) -> Result<(Vec<u8>, HeaderMap), &'static str> {
        let (mut decoder, mut buffer, mut out) = (Decoder::CHUNKED, BytesMut::new(), Vec::new());
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
        let text = b"5 ;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nx-sum: 1\r\n\r\n";
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
            "1\r\naX\r\n0\r\n\r\n",
            "1;a\0\r\na\r\n0\r\n\r\n",
            "0\r\n\n",
            "0\r\nx: 1\n\r\n",
            "0\r\nx: 1\r\n\n",
        ] {
            assert!(decode_chunks(text.as_bytes(), 1000).is_err(), "{text:?}");
        }
    }

    #[test]
    fn chunk_extensions_are_borne_to_a_point() {
        let with = |each: usize, chunks: usize| {
            let chunk = format!("1;{}\r\na\r\n", "x".repeat(each));
            decode_chunks((chunk.repeat(chunks) + "0\r\n\r\n").as_bytes(), 1000).is_ok()
        };
        assert!(with(MAX_EXTENSIONS / 8 - 1, 8));
        assert!(!with(MAX_EXTENSIONS / 8 - 1, 9));
        assert!(!with(MAX_CHUNK_LINE, 1));
    }
}
