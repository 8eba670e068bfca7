//! T29 and T30: TLS towards clients and upstreams.

use std::time::Duration;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose};
use serde_json::json;

use crate::support::{
    Connection, Probe, Request, Site, Upstream,
    admin::node,
    shared,
    tls::{self, Authority, Wanted},
    unique,
};

/// A ClientHello by hand, for versions and suites that no maintained library offers.
fn hello(version: [u8; 2], suites: &[u16], extensions: &[u8]) -> Vec<u8> {
    let mut body = version.to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.extend(u16::try_from(suites.len() * 2).unwrap().to_be_bytes());
    suites.iter().for_each(|suite| body.extend(suite.to_be_bytes()));
    body.extend([1, 0]);
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let mut handshake = vec![1, 0];
    handshake.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    handshake.extend(body);
    let mut record = vec![0x16, 3, 1];
    record.extend(u16::try_from(handshake.len()).unwrap().to_be_bytes());
    record.extend(handshake);
    record
}

/// Extensions that any server can use: groups, point formats, signature algorithms.
fn usual() -> Vec<u8> {
    let mut out = vec![0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0];
    out.extend([0, 13, 0, 8, 0, 6, 4, 3, 8, 4, 4, 1]);
    out
}

#[tokio::test]
async fn t29_old_versions_and_weak_suites_are_refused() {
    let site = Site::new().await;
    let mut probe = Probe::new(&site);
    let good = [0xc02b, 0xc02f, 0xc02c, 0xc030];
    for (case, bytes) in [
        ("SSL 3.0", hello([3, 0], &good, &usual())),
        ("TLS 1.0", hello([3, 1], &good, &usual())),
        ("TLS 1.1", hello([3, 2], &good, &usual())),
        ("RC4", hello([3, 3], &[0x0005, 0xc007, 0xc011], &usual())),
        ("3DES", hello([3, 3], &[0x000a, 0xc008, 0xc012], &usual())),
        ("CBC", hello([3, 3], &[0x002f, 0x0035, 0xc009, 0xc013, 0xc014, 0xc027], &usual())),
        ("RSA key exchange", hello([3, 3], &[0x009c, 0x009d], &usual())),
        ("anonymous", hello([3, 3], &[0x0034, 0xc018, 0xc019], &usual())),
        ("NULL", hello([3, 3], &[0x0001, 0x0002, 0x003b], &usual())),
        ("no suites", hello([3, 3], &[], &usual())),
        ("SSL 2 hello", vec![0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10, 1, 0, 0x80, 3, 0, 0x80]),
        ("plain HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("noise", vec![0x5a; 512]),
        ("a record of 2^14 + 1", [&[0x16, 3, 1, 0x40, 1][..], &[1; 0x4001]].concat()),
    ] {
        let mut connection = Connection::open(site.gate.port(9443)).await;
        connection.send(bytes).await;
        connection.half_close().await;
        let rest = connection.rest().await;
        // An alert record (21), or nothing; never a ServerHello (22), never an HTTP answer.
        let refused = rest.is_empty() || (rest[0] == 0x15 && rest.len() < 16);
        probe.check(case, refused, format!("answered {rest:02x?}"));
    }
    let config = tls::client(
        &site.gate.authority(),
        &Wanted { versions: &[&rustls::version::TLS12], ..Wanted::default() },
    );
    probe.check(
        "TLS 1.2",
        tls::handshake(config, site.gate.port(9443), "localhost").await.is_ok(),
        "is refused",
    );
    let config = tls::client(
        &site.gate.authority(),
        &Wanted { versions: &[&rustls::version::TLS13], ..Wanted::default() },
    );
    probe.check(
        "TLS 1.3",
        tls::handshake(config, site.gate.port(9443), "localhost").await.is_ok(),
        "is refused",
    );
    probe.finish().await;
}

#[tokio::test]
async fn t29_a_client_with_foreign_protocols_only_is_refused() {
    let gate = shared();
    let wanted = Wanted { alpn: &["spdy/3", "foo"], ..Wanted::default() };
    let refused = tls::handshake(tls::client(&gate.authority(), &wanted), gate.port(9443), "localhost").await;
    assert!(refused.unwrap_err().to_string().contains("NoApplicationProtocol"));
    // Without any it is HTTP/1.1.
    let config = tls::client(&gate.authority(), &Wanted { alpn: &[], ..Wanted::default() });
    let stream = tls::handshake(config, gate.port(9443), "localhost").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), None);
    assert_eq!(Request::get("/nothing").send_over(Connection::over(stream)).await.status, 404);
}

