use serde_json::{Value, json};

use crate::support::{Answer, Request, Site};

async fn rewriting(conf: Value) -> Site {
    Site::with_plugins(json!({ "response-rewrite": conf })).await
}

#[tokio::test]
async fn status_headers_and_body_become_the_written_ones() {
    let conf = json!({
        "status_code": 201,
        "body": "{\"code\":\"ok\"}",
        "headers": {
            "add": ["Set-Cookie: b=2; Max-Age=5", "X-Added: $arg_x"],
            "set": {
                "X-Server": "$remote_addr", "Content-Type": "application/json", "X-Number": 7,
                "X-Empty": "", "X-Nobody": "$http_nobody",
            },
            "remove": ["X-Gone"],
        },
    });
    let site = rewriting(conf).await;
    let upstreams = [
        ("X-Gone", "1"),
        ("X-Empty", "1"),
        ("X-Nobody", "1"),
        ("Set-Cookie", "a=1"),
        ("ETag", "\"x\""),
        ("Content-Encoding", "gzip"),
    ];
    site.upstream.answer(Answer::with(200, &upstreams, "old body"));
    let answer = site.get("x?x=y").await;
    assert_eq!((answer.status, answer.text().as_str()), (201, "{\"code\":\"ok\"}"));
    assert_eq!(answer.header("content-length"), Some("13"));
    assert_eq!(answer.all("set-cookie"), ["a=1", "b=2; Max-Age=5"]);
    assert_eq!(answer.header("x-added"), Some("y"));
    assert_eq!(answer.header("x-server"), Some("127.0.0.1"));
    assert_eq!(answer.header("x-number"), Some("7"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    for gone in ["x-gone", "x-empty", "x-nobody", "etag", "content-encoding"] {
        assert_eq!(answer.header(gone), None, "{gone}");
    }
    let answer = site.gate.send(Request::new("HEAD", &site.target("x"))).await;
    assert_eq!((answer.status, answer.text().as_str()), (201, ""));
    // A value that would end its header is left out.
    let answer = site.get("x?x=a%0d%0aX-Evil:%201").await;
    assert_eq!((answer.header("x-evil"), answer.header("x-added")), (None, None));
}

#[tokio::test]
async fn only_answers_of_which_the_condition_holds_are_changed() {
    let conf = json!({
        "vars": [["status", "==", 500], ["sent_http_x_kind", "==", "a"]], "status_code": 418, "body": "sorry",
    });
    let site = rewriting(conf).await;
    for (status, kind, told) in
        [(500, "a", (418, "sorry")), (500, "b", (500, "old")), (200, "a", (200, "old"))]
    {
        site.upstream.answer(Answer::with(status, &[("X-Kind", kind)], "old"));
        let answer = site.get("x").await;
        assert_eq!((answer.status, answer.text().as_str()), told, "{status} {kind}");
    }
}

#[tokio::test]
async fn patterns_change_a_body_that_is_read_whole_and_unencoded() {
    let filters = json!([
        {"regex": "secret-[0-9]+", "replace": "***", "scope": "global"},
        {"regex": "(HELLO) (world)", "replace": "$2 $1", "options": "ijo"},
    ]);
    let site = rewriting(json!({"filters": filters, "max_resp_body_size": 1000})).await;
    let body = "hello world, secret-1 and secret-22";
    let ask = || {
        let request = Request::get(&site.target("x")).header("Accept-Encoding", "gzip");
        site.gate.send(request.header("Range", "bytes=0-3"))
    };
    for chunked in [false, true] {
        site.upstream.answer(if chunked {
            let (first, rest) = body.split_at(15);
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: \"x\"\r\n\r\n";
            let chunk = |part: &str| format!("{:x}\r\n{part}\r\n", part.len());
            Answer::raw(format!("{head}{}{}0\r\n\r\n", chunk(first), chunk(rest)))
        } else {
            Answer::with(200, &[("ETag", "\"x\"")], body)
        });
        let answer = ask().await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "world hello, *** and ***"));
        assert_eq!((answer.header("content-length"), answer.header("etag")), (Some("24"), None));
        let seen = site.upstream.seen().pop().unwrap();
        assert_eq!((seen.header("accept-encoding"), seen.header("range")), (Some("identity"), None));
    }
    // What cannot be read whole is not let through unread.
    site.upstream.answer(Answer::with(200, &[("X-Kept", "1")], "secret-1 ".repeat(200)));
    let answer = ask().await;
    assert_eq!((answer.status, answer.header("x-kept")), (502, Some("1")));
    assert!(
        answer.text().starts_with("{\"error_msg\":") && !answer.text().contains("secret"),
        "{}",
        answer.text()
    );
    site.upstream
        .answer(Answer::SendAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\nsecret-1".to_vec()));
    assert_eq!(ask().await.status, 502);
    site.upstream.answer(Answer::with(204, &[], ""));
    assert_eq!(ask().await.status, 204);
    let long_lived = rewriting(json!({"headers": {"X-A": "1"}})).await;
    long_lived.still_serves().await;
}

#[tokio::test]
async fn what_was_reckoned_over_the_old_body_is_not_said_of_the_new_one() {
    const OLD: &[(&str, &str)] = &[
        ("Digest", "SHA-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE="),
        ("Content-Digest", "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"),
        ("Repr-Digest", "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"),
        ("Content-MD5", "Q2hlY2sgSW50ZWdyaXR5IQ=="),
        ("ETag", "\"old\""),
        ("Accept-Ranges", "bytes"),
        ("Content-Type", "application/json"),
    ];
    for (plugins, new) in [
        (json!({"response-rewrite": {"body": "new"}}), "new"),
        (
            json!({"response-rewrite": {"filters": [{"regex": "old", "scope": "once", "replace": "new"}]}}),
            r#"{"a":"new"}"#,
        ),
    ] {
        let site = Site::with_plugins(plugins.clone()).await;
        site.upstream.answer(Answer::with(200, OLD, r#"{"a":"old"}"#));
        for method in ["GET", "HEAD"] {
            let answer = site.gate.send(Request::new(method, &site.target("x"))).await;
            assert_eq!(answer.status, 200);
            if method == "GET" {
                assert_eq!(answer.text(), new, "{plugins}");
            }
            for (name, _) in OLD.iter().take(6) {
                assert_eq!(answer.header(name), None, "{plugins} {method} {name}");
            }
        }
    }
    // Where nothing is made of the body, all of it stays.
    let site = rewriting(json!({"headers": {"set": {"X-Own": "1"}}})).await;
    site.upstream.answer(Answer::with(200, OLD, "old"));
    let answer = site.get("x").await;
    for (name, value) in OLD {
        assert_eq!(answer.header(name), Some(*value), "{name}");
    }
    // What the plugin itself says of the new body stays too.
    let site =
        rewriting(json!({"body": "new", "headers": {"set": {"Content-Digest": "sha-256=:new:"}}})).await;
    site.upstream.answer(Answer::with(200, OLD, "old"));
    assert_eq!(site.get("x").await.header("content-digest"), Some("sha-256=:new:"));
}

#[tokio::test]
async fn a_filter_finds_the_end_of_a_body_before_its_last_line_end() {
    let filters = json!([{"regex": "\\w\\S+$", "replace": "*"}]);
    let site = rewriting(json!({"vars": [["status", "==", 200]], "filters": filters})).await;
    site.upstream.answer(Answer::text("hello world\n"));
    assert_eq!(site.get("x").await.text(), "hello *\n");
}
