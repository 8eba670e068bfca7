//! Consumers, credentials, groups, global rules and plugin configs: verbs, texts, shapes and what is stored.

use std::collections::BTreeSet;

use super::*;

fn key_auth(key: &str) -> Value {
    json!({"key-auth": {"key": key}})
}

fn consumer(name: &str, plugins: Value) -> Value {
    json!({"username": name, "plugins": plugins})
}

/// The consumer that this key of key-auth finds in what is served.
fn owner(gate: &Gate, key: &str) -> Option<String> {
    let snapshot = gate.publisher.current();
    let consumers = snapshot.consumers("apisix").unwrap();
    consumers.credential("key-auth", key.as_bytes()).map(|found| found.consumer.name().to_owned())
}

fn broken(gate: &Gate) -> BTreeSet<String> {
    gate.publisher.current().broken.iter().map(|(name, _)| name.clone()).collect()
}

#[tokio::test]
async fn a_consumer_is_put_by_its_name_and_serves_when_it_is_answered() {
    let gate = Gate::new().await;
    let told = gate.put("consumers", consumer("jack", key_auth("k1"))).await;
    assert_eq!((told.status.as_u16(), &told.json()["key"]), (201, &json!("/apisix/consumers/jack")));
    assert!(told.json()["value"].get("id").is_none());
    assert_eq!(owner(&gate, "k1").as_deref(), Some("jack"));
    assert_eq!(gate.put("consumers/jack", consumer("jack", key_auth("k2"))).await.status, 200);
    assert_eq!((owner(&gate, "k1"), owner(&gate, "k2").as_deref()), (None, Some("jack")));
    let got = gate.get("consumers/jack").await.json();
    assert_eq!(got["value"]["plugins"]["key-auth"]["key"], "k2");
    assert_eq!(gate.get("consumers").await.json()["total"], 1);
    assert_eq!(
        gate.delete("consumers/jack").await.json(),
        json!({"key": "/apisix/consumers/jack", "deleted": "1"})
    );
    assert_eq!(owner(&gate, "k2"), None);
    assert_eq!(gate.get("consumers/jack").await.text, "{\"message\":\"Key not found\"}\n");
}

#[tokio::test]
async fn consumers_and_credentials_are_refused_in_apisix_words() {
    let gate = Gate::new().await;
    gate.created("consumers", consumer("jack", key_auth("the-key"))).await;
    let refused = async |method: &str, path: &str, body: Value| gate.ask(method, path, body).await.refusal();
    let not_supported =
        |method: &str, what: &str| (405, format!("not supported `{method}` method for {what}"));
    for (path, what) in [
        ("consumers", "consumer"),
        ("consumers/jack/credentials", "credential"),
        ("consumer_groups", "consumer group"),
        ("global_rules", "global rule"),
        ("plugin_configs", "plugin config"),
    ] {
        assert_eq!(refused("POST", path, json!({"plugins": {}})).await, not_supported("POST", what));
    }
    assert_eq!(refused("PATCH", "consumers/jack", json!({})).await, not_supported("PATCH", "consumer"));
    let patched = refused("PATCH", "consumers/jack/credentials/1", json!({})).await;
    assert_eq!(patched, not_supported("PATCH", "credential"));
    for (path, body, why) in [
        ("consumers/jill", consumer("jack", json!({})), "wrong username"),
        ("consumers", json!({}), "invalid configuration: property \"username\" is required"),
        (
            "consumers",
            json!({"username": "a.b"}),
            "invalid configuration: property \"username\" validation failed: failed to match pattern \"^[a-zA-Z0-9_\\\\-]+$\" with \"a.b\"",
        ),
        (
            "consumers",
            json!({"username": "a", "id": "a"}),
            "invalid configuration: additional properties forbidden, found id",
        ),
        ("consumers", json!({"username": "a", "create_time": 1}), "the property is forbidden:  create_time"),
        (
            "consumers",
            json!({"username": "a", "group_id": "g"}),
            "failed to fetch consumer group info by consumer group id [g], response code: 404",
        ),
        (
            "consumers",
            consumer("a", json!({"nope": {}})),
            "invalid plugins configuration: unknown plugin [nope]",
        ),
        (
            "consumers",
            consumer("a", json!({"key-auth": {}})),
            "invalid plugins configuration: failed to check the configuration of plugin key-auth err: property \"key\" is required",
        ),
        (
            "consumers",
            consumer("jill", key_auth("the-key")),
            "duplicate key of plugin key-auth found with consumer: jack",
        ),
        (
            "consumers/jack/credentials/1",
            json!({"plugins": {"key-auth": {"key": "a"}, "basic-auth": {"username": "a", "password": "b"}}}),
            "invalid configuration: property \"plugins\" validation failed: expect object to have at most 1 properties",
        ),
        (
            "consumers/jack/credentials/1",
            json!({"plugins": {"stamp": {"text": "a"}}}),
            "only supports auth type plugins in consumer credential",
        ),
        ("consumers/jack/credentials/1", json!({"id": "2"}), "wrong credential id"),
        ("consumers/jack/credentials", json!({}), "missing credential id"),
        (
            "consumers/jack/credentials/1",
            json!({"plugins": key_auth("the-key")}),
            "duplicate key of plugin key-auth found with consumer: jack",
        ),
    ] {
        assert_eq!(refused("PUT", path, body.clone()).await, (400, why.to_owned()), "{path} {body}");
    }
    let missing = refused("PUT", "consumers/nobody/credentials/1", json!({"plugins": key_auth("x")})).await;
    assert_eq!(missing, (404, "consumer not found".to_owned()));
    assert_eq!(
        gate.put("consumers", consumer("jack", key_auth("the-key"))).await.status,
        200,
        "its own key is its own"
    );
    assert_eq!(gate.get("credentials").await.status, 404);
}

