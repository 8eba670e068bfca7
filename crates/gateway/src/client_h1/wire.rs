//! A client's connection as the driver and the body of the request use it, one after the other.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http_body::Frame;
use tokio::{io::AsyncWrite, task::coop::has_budget_remaining};

use super::head::{Bounds, Head, Memory};
use crate::{
    client_body::{Broken, PollBody},
    client_stream::{ClientStream, Duplex},
    core::Core,
    error::Failure,
    h1::{
        body::{Decoder, Piece},
        buffers::Buffers,
        outbox::Outbox,
    },
};

/// What a body may still bring after its answer for the connection to go on.
const REST: usize = 64 * 1024;

/// The stream, with what was read and not used and what was said and not written.
#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: ClientStream<S>,
    read: BytesMut,
    /// How much of a head that is not complete has been looked through.
    looked_through: usize,
    pub(super) outbox: Outbox,
    pub(super) buffers: Buffers,
    /// The body of the request at hand.
    body: Decoder,
    /// Which request that is. Who still reads the body of another one gets nothing.
    turn: u64,
    /// The client waits for leave to send it.
    pub(super) waits: bool,
    /// That leave is not on its way yet.
    leave: bool,
    /// What is written belongs to the answer.
    answering: bool,
    /// The client has shut its side.
    ended: bool,
    /// Who waits for the body, which may be another task than the connection's.
    reader: Reader,
    /// The connection's task, which is not told of what the reader reads.
    driver: Option<Waker>,
}

/// Why there is no next request.
#[derive(Debug)]
pub(super) enum NoHead {
    /// The connection has ended as it should.
    Ended,
    /// The client is gone, or was when it had said half of it.
    Gone,
    /// What came is none.
    Refused(Failure),
}

impl<S: Duplex> Wire<S> {
    pub(super) fn new(stream: ClientStream<S>, buffers: Buffers) -> Self {
        Self {
            stream,
            read: BytesMut::new(),
            looked_through: 0,
            outbox: Outbox::new(),
            buffers,
            body: Decoder::Length(0),
            turn: 0,
            waits: false,
            leave: false,
            answering: false,
            ended: false,
            reader: Reader::default(),
            driver: None,
        }
    }

    /// The next head.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        core: &Core,
        memory: &mut Memory,
    ) -> Poll<Result<(Head, u64), NoHead>> {
        let limits = &core.settings.limits;
        let bounds = Bounds { bytes: limits.head_bytes, lines: limits.headers };
        loop {
            while self.looked_through == 0 && self.read.starts_with(b"\r\n") {
                self.read.advance(2);
            }
            if self.may_be_complete() || self.read.len() >= bounds.bytes {
                match memory.read(&self.read, bounds, || core.pools.spare_headers()) {
                    Ok(Some(head)) => {
                        self.read.advance(head.length);
                        self.looked_through = 0;
                        (self.body, self.waits) = (head.body, head.waits);
                        return Poll::Ready(Ok((head, self.turn)));
                    }
                    Ok(None) => self.looked_through = self.read.len(),
                    Err(failure) => return Poll::Ready(Err(NoHead::Refused(failure))),
                }
            }
            let read = match self.ended {
                true => Ok(0),
                false => match self.poll_read(cx) {
                    // Where this task has done much it is told that nothing is there, and called again.
                    Poll::Pending
                        if core.connections.is_draining() && !self.has_begun() && has_budget_remaining() =>
                    {
                        Ok(0)
                    }
                    read => ready!(read),
                },
            };
            match read {
                Ok(0) if self.has_begun() => return Poll::Ready(Err(NoHead::Gone)),
                Ok(0) => return Poll::Ready(Err(NoHead::Ended)),
                Ok(_) => {}
                Err(_) => return Poll::Ready(Err(NoHead::Gone)),
            }
        }
    }

    /// Whether a head that came in pieces may have got its end with the last one.
    fn may_be_complete(&self) -> bool {
        let new = self.read.get(self.looked_through.saturating_sub(3)..).unwrap_or_default();
        let ends_line = |end: usize| matches!(new.get(end + 1..), Some([b'\n', ..] | [b'\r', b'\n', ..]));
        match self.looked_through {
            0 => !self.read.is_empty(),
            _ => memchr::memchr_iter(b'\n', new).any(ends_line),
        }
    }

    /// Whether there is more than the empty lines that may come before a request (RFC 9112 section 2.2).
    fn has_begun(&self) -> bool {
        self.read.iter().any(|byte| !matches!(byte, b'\r' | b'\n'))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.buffers.poll_read(cx, &mut self.stream, &mut self.read)
    }

    /// Whether the client is seen to be gone. One that has shut its side alone waits for its answer.
    pub(super) fn is_gone(&mut self, cx: &mut Context<'_>) -> bool {
        // What comes of a body, or behind it, is read by whoever asks for it.
        if !self.body.is_done() {
            remember(&mut self.driver, cx.waker());
            return false;
        }
        if self.ended || !self.read.is_empty() {
            return false;
        }
        match self.poll_read(cx) {
            Poll::Ready(Ok(read)) => {
                self.ended = read == 0;
                false
            }
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        }
    }

    /// Makes room for the head of an answer.
    pub(super) fn begin_answer(&mut self) {
        self.answering = true;
        self.outbox.open(&self.buffers);
    }

    /// The request at hand is answered: nobody reads on in its body.
    pub(super) fn end_turn(&mut self) {
        self.turn += 1;
        self.answering = false;
        self.leave = false;
        self.driver = None;
        self.reader.wake();
    }

    /// Whether the client has shut its side.
    pub(super) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Writes what there is to write.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outbox.is_empty() {
            ready!(self.outbox.poll_write(cx, &mut self.stream))?;
        }
        self.outbox.close(&self.buffers);
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Whether the body of the request at hand was read to its end, or can be without waiting.
    pub(super) fn finish_body(&mut self, cx: &mut Context<'_>) -> bool {
        // Who has sent some of it did not wait for leave.
        self.waits &= self.read.is_empty();
        let mut rest = REST;
        while !self.waits && rest > 0 {
            match self.decode(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    rest = rest.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
                }
                Poll::Ready(None) => return true,
                Poll::Ready(Some(Err(Broken))) | Poll::Pending => return false,
            }
        }
        self.body.is_done()
    }

    fn decode(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            match self.body.next(&mut self.read) {
                Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Piece::Trailers(trailers)) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Ok(Piece::End) => return Poll::Ready(None),
                Ok(Piece::More) if self.ended => return Poll::Ready(Some(Err(Broken))),
                Ok(Piece::More) => {}
                Err(_) => return Poll::Ready(Some(Err(Broken))),
            }
            match ready!(self.poll_read(cx)) {
                Ok(read) => self.ended = read == 0,
                Err(_) => return Poll::Ready(Some(Err(Broken))),
            }
        }
    }

    /// Ends the connection so that what was written arrives.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// The stream, for another protocol: it begins with what was read and not used.
    pub(super) fn into_stream(self) -> ClientStream<S> {
        self.stream.beginning_with(self.read)
    }
}

