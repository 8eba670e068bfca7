use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use base::Clock;
use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime::Handle,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use url::{Host, Position};

use crate::{
    FetchError, Policy, Refusal, Request, Resolve, Response, SetupError, SystemResolver,
    guard::{Guard, Target},
    pool::{Key, Pool, Sender},
    proxy::{Proxies, ProxyServer},
    tls::TlsConfigs,
};

/// Bytes that are buffered for the status line and headers of an answer; hyper reads on to about twice that.
const MAX_HEAD: usize = 64 * 1024;
/// Headers an answer may have.
const MAX_HEADERS: usize = 100;
/// The least that one of several addresses gets to accept a connection.
const MIN_CONNECT: Duration = Duration::from_millis(250);

/// Headers that say how a message is framed and what may come back. They are the connection's, never the caller's.
const OWN: [HeaderName; 7] = [
    header::ACCEPT_ENCODING,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The outbound client. Clones share connections, policy and runtime.
#[derive(Clone)]
pub struct Fetcher(Arc<Inner>);

struct Inner {
    guard: Guard,
    tls: TlsConfigs,
    pool: Pool,
    resolver: Box<dyn Resolve>,
    runtime: Handle,
    /// The operator's.
    proxies: Option<Arc<Proxies>>,
}

impl Fetcher {
    /// A client that works on `runtime`, which must drive I/O and timers.
    ///
    /// # Errors
    ///
    /// When the policy's certificates or origins cannot be read.
    pub fn new(policy: &Policy, runtime: Handle, clock: Clock) -> Result<Self, SetupError> {
        Self::with_resolver(policy, runtime, clock, Box::new(SystemResolver))
    }

    /// The same with another resolver.
    ///
    /// # Errors
    ///
    /// As [`Fetcher::new`].
    pub fn with_resolver(
        policy: &Policy,
        runtime: Handle,
        clock: Clock,
        resolver: Box<dyn Resolve>,
    ) -> Result<Self, SetupError> {
        Ok(Self(Arc::new(Inner {
            guard: Guard::new(policy)?,
            tls: TlsConfigs::new(policy.roots.as_deref())?,
            pool: Pool::new(clock),
            resolver,
            runtime,
            proxies: policy.proxies.clone().map(Arc::new),
        })))
    }

    /// Whether the guard would let `url` through as far as its text tells: its scheme, and its address where the host
    /// is a literal one. For checking a document of URLs before any of them is used.
    ///
    /// # Errors
    ///
    /// What the guard refuses.
    pub fn permits(&self, url: &str) -> Result<(), Refusal> {
        self.0.guard.target(url).map(|_| ())
    }

    /// Whether a proxy may be connected to, as far as its text tells: its address where its host is a literal one.
    ///
    /// # Errors
    ///
    /// What the guard refuses.
    pub fn permits_proxy(&self, proxy: &ProxyServer) -> Result<(), Refusal> {
        self.0.guard.proxy(&proxy.url(), false).map(|_| ())
    }

    /// Sends `request` and reads the whole answer. Once begun it goes on to its end or deadline even when the caller
    /// stops waiting, so that what was spent by it (a code, a refresh token) is not spent in vain half-way.
    ///
    /// # Errors
    ///
    /// See [`FetchError`]. Statuses are not errors.
    pub async fn send(&self, request: Request) -> Result<Response, FetchError> {
        let inner = self.0.clone();
        let exchange = async move {
            let limit = request.timeout;
            let deadline = Instant::now() + limit;
            timeout_at(deadline, inner.exchange(request, deadline))
                .await
                .unwrap_or(Err(FetchError::Timeout(limit)))
        };
        self.0.runtime.spawn(exchange).await.unwrap_or(Err(FetchError::Stopped))
    }
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fetcher")
    }
}

