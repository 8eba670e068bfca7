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
        ("1.2.3.4", "Invalid name ('1.2.3.4'); no ip addresses allowed"),
        ("a:80", "Invalid name ('a:80'); no port allowed"),
        ("a b", "Invalid name ('a b'); must be a valid hostname"),
    ] {
        post(json!({"name": name})).await.assert_violation(json!({"name": why}));
    }
    post(json!({"name": "a", "slots": 1}))
        .await
        .assert_violation(json!({"slots": "value should be between 10 and 65536"}));
    for body in [
        json!({"name": "a", "healthchecks": {"active": {"type": "grpc"}}}),
        json!({"name": "a", "healthchecks": {"passive": {"type": "grpcs"}}}),
    ] {
        let refused = post(body.clone()).await;
        assert!(
            refused.status == 400 && refused.message().contains("not implemented"),
            "{body}: {refused:?}"
        );
    }
    let conditional =
        |field: &str| json!([format!("failed conditional validation given value of field '{field}'")]);
    for (body, fields) in [
        (
            json!({"hash_on": "header"}),
            json!({"@entity": conditional("hash_on"), "hash_on_header": "required field missing"}),
        ),
        (
            json!({"hash_on": "ip", "hash_fallback": "cookie"}),
            json!({"@entity": conditional("hash_fallback"), "hash_on_cookie": "required field missing"}),
        ),
        (
            json!({"hash_fallback": "ip"}),
            json!({"@entity": conditional("hash_on"), "hash_fallback": "expected one of: none"}),
        ),
        (
            json!({"hash_on": "query_arg", "hash_on_query_arg": "q", "hash_fallback": "query_arg", "hash_fallback_query_arg": "q"}),
            json!({"@entity": ["values of these fields must be distinct: 'hash_on_query_arg', 'hash_fallback_query_arg'"]}),
        ),
        (
            json!({"hash_on": "nothing"}),
            json!({"hash_on": "expected one of: none, consumer, ip, header, cookie, path, query_arg, uri_capture"}),
        ),
        (
            json!({"hash_on_header": "a b"}),
            json!({"hash_on_header": "bad header name 'a b', allowed characters are A-Z, a-z, 0-9, '_', and '-'"}),
        ),
    ] {
        let mut body = body;
        body["name"] = json!("a");
        post(body).await.assert_violation(fields);
    }
    let checks = |checks: Value| post(json!({"name": "a", "healthchecks": checks}));
    let active = |active: Value| checks(json!({"active": active}));
    let wrong = |active: Value| json!({"healthchecks": {"active": active}});
    active(json!({"headers": {"a b": ["x"]}}))
        .await
        .assert_violation(wrong(json!({"headers": "'a b' is not the name of a header"})));
    active(json!({"headers": {"x": ["a\nb"]}})).await.assert_violation(wrong(
        json!({"headers": "the value of 'x' has characters that a header cannot have"}),
    ));
    active(json!({"headers": {"Content-Length": ["1"]}})).await.assert_violation(wrong(
        json!({"headers": "'content-length' is about a body, and a check has none"}),
    ));
    active(json!({"unhealthy": {"tcp_failures": 256}}))
        .await
        .assert_violation(wrong(json!({"unhealthy": {"tcp_failures": "value should be between 0 and 255"}})));
    checks(json!({"threshold": 101}))
        .await
        .assert_violation(json!({"healthchecks": {"threshold": "value should be between 0 and 100"}}));
    post(json!({"name": "a"})).await;
    let target = world.json("POST", "/upstreams/a/targets", json!({"target": "a b"})).await;
    target.assert_violation(json!({"target": "Invalid target ('a b'); not a valid hostname or ip address"}));
    assert_eq!(world.json("POST", "/upstreams/none/targets", json!({"target": "a"})).await.status, 404);
}

