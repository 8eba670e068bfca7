//! The body of a client's request on its way upstream.

use std::{
    cell::RefCell,
    fmt,
    future::poll_fn,
    pin::Pin,
    rc::Weak,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame};
use smallvec::{SmallVec, smallvec};

use crate::{client_stream::Signs, error::Failure};

/// A beginning of this many bytes is remembered, so that a try that came to nothing can be repeated.
const REMEMBERED: usize = 16 * 1024;

/// What bodies are read from, piece by piece, one after the other: each has its turn.
pub(crate) trait PollBody: fmt::Debug {
    /// The next piece or the trailers; `None` at the end.
    fn poll_frame(&mut self, cx: &mut Context<'_>, turn: u64) -> Poll<Option<Result<Frame<Bytes>, Broken>>>;
    /// Whether nothing more is to come.
    fn is_ended(&self, turn: u64) -> bool;
    /// How many bytes are still to come, where that is known.
    fn length(&self, turn: u64) -> Option<u64>;
}

/// A body broke off, or is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// A body as it comes from the client.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// From a connection that has but one request at a time, for as long as that is open and at this one.
    H1(Weak<RefCell<dyn PollBody>>, u64),
    H2(hyper::body::Incoming),
}

impl Incoming {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self {
            Self::H1(wire, turn) => match wire.upgrade() {
                Some(wire) => wire.borrow_mut().poll_frame(cx, *turn),
                None => Poll::Ready(Some(Err(Broken))),
            },
            Self::H2(stream) => {
                Pin::new(stream).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(|_| Broken)))
            }
        }
    }

    fn is_ended(&self) -> bool {
        match self {
            Self::H1(wire, turn) => wire.upgrade().is_some_and(|wire| wire.borrow().is_ended(*turn)),
            Self::H2(stream) => stream.is_end_stream(),
        }
    }

    /// How many bytes are still to come, at least.
    fn announced(&self) -> u64 {
        match self {
            Self::H1(wire, turn) => wire.upgrade().and_then(|wire| wire.borrow().length(*turn)).unwrap_or(0),
            Self::H2(stream) => stream.size_hint().lower(),
        }
    }
}

/// A streamed request body whose beginning can be sent again.
#[derive(Debug)]
pub(crate) struct ClientBody {
    /// Nothing where the body was read already.
    incoming: Option<Incoming>,
    ended: bool,
    /// What was handed out so far, until it grew too long to keep.
    seen: SmallVec<[Bytes; 1]>,
    seen_bytes: usize,
    forgotten: bool,
    /// How many of `seen` this try has handed out.
    place: usize,
    /// Why nothing more of it is to be had: whoever asks again gets no end that looks like a good one.
    broken: Option<BodyError>,
    trailers: Option<HeaderMap>,
    limit: u64,
    total: u64,
    signs: Arc<Signs>,
}

/// Why a body came to an early end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// The client went away or broke the protocol.
    Client,
    /// The body is longer than allowed.
    TooLarge,
}

impl BodyError {
    pub(crate) const fn failure(&self) -> Failure {
        match self {
            Self::Client => Failure::Client(StatusCode::BAD_REQUEST, "the request's body broke off"),
            Self::TooLarge => Failure::TOO_LARGE,
        }
    }
}

impl ClientBody {
    /// At most `limit` bytes of `incoming`, which has not ended; `signs` learn of it when it has.
    pub(crate) fn new(incoming: Incoming, limit: u64, signs: Arc<Signs>) -> Self {
        Self {
            incoming: Some(incoming),
            ended: false,
            seen: SmallVec::new(),
            seen_bytes: 0,
            forgotten: false,
            place: 0,
            broken: None,
            trailers: None,
            limit,
            total: 0,
            signs,
        }
    }

    /// How many bytes it says that it has, at least.
    pub(crate) fn announced(&self) -> u64 {
        self.total + self.incoming.as_ref().map_or(0, Incoming::announced)
    }

