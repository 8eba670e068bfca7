//! Connections to what is measured.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context as Poller, Poll},
};

use anyhow::Context;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::plan::{Plan, Protocol};

/// Opens connections of one kind.
pub(crate) struct Connector {
    address: std::net::SocketAddr,
    tls: Option<TlsConnector>,
}

/// A connection, in the clear or not.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connector {
    /// For what `plan` says.
    pub(crate) fn of(plan: &Plan) -> anyhow::Result<Self> {
        let tls = match plan.protocol {
            Protocol::H1 => None,
            Protocol::H1tls => Some(tls(plan, b"http/1.1")?),
            Protocol::H2tls => Some(tls(plan, b"h2")?),
        };
        Ok(Self { address: plan.address, tls })
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> io::Result<Stream> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Stream::Plain(stream)) };
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        Ok(Stream::Tls(Box::new(tls.connect(name, stream).await?)))
    }
}

fn tls(plan: &Plan, protocol: &[u8]) -> anyhow::Result<TlsConnector> {
    let file = plan.trust.as_ref().context("TLS needs `trust`")?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).context("cannot read the certificate to trust")? {
        roots.add(certificate?)?;
    }
    let mut config = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        poller: &mut Poller<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(poller, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(poller, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, poller: &mut Poller<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(poller, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(poller, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(poller),
            Self::Tls(stream) => Pin::new(stream).poll_flush(poller),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(poller),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(poller),
        }
    }
}