impl Inner {
    async fn exchange(&self, request: Request, deadline: Instant) -> Result<Response, FetchError> {
        let target = self.guard.target(&request.url).map_err(FetchError::Refused)?;
        let own = request.proxies.clone();
        let proxies = own.as_ref().or(self.proxies.as_ref());
        let via = proxies.and_then(|proxies| proxies.way_to(&target));
        let via = via.map(|server| Via { server, trusted: own.is_none() });
        let key = Key {
            host: target.host.clone(),
            port: target.port,
            tls: target.tls,
            verified: request.verify_tls,
            via: via.as_ref().map(|via| (via.server.url(), via.server.authorization())),
        };
        let keep_alive = request.keep_alive;
        let max_body = request.max_body;
        let mut message = message(&target, request, via.as_ref().map(|via| via.server))?;
        let (sender, response) = loop {
            let pooled = if keep_alive { self.pool.take(&key) } else { None };
            let reused = pooled.is_some();
            let mut sender = match pooled {
                Some(sender) => sender,
                None => self.connect(&target, via.as_ref(), key.verified, deadline).await?,
            };
            match sender.try_send_request(message).await {
                Ok(response) => break (sender, response),
                // A connection that died while it waited: hyper hands the request back when none of it was written.
                Err(mut error) => match error.take_message() {
                    Some(unsent) if reused => message = unsent,
                    _ => return Err(FetchError::Protocol("the connection ended before the answer")),
                },
            }
        };
        let response = read(response, max_body).await?;
        // Waiting until it can be used again would hold a complete answer back; the pool looks when it hands it out.
        if keep_alive && !sender.is_closed() {
            self.pool.put(key, sender);
        }
        Ok(response)
    }

    /// A new connection to an address that the guard has seen: the target's, or its proxy's.
    async fn connect(
        &self,
        target: &Target,
        via: Option<&Via<'_>>,
        verify: bool,
        deadline: Instant,
    ) -> Result<Sender, FetchError> {
        let Some(via) = via else {
            let addresses = self.addresses(target).await?;
            self.guard.check(target, &addresses).map_err(FetchError::Refused)?;
            let stream = dial(&addresses, deadline).await;
            let stream = stream.map_err(|error| failed(&target.host, error.kind()))?;
            return self.speak(stream, target, verify).await;
        };
        // A name this machine does not know is the proxy's to resolve; one it knows must be allowed all the same.
        let known = self.addresses(target).await;
        match known {
            Ok(addresses) => self.guard.check(target, &addresses),
            Err(_) => self.guard.check_unresolved(target),
        }
        .map_err(FetchError::Refused)?;
        let proxy = self.guard.proxy(&via.server.url(), via.trusted).map_err(FetchError::Refused)?;
        let addresses = self.addresses(&proxy).await?;
        self.guard.check_proxy(&proxy, &addresses).map_err(FetchError::Refused)?;
        let stream = dial(&addresses, deadline).await.map_err(|error| via.server.failed(error.kind()))?;
        let _ = stream.set_nodelay(true);
        if !proxy.tls {
            return self.go_through(stream, via, target, verify).await;
        }
        // What a route says of its provider's certificate is not said of the operator's own proxy.
        let stream = self.secure(stream, &proxy.host, verify || via.trusted).await?;
        self.go_through(stream, via, target, verify).await
    }

    /// HTTP with the target over a connection to a proxy.
    async fn go_through<S>(
        &self,
        stream: S,
        via: &Via<'_>,
        target: &Target,
        verify: bool,
    ) -> Result<Sender, FetchError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        if !target.tls {
            return handshake(stream).await;
        }
        let tunnel = via.server.tunnel(stream, target).await?;
        handshake(self.secure(tunnel, &target.host, verify).await?).await
    }

    async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, FetchError> {
        let unknown = || failed(&target.host, io::ErrorKind::HostUnreachable);
        let addresses = match (&target.host, target.address()) {
            (_, Some(address)) => vec![address],
            (Host::Domain(name), None) => {
                self.resolver.resolve(name, target.port).await.map_err(|_| unknown())?
            }
            (_, None) => Vec::new(),
        };
        if addresses.is_empty() { Err(unknown()) } else { Ok(addresses) }
    }

    async fn speak(&self, stream: TcpStream, target: &Target, verify: bool) -> Result<Sender, FetchError> {
        // Small requests, one write each: waiting for more to send only delays them.
        let _ = stream.set_nodelay(true);
        match target.tls {
            true => handshake(self.secure(stream, &target.host, verify).await?).await,
            false => handshake(stream).await,
        }
    }

    /// TLS with `host`.
    async fn secure<S>(
        &self,
        stream: S,
        host: &Host<String>,
        verify: bool,
    ) -> Result<TlsStream<S>, FetchError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = if verify { &self.tls.verified } else { &self.tls.unverified };
        let tls_failed = |reason: String| FetchError::Tls { host: host.to_string(), reason };
        let name = match host {
            Host::Domain(name) => {
                ServerName::try_from(name.clone()).map_err(|_| tls_failed("no valid name".into()))?
            }
            Host::Ipv4(ip) => ServerName::from(std::net::IpAddr::V4(*ip)),
            Host::Ipv6(ip) => ServerName::from(std::net::IpAddr::V6(*ip)),
        };
        let stream = TlsConnector::from(config.clone()).connect(name, stream).await;
        stream.map_err(|error| tls_failed(error.to_string()))
    }
}

