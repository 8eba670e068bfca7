//! H18, and what else client certificates promise: who is asked for one, what counts as one, and for how long.

use std::{path::PathBuf, sync::Arc};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose};
use rustls::{ClientConfig, HandshakeKind};
use serde_json::{Value, json};

use crate::support::{
    Connection, Portcullis, Request, Upstream,
    admin::node,
    http2::Client,
    shared,
    tls::{self, Authority, Identity, Wanted},
    unique,
};

/// Two authorities, a gateway, and hosts that ask for certificates of the one or the other.
struct House {
    gate: Arc<Portcullis>,
    upstream: Upstream,
    /// Issues the gateway's certificates.
    servers: Authority,
    /// Issues the clients'.
    clients: Authority,
    folder: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let (servers, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("ca.pem"), servers.pem()).unwrap();
        Self { gate: shared(), upstream: Upstream::start(), servers, clients: Authority::new(), folder }
    }

    fn roots(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Puts the ssl of these names, and says under which id.
    async fn ssl(&self, id: &str, names: &[&str], client: Option<Value>) {
        let identity = self.servers.issue(names, |_| {});
        let mut resource = json!({"snis": names, "cert": identity.chain_pem(), "key": identity.key_pem()});
        if let Some(client) = client {
            resource["client"] = client;
        }
        self.gate.admin().set(&format!("ssls/{id}"), &resource).await;
    }

    async fn route(&self, hosts: &[&str]) {
        let route = json!({"uri": "/*", "hosts": hosts, "upstream": node(&self.upstream)});
        self.gate.admin().set(&format!("routes/{}", unique("mtls-")), &route).await;
    }

    fn asks(&self) -> Value {
        json!({"ca": self.clients.pem(), "depth": 1})
    }

    fn client(&self) -> Identity {
        self.clients.issue(&["somebody"], |params: &mut CertificateParams| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })
    }

    fn config(&self, identity: Option<Identity>) -> Arc<ClientConfig> {
        tls::client(&self.roots(), &Wanted { identity, ..Wanted::default() })
    }

    /// The status of one request, or nothing where TLS does not come that far.
    async fn ask(&self, config: &Arc<ClientConfig>, sni: &str, host: &str, target: &str) -> Option<u16> {
        let stream = tls::handshake(Arc::clone(config), self.gate.port(9443), sni).await.ok()?;
        let mut connection = Connection::over(stream);
        let request = Request::get(target).header("Host", host).header("Connection", "close");
        connection.send(request.bytes()).await;
        connection.response().await.map(|answer| answer.status)
    }
}

fn name(prefix: &str) -> String {
    format!("{}.example", unique(prefix))
}

#[tokio::test]
async fn h18_a_connection_without_a_name_opens_no_host_that_asks_for_certificates() {
    let house = House::new();
    let closed = name("closed-");
    house.ssl(&unique("ssl-"), &[&closed], Some(house.asks())).await;
    house.route(&[&closed]).await;
    for identity in [None, Some(house.client())] {
        // An address is never sent as a server name.
        let config = tls::client(&house.gate.authority(), &Wanted { identity, ..Wanted::default() });
        for host in [closed.clone(), closed.to_uppercase(), format!("{closed}:9443")] {
            assert_eq!(house.ask(&config, "127.0.0.1", &host, "/").await, Some(421), "{host}");
        }
    }
    assert!(house.upstream.seen().is_empty());
}

#[tokio::test]
async fn h18_a_name_is_the_same_in_every_case_and_in_every_cut_of_its_client_hello() {
    let house = House::new();
    let closed = name("closed-");
    house.ssl(&unique("ssl-"), &[&closed.to_uppercase()], Some(house.asks())).await;
    house.route(&[&closed]).await;
    for size in [None, Some(33), Some(64), Some(200)] {
        for sni in [closed.clone(), closed.to_uppercase()] {
            let with = |identity| {
                let mut config = (*house.config(identity)).clone();
                config.max_fragment_size = size;
                Arc::new(config)
            };
            assert_eq!(house.ask(&with(None), &sni, &closed, "/").await, None, "{size:?} {sni}");
            let known = with(Some(house.client()));
            assert_eq!(
                house.ask(&known, &sni, &closed.to_uppercase(), "/").await,
                Some(200),
                "{size:?} {sni}"
            );
        }
    }
    assert_eq!(house.upstream.seen().len(), 8);
}

