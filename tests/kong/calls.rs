//! Calls of gRPC.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request as HttpRequest};
use tokio::net::TcpListener;

use super::{
    support::{
        http2::Client,
        tls::{self, Wanted},
    },
    *,
};

/// A server of one method, which says what it was sent and called as.
async fn calls() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    tokio::spawn(async move {
                        let path = request.uri().path().to_owned();
                        let mut body = request.into_body();
                        let head = http::Response::builder().header("content-type", "application/grpc");
                        let mut out = respond.send_response(head.body(()).unwrap(), false).unwrap();
                        while let Some(Ok(data)) = body.data().await {
                            body.flow_control().release_capacity(data.len()).unwrap();
                            out.send_data(data, false).unwrap();
                        }
                        out.send_data(Bytes::from(path), false).unwrap();
                        let status = (HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
                        out.send_trailers(HeaderMap::from_iter([status])).unwrap();
                    });
                }
            });
        }
    });
    address
}

fn call(path: &str, kind: Option<&str>) -> HttpRequest<Vec<u8>> {
    let mut request = HttpRequest::post(format!("http://localhost{path}")).header("te", "trailers");
    if let Some(kind) = kind {
        request = request.header("content-type", kind);
    }
    request.body(b"message ".to_vec()).unwrap()
}

#[tokio::test]
async fn calls_of_grpc_reach_their_service_and_nothing_else_does() {
    let (kong, server) = (Kong::new().await, calls().await);
    let service = format!("{}-grpc", kong.name);
    kong.made("POST", "/services", json!({"name": service, "url": format!("grpc://{server}")})).await;
    for protocol in ["grpc", "grpcs"] {
        let body = json!({"protocols": [protocol], "paths": [format!("/{}.{protocol}/", kong.name)]});
        let route = kong.made("POST", &format!("/services/{service}/routes"), body).await;
        assert_eq!(route["strip_path"], json!(false));
    }
    let (plain, over_tls) = (format!("/{}.grpc/Say", kong.name), format!("/{}.grpcs/Say", kong.name));
    let client = Client::open(kong.gate.port(9080)).await;
    for kind in ["application/grpc", "application/grpc+proto"] {
        let answer = client.send(call(&plain, Some(kind)), None).await.unwrap();
        assert_eq!((answer.status, answer.body), (200, format!("message {plain}").into_bytes()));
        assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
    }
    for kind in [None, Some("application/json")] {
        let answer = client.send(call(&plain, kind), None).await.unwrap();
        let told: Value = serde_json::from_slice(&answer.body).unwrap();
        let expected = json!({"message": "Non-gRPC request matched gRPC route"});
        assert_eq!((answer.status, told), (415, expected), "{kind:?}");
    }
    let older = Request::new("POST", &plain).header("Content-Type", "application/grpc").body("x");
    let answer = kong.send(older).await;
    assert_eq!((answer.status, answer.header("upgrade")), (426, Some("HTTP/2")));
    assert_eq!(answer.json(), json!({"message": "Please use HTTP2 protocol"}));
    // What must come over TLS.
    let answer = client.send(call(&over_tls, Some("application/grpc")), None).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(answer.headers["grpc-status"], "1");
    assert_eq!(answer.headers["grpc-message"], "gRPC request matched gRPCs route");
    let config = tls::client(&kong.gate.authority(), &Wanted { alpn: &["h2"], ..Wanted::default() });
    let stream = tls::handshake(config, kong.gate.port(9443), "localhost").await.unwrap();
    let client = Client::over(stream).await;
    for path in [&plain, &over_tls] {
        let answer = client.send(call(path, Some("application/grpc")), None).await.unwrap();
        assert_eq!((answer.status, answer.body), (200, format!("message {path}").into_bytes()));
        assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
    }
}

#[tokio::test]
async fn what_does_not_go_with_grpc_is_refused_in_kongs_words() {
    let kong = Kong::new().await;
    let routes = format!("/services/{}/routes", kong.name);
    let whole = |text: &str| json!({"@entity": [text]});
    for (body, fields) in [
        (
            json!({"protocols": ["grpc"]}),
            whole("must set one of 'hosts', 'headers', 'paths' when 'protocols' is 'grpc'"),
        ),
        (
            json!({"protocols": ["grpc", "grpcs"]}),
            whole("must set one of 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'grpcs'"),
        ),
        (
            json!({"protocols": ["grpc"], "paths": ["/"], "methods": ["GET"]}),
            json!({"methods": "cannot set 'methods' when 'protocols' is 'grpc' or 'grpcs'"}),
        ),
        (
            json!({"protocols": ["grpcs"], "paths": ["/"], "strip_path": true}),
            json!({"strip_path": "cannot set 'strip_path' when 'protocols' is 'grpc' or 'grpcs'"}),
        ),
        (
            json!({"protocols": ["grpc", "https"], "paths": ["/"]}),
            json!({"protocols": "these sets are mutually exclusive: ('http', 'https'), ('grpc', 'grpcs')"}),
        ),
        (
            json!({"protocols": ["grpc"], "paths": ["/"], "snis": ["a.example"]}),
            whole("'snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or 'tls_passthrough'"),
        ),
    ] {
        let answer = kong.call("POST", &routes, body.clone()).await;
        assert_eq!((answer.status, &answer.json()["fields"]), (400, &fields), "{body}");
    }
    let service = json!({"host": "a.example", "protocol": "grpc", "path": "/x"});
    let answer = kong.call("POST", "/services", service).await;
    let reasons = json!({
        "@entity": ["failed conditional validation given value of field 'protocol'"], "path": "value must be null",
    });
    assert_eq!((answer.status, &answer.json()["fields"]), (400, &reasons));
}
