//! What tools ask before they write: schemas, validation, endpoints, tags.

use serde_json::{Value, json};

use super::World;

fn field<'a>(schema: &'a Value, name: &str) -> &'a Value {
    let fields = schema["fields"].as_array().unwrap();
    fields.iter().find_map(|field| field.get(name)).unwrap_or_else(|| panic!("{name} in {schema}"))
}

#[tokio::test]
async fn schemas_are_those_that_entities_are_checked_by() {
    let world = World::new().await;
    for name in [
        "services",
        "routes",
        "consumers",
        "upstreams",
        "targets",
        "certificates",
        "snis",
        "plugins",
        "keyauth_credentials",
        "acls",
        "vaults",
    ] {
        let schema = world.get(&format!("/schemas/{name}")).await;
        assert_eq!(
            (schema.status, field(&schema.body, "id")["type"].as_str()),
            (200, Some("string")),
            "{name}"
        );
    }
    let services = world.get("/schemas/services").await.body;
    assert_eq!(field(&services, "port")["default"], 80);
    assert_eq!(field(&services, "host")["required"], true);
    let plugin = world.get("/schemas/plugins/key-auth").await.body;
    let config = field(&plugin, "config");
    assert_eq!(config["type"], "record");
    assert_eq!(field(config, "key_names")["default"], json!(["apikey"]));
    assert_eq!(field(&plugin, "consumer")["eq"], Value::Null);
    assert_eq!(world.get("/schemas/plugins/nope").await.status, 404);
    assert_eq!(world.get("/schemas/nope").await.status, 404);
}

#[tokio::test]
async fn an_entity_is_validated_without_being_written() {
    let world = World::new().await;
    let good = world.json("POST", "/schemas/services/validate", json!({"host": "a"})).await;
    assert_eq!((good.status, good.message()), (200, "schema validation successful"));
    world
        .json("POST", "/schemas/services/validate", json!({"port": 80}))
        .await
        .assert_violation(json!({"host": "required field missing"}));
    let plugin = world
        .json("POST", "/schemas/plugins/validate", json!({"name": "key-auth", "config": {"x": 1}}))
        .await;
    plugin.assert_violation(json!({"config": {"x": "unknown field"}}));
    let nothing = world.get("/schemas/services/validate").await;
    assert_eq!(nothing.status, 405);
    assert_eq!(world.stored("/").await, "");
}

#[tokio::test]
async fn endpoints_lists_every_path() {
    let world = World::new().await;
    let told = world.get("/endpoints").await.body;
    let all: Vec<&str> = told["data"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for path in [
        "/services",
        "/consumers/{consumers}/key-auth",
        "/upstreams/{upstreams}/targets/{targets}",
        "/routes/{routes}/service",
    ] {
        assert!(all.contains(&path), "{path} in {all:?}");
    }
}

#[tokio::test]
async fn tags_lead_to_what_is_labelled() {
    let world = World::new().await;
    let service = world.json("POST", "/services", json!({"host": "a", "tags": ["x", "y"]})).await;
    let consumer = world.json("POST", "/consumers", json!({"username": "c", "tags": ["x"]})).await;
    let all = world.get("/tags").await.body["data"].clone();
    assert_eq!(all.as_array().unwrap().len(), 3);
    let of_x = world.get("/tags/x").await.body["data"].clone();
    let expected = json!([
        {"tag": "x", "entity_name": "consumers", "entity_id": consumer.id()},
        {"tag": "x", "entity_name": "services", "entity_id": service.id()},
    ]);
    assert_eq!(of_x, expected);
    let first = world.get("/tags?size=2").await.body;
    let rest = world.get(first["next"].as_str().unwrap()).await.body;
    assert_eq!((first["data"].as_array().unwrap().len(), rest["data"].as_array().unwrap().len()), (2, 1));
    assert_eq!(world.get("/tags?offset=eHh4").await.body["code"], 7);
    assert_eq!(world.get("/tags/none").await.body["data"], json!([]));
}

#[tokio::test]
async fn a_form_may_come_in_parts() {
    let world = World::new().await;
    let part = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let body = format!("{}{}{}--b--\r\n", part("host", "a"), part("port", "81"), part("tags[]", "t"));
    let made = world.raw("POST", "/services", "multipart/form-data; boundary=b", &body).await;
    assert_eq!(
        (made.status, &made.body["port"], &made.body["tags"]),
        (201, &json!(81), &json!(["t"])),
        "{made:?}"
    );
}
