//! T28, T31, T32: what the gateway passes on as it is, and what it does not speak.

use crate::support::{Answer, Request, Site};

#[tokio::test]
async fn t28_a_compressed_body_is_passed_on_unread() {
    let site = Site::alone().await;
    let before = site.gate.resident();
    // Gzip of nothing sensible: whoever looked into it would stumble.
    let body = [b"\x1f\x8b\x08\x00".as_slice(), &[0xff; 4096]].concat();
    let request =
        Request::new("POST", &site.target("packed")).header("Content-Encoding", "gzip").body(body.clone());
    assert_eq!(site.gate.send(request).await.status, 200);
    let seen = site.upstream.seen_with("packed");
    assert_eq!(seen[0].message.body, body);
    assert_eq!(seen[0].message.header("content-encoding"), Some("gzip"));
    let grown = site.gate.resident().saturating_sub(before);
    assert!(grown < 16 << 20, "memory grew by {grown} bytes for a body of 4 KiB");
}

#[tokio::test]
async fn t31_no_answer_offers_http3() {
    let site = Site::alone().await;
    let answer = site.get("a").await;
    assert_eq!((answer.status, answer.header("alt-svc")), (200, None));
}

#[tokio::test]
async fn t32_nothing_is_answered_from_a_cache_and_ranges_are_the_upstreams() {
    let site = Site::alone().await;
    site.upstream.script(|seen| {
        let who = seen.message.header("authorization").unwrap_or("nobody").to_owned();
        Answer::with(200, &[("Cache-Control", "public, max-age=3600"), ("ETag", "\"1\"")], who)
    });
    for who in ["Basic YTph", "Basic Yjpi"] {
        let answer =
            site.gate.send(Request::new("GET", &site.target("kept")).header("Authorization", who)).await;
        assert_eq!(String::from_utf8_lossy(&answer.message.body), who);
    }
    let ranges = format!("bytes={}", ["0-"; 200].join(","));
    site.gate.send(Request::new("GET", &site.target("kept")).header("Range", &ranges)).await;
    let seen = site.upstream.seen_with("kept");
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[2].message.header("range"), Some(ranges.as_str()));
}
