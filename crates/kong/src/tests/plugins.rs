//! Plugins at their three places.

use serde_json::{Value, json};

use super::World;

const CONFIG: &str =
    "name=openid-connect&config.auth_methods=client_credentials&config.issuer=http://127.0.0.1:9/";

fn config() -> Value {
    json!({"auth_methods": ["client_credentials"], "issuer": "http://127.0.0.1:9/"})
}

async fn with_service() -> World {
    let world = World::new().await;
    world.json("POST", "/services", json!({"name": "s", "host": "a"})).await;
    world.json("POST", "/services/s/routes", json!({"name": "r", "paths": ["/"]})).await;
    world
}

#[tokio::test]
async fn a_plugin_stands_on_a_service_a_route_or_everything() {
    let world = with_service().await;
    let service = world.get("/services/s").await.id().to_owned();
    let route = world.get("/routes/r").await.id().to_owned();
    for (path, of_service, of_route) in [
        ("/services/s/plugins", json!({"id": service}), Value::Null),
        ("/routes/r/plugins", Value::Null, json!({"id": route})),
        ("/plugins", Value::Null, Value::Null),
    ] {
        let made = world.form("POST", path, CONFIG).await;
        assert_eq!(made.status, 201, "{path}: {made:?}");
        assert_eq!((&made.body["service"], &made.body["route"]), (&of_service, &of_route));
        assert_eq!(made.body["protocols"], json!(["grpc", "grpcs", "http", "https"]));
        assert_eq!(made.body["config"]["scopes"], json!(["openid"]));
        assert_eq!(made.body["config"]["session_secret"], Value::Null);
        assert_eq!(world.get(&format!("{path}/{}", made.id())).await.body, made.body);
        assert_eq!(world.get(&format!("/plugins/{}", made.id())).await.body, made.body);
        let twice = world.form("POST", path, CONFIG).await;
        assert_eq!((twice.status, &twice.body["code"]), (409, &json!(5)), "{path}");
    }
    assert_eq!(world.get("/plugins").await.body["data"].as_array().unwrap().len(), 3);
    assert_eq!(world.get("/services/s/plugins").await.body["data"].as_array().unwrap().len(), 1);
    let clash = world.form("POST", "/services/s/plugins", CONFIG).await;
    let text = format!(
        "UNIQUE violation detected on '{{consumer=null,name=\"openid-connect\",route=null,service={{id=\"{service}\"}}}}'"
    );
    assert_eq!(clash.message(), text);
}

#[tokio::test]
async fn what_is_wrong_in_a_config_is_named_in_it() {
    let world = with_service().await;
    let post = async |body: Value| world.json("POST", "/services/s/plugins", body).await;
    let missing = post(json!({"name": "openid-connect"})).await;
    missing.assert_violation(json!({"config": {"issuer": "required field missing"}}));
    assert_eq!(missing.message(), "schema violation (config.issuer: required field missing)");
    post(json!({})).await.assert_violation(json!({"name": "required field missing"}));
    let unknown = post(json!({"name": "x"})).await;
    unknown.assert_violation(
        json!({"name": "plugin 'x' not enabled; add it to the 'plugins' configuration property"}),
    );
    let absent = post(json!({"name": "oauth2"})).await;
    absent.assert_violation(json!({"name": "plugin 'oauth2' is not implemented in this build"}));
    let with = async |field: &str, value: Value| {
        let mut config = config();
        config[field] = value;
        post(json!({"name": "openid-connect", "config": config})).await
    };
    with("x", json!(1)).await.assert_violation(json!({"config": {"x": "unknown field"}}));
    with("ssl_verify", json!("yes"))
        .await
        .assert_violation(json!({"config": {"ssl_verify": "expected a boolean"}}));
    let methods = with("auth_methods", json!(["nope"])).await;
    assert!(
        methods.body["fields"]["config"]["auth_methods"][0]
            .as_str()
            .unwrap()
            .starts_with("expected one of: password")
    );
    for (field, value) in [
        ("auth_methods", json!(["client_credentials", "kong_oauth2"])),
        ("token_exchange_endpoint", json!("https://a/")),
        ("client_auth", json!(["tls_client_auth"])),
        ("cluster_cache_strategy", json!("redis")),
    ] {
        let refused = with(field, value).await;
        let said = refused.body["fields"]["config"][field].to_string();
        assert!(refused.status == 400 && said.contains("implemented in this build"), "{field}: {refused:?}");
    }
    let password = with("auth_methods", json!(["password"])).await;
    password.assert_violation(json!({"config": {"client_id": "the method password needs it"}}));
    with("token_endpoint", json!("x")).await.assert_violation(json!({"config": {
        "token_endpoint": "an endpoint like this (this is no plain absolute URL) is not supported",
    }}));
    let consumer = post(json!({"name": "openid-connect", "config": config(), "consumer": {"id": "x"}})).await;
    consumer.assert_violation(json!({"consumer": "value must be null"}));
    let protocols = post(json!({"name": "openid-connect", "config": config(), "protocols": ["https"]})).await;
    assert!(protocols.message().contains("not implemented"), "{protocols:?}");
}

