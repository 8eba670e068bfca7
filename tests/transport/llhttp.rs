//! T27: the fixtures of llhttp, the parser of Node.js, in its strict mode.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::support::{Connection, Portcullis, Upstream, admin::node, http1::Kind};

const FIXTURES: &str = include_str!("../vectors/llhttp/request.tsv");

/// llhttp's errors that are none: the connection is over, or becomes another protocol.
const CLOSED: u32 = 5;
const UPGRADE: u32 = 22;
const PREFACE: u32 = 23;

/// Where the gateway forwards another number of requests than llhttp completes, and why.
const EXCEPTIONS: &[(&str, &str, usize, &str)] = &[
    (
        "connection",
        "Multiple tokens with folding and LWS",
        0,
        "a handshake of WebSocket that is none has a 426 (H21)",
    ),
    ("connection", "Upgrade GET request", 0, "a handshake of WebSocket that is none has a 426 (H21)"),
    (
        "content-length",
        "Content-Length reset when no body is received",
        0,
        "the fixture skips bodies; here the first one never ends",
    ),
    ("invalid", "HTTP protocol and ANNOUNCE method", 1, "a method is a token (RFC 9110 section 9.1)"),
    ("invalid", "Invalid method", 1, "a method is a token (RFC 9110 section 9.1)"),
    ("method", "CONNECT request", 0, "no tunnels (H24)"),
    ("method", "CONNECT request with CAPS", 0, "no tunnels (H24)"),
    ("method", "CONNECT with body", 0, "no tunnels (H24)"),
    ("method", "M-SEARCH request", 0, "the asterisk is no path that a route could have"),
    ("method", "SOURCE request with ICE", 0, "no protocol but HTTP"),
    ("method", "OPTIONS request with RTSP", 0, "no protocol but HTTP"),
    ("method", "ANNOUNCE request with RTSP", 0, "no protocol but HTTP"),
    ("sample", "curl GET", 0, "`0.0.0.0=5000` is no host (H17)"),
    ("sample", "Firefox GET", 0, "`0.0.0.0=5000` is no host (H17)"),
    ("sample", "No HTTP version", 0, "no HTTP/0.9"),
    ("transfer-encoding", "No extension after semicolon", 1, "chunk extensions are skipped unread"),
    (
        "transfer-encoding",
        "POST with `chunked` as last transfer-encoding",
        0,
        "chunked is the one transfer coding (T03)",
    ),
    (
        "transfer-encoding",
        "POST with `chunked` as last transfer-encoding (multiple headers)",
        0,
        "chunked is the one transfer coding (T03)",
    ),
    ("uri", "Quotes in URI", 0, "quotes must be escaped (RFC 3986 section 2)"),
    ("uri", "Host terminated by a query string", 0, "the target names another host than `Host` does (H17)"),
    (
        "uri",
        "`host:port` terminated by a query string",
        0,
        "the target names another host than `Host` does (H17)",
    ),
    ("uri", "`host:port` terminated by a space", 0, "the target names another host than `Host` does (H17)"),
    ("uri", "Underscore in hostname", 0, "no tunnels (H24)"),
    ("uri", "`host:port` and basic auth", 0, "a target has no user information (RFC 9110 section 4.2.4)"),
];

struct Fixture {
    file: &'static str,
    title: &'static str,
    /// Messages that llhttp completes.
    messages: usize,
    error: u32,
    input: Vec<u8>,
}

fn fixtures() -> Vec<Fixture> {
    let all: Vec<Fixture> = FIXTURES
        .lines()
        .map(|line| {
            let [file, title, messages, error, input] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("not a fixture: {line}")
            };
            let (messages, error) = (messages.parse().unwrap(), error.parse().unwrap());
            Fixture { file, title, messages, error, input: STANDARD.decode(input).unwrap() }
        })
        .collect();
    assert_eq!(all.len(), 134);
    all
}

#[tokio::test]
async fn t27_llhttp_and_the_gateway_accept_and_refuse_the_same() {
    let (gate, upstream) = (Portcullis::dev(), Upstream::start());
    gate.admin().set("routes/all", &json!({"uri": "/*", "upstream": node(&upstream)})).await;
    let (mut failures, mut exceptions) = (Vec::new(), 0);
    for fixture in fixtures() {
        let Fixture { file, title, messages, error, input } = &fixture;
        let exception = EXCEPTIONS.iter().find(|(f, t, ..)| f == file && t == title);
        let wanted = exception.map_or(*messages, |(_, _, forwarded, _)| *forwarded);
        let before = upstream.seen().len();
        let mut connection = Connection::open(gate.port(9080)).await;
        connection.send(input).await;
        let kind = if input.starts_with(b"HEAD ") { Kind::Bodiless } else { Kind::Response };
        // The client's end comes after the answers.
        for _ in 0..wanted {
            match connection.response_of(kind).await {
                Some(answer) if answer.status == 200 => {}
                other => failures.push(format!("{file}: {title}: not served: {other:?}")),
            }
        }
        connection.half_close().await;
        let rest = String::from_utf8_lossy(&connection.rest().await).into_owned();
        let seen = upstream.seen().split_off(before);
        if seen.len() != wanted {
            failures.push(format!(
                "{file}: {title}: llhttp {messages} (error {error}), forwarded {}, then {rest:?}, input {:?}",
                seen.len(),
                String::from_utf8_lossy(input)
            ));
        }
        // What breaks off has no answer; what is whole and refused is told so.
        let whole = input.windows(4).any(|end| end == b"\r\n\r\n");
        let refused = *error != 0 && ![CLOSED, UPGRADE, PREFACE].contains(error);
        let told =
            rest.get(9..12).is_some_and(|status| status.starts_with('4') || matches!(status, "501" | "505"));
        if wanted == 0 && whole && (refused || exception.is_some()) && !told {
            failures.push(format!("{file}: {title}: refused without saying so: {rest:?}"));
        }
        for seen in &seen {
            let framing =
                [seen.message.all("content-length"), seen.message.all("transfer-encoding")].concat();
            if framing.len() > 1 || seen.message.all("host").len() != 1 {
                failures.push(format!("{file}: {title}: sent on as {:?}", seen.message));
            }
        }
        if let Some((_, _, forwarded, _)) = exception {
            exceptions += 1;
            if forwarded == messages {
                failures.push(format!("{file}: {title}: is no exception"));
            }
        }
    }
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(exceptions, EXCEPTIONS.len(), "an exception has no fixture");
    assert_eq!(gate.get("/good").await.status, 200);
}
