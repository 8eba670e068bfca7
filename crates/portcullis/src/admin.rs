//! What the Admin listener answers beside the Admin API: whether the process is ready, and the switches of `dev`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use apisix::admin::{Access, Role};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{Request, State},
    http::{StatusCode, header::CONTENT_TYPE},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base::Clock;
use serde_json::{Value, json};

use crate::upkeep::Upkeep;

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
    pub(crate) access: Arc<Access>,
    /// With `--test-clock`.
    pub(crate) clock: Option<TestClock>,
}

/// The process's clock, for tests to move.
#[derive(Clone)]
pub(crate) struct TestClock {
    pub(crate) clock: Clock,
    pub(crate) upkeep: Upkeep,
}

/// `POST /dev/clock` and `GET /dev/mail`.
pub(crate) fn dev(switches: DevSwitches) -> Router {
    let mut router = Router::new().route("/dev/mail", get(mail));
    if let Some(clock) = switches.clock {
        router = router.merge(Router::new().route("/dev/clock", post(advance)).with_state(clock));
    }
    router.layer(from_fn_with_state(switches.access, guard))
}

/// Lets administrators through.
async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match access.authorize(&parts) {
        Ok(Role::Admin) => next.run(Request::from_parts(parts, body)).await,
        Ok(Role::Viewer) => refusal(StatusCode::FORBIDDEN, "this takes an administrator's key"),
        Err((status, body)) => (status, [(CONTENT_TYPE, "application/json")], body).into_response(),
    }
}

/// Answers when everything that the new time brings has been done.
async fn advance(State(test): State<TestClock>, body: Bytes) -> Response {
    let seconds = serde_json::from_slice::<Value>(&body).ok().and_then(|body| body.get("advance")?.as_u64());
    let Some(seconds) = seconds.filter(|seconds| *seconds <= MAX_ADVANCE) else {
        return refusal(StatusCode::BAD_REQUEST, "`advance` must be a whole number of seconds, 0 or more");
    };
    test.clock.advance(Duration::from_secs(seconds));
    test.upkeep.catch_up().await;
    Json(json!({ "now": test.clock.now().secs() })).into_response()
}

/// The mail that would have been sent, the newest last. Nothing in this version sends any.
async fn mail() -> Json<Value> {
    Json(json!([]))
}

fn refusal(status: StatusCode, reason: &str) -> Response {
    (status, Json(json!({ "error_msg": reason }))).into_response()
}
