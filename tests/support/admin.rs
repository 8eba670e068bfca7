//! A client of the Admin API in APISIX's dialect.

use serde_json::{Value, json};

use super::{Request, Response, Upstream};

/// Talks to one Admin API with one key.
#[derive(Clone)]
pub(crate) struct Admin {
    port: u16,
    key: String,
}

impl Admin {
    /// With this key.
    pub(crate) const fn new(port: u16, key: String) -> Self {
        Self { port, key }
    }

    /// Any call. `path` is the whole target.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Response {
        let request = Request::new(method, path).header("X-API-KEY", &self.key);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        request.send(self.port).await
    }

    /// `GET /apisix/admin/{what}`.
    pub(crate) async fn get(&self, what: &str) -> Response {
        self.call("GET", &format!("/apisix/admin/{what}"), None).await
    }

    /// `PUT /apisix/admin/{what}`.
    pub(crate) async fn put(&self, what: &str, body: &Value) -> Response {
        self.call("PUT", &format!("/apisix/admin/{what}"), Some(body)).await
    }

    /// `DELETE /apisix/admin/{what}`.
    pub(crate) async fn delete(&self, what: &str) -> Response {
        self.call("DELETE", &format!("/apisix/admin/{what}"), None).await
    }

    /// Creates or replaces a resource; anything but success fails the test.
    pub(crate) async fn set(&self, what: &str, body: &Value) {
        let answer = self.put(what, body).await;
        assert!(matches!(answer.status, 200 | 201), "PUT {what} {body}: {} {}", answer.status, answer.text());
    }

    /// A route that sends `uri` to `upstream`, with plugins.
    pub(crate) async fn route(&self, id: &str, uri: &str, upstream: &Upstream, plugins: Value) {
        let body = json!({"uri": uri, "plugins": plugins, "upstream": node(upstream)});
        self.set(&format!("routes/{id}"), &body).await;
    }
}

/// An upstream of one node, with short timeouts so that what stalls is noticed.
pub(crate) fn node(upstream: &Upstream) -> Value {
    json!({
        "type": "roundrobin",
        "nodes": {upstream.node(): 1},
        "timeout": {"connect": 5, "send": 5, "read": 5},
    })
}
