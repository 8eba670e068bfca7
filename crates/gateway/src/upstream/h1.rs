//! One HTTP/1.1 exchange with a target, driven on the connection itself: no connection task, no channels, one write
//! and one read for a small request. The caller keeps the request's head, so that a try can be repeated.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{LONGEST, connect::Stream, deadline, live::Target, pool::Pools, spec::Timeouts};
use crate::{
    client_body::ClientBody,
    error::Failure,
    h1::{
        body::{Decoder, Piece, take_bytes},
        buffers::ROOM,
        lines::Lines,
    },
    plugin::RequestHead,
};

mod decode;
mod pump;

use decode::Head;
use pump::{Pump, Stop};

/// Interim answers (1xx) tolerated before the real one.
const MAX_INTERIM: u32 = 16;

/// A connection to a target that carries one exchange at a time.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) stream: Stream,
    pub(super) target: Rc<KeptTarget>,
    /// Bytes read and not yet used. Empty between exchanges, but kept for its memory. While pieces of an answer that a
    /// client is slow to take hold on to it, what is read next gets another one.
    read: BytesMut,
    /// The request of the exchange.
    pump: Pump,
    /// The header lines of the last answer.
    lines: Lines,
    /// Kept from exchange to exchange: moving a timer further away costs nothing, making one does.
    timer: Pin<Box<Sleep>>,
    /// Requests sent so far.
    pub(super) requests: u32,
    pub(super) idle_since: Instant,
}

/// The target of a connection and the pool it goes back to.
#[derive(Debug)]
pub(super) struct KeptTarget {
    pub(super) target: std::sync::Arc<Target>,
    pub(super) pools: Pools,
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) head: &'a RequestHead,
    /// The Host the target sees.
    pub(crate) host: &'a HeaderValue,
    /// Lines of where the request came from, up to the host that it named, where they are not among the headers.
    pub(crate) forwarded: Option<&'a [u8]>,
    pub(crate) timeouts: Timeouts,
    /// How long the client may be silent in the middle of its body.
    pub(crate) client_silence: Duration,
}

/// What came back.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A response whose body is still to be read.
    Response(StatusCode, HeaderMap, H1Body),
    /// 101 to a WebSocket request: from here on both sides speak freely, beginning with these bytes.
    Switched(HeaderMap, Stream, Bytes),
}

/// Why an exchange failed, and what may be done about it.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) failure: Failure,
    /// Not a byte of an answer came.
    pub(crate) silent: bool,
    /// Not a byte of the request was taken by the system.
    pub(crate) unsent: bool,
    /// The connection had carried requests before: the target may simply have closed it.
    pub(crate) reused: bool,
}

impl Connection {
    pub(super) fn new(stream: Stream, target: Rc<KeptTarget>) -> Self {
        let idle_since = Instant::now();
        Self {
            stream,
            target,
            read: BytesMut::new(),
            pump: Pump::new(),
            lines: Lines::default(),
            timer: Box::pin(sleep_until(idle_since + LONGEST)),
            requests: 0,
            idle_since,
        }
    }

    /// Sends the request and waits for the head of the answer. The body keeps flowing while the answer is read.
    pub(crate) async fn exchange(
        mut self: Box<Self>,
        outgoing: Outgoing<'_>,
        body: &mut Option<ClientBody>,
    ) -> Result<Answer, Broken> {
        let reused = self.requests > 0;
        self.requests = self.requests.saturating_add(1);
        let empty = body.as_ref().is_none_or(|body| body.is_ended() && !body.has_trailers());
        self.pump.begin(self.target.pools.buffers(), outgoing, empty);
        let mut interim = 0;
        let mut waiting = Waiting::default();
        let result = std::future::poll_fn(|cx| {
            let head = self.poll_exchange(cx, body, outgoing.head, &mut interim);
            if head.is_ready() {
                return head;
            }
            ready!(waiting.poll_timer(
                cx,
                &self.pump,
                outgoing.timeouts,
                outgoing.client_silence,
                self.timer.as_mut()
            ));
            Poll::Ready(Err(self.pump.late(&self.target.target.label)))
        })
        .await;
        let failure = match result {
            Ok(head) if head.status != StatusCode::SWITCHING_PROTOCOLS => {
                let body = H1Body::new(self, body.take(), &head, outgoing);
                return Ok(Answer::Response(head.status, head.headers, body));
            }
            Ok(head) if self.pump.done => {
                let Self { stream, read, .. } = *self;
                return Ok(Answer::Switched(head.headers, stream, read.freeze()));
            }
            Ok(_) => self.broke("it switched protocols before it had the whole request"),
            Err(failure) => failure,
        };
        Err(Broken { failure, silent: !self.pump.heard, unsent: self.pump.written == 0, reused })
    }