#[tokio::test]
async fn t29_a_resumed_session_offers_no_early_data() {
    let gate = shared();
    let config = tls::client(&gate.authority(), &Wanted::default());
    let mut config = (*config).clone();
    config.enable_early_data = true;
    let config = std::sync::Arc::new(config);
    for _ in 0..3 {
        let stream = tls::handshake(config.clone(), gate.port(9443), "localhost").await.unwrap();
        assert!(!stream.get_ref().1.is_early_data_accepted());
        Request::get("/nothing").send_over(Connection::over(stream)).await;
    }
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    let mut session = rustls::ClientConnection::new(config, name).unwrap();
    assert!(session.early_data().is_none(), "a POST could be replayed");
}

#[tokio::test]
async fn t29_names_without_a_certificate_do_not_get_a_wrong_one() {
    let gate = shared();
    let config = tls::client(&gate.authority(), &Wanted::default());
    for name in ["unknown.example", "localhost.example", "a.localhost"] {
        let refused = tls::handshake(config.clone(), gate.port(9443), name).await;
        assert!(refused.is_err(), "{name} was verified");
    }
    // What no SNI can be: too long, empty, with a NUL. The answer is an alert or a certificate; the process stays.
    for name in [&b""[..], b"a\0b", b"..", &[b'a'; 400], b"127.0.0.1", b"\xff\xfe"] {
        let mut extensions = usual();
        let length = |more: usize| u16::try_from(name.len() + more).unwrap().to_be_bytes();
        extensions.extend([0, 0]);
        extensions.extend(length(5));
        extensions.extend(length(3));
        extensions.push(0);
        extensions.extend(length(0));
        extensions.extend(name);
        let mut connection = Connection::open(gate.port(9443)).await;
        connection.send(hello([3, 3], &[0xc02b, 0xc02f], &extensions)).await;
        connection.half_close().await;
        connection.rest().await;
    }
    let good = tls::handshake(config, gate.port(9443), "localhost").await;
    assert!(good.is_ok() && gate.is_running());
}

#[tokio::test]
async fn t29_certificates_by_sni_take_effect_at_once() {
    let gate = shared();
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, authority.pem()).unwrap();
    let host = format!("{}.example", unique("sni-"));
    let config = tls::client(&path, &Wanted::default());
    assert!(tls::handshake(config.clone(), gate.port(9443), &host).await.is_err());
    let identity = authority.issue(&[&host], |_| {});
    let resource = json!({"snis": [host], "cert": identity.chain_pem(), "key": identity.key_pem()});
    let id = unique("ssl-");
    gate.admin().set(&format!("ssls/{id}"), &resource).await;
    tls::handshake(config.clone(), gate.port(9443), &host).await.unwrap();
    assert_eq!(gate.admin().delete(&format!("ssls/{id}")).await.status, 200);
    assert!(tls::handshake(config, gate.port(9443), &host).await.is_err());
}

