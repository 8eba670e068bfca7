//! A message on its way out: its head and small pieces of its body leave in one write.

use std::{
    io::{self, IoSlice, Write},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::AsyncWrite;

use super::buffers::{Buffers, ROOM};

/// How the end of a body is told (RFC 9112 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is no body.
    Nothing,
    /// This many bytes are still to come.
    Length(u64),
    Chunked,
    /// By the end of the connection.
    Close,
}

/// A body is not as long as its head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Misframed;

/// What is encoded and not yet written.
#[derive(Debug)]
pub(crate) struct Outbox {
    pub(crate) out: BytesMut,
    /// A large piece that follows `out` without being copied.
    piece: Bytes,
    pub(crate) framing: Framing,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self { out: BytesMut::new(), piece: Bytes::new(), framing: Framing::Nothing }
    }

    /// Whether another piece may be put in.
    pub(crate) fn has_room(&self) -> bool {
        self.piece.is_empty() && self.out.len() < ROOM
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.out.is_empty() && self.piece.is_empty()
    }

    /// A piece of the body.
    pub(crate) fn add(&mut self, data: Bytes) -> Result<(), Misframed> {
        // A chunk of nothing is the last one (RFC 9112 section 7.1).
        if data.is_empty() {
            return Ok(());
        }
        match &mut self.framing {
            Framing::Nothing => return Err(Misframed),
            Framing::Length(left) => *left = left.checked_sub(data.len() as u64).ok_or(Misframed)?,
            Framing::Close => {}
            Framing::Chunked => {
                let mut size = [0_u8; 18];
                let mut rest = size.as_mut_slice();
                let room = rest.len();
                // 16 digits and the line end always fit.
                let _ = write!(rest, "{:x}\r\n", data.len());
                let used = room - rest.len();
                self.out.extend_from_slice(size.get(..used).unwrap_or_default());
            }
        }
        if self.out.len() + data.len() <= ROOM {
            self.out.extend_from_slice(&data);
            if self.framing == Framing::Chunked {
                self.out.extend_from_slice(b"\r\n");
            }
        } else {
            self.piece = data;
        }
        Ok(())
    }

    /// The end of the body, with its trailers.
    pub(crate) fn end<'a>(
        &mut self,
        trailers: impl IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>,
    ) -> Result<(), Misframed> {
        match self.framing {
            Framing::Length(left) if left > 0 => return Err(Misframed),
            Framing::Chunked => {
                self.out.extend_from_slice(b"0\r\n");
                for (name, value) in trailers {
                    add_line(&mut self.out, name, value);
                }
                self.out.extend_from_slice(b"\r\n");
            }
            Framing::Nothing | Framing::Length(_) | Framing::Close => {}
        }
        Ok(())
    }

    /// Writes some of it: how much.
    pub(crate) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(stream);
        let written = if self.piece.is_empty() {
            ready!(stream.poll_write(cx, &self.out))?
        } else {
            ready!(stream.poll_write_vectored(cx, &[IoSlice::new(&self.out), IoSlice::new(&self.piece)]))?
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let of_out = written.min(self.out.len());
        self.out.advance(of_out);
        self.piece.advance((written - of_out).min(self.piece.len()));
        if self.piece.is_empty() && written > of_out && self.framing == Framing::Chunked {
            self.out.extend_from_slice(b"\r\n");
        }
        Poll::Ready(Ok(written))
    }

    /// Takes memory to encode into, where there is none.
    pub(crate) fn open(&mut self, buffers: &Buffers) {
        if self.out.capacity() == 0 {
            self.out = buffers.take();
        }
    }

    /// Gives the memory back once everything is written.
    pub(crate) fn close(&mut self, buffers: &Buffers) {
        buffers.give(&mut self.out);
    }
}

/// One header.
pub(crate) fn add_line(out: &mut BytesMut, name: &HeaderName, value: &HeaderValue) {
    let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// `content-length` with this value.
pub(crate) fn add_length(out: &mut BytesMut, length: u64) {
    out.extend_from_slice(b"content-length: ");
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Trailers of a body, where it has any.
pub(crate) fn lines_of(trailers: Option<&HeaderMap>) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    trailers.into_iter().flatten()
}
