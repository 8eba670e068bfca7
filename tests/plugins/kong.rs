//! The same plugins with Kong's names and words.

use serde_json::{Value, json};

use crate::support::{Answer, Portcullis, Request, Response, Upstream, shared, unique};

/// A route of Kong's, with a service of its own and an upstream behind it.
struct Door {
    gate: std::sync::Arc<Portcullis>,
    upstream: Upstream,
    path: String,
}

async fn call(gate: &Portcullis, method: &str, path: &str, body: &Value) -> Response {
    Request::new(method, path).json(body).send(gate.port(8001)).await
}

async fn set(gate: &Portcullis, path: &str, body: Value) {
    let answer = call(gate, "PUT", path, &body).await;
    assert_eq!(answer.status, 200, "PUT {path} {body}: {}", answer.text());
}

impl Door {
    async fn with(plugins: Value) -> Self {
        let (gate, upstream, name) = (shared(), Upstream::start(), unique("door-"));
        let path = format!("/{name}");
        let service = json!({"url": format!("http://{}/base", upstream.node())});
        set(&gate, &format!("/services/{name}"), service).await;
        set(&gate, &format!("/routes/{name}"), json!({"paths": [path], "service": {"name": name}})).await;
        for (plugin, config) in plugins.as_object().unwrap() {
            let body = json!({"name": plugin, "config": config});
            let answer = call(&gate, "POST", &format!("/routes/{name}/plugins"), &body).await;
            assert_eq!(answer.status, 201, "{body}: {}", answer.text());
        }
        Self { gate, upstream, path }
    }

    fn target(&self, rest: &str) -> String {
        format!("{}/{rest}", self.path)
    }

    async fn get(&self, rest: &str) -> Response {
        self.gate.get(&self.target(rest)).await
    }
}

/// What the client is told who writes this config.
async fn refused(plugin: &str, config: Value) -> Value {
    let answer = call(&shared(), "POST", "/plugins", &json!({"name": plugin, "config": config})).await;
    assert_eq!(answer.status, 400, "{plugin} {config}: {}", answer.text());
    answer.json()["fields"].clone()
}

