//! The whole configuration in one document.

use serde_json::{Value, json};

use crate::support::{Answer, Portcullis, Request, Response, Upstream, admin::node, shared};

/// Something of every kind.
fn sample(upstream: &Upstream) -> Value {
    json!({
        "routes": [
            {"id": 2, "uri": "/r2", "upstream_id": "u1", "priority": 3, "vars": [["arg_x", "==", "1"]]},
            {"id": "r1", "uri": "/r1", "service_id": "s1", "plugin_config_id": "pc1", "labels": {"a": "b"}},
        ],
        "services": [{"id": "s1", "upstream_id": "u1", "hosts": ["localhost"]}],
        "upstreams": [{"id": "u1", "nodes": node(upstream)["nodes"]}],
        "consumers": [
            {"username": "jack", "group_id": "g1", "plugins": {"key-auth": {"key": "the-key-of-jack"}}},
            {"id": "jack/credentials/c1", "plugins": {"basic-auth": {"username": "jack", "password": "the-password"}}},
        ],
        "consumer_groups": [{"id": "g1", "plugins": {}}],
        "plugin_configs": [{"id": "pc1", "plugins": {"key-auth": {}}}],
        "global_rules": [{"id": "gr1", "plugins": {"redirect": {"http_to_https": false}}}],
        "plugin_metadata": [{"id": "redirect"}],
        "secrets": [{"id": "vault/1", "uri": "http://127.0.0.1:1", "prefix": "kv", "token": "t"}],
    })
}

/// A document with its lists in one order: which one they have says when the gate first saw their items.
fn sorted(mut document: Value) -> Value {
    for items in document.as_object_mut().unwrap().values_mut() {
        items.as_array_mut().unwrap().sort_by_key(Value::to_string);
    }
    document
}

/// A document that was read, without what the gate adds.
fn bare(mut document: Value) -> Value {
    let members = document.as_object_mut().unwrap();
    members.retain(|name, _| !name.ends_with("_conf_version"));
    for items in members.values_mut() {
        items.as_array_mut().unwrap().iter_mut().for_each(|item| {
            assert!(item.as_object_mut().unwrap().remove("modifiedIndex").is_some());
        });
    }
    sorted(document)
}

struct Configs<'a>(&'a Portcullis);

impl Configs<'_> {
    fn request(&self, method: &str, path: &str) -> Request {
        Request::new(method, &format!("/apisix/admin/{path}"))
            .header("X-API-KEY", &self.0.variable("ADMIN_KEY"))
    }

    async fn put(&self, digest: &str, document: &Value) -> Response {
        self.request("PUT", "configs").header("X-Digest", digest).json(document).send(self.0.port(9180)).await
    }

    async fn get(&self) -> Response {
        self.request("GET", "configs").send(self.0.port(9180)).await
    }
}

