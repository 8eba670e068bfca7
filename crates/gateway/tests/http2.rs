//! HTTP/2 on both sides: gRPC with its trailers, streams in both directions, and WebSockets over extended CONNECT.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on fails

mod support;

use std::{future::Future, io::Write, net::SocketAddr, time::Duration};

use bytes::Bytes;
use gateway::{
    engine::Limits,
    upstream::{Scheme, Timeouts},
};
use h2::{client, server};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use support::{Gate, OK, Target, read_head, read_until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                       sec-websocket-accept: x\r\n\r\n";

/// A gRPC-like target: echoes each message as it comes, then ends with trailers.
async fn echo_target() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut connection = server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    tokio::spawn(async move {
                        assert_eq!(request.headers().get("te").unwrap(), "trailers");
                        assert!(request.headers().get("x-userinfo").is_none());
                        let mut body = request.into_body();
                        let head =
                            Response::builder().header("content-type", "application/grpc").body(()).unwrap();
                        let mut out = respond.send_response(head, false).unwrap();
                        while let Some(data) = body.data().await {
                            let data = data.unwrap();
                            body.flow_control().release_capacity(data.len()).unwrap();
                            out.send_data(data, false).unwrap();
                        }
                        let mut trailers = HeaderMap::new();
                        trailers.insert("grpc-status", "0".parse().unwrap());
                        out.send_trailers(trailers).unwrap();
                    });
                }
            });
        }
    });
    address
}

async fn connect(gate: &Gate) -> client::SendRequest<Bytes> {
    let stream = TcpStream::connect(gate.address).await.unwrap();
    let (sender, connection) = client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender.ready().await.unwrap()
}

#[tokio::test]
async fn grpc_streams_both_ways_and_keeps_its_trailers() {
    let gate = Gate::start(Limits::default());
    gate.route_by(Scheme::Grpc, &[echo_target().await], Timeouts::default());
    let mut sender = connect(&gate).await;
    for _ in 0..3 {
        let request = Request::builder()
            .method(Method::POST)
            .uri("http://a.example/pkg.Service/Method")
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .header("x-userinfo", "evil")
            .body(())
            .unwrap();
        let (answer, mut out) = sender.send_request(request, false).unwrap();
        out.send_data(Bytes::from_static(b"one"), false).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let mut body = answer.into_body();
        // The first message comes back before the second is sent: nothing waits for an end.
        assert_eq!(body.data().await.unwrap().unwrap(), "one");
        out.send_data(Bytes::from_static(b"two"), true).unwrap();
        assert_eq!(body.data().await.unwrap().unwrap(), "two");
        assert!(body.data().await.is_none());
        assert_eq!(body.trailers().await.unwrap().unwrap().get("grpc-status").unwrap(), "0");
    }
}

#[tokio::test]
async fn a_websocket_over_http2_reaches_a_target_that_knows_only_http1() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let target = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                       sec-websocket-accept: x\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        let mut ping = [0; 4];
        stream.read_exact(&mut ping).await.unwrap();
        stream.write_all(b"pong").await.unwrap();
        String::from_utf8(head).unwrap()
    });
    let gate = Gate::start(Limits::default());
    gate.route_to(&[address], Timeouts { read: Duration::from_secs(10), ..Timeouts::default() });

    let (answer, mut out) = ask_for_websocket(&gate).await;
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(!answer.headers().contains_key("sec-websocket-accept"));
    out.send_data(Bytes::from_static(b"ping"), false).unwrap();
    assert_eq!(answer.into_body().data().await.unwrap().unwrap(), "pong");
    let head = target.await.unwrap();
    assert!(head.starts_with("GET /chat HTTP/1.1\r\n") && head.contains("sec-websocket-key: "), "{head}");
}

/// Sends an extended CONNECT (RFC 8441).
async fn ask_for_websocket(gate: &Gate) -> (client::ResponseFuture, h2::SendStream<Bytes>) {
    let mut sender = connect(gate).await;
    // The server's settings allow it only once they have arrived: an ordinary exchange brings them.
    let ordinary = Request::get("http://a.example/%zz").body(()).unwrap();
    let ordinary = sender.send_request(ordinary, true).unwrap().0.await.unwrap();
    assert_eq!(ordinary.status(), StatusCode::BAD_REQUEST);
    assert!(sender.is_extended_connect_protocol_enabled());
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri("http://a.example/chat")
        .header("sec-websocket-version", "13")
        .body(())
        .unwrap();
    request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    sender.send_request(request, false).unwrap()
}

