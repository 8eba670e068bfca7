//! Start-up and end: what is opened in which order, and how it stops.
//!
//! Everything that can fail comes before the first listener serves, so that a process that is ready has started
//! completely.

use std::{
    io::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, bail};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use base::{Clock, Random};
use gateway::engine::{Running, StartError};
use plugins::prometheus::Registry as Series;
use rp::bearer::Revocations;
use store::{MemoryStore, SqliteStore, Store, StoreError};
use tokio::{
    runtime::{Builder, Handle},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::{
    admin::{self, Readiness},
    config::{Config, Rejected, TlsServer},
    configuration::Configuration,
    dev::Dev,
    gate,
    identity::{self, Provider},
    process::Signals,
    reseal,
    revocations::RevocationFeed,
    serve::{self, Server, Transport},
    tls::{self, ClientCertificates},
    upkeep::Upkeep,
};

/// Threads of the control runtime.
const CONTROL_THREADS: usize = 2;
/// Threads for work that blocks: file access, name resolution, the end of the proxy threads.
const BLOCKING_THREADS: usize = 8;

/// The running engine, until it is drained.
type Engine = Arc<Mutex<Option<Running>>>;

/// What to start.
pub(crate) struct Plan {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    /// What the identity provider tells the gate.
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) dev: Option<Dev>,
}

impl Plan {
    /// `config` and nothing else.
    pub(crate) fn production(config: Config) -> Self {
        Self {
            config,
            clock: Clock::system(),
            random: Random::system(),
            revocations: Arc::default(),
            dev: None,
        }
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
    let done = runtime.block_on(async {
        Process::start(plan).await?.run().await;
        Ok(())
    });
    runtime.shutdown_background();
    done
}

/// Says whether what `config` points to would load: the identity database, and every resource, declared or in the store.
pub(crate) fn check(config: Config) -> anyhow::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build().context("cannot start a thread")?;
    runtime.block_on(async {
        let plan = Plan::production(config);
        if let Some(identity) = &plan.config.identity {
            identity::check(&plan, identity).await?;
        }
        let configuration = Configuration::open(&plan, store_to_check(&plan).await?, None).await?;
        let broken = configuration.broken();
        let reasons: Vec<_> =
            broken.iter().map(|(resource, reason)| format!("{resource}: {reason}")).collect();
        if reasons.is_empty() {
            return Ok(());
        }
        bail!("{} holds what cannot be served: {}", plan.config.store.display(), reasons.join("; "))
    })
}

/// The configured store; an empty one where there is none yet, or where a running process has it.
async fn store_to_check(plan: &Plan) -> anyhow::Result<Arc<dyn Store>> {
    let empty = || Arc::new(MemoryStore::new(plan.clock.clone()));
    if !plan.config.store.exists() {
        return Ok(empty());
    }
    match SqliteStore::open(&plan.config.store, plan.clock.clone()).await {
        Ok(store) => Ok(Arc::new(store)),
        Err(StoreError::Unavailable { reason }) => {
            let _ = writeln!(std::io::stderr(), "{}: not checked: {reason}", plan.config.store.display());
            Ok(empty())
        }
        Err(error) => Err(unusable(plan, &error)),
    }
}

/// What is wrong with the store, at the place where the file names it.
fn unusable(plan: &Plan, error: &StoreError) -> anyhow::Error {
    let config = &plan.config;
    let reason = format!("`store.sqlite`: {} cannot be opened: {error}", config.store.display());
    Rejected::at(&config.file, config.store_mark, reason.replace('\n', " ")).into()
}

/// Everything that runs.
struct Process {
    signals: Signals,
    readiness: Readiness,
    engine: Engine,
    /// The servers beside the gateway, and what tells them to stop.
    serving: JoinSet<anyhow::Result<()>>,
    stop: watch::Sender<bool>,
    upkeep: JoinHandle<()>,
    configuration: Configuration,
    store: Arc<SqliteStore>,
    /// Requests in flight get so long at the end.
    drain: Duration,
    /// Holds the lock of its folder.
    _dev: Option<Dev>,
}

