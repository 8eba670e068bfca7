//! The client's end of a connection: it begins with bytes that were read already, a client that takes nothing of what
//! is written is given up, and the last answer is given time to arrive.

use std::{
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep_until},
};

use crate::upstream::deadline;

/// How long a client may go on sending after the answer that ends its connection.
const LINGER: Duration = Duration::from_secs(5);

/// Bytes in both directions.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + fmt::Debug {}

impl<S: AsyncRead + AsyncWrite + Unpin + fmt::Debug> Duplex for S {}

/// A stream to a client.
#[derive(Debug)]
pub(crate) struct ClientStream<S> {
    /// Read already: while it was found out what the client speaks, or behind the head that asked for another protocol.
    first: BytesMut,
    stream: S,
    /// How long the client may take nothing.
    patience: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    closing: bool,
    signs: Arc<Signs>,
}

/// What a connection's stream and its requests know of each other.
#[derive(Debug, Default)]
pub(crate) struct Signs {
    /// The body of the last request is not read to the end.
    pub(crate) unread: AtomicBool,
    /// Something was read since a request was last begun or ended.
    pub(crate) heard: AtomicBool,
    /// Changes whenever the client took something.
    pub(crate) taken: AtomicU32,
    /// Everything written so far has left. Who wants to wait for that says that it has not.
    pub(crate) flushed: AtomicBool,
}

impl<S> ClientStream<S> {
    /// `stream`, from which `first` was read. `patience` is how long the client may take nothing; `signs` tell
    /// whether it is in the middle of a request's body.
    pub(crate) const fn new(first: BytesMut, stream: S, patience: Duration, signs: Arc<Signs>) -> Self {
        Self { first, stream, patience, timer: None, closing: false, signs }
    }

    /// The same, with `first` to be read before anything else.
    pub(crate) fn beginning_with(mut self, mut first: BytesMut) -> Self {
        first.unsplit(std::mem::take(&mut self.first));
        self.first = first;
        self
    }

    fn lingering(&self) -> Pin<Box<Sleep>> {
        Box::pin(sleep_until(deadline(self.patience.min(LINGER))))
    }

    fn note_taken(&self, written: &Poll<io::Result<usize>>) {
        if written.is_ready() {
            // Nobody else writes it.
            let taken = self.signs.taken.load(Ordering::Relaxed);
            self.signs.taken.store(taken.wrapping_add(1), Ordering::Relaxed);
        }
    }

    /// Passes on what came of a write, unless the client has taken nothing for too long.
    fn unless_stalled<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if self.timer.is_some() {
                self.timer = None;
            }
            return written;
        }
        let patience = self.patience;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline(patience))));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ClientStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            let before = buf.filled().len();
            let read = Pin::new(&mut self.stream).poll_read(cx, buf);
            if buf.filled().len() > before {
                self.signs.heard.store(true, Ordering::Relaxed);
            }
            return read;
        }
        self.signs.heard.store(true, Ordering::Relaxed);
        let length = self.first.len().min(buf.remaining());
        buf.put_slice(self.first.get(..length).unwrap_or_default());
        self.first.advance(length);
        if self.first.is_empty() {
            self.first = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note_taken(&written);
        self.unless_stalled(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note_taken(&written);
        self.unless_stalled(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.signs.flushed.store(flushed.is_ready(), Ordering::Relaxed);
        self.unless_stalled(cx, flushed)
    }

    /// Closes the sending half; the rest when the client has stopped sending. Closing on unread bytes makes the system
    /// reset the connection, and the client may never see the answer (RFC 9112 section 9.6).
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.closing {
            let closed = Pin::new(&mut this.stream).poll_shutdown(cx);
            ready!(this.unless_stalled(cx, closed))?;
            this.closing = true;
            if this.signs.unread.load(Ordering::Relaxed) {
                this.timer = Some(this.lingering());
            }
        }
        if this.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Ok(()));
        }
        let mut ignored = [0; 4096];
        loop {
            let mut ignored = ReadBuf::new(&mut ignored);
            match Pin::new(&mut this.stream).poll_read(cx, &mut ignored) {
                Poll::Ready(Ok(())) if !ignored.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                // Only a client that is known or seen to be sending is waited for.
                Poll::Pending if this.timer.is_none() => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
            if this.timer.is_none() {
                let mut timer = this.lingering();
                let _ = timer.as_mut().poll(cx);
                this.timer = Some(timer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn t16_a_client_that_takes_nothing_is_given_up() {
        let (_client, gate) = duplex(10);
        let mut stream = ClientStream::new(BytesMut::new(), gate, PATIENCE, Arc::default());
        assert_eq!(stream.write_all(&[0; 11]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn t11_the_last_answer_is_not_lost_to_what_the_client_still_sends() {
        let (mut client, gate) = duplex(10);
        let mut stream = ClientStream::new(BytesMut::new(), gate, Duration::from_secs(60), Arc::default());
        client.write_all(b"0123456789").await.unwrap();
        let closing = tokio::spawn(async move { stream.shutdown().await });
        client.write_all(&[0; 1000]).await.unwrap();
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        drop(client);
        closing.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_client_that_sends_nothing_is_not_waited_for_and_one_that_never_stops_not_long() {
        let (_client, gate) = duplex(10);
        let mut stream = ClientStream::new(BytesMut::new(), gate, Duration::from_secs(3600), Arc::default());
        stream.shutdown().await.unwrap();
        let (mut client, gate) = duplex(10);
        let mut stream = ClientStream::new(BytesMut::new(), gate, PATIENCE, Arc::default());
        client.write_all(b"0").await.unwrap();
        stream.shutdown().await.unwrap();
    }
}
