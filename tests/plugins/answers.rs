use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Request, Site};

#[tokio::test]
async fn faults_are_injected_before_anybody_asks_who_is_calling() {
    let abort =
        json!({"http_status": 503, "body": "Fault: $arg_name\n", "headers": {"X-Fault": "$remote_addr"}});
    let site = Site::with_plugins(json!({"fault-injection": {"abort": abort}, "key-auth": {}})).await;
    let answer = site.get("x?name=%3Cb%3E").await;
    assert_eq!((answer.status, answer.text().as_str()), (503, "Fault: <b>\n"));
    assert_eq!(answer.header("x-fault"), Some("127.0.0.1"));
    // A browser must not take it for a page.
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert!(site.upstream.seen().is_empty());
    for (share, status) in [(0, 200), (100, 418)] {
        let abort = json!({"http_status": 418, "percentage": share});
        let site = Site::with_plugins(json!({"fault-injection": {"abort": abort}})).await;
        for _ in 0..5 {
            assert_eq!(site.get("x").await.status, status, "{share}");
        }
    }
}

#[tokio::test]
async fn faults_are_for_the_requests_that_are_meant() {
    let vars = json!([[["arg_name", "==", "jack"]], [["http_age", ">", 18]]]);
    let site =
        Site::with_plugins(json!({"fault-injection": {"abort": {"http_status": 403, "vars": vars}}})).await;
    assert_eq!(site.get("x?name=jack").await.status, 403);
    assert_eq!(site.gate.send(Request::get(&site.target("x")).header("age", "20")).await.status, 403);
    assert_eq!(site.get("x?name=jill").await.status, 200);
}

#[tokio::test]
async fn a_delay_is_waited_and_the_request_goes_on() {
    let site = Site::with_plugins(json!({"fault-injection": {"delay": {"duration": 0.3}}})).await;
    let began = Instant::now();
    assert_eq!(site.get("x").await.status, 200);
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn an_example_answers_in_the_upstreams_place() {
    let conf = json!({
        "response_example": "<p>$arg_name</p>", "content_type": "text/html;charset=utf8", "response_status": 202,
        "response_headers": {"X-A": 1},
    });
    let site = Site::with_plugins(json!({ "mocking": conf })).await;
    let answer = site.get("x?name=%3Cscript%3E").await;
    assert_eq!((answer.status, answer.text().as_str()), (202, "<p>&lt;script&gt;</p>"));
    assert_eq!(answer.header("content-type"), Some("text/html;charset=utf8"));
    assert_eq!(answer.header("x-mock-by"), Some("APISIX/3.18.0"));
    assert_eq!(answer.header("x-a"), Some("1"));
    assert!(site.upstream.seen().is_empty());
    let plain = json!({"response_example": "{\"a\":\"$arg_name\"}", "with_mock_header": false});
    let site = Site::with_plugins(json!({ "mocking": plain })).await;
    let answer = site.get("x?name=b").await;
    assert_eq!((answer.text().as_str(), answer.header("x-mock-by")), ("{\"a\":\"b\"}", None));
    assert_eq!(answer.header("content-type"), Some("application/json;charset=utf8"));
}
