//! Servers beside the gateway: Admin API, metrics, identity provider, echo. They share limits, TLS and draining; what
//! they answer is an axum router.

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener as StdListener},
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use anyhow::Context;
use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, DefaultBodyLimit, Request},
    http::{
        HeaderMap, HeaderValue, StatusCode, Version,
        header::{CONNECTION, EXPECT, HOST},
        uri::Authority,
    },
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use hyper::{
    body::{Body as HttpBody, Frame, Incoming, SizeHint},
    server::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use idp_web::PeerCertificate;
use rustls::ServerConfig;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tower::ServiceExt;

use crate::tls::Authorities;

/// Handshake and protocol detection have so long.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A request's head, and the pause between two requests of a connection.
const HEAD: Duration = Duration::from_secs(30);
/// A request's body and the work on it, up to the head of the answer.
const REQUEST: Duration = Duration::from_secs(90);
/// A client that has connected when a drain begins gets so long for its request.
const LAST_WORD: Duration = Duration::from_millis(500);
/// Connections of one server at a time; more wait to be accepted.
const CONNECTIONS: u32 = 1024;
/// Connections that wait to be accepted. The standard library's 128 are fewer than one burst of clients brings, and the
/// kernel resets or forgets what comes above them.
const BACKLOG: i32 = 4096;
/// Bytes of a request's head.
const HEAD_BYTES: u32 = 64 << 10;
/// HTTP/2 streams of one connection.
const STREAMS: u32 = 64;
/// Bytes of a request's body; routers may ask for less.
const BODY_BYTES: usize = 2 << 20;
/// What is left of a body that nobody has read has so long to arrive.
const REST: Duration = Duration::from_secs(1);

/// A server that is bound and not yet running.
pub(crate) struct Server {
    listener: StdListener,
    transport: Transport,
    router: Router,
    /// Judges client certificates for the router; `None`: it is told of none.
    authorities: Option<Arc<Authorities>>,
}

/// What a server speaks below HTTP.
#[derive(Clone)]
pub(crate) enum Transport {
    /// HTTP/1.1.
    Plain,
    /// TLS with HTTP/1.1 or HTTP/2 by ALPN.
    Tls(Arc<ServerConfig>),
    /// Both, told apart by the first bytes; HTTP/2 also without TLS by prior knowledge.
    Any(Arc<ServerConfig>),
}

impl Server {
    /// Takes `address`. The error says which server wanted it.
    pub(crate) fn bind(
        name: &str,
        address: SocketAddr,
        transport: Transport,
        router: Router,
    ) -> anyhow::Result<Self> {
        let failed =
            || format!("cannot listen on {address} ({name}); stop what uses the port, or choose another one");
        let listener = listen(address).with_context(failed)?;
        let router = router.layer(DefaultBodyLimit::max(BODY_BYTES));
        Ok(Self { listener, transport, router, authorities: None })
    }

    /// Tells the router which certificate a client has shown, and whether one of `authorities` vouches for it.
    pub(crate) fn telling_certificates(self, authorities: Arc<Authorities>) -> Self {
        Self { authorities: Some(authorities), ..self }
    }

    /// Serves until `stop` turns true, then until the requests in flight are done.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
        let Self { listener, transport, router, authorities } = self;
        let connection = |peer, stop: &watch::Receiver<bool>| Connection {
            peer,
            router: router.clone(),
            authorities: authorities.clone(),
            certificate: None,
            stop: stop.clone(),
        };
        let listener = TcpListener::from_std(listener)?;
        let places = Arc::new(Semaphore::new(CONNECTIONS as usize));
        loop {
            let place = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                place = Arc::clone(&places).acquire_owned() => place?,
            };
            let accepted = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                accepted = listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Most likely out of file descriptors: waiting lets others close theirs.
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            connection(peer, &stop).begin(stream, transport.clone(), place);
        }
        // What the system has accepted already would be reset with the listener. These connections are told to end a
        // moment later, so that a request on its way is answered.
        let listener = listener.into_std()?;
        let _ = SockRef::from(&listener).listen(0);
        let (stop_late, stop) = watch::channel(false);
        let mut late = false;
        while let (Ok(place), Ok((stream, peer))) =
            (Arc::clone(&places).try_acquire_owned(), listener.accept())
        {
            stream.set_nonblocking(true)?;
            connection(peer, &stop).begin(TcpStream::from_std(stream)?, transport.clone(), place);
            late = true;
        }
        drop(listener);
        if late {
            sleep(LAST_WORD).await;
        }
        let _ = stop_late.send(true);
        // Every connection holds a place until it has ended.
        let _all = places.acquire_many(CONNECTIONS).await?;
        Ok(())
    }
}