/// Has `known` be `waker`.
fn remember(known: &mut Option<Waker>, waker: &Waker) {
    if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
        *known = Some(waker.clone());
    }
}

/// Who waits for a body, until the connection has ended.
#[derive(Debug, Default)]
struct Reader(Option<Waker>);

impl Reader {
    fn wake(&mut self) {
        self.0.take().into_iter().for_each(Waker::wake);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.wake();
    }
}

impl<S: Duplex> PollBody for Wire<S> {
    fn poll_frame(&mut self, cx: &mut Context<'_>, turn: u64) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if turn != self.turn {
            return Poll::Ready(Some(Err(Broken)));
        }
        if std::mem::take(&mut self.waits) {
            self.outbox.open(&self.buffers);
            self.outbox.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.leave = true;
        }
        // An answer that has begun takes it along, and is written by the connection's task alone.
        if self.leave && !self.answering {
            match self.poll_write(cx) {
                Poll::Ready(Ok(())) => self.leave = false,
                Poll::Ready(Err(_)) => return Poll::Ready(Some(Err(Broken))),
                Poll::Pending => {}
            }
        }
        let frame = self.decode(cx);
        if frame.is_pending() {
            remember(&mut self.reader.0, cx.waker());
        } else if self.body.is_done()
            && let Some(driver) = self.driver.take()
            && !driver.will_wake(cx.waker())
        {
            // From here on it watches the client.
            driver.wake();
        }
        frame
    }

    fn is_ended(&self, turn: u64) -> bool {
        turn == self.turn && self.body.is_done()
    }

    fn length(&self, turn: u64) -> Option<u64> {
        self.body.length().filter(|_| turn == self.turn)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, task::Wake, time::Duration};

    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn wire() -> (Wire<DuplexStream>, DuplexStream) {
        let (gate, client) = duplex(1024);
        let stream = ClientStream::new(BytesMut::new(), gate, Duration::from_secs(60), Arc::default());
        (Wire::new(stream, Buffers::default()), client)
    }

    #[derive(Default)]
    struct Woken(std::sync::atomic::AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }

    impl Woken {
        fn take(&self) -> bool {
            self.0.swap(false, std::sync::atomic::Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn t11_who_reads_the_body_of_an_answered_request_takes_nothing_of_the_next_one() {
        let (mut wire, mut client) = wire();
        let reader = Arc::new(Woken::default());
        let waker = Arc::clone(&reader).into();
        let mut cx = Context::from_waker(&waker);
        wire.body = Decoder::Length(5);
        let first = wire.turn;
        assert!(wire.poll_frame(&mut cx, first).is_pending());
        wire.end_turn();
        assert!(reader.take(), "whoever waits learns of it");
        (wire.body, wire.waits) = (Decoder::Length(5), true);
        client.write_all(b"hello").await.unwrap();
        assert!(matches!(wire.poll_frame(&mut cx, first), Poll::Ready(Some(Err(Broken)))));
        assert_eq!((wire.is_ended(first), wire.length(first)), (false, None));
        assert!(wire.waits, "and gives no leave for the next one's");
        let second = wire.turn;
        let Poll::Ready(Some(Ok(frame))) = wire.poll_frame(&mut cx, second) else { panic!("no body") };
        assert_eq!(frame.into_data().unwrap(), "hello");
        wire.body = Decoder::Length(5);
        assert!(wire.poll_frame(&mut cx, second).is_pending());
        drop(wire);
        assert!(reader.take(), "nor after the connection");
    }

    #[tokio::test]
    async fn the_connection_is_told_that_another_task_has_read_the_body() {
        let (mut wire, mut client) = wire();
        let (reader, driver) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
        let wakers = (Arc::clone(&reader).into(), Arc::clone(&driver).into());
        let (mut reading, mut driving) = (Context::from_waker(&wakers.0), Context::from_waker(&wakers.1));
        wire.body = Decoder::Length(5);
        assert!(!wire.is_gone(&mut driving));
        client.write_all(b"hello").await.unwrap();
        assert!(wire.poll_frame(&mut reading, 0).is_ready());
        assert!(driver.take());
        assert!(!wire.is_gone(&mut driving));
        drop(client);
        assert!(driver.take(), "it watches the client");
    }
}
