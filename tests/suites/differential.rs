//! T14: the same bytes to Portcullis, nginx and HAProxy, alone and one behind another.
//!
//! Each stream is an ambiguous request, perhaps with another one hidden in it, and a plain one at the end. What reaches
//! the target is which requests a proxy took the stream for. Two things are asserted:
//!
//! - behind another proxy, and before one, Portcullis never takes a stream for requests that the first of the two did not
//!   take it for: so nothing is smuggled past whoever is in front, nor past Portcullis;
//! - where it takes a stream for something else than nginx or HAProxy do on their own, the case is in [`TRIAGED`] with the
//!   reason.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::json;

use crate::support::{Connection, Portcullis, Upstream, proxies::Proxy, unique, within};

/// `@` stands for where the stream is to go. Every stream ends with [`END`].
const STREAMS: &[(&str, &str)] = &[
    ("plain", "GET @/a HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("two", "GET @/a HTTP/1.1\r\nHost: h\r\n\r\nPOST @/b HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"),
    // Content-Length and Transfer-Encoding (RFC 9112 section 6).
    (
        "cl.te",
        "POST @/a HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    ),
    (
        "te.cl",
        "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "cl 0 and te",
        "POST @/a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "te in 1.0",
        "POST @/a HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "te and cl in 1.0",
        "POST @/a HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("two equal cl", "POST @/a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    ("two cl", "POST @/a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 0\r\n\r\nhello"),
    ("cl list", "POST @/a HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\nhello"),
    ("cl list of two", "POST @/a HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 0\r\n\r\nhello"),
    ("cl plus", "POST @/a HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\nhello"),
    ("cl minus", "POST @/a HTTP/1.1\r\nHost: h\r\nContent-Length: -0\r\n\r\n"),
    ("cl hexadecimal", "POST @/a HTTP/1.1\r\nHost: h\r\nContent-Length: 0x5\r\n\r\nhello"),
    ("cl empty", "POST @/a HTTP/1.1\r\nHost: h\r\nContent-Length: \r\n\r\n"),
    ("cl with a space in it", "POST @/a HTTP/1.1\r\nHost: h\r\nContent-Length: 0 5\r\n\r\nhello"),
    ("cl zeros", "POST @/a HTTP/1.1\r\nHost: h\r\nContent-Length: 000005\r\n\r\nhello"),
    ("cl too large", "POST @/a HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551621\r\n\r\nhello"),
    ("cl folded", "POST @/a HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n 5\r\n\r\nhello"),
    ("cl with space before colon", "POST @/a HTTP/1.1\r\nHost: h\r\nContent-Length : 5\r\n\r\nhello"),
    ("cl in get", "GET @/a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"),
    ("te in get", "GET @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    (
        "te in head",
        "HEAD @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "te twice",
        "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "te identity",
        "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello",
    ),
    ("te gzip, chunked", "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    (
        "te chunked, identity",
        "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ),
    (
        "te xchunked",
        "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\nhello",
    ),
    ("te upper case", "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n"),
    (
        "te vertical tab",
        "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \x0bchunked\r\nContent-Length: 5\r\n\r\nhello",
    ),
    ("te comma first", "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n"),
    ("te folded", "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    (
        "te with space before colon",
        "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "te with underscore",
        "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "te quoted",
        "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \"chunked\"\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "te named in connection",
        "POST @/a HTTP/1.1\r\nHost: h\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "cl named in connection",
        "POST @/a HTTP/1.1\r\nHost: h\r\nConnection: Content-Length\r\nContent-Length: 5\r\n\r\nhello",
    ),
    // Chunks (RFC 9112 section 7.1).
    (
        "chunk extension",
        "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "chunk extension, bare lf",
        "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a\nhello\r\n0\r\n\r\n",
    ),
    (
        "chunk extension, bare cr",
        "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a\rb\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "chunk extension hides a chunk",
        "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;\n23\r\nx\r\n0\r\n\r\nGET @/b HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    (
        "chunk size, lf",
        "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
    ),
    (
        "chunk ends in lf",
        "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n",
    ),
    (
        "chunk ends in anything",
        "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloxx0\r\n\r\n",
    ),
    (
        "chunk size, hexadecimal sign",
        "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "chunk size, plus",
        "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "chunk size, space after",
        "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
    ),
    (
        "chunk size, space before",
        "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "chunk size, zeros",
        "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0000000000000005\r\nhello\r\n00\r\n\r\n",
    ),
    (
        "chunk size, too large",
        "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n",
    ),
    ("chunk size, empty", "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\r\n0\r\n\r\n"),
    ("last chunk, lf", "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\n\n"),
    (
        "trailer",
        "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: a\r\n\r\n",
    ),
    (
        "trailer cl",
        "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 100\r\n\r\n",
    ),
    (
        "trailer without colon",
        "POST @/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer\r\n\r\n",
    ),
    // Lines and names (RFC 9112 sections 2.2 and 5).
    ("bare lf", "GET @/a HTTP/1.1\nHost: h\n\n"),
    ("bare lf in the head", "GET @/a HTTP/1.1\r\nHost: h\nX-A: b\r\n\r\n"),
    ("bare cr in a value", "GET @/a HTTP/1.1\r\nHost: h\r\nX-A: b\rc\r\n\r\n"),
    ("cr cr lf", "GET @/a HTTP/1.1\r\r\nHost: h\r\n\r\n"),
    ("empty line first", "\r\nGET @/a HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("lf first", "\nGET @/a HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("head ends in lf", "GET @/a HTTP/1.1\r\nHost: h\r\n\nGET @/b HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("fold", "GET @/a HTTP/1.1\r\nHost: h\r\nX-A: b\r\n c\r\n\r\n"),
    ("fold first", "GET @/a HTTP/1.1\r\n X-A: b\r\nHost: h\r\n\r\n"),
    ("fold hides a length", "POST @/a HTTP/1.1\r\nHost: h\r\nX-A: b\r\n Content-Length: 5\r\n\r\n"),
    ("space before colon", "GET @/a HTTP/1.1\r\nHost: h\r\nX-A : b\r\n\r\n"),
    ("no colon", "GET @/a HTTP/1.1\r\nHost: h\r\nX-A\r\n\r\n"),
    ("no name", "GET @/a HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n"),
    ("nul in a value", "GET @/a HTTP/1.1\r\nHost: h\r\nX-A: b\0c\r\n\r\n"),
    ("nul in a name", "GET @/a HTTP/1.1\r\nHost: h\r\nX-\0A: b\r\n\r\n"),
    ("delete in a value", "GET @/a HTTP/1.1\r\nHost: h\r\nX-A: b\x7f\r\n\r\n"),
    ("bracket in a name", "GET @/a HTTP/1.1\r\nHost: h\r\nX[A]: b\r\n\r\n"),
    // Request lines and hosts (RFC 9112 section 3).
    ("no version", "GET @/a\r\n\r\n"),
    ("http/1.2", "GET @/a HTTP/1.2\r\nHost: h\r\n\r\n"),
    ("http/2.0", "GET @/a HTTP/2.0\r\nHost: h\r\n\r\n"),
    ("http/01.1", "GET @/a HTTP/01.1\r\nHost: h\r\n\r\n"),
    ("lower-case version", "GET @/a http/1.1\r\nHost: h\r\n\r\n"),
    ("two spaces", "GET  @/a HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("tab", "GET\t@/a HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("space in the target", "GET @/a b HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("space at the end", "GET @/a HTTP/1.1 \r\nHost: h\r\n\r\n"),
    ("lower-case method", "get @/a HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("nul in the target", "GET @/a\0 HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("no host", "GET @/a HTTP/1.1\r\n\r\n"),
    ("empty host", "GET @/a HTTP/1.1\r\nHost: \r\n\r\n"),
    ("two equal hosts", "GET @/a HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n"),
    ("two hosts", "GET @/a HTTP/1.1\r\nHost: h\r\nHost: other\r\n\r\n"),
    ("host list", "GET @/a HTTP/1.1\r\nHost: h, other\r\n\r\n"),
    ("host with a space", "GET @/a HTTP/1.1\r\nHost: h other\r\n\r\n"),
    ("host with a path", "GET @/a HTTP/1.1\r\nHost: h/x\r\n\r\n"),
    ("host with a user", "GET @/a HTTP/1.1\r\nHost: user@@h\r\n\r\n"),
    ("absolute form", "GET http://h@/a HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("absolute form, other host", "GET http://other@/a HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("absolute form, no host", "GET http://h@/a HTTP/1.1\r\n\r\n"),
    ("authority form", "GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("connect", "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n"),
    ("trace with a body", "TRACE @/a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"),
    // Expectations, upgrades, hop-by-hop.
    ("expect", "POST @/a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello"),
    ("expect anything", "POST @/a HTTP/1.1\r\nHost: h\r\nExpect: anything\r\nContent-Length: 5\r\n\r\nhello"),
    ("expect in get", "GET @/a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n"),
    (
        "upgrade that nobody wants",
        "GET @/a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n",
    ),
    (
        "upgrade with a body",
        "POST @/a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "h2c upgrade",
        "GET @/a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
    ),
    ("host named in connection", "GET @/a HTTP/1.1\r\nHost: h\r\nConnection: Host\r\n\r\n"),
    ("http/1.0", "GET @/a HTTP/1.0\r\nHost: h\r\n\r\n"),
    ("http/1.0 kept", "GET @/a HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n"),
    ("body hides a request", "POST @/a HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\n\r\nGET /x HTTP/"),
    ("garbage", "@/a\r\n\r\n"),
];

/// The plain request at the end of every stream; its answer ends the connection.
const END: &str = "GET @/end HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

/// A way from a client to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Portcullis,
    Nginx,
    Haproxy,
    PortcullisNginx,
    PortcullisHaproxy,
    NginxPortcullis,
    HaproxyPortcullis,
}

const WAYS: [Way; 7] = [
    Way::Portcullis,
    Way::Nginx,
    Way::Haproxy,
    Way::PortcullisNginx,
    Way::PortcullisHaproxy,
    Way::NginxPortcullis,
    Way::HaproxyPortcullis,
];

/// The ways through two, with the way through the first of them alone.
const CHAINS: [(Way, Way); 4] = [
    (Way::PortcullisNginx, Way::Portcullis),
    (Way::PortcullisHaproxy, Way::Portcullis),
    (Way::NginxPortcullis, Way::Nginx),
    (Way::HaproxyPortcullis, Way::Haproxy),
];

/// A request as the target saw it: method, the end of its target, body.
type Request = (String, String, String);

/// All of it, and where each way begins.
struct World {
    gate: Portcullis,
    nginx: Proxy,
    haproxy: Proxy,
    target: Upstream,
}

impl World {
    async fn start() -> Self {
        let target = Upstream::start();
        let limits = "limits: {head_timeout: 1s, body_timeout: 1s}";
        let (gate, _) = Portcullis::production(limits);
        let nginx = Proxy::nginx(&[target.port(), gate.port(9080)]);
        let haproxy = Proxy::haproxy(&[target.port(), gate.port(9080)]);
        for (name, port) in [("alone", target.port()), ("nginx", nginx.port(0)), ("haproxy", haproxy.port(0))]
        {
            let upstream = json!({"type": "roundrobin", "nodes": {format!("127.0.0.1:{port}"): 1}});
            let route = json!({"uri": format!("/{name}/*"), "upstream": upstream});
            gate.admin().set(&format!("routes/{name}"), &route).await;
        }
        Self { gate, nginx, haproxy, target }
    }

    /// Port and path.
    fn entrance(&self, way: Way) -> (u16, &'static str) {
        match way {
            Way::Portcullis => (self.gate.port(9080), "/alone"),
            Way::PortcullisNginx => (self.gate.port(9080), "/nginx"),
            Way::PortcullisHaproxy => (self.gate.port(9080), "/haproxy"),
            Way::Nginx => (self.nginx.port(0), "/alone"),
            Way::NginxPortcullis => (self.nginx.port(1), "/alone"),
            Way::Haproxy => (self.haproxy.port(0), "/alone"),
            Way::HaproxyPortcullis => (self.haproxy.port(1), "/alone"),
        }
    }

    /// What the target saw of a stream that went this way.
    async fn send(&self, way: Way, stream: &str) -> Vec<Request> {
        let (port, path) = self.entrance(way);
        let place = format!("{path}/{}", unique(""));
        let bytes =
            format!("{stream}{END}").replace("@@", "\u{1}").replace('@', &place).replace('\u{1}', "@");
        let mut connection = Connection::open(port).await;
        connection.send(&bytes).await;
        within("the end of a connection", connection.until_end()).await;
        let seen = self.target.seen_with(&place).into_iter().map(|seen| {
            let target = seen.target.split_once(&place).map(|(_, rest)| rest.to_owned()).unwrap_or_default();
            let body = String::from_utf8_lossy(&seen.message.body).replace(&place, "@");
            (seen.method, target, body)
        });
        seen.collect()
    }
}

/// Whether `part` is `whole` without some of its requests.
fn is_within(part: &[Request], whole: &[Request]) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|request| whole.any(|other| other == request))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t14_no_stream_is_split_otherwise_before_or_behind_another_proxy() {
    let world = Arc::new(World::start().await);
    let mut ways = tokio::task::JoinSet::new();
    for way in WAYS {
        let world = Arc::clone(&world);
        ways.spawn(async move {
            let mut seen = Vec::with_capacity(STREAMS.len());
            for (_, stream) in STREAMS {
                seen.push(world.send(way, stream).await);
            }
            (way, seen)
        });
    }
    let seen: BTreeMap<Way, Vec<Vec<Request>>> = ways.join_all().await.into_iter().collect();
    let (mut split, mut disagreements) = (Vec::new(), Vec::new());
    for (at, (name, _)) in STREAMS.iter().enumerate() {
        for (chain, first) in CHAINS {
            let (through_both, through_one) = (&seen[&chain][at], &seen[&first][at]);
            if !is_within(through_both, through_one) {
                split.push(format!("{name}: {first:?} saw {through_one:?}, {chain:?} {through_both:?}"));
            }
        }
        let ours = &seen[&Way::Portcullis][at];
        for other in [Way::Nginx, Way::Haproxy] {
            let theirs = &seen[&other][at];
            let triaged = TRIAGED.iter().find(|(case, who, _)| case == name && *who == other);
            if (ours != theirs) != triaged.is_some() {
                let what =
                    triaged.map_or("they disagree".to_owned(), |(.., why)| format!("not so any more: {why}"));
                disagreements.push(format!("{name}, {other:?}: {what}: ours {ours:?}, theirs {theirs:?}"));
            }
        }
    }
    assert_eq!(split, [""; 0], "split otherwise by the second of two");
    assert_eq!(disagreements, [""; 0], "to be triaged");
    // The test sees what it is there for.
    assert_eq!(seen[&Way::NginxPortcullis][1].len(), 3, "{:?}", seen[&Way::NginxPortcullis][1]);
}

/// Streams that nginx (1.22) or HAProxy (2.6) takes for other requests than Portcullis does, and why that is right.
#[rustfmt::skip]
const TRIAGED: &[(&str, Way, &str)] = &[
    ("cl.te", Way::Haproxy, BOTH),
    ("te.cl", Way::Haproxy, BOTH),
    ("cl 0 and te", Way::Haproxy, BOTH),
    ("te in 1.0", Way::Haproxy, CODING_IN_1_0),
    ("te and cl in 1.0", Way::Haproxy, CODING_IN_1_0),
    ("two equal cl", Way::Nginx, EQUAL_LENGTHS),
    ("cl list", Way::Haproxy, LENGTH_LIST),
    ("cl folded", Way::Haproxy, FOLD),
    ("te folded", Way::Haproxy, FOLD),
    ("fold", Way::Haproxy, FOLD),
    ("fold hides a length", Way::Haproxy, FOLD),
    ("chunk extension, bare lf", Way::Nginx, BARE_LF),
    ("chunk extension, bare lf", Way::Haproxy, BARE_LF),
    ("chunk size, lf", Way::Nginx, BARE_LF),
    ("chunk size, lf", Way::Haproxy, BARE_LF),
    ("chunk ends in lf", Way::Nginx, BARE_LF),
    ("chunk ends in lf", Way::Haproxy, BARE_LF),
    ("last chunk, lf", Way::Nginx, BARE_LF),
    ("last chunk, lf", Way::Haproxy, BARE_LF),
    ("bare lf", Way::Nginx, BARE_LF),
    ("bare lf", Way::Haproxy, BARE_LF),
    ("bare lf in the head", Way::Nginx, BARE_LF),
    ("bare lf in the head", Way::Haproxy, BARE_LF),
    ("lf first", Way::Nginx, BARE_LF),
    ("lf first", Way::Haproxy, BARE_LF),
    ("head ends in lf", Way::Nginx, BARE_LF),
    ("head ends in lf", Way::Haproxy, BARE_LF),
    ("chunk size, space after", Way::Nginx, CHUNK_SIZE),
    ("chunk size, space after", Way::Haproxy, CHUNK_SIZE),
    ("trailer without colon", Way::Nginx, MALFORMED_LINE),
    ("no colon", Way::Nginx, MALFORMED_LINE),
    ("nul in a value", Way::Haproxy, MALFORMED_LINE),
    ("delete in a value", Way::Nginx, MALFORMED_LINE),
    ("delete in a value", Way::Haproxy, MALFORMED_LINE),
    ("bracket in a name", Way::Nginx, MALFORMED_LINE),
    ("two spaces", Way::Nginx, REQUEST_LINE),
    ("two spaces", Way::Haproxy, REQUEST_LINE),
    ("tab", Way::Haproxy, REQUEST_LINE),
    ("space at the end", Way::Nginx, REQUEST_LINE),
    ("no version", Way::Nginx, VERSION),
    ("http/1.2", Way::Nginx, VERSION),
    ("http/1.2", Way::Haproxy, VERSION),
    ("http/2.0", Way::Haproxy, VERSION),
    ("lower-case method", Way::Haproxy, METHOD),
    ("trace with a body", Way::Haproxy, METHOD),
    ("no host", Way::Haproxy, HOST),
    ("empty host", Way::Haproxy, HOST),
    ("two equal hosts", Way::Haproxy, HOST),
    ("host list", Way::Haproxy, HOST),
    ("host with a space", Way::Haproxy, HOST),
    ("host with a path", Way::Haproxy, HOST),
    ("host with a user", Way::Nginx, HOST),
    ("host with a user", Way::Haproxy, HOST),
    ("absolute form, other host", Way::Nginx, HOST),
    ("absolute form, no host", Way::Haproxy, HOST),
    ("connect", Way::Haproxy, CONNECT),
];

const BOTH: &str =
    "a length beside a transfer coding is refused, as RFC 9112 section 6.1 allows; HAProxy drops the length";
const CHUNK_SIZE: &str = "a chunk size is digits and nothing else, but for extensions (RFC 9112 section 7.1)";
const CODING_IN_1_0: &str = "HTTP/1.0 has no transfer codings, so the framing is faulty (RFC 9112 section 6.1): refused; HAProxy decodes and closes";
const EQUAL_LENGTHS: &str =
    "a repeated Content-Length of one value may be taken for one (RFC 9112 section 6.3); nginx refuses";
const LENGTH_LIST: &str =
    "a list is no number: refused, as it may be (RFC 9112 section 6.3); HAProxy folds it into one value";
const FOLD: &str = "a line that goes on in the next one is refused, as it may be (RFC 9112 section 5.2); HAProxy replaces the fold by spaces";
const BARE_LF: &str =
    "lines and chunks end in CRLF (RFC 9112 sections 2.2 and 7.1); the others take a bare LF as well";
const MALFORMED_LINE: &str = "what is no header line, or no value, is refused (RFC 9110 section 5.5); the others skip it or pass it on";
const REQUEST_LINE: &str =
    "a request line is three words with one space between them (RFC 9112 section 3); the others are lenient";
const VERSION: &str =
    "HTTP/1.0 and HTTP/1.1 are the versions of this protocol; the others take further ones for them";
const METHOD: &str = "methods in lower case and TRACE are refused; HAProxy passes both on";
const HOST: &str = "one Host, which is a host and the same as the target's (RFC 9112 section 3.2); the others pass on what they are sent";
const CONNECT: &str = "CONNECT is refused and ends the connection; HAProxy answers it and goes on";
