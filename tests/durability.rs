//! What was answered is kept: `kill -9` in the middle of writes, fifty times, a restart, and a disk that fails.
//!
//! Five writers, on both Admin APIs and on the Management API, write without pause until the process is killed
//! right after one of them, each in its turn, got an answer. Everything that was answered must be there afterwards, whole; what was under
//! way must be there whole or not at all.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, as tests do"
)]

#[cfg(feature = "peers")]
#[path = "durability/disk.rs"]
mod disk;
mod support;
#[path = "durability/tokens.rs"]
mod tokens;

use std::sync::Arc;

use serde_json::{Value, json};
use support::{Browser, Connection, Portcullis, Request, Response, unique, within};
use tokio::{net::TcpStream, sync::Notify, task::JoinSet};

/// How often the process is killed.
const KILLS: usize = 50;

/// A write, and what may be read back after it.
#[derive(Clone, Debug)]
struct Write {
    /// Method and target of the call that writes.
    call: (&'static str, String),
    body: Value,
    /// Where it can be read; known only after the answer for ids that the server chooses.
    read: Option<String>,
    answered: bool,
}

/// Whose answer is the last one before the kill, and how many of them there must be.
struct Last {
    kind: Kind,
    number: usize,
    reached: Notify,
}

/// One of the writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    NewRoutes,
    OneUpstream,
    KongServices,
    Users,
    Clients,
}

const KINDS: [Kind; 5] = [Kind::NewRoutes, Kind::OneUpstream, Kind::KongServices, Kind::Users, Kind::Clients];

/// Who may write, and where.
#[derive(Clone)]
struct Access {
    admin: (u16, String),
    kong: u16,
    management: (u16, String),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f01_fifty_kills_lose_nothing_that_was_answered() {
    let gate = Portcullis::dev();
    let access = Access {
        admin: (gate.port(9180), gate.variable("ADMIN_KEY")),
        kong: gate.port(8001),
        management: (gate.port(9400), management_token(&gate).await),
    };
    let mut kept = Vec::new();
    for round in 0..KILLS {
        let last = Last { kind: KINDS[round % 5], number: 1 + round / 5 % 3, reached: Notify::new() };
        let last = Arc::new(last);
        let mut writers = JoinSet::new();
        for kind in KINDS {
            writers.spawn(write_until_killed(kind, round, access.clone(), Arc::clone(&last)));
        }
        within("answers to writes", last.reached.notified()).await;
        gate.kill9();
        let writes = writers.join_all().await;
        gate.restart();
        for writes in &writes {
            expect_kept(round, &access, writes).await;
        }
        kept.extend(writes.into_iter().flatten().filter(|write| write.answered));
    }
    let of = |start: &str| kept.iter().filter(|write| write.call.1.starts_with(start)).count();
    let counts = [
        "/apisix/admin/routes/",
        "/apisix/admin/upstreams/",
        "/kong-admin/",
        "/api/v2/users",
        "/api/v2/clients",
    ]
    .map(of);
    println!("answered writes to routes, one upstream, services, users and clients: {counts:?}");
    assert!(counts.iter().all(|count| *count >= KILLS / 5), "{counts:?}");
    // What had no answer has no id that we know, but it is among all of them, and whole if it is there.
    expect_whole(&access, "users", &["user_id", "email", "identities"], counts[3]).await;
    expect_whole(&access, "clients", &["client_id", "client_secret", "name"], counts[4]).await;
    // What later writes replaced is not looked for; all else has outlived every kill after it.
    for write in kept.iter().filter(|write| !write.call.1.contains("upstreams/")) {
        let read = read_back(&access, write.read.as_ref().unwrap()).await;
        assert!(holds(&read.json(), &write.body), "lost after all: {write:?}: {}", read.text());
    }
}

#[tokio::test]
async fn a_restart_keeps_sessions_tokens_and_keys() {
    let gate = Portcullis::dev();
    let issuer = gate.variable("ISSUER");
    let plugin = |more: Value| {
        let mut plugin = json!({
            "client_id": gate.variable("AUTH0_CLIENT_ID"),
            "client_secret": gate.variable("AUTH0_CLIENT_SECRET"),
            "discovery": format!("{issuer}.well-known/openid-configuration"),
        });
        plugin.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"openid-connect": plugin})
    };
    let upstream = json!({"type": "roundrobin", "nodes": {format!("localhost:{}", gate.port(9480)): 1}});
    let callback = format!("http://localhost:{}/anything/callback", gate.port(9080));
    let pages = plugin(json!({"scope": "openid profile", "redirect_uri": callback}));
    let admin = gate.admin();
    admin.set("routes/pages", &json!({"uri": "/anything/*", "plugins": pages, "upstream": &upstream})).await;
    let machines = plugin(json!({"bearer_only": true, "use_jwks": true}));
    admin
        .set("routes/machines", &json!({"uri": "/headers", "plugins": machines, "upstream": &upstream}))
        .await;

    let token = token(&gate, "AUTH0", &gate.variable("AUTH0_AUDIENCE")).await;
    let mut browser = Browser::new();
    let page = format!("http://localhost:{}/anything/test", gate.port(9080));
    let login = browser.open(&page).await;
    let inside = browser.log_in(&login, &gate.variable("DEMO_USER"), &gate.variable("DEMO_PASSWORD")).await;
    assert_eq!((inside.status(), inside.url.as_str()), (200, page.as_str()));
    assert_eq!(gate.send(Request::get("/headers").bearer(&token)).await.status, 200);
    let keys = Request::get("/.well-known/jwks.json").send(gate.port(9400)).await.json();

    assert!(gate.terminate().success());
    gate.restart();
    let again = Request::get("/.well-known/jwks.json").send(gate.port(9400)).await.json();
    assert_eq!(again, keys, "the provider has other keys");
    assert_eq!(
        gate.send(Request::get("/headers").bearer(&token)).await.status,
        200,
        "the token is worth nothing"
    );
    let inside = browser.open_only(&page).await;
    assert_eq!(inside.status(), 200, "the session is gone: {:?}", inside.location());
    assert!(inside.response.json()["headers"]["X-Userinfo"].is_string());
}