#[tokio::test]
async fn credentials_stand_below_their_consumer_and_go_with_it() {
    let gate = Gate::new().await;
    gate.created("consumers", consumer("jack", json!({}))).await;
    assert_eq!(gate.get("consumers/jack/credentials").await.status, 404, "a collection never written");
    let told = gate.put("consumers/jack/credentials/one", json!({"plugins": key_auth("k1")})).await;
    assert_eq!(
        (told.status.as_u16(), &told.json()["key"], &told.json()["value"]["id"]),
        (201, &json!("/apisix/consumers/jack/credentials/one"), &json!("one"))
    );
    gate.created("consumers/jack/credentials/two", json!({"plugins": key_auth("k2")})).await;
    let list = gate.get("consumers/jack/credentials").await.json();
    assert_eq!((&list["total"], &list["list"][0]["value"]["id"]), (&json!(2), &json!("one")));
    assert_eq!(gate.get("consumers").await.json()["total"], 1, "consumers are listed without them");
    assert_eq!(owner(&gate, "k1").as_deref(), Some("jack"));
    let deleted = gate.delete("consumers/jack/credentials/one").await.json();
    assert_eq!(deleted, json!({"key": "/apisix/consumers/jack/credentials/one", "deleted": "1"}));
    assert_eq!((owner(&gate, "k1"), owner(&gate, "k2").as_deref()), (None, Some("jack")));
    gate.delete("consumers/jack").await;
    gate.created("consumers", consumer("jack", json!({}))).await;
    assert_eq!(
        (owner(&gate, "k2"), gate.get("consumers/jack/credentials/two").await.status.as_u16()),
        (None, 404)
    );
    assert!(gate.store.get("/apisix/consumers/jack/credentials/two").await.unwrap().is_none());
}

#[tokio::test]
async fn a_new_consumer_has_no_credentials_of_an_expired_one() {
    let gate = Gate::new().await;
    gate.created("consumers?ttl=5", consumer("jack", json!({}))).await;
    gate.created("consumers/jack/credentials/1", json!({"plugins": key_auth("old")})).await;
    assert_eq!(owner(&gate, "old").as_deref(), Some("jack"));
    gate.clock.advance(SECOND * 6);
    gate.dialect.expire_due().await.unwrap();
    assert_eq!(owner(&gate, "old"), None);
    gate.created("consumers", consumer("jack", json!({}))).await;
    assert_eq!(
        (owner(&gate, "old"), gate.get("consumers/jack/credentials/1").await.status.as_u16()),
        (None, 404)
    );
    gate.created("consumers/jack/credentials/1", json!({"plugins": key_auth("new")})).await;
    gate.created("consumers", consumer("jack", key_auth("own"))).await;
    assert_eq!(owner(&gate, "new").as_deref(), Some("jack"), "a changed consumer keeps its credentials");
}

#[tokio::test]
async fn a_key_is_given_once_also_by_writes_that_wait_together() {
    let gate = Gate::new().await;
    let bodies: Vec<Value> = (0..8).map(|n| consumer(&format!("c{n}"), key_auth("same"))).collect();
    let writes = bodies.into_iter().map(|body| gate.put("consumers", body));
    let told = futures_util::future::join_all(writes).await;
    assert_eq!(told.iter().filter(|told| told.status == 201).count(), 1);
    assert!(
        told.iter()
            .filter(|told| told.status != 201)
            .all(|told| told.text.contains("duplicate key of plugin"))
    );
    assert_eq!(broken(&gate), BTreeSet::new());
}

