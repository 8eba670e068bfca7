//! From an accepted socket to requests: PROXY header, TLS, and the choice between HTTP/1.1 and HTTP/2.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use bytes::BytesMut;
use futures_util::FutureExt;
use http::{HeaderValue, Request};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::server::Acceptor;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::LazyConfigAcceptor;

use crate::{
    client_h1,
    client_policy::ClientPolicy,
    client_stream::{ClientStream, Signs},
    core::{Connections, Core, Entered},
    engine::ListenerSpec,
    host::LastHost,
    hygiene,
    local::LocalExecutor,
    metrics::Occupation,
    plugin::{ClientCertificate, Peer},
    proxy::{self, Arrived},
    proxy_protocol,
    streams::{Stream, Streams},
    upstream::deadline,
};

/// What every HTTP/2 connection by prior knowledge begins with (RFC 9113 section 3.4).
const H2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Pause after the system refused to hand over a connection (no descriptors left): the backlog keeps them.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A client that has connected when a drain begins gets so long for the first bytes of its request.
const LAST_WORD: Duration = Duration::from_millis(500);

/// What is known of a client's connection, with the header values made of it.
#[derive(Debug)]
pub(crate) struct ConnectionInfo {
    pub(crate) peer: Peer,
    pub(crate) ip: HeaderValue,
    pub(crate) port: HeaderValue,
    pub(crate) last_host: LastHost,
    /// What upstreams are told of it: see [`hygiene::own_lines`].
    pub(crate) forwarded: Box<[u8]>,
    /// What goes on on it, where it is HTTP/2.
    pub(crate) streams: Streams,
    pub(crate) occupation: Occupation,
    pub(crate) signs: Arc<Signs>,
    /// The client certificates that the server name of the connection asked for.
    pub(crate) client_policy: Option<Arc<ClientPolicy>>,
}

/// Accepts connections until the core drains.
pub(crate) async fn accept(core: Rc<Core>, listener: Rc<TcpListener>, spec: Arc<ListenerSpec>) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => begin(&core, stream, address, &spec),
            Err(error) if is_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Closes the listener that nobody accepts from any more, after the connections that the system has made for it: closing
/// it first would reset them, and the requests that are on their way with them.
pub(crate) fn close(core: &Rc<Core>, listener: Rc<TcpListener>, spec: &Arc<ListenerSpec>) {
    let Some(Ok(listener)) = Rc::into_inner(listener).map(TcpListener::into_std) else { return };
    // New ones are not answered from here on, which their clients take for loss until the port is closed.
    let _ = SockRef::from(&listener).listen(0);
    loop {
        let accepted = listener.accept().and_then(|(stream, address)| {
            stream.set_nonblocking(true)?;
            Ok((TcpStream::from_std(stream)?, address))
        });
        match accepted {
            Ok((stream, address)) => begin(core, stream, address, spec),
            Err(error) if is_one_connection(&error) => {}
            // None is left, or the system refuses to hand one over.
            Err(_) => return,
        }
    }
}

fn begin(core: &Rc<Core>, stream: TcpStream, address: SocketAddr, spec: &Arc<ListenerSpec>) {
    let counted = Counted { entered: Connections::enter(core), occupation: Occupation::new(&core.metrics) };
    let spec = Arc::clone(spec);
    tokio::task::spawn_local(connection(Rc::clone(core), stream, address, spec, counted));
}

/// Where a connection counts from the moment that it is accepted: among those that a drain waits for, and in the metrics.
struct Counted {
    entered: Entered,
    occupation: Occupation,
}

/// Whether accepting failed for one connection alone, which is gone already.
fn is_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