/// Writes one thing after another until the process is gone.
async fn write_until_killed(kind: Kind, round: usize, access: Access, last: Arc<Last>) -> Vec<Write> {
    let mut writes = Vec::new();
    loop {
        let mut write = next(kind, round, writes.len());
        let answer = call(&access, write.call.0, &write.call.1, Some(&write.body)).await;
        let Some(answer) = answer else {
            writes.push(write);
            return writes;
        };
        assert!(matches!(answer.status, 200 | 201), "{write:?}: {} {}", answer.status, answer.text());
        write.answered = true;
        let made = answer.json();
        match kind {
            Kind::Users => write.read = Some(format!("/api/v2/users/{}", id(&made, "user_id"))),
            Kind::Clients => write.read = Some(format!("/api/v2/clients/{}", id(&made, "client_id"))),
            Kind::NewRoutes | Kind::OneUpstream | Kind::KongServices => {}
        }
        writes.push(write);
        if kind == last.kind && writes.len() == last.number {
            last.reached.notify_one();
        }
    }
}

fn id(made: &Value, member: &str) -> String {
    made[member].as_str().unwrap_or_else(|| panic!("no {member} in {made}")).replace('|', "%7C")
}

/// The next write of a writer; its body says by itself which it is.
fn next(kind: Kind, round: usize, number: usize) -> Write {
    let name = format!("{kind:?}-{round}-{number}");
    let nodes = json!({"127.0.0.1:9": number + 1});
    let (method, target, body) = match kind {
        Kind::NewRoutes => {
            let upstream = json!({"type": "roundrobin", "nodes": nodes});
            let body = json!({"uri": format!("/{name}/*"), "desc": "x".repeat(256), "upstream": upstream});
            ("PUT", format!("/apisix/admin/routes/{name}"), body)
        }
        Kind::OneUpstream => {
            let body =
                json!({"type": "roundrobin", "desc": format!("{name} {}", "y".repeat(200)), "nodes": nodes});
            ("PUT", "/apisix/admin/upstreams/written-over".to_owned(), body)
        }
        Kind::KongServices => {
            let body =
                json!({"host": "localhost", "path": format!("/{}", "z".repeat(200)), "retries": number});
            ("PUT", format!("/kong-admin/services/{name}"), body)
        }
        Kind::Users => {
            let email = format!("{}@example.com", unique("user-"));
            let connection = "Username-Password-Authentication";
            let body =
                json!({"connection": connection, "email": email, "password": unique("Long-enough-1-")});
            ("POST", "/api/v2/users".to_owned(), body)
        }
        Kind::Clients => ("POST", "/api/v2/clients".to_owned(), json!({"name": unique("client-")})),
    };
    let read = (method == "PUT").then(|| target.clone());
    Write { call: (method, target), body, read, answered: false }
}