#[tokio::test]
async fn health_is_what_checks_find_and_what_somebody_says() {
    let world = World::new().await;
    let checks = json!({"threshold": 40, "passive": {"unhealthy": {"tcp_failures": 1}}});
    world.json("POST", "/upstreams", json!({"name": "u", "healthchecks": checks})).await;
    for (target, weight) in
        [("127.0.0.1:1", 60), ("[::1]:2", 40), ("nowhere.invalid:3", 100), ("127.0.0.1:4", 0)]
    {
        world.json("POST", "/upstreams/u/targets", json!({"target": target, "weight": weight})).await;
    }
    let health = async || {
        let all = world.get("/upstreams/u/health").await.body;
        assert!(all["node_id"].is_string() && all["next"].is_null());
        let all = all["data"].as_array().unwrap().clone();
        let one = |target: &str| {
            let found = all.iter().find(|found| found["target"] == target).unwrap();
            found["health"].as_str().unwrap().to_owned()
        };
        ["127.0.0.1:1", "[::1]:2", "nowhere.invalid:3", "127.0.0.1:4"].map(one)
    };
    let whole = async || world.get("/upstreams/u/health?balancer_health=1").await.body["data"].clone();
    assert_eq!(health().await, ["HEALTHY", "HEALTHY", "DNS_ERROR", "HEALTHCHECKS_OFF"]);
    assert_eq!(
        (whole().await["health"].as_str(), &whole().await["details"]["healthy"]),
        (Some("HEALTHY"), &json!(true))
    );
    let put = async |path: &str| world.call("PUT", &format!("/upstreams/u/targets/{path}")).await.status;
    assert_eq!(put("127.0.0.1:1/unhealthy").await, 204);
    assert_eq!(health().await, ["UNHEALTHY", "HEALTHY", "DNS_ERROR", "HEALTHCHECKS_OFF"]);
    assert_eq!(put("nowhere.invalid:3/unhealthy").await, 204);
    let all = whole().await;
    assert_eq!(all["health"], "UNHEALTHY", "40 of 200 is less than the threshold");
    assert_eq!(all["details"]["weight"], json!({"total": 200, "available": 40, "unavailable": 160}));
    let first = &world.get("/upstreams/u/health").await.body["data"];
    let first = first.as_array().unwrap().iter().find(|found| found["target"] == "127.0.0.1:1").unwrap();
    assert_eq!(
        first["data"],
        json!({
            "host": "127.0.0.1", "port": 1, "dns": "A", "nodeWeight": 60,
            "weight": {"total": 60, "available": 0, "unavailable": 60},
            "addresses": [{"ip": "127.0.0.1", "port": 1, "weight": 60, "health": "UNHEALTHY"}],
        })
    );
    // What is known of a target outlives changes of the others and of the checks.
    world.json("PATCH", "/upstreams/u", json!({"healthchecks": {"threshold": 0}})).await;
    world.json("POST", "/upstreams/u/targets", json!({"target": "127.0.0.1:5"})).await;
    assert_eq!(
        (health().await[0].as_str(), whole().await["health"].as_str()),
        ("UNHEALTHY", Some("HEALTHY"))
    );
    for (path, status) in [
        ("127.0.0.1:1/127.0.0.1:1/healthy", 204),
        ("127.0.0.1:1/127.0.0.2:1/healthy", 400),
        ("127.0.0.1:1/127.0.0.1:2/healthy", 400),
        ("127.0.0.1:1/a%20b/healthy", 400),
        ("nowhere.invalid:3/nowhere.invalid:3/healthy", 204),
        ("127.0.0.9:1/healthy", 404),
    ] {
        assert_eq!(put(path).await, status, "{path}");
    }
    assert_eq!(world.call("POST", "/upstreams/u/targets/127.0.0.1:4/unhealthy").await.status, 204);
    assert_eq!(world.call("GET", "/upstreams/u/targets/127.0.0.1:4/unhealthy").await.status, 405);
    assert_eq!(world.call("PUT", "/upstreams/none/targets/a:1/healthy").await.status, 404);
    assert_eq!(health().await[0], "HEALTHY");
    // Pages, as of targets.
    let page = world.get("/upstreams/u/health?size=2").await.body;
    assert_eq!(page["data"].as_array().unwrap().len(), 2);
    assert!(page["next"].as_str().unwrap().starts_with("/upstreams/u/health?offset="), "{page}");
    // An upstream that nobody checks is in order whatever is said.
    world.json("POST", "/upstreams", json!({"name": "off"})).await;
    world.json("POST", "/upstreams/off/targets", json!({"target": "127.0.0.1:1"})).await;
    assert_eq!(world.call("PUT", "/upstreams/off/targets/127.0.0.1:1/unhealthy").await.status, 204);
    assert_eq!(world.get("/upstreams/off/health").await.body["data"][0]["health"], "HEALTHCHECKS_OFF");
    let off = world.get("/upstreams/off/health?balancer_health=1").await.body;
    assert_eq!(off["data"]["health"], "HEALTHCHECKS_OFF");
    assert_eq!(world.delete("/upstreams/u").await.status, 204);
    assert!(
        world.live.checkers().iter().all(|checker| checker.nodes().count() == 1),
        "checks go with their upstream"
    );
}

#[tokio::test]
async fn what_is_hashed_and_the_algorithm_follow_each_other() {
    let world = World::new().await;
    let told = async |method: &str, path: &str, body: Value| {
        let answer = world.json(method, path, body).await;
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        let of = |name: &str| answer.body[name].as_str().unwrap().to_owned();
        [of("algorithm"), of("hash_on")]
    };
    let hashing = ["consistent-hashing", "ip"];
    assert_eq!(told("POST", "/upstreams", json!({"name": "a", "hash_on": "ip"})).await, hashing);
    let all = world.get("/upstreams/a").await.body;
    assert_eq!(told("PUT", "/upstreams/a", all).await, hashing, "what is written back is what was there");
    let patch = async |body: Value| told("PATCH", "/upstreams/a", body).await;
    assert_eq!(patch(json!({"slots": 1000})).await, hashing);
    assert_eq!(patch(json!({"algorithm": "least-connections"})).await, ["least-connections", "none"]);
    assert_eq!(patch(json!({"algorithm": "latency"})).await, ["latency", "none"]);
    assert_eq!(patch(json!({"hash_on": "path"})).await, ["consistent-hashing", "path"]);
    assert_eq!(patch(json!({"hash_on": "none"})).await, ["round-robin", "none"]);
    let both = json!({"name": "b", "algorithm": "consistent-hashing", "hash_on": "none"});
    assert_eq!(told("POST", "/upstreams", both).await, ["consistent-hashing", "none"]);
}