#[tokio::test]
async fn h21_a_target_that_does_not_switch_opens_no_tunnel_over_http2() {
    let target = Target::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let gate = Gate::start(Limits::default());
    gate.route_to(&[target.address], Timeouts::default());
    assert_eq!(ask_for_websocket(&gate).await.0.await.unwrap().status(), StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn h06_cookie_crumbs_become_one_line() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let target = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        String::from_utf8(head).unwrap()
    });
    let gate = Gate::start(Limits::default());
    gate.route_to(&[address], Timeouts::default());
    let mut sender = connect(&gate).await;
    let request =
        Request::get("http://a.example/").header("cookie", "a=1").header("cookie", "b=2").body(()).unwrap();
    assert_eq!(sender.send_request(request, true).unwrap().0.await.unwrap().status(), StatusCode::OK);
    assert!(target.await.unwrap().contains("cookie: a=1; b=2\r\n"));
}

/// An HTTP/2 connection and the end of its task.
async fn watched(gate: &Gate, window: u32) -> (client::SendRequest<Bytes>, tokio::task::JoinHandle<()>) {
    let stream = TcpStream::connect(gate.address).await.unwrap();
    let (sender, connection) =
        client::Builder::new().initial_window_size(window).handshake(stream).await.unwrap();
    let ended = tokio::spawn(async move { drop(connection.await) });
    (sender.ready().await.unwrap(), ended)
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), what).await.unwrap()
}

#[tokio::test]
async fn t17_a_connection_on_which_nothing_goes_on_is_closed() {
    let target = Target::answering(OK);
    let gate = Gate::start(Limits { header: Duration::from_millis(700), ..Limits::default() });
    gate.route_to(&[target.address], Timeouts::default());
    let (mut sender, ended) = watched(&gate, 65_535).await;
    let request = Request::get("http://a.example/").body(()).unwrap();
    assert_eq!(sender.send_request(request, true).unwrap().0.await.unwrap().status(), StatusCode::OK);
    in_time(ended).await.unwrap();
}

#[tokio::test]
async fn t16_an_answer_that_the_client_does_not_take_is_given_up() {
    let target = Target::answering(OK);
    let gate = Gate::start(Limits { header: Duration::from_millis(700), ..Limits::default() });
    gate.route_to(&[target.address], Timeouts::default());
    let (mut sender, ended) = watched(&gate, 0).await;
    let request = Request::get("http://a.example/").body(()).unwrap();
    let answer = sender.send_request(request, true).unwrap().0.await.unwrap();
    in_time(ended).await.unwrap();
    drop(answer);
}

#[tokio::test]
async fn a_slow_target_and_a_quiet_tunnel_are_waited_for() {
    let pause = Duration::from_millis(1500);
    let target = Target::new(move |_, stream, _| {
        while let Some(head) = read_head(stream) {
            std::thread::sleep(pause);
            if head.contains("upgrade: websocket") {
                stream.write_all(SWITCHED.as_bytes()).unwrap();
                std::thread::sleep(pause);
                stream.write_all(b"pong").unwrap();
            } else {
                stream.write_all(OK.as_bytes()).unwrap();
            }
        }
    });
    let gate = Gate::start(Limits { header: Duration::from_millis(700), ..Limits::default() });
    gate.route_to(&[target.address], Timeouts::default());
    let (mut sender, _ended) = watched(&gate, 65_535).await;
    let request = Request::get("http://a.example/").body(()).unwrap();
    assert_eq!(sender.send_request(request, true).unwrap().0.await.unwrap().status(), StatusCode::OK);
    let (answer, _out) = ask_for_websocket(&gate).await;
    assert_eq!(answer.await.unwrap().into_body().data().await.unwrap().unwrap(), "pong");
}

