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
    let limits = Limits { header: Duration::from_millis(200), ..Limits::default() };
    let (gate, target) = (Gate::start(limits), Target::answering(OK));
    gate.route_to(&[target.address], Timeouts::default());
    for beginning in ["", "GET / HTTP/1.1\r\nhost: a\r\n\r\n", "GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HT"] {
        let mut client = gate.connect();
        client.write_all(beginning.as_bytes()).unwrap();
        let began = Instant::now();
        let answer = read_to_end(&mut client);
        assert!(began.elapsed() < Duration::from_secs(5), "{beginning}");
        assert_eq!(answer.matches("HTTP/1.1 200").count(), usize::from(!beginning.is_empty()), "{answer}");
    }
    let mut client = gate.connect();
    let dripped = (0..100).take_while(|_| {
        std::thread::sleep(Duration::from_millis(50));
        client.write_all(b"G").is_ok()
    });
    assert!(dripped.count() < 50);
}

#[test]
fn a_target_slower_than_the_limit_on_heads_is_waited_for() {
    let limits = Limits { header: Duration::from_millis(100), ..Limits::default() };
    let gate = Gate::start(limits);
    let target = Target::new(|_, stream, _| {
        read_head(stream).unwrap();
        std::thread::sleep(Duration::from_millis(500));
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhi").unwrap();
        std::thread::sleep(Duration::from_millis(500));
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
    gate.route_to(&[target.address], Timeouts { read: Duration::from_millis(200), ..Timeouts::default() });
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
