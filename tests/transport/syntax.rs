//! T06 to T09: lines, names, values and request lines.

use crate::support::{Probe, Site, http1::Message};

const BAD: &[u16] = &[400];

fn get(site: &Site) -> String {
    format!("GET {} HTTP/1.1", site.target("a"))
}

#[tokio::test]
async fn t06_lines_end_in_crlf() {
    let site = Site::new().await;
    let mut probe = Probe::new(&site);
    let get = get(&site);
    for (case, bytes) in [
        ("CR alone after the request line", format!("{get}\rHost: localhost\r\n\r\n")),
        ("CR alone after a header", format!("{get}\r\nHost: localhost\rX: a\r\n\r\n")),
        ("CR X for an empty line", format!("{get}\r\nHost: localhost\r\n\rX\r\n\r\n")),
        ("CR CR LF", format!("{get}\r\nHost: localhost\r\r\n\r\n")),
        ("CR in front of the request line", format!("\r{get}\r\nHost: localhost\r\n\r\n")),
        ("LF in the request line", format!("{}\r\nHost: localhost\r\n\r\n", get.replace(" HTTP", "\n HTTP"))),
        ("LF in the method", "G\nET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned()),
        ("LF ends every line", format!("{get}\nHost: localhost\nConnection: close\n\n")),
        ("LF ends one line", format!("{get}\r\nHost: localhost\nConnection: close\r\n\r\n")),
        ("LF ends the head", format!("{get}\r\nHost: localhost\r\nConnection: close\r\n\n")),
    ] {
        probe.refuses(case, bytes, BAD).await;
    }
    // Accepted on purpose: empty lines before a request are skipped (RFC 9112 section 2.2).
    let skipped = format!("\r\n{get}\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    probe.refuses_or_forwards("empty line in front", skipped, BAD, b"").await;
    let raw = site.upstream.received();
    probe.check(
        "what went upstream",
        !raw.replace("\r\n", "").contains(['\r', '\n']),
        "a lone CR or LF went upstream",
    );
    probe.finish().await;
}

#[tokio::test]
async fn t07_a_header_name_is_a_token_and_a_colon() {
    let site = Site::new().await;
    let mut probe = Probe::new(&site);
    let start = format!("{}\r\nHost: localhost\r\n", get(&site));
    for line in [
        &b"X-A : b"[..],
        b"X-A\t: b",
        b" X-A: b",
        b"\tX-A: b",
        b"no colon",
        b": b",
        b"X A: b",
        b"X\0A: b",
        b"X\x01A: b",
        b"X\x7fA: b",
        b"X\x85A: b",
        b"X\xa0: b",
        b"X(A): b",
        b"X/A: b",
        b"X\"A\": b",
        b"X@A: b",
        b"X{A}: b",
        b"X-A\r\n -B: c",
        b"Content-Length : 5",
        b"Transfer-Encoding\t: chunked",
    ] {
        let bytes = [start.as_bytes(), line, b"\r\n\r\n"].concat();
        probe.refuses(&format!("{:?}", String::from_utf8_lossy(line)), bytes, BAD).await;
    }
    let first = format!("{}\r\n X-A: b\r\nHost: localhost\r\n\r\n", get(&site));
    probe.refuses("a continued line before the first", first, BAD).await;
    probe.finish().await;
}

#[tokio::test]
async fn t08_a_header_value_has_no_control_characters() {
    let site = Site::new().await;
    let mut probe = Probe::new(&site);
    let start = format!("{}\r\nHost: localhost\r\nConnection: close\r\n", get(&site));
    for value in [
        &b"a\0b"[..],
        b"\0",
        b"a\rb",
        b"a\x01b",
        b"a\x08b",
        b"a\x0bb",
        b"a\x0cb",
        b"a\x1bb",
        b"a\x7fb",
        b"a\r\n b",
        b"a\r\n\tb",
    ] {
        let bytes = [start.as_bytes(), b"X-Value: ", value, b"\r\n\r\n"].concat();
        probe.refuses(&format!("{:?}", String::from_utf8_lossy(value)), bytes, BAD).await;
    }
    // High bytes are opaque (RFC 9110 section 5.5): they pass as they are, or not at all.
    for value in [&b"\x80a\x80"[..], b"\xa0a\xa0", b"\xff", "grüße".as_bytes(), b"a\tb"] {
        let bytes = [start.as_bytes(), b"X-Value: ", value, b"\r\n\r\n"].concat();
        let case = format!("{:?}", String::from_utf8_lossy(value));
        let answer = probe.refuses_or_forwards(&case, bytes, BAD, b"").await;
        if answer.is_some_and(|answer| answer.status == 200) {
            let raw = site.upstream.seen().pop().unwrap().raw;
            let wanted = [b": ", value, b"\r\n"].concat();
            probe.check(&case, raw.windows(wanted.len()).any(|part| part == wanted), "the value was changed");
        }
    }
    probe.finish().await;
}

#[tokio::test]
async fn t09_a_request_line_is_three_words() {
    let site = Site::new().await;
    let mut probe = Probe::new(&site);
    let target = site.target("a");
    let refused = [400, 404, 405, 414, 431, 501, 505];
    for line in [
        format!("GET {target} HTTP/1.32"),
        format!("GET {target} HTTP/2.0"),
        format!("GET {target} HTTP/3.0"),
        format!("GET {target} HTTP/0.9"),
        format!("GET {target} HTTP/4294967295.255"),
        format!("GET {target} HTTP/1.1x"),
        format!("GET {target} HTTP/1,1"),
        format!("GET {target} http/1.1"),
        format!("GET {target} HTTPS/1.1"),
        format!("GET {target} HTTP /1.1"),
        format!("GET {target}"),
        format!("GET\t{target}\tHTTP/1.1"),
        format!("GET  {target} HTTP/1.1"),
        format!("GET {target}  HTTP/1.1"),
        format!("GET {target} HTTP/1.1 x"),
        format!(" GET {target} HTTP/1.1"),
        format!("GET {target} b HTTP/1.1"),
        format!("GET {target}\x01 HTTP/1.1"),
        format!("GET {target}\x7f HTTP/1.1"),
        format!("GET {target}/{} HTTP/1.1", "a".repeat(64 << 10)),
        "GET * HTTP/1.1".to_owned(),
        "GET localhost:80 HTTP/1.1".to_owned(),
        format!("GET {} HTTP/1.1", &target[1..]),
        "GET  HTTP/1.1".to_owned(),
        format!("{target} HTTP/1.1"),
    ] {
        let shown: String = line.chars().take(60).collect();
        let bytes = format!("{line}\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        probe.refuses(&format!("{shown:?}"), bytes, &refused).await;
    }
    // What is right has the effect that is meant.
    let absolute =
        format!("GET http://localhost{target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    probe.forwards("absolute form", absolute, b"").await;
    let old = format!("GET {target} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    probe.forwards("HTTP/1.0", old, b"").await;
    for seen in site.upstream.seen() {
        let Message { start, .. } = &seen.message;
        probe.check("upstream", *start == format!("GET {target} HTTP/1.1"), format!("sent as {start:?}"));
    }
    probe.finish().await;
}