    /// All of it: at most `limit` bytes, within `patience`. Whatever comes of it, the body is handed out again from its
    /// beginning: who may do without having seen it whole still sends it on whole.
    pub(crate) async fn whole(&mut self, limit: u64, patience: Duration) -> Result<Bytes, Failure> {
        if self.announced() > limit {
            return Err(BodyError::TooLarge.failure());
        }
        self.place = 0;
        let mut whole = BytesMut::new();
        let collect = async {
            while let Some(piece) = poll_fn(|cx| self.poll_data(cx)).await {
                whole.extend_from_slice(&piece?);
                if whole.len() as u64 > limit {
                    return Err(BodyError::TooLarge);
                }
            }
            Ok(())
        };
        let collected = tokio::time::timeout(patience, collect).await;
        let whole = whole.freeze();
        self.remember(whole.clone());
        match collected {
            Ok(Ok(())) => Ok(whole),
            Ok(Err(error)) => Err(error.failure()),
            Err(_) => {
                let late = "the request's body did not come in time";
                Err(Failure::Client(StatusCode::REQUEST_TIMEOUT, late))
            }
        }
    }

    /// Keeps all that came so far, to be handed out again.
    fn remember(&mut self, came: Bytes) {
        self.seen_bytes = came.len();
        // An empty piece would be no piece: in chunks it is the end.
        self.seen = if came.is_empty() { SmallVec::new() } else { smallvec![came] };
        (self.forgotten, self.place) = (false, 0);
    }

    /// A body that was read already.
    pub(crate) fn of(bytes: Bytes, signs: Arc<Signs>) -> Self {
        let total = bytes.len() as u64;
        Self {
            incoming: None,
            ended: true,
            seen_bytes: bytes.len(),
            seen: SmallVec::from_buf([bytes]),
            forgotten: false,
            place: 0,
            broken: None,
            trailers: None,
            limit: u64::MAX,
            total,
            signs,
        }
    }

    /// Allows it no more bytes than these, where it was allowed more.
    pub(crate) fn limit_to(&mut self, limit: u64) {
        self.limit = self.limit.min(limit);
    }

    /// Bytes that came so far.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// Whether there is nothing, or nothing more, to hand out.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended && self.place >= self.seen.len()
    }

    /// Begins anew; false when too much was handed out already to do so.
    pub(crate) fn rewind(&mut self) -> bool {
        self.place = 0;
        !self.forgotten
    }

    /// The next piece; `None` at the end.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if let Some(piece) = self.seen.get(self.place) {
            self.place += 1;
            return Poll::Ready(Some(Ok(piece.clone())));
        }
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            if let Some(error) = self.broken {
                return Poll::Ready(Some(Err(error)));
            }
            let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
            let frame = match ready!(incoming.poll_frame(cx)) {
                None => {
                    self.end();
                    continue;
                }
                Some(Err(Broken)) => {
                    self.broken = Some(BodyError::Client);
                    continue;
                }
                Some(Ok(frame)) => frame,
            };
            match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Poll::Ready(Some(self.hand_out(data))),
                Err(frame) => {
                    if let Ok(mut trailers) = frame.into_trailers() {
                        crate::hygiene::clean_trailers(&mut trailers);
                        self.trailers = Some(trailers);
                    }
                }
            }
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.signs.unread.store(false, Ordering::Relaxed);
    }

    fn hand_out(&mut self, data: Bytes) -> Result<Bytes, BodyError> {
        self.total = self.total.saturating_add(data.len() as u64);
        if self.total > self.limit {
            self.broken = Some(BodyError::TooLarge);
            return Err(BodyError::TooLarge);
        }
        if self.incoming.as_ref().is_none_or(Incoming::is_ended) {
            self.end();
        }
        if !self.forgotten {
            self.seen_bytes += data.len();
            if self.seen_bytes > REMEMBERED {
                self.forgotten = true;
                self.seen.clear();
                self.place = 0;
            } else {
                self.seen.push(data.clone());
                self.place = self.seen.len();
            }
        }
        Ok(data)
    }

    /// Whether trailers came that nobody has taken.
    pub(crate) const fn has_trailers(&self) -> bool {
        self.trailers.is_some()
    }

    /// The cleaned trailers, once the end was reached. A try that is repeated finds them again.
    pub(crate) const fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// The cleaned trailers, once the end was reached.
    pub(crate) fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take()
    }
}
