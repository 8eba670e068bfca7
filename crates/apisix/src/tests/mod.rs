//! The Admin API from outside, over the store in memory.

mod consumers;
mod declared;
mod engine;
mod fuzz;
mod list;
mod loading;
mod reference;
mod refusals;
mod security;
mod verbs;
mod writers;

use std::{
    any::Any,
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{Router, body::Body};
use base::{Clock, Keyring, Random, Secret, UnixMillis};
use gateway::{
    error::ConfigError,
    plugin::{Phases, Plugin, PluginResponse},
    snapshot::Publisher,
    upstream::Live,
};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use store::{MemoryStore, Store};
use tower::ServiceExt;

use crate::{
    Dialect, Options,
    admin::{Access, AdminKey, AdminState, Role, router},
    plugins::{CompileContext, DialectPlugin, Registry},
    schema::Schema,
    serving::NOT_FOUND,
};

const ADMIN: &str = "admin-key-of-the-tests";
const VIEWER: &str = "viewer-key-of-the-tests";

/// One gate's Admin API.
struct Gate {
    router: Router,
    dialect: Arc<Dialect>,
    store: Arc<dyn Store>,
    publisher: Arc<Publisher>,
    live: Arc<Live>,
    clock: Clock,
}

struct Told {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Told {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Status and `error_msg`.
    fn refusal(&self) -> (u16, String) {
        (self.status.as_u16(), self.json()["error_msg"].as_str().unwrap_or_default().to_owned())
    }
}

fn clock() -> Clock {
    Clock::fixed(UnixMillis::from_secs(1_700_000_000))
}

fn keyring() -> Keyring {
    Keyring::generate(&Random::seeded(9))
}

impl Gate {
    async fn new() -> Self {
        let clock = clock();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock.clone()));
        Self::on(store, clock).await
    }

    async fn on(store: Arc<dyn Store>, clock: Clock) -> Self {
        let publisher = Arc::new(Publisher::new((crate::compile::ERRORS, NOT_FOUND)));
        let live = Arc::new(Live::new("", Vec::new()).unwrap());
        let dialect = Dialect::open(Options {
            store: Arc::clone(&store),
            keyring: keyring(),
            clock: clock.clone(),
            random: Random::seeded(1),
            registry: Registry::with_consumers(vec![Arc::new(Stamp), Arc::new(Late)], &clock),
            live: Arc::clone(&live),
            publisher: Arc::clone(&publisher),
        })
        .await
        .unwrap();
        let key = |text: &str, role| AdminKey { secret: Secret::new(text.to_owned()), role };
        let access =
            Access::new(&[key(ADMIN, Role::Admin), key(VIEWER, Role::Viewer)], vec!["admin.test".to_owned()]);
        let access = Arc::new(access.unwrap());
        let router = router(AdminState { dialect: Arc::clone(&dialect), access, read_only: false });
        Self { router, dialect, store, publisher, live, clock }
    }

    async fn send(&self, request: Request<Body>) -> Told {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Told { status: parts.status, headers: parts.headers, text }
    }

    /// With the administrator's key; `path` follows `/apisix/admin/`.
    async fn raw(&self, method: &str, path: &str, body: impl Into<Body>) -> Told {
        self.send(request(method, path).header("x-api-key", ADMIN).body(body.into()).unwrap()).await
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> Told {
        self.raw(method, path, body.to_string()).await
    }

    async fn put(&self, path: &str, body: Value) -> Told {
        self.ask("PUT", path, body).await
    }

    async fn get(&self, path: &str) -> Told {
        self.raw("GET", path, "").await
    }

    async fn delete(&self, path: &str) -> Told {
        self.raw("DELETE", path, "").await
    }

    async fn created(&self, path: &str, body: Value) {
        let told = self.put(path, body).await;
        assert!(told.status.is_success(), "{}", told.text);
    }
}

fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("/apisix/admin/{path}")).header("host", "127.0.0.1:9180")
}

fn upstream() -> Value {
    json!({"type": "roundrobin", "nodes": {"127.0.0.1:9480": 1}})
}

fn route(uri: &str) -> Value {
    json!({"uri": uri, "upstream": upstream()})
}

/// A plugin that stamps answers.
struct Stamp;

struct Stamped(HeaderValue);

impl DialectPlugin for Stamp {
    fn name(&self) -> &'static str {
        "stamp"
    }

    fn priority(&self) -> i64 {
        100
    }

    fn schema(&self) -> &Schema {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            Schema::object()
                .required("text", Schema::string().doc("what is stamped"))
                .field("secret", Schema::string().length(8, 64).secret())
                .field("inner", Schema::object().field("key", Schema::string().secret()))
                .field("later", Schema::boolean().unimplemented_except(false))
        });
        &SCHEMA
    }

    fn aliases(&self) -> &'static [(&'static str, &'static str)] {
        &[("txet", "text"), ("sceret", "secret")]
    }

    fn compile(&self, conf: &Value, _cx: &CompileContext<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let text = conf["text"].as_str().unwrap_or_default();
        let value =
            HeaderValue::from_str(text).map_err(|_| ConfigError::new("text", "not a header's value"))?;
        Ok(Arc::new(Stamped(value)))
    }
}

impl Plugin for Stamped {
    fn name(&self) -> &'static str {
        "stamp"
    }

    fn phases(&self) -> Phases {
        Phases::RESPONSE_HEADERS
    }

    fn response_headers(&self, response: &mut PluginResponse<'_>) {
        response.headers.append("x-stamp", self.0.clone());
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The same with a lower priority.
struct Late;

impl DialectPlugin for Late {
    fn name(&self) -> &'static str {
        "late"
    }

    fn priority(&self) -> i64 {
        -1
    }

    fn schema(&self) -> &Schema {
        Stamp.schema()
    }

    fn compile(&self, conf: &Value, cx: &CompileContext<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
        Stamp.compile(conf, cx)
    }
}

const SECOND: Duration = Duration::from_secs(1);