#[tokio::test]
async fn explicit_nulls_are_taken_as_tools_send_them() {
    let world = with_service().await;
    let made = world.form("POST", "/services/s/plugins", CONFIG).await;
    let mut echoed = made.body.clone();
    echoed["config"]["cache_tokens_salt"] = Value::Null;
    let put = world.json("PUT", &format!("/plugins/{}", made.id()), echoed).await;
    assert_eq!(put.status, 200, "{put:?}");
    assert_eq!(put.body, made.body, "what is written back is what was there, the generated salt too");
}

#[tokio::test]
async fn a_salt_is_made_once_for_each_plugin() {
    let world = with_service().await;
    let first = world.form("POST", "/services/s/plugins", CONFIG).await;
    let second = world.form("POST", "/routes/r/plugins", CONFIG).await;
    let salt = |told: &super::Told| told.body["config"]["cache_tokens_salt"].as_str().unwrap().to_owned();
    assert_eq!(salt(&first).len(), 32);
    assert_ne!(salt(&first), salt(&second));
    let patched = world.form("PATCH", &format!("/plugins/{}", first.id()), "config.timeout=5000").await;
    assert_eq!((salt(&patched), &patched.body["config"]["timeout"]), (salt(&first), &json!(5000)));
    let replaced = world.form("PUT", &format!("/plugins/{}", first.id()), CONFIG).await;
    assert_eq!((salt(&replaced), &replaced.body["config"]["timeout"]), (salt(&first), &json!(10_000)));
    let chosen =
        world.form("PATCH", &format!("/plugins/{}", first.id()), "config.cache_tokens_salt=mine").await;
    assert_eq!(salt(&chosen), "mine");
}

#[tokio::test]
async fn s02_secrets_of_a_config_are_sealed_at_rest_and_hidden_from_viewers() {
    let world = with_service().await;
    let body = format!("{CONFIG}&config.token_post_args_names=key&config.token_post_args_values=canary");
    let made = world.form("POST", "/services/s/plugins", &body).await;
    assert_eq!(made.body["config"]["token_post_args_values"], json!(["canary"]), "{made:?}");
    assert!(!world.stored("/").await.contains("canary"));
    let read = world.restarted().await.get(&format!("/plugins/{}", made.id())).await;
    assert_eq!(read.body["config"]["token_post_args_values"], json!(["canary"]));
    let entity = world.dialect.read().find(crate::Kind::Plugin, made.id()).unwrap().clone();
    assert_eq!(
        world.dialect.show(&world.dialect.read(), &entity, false)["config"]["token_post_args_values"],
        json!([null])
    );
}

#[tokio::test]
async fn plugins_go_with_what_they_stand_on() {
    let world = with_service().await;
    world.form("POST", "/routes/r/plugins", CONFIG).await;
    world.form("POST", "/services/s/plugins", CONFIG).await;
    assert_eq!(world.delete("/routes/r").await.status, 204);
    assert_eq!(world.get("/plugins").await.body["data"].as_array().unwrap().len(), 1);
    assert_eq!(world.delete("/services/s").await.status, 204);
    assert_eq!(world.get("/plugins").await.body["data"], json!([]));
    assert!(!world.stored("/portcullis/").await.contains("unique/kong/plugins"));
}

#[tokio::test]
async fn an_instance_name_stands_for_the_id() {
    let world = with_service().await;
    let made = world.form("POST", "/services/s/plugins", &format!("{CONFIG}&instance_name=mine")).await;
    assert_eq!(world.get("/plugins/mine").await.body, made.body);
    assert_eq!(world.get("/plugins/mine/service").await.body["name"], "s");
    assert_eq!(world.form("PATCH", "/plugins/mine", "enabled=false").await.body["enabled"], json!(false));
    assert_eq!(world.delete("/services/s/plugins/mine").await.status, 204);
    assert_eq!(world.get("/plugins/mine").await.status, 404);
}

#[tokio::test]
async fn a_global_plugin_is_not_found_below_a_service() {
    let world = with_service().await;
    let global = world.form("POST", "/plugins", CONFIG).await;
    for path in
        [format!("/services/s/plugins/{}", global.id()), format!("/services/none/plugins/{}", global.id())]
    {
        assert_eq!(world.get(&path).await.status, 404);
        assert_eq!(world.delete(&path).await.status, 404);
    }
    assert_eq!(world.get(&format!("/plugins/{}", global.id())).await.status, 200);
}