/// The proxy on the way, and whether the operator of this machine named it.
struct Via<'a> {
    server: &'a ProxyServer,
    trusted: bool,
}

fn failed(host: &Host<String>, kind: io::ErrorKind) -> FetchError {
    FetchError::Connect { host: host.to_string(), kind }
}

/// Tries the addresses one after the other; each gets its share of the time that is left.
async fn dial(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::HostUnreachable);
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        match timeout(share.max(MIN_CONNECT), TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

/// Starts HTTP/1.1 on a stream. The connection's own task ends when its sender is dropped or the other side closes.
async fn handshake<S>(stream: S) -> Result<Sender, FetchError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| FetchError::Protocol("the connection ended before the request"))?;
    tokio::spawn(connection);
    Ok(sender)
}

/// The request as it goes over the wire: path and query alone in the request line, the host in its header; to a proxy
/// that is to pass it on in the clear, the whole URL.
fn message(
    target: &Target,
    request: Request,
    via: Option<&ProxyServer>,
) -> Result<http::Request<Full<Bytes>>, FetchError> {
    let via = via.filter(|_| !target.tls);
    let malformed = |_| FetchError::Refused(Refusal::Url);
    let mut message = http::Request::new(Full::new(request.body));
    *message.method_mut() = request.method;
    let start = if via.is_some() { Position::BeforeScheme } else { Position::BeforePath };
    *message.uri_mut() =
        target.url[start..Position::AfterQuery].parse().map_err(|_| FetchError::Refused(Refusal::Url))?;
    *message.headers_mut() = request.headers;
    let authority = &target.url[Position::BeforeHost..Position::AfterPort];
    let headers = message.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_str(authority).map_err(malformed)?);
    headers.insert(header::USER_AGENT, HeaderValue::from_static("portcullis"));
    for name in OWN {
        headers.remove(name);
    }
    headers.remove(header::PROXY_AUTHORIZATION);
    if let Some(authorization) = via.and_then(ProxyServer::authorization) {
        headers.insert(header::PROXY_AUTHORIZATION, authorization);
    }
    Ok(message)
}

/// Reads the answer up to `max_body` bytes.
async fn read(response: http::Response<Incoming>, max_body: usize) -> Result<Response, FetchError> {
    let (head, mut body) = response.into_parts();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(FetchError::Protocol("it changes the protocol"));
    }
    // Nothing compressed was asked for; decompressing would make a small answer as large as its sender likes.
    let plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !head.headers.get_all(header::CONTENT_ENCODING).iter().all(plain) {
        return Err(FetchError::Protocol("it is compressed"));
    }
    let announced = hyper::body::Body::size_hint(&body).lower();
    if usize::try_from(announced).map_or(true, |announced| announced > max_body) {
        return Err(FetchError::TooLarge(max_body));
    }
    let mut collected = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| FetchError::Protocol("it broke off"))?;
        // Trailers are not needed by anything here.
        let Ok(data) = frame.into_data() else { continue };
        if collected.len().saturating_add(data.len()) > max_body {
            return Err(FetchError::TooLarge(max_body));
        }
        collected.extend_from_slice(&data);
    }
    Ok(Response { status: head.status, headers: head.headers, body: collected.freeze() })
}
