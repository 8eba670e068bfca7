//! Roles and permissions, from the Management API into tokens.

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::world::{Answer, World};

const API: &str = "https://rbac.example.com/";

/// The claims of a JWT.
fn claims(token: &Value) -> Value {
    let payload = token.as_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn permissions(names: &[&str]) -> Value {
    let one = |name: &&str| json!({ "permission_name": name, "resource_server_identifier": API });
    json!({ "permissions": names.iter().map(one).collect::<Vec<_>>() })
}

fn names(answer: &Answer) -> Vec<String> {
    let items = answer.json();
    let items = items.as_array().unwrap_or_else(|| panic!("{}", answer.body)).iter();
    items.map(|item| item["permission_name"].as_str().unwrap().to_owned()).collect()
}

/// An administrator, the demo user's path, and an API that enforces its permissions.
struct Rbac {
    world: World,
    token: String,
    user: String,
}

impl Rbac {
    async fn new() -> Self {
        let world = World::new().await;
        let token = world.management_token("").await;
        let users = world.call(&token, "GET", "users", None).await.json();
        let user = format!("users/{}", users[0]["user_id"].as_str().unwrap().replace('|', "%7C"));
        let rbac = Self { world, token, user };
        let api = json!({
            "identifier": API, "name": "RBAC", "enforce_policies": true, "token_dialect": "access_token_authz",
            "scopes": [{ "value": "read:a", "description": "Read it" }, { "value": "write:a" }, { "value": "drop:a" }],
        });
        assert_eq!(rbac.call("POST", "resource-servers", Some(api)).await.status, StatusCode::CREATED);
        rbac
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.world.call(&self.token, method, path, body).await
    }

    async fn role(&self, name: &str, held: &[&str]) -> String {
        let role = self.call("POST", "roles", Some(json!({ "name": name, "description": "d" }))).await;
        assert_eq!(role.status, StatusCode::OK, "{}", role.body);
        let id = role.json()["id"].as_str().unwrap().to_owned();
        assert!(id.starts_with("rol_"));
        if !held.is_empty() {
            let path = format!("roles/{id}/permissions");
            let added = self.call("POST", &path, Some(permissions(held))).await;
            assert_eq!(added.status, StatusCode::CREATED, "{}", added.body);
        }
        id
    }

    /// Logs the demo user in for the API and redeems the code.
    async fn tokens(&self, scope: &str) -> Value {
        let mut agent = self.world.agent();
        let code = agent.code(&[("audience", API), ("scope", scope)]).await;
        let answer = self.world.redeem(&code).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.json()
    }
}

#[tokio::test]
async fn a_role_is_made_found_changed_and_deleted() {
    let rbac = Rbac::new().await;
    let id = rbac.role("Admin", &[]).await;
    let again = rbac.call("POST", "roles", Some(json!({ "name": "Admin" }))).await;
    assert_eq!(
        (again.status, &again.json()["errorCode"]),
        (StatusCode::CONFLICT, &json!("resource_conflict"))
    );
    rbac.role("Reader", &[]).await;
    let found = rbac.call("GET", "roles?name_filter=adm&include_totals=true&type=tenant", None).await.json();
    assert_eq!((&found["total"], &found["roles"][0]["id"]), (&json!(1), &json!(id)), "{found}");
    let path = format!("roles/{id}");
    let changed = rbac.call("PATCH", &path, Some(json!({ "description": "Everything" }))).await.json();
    assert_eq!(changed, json!({ "id": id, "name": "Admin", "description": "Everything" }));
    let clash = rbac.call("PATCH", &path, Some(json!({ "name": "Reader" }))).await;
    assert_eq!(clash.status, StatusCode::CONFLICT, "{}", clash.body);
    assert_eq!(rbac.call("DELETE", &path, None).await.status, StatusCode::OK);
    for method in ["GET", "DELETE"] {
        let gone = rbac.call(method, &path, None).await;
        assert_eq!(
            (gone.status, &gone.json()["errorCode"]),
            (StatusCode::NOT_FOUND, &json!("inexistent_role"))
        );
    }
}

#[tokio::test]
async fn tokens_carry_what_the_user_holds_and_no_scope_beyond() {
    let rbac = Rbac::new().await;
    let none = rbac.tokens("openid read:a write:a").await;
    assert_eq!(none["scope"], "openid");
    assert_eq!(claims(&none["access_token"])["permissions"], json!([]));

    let reader = rbac.role("Reader", &["read:a"]).await;
    let roles = format!("{}/roles", rbac.user);
    let assigned = rbac.call("POST", &roles, Some(json!({ "roles": [reader] }))).await;
    assert_eq!(assigned.status, StatusCode::NO_CONTENT, "{}", assigned.body);
    let direct = format!("{}/permissions", rbac.user);
    assert_eq!(rbac.call("POST", &direct, Some(permissions(&["drop:a"]))).await.status, StatusCode::CREATED);

    // Everything held is told; only what was asked for is a scope.
    let some = rbac.tokens("openid read:a write:a offline_access").await;
    let access = claims(&some["access_token"]);
    assert_eq!(access["permissions"], json!(["drop:a", "read:a"]));
    assert_eq!(access["scope"].as_str().unwrap().split(' ').collect::<Vec<_>>(), ["openid", "read:a"]);

    let listed = rbac.call("GET", &roles, None).await.json();
    assert_eq!(listed[0]["id"], reader.as_str());
    let held = rbac.call("GET", &direct, None).await;
    assert_eq!(names(&held), ["drop:a", "read:a"]);
    let sources = |n: usize| held.json()[n]["sources"][0]["source_type"].clone();
    assert_eq!((sources(0), sources(1)), (json!("DIRECT"), json!("ROLE")));
    assert_eq!(held.json()[1]["sources"][0]["source_id"], reader.as_str());
    assert_eq!(held.json()[1]["resource_server_name"], "RBAC");

    let members = rbac.call("GET", &format!("roles/{reader}/users?include_totals=true"), None).await.json();
    assert_eq!((&members["total"], &members["users"][0]["email"]), (&json!(1), &json!("demo@example.com")));
}

#[tokio::test]
async fn a_refreshed_token_has_what_is_held_by_then() {
    let rbac = Rbac::new().await;
    let api = format!("resource-servers/{}", API.replace('/', "%2F"));
    let opened = rbac.call("PATCH", &api, Some(json!({ "allow_offline_access": true }))).await;
    assert_eq!(opened.status, StatusCode::OK, "{}", opened.body);
    let role = rbac.role("Writer", &["read:a", "write:a"]).await;
    let added =
        rbac.call("POST", &format!("roles/{role}/users"), Some(json!({ "users": [rbac.id()] }))).await;
    assert_eq!(added.status, StatusCode::OK, "{}", added.body);
    let first = rbac.tokens("openid offline_access read:a write:a").await;
    assert_eq!(claims(&first["access_token"])["permissions"], json!(["read:a", "write:a"]));

    let taken =
        rbac.call("DELETE", &format!("roles/{role}/permissions"), Some(permissions(&["write:a"]))).await;
    assert_eq!(taken.status, StatusCode::NO_CONTENT, "{}", taken.body);
    let refresh = |token: Value| {
        let world = &rbac.world;
        async move {
            let token = token.as_str().unwrap().to_owned();
            world.token(&[("grant_type", "refresh_token"), ("refresh_token", &token)]).await.json()
        }
    };
    let second = refresh(first["refresh_token"].clone()).await;
    let access = claims(&second["access_token"]);
    assert_eq!(access["permissions"], json!(["read:a"]), "{second}");
    assert!(!access["scope"].as_str().unwrap().contains("write:a"));

    // A scope that its API loses is nobody's, also when it comes back.
    for scopes in [json!([{ "value": "write:a" }]), json!([{ "value": "read:a" }, { "value": "write:a" }])] {
        assert_eq!(rbac.call("PATCH", &api, Some(json!({ "scopes": scopes }))).await.status, StatusCode::OK);
    }
    let third = refresh(second["refresh_token"].clone()).await;
    assert_eq!(claims(&third["access_token"])["permissions"], json!([]), "{third}");
    assert_eq!(
        names(&rbac.call("GET", &format!("roles/{role}/permissions"), None).await),
        Vec::<String>::new()
    );
}

impl Rbac {
    fn id(&self) -> String {
        self.user.trim_start_matches("users/").replace("%7C", "|")
    }
}

#[tokio::test]
async fn machines_get_their_granted_scopes_as_permissions() {
    let rbac = Rbac::new().await;
    let grant =
        json!({ "client_id": rbac.world.seeded.client_id, "audience": API, "scope": ["read:a", "write:a"] });
    assert_eq!(rbac.call("POST", "client-grants", Some(grant)).await.status, StatusCode::CREATED);
    let issued = rbac.world.token(&[("grant_type", "client_credentials"), ("audience", API)]).await.json();
    assert_eq!(claims(&issued["access_token"])["permissions"], json!(["read:a", "write:a"]));
}

#[tokio::test]
async fn o43_what_does_not_exist_or_is_an_administrators_is_given_to_nobody() {
    let rbac = Rbac::new().await;
    let role = rbac.role("Some", &["read:a"]).await;
    let management = json!({ "permissions": [{
        "permission_name": "read:users", "resource_server_identifier": "http://localhost:9400/api/v2/",
    }] });
    let (by_role, by_user) = (format!("roles/{role}/permissions"), format!("{}/permissions", rbac.user));
    let (of_user, members) = (format!("{}/roles", rbac.user), format!("roles/{role}/users"));
    let unknown_api =
        json!({ "permissions": [{ "permission_name": "read:a", "resource_server_identifier": "urn:no" }] });
    let extra = json!({ "permissions": [{
        "permission_name": "read:a", "resource_server_identifier": API, "evil": 1 }] });
    let many = json!({ "roles": vec!["rol_x"; 2000] });
    let cases = [
        ("POST", by_role.as_str(), permissions(&["nope"]), 400),
        ("POST", &by_role, permissions(&["read:a", "nope"]), 400),
        ("POST", &by_role, permissions(&[]), 400),
        ("POST", &by_role, json!({ "permissions": {} }), 400),
        ("POST", &by_role, json!({ "permissions": ["read:a"] }), 400),
        ("POST", &by_role, json!({}), 400),
        ("POST", &by_role, json!({ "permissions": [], "evil": 1 }), 400),
        ("POST", &by_role, extra, 400),
        ("POST", &by_role, unknown_api.clone(), 404),
        ("POST", &by_role, management.clone(), 403),
        ("POST", "roles/rol_no/permissions", permissions(&["read:a"]), 404),
        ("POST", &by_user, management, 403),
        ("POST", &by_user, unknown_api, 404),
        ("POST", "users/auth0%7Cno/permissions", permissions(&["read:a"]), 404),
        ("DELETE", &by_user, json!({ "permissions": "x" }), 400),
        ("POST", &of_user, json!({ "roles": [role, "rol_no"] }), 404),
        ("POST", &of_user, json!({ "roles": [1] }), 400),
        ("POST", &of_user, json!({ "roles": [] }), 400),
        ("POST", &of_user, many, 400),
        ("DELETE", &of_user, json!({ "rolls": ["x"] }), 400),
        ("POST", &members, json!({ "users": ["auth0|no"] }), 404),
        ("POST", &members, json!({ "users": [rbac.id(), "auth0|no"] }), 404),
        ("POST", "roles", json!({ "name": "" }), 400),
        ("POST", "roles", json!({ "name": "x".repeat(51) }), 400),
        ("POST", "roles", json!({ "name": "x", "type": "organization" }), 403),
        ("POST", "roles", json!({ "name": "x", "id": "rol_mine" }), 400),
    ];
    for (method, path, body, status) in cases {
        let answer = rbac.call(method, path, Some(body.clone())).await;
        let shown: String = body.to_string().chars().take(100).collect();
        assert_eq!(answer.status.as_u16(), status, "{method} {path} {shown}: {}", answer.body);
        assert_eq!(answer.json()["statusCode"], status);
    }
    // None of them left anything.
    assert_eq!(names(&rbac.call("GET", &by_role, None).await), ["read:a"]);
    assert_eq!(rbac.call("GET", &by_user, None).await.json(), json!([]));
    assert_eq!(rbac.call("GET", &of_user, None).await.json(), json!([]));
    assert_eq!(rbac.call("GET", &members, None).await.json(), json!([]));
    assert_eq!(rbac.call("GET", "roles?include_totals=true", None).await.json()["total"], 1);
}
