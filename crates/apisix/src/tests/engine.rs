//! What a write means to the traffic: the real engine on loopback.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use gateway::{
    TlsAcceptance,
    engine::{self, EngineConfig, Limits, ListenerSpec, Running, Traffic},
};
use loopback::Reserved;

use super::*;

/// A gate that serves, and a target that names itself.
struct Serving {
    gate: Gate,
    reserved: Reserved,
    running: Option<Running>,
}

impl Serving {
    async fn start() -> Self {
        Self::of(Gate::new().await)
    }

    fn of(gate: Gate) -> Self {
        let reserved = Reserved::any().unwrap();
        let config = EngineConfig {
            traffic: Traffic::of(1),
            limits: Limits::default(),
            trusted_proxies: Vec::new(),
            access_log: None,
            tls: TlsAcceptance::new(None, None).unwrap(),
            clock: Clock::system(),
            live: Arc::clone(&gate.live),
            publisher: Arc::clone(&gate.publisher),
        };
        let listener = ListenerSpec {
            address: reserved.address(),
            tls: false,
            http2: false,
            client_certificates: false,
            proxy_protocol: false,
        };
        let running = Some(engine::start(config, &[listener]).unwrap());
        Self { gate, reserved, running }
    }

    /// The whole answer to one request.
    async fn ask(&self, host: &str, path: &str) -> String {
        let (address, request) = (
            self.reserved.address(),
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
        );
        tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(SECOND * 10)).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut text = String::new();
            let _ = stream.read_to_string(&mut text);
            text
        })
        .await
        .unwrap()
    }

    async fn status(&self, host: &str, path: &str) -> String {
        self.ask(host, path).await.split(' ').nth(1).unwrap_or_default().to_owned()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.running.take().into_iter().for_each(|running| running.drain(SECOND));
    }
}

/// Answers every connection's first request with `name`.
fn target(name: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{name}",
                name.len()
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address.to_string()
}

