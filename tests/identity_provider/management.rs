//! The Management API, as Auth0's SDKs call it: over TLS, with ids encoded in paths.

use serde_json::{Value, json};

use crate::{
    Door,
    support::{Request, Response, unique},
};

/// A caller with every scope.
pub(crate) struct Administrator {
    pub(crate) door: Door,
    token: String,
}

impl Administrator {
    pub(crate) async fn of(door: Door) -> Self {
        let (id, secret) =
            (door.gate.variable("AUTH0_MGMT_CLIENT_ID"), door.gate.variable("AUTH0_MGMT_CLIENT_SECRET"));
        let audience = door.url("api/v2/");
        let grant = [
            ("grant_type", "client_credentials"),
            ("audience", audience.as_str()),
            ("client_id", &id),
            ("client_secret", &secret),
        ];
        let tokens = door.post("/oauth/token", &grant).await.json();
        assert_eq!(door.claims(&tokens["access_token"]).await["aud"], audience);
        let token = tokens["access_token"].as_str().unwrap().to_owned();
        Self { door, token }
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Response {
        let request = Request::new(method, &format!("/api/v2/{path}")).bearer(&self.token);
        let request = match &body {
            Some(body) => request.json(body),
            None => request,
        };
        self.door.send(request).await
    }

    /// Makes a thing, reads it, changes it, finds it in its list, deletes it, and looks for it in vain.
    async fn lives(&self, kind: &str, id: &str, made: Value, change: Value) {
        let created = self.call("POST", kind, Some(made)).await;
        assert_eq!(created.status, 201, "{kind}: {created:?}");
        let created = created.json();
        let path = format!("{kind}/{}", encoded(created[id].as_str().unwrap()));
        let read = self.call("GET", &path, None).await;
        assert_eq!((read.status, &read.json()[id]), (200, &created[id]));
        let changed = self.call("PATCH", &path, Some(change.clone())).await;
        assert_eq!(changed.status, 200, "{kind}: {changed:?}");
        for (name, value) in change.as_object().unwrap() {
            assert_eq!(self.call("GET", &path, None).await.json()[name], *value, "{kind}: {name}");
        }
        let list = self.call("GET", &format!("{kind}?per_page=100"), None).await.json();
        assert!(list.as_array().unwrap().iter().any(|item| item[id] == created[id]), "{kind}");
        assert_eq!(self.call("DELETE", &path, None).await.status, 204);
        for method in ["GET", "DELETE"] {
            let gone = self.call(method, &path, None).await;
            assert_eq!((gone.status, &gone.json()["statusCode"]), (404, &json!(404)), "{method} {path}");
        }
    }
}

/// A path segment of an id.
fn encoded(id: &str) -> String {
    form_urlencoded::byte_serialize(id.as_bytes()).collect()
}

#[tokio::test]
async fn everything_is_made_read_changed_listed_and_deleted_at_either_origin() {
    for door in Door::both() {
        let demo = door.gate.variable("AUTH0_CLIENT_ID");
        let admin = Administrator::of(door).await;
        let name = unique("thing-");
        admin.lives("clients", "client_id", json!({"name": name}), json!({"description": "d"})).await;
        let api = json!({"name": name, "identifier": format!("https://{name}.example/v1?x=1")});
        admin.lives("resource-servers", "identifier", api.clone(), json!({"token_lifetime": 60})).await;
        let connection = json!({"name": name, "strategy": "auth0"});
        admin.lives("connections", "id", connection, json!({"display_name": "d"})).await;
        let user = json!({
            "connection": "Username-Password-Authentication",
            "email": format!("{name}@example.com"),
            "password": "Abcdef-12345",
        });
        admin.lives("users", "user_id", user, json!({"user_metadata": {"a": {"b": 1}}})).await;
        let identifier = admin.call("POST", "resource-servers", Some(api)).await.json()["identifier"].clone();
        let grant = json!({"client_id": demo, "audience": identifier, "scope": []});
        let grants = admin.call("POST", "client-grants", Some(grant)).await;
        assert_eq!(grants.status, 201, "{grants:?}");
        let path = format!("client-grants/{}", grants.json()["id"].as_str().unwrap());
        assert_eq!(admin.call("DELETE", &path, None).await.status, 204);
        assert_eq!(admin.call("DELETE", &path, None).await.status, 404);
    }
}

#[tokio::test]
async fn a_token_of_one_origin_counts_at_the_other() {
    let [plain, secure] = Door::both();
    let admin = Administrator { door: secure, ..Administrator::of(plain).await };
    let settings = admin.call("GET", "tenants/settings", None).await;
    assert_eq!((settings.status, &settings.json()["session_lifetime"]), (200, &json!(168.0)));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_in_auth0s_shape() {
    let [_, door] = Door::both();
    let admin = Administrator::of(door).await;
    let cases = [
        ("GET", "clients?per_page=101", None, 400, "invalid_query_string"),
        ("GET", "clients?evil=1", None, 400, "invalid_query_string"),
        ("GET", "users/%ff", None, 400, "invalid_uri"),
        ("POST", "clients", Some(json!({"name": "x", "evil": 1})), 400, "invalid_body"),
        ("POST", "clients", Some(json!({"name": 1})), 400, "invalid_body"),
        ("GET", "log-streams", None, 403, "insufficient_scope"),
        ("GET", "users/auth0%7Cnobody", None, 404, "inexistent_user"),
    ];
    for (method, path, body, status, code) in cases {
        let answer = admin.call(method, path, body).await;
        assert_eq!((answer.status, &answer.json()["errorCode"]), (status, &json!(code)), "{method} {path}");
    }
    let nobody = admin.door.get("/api/v2/clients").await;
    assert_eq!((nobody.status, nobody.header("www-authenticate")), (401, Some("Bearer")));
}
