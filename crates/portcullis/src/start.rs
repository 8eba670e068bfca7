//! Start-up and end: what is opened in which order, and how it stops.
//!
//! Everything that can fail comes before the first listener serves, so that a process that is ready has started
//! completely.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, bail};
use apisix::{
    Dialect,
    admin::{Access, AdminKey, AdminState, Role},
    plugins::{Registry, openid_connect::OpenidConnect},
};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use base::{Clock, Random};
use gateway::{
    engine::{Running, StartError},
    error::ErrorBody,
    snapshot::Publisher,
    upstream::Live,
};
use plugins::openid_connect::Services;
use store::{SqliteStore, Store, StoreError};
use tokio::{runtime::Builder, sync::watch, task::JoinSet};

use crate::{
    admin::{self, DevSwitches, Readiness, TestClock},
    config::{self, Config, TlsServer},
    dev::Dev,
    gate,
    process::Signals,
    serve::{self, Server, Transport},
    services,
    tls::{self, ClientCertificates},
    upkeep::Upkeep,
};

/// Threads of the control runtime.
const CONTROL_THREADS: usize = 2;
/// Threads for work that blocks: file access, name resolution, password hashing.
const BLOCKING_THREADS: usize = 8;

/// The answer while nothing is configured; a dialect with routes brings its own.
const NOT_FOUND: (ErrorBody, &str) = (ErrorBody { member: "error_msg" }, "404 Route Not Found");

/// What to start.
pub(crate) struct Plan {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) dev: Option<Dev>,
}

impl Plan {
    /// `config` and nothing else.
    pub(crate) fn production(config: Config) -> Self {
        Self { config, clock: Clock::system(), random: Random::system(), dev: None }
    }
}

/// Starts the process and returns when it has been drained.
pub(crate) fn run(plan: Plan) -> anyhow::Result<()> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("control")
        .enable_all()
        .build()
        .context("cannot start the control threads")?;
    let done = runtime.block_on(serve(plan));
    runtime.shutdown_background();
    done
}

/// Says whether what `config` points to would load: every resource of its store, each problem a line.
pub(crate) fn check(config: Config) -> anyhow::Result<()> {
    if !config.store.exists() {
        return Ok(());
    }
    let runtime = Builder::new_current_thread().enable_all().build().context("cannot start a thread")?;
    runtime.block_on(async {
        let plan = Plan::production(config);
        let store = match SqliteStore::open(&plan.config.store, plan.clock.clone()).await {
            Ok(store) => Arc::new(store),
            Err(StoreError::Unavailable { reason }) => {
                tracing::warn!(%reason, "the resources in the store were not checked");
                return Ok(());
            }
            Err(error) => return Err(error).context("cannot open the configuration store"),
        };
        let (live, publisher) = (gate::live(&plan.config)?, Arc::new(Publisher::new(NOT_FOUND)));
        let services = openid_connect_services(&plan, &store).await?;
        open_dialect(&plan, &store, &live, &publisher, &services).await?;
        let broken = publisher.current().broken.clone();
        let lines = broken.iter().map(|(resource, reason)| format!("{resource}: {reason}"));
        match lines.collect::<Vec<_>>().join("; ") {
            sound if sound.is_empty() => Ok(()),
            problems => bail!("{} holds what cannot be served: {problems}", plan.config.store.display()),
        }
    })
}

async fn serve(plan: Plan) -> anyhow::Result<()> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let readiness = Readiness::default();
    let store = Arc::new(open_store(&plan).await?);
    let publisher = Arc::new(Publisher::new(NOT_FOUND));
    let live = gate::live(&plan.config)?;
    let services = openid_connect_services(&plan, &store).await?;
    let dialect = open_dialect(&plan, &store, &live, &publisher, &services).await?;
    let upkeep = Upkeep { dialect: Arc::clone(&dialect), providers: services.providers };

    let engine = Arc::new(Mutex::new(None));
    let mut servers = Vec::new();
    admin_servers(&plan, &readiness, &dialect, &publisher, &upkeep, &mut servers)?;
    if let Some(address) = plan.config.metrics {
        servers.push(Server::bind("metrics", address, Transport::Plain, metrics(Arc::clone(&engine)))?);
    }
    if let Some(dev) = &plan.dev {
        servers.push(dev.echo(&plan.random)?);
    }

    let (stop, stopped) = watch::channel(false);
    let mut serving = JoinSet::new();
    for server in servers {
        serving.spawn(server.run(stopped.clone()));
    }
    let upkeep = tokio::spawn(upkeep.run());
    let config = gate::engine(&plan.config, &plan.clock, live, publisher)?;
    *lock(&engine) = Some(gateway::engine::start(config, &gate::listeners(&plan.config)).map_err(taken)?);
    readiness.set(true);
    tracing::info!("ready");
    if let Some(dev) = &plan.dev {
        dev.announce(None)?;
    }

    signals.next().await;
    readiness.set(false);
    tracing::info!("draining");
    let limit = plan.config.drain;
    let drained = async {
        let engine = lock(&engine).take();
        let gateway = tokio::task::spawn_blocking(move || engine.map(|engine| engine.drain(limit)));
        let _ = gateway.await;
        // Only now, so that requests in flight still reach our own identity provider.
        let _ = stop.send(true);
        serving.join_all().await;
        // Whoever follows the store ends with the dialect, before the store itself does.
        upkeep.abort();
        drop(dialect);
        store.close().await;
    };
    signals.drain(drained, limit).await;
    Ok(())
}

