use std::{collections::BTreeMap, sync::atomic::Ordering};

use expr::Template;
use gateway::{
    error::ErrorBody,
    plugin::{HostName, Peer, RequestHead},
    route::{Backend, Matcher, Route},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use serde_json::{Value, json};

use super::{
    batch::{Batches, Queue},
    file::LogFile,
    *,
};

fn head(target: &str, headers: &[(&'static str, &str)]) -> RequestHead {
    let mut all = HeaderMap::new();
    for (name, value) in headers {
        all.append(*name, HeaderValue::from_str(value).unwrap());
    }
    RequestHead {
        named: None,
        method: Method::GET,
        target: target.parse().unwrap(),
        host: HostName::parse(&HeaderValue::from_static("a.example")).unwrap(),
        headers: all,
        version: Version::HTTP_11,
        websocket: false,
        sending: Default::default(),
    }
}

fn entry(shape: &Shape, head: &RequestHead, answer: &[(&'static str, &str)]) -> Value {
    let route = Arc::new(Route {
        id: "r".into(),
        name: None,
        dialect: "test",
        service_id: Some("s".into()),
        service_name: Some("shop".into()),
        matcher: Matcher::default(),
        plan: Arc::default(),
        backend: Backend::None(StatusCode::NOT_FOUND, ""),
        timeouts: None,
        websocket: false,
        errors: ErrorBody { member: "message" },
    });
    let peer = Peer {
        ip: [10, 0, 0, 1].into(),
        port: 1,
        local_ip: [127, 0, 0, 1].into(),
        local_port: 80,
        https: false,
        trusted: false,
        server_name: None,
        certificate: None,
    };
    let headers = self::head("/", answer).headers;
    let sent = format!("/up{}", head.target).parse().unwrap();
    let exchange = Exchange {
        at: base::UnixMillis(1_800_000_000_123),
        head: Some(head),
        headers: Some(&headers),
        peer: &peer,
        route: &route,
        consumer: None,
        credential: None,
        status: StatusCode::OK,
        received: 3,
        sent: 5,
        took: Duration::from_millis(20),
        upstream_took: Some(Duration::from_millis(15)),
        upstream: Some("10.0.0.2:80"),
        upstream_status: Some(StatusCode::ACCEPTED),
        upstream_target: Some(&sent),
        failure: None,
    };
    let text = shape.entry(&exchange, "host");
    assert!(!text.contains('\n'));
    serde_json::from_str(&text).unwrap()
}

fn members(pairs: &[(&str, &str)]) -> Vec<(String, Member)> {
    let text = |text| Member::Text(Template::parse(text).unwrap());
    pairs.iter().map(|(name, written)| ((*name).to_owned(), text(written))).collect()
}

#[test]
fn an_entry_says_what_apisix_says() {
    let head = head("/x?a=1&a=2", &[("x-a", "1"), ("x-b", "2"), ("x-b", "3")]);
    let entry = entry(&Shape::Apisix, &head, &[("content-type", "text/plain")]);
    assert_eq!(entry["request"]["url"], "http://a.example:80/x?a=1&a=2");
    assert_eq!(entry["request"]["querystring"], json!({"a": ["1", "2"]}));
    assert_eq!(entry["request"]["headers"], json!({"x-a": "1", "x-b": ["2", "3"]}));
    assert_eq!(
        entry["response"],
        json!({"status": 200, "headers": {"content-type": "text/plain"}, "size": 5})
    );
    assert_eq!((&entry["route_id"], &entry["service_id"]), (&json!("r"), &json!("s")));
    assert_eq!((&entry["client_ip"], &entry["upstream"]), (&json!("10.0.0.1"), &json!("10.0.0.2:80")));
    assert_eq!((&entry["latency"], &entry["upstream_latency"]), (&json!(20.0), &json!(15.0)));
    assert_eq!(entry["start_time"], 1_800_000_000_123_i64);
}

#[test]
fn an_entry_says_what_kong_says() {
    let entry = entry(&Shape::Kong, &head("/x?a=1&token=t", &[]), &[]);
    assert_eq!(
        (&entry["upstream_uri"], &entry["upstream_status"]),
        (&json!("/up/x?a=1&token=***"), &json!("202"))
    );
    assert_eq!(entry["latencies"], json!({"request": 20, "kong": 5, "proxy": 15}));
    assert_eq!(entry["tries"], json!([{"ip": "10.0.0.2", "port": 80}]));
    assert_eq!(entry["service"], json!({"id": "s", "name": "shop"}));
    assert!(entry.get("authenticated_entity").is_none() && entry.get("consumer").is_none());
}

#[test]
fn an_entry_says_what_its_format_says() {
    let mut format = members(&[
        ("@timestamp", "$time_iso8601"),
        ("host", "$host"),
        ("client_ip", "$remote_addr"),
        ("line", "$request_method $uri $status"),
        ("fixed", "text"),
        ("none", "$http_none"),
        ("time", "$request_time"),
        ("status", "$status"),
    ]);
    let inner = members(&[("method", "$request_method"), ("none", "$http_none")]);
    format.push(("request".to_owned(), Member::Object(inner)));
    let entry = entry(&Shape::Members(format), &head("/x", &[]), &[]);
    assert_eq!(
        entry,
        json!({
            "@timestamp": "2027-01-15T08:00:00+00:00", "host": "a.example", "client_ip": "10.0.0.1",
            "line": "GET /x 200", "fixed": "text", "time": "0.020", "route_id": "r", "service_id": "s",
            "status": 200, "request": {"method": "GET"},
        })
    );
}

#[test]
fn s07_no_secret_gets_into_an_entry() {
    let canary = "canary";
    let headers = [
        ("authorization", "Bearer canary"),
        ("cookie", "session=canary"),
        ("x-api-key", "canary"),
        ("apikey", "canary"),
        ("dpop", "canary"),
        ("x-access-token", "canary"),
        ("x-auth-request-user", "canary"),
        ("referer", "https://a.example/?code=canary#canary"),
    ];
    let query =
        "code=canary&access_token=canary&client_secret=canary&API-Key=canary&%63ode=canary&password=canary";
    let head = head(&format!("/x?{query}&open=1"), &headers);
    let answer = [
        ("set-cookie", "session=canary"),
        ("location", "https://b.example/cb?code=canary&state=canary#access_token=canary"),
    ];
    let everything = members(&[
        ("a", "$http_authorization"),
        ("b", "$http_cookie $cookie_session"),
        ("c", "$request_uri"),
        ("d", "$query_string"),
        ("e", "$arg_code"),
        ("f", "$sent_http_set_cookie"),
        ("g", "$sent_http_location"),
        ("h", "$http_x_api_key"),
        ("i", "$http_referer"),
    ]);
    for shape in
        [Shape::Apisix, Shape::Kong, Shape::Members(everything.clone()), Shape::ApisixAnd(everything)]
    {
        let text = entry(&shape, &head, &answer).to_string();
        assert!(!text.contains(canary), "{text}");
        assert!(text.contains("open=1"), "{text}");
    }
}

fn batches(waiting: usize) -> Batches {
    Batches {
        most: 10,
        idle: Duration::from_millis(20),
        oldest: Duration::from_secs(60),
        retries: 0,
        retry_delay: Duration::ZERO,
        waiting,
    }
}

fn lines(path: &std::path::Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn batches_are_full_or_have_waited_long_enough() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let sink = Sink::File(LogFile::new(path.to_str().unwrap()).unwrap());
    let queue = Queue::new("test-batches", batches(100), sink, Handle::current());
    for number in 0..12 {
        queue.push(format!("{{\"n\":{number}}}"));
    }
    let counts = || counts().into_iter().collect::<BTreeMap<_, _>>()["test-batches"].clone();
    while counts().sent.load(Ordering::Relaxed) < 10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(lines(&path).len(), 10);
    while counts().sent.load(Ordering::Relaxed) < 12 {
        tokio::task::yield_now().await;
    }
    assert_eq!(lines(&path).last().unwrap(), "{\"n\":11}");
}

#[tokio::test]
async fn a_full_queue_drops_and_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let sink = Sink::File(LogFile::new(path.to_str().unwrap()).unwrap());
    let queue = Queue::new("test-full", batches(3), sink, Handle::current());
    for _ in 0..10 {
        if queue.has_room() {
            queue.push("{}".to_owned());
        }
    }
    let counts = counts().into_iter().collect::<BTreeMap<_, _>>()["test-full"].clone();
    assert_eq!(counts.dropped.load(Ordering::Relaxed), 7);
}

#[test]
fn only_logs_are_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("database"), "SQLite format 3").unwrap();
    std::fs::write(at("log"), "{}\n").unwrap();
    std::fs::write(at("empty"), "").unwrap();
    std::os::unix::fs::symlink(at("log"), at("link")).unwrap();
    for good in ["log", "empty", "new"] {
        assert!(LogFile::new(&at(good)).is_ok(), "{good}");
    }
    for bad in
        [at("database"), at("link"), at(""), format!("{}/../x", at("a")), "..".to_owned(), String::new()]
    {
        assert!(LogFile::new(&bad).is_err(), "{bad}");
    }
    assert!(LogFile::new("/dev/stdout").is_ok());
}
