//! How requests are spread over the nodes of an upstream.

use serde_json::json;
use tokio::sync::mpsc::unbounded_channel;

use crate::support::{Upstream, shared, unique, within};

#[tokio::test]
async fn least_conn_leaves_a_node_alone_for_as_long_as_it_is_at_a_request() {
    let (held, mut holding) = unbounded_channel();
    let (one, two) = (Upstream::holding("one", &held), Upstream::holding("two", &held));
    let (gate, id) = (shared(), unique("busy-"));
    let nodes = json!({one.node(): 1, two.node(): 1});
    let body = json!({"uri": format!("/{id}/*"), "upstream": {"type": "least_conn", "nodes": nodes}});
    gate.admin().set(&format!("routes/{id}"), &body).await;
    let (asked, path) = (gate.clone(), format!("/{id}/hold"));
    let hold = tokio::spawn(async move { asked.get(&path).await });
    let busy = within("a request at a node", holding.recv()).await.unwrap();
    let idle = if busy == "one" { "two" } else { "one" };
    let ask = async || gate.get(&format!("/{id}/x")).await.text();
    for _ in 0..6 {
        assert_eq!(ask().await, idle);
    }
    // The node breaks the exchange off, and the other one is at the request from there on.
    if busy == "one" { &one } else { &two }.drop_connections();
    assert_eq!(within("the request at the other node", holding.recv()).await, Some(idle));
    for _ in 0..6 {
        assert_eq!(ask().await, busy);
    }
    hold.abort();
}
