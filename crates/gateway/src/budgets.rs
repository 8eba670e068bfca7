//! What the engine's own pieces of the request path may take.

use std::{hint::black_box, net::SocketAddr, sync::Arc};

use allocations::Counting;
use base::Clock;
use budgets::{Block, check};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, request::Parts};

use crate::{
    arrival::Arrival,
    client_h1::head::{Bounds, Memory},
    error::ErrorBody,
    hygiene::{Seen, admit},
    listener::{ConnectionInfo, describe},
    metrics::{Occupation, Traffic},
    route::{Backend, Matcher, PathPattern, Route},
    router::{Router, Routes},
    upstream::{KeyHash, Live, Tried, Upstream, UpstreamSpec},
};

#[global_allocator]
static ALLOCATOR: Counting<std::alloc::System> = Counting(std::alloc::System);

#[test]
fn blocks_keep_to_their_budgets() {
    let matched =
        |name, instructions, prepare| Block { name, instructions, allocations: 0.0, times: 200, prepare };
    check(
        "budgets::blocks_keep_to_their_budgets",
        &[
            matched("route among 10", 7_100, || among(10)),
            matched("route among 1,000", 8_800, || among(1_000)),
            matched("route among 100,000", 10_500, || among(100_000)),
            Block {
                name: "a head like the last one",
                instructions: 14_000,
                allocations: 2.0,
                times: 200,
                prepare: head,
            },
            Block {
                name: "header hygiene",
                instructions: 118_000,
                allocations: 2.0,
                times: 200,
                prepare: hygiene,
            },
            Block { name: "balance", instructions: 2_000, allocations: 0.0, times: 200, prepare: balance },
        ],
    );
}

fn connection() -> ConnectionInfo {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    describe((address, address), false, None, Occupation::new(&Traffic::of(1).0[0]))
}

/// What a browser's request brings, and two headers that it must not.
fn parts(path: &str) -> Parts {
    let mut request = Request::get(path).body(()).unwrap();
    for (name, value) in [
        ("host", "api.example"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("accept-language", "en-US,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("connection", "keep-alive, x-consumer-username"),
        ("cookie", "session=0123456789abcdef; theme=dark"),
        ("x-request-id", "d3ae3e9c-6f0e-4d0a-8d2c-0a4b1f2c3d4e"),
        ("x-userinfo", "somebody"),
        ("x-forwarded-for", "203.0.113.7"),
    ] {
        request.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    request.into_parts().0
}

fn route(number: usize) -> Arc<Route> {
    Arc::new(Route {
        id: format!("r{number}").into(),
        name: None,
        dialect: "test",
        service_id: None,
        service_name: None,
        matcher: Matcher {
            paths: vec![PathPattern::Prefix(format!("/api/{number}/").into())],
            ..Matcher::default()
        },
        plan: Arc::default(),
        backend: Backend::None(StatusCode::OK, ""),
        timeouts: None,
        websocket: false,
        errors: ErrorBody { member: "message" },
    })
}

/// The route that was made last, among so many.
fn among(number: usize) -> Box<dyn FnMut()> {
    let mut routes = Routes::default();
    (0..number).for_each(|number| routes.insert(0, route(number)));
    let mut router = Router::default();
    router.replace(&routes, &Routes::default());
    let (connection, clock) = (connection(), Clock::system());
    let mut parts = parts(&format!("/api/{}/things/7", number - 1));
    let head = admit(&mut parts, Seen::default(), &connection, 100).unwrap();
    Box::new(move || {
        let found = router.find(&Arrival::new(&head, &connection.peer, &clock));
        assert!(black_box(found).is_some());
    })
}

/// A second request on a connection, with a token, for another path.
fn head() -> Box<dyn FnMut()> {
    let text = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: api.example\r\nUser-Agent: load\r\nAccept: */*\r\nAuthorization: Bearer {}\r\n\r\n",
            "t".repeat(800)
        )
    };
    let bounds = Bounds { bytes: 64 * 1024, lines: 100 };
    let mut memory = Memory::new(false);
    let room = || HeaderMap::with_capacity(12);
    memory.read(text("/api/6/things").as_bytes(), bounds, room).unwrap();
    let mut maps: Vec<HeaderMap> = (0..210).map(|_| room()).collect();
    let paths = ["/api/7/things", "/api/8/things"].map(text);
    Box::new(move || {
        let map = maps.pop().unwrap();
        let text = &paths[maps.len() % 2];
        let head = memory.read(text.as_bytes(), bounds, || map).unwrap().unwrap();
        assert_eq!(black_box(head).length, text.len());
    })
}

/// From what the codec read to what plugins see.
fn hygiene() -> Box<dyn FnMut()> {
    let connection = connection();
    let mut fresh: Vec<Parts> = (0..210).map(|_| parts("/api/7/things?q=1")).collect();
    Box::new(move || {
        let mut parts = fresh.pop().unwrap();
        let seen = Seen::among(&parts.headers, false);
        let head = admit(&mut parts, seen, &connection, 100).unwrap();
        assert!(!black_box(head).headers.contains_key("x-userinfo"));
    })
}

/// One of four targets with different weights.
fn balance() -> Box<dyn FnMut()> {
    let live = Live::new("", Vec::new()).unwrap();
    let upstream = Upstream::compile(UpstreamSpec::weighted(&[5, 3, 1, 1]), &live).unwrap();
    Box::new(move || assert!(black_box(upstream.choose(&Tried::new(), KeyHash::default())).is_some()))
}
