//! Services by every verb.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::World;

#[tokio::test]
async fn a_service_is_made_with_every_field_and_read_by_id_and_name() {
    let world = World::new().await;
    let made =
        world.json("POST", "/services", json!({"name": "s", "url": "http://example.com:8080/api"})).await;
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.id().to_owned();
    assert_eq!(
        made.body,
        json!({
            "id": id, "created_at": 1_800_000_000, "updated_at": 1_800_000_000, "name": "s", "retries": 5, "protocol": "http",
            "host": "example.com", "port": 8080, "path": "/api", "connect_timeout": 60_000, "write_timeout": 60_000,
            "read_timeout": 60_000, "tags": null, "client_certificate": null, "tls_verify": null, "tls_verify_depth": null,
            "ca_certificates": null, "enabled": true,
        })
    );
    for path in [
        format!("/services/{id}"),
        "/services/s".to_owned(),
        "/services/s/".to_owned(),
        "/default/services/s".to_owned(),
    ] {
        let read = world.get(&path).await;
        assert_eq!((read.status, &read.body), (200, &made.body), "{path}");
    }
    assert_eq!(world.get("/services/t").await.body, json!({"message": "Not found"}));
}

#[tokio::test]
async fn a_form_makes_the_same_service() {
    let world = World::new().await;
    let made = world
        .form(
            "POST",
            "/services",
            "name=s&url=https%3A%2F%2Fexample.com&retries=3&tags=a&tags=b&enabled=true",
        )
        .await;
    assert_eq!(made.status, 201, "{made:?}");
    let of = |name: &str| made.body[name].clone();
    assert_eq!((of("protocol"), of("port"), of("path")), (json!("https"), json!(443), Value::Null));
    assert_eq!((of("retries"), of("tags"), of("enabled")), (json!(3), json!(["a", "b"]), json!(true)));
}

#[tokio::test]
async fn what_is_wrong_is_named_and_nothing_is_written() {
    let world = World::new().await;
    let post = async |body: Value| world.json("POST", "/services", body).await;
    let missing = post(json!({})).await;
    missing.assert_violation(json!({"host": "required field missing"}));
    assert_eq!(missing.message(), "schema violation (host: required field missing)");
    let two = post(json!({"host": 1, "x": 2})).await;
    two.assert_violation(json!({"host": "expected a string", "x": "unknown field"}));
    assert_eq!(two.message(), "2 schema violations (host: expected a string; x: unknown field)");
    post(json!({"host": "a", "port": 70_000}))
        .await
        .assert_violation(json!({"port": "value should be between 0 and 65535"}));
    post(json!({"host": "a", "port": "80"})).await.assert_violation(json!({"port": "expected an integer"}));
    post(json!({"host": "a", "path": "x"})).await.assert_violation(json!({"path": "should start with: /"}));
    post(json!({"host": "a", "id": "x"})).await.assert_violation(json!({"id": "expected a valid UUID"}));
    post(json!({"host": "a b"})).await.assert_violation(json!({"host": "invalid value: a b"}));
    post(json!({"host": null})).await.assert_violation(json!({"host": "required field missing"}));
    let unbuilt = post(json!({"host": "a", "protocol": "tcp", "tls_verify_depth": 2})).await;
    assert!(unbuilt.body["fields"]["protocol"].as_str().unwrap().contains("not implemented"));
    assert!(unbuilt.body["fields"]["tls_verify_depth"].as_str().unwrap().contains("not implemented"));
    post(json!({"url": "https://a", "ca_certificates": ["x"]}))
        .await
        .assert_violation(json!({"ca_certificates": ["expected a valid UUID"]}));
    assert_eq!(world.get("/services").await.body, json!({"data": [], "next": null}));
    assert_eq!(world.stored("/portcullis/").await, "");
}

#[tokio::test]
async fn names_are_unique_and_ids_too() {
    let world = World::new().await;
    let first = world.json("POST", "/services", json!({"name": "s", "host": "a"})).await;
    let clash = world.json("POST", "/services", json!({"name": "s", "host": "b"})).await;
    assert_eq!(clash.status, 409);
    assert_eq!(
        clash.body,
        json!({
            "code": 5, "name": "unique constraint violation", "message": "UNIQUE violation detected on '{name=\"s\"}'",
            "fields": {"name": "s"},
        })
    );
    let same_id = world.json("POST", "/services", json!({"id": first.id(), "host": "b"})).await;
    assert_eq!((same_id.status, &same_id.body["code"]), (400, &json!(3)));
    world.json("PATCH", "/services/s", json!({"name": "t"})).await;
    assert_eq!(
        world.json("POST", "/services", json!({"name": "s", "host": "b"})).await.status,
        201,
        "the name is free again"
    );
    assert_eq!(world.json("PATCH", "/services/t", json!({"name": "s"})).await.status, 409);
}

