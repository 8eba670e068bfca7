//! What is told of requests: to a server, to a file, and to Prometheus.

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::{Answer, DEADLINE, Request, Site, Upstream, admin::node, unique};

/// Looks again until there is something.
async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "{what}");
        tokio::task::yield_now().await;
    }
}

fn body(upstream: &Upstream) -> Option<Value> {
    serde_json::from_slice(&upstream.seen().first()?.message.body).ok()
}

#[tokio::test]
async fn s07_a_server_is_told_of_requests_and_of_no_secret() {
    let server = Upstream::start();
    let conf = json!({
        "uri": format!("http://{}/in", server.node()), "auth_header": "Bearer mine", "batch_max_size": 2,
        "inactive_timeout": 60,
    });
    let site = Site::with_plugins(json!({ "http-logger": conf })).await;
    site.upstream.answer(Answer::with(200, &[("Set-Cookie", "session=canary"), ("X-Told", "1")], "four"));
    let target = site.target("x?open=1&access_token=canary&code=canary");
    let request = Request::new("POST", &target).header("Authorization", "Bearer canary").body("12345");
    site.gate.send(request.header("Cookie", "session=canary").header("X-API-Key", "canary")).await;
    // A batch of two has not begun to wait: the second request makes it full.
    assert!(server.seen().is_empty());
    site.get("y").await;
    let entries = eventually("no batch", || body(&server)).await;
    let seen = &server.seen()[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/in"));
    assert_eq!(
        (seen.header("authorization"), seen.header("content-type")),
        (Some("Bearer mine"), Some("application/json"))
    );
    let first = &entries[0];
    assert_eq!(first["request"]["querystring"], json!({"open": "1", "access_token": "***", "code": "***"}));
    assert_eq!(first["request"]["headers"]["authorization"], "***");
    assert_eq!(first["request"]["size"], 5);
    assert_eq!((&first["response"]["status"], &first["response"]["size"]), (&json!(200), &json!(4)));
    assert_eq!(first["response"]["headers"]["x-told"], "1");
    assert_eq!(first["client_ip"], "127.0.0.1");
    assert_eq!(first["upstream"], site.upstream.node());
    assert!(first["latency"].as_f64().unwrap() >= first["upstream_latency"].as_f64().unwrap());
    assert_eq!(entries.as_array().map(Vec::len), Some(2));
    assert!(!entries.to_string().contains("canary"), "{entries}");
}

#[tokio::test]
async fn a_log_that_cannot_be_written_holds_no_request_up() {
    let server = Upstream::start();
    server.answer(Answer::Stall);
    let conf = json!({
        "uri": format!("http://{}/in", server.node()), "batch_max_size": 1, "timeout": 60, "max_pending_entries": 2,
        "log_format": {"who": "$arg_n"}, "concat_method": "new_line",
    });
    let site = Site::with_plugins(json!({ "http-logger": conf })).await;
    for number in 0..10 {
        assert_eq!(site.get(&format!("x?n={number}")).await.status, 200);
    }
    let seen = eventually("nothing was sent", || server.seen().into_iter().next()).await;
    let text = String::from_utf8_lossy(&seen.message.body).into_owned();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["who"], "0");
    let metrics = Request::get("/metrics").send(site.gate.port(9091)).await.text();
    let dropped = metrics.lines().find(|line| line.contains("http-logger") && line.contains("dropped"));
    let dropped: u64 = dropped.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0);
    assert!(dropped >= 6, "{dropped}");
}

#[tokio::test]
async fn a_file_gets_a_line_for_each_request_that_is_meant() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api.log");
    let conf = json!({
        "path": path, "log_format": {"line": "$request_method $status $bytes_sent", "at": "$time_iso8601"},
        "match": [[["request_method", "==", "GET"]]],
    });
    let site = Site::with_plugins(json!({ "file-logger": conf })).await;
    site.gate.send(Request::new("POST", &site.target("x"))).await;
    site.get("x").await;
    let text =
        eventually("no line", || std::fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n')))
            .await;
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["line"], "GET 200 2");
    assert!(lines[0]["at"].as_str().is_some_and(|at| at.ends_with("+00:00")), "{text}");
    assert!(lines[0]["route_id"].as_str().is_some_and(|id| site.path.ends_with(id)), "{text}");
    let other = folder.path().join("database");
    std::fs::write(&other, "SQLite format 3").unwrap();
    let body =
        json!({"uri": "/x", "plugins": {"file-logger": {"path": other}}, "upstream": node(&site.upstream)});
    let answer = site.gate.admin().put("routes/log-refused", &body).await;
    assert!(answer.status == 400 && answer.text().contains("something else than a log"), "{}", answer.text());
}