#[tokio::test]
async fn cors_answers_preflights_and_says_who_may_read() {
    let config = json!({"origins": ["https://a.example", "https://.*\\.b\\.example"], "credentials": true,
        "methods": ["GET", "PUT"], "exposed_headers": ["X-Told"], "max_age": 60});
    let door = Door::with(json!({ "cors": config })).await;
    let ask = |method: &str, origin: &str| {
        let request = Request::new(method, &door.target("x")).header("Origin", origin);
        request
            .header("Access-Control-Request-Method", "PUT")
            .header("Access-Control-Request-Headers", "X-Asked")
    };
    let answer = door.gate.send(ask("OPTIONS", "https://x.b.example")).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    for (name, value) in [
        ("access-control-allow-origin", "https://x.b.example"),
        ("access-control-allow-methods", "GET,PUT"),
        ("access-control-allow-headers", "X-Asked"),
        ("access-control-allow-credentials", "true"),
        ("access-control-max-age", "60"),
        ("vary", "Origin"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert!(door.upstream.seen().is_empty());
    let answer = door.gate.send(ask("GET", "https://a.example")).await;
    assert_eq!(answer.header("access-control-expose-headers"), Some("X-Told"));
    assert_eq!(answer.header("access-control-allow-methods"), None);
    let answer = door.gate.send(ask("GET", "https://x.b.example.evil")).await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
    // What is no preflight goes to the upstream.
    let answer = door.gate.send(Request::new("OPTIONS", &door.target("plain"))).await;
    assert_eq!((answer.status, door.upstream.seen_with("plain").len()), (200, 1));
    assert!(refused("cors", json!({"credentials": true})).await["config"]["credentials"].is_string());
}

#[tokio::test]
async fn addresses_sizes_and_closed_routes_are_refused_in_kongs_words() {
    let door = Door::with(json!({"ip-restriction": {"deny": ["127.0.0.0/8"]}})).await;
    let answer = door.get("x").await;
    let text = "{\"message\":\"IP address not allowed: 127.0.0.1\"}\n";
    assert_eq!((answer.status, answer.text().as_str()), (403, text));
    assert!(refused("ip-restriction", json!({})).await["@entity"].is_array());
    let door =
        Door::with(json!({"request-size-limiting": {"allowed_payload_size": 4, "size_unit": "bytes"}})).await;
    let answer = door.gate.send(Request::new("POST", &door.target("x")).body("12345")).await;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (413, "{\"message\":\"Request size limit exceeded\"}\n")
    );
    assert_eq!(door.gate.send(Request::new("POST", &door.target("x")).body("1234")).await.status, 200);
    let door = Door::with(json!({"request-termination": {}})).await;
    let answer = door.get("x").await;
    assert_eq!((answer.status, answer.text().as_str()), (503, "{\"message\":\"Service unavailable\"}\n"));
    for (status, body) in [(401, "{\"message\":\"Unauthorized\"}\n"), (418, "")] {
        let door = Door::with(json!({"request-termination": {"status_code": status}})).await;
        let answer = door.get("x").await;
        assert_eq!((answer.status, answer.text().as_str()), (status, body));
    }
    let config =
        json!({"status_code": 403, "body": "no", "content_type": "text/plain", "trigger": "X-Closed"});
    let door = Door::with(json!({ "request-termination": config })).await;
    assert_eq!(door.get("x").await.status, 200);
    let answer = door.gate.send(Request::get(&door.target("x")).header("X-Closed", "")).await;
    assert_eq!(
        (answer.status, answer.text().as_str(), answer.header("content-type")),
        (403, "no", Some("text/plain"))
    );
    assert!(refused("request-termination", json!({"message": "a", "body": "b"})).await["config"].is_string());
    assert!(refused("request-termination", json!({"echo": true})).await["config"]["echo"].is_string());
}

#[tokio::test]
async fn requests_are_named_and_transformed() {
    let door = Door::with(json!({"correlation-id": {"echo_downstream": true, "generator": "uuid"}})).await;
    let answer = door.get("x").await;
    let id = answer.header("kong-request-id").unwrap().to_owned();
    assert_eq!((id.len(), door.upstream.seen()[0].header("kong-request-id")), (36, Some(id.as_str())));
    let config = json!({
        "http_method": "POST",
        "remove": {"headers": ["X-Gone"], "querystring": ["gone"], "body": ["gone"]},
        "rename": {"headers": ["X-Old:X-New"], "querystring": ["old:new"]},
        "replace": {"headers": ["Host:other.example"], "querystring": ["there:1"], "uri": "/made/$(query_params.old)"},
        "add": {"headers": ["X-Added:$(headers.x_old)"], "querystring": ["added:a b"], "body": ["new:1"]},
        "append": {"headers": ["X-Added:2"]},
    });
    let door = Door::with(json!({ "request-transformer": config })).await;
    let target = door.target("x?gone=1&old=2&there=0");
    let request = Request::get(&target).header("X-Gone", "1").header("X-Old", "o");
    assert_eq!(door.gate.send(request.json(&json!({"gone": 1, "kept": 2}))).await.status, 200);
    let seen = &door.upstream.seen()[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/made/2?new=2&there=1&added=a+b"));
    assert_eq!(seen.header("host"), Some("other.example"));
    assert_eq!((seen.header("x-gone"), seen.header("x-old"), seen.header("x-new")), (None, None, Some("o")));
    assert_eq!(seen.message.all("x-added"), ["o", "2"]);
    assert_eq!(String::from_utf8_lossy(&seen.message.body), "{\"kept\":2,\"new\":\"1\"}");
    let parts = "--x\r\nContent-Disposition: form-data; name=\"gone\"\r\n\r\n1\r\n--x\r\n\
                 Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n\u{1}\r\n--x--\r\n";
    let request = Request::new("POST", &door.target("x?gone=1")).body(parts);
    assert_eq!(
        door.gate.send(request.header("Content-Type", "multipart/form-data; boundary=x")).await.status,
        200
    );
    let seen = door.upstream.seen().pop().unwrap();
    let (_, kept) = parts.split_once("1\r\n").unwrap();
    let added = "--x\r\nContent-Disposition: form-data; name=\"new\"\r\n\r\n1\r\n--x--\r\n";
    let expected = format!("{}{added}", kept.strip_suffix("--x--\r\n").unwrap());
    assert_eq!(String::from_utf8_lossy(&seen.message.body), expected);
    // What was reckoned over the body as it came is not said of another one.
    let body = json!({"kept": 2});
    for (config, stays) in
        [(json!({"add": {"body": ["new:1"]}}), false), (json!({"remove": {"body": ["gone"]}}), true)]
    {
        let door = Door::with(json!({ "request-transformer": config })).await;
        let names = ["Digest", "Content-Digest", "Repr-Digest", "Content-MD5"];
        let request = Request::new("POST", &door.target("x"));
        let request = names.iter().fold(request, |request, name| request.header(name, "of the old"));
        assert_eq!(door.gate.send(request.json(&body)).await.status, 200);
        let seen = &door.upstream.seen()[0];
        assert_eq!(seen.message.body == body.to_string().into_bytes(), stays, "{config}");
        names.iter().for_each(|name| assert_eq!(seen.header(name).is_some(), stays, "{config} {name}"));
    }
    let fields =
        refused("request-transformer", json!({"rename": {"headers": ["X-Mine:X-Consumer-Username"]}})).await;
    assert!(fields["config"]["headers"].as_str().is_some_and(|text| text.contains("identity")), "{fields}");
}

#[tokio::test]
async fn answers_are_transformed() {
    let config = json!({
        "remove": {"headers": ["X-Gone"], "json": ["gone"]},
        "rename": {"headers": ["X-Old:X-New"]},
        "add": {"headers": ["X-Added:1"], "json": ["added:2"], "json_types": ["number"]},
    });
    let door = Door::with(json!({ "response-transformer": config })).await;
    let headers = [("X-Gone", "1"), ("X-Old", "o"), ("Content-Type", "application/json")];
    door.upstream.answer(Answer::with(200, &headers, "{\"gone\":1,\"kept\":1}"));
    let answer = door.get("x").await;
    assert_eq!(answer.text(), "{\"kept\":1,\"added\":2}");
    assert_eq!(answer.header("content-length"), Some("20"));
    let headers = ["x-gone", "x-old", "x-new", "x-added"].map(|name| answer.header(name));
    assert_eq!(headers, [None, None, Some("o"), Some("1")]);
    door.upstream.answer(Answer::text("no json"));
    assert_eq!(door.get("x").await.text(), "no json");
}

#[tokio::test]
async fn rates_are_limited_by_the_calendar() {
    let config = json!({"month": 2, "year": 100, "limit_by": "header", "header_name": "X-Who"});
    let door = Door::with(json!({ "rate-limiting": config })).await;
    let ask = |who: &str| door.gate.send(Request::get(&door.target("x")).header("X-Who", who));
    let answer = ask("a").await;
    assert_eq!(answer.status, 200);
    for (name, value) in [
        ("x-ratelimit-limit-month", "2"),
        ("x-ratelimit-remaining-month", "1"),
        ("x-ratelimit-limit-year", "100"),
        ("x-ratelimit-remaining-year", "99"),
        ("ratelimit-limit", "2"),
        ("ratelimit-remaining", "1"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert_eq!(ask("a").await.status, 200);
    let answer = ask("a").await;
    assert_eq!((answer.status, answer.text().as_str()), (429, "{\"message\":\"API rate limit exceeded\"}\n"));
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=31 * 86_400).contains(&wait), "{wait}");
    assert_eq!(answer.header("x-ratelimit-remaining-month"), Some("0"));
    // The year was not charged with what the month stopped.
    assert_eq!(answer.header("x-ratelimit-remaining-year"), Some("98"));
    assert_eq!(ask("b").await.status, 200);
    let hidden = Door::with(json!({"rate-limiting": {"minute": 9, "hide_client_headers": true}})).await;
    assert_eq!(hidden.get("x").await.header("ratelimit-limit"), None);
    let fields = refused("rate-limiting", json!({"second": 10, "minute": 5})).await;
    let text = "The limit for minute(5.0) cannot be lower than the limit for second(10.0)";
    assert!(fields.to_string().contains(text), "{fields}");
}

#[tokio::test]
async fn requests_are_told_of_in_kongs_shape() {
    let server = Upstream::start();
    let endpoint = format!("http://{}/in", server.node());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kong.log");
    let plugins = json!({
        "http-log": {"http_endpoint": endpoint, "headers": {"X-Key": "mine"}},
        "file-log": {"path": path},
        "prometheus": {"status_code_metrics": true, "latency_metrics": true},
        "key-auth": {},
    });
    let door = Door::with(plugins).await;
    let consumer = unique("consumer-");
    set(&door.gate, &format!("/consumers/{consumer}"), json!({})).await;
    let key = json!({"key": format!("canary-{consumer}")});
    let credential = call(&door.gate, "POST", &format!("/consumers/{consumer}/key-auth"), &key).await.json();
    let request = Request::get(&door.target("x?token=canary")).header("Authorization", "Bearer canary");
    let request = request.header("apikey", key["key"].as_str().unwrap());
    assert_eq!(door.gate.send(request).await.status, 200);
    let began = std::time::Instant::now();
    let lines = loop {
        let lines = std::fs::read_to_string(&path).unwrap_or_default();
        if !server.seen().is_empty() && lines.ends_with('\n') {
            break lines;
        }
        assert!(began.elapsed() < crate::support::DEADLINE, "nothing was told");
        tokio::task::yield_now().await;
    };
    let seen = server.seen().remove(0);
    assert_eq!((seen.method.as_str(), seen.header("x-key")), ("POST", Some("mine")));
    for text in [lines, String::from_utf8_lossy(&seen.message.body).into_owned()] {
        assert!(!text.contains("canary"), "{text}");
        let entry: Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(entry["request"]["headers"]["authorization"], "***");
        assert_eq!((&entry["response"]["status"], &entry["source"]), (&json!(200), &json!("upstream")));
        let name = door.path.trim_start_matches('/');
        assert_eq!((&entry["route"]["name"], &entry["service"]["name"]), (&json!(name), &json!(name)));
        let (host, port) = door
            .upstream
            .node()
            .rsplit_once(':')
            .map(|(host, port)| (host.to_owned(), port.to_owned()))
            .unwrap();
        assert_eq!(
            (&entry["upstream_uri"], &entry["upstream_status"]),
            (&json!("/base/x?token=***"), &json!("200"))
        );
        let entity = &entry["authenticated_entity"];
        assert_eq!(
            (&entity["id"], &entity["consumer_id"]),
            (&credential["id"], &credential["consumer"]["id"])
        );
        assert_eq!(entry["tries"], json!([{"ip": host, "port": port.parse::<u16>().unwrap()}]));
        assert!(entry["latencies"]["proxy"].is_u64() && entry["started_at"].is_u64(), "{entry}");
    }
    let text = Request::get("/metrics").send(door.gate.port(9091)).await.text();
    let name = door.path.trim_start_matches('/');
    let counted = format!("{{service=\"{name}\",route=\"{name}\",code=\"200\",source=\"service\",");
    assert!(text.contains("kong_http_requests_total{") && text.contains(&counted), "{text}");
}
