//! What clients send.

use std::collections::VecDeque;

use super::{
    Fuzz, Site, bent, shown,
    strict::{Request, requests},
};
use crate::support::Seen;

/// Streams in a run of the tests.
const STREAMS: usize = 1_000;
/// Streams before the one at hand whose requests may still be on their way to the upstream.
const LATEST: usize = 20;

#[tokio::test]
async fn t13_what_the_upstream_sees_is_what_the_client_meant() {
    let site = Site::alone().await;
    let mut fuzz = Fuzz::new("requests", STREAMS);
    site.get("warm").await;
    site.upstream.take_seen();
    let before = site.gate.resident();
    let (mut meant_lately, mut passed) = (VecDeque::new(), 0);
    for round in 0_u64.. {
        if !fuzz.goes_on() {
            break;
        }
        let target = site.target(&format!("fuzz/{round}"));
        let bytes = bent(&fuzz, &seeds(&target));
        let meant = requests(&bytes);
        meant_lately.truncate(LATEST);
        meant_lately.push_front(meant.clone());
        let mut connection = site.gate.connect().await;
        connection.send(&bytes).await;
        connection.half_close().await;
        let answers = String::from_utf8_lossy(&connection.rest().await).into_owned();
        let seen = site.upstream.take_seen();
        let case = format!("{}\nmeans {meant:?}\nanswered {answers:?}", shown(&bytes));
        // Fewer answers than requests happen when the client's end comes first; more never.
        let served = answers.matches(" 200 OK\r\n").count();
        assert!(served <= seen.len(), "{served} answers, the upstream saw {seen:?} of {case}");
        assert!(!answers.contains("HTTP/1.1 500"), "{case}");
        // A request whose client has gone may reach the upstream after the client has seen the end of its stream.
        let mut left = meant_lately.iter().rev().flatten();
        for seen in &seen {
            let sent_on = read(seen);
            assert!(left.any(|meant| may_become(meant, &sent_on)), "the upstream saw {sent_on:?} of {case}");
            well_framed(seen);
        }
        passed += seen.len();
    }
    assert!(passed > 0, "nothing came through");
    fuzz.finish(&site.gate, before);
    site.still_serves().await;
}

fn seeds(target: &str) -> Vec<String> {
    vec![
        format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"),
        format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        ),
        format!(
            "PUT {target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n3;a=b\r\nabc\r\n00a\r\n0123456789\r\n0\r\nX-T: t\r\n\r\n"
        ),
        format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n\r\n"),
        format!("GET {target}?a=b&c HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
        format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
        format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
    ]
}

fn read(seen: &Seen) -> Request {
    Request { method: seen.method.clone(), target: seen.target.clone(), body: seen.message.body.clone() }
}

/// Whether the gateway may send on `meant` so: without a fragment, and with one slash for a run of them. Percent-encoding
/// and dot segments have tests of their own: what follows the first of them is not looked at.
fn may_become(meant: &Request, seen: &Request) -> bool {
    let target = meant.target.split('#').next().unwrap_or_default();
    let (path, query) = match target.find('?') {
        Some(at) => target.split_at(at),
        None => (target, ""),
    };
    let odd = path.find("/.").into_iter().chain(path.find('%')).min();
    let mut plain = path[..odd.unwrap_or(path.len())].to_owned();
    while plain.contains("//") {
        plain = plain.replace("//", "/");
    }
    let same_target = match odd {
        Some(_) => seen.target.starts_with(&plain),
        None => seen.target == plain + query,
    };
    same_target && (&meant.method, &meant.body) == (&seen.method, &seen.body)
}

fn well_framed(seen: &Seen) {
    let framing = [seen.message.all("content-length"), seen.message.all("transfer-encoding")].concat();
    assert!(framing.len() <= 1, "sent on as {seen:?}");
    assert_eq!(seen.message.all("host").len(), 1, "sent on as {seen:?}");
    let end = seen.raw.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = shown(&seen.raw[..end]).replace("\\r\\n", "\n");
    assert!(!head.contains("\\r") && !head.contains("\\n") && !head.contains("\\x00"), "sent on as {head}");
}