#[tokio::test]
async fn h18_one_connection_serves_the_hosts_of_one_policy() {
    let house = House::new();
    let (first, second, open, other) = (name("first-"), name("second-"), name("open-"), name("other-"));
    let (wild, under) = (format!("*.{}", name("wild-")), |wild: &str, host: &str| wild.replace('*', host));
    house.ssl(&unique("ssl-"), &[&first, &wild], Some(house.asks())).await;
    house.ssl(&unique("ssl-"), &[&second], Some(house.asks())).await;
    house.ssl(&unique("ssl-"), &[&open], None).await;
    let stricter = json!({"ca": Authority::new().pem(), "depth": 1});
    house.ssl(&unique("ssl-"), &[&other], Some(stricter)).await;
    let hosts = [&first, &second, &open, &other, &wild];
    house.route(&hosts.map(String::as_str)).await;

    let wanted = Wanted { alpn: &["h2"], identity: Some(house.client()), ..Wanted::default() };
    let config = tls::client(&house.roots(), &wanted);
    let stream = tls::handshake(config, house.gate.port(9443), &first).await.unwrap();
    let client = Client::over(stream).await;
    for (host, status) in [
        (first.clone(), 200),
        (second.clone(), 200),
        (under(&wild, "a"), 200),
        (under(&wild, "A"), 200),
        (open.clone(), 421),
        (other.clone(), 421),
        (under(&wild, "a.b"), 421),
        (name("unknown-"), 421),
        (first.clone(), 200),
    ] {
        let request = http::Request::get(format!("https://{host}/x")).body(Vec::new()).unwrap();
        assert_eq!(client.send(request, None).await.unwrap().status, status, "{host}");
    }
    assert_eq!(house.upstream.seen().len(), 5);
    // In the clear nobody can show a certificate.
    let plain = house.gate.send(Request::get("/x").header("Host", &first)).await;
    assert_eq!((plain.status, house.upstream.seen().len()), (421, 5));
}

#[tokio::test]
async fn h18_what_one_policy_verified_is_nothing_to_the_next() {
    let house = House::new();
    let (closed, id) = (name("closed-"), unique("ssl-"));
    house.ssl(&id, &[&closed], Some(house.asks())).await;
    house.route(&[&closed]).await;
    let config = house.config(Some(house.client()));
    let handshake = async || tls::handshake(config.clone(), house.gate.port(9443), &closed).await;
    let kind = async || -> (Option<HandshakeKind>, Option<u16>) {
        let Ok(stream) = handshake().await else { return (None, None) };
        let kind = stream.get_ref().1.handshake_kind();
        let mut connection = Connection::over(stream);
        connection
            .send(Request::get("/").header("Host", &closed).header("Connection", "close").bytes())
            .await;
        (kind, connection.response().await.map(|answer| answer.status))
    };
    assert_eq!(kind().await, (Some(HandshakeKind::Full), Some(200)));
    assert_eq!(kind().await, (Some(HandshakeKind::Resumed), Some(200)), "the same policy is resumed");

    // One connection is open, and one ticket at hand, when another authority takes over.
    let mut held = Connection::over(handshake().await.unwrap());
    let ask = Request::get("/").header("Host", &closed).bytes();
    held.send(&ask).await;
    assert_eq!(held.response().await.map(|answer| answer.status), Some(200));
    let strangers = Authority::new();
    house.ssl(&id, &[&closed], Some(json!({"ca": strangers.pem()}))).await;
    held.send(&ask).await;
    assert_eq!(held.response().await.map(|answer| answer.status), Some(421));
    let (resumed, status) = kind().await;
    assert!(resumed != Some(HandshakeKind::Resumed) && status.is_none(), "{resumed:?} {status:?}");

    // A session without a certificate is not resumed into a host that has begun to ask.
    house.ssl(&id, &[&closed], None).await;
    let config = house.config(None);
    for _ in 0..2 {
        assert_eq!(house.ask(&config, &closed, &closed, "/").await, Some(200));
    }
    house.ssl(&id, &[&closed], Some(house.asks())).await;
    assert_eq!(house.ask(&config, &closed, &closed, "/").await, None);
    assert_eq!(house.upstream.seen().len(), 5);
}

#[tokio::test]
async fn h15_patterns_that_skip_client_certificates_see_the_path_alone() {
    let house = House::new();
    let (host, id) = (name("skip-"), unique("ssl-"));
    let mut asks = house.asks();
    asks["skip_mtls_uri_regex"] = json!(["^/public/[0-9]+$", "health"]);
    house.ssl(&id, &[&host], Some(asks)).await;
    house.route(&[&host]).await;
    let stranger = Authority::new().issue(&["stranger"], |_| {});
    for identity in [None, Some(stranger)] {
        let config = house.config(identity);
        for (target, status) in [
            ("/public/1", 200),
            ("/public/1?x=y", 200),
            ("/a/../public/1", 200),
            ("/health", 200),
            ("/he%61lth", 200),
            ("/public/x", 400),
            ("/private?/health", 400),
            ("/private?x=health", 400),
            ("/public/1/../2x", 400),
            ("/public/1%2f", 400),
            ("/HEALTH", 400),
            ("/", 400),
        ] {
            assert_eq!(house.ask(&config, &host, &host, target).await, Some(status), "{target}");
        }
    }
    let config = house.config(Some(house.client()));
    for target in ["/public/1", "/private"] {
        assert_eq!(house.ask(&config, &host, &host, target).await, Some(200), "{target}");
    }
    assert_eq!(house.upstream.seen().len(), 12);
}
