//! Clients and targets that want to be misread: framing, pooled connections, silence.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test that cannot go on fails

mod support;

use std::{
    io::Write,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use gateway::{
    engine::Limits,
    upstream::{Scheme, Timeouts},
};
use support::{Gate, OK, Target, read_head, read_to_end, read_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[test]
fn t03_chunked_is_the_one_transfer_coding() {
    let (gate, target) = (Gate::start(Limits::default()), Target::answering(OK));
    gate.route_to(&[target.address], Timeouts::default());
    for codings in [
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: identity, chunked",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: identity\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "connection: transfer-encoding\r\ntransfer-encoding: gzip, chunked",
    ] {
        let request = format!(
            "POST / HTTP/1.1\r\nhost: a\r\n{codings}\r\n\r\n0\r\n\r\nGET /b HTTP/1.1\r\nhost: a\r\n\r\n"
        );
        let answer = gate.ask(&request);
        assert!(
            answer.starts_with("HTTP/1.1 501") && answer.contains("connection: close"),
            "{codings}: {answer}"
        );
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{codings}: {answer}");
    }
    // Where another coding is the last one, nobody knows where the request ends (RFC 9112 section 6.3).
    for coding in ["xchunked", "gzip", "chunked, gzip", "identity"] {
        let answer = gate.ask(&format!(
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: {coding}\r\n\r\n0\r\n\r\nGET /b HTTP/1.1\r\nhost: a\r\n\r\n"
        ));
        assert!(answer.starts_with("HTTP/1.1 400"), "{coding}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{coding}: {answer}");
    }
    assert!(target.seen.try_recv().is_err());
}

#[test]
fn the_absolute_form_without_a_path_asks_for_the_root() {
    let (gate, target) = (Gate::start(Limits::default()), Target::answering(OK));
    gate.route_to(&[target.address], Timeouts::default());
    gate.ask("GET http://a?x=1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(target.next().starts_with("GET /?x=1 HTTP/1.1\r\n"));
}

#[test]
fn h21_a_handshake_with_a_body_opens_no_tunnel() {
    let (gate, target) = (Gate::start(Limits::default()), Target::answering(OK));
    gate.route_to(&[target.address], Timeouts::default());
    let answer = gate.ask(
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade, close\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\ncontent-length: 4\r\n\r\nbody",
    );
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(!target.next().contains("upgrade"));
}

#[test]
fn a_body_that_says_it_is_too_large_is_refused_before_anything_is_sent() {
    let limits = Limits { body_bytes: 10, ..Limits::default() };
    let (gate, target) = (Gate::start(limits), Target::answering(OK));
    gate.route_to(&[target.address], Timeouts::default());
    let answer = gate.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(target.seen.try_recv().is_err());
}

#[test]
fn t11_an_early_answer_reaches_a_client_that_goes_on_sending() {
    let gate = Gate::start(Limits::default());
    let target = Target::new(|_, stream, _| {
        read_head(stream).unwrap();
        stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n").unwrap();
        let _ = read_until(stream, b"never");
    });
    gate.route_to(&[target.address], Timeouts::default());
    let mut client = gate.connect();
    client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\n").unwrap();
    for _ in 0..100 {
        client.write_all(&[b'x'; 100_000]).unwrap();
    }
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(read_to_end(&mut client).starts_with("HTTP/1.1 413"));
}

#[test]
fn t16_a_head_that_does_not_end_and_a_pause_that_does_not_end_close_the_connection() {
    let limits = Limits { header: Duration::from_secs(1), ..Limits::default() };
    let (gate, target) = (Gate::start(limits), Target::answering(OK));
    gate.route_to(&[target.address], Timeouts::default());
    for beginning in ["", "GET / HTTP/1.1\r\nhost: a\r\n\r\n", "GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HT"] {
        let mut client = gate.connect();
        client.write_all(beginning.as_bytes()).unwrap();
        let began = Instant::now();
        let answer = read_to_end(&mut client);
        assert!(began.elapsed() < Duration::from_secs(20), "{beginning}");
        assert_eq!(answer.matches("HTTP/1.1 200").count(), usize::from(!beginning.is_empty()), "{answer}");
    }
    let mut client = gate.connect();
    let dripped = (0..100).take_while(|_| {
        std::thread::sleep(Duration::from_millis(50));
        client.write_all(b"G").is_ok()
    });
    assert!(dripped.count() < 100);
}

#[test]
fn a_target_slower_than_the_limit_on_heads_is_waited_for() {
    let limits = Limits { header: Duration::from_millis(700), ..Limits::default() };
    let gate = Gate::start(limits);
    let target = Target::new(|_, stream, _| {
        read_head(stream).unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhi").unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        stream.write_all(b"hi").unwrap();
    });
    gate.route_to(&[target.address], Timeouts::default());
    assert!(gate.ask("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").ends_with("hihi"));
}

/// A target that answers the first request of a connection well and says `then` to the next.
fn good_then(then: &'static str) -> Target {
    Target::new(move |_, stream, tell| {
        for answer in [OK, then] {
            tell(read_head(stream).unwrap());
            stream.write_all(answer.as_bytes()).unwrap();
        }
        let _ = read_head(stream);
    })
}

#[test]
fn silence_on_a_kept_connection_is_waited_for_once() {
    let (gate, target) = (Gate::start(Limits::default()), good_then(""));
    gate.route_to(&[target.address], Timeouts { read: Duration::from_secs(1), ..Timeouts::default() });
    let mut client = gate.connect();
    for end in ["hi", "}\n"] {
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        read_until(&mut client, end.as_bytes()).unwrap();
        target.next();
    }
    assert!(target.seen.try_recv().is_err());
}

#[test]
fn t12_an_answer_that_cannot_be_read_is_not_asked_for_again() {
    let odd = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n";
    let (gate, target) = (Gate::start(Limits::default()), good_then(odd));
    gate.route_to(&[target.address], Timeouts::default());
    let mut client = gate.connect();
    for (status, end) in [("200", "hi"), ("502", "}\n")] {
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        let answer = read_until(&mut client, end.as_bytes()).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        target.next();
    }
    assert!(target.seen.try_recv().is_err());
}

const TWO_ANSWERS: &str =
    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";

#[test]
fn h28_a_second_answer_is_nobodys() {
    let (gate, target) = (Gate::start(Limits::default()), Target::answering(TWO_ANSWERS));
    gate.route_to(&[target.address], Timeouts::default());
    for _ in 0..3 {
        let answer = gate.ask("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        assert!(answer.ends_with("\r\n\r\nhi"), "{answer}");
    }
}

/// A TLS target that sends two records for each request: a good answer, and one nobody asked for.
async fn talkative_tls_target() -> SocketAddr {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = certified.signing_key.serialize_der().try_into().unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    config.max_fragment_size = Some(4096);
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            tokio::spawn(async move {
                let mut stream = tokio::io::BufWriter::with_capacity(64 * 1024, stream);
                let mut head = Vec::new();
                while let Ok(byte) = stream.read_u8().await {
                    head.push(byte);
                    if head.ends_with(b"\r\n\r\n") {
                        head.clear();
                        // As long as one read of the gate, so that the rest waits decrypted in its session.
                        let start = "HTTP/1.1 200 OK\r\ncontent-length: 16342\r\n\r\n";
                        let filler = "x".repeat(16_384 - start.len() - 2);
                        let answer =
                            format!("{start}{filler}hiHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil");
                        stream.write_all(answer.as_bytes()).await.unwrap();
                        stream.flush().await.unwrap();
                    }
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn h28_what_a_tls_target_said_unasked_is_nobodys() {
    let gate = Gate::start(Limits::default());
    gate.route_by(Scheme::Https, &[talkative_tls_target().await], Timeouts::default());
    for _ in 0..5 {
        let answer = gate.ask("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("xhi"), "{answer:.200}");
    }
}

#[test]
fn t04_an_answer_to_a_broken_body_says_that_it_is_the_last() {
    let limits = Limits { body_bytes: 10, ..Limits::default() };
    let (gate, target) = (Gate::start(limits), Target::answering(OK));
    gate.route_to(&[target.address], Timeouts::default());
    for (status, framing, body) in [
        (400, "transfer-encoding: chunked", "zz\r\n"),
        (400, "transfer-encoding: chunked", "2\r\nabc\r\n0\r\n\r\n"),
        (413, "content-length: 11", ""),
        (413, "transfer-encoding: chunked", "b\r\nhello world\r\n"),
    ] {
        let answer = gate.ask(&format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n{body}"));
        let head = answer.split("\r\n\r\n").next().unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{body:?}: {answer}");
        assert!(head.contains("\r\nconnection: close"), "{body:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{body:?}: {answer}");
    }
}

#[test]
fn a_client_whose_connection_is_reset_is_not_waited_for() {
    let gate = Gate::start(Limits::default());
    let target = Target::new(|_, stream, tell| {
        tell(read_head(stream).unwrap());
        // Until the gate gives the exchange up.
        let mut byte = [0];
        tell(format!("{:?}", std::io::Read::read(stream, &mut byte).ok()));
    });
    gate.route_to(&[target.address], Timeouts::default());
    let mut client = gate.connect();
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    target.next();
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    assert_eq!(target.next(), "Some(0)");
}

#[test]
fn t11_an_answer_that_leaves_a_body_unread_says_that_it_is_the_last() {
    let gate = Gate::start(Limits::default());
    // No route: the gate's own answer.
    gate.publish(Vec::new(), Arc::default(), gateway::route::Plan::default());
    let ask = |body: &str| gate.ask(&format!("POST / HTTP/1.1\r\nhost: a\r\n{body}"));
    let hidden = "GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n";
    let unread = ask(&format!("content-length: 100000\r\n\r\n{hidden}"));
    assert!(unread.contains("connection: close"), "{unread}");
    assert_eq!(unread.matches("HTTP/1.1 404").count(), 1, "{unread}");
    let waiting = ask("content-length: 5\r\nexpect: 100-continue\r\n\r\n");
    assert!(waiting.contains("connection: close"), "{waiting}");
    assert_eq!(waiting.matches("HTTP/1.1 ").count(), 1, "{waiting}");
    // What is here is passed over, and the connection goes on.
    let last = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    for whole in [
        "content-length: 5\r\n\r\nhello",
        "content-length: 5\r\nexpect: 100-continue\r\n\r\nhello",
        "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        let answers = ask(&format!("{whole}{last}"));
        assert_eq!(answers.matches("HTTP/1.1 404").count(), 2, "{answers}");
    }
}

#[test]
fn t15_a_head_that_is_refused_is_told_why() {
    let limits = Limits { head_bytes: 1000, headers: 10, ..Limits::default() };
    let gate = Gate::start(limits);
    let head = |line: &str, more: &str| format!("GET {line} HTTP/1.1\r\nhost: a\r\nx: {more}\r\n\r\n");
    let fits = head("/", &"y".repeat(1000 - head("/", "").len()));
    assert!(gate.ask(&format!("{fits}GET / HTTP/1.1\r\n\r\n")).starts_with("HTTP/1.1 404"));
    for (status, text, told) in [
        (431, head("/", &"y".repeat(1001 - head("/", "").len())), "the head of the request is too large"),
        (431, head("/", &"y: 1\r\nz:".repeat(10)), "the head of the request is too large"),
        (400, "GET / HTTP/1.1\r\nhost: a\n\n".to_owned(), "a line ends without a carriage return"),
        (400, "GET / HTTP/3\r\nhost: a\r\n\r\n".to_owned(), "the version is not known"),
        (400, "GET /\r\nhost: a\r\n\r\n".to_owned(), "the first line is not"),
    ] {
        let answer = gate.ask(&text);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{text:?}: {answer}");
        assert!(answer.contains("connection: close") && answer.contains("server: portcullis"), "{answer}");
        assert!(answer.contains(&format!("{{\"error_msg\":\"{told}")), "{text:?}: {answer}");
    }
}

#[test]
fn t13_a_head_is_not_taken_for_the_last_one() {
    let (gate, target) = (Gate::start(Limits::default()), Target::answering(OK));
    gate.route_to(&[target.address], Timeouts::default());
    let mut client = gate.connect();
    let lines = "host: a\r\naccept: */*\r\nauthorization: Bearer one\r\n";
    for (line, more) in [
        ("GET /a", ""),
        ("GET /a", ""),
        ("GET /b", ""),
        ("GET /b", "x-userinfo: me\r\n"),
        ("GET /b", "x-userinfo: you\r\nx-a: 1\r\n"),
        ("GET /b", "connection: x-a\r\nx-a: 1\r\n"),
        ("GET /b", "connection: x-b\r\nx-a: 1\r\n"),
        ("GET /b", ""),
    ] {
        client.write_all(format!("{line} HTTP/1.1\r\n{lines}{more}\r\n").as_bytes()).unwrap();
        assert!(read_until(&mut client, b"hi").unwrap().starts_with("HTTP/1.1 200"));
        let seen = target.next();
        assert!(seen.starts_with(&format!("{line} HTTP/1.1\r\nhost: a\r\n")), "{seen}");
        assert!(seen.contains("authorization: Bearer one\r\n") && !seen.contains("userinfo"), "{seen}");
        assert!(!seen.contains("connection:"), "{seen}");
        let nominated = more.contains("connection: x-a");
        assert_eq!(seen.contains("x-a: 1"), more.contains("x-a: 1") && !nominated, "{more:?}: {seen}");
    }
    // As long as the last one, for somebody else.
    let other = format!("GET /b HTTP/1.1\r\n{}\r\n", lines.replace("one", "two"));
    client.write_all(other.as_bytes()).unwrap();
    assert!(read_until(&mut client, b"hi").is_some());
    assert!(target.next().contains("authorization: Bearer two\r\n"));
    // The last line goes on.
    client.write_all(other.trim_end().as_bytes()).unwrap();
    client.write_all(b"\r\n three\r\n\r\n").unwrap();
    assert!(read_until(&mut client, b"\r\n").unwrap().starts_with("HTTP/1.1 400"));
}
