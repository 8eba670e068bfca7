//! What is in the store already, or comes into it from elsewhere.

use store::Operation;

use super::*;

async fn store_with(entries: &[(&str, Value)]) -> (Arc<dyn Store>, Clock) {
    let clock = clock();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock.clone()));
    for (key, value) in entries {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned).into_bytes();
        store
            .commit(Vec::new(), vec![Operation::Put { key: (*key).to_owned(), value, ttl: None }])
            .await
            .unwrap();
    }
    (store, clock)
}

fn broken(gate: &Gate) -> Vec<String> {
    gate.publisher.current().broken.iter().map(|(name, why)| format!("{name}: {why}")).collect()
}

#[tokio::test]
async fn what_was_stored_serves_again_after_a_restart() {
    let gate = Gate::new().await;
    gate.created("upstreams/1", upstream()).await;
    gate.created(
        "routes/1",
        json!({"uri": "/a", "upstream_id": 1, "plugins": {"stamp": {"text": "t", "secret": "12345678"}}}),
    )
    .await;
    let before = gate.get("routes/1").await.json();
    let again = Gate::on(gate.store, gate.clock).await;
    assert_eq!(again.get("routes/1").await.json(), before);
    assert_eq!(broken(&again), Vec::<String>::new());
    assert_eq!(again.publisher.current().revisions["apisix"], before["modifiedIndex"].as_u64().unwrap());
}

#[tokio::test]
async fn one_bad_resource_keeps_no_other_from_serving_and_is_named() {
    let (store, clock) = store_with(&[
        ("/apisix/routes/good", json!({"id": "good", "uri": "/good", "upstream": upstream()})),
        ("/apisix/routes/plugin", json!({"id": "plugin", "uri": "/x", "plugins": {"wolf-rbac": {}}})),
        ("/apisix/routes/text", json!("not json")),
        ("/apisix/routes/lost", json!({"uri": "/x", "service_id": "9"})),
        ("/apisix/services/bad", json!({"upstream": {"type": "chash", "nodes": {}}})),
        ("/apisix/protos/1", json!({"content": ""})),
        ("/apisix/consumers/", json!("init_dir")),
        ("/apisix/data_plane/server_info/1", json!({})),
    ])
    .await;
    let gate = Gate::on(store, clock).await;
    let mut named = broken(&gate);
    named.sort();
    let expected = [
        "protos/1: not impl",
        "routes/lost: service [9]: ",
        "routes/plugin: unknown plugin",
        "routes/text: ",
        "services/bad: ",
    ];
    assert_eq!(named.len(), expected.len(), "{named:?}");
    for (found, expected) in named.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}");
    }
    assert_eq!(gate.get("routes").await.json()["total"], 4);
    gate.created("routes/plugin", route("/x")).await;
    gate.delete("routes/text").await;
    assert_eq!(broken(&gate).len(), 3);
}

#[tokio::test]
async fn a_write_is_not_blamed_for_what_was_broken_before() {
    let (store, clock) = store_with(&[
        ("/apisix/services/1", json!({"upstream": upstream()})),
        ("/apisix/routes/1", json!({"uri": "/x", "service_id": "1", "plugins": {"wolf-rbac": {}}})),
    ])
    .await;
    let gate = Gate::on(store, clock).await;
    assert_eq!(gate.put("services/1", json!({"upstream": {"nodes": {"b": 1}}})).await.status, 200);
}

#[tokio::test]
async fn changes_of_the_store_by_somebody_else_are_taken_up() {
    let (store, clock) = store_with(&[]).await;
    let gate = Gate::on(Arc::clone(&store), clock).await;
    let put = |key: &str, value: Value| Operation::Put {
        key: key.to_owned(),
        value: value.to_string().into_bytes(),
        ttl: None,
    };
    store
        .commit(Vec::new(), vec![put("/apisix/routes/1", route("/a")), put("/apisix/protos/1", json!({}))])
        .await
        .unwrap();
    for _ in 0..1000 {
        if gate.get("routes/1").await.status == 200 {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(gate.get("routes/1").await.status, 200);
    assert_eq!(broken(&gate).len(), 1);
    store.commit(Vec::new(), vec![Operation::Delete { key: "/apisix/routes/1".to_owned() }]).await.unwrap();
    for _ in 0..1000 {
        if gate.get("routes/1").await.status == 404 {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(gate.get("routes/1").await.status, 404);
}
