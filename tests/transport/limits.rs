//! T15 to T17: as much as is allowed, and clients that never finish.

use std::{net::Ipv4Addr, time::Duration};

use tokio::net::TcpStream;

use crate::support::{Connection, Portcullis, Probe, Request, Site, Upstream, admin::node, within};
use serde_json::json;

const TOO_LARGE: &[u16] = &[400, 414, 431];

#[tokio::test]
async fn t15_a_head_has_limits() {
    let site = Site::new().await;
    let mut probe = Probe::new(&site);
    let start = format!("GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", site.target("a"));
    let headers = |count: usize| -> String { (0..count).map(|n| format!("X-H-{n}: v\r\n")).collect() };
    let wide: String = (0..64).map(|n| format!("X-W-{n}: {}\r\n", "w".repeat(4 << 10))).collect();
    let cookies: String = (0..10_000).map(|n| format!("Cookie: c{n}=v\r\n")).collect();
    let crumbs: String = (0..10_000).map(|n| format!("c{n}=v; ")).collect();
    for (case, bytes) in [
        ("more than 100 headers", format!("{start}{}\r\n", headers(120))),
        ("100,000 headers", format!("{start}{}\r\n", headers(100_000))),
        ("a line of 64 KiB", format!("{start}X-Long: {}\r\n\r\n", "a".repeat(64 << 10))),
        ("a name of 64 KiB", format!("{start}{}: a\r\n\r\n", "n".repeat(64 << 10))),
        ("256 KiB together", format!("{start}{wide}\r\n")),
        ("10,000 cookie lines", format!("{start}{cookies}\r\n")),
        ("10,000 cookies in a line", format!("{start}Cookie: {crumbs}\r\n\r\n")),
        (
            "a target of a mebibyte",
            format!("GET {}/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", site.target("a"), "t".repeat(1 << 20)),
        ),
        (
            "a method of a kibibyte",
            format!("{} {} HTTP/1.1\r\nHost: localhost\r\n\r\n", "M".repeat(1024), site.target("a")),
        ),
    ] {
        probe.refuses(case, bytes, TOO_LARGE).await;
    }
    probe
        .forwards(
            "what people send",
            format!("{start}{}X-Long: {}\r\n\r\n", headers(50), "a".repeat(4 << 10)),
            b"",
        )
        .await;
    probe.finish().await;
}

#[tokio::test]
async fn t15_a_large_body_passes_without_being_kept() {
    let site = Site::alone().await;
    site.still_serves().await;
    let before = site.gate.resident();
    let body = vec![b'x'; 64 << 20];
    let answer = site.gate.send(Request::new("POST", &site.target("large")).body(body)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(site.upstream.seen_with("large")[0].message.body.len(), 64 << 20);
    let grown = site.gate.resident().saturating_sub(before);
    assert!(grown < 32 << 20, "memory grew by {grown} bytes for a body of 64 MiB");
}

#[tokio::test]
async fn t16_clients_that_never_finish_do_not_keep_others_waiting() {
    let site = Site::new().await;
    let mut slow = Vec::new();
    for n in 0..400 {
        let mut connection = site.gate.connect().await;
        let bytes = match n % 4 {
            0 => String::new(),
            1 => "GET /slow HTT".to_owned(),
            2 => "GET /slow HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".to_owned(),
            _ => format!(
                "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nslow",
                site.target("slow")
            ),
        };
        connection.send(bytes).await;
        slow.push(connection);
    }
    for _ in 0..50 {
        assert_eq!(within("a good request beside slow ones", site.get("good")).await.status, 200);
    }
    assert!(site.upstream.seen_with("slow").is_empty());
}

#[tokio::test]
async fn t16_whoever_takes_too_long_is_cut_off() {
    let limits = "limits: {head_timeout: 3s, body_timeout: 3s, handshake_timeout: 3s}\nlog: {level: info}";
    let (gate, _) = Portcullis::production(limits);
    let (upstream, mut slow) = (Upstream::start(), Vec::new());
    let mut target = node(&upstream);
    target["timeout"] = json!({"connect": 3, "send": 3, "read": 3});
    gate.admin().set("routes/slow", &json!({"uri": "/slow", "upstream": target})).await;
    let head = "POST /slow HTTP/1.1\r\nHost: localhost\r\n";
    for (case, bytes) in [
        ("nothing", String::new()),
        ("half a request line", "GET /sl".to_owned()),
        ("half a head", "GET /slow HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".to_owned()),
        ("half a body", format!("{head}Content-Length: 1000\r\n\r\nslow")),
        ("half a chunk", format!("{head}Transfer-Encoding: chunked\r\n\r\nff\r\nslow")),
        ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        ("half the preface", "PRI * HTT".to_owned()),
    ] {
        let mut connection = gate.connect().await;
        connection.send(bytes).await;
        slow.push((case, connection));
    }
    // An idle connection ends as well, after its pause.
    let mut idle = gate.connect().await;
    idle.send("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(idle.response().await.unwrap().status, 404);
    slow.push(("idle", idle));
    let mut ends = tokio::task::JoinSet::new();
    for (case, mut connection) in slow {
        ends.spawn(async move {
            // A silent HTTP/2 client is sent a ping first, and has 20 s to answer it.
            let limit = Duration::from_secs(45);
            (case, tokio::time::timeout(limit, connection.until_end()).await.ok())
        });
    }
    while let Some(end) = ends.join_next().await {
        let (case, said) = end.unwrap();
        let said = said.unwrap_or_else(|| panic!("{case}: never cut off"));
        let said = String::from_utf8_lossy(&said).into_owned();
        let late = case.starts_with("half a body") || case.starts_with("half a chunk");
        assert_eq!(said.starts_with("HTTP/1.1 408 "), late, "{case}: {said:?}");
    }
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn t17_idle_connections_and_stalled_handshakes_are_only_that() {
    let site = Site::new().await;
    let mut idle = Vec::new();
    for n in 0..2_000 {
        let port = site.gate.port(if n % 2 == 0 { 9080 } else { 9443 });
        idle.push(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap());
    }
    // Half a ClientHello: a record of 512 bytes of which four come.
    for n in 0..200 {
        let mut connection = Connection::open(site.gate.port(9443)).await;
        connection.send([0x16, 3, 1, 2, 0, 1, 0, 1].get(..5 + n % 4).unwrap()).await;
    }
    for _ in 0..20 {
        // Well below what a stalled handshake is given.
        let answer = tokio::time::timeout(Duration::from_secs(5), site.get("good")).await;
        assert_eq!(answer.expect("a good request waited for idle ones").status, 200);
    }
    let secure = Request::get(&site.target("good")).send_over(site.gate.connect_tls(9443).await).await;
    assert_eq!(secure.status, 200);
}