/// What was answered is there; what was not is there whole, or is not there.
async fn expect_kept(round: usize, access: &Access, writes: &[Write]) {
    let over = writes.iter().filter(|write| write.call.1.contains("upstreams/"));
    let over: Vec<&Write> = over.rev().take(2).collect();
    if let [unanswered, rest @ ..] = over.as_slice() {
        // Each write replaced the one before: the last answered one is there, or the one that was under way.
        let read = read_back(access, unanswered.read.as_ref().unwrap()).await;
        let whole = |write: &&Write| holds(&read.json(), &write.body);
        let known = !rest.is_empty();
        assert!(
            !known || std::iter::once(unanswered).chain(rest).any(whole),
            "round {round}: {}",
            read.text()
        );
        return;
    }
    for write in writes {
        let Some(target) = &write.read else { continue };
        let read = read_back(access, target).await;
        let gone = !write.answered && read.status == 404;
        assert!(gone || holds(&read.json(), &write.body), "round {round}: {write:?}: {}", read.text());
    }
}

/// Every object of the Management API has these members, and there are as many as were answered.
async fn expect_whole(access: &Access, what: &str, members: &[&str], answered: usize) {
    let mut count = 0;
    for page in 0.. {
        let list = read_back(access, &format!("/api/v2/{what}?per_page=100&page={page}")).await.json();
        let list = list.as_array().unwrap_or_else(|| panic!("{what}: {list}"));
        for object in list {
            let whole = members.iter().all(|member| !object[member].is_null());
            // The application that stands for everything else has no secret.
            assert!(whole || object["global"] == true, "half-written: {object}");
        }
        count += list.len();
        if list.is_empty() {
            break;
        }
    }
    assert!(count >= answered, "{count} {what}, but {answered} were answered");
}

/// Whether what was read has all that was written, but for what is never shown.
fn holds(read: &Value, written: &Value) -> bool {
    let read = read.get("value").unwrap_or(read);
    let mut members = written
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "password" | "connection"));
    members.all(|(name, value)| read.get(name) == Some(value))
}

async fn read_back(access: &Access, target: &str) -> Response {
    call(access, "GET", target, None).await.unwrap_or_else(|| panic!("GET {target}: no answer"))
}

/// One call of the API that `target` belongs to; nothing when the process went away.
async fn call(access: &Access, method: &str, target: &str, body: Option<&Value>) -> Option<Response> {
    let (port, request) = match target.split('/').nth(1) {
        Some("apisix") => (access.admin.0, Request::new(method, target).header("X-API-KEY", &access.admin.1)),
        Some("kong-admin") => (access.kong, Request::new(method, target)),
        _ => {
            let (port, token) = &access.management;
            (*port, Request::new(method, target).header("Host", &format!("localhost:{port}")).bearer(token))
        }
    };
    let request = match body {
        Some(body) => request.json(body),
        None => request,
    };
    let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let mut connection = Connection::over(stream);
    connection.send(request.bytes()).await;
    connection.response().await
}

async fn management_token(gate: &Portcullis) -> String {
    token(gate, "AUTH0_MGMT", &format!("{}api/v2/", gate.variable("ISSUER"))).await
}

/// A token by client credentials of one of the applications of `dev.env`.
async fn token(gate: &Portcullis, application: &str, audience: &str) -> String {
    let asked = json!({
        "grant_type": "client_credentials",
        "client_id": gate.variable(&format!("{application}_CLIENT_ID")),
        "client_secret": gate.variable(&format!("{application}_CLIENT_SECRET")),
        "audience": audience,
    });
    let port = gate.port(9400);
    let request =
        Request::new("POST", "/oauth/token").header("Host", &format!("localhost:{port}")).json(&asked);
    let answer = request.send(port).await;
    let token = answer.json()["access_token"].as_str().map(str::to_owned);
    token.unwrap_or_else(|| panic!("no token: {}", answer.text()))
}