impl Process {
    /// Returns when everything serves.
    async fn start(plan: Plan) -> anyhow::Result<Self> {
        let signals = Signals::listen().context("cannot listen for signals")?;
        let readiness = Readiness::default();
        let (store, provider) = tokio::try_join!(open_store(&plan), open_provider(&plan))?;
        reseal::note_keys(&*store, &plan.config.keyring).await?;
        // Before the configuration: its routes ask our own provider as soon as they are compiled.
        let mut servers = match (&provider, &plan.config.identity) {
            (Some(provider), Some(identity)) => provider.servers(identity)?,
            _ => Vec::new(),
        };
        let configuration =
            Configuration::open(&plan, Arc::clone(&store) as Arc<dyn Store>, Some(Handle::current())).await?;
        let idp = provider.as_ref().map(|provider| Arc::clone(&provider.idp));
        let revocations = idp.as_ref().map(|idp| {
            let revoked = Arc::clone(&plan.revocations);
            RevocationFeed::new(Arc::clone(idp.repository()), revoked, plan.clock.clone())
        });
        if let Some(feed) = &revocations {
            feed.look().await.context("cannot read which tokens are revoked")?;
        }
        let upkeep = Upkeep {
            apisix: Arc::clone(&configuration.apisix),
            kong: Arc::clone(&configuration.kong),
            providers: configuration.providers.clone(),
            assertions: configuration.assertions.clone(),
            idp,
            revocations,
        };
        let engine = Engine::default();
        servers.extend(other_servers(&plan, &configuration, &readiness, &upkeep, &engine)?);
        let settings = gate::engine(&plan.config, &plan.clock, &configuration)?;
        *lock(&engine) =
            Some(gateway::engine::start(settings, &gate::listeners(&plan.config)).map_err(taken)?);

        let (stop, stopped) = watch::channel(false);
        let mut serving = JoinSet::new();
        for server in servers {
            serving.spawn(server.run(stopped.clone()));
        }
        let upkeep = tokio::spawn(upkeep.run());
        readiness.set(true);
        tracing::info!("ready");
        if let (Some(dev), Some(demo)) = (&plan.dev, provider.and_then(|provider| provider.demo)) {
            dev.announce(&demo)?;
        }
        let drain = plan.config.drain;
        Ok(Self {
            signals,
            readiness,
            engine,
            serving,
            stop,
            upkeep,
            configuration,
            store,
            drain,
            _dev: plan.dev,
        })
    }

    /// Runs until a signal comes, and ends in order: the gateway first, then what it asks.
    async fn run(self) {
        let Self { mut signals, readiness, engine, serving, stop, upkeep, configuration, store, drain, _dev } =
            self;
        signals.next().await;
        readiness.set(false);
        tracing::info!("draining");
        let drained = async {
            let running = lock(&engine).take();
            let gateway = tokio::task::spawn_blocking(move || running.map(|running| running.drain(drain)));
            let _ = gateway.await;
            // Only now, so that requests in flight still reach our own identity provider.
            let _ = stop.send(true);
            serving.join_all().await;
            // Whoever follows the store ends with the dialects, before the store itself does.
            upkeep.abort();
            let _ = upkeep.await;
            drop(configuration);
            store.close().await;
        };
        signals.drain(drained, drain).await;
    }
}

async fn open_store(plan: &Plan) -> anyhow::Result<Arc<SqliteStore>> {
    let store = SqliteStore::open(&plan.config.store, plan.clock.clone()).await;
    Ok(Arc::new(store.map_err(|error| unusable(plan, &error))?))
}

async fn open_provider(plan: &Plan) -> anyhow::Result<Option<Provider>> {
    match &plan.config.identity {
        Some(identity) => Provider::open(plan, identity).await.map(Some),
        None => Ok(None),
    }
}

/// Admin APIs, metrics and, in `dev`, echo: bound and not yet running.
fn other_servers(
    plan: &Plan,
    configuration: &Configuration,
    readiness: &Readiness,
    upkeep: &Upkeep,
    engine: &Engine,
) -> anyhow::Result<Vec<Server>> {
    let mut servers = admin::servers(plan, configuration, readiness, upkeep)?;
    if let Some(address) = plan.config.metrics {
        servers.push(Server::bind(
            "metrics",
            address,
            Transport::Plain,
            metrics(Arc::clone(engine), Arc::clone(&configuration.series)),
        )?);
    }
    if let Some(address) = plan.config.control {
        let state = apisix::control::ControlState {
            dialect: Arc::clone(&configuration.apisix),
            started: plan.clock.now(),
            hostname: hostname(),
        };
        let router = apisix::control::router(state);
        servers.push(Server::bind("Control API", address, Transport::Plain, router)?);
    }
    if let Some(dev) = &plan.dev {
        servers.push(dev.echo(&plan.random)?);
    }
    Ok(servers)
}

/// What the machine calls itself.
pub(crate) fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost" } else { name }.to_owned()
}

/// A server over TLS.
pub(crate) fn over_tls(
    name: &str,
    tls: &TlsServer,
    clients: ClientCertificates,
    router: Router,
) -> anyhow::Result<Server> {
    let config = tls::server(&tls.certificate, clients)?;
    Server::bind(name, tls.listen, Transport::Tls(config), router)
}

/// Prometheus text under the two names that scrapers know.
fn metrics(engine: Engine, series: Arc<Series>) -> Router {
    let text = async |State((engine, series)): State<(Engine, Arc<Series>)>| {
        let text = lock(&engine).as_ref().map(|engine| {
            engine.metrics_text() + &crate::metrics::caches() + &crate::metrics::logs() + &series.render()
        });
        #[cfg(feature = "count-allocations")]
        let text = text.map(|text| text + &allocation_metrics());
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
        .with_state((engine, series))
}

/// What the counting allocator of a benchmark has seen.
#[cfg(feature = "count-allocations")]
fn allocation_metrics() -> String {
    let allocations::Allocated { allocations, bytes } = allocations::allocated();
    format!(
        "# TYPE portcullis_allocations_total counter\nportcullis_allocations_total {allocations}\n\
         # TYPE portcullis_allocated_bytes_total counter\nportcullis_allocated_bytes_total {bytes}\n"
    )
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
