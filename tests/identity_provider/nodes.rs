//! Two processes on one PostgreSQL database, as behind one address: what one of them did counts at the other at once.

use std::sync::Arc;

use base::Secret;
use futures_util::future::join_all;
use jose::{Alg, SigningKey};
use serde_json::{Value, json};

use crate::{
    posted,
    postgres::Server,
    support::{Browser, Connection, Options, Portcullis, Request, Response, browser::Page, tokens, unique},
};

/// Both are behind this name.
const HOST: &str = "localhost";
const ISSUER: &str = "http://localhost/";
const CALLBACK: &str = "http://localhost/callback";
const DATABASE: &str = "Username-Password-Authentication";
const PASSWORD: &str = "Quite-l0ng-enough";

const CONFIG: &str = r#"
listeners: [{address: "127.0.0.1:{9080}"}]
admin: {apisix: {listen: "127.0.0.1:{9180}", keys: [{key: "${ADMIN}", role: admin}]}}
store: {sqlite: gateway.db}
encryption: {keyring: {keys: "${KEYRING}"}}
identity:
  listen: "127.0.0.1:{9400}"
  database: {postgres: "${DATABASE}"}
  tenants:
    - name: main
      domains: ["http://localhost"]
      management: {client_id: management, client_secret: "${MANAGEMENT}"}
"#;

/// One application at two nodes.
struct Cluster {
    nodes: [Node; 2],
    token: String,
    management: String,
    client: String,
    secret: String,
    connection: String,
    _database: Server,
}

struct Node {
    gate: Portcullis,
}

impl Node {
    async fn send(&self, request: Request) -> Response {
        let connection = Connection::open(self.gate.port(9400)).await;
        request.header("Host", HOST).send_over(connection).await
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Response {
        self.send(posted(path, form)).await
    }

    async fn management_token(&self, secret: &str) -> String {
        let audience = format!("{ISSUER}api/v2/");
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", "management"),
            ("client_secret", secret),
            ("audience", &audience),
        ];
        text(&self.post("/oauth/token", &form).await.json(), "access_token")
    }

    async fn key_ids(&self) -> Vec<String> {
        let keys = self.send(Request::get("/.well-known/jwks.json")).await.json();
        let kid = |key: &Value| key["kid"].as_str().unwrap().to_owned();
        keys["keys"].as_array().unwrap().iter().map(kid).collect()
    }
}

