//! A WebSocket once both sides have agreed on it: bytes in both directions.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use base::Random;
use bytes::Bytes;
use http::HeaderValue;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional},
    sync::oneshot,
    time::{Instant, sleep_until},
};

use crate::{
    client_stream::Duplex,
    core::{Connections, Core},
    listener::ConnectionInfo,
    streams,
    upstream::{Busy, LONGEST, Stream},
};

/// A key for the handshake with the target (RFC 6455 section 4.1): 16 bytes in base64. It proves nothing and protects
/// nothing; the target only echoes a digest of it.
pub(crate) fn handshake_key() -> HeaderValue {
    let token = Random::system().token(16).replace('-', "+").replace('_', "/");
    HeaderValue::try_from(format!("{token}=="))
        .unwrap_or(HeaderValue::from_static("cG9ydGN1bGxpcy1nYXRlLi4="))
}

/// A client's stream once its request is answered.
#[derive(Debug)]
pub(crate) enum Upgrade {
    H1(oneshot::Receiver<Box<dyn Duplex>>),
    H2(OnUpgrade),
}

impl Upgrade {
    /// Waits for it. `None`: the answer never went out.
    async fn stream(self) -> Option<Box<dyn Duplex>> {
        match self {
            Self::H1(connection) => connection.await.ok(),
            Self::H2(stream) => Some(Box::new(TokioIo::new(stream.await.ok()?))),
        }
    }
}

/// Carries bytes between client and target until both have closed, or neither spoke for `idle`.
pub(crate) fn spawn(
    core: &Rc<Core>,
    (connection, busy): (&Rc<ConnectionInfo>, Option<Busy>),
    client: Upgrade,
    (target, first): (Stream, Bytes),
    idle: Duration,
) {
    let entered = (Connections::enter(core), streams::Stream::tunnel(connection), busy);
    tokio::task::spawn_local(async move {
        if let Some(client) = client.stream().await {
            // A side that breaks off ends the other: there is nobody to tell.
            let _ = carry(client, target, first, idle).await;
        }
        drop(entered);
    });
}

async fn carry(mut client: Box<dyn Duplex>, target: Stream, first: Bytes, idle: Duration) -> io::Result<()> {
    let idle = idle.min(LONGEST);
    client.write_all(&first).await?;
    let last = Rc::new(Cell::new(Instant::now()));
    let mut client = Watched { inner: client, last: Rc::clone(&last) };
    let mut target = Watched { inner: target, last: Rc::clone(&last) };
    let copy = copy_bidirectional(&mut client, &mut target);
    tokio::pin!(copy);
    loop {
        let deadline = last.get() + idle;
        tokio::select! {
            biased;
            done = &mut copy => return done.map(|_| ()),
            () = sleep_until(deadline) => {
                if last.get() + idle <= Instant::now() {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
        }
    }
}

/// A stream that notes when something was last read from it.
struct Watched<S> {
    inner: S,
    last: Rc<Cell<Instant>>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        if read.is_ready() {
            self.last.set(Instant::now());
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
