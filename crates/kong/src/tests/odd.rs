//! Every field with every kind of value: a 4xx that names the field, or a write, and never anything else.

use serde_json::{Value, json};

use super::World;
use crate::{entities::Kind, plugins::DialectPlugin};

fn oddities() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(i64::MIN),
        json!(1e18),
        json!(""),
        json!("x"),
        json!("/../\u{202e}\n"),
        json!("x".repeat(70_000)),
        json!([]),
        json!([null]),
        json!([1]),
        json!([["a"]]),
        json!([""]),
        json!({}),
        json!({"id": 1}),
        json!({"name": "x"}),
        json!({"__proto__": {"a": []}}),
    ]
}

async fn try_all(world: &World, path: &str, base: &Value, within: Option<&str>, fields: Vec<String>) {
    for field in fields {
        for odd in oddities() {
            let mut body = base.clone();
            match within {
                Some(within) => body[within][&field] = odd.clone(),
                None => body[&field] = odd.clone(),
            }
            let told = world.json("POST", path, body).await;
            let shown: String = odd.to_string().chars().take(40).collect();
            match told.status {
                201 => {
                    let id = told.id().to_owned();
                    let collection =
                        if path.ends_with("plugins") { "plugins" } else { path.trim_start_matches('/') };
                    assert_eq!(world.delete(&format!("/{collection}/{id}")).await.status, 204);
                }
                400 => {
                    let told_fields =
                        within.map_or(&told.body["fields"], |within| &told.body["fields"][within]);
                    // A rule over the whole of a record is told in its place.
                    let named = told_fields.get(&field).is_some()
                        || told_fields.is_string()
                        || told.body["fields"].get("@entity").is_some();
                    assert!(named, "{path} {field} = {shown}: {:?}", told.body);
                    assert!(told.message().len() < 2000, "{path} {field} = {shown}");
                }
                other => panic!("{path} {field} = {shown}: {other} {:?}", told.body),
            }
        }
    }
}

#[tokio::test]
async fn a09_no_field_with_any_value_is_more_than_refused() {
    let world = World::new().await;
    let names = |kind: Kind| kind.schema().fields.keys().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    try_all(&world, "/services", &json!({"host": "a"}), None, names(Kind::Service)).await;
    try_all(&world, "/routes", &json!({"paths": ["/"]}), None, names(Kind::Route)).await;
    for (kind, base) in [
        (Kind::Consumer, json!({"username": "a"})),
        (Kind::ConsumerGroup, json!({"name": "a"})),
        (Kind::Upstream, json!({"name": "a"})),
        (Kind::Vault, json!({"name": "env", "prefix": "a"})),
    ] {
        try_all(&world, &format!("/{}", kind.plural()), &base, None, names(kind)).await;
    }
    let consumer = world.json("POST", "/consumers", json!({"username": "c"})).await.id().to_owned();
    for (kind, base) in [
        (Kind::KeyAuth, json!({"key": "k"})),
        (Kind::BasicAuth, json!({"username": "u", "password": "p"})),
        (Kind::Jwt, json!({"key": "k"})),
        (Kind::HmacAuth, json!({"username": "u"})),
        (Kind::Acl, json!({"group": "g"})),
    ] {
        let mut base = base;
        base["consumer"] = json!({"id": consumer});
        try_all(&world, &format!("/{}", kind.path().unwrap()), &base, None, names(kind)).await;
    }
    assert_eq!(world.delete(&format!("/consumers/{consumer}")).await.status, 204);
    let config = json!({"auth_methods": ["client_credentials"], "issuer": "http://127.0.0.1:9/"});
    let plugin = json!({"name": "openid-connect", "config": config});
    try_all(&world, "/plugins", &plugin, None, names(Kind::Plugin)).await;
    let openid_connect = world.dialect.registry().find("openid-connect").unwrap();
    let fields =
        DialectPlugin::schema(openid_connect.as_ref()).fields.keys().map(|name| (*name).to_owned()).collect();
    try_all(&world, "/plugins", &plugin, Some("config"), fields).await;
    assert_eq!(world.stored("/portcullis/kong/").await, "");
}

#[tokio::test]
async fn a09_no_form_is_more_than_refused() {
    let world = World::new().await;
    for body in [
        "host",
        "=",
        "&&&",
        "host=a&host[]=b",
        "host.a=1",
        "tags[0]=a&tags[-1]=b&host=a",
        "%ff=%fe",
        "config[issuer=x",
        "[]=1",
        "[a]=1",
        "a..b=1",
        ".=1",
        "service.id=&paths=/",
        "service=x&paths=/",
        "id=x&host=a",
        "created_at=x&host=a",
        "[=]",
    ] {
        for path in ["/services", "/routes", "/plugins"] {
            let told = world.form("POST", path, body).await;
            assert!(matches!(told.status, 201 | 400), "{path} {body}: {told:?}");
        }
    }
}
