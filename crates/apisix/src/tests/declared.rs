//! Resources that a configuration file declares.

use serde_json::json;

use super::Gate;

#[tokio::test]
async fn declared_resources_serve_and_are_listed_like_written_ones() {
    let gate = Gate::new().await;
    let declared = json!({
        "routes": [{"id": "1", "uri": "/a", "service_id": "s"}],
        "services": [{"id": "s", "upstream_id": 7}],
        "upstreams": [{"id": 7, "nodes": {"127.0.0.1:1": 1}}],
    });
    assert_eq!(gate.dialect.declare(&declared).await, Ok(()));
    assert_eq!(gate.get("routes").await.json()["total"], 1);
    assert_eq!(gate.publisher.current().broken, []);
}

#[tokio::test]
async fn every_problem_is_said_by_the_place_it_stands_at() {
    let gate = Gate::new().await;
    let declared = json!({
        "routes": [{"id": "1", "uri": "/a", "upstream_id": "none"}, {"uri": "/b"}, {"id": "1", "uri": 3}],
        "upstreams": {},
        "rules": [],
    });
    let problems = gate.dialect.declare(&declared).await.unwrap_err();
    let starts = [
        "resources.rules: ",
        "resources.upstreams: ",
        "resources.routes[0]: ",
        "resources.routes[1]: ",
        "resources.routes[2]: ",
    ];
    assert_eq!(problems.len(), starts.len(), "{problems:?}");
    for (problem, start) in problems.iter().zip(starts) {
        assert!(problem.starts_with(start), "{problem}");
    }
    assert!(problems[2].contains("failed to fetch upstream info by upstream id [none]"), "{problems:?}");
}
