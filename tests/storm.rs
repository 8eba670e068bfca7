//! A storm of configuration changes under load: a hundred a second, and not one request may fail.
//!
//! The changes hit what is being used (the upstream, the route and the plugin of the very requests under load) as well
//! as the rest (routes that come and go). Requests are counted, not timed. Ten seconds' worth of changes by
//! default, thirty with the feature `peers`, or as many as `STORM_SECONDS` says.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, as tests do"
)]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use support::{Admin, Connection, Portcullis, Request, Response, within};
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

/// Changes a second, over all writers.
const RATE: u64 = 100;
const WRITERS: u64 = 4;
const CLIENTS: usize = 8;

/// What the clients of the gateway share.
struct Load {
    port: u16,
    token: String,
    over: AtomicBool,
    served: AtomicU64,
}

/// What the writers need to make routes.
#[derive(Clone)]
struct Means {
    admin: Admin,
    /// Port of the Admin API in Kong's dialect.
    kong: u16,
    echo: u16,
    /// Configuration of `openid-connect` for tokens.
    plugin: Value,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f20_a_hundred_changes_a_second_fail_no_request() {
    let gate = Portcullis::dev();
    let (admin, echo) = (gate.admin(), gate.port(9480));
    let plugin = json!({
        "client_id": gate.variable("AUTH0_CLIENT_ID"),
        "client_secret": gate.variable("AUTH0_CLIENT_SECRET"),
        "discovery": format!("{}.well-known/openid-configuration", gate.variable("ISSUER")),
        "bearer_only": true,
        "use_jwks": true,
    });
    let means = Means { admin: admin.clone(), kong: gate.port(8001), echo, plugin };
    for id in ["used", "spare"] {
        admin.set(&format!("upstreams/{id}"), &upstream(echo, 1)).await;
    }
    admin.set("routes/used", &used_route(0)).await;
    admin.set("routes/guarded", &means.guarded_route(0)).await;
    for (what, body) in [
        ("services/kong", json!({"url": format!("http://127.0.0.1:{echo}/anything")})),
        ("services/kong/routes/kong", json!({"paths": ["/kong"]})),
    ] {
        let answer = means.kong("PUT", what, &body).await;
        assert!(matches!(answer.status, 200 | 201), "{what}: {}", answer.text());
    }

    let token = token(&gate).await;
    let load = Load { port: gate.port(9080), token, over: AtomicBool::new(false), served: AtomicU64::new(0) };
    let load = Arc::new(load);
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(keep_asking(number, Arc::clone(&load)));
    }
    let each = RATE * seconds() / WRITERS;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(keep_changing(means.clone(), writer, each));
    }
    let made: u64 = writers.join_all().await.into_iter().sum();
    load.over.store(true, Ordering::SeqCst);
    let failures: Vec<String> = clients.join_all().await.into_iter().flatten().collect();
    let served = load.served.load(Ordering::SeqCst);
    println!("{made} changes, {served} requests, {} failed", failures.len());
    assert_eq!(made, each * WRITERS);
    assert!(failures.is_empty(), "of {served} requests failed {}:\n{}", failures.len(), failures.join("\n"));
    assert!(served > made, "only {served} requests ran beside {made} changes");
}

fn seconds() -> u64 {
    let asked = std::env::var("STORM_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    asked.unwrap_or(if cfg!(feature = "peers") { 30 } else { 10 })
}

fn upstream(echo: u16, weight: u64) -> Value {
    json!({"type": "roundrobin", "nodes": {format!("127.0.0.1:{echo}"): weight}})
}

/// The route under load, each time with something else that does not change what it serves.
fn used_route(number: u64) -> Value {
    json!({
        "uri": "/used/*",
        "desc": format!("change {number}"),
        "priority": number % 3,
        "upstream_id": if number.is_multiple_of(2) { "used" } else { "spare" },
    })
}

impl Means {
    /// One call of Kong's Admin API.
    async fn kong(&self, method: &str, what: &str, body: &Value) -> Response {
        Request::new(method, &format!("/{what}")).json(body).send(self.kong).await
    }

    /// The route under load that asks for a token, each time with another plugin instance.
    fn guarded_route(&self, number: u64) -> Value {
        let mut plugin = self.plugin.clone();
        plugin["realm"] = json!(format!("realm-{number}"));
        json!({"uri": "/guarded/*", "plugins": {"openid-connect": plugin}, "upstream": upstream(self.echo, 1)})
    }
}

/// Makes its share of the changes, at its share of the rate; how many there were.
async fn keep_changing(means: Means, writer: u64, changes: u64) -> u64 {
    let (admin, echo) = (&means.admin, means.echo);
    let mut beat = interval(Duration::from_millis(1000 * WRITERS / RATE));
    // A machine that falls behind makes the changes all the same, only later.
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0..changes {
        beat.tick().await;
        let passing = format!("routes/passing-{writer}-{}", number / 6);
        let answer = match number % 6 {
            0 => admin.put("routes/used", &used_route(number)).await,
            1 => admin.put("upstreams/used", &upstream(echo, 1 + number % 9)).await,
            2 => admin.put("routes/guarded", &means.guarded_route(number)).await,
            3 => means.kong("PATCH", "routes/kong", &json!({"tags": [format!("change-{number}")]})).await,
            4 => {
                let body =
                    json!({"uri": format!("/passing/{writer}-{number}"), "upstream": upstream(echo, 1)});
                admin.put(&passing, &body).await
            }
            _ => admin.delete(&passing).await,
        };
        assert!(matches!(answer.status, 200 | 201), "change {number}: {} {}", answer.status, answer.text());
    }
    changes
}

/// Sends one request after another until the storm is over, and says which failed.
async fn keep_asking(client: usize, load: Arc<Load>) -> Vec<String> {
    let mut failures = Vec::new();
    let mut connection = None;
    let path = ["used", "guarded", "used", "kong"][client % 4];
    for number in 0_u64.. {
        if load.over.load(Ordering::SeqCst) {
            break;
        }
        let id = format!("request-{client}-{number}-");
        let target = format!("/{path}/{id}");
        let mut open = match connection.take() {
            Some(open) => open,
            None => match TcpStream::connect(("127.0.0.1", load.port)).await {
                Ok(stream) => Connection::over(stream),
                Err(error) => {
                    failures.push(format!("{target}: {error}"));
                    continue;
                }
            },
        };
        open.send(Request::get(&target).bearer(&load.token).bytes()).await;
        let answer = within("an answer under load", open.response()).await;
        load.served.fetch_add(1, Ordering::Relaxed);
        match answer {
            Some(answer) if answer.status == 200 && answer.text().contains(&id) => {
                // The gateway may end a connection when it says so first.
                connection = Some(open).filter(|_| answer.header("connection") != Some("close"));
            }
            Some(answer) => failures.push(format!("{target}: {} {}", answer.status, answer.text())),
            None => failures.push(format!("{target}: the connection ended")),
        }
    }
    failures
}

/// A token of the demo application for the demo API.
async fn token(gate: &Portcullis) -> String {
    let asked = json!({
        "grant_type": "client_credentials",
        "client_id": gate.variable("AUTH0_CLIENT_ID"),
        "client_secret": gate.variable("AUTH0_CLIENT_SECRET"),
        "audience": gate.variable("AUTH0_AUDIENCE"),
    });
    let port = gate.port(9400);
    let request =
        Request::new("POST", "/oauth/token").header("Host", &format!("localhost:{port}")).json(&asked);
    request.send(port).await.json()["access_token"].as_str().unwrap().to_owned()
}
