//! The echo upstream of `dev`, shaped like httpbin: it answers with the request it got, so that one sees what the
//! gateway sends.

use std::{collections::BTreeMap, convert::Infallible, net::SocketAddr, time::Duration};

use aws_lc_rs::digest;
use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse, Response},
};
use base::Random;
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::{SinkExt, StreamExt, stream};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

/// Bytes of a body that is shown.
const MAX_BODY: usize = 10 << 20;
/// Seconds that `/delay` waits at most.
const MAX_DELAY: f64 = 60.0;
/// Bytes that `/bytes` sends at most.
const MAX_BYTES: usize = 1 << 30;
/// Lines that `/stream` sends at most.
const MAX_LINES: usize = 1_000_000;
/// Bytes sent at a time.
const CHUNK: usize = 64 << 10;

/// The echo service.
pub(crate) fn router(random: Random) -> Router {
    Router::new().fallback(answer).with_state(random)
}

async fn answer(State(random): State<Random>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let mut segments = path.trim_start_matches('/').splitn(2, '/');
    match (segments.next().unwrap_or_default(), segments.next()) {
        ("get", None) => get(request),
        ("headers", None) => pretty(&json!({ "headers": headers_of(request.headers()) })),
        ("status", Some(code)) => status(code),
        ("delay", Some(seconds)) => delay(seconds, request).await,
        ("bytes", Some(count)) => random_bytes(count, &random),
        ("stream", Some(count)) => lines(count, request),
        ("ws", None) => websocket(request),
        _ => anything(request).await,
    }
}

async fn anything(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return fault(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 10 MiB or broke off");
    };
    let mut shown = describe(&parts);
    let kind =
        parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_form = kind.starts_with("application/x-www-form-urlencoded");
    let form = if is_form { pairs(&body) } else { Value::Object(Map::new()) };
    let data = match std::str::from_utf8(&body) {
        _ if is_form => String::new(),
        Ok(text) => text.to_owned(),
        Err(_) => format!("data:application/octet-stream;base64,{}", STANDARD.encode(&body)),
    };
    shown.insert("json".to_owned(), serde_json::from_slice(&body).unwrap_or_default());
    shown.insert("data".to_owned(), Value::from(data));
    shown.insert("files".to_owned(), json!({}));
    shown.insert("form".to_owned(), form);
    shown.insert("method".to_owned(), Value::from(parts.method.as_str()));
    pretty(&Value::Object(shown))
}

fn get(request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        let mut refused = fault(StatusCode::METHOD_NOT_ALLOWED, "/get takes GET");
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
        return refused;
    }
    pretty(&Value::Object(describe(&request.into_parts().0)))
}

fn status(code: &str) -> Response {
    match code.parse().ok().and_then(|code: u16| StatusCode::from_u16(code).ok()) {
        // Informational answers and a switch of protocols are not answers of their own.
        Some(code) if code.as_u16() >= 200 && code.as_u16() < 600 => {
            let mut response = code.into_response();
            if code.is_redirection() {
                response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/get"));
            }
            response
        }
        _ => fault(StatusCode::BAD_REQUEST, "the status must be a number from 200 to 599"),
    }
}

async fn delay(seconds: &str, request: Request) -> Response {
    match seconds.parse::<f64>() {
        Ok(seconds) if (0.0..=MAX_DELAY).contains(&seconds) => {
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            anything(request).await
        }
        _ => fault(StatusCode::BAD_REQUEST, "the delay must be a number of seconds from 0 to 60"),
    }
}

fn random_bytes(count: &str, random: &Random) -> Response {
    let Some(count) = count.parse().ok().filter(|count: &usize| *count <= MAX_BYTES) else {
        return fault(StatusCode::BAD_REQUEST, "the count must be a number of bytes, 1 GiB at most");
    };
    let mut block = vec![0; count.min(CHUNK)];
    random.fill(&mut block);
    let block = Bytes::from(block);
    let chunks = stream::unfold(count, move |left| {
        let chunk = block.slice(..left.min(block.len()));
        std::future::ready((left > 0).then(|| (Ok::<_, Infallible>(chunk.clone()), left - chunk.len())))
    });
    let mut response = Response::new(Body::from_stream(chunks));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(count));
    response
}

fn lines(count: &str, request: Request) -> Response {
    let Some(count) = count.parse().ok().filter(|count: &usize| *count <= MAX_LINES) else {
        return fault(StatusCode::BAD_REQUEST, "the count must be a number of lines, 1000000 at most");
    };
    let shown = describe(&request.into_parts().0);
    let lines = stream::iter(0..count).map(move |id| {
        let mut line = shown.clone();
        line.insert("id".to_owned(), Value::from(id));
        Ok::<_, Infallible>(format!("{}\n", Value::Object(line)))
    });
    let mut response = Response::new(Body::from_stream(lines));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Sends every message back (RFC 6455).
fn websocket(mut request: Request) -> Response {
    const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let asks = request
        .headers()
        .get(header::UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).filter(|_| asks).cloned();
    let upgrade = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
    let (Some(key), Some(upgrade)) = (key, upgrade) else {
        let mut refused = fault(StatusCode::UPGRADE_REQUIRED, "/ws speaks WebSocket");
        refused.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        return refused;
    };
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            let (Message::Text(_) | Message::Binary(_)) = &message else { continue };
            if socket.send(message).await.is_err() {
                break;
            }
        }
    });
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), KEY_SUFFIX].concat());
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&STANDARD.encode(digest)) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// What every answer shows: `args`, `headers`, `origin`, `url`.
fn describe(parts: &Parts) -> Map<String, Value> {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip().to_string());
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let origin = text("x-forwarded-for").map(str::to_owned).or(peer).unwrap_or_default();
    let scheme = text("x-forwarded-proto").unwrap_or("http");
    let host =
        text("x-forwarded-host").or_else(|| text("host")).or_else(|| parts.uri.host()).unwrap_or("localhost");
    let port = text("x-forwarded-port")
        .filter(|_| !host.contains(':'))
        .filter(|port| !matches!(*port, "80" | "443"));
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let mut shown = Map::new();
    shown.insert("args".to_owned(), args(&parts.uri));
    shown.insert("headers".to_owned(), headers_of(&parts.headers));
    shown.insert("origin".to_owned(), Value::from(origin));
    shown.insert("url".to_owned(), Value::from(format!("{scheme}://{host}{port}{target}")));
    shown
}

