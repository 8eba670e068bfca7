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
use gateway::snapshot::Publisher;
use serde_json::{Map, Value, json};

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
pub(crate) fn ready(readiness: Readiness) -> Router {
    let ready = async |State(readiness): State<Readiness>| match readiness.is_ready() {
        true => (StatusCode::OK, Json(json!({ "status": "ready" }))),
        false => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "starting or draining" }))),
    };
    Router::new().route("/status/ready", get(ready)).with_state(readiness)
}

/// `GET /status`, with a key: the store revision that serves, and every resource that does not, with the reason.
pub(crate) fn status(publisher: Arc<Publisher>, access: Arc<Access>) -> Router {
    let status = async |State(publisher): State<Arc<Publisher>>| {
        let snapshot = publisher.current();
        let broken: Map<_, _> =
            snapshot.broken.iter().map(|(name, why)| (name.clone(), json!(why))).collect();
        Json(json!({ "revisions": snapshot.revisions, "broken": broken }))
    };
    let any_role = from_fn_with_state((access, Role::Viewer), guard);
    Router::new().route("/status", get(status)).with_state(publisher).layer(any_role)
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
    router.layer(from_fn_with_state((switches.access, Role::Admin), guard))
}

/// Lets those through who have a key of this role or a higher one.
async fn guard(State((access, least)): State<(Arc<Access>, Role)>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match access.authorize(&parts) {
        Ok(Role::Viewer) if least == Role::Admin => {
            refusal(StatusCode::FORBIDDEN, "invalid method for role viewer")
        }
        Ok(_) => next.run(Request::from_parts(parts, body)).await,
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