#[tokio::test]
async fn t18_a_client_that_asks_only_to_cancel_is_shown_out() {
    let target = Target::new(|_, stream, _| drop(read_until(stream, b"never")));
    let gate = Gate::start(Limits::default());
    gate.route_to(&[target.address], Timeouts::default());
    let (mut sender, mut ended) = watched(&gate, 65_535).await;
    while !ended.is_finished() {
        let request = Request::get("http://a.example/").body(()).unwrap();
        let Ok((answer, _)) = sender.send_request(request, true) else { break };
        // It is being answered when it is cancelled.
        tokio::time::sleep(Duration::from_millis(1)).await;
        drop(answer);
    }
    in_time(&mut ended).await.unwrap();
}

#[tokio::test]
async fn what_came_of_an_answer_that_breaks_off_reaches_the_client_over_http2() {
    let target = Target::new(|_, stream, _| {
        read_head(stream).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart").unwrap();
    });
    let gate = Gate::start(Limits::default());
    gate.route_to(&[target.address], Timeouts::default());
    let mut sender = connect(&gate).await;
    for _ in 0..20 {
        let answers: Vec<_> = (0..5)
            .map(|_| {
                let request = Request::get("http://a.example/").body(()).unwrap();
                sender.send_request(request, true).unwrap().0
            })
            .collect();
        for answer in answers {
            let mut body = answer.await.unwrap().into_body();
            assert_eq!(body.data().await.unwrap().unwrap(), "part");
            let error = body.data().await.unwrap().unwrap_err();
            assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
        }
    }
}

#[tokio::test]
async fn t15_header_lines_are_counted_over_http2_as_over_http1() {
    let limits = Limits { headers: 20, ..Limits::default() };
    let (gate, target) = (Gate::start(limits), Target::answering(OK));
    gate.route_to(&[target.address], Timeouts::default());
    let mut sender = connect(&gate).await;
    for (lines, status) in [(19, 200), (20, 200), (21, 431), (200, 431)] {
        let mut request = Request::get("http://a.example/").body(()).unwrap();
        for line in 0..lines {
            // One name for them all, as the crumbs of a cookie have: each line counts.
            request.headers_mut().append("x-line", line.to_string().parse().unwrap());
        }
        let answer = sender.send_request(request, true).unwrap().0.await.unwrap();
        assert_eq!(answer.status(), status, "{lines} lines");
    }
}

/// A target that answers each request by `answer`.
async fn h2_target<A, F>(answer: A) -> SocketAddr
where
    A: Fn(Request<h2::RecvStream>, server::SendResponse<Bytes>) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut connection = server::handshake(stream).await.unwrap();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(answer(request, respond));
                }
            });
        }
    });
    address
}

/// What comes on `stream` up to the end of a body in chunks, that body decoded.
async fn read_chunks(stream: &mut TcpStream) -> (String, usize) {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.unwrap());
    }
    let mut length = 0;
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(stream.read_u8().await.unwrap());
        }
        let digits = std::str::from_utf8(line.trim_ascii_end()).unwrap();
        let size = usize::from_str_radix(digits, 16).unwrap();
        let mut data = vec![0; size + 2];
        stream.read_exact(&mut data).await.unwrap();
        assert!(data.ends_with(b"\r\n") && data.iter().take(size).all(|byte| *byte == b'x'));
        length += size;
        if size == 0 {
            return (String::from_utf8(text).unwrap(), length);
        }
    }
}

#[tokio::test]
async fn the_last_chunk_comes_behind_all_others() {
    let gate = Gate::start(Limits::default());
    let target = h2_target(|request, mut respond| async move {
        let frames: Vec<usize> =
            request.uri().path().split('/').filter_map(|size| size.parse().ok()).collect();
        let mut out = respond.send_response(Response::new(()), false).unwrap();
        for (place, size) in frames.iter().enumerate() {
            out.send_data(Bytes::from(vec![b'x'; *size]), place + 1 == frames.len()).unwrap();
        }
    })
    .await;
    gate.route_by(Scheme::Grpc, &[target], Timeouts::default());
    let mut client = TcpStream::connect(gate.address).await.unwrap();
    for frames in ["1", "16384", "12288/8192", "16384/16384", "16384/1", "1/16384/0", "40000"] {
        client.write_all(format!("GET /{frames} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
        let (head, length) = in_time(read_chunks(&mut client)).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let sent: usize = frames.split('/').map(|size| size.parse::<usize>().unwrap()).sum();
        assert_eq!(length, sent, "{frames}");
    }
}
