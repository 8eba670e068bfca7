//! The Admin listeners: the Admin APIs of both dialects and, beside APISIX's, whether the process is ready, what does
//! not serve, and the switches of `dev`.

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

use crate::{
    config::{self, AdminApi},
    configuration::Configuration,
    dev::Mails,
    serve::{Server, Transport},
    start::{Plan, over_tls},
    tls::ClientCertificates,
    upkeep::Upkeep,
};

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

/// The Admin APIs of both dialects, bound and not yet running.
pub(crate) fn servers(
    plan: &Plan,
    configuration: &Configuration,
    readiness: &Readiness,
    upkeep: &Upkeep,
) -> anyhow::Result<Vec<Server>> {
    let mut servers = Vec::new();
    if let Some(api) = &plan.config.apisix {
        let router = apisix_router(plan, api, configuration, readiness, upkeep)?;
        bind("Admin API", api, router, &mut servers)?;
    }
    if let Some(api) = &plan.config.kong {
        bind("Kong Admin API", api, kong_router(plan, api, configuration)?, &mut servers)?;
    }
    Ok(servers)
}

fn bind(name: &str, api: &AdminApi, router: Router, servers: &mut Vec<Server>) -> anyhow::Result<()> {
    if let Some(tls) = &api.tls {
        servers.push(over_tls(name, tls, ClientCertificates::Unasked, router.clone())?);
    }
    servers.push(Server::bind(name, api.listen, Transport::Plain, router)?);
    Ok(())
}

fn apisix_router(
    plan: &Plan,
    api: &AdminApi,
    configuration: &Configuration,
    readiness: &Readiness,
    upkeep: &Upkeep,
) -> anyhow::Result<Router> {
    let key = |key: &config::AdminKey| apisix::admin::AdminKey {
        secret: key.key.clone(),
        role: match key.role {
            config::Role::Admin => Role::Admin,
            config::Role::Viewer => Role::Viewer,
        },
    };
    let keys: Vec<_> = api.keys.iter().map(key).collect();
    let access = Arc::new(Access::new(&keys, api.hosts.clone())?);
    let state = apisix::admin::AdminState {
        dialect: Arc::clone(&configuration.apisix),
        access: Arc::clone(&access),
        read_only: plan.config.resources.is_some(),
    };
    let router = apisix::admin::router(state)
        .merge(ready(readiness.clone()))
        .merge(status(Arc::clone(&configuration.publisher), Arc::clone(&access)));
    let Some(dev) = &plan.dev else { return Ok(router) };
    let (clock, upkeep) = (plan.clock.clone(), upkeep.clone());
    let clock = dev.test_clock().then_some(TestClock { clock, upkeep });
    Ok(router.merge(switches(access, Arc::clone(dev.outbox()), clock)))
}

fn kong_router(plan: &Plan, api: &AdminApi, configuration: &Configuration) -> anyhow::Result<Router> {
    let key = |key: &config::AdminKey| kong::AdminKey {
        secret: key.key.clone(),
        role: match key.role {
            config::Role::Admin => kong::Role::Admin,
            config::Role::Viewer => kong::Role::Viewer,
        },
    };
    let keys: Vec<_> = api.keys.iter().map(key).collect();
    let access = Arc::new(kong::Access::new(&keys, api.hosts.clone())?);
    access.check_listen(api.listen)?;
    if let Some(tls) = &api.tls {
        access.check_listen(tls.listen)?;
    }
    Ok(kong::router(kong::AdminState {
        dialect: Arc::clone(&configuration.kong),
        access,
        read_only: plan.config.declares_kong(),
        traffic: configuration.traffic.clone(),
        hostname: crate::start::hostname(),
    }))
}

/// `GET /status/ready`: 200 once everything serves, else 503. It asks for no key and tells nothing else.
fn ready(readiness: Readiness) -> Router {
    let ready = async |State(readiness): State<Readiness>| match readiness.is_ready() {
        true => (StatusCode::OK, Json(json!({ "status": "ready" }))),
        false => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "starting or draining" }))),
    };
    Router::new().route("/status/ready", get(ready)).with_state(readiness)
}

/// `GET /status`, with a key: the store revision that serves, and every resource that does not, with the reason.
fn status(publisher: Arc<Publisher>, access: Arc<Access>) -> Router {
    let status = async |State(publisher): State<Arc<Publisher>>| {
        let snapshot = publisher.current();
        let broken: Map<_, _> =
            snapshot.broken.iter().map(|(name, why)| (name.clone(), json!(why))).collect();
        Json(json!({ "revisions": snapshot.revisions, "broken": broken }))
    };
    let any_role = from_fn_with_state((access, Role::Viewer), guard);
    Router::new().route("/status", get(status)).with_state(publisher).layer(any_role)
}

/// The process's clock, for tests to move.
#[derive(Clone)]
struct TestClock {
    clock: Clock,
    upkeep: Upkeep,
}

/// What `dev` adds, for whoever has the admin key: `GET /dev/mail` and, with `--test-clock`, `POST /dev/clock`.
fn switches(access: Arc<Access>, mails: Arc<Mails>, clock: Option<TestClock>) -> Router {
    let mut router = Router::new().route("/dev/mail", get(mail)).with_state(mails);
    if let Some(clock) = clock {
        router = router.merge(Router::new().route("/dev/clock", post(advance)).with_state(clock));
    }
    router.layer(from_fn_with_state((access, Role::Admin), guard))
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

/// The mail that would have been sent, the newest last.
async fn mail(State(mails): State<Arc<Mails>>) -> Json<Value> {
    Json(mails.to_wire())
}

fn refusal(status: StatusCode, reason: &str) -> Response {
    (status, Json(json!({ "error_msg": reason }))).into_response()
}
