//! What goes on on one connection. Over HTTP/2 a client can hold streams open without taking anything of their answers, or
//! ask and cancel faster than answering costs nothing (CVE-2023-44487): both show here.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::atomic::Ordering,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::{body::GateBody, listener::ConnectionInfo, upstream::LONGEST};

/// Cancelled requests beyond the answered ones that a connection may have.
const MAX_CANCELLED: u32 = 200;

/// The streams of one connection.
#[derive(Debug)]
pub(crate) struct Streams {
    /// Streams on which the next step is the gate's or the target's.
    ours: Cell<usize>,
    /// Requests that the client cancelled, less those that were answered.
    cancelled: Cell<u32>,
    /// When the client last asked or took something.
    moved: Cell<Instant>,
    /// Wakes the connection.
    waker: RefCell<Option<Waker>>,
    /// Streams that wait until everything before their end is written.
    closing: RefCell<Vec<(Rc<Cell<bool>>, Waker)>>,
}

impl Streams {
    pub(crate) fn new() -> Self {
        Self {
            ours: Cell::new(0),
            cancelled: Cell::new(0),
            moved: Cell::new(Instant::now()),
            waker: RefCell::default(),
            closing: RefCell::default(),
        }
    }

    /// Remembers how the connection is woken.
    pub(crate) fn wake_by(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    /// Tells who waited that everything is written.
    pub(crate) fn all_written(&self) {
        for (written, waker) in self.closing.borrow_mut().drain(..) {
            written.set(true);
            waker.wake();
        }
    }

    /// Has the connection write what there is, and `written` set and `waker` woken when that is done.
    fn wait_for_writes(&self, written: Rc<Cell<bool>>, waker: &Waker) {
        self.closing.borrow_mut().push((written, waker.clone()));
        self.waker.borrow().iter().for_each(Waker::wake_by_ref);
    }

    /// Whether the client cancels more than can be an accident.
    pub(crate) const fn is_flood(&self) -> bool {
        self.cancelled.get() > MAX_CANCELLED
    }

    /// When the client will have kept still for `limit`, should nothing happen until then.
    pub(crate) fn still_at(&self, limit: Duration) -> Instant {
        let since = if self.ours.get() > 0 { Instant::now() } else { self.moved.get() };
        since + limit.min(LONGEST)
    }
}

/// One stream, or a tunnel that came of it.
#[derive(Debug)]
pub(crate) struct Stream {
    connection: Rc<ConnectionInfo>,
    ours: bool,
    ended: bool,
}

impl Stream {
    /// A stream on which it is the gate's turn.
    pub(crate) fn begin(connection: &Rc<ConnectionInfo>) -> Self {
        connection.occupation.begin();
        let mut stream = Self { connection: Rc::clone(connection), ours: false, ended: false };
        stream.is_ours(true);
        stream
    }

    /// The same for a tunnel, which has its own limits and ends without being cancelled.
    pub(crate) fn tunnel(connection: &Rc<ConnectionInfo>) -> Self {
        let mut stream = Self::begin(connection);
        stream.ended = true;
        stream
    }

    /// Waits for what `answer` begins and goes on counting while its body is taken.
    pub(crate) async fn answer<A>(mut self, answer: impl FnOnce() -> A) -> Response<StreamBody>
    where
        A: Future<Output = Response<GateBody>>,
    {
        // A future that is passed as an argument has its room twice.
        let answer = answer().await;
        self.is_ours(false);
        self.ended = answer.body().is_end_stream();
        answer.map(|body| StreamBody { body, stream: self, broken: None })
    }

    fn is_ours(&mut self, ours: bool) {
        let streams = &self.connection.streams;
        streams.moved.set(Instant::now());
        match (self.ours, ours) {
            (false, true) => streams.ours.set(streams.ours.get() + 1),
            (true, false) => streams.ours.set(streams.ours.get().saturating_sub(1)),
            _ => {}
        }
        self.ours = ours;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.occupation.end();
        self.is_ours(false);
        let cancelled = &self.connection.streams.cancelled;
        cancelled.set(match self.ended {
            true => cancelled.get().saturating_sub(1),
            false => cancelled.get().saturating_add(1),
        });
    }
}

/// The body of an answer, taken by the client at its own pace.
#[derive(Debug)]
pub(crate) struct StreamBody {
    body: GateBody,
    stream: Stream,
    broken: Option<Broken>,
}

/// Why a body broke off. The codec throws away what it has not written yet when it is told, so it is told when everything
/// is: a client gets what came of an answer.
#[derive(Debug)]
struct Broken {
    error: <GateBody as Body>::Error,
    written: Rc<Cell<bool>>,
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = <GateBody as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(broken) = self.broken.take_if(|broken| broken.written.get()) {
            return Poll::Ready(Some(Err(broken.error)));
        }
        if self.broken.is_some() {
            return Poll::Pending;
        }
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        // What was handed out waits until the client allows it to be sent.
        self.stream.is_ours(frame.is_pending());
        // A target that broke off is not the client's doing.
        self.stream.ended |= matches!(frame, Poll::Ready(None | Some(Err(_)))) || self.body.is_end_stream();
        let Poll::Ready(Some(Err(error))) = frame else { return frame };
        let (connection, written) = (&self.stream.connection, Rc::default());
        connection.signs.flushed.store(false, Ordering::Relaxed);
        connection.streams.wait_for_writes(Rc::clone(&written), cx.waker());
        self.broken = Some(Broken { error, written });
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