async fn openid_connect_services(plan: &Plan, store: &Arc<SqliteStore>) -> anyhow::Result<Services> {
    let store = Arc::clone(store) as Arc<dyn Store>;
    services::openid_connect(&plan.config, &plan.clock, &plan.random, &store).await
}

/// Loads the resources of the store and publishes them.
async fn open_dialect(
    plan: &Plan,
    store: &Arc<SqliteStore>,
    live: &Arc<Live>,
    publisher: &Arc<Publisher>,
    services: &Services,
) -> anyhow::Result<Arc<Dialect>> {
    let options = apisix::Options {
        store: Arc::clone(store) as Arc<dyn Store>,
        keyring: plan.config.keyring.clone(),
        clock: plan.clock.clone(),
        random: plan.random.clone(),
        registry: Registry::new(vec![Arc::new(OpenidConnect::new(services.clone()))]),
        live: Arc::clone(live),
        publisher: Arc::clone(publisher),
    };
    let dialect = Dialect::open(options).await;
    let dialect = dialect
        .with_context(|| format!("cannot load the configuration in {}", plan.config.store.display()))?;
    for (resource, reason) in &publisher.current().broken {
        tracing::error!(%resource, %reason, "this resource is not served");
    }
    Ok(dialect)
}

async fn open_store(plan: &Plan) -> anyhow::Result<SqliteStore> {
    let path = &plan.config.store;
    let store = SqliteStore::open(path, plan.clock.clone()).await;
    store.with_context(|| format!("cannot open the configuration store {}", path.display()))
}

/// The engine's own words, and what can be done about it.
fn taken(error: StartError) -> anyhow::Error {
    match error {
        StartError::Listen { address, source } => {
            anyhow::Error::new(source).context(serve::cannot_listen("gateway", address))
        }
        other => other.into(),
    }
}

/// Prometheus text under the two names that scrapers know.
fn metrics(running: Arc<Mutex<Option<Running>>>) -> Router {
    let text = async |State(running): State<Arc<Mutex<Option<Running>>>>| {
        let text = lock(&running).as_ref().map(Running::metrics_text);
        match text {
            Some(text) => {
                ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
            }
            None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        }
    };
    Router::new()
        .route("/metrics", get(text))
        .route("/apisix/prometheus/metrics", get(text))
        .with_state(running)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn admin_servers(
    plan: &Plan,
    readiness: &Readiness,
    dialect: &Arc<Dialect>,
    publisher: &Arc<Publisher>,
    upkeep: &Upkeep,
    servers: &mut Vec<Server>,
) -> anyhow::Result<()> {
    let Some(api) = &plan.config.admin else { return Ok(()) };
    let keys: Vec<AdminKey> = api.keys.iter().map(admin_key).collect();
    let access = Arc::new(Access::new(&keys, api.hosts.clone())?);
    let state = AdminState { dialect: Arc::clone(dialect), access: Arc::clone(&access), read_only: false };
    let mut router = apisix::admin::router(state)
        .merge(admin::ready(readiness.clone()))
        .merge(admin::status(Arc::clone(publisher), Arc::clone(&access)));
    if let Some(dev) = &plan.dev {
        let (clock, upkeep) = (plan.clock.clone(), upkeep.clone());
        let clock = dev.test_clock().then_some(TestClock { clock, upkeep });
        router = router.merge(admin::dev(DevSwitches { access, clock }));
    }
    if let Some(tls) = &api.tls {
        servers.push(over_tls("Admin API over TLS", tls, ClientCertificates::Unasked, router.clone())?);
    }
    servers.push(Server::bind("Admin API", api.listen, Transport::Plain, router)?);
    Ok(())
}

fn admin_key(key: &config::AdminKey) -> AdminKey {
    let role = match key.role {
        config::Role::Admin => Role::Admin,
        config::Role::Viewer => Role::Viewer,
    };
    AdminKey { secret: key.key.clone(), role }
}

fn over_tls(
    name: &str,
    tls: &TlsServer,
    clients: ClientCertificates,
    router: Router,
) -> anyhow::Result<Server> {
    let config = tls::server(&tls.certificate, clients)?;
    Server::bind(name, tls.listen, Transport::Tls(config), router)
}
