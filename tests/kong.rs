//! The Kong dialect at the built binary: its Admin API as Kong's clients call it, and what its entities do to requests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, as tests do"
)]

mod support;

#[path = "kong/additions.rs"]
mod additions;
#[path = "kong/admin.rs"]
mod admin;
#[path = "kong/balancing.rs"]
mod balancing;
#[path = "kong/calls.rs"]
mod calls;
#[path = "kong/closed.rs"]
mod closed;
#[path = "kong/declared.rs"]
mod declared;
#[path = "kong/endpoints.rs"]
mod endpoints;
#[path = "kong/entities.rs"]
mod entities;
#[path = "kong/failures.rs"]
mod failures;
#[path = "kong/groups.rs"]
mod groups;
#[path = "kong/health.rs"]
mod health;
#[path = "kong/machines.rs"]
mod machines;
#[path = "kong/methods.rs"]
mod methods;
#[path = "kong/node.rs"]
mod node;
#[path = "kong/proxying.rs"]
mod proxying;
#[path = "kong/searching.rs"]
mod searching;
#[path = "kong/sessions.rs"]
mod sessions;
#[path = "kong/tools.rs"]
mod tools;
#[path = "kong/transforming.rs"]
mod transforming;
#[path = "kong/words.rs"]
mod words;

use std::sync::Arc;

use serde_json::{Value, json};
use support::{Answer, Portcullis, Request, Response, Upstream, shared, unique, within};

/// A gate with a service and a route of a test's own.
struct Kong {
    gate: Arc<Portcullis>,
    upstream: Upstream,
    /// Name of service and route.
    name: String,
}

impl Kong {
    /// On the shared instance.
    async fn new() -> Self {
        Self::on(shared()).await
    }

    async fn on(gate: Arc<Portcullis>) -> Self {
        let (upstream, name) = (Upstream::start(), unique("kong-"));
        let kong = Self { gate, upstream, name };
        let url = format!("http://{}/up", kong.upstream.node());
        kong.made("POST", "/services", json!({"name": kong.name, "url": url, "retries": 0})).await;
        let route = json!({"name": kong.name, "paths": [format!("/{}", kong.name)]});
        kong.made("POST", &format!("/services/{}/routes", kong.name), route).await;
        kong
    }

    /// One call of the Admin API.
    async fn call(&self, method: &str, path: &str, body: Value) -> Response {
        Request::new(method, path).json(&body).send(self.gate.port(8001)).await
    }

    /// One call without a body.
    async fn ask(&self, method: &str, path: &str) -> Response {
        Request::new(method, path).send(self.gate.port(8001)).await
    }

    /// A write that must succeed.
    async fn made(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.call(method, path, body.clone()).await;
        assert!(
            matches!(answer.status, 200 | 201),
            "{method} {path} {body}: {} {}",
            answer.status,
            answer.text()
        );
        answer.json()
    }

    /// Puts a plugin on the route, in place of the one of that name.
    async fn plugin(&self, name: &str, config: Value) -> Value {
        let key = format!("{}-{name}", self.name);
        let body = json!({"name": name, "instance_name": key, "config": config});
        self.made("PUT", &format!("/routes/{}/plugins/{key}", self.name), body).await
    }

    /// A request below the route's path.
    fn request(&self, method: &str, rest: &str) -> Request {
        Request::new(method, &format!("/{}{rest}", self.name))
    }

    async fn send(&self, request: Request) -> Response {
        self.gate.send(request).await
    }
}