async fn connection(
    core: Rc<Core>,
    mut stream: TcpStream,
    address: SocketAddr,
    spec: Arc<ListenerSpec>,
    Counted { entered, occupation }: Counted,
) {
    let Ok(local) = stream.local_addr() else { return };
    // Without it, an answer written in two parts waits for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let limits = core.settings.limits;
    let mut client = Some(address);
    let is_trusted = |address: SocketAddr| {
        core.settings.trusted_proxies.iter().any(|network| network.contains(&address.ip().to_canonical()))
    };
    occupation.set_reading(spec.proxy_protocol || spec.tls);
    if spec.proxy_protocol {
        // Only a trusted proxy may say who the client is; nobody else has business on such a listener.
        if !is_trusted(address) {
            return;
        }
        match timeout(limits.handshake, proxy_protocol::read(&mut stream)).await {
            Ok(Ok(source)) => client = source,
            Ok(Err(_)) | Err(_) => return,
        }
    }
    // A proxy that does not name its client does not vouch for what the client says of itself either.
    let trusted = client.is_some_and(is_trusted);
    let client = client.unwrap_or(address);
    let info = |tls| {
        occupation.set_reading(false);
        Rc::new(describe((client, local), trusted, tls, occupation))
    };
    if spec.tls {
        // Boxed, because connections in the clear would have room for it.
        Box::pin(secure(core, stream, info, &spec, &entered)).await;
    } else {
        plain(core, stream, info(None), &spec, &entered).await;
    }
}

/// HTTP over TLS. `info` makes what is known of the connection, with what TLS says of it.
async fn secure(
    core: Rc<Core>,
    stream: TcpStream,
    info: impl FnOnce(Option<Proof>) -> Rc<ConnectionInfo>,
    spec: &ListenerSpec,
    entered: &Entered,
) {
    let limits = core.settings.limits;
    let Ok(Some(secured)) = timeout(limits.handshake, handshake(&core, stream, spec)).await else {
        return;
    };
    let info = info(Some(secured.client));
    let (h2, mut stream) = (secured.h2, secured.stream);
    let mut first = BytesMut::new();
    if core.connections.is_draining() && !h2 {
        let _ = timeout(LAST_WORD, stream.read_buf(&mut first)).await;
    }
    let stream = ClientStream::new(first, stream, limits.header, Arc::clone(&info.signs));
    if h2 {
        serve_h2(core, stream, info, entered).await;
    } else {
        client_h1::serve(core, stream, info, entered).await;
    }
}

/// What TLS came to.
struct Secured {
    stream: tokio_rustls::server::TlsStream<TcpStream>,
    /// Whether HTTP/2 was agreed on.
    h2: bool,
    client: Proof,
}

/// What TLS says of the client.
#[derive(Default)]
pub(crate) struct Proof {
    certificate: Option<Arc<ClientCertificate>>,
    policy: Option<Arc<ClientPolicy>>,
    /// What it called the server.
    server_name: Option<Arc<str>>,
}

/// `tls` is there where the connection is TLS.
pub(crate) fn describe(
    (client, local): (SocketAddr, SocketAddr),
    trusted: bool,
    tls: Option<Proof>,
    occupation: Occupation,
) -> ConnectionInfo {
    let https = tls.is_some();
    let Proof { certificate, policy: client_policy, server_name } = tls.unwrap_or_default();
    let text = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("-"));
    let peer = Peer {
        ip: client.ip().to_canonical(),
        port: client.port(),
        local_ip: local.ip().to_canonical(),
        local_port: local.port(),
        https,
        trusted,
        server_name,
        certificate,
    };
    let (ip, port) = (text(peer.ip.to_string()), text(local.port().to_string()));
    ConnectionInfo {
        ip,
        port,
        last_host: LastHost::default(),
        forwarded: hygiene::forwarded_lines(&peer),
        peer,
        streams: Streams::new(),
        occupation,
        signs: Arc::default(),
        client_policy,
    }
}

/// TLS by the configuration of the name asked for.
async fn handshake(core: &Core, stream: TcpStream, spec: &ListenerSpec) -> Option<Secured> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await.ok()?;
    let hello = start.client_hello();
    let snapshot = core.snapshot();
    let accepted = core.settings.tls.accept(
        &snapshot.certificates,
        hello.server_name(),
        spec.client_certificates,
        spec.http2,
    );
    drop(snapshot);
    let accepted = accepted?;
    let server_name = start.client_hello().server_name().map(|name| Arc::from(name.to_ascii_lowercase()));
    let stream = start.into_stream(accepted.config).await.ok()?;
    let session = stream.get_ref().1;
    let h2 = session.alpn_protocol() == Some(b"h2");
    let certificate = match accepted.verified_by {
        Some(policy) => policy.certificate(session, core.settings.clock.now()).ok()?,
        None => None,
    };
    Some(Secured { stream, h2, client: Proof { certificate, policy: accepted.of_name, server_name } })
}