fn args(uri: &Uri) -> Value {
    pairs(uri.query().unwrap_or_default().as_bytes())
}

/// Form-encoded pairs; a name given more than once has a list.
fn pairs(encoded: &[u8]) -> Value {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(encoded) {
        all.entry(name.into_owned()).or_default().push(value.into_owned());
    }
    let value =
        |mut values: Vec<String>| if values.len() == 1 { values.pop().into() } else { Value::from(values) };
    all.into_iter().map(|(name, values)| (name, value(values))).collect::<Map<_, _>>().into()
}

/// Headers under the names httpbin prints (`X-Access-Token`), sorted, repeated ones joined by commas.
fn headers_of(headers: &HeaderMap) -> Value {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        all.entry(title_case(name.as_str()))
            .and_modify(|line| {
                line.push(',');
                line.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    all.into_iter().map(|(name, value)| (name, Value::from(value))).collect::<Map<_, _>>().into()
}

fn title_case(name: &str) -> String {
    let mut start = true;
    name.chars()
        .map(|letter| {
            let upper = std::mem::replace(&mut start, letter == '-');
            if upper { letter.to_ascii_uppercase() } else { letter }
        })
        .collect()
}

fn pretty(value: &Value) -> Response {
    let text = serde_json::to_string_pretty(&sorted(value)).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], text + "\n").into_response()
}

/// The top level in alphabetical order, as httpbin has it.
fn sorted(value: &Value) -> BTreeMap<&String, &Value> {
    value.as_object().into_iter().flatten().collect()
}

fn fault(status: StatusCode, reason: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{}\n", json!({ "error": reason })))
        .into_response()
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt;

    use super::*;

    async fn ask(request: Request) -> (StatusCode, HeaderMap, Vec<u8>) {
        let response = router(Random::seeded(1)).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts.status, parts.headers, to_bytes(body, usize::MAX).await.unwrap().to_vec())
    }

    fn request(method: &str, path: &str, body: &'static str) -> Request {
        let builder =
            axum::http::Request::builder().method(method).uri(path).header("host", "localhost:9480");
        builder.header("x-access-token", "t").header("x-id-token", "i").body(Body::from(body)).unwrap()
    }

    #[tokio::test]
    async fn any_path_shows_the_request_under_names_as_httpbin_prints_them() {
        let (status, _, body) = ask(request("POST", "/v1/things?a=1&a=2&b=", "{\"x\":1}")).await;
        let shown: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(status, 200);
        assert_eq!(shown["headers"]["X-Access-Token"], "t");
        assert_eq!(shown["headers"]["X-Id-Token"], "i");
        assert_eq!(shown["args"], json!({"a": ["1", "2"], "b": ""}));
        assert_eq!(shown["json"], json!({"x": 1}));
        assert_eq!(shown["method"], "POST");
        assert_eq!(shown["url"], "http://localhost:9480/v1/things?a=1&a=2&b=");
    }

    #[tokio::test]
    async fn statuses_bytes_and_streams_are_as_asked() {
        assert_eq!(ask(request("GET", "/status/418", "")).await.0, 418);
        assert_eq!(ask(request("GET", "/status/101", "")).await.0, 400);
        assert_eq!(ask(request("GET", "/status/x", "")).await.0, 400);
        let (_, headers, body) = ask(request("GET", "/bytes/200000", "")).await;
        assert_eq!((headers["content-length"].to_str().unwrap(), body.len()), ("200000", 200_000));
        assert_eq!(ask(request("GET", "/bytes/0", "")).await.2.len(), 0);
        assert_eq!(ask(request("GET", "/bytes/99999999999", "")).await.0, 400);
        let (_, _, body) = ask(request("GET", "/stream/3", "")).await;
        let lines: Vec<Value> =
            body.split(|b| *b == b'\n').filter_map(|l| serde_json::from_slice(l).ok()).collect();
        assert_eq!(lines.iter().map(|line| line["id"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(ask(request("POST", "/get", "")).await.0, 405);
        assert_eq!(ask(request("GET", "/ws", "")).await.0, 426);
        assert_eq!(ask(request("GET", "/delay/-1", "")).await.0, 400);
        assert_eq!(ask(request("GET", "/delay/0.01", "")).await.0, 200);
    }
}