#[tokio::test]
async fn s01_and_a14_consumer_secrets_are_sealed_at_rest_and_hidden_from_viewers() {
    const CANARY: &str = "canary-of-a-consumer-that-is-long-enough";
    let gate = Gate::new().await;
    gate.created("consumers", consumer("jack", json!({
        "key-auth": {"key": CANARY}, "basic-auth": {"username": "jack", "password": CANARY}, "jwt-auth": {"key": "jack", "secret": CANARY},
    }))).await;
    gate.created("consumers/jack/credentials/1", json!({"plugins": key_auth(&format!("{CANARY}-2"))})).await;
    for (key, path) in [
        ("/apisix/consumers/jack", "consumers/jack"),
        ("/apisix/consumers/jack/credentials/1", "consumers/jack/credentials/1"),
    ] {
        let stored = gate.store.get(key).await.unwrap().unwrap().value;
        assert!(!String::from_utf8_lossy(&stored).contains("canary"), "{key}");
        assert!(gate.get(path).await.text.contains("canary"), "an administrator sees what was written");
        let viewer = request("GET", path).header("x-api-key", VIEWER).body(Body::empty()).unwrap();
        let told = gate.send(viewer).await;
        assert!(
            told.status == 200 && !told.text.contains("canary") && !told.text.contains("sealed"),
            "{}",
            told.text
        );
    }
    let again = Gate::on(gate.store, gate.clock).await;
    assert_eq!(owner(&again, CANARY).as_deref(), Some("jack"));
    let bad = again
        .put("consumers", consumer("jill", json!({"jwt-auth": {"key": "jill", "secret": "canary, which is no base64", "base64_secret": true}})))
        .await;
    assert!(bad.status == 400 && !bad.text.contains("canary"), "{}", bad.text);
}

#[tokio::test]
async fn a18_what_is_referred_to_is_not_deleted() {
    let gate = Gate::new().await;
    let stamp = json!({"plugins": {"stamp": {"text": "t"}}});
    gate.created("consumer_groups/g", stamp.clone()).await;
    gate.created("plugin_configs/p", stamp).await;
    gate.created("consumers", json!({"username": "jack", "group_id": "g"})).await;
    gate.created("routes/1", json!({"uri": "/a", "plugin_config_id": "p", "upstream": upstream()})).await;
    assert_eq!(
        gate.delete("consumer_groups/g").await.refusal(),
        (400, "can not delete this consumer group, consumer [jack] is still using it now".to_owned())
    );
    assert_eq!(
        gate.delete("plugin_configs/p").await.refusal(),
        (400, "can not delete this plugin config, route [1] is still using it now".to_owned())
    );
    assert_eq!(gate.delete("consumer_groups/g?force=true").await.status, 200);
    assert_eq!(
        broken(&gate),
        BTreeSet::from(["consumers/jack".to_owned()]),
        "nobody knows what its group limits"
    );
    let snapshot = gate.publisher.current();
    let jack = snapshot.consumers("apisix").unwrap().by_username("jack").unwrap().clone();
    let closed: Vec<_> = jack.layer.entries.iter().map(|entry| entry.name).collect();
    assert_eq!(closed, ["closed"], "whose claims name it is refused, and is not nobody, who may get in");
}

#[tokio::test]
async fn a_plugin_stands_in_one_global_rule_only() {
    let gate = Gate::new().await;
    let rule = |text: &str| json!({"plugins": {"stamp": {"text": text}}});
    gate.created("global_rules/1", rule("a")).await;
    let told = gate.put("global_rules/2", rule("b")).await;
    assert_eq!(told.refusal(), (400, "plugin 'stamp' already exists in global rule with id '1'".to_owned()));
    gate.created("global_rules/1", rule("c")).await;
    assert_eq!(
        gate.ask("PATCH", "global_rules/1", json!({"plugins": {"stamp": {"text": "d"}}})).await.status,
        200
    );
    gate.created("global_rules/2", json!({"plugins": {"late": {"text": "b"}}})).await;
    assert_eq!(
        gate.put("global_rules/3", json!({})).await.refusal(),
        (400, "invalid configuration: property \"plugins\" is required".to_owned())
    );
}

