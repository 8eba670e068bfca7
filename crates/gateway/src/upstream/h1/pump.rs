//! The request on its way out.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use http::{Method, StatusCode, header};
use tokio::io::AsyncWrite;

use super::Outgoing;
use crate::{
    client_body::{BodyError, ClientBody},
    error::Failure,
    h1::{
        buffers::Buffers,
        outbox::{Framing, Misframed, Outbox, add_length, add_line, lines_of},
    },
    upstream::connect::Stream,
};

/// The request of one exchange after another on its way out.
#[derive(Debug)]
pub(super) struct Pump {
    outbox: Outbox,
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

/// Whose fault it is that nothing more can be sent.
pub(super) enum Stop {
    Client(Failure),
    Target(io::Error),
}

impl Pump {
    pub(super) fn new() -> Self {
        Self {
            outbox: Outbox::new(),
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
    pub(super) fn begin(&mut self, buffers: &Buffers, outgoing: Outgoing<'_>, empty: bool) {
        let declared = || outgoing.head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        let framing = match empty {
            true => Framing::Nothing,
            false => declared().map_or(Framing::Chunked, Framing::Length),
        };
        self.outbox.open(buffers);
        encode_head(&mut self.outbox.out, outgoing, framing);
        self.outbox.framing = framing;
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
        buffers: &Buffers,
        stream: &mut Stream,
        mut body: Option<&mut ClientBody>,
    ) -> Poll<Result<(), Stop>> {
        if self.done || self.broken {
            return Poll::Ready(Ok(()));
        }
        loop {
            self.client_is_slow = false;
            if !self.ended && self.outbox.has_room() {
                match body.as_mut().map_or(Poll::Ready(None), |body| body.poll_data(cx)) {
                    Poll::Ready(Some(Ok(data))) => {
                        self.progress += 1;
                        self.outbox.add(data).map_err(misframed)?;
                        continue;
                    }
                    Poll::Ready(Some(Err(error))) => {
                        return Poll::Ready(Err(Stop::Client(error.failure())));
                    }
                    Poll::Ready(None) => {
                        let trailers = body.as_ref().and_then(|body| body.trailers());
                        self.outbox.end(lines_of(trailers)).map_err(misframed)?;
                        self.ended = true;
                        continue;
                    }
                    Poll::Pending => self.client_is_slow = true,
                }
            }
            if self.outbox.is_empty() {
                ready!(Pin::new(&mut *stream).poll_flush(cx)).map_err(Stop::Target)?;
                if !self.ended {
                    return Poll::Pending;
                }
                self.done = true;
                self.outbox.close(buffers);
                return Poll::Ready(Ok(()));
            }
            match ready!(self.outbox.poll_write(cx, stream)) {
                Ok(written) => {
                    self.progress += 1;
                    self.written = self.written.saturating_add(written as u64);
                }
                Err(error) => return Poll::Ready(Err(Stop::Target(error))),
            }
        }
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

/// A client's body that is not as long as it said.
fn misframed(Misframed: Misframed) -> Stop {
    Stop::Client(BodyError::Client.failure())
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
        add_line(out, name, value);
    }
    match framing {
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Length(length) => add_length(out, length),
        Framing::Nothing if matches!(head.method, Method::POST | Method::PUT | Method::PATCH) => {
            out.extend_from_slice(b"content-length: 0\r\n");
        }
        Framing::Nothing | Framing::Close => {}
    }
    if head.websocket {
        out.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
    }
    out.extend_from_slice(b"\r\n");
}
