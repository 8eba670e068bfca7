//! T12: upstreams that answer nonsense.

use serde_json::json;

use crate::support::{Answer, Probe, Request, Site, admin::node, unique};

/// A whole good answer, which must reach nobody who did not ask for it.
const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-Poison: yes\r\n\r\npoison";

#[tokio::test]
async fn t12_a_malformed_head_is_a_502_and_its_connection_is_not_used_again() {
    let site = Site::new().await;
    let mut probe = Probe::new(&site);
    let many: String = (0..10_000).map(|n| format!("X-H-{n}: v\r\n")).collect();
    let long = "a".repeat(1 << 20);
    for (case, head) in [
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok".to_owned()),
        ("a length that is none", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nok".to_owned()),
        ("a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok".to_owned()),
        ("a length with a plus", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok".to_owned()),
        ("a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok".to_owned()),
        ("CR in a value", "HTTP/1.1 200 OK\r\nX-A: a\rX-B: b\r\nContent-Length: 2\r\n\r\nok".to_owned()),
        ("NUL in a value", "HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 2\r\n\r\nok".to_owned()),
        ("a name with a space", "HTTP/1.1 200 OK\r\nX A: a\r\nContent-Length: 2\r\n\r\nok".to_owned()),
        ("a line without a colon", "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 2\r\n\r\nok".to_owned()),
        ("an unknown coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\nok".to_owned()),
        ("no status", "HTTP/1.1 OK\r\nContent-Length: 2\r\n\r\nok".to_owned()),
        ("status 99", "HTTP/1.1 99 Low\r\nContent-Length: 2\r\n\r\nok".to_owned()),
        ("status 1000", "HTTP/1.1 1000 High\r\nContent-Length: 2\r\n\r\nok".to_owned()),
        ("another protocol", "SSH-2.0-OpenSSH_9.2p1\r\n\r\n".to_owned()),
        ("HTTP/2", "HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned()),
        ("no head at all", "ok\r\n\r\n".to_owned()),
        ("10,000 headers", format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 2\r\n\r\nok")),
        ("a header of a mebibyte", format!("HTTP/1.1 200 OK\r\nX-A: {long}\r\nContent-Length: 2\r\n\r\nok")),
        ("a head that never ends", format!("HTTP/1.1 200 OK\r\nX-A: {long}")),
        (
            "101 that nobody asked for",
            "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n".to_owned(),
        ),
    ] {
        site.upstream.answer(Answer::raw(format!("{head}{POISON}")));
        let answer = site.get("a").await;
        probe.check(
            case,
            answer.status == 502,
            format!("answered {} {:?}", answer.status, answer.message.headers),
        );
        poisoned(&site, &mut probe, case).await;
    }
    probe.finish().await;
}

#[tokio::test]
async fn t12_length_and_coding_together_are_not_believed_twice() {
    let site = Site::new().await;
    let mut probe = Probe::new(&site);
    for (case, head) in [
        ("length first", "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n"),
        ("coding first", "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n"),
    ] {
        site.upstream
            .answer(Answer::raw(format!("HTTP/1.1 200 OK\r\n{head}\r\n5\r\nhello\r\n0\r\n\r\n{POISON}")));
        let answer = site.get("a").await;
        let good = answer.status == 502 || (answer.status == 200 && answer.text() == "hello");
        probe.check(case, good, format!("{answer:?}"));
        poisoned(&site, &mut probe, case).await;
    }
    probe.finish().await;
}

#[tokio::test]
async fn t12_a_body_that_breaks_off_is_not_passed_on_as_whole() {
    let site = Site::new().await;
    let mut probe = Probe::new(&site);
    for (case, bytes) in [
        ("bad chunk size", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n".to_owned()),
        (
            "chunk size over 2^64",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n10000000000000000\r\n".to_owned(),
        ),
        ("no end of chunk", "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX0\r\n\r\n".to_owned()),
        ("chunks cut off", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".to_owned()),
        ("length cut off", "Content-Length: 10\r\n\r\nhello".to_owned()),
    ] {
        site.upstream.answer(Answer::SendAndClose(format!("HTTP/1.1 200 OK\r\n{bytes}").into_bytes()));
        let mut connection = site.gate.connect().await;
        connection.send(Request::get(&site.target("a")).bytes()).await;
        // A 502, or a body that visibly lacks its end: never one that looks complete.
        let answer = connection.response().await;
        let whole = answer.as_ref().is_some_and(|answer| answer.status == 200);
        probe.check(case, !whole, format!("passed on as {answer:?}"));
        poisoned(&site, &mut probe, case).await;
    }
    probe.finish().await;
}

#[tokio::test]
async fn t12_interim_answers_are_not_endless() {
    let site = Site::new().await;
    let hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".to_vec();
    site.upstream.answer(Answer::Flood(Vec::new(), hint.clone()));
    let mut connection = site.gate.connect().await;
    connection.send(Request::get(&site.target("a")).header("Connection", "close").bytes()).await;
    let mut interim = 0;
    let last = loop {
        match connection.response().await {
            Some(answer) if answer.status < 200 => interim += 1,
            last => break last,
        }
    };
    assert_eq!(last.map(|answer| answer.status), Some(502), "after {interim} interim answers");
    assert!(interim < 100, "{interim} interim answers were passed on");
    // A few of them are in order.
    let few = [hint.repeat(3), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()].concat();
    site.upstream.answer(Answer::Send(few));
    assert_eq!(site.get("b").await.text(), "ok");
    site.still_serves().await;
}

#[tokio::test]
async fn t12_bytes_after_an_answer_belong_to_nobody() {
    let site = Site::new().await;
    site.upstream.answer(Answer::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{POISON}")));
    let mut probe = Probe::new(&site);
    for n in 0..20 {
        let answer = site.get(&format!("{n}")).await;
        probe.check("body", answer.status == 200 && answer.text() == "ok", format!("{answer:?}"));
    }
    poisoned(&site, &mut probe, "after 20").await;
    probe.finish().await;
}

#[tokio::test]
async fn t12_an_upstream_that_is_silent_late_or_gone_has_its_status() {
    let site = Site::new().await;
    let (id, path) = (unique("late-"), unique("/late-"));
    let mut upstream = node(&site.upstream);
    upstream["timeout"] = json!({"connect": 1, "send": 1, "read": 1});
    site.gate.admin().set(&format!("routes/{id}"), &json!({"uri": path, "upstream": upstream})).await;
    for (answer, status) in
        [(Answer::Stall, "504"), (Answer::Close, "502"), (Answer::with(500, &[], "no"), "500")]
    {
        site.upstream.answer(answer);
        let answer = site.gate.get(&path).await;
        assert_eq!(answer.status.to_string(), status);
        assert_eq!(answer.header("x-apisix-upstream-status"), Some(status));
    }
    site.upstream.answer(Answer::with(404, &[], "no"));
    assert_eq!(site.gate.get(&path).await.header("x-apisix-upstream-status"), None);
    site.upstream.stop();
    let answer = site.gate.get(&path).await;
    assert_eq!((answer.status, answer.header("x-apisix-upstream-status")), (502, Some("502")));
}

/// Fails the case if anything of the last answer comes out of the next one.
async fn poisoned(site: &Site, probe: &mut Probe<'_>, case: &str) {
    site.upstream.answer(Answer::text("ok"));
    for _ in 0..3 {
        let next = site.get("next").await;
        probe.check(case, next.status == 200 && next.text() == "ok", format!("the next answer was {next:?}"));
    }
}
