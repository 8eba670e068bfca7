//! The Admin API as its clients see it, over a store in memory; and the guide, pasted, up to the upstream.

mod certificates;
mod consumers;
mod declared;
mod guards;
mod guide;
mod lists;
mod odd;
mod plugins;
mod reference;
mod routes;
mod routing;
mod schemas;
mod services;
mod upstream;
mod upstreams;

use std::sync::Arc;

use ::plugins::{grants, login_methods};
use axum::{Router, body::Body};
use base::{Clock, Keyring, Random, UnixMillis};
use fetch::{Fetcher, Policy};
use gateway::{engine::Traffic, error::ErrorBody, snapshot::Publisher, upstream::Live};
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use rp::{
    assertion::AssertionKeys,
    provider::Providers,
    session::{EndedRecord, EndedSessions, EndedStore, RedisLinks, Refreshes, Saved, TlsChoices},
};
use serde_json::{Value, json};
use store::{MemoryStore, Store};
use tokio::runtime::Handle;
use tower::ServiceExt;

use crate::{
    Access, AdminKey, AdminState, Dialect, Options, OwnKeys,
    plugins::{Registry, openid_connect::OpenidConnect},
    router,
};

const NOW: UnixMillis = UnixMillis::from_secs(1_800_000_000);

/// One process with the dialect in it.
struct World {
    router: Router,
    dialect: Arc<Dialect>,
    publisher: Arc<Publisher>,
    store: Arc<MemoryStore>,
    keyring: Keyring,
    clock: Clock,
    live: Arc<Live>,
    providers: Providers,
}

/// A record of ended sessions that lasts no longer than the process.
struct Forgetful;

impl EndedStore for Forgetful {
    fn save(&self, _record: EndedRecord) -> Saved {
        Box::pin(async { Ok(()) })
    }

    fn forget(&self, _keys: Vec<String>) -> Saved {
        Box::pin(async { Ok(()) })
    }
}

/// An answer of the Admin API.
#[derive(Debug)]
struct Told {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl World {
    async fn new() -> Self {
        let clock = Clock::fixed(NOW);
        Self::over(
            Arc::new(MemoryStore::new(clock.clone())),
            Keyring::generate(&Random::system()),
            clock,
            &[],
        )
        .await
    }

    async fn with_keys(keys: &[AdminKey]) -> Self {
        let clock = Clock::fixed(NOW);
        Self::over(
            Arc::new(MemoryStore::new(clock.clone())),
            Keyring::generate(&Random::system()),
            clock,
            keys,
        )
        .await
    }

    /// Another process over the same store.
    async fn restarted(&self) -> Self {
        Self::over(Arc::clone(&self.store), self.keyring.clone(), self.clock.clone(), &[]).await
    }