/// HTTP in the clear: HTTP/2 when the first bytes are its preface, HTTP/1.1 otherwise.
async fn plain(
    core: Rc<Core>,
    mut stream: TcpStream,
    info: Rc<ConnectionInfo>,
    spec: &ListenerSpec,
    entered: &Entered,
) {
    let mut first = BytesMut::with_capacity(2048);
    let Some(h2) = begins_h2(&core, &mut stream, &mut first, entered).await else { return };
    let stream = ClientStream::new(first, stream, core.settings.limits.header, Arc::clone(&info.signs));
    if h2 && spec.http2 {
        // Boxed, because connections of HTTP/1.1 would have room for it.
        Box::pin(serve_h2(core, stream, info, entered)).await;
    } else {
        client_h1::serve(core, stream, info, entered).await;
    }
}

/// Whether what a client says first, which is left in `first`, is the preface of HTTP/2. `None`: it says nothing.
async fn begins_h2(
    core: &Core,
    stream: &mut TcpStream,
    first: &mut BytesMut,
    entered: &Entered,
) -> Option<bool> {
    let mut reading = pin!(async {
        loop {
            if stream.read_buf(first).await.ok()? == 0 {
                return (!first.is_empty()).then_some(false);
            }
            let compared = first.len().min(H2_PREFACE.len());
            if first.get(..compared) != H2_PREFACE.get(..compared) {
                return Some(false);
            }
            if compared == H2_PREFACE.len() {
                return Some(true);
            }
        }
    });
    // A drain ends connections that have not said anything yet, but what they say may be on its way.
    let mut last_word = None;
    let decided = timeout(
        core.settings.limits.header,
        std::future::poll_fn(|cx| {
            entered.wake_on_drain(cx.waker());
            match reading.as_mut().poll(cx) {
                Poll::Pending if core.connections.is_draining() => {
                    let until = last_word.get_or_insert_with(|| Box::pin(sleep_until(deadline(LAST_WORD))));
                    until.as_mut().poll(cx).map(|()| None)
                }
                other => other,
            }
        }),
    );
    decided.await.ok().flatten()
}

async fn serve_h2<S>(core: Rc<Core>, stream: S, info: Rc<ConnectionInfo>, entered: &Entered)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = core.settings.limits;
    let service = service_fn({
        let (core, info) = (Rc::clone(&core), Rc::clone(&info));
        move |request: Request<Incoming>| {
            let (core, stream, info) = (Rc::clone(&core), Stream::begin(&info), Rc::clone(&info));
            let arrived = Arrived::over_h2(request, info.peer.trusted);
            stream.answer(move || proxy::serve(core, info, arrived)).map(Ok::<_, Infallible>)
        }
    });
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .enable_connect_protocol()
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(64)
        .keep_alive_interval(Some(limits.header))
        .keep_alive_timeout(Duration::from_secs(20));
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut stillness = pin!(sleep_until(info.streams.still_at(limits.header)));
    let mut told = false;
    std::future::poll_fn(|cx| {
        let mut tell = core.connections.is_draining();
        while stillness.as_mut().poll(cx).is_ready() {
            let until = info.streams.still_at(limits.header);
            let still = until <= Instant::now();
            if still && told {
                return Poll::Ready(());
            }
            tell |= still;
            stillness.as_mut().reset(if still { deadline(limits.header) } else { until });
        }
        if tell && !told {
            told = true;
            connection.as_mut().graceful_shutdown();
        }
        entered.wake_on_drain(cx.waker());
        info.streams.wake_by(cx.waker());
        let ended = connection.as_mut().poll(cx).is_ready();
        if info.signs.flushed.load(Ordering::Relaxed) {
            info.streams.all_written();
        }
        if ended || info.streams.is_flood() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
