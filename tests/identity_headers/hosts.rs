//! H17 and H18: one host, and the one that TLS was set up for.

use serde_json::json;

use crate::support::{
    Connection, Request, Response, Upstream,
    admin::node,
    http2::Client,
    shared,
    tls::{self, Authority, Identity, Wanted},
    unique,
};

#[tokio::test]
async fn h17_a_host_is_one_name_in_one_form_or_a_400() {
    let (gate, upstream, host) = (shared(), Upstream::start(), format!("{}.example", unique("host-")));
    let route = json!({"uri": "/*", "host": host, "upstream": node(&upstream)});
    gate.admin().set(&format!("routes/{}", unique("host-")), &route).await;
    let ask = async |head: String| -> Option<u16> {
        let mut connection = gate.connect().await;
        connection.send(format!("{head}\r\nConnection: close\r\n\r\n")).await;
        connection.response().await.map(|answer| answer.status)
    };
    let upper = host.to_uppercase();
    for good in [
        format!("GET / HTTP/1.1\r\nHost: {host}"),
        format!("GET / HTTP/1.1\r\nHost: {upper}"),
        format!("GET / HTTP/1.1\r\nHost: {host}."),
        format!("GET / HTTP/1.1\r\nHost: {host}:9080"),
        format!("GET / HTTP/1.1\r\nHost: {upper}.:80"),
        format!("GET / HTTP/1.1\r\nhost:{host}"),
        format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}"),
    ] {
        assert_eq!(ask(good.clone()).await, Some(200), "{good:?}");
    }
    let before = upstream.seen().len();
    for bad in [
        format!("GET / HTTP/1.1\r\nHost: {host}\r\nHost: {host}"),
        format!("GET / HTTP/1.1\r\nHost: {host}\r\nHost: evil"),
        format!("GET / HTTP/1.1\r\nHost: evil\r\nHost: {host}"),
        "GET / HTTP/1.1\r\nHost:".to_owned(),
        "GET / HTTP/1.1\r\nX-No: host".to_owned(),
        format!("GET / HTTP/1.1\r\nHost: user@{host}"),
        format!("GET / HTTP/1.1\r\nHost: {host}@evil"),
        format!("GET / HTTP/1.1\r\nHost: {host}, evil"),
        format!("GET / HTTP/1.1\r\nHost: {host} evil"),
        format!("GET / HTTP/1.1\r\nHost: {host}/evil"),
        format!("GET / HTTP/1.1\r\nHost: {host}?evil"),
        format!("GET / HTTP/1.1\r\nHost: {host}#evil"),
        format!("GET / HTTP/1.1\r\nHost: {host}\\evil"),
        format!("GET / HTTP/1.1\r\nHost: {host}:port"),
        format!("GET / HTTP/1.1\r\nHost: {host}:99999"),
        format!("GET / HTTP/1.1\r\nHost: {host}:80:80"),
        format!("GET / HTTP/1.1\r\nHost: {host}\0"),
        format!("GET / HTTP/1.1\r\nHost: {host}%00"),
        format!("GET / HTTP/1.1\r\nHost: ..{host}/"),
        "GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]".to_owned(),
        "GET / HTTP/1.1\r\nHost: [fe80::1%eth0]:80".to_owned(),
        "GET / HTTP/1.1\r\nHost: [::1".to_owned(),
        format!("GET http://{host}/ HTTP/1.1\r\nHost: evil"),
        format!("GET http://evil/ HTTP/1.1\r\nHost: {host}"),
        format!("GET http://user@{host}/ HTTP/1.1\r\nHost: {host}"),
    ] {
        assert_eq!(ask(bad.clone()).await, Some(400), "{bad:?}");
    }
    assert_eq!(upstream.seen().len(), before);
}

#[tokio::test]
async fn h18_a_route_behind_client_certificates_is_not_reached_by_another_name() {
    let (gate, upstream) = (shared(), Upstream::start());
    let (servers, clients, folder) = (Authority::new(), Authority::new(), tempfile::tempdir().unwrap());
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, servers.pem()).unwrap();
    let (closed, open) = (format!("{}.example", unique("closed-")), format!("{}.example", unique("open-")));
    let ssl = |name: &str| -> Identity { servers.issue(&[name], |_| {}) };
    let identity = ssl(&closed);
    let resource = json!({"snis": [closed], "cert": identity.chain_pem(), "key": identity.key_pem(),
        "client": {"ca": clients.pem(), "depth": 1}});
    gate.admin().set(&format!("ssls/{}", unique("closed-")), &resource).await;
    let identity = ssl(&open);
    let resource = json!({"snis": [open], "cert": identity.chain_pem(), "key": identity.key_pem()});
    gate.admin().set(&format!("ssls/{}", unique("open-")), &resource).await;
    let route = json!({"uri": "/*", "hosts": [closed], "upstream": node(&upstream)});
    gate.admin().set(&format!("routes/{}", unique("closed-")), &route).await;

    let certificate = || Some(clients.issue(&["somebody"], |_| {}));
    let ask = async |sni: &str, host: &str, identity: Option<Identity>| -> Option<Response> {
        let config = tls::client(&path, &Wanted { identity, ..Wanted::default() });
        let stream = tls::handshake(config, gate.port(9443), sni).await.ok()?;
        let mut connection = Connection::over(stream);
        connection.send(Request::get("/x").header("Host", host).header("Connection", "close").bytes()).await;
        connection.response().await
    };
    assert!(ask(&closed, &closed, None).await.is_none(), "no certificate was needed");
    let stranger = Some(Authority::new().issue(&["stranger"], |_| {}));
    assert!(ask(&closed, &closed, stranger).await.is_none(), "a stranger's certificate was taken");
    assert_eq!(ask(&open, &closed, None).await.map(|answer| answer.status), Some(421));
    assert_eq!(ask(&open, &closed.to_uppercase(), None).await.map(|answer| answer.status), Some(421));
    assert_eq!(ask(&open, &format!("{closed}."), None).await.map(|answer| answer.status), Some(421));
    assert!(upstream.seen().is_empty());
    assert_eq!(ask(&closed, &closed, certificate()).await.map(|answer| answer.status), Some(200));

    // The same over HTTP/2, where one connection carries requests for many hosts.
    let config = tls::client(&path, &Wanted { alpn: &["h2"], ..Wanted::default() });
    let client = Client::over(tls::handshake(config, gate.port(9443), &open).await.unwrap()).await;
    let request = http::Request::get(format!("https://{closed}/x")).body(Vec::new()).unwrap();
    assert_eq!(client.send(request, None).await.unwrap().status, 421);
    assert_eq!(upstream.seen_with("/x").len(), 1);
}

#[tokio::test]
async fn h18_a_client_hello_in_pieces_is_read_whole() {
    let gate = shared();
    let config = tls::client(&gate.authority(), &Wanted::default());
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    let mut session = rustls::ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    let mut connection = Connection::open(gate.port(9443)).await;
    for piece in hello.chunks(7) {
        connection.send(piece).await;
        tokio::task::yield_now().await;
    }
    // A handshake record (22) with a ServerHello, not an alert (21).
    assert_eq!(connection.first_byte().await, Some(0x16));
}