#[tokio::test]
async fn a_bad_consumer_in_the_store_breaks_no_other_and_is_named() {
    let clock = clock();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock.clone()));
    let entries = [
        ("consumers/good", consumer("good", key_auth("good"))),
        ("consumers/odd", consumer("odd", json!({"nope": {}}))),
        ("consumers/other", consumer("name", json!({}))),
        ("consumers/text", json!("no object")),
        ("consumers/twice", consumer("twice", key_auth("good"))),
        ("consumers/good/credentials/bad", json!({"id": "bad", "plugins": {"key-auth": {"key": 1}}})),
        ("consumers/good/credentials/2", json!({"id": "2", "plugins": key_auth("good-2")})),
        ("consumers/gone/credentials/1", json!({"id": "1", "plugins": key_auth("orphan")})),
    ];
    for (name, value) in entries {
        let (key, value) = (format!("/apisix/{name}"), value.to_string().into_bytes());
        store.commit(Vec::new(), vec![store::Operation::Put { key, value, ttl: None }]).await.unwrap();
    }
    let gate = Gate::on(store, clock).await;
    let named = [
        "consumers/odd",
        "consumers/other",
        "consumers/text",
        "consumers/twice",
        "consumers/good/credentials/bad",
    ];
    assert_eq!(broken(&gate), named.map(str::to_owned).into());
    assert_eq!(owner(&gate, "good").as_deref(), Some("good"), "the older one has the key");
    assert_eq!(owner(&gate, "good-2").as_deref(), Some("good"));
    assert_eq!(owner(&gate, "orphan"), None);
    gate.delete("consumers/good").await;
    assert_eq!(owner(&gate, "good").as_deref(), Some("twice"));
}

#[tokio::test]
async fn consumers_are_declared_with_their_credentials() {
    let gate = Gate::new().await;
    let declared = json!({
        "consumer_groups": [{"id": "g", "plugins": {}}],
        "consumers": [
            {"username": "jack", "group_id": "g", "plugins": {}},
            {"id": "jack/credentials/one", "plugins": {"key-auth": {"key": "k"}}},
        ],
        "plugin_configs": [{"id": "p", "plugins": {}}],
        "global_rules": [{"id": "r", "plugins": {}}],
        "routes": [{"id": "1", "uri": "/a", "plugin_config_id": "p", "upstream": {"nodes": {}}}],
    });
    assert_eq!(gate.dialect.declare(&declared).await, Ok(()));
    assert_eq!(owner(&gate, "k").as_deref(), Some("jack"));
    let again = json!({"consumers": [{"username": "jack"}, {"id": "jill/credentials/1"}, {}]});
    let problems = gate.dialect.declare(&again).await.unwrap_err();
    let expected = [
        "resources.consumers[0]: the id `jack` stands twice",
        "resources.consumers[1]: consumer not found",
        "resources.consumers[2]: it needs `username`",
    ];
    assert_eq!(problems, expected);
}

#[tokio::test]
async fn multi_auth_takes_authentication_plugins_only() {
    let gate = Gate::new().await;
    let refused = async |plugins: Value| {
        let body = json!({"uri": "/a", "plugins": {"multi-auth": {"auth_plugins": plugins}}, "upstream": upstream()});
        gate.put("routes/1", body).await.refusal().1
    };
    let err = "failed to check the configuration of plugin multi-auth err: ";
    let few = refused(json!([{"key-auth": {}}])).await;
    assert_eq!(
        few,
        format!("{err}property \"auth_plugins\" validation failed: expect array to have at least 2 items")
    );
    assert_eq!(
        refused(json!([{"key-auth": {}}, {"nope": {}}])).await,
        format!("{err}nope plugin did not found")
    );
    let restriction = json!([{"key-auth": {}}, {"consumer-restriction": {}}]);
    assert_eq!(refused(restriction).await, format!("{err}consumer-restriction plugin is not supported"));
    assert!(
        refused(json!([{"key-auth": {}}, {"basic-auth": {"x": 1}}]))
            .await
            .contains("additional properties forbidden, found x")
    );
    assert_eq!(refused(json!([{"key-auth": {}}, {"basic-auth": {}}])).await, "");
}

#[tokio::test]
async fn keys_of_other_algorithms_and_weak_ones_are_refused() {
    let gate = Gate::new().await;
    let (_, public) = ("", include_str!("../../../jose/tests/keys/ed25519_public.pem"));
    let weak = include_str!("../../../jose/tests/keys/rsa_1024_public.pem");
    let long = "x".repeat(32);
    for (conf, good) in [
        (json!({"key": "k", "secret": ""}), false),
        (json!({"key": "k", "secret": public}), false),
        (json!({"key": "k", "algorithm": "HS256"}), false),
        (json!({"key": "k", "algorithm": "RS256", "public_key": public}), false),
        (json!({"key": "k", "algorithm": "RS256", "public_key": weak}), false),
        (json!({"key": "k", "algorithm": "RS256"}), false),
        (json!({"key": "k", "algorithm": "none", "secret": long}), false),
        (json!({"key": "k", "secret": "not base64!", "base64_secret": true}), false),
        // Short, as APISIX's users have them: it is named in the log.
        (json!({"key": "k", "secret": "my-secret-key"}), true),
        (json!({"key": "k", "secret": long}), true),
        (json!({"key": "k", "algorithm": "EdDSA", "public_key": public}), true),
    ] {
        let told = gate.put("consumers", consumer("jack", json!({"jwt-auth": conf.clone()}))).await;
        assert_eq!(told.status.is_success(), good, "{conf} {}", told.text);
    }
}
