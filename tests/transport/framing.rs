//! T01 to T05: how long a request is.

use crate::support::{Probe, Site};

const REFUSED: &[u16] = &[400, 501];

/// A second request hidden where a careless reader would find one.
fn hidden(site: &Site) -> String {
    format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", site.target("smuggled"))
}

fn post(site: &Site, version: &str, framing: &str, rest: &str) -> String {
    format!("POST {} HTTP/{version}\r\nHost: localhost\r\n{framing}\r\n{rest}", site.target("a"))
}

#[tokio::test]
async fn t01_content_length_with_transfer_encoding_is_refused() {
    let site = Site::new().await;
    let hidden = hidden(&site);
    let (empty, five) = (format!("0\r\n\r\n{hidden}"), format!("5\r\nhello\r\n0\r\n\r\n{hidden}"));
    let mut probe = Probe::new(&site);
    for (case, framing, rest) in [
        ("length first", "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", &empty),
        ("coding first", "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", &empty),
        ("length of the chunks", "Content-Length: 15\r\nTransfer-Encoding: chunked\r\n", &five),
        ("length of everything", "Content-Length: 4096\r\nTransfer-Encoding: chunked\r\n", &five),
        ("length 0", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", &five),
        ("no length", "Transfer-Encoding: chunked\r\nContent-Length: x\r\n", &five),
        ("two lengths", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n", &five),
    ] {
        let bytes = post(&site, "1.1", framing, rest);
        probe.refuses(case, &bytes, REFUSED).await;
        let mut connection = site.gate.connect().await;
        connection.send(&bytes).await;
        connection.response().await;
        let rest = connection.rest().await;
        probe.check(case, rest.is_empty(), "the connection went on after the answer");
    }
    let old = "Transfer-Encoding: chunked\r\n";
    probe.refuses("coding in HTTP/1.0", post(&site, "1.0", old, &five), REFUSED).await;
    let both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n";
    probe.refuses("both in HTTP/1.0", post(&site, "1.0", both, &five), REFUSED).await;
    probe.check(
        "after all",
        site.upstream.seen_with("smuggled").is_empty(),
        "a hidden request went upstream",
    );
    probe.finish().await;
}

#[tokio::test]
async fn t02_a_content_length_is_one_decimal_number() {
    let site = Site::new().await;
    let mut probe = Probe::new(&site);
    let body = format!("hello{}", hidden(&site));
    for length in [
        "5, 6",
        "6,5",
        "+5",
        "-5",
        "0x5",
        "5_0",
        "",
        "5 5",
        "5 Z",
        "5\t5",
        "5;",
        "5.0",
        "5e0",
        "٥",
        "\"5\"",
        "5,",
        ",5",
        "18446744073709551616",
        "18446744073709551621",
        "99999999999999999999999",
        "1_0",
    ] {
        let bytes = post(&site, "1.1", &format!("Content-Length: {length}\r\n"), &body);
        probe.refuses(&format!("{length:?}"), bytes, REFUSED).await;
    }
    let two = "Content-Length: 5\r\nContent-Length: 6\r\n";
    probe.refuses("two different", post(&site, "1.1", two, &body), REFUSED).await;
    let two = "Content-Length: 0\r\nContent-Length: 5\r\n";
    probe.refuses("0 and another", post(&site, "1.1", two, &body), REFUSED).await;
    for (case, framing) in [
        ("two equal lines", "Content-Length: 5\r\nContent-Length: 5\r\n"),
        ("two equal in one line", "Content-Length: 5, 5\r\n"),
        ("leading zeros", "Content-Length: 0005\r\n"),
        ("white space around", "Content-Length: \t 5 \t\r\n"),
        ("no white space", "Content-Length:5\r\n"),
    ] {
        let bytes = post(&site, "1.1", &format!("{framing}Connection: close\r\n"), &body);
        probe.refuses_or_forwards(case, bytes, REFUSED, b"hello").await;
    }
    probe.finish().await;
}

#[tokio::test]
async fn t03_chunked_is_the_one_transfer_coding() {
    let site = Site::new().await;
    let mut probe = Probe::new(&site);
    let chunks = format!("5\r\nhello\r\n0\r\n\r\n{}", hidden(&site));
    for coding in [
        "xchunked",
        "chunkedx",
        "identity",
        "chunked;q=1",
        "chunked, identity",
        "gzip",
        "gzip, chunked",
        "identity, chunked",
        "chunked, chunked",
        "\"chunked\"",
        "chunk",
        "chunked gzip",
        "c hunked",
        "",
    ] {
        let bytes = post(&site, "1.1", &format!("Transfer-Encoding: {coding}\r\n"), &chunks);
        probe.refuses(&format!("{coding:?}"), bytes, REFUSED).await;
    }
    for around in [&b"\x0b"[..], b"\x0c", b"\xa0", b"\x85", b"\0"] {
        for (before, after) in [(around, &b""[..]), (&b""[..], around)] {
            let framing = [b"Transfer-Encoding: ", before, b"chunked", after, b"\r\n"].concat();
            let start = format!("POST {} HTTP/1.1\r\nHost: localhost\r\n", site.target("a"));
            let bytes = [start.as_bytes(), &framing, b"\r\n", chunks.as_bytes()].concat();
            probe.refuses(&format!("{:?}", String::from_utf8_lossy(&framing)), bytes, REFUSED).await;
        }
    }
    for (case, framing) in [
        ("two lines, chunked last", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"),
        ("two lines, chunked first", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        ("two lines of chunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    ] {
        probe.refuses(case, post(&site, "1.1", framing, &chunks), REFUSED).await;
    }
    for coding in ["Chunked", "CHUNKED", ",chunked", "chunked,", " \t chunked\t "] {
        let framing = format!("Transfer-Encoding: {coding}\r\nConnection: close\r\n");
        probe
            .refuses_or_forwards(
                &format!("{coding:?}"),
                post(&site, "1.1", &framing, &chunks),
                REFUSED,
                b"hello",
            )
            .await;
    }
    probe.finish().await;
}

#[tokio::test]
async fn t04_a_chunk_size_is_hexadecimal_and_nothing_else() {
    let site = Site::new().await;
    let mut probe = Probe::new(&site);
    let zeros = "0".repeat(1 << 20);
    for (case, chunks) in [
        ("empty", "\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("0x", "0x5\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("plus", "+5\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("minus", "-5\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("underscore", "0_5\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("letter", "5g\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("space in front", " 5\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("2^64", "10000000000000000\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("2^64 + 5", "10000000000000005\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("CR X after the size", "5\rXhello\r\n0\r\n\r\n".to_owned()),
        ("LF after the data", "5\r\nhello\n0\r\n\r\n".to_owned()),
        ("CR X after the data", "5\r\nhello\rX0\r\n\r\n".to_owned()),
        ("nothing after the data", "5\r\nhello0\r\n\r\n".to_owned()),
        ("data longer than the size", "5\r\nhello!\r\n0\r\n\r\n".to_owned()),
        ("LF after the size", "5\nhello\r\n0\r\n\r\n".to_owned()),
        ("LF at the end", "5\r\nhello\r\n0\r\n\n".to_owned()),
        ("space behind", "5 \r\nhello\r\n0\r\n\r\n".to_owned()),
        ("a mebibyte of zeros", format!("{zeros}5\r\nhello\r\n0\r\n\r\n")),
    ] {
        never_whole(&site, &mut probe, case, &post(&site, "1.1", "Transfer-Encoding: chunked\r\n", &chunks))
            .await;
    }
    let zeros = "0005\r\nhello\r\n00\r\n\r\n";
    let framing = "Transfer-Encoding: chunked\r\nConnection: close\r\n";
    probe.refuses_or_forwards("some zeros", post(&site, "1.1", framing, zeros), REFUSED, b"hello").await;
    probe.finish().await;
}

#[tokio::test]
async fn t05_chunk_extensions_and_trailers_carry_nothing_upstream() {
    let site = Site::new().await;
    let mut probe = Probe::new(&site);
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (case, chunks) in [
        ("CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("an extension of a mebibyte", format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(1 << 20))),
        ("a trailer without colon", "5\r\nhello\r\n0\r\nno colon\r\n\r\n".to_owned()),
        ("a trailer with NUL", "5\r\nhello\r\n0\r\nx: a\0b\r\n\r\n".to_owned()),
        ("trailers of a mebibyte", format!("5\r\nhello\r\n0\r\nx: {}\r\n\r\n", "a".repeat(1 << 20))),
    ] {
        never_whole(&site, &mut probe, case, &post(&site, "1.1", chunked, &chunks)).await;
    }
    let framing = "Transfer-Encoding: chunked\r\nConnection: close\r\n";
    let chunks = "5;name=value;\"q\"\r\nhello\r\n0;last\r\n\r\n";
    probe.forwards("an extension", post(&site, "1.1", framing, chunks), b"hello").await;
    let trailers = "Content-Length: 3\r\nTransfer-Encoding: gzip\r\nHost: evil\r\nAuthorization: Bearer evil\r\n\
                    Cookie: session=evil\r\nX-Userinfo: evil\r\nConnection: close\r\nContent-Type: evil/evil\r\n";
    let chunks = format!("5\r\nhello\r\n0\r\n{trailers}\r\n");
    probe.forwards("forbidden trailers", post(&site, "1.1", framing, &chunks), b"hello").await;
    let last = site.upstream.seen().pop().unwrap();
    let raw = String::from_utf8_lossy(&last.raw).into_owned();
    probe.check("forbidden trailers", !raw.contains("evil"), format!("the upstream got {raw:?}"));
    probe.check(
        "forbidden trailers",
        last.message.trailers.is_empty(),
        format!("{:?}", last.message.trailers),
    );
    probe.check("extensions", !site.upstream.received().contains("name=value"), "an extension went upstream");
    probe.finish().await;
}

/// The request must end in a 400 or without any answer, its connection must close, and U must never see it whole.
async fn never_whole(site: &Site, probe: &mut Probe<'_>, case: &str, bytes: &str) {
    let before = site.upstream.seen().len();
    let mut connection = site.gate.connect().await;
    connection.send(bytes).await;
    match connection.response().await {
        Some(answer) if REFUSED.contains(&answer.status) => {
            let rest = connection.rest().await;
            probe.check(case, rest.is_empty(), "the connection went on after the answer");
        }
        Some(answer) => probe.fail(case, format!("answered {}", answer.status)),
        None => probe.fail(case, "closed without an answer"),
    }
    let new = site.upstream.seen().split_off(before);
    probe.check(case, new.is_empty(), format!("the upstream saw {new:?}"));
}
