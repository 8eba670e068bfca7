//! T13 in small: streams that are cut, doubled and bent at random, with U as the judge.

use base::Random;

use crate::support::{Probe, Site};

/// Streams in one run. The full million is for a nightly run.
const STREAMS: usize = 400;

/// What the mutations are made of.
const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"0",
    b"5",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n",
    b"chunked",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"ffffffffffffffff\r\n",
    b"\xff",
    b"Host: evil\r\n",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"GET ",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b" \r\n",
];

#[tokio::test]
async fn t13_what_the_upstream_sees_is_well_framed_whatever_the_client_sends() {
    let site = Site::new().await;
    let random = Random::seeded(13);
    let pick = |limit: usize| usize::from(u16::from_be_bytes(random.bytes())) % limit.max(1);
    let target = site.target("fuzz");
    let seeds = [
        format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"),
        format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        ),
        format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n\r\n"),
        format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
    ];
    let mut probe = Probe::new(&site);
    for _ in 0..STREAMS {
        let mut bytes = Vec::new();
        for _ in 0..=pick(3) {
            bytes.extend(seeds[pick(seeds.len())].bytes());
        }
        for _ in 0..=pick(4) {
            let at = pick(bytes.len());
            match pick(4) {
                0 => drop(bytes.drain(at..(at + 1 + pick(8)).min(bytes.len()))),
                1 => bytes[at] ^= 1 << pick(8),
                _ => drop(bytes.splice(at..at, PIECES[pick(PIECES.len())].iter().copied())),
            }
        }
        let case = format!("{:?}", String::from_utf8_lossy(&bytes));
        let before = site.upstream.seen().len();
        let mut connection = site.gate.connect().await;
        connection.send(&bytes).await;
        connection.half_close().await;
        let answers = String::from_utf8_lossy(&connection.rest().await).into_owned();
        let served = answers.matches("HTTP/1.1 200").count();
        let new = site.upstream.seen().split_off(before);
        // Fewer answers than requests happen when the client's end comes first; more never.
        probe.check(&case, served <= new.len(), format!("{served} answers, the upstream saw {}", new.len()));
        probe.check(&case, !answers.contains("HTTP/1.1 500"), format!("answered {answers:?}"));
        for seen in new {
            let framing =
                [seen.message.all("content-length"), seen.message.all("transfer-encoding")].concat();
            let hosts = seen.message.all("host");
            probe.check(
                &case,
                framing.len() <= 1 && hosts.len() == 1,
                format!("sent on as {:?}", seen.message),
            );
            let head = String::from_utf8_lossy(&seen.raw).replace("\r\n", "\n");
            probe.check(&case, !head.contains(['\r', '\0']), format!("sent on as {head:?}"));
        }
    }
    probe.finish().await;
}
