//! The whole configuration in one document.

use serde_json::{Value, json};

use crate::support::{Answer, Portcullis, Request, Response, Upstream, admin::node};

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

/// A document that was read, without what the gate adds: the versions of its sections.
fn bare(mut document: Value) -> Value {
    document.as_object_mut().unwrap().retain(|name, _| !name.ends_with("_conf_version"));
    document
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
    assert_eq!(bare(read.json()), document);
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
        (json!({"routes_conf_version": -1}), "routes_conf_version must be greater than or equal to (2)"),
        (json!({"routes_conf_version": "x"}), "routes_conf_version must be a number"),
        (
            json!({"consumers": [{"username": "j"}, {"id": "j/credentials/a"}, {"id": "j/credentials/a"}]}),
            "found duplicate credential id j/credentials/a in consumers",
        ),
        (
            json!({"routes": [{"uri": "/x", "plugins": {}}, {"id": "arr_1", "uri": "/x", "plugins": {}}]}),
            "found duplicate id arr_1 in routes",
        ),
        (
            json!({"routes": [{"id": "1", "uri": "/x", "plugins": {}, "modifiedIndex": "1"}]}),
            "invalid routes at index 0, err: invalid configuration: property \"modifiedIndex\"",
        ),
        (json!({"secrets": [{"prefix": "kv"}]}), "invalid secrets at index 0, err: invalid secret id: nil"),
        (json!({"plugin_metadata": [{}]}), "invalid plugin_metadata at index 0, err: missing plugin name"),
        (
            json!({"services": [{"id": "s1", "upstream": {"nodes": {"a:1": 1}, "type": "chash", "key": "args_invalid"}}]}),
            "invalid services at index 0, err: invalid configuration: failed to match pattern \"^((uri|",
        ),
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
        assert_eq!(bare(configs.get().await.json()), document, "{change}");
    }
    let bare_put = configs.request("PUT", "configs").json(&document).send(gate.port(9180)).await;
    assert_eq!((bare_put.status, told(&bare_put)), (400, "missing digest header".to_owned()));

    for (text, expected) in [
        ("", "invalid request body: empty request body"),
        ("{abcd", "invalid request body: Expected object key string but found invalid token at character 2"),
        ("[]", "invalid request body: it is not an object"),
    ] {
        let answer = configs.request("PUT", "configs").header("X-Digest", "two").body(text);
        let answer = answer.send(gate.port(9180)).await;
        assert_eq!((answer.status, &*told(&answer)), (400, expected), "{text}");
    }

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

/// A gate, and the statuses that it answers to the keys of callers at `/r1`.
async fn statuses(gate: &Portcullis, keys: &[&str]) -> Vec<u16> {
    let mut out = Vec::new();
    for key in keys {
        out.push(gate.send(Request::get("/r1").header("apikey", key)).await.status);
    }
    out
}