    async fn over(store: Arc<MemoryStore>, keyring: Keyring, clock: Clock, keys: &[AdminKey]) -> Self {
        let (runtime, policy) = (Handle::current(), Policy { allow_loopback: true, ..Policy::default() });
        let fetcher = Fetcher::new(&policy, runtime.clone(), clock.clone()).unwrap();
        let random = Random::system();
        let providers = Providers::new(fetcher, clock.clone(), runtime.clone());
        let grants = grants::Services {
            providers: providers.clone(),
            clock: clock.clone(),
            random: random.clone(),
            tokens: Arc::new(grants::ClientTokens::new(runtime.clone(), clock.clone(), &random)),
        };
        let tls = |verify| fetch::tls_config(None, verify).unwrap();
        let tls = TlsChoices { verified: tls(true), unverified: tls(false) };
        let sessions = ::plugins::openid_connect::Services {
            providers: providers.clone(),
            clock: clock.clone(),
            session_keys: Keyring::generate(&random),
            assertion_keys: Arc::new(AssertionKeys::new(Vec::new())),
            used_states: Arc::default(),
            used_logouts: Arc::default(),
            redis: RedisLinks::new(runtime.clone(), tls, Vec::new()),
            ended: Arc::new(EndedSessions::new(Arc::new(Forgetful), [])),
            refreshes: Arc::new(Refreshes::new(runtime, clock.clone(), random.clone())),
            proofs: Arc::default(),
            revocations: Arc::default(),
            random: random.clone(),
        };
        let tokens = Arc::clone(&grants.tokens);
        let services = login_methods::Services { tokens: sessions, grants };
        let publisher = Arc::new(Publisher::new((ErrorBody { member: "error_msg" }, "404 Route Not Found")));
        let live = Arc::new(Live::new("", Vec::new()).unwrap());
        let dialect = Dialect::open(Options {
            answer_headers: crate::AnswerHeaders::default(),
            store: Arc::clone(&store) as Arc<dyn Store>,
            keyring: keyring.clone(),
            clock: clock.clone(),
            random,
            registry: Registry::with_built_in(vec![Arc::new(OpenidConnect::new(services))], &clock),
            live: Arc::clone(&live),
            publisher: Arc::clone(&publisher),
            environment: Arc::new(|name| (name == "A_SECRET").then(|| "from the environment".to_owned())),
            providers: providers.clone(),
            tokens,
            own_keys: OwnKeys {
                keys: Arc::new(AssertionKeys::new(Vec::new())),
                replace: Arc::new(|| Box::pin(async { Ok(()) })),
            },
        });
        let dialect = dialect.await.unwrap();
        let access = Arc::new(Access::new(keys, vec!["kong".to_owned()]).unwrap());
        let router = router(AdminState {
            dialect: Arc::clone(&dialect),
            access,
            read_only: false,
            traffic: Traffic::of(1),
            hostname: "gate-1".to_owned(),
        });
        Self { router, dialect, publisher, store, keyring, clock, live, providers }
    }

    async fn send(&self, request: Request<Body>) -> Told {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Told { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    async fn json(&self, method: &str, path: &str, body: Value) -> Told {
        self.raw(method, path, "application/json", &body.to_string()).await
    }

    async fn form(&self, method: &str, path: &str, body: &str) -> Told {
        self.raw(method, path, "application/x-www-form-urlencoded", body).await
    }

    async fn raw(&self, method: &str, path: &str, content_type: &str, body: &str) -> Told {
        let request = request(method, path).header("content-type", content_type);
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    async fn get(&self, path: &str) -> Told {
        self.call("GET", path).await
    }

    async fn delete(&self, path: &str) -> Told {
        self.call("DELETE", path).await
    }

    async fn call(&self, method: &str, path: &str) -> Told {
        self.send(request(method, path).body(Body::empty()).unwrap()).await
    }

    /// Everything under a prefix of the store, as text.
    async fn stored(&self, prefix: &str) -> String {
        let (entries, _) = self.store.range(prefix).await.unwrap();
        entries
            .iter()
            .map(|entry| format!("{} {}\n", entry.key, String::from_utf8_lossy(&entry.value)))
            .collect()
    }
}

fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path).header("host", "localhost:8001")
}

impl Told {
    fn id(&self) -> &str {
        self.body["id"].as_str().unwrap()
    }

    fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    /// 400 code 2 with these fields.
    fn assert_violation(&self, fields: Value) {
        assert_eq!(self.status, 400, "{self:?}");
        assert_eq!(
            (&self.body["code"], &self.body["name"]),
            (&json!(2), &json!("schema violation")),
            "{self:?}"
        );
        assert_eq!(self.body["fields"], fields);
    }
}

#[tokio::test]
async fn the_node_says_what_it_is_also_under_the_prefix_of_the_guides() {
    let world = World::new().await;
    for path in ["/", "/kong-admin", "/kong-admin/"] {
        let node = world.get(path).await;
        assert_eq!((node.status, &node.body["version"]), (200, &json!("3.9.1")), "{path}");
        assert_eq!(node.body["hostname"], "gate-1");
        assert_eq!(node.body["plugins"]["available_on_server"]["openid-connect"]["priority"], 1050);
    }
    let status = world.get("/status").await;
    assert_eq!(
        status.body,
        json!({
            "server": {
                "connections_accepted": 0, "connections_active": 0, "connections_handled": 0,
                "connections_reading": 0, "connections_waiting": 0, "connections_writing": 0,
                "total_requests": 0,
            },
            "database": {"reachable": true}, "configuration_hash": "0".repeat(32), "broken": {},
        })
    );
    assert_eq!(status.headers["server"], "kong/3.9.1");
    assert_eq!(status.headers["content-type"], "application/json; charset=utf-8");
    assert!(status.headers.contains_key("x-kong-admin-latency"));
    assert_eq!(
        world.get("/plugins/enabled").await.body,
        json!({"enabled_plugins": ["acl", "basic-auth", "hmac-auth", "jwt", "key-auth", "openid-connect"]})
    );
}

#[tokio::test]
async fn what_is_not_here_is_404_and_what_kong_has_beside_is_named() {
    let world = World::new().await;
    let unknown = world.get("/nothing").await;
    assert_eq!((unknown.status, unknown.body), (404, json!({"message": "Not found"})));
    for path in ["/keys", "/key-sets/x", "/oauth2", "/licenses", "/filter-chains"] {
        let absent = world.json("POST", path, json!({})).await;
        assert!(
            absent.status == 404 && absent.message().contains("is not implemented in this build"),
            "{path}: {absent:?}"
        );
    }
    for bad in ["/services//a", "/%2e%2e/services", "/services/a%00"] {
        assert_eq!(world.get(bad).await.status, 404, "{bad}");
    }
}

#[tokio::test]
async fn verbs_that_a_path_does_not_have_are_405_and_options_lists_the_others() {
    let world = World::new().await;
    for (method, path) in [
        ("PUT", "/services"),
        ("POST", "/services/a"),
        ("POST", "/"),
        ("DELETE", "/routes"),
        ("BREW", "/services"),
    ] {
        let wrong = world.call(method, path).await;
        assert_eq!((wrong.status, wrong.message()), (405, "Method not allowed"), "{method} {path}");
    }
    let options = world.call("OPTIONS", "/services").await;
    assert_eq!(
        (options.status, options.headers["allow"].to_str().unwrap()),
        (204, "GET, HEAD, OPTIONS, POST")
    );
    let options = world.call("OPTIONS", "/services/a").await;
    assert_eq!(options.headers["allow"], "DELETE, GET, HEAD, OPTIONS, PATCH, PUT");
    let head = world.call("HEAD", "/services").await;
    assert_eq!((head.status, head.body), (200, Value::Null));
}

#[tokio::test]
async fn a06_a_web_page_cannot_reach_the_admin_api() {
    let world = World::new().await;
    for (name, value) in [
        ("host", "evil.com"),
        ("host", "localhost.evil.com:8001"),
        ("origin", "http://evil.com"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let mut request = request("POST", "/services").body(Body::from(r#"{"host":"a"}"#)).unwrap();
        request.headers_mut().insert("content-type", "application/json".parse().unwrap());
        request
            .headers_mut()
            .insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        assert_eq!(world.send(request).await.status, 403, "{name}: {value}");
    }
    assert_eq!(world.get("/services").await.body["data"], json!([]));
    let by_name = Request::get("/").header("host", "kong:8001").body(Body::empty()).unwrap();
    assert_eq!(world.send(by_name).await.status, 200);
}

#[tokio::test]
async fn a01_a05_keys_are_asked_for_where_there_are_some() {
    let key = |text: &str, role| AdminKey { secret: base::Secret::new(text.to_owned()), role };
    let keys =
        [key("administrators-key", crate::Role::Admin), key("the-viewers-own-key", crate::Role::Viewer)];
    let world = World::with_keys(&keys).await;
    let ask = async |method: Method, headers: &[&str]| {
        let mut request = request(method.as_str(), "/services").body(Body::from(r#"{"host":"a"}"#)).unwrap();
        request.headers_mut().insert("content-type", "application/json".parse().unwrap());
        for value in headers {
            request.headers_mut().append("kong-admin-token", value.parse().unwrap());
        }
        world.send(request).await.status
    };
    for wrong in [
        &[][..],
        &[""],
        &["wrong-key-of-mine"],
        &["administrators-ke"],
        &["administrators-key", "administrators-key"],
    ] {
        assert_eq!(ask(Method::GET, wrong).await, 401, "{wrong:?}");
    }
    assert_eq!(ask(Method::GET, &["the-viewers-own-key"]).await, 200);
    assert_eq!(ask(Method::POST, &["the-viewers-own-key"]).await, 403);
    assert_eq!(ask(Method::POST, &["administrators-key"]).await, 201);
}

#[tokio::test]
async fn a10_bodies_that_cannot_be_read_are_refused() {
    let world = World::new().await;
    let json = "application/json";
    for (content_type, body, status) in [
        (json, "{", 400),
        (json, "[]", 400),
        (json, r#"{"host":"a","host":"b"}"#, 400),
        (json, r#"{"port":1e400}"#, 400),
        (json, &format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000)), 400),
        ("text/plain", "host=a", 415),
        ("multipart/form-data; boundary=x", "--y--", 400),
        ("multipart/form-data", "--x--", 400),
        ("application/x-www-form-urlencoded", "a[=1", 400),
        ("application/x-www-form-urlencoded", &"a=1&".repeat(1001), 400),
    ] {
        let answer = world.raw("POST", "/services", content_type, body).await;
        assert_eq!(answer.status, status, "{content_type} {}", &body[..body.len().min(40)]);
        assert!(!answer.message().is_empty());
    }
    let large = format!(r#"{{"name":"{}"}}"#, "x".repeat(11 << 20));
    assert_eq!(world.raw("POST", "/services", json, &large).await.status, 413);
    assert_eq!(world.raw("POST", "/services", json, "").await.message(), "Cannot parse JSON body");
    let form = "application/x-www-form-urlencoded";
    world
        .raw("POST", "/services", form, "")
        .await
        .assert_violation(json!({"host": "required field missing"}));
    assert_eq!(world.get("/services").await.body["data"], json!([]), "nothing was written");
}

#[tokio::test]
async fn entities_survive_a_restart_and_serve_again() {
    let world = World::new().await;
    world.json("POST", "/services", json!({"name": "s", "host": "127.0.0.1"})).await;
    world.json("POST", "/services/s/routes", json!({"paths": ["/a"]})).await;
    let again = world.restarted().await;
    assert_eq!(again.get("/services/s").await.body, world.get("/services/s").await.body);
    assert_eq!(again.publisher.current().revisions["kong"], world.publisher.current().revisions["kong"]);
    assert_eq!(again.get("/services/s/routes").await.body["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_another_node_writes_is_taken_up() {
    let world = World::new().await;
    let other = world.restarted().await;
    other.json("POST", "/services", json!({"name": "s", "host": "a"})).await;
    let clash = world.json("POST", "/services", json!({"name": "s", "host": "b"})).await;
    assert_eq!(clash.status, 409, "{clash:?}");
    world.dialect.reload().await.unwrap();
    assert_eq!(world.get("/services/s").await.body["host"], "a");
    let route = other.json("POST", "/services/s/routes", json!({"paths": ["/"]})).await;
    assert_eq!(route.status, 201);
    assert_eq!(world.delete("/services/s").await.status, 400, "a route of the other node names it");
}

#[tokio::test]
async fn a_broken_entity_is_named_and_closes_its_route_alone() {
    let world = World::new().await;
    let service = world.json("POST", "/services", json!({"host": "a"})).await;
    let route =
        world.json("POST", "/routes", json!({"paths": ["/a"], "service": {"id": service.id()}})).await;
    let key = format!("/portcullis/kong/plugins/{}", "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0");
    let plugin =
        json!({"id": "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", "name": "oauth2", "route": {"id": route.id()}});
    let put = store::Operation::Put { key, value: plugin.to_string().into_bytes(), ttl: None };
    world.store.commit(Vec::new(), vec![put]).await.unwrap();
    let again = world.restarted().await;
    let broken = again.get("/status").await.body["broken"].clone();
    assert!(broken[format!("routes/{}", route.id())].as_str().unwrap().contains("oauth2"), "{broken}");
    assert!(broken["plugins/0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"].is_string(), "{broken}");
    assert_eq!(again.get("/routes").await.body["data"].as_array().unwrap().len(), 1);
}
