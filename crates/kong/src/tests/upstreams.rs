//! Upstreams and targets.

use serde_json::{Value, json};

use super::World;

#[tokio::test]
async fn an_upstream_has_kongs_defaults_and_targets_below_it() {
    let world = World::new().await;
    let made = world.json("POST", "/upstreams", json!({"name": "u.local"})).await;
    assert_eq!(made.status, 201, "{made:?}");
    let of = |path: &str| made.body.pointer(path).unwrap().clone();
    assert_eq!(
        (of("/algorithm"), of("/slots"), of("/hash_on")),
        (json!("round-robin"), json!(10_000), json!("none"))
    );
    assert_eq!(of("/healthchecks/active/healthy/http_statuses"), json!([200, 302]));
    assert_eq!(
        (of("/healthchecks/threshold"), of("/healthchecks/active/https_sni")),
        (json!(0), Value::Null)
    );
    let echoed = world.json("PUT", &format!("/upstreams/{}", made.id()), made.body.clone()).await;
    assert_eq!((echoed.status, &echoed.body), (200, &made.body), "what is written back is what was there");
    let target = world.form("POST", "/upstreams/u.local/targets", "target=127.0.0.1&weight=10").await;
    assert_eq!(
        (target.status, &target.body["target"], &target.body["weight"]),
        (201, &json!("127.0.0.1:8000"), &json!(10)),
        "{target:?}"
    );
    assert!(target.body["created_at"].is_number());
    for path in
        ["/upstreams/u.local/targets/127.0.0.1:8000", &format!("/upstreams/u.local/targets/{}", target.id())]
    {
        assert_eq!(world.get(path).await.body, target.body, "{path}");
    }
    assert_eq!(world.form("POST", "/upstreams/u.local/targets", "target=127.0.0.1:8000").await.status, 409);
    assert_eq!(world.get("/upstreams/u.local/targets/all").await.body["data"].as_array().unwrap().len(), 1);
    assert_eq!(world.get("/upstreams/u.local/health").await.body["data"][0]["health"], "HEALTHCHECKS_OFF");
    let patched = world
        .json("PATCH", &format!("/upstreams/u.local/targets/{}", target.id()), json!({"weight": 0}))
        .await;
    assert_eq!((patched.status, &patched.body["weight"]), (200, &json!(0)));
    assert_eq!(world.get("/targets").await.status, 404, "they are found below their upstream alone");
    assert_eq!(world.delete("/upstreams/u.local").await.status, 204);
    assert_eq!(world.stored("/portcullis/kong/").await, "");
}

#[tokio::test]
async fn what_is_wrong_with_upstreams_and_targets_is_named() {
    let world = World::new().await;
    let post = async |body: Value| world.json("POST", "/upstreams", body).await;
    post(json!({})).await.assert_violation(json!({"name": "required field missing"}));
    for (name, why) in [
        ("1.2.3.4", "Invalid name; no ip addresses allowed"),
        ("a:80", "Invalid name; no port allowed"),
        ("a b", "Invalid name; must be a valid hostname"),
    ] {
        post(json!({"name": name})).await.assert_violation(json!({"name": why}));
    }
    post(json!({"name": "a", "slots": 1}))
        .await
        .assert_violation(json!({"slots": "value should be between 10 and 65536"}));
    for body in [
        json!({"name": "a", "algorithm": "latency"}),
        json!({"name": "a", "algorithm": "consistent-hashing"}),
        json!({"name": "a", "hash_on": "ip"}),
        json!({"name": "a", "healthchecks": {"active": {"healthy": {"interval": 5}}}}),
        json!({"name": "a", "healthchecks": {"passive": {"unhealthy": {"http_failures": 1}}}}),
    ] {
        let refused = post(body.clone()).await;
        assert!(
            refused.status == 400 && refused.message().contains("not implemented"),
            "{body}: {refused:?}"
        );
    }
    post(json!({"name": "a"})).await;
    let target = world.json("POST", "/upstreams/a/targets", json!({"target": "a b"})).await;
    target.assert_violation(json!({"target": "Invalid target; not a valid hostname or ip address"}));
    assert_eq!(world.json("POST", "/upstreams/none/targets", json!({"target": "a"})).await.status, 404);
}
