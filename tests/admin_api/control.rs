//! APISIX's Control API: for everybody on the machine, so nothing secret is in it.

use serde_json::json;

use crate::support::{Answer, Portcullis, Request, Upstream, admin::node, unique, within};

#[tokio::test]
async fn a19_the_control_api_shows_what_there_is_and_no_secret() {
    // A port of the contract that `run` does not use here.
    let (gate, _) = Portcullis::production("control: {listen: \"127.0.0.1:{8001}\"}");
    let (port, admin, upstream) = (gate.port(8001), gate.admin(), Upstream::start());
    let canary = unique("secret-canary-");
    let oidc = json!({
        "client_id": "c", "client_secret": canary, "discovery": "http://127.0.0.1:1/", "bearer_only": true,
    });
    admin.set("upstreams/u", &node(&upstream)).await;
    admin.set("services/s", &json!({"upstream_id": "u"})).await;
    let route = json!({"uri": "/x", "service_id": "s", "plugins": {"openid-connect": oidc}});
    admin.set("routes/r", &route).await;
    let get = async |path: &str| Request::get(path).send(port).await;
    let routes = get("/v1/routes").await;
    assert_eq!(routes.json()[0]["value"]["uri"], "/x");
    assert_eq!(get("/v1/route/r").await.json()["key"], "/apisix/routes/r");
    assert_eq!(get("/v1/service/s").await.json()["value"]["upstream_id"], "u");
    assert_eq!(get("/v1/services").await.json().as_array().unwrap().len(), 1);
    assert_eq!(get("/v1/upstreams").await.json()[0]["value"]["id"], "u");
    // As APISIX has it, a list of nothing is an object.
    assert_eq!(get("/v1/plugin_metadatas").await.text(), "{}\n");
    assert_eq!(get("/v1/healthcheck").await.text(), "{}\n");
    let none = get("/v1/plugin_metadata/redirect").await;
    assert_eq!(
        (none.status, none.text()),
        (404, "{\"error_msg\":\"plugin metadata[redirect] not found\"}\n".into())
    );
    admin.set("plugin_metadata/file-logger", &json!({"log_format": {"host": "$host"}})).await;
    let metadata = get("/v1/plugin_metadata/file-logger").await.json();
    assert_eq!((&metadata["id"], &metadata["log_format"]["host"]), (&json!("file-logger"), &json!("$host")));
    assert_eq!(get("/v1/plugin_metadatas").await.json(), json!([metadata]));
    let schema = get("/v1/schema").await.json();
    for (name, kind) in [
        ("consumer", "object"),
        ("consumer_group", "object"),
        ("global_rule", "object"),
        ("plugin_config", "object"),
        ("plugins", "array"),
        ("proto", "object"),
        ("route", "object"),
        ("service", "object"),
        ("ssl", "object"),
        ("stream_route", "object"),
        ("upstream", "object"),
        ("upstream_hash_header_schema", "string"),
        ("upstream_hash_vars_schema", "string"),
    ] {
        assert_eq!(schema["main"][name]["type"], kind, "{name}");
    }
    assert_eq!(schema["plugins"]["basic-auth"]["type"], "auth");
    assert_eq!(schema["plugins"]["basic-auth"]["consumer_schema"]["type"], "object");
    assert_eq!(schema["stream_plugins"], json!({}));
    assert_eq!(schema["plugins"]["redirect"]["priority"], 900);
    assert_eq!(get("/v1/server_info").await.json()["version"], "3.18.0");
    let missing = get("/v1/route/none").await;
    assert_eq!((missing.status, missing.json()), (404, json!({"error_msg": "route[none] not found"})));
    for (path, status, text) in [
        ("routes/none", 404, "routes[none] not found"),
        ("routes/r", 404, "no checker for routes[r]"),
        ("upstreams/u", 404, "no checker for upstreams[u]"),
        ("routes", 404, "missing src id for src type routes"),
        ("route/r", 400, "invalid src type route"),
        ("consumers/r", 400, "invalid src type consumers"),
    ] {
        let answer = get(&format!("/v1/healthcheck/{path}")).await;
        assert_eq!((answer.status, answer.json()), (status, json!({"error_msg": text})), "{path}");
    }
    assert_eq!(Request::new("POST", "/v1/gc").send(port).await.status, 200);
    assert_eq!(Request::new("PUT", "/v1/plugins/reload").send(port).await.text(), "done");
    for (method, path) in
        [("GET", "/v1/gc"), ("DELETE", "/v1/route/r"), ("PUT", "/v1/route/r"), ("GET", "/v1/nonsense")]
    {
        assert_eq!(Request::new(method, path).send(port).await.status, 404, "{method} {path}");
    }
    for path in ["/v1/routes", "/v1/route/r", "/v1/schema"] {
        assert!(!get(path).await.text().contains(&canary), "{path}");
    }
    // A web page cannot read it: neither as another origin nor under a name of its own.
    let foreign = Request::get("/v1/routes").header("Origin", "https://evil.example");
    assert_eq!(foreign.send(port).await.status, 403);
    let rebound = Request::get("/v1/routes").header("Host", "evil.example");
    assert_eq!(rebound.send(port).await.status, 403);
    // No route leads to it.
    let inside = json!({"uri": "/v1/*", "upstream": {"nodes": {format!("127.0.0.1:{port}"): 1}}});
    admin.set("routes/inside", &inside).await;
    assert!(gate.get("/v1/routes").await.status >= 500);
}

