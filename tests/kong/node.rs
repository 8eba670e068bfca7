//! What the Admin API tells of the node itself.

use super::{support::Connection, *};

#[tokio::test]
async fn the_status_counts_connections_by_what_they_are_about() {
    let kong = Kong::on(Arc::new(Portcullis::dev())).await;
    let counts = async |accepted: u64, active: u64, [reading, writing, waiting]: [u64; 3], requests: u64| {
        let expected = json!({
            "connections_accepted": accepted, "connections_handled": accepted, "connections_active": active,
            "connections_reading": reading, "connections_writing": writing, "connections_waiting": waiting,
            "total_requests": requests,
        });
        let counted = async {
            while kong.ask("GET", "/status").await.json()["server"] != expected {
                tokio::task::yield_now().await;
            }
        };
        within(&format!("{expected}"), counted).await;
    };
    counts(0, 0, [0, 0, 0], 0).await;
    let mut kept = Connection::open(kong.gate.port(9080)).await;
    let posted = kong.request("POST", "/x").body("a body");
    for requests in 1..3 {
        kept.send(posted.bytes()).await;
        assert_eq!(kept.response().await.unwrap().status, 200);
        counts(1, 1, [0, 0, 1], requests).await;
    }
    kept.send("GET / HTTP/1.1\r\nHost: loc").await;
    counts(1, 1, [1, 0, 0], 2).await;
    let mut handshake = Connection::open(kong.gate.port(9443)).await;
    handshake.send([22, 3, 1]).await;
    counts(2, 2, [2, 0, 0], 2).await;
    drop(handshake);
    kong.upstream.answer(Answer::Stall);
    let mut stalled = Connection::open(kong.gate.port(9080)).await;
    stalled.send(kong.request("GET", "/x").bytes()).await;
    counts(3, 2, [1, 1, 0], 2).await;
    kept.send("alhost\r\n\r\n").await;
    assert_eq!(kept.response().await.unwrap().status, 404);
    counts(3, 2, [0, 1, 1], 3).await;
    kong.upstream.answer(Answer::text("late"));
    kong.upstream.drop_connections();
    assert!(stalled.response().await.is_some());
    drop(stalled);
    counts(3, 1, [0, 0, 1], 4).await;
    let metrics = Request::get("/metrics").send(kong.gate.port(9091)).await.text();
    for (state, count) in [("handled", 3), ("reading", 0), ("writing", 0), ("waiting", 1)] {
        let line = format!("apisix_nginx_http_current_connections{{state=\"{state}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}");
    }
}

#[tokio::test]
async fn the_node_says_on_which_machine_it_runs() {
    let kong = Kong::new().await;
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(kong.ask("GET", "/").await.json()["hostname"], hostname.trim());
}

#[tokio::test]
async fn head_is_answered_with_the_headers_of_get() {
    // Of its own: which plugins there are is told at `/`.
    let kong = Kong::on(Arc::new(Portcullis::dev())).await;
    let (service, routes) = (format!("/services/{}", kong.name), format!("/services/{}/routes", kong.name));
    for path in ["/", &service, &routes, "/nothing", "/schemas/routes"] {
        let (head, get) = (kong.ask("HEAD", path).await, kong.ask("GET", path).await);
        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
        assert!(head.header("content-length").is_some_and(|length| length != "0"), "{path}: {head:?}");
    }
}
