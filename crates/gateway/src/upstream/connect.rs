use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::live::{Reach, Target};
use crate::error::Failure;

/// A connection to a target.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Connects to `target`: each of its addresses in turn, then TLS where the scheme asks for it. Each address gets its
/// share of `limit`, so that one that does not answer leaves time for the next.
pub(super) async fn connect(target: &Target, reach: &Reach, limit: Duration) -> Result<Stream, Failure> {
    let failed = |reason: String| Failure::Connect { target: target.label.to_string(), reason };
    let addresses = match target.address {
        Some(address) => [address].into_iter().collect(),
        None => reach.resolver.resolve(&target.host).await,
    };
    let mut last = Failure::Unresolved { target: target.label.to_string() };
    let share = limit / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    for address in addresses {
        match timeout(share, connect_tcp(address, target, reach)).await {
            Ok(Ok(stream)) => {
                return encrypt(stream, target).await.map_err(|error| failed(error.to_string()));
            }
            Ok(Err(reason)) => last = failed(reason),
            Err(_) => last = Failure::Timeout { target: target.label.to_string(), what: "connect" },
        }
    }
    Err(last)
}

async fn connect_tcp(address: IpAddr, target: &Target, reach: &Reach) -> Result<TcpStream, String> {
    let address = SocketAddr::new(address, target.port);
    if reach.is_forbidden(address) {
        return Err(format!("{address} is an administrative listener of this process"));
    }
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    Ok(stream)
}

async fn encrypt(stream: TcpStream, target: &Target) -> io::Result<Stream> {
    let Some(tls) = &target.tls else { return Ok(Stream::Plain(stream)) };
    let stream = TlsConnector::from(Arc::clone(&tls.config)).connect(tls.name.clone(), stream).await?;
    if target.scheme.is_h2() && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(io::Error::other("the target does not speak HTTP/2"));
    }
    Ok(Stream::Tls(Box::new(stream)))
}

impl Stream {
    /// Whether an idle connection is still quiet: neither closed by the target nor holding bytes nobody asked for,
    /// which would be the beginning of somebody else's answer. Makes a system call only when the reactor has seen
    /// something.
    pub(super) fn is_quiet(&mut self) -> bool {
        let tcp = match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => {
                let (tcp, session) = tls.get_mut();
                // What came with the last answer may be decrypted already.
                if !session.process_new_packets().is_ok_and(|state| state.plaintext_bytes_to_read() == 0) {
                    return false;
                }
                tcp
            }
        };
        let mut context = Context::from_waker(Waker::noop());
        match tcp.poll_read_ready(&mut context) {
            Poll::Pending => true,
            Poll::Ready(Err(_)) => false,
            // The flag may be left over from the last read, and TLS targets may send session tickets at any time: a
            // try tells, and resets it.
            Poll::Ready(Ok(())) => {
                let mut byte = [0];
                Pin::new(self).poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_pending()
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