impl Cluster {
    async fn start() -> Self {
        let server = tokio::task::spawn_blocking(Server::start).await.unwrap();
        let database: Secret<String> = server.database();
        let keyring = base::Keyring::generate(&base::Random::system()).to_text().trim().to_owned();
        let (admin, management) = (unique("admin-key-of-length-"), unique("management-secret-of-length-"));
        let environment: Vec<(String, String)> = [
            ("ADMIN", admin.as_str()),
            ("KEYRING", &keyring),
            ("DATABASE", database.expose()),
            ("MANAGEMENT", &management),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        let node = || Node {
            gate: Portcullis::start(Options {
                config: Some(CONFIG.to_owned()),
                environment: environment.clone(),
                real_clock: true,
                tenant: None,
            }),
        };
        let nodes = [node(), node()];
        let token = nodes[0].management_token(&management).await;
        let (client, secret, connection) = (String::new(), String::new(), String::new());
        let mut cluster = Self { nodes, token, management, client, secret, connection, _database: server };
        let database = json!({"name": DATABASE, "strategy": "auth0"});
        let made = cluster.manage(1, "POST", "connections", &database).await.json();
        cluster.connection = text(&made, "id");
        let made = cluster.client(json!({"token_endpoint_auth_method": "client_secret_post"})).await;
        cluster.client = made["client_id"].as_str().unwrap().to_owned();
        cluster.secret = made["client_secret"].as_str().unwrap().to_owned();
        cluster
    }

    /// A call of the Management API at one of the nodes.
    async fn manage(&self, at: usize, method: &str, path: &str, body: &Value) -> Response {
        let request = Request::new(method, &format!("/api/v2/{path}")).bearer(&self.token);
        let request = if body.is_null() { request } else { request.json(body) };
        let answer = self.nodes[at].send(request).await;
        assert!(answer.status < 300, "{method} {path}: {answer:?}");
        answer
    }

    /// A new application, which users of the database may log in at. Made at one node, opened at the other.
    async fn client(&self, more: Value) -> Value {
        let mut client = json!({
            "name": unique("client-"),
            "app_type": "regular_web",
            "callbacks": [CALLBACK],
            "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
            "refresh_token": {"rotation_type": "rotating", "leeway": 0},
        });
        client.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = self.manage(0, "POST", "clients", &client).await.json();
        let path = format!("connections/{}/clients", self.connection);
        self.manage(1, "PATCH", &path, &json!([{"client_id": made["client_id"], "status": true}])).await;
        made
    }

    /// A user's e-mail address.
    async fn user(&self) -> String {
        let email = format!("{}@example.com", unique("user-"));
        let user = json!({"connection": DATABASE, "email": email, "password": PASSWORD});
        self.manage(0, "POST", "users", &user).await;
        email
    }

    /// Where an authorization request of the application leads at a node.
    async fn visit(&self, at: usize, browser: &mut Browser, extra: &[(&str, &str)]) -> Page {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("client_id", &self.client).append_pair("redirect_uri", CALLBACK);
        query.append_pair("response_type", "code").append_pair("scope", "openid email offline_access");
        query.extend_pairs(extra);
        browser.go_through(self.nodes[at].gate.port(9400));
        browser.open(&format!("{ISSUER}authorize?{}", query.finish())).await
    }

    /// The same, where a password is typed if one is asked for.
    async fn log_in(&self, at: usize, browser: &mut Browser, user: &str, password: &str) -> Page {
        let page = self.visit(at, browser, &[]).await;
        match page.has_id("login-title") {
            true => browser.log_in(&page, user, password).await,
            false => page,
        }
    }

    async fn code(&self, at: usize, browser: &mut Browser, user: &str) -> String {
        parameter(&self.log_in(at, browser, user, PASSWORD).await, "code").expect("a code")
    }

    async fn redeem(&self, at: usize, code: &str) -> Response {
        let form = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CALLBACK)];
        self.own(at, "/oauth/token", &form).await
    }

    async fn refresh(&self, at: usize, token: &str) -> Response {
        self.own(at, "/oauth/token", &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    async fn own(&self, at: usize, path: &str, form: &[(&str, &str)]) -> Response {
        let own = [("client_id", self.client.as_str()), ("client_secret", self.secret.as_str())];
        self.nodes[at].post(path, &[form, &own].concat()).await
    }

    async fn userinfo(&self, at: usize, token: &str) -> u16 {
        self.nodes[at].send(Request::get("/userinfo").bearer(token)).await.status
    }
}

/// What the callback got. Nobody is there: the provider says that it has no such page.
fn parameter(page: &Page, name: &str) -> Option<String> {
    assert!(page.url.as_str().starts_with(CALLBACK), "{page:?}");
    page.url.query_pairs().find(|(have, _)| have == name).map(|(_, value)| value.into_owned())
}

fn text(tokens: &Value, name: &str) -> String {
    tokens[name].as_str().unwrap_or_else(|| panic!("{tokens}")).to_owned()
}

fn refused(answer: &Response) -> bool {
    answer.status == 400 && answer.json()["error"] == "invalid_grant"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_on_one_database_are_one_provider() {
    let cluster = Arc::new(Cluster::start().await);
    codes_are_good_once(&cluster).await;
    refresh_tokens_rotate_once(&cluster).await;
    what_ends_at_one_is_over_at_the_other(&cluster).await;
    guesses_count_together(&cluster).await;
    assertions_are_good_once(&cluster).await;
    o54_keys_rotate_under_load_and_are_known_everywhere(&cluster).await;
}

/// O04.
async fn codes_are_good_once(cluster: &Cluster) {
    let user = cluster.user().await;
    let mut browser = Browser::new();
    let code = cluster.code(0, &mut browser, &user).await;
    let tokens = cluster.redeem(1, &code).await;
    assert_eq!(tokens.status, 200, "{tokens:?}");
    let access = text(&tokens.json(), "access_token");
    assert_eq!([cluster.userinfo(0, &access).await, cluster.userinfo(1, &access).await], [200, 200]);
    assert!(refused(&cluster.redeem(0, &code).await));
    // A code that comes twice was stolen, and so are its tokens.
    assert_eq!([cluster.userinfo(0, &access).await, cluster.userinfo(1, &access).await], [401, 401]);
    assert!(refused(&cluster.refresh(1, &text(&tokens.json(), "refresh_token")).await));
    for _ in 0..5 {
        let code = cluster.code(1, &mut browser, &user).await;
        let answers = join_all((0..8).map(|n| cluster.redeem(n % 2, &code))).await;
        let good = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(good, 1, "{answers:?}");
    }
}

/// O11.
async fn refresh_tokens_rotate_once(cluster: &Cluster) {
    let user = cluster.user().await;
    let mut browser = Browser::new();
    let code = cluster.code(0, &mut browser, &user).await;
    let first = text(&cluster.redeem(1, &code).await.json(), "refresh_token");
    let second = text(&cluster.refresh(0, &first).await.json(), "refresh_token");
    let third = text(&cluster.refresh(1, &second).await.json(), "refresh_token");
    assert!(refused(&cluster.refresh(0, &first).await));
    assert!(refused(&cluster.refresh(1, &third).await), "the family ends with the reuse");
    for _ in 0..5 {
        let code = cluster.code(1, &mut browser, &user).await;
        let token = text(&cluster.redeem(0, &code).await.json(), "refresh_token");
        let answers = join_all((0..8).map(|n| cluster.refresh(n % 2, &token))).await;
        let good = answers.iter().filter(|answer| answer.status == 200).count();
        assert!(good <= 1, "{answers:?}");
    }
}

/// O47.
async fn what_ends_at_one_is_over_at_the_other(cluster: &Cluster) {
    let user = cluster.user().await;
    let mut browser = Browser::new();
    let code = cluster.code(0, &mut browser, &user).await;
    let tokens = cluster.redeem(0, &code).await.json();
    let silent = cluster.visit(1, &mut browser, &[("prompt", "none")]).await;
    assert!(parameter(&silent, "code").is_some(), "the session is the other node's too: {silent:?}");
    let jws = jose::CompactJws::parse(tokens["id_token"].as_str().unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&jws.payload_unverified().unwrap()).unwrap();
    cluster.manage(0, "DELETE", &format!("sessions/{}", text(&claims, "sid")), &Value::Null).await;
    let silent = cluster.visit(1, &mut browser, &[("prompt", "none")]).await;
    assert_eq!(parameter(&silent, "error").as_deref(), Some("login_required"));

    let refresh = text(&tokens, "refresh_token");
    assert_eq!(cluster.own(1, "/oauth/revoke", &[("token", &refresh)]).await.status, 200);
    assert!(refused(&cluster.refresh(0, &refresh).await));
    // Whoever is blocked at one is nobody at the other.
    let code = cluster.code(1, &mut browser, &user).await;
    let tokens = cluster.redeem(0, &code).await.json();
    let id = text(&claims, "sub").replace('|', "%7C");
    cluster.manage(0, "PATCH", &format!("users/{id}"), &json!({"blocked": true})).await;
    assert_eq!(cluster.userinfo(1, &text(&tokens, "access_token")).await, 401);
    assert!(refused(&cluster.refresh(1, &text(&tokens, "refresh_token")).await));
}

/// O20.
async fn guesses_count_together(cluster: &Cluster) {
    let user = cluster.user().await;
    let mut locked = None;
    for guess in 0..14 {
        let page = cluster.log_in(guess % 2, &mut Browser::new(), &user, "not the password").await;
        assert!(page.url.path() != "/callback", "{page:?}");
        if page.status() == 429 {
            locked = Some(guess);
            break;
        }
    }
    assert!(locked.is_some_and(|guess| guess <= 10), "ten at both together: {locked:?}");
    for at in 0..2 {
        let page = cluster.log_in(at, &mut Browser::new(), &user, PASSWORD).await;
        assert_eq!(page.status(), 429, "also with the right one: {page:?}");
    }
}

/// O09.
async fn assertions_are_good_once(cluster: &Cluster) {
    let key: SigningKey = tokens::key(Alg::ES256, "k");
    let jwks = json!({"keys": [key.public_jwk()]});
    let made = cluster.client(json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": jwks})).await;
    let client = text(&made, "client_id");
    let now = tokens::now();
    for first in 0..2 {
        let claims = json!({
            "iss": client, "sub": client, "aud": ISSUER, "jti": unique("jti-"), "iat": now, "exp": now + 60,
        });
        let assertion = tokens::mint(&key, &claims);
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", "v1.nothing"),
            ("client_id", &client),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", &assertion),
        ];
        let known = cluster.nodes[first].post("/oauth/token", &form).await;
        assert!(refused(&known), "the client is known, its token is not: {known:?}");
        let again = cluster.nodes[1 - first].post("/oauth/token", &form).await;
        assert_eq!(again.json()["error"], "invalid_client", "{again:?}");
    }
}

/// What signs after a rotation was published before it, also by a node that has not looked again since.
async fn o54_keys_rotate_under_load_and_are_known_everywhere(cluster: &Cluster) {
    let before = cluster.nodes[1].key_ids().await;
    let is_over = &std::cell::Cell::new(false);
    let fetch = |at: usize| async move {
        let mut used = Vec::new();
        // Until one more was begun after the rotation.
        let mut is_last = false;
        while !is_last {
            is_last = is_over.get();
            let token = cluster.nodes[at].management_token(&cluster.management).await;
            let kid = jose::CompactJws::parse(&token).unwrap().header().kid.clone().unwrap();
            for node in &cluster.nodes {
                assert!(node.key_ids().await.contains(&kid), "{kid} of node {at} is not published");
            }
            used.push(kid);
        }
        used
    };
    let nothing = Value::Null;
    let rotate = async {
        let rotated = cluster.manage(0, "POST", "keys/signing/rotate", &nothing).await;
        is_over.set(true);
        rotated
    };
    let (first, second, rotated) = tokio::join!(fetch(0), fetch(1), rotate);
    assert_eq!(rotated.status, 201);
    for kid in first.iter().chain(&second) {
        assert!(cluster.nodes[0].key_ids().await.contains(kid), "{kid} left before its tokens expired");
    }
    assert_eq!(first.last().map(String::as_str), rotated.json()["kid"].as_str());
    let user = cluster.user().await;
    let code = cluster.code(0, &mut Browser::new(), &user).await;
    let tokens = cluster.redeem(0, &code).await.json();
    let id_token = text(&tokens, "id_token");
    let kid = jose::CompactJws::parse(&id_token).unwrap().header().kid.clone().unwrap();
    assert!(kid == rotated.json()["kid"] && before.contains(&kid), "{kid} of {before:?}");
    assert!(cluster.nodes[1].key_ids().await.contains(&kid));
    let mut hinted = Browser::new();
    let page = cluster.visit(1, &mut hinted, &[("prompt", "none"), ("id_token_hint", &id_token)]).await;
    assert_eq!(parameter(&page, "error").as_deref(), Some("login_required"), "the hint itself is good");
    // Another one at the other node right away: nobody waits, and both sign with what both know.
    let again = cluster.manage(1, "POST", "keys/signing/rotate", &nothing).await.json();
    for at in [0, 1] {
        let token = cluster.nodes[at].management_token(&cluster.management).await;
        let kid = jose::CompactJws::parse(&token).unwrap().header().kid.clone().unwrap();
        assert_eq!(Some(kid.as_str()), again["kid"].as_str(), "node {at}");
        for node in &cluster.nodes {
            assert!(node.key_ids().await.contains(&kid));
            let listed = node.send(Request::get("/api/v2/clients").bearer(&token)).await;
            assert_eq!(listed.status, 200, "{listed:?}");
        }
    }
}
