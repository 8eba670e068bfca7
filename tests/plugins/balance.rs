//! Which target a request goes to.

use serde_json::{Value, json};

use crate::support::{Portcullis, Request, Upstream, shared, unique};

/// A route to these targets, and its path.
async fn hashing(gate: &Portcullis, targets: &[&Upstream], on: &str, key: &str, plugins: Value) -> String {
    let id = unique("hashed-");
    let nodes: serde_json::Map<_, _> = targets.iter().map(|target| (target.node(), json!(1))).collect();
    let upstream = json!({"type": "chash", "hash_on": on, "key": key, "nodes": nodes, "retries": 1});
    let route = json!({"uri": format!("/{id}"), "upstream": upstream, "plugins": plugins});
    gate.admin().set(&format!("routes/{id}"), &route).await;
    format!("/{id}")
}

/// Sends `request` three times and tells which of two targets got it, which must be one.
async fn owner(gate: &Portcullis, targets: &[&Upstream; 2], request: &Request) -> usize {
    let before = targets.map(|target| target.seen().len());
    for _ in 0..3 {
        assert_eq!(gate.send(request.clone()).await.status, 200);
    }
    let got = [0, 1].map(|at| targets[at].seen().len() - before[at]);
    assert!(got == [3, 0] || got == [0, 3], "{got:?}");
    usize::from(got[1] == 3)
}

#[tokio::test]
async fn one_key_goes_to_one_target_and_many_keys_to_all() {
    let (gate, one, two) = (shared(), Upstream::start(), Upstream::start());
    let targets = [&one, &two];
    for (on, key) in [
        ("vars", "arg_id"),
        ("header", "X-Id"),
        ("cookie", "id"),
        ("vars_combinations", "$arg_id-$http_x_id"),
    ] {
        let path = hashing(&gate, &targets, on, key, json!({})).await;
        let mut owners = [0, 0];
        for number in 0..40 {
            let request = Request::get(&format!("{path}?id=k{number}"))
                .header("X-Id", &format!("k{number}"))
                .header("Cookie", &format!("id=k{number}"));
            owners[owner(&gate, &targets, &request).await] += 1;
        }
        assert!(owners[0] > 0 && owners[1] > 0, "{on}: {owners:?}");
        // What has no key is told apart by its address, and there is one here.
        owner(&gate, &targets, &Request::get(&path)).await;
    }
}

#[tokio::test]
async fn consumers_are_told_apart_by_their_names() {
    let (gate, one, two) = (shared(), Upstream::start(), Upstream::start());
    let targets = [&one, &two];
    let path = hashing(&gate, &targets, "consumer", "", json!({"key-auth": {}})).await;
    let mut owners = [0, 0];
    for number in 0..60 {
        let (name, key) = (unique("hashed_"), unique("key-"));
        let body = json!({"username": name, "plugins": {"key-auth": {"key": key}}});
        gate.admin().set("consumers", &body).await;
        let request = Request::get(&path).header("apikey", &key).header("X-Number", &number.to_string());
        owners[owner(&gate, &targets, &request).await] += 1;
        if owners[0] > 0 && owners[1] > 0 {
            return;
        }
    }
    panic!("{owners:?}");
}

#[tokio::test]
async fn a_target_that_is_down_leaves_its_keys_to_the_next_one() {
    let (gate, up, gone) = (shared(), Upstream::start(), Upstream::start());
    let path = hashing(&gate, &[&up, &gone], "vars", "arg_id", json!({})).await;
    gone.stop();
    for number in 0..20 {
        let answer = gate.get(&format!("{path}?id={number}")).await;
        assert_eq!(answer.status, 200, "{number}");
    }
    assert_eq!(up.seen().len(), 20);
}
