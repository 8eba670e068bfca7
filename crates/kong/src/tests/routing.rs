//! Kong's router: which of several routes takes a request, and what the upstream is then asked.

use serde_json::{Value, json};

use super::{
    World,
    upstream::{Echo, Engine},
};

/// A gate with routes that answer with their own name, because each goes to a path of the upstream of its own.
struct Gate {
    world: World,
    engine: Engine,
    upstream: Echo,
}

impl Gate {
    async fn with(routes: &[(&str, Value)]) -> Self {
        let world = World::new().await;
        let upstream = Echo::start().await;
        for (name, route) in routes {
            let url = format!("{}/{name}", upstream.url);
            let service = world.json("POST", "/services", json!({"name": name, "url": url})).await;
            assert_eq!(service.status, 201, "{service:?}");
            let mut route = route.clone();
            route["name"] = json!(name);
            let made = world.json("POST", &format!("/services/{name}/routes"), route).await;
            assert_eq!(made.status, 201, "{made:?}");
        }
        let engine = Engine::start(&world);
        Self { world, engine, upstream }
    }

    /// The path that the upstream was asked for.
    async fn asked(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> String {
        let answer = self.engine.ask(method, target, headers).await;
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
        let target = body.strip_prefix(&format!("{method} ")).and_then(|rest| rest.split(' ').next());
        target.map_or_else(|| answer.lines().next().unwrap_or_default().to_owned(), str::to_owned)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_more_goes_first_then_plain_hosts_then_headers_then_patterns_then_length() {
    let gate = Gate::with(&[
        ("path", json!({"paths": ["/a/long/path"]})),
        ("two", json!({"paths": ["/a"], "methods": ["GET"]})),
        ("wild", json!({"hosts": ["*.example"], "paths": ["/h"]})),
        ("plain", json!({"hosts": ["gate.example"], "paths": ["/h"]})),
        ("one-header", json!({"headers": {"x-a": ["1"]}, "paths": ["/x"]})),
        ("two-headers", json!({"headers": {"x-a": ["1"], "x-b": ["2"]}, "paths": ["/x"]})),
        ("prefix", json!({"paths": ["/p/very/long"]})),
        ("pattern", json!({"paths": ["~/p/\\w+"]})),
        ("preferred", json!({"paths": ["~/p/very/l"], "regex_priority": 5})),
        ("short", json!({"paths": ["/s"]})),
        ("longer", json!({"paths": ["/s/t"]})),
    ])
    .await;
    for (method, target, headers, expected) in [
        ("GET", "/a/long/path", &[][..], "/two/long/path"),
        ("POST", "/a/long/path", &[], "/path"),
        ("GET", "/h", &[], "/plain"),
        ("GET", "/x", &[("x-a", "1")], "/one-header"),
        ("GET", "/x", &[("x-a", "1"), ("X-B", "2")], "/two-headers"),
        ("GET", "/p/very/long/x", &[], "/preferred/ong/x"),
        ("GET", "/p/other", &[], "/pattern"),
        ("GET", "/s/t/u", &[], "/longer/u"),
        ("GET", "/s/x", &[], "/short/x"),
        ("GET", "/none", &[], "HTTP/1.1 404 Not Found"),
        ("GET", "/x", &[], "HTTP/1.1 404 Not Found"),
    ] {
        assert_eq!(gate.asked(method, target, headers).await, expected, "{method} {target} {headers:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_are_compared_without_case_and_by_patterns() {
    let gate = Gate::with(&[
        ("value", json!({"headers": {"X-Kind": ["Blue", "green"]}})),
        ("pattern", json!({"headers": {"x-version": ["~*^v[0-9]+$"]}})),
    ])
    .await;
    assert_eq!(gate.asked("GET", "/", &[("x-kind", "BLUE")]).await, "/value");
    assert_eq!(gate.asked("GET", "/", &[("x-kind", "red")]).await, "HTTP/1.1 404 Not Found");
    assert_eq!(gate.asked("GET", "/", &[("X-Version", "v12")]).await, "/pattern");
    assert_eq!(gate.asked("GET", "/", &[("X-Version", "12")]).await, "HTTP/1.1 404 Not Found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_clear_a_route_for_https_says_so() {
    let gate = Gate::with(&[
        ("upgrade", json!({"paths": ["/u"], "protocols": ["https"]})),
        ("moved", json!({"paths": ["/m"], "protocols": ["https"], "https_redirect_status_code": 301})),
        ("named", json!({"paths": ["/n"], "snis": ["other.example"]})),
    ])
    .await;
    let answer = gate.engine.get("/u/x", &[]).await;
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    assert!(answer.contains(r#"{"message":"Please use HTTPS protocol"}"#), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("upgrade: tls/1.2, http/1.1"), "{answer}");
    let answer = gate.engine.get("/m/x?q=1", &[]).await;
    assert!(
        answer.starts_with("HTTP/1.1 301 ") && answer.contains("location: https://gate.example/m/x?q=1"),
        "{answer}"
    );
    assert_eq!(
        gate.asked("GET", "/n", &[]).await,
        "/named",
        "in the clear there is no server name to compare"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstreams_targets_stand_behind_the_host_of_a_service() {
    let gate = Gate::with(&[("direct", json!({"paths": ["/d"]}))]).await;
    let address = gate.upstream.url.strip_prefix("http://").unwrap().to_owned();
    gate.world
        .json("POST", "/upstreams", json!({"name": "pool.local", "host_header": "inner.example"}))
        .await;
    gate.world.json("POST", "/services", json!({"name": "p", "url": "http://pool.local/pool"})).await;
    gate.world.json("POST", "/services/p/routes", json!({"paths": ["/pool"]})).await;
    assert!(gate.asked("GET", "/pool", &[]).await.starts_with("HTTP/1.1 503"), "it has no targets yet");
    let target = gate.world.json("POST", "/upstreams/pool.local/targets", json!({"target": address})).await;
    assert_eq!(target.status, 201, "{target:?}");
    let answer = gate.engine.get("/pool/x", &[]).await;
    assert!(answer.contains("/pool/x") && answer.contains("inner.example"), "{answer}");
    gate.world.delete(&format!("/upstreams/pool.local/targets/{}", target.id())).await;
    assert!(gate.asked("GET", "/pool", &[]).await.starts_with("HTTP/1.1 503"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expression_says_what_a_route_matches_and_its_priority_when_it_is_tried() {
    let gate = Gate::with(&[
        ("plain", json!({"paths": ["/both"]})),
        ("low", json!({"expression": r#"http.path ^= "/e""#})),
        ("high", json!({"expression": r#"http.path ^= "/e/" && http.queries.q == "1""#, "priority": 10})),
        ("both", json!({"expression": r#"http.path ^= "/both""#, "priority": 70_368_744_177_663_u64})),
        (
            "kind",
            json!({"expression": r##"any(http.headers.x_kind) == "b" && http.path ~ r#"^/k/\d+"#"##,
                "strip_path": false}),
        ),
        ("source", json!({"expression": r#"net.src.ip in 127.0.0.0/8 && http.path.segments.0 == "s" && http.path.segments.len == 2"#})),
        ("clear", json!({"expression": r#"http.path == "/c""#, "protocols": ["https"]})),
        ("host", json!({"expression": r#"http.host == "gate.example" && http.path ^= "/h""#})),
        ("other", json!({"expression": r#"http.host == "other.example" && http.path ^= "/h""#, "priority": 9})),
        ("any", json!({"expression": r#"http.path ^= "/h""#, "priority": 1})),
    ])
    .await;
    for (target, headers, seen) in [
        ("/both", &[][..], "/plain"),
        ("/e/x", &[], "/low/x"),
        ("/e/x?q=1", &[], "/high/x?q=1"),
        ("/e/x?q=1&q=2", &[], "/low/x?q=1&q=2"),
        ("/k/12", &[("x-kind", "a"), ("X-Kind", "b")], "/kind/k/12"),
        ("/k/12", &[("x-kind", "a")], "HTTP/1.1 404 Not Found"),
        ("/k/x", &[("x-kind", "b")], "HTTP/1.1 404 Not Found"),
        ("/s/x", &[], "/source/s/x"),
        ("/s/x/y", &[], "HTTP/1.1 404 Not Found"),
        ("/c", &[], "HTTP/1.1 426 Upgrade Required"),
        ("/h/x", &[], "/any/x"),
    ] {
        assert_eq!(gate.asked("GET", target, headers).await, seen, "{target} {headers:?}");
    }
}
