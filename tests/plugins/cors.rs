use serde_json::json;

use crate::support::{Answer, Request, Response, Site};

const ALLOW_ORIGIN: &str = "access-control-allow-origin";

fn preflight(site: &Site, origin: &str) -> Request {
    Request::new("OPTIONS", &site.target("x"))
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "PUT")
        .header("Access-Control-Request-Headers", "X-Asked")
}

fn said(answer: &Response) -> [Option<&str>; 5] {
    [
        answer.header(ALLOW_ORIGIN),
        answer.header("access-control-allow-methods"),
        answer.header("access-control-allow-headers"),
        answer.header("access-control-max-age"),
        answer.header("access-control-allow-credentials"),
    ]
}

#[tokio::test]
async fn a_preflight_is_answered_before_anybody_asks_who_is_calling() {
    let site = Site::with_plugins(json!({"cors": {}, "key-auth": {}})).await;
    let answer = site.gate.send(preflight(&site, "https://a.example")).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    assert_eq!(said(&answer), [Some("*"), Some("*"), Some("*"), Some("5"), None]);
    assert!(site.upstream.seen().is_empty());
    // Who may read it may read why it failed.
    let answer = site.gate.send(Request::get(&site.target("x")).header("Origin", "https://a.example")).await;
    assert_eq!((answer.status, answer.header(ALLOW_ORIGIN)), (401, Some("*")));
}

#[tokio::test]
async fn listed_origins_are_named_and_what_the_upstream_says_is_not_passed_on() {
    let conf = json!({
        "allow_origins": "https://a.example,http://b.example:8080", "allow_methods": "GET,PUT",
        "allow_headers": "**", "expose_headers": "X-Told", "max_age": 60, "allow_credential": true,
        "timing_allow_origins": "https://a.example",
    });
    let site = Site::with_plugins(json!({ "cors": conf })).await;
    let answer = site.gate.send(preflight(&site, "https://a.example")).await;
    let named = Some("https://a.example");
    assert_eq!(said(&answer), [named, Some("GET,PUT"), Some("X-Asked"), Some("60"), Some("true")]);
    assert_eq!(answer.header("timing-allow-origin"), named);
    let upstreams = [
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Credentials", "true"),
        ("Vary", "Accept-Encoding"),
    ];
    site.upstream.answer(Answer::with(200, &upstreams, "ok"));
    let ask = |origin: &str| site.gate.send(Request::get(&site.target("x")).header("Origin", origin));
    let answer = ask("http://b.example:8080").await;
    assert_eq!(answer.all(ALLOW_ORIGIN), ["http://b.example:8080"]);
    assert_eq!(answer.header("access-control-expose-headers"), Some("X-Told"));
    assert_eq!(answer.all("vary"), ["Accept-Encoding", "Origin"]);
    for stranger in ["https://evil.example", "https://a.example.evil", "null", "http://a.example"] {
        let answer = ask(stranger).await;
        assert_eq!((answer.status, said(&answer)), (200, [None; 5]), "{stranger}");
        assert_eq!(answer.all("vary"), ["Accept-Encoding", "Origin"], "{stranger}");
    }
}

#[tokio::test]
async fn an_origin_is_the_one_that_came_whatever_other_plugins_make_of_it() {
    let cors = json!({"allow_origins_by_regex": ["^https://[a-z]+\\.test\\.example$"]});
    let rewrite = json!({"headers": {"set": {"Origin": "https://evil.example"}}});
    let site = Site::with_plugins(json!({"cors": cors, "proxy-rewrite": rewrite})).await;
    let answer =
        site.gate.send(Request::get(&site.target("x")).header("Origin", "https://a.test.example")).await;
    assert_eq!(answer.header(ALLOW_ORIGIN), Some("https://a.test.example"));
    assert_eq!(site.upstream.seen()[0].header("origin"), Some("https://evil.example"));
    let answer =
        site.gate.send(Request::get(&site.target("x")).header("Origin", "https://a.test.example.evil")).await;
    assert_eq!(answer.header(ALLOW_ORIGIN), None);
}

#[tokio::test]
async fn lists_of_origins_stand_in_the_metadata() {
    // An instance of its own: metadata hold for every route.
    let site = Site::alone().await;
    let admin = site.gate.admin();
    let conf = json!({"allow_origins": "https://a.example", "allow_origins_by_metadata": ["ours", "all"], "allow_credential": true,
        "allow_methods": "GET", "allow_headers": "X-A"});
    admin
        .route(
            site.path.trim_start_matches('/'),
            &format!("{}/*", site.path),
            &site.upstream,
            json!({ "cors": conf }),
        )
        .await;
    let allowed = async |origin: &str| {
        let answer = site.gate.send(Request::get(&site.target("x")).header("Origin", origin)).await;
        answer.header(ALLOW_ORIGIN) == Some(origin)
    };
    assert!(
        allowed("https://a.example").await && !allowed("https://b.example").await && !allowed("ours").await
    );
    let lists = json!({"allow_origins": {"ours": "https://b.example,https://c.example", "all": "*"}});
    admin.set("plugin_metadata/cors", &lists).await;
    for (origin, good) in [
        ("https://a.example", true),
        ("https://b.example", true),
        ("https://c.example", true),
        ("https://d.example", false),
    ] {
        assert_eq!(allowed(origin).await, good, "{origin}");
    }
}