#[tokio::test]
async fn t29_a_client_certificate_chain_of_100_is_no_burden() {
    let gate = shared();
    let authority = Authority::new();
    let mut identity = authority.issue(&["client"], |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let links = (0..99).map(|_| authority.issue(&["link"], |_| {}).chain.remove(0)).collect::<Vec<_>>();
    identity.chain.extend(links);
    let wanted = Wanted { identity: Some(identity), ..Wanted::default() };
    let config = tls::client(&gate.authority(), &wanted);
    // TLS 1.3 tells the client after its own handshake is done: at the first read at the latest.
    let answer = tokio::time::timeout(Duration::from_secs(5), async {
        let stream = tls::handshake(config, gate.port(9444), "localhost").await.ok()?;
        let mut connection = Connection::over(stream);
        connection.send(Request::get("/nothing").header("Connection", "close").bytes()).await;
        connection.response().await
    });
    let answer = answer.await.expect("the handshake took too long");
    assert!(answer.is_none_or(|answer| answer.status != 200));
    // A client without a certificate is served on the same port.
    let config = tls::client(&gate.authority(), &Wanted::default());
    let stream = tls::handshake(config, gate.port(9444), "localhost").await.unwrap();
    assert_eq!(Request::get("/nothing").send_over(Connection::over(stream)).await.status, 404);
}

#[tokio::test]
async fn t30_an_upstream_that_cannot_prove_itself_is_a_502() {
    let gate = shared();
    let authority = Authority::new();
    let past = |params: &mut CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    };
    let future = |params: &mut CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2090, 1, 1);
        params.not_after = rcgen::date_time_ymd(2091, 1, 1);
    };
    let clients_only = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    };
    let mut failures = Vec::new();
    for (case, identity) in [
        ("an unknown authority", authority.issue(&["127.0.0.1", "localhost"], |_| {})),
        ("another name", authority.issue(&["other.example"], |_| {})),
        ("an expired one", authority.issue(&["127.0.0.1"], past)),
        ("one for the future", authority.issue(&["127.0.0.1"], future)),
        ("one for clients", authority.issue(&["127.0.0.1"], clients_only)),
    ] {
        let upstream = Upstream::over_tls(tls::server(&identity));
        let (id, path) = (unique("tls-"), unique("/tls-"));
        let mut target = node(&upstream);
        target["scheme"] = json!("https");
        gate.admin().set(&format!("routes/{id}"), &json!({"uri": path, "upstream": target})).await;
        let answer = gate.get(&path).await;
        if answer.status != 502 || !upstream.seen().is_empty() {
            failures.push(format!(
                "{case}: answered {}, the upstream saw {:?}",
                answer.status,
                upstream.seen()
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[tokio::test]
async fn t30_an_upstream_is_trusted_unverified_only_when_told_so() {
    let gate = shared();
    let upstream = Upstream::over_tls(tls::server(&Authority::new().issue(&["other.example"], |_| {})));
    let (id, path) = (unique("tls-"), unique("/tls-"));
    let mut target = node(&upstream);
    target["scheme"] = json!("https");
    target["tls"] = json!({"verify": false});
    let answer = gate.admin().put(&format!("routes/{id}"), &json!({"uri": path, "upstream": target})).await;
    // Either this build knows how to leave verification out, and says so, or it refuses the attribute by name.
    match answer.status {
        201 => assert_eq!(gate.get(&path).await.status, 200),
        400 => assert!(answer.text().contains("verify"), "{}", answer.text()),
        other => panic!("{other}: {}", answer.text()),
    }
}

#[tokio::test]
async fn t30_an_upstream_that_asks_for_a_certificate_is_shown_the_one_that_is_named() {
    let gate = shared();
    let (clients, strangers) = (Authority::new(), Authority::new());
    let server = Authority::new().issue(&["upstream.example"], |_| {});
    let upstream = Upstream::over_tls(tls::server_for(&server, &clients));
    let ssl = |authority: &Authority| {
        let identity = authority.issue(&["the gate"], |params: &mut CertificateParams| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        });
        json!({"type": "client", "cert": identity.chain_pem(), "key": identity.key_pem()})
    };
    let (ssl_id, path) = (unique("ssl-"), unique("/mtls-"));
    gate.admin().set(&format!("ssls/{ssl_id}"), &ssl(&clients)).await;
    let mut target = node(&upstream);
    target["scheme"] = json!("https");
    target["tls"] = json!({"verify": false});
    let route = |upstream: &serde_json::Value| json!({"uri": path, "upstream": upstream});
    let id = format!("routes/{}", unique("mtls-"));
    gate.admin().set(&id, &route(&target)).await;
    assert_eq!(gate.get(&path).await.status, 502, "no certificate was needed");
    target["tls"]["client_cert_id"] = json!(ssl_id);
    gate.admin().set(&id, &route(&target)).await;
    assert_eq!(gate.get(&path).await.status, 200);
    // By an upstream of its own too; and a certificate that changes is the new one at once.
    let upstream_id = unique("mtls-");
    gate.admin().set(&format!("upstreams/{upstream_id}"), &target).await;
    gate.admin().set(&id, &json!({"uri": path, "upstream_id": upstream_id})).await;
    assert_eq!(gate.get(&path).await.status, 200);
    gate.admin().set(&format!("ssls/{ssl_id}"), &ssl(&strangers)).await;
    assert_eq!(gate.get(&path).await.status, 502);
    gate.admin().set(&format!("ssls/{ssl_id}"), &ssl(&clients)).await;
    assert_eq!(gate.get(&path).await.status, 200);
}
