//! Bodies that the Management API refuses, and its words for them.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::world::World;

/// An administrator.
struct Desk {
    world: World,
    token: String,
}

impl Desk {
    async fn new() -> Self {
        let world = World::new().await;
        let token = world.management_token("").await;
        Self { world, token }
    }

    /// What is said of a body, which is refused.
    async fn refused(&self, method: &str, path: &str, body: Value) -> String {
        let answer = self.world.call(&self.token, method, path, Some(body)).await;
        let told = answer.json();
        assert_eq!(
            (answer.status, &told["errorCode"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_body")),
            "{told}"
        );
        told["message"].as_str().unwrap().to_owned()
    }

    async fn made(&self, path: &str, body: Value) -> Value {
        let answer = self.world.call(&self.token, "POST", path, Some(body)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        answer.json()
    }
}

#[tokio::test]
async fn s04_a_body_of_the_wrong_shape_is_told_in_auth0s_words_and_never_quoted() {
    let desk = Desk::new().await;
    let cases = [
        ("clients", json!({ "name": 5 }), "Expected type string but found type integer", "name"),
        (
            "clients",
            json!({ "name": "x", "callbacks": "canary" }),
            "Expected type array but found type string",
            "callbacks",
        ),
        (
            "clients",
            json!({ "name": "x", "callbacks": [true] }),
            "Expected type string but found type boolean",
            "callbacks[0]",
        ),
        (
            "clients",
            json!({ "name": "x", "is_first_party": "canary" }),
            "Expected type boolean but found type string",
            "is_first_party",
        ),
        (
            "clients",
            json!({ "name": "x", "jwt_configuration": { "lifetime_in_seconds": "canary" } }),
            "Expected type integer but found type string",
            "jwt_configuration.lifetime_in_seconds",
        ),
        (
            "clients",
            json!({ "name": "x", "app_type": "canary" }),
            "No enum match, must be one of: native, spa, regular_web, non_interactive",
            "app_type",
        ),
        (
            "resource-servers",
            json!({ "identifier": "urn:x", "scopes": ["canary"] }),
            "Expected type object but found type string",
            "scopes[0]",
        ),
        (
            "resource-servers",
            json!({ "identifier": "urn:x", "scopes": "canary" }),
            "Expected type array but found type string",
            "scopes",
        ),
        (
            "resource-servers",
            json!({ "identifier": "urn:x", "scopes": [{ "description": "d" }] }),
            "Missing required property: value",
            "scopes[0]",
        ),
    ];
    for (path, body, why, member) in cases {
        let told = desk.refused("POST", path, body).await;
        assert_eq!(told, format!("Payload validation error: '{why}' on property {member}."));
    }
    for (path, body) in [
        ("clients", json!({ "name": "x", "callbacks": ["javascript:canary"] })),
        ("clients", json!({ "name": "x", "grant_types": ["canary"] })),
        ("users", json!({ "connection": "canary", "email": "a@example.com", "password": "canary" })),
        (
            "client-grants",
            json!({ "client_id": desk.world.seeded.client_id, "audience": desk.world.seeded.audience, "scope": ["canary"] }),
        ),
    ] {
        let told = desk.refused("POST", path, body).await;
        assert!(!told.contains("canary") && !told.contains("struct"), "{told}");
    }
}

#[tokio::test]
async fn an_api_has_no_scope_twice() {
    let desk = Desk::new().await;
    let scopes = json!([{ "value": "a" }, { "value": "b" }, { "value": "a", "description": "again" }]);
    let told =
        desk.refused("POST", "resource-servers", json!({ "identifier": "urn:x", "scopes": scopes })).await;
    assert!(told.ends_with("on property scopes[2].value."), "{told}");
    let api =
        desk.made("resource-servers", json!({ "identifier": "urn:x", "scopes": [{ "value": "a" }] })).await;
    let path = format!("resource-servers/{}", api["id"].as_str().unwrap());
    desk.refused("PATCH", &path, json!({ "scopes": scopes })).await;
}

#[tokio::test]
async fn a_connection_is_enabled_for_clients_that_exist() {
    let desk = Desk::new().await;
    let id = desk.made("clients", json!({ "name": "Short-lived" })).await["client_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let body = json!({ "name": "db", "strategy": "auth0", "enabled_clients": [id, "nope"] });
    let told = desk.refused("POST", "connections", body).await;
    assert!(told.ends_with("on property enabled_clients[1]."), "{told}");
    let body = json!({ "name": "db", "strategy": "auth0", "enabled_clients": [id] });
    let made = desk.made("connections", body).await;
    let path = format!("connections/{}", made["id"].as_str().unwrap());
    desk.refused("PATCH", &path, json!({ "enabled_clients": ["nope"] })).await;
    desk.refused("PATCH", &format!("{path}/clients"), json!([{ "client_id": "nope", "status": true }])).await;
    // Who is gone can be taken off, and is.
    let off = json!([{ "client_id": "nope", "status": false }]);
    let answer = desk.world.call(&desk.token, "PATCH", &format!("{path}/clients"), Some(off)).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    desk.world.call(&desk.token, "DELETE", &format!("clients/{id}"), None).await;
    let read = desk.world.call(&desk.token, "GET", &path, None).await.json();
    assert_eq!(read["enabled_clients"], json!([]));
}
