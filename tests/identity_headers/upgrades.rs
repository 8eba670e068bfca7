//! H21 to H23: what may become another protocol, and when.

use serde_json::{Value, json};

use super::{bearer, protected};
use crate::support::{
    Answer, Connection, Provider, Request, Upstream,
    admin::node,
    shared,
    tls::{self, Wanted},
    unique,
};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What RFC 6455 section 1.3 computes from that key.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn websocket(target: &str) -> Request {
    Request::get(target)
        .header("Connection", "keep-alive, Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", KEY)
}

/// A route to `dev`'s WebSocket echo, with these plugins.
async fn echo(plugins: Value) -> String {
    let (gate, id) = (shared(), unique("ws-"));
    let echo = format!("127.0.0.1:{}", gate.port(9480));
    let host = format!("{id}.example");
    let route = json!({"uri": "/ws", "host": host, "enable_websocket": true, "plugins": plugins,
        "upstream": {"type": "roundrobin", "nodes": {echo: 1}}});
    gate.admin().set(&format!("routes/{id}"), &route).await;
    host
}

/// A text frame, masked as clients must (RFC 6455 section 5.3).
fn text_frame(text: &str) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut out = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap()];
    out.extend(mask);
    out.extend(text.bytes().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

#[tokio::test]
async fn h21_a_websocket_passes_where_the_route_allows_it() {
    let (gate, host) = (shared(), echo(json!({})).await);
    let mut connection = gate.connect().await;
    connection.send(websocket("/ws").header("Host", &host).bytes()).await;
    let answer = connection.response().await.unwrap();
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("sec-websocket-accept"), Some(ACCEPT));
    connection.send(text_frame("hello")).await;
    assert_eq!(connection.exactly(7).await, b"\x81\x05hello");
}

#[tokio::test]
async fn h21_a_websocket_needs_what_its_route_needs() {
    let provider = Provider::start("h-client");
    let (gate, host) = (shared(), echo(bearer(&provider)).await);
    let refused = gate.send(websocket("/ws").header("Host", &host)).await;
    assert_eq!(refused.status, 401);
    let forged = gate.send(websocket("/ws").header("Host", &host).bearer("a.b.c")).await;
    assert_eq!(forged.status, 401);
    let token = provider.access_token(&json!({}));
    assert_eq!(gate.send(websocket("/ws").header("Host", &host).bearer(&token)).await.status, 101);
}

#[tokio::test]
async fn h21_a_malformed_handshake_gets_no_101() {
    let (gate, host) = (shared(), echo(json!({})).await);
    let base = || {
        Request::get("/ws")
            .header("Host", &host)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
    };
    for (case, request) in [
        ("no key", base().header("Sec-WebSocket-Version", "13")),
        ("short key", base().header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Key", "c2hvcnQ=")),
        (
            "key that is no base64",
            base()
                .header("Sec-WebSocket-Version", "13")
                .header("Sec-WebSocket-Key", "!!!!!!!!!!!!!!!!!!!!!!=="),
        ),
        ("version 8", base().header("Sec-WebSocket-Version", "8").header("Sec-WebSocket-Key", KEY)),
        ("no version", base().header("Sec-WebSocket-Key", KEY)),
    ] {
        let answer = gate.send(request).await;
        assert!(matches!(answer.status, 400 | 426), "{case}: {}", answer.status);
    }
    let post = Request::new("POST", "/ws")
        .header("Host", &host)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket");
    let post = post.header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Key", KEY);
    assert_ne!(gate.send(post).await.status, 101);
}

#[tokio::test]
async fn h21_a_route_without_websockets_passes_none() {
    let (gate, upstream, path) = (shared(), Upstream::start(), unique("/no-ws-"));
    let route = json!({"uri": path, "upstream": node(&upstream)});
    gate.admin().set(&format!("routes{path}"), &route).await;
    upstream.answer(Answer::raw(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    )));
    let answer = gate.send(websocket(&path)).await;
    assert!(answer.status >= 400 || answer.status == 200, "{}", answer.status);
    assert!(upstream.seen().iter().all(|seen| seen.header("upgrade").is_none()));
}

#[tokio::test]
async fn h22_nothing_is_a_tunnel_before_a_101() {
    let (site, provider) = protected().await;
    let (open, path) = (Upstream::start(), unique("/upgrade-"));
    let route = json!({"uri": path, "enable_websocket": true, "upstream": node(&open)});
    site.gate.admin().set(&format!("routes{path}"), &route).await;
    for upgrade in ["foo", "websocket", "h2c", "websocket, foo", "TLS/1.0"] {
        let request = Request::get(&path)
            .header("Connection", "Upgrade")
            .header("Upgrade", upgrade)
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", KEY);
        let second = Request::get(&site.target("smuggled")).header("Connection", "close");
        let mut connection = site.gate.connect().await;
        connection.send([request.bytes(), second.bytes()].concat()).await;
        // The upstream answers 200: no upgrade. The bytes that follow are a request, and judged like one.
        let first = connection.response().await.unwrap();
        assert!(matches!(first.status, 200 | 502), "{upgrade}: {}", first.status);
        if let Some(second) = connection.response().await {
            assert_eq!(second.status, 401, "{upgrade}");
        }
    }
    assert!(!open.received().contains("smuggled"), "{}", open.received());
    assert!(site.upstream.received().is_empty());
    drop(provider);
}

#[tokio::test]
async fn h23_an_upgrade_to_h2c_is_not_passed_on() {
    let (gate, upstream, path) = (shared(), Upstream::start(), unique("/h2c-"));
    gate.admin().set(&format!("routes{path}"), &json!({"uri": path, "upstream": node(&upstream)})).await;
    let request = Request::get(&path)
        .header("Connection", "Upgrade, HTTP2-Settings")
        .header("Upgrade", "h2c")
        .header("HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA");
    let answer = gate.send(request).await;
    assert_eq!(answer.status, 200);
    let seen = upstream.seen().pop().unwrap();
    for gone in ["upgrade", "http2-settings"] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
    let kept = seen.header("connection").unwrap_or_default().to_lowercase();
    assert!(!kept.contains("upgrade") && !kept.contains("settings"), "{kept}");
    // The preface of HTTP/2 where TLS agreed on HTTP/1.1.
    let config = tls::client(&gate.authority(), &Wanted::default());
    let mut connection =
        Connection::over(tls::handshake(config, gate.port(9443), "localhost").await.unwrap());
    connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    connection.half_close().await;
    connection.rest().await;
    assert_eq!(upstream.seen().len(), 1);
}
