//! T10 and T11: bodies where they are not expected, and answers before they are read.

use serde_json::json;

use std::{
    io::Read,
    net::{Ipv4Addr, TcpListener},
    thread,
};

use crate::support::{Answer, Probe, Request, Site, admin::node, http1::Kind, unique};

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
async fn t10_an_empty_body_in_chunks_ends_once_also_where_it_was_read_to_find_the_route() {
    let site = Site::new().await;
    // Whether this route is meant depends on the body, which is read before the other one is found.
    let by_body = json!({"uri": format!("{}/*", site.path), "vars": [["post_arg_there", "==", "yes"]],
        "priority": 10, "upstream": node(&site.upstream)});
    site.gate.admin().set(&format!("routes/{}", unique("by-body-")), &by_body).await;
    let mut probe = Probe::new(&site);
    for method in ["GET", "DELETE", "POST", "PUT"] {
        for (case, kind) in [("as it comes", "text/plain"), ("read", "application/x-www-form-urlencoded")] {
            for (chunks, body) in
                [("0\r\n\r\n", ""), ("3\r\na=b\r\n0\r\n\r\n", "a=b"), ("0\r\nx: y\r\n\r\n", "")]
            {
                let case = format!("{method} {case} {chunks:?}");
                let (seen, received) = (site.upstream.seen().len(), site.upstream.received().len());
                let mut connection = site.gate.connect().await;
                for _ in 0..2 {
                    let head = format!(
                        "{method} {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n\
                         Transfer-Encoding: chunked\r\n\r\n{chunks}",
                        site.target("a")
                    );
                    connection.send(head).await;
                    let status = connection.response().await.map(|answer| answer.status);
                    probe.check(&case, status == Some(200), format!("answered {status:?}"));
                }
                let new = site.upstream.seen().split_off(seen);
                let as_it_was = new.iter().all(|seen| {
                    seen.method == method
                        && seen.path() == site.target("a")
                        && seen.message.body == body.as_bytes()
                });
                probe.check(&case, new.len() == 2 && as_it_was, format!("the upstream saw {new:?}"));
                // Not a byte came that belongs to none of them.
                let whole: usize = new.iter().map(|seen| seen.raw.len()).sum();
                let came = site.upstream.received().len() - received;
                probe.check(&case, whole == came, format!("{came} bytes came, {whole} were requests"));
            }
        }
    }
    probe.finish().await;
}

#[tokio::test]
async fn t10_another_target_gets_the_whole_body_or_nothing() {
    let site = Site::new().await;
    // It takes connections, and what is sent on them, and says nothing.
    let deaf = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let first = deaf.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut stream in deaf.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 2048]);
        }
    });
    let upstream = json!({"type": "roundrobin", "retries": 1, "nodes": [
        {"host": "127.0.0.1", "port": first.rsplit(':').next().unwrap().parse::<u16>().unwrap(), "weight": 1,
            "priority": 1},
        {"host": "127.0.0.1", "port": site.upstream.port(), "weight": 1, "priority": 0},
    ]});
    let route = json!({"uri": format!("{}/*", site.path), "priority": 10, "upstream": upstream});
    site.gate.admin().set(&format!("routes/{}", unique("second-")), &route).await;
    let mut probe = Probe::new(&site);
    for method in ["PUT", "POST"] {
        for length in [1, 2000, 16 << 10, (16 << 10) + 1, 200_000, 2 << 20] {
            let body: Vec<u8> = (0..length).map(|at| b'a' + (at % 26) as u8).collect();
            let chunks: Vec<u8> = body
                .chunks(5000)
                .flat_map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())
                .chain(*b"0\r\n\r\n")
                .collect();
            let start = format!("{method} {} HTTP/1.1\r\nHost: localhost\r\n", site.target("a"));
            let with_length = format!("{start}Content-Length: {length}\r\n\r\n");
            let in_chunks = format!("{start}Transfer-Encoding: chunked\r\n\r\n");
            for (kind, bytes) in [
                ("length", [with_length.as_bytes(), &body].concat()),
                ("chunks", [in_chunks.as_bytes(), &chunks].concat()),
            ] {
                let case = format!("{method} {length} {kind}");
                let before = site.upstream.seen().len();
                let mut connection = site.gate.connect().await;
                connection.send(&bytes).await;
                let status = connection.response().await.map(|answer| answer.status);
                let new = site.upstream.seen().split_off(before);
                match (status, new.as_slice()) {
                    (Some(200), [seen]) => {
                        probe.check(
                            &case,
                            seen.message.body == body,
                            format!("{} bytes", seen.message.body.len()),
                        );
                        probe.check(&case, method == "PUT", "a POST was repeated");
                    }
                    (Some(502), []) => {
                        let repeatable = method == "PUT" && length <= 16 << 10;
                        probe.check(&case, !repeatable, "it was not repeated");
                    }
                    (status, seen) => probe.fail(&case, format!("{status:?}, {} requests", seen.len())),
                }
            }
        }
    }
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