fn told(answer: &Response) -> String {
    answer.json()["error_msg"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a15_a_document_replaces_everything_or_nothing() {
    let (gate, upstream) = (Portcullis::dev(), Upstream::start());
    upstream.answer(Answer::text("ok"));
    let configs = Configs(&gate);
    let before = configs.get().await;
    assert_eq!(before.json()["routes_conf_version"], 0);
    assert_eq!(before.header("x-digest"), None);
    gate.admin().set("routes/old", &json!({"uri": "/old", "upstream": node(&upstream)})).await;

    let document = sample(&upstream);
    let answer = configs.put("one", &document).await;
    assert_eq!((answer.status, answer.header("x-digest")), (202, Some("one")), "{}", answer.text());
    assert_eq!(gate.get("/old").await.status, 404);
    assert_eq!(gate.get("/r1").await.status, 401);
    let with_key = Request::get("/r1").header("apikey", "the-key-of-jack");
    assert_eq!(gate.send(with_key).await.status, 200);
    assert_eq!(gate.get("/r2?x=1").await.status, 200);

    let read = configs.get().await;
    assert_eq!(read.header("x-digest"), Some("one"));
    assert!(read.header("x-last-modified").unwrap().parse::<i64>().unwrap() > 1_600_000_000);
    assert_eq!(read.json()["consumers_conf_version"], 1);
    assert_eq!(bare(read.json()), sorted(document.clone()));
    let head = configs.request("HEAD", "configs").send(gate.port(9180)).await;
    assert_eq!((head.status, head.header("x-digest")), (200, Some("one")));

    // The same again says nothing, unless somebody wrote in between.
    assert_eq!(configs.put("one", &document).await.status, 204);
    assert_eq!(gate.admin().delete("routes/2").await.status, 200);
    assert_eq!(configs.put("one", &document).await.status, 202);
    assert_eq!(gate.get("/r2?x=1").await.status, 200);

    for (change, expected) in [
        (
            json!({"routes": [{"id": "1", "uri": 1}]}),
            "invalid routes at index 0, err: invalid configuration: property",
        ),
        (
            json!({"routes": [{"id": "1", "uri": "/x", "service_id": "gone"}]}),
            "invalid routes at index 0, err: failed to fetch service info by service id [gone]",
        ),
        (
            json!({"routes": [{"id": "1", "uri": "/x", "plugins": {"nonsense": {}}}]}),
            "unknown plugin [nonsense]",
        ),
        (json!({"upstreams": []}), "failed to fetch upstream info by upstream id [u1]"),
        (
            json!({"upstreams": [{"id": "u1", "nodes": {"a:1": 1}}, {"id": "u1", "nodes": {"a:1": 1}}]}),
            "found duplicate id u1 in upstreams",
        ),
        (json!({"routes_conf_version": 1}), "routes_conf_version must be greater than or equal to (2)"),
        (json!({"routes_conf_version": "x"}), "routes_conf_version must be a number"),
        (json!({"protos": [{"id": "1"}]}), "protos are not implemented in this build"),
        (json!({"nonsense": []}), "unknown section `nonsense`"),
        (
            json!({"consumers": [{"username": "a", "plugins": {"key-auth": {"key": "the-same-key"}}}, {"username": "b", "plugins": {"key-auth": {"key": "the-same-key"}}}]}),
            "duplicate key of plugin key-auth",
        ),
    ] {
        let mut wrong = document.clone();
        for (name, value) in change.as_object().unwrap() {
            wrong[name.as_str()] = value.clone();
        }
        let answer = configs.put("two", &wrong).await;
        assert_eq!(answer.status, 400, "{change}");
        assert!(told(&answer).contains(expected), "{change}: {}", told(&answer));
        assert!(!answer.text().contains("the-same-key"));
        assert_eq!(bare(configs.get().await.json()), sorted(document.clone()), "{change}");
    }
    let bare_put = configs.request("PUT", "configs").json(&document).send(gate.port(9180)).await;
    assert_eq!((bare_put.status, told(&bare_put)), (400, "missing digest header".to_owned()));

    // A section of the version that is there is left alone.
    let only = json!({"routes_conf_version": 9, "services_conf_version": 2, "upstreams_conf_version": 2});
    let mut next = only.clone();
    next["routes"] = json!([{"id": "new", "uri": "/new", "upstream_id": "u1"}]);
    assert_eq!(configs.put("three", &next).await.status, 202);
    assert_eq!(gate.get("/new").await.status, 200);
    assert_eq!(gate.admin().get("consumers").await.json()["total"], 0);
    assert_eq!(gate.admin().get("upstreams").await.json()["total"], 1);
    gate.restart();
    assert_eq!(gate.get("/new").await.status, 200);
    assert_eq!(configs.get().await.json()["routes_conf_version"], 9);
}

#[tokio::test]
async fn a_document_may_be_yaml_both_ways() {
    let (gate, upstream) = (Portcullis::dev(), Upstream::start());
    upstream.answer(Answer::text("ok"));
    let configs = Configs(&gate);
    let text = format!(
        "routes:\n  - id: '1'\n    uri: /yaml\n    upstream:\n      nodes:\n        \"{}\": 1\nroutes_conf_version: 5\n",
        upstream.node()
    );
    let put =
        configs.request("PUT", "configs").header("X-Digest", "y").header("Content-Type", "application/yaml");
    let answer = put.body(text).send(gate.port(9180)).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(gate.get("/yaml").await.status, 200);
    let get = configs.request("GET", "configs").header("Accept", "application/yaml");
    let read = get.send(gate.port(9180)).await;
    assert_eq!(read.header("content-type"), Some("application/yaml"));
    let again =
        configs.request("PUT", "configs").header("X-Digest", "z").header("Content-Type", "application/yaml");
    assert_eq!(again.body(read.text()).send(gate.port(9180)).await.status, 202);
    let bad =
        configs.request("PUT", "configs").header("X-Digest", "z").header("Content-Type", "application/yaml");
    assert_eq!(bad.body("a: &x 1\n").send(gate.port(9180)).await.status, 400);
}

#[tokio::test]
async fn everything_wrong_with_a_document_is_said_at_once() {
    let (gate, upstream) = (shared(), Upstream::start());
    let admin = gate.admin();
    let validate =
        async |document: &Value| admin.call("POST", "/apisix/admin/configs/validate", Some(document)).await;
    let before = admin.get("routes").await.json()["total"].clone();
    let good = validate(&sample(&upstream)).await;
    assert_eq!((good.status, good.json()), (200, json!({})), "{}", good.text());
    // What is referred to may be elsewhere, and come later.
    let later = json!({"routes": [
        {"id": "1", "uri": "/x", "service_id": "elsewhere"},
        {"id": "2", "uri": "/x", "plugins": {"redirect": {"uri": "$secret://vault/none/a/b"}}},
    ]});
    assert_eq!(validate(&later).await.status, 200);
    let bad = json!({
        "routes": [
            {"id": "1", "uri": "/x", "plugins": {"redirect": {"uri": "/$graphql_name"}}},
            {"id": "1", "uri": "/x", "upstream_id": "u"},
            {"id": "3", "uri": "/x", "plugins": {"redirect": {}}},
        ],
        "consumers": [{"username": "jack"}, {"username": "jack"}],
        "upstreams": [{"nodes": {"a:1": 1}}],
        "services_conf_version": "x",
    });
    let answer = validate(&bad).await;
    assert_eq!((answer.status, told(&answer)), (400, "Configuration validation failed".to_owned()));
    let errors = answer.json()["errors"].as_array().unwrap().clone();
    let found = |kind: &str, index: Value, part: &str| {
        let hit = errors.iter().find(|error| {
            error["resource_type"] == kind
                && error["index"] == index
                && error["error"].as_str().unwrap().contains(part)
        });
        hit.unwrap_or_else(|| panic!("{kind} {index} {part}: {errors:?}")).clone()
    };
    assert_eq!(found("routes", json!(0), "invalid routes at index 0, err: ")["resource_id"], "1");
    found("routes", json!(1), "found duplicate id 1 in routes");
    found("routes", json!(2), "value should match only one schema, but matches none");
    found("consumers", json!(1), "found duplicate username jack in consumers");
    found("upstreams", json!(0), "property \"id\" is required");
    found("services", Value::Null, "services_conf_version must be a number");
    assert_eq!(errors.len(), 6, "{errors:?}");
    assert_eq!(admin.get("routes").await.json()["total"], before);
}
