//! Exchanges with servers on loopback that answer byte for byte what a test says.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base::Clock;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use loopback::Reserved;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::PrivateKeyDer;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    runtime::Handle,
};
use tokio_rustls::TlsAcceptor;

use crate::{FetchError, Fetcher, Policy, Refusal, Request, Resolve, Resolving};

/// What a server does with a request.
#[derive(Clone)]
enum Answer {
    /// Sends this and waits for the next request.
    Whole(Vec<u8>),
    /// Sends this and closes.
    Last(Vec<u8>),
    /// Sends a head, then one byte now and again for ever.
    Drip,
    /// Never answers.
    Silent,
}

struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn plain(answer: Answer) -> Self {
        Self::start(answer, None).await
    }

    async fn start(answer: Answer, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let server = Self { address, connections: connections.clone(), requests: requests.clone() };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.fetch_add(1, Ordering::SeqCst);
                let (answer, requests, tls) = (answer.clone(), requests.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &answer, &requests).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &answer, &requests).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        server
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    answer: &Answer,
    requests: &Mutex<Vec<String>>,
) -> Option<()> {
    loop {
        let request = read_request(&mut stream).await?;
        requests.lock().unwrap().push(request);
        match answer {
            Answer::Whole(bytes) => stream.write_all(bytes).await.ok()?,
            Answer::Last(bytes) => {
                stream.write_all(bytes).await.ok()?;
                stream.shutdown().await.ok()?;
                return None;
            }
            Answer::Drip => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await.ok()?;
                loop {
                    stream.write_all(b"x").await.ok()?;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            Answer::Silent => std::future::pending().await,
        }
    }
}

async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn fetcher(policy: &Policy) -> Fetcher {
    Fetcher::new(policy, Handle::current(), Clock::system()).unwrap()
}

fn dev() -> Fetcher {
    fetcher(&Policy { allow_loopback: true, ..Policy::default() })
}

fn body(content: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{content}", content.len()).into_bytes()
}

/// Names that all live where the test says; counts how often it was asked.
struct Names {
    answers: Mutex<Vec<Vec<SocketAddr>>>,
    asked: Arc<AtomicUsize>,
}

impl Names {
    fn new(answers: &[&[SocketAddr]]) -> (Box<Self>, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let answers = answers.iter().rev().map(|answer| answer.to_vec()).collect();
        (Box::new(Self { answers: Mutex::new(answers), asked: asked.clone() }), asked)
    }
}

impl Resolve for Names {
    fn resolve(&self, _: &str, _: u16) -> Resolving {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = self.answers.lock().unwrap().pop();
        Box::pin(async move { answer.ok_or_else(|| io::ErrorKind::NotFound.into()) })
    }
}

#[tokio::test]
async fn an_answer_comes_whole_and_its_connection_is_used_again() {
    let server = Server::plain(Answer::Whole(body("hello"))).await;
    let fetcher = dev();
    for path in ["/a?b=c#d", "/e", "/e", "/e", "/e"] {
        let response = fetcher.send(Request::get(&server.url(path))).await.unwrap();
        assert_eq!((response.status, response.body), (StatusCode::OK, Bytes::from("hello")));
    }
    // One may be a moment late to be free again.
    assert!(server.connections() < 5, "{}", server.connections());
    let requests = server.requests();
    assert!(requests[0].starts_with("GET /a?b=c HTTP/1.1\r\n"), "{}", requests[0]);
    assert!(requests[0].contains(&format!("host: {}\r\n", server.address)));
    assert!(requests[1].starts_with("GET /e HTTP/1.1\r\n"));
}

#[tokio::test]
async fn the_message_and_its_encoding_are_the_fetchers_own_to_frame() {
    let server = Server::plain(Answer::Whole(body(""))).await;
    let mut request = Request::post(&server.url("/"), Bytes::from("a=b"));
    for (name, value) in [
        (header::ACCEPT_ENCODING, "gzip"),
        // Longer than a port, which the host line holds.
        (header::CONTENT_LENGTH, "987654"),
        (header::HOST, "evil"),
        (header::CONNECTION, "upgrade"),
    ] {
        request.headers.insert(name, HeaderValue::from_static(value));
    }
    dev().send(request).await.unwrap();
    let sent = &server.requests()[0];
    assert!(sent.ends_with("\r\n\r\na=b") && sent.contains("content-length: 3\r\n"), "{sent}");
    for gone in ["gzip", "987654", "evil", "upgrade"] {
        assert!(!sent.contains(gone), "{sent}");
    }
}

#[tokio::test]
async fn a_connection_that_died_while_idle_is_replaced() {
    let server = Server::plain(Answer::Last(body("x"))).await;
    let fetcher = dev();
    for _ in 0..3 {
        fetcher.send(Request::post(&server.url("/"), Bytes::from("a"))).await.unwrap();
    }
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn r34_a_redirect_is_an_answer_and_nothing_is_followed() {
    let inside = Server::plain(Answer::Whole(body("secret"))).await;
    let redirect =
        format!("HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", inside.url("/"));
    let server = Server::plain(Answer::Whole(redirect.into_bytes())).await;
    let response = dev().send(Request::get(&server.url("/"))).await.unwrap();
    assert_eq!(response.status, StatusCode::FOUND);
    assert_eq!(inside.connections(), 0);
}

#[tokio::test]
async fn r34_loopback_is_refused_without_a_connection() {
    let server = Server::plain(Answer::Whole(body(""))).await;
    let port = server.address.port();
    let fetcher = fetcher(&Policy::default());
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "0x7f000001",
        "0177.1",
        "127.1",
    ] {
        for scheme in ["http", "https"] {
            let error = fetcher.send(Request::get(&format!("{scheme}://{host}:{port}/"))).await.unwrap_err();
            assert!(matches!(error, FetchError::Refused(Refusal::Address(_))), "{host}: {error}");
        }
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn r34_a_name_is_resolved_once_and_the_checked_address_is_used() {
    let server = Server::plain(Answer::Whole(body("x"))).await;
    let policy = Policy { allowed_networks: vec!["127.0.0.1/32".parse().unwrap()], ..Policy::default() };
    let elsewhere = "127.0.0.9:1".parse().unwrap();
    let (names, asked) = Names::new(&[&[server.address], &[elsewhere]]);
    let fetcher = Fetcher::with_resolver(&policy, Handle::current(), Clock::system(), names).unwrap();
    let url = format!("http://rebind.example:{}/", server.address.port());
    assert!(fetcher.send(Request::get(&url)).await.is_ok());
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert!(server.requests()[0].contains(&format!("host: rebind.example:{}\r\n", server.address.port())));
}

#[tokio::test]
async fn r34_a_name_with_one_inside_address_is_refused_without_a_connection() {
    let server = Server::plain(Answer::Whole(body("x"))).await;
    let public = SocketAddr::new("93.184.216.34".parse().unwrap(), server.address.port());
    let (names, _) = Names::new(&[&[public, server.address]]);
    let fetcher =
        Fetcher::with_resolver(&Policy::default(), Handle::current(), Clock::system(), names).unwrap();
    let error = fetcher.send(Request::get("https://op.example/")).await.unwrap_err();
    assert_eq!(error, FetchError::Refused(Refusal::Address("op.example".to_owned())));
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn an_allowed_origin_is_fetched_wherever_it_is() {
    let server = Server::plain(Answer::Whole(body("x"))).await;
    let policy = Policy { allowed_origins: vec![server.url("")], ..Policy::default() };
    assert!(fetcher(&policy).send(Request::get(&server.url("/x"))).await.is_ok());
}

#[tokio::test]
async fn r35_an_answer_over_its_limit_is_refused_announced_or_not() {
    let announced = b"HTTP/1.1 200 OK\r\ncontent-length: 10485760\r\n\r\n".to_vec();
    let mut unannounced = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    unannounced.resize(2048, b'x');
    for answer in [Answer::Whole(announced), Answer::Last(unannounced)] {
        let server = Server::plain(answer).await;
        let request = Request { max_body: 1024, ..Request::get(&server.url("/")) };
        assert_eq!(dev().send(request).await.unwrap_err(), FetchError::TooLarge(1024));
    }
}

#[tokio::test]
async fn r35_a_compressed_answer_is_refused() {
    let gzip = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc".to_vec();
    let server = Server::plain(Answer::Whole(gzip)).await;
    let error = dev().send(Request::get(&server.url("/"))).await.unwrap_err();
    assert_eq!(error, FetchError::Protocol("it is compressed"));
}

#[tokio::test]
async fn r35_the_deadline_covers_silence_and_dripping() {
    for answer in [Answer::Drip, Answer::Silent] {
        let server = Server::plain(answer).await;
        let limit = Duration::from_millis(150);
        let request = Request { timeout: limit, ..Request::get(&server.url("/")) };
        assert_eq!(dev().send(request).await.unwrap_err(), FetchError::Timeout(limit));
    }
}

#[tokio::test]
async fn junk_and_broken_answers_are_protocol_errors() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(200));
    let long = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "x".repeat(1_000_000));
    for junk in [
        "",
        "hello\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        &many,
        &long,
    ] {
        let server = Server::plain(Answer::Last(junk.as_bytes().to_vec())).await;
        let outcome = dev().send(Request::get(&server.url("/"))).await;
        assert!(matches!(outcome, Err(FetchError::Protocol(_))), "{outcome:?} for {junk:.60}");
    }
}

#[tokio::test]
async fn nobody_listening_is_a_connect_error() {
    let nobody = Reserved::any().unwrap();
    let url = format!("http://{}/", nobody.address());
    let error = dev().send(Request::get(&url)).await.unwrap_err();
    assert!(matches!(error, FetchError::Connect { kind: io::ErrorKind::ConnectionRefused, .. }), "{error}");
    let (names, _) = Names::new(&[]);
    let fetcher =
        Fetcher::with_resolver(&Policy::default(), Handle::current(), Clock::system(), names).unwrap();
    let error = fetcher.send(Request::get("https://nowhere.example/")).await.unwrap_err();
    assert!(matches!(error, FetchError::Connect { .. }), "{error}");
}

#[tokio::test]
async fn another_single_threaded_runtime_can_wait_for_a_fetch() {
    let server = Server::plain(Answer::Whole(body("x"))).await;
    let (fetcher, url) = (dev(), server.url("/"));
    let elsewhere = std::thread::spawn(move || {
        // Neither I/O nor timers here: all of that is the fetcher's runtime's.
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(fetcher.send(Request::get(&url)))
    });
    let response = tokio::task::spawn_blocking(move || elsewhere.join().unwrap()).await.unwrap();
    assert_eq!(response.unwrap().body, "x");
}

#[test]
fn s01_debug_output_holds_no_query_header_or_body() {
    let mut request = Request::post("https://op/token?code=canary#canary", Bytes::from("canary"));
    request.headers.insert(header::AUTHORIZATION, HeaderValue::from_static("canary"));
    assert_eq!(format!("{request:?}"), "Request(POST https://op/token)");
}

/// A CA and a server certificate by it for `name`, valid from `from` to `to` (years).
fn certified(name: &str, from: i32, to: i32) -> (String, TlsAcceptor) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(to, 1, 1);
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &ca).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    (ca.pem(), TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn r36_a_providers_certificate_is_verified_unless_the_request_says_not_to() {
    let (ca, good) = certified("localhost", 2020, 4000);
    let (expired_ca, expired) = certified("localhost", 2019, 2020);
    let (other_ca, other_name) = certified("op.example", 2020, 4000);
    let (_, unknown) = certified("localhost", 2020, 4000);
    for (tls, ca, admitted) in [
        (good, ca.clone(), true),
        (expired, expired_ca, false),
        (other_name, other_ca, false),
        (unknown, ca, false),
    ] {
        let server = Server::start(Answer::Whole(body("x")), Some(tls)).await;
        let policy = Policy { allow_loopback: true, roots: Some(ca.into_bytes()), ..Policy::default() };
        let fetcher = fetcher(&policy);
        let request = Request::get(&format!("https://localhost:{}/", server.address.port()));
        match fetcher.send(request.clone()).await {
            Ok(_) => assert!(admitted),
            Err(error) => assert!(!admitted && matches!(error, FetchError::Tls { .. }), "{error}"),
        }
        assert!(fetcher.send(Request { verify_tls: false, ..request.clone() }).await.is_ok());
        // The unverified connection that now waits in the pool is not taken for a verified one.
        assert_eq!(fetcher.send(request).await.is_ok(), admitted);
    }
}

#[tokio::test]
async fn extra_roots_that_cannot_be_read_are_refused() {
    for bad in
        ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----\n!"]
    {
        let policy = Policy { roots: Some(bad.as_bytes().to_vec()), ..Policy::default() };
        assert!(Fetcher::new(&policy, Handle::current(), Clock::system()).is_err(), "{bad}");
    }
}