fn listen(address: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// What to say when `name` cannot have its address.
pub(crate) fn cannot_listen(name: &str, address: SocketAddr) -> String {
    format!("cannot listen on {address} ({name}); stop what uses the port, or choose another one")
}

struct Connection {
    peer: SocketAddr,
    router: Router,
    authorities: Option<Arc<Authorities>>,
    /// What the client has shown in its handshake.
    certificate: Option<PeerCertificate>,
    stop: watch::Receiver<bool>,
}

impl Connection {
    /// Serves it on its own until it ends, and gives its place back.
    fn begin(self, stream: TcpStream, transport: Transport, place: OwnedSemaphorePermit) {
        tokio::spawn(async move {
            let (_place, peer) = (place, self.peer);
            if let Err(error) = self.serve(stream, transport).await {
                tracing::debug!(%peer, %error, "connection ended");
            }
        });
    }

    async fn serve(mut self, stream: TcpStream, transport: Transport) -> anyhow::Result<()> {
        stream.set_nodelay(true)?;
        let begun = tokio::select! {
            _ = self.stop.wait_for(|stop| *stop) => return Ok(()),
            begun = timeout(HANDSHAKE, begin(stream, transport)) => begun.context("the handshake took too long")??,
        };
        match begun {
            Begun::Plain { stream, h2 } => self.exchange(stream, h2).await,
            Begun::Tls(stream) => {
                let shown = stream.get_ref().1.peer_certificates();
                self.certificate =
                    self.authorities.as_ref().and_then(|authorities| authorities.judge(shown?));
                let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                self.exchange(*stream, h2).await
            }
        }
    }

    async fn exchange(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        h2: bool,
    ) -> anyhow::Result<()> {
        let Self { peer, router, certificate, mut stop, .. } = self;
        let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            if let Some(certificate) = &certificate {
                request.extensions_mut().insert(certificate.clone());
            }
            let well_formed = names_one_host(request.version(), request.headers());
            // Who waits to be told to send a body has not sent it, and will not when it is told of a refusal.
            let waits = request.headers().contains_key(EXPECT);
            let left = Left::default();
            let answer = well_formed.then(|| {
                let request = match h2 {
                    true => request.map(Body::new),
                    false => request.map(|body| Body::new(Lent { body: Some(body), left: left.clone() })),
                };
                answer(router.clone(), request, REQUEST)
            });
            async move {
                match answer {
                    Some(answer) => Ok::<_, Infallible>(left.settle(answer.await?, waits).await),
                    None if h2 => Ok(StatusCode::BAD_REQUEST.into_response()),
                    // What follows may be framed as badly.
                    None => Ok((StatusCode::BAD_REQUEST, [(CONNECTION, "close")]).into_response()),
                }
            }
        });
        let io = TokioIo::new(stream);
        if h2 {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.timer(TokioTimer::new()).keep_alive_interval(HEAD).keep_alive_timeout(HANDSHAKE);
            builder.max_concurrent_streams(STREAMS).max_header_list_size(HEAD_BYTES);
            let mut connection = pin!(builder.serve_connection(io, service));
            tokio::select! {
                biased;
                ended = connection.as_mut() => return Ok(ended?),
                _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
            }
            connection.await?;
        } else {
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(HEAD_BYTES as usize);
            let mut connection = pin!(builder.serve_connection(io, service).with_upgrades());
            tokio::select! {
                biased;
                ended = connection.as_mut() => return Ok(ended?),
                _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
            }
            connection.await?;
        }
        Ok(())
    }
}

/// What nobody has read of a request's body.
#[derive(Clone, Default)]
struct Left(Arc<Mutex<Option<Incoming>>>);

