//! What the Admin listener answers beside the Admin API: whether the process is ready, and the switches of `dev`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use base::{Clock, Secret, same_bytes};
use serde_json::{Value, json};

/// Header with the key.
const KEY_HEADER: &str = "x-api-key";
/// A hundred years: beyond it, dates stop making sense.
const MAX_ADVANCE: u64 = 100 * 366 * 24 * 3600;

/// Whether everything serves. Clones share one answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says so from now on.
    pub(crate) fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// `GET /status/ready`: 200 once everything serves, else 503. It asks for no key and tells nothing else.
pub(crate) fn status(readiness: Readiness) -> Router {
    let ready = async |State(readiness): State<Readiness>| match readiness.is_ready() {
        true => (StatusCode::OK, Json(json!({ "status": "ready" }))),
        false => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "starting or draining" }))),
    };
    Router::new().route("/status/ready", get(ready)).with_state(readiness)
}

/// What `dev` adds, for whoever has the admin key.
#[derive(Clone)]
pub(crate) struct DevSwitches {
    pub(crate) key: Secret<String>,
    /// With `--test-clock`.
    pub(crate) clock: Option<TestClock>,
}

/// The process's clock, for tests to move.
#[derive(Clone)]
pub(crate) struct TestClock {
    pub(crate) clock: Clock,
}

/// `POST /dev/clock` and `GET /dev/mail`.
pub(crate) fn dev(switches: DevSwitches) -> Router {
    let mut router = Router::new();
    if switches.clock.is_some() {
        router = router.route("/dev/clock", axum::routing::post(advance));
    }
    router.with_state(switches)
}

async fn advance(
    State(switches): State<DevSwitches>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Response {
    if let Some(refused) = without_key(&switches.key, &headers) {
        return refused;
    }
    let seconds = serde_json::from_slice::<Value>(&body).ok().and_then(|body| body.get("advance")?.as_u64());
    let (Some(test), Some(seconds)) = (switches.clock, seconds.filter(|seconds| *seconds <= MAX_ADVANCE))
    else {
        return refusal(StatusCode::BAD_REQUEST, "`advance` must be a whole number of seconds, 0 or more");
    };
    test.clock.advance(Duration::from_secs(seconds));
    Json(json!({ "now": test.clock.now().secs() })).into_response()
}

/// The answer to a request that does not carry `key` exactly once.
fn without_key(key: &Secret<String>, headers: &HeaderMap) -> Option<Response> {
    let mut given = headers.get_all(KEY_HEADER).iter();
    match (given.next(), given.next()) {
        (Some(given), None) if same_bytes(given.as_bytes(), key.expose().as_bytes()) => None,
        _ => Some(refusal(StatusCode::UNAUTHORIZED, "give the admin key in X-API-KEY")),
    }
}

fn refusal(status: StatusCode, reason: &str) -> Response {
    (status, Json(json!({ "error_msg": reason }))).into_response()
}
