//! T10 and T11: bodies where they are not expected, and answers before they are read.

use serde_json::json;

use crate::support::{Answer, Probe, Request, Site, http1::Kind};

#[tokio::test]
async fn t10_bodies_of_get_and_head_follow_their_framing() {
    let site = Site::new().await;
    let hidden = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", site.target("smuggled"));
    let mut probe = Probe::new(&site);
    for method in ["GET", "DELETE", "OPTIONS"] {
        let request =
            Request::new(method, &site.target("a")).header("Connection", "close").body(hidden.as_bytes());
        probe.forwards(method, request.bytes(), hidden.as_bytes()).await;
    }
    let mut connection = site.gate.connect().await;
    connection.send(Request::new("HEAD", &site.target("head")).body(hidden.as_bytes()).bytes()).await;
    connection.send(Request::get(&site.target("next")).header("Connection", "close").bytes()).await;
    let head = connection.response_of(Kind::Bodiless).await.unwrap();
    probe.check("HEAD", head.header("content-length") == Some("2"), format!("{head:?}"));
    let next = connection.response().await.unwrap();
    probe.check("after HEAD", next.text() == "ok", format!("{next:?}"));
    connection.expect_close().await;
    probe.check("all", site.upstream.seen_with("smuggled").is_empty(), "a body became a request");
    probe.finish().await;
}

#[tokio::test]
async fn t10_an_answer_without_a_body_has_none_whatever_the_upstream_says() {
    let site = Site::new().await;
    for status in [204, 304] {
        let poison = "HTTP/1.1 200 Poison\r\nContent-Length: 6\r\n\r\npoison";
        let answer =
            format!("HTTP/1.1 {status} Scripted\r\nContent-Length: {}\r\n\r\n{poison}", poison.len());
        site.upstream.answer(Answer::raw(answer));
        let mut connection = site.gate.connect().await;
        connection.send(Request::get(&site.target("none")).bytes()).await;
        let answer = connection.response().await.unwrap();
        assert_eq!(answer.status, status);
        // Whatever else is on the upstream's connection belongs to nobody.
        site.upstream.answer(Answer::text("ok"));
        connection.send(Request::get(&site.target("next")).header("Connection", "close").bytes()).await;
        let next = connection.response().await.unwrap();
        assert_eq!((next.status, next.text().as_str()), (200, "ok"), "after {status}");
        connection.expect_close().await;
    }
    site.upstream.answer(Answer::text("content"));
    let head = site.gate.send(Request::new("HEAD", &site.target("head"))).await;
    assert_eq!(head.status, 200);
}

#[tokio::test]
async fn t10_expect_100_is_answered_before_the_body_is_read() {
    let site = Site::new().await;
    let mut connection = site.gate.connect().await;
    let head = |expect: &str| {
        format!(
            "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: {expect}\r\n\r\n",
            site.target("a")
        )
    };
    connection.send(head("100-continue")).await;
    assert_eq!(connection.response().await.unwrap().status, 100);
    connection.send("hello").await;
    assert_eq!(connection.response().await.unwrap().status, 200);
    connection.send(head("100-Continue")).await;
    assert_eq!(connection.response().await.unwrap().status, 100);
    connection.send("hello").await;
    assert_eq!(connection.response().await.unwrap().status, 200);
    assert!(site.upstream.seen().iter().all(|seen| seen.message.body == b"hello"));

    // An expectation that nobody knows is refused or ignored; it does not take the body for a request.
    let mut probe = Probe::new(&site);
    for expect in ["200-ok", "100-continue, x", "x=\"100-continue\""] {
        let bytes = format!("{}hello", head(expect).replace("Expect", "Connection: close\r\nExpect"));
        let mut connection = site.gate.connect().await;
        connection.send(bytes).await;
        let mut answer = connection.response().await.unwrap();
        if answer.status == 100 {
            answer = connection.response().await.unwrap();
        }
        probe.check(expect, matches!(answer.status, 200 | 400 | 417), format!("{answer:?}"));
        connection.expect_close().await;
    }
    probe.finish().await;
}

#[tokio::test]
async fn t11_an_early_answer_leaves_no_bytes_for_the_next_request() {
    let site = Site::with_plugins(json!({"openid-connect": {
        "client_id": "x", "client_secret": "x-secret-of-this-test", "bearer_only": true,
        "discovery": "http://127.0.0.1:1/.well-known/openid-configuration",
    }}))
    .await;
    let hidden = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", site.target("smuggled"));
    let mut probe = Probe::new(&site);
    let start = format!("POST {} HTTP/1.1\r\nHost: localhost\r\n", site.target("a"));
    for (case, bytes) in [
        ("a body that is complete", format!("{start}Content-Length: {}\r\n\r\n{hidden}", hidden.len())),
        ("a body that never ends", format!("{start}Content-Length: 1000000\r\n\r\n{hidden}")),
        ("chunks that never end", format!("{start}Transfer-Encoding: chunked\r\n\r\nfffff\r\n{hidden}")),
    ] {
        let mut connection = site.gate.connect().await;
        connection.send(bytes).await;
        let answer = connection.response().await.unwrap();
        probe.check(case, answer.status == 401, format!("{answer:?}"));
        connection.half_close().await;
        let rest = connection.rest().await;
        probe.check(case, rest.is_empty(), format!("followed by {:?}", String::from_utf8_lossy(&rest)));
    }
    // A body that was read to its end leaves the connection fit for the next request.
    let mut connection = site.gate.connect().await;
    connection.send(Request::new("POST", &site.target("b")).body("hello").bytes()).await;
    assert_eq!(connection.response().await.unwrap().status, 401);
    connection.send(Request::get(&site.target("c")).header("Connection", "close").bytes()).await;
    probe.check("reuse", connection.response().await.is_none_or(|answer| answer.status == 401), "not a 401");
    probe.check("all", site.upstream.received().is_empty(), "something went upstream");
    assert!(site.gate.is_running());
    let open = Site::on(site.gate.clone(), json!({})).await;
    open.still_serves().await;
    probe.report();
}
