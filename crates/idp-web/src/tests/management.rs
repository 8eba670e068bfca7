//! The Management API.

use axum::http::{Method, StatusCode};
use idp::management::MANAGEMENT_SCOPES;
use serde_json::{Value, json};

use super::world::{Answer, HTTP, HTTPS, Payload, World};
use crate::management::{ROUTES, Route};

#[track_caller]
fn is_refused(answer: &Answer, status: u16, code: &str) {
    let body = answer.json();
    assert_eq!((answer.status.as_u16(), body["errorCode"].as_str()), (status, Some(code)), "{}", answer.body);
    assert_eq!(body["statusCode"], status);
    assert!(body["error"].is_string() && body["message"].is_string());
}

fn path_of(route: &Route) -> String {
    route.path.iter().map(|segment| if *segment == "*" { "x" } else { segment }).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn o42_every_route_is_closed_to_every_other_scope() {
    let world = World::new().await;
    for route in ROUTES {
        let others: Vec<_> =
            MANAGEMENT_SCOPES.iter().filter(|scope| !route.scopes.contains(scope)).copied().collect();
        let token = world.management_token(&others.join(" ")).await;
        let answer = world.call(&token, route.method.as_str(), &path_of(route), Some(json!({}))).await;
        is_refused(&answer, 403, "insufficient_scope");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert_eq!(message, format!("Insufficient scope, expected any of: {}", route.scopes.join(",")));
    }
}

#[tokio::test]
async fn o42_every_route_is_open_to_each_of_its_scopes() {
    let world = World::new().await;
    for route in ROUTES {
        for scope in route.scopes {
            let token = world.management_token(scope).await;
            let answer = world.call(&token, route.method.as_str(), &path_of(route), Some(json!([]))).await;
            assert!(
                answer.status != StatusCode::FORBIDDEN && answer.status.as_u16() < 500,
                "{scope}: {answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn tokens_that_do_not_count_are_401() {
    let world = World::new().await;
    let grant = [("grant_type", "client_credentials"), ("audience", world.seeded.audience.as_str())];
    let foreign = world.token(&grant).await.json()["access_token"].as_str().unwrap().to_owned();
    let cases = [
        (None, "Missing authentication"),
        (Some("Bearer x".to_owned()), "Invalid token"),
        (Some(format!("Bearer {foreign}")), ""),
        (Some("Basic YTpi".to_owned()), ""),
    ];
    for (header, message) in cases {
        let mut agent = world.agent();
        agent.extra.extend(header.map(|header| ("authorization", header)));
        let answer = agent.get("/api/v2/clients").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", answer.body);
        assert_eq!(answer.json()["error"], "Unauthorized");
        assert!(answer.json()["message"].as_str().unwrap().contains(message), "{}", answer.body);
        assert!(answer.header("www-authenticate").is_some());
    }
    let token = world.management_token("read:clients").await;
    world.clock.advance(std::time::Duration::from_secs(31 * 86_400));
    assert_eq!(world.call(&token, "GET", "clients", None).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn what_is_not_supported_looks_like_a_missing_scope() {
    let world = World::new().await;
    let token = world.management_token("").await;
    for (method, path, scope) in [
        ("GET", "rules?per_page=50", "read:rules"),
        ("GET", "log-streams", "read:log_streams"),
        ("POST", "organizations", "create:organizations"),
        ("PATCH", "attack-protection/brute-force-protection", "update:attack_protection"),
        ("DELETE", "actions/actions/x", "delete:actions"),
        ("PUT", "clients", "update:clients"),
        ("GET", "", "read:"),
    ] {
        let answer = world.call(&token, method, path, None).await;
        is_refused(&answer, 403, "insufficient_scope");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert_eq!(message, format!("Insufficient scope, expected any of: {scope}"));
    }
}

#[tokio::test]
async fn a_client_is_made_read_changed_and_deleted() {
    let world = World::new().await;
    let token = world.management_token("").await;
    let created = world.call(&token, "POST", "clients", Some(json!({ "name": "New" }))).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
    let client = created.json();
    let id = client["client_id"].as_str().unwrap();
    assert_eq!((id.len(), client["client_secret"].as_str().unwrap().len()), (32, 64));
    let path = format!("clients/{id}");
    let blind = world.management_token("read:clients").await;
    let read = world.call(&blind, "GET", &path, None).await.json();
    assert_eq!((&read["name"], read.get("client_secret")), (&json!("New"), None));
    assert_eq!(world.call(&token, "GET", &path, None).await.json()["client_secret"], client["client_secret"]);
    let chosen = world.call(&blind, "GET", &format!("{path}?fields=name,client_id"), None).await.json();
    assert_eq!(chosen, json!({ "client_id": id, "name": "New" }));

    let patch = json!({ "callbacks": ["https://app.example.com/cb"], "description": "d" });
    let changed = world.call(&token, "PATCH", &path, Some(patch)).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.body);
    assert_eq!(changed.json()["callbacks"], json!(["https://app.example.com/cb"]));
    let rotated = world.call(&token, "POST", &format!("{path}/rotate-secret"), None).await;
    assert_eq!(rotated.status, StatusCode::OK);
    assert_ne!(rotated.json()["client_secret"], client["client_secret"]);
    assert_eq!(world.call(&token, "DELETE", &path, None).await.status, StatusCode::NO_CONTENT);
    is_refused(&world.call(&token, "GET", &path, None).await, 404, "inexistent_client");
}

#[tokio::test]
async fn lists_have_three_shapes_and_one_global_client() {
    let world = World::new().await;
    let token = world.management_token("").await;
    let all = world.call(&token, "GET", "clients", None).await.json();
    assert!(all.as_array().unwrap().len() >= 2);
    let totals =
        world.call(&token, "GET", "clients?include_totals=true&per_page=1&page=1", None).await.json();
    assert_eq!((&totals["start"], &totals["limit"]), (&json!(1), &json!(1)));
    assert_eq!(totals["clients"].as_array().unwrap().len(), 1);
    assert!(totals["total"].as_u64().unwrap() >= 2);
    for (path, key) in [
        ("connections", "connections"),
        ("client-grants", "client_grants"),
        ("resource-servers", "resource_servers"),
    ] {
        let part =
            world.call(&token, "GET", &format!("{path}?take=1&include_totals=true"), None).await.json();
        assert_eq!(part[key].as_array().unwrap().len(), 1, "{part}");
        assert!(part.get("total").is_none());
    }
    let global = world.call(&token, "GET", "clients?is_global=true&include_totals=true", None).await.json();
    assert_eq!(global["clients"].as_array().unwrap().len(), 1, "{global}");
    assert_eq!(
        (&global["clients"][0]["name"], &global["clients"][0]["global"]),
        (&json!("All Applications"), &json!(true))
    );
    for bad in ["per_page=101", "page=x", "nothing=1", "take=1000", "per_page=1&per_page=2"] {
        is_refused(
            &world.call(&token, "GET", &format!("clients?{bad}"), None).await,
            400,
            "invalid_query_string",
        );
    }
}

#[tokio::test]
async fn an_api_is_found_by_id_and_by_its_encoded_identifier() {
    let world = World::new().await;
    let token = world.management_token("").await;
    let body = json!({
        "identifier": "https://api.example.com/v1/", "name": "API", "scopes": [{ "value": "read:it", "description": "Read" }],
    });
    let created = world.call(&token, "POST", "resource-servers", Some(body.clone())).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
    let again = world.call(&token, "POST", "resource-servers", Some(body)).await;
    assert_eq!(again.status, StatusCode::CONFLICT, "{}", again.body);
    let id = created.json()["id"].as_str().unwrap().to_owned();
    for path in [id.as_str(), "https:%2F%2Fapi.example.com%2Fv1%2F", "https%3A%2F%2Fapi.example.com%2Fv1%2F"]
    {
        let read = world.call(&token, "GET", &format!("resource-servers/{path}"), None).await;
        assert_eq!(read.json()["identifier"], "https://api.example.com/v1/", "{path}: {}", read.body);
    }
    let patch = json!({ "token_lifetime": 60 });
    let changed = world.call(&token, "PATCH", &format!("resource-servers/{id}"), Some(patch)).await;
    assert_eq!(changed.json()["token_lifetime"], 60);
    assert_eq!(
        world.call(&token, "DELETE", &format!("resource-servers/{id}"), None).await.status,
        StatusCode::NO_CONTENT
    );
    is_refused(
        &world.call(&token, "GET", &format!("resource-servers/{id}"), None).await,
        404,
        "inexistent_resource_server",
    );
}

#[tokio::test]
async fn a_client_grant_opens_an_api_and_its_deletion_closes_it() {
    let world = World::new().await;
    let token = world.management_token("").await;
    let api =
        json!({ "identifier": "urn:api", "name": "API", "scopes": [{ "value": "a" }, { "value": "b" }] });
    assert_eq!(world.call(&token, "POST", "resource-servers", Some(api)).await.status, StatusCode::CREATED);
    let body = json!({ "client_id": world.seeded.client_id, "audience": "urn:api", "scope": ["a"] });
    let grant = world.call(&token, "POST", "client-grants", Some(body.clone())).await;
    assert_eq!(grant.status, StatusCode::CREATED, "{}", grant.body);
    assert_eq!(world.call(&token, "POST", "client-grants", Some(body)).await.status, StatusCode::CONFLICT);
    let request = [("grant_type", "client_credentials"), ("audience", "urn:api")];
    assert_eq!(world.token(&request).await.json()["scope"], "a");
    let id = grant.json()["id"].as_str().unwrap().to_owned();
    let path = format!("client-grants/{id}");
    let changed = world.call(&token, "PATCH", &path, Some(json!({ "scope": ["a", "b"] }))).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.body);
    assert_eq!(world.token(&request).await.json()["scope"], "a b");
    let search = format!("client-grants?audience=urn:api&client_id={}", world.seeded.client_id);
    let found = world.call(&token, "GET", &search, None).await.json();
    assert_eq!((found.as_array().unwrap().len(), &found[0]["id"]), (1, &json!(id)));
    assert_eq!(world.call(&token, "DELETE", &path, None).await.status, StatusCode::NO_CONTENT);
    assert!(world.token(&request).await.status.is_client_error());
    assert_eq!(world.call(&token, "GET", &path, None).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_user_is_made_found_changed_and_deleted() {
    let world = World::new().await;
    let token = world.management_token("").await;
    let body = json!({
        "connection": "Username-Password-Authentication", "email": "Jane@Example.com",
        "password": "corr3ct-Horse-battery", "user_metadata": { "a": 1, "b": 2 },
    });
    let created = world.call(&token, "POST", "users", Some(body.clone())).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
    assert!(!created.body.contains("corr3ct"));
    is_refused(&world.call(&token, "POST", "users", Some(body)).await, 409, "auth0_idp_error");
    let id = created.json()["user_id"].as_str().unwrap().to_owned();
    let path = format!("users/{}", id.replace('|', "%7C"));
    assert_eq!(world.call(&token, "GET", &path, None).await.json()["user_id"], id.as_str());
    for search in
        ["users-by-email?email=jane@example.com", "users?q=email:%22jane@example.com%22&search_engine=v3"]
    {
        let found = world.call(&token, "GET", search, None).await.json();
        assert_eq!(found.as_array().unwrap().len(), 1, "{search}: {found}");
    }
    let patch = json!({ "user_metadata": { "a": null, "c": 3 } });
    let changed = world.call(&token, "PATCH", &path, Some(patch)).await;
    assert_eq!(changed.json()["user_metadata"], json!({ "b": 2, "c": 3 }), "{}", changed.body);
    assert_eq!(world.call(&token, "DELETE", &path, None).await.status, StatusCode::NO_CONTENT);
    is_refused(&world.call(&token, "GET", &path, None).await, 404, "inexistent_user");
    is_refused(&world.call(&token, "GET", "users?q=name:(a%20OR", None).await, 400, "invalid_query_string");
}

#[tokio::test]
async fn o40_members_that_nobody_may_set_are_refused_by_name() {
    let world = World::new().await;
    let token = world.management_token("").await;
    let user =
        world.call(&token, "GET", "users", None).await.json()[0]["user_id"].as_str().unwrap().to_owned();
    let user = format!("users/{}", user.replace('|', "%7C"));
    let client = format!("clients/{}", world.seeded.client_id);
    let cases = [
        ("PATCH", user.as_str(), json!({ "identities": [] }), "identities"),
        ("PATCH", &user, json!({ "created_at": "2020-01-01" }), "created_at"),
        ("PATCH", &user, json!({ "logins_count": 5 }), "logins_count"),
        ("PATCH", &user, json!({ "tenant": "other" }), "tenant"),
        ("PATCH", &user, json!({ "user_id": "auth0|other" }), "user_id"),
        ("PATCH", &user, json!({ "isAdmin": true }), "isAdmin"),
        ("PATCH", &client, json!({ "client_id": "other" }), "client_id"),
        ("PATCH", &client, json!({ "global": true }), "global"),
        ("PATCH", &client, json!({ "tenant": "other" }), "tenant"),
        ("PATCH", &client, json!({ "created_at": 5 }), "created_at"),
        ("POST", "clients", json!({ "name": "x", "evil": 1 }), "evil"),
        ("POST", "resource-servers", json!({ "identifier": "urn:x", "is_system": true }), "is_system"),
        ("POST", "resource-servers", json!({ "identifier": "urn:x", "id": "chosen" }), "id"),
        (
            "POST",
            "client-grants",
            json!({ "client_id": "x", "audience": "y", "scope": [], "is_system": true }),
            "is_system",
        ),
        ("POST", "connections", json!({ "name": "c", "strategy": "auth0", "id": "con_chosen" }), "id"),
    ];
    for (method, path, body, name) in cases {
        let answer = world.call(&token, method, path, Some(body)).await;
        is_refused(&answer, 400, "invalid_body");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(&format!("Additional properties not allowed: {name}")), "{path}: {message}");
    }
}

#[tokio::test]
async fn bad_bodies_are_refused_and_nothing_breaks() {
    let world = World::new().await;
    let token = world.management_token("").await;
    let client = format!("/api/v2/clients/{}", world.seeded.client_id);
    let raw: Vec<(&str, Vec<u8>, u16)> = vec![
        ("application/json", b"{".to_vec(), 400),
        ("application/json", b"".to_vec(), 400),
        ("application/json", b"[]".to_vec(), 400),
        ("application/json", b"null".to_vec(), 400),
        ("application/json", b"\xff".to_vec(), 400),
        ("application/json", b"{\"name\":\"a\",\"name\":\"b\"}".to_vec(), 400),
        ("application/json", b"{\"name\":\"a\\u0000b\"}".to_vec(), 400),
        ("application/json", "[".repeat(100_000).into_bytes(), 400),
        ("application/json", format!("{{\"name\":\"{}\"}}", "x".repeat(2_000_000)).into_bytes(), 413),
        ("text/plain", b"{\"name\":\"a\"}".to_vec(), 400),
        ("application/x-www-form-urlencoded", b"name=a".to_vec(), 400),
    ];
    for (kind, body, status) in raw {
        let mut agent = world.agent();
        agent.extra.push(("authorization", format!("Bearer {token}")));
        let shown = String::from_utf8_lossy(&body).chars().take(30).collect::<String>();
        let answer = agent.send(Method::PATCH, &client, Some(Payload::Raw(kind, body))).await;
        is_refused(&answer, status, "invalid_body");
        assert_eq!(answer.status.as_u16(), status, "{shown}");
    }
    let cases = [
        ("clients", json!({}), "name"),
        ("clients", json!({ "name": 5 }), "name"),
        ("clients", json!({ "name": "" }), "name"),
        ("clients", json!({ "name": "x", "callbacks": "http://a" }), "callbacks"),
        ("clients", json!({ "name": "x", "callbacks": ["javascript:alert(1)"] }), "callbacks"),
        ("clients", json!({ "name": "x", "grant_types": [1] }), "grant_types"),
        ("clients", json!({ "name": "x", "app_type": "toaster" }), "app_type"),
        (
            "clients",
            json!({ "name": "x", "jwt_configuration": { "lifetime_in_seconds": -1 } }),
            "lifetime_in_seconds",
        ),
        ("clients", json!({ "name": "x", "logo_uri": "javascript:x" }), "logo_uri"),
        ("resource-servers", json!({}), "identifier"),
        ("resource-servers", json!({ "identifier": "urn:x", "scopes": [{ "value": "a b" }] }), "scopes"),
        ("resource-servers", json!({ "identifier": "urn:x", "token_lifetime": "1" }), "token_lifetime"),
        ("client-grants", json!({ "audience": "x", "scope": [] }), "client_id"),
        ("client-grants", json!({ "client_id": "x", "audience": "x", "scope": "a" }), "scope"),
        ("connections", json!({ "strategy": "auth0" }), "name"),
        ("connections", json!({ "name": "x", "strategy": "auth0", "options": [] }), "options"),
        ("users", json!({ "email": "a@b.example" }), "connection"),
        ("users", json!({ "connection": "Username-Password-Authentication", "email": 1 }), "email"),
        (
            "users",
            json!({ "connection": "Username-Password-Authentication", "email": "a b", "password": "corr3ct-Horse-1" }),
            "email",
        ),
    ];
    for (path, body, name) in cases {
        let answer = world.call(&token, "POST", path, Some(body.clone())).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path} {body}: {}", answer.body);
        assert!(answer.json()["message"].as_str().unwrap().contains(name), "{path} {body}: {}", answer.body);
    }
    for path in ["users/%00", "users/%ff", "clients/a%0d%0ab"] {
        is_refused(&world.call(&token, "GET", path, None).await, 400, "invalid_uri");
    }
    for path in ["users/..%2f..%2fx", "clients/x'%20OR%201=1", "connections/%F0%9F%92%A9"] {
        assert_eq!(world.call(&token, "GET", path, None).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_connections_clients_are_switched_one_by_one() {
    let world = World::new().await;
    let token = world.management_token("").await;
    let body = json!({ "name": "Second", "strategy": "auth0" });
    let created = world.call(&token, "POST", "connections", Some(body)).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
    let path = format!("connections/{}/clients", created.json()["id"].as_str().unwrap());
    let on = json!([{ "client_id": world.seeded.client_id, "status": true }]);
    assert_eq!(world.call(&token, "PATCH", &path, Some(on)).await.status, StatusCode::NO_CONTENT);
    let listed = world.call(&token, "GET", &path, None).await.json();
    assert_eq!(listed, json!({ "clients": [{ "client_id": world.seeded.client_id }] }));
    for bad in
        [json!({}), json!([]), json!([{ "client_id": 1, "status": true }]), json!([{ "client_id": "x" }])]
    {
        is_refused(&world.call(&token, "PATCH", &path, Some(bad)).await, 400, "invalid_body");
    }
}

#[tokio::test]
async fn keys_rotate_and_the_old_one_stays_until_it_is_revoked() {
    let world = World::new().await;
    let token = world.management_token("").await;
    let state = |keys: &Value, name: &str| -> Vec<String> {
        let keys = keys.as_array().unwrap().iter();
        let fitting = keys.filter(|key| key[name] == true && key["alg"] == "RS256");
        fitting.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    };
    let before = world.call(&token, "GET", "keys/signing", None).await.json();
    let (old, next) = (state(&before, "current"), state(&before, "next"));
    let rotated = world.call(&token, "POST", "keys/signing/rotate", None).await;
    assert_eq!(rotated.status, StatusCode::CREATED, "{}", rotated.body);
    let after = world.call(&token, "GET", "keys/signing", None).await.json();
    assert_eq!((state(&after, "current"), state(&after, "previous")), (next.clone(), old.clone()));
    let published = world.agent().get("/.well-known/jwks.json").await.body;
    assert!(published.contains(&old[0]) && published.contains(&next[0]));
    let fresh = world.management_token("").await;
    let revoked = world.call(&fresh, "PUT", &format!("keys/signing/{}/revoke", old[0]), None).await;
    assert_eq!(revoked.status, StatusCode::OK, "{}", revoked.body);
    assert!(!world.agent().get("/.well-known/jwks.json").await.body.contains(&old[0]));
    assert_eq!(world.call(&token, "GET", "clients", None).await.status, StatusCode::UNAUTHORIZED);
    let current = world.call(&fresh, "PUT", &format!("keys/signing/{}/revoke", next[0]), None).await;
    assert_eq!(current.status, StatusCode::FORBIDDEN);
    assert_eq!(world.call(&fresh, "PUT", "keys/signing/x/revoke", None).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn tenant_settings_are_read_and_changed() {
    let world = World::new().await;
    let token = world.management_token("").await;
    let patch = json!({ "friendly_name": "Example" });
    let changed = world.call(&token, "PATCH", "tenants/settings", Some(patch)).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.body);
    assert_eq!(world.call(&token, "GET", "tenants/settings", None).await.json()["friendly_name"], "Example");
    is_refused(
        &world.call(&token, "PATCH", "tenants/settings", Some(json!({ "evil": 1 }))).await,
        400,
        "invalid_body",
    );
}

#[tokio::test]
async fn both_origins_of_a_tenant_are_its_management_audience() {
    let world = World::new().await;
    let token = world.management_token("read:clients").await;
    let mut agent = world.agent();
    agent.host = super::world::HTTPS;
    agent.extra.push(("authorization", format!("Bearer {token}")));
    assert_eq!(agent.get("/api/v2/clients").await.status, StatusCode::OK);
}

#[tokio::test]
async fn o41_nothing_of_one_tenant_counts_at_another() {
    let world = World::new().await;
    let origins = ["https://other.example".to_owned()];
    idp::seed::tenant(&world.idp, "other", "Other", &origins).await.unwrap();
    let token = world.management_token("").await;
    let mut agent = world.agent();
    let code = agent.code(&[]).await;
    let session = agent.cookies["pc_idp"].clone();
    agent.host = "other.example";
    assert_eq!(
        agent.get("/.well-known/openid-configuration").await.json()["issuer"],
        "https://other.example/"
    );
    assert!(agent.get("/nothing").await.header("strict-transport-security").is_some());
    // Neither client, nor session, nor code, nor token.
    agent.cookies.insert("__Host-pc_idp".to_owned(), session);
    agent.get(&world.authorize(&[("prompt", "none")])).await.is_error_page();
    agent.extra = vec![("authorization", world.basic())];
    let form = [("grant_type", "authorization_code"), ("code", code.as_str())];
    assert_eq!(agent.post("/oauth/token", &form).await.json()["error"], "invalid_client");
    agent.extra = vec![("authorization", format!("Bearer {token}"))];
    for path in ["clients", "users", "resource-servers", "keys/signing"] {
        assert_eq!(agent.get(&format!("/api/v2/{path}")).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    assert_eq!(agent.get("/userinfo").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn o02_callbacks_that_run_or_hide_something_are_not_registered() {
    let world = World::new().await;
    let token = world.management_token("").await;
    let bad = [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:https://a.example/x",
        "/relative",
        "http://a.example/\u{7f}",
        "https://a.example/cb#fragment",
        "https://user:password@a.example/cb",
        "",
    ];
    for url in bad {
        let body = json!({ "name": "x", "callbacks": [url] });
        let answer = world.call(&token, "POST", "clients", Some(body)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{url:?}: {}", answer.body);
        assert!(answer.json()["message"].as_str().unwrap().contains("callbacks"), "{url:?}: {}", answer.body);
    }
}

#[tokio::test]
async fn deleting_what_does_not_exist_is_404() {
    let world = World::new().await;
    let token = world.management_token("").await;
    for path in [
        "clients/nope",
        "resource-servers/nope",
        "client-grants/nope",
        "connections/nope",
        "users/auth0%7Cnope",
    ] {
        let answer = world.call(&token, "DELETE", path, None).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}: {}", answer.body);
    }
    let user = json!({
        "connection": "Username-Password-Authentication", "email": "twice@example.com", "password": "Abcdef-12345",
    });
    let user = world.call(&token, "POST", "users", Some(user)).await.json();
    let path = format!("users/{}", user["user_id"].as_str().unwrap().replace('|', "%7C"));
    assert_eq!(world.call(&token, "DELETE", &path, None).await.status, StatusCode::NO_CONTENT);
    is_refused(&world.call(&token, "DELETE", &path, None).await, 404, "inexistent_user");
}

#[tokio::test]
async fn a_value_of_the_wrong_type_is_named_by_its_own_member() {
    let world = World::new().await;
    let token = world.management_token("").await;
    let user = json!({ "connection": "Username-Password-Authentication", "email": "a@example.com", "password": "Abcdef-12345" });
    let cases = [
        ("POST", "users", &user, "blocked", json!("yes")),
        ("POST", "users", &user, "user_metadata", json!("x")),
        ("POST", "users", &user, "email", json!(["a"])),
        ("POST", "clients", &json!({ "name": "x" }), "callbacks", json!("x")),
        ("PATCH", "tenants/settings", &json!({ "friendly_name": "x" }), "session_lifetime", json!("x")),
    ];
    for (method, path, body, member, value) in cases {
        let mut body = body.clone();
        body[member] = value;
        let answer = world.call(&token, method, path, Some(body)).await;
        is_refused(&answer, 400, "invalid_body");
        let ending = format!("on property {member}.");
        assert!(answer.json()["message"].as_str().unwrap().ends_with(&ending), "{}", answer.body);
    }
    let mut body = user.clone();
    body["connection"] = json!("nope");
    let answer = world.call(&token, "POST", "users", Some(body)).await;
    assert!(!answer.json()["message"].as_str().unwrap().contains("password"), "{}", answer.body);
}

#[tokio::test]
async fn o46_no_api_is_named_like_userinfo_of_any_origin() {
    let world = World::new().await;
    let token = world.management_token("").await;
    for identifier in [format!("http://{HTTP}/userinfo"), format!("https://{HTTPS}/userinfo")] {
        // Whoever runs an API under HS256 could make tokens for this audience in any user's name.
        let api = json!({ "identifier": identifier, "signing_alg": "HS256" });
        let answer = world.call(&token, "POST", "resource-servers", Some(api)).await;
        is_refused(&answer, 409, "resource_conflict");
    }
}

#[tokio::test]
async fn a_default_audience_is_an_api_or_none() {
    let world = World::new().await;
    let token = world.management_token("").await;
    let set = async |audience: &str| {
        let body = json!({ "default_audience": audience, "default_directory": "" });
        world.call(&token, "PATCH", "tenants/settings", Some(body)).await
    };
    let refused = set("https://nope.example/").await;
    is_refused(&refused, 400, "invalid_body");
    assert!(refused.json()["message"].as_str().unwrap().contains("default_audience"), "{}", refused.body);
    // Auth0 writes none as an empty string.
    assert_eq!(set("").await.status, StatusCode::OK);
    let mut agent = world.agent();
    let page = agent.open(&world.authorize(&[])).await;
    assert!(page.has_id("login-title"), "{page:?}");
    assert_eq!(set(&world.seeded.audience).await.status, StatusCode::OK);
}

/// Every member that Auth0's SDKs know of the objects that are here: refused by its name or taken, and never told to be
/// none of Auth0's.
#[tokio::test]
async fn members_of_auth0_that_are_not_here_are_refused_by_name_and_taken_where_they_say_nothing() {
    let world = World::new().await;
    let token = world.management_token("").await;
    let client = format!("clients/{}", world.seeded.client_id);
    let api = format!("resource-servers/{}", world.seeded.audience.replace('/', "%2F"));
    let connections = world.call(&token, "GET", "connections", None).await.json();
    let connection = format!("connections/{}", connections[0]["id"].as_str().unwrap());
    let cases: [(&str, &[(&str, Value)]); 4] = [
        (
            &client,
            &[
                ("async_approval_notification_channels", json!(["email"])),
                ("client_aliases", json!(["other"])),
                ("cross_origin_loc", json!("https://a.example/")),
                ("custom_login_page_preview", json!("<p>")),
                ("express_configuration", json!({ "enable_client": true })),
                ("fedcm_login", json!({ "google": { "is_enabled": true } })),
                ("my_organization_configuration", json!({ "allowed_strategies": ["okta"] })),
                ("oidc_logout", json!({ "backchannel_logout_session_metadata": { "include": true } })),
                ("organization_require_behavior", json!("pre_login_prompt")),
                ("redirection_policy", json!("open_redirect_protection")),
                (
                    "refresh_token",
                    json!({ "policies": [{ "audience": "https://a.example/", "scope": ["x"] }] }),
                ),
                ("resource_server_identifier", json!("https://a.example/")),
                ("signed_request_object", json!({ "credentials": [{ "id": "cred_1" }] })),
                ("sso", json!(true)),
                ("third_party_security_mode", json!("strict")),
                ("token_vault_privileged_access", json!({ "credentials": [{ "id": "cred_1" }] })),
            ],
        ),
        (
            &api,
            &[
                ("allow_online_access", json!(true)),
                ("authorization_policy", json!({ "policy_id": "x" })),
                ("consent_policy", json!("transactional-authorization-with-mfa")),
            ],
        ),
        (
            &connection,
            &[
                ("cross_app_access_requesting_app", json!({ "active": true })),
                ("cross_app_access_resource_app", json!({ "active": true })),
            ],
        ),
        (
            "tenants/settings",
            &[
                ("allow_organization_name_in_authentication_api", json!(true)),
                ("client_id_metadata_document_supported", json!(true)),
                ("country_codes", json!({ "list": ["DE"] })),
                ("default_redirection_uri", json!("https://a.example/")),
                ("enable_ai_guide", json!(true)),
                ("security_headers", json!({ "content_security_policy": { "enabled": true } })),
            ],
        ),
    ];
    fn nothing(value: &Value) -> Value {
        match value {
            Value::Bool(_) => json!(false),
            Value::Array(_) => json!([]),
            Value::Object(members) => {
                Value::Object(members.iter().map(|(name, value)| (name.clone(), nothing(value))).collect())
            }
            _ => Value::Null,
        }
    }
    for (path, members) in cases {
        let before = world.call(&token, "GET", path, None).await.json();
        for (name, value) in members {
            let refused = world.call(&token, "PATCH", path, Some(json!({ *name: value }))).await;
            is_refused(&refused, 403, "operation_not_supported");
            assert!(refused.json()["message"].as_str().unwrap().contains(name), "{}", refused.body);
            let taken = world.call(&token, "PATCH", path, Some(json!({ *name: nothing(value) }))).await;
            assert_eq!(taken.status, StatusCode::OK, "{path} {name}: {}", taken.body);
        }
        let mut after = world.call(&token, "GET", path, None).await.json();
        if after.get("oidc_logout") == Some(&json!({})) {
            after.as_object_mut().unwrap().shift_remove("oidc_logout");
        }
        for (name, value) in before.as_object().unwrap() {
            assert!(name == "updated_at" || after[name] == *value, "{path} {name}: {after}");
        }
    }
    // Switches of which only one way is the case.
    for (path, name, here) in [
        (client.as_str(), "skip_non_verifiable_callback_uri_confirmation_prompt", true),
        ("tenants/settings", "skip_non_verifiable_callback_uri_confirmation_prompt", true),
        ("tenants/settings", "authorization_response_iss_parameter_supported", true),
    ] {
        let set = async |value: Value| world.call(&token, "PATCH", path, Some(json!({ name: value }))).await;
        assert_eq!(set(json!(here)).await.status, StatusCode::OK, "{path} {name}");
        assert_eq!(set(json!(null)).await.status, StatusCode::OK, "{path} {name}");
        is_refused(&set(json!(!here)).await, 403, "operation_not_supported");
        is_refused(&set(json!("x")).await, 400, "invalid_body");
    }
    let logout = |on: bool| json!({ "oidc_logout": { "rp_logout_end_session_endpoint_discovery": on } });
    let set = world.call(&token, "PATCH", "tenants/settings", Some(logout(true))).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.body);
    let set = world.call(&token, "PATCH", "tenants/settings", Some(logout(false))).await;
    is_refused(&set, 403, "operation_not_supported");
    let set = world.call(&token, "PATCH", "tenants/settings", Some(json!({ "sandbox_version": "22" }))).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.body);
    is_refused(
        &world.call(&token, "PATCH", &client, Some(json!({ "evil": null }))).await,
        400,
        "invalid_body",
    );
}

#[tokio::test]
async fn lists_are_filtered_by_everything_that_auth0_filters_them_by() {
    let world = World::new().await;
    let token = world.management_token("").await;
    let count = async |path: &str| {
        let found = world.call(&token, "GET", path, None).await;
        assert_eq!(found.status, StatusCode::OK, "{path}: {}", found.body);
        found.json().as_array().unwrap().len()
    };
    let id = &world.seeded.client_id;
    let api = crate::fields::to_query([("identifiers", world.seeded.audience.as_str())].into_iter());
    assert_eq!(count("connections?strategy=samlp&strategy=auth0").await, 1);
    assert_eq!(count("connections?strategy=samlp&strategy=oidc").await, 0);
    assert_eq!(count(&format!("resource-servers?{api}&identifiers=https%3A%2F%2Fnone.example")).await, 1);
    assert_eq!(count("resource-servers?identifiers=x").await, 0);
    assert!(count("resource-servers").await >= 2);
    assert_eq!(count("clients?external_client_id=https%3A%2F%2Fa.example").await, 0);
    assert_eq!(count("client-grants?allow_any_organization=true").await, 0);
    assert_eq!(count("client-grants?default_for=third_party_clients").await, 0);
    assert!(count("client-grants?allow_any_organization=false").await > 0);
    assert_eq!(count("roles?owner_id=org_1").await, 0);
    let mine = format!("clients/{id}/connections?strategy=samlp&strategy=auth0");
    let mine = world.call(&token, "GET", &mine, None).await.json();
    assert_eq!(mine["connections"].as_array().unwrap().len(), 1, "{mine}");
    // There are no organizations: their grants are asked for in Auth0's way, and there are none.
    for q in ["client_grant.organization_id%3Aorg_1", "client_grant.allow_any_organization%3Atrue"] {
        let found = world.call(&token, "GET", &format!("clients?take=10&q={q}"), None).await;
        assert_eq!((found.status, found.json()), (StatusCode::OK, json!({ "clients": [] })), "{q}");
    }
    assert_eq!(count("users?primary_order=false").await, count("users?primary_order=true").await);
    for bad in [
        "client-grants?default_for=x",
        "client-grants?allow_any_organization=x",
        "clients?name=a&name=b",
        "clients?q=client_grant.organization_id%3Aorg_1",
        "clients?take=10&q=name%3Ax",
        "clients?take=10&q=client_grant.organization_id%3Aorg_1&app_type=spa",
        "users?primary_order=maybe",
    ] {
        is_refused(&world.call(&token, "GET", bad, None).await, 400, "invalid_query_string");
    }
}
