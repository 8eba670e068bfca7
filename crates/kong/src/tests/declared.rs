//! Declarative configurations.

use serde_json::{Value, json};

use super::World;

const FILE: &str = r#"
_format_version: "3.0"
_transform: true
services:
- name: s
  url: http://127.0.0.1:1/base
  routes:
  - name: r
    paths: [/a]
    plugins:
    - name: key-auth
  plugins:
  - name: acl
    config: {allow: [admins]}
consumers:
- username: bob
  keyauth_credentials: [{key: bobs-key}]
  basicauth_credentials: [{username: bob, password: secret}]
  acls: [{group: admins}]
  groups: [{name: gold}]
consumer_groups: [{name: gold}]
upstreams:
- name: u.local
  targets: [{target: "127.0.0.1:1"}, {target: "127.0.0.1:2", weight: 50}]
plugins:
- name: acl
  route: r
  config: {deny: [banned]}
"#;

async fn post(world: &World, text: &str) -> super::Told {
    world.raw("POST", "/config", "text/yaml", text).await
}

#[tokio::test]
async fn a_file_makes_the_entities_what_it_says() {
    let world = World::new().await;
    world.json("POST", "/services", json!({"name": "old", "host": "a"})).await;
    let taken = post(&world, FILE).await;
    assert_eq!(taken.status, 201, "{taken:?}");
    assert_eq!(world.get("/services/old").await.status, 404, "what it does not say is gone");
    let service = world.get("/services/s").await.body;
    assert_eq!(
        (&service["host"], &service["port"], &service["path"]),
        (&json!("127.0.0.1"), &json!(1), &json!("/base"))
    );
    assert_eq!(world.get("/routes/r").await.body["service"], json!({"id": service["id"]}));
    assert_eq!(world.get("/routes/r/plugins").await.body["data"].as_array().unwrap().len(), 2);
    let consumer = world.get("/consumers/bob").await;
    let hash = crate::entities::password_hash("secret", consumer.id());
    assert_eq!(world.get("/basic-auths").await.body["data"][0]["password"], hash);
    assert_eq!(world.get("/consumers/bob/consumer_groups").await.body["data"][0]["name"], "gold");
    assert_eq!(world.get("/upstreams/u.local/targets").await.body["data"].as_array().unwrap().len(), 2);
    assert_eq!(taken.body["services"].as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn the_same_file_twice_changes_nothing() {
    let world = World::new().await;
    assert_eq!(post(&world, FILE).await.status, 201);
    let (before, revision) = (world.stored("/").await, world.publisher.current().revisions["kong"]);
    world.clock.advance(std::time::Duration::from_secs(5));
    assert_eq!(post(&world, FILE).await.status, 201);
    assert_eq!(world.stored("/").await, before);
    assert_eq!(world.publisher.current().revisions["kong"], revision);
    let same = world.raw("POST", "/config?check_hash=1", "text/yaml", FILE).await;
    assert_eq!(same.status, 304);
    world.json("PATCH", "/services/s", json!({"retries": 1})).await;
    assert_eq!(
        world.raw("POST", "/config?check_hash=1", "text/yaml", FILE).await.status,
        201,
        "it is not that any more"
    );
    assert_eq!(world.get("/services/s").await.body["retries"], 5);
}

#[tokio::test]
async fn what_is_told_is_taken_back() {
    let world = World::new().await;
    assert_eq!(post(&world, FILE).await.status, 201);
    let before = world.stored("/portcullis/kong/").await;
    let told = world.get("/config").await.body["config"].as_str().unwrap().to_owned();
    let again = post(&world, &told).await;
    assert_eq!(again.status, 201, "{again:?}");
    assert_eq!(world.stored("/portcullis/kong/").await, before);
    let in_form = form_urlencoded::Serializer::new(String::new()).append_pair("config", &told).finish();
    assert_eq!(world.form("POST", "/config", &in_form).await.status, 201);
    assert_eq!(world.json("POST", "/config", json!({"_format_version": "3.0"})).await.status, 201);
    assert_eq!(world.stored("/portcullis/kong/").await, "", "an empty one takes everything away");
    assert_eq!(world.stored("/portcullis/unique/").await, "");
}

#[tokio::test]
async fn what_is_wrong_is_told_where_it_stands_and_nothing_is_written() {
    let world = World::new().await;
    let post = async |document: Value| world.json("POST", "/config?flatten_errors=1", document).await;
    for (document, fields) in [
        (json!({}), json!({"_format_version": "required field missing"})),
        (json!({"_format_version": 3}), json!({"_format_version": "expected a string"})),
        (json!({"_format_version": "9"}), json!({"_format_version": "value must be one of: 1.1, 2.1, 3.0"})),
        (json!({"_format_version": "3.0", "nope": []}), json!({"nope": "unknown field"})),
        (json!({"_format_version": "3.0", "services": {}}), json!({"services": "expected an array"})),
        (
            json!({"_format_version": "3.0", "services": [{"host": "a"}, {"name": "b"}]}),
            json!({"services": [null, {"host": "required field missing"}]}),
        ),
        (
            json!({"_format_version": "3.0", "services": [{"name": "s", "host": "a", "routes": [{"paths": ["x"]}]}]}),
            json!({"services": [{"routes": [{"paths": ["should start with: / (fixed path) or ~/ (regex path)"]}]}]}),
        ),
        (
            json!({"_format_version": "3.0", "routes": [{"paths": ["/"], "service": "none"}]}),
            json!({"routes": [{"service": "invalid foreign reference: services 'none' is not declared"}]}),
        ),
        (
            json!({"_format_version": "3.0", "plugins": [{"name": "nope"}]}),
            json!({"plugins": [{"name": "plugin 'nope' not enabled; add it to the 'plugins' configuration property"}]}),
        ),
    ] {
        let refused = post(document.clone()).await;
        assert_eq!(
            (refused.status, &refused.body["code"], &refused.body["fields"]),
            (400, &json!(14), &fields),
            "{document}"
        );
    }
    let flat = post(json!({"_format_version": "3.0", "services": [{"name": "b", "port": 99_999}]})).await;
    let error = &flat.body["flattened_errors"][0];
    assert_eq!((&error["entity_type"], &error["entity_name"]), (&json!("service"), &json!("b")));
    assert_eq!(error["errors"].as_array().unwrap().len(), 2, "{error}");
    let twice = post(json!({"_format_version": "3.0", "consumers": [{"username": "a"}, {"username": "a", "custom_id": "b"}]})).await;
    assert!(
        twice.status == 400 && twice.body["fields"].to_string().contains("uniqueness violation"),
        "{twice:?}"
    );
    assert_eq!(world.raw("POST", "/config", "text/yaml", "a: [").await.status, 400);
    assert_eq!(world.raw("POST", "/config", "text/plain", "a").await.status, 415);
    assert_eq!(world.stored("/").await, "");
}

#[tokio::test]
async fn what_one_entity_gives_up_another_may_take() {
    let world = World::new().await;
    world.json("POST", "/services", json!({"name": "s", "host": "a"})).await;
    let file = json!({
        "_format_version": "3.0",
        "services": [{"id": "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", "name": "s", "host": "b"}],
    });
    let taken = world.json("POST", "/config", file).await;
    assert_eq!(taken.status, 201, "{taken:?}");
    assert_eq!(world.get("/services/s").await.body["host"], "b");
    assert_eq!(world.json("POST", "/services", json!({"name": "s", "host": "c"})).await.status, 409);
}

#[tokio::test]
async fn older_formats_mark_their_patterns() {
    let world = World::new().await;
    let file = json!({"_format_version": "1.1", "routes": [{"name": "r", "paths": ["/a/\\d+", "/b"]}]});
    assert_eq!(world.json("POST", "/config", file).await.status, 201);
    assert_eq!(world.get("/routes/r").await.body["paths"], json!(["~/a/\\d+", "/b"]));
}
