//! Many writers at once.

use futures_util::future::join_all;
use store::{Condition, Entry, Fut, Operation, Page, StoreError, Watch};

use super::*;

#[tokio::test]
async fn a16_a_hundred_parallel_patches_lose_nothing() {
    let gate = Gate::new().await;
    gate.created("upstreams/1", json!({"nodes": {}})).await;
    let patches =
        (0..100).map(|at| gate.ask("PATCH", "upstreams/1", json!({"labels": {format!("l{at}"): "x"}})));
    for told in join_all(patches).await {
        assert_eq!(told.status, 200, "{}", told.text);
    }
    let got = gate.get("upstreams/1").await.json();
    assert_eq!(got["value"]["labels"].as_object().unwrap().len(), 100);
}

#[tokio::test]
async fn parallel_posts_get_different_ids() {
    let gate = Gate::new().await;
    let posts = (0..50).map(|at| gate.ask("POST", "routes", route(&format!("/{at}"))));
    let mut ids: Vec<String> = join_all(posts)
        .await
        .iter()
        .map(|told| told.json()["value"]["id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 50);
    assert_eq!(gate.get("routes").await.json()["total"], 50);
}

#[tokio::test]
async fn a_delete_and_a_reference_at_once_leave_no_dangling_reference() {
    for round in 0..20 {
        let gate = Gate::new().await;
        gate.created("upstreams/1", upstream()).await;
        let referring = async {
            tokio::task::yield_now().await;
            gate.put("routes/1", json!({"uri": "/", "upstream_id": "1"})).await
        };
        let deleting = async {
            if round % 2 == 0 {
                tokio::task::yield_now().await;
            }
            gate.delete("upstreams/1").await
        };
        let (referred, deleted) = tokio::join!(referring, deleting);
        let (route, upstream) = (gate.get("routes/1").await.status, gate.get("upstreams/1").await.status);
        assert!(route == 404 || upstream == 200, "{} {}", referred.text, deleted.text);
        assert_ne!(referred.status.is_success(), deleted.status.is_success());
    }
}

/// Two nodes on one store: what the other wrote is seen, and nobody overwrites what he has not seen.
#[tokio::test]
async fn two_nodes_on_one_store_see_each_others_writes() {
    let clock = clock();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock.clone()));
    let (one, two) = (Gate::on(Arc::clone(&store), clock.clone()).await, Gate::on(store, clock).await);
    one.created("upstreams/1", json!({"nodes": {}})).await;
    let patches = (0..20).map(|at| {
        let gate = if at % 2 == 0 { &one } else { &two };
        gate.ask("PATCH", "upstreams/1", json!({"labels": {format!("l{at}"): "x"}}))
    });
    let told = join_all(patches).await;
    let done = told.iter().filter(|told| told.status == 200).count();
    for lost in told.iter().filter(|told| told.status != 200 && told.status != 404) {
        assert_eq!(lost.refusal(), (503, "value changed before overwritten".to_owned()));
    }
    one.dialect.reload().await.unwrap();
    let labels =
        one.get("upstreams/1").await.json()["value"]["labels"].as_object().map_or(0, serde_json::Map::len);
    assert_eq!(labels, done);
    assert!(done >= 10);
}

#[tokio::test]
async fn a_node_does_not_delete_what_another_began_to_use() {
    let clock = clock();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock.clone()));
    let (one, two) = (Gate::on(Arc::clone(&store), clock.clone()).await, Gate::on(store, clock).await);
    one.created("upstreams/1", upstream()).await;
    two.dialect.reload().await.unwrap();
    two.created("routes/1", json!({"uri": "/", "upstream_id": "1"})).await;
    let told = one.delete("upstreams/1").await;
    assert_eq!(
        told.refusal(),
        (400, "can not delete this upstream, route [1] is still using it now".to_owned())
    );
}

/// A store that fails on command.
struct Failing {
    inner: MemoryStore,
    failing: std::sync::atomic::AtomicBool,
}

impl Store for Failing {
    fn get<'a>(&'a self, key: &'a str) -> Fut<'a, Option<Entry>> {
        self.inner.get(key)
    }

    fn range<'a>(&'a self, prefix: &'a str) -> Fut<'a, (Vec<Entry>, u64)> {
        self.inner.range(prefix)
    }

    fn page<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> Fut<'a, Page> {
        self.inner.page(prefix, after, limit)
    }

    fn commit(&self, conditions: Vec<Condition>, operations: Vec<Operation>) -> Fut<'_, u64> {
        if self.failing.load(std::sync::atomic::Ordering::Relaxed) {
            return Box::pin(async { Err(StoreError::Unavailable { reason: "disk full".to_owned() }) });
        }
        self.inner.commit(conditions, operations)
    }

    fn watch<'a>(&'a self, prefix: &'a str, after_revision: u64) -> Fut<'a, Watch> {
        self.inner.watch(prefix, after_revision)
    }

    fn expire_due(&self) -> Fut<'_, usize> {
        self.inner.expire_due()
    }
}

#[tokio::test]
async fn a_store_in_trouble_refuses_writes_and_nothing_is_half_done() {
    let clock = clock();
    let store = Arc::new(Failing { inner: MemoryStore::new(clock.clone()), failing: false.into() });
    let gate = Gate::on(Arc::clone(&store) as Arc<dyn Store>, clock).await;
    gate.created("routes/1", route("/a")).await;
    store.failing.store(true, std::sync::atomic::Ordering::Relaxed);
    let (status, text) = gate.put("routes/2", route("/b")).await.refusal();
    assert!(status == 503 && text.contains("disk full"), "{text}");
    assert_eq!(gate.get("routes").await.json()["total"], 1);
    store.failing.store(false, std::sync::atomic::Ordering::Relaxed);
    gate.created("routes/2", route("/b")).await;
}