#[tokio::test]
async fn a_node_that_does_not_answer_gets_no_requests_until_it_does() {
    let (gate, _) = Portcullis::production("control: {listen: \"127.0.0.1:{8001}\"}");
    let (port, admin) = (gate.port(8001), gate.admin());
    let named = |name: &'static str| Upstream::scripted(move |_| Answer::text(name));
    let (one, two) = (named("one"), named("two"));
    let checks = |healthy: u32| {
        json!({"active": {
            "http_path": "/status", "req_headers": ["X-Check: yes"],
            "healthy": {"interval": 1, "successes": 1}, "unhealthy": {"interval": healthy, "http_failures": 1},
        }})
    };
    let body = |healthy: u32| {
        let nodes = json!({one.node(): 1, two.node(): 1});
        json!({"uri": "/x", "upstream": {"nodes": nodes, "checks": checks(healthy)}})
    };
    admin.set("routes/checked", &body(1)).await;
    let found = async |node: &Upstream| {
        let all = Request::get("/v1/healthcheck/routes/checked").send(port).await.json();
        assert_eq!((&all["name"], &all["type"]), (&json!("/apisix/routes/checked"), &json!("http")));
        let nodes = all["nodes"].as_array().unwrap().clone();
        assert_eq!(nodes[0]["hostname"], "127.0.0.1");
        nodes.iter().find(|shown| shown["port"] == node.port()).unwrap()["status"].clone()
    };
    assert_eq!(found(&one).await, "healthy");
    let asked = async |count: usize| {
        let seen = || one.seen_with("/status").len();
        let before = seen();
        // Asking the Control API is what gives the process time to go on.
        within("a check", async {
            while seen() < before + count {
                found(&one).await;
            }
        })
        .await;
    };
    asked(1).await;
    let seen = one.seen_with("/status").pop().unwrap();
    assert_eq!((seen.header("x-check"), seen.header("host")), (Some("yes"), Some(one.node().as_str())));
    one.answer(Answer::with(503, &[], ""));
    within("an unhealthy node", async { while found(&one).await != "unhealthy" {} }).await;
    for _ in 0..6 {
        assert_eq!(gate.get("/x").await.text(), "two");
    }
    for path in ["/v1/healthcheck", "/v1/healthcheck/routes/checked"] {
        let page = Request::get(path).header("Accept", "text/html,*/*").send(port).await;
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        let (bad, good) = (one.node(), two.node());
        for row in [
            format!("<td>/apisix/routes/checked</td><td>http</td><td>{bad}</td><td>unhealthy</td>"),
            format!("<td>/apisix/routes/checked</td><td>http</td><td>{good}</td><td>healthy</td>"),
        ] {
            assert!(page.text().contains(&row), "{row} in {}", page.text());
        }
    }
    // What is known outlives a change that leaves the node as it is.
    admin.set("routes/checked", &body(2)).await;
    assert_eq!(found(&one).await, "unhealthy");
    one.script(|_| Answer::text("one"));
    within("a healthy node", async { while found(&one).await != "healthy" {} }).await;
    let answers = [gate.get("/x").await.text(), gate.get("/x").await.text()];
    assert!(answers.contains(&"one".to_owned()), "{answers:?}");
    // With none that is well, all are used.
    one.answer(Answer::with(500, &[], "bad one"));
    two.answer(Answer::with(500, &[], "bad two"));
    within("two unhealthy nodes", async {
        while found(&one).await != "unhealthy" || found(&two).await != "unhealthy" {}
    })
    .await;
    assert!(gate.get("/x").await.text().starts_with("bad"));
    // The checks go with the route.
    assert_eq!(admin.delete("routes/checked").await.status, 200);
    let left = async || Request::get("/v1/healthcheck").send(port).await.json();
    within("the end of the checks", async { while left().await != json!({}) {} }).await;
    // What no route leads to is not asked.
    admin.set("upstreams/alone", &json!({"nodes": {one.node(): 1}, "checks": checks(1)})).await;
    let alone = Request::get("/v1/healthcheck/upstreams/alone").send(port).await.json();
    assert_eq!(alone, json!({"name": "/apisix/upstreams/alone", "type": "http", "nodes": {}}));
}

#[tokio::test]
async fn what_a_node_answers_to_clients_counts_where_passive_says_so() {
    let (gate, _) = Portcullis::production("control: {listen: \"127.0.0.1:{8001}\"}");
    let (port, admin) = (gate.port(8001), gate.admin());
    let bad = Upstream::scripted(|_| Answer::with(500, &[], "bad"));
    let good = Upstream::start();
    let nodes = json!({bad.node(): 1, good.node(): 1});
    let checks = json!({
        "active": {"http_path": "/status"},
        "passive": {"unhealthy": {"http_statuses": [500], "http_failures": 2}},
    });
    admin.set("routes/p", &json!({"uri": "/x", "upstream": {"nodes": nodes, "checks": checks}})).await;
    let mut answers = Vec::new();
    for _ in 0..12 {
        answers.push(gate.get("/x").await.status);
    }
    assert_eq!(answers.iter().filter(|status| **status == 500).count(), 2, "{answers:?}");
    assert!(bad.seen_with("/status").is_empty(), "without intervals nobody asks");
    let shown = Request::get("/v1/healthcheck").send(port).await.json();
    let nodes = shown[0]["nodes"].as_array().unwrap();
    let shown = nodes.iter().find(|node| node["port"] == bad.port()).unwrap();
    assert_eq!((&shown["status"], &shown["counter"]["http_failure"]), (&json!("unhealthy"), &json!(2)));
    let refused = json!({"uri": "/y", "upstream": {"nodes": nodes, "checks": {"passive": {}}}});
    let refused = admin.put("routes/q", &refused).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("object matches none of the required"), "{}", refused.text());
}