fn to(target: &str) -> Value {
    json!({"nodes": {target: 1}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_serves_when_it_is_answered() {
    let serving = Serving::start().await;
    let (one, two) = (target("one"), target("two"));
    assert!(serving.ask("a", "/x").await.ends_with("{\"error_msg\":\"404 Route Not Found\"}\n"));
    for round in 0..20 {
        let (name, node) = if round % 2 == 0 { ("one", &one) } else { ("two", &two) };
        serving.gate.created("routes/1", json!({"uri": "/x", "upstream": to(node)})).await;
        assert!(serving.ask("a", "/x").await.ends_with(name));
    }
    serving.gate.delete("routes/1").await;
    assert_eq!(serving.status("a", "/x").await, "404");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_inherits_from_its_service_and_overrides_it() {
    let serving = Serving::start().await;
    let gate = &serving.gate;
    gate.created("upstreams/u", to(&target("shared"))).await;
    gate.created("services/s", json!({"upstream_id": "u", "hosts": ["s.test"], "plugins": {"stamp": {"text": "service"}, "late": {"text": "late"}}})).await;
    gate.created("routes/1", json!({"uri": "/inherited", "service_id": "s"})).await;
    gate.created("routes/2", json!({"uri": "/own", "service_id": "s", "host": "own.test", "upstream": to(&target("own")), "plugins": {"stamp": {"text": "route", "_meta": {"priority": -5}}}})).await;
    let inherited = serving.ask("s.test", "/inherited").await;
    assert!(
        inherited.ends_with("shared") && inherited.contains("x-stamp: service\r\nx-stamp: late"),
        "{inherited}"
    );
    assert_eq!(serving.status("other.test", "/inherited").await, "404");
    let own = serving.ask("own.test", "/own").await;
    assert!(own.ends_with("own") && own.contains("x-stamp: late\r\nx-stamp: route"), "{own}");
    gate.created("upstreams/u", to(&target("moved"))).await;
    assert!(serving.ask("s.test", "/inherited").await.ends_with("moved"));
    gate.created(
        "services/s",
        json!({"upstream_id": "u", "plugins": {"late": {"text": "l", "_meta": {"disable": true}}}}),
    )
    .await;
    let changed = serving.ask("any.test", "/inherited").await;
    assert!(changed.ends_with("moved") && !changed.contains("x-stamp"), "{changed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_without_an_upstream_answers_for_itself() {
    let serving = Serving::start().await;
    let gate = &serving.gate;
    gate.created("routes/none", json!({"uri": "/none", "plugins": {}})).await;
    gate.created("routes/off", json!({"uri": "/off", "upstream": upstream(), "status": 0})).await;
    gate.created("upstreams/gone", upstream()).await;
    gate.created("routes/gone", json!({"uri": "/gone", "upstream_id": "gone"})).await;
    gate.created("routes/empty", json!({"uri": "/empty", "upstream": {"nodes": {}}})).await;
    assert_eq!(gate.delete("upstreams/gone?force=true").await.status, 200);
    for (path, status) in [("/none", "503"), ("/off", "404"), ("/gone", "502"), ("/empty", "503")] {
        assert_eq!(serving.status("a", path).await, status, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn among_equals_the_one_made_first_is_tried_first() {
    let serving = Serving::start().await;
    let (first, second) = (target("first"), target("second"));
    serving.gate.created("routes/z", json!({"uri": "/x", "upstream": to(&first)})).await;
    serving.gate.created("routes/a", json!({"uri": "/x", "upstream": to(&second)})).await;
    assert!(serving.ask("h", "/x").await.ends_with("first"));
    serving.gate.created("routes/z", json!({"uri": "/x", "upstream": to(&first), "desc": "changed"})).await;
    assert!(serving.ask("h", "/x").await.ends_with("first"), "a change does not move a route");
    serving.gate.created("routes/a", json!({"uri": "/x", "upstream": to(&second), "priority": 1})).await;
    assert!(serving.ask("h", "/x").await.ends_with("second"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_route_answers_503_and_falls_to_no_looser_one() {
    let clock = clock();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock.clone()));
    let put = |key: &str, value: Value| store::Operation::Put {
        key: key.to_owned(),
        value: value.to_string().into_bytes(),
        ttl: None,
    };
    let open = target("open");
    let operations = vec![
        put("/apisix/routes/open", json!({"uri": "/*", "upstream": to(&open)})),
        put(
            "/apisix/routes/guarded",
            json!({"uri": "/admin*", "upstream": to(&open), "plugins": {"wolf-rbac": {}}}),
        ),
        put(
            "/apisix/routes/lua",
            json!({"uri": "/lua", "upstream": to(&open), "filter_func": "function(vars) return false end"}),
        ),
    ];
    store.commit(Vec::new(), operations).await.unwrap();
    let serving = Serving::of(Gate::on(Arc::clone(&store), clock).await);
    assert_eq!(serving.status("a", "/admin/x").await, "503");
    assert_eq!(serving.status("a", "/lua").await, "200", "it matches no more than it would");
    serving.gate.created("routes/guarded", json!({"uri": "/admin*", "upstream": to(&open)})).await;
    assert_eq!(serving.status("a", "/admin/x").await, "200");
    store
        .commit(
            Vec::new(),
            vec![put("/apisix/routes/guarded", json!({"uri": "/admin*", "plugins": {"wolf-rbac": {}}}))],
        )
        .await
        .unwrap();
    serving.gate.dialect.reload().await.unwrap();
    assert_eq!(serving.status("a", "/admin/x").await, "200", "the last good version goes on");
    assert_eq!(serving.gate.publisher.current().broken.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_in_flight_fail_no_request() {
    let serving = Serving::start().await;
    let node = target("one");
    serving.gate.created("routes/1", json!({"uri": "/x", "upstream": to(&node)})).await;
    let changing = async {
        for at in 0..100 {
            serving
                .gate
                .created("routes/1", json!({"uri": "/x", "upstream": to(&node), "priority": at}))
                .await;
            serving.gate.created(&format!("routes/r{at}"), route(&format!("/r{at}"))).await;
        }
    };
    let asking = async {
        for _ in 0..100 {
            assert!(serving.ask("a", "/x").await.ends_with("one"));
        }
    };
    tokio::join!(changing, asking);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_may_ask_about_the_answer_and_is_decided_once() {
    let serving = Serving::start().await;
    let node = target("one");
    let stamp = |filter: Value| json!({"stamp": {"text": "s", "_meta": {"filter": filter}}});
    for (path, upstream, filter, stamped) in [
        ("/a", node.as_str(), json!([["upstream_status", "==", 200]]), true),
        ("/b", &node, json!([["upstream_status", "~=", 200]]), false),
        ("/c", "127.0.0.1:1", json!([["status", "==", "502"]]), true),
        ("/d", "127.0.0.1:1", json!([["upstream_status", "==", "502"]]), false),
        ("/e", &node, json!([["arg_x", "==", "1"]]), false),
        ("/f?x=1", &node, json!([["arg_x", "==", "1"]]), true),
    ] {
        let (uri, _) = path.split_once('?').unwrap_or((path, ""));
        let id = uri.trim_start_matches('/');
        let body = json!({"uri": uri, "upstream": to(upstream), "plugins": stamp(filter)});
        serving.gate.created(&format!("routes/{id}"), body).await;
        assert_eq!(serving.ask("a", path).await.contains("x-stamp: s"), stamped, "{path}");
    }
    // A route that cannot be told before it is chosen is no route.
    let told = serving.gate.put(
        "routes/r",
        json!({"uri": "/r", "vars": [["upstream_status", "==", "200"]], "upstream": to(&node)}),
    );
    assert_eq!(told.await.status, StatusCode::BAD_REQUEST);
}