impl Left {
    /// Reads what is left of the body, so that the next request is found behind it. Where it is much or does not come, the
    /// connection ends with this answer, and the client is told so: what it sends later would go nowhere (RFC 9112
    /// section 9.6).
    async fn settle(self, mut response: Response, waits: bool) -> Response {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut body) = left else { return response };
        let mut room = BODY_BYTES;
        let rest = async {
            while let Some(frame) = body.frame().await {
                let length = frame.map_or(usize::MAX, |frame| frame.data_ref().map_or(0, Bytes::len));
                match room.checked_sub(length) {
                    Some(less) => room = less,
                    None => return false,
                }
            }
            true
        };
        if waits || !timeout(REST, rest).await.unwrap_or(false) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// A body that goes back to its [`Left`] when somebody drops it before its end.
struct Lent {
    body: Option<Incoming>,
    left: Left,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            *self.left.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}

/// Whether a request names no more than one host, a valid one, and in HTTP/1.1 no less (RFC 9112 section 3.2).
fn names_one_host(version: Version, headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(HOST).iter();
    match (lines.next(), lines.next()) {
        (None, _) => version != Version::HTTP_11,
        (Some(host), None) => {
            let host = host.as_bytes();
            host.is_empty() || (!host.contains(&b'@') && Authority::try_from(host).is_ok())
        }
        (Some(_), Some(_)) => false,
    }
}

/// What `router` answers. Whoever sends a body too slowly, and a request that meets a bug, get an answer all the same.
async fn answer(router: Router, request: Request, limit: Duration) -> Result<Response, Infallible> {
    let work = AssertUnwindSafe(timeout(limit, router.oneshot(request)));
    Ok(match work.catch_unwind().await {
        Ok(Ok(Ok(response))) => response,
        Ok(Ok(Err(never))) => match never {},
        Ok(Err(_)) => (StatusCode::REQUEST_TIMEOUT, [(CONNECTION, "close")]).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    })
}

/// A connection whose protocol is known.
enum Begun {
    Plain { stream: TcpStream, h2: bool },
    Tls(Box<TlsStream<TcpStream>>),
}

async fn begin(stream: TcpStream, transport: Transport) -> io::Result<Begun> {
    let handshake =
        async |stream, config| TlsAcceptor::from(config).accept(stream).await.map(Box::new).map(Begun::Tls);
    match transport {
        Transport::Plain => Ok(Begun::Plain { stream, h2: false }),
        Transport::Tls(config) => handshake(stream, config).await,
        Transport::Any(config) => match first_bytes(&stream).await? {
            // A TLS record of type handshake (RFC 8446 5.1).
            [0x16, ..] => handshake(stream, config).await,
            first => Ok(Begun::Plain { stream, h2: first == *b"PRI" }),
        },
    }
}

/// The first three bytes, left in the socket: enough to tell a ClientHello and an HTTP/2 preface from HTTP/1.
async fn first_bytes(stream: &TcpStream) -> io::Result<[u8; 3]> {
    let mut first = [0; 3];
    loop {
        match stream.peek(&mut first).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            3 => return Ok(first),
            // Peeking does not wait for more than is there.
            _ => sleep(Duration::from_millis(2)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn a_burst_of_connections_waits_to_be_accepted() {
        const BURST: usize = 300;
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let connect = |_| std::net::TcpStream::connect_timeout(&address, HANDSHAKE).unwrap();
        let _waiting: Vec<_> = (0..BURST).map(connect).collect();
        // Clients are told that they are connected before they have a place: the kernel's own count says who has.
        let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let own = format!(":{:04X} 00000000:0000 0A ", address.port());
        let line = sockets.lines().find(|line| line.contains(&own)).unwrap();
        let queues = line.split_whitespace().nth(4).unwrap();
        let waiting = usize::from_str_radix(queues.split_once(':').unwrap().1, 16).unwrap();
        assert_eq!(waiting, BURST);
    }

    #[tokio::test]
    async fn t09_a_request_that_does_not_name_one_host_is_a_400_and_a_close() {
        for (version, hosts, status) in [
            ("1.1", "", 400),
            ("1.1", "host: a\r\nhost: a\r\n", 400),
            ("1.0", "host: a\r\nhost: b\r\n", 400),
            ("1.1", "host: a@b\r\n", 400),
            ("1.1", "host: a b\r\n", 400),
            ("1.1", "host: a, b\r\n", 400),
            ("1.1", "host: a/b\r\n", 400),
            ("1.1", "host: [::1]:9180\r\n", 200),
            ("1.1", "host: a_b.example:80\r\n", 200),
            ("1.0", "", 200),
        ] {
            let (mut client, server) = tokio::io::duplex(4096);
            let (_running, stop) = watch::channel(false);
            let connection = Connection {
                peer: ([127, 0, 0, 1], 1).into(),
                router: Router::new().route("/", get(async || "ok")),
                authorities: None,
                certificate: None,
                stop,
            };
            tokio::spawn(connection.exchange(server, false));
            let kept = if version == "1.0" { "connection: keep-alive\r\n" } else { "" };
            let next = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
            let both = format!("GET / HTTP/{version}\r\n{hosts}{kept}\r\n{next}");
            client.write_all(both.as_bytes()).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with(&format!("HTTP/{version} {status} ")), "{hosts:?}: {answer}");
            let answers = if status == 200 { 2 } else { 1 };
            assert_eq!(
                answer.matches(" 200 OK").count() + answer.matches(" 400 Bad").count(),
                answers,
                "{answer}"
            );
            assert!(answer.contains("connection: close"), "{hosts:?}: {answer}");
        }
    }

    /// What a client reads that sends `text` and then nothing more.
    async fn answers_to(text: &str) -> String {
        let refuse = async || StatusCode::FORBIDDEN;
        let read = async |body: axum::body::Bytes| body.len().to_string();
        let router = Router::new()
            .route("/", get(async || "ok"))
            .route("/refuse", axum::routing::post(refuse))
            .route("/read", axum::routing::post(read))
            .layer(DefaultBodyLimit::max(100));
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let (_running, stop) = watch::channel(false);
        let (peer, authorities, certificate) = (([127, 0, 0, 1], 1).into(), None, None);
        let connection = Connection { peer, router, authorities, certificate, stop };
        tokio::spawn(connection.exchange(server, false));
        client.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn what_nobody_read_of_a_body_is_no_request() {
        let next = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let body = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
        for framed in [
            format!("content-length: {}\r\n\r\n{body}", body.len()),
            format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
            format!("content-length: 50000\r\n\r\n{}", "x".repeat(50_000)),
        ] {
            for (path, status) in [("/refuse", "403"), ("/nothing", "404"), ("/read", "")] {
                let both = format!("POST {path} HTTP/1.1\r\nhost: a\r\n{framed}{next}");
                let answer = answers_to(&both).await;
                assert!(answer.contains(status), "{path}: {answer}");
                assert_eq!(answer.matches("HTTP/1.1 ").count(), 2, "{path}: {answer}");
                assert!(answer.ends_with("\r\n\r\nok"), "{path}: {answer}");
            }
        }
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_after_a_refusal_ends_the_connection() {
        let refused = async |head: &str| {
            answers_to(&format!("POST /refuse HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n")).await
        };
        let answers = tokio::join!(
            refused("content-length: 10"),
            refused("content-length: 10000000"),
            refused("transfer-encoding: chunked"),
            refused("expect: 100-continue\r\ncontent-length: 10"),
        );
        for answer in [answers.0, answers.1, answers.2, answers.3] {
            assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("connection: close"), "{answer}");
        }
        let large =
            format!("POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 9999999\r\n\r\n{}", "x".repeat(200));
        let answer = answers_to(&large).await;
        assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("connection: close"), "{answer}");
        // Who was told to go on is heard out.
        let asked = "POST /read HTTP/1.1\r\nhost: a\r\nconnection: close\r\nexpect: 100-continue\r\n\
                     content-length: 2\r\n\r\nok";
        let answer = answers_to(asked).await;
        assert!(answer.contains(" 100 Continue") && answer.ends_with("\r\n\r\n2"), "{answer}");
    }

    #[tokio::test]
    async fn s05_a_panic_is_a_bare_500() {
        let router = Router::new().route("/", get(async || -> StatusCode { panic!("canary") }));
        let response = answer(router, Request::default(), REQUEST).await.unwrap();
        assert_eq!(response.status(), 500);
        assert!(axum::body::to_bytes(response.into_body(), 1024).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a20_a_body_that_never_ends_is_given_up() {
        let router =
            Router::new().route("/", axum::routing::post(async |_: axum::body::Bytes| StatusCode::OK));
        let endless =
            Body::from_stream(futures_util::stream::pending::<Result<axum::body::Bytes, Infallible>>());
        let request = axum::http::Request::post("/").body(endless).unwrap();
        assert_eq!(answer(router, request, Duration::from_millis(5)).await.unwrap().status(), 408);
    }
}
