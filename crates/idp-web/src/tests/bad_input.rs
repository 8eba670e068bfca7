//! Bad input at every call of the Management API: refused in its shape, never a 5xx, and nothing is left.

use axum::http::Method;
use serde_json::{Value, json};

use super::world::{Payload, World};
use crate::management::{ROUTES, Route};

/// Things that exist, so that it is not the id that is refused.
struct Ids {
    client: String,
    api: String,
    grant: String,
    connection: String,
    user: String,
    role: String,
}

impl Ids {
    async fn of(world: &World, token: &str) -> Self {
        let first = async |path: &str, member: &str| {
            let items = world.call(token, "GET", path, None).await.json();
            items[0][member].as_str().unwrap_or_else(|| panic!("{path}: {items}")).to_owned()
        };
        let role = world.call(token, "POST", "roles", Some(json!({ "name": "Some" }))).await.json();
        Self {
            client: world.seeded.client_id.clone(),
            api: world.seeded.audience.replace('/', "%2F"),
            grant: first("client-grants", "id").await,
            connection: first("connections", "id").await,
            user: first("users", "user_id").await.replace('|', "%7C"),
            role: role["id"].as_str().unwrap().to_owned(),
        }
    }

    fn path(&self, route: &Route) -> String {
        let id = match route.path.first().copied().unwrap_or_default() {
            "clients" => &self.client,
            "resource-servers" => &self.api,
            "client-grants" => &self.grant,
            "connections" => &self.connection,
            "users" | "user-blocks" => &self.user,
            "roles" => &self.role,
            _ => "x",
        };
        route
            .path
            .iter()
            .map(|segment| if *segment == "*" { id } else { segment })
            .collect::<Vec<_>>()
            .join("/")
    }
}

/// Everything that administrators can read, without what the calls themselves leave in logs.
async fn everything(world: &World, token: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for path in
        ["clients", "resource-servers", "client-grants", "connections", "users", "roles", "tenants/settings"]
    {
        all.push(world.call(token, "GET", path, None).await.json());
    }
    all
}

#[tokio::test]
async fn a09_a15_bodies_that_are_no_good_change_nothing_and_break_nothing() {
    let world = World::new().await;
    let token = world.management_token("").await;
    let ids = Ids::of(&world, &token).await;
    let before = everything(&world, &token).await;
    let deep = (0..30).fold(json!(1), |inner, _| json!({ "a": inner }));
    let bodies = [
        json!({ "evil": 1 }),
        json!({ "name": {}, "evil": [] }),
        json!({ "name": ["x"] }),
        json!({ "id": "chosen" }),
        json!({ "user_id": 5 }),
        json!({ "roles": "x" }),
        json!({ "roles": [{}], "users": [{}], "permissions": [[]] }),
        json!({ "__proto__": { "x": 1 }, "constructor": 1 }),
        json!({ "name": "x".repeat(100_000) }),
        json!({ "scope": ["a b", "\"", "\u{1f4a9}"], "audience": 1 }),
        json!({ "flags": { "evil": true } }),
        json!({ "options": { "validation": [1, 2] } }),
        json!({ "session_lifetime": 1e300 }),
        json!({ "token_lifetime": -1 }),
        json!({ "callbacks": [null] }),
        json!({ "nested": deep }),
        json!("text"),
        json!(5),
        json!([[]]),
        json!(null),
    ];
    for route in
        ROUTES.iter().filter(|route| matches!(route.method, Method::POST | Method::PATCH | Method::PUT))
    {
        let path = ids.path(route);
        // These need no body, and do what they are for.
        if ["rotate-secret", "rotate", "revoke", "revoke-access"].iter().any(|last| path.ends_with(last)) {
            continue;
        }
        for body in &bodies {
            let answer = world.call(&token, route.method.as_str(), &path, Some(body.clone())).await;
            let shown: String = body.to_string().chars().take(80).collect();
            assert!(answer.status.is_client_error(), "{} {path} {shown}: {answer:?}", route.method);
            let error = answer.json();
            assert_eq!(error["statusCode"], answer.status.as_u16(), "{path} {shown}: {}", answer.body);
            assert!(error["message"].is_string() && answer.body.len() < 4096, "{path} {shown}");
        }
        let raw: [(&str, &[u8]); 5] = [
            ("application/json", b"{\"name\":\"a\",\"name\":\"b\"}"),
            ("application/json", b"{\"name\":1e400}"),
            ("application/json", b"\xef\xbb\xbf{}"),
            ("application/json", b"{\"name\":NaN}"),
            ("multipart/form-data; boundary=x", b"--x--"),
        ];
        for (kind, bytes) in raw {
            let mut agent = world.agent();
            agent.extra.push(("authorization", format!("Bearer {token}")));
            let target = format!("/api/v2/{path}");
            let answer =
                agent.send(route.method.clone(), &target, Some(Payload::Raw(kind, bytes.to_vec()))).await;
            let shown = String::from_utf8_lossy(bytes);
            assert!(answer.status.is_client_error(), "{} {path} {shown}: {answer:?}", route.method);
        }
    }
    assert_eq!(everything(&world, &token).await, before);
}

#[tokio::test]
async fn a11_ids_and_queries_that_are_no_good_are_refused_at_every_call() {
    let world = World::new().await;
    let token = world.management_token("").await;
    let long = "x".repeat(3000);
    let ids =
        ["..%2F..%2Fx", "%00", "%ff", "'%20OR%201=1--", "%E2%80%AE", "%F0%9F%92%A9", "%0d%0aX:1", &long];
    for route in ROUTES.iter().filter(|route| route.path.contains(&"*")) {
        for id in ids {
            let path: Vec<&str> =
                route.path.iter().map(|part| if *part == "*" { id } else { part }).collect();
            let path = path.join("/");
            let answer = world.call(&token, route.method.as_str(), &path, Some(json!({ "x": 1 }))).await;
            assert!(answer.status.is_client_error() || route.method == Method::DELETE, "{path}: {answer:?}");
            assert!(!answer.status.is_server_error(), "{path}: {answer:?}");
        }
    }
    let queries = [
        "per_page=-1",
        "page=99999999999",
        "evil=1",
        "take=x",
        "fields=%00",
        "a=%ff",
        "include_totals=2",
        "&&=&",
    ];
    for route in ROUTES.iter().filter(|route| route.method == Method::GET && !route.path.contains(&"*")) {
        for query in queries {
            let path = format!("{}?{query}", route.path.join("/"));
            let answer = world.call(&token, "GET", &path, None).await;
            assert!(!answer.status.is_server_error(), "{path}: {answer:?}");
        }
    }
}