#[tokio::test]
async fn metadata_shape_the_entries_of_routes_that_say_nothing() {
    let server = Upstream::start();
    let conf = |more: Value| {
        let mut conf = json!({"uri": format!("http://{}/in", server.node()), "batch_max_size": 1});
        conf.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "http-logger": conf })
    };
    // An instance of its own: metadata hold for every route.
    let site = Site::alone().await;
    let admin = site.gate.admin();
    let told = async |plugins: Value| {
        let before = server.seen().len();
        admin
            .route(site.path.trim_start_matches('/'), &format!("{}/*", site.path), &site.upstream, plugins)
            .await;
        site.get("x?n=1").await;
        let entry = eventually("nothing was told", || server.seen().into_iter().nth(before)).await;
        serde_json::from_slice::<Value>(&entry.message.body).unwrap()
    };
    assert_eq!(told(conf(json!({}))).await["request"]["method"], "GET");
    let metadata = |text: &str| json!({"log_format": {"host": "$host", "said": text}});
    admin.set("plugin_metadata/http-logger", &metadata("$arg_n")).await;
    let entry = told(conf(json!({}))).await;
    assert_eq!((&entry["said"], entry.get("request")), (&json!("1"), None));
    // What a route says goes before; a change reaches routes that nobody touches.
    assert_eq!(told(conf(json!({"log_format": {"own": "$arg_n"}}))).await["own"], "1");
    told(conf(json!({}))).await;
    admin.set("plugin_metadata/http-logger", &metadata("again $arg_n")).await;
    let before = server.seen().len();
    site.get("x?n=2").await;
    let entry = eventually("nothing was told", || server.seen().into_iter().nth(before)).await;
    assert!(String::from_utf8_lossy(&entry.message.body).contains("again 2"));
    assert_eq!(admin.delete("plugin_metadata/http-logger").await.status, 200);
    let before = server.seen().len();
    site.get("x?n=3").await;
    let entry = eventually("nothing was told", || server.seen().into_iter().nth(before)).await;
    assert!(String::from_utf8_lossy(&entry.message.body).contains("\"request\""));
    let answer = admin.put("plugin_metadata/http-logger", &json!({"log_format": "$host"})).await;
    assert_eq!(
        (answer.status, answer.json()["error_msg"].as_str()),
        (
            400,
            Some(
                "invalid configuration: property \"log_format\" validation failed: wrong type: expected object, got string"
            )
        )
    );
}

#[tokio::test]
async fn a_format_has_members_within_members_and_a_file_may_be_named_for_all_routes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.log");
    // An instance of its own: metadata hold for every route.
    let site = Site::alone().await;
    let (admin, target) = (site.gate.admin(), site.target("x"));
    let route = |conf: Value| json!({"uri": target, "plugins": {"file-logger": conf}, "upstream": node(&site.upstream)});
    let answer = admin.put("routes/log", &route(json!({}))).await;
    let told = "failed to check the configuration of plugin file-logger err: property \"path\" is not set in either the \
                plugin conf or the metadata";
    assert_eq!((answer.status, answer.json()["error_msg"].as_str()), (400, Some(told)));

    admin.set("plugin_metadata/file-logger", &json!({"path": path})).await;
    let deep = json!({"b": {"c": {"d": {"e": {"f": {"g": "$host"}}}}}});
    let format = json!({
        "client_ip": "$remote_addr",
        "request": {"uri": "$request_uri", "headers": {"who": "$http_who"}},
        "response": {"status": "$status"},
        "a": deep,
    });
    admin.set("routes/log", &route(json!({"log_format": format}))).await;
    site.gate.send(Request::get(&target).header("Who", "me")).await;
    let line =
        eventually("no line", || std::fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n')))
            .await;
    let entry: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(entry["request"], json!({"uri": target, "headers": {"who": "me"}}));
    assert_eq!((&entry["response"], &entry["route_id"]), (&json!({"status": 200}), &json!("log")));
    assert_eq!(entry["a"], json!({"b": {"c": {"d": {"e": {}}}}}), "what is deeper is left out, as in APISIX");
    assert!(site.gate.output().contains("is left out"));

    // A route's own goes before, and a file that routes depend on is not taken away.
    let own = folder.path().join("own.log");
    admin.set("routes/own", &json!({"uri": site.target("own"), "plugins": {"file-logger": {"path": own}}, "upstream": node(&site.upstream)})).await;
    site.get("own").await;
    eventually("no line", || std::fs::read_to_string(&own).ok().filter(|text| text.ends_with('\n'))).await;
    assert_eq!(admin.delete("plugin_metadata/file-logger").await.status, 400);
    for (bad, told) in [
        (
            json!({"a": {"b": 1}}),
            "failed to validate b (matching \".*\"): wrong type: expected string, got number",
        ),
        (json!({"a": {"b": "$upstream_unresolved_host"}}), "log_format.a.b: "),
    ] {
        let answer = admin.put("routes/log", &route(json!({"path": own, "log_format": bad}))).await;
        let said = answer.json()["error_msg"].as_str().unwrap().to_owned();
        assert!(answer.status == 400 && said.contains(told), "{said}");
    }
}

#[tokio::test]
async fn requests_are_counted_under_the_names_of_the_configuration() {
    let site = Site::with_plugins(json!({"prometheus": {}})).await;
    let id = site.path.trim_start_matches('/').to_owned();
    for rest in ["a", "b?x=1", &unique("made-up-")] {
        site.get(rest).await;
    }
    site.upstream.answer(Answer::with(404, &[], "no"));
    site.get("c").await;
    let ask = async || Request::get("/apisix/prometheus/metrics").send(site.gate.port(9091)).await.text();
    let status = |code: u16, count: u64| {
        format!(
            "apisix_http_status{{code=\"{code}\",route=\"{id}\",matched_uri=\"/{id}/*\",matched_host=\"\",service=\"\",\
             consumer=\"\",node=\"127.0.0.1\",request_type=\"traditional_http\",request_llm_model=\"\",llm_model=\"\",\
             response_source=\"upstream\"}} {count}\n"
        )
    };
    let began = Instant::now();
    let mut text = ask().await;
    while !text.contains(&status(404, 1)) {
        assert!(began.elapsed() < DEADLINE, "{text}");
        text = ask().await;
    }
    assert!(text.contains(&status(200, 3)), "{text}");
    let route = format!("route=\"{id}\",service=\"\"");
    for line in [
        format!("apisix_http_latency_count{{type=\"request\",{route}"),
        format!("apisix_http_latency_count{{type=\"upstream\",{route}"),
        format!("apisix_bandwidth{{type=\"egress\",{route}"),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
    assert!(!text.contains("made-up"), "no client makes series");
}