#[tokio::test]
async fn an_item_of_the_version_that_is_there_stays_what_it_was() {
    let (gate, upstream) = (Portcullis::dev(), Upstream::start());
    upstream.answer(Answer::text("ok"));
    let configs = Configs(&gate);
    let put = async |digest: &str, document: &Value| {
        let answer = configs.put(digest, document).await;
        assert_eq!(answer.status, 202, "{digest}: {}", answer.text());
    };
    let document = |uri: &str, version: i64| {
        json!({"routes": [
            {"id": "r1", "uri": uri, "modifiedIndex": version, "upstream": {"nodes": {upstream.node(): 1}}},
        ]})
    };
    let paths = async || (gate.get("/r1").await.status, gate.get("/r2").await.status);
    put("1", &document("/r1", 1)).await;
    put("2", &document("/r2", 1)).await;
    assert_eq!(paths().await, (200, 404));
    assert_eq!(configs.get().await.json()["routes"], document("/r1", 1)["routes"]);
    put("3", &document("/r2", 2)).await;
    assert_eq!(paths().await, (404, 200));
    // A lower version is another one; and one that somebody else wrote over says nothing any more.
    put("4", &document("/r1", 1)).await;
    assert_eq!(paths().await, (200, 404));
    let by_hand = json!({"uri": "/r2", "upstream": node(&upstream)});
    gate.admin().set("routes/r1", &by_hand).await;
    assert_eq!(paths().await, (404, 200));
    put("5", &document("/r1", 1)).await;
    assert_eq!(paths().await, (200, 404));
    gate.restart();
    put("6", &document("/r2", 1)).await;
    assert_eq!(paths().await, (200, 404));

    let callers = |key: &str, version: i64| {
        json!({
            "routes": [{"id": "r1", "uri": "/r1", "plugins": {"key-auth": {}}, "upstream": {"nodes": {upstream.node(): 1}}}],
            "consumers": [{"username": "jack", "modifiedIndex": version, "plugins": {"key-auth": {"key": key}}}],
        })
    };
    let keys = ["jack-key", "jack-key-updated", "nobody"];
    put("7", &callers("jack-key", 10)).await;
    assert_eq!(statuses(&gate, &keys).await, [200, 401, 401]);
    put("8", &callers("jack-key-updated", 10)).await;
    assert_eq!(statuses(&gate, &keys).await, [200, 401, 401]);
    put("9", &callers("jack-key-updated", 11)).await;
    assert_eq!(statuses(&gate, &keys).await, [401, 200, 401]);
}

#[tokio::test]
async fn a_document_is_given_back_as_it_was_sent() {
    let (gate, upstream) = (Portcullis::dev(), Upstream::start());
    upstream.answer(Answer::text("ok"));
    let configs = Configs(&gate);
    let nodes = json!({"nodes": {upstream.node(): 1}});
    let document = json!({
        "routes": [
            {"id": "z", "uri": "/z", "upstream": nodes},
            {"uri": "/second", "upstream": nodes},
            {"id": "a", "uri": "/a", "modifiedIndex": 7, "upstream": nodes},
            {"uri": "/fourth", "modifiedIndex": 8, "upstream": nodes},
        ],
        "consumers": [
            {"username": "second"},
            {"id": "second/credentials/b", "plugins": {"key-auth": {"key": "auth-b"}}},
            {"id": "first", "username": "first"},
            {"id": "first/credentials/a", "modifiedIndex": 3, "plugins": {"key-auth": {"key": "auth-a"}}},
        ],
        "global_rules": [{"plugins": {"redirect": {"http_to_https": false}}}],
    });
    assert_eq!(configs.put("1", &document).await.status, 202);
    for path in ["/z", "/second", "/a", "/fourth"] {
        assert_eq!(gate.get(path).await.status, 200, "{path}");
    }
    assert_eq!(bare(configs.get().await.json()), document);
    let by_place = gate.admin().get("routes/arr_2").await;
    assert_eq!((by_place.status, &by_place.json()["value"]["uri"]), (200, &json!("/second")));
    // What was written otherwise comes behind it.
    gate.admin().set("routes/0", &json!({"uri": "/0", "upstream": nodes})).await;
    let read = configs.get().await.json();
    assert_eq!(read["routes"][4]["uri"], "/0");
    assert_eq!(read["routes"].as_array().unwrap()[..4], document["routes"].as_array().unwrap()[..]);
    gate.restart();
    assert_eq!(configs.get().await.json(), read);
    // A section that stays keeps its order and its versions.
    let mut next = document.clone();
    next["routes_conf_version"] = read["routes_conf_version"].clone();
    next["routes"] = json!([]);
    assert_eq!(configs.put("2", &next).await.status, 202);
    assert_eq!(configs.get().await.json()["routes"], read["routes"]);
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
    let (gate, upstream) = (Portcullis::dev(), Upstream::start());
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
        "upstreams": [{"nodes": {"a:1": 1}}, {"nodes": {"a:1": 1}}],
        "secrets": [{"prefix": "kv"}],
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
    assert_eq!(found("secrets", json!(0), "invalid secret id: nil")["resource_id"], Value::Null);
    found("services", Value::Null, "services_conf_version must be a number");
    assert_eq!(errors.len(), 6, "{errors:?}");
    assert_eq!(admin.get("routes").await.json()["total"], before);
}
