//! The request on its way out.

use std::{
    io::{self, IoSlice, Write},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tokio::io::AsyncWrite;

use super::Outgoing;
use crate::{
    client_body::{BodyError, ClientBody},
    error::Failure,
    upstream::connect::Stream,
};

/// Pieces up to this size are copied behind the head, so that both leave in one write.
const COALESCED: usize = 16 * 1024;

/// The request of one exchange after another on its way out.
#[derive(Debug)]
pub(super) struct Pump {
    /// Encoded and not yet written.
    out: BytesMut,
    /// A large piece that follows `out` without being copied.
    piece: Bytes,
    framing: Framing,
    /// Everything is encoded.
    ended: bool,
    /// Everything is written and flushed.
    pub(super) done: bool,
    pub(super) broken: bool,
    /// Something of an answer came.
    pub(super) heard: bool,
    /// The last thing waited for was the client.
    pub(super) client_is_slow: bool,
    pub(super) written: u64,
    /// Grows whenever anything moved.
    pub(super) progress: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// No body.
    Nothing,
    /// This many bytes are still to come.
    Length(u64),
    Chunked,
}

/// Whose fault it is that nothing more can be sent.
pub(super) enum Stop {
    Client(Failure),
    Target(io::Error),
}

impl Pump {
    pub(super) fn new() -> Self {
        Self {
            out: BytesMut::with_capacity(1024),
            piece: Bytes::new(),
            framing: Framing::Nothing,
            ended: true,
            done: true,
            broken: false,
            heard: false,
            client_is_slow: false,
            written: 0,
            progress: 0,
        }
    }

    /// Begins with the next request. The last one was written whole.
    pub(super) fn begin(&mut self, outgoing: Outgoing<'_>, empty: bool) {
        let declared = || outgoing.head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        let framing = match empty {
            true => Framing::Nothing,
            false => declared().map_or(Framing::Chunked, Framing::Length),
        };
        encode_head(&mut self.out, outgoing, framing);
        self.framing = framing;
        self.ended = empty;
        self.done = false;
        self.broken = false;
        self.heard = false;
        self.client_is_slow = false;
        self.written = 0;
        self.progress = 0;
    }

    /// Writes as much as target and client allow. Ready when all is written.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        mut body: Option<&mut ClientBody>,
    ) -> Poll<Result<(), Stop>> {
        if self.done || self.broken {
            return Poll::Ready(Ok(()));
        }
        loop {
            self.client_is_slow = false;
            if !self.ended && self.piece.is_empty() && self.out.len() < COALESCED {
                match body.as_mut().map_or(Poll::Ready(None), |body| body.poll_data(cx)) {
                    Poll::Ready(Some(Ok(data))) => {
                        self.progress += 1;
                        self.encode(data).map_err(Stop::Client)?;
                        continue;
                    }
                    Poll::Ready(Some(Err(error))) => {
                        return Poll::Ready(Err(Stop::Client(error.failure())));
                    }
                    Poll::Ready(None) => {
                        let trailers = body.as_ref().and_then(|body| body.trailers());
                        self.encode_end(trailers).map_err(Stop::Client)?;
                        continue;
                    }
                    Poll::Pending => self.client_is_slow = true,
                }
            }
            if self.out.is_empty() && self.piece.is_empty() {
                ready!(Pin::new(&mut *stream).poll_flush(cx)).map_err(Stop::Target)?;
                if !self.ended {
                    return Poll::Pending;
                }
                self.done = true;
                return Poll::Ready(Ok(()));
            }
            match ready!(self.poll_write(cx, stream)) {
                Ok(0) => return Poll::Ready(Err(Stop::Target(io::ErrorKind::WriteZero.into()))),
                Ok(written) => {
                    self.progress += 1;
                    self.written = self.written.saturating_add(written as u64);
                }
                Err(error) => return Poll::Ready(Err(Stop::Target(error))),
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<usize>> {
        let stream = Pin::new(stream);
        let written = if self.piece.is_empty() {
            ready!(stream.poll_write(cx, &self.out))?
        } else {
            ready!(stream.poll_write_vectored(cx, &[IoSlice::new(&self.out), IoSlice::new(&self.piece)]))?
        };
        let of_out = written.min(self.out.len());
        self.out.advance(of_out);
        self.piece.advance((written - of_out).min(self.piece.len()));
        if self.piece.is_empty() && written > of_out && self.framing == Framing::Chunked {
            self.out.extend_from_slice(b"\r\n");
        }
        Poll::Ready(Ok(written))
    }

    fn encode(&mut self, data: Bytes) -> Result<(), Failure> {
        // A chunk of nothing is the last one (RFC 9112 section 7.1).
        if data.is_empty() {
            return Ok(());
        }
        let chunked = self.framing == Framing::Chunked;
        match &mut self.framing {
            Framing::Nothing => return Err(BodyError::Client.failure()),
            Framing::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or_else(|| BodyError::Client.failure())?;
            }
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
        if self.out.len() + data.len() <= COALESCED {
            self.out.extend_from_slice(&data);
            if chunked {
                self.out.extend_from_slice(b"\r\n");
            }
        } else {
            self.piece = data;
        }
        Ok(())
    }

    fn encode_end(&mut self, trailers: Option<&HeaderMap>) -> Result<(), Failure> {
        match self.framing {
            Framing::Length(left) if left > 0 => return Err(BodyError::Client.failure()),
            Framing::Chunked => {
                self.out.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.into_iter().flatten() {
                    encode_line(&mut self.out, name, value);
                }
                self.out.extend_from_slice(b"\r\n");
            }
            Framing::Nothing | Framing::Length(_) => {}
        }
        self.ended = true;
        Ok(())
    }

    /// What ran out of time.
    #[cold]
    pub(super) fn late(&self, target: &str) -> Failure {
        let what = match (self.done || self.broken, self.client_is_slow) {
            (true, _) => "answer",
            (false, false) => "send",
            (false, true) => {
                return Failure::Client(StatusCode::REQUEST_TIMEOUT, "the request's body took too long");
            }
        };
        Failure::Timeout { target: target.to_owned(), what }
    }
}

fn encode_head(out: &mut BytesMut, outgoing: Outgoing<'_>, framing: Framing) {
    let head = outgoing.head;
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(head.target.as_str().as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    out.extend_from_slice(outgoing.host.as_bytes());
    out.extend_from_slice(b"\r\n");
    if let Some(lines) = outgoing.forwarded {
        out.extend_from_slice(lines);
        out.extend_from_slice(head.host.as_header().as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    for (name, value) in &head.headers {
        // Only chunks are followed by trailers (RFC 9112 section 7.1.2): nothing else announces them.
        let announces_none = name == header::TRAILER && framing != Framing::Chunked;
        if name == header::CONTENT_LENGTH || name == header::HOST || announces_none {
            continue;
        }
        encode_line(out, name, value);
    }
    match framing {
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Length(length) => {
            out.extend_from_slice(b"content-length: ");
            out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        Framing::Nothing if matches!(head.method, Method::POST | Method::PUT | Method::PATCH) => {
            out.extend_from_slice(b"content-length: 0\r\n");
        }
        Framing::Nothing => {}
    }
    if head.websocket {
        out.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

fn encode_line(out: &mut BytesMut, name: &HeaderName, value: &HeaderValue) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}
