//! The least of HTTP/1.1 that a client needs which sends one request at a time and trusts its server.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::connect::Stream;

/// What is read at once.
const READ: usize = 16 * 1024;
/// An answer whose body is not looked at is thrown away in pieces of about this size.
const KEPT: usize = 64 * 1024;

/// A connection that is kept.
pub(crate) struct Http1 {
    stream: Stream,
    /// The last answer, as far as it was kept.
    pub(crate) answer: Vec<u8>,
}

/// Status and length of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) length: usize,
}

/// How long a body is (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
}

impl Http1 {
    /// On a new connection.
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, answer: Vec::new() }
    }

    /// Sends a request and reads its answer to the end. `whole`: the body is kept too.
    pub(crate) async fn exchange(&mut self, request: &[u8], whole: bool) -> io::Result<Seen> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        self.answer.clear();
        let head = loop {
            self.read().await?;
            let found = self.answer.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(end) = found {
                break end + 4;
            }
        };
        let (status, framing) = parse(self.answer.get(..head).unwrap_or_default())
            .ok_or_else(|| io::Error::other("the answer's head is not understood"))?;
        let length = match framing {
            Framing::Length(length) => {
                let mut missing = length.saturating_sub(self.answer.len() - head);
                while missing > 0 {
                    if !whole && self.answer.len() > KEPT {
                        self.answer.truncate(head);
                    }
                    missing = missing.saturating_sub(self.read().await?);
                }
                length
            }
            Framing::Chunked => loop {
                if let Some(length) = chunked(self.answer.get(head..).unwrap_or_default()) {
                    break length;
                }
                self.read().await?;
            },
        };
        Ok(Seen { status, length })
    }

    async fn read(&mut self) -> io::Result<usize> {
        self.answer.reserve(READ);
        match self.stream.read_buf(&mut self.answer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => Ok(read),
        }
    }
}

fn parse(head: &[u8]) -> Option<(u16, Framing)> {
    let text = std::str::from_utf8(head).ok()?;
    let status = text.get(9..12)?.parse().ok()?;
    // A redirect or a 204 may come without either header.
    let mut framing = Framing::Length(0);
    for line in text.lines().skip(1) {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            framing = Framing::Length(value.trim().parse().ok()?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            framing = Framing::Chunked;
            break;
        }
    }
    Some((status, framing))
}

/// The length of a chunked body that has come to its end.
fn chunked(mut rest: &[u8]) -> Option<usize> {
    let mut length = 0;
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(rest.get(..line)?).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        rest = rest.get(line + 2 + size + 2..)?;
        if size == 0 {
            return Some(length);
        }
        length += size;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_framings_are_understood() {
        let head = b"HTTP/1.1 200 OK\r\nContent-LENGTH: 5\r\n\r\n";
        assert_eq!(parse(head), Some((200, Framing::Length(5))));
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(parse(head), Some((200, Framing::Chunked)));
        assert_eq!(chunked(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), Some(5));
        assert_eq!(chunked(b"3\r\nabc\r\n2\r\nd"), None);
    }
}