#[tokio::test]
async fn put_makes_or_replaces_and_always_says_200() {
    let world = World::new().await;
    let id = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
    let made = world.json("PUT", &format!("/services/{id}"), json!({"host": "a", "retries": 1})).await;
    assert_eq!((made.status, made.id()), (200, id));
    world.clock.advance(std::time::Duration::from_secs(5));
    let replaced = world.json("PUT", &format!("/services/{id}"), json!({"host": "b"})).await;
    assert_eq!(
        (replaced.status, &replaced.body["retries"], &replaced.body["host"]),
        (200, &json!(5), &json!("b"))
    );
    assert_eq!(
        (&replaced.body["created_at"], &replaced.body["updated_at"]),
        (&json!(1_800_000_000), &json!(1_800_000_005))
    );
    let by_name = world.json("PUT", "/services/n", json!({"host": "c"})).await;
    assert_eq!((by_name.status, &by_name.body["name"]), (200, &json!("n")));
    let again = world.json("PUT", "/services/n", json!({"host": "d"})).await;
    assert_eq!((again.id(), &again.body["name"]), (by_name.id(), &json!("n")));
    assert_eq!(world.get("/services").await.body["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn patch_changes_what_it_names_and_needs_something_to_change() {
    let world = World::new().await;
    world.json("POST", "/services", json!({"name": "s", "url": "http://a/x", "tags": ["t"]})).await;
    let patched = world.json("PATCH", "/services/s", json!({"retries": 0, "path": null})).await;
    assert_eq!(patched.status, 200, "{patched:?}");
    let of = |name: &str| patched.body[name].clone();
    assert_eq!(
        (of("retries"), of("path"), of("host"), of("tags")),
        (json!(0), Value::Null, json!("a"), json!(["t"]))
    );
    assert_eq!(
        world.json("PATCH", "/services/none", json!({"retries": 0})).await.body,
        json!({"message": "Not found"})
    );
    world
        .json("PATCH", "/services/s", json!({"host": null}))
        .await
        .assert_violation(json!({"host": "required field missing"}));
    assert_eq!(world.get("/services/s").await.body, patched.body);
}

#[tokio::test]
async fn delete_says_204_also_of_what_is_not_there_but_not_of_what_is_in_use() {
    let world = World::new().await;
    world.json("POST", "/services", json!({"name": "s", "host": "a"})).await;
    world.json("POST", "/services/s/routes", json!({"name": "r", "paths": ["/"]})).await;
    let used = world.delete("/services/s").await;
    assert_eq!(used.status, 400);
    assert_eq!(
        (&used.body["code"], used.message()),
        (&json!(4), "an existing 'routes' entity references this 'services' entity")
    );
    assert_eq!(used.body["fields"], json!({"@referenced_by": "routes"}));
    assert_eq!(world.delete("/routes/r").await.status, 204);
    assert_eq!(world.raw("DELETE", "/services/s", "text/plain", "x").await.status, 204);
    assert_eq!(world.delete("/services/s").await.status, 204);
    assert_eq!(world.get("/services/s").await.status, 404);
    let left = world.stored("/portcullis/").await;
    assert!(!left.contains("unique/kong") && !left.contains("refs/kong/services"), "{left}");
}

#[tokio::test]
async fn numbers_without_a_fraction_are_integers() {
    let world = World::new().await;
    let made = world.raw("POST", "/services", "application/json", r#"{"host":"a","port":81.0}"#).await;
    assert_eq!((made.status, &made.body["port"]), (201, &json!(81)));
}

#[tokio::test]
async fn a16_of_parallel_writes_each_is_whole_and_one_wins() {
    let world = World::new().await;
    let posts =
        (0..50).map(|at| world.json("POST", "/services", json!({"name": "s", "host": format!("h{at}")})));
    let told = join_all(posts).await;
    assert_eq!(told.iter().filter(|told| told.status == 201).count(), 1);
    assert_eq!(told.iter().filter(|told| told.status == 409).count(), 49);
    let patches = (0..50)
        .map(|at| world.json("PATCH", "/services/s", json!({"tags": [format!("t{at}")], "retries": at})));
    assert!(join_all(patches).await.iter().all(|told| told.status == 200));
    let last = world.get("/services/s").await.body;
    assert_eq!(last["tags"], json!([format!("t{}", last["retries"])]), "{last}");
}
