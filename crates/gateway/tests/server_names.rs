//! TLS towards targets: which name is sent, which certificate is believed, and what clients can choose of it.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod support;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

use gateway::{
    engine::Limits,
    route::Plan,
    upstream::{
        Balance, FailureWords, HostRewrite, KeepAlive, Node, Scheme, Timeouts, TlsPolicy, UpstreamSpec,
    },
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::aws_lc_rs};
use support::{Gate, OK, route_for};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A target that shows a certificate for `names`, answers everything, and tells the server name of each connection.
    fn target(&self, names: &[&str]) -> TlsTarget {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.0).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, names) = channel();
        let open = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&open);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (config, sender, open) = (Arc::clone(&config), sender.clone(), Arc::clone(&counted));
                open.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    let mut session = ServerConnection::new(config).unwrap();
                    if session.complete_io(&mut stream).is_ok() {
                        let _ = sender.send(session.server_name().map(str::to_owned));
                        let mut stream = StreamOwned::new(session, stream);
                        let mut request = Vec::new();
                        let mut byte = [0];
                        while stream.read(&mut byte).is_ok_and(|read| read == 1) {
                            request.extend_from_slice(&byte);
                            if request.ends_with(b"\r\n\r\n") {
                                request.clear();
                                stream.write_all(OK.as_bytes()).unwrap();
                            }
                        }
                    }
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        TlsTarget { address, names, open }
    }
}

struct TlsTarget {
    address: SocketAddr,
    names: Receiver<Option<String>>,
    /// Connections.
    open: Arc<AtomicUsize>,
}

impl TlsTarget {
    /// The server names of the connections that were made since the last call.
    fn names(&self) -> Vec<Option<String>> {
        self.names.try_iter().collect()
    }
}

fn spec(node: &str, target: &TlsTarget, host: HostRewrite, verify: bool) -> UpstreamSpec {
    UpstreamSpec {
        id: "u".into(),
        vitals_id: "u".into(),
        scheme: Scheme::Https,
        nodes: vec![Node { host: node.into(), port: target.address.port(), weight: 1, priority: 0 }],
        host,
        timeouts: Timeouts::default(),
        retries: None,
        retry_timeout: None,
        keep_alive: KeepAlive::default(),
        tls: TlsPolicy { verify, client: None, roots: None },
        balance: Balance::RoundRobin,
        failure_header: None,
        words: FailureWords::OWN,
        checks: None,
    }
}

fn publish(gate: &Gate, hosts: &[&str], spec: UpstreamSpec) {
    let backend = gate.upstream(spec);
    gate.publish(vec![route_for(hosts, Arc::default(), backend)], Arc::default(), Plan::default());
}

/// The status of the answer to a request for this host.
fn status(gate: &Gate, host: &str) -> String {
    let answer = gate.ask(&format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"));
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

fn some(names: &[&str]) -> Vec<Option<String>> {
    names.iter().map(|name| Some((*name).to_owned())).collect()
}

#[test]
fn a_target_is_greeted_by_the_host_that_it_is_sent() {
    let (gate, authority) = (Gate::start(Limits::default()), Authority::new());
    let target = authority.target(&["whoever.example"]);
    let fixed = || HostRewrite::Fixed("Foo.test:8443".into());
    for node in ["localhost", "127.0.0.1"] {
        publish(&gate, &[], spec(node, &target, fixed(), false));
        assert_eq!(status(&gate, "api.test"), "200");
        assert_eq!(target.names(), some(&["foo.test"]), "{node}");
        publish(&gate, &[], spec(node, &target, HostRewrite::Pass, false));
        // A connection of one name carries nothing that is sent under another.
        for host in ["api.test", "API.test:9080", "other.test", "api.test."] {
            assert_eq!(status(&gate, host), "200");
        }
        assert_eq!(target.names(), some(&["api.test", "other.test"]), "{node}");
    }
    publish(&gate, &[], spec("localhost", &target, HostRewrite::Node, false));
    assert_eq!(status(&gate, "api.test"), "200");
    publish(&gate, &[], spec("127.0.0.1", &target, HostRewrite::Node, false));
    assert_eq!(status(&gate, "api.test"), "200");
    // An address is no server name (RFC 6066 section 3).
    assert_eq!(target.names(), [Some("localhost".to_owned()), None]);
}

#[test]
fn t30_the_name_that_the_configuration_says_is_the_one_that_is_verified() {
    let authority = Authority::new();
    let gate = Gate::trusting(Limits::default(), &authority.0.pem());
    for (case, certificate, host, hosts, asked, expected) in [
        ("upstream_host", "foo.test", HostRewrite::Fixed("foo.test".into()), vec![], "api.test", "200"),
        ("upstream_host", "localhost", HostRewrite::Fixed("foo.test".into()), vec![], "foo.test", "502"),
        ("node", "localhost", HostRewrite::Node, vec![], "foo.test", "200"),
        ("node", "foo.test", HostRewrite::Node, vec!["foo.test"], "foo.test", "502"),
        ("pass, the node's", "localhost", HostRewrite::Pass, vec![], "api.test", "200"),
        ("pass, the route's", "api.test", HostRewrite::Pass, vec!["api.test"], "api.test", "200"),
        ("pass, another's", "evil.test", HostRewrite::Pass, vec!["api.test"], "api.test", "502"),
        ("pass, the client's choice", "evil.test", HostRewrite::Pass, vec![], "evil.test", "502"),
        (
            "pass, the client's choice",
            "evil.a.test",
            HostRewrite::Pass,
            vec!["*.a.test"],
            "evil.a.test",
            "502",
        ),
    ] {
        let target = authority.target(&[certificate]);
        publish(&gate, &hosts, spec("localhost", &target, host, true));
        assert_eq!(status(&gate, asked), expected, "{case}: {certificate} for {asked}");
    }
}

#[test]
fn clients_that_choose_names_do_not_make_pools_grow() {
    let (gate, authority) = (Gate::start(Limits::default()), Authority::new());
    let target = authority.target(&["whoever.example"]);
    publish(&gate, &[], spec("localhost", &target, HostRewrite::Pass, false));
    for number in 0..100 {
        assert_eq!(status(&gate, &format!("h{number}.test")), "200");
    }
    assert_eq!(target.names().len(), 100);
    let began = Instant::now();
    while target.open.load(Ordering::SeqCst) > 64 {
        assert!(began.elapsed() < Duration::from_secs(10), "{} are open", target.open.load(Ordering::SeqCst));
        thread::yield_now();
    }
    // The last 64 are still there, and the first ones are not.
    assert_eq!(status(&gate, "h99.test"), "200");
    assert_eq!(status(&gate, "h36.test"), "200");
    assert_eq!(target.names(), []);
    assert_eq!(status(&gate, "h0.test"), "200");
    assert_eq!(target.names(), some(&["h0.test"]));
}
