//! How many allocations a warm request may cost: a figure that does not depend on how busy the machine is.

use std::sync::Arc;

use serde_json::json;

use super::{CLIENT, conf, login::cookies};
use crate::support::{Connection, Portcullis, Provider, Request, Upstream};

/// Requests between two looks at the counter, so that what looking costs vanishes.
const REQUESTS: u32 = 1000;
/// Looks. The least of them counts: what the process does by the clock beside the requests falls into the others.
const LOOKS: u32 = 3;

/// Of the whole process, since it began.
async fn allocations(gate: &Portcullis) -> u64 {
    let page = Request::get("/metrics").send(gate.port(9091)).await.text();
    let line = page.lines().find_map(|line| line.strip_prefix("portcullis_allocations_total "));
    line.expect("a build that counts").trim().parse().unwrap()
}

/// Allocations for each request for `path` with these header lines, once connections and caches are warm.
async fn each(gate: &Portcullis, path: &str, lines: &str) -> f64 {
    let mut connection = Connection::open(gate.port(9080)).await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost:{}\r\n{lines}\r\n", gate.port(9080));
    let mut least = u64::MAX;
    for _ in 0..LOOKS {
        let before = allocations(gate).await;
        for _ in 0..REQUESTS {
            connection.send(&request).await;
            let answer = connection.response().await.expect("an answer");
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
        }
        least = least.min(allocations(gate).await - before);
    }
    #[allow(clippy::cast_precision_loss)] // it is small
    let each = least as f64 / f64::from(REQUESTS);
    println!("{path}: {each:.2} allocations");
    each
}

#[tokio::test]
async fn a_warm_request_keeps_to_its_budget_of_allocations() {
    let gate = Arc::new(Portcullis::dev());
    let (admin, provider, upstream) = (gate.admin(), Provider::start(CLIENT), Upstream::start());
    admin.route("plain", "/plain", &upstream, json!({})).await;
    let bearer = conf(&provider, json!({"bearer_only": true, "use_jwks": true}));
    admin.route("bearer", "/bearer", &upstream, json!({"openid-connect": bearer})).await;
    admin.route("keyed", "/keyed", &upstream, json!({"key-auth": {}})).await;
    let jack = json!({"username": "jack", "plugins": {"key-auth": {"key": "the-key-of-jack"}}});
    admin.set("consumers/jack", &jack).await;
    let token = provider.access_token(&json!({"scope": "read:things"}));
    let session = super::login::site(Arc::clone(&gate), &provider, json!({})).await;
    let cookies = cookies(&session.logged_in().await);

    let plain = each(&gate, "/plain", "").await;
    assert!(plain < 2.5, "a plain request: {plain}");
    for number in 0..200 {
        admin.route(&format!("r{number}"), &format!("/many/{number}/*"), &upstream, json!({})).await;
    }
    let among_many = each(&gate, "/many/199/x", "").await;
    assert!(among_many < plain + 0.5, "as many whatever the number of routes: {among_many}");
    let bearer = each(&gate, "/bearer", &format!("Authorization: Bearer {token}\r\n")).await;
    assert!(bearer < 3.5, "a token that is known: {bearer}");
    let keyed = each(&gate, "/keyed", "apikey: the-key-of-jack\r\n").await;
    assert!(keyed < 3.5, "a key: {keyed}");
    let session = each(&gate, &session.target("page"), &format!("Cookie: {cookies}\r\n")).await;
    assert!(session < 2.5, "a session that is known: {session}");
}