    fn poll_exchange(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Option<ClientBody>,
        request: &RequestHead,
        interim: &mut u32,
    ) -> Poll<Result<Head, Failure>> {
        let buffers = self.target.pools.buffers();
        if let Poll::Ready(Err(stop)) = self.pump.poll(cx, buffers, &mut self.stream, body.as_mut()) {
            match stop {
                Stop::Client(failure) => return Poll::Ready(Err(failure)),
                // The target may have answered before it closed: its answer counts.
                Stop::Target(error) => self.cut_short(&error),
            }
        }
        loop {
            let spare = || self.target.pools.spare_headers();
            match decode::head(&mut self.read, &mut self.lines, spare, &request.method, request.websocket) {
                Ok(Some(head))
                    if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS =>
                {
                    *interim += 1;
                    if *interim > MAX_INTERIM {
                        return Poll::Ready(Err(self.broke("too many interim answers")));
                    }
                }
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Ok(None) => match ready!(self.poll_read(cx)) {
                    Ok(0) => {
                        return Poll::Ready(Err(self.broke("it closed the connection without an answer")));
                    }
                    Ok(_) => {
                        self.pump.heard = true;
                        self.pump.progress += 1;
                    }
                    Err(error) => return Poll::Ready(Err(self.broke(&error.to_string()))),
                },
                Err(reason) => return Poll::Ready(Err(self.broke(reason))),
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.read.reserve(ROOM);
        let reading = std::pin::pin!(tokio::io::AsyncReadExt::read_buf(&mut self.stream, &mut self.read));
        reading.poll(cx)
    }

    #[cold]
    fn cut_short(&mut self, error: &io::Error) {
        tracing::debug!(target = %self.target.target.label, %error, "the request could not be sent whole");
        self.pump.broken = true;
    }

    #[cold]
    fn broke(&self, reason: &str) -> Failure {
        Failure::Exchange { target: self.target.target.label.to_string(), reason: reason.to_owned() }
    }

    /// Back to the pool of its core, for the next request.
    fn give_back(self: Box<Self>) {
        if self.read.is_empty() && self.requests < self.target.target.keep_alive.requests {
            let kept = Rc::clone(&self.target);
            kept.pools.keep(self);
        }
    }
}

/// Which silence is being measured, and since when.
#[derive(Debug, Default)]
struct Waiting {
    seen: Option<(u64, u8)>,
}

impl Waiting {
    /// Ready when the current silence has lasted too long.
    fn poll_timer(
        &mut self,
        cx: &mut Context<'_>,
        pump: &Pump,
        timeouts: Timeouts,
        client_silence: Duration,
        mut timer: Pin<&mut Sleep>,
    ) -> Poll<()> {
        let (kind, limit) = match (pump.done || pump.broken, pump.client_is_slow) {
            (true, _) => (0, timeouts.read),
            (false, true) => (1, client_silence),
            (false, false) => (2, timeouts.send),
        };
        if self.seen != Some((pump.progress, kind)) {
            self.seen = Some((pump.progress, kind));
            timer.as_mut().reset(deadline(limit));
        }
        timer.poll(cx)
    }
}

/// The body of an answer, read from the connection as the client takes it. When it ends well the connection goes back
/// to its pool; when it is dropped early the connection is closed.
#[derive(Debug)]
pub(crate) struct H1Body {
    /// The whole body, where it came with the head: then nothing of the connection needs to stay.
    whole: Option<Bytes>,
    state: Option<Box<Reading>>,
    length: Option<u64>,
}

#[derive(Debug)]
struct Reading {
    connection: Box<Connection>,
    request: Option<ClientBody>,
    decoder: Decoder,
    reusable: bool,
    timeouts: Timeouts,
    client_silence: Duration,
    waiting: Waiting,
}

/// Why the body of an answer broke off.
#[derive(Debug, thiserror::Error)]
#[error("the answer of {target} broke off: {reason}")]
pub(crate) struct BodyBroken {
    target: std::sync::Arc<str>,
    reason: String,
}

impl H1Body {
    fn new(
        mut connection: Box<Connection>,
        request: Option<ClientBody>,
        head: &Head,
        outgoing: Outgoing<'_>,
    ) -> Self {
        let length = head.decoder.length();
        let at_hand = length.and_then(|length| usize::try_from(length).ok());
        if let Some(length_at_hand) = at_hand.filter(|length| *length <= connection.read.len()) {
            let body = take_bytes(&mut connection.read, length_at_hand);
            finish(connection, head.keep_alive);
            return Self { whole: Some(body).filter(|body| !body.is_empty()), state: None, length };
        }
        let reading = Reading {
            connection,
            request,
            decoder: head.decoder,
            reusable: head.keep_alive,
            timeouts: outgoing.timeouts,
            client_silence: outgoing.client_silence,
            waiting: Waiting::default(),
        };
        Self { whole: None, state: Some(Box::new(reading)), length }
    }
}

impl H1Body {
    /// Whether it came whole: nobody reads on from the connection, or sends on it.
    pub(crate) const fn is_at_hand(&self) -> bool {
        self.state.is_none()
    }
}

/// The connection goes back to its pool if both sides have said all they had to say.
fn finish(connection: Box<Connection>, reusable: bool) {
    if reusable && connection.pump.done && !connection.pump.broken {
        connection.give_back();
    }
}

impl Reading {
    fn finish(self) {
        finish(self.connection, self.reusable);
    }

    #[cold]
    fn broken(&self, reason: impl Into<String>) -> BodyBroken {
        BodyBroken { target: self.connection.target.target.label.clone(), reason: reason.into() }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, BodyBroken>> {
        let Connection { pump, stream, target, .. } = &mut *self.connection;
        if !pump.done && !pump.broken {
            let pumped = pump.poll(cx, target.pools.buffers(), stream, self.request.as_mut());
            if let Poll::Ready(Err(_)) = pumped {
                // The rest of the request is lost; the answer may still be whole.
                pump.broken = true;
            }
        }
        loop {
            match self.decoder.next(&mut self.connection.read) {
                Ok(Piece::Data(data)) => return Poll::Ready(Ok(Some(Frame::data(data)))),
                Ok(Piece::Trailers(trailers)) => {
                    return Poll::Ready(Ok(Some(Frame::trailers(trailers))));
                }
                Ok(Piece::End) => return Poll::Ready(Ok(None)),
                Ok(Piece::More) => {}
                Err(reason) => return Poll::Ready(Err(self.broken(reason))),
            }
            match self.connection.poll_read(cx) {
                Poll::Ready(Ok(0)) if self.decoder.ends_with_connection() => return Poll::Ready(Ok(None)),
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(self.broken("it closed the connection"))),
                Poll::Ready(Ok(_)) => self.connection.pump.progress += 1,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.broken(error.to_string()))),
                Poll::Pending => {
                    let Connection { pump, timer, .. } = &mut *self.connection;
                    ready!(self.waiting.poll_timer(
                        cx,
                        pump,
                        self.timeouts,
                        self.client_silence,
                        timer.as_mut()
                    ));
                    return Poll::Ready(Err(self.broken("it was silent for too long")));
                }
            }
        }
    }
}

impl Body for H1Body {
    type Data = Bytes;
    type Error = BodyBroken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyBroken>>> {
        let this = self.get_mut();
        if let Some(body) = this.whole.take() {
            this.length = Some(0);
            return Poll::Ready(Some(Ok(Frame::data(body))));
        }
        let Some(reading) = this.state.as_mut() else { return Poll::Ready(None) };
        let piece = ready!(reading.poll_piece(cx));
        if let (Some(length), Ok(Some(frame))) = (this.length.as_mut(), &piece) {
            *length = length.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        match piece {
            Ok(Some(frame)) => {
                if reading.decoder.is_done() {
                    this.state.take().into_iter().for_each(|reading| reading.finish());
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Ok(None) => {
                this.state.take().into_iter().for_each(|reading| reading.finish());
                Poll::Ready(None)
            }
            Err(error) => {
                this.state = None;
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.whole.is_none() && self.state.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.length {
            Some(length) => SizeHint::with_exact(length),
            None if self.state.is_none() => SizeHint::with_exact(0),
            None => SizeHint::default(),
        }
    }
}
