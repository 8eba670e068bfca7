//! The gateway's configuration: what the store or the file holds, compiled and published to the engine.

use std::sync::Arc;

use anyhow::Context;
use gateway::{engine::Traffic, error::ErrorBody, snapshot::Publisher, upstream::Live};
use plugins::{exchange_log, prometheus, rate_limit};
use rp::provider::Providers;
use serde_json::json;
use store::{MemoryStore, Store};
use tokio::runtime::Handle;

use crate::{
    config::{Config, Declared, Rejected},
    gate,
    services::{AssertionUpkeep, Services},
    start::Plan,
};

/// The answer while nothing is configured; a dialect with routes brings its own.
const NOT_FOUND: (ErrorBody, &str) = (ErrorBody { member: "error_msg" }, "404 Route Not Found");

/// Everything between the store and the engine.
pub(crate) struct Configuration {
    pub(crate) live: Arc<Live>,
    pub(crate) publisher: Arc<Publisher>,
    /// What the cores count.
    pub(crate) traffic: Traffic,
    pub(crate) providers: Providers,
    pub(crate) assertions: AssertionUpkeep,
    pub(crate) apisix: Arc<apisix::Dialect>,
    pub(crate) kong: Arc<kong::Dialect>,
    /// What plugins count for Prometheus.
    pub(crate) series: Arc<prometheus::Registry>,
}

impl Configuration {
    /// Compiles and publishes. Declared resources must all be sound, and are all there is; of those in `store`, the
    /// sound ones are served and the others named at [`Configuration::broken`].
    ///
    /// The nodes of upstreams are asked how they are on the runtime `checks`; without one they are not.
    pub(crate) async fn open(
        plan: &Plan,
        store: Arc<dyn Store>,
        checks: Option<Handle>,
    ) -> anyhow::Result<Self> {
        let config = &plan.config;
        let live = gate::live(config)?;
        if let Some(runtime) = checks {
            live.run_checks(runtime, plan.random.clone());
        }
        let publisher = Arc::new(Publisher::new(NOT_FOUND));
        let services = Services::open(config, &plan.clock, &plan.random, &store, &plan.revocations).await?;
        let (fetcher, assertions) = (services.fetcher.clone(), services.assertions.clone());
        let providers = services.sessions.providers.clone();
        let tokens = Arc::clone(&services.login_methods.grants.tokens);
        let registries = registries(plan, services);
        let in_memory = || Arc::new(MemoryStore::new(plan.clock.clone())) as Arc<dyn Store>;
        let store = if config.resources.is_some() { in_memory() } else { store };
        let for_kong = if config.declares_kong() { in_memory() } else { Arc::clone(&store) };
        let references =
            apisix::References::new(environment(config), Some(fetcher.clone()), plan.clock.clone());
        let failed = || format!("cannot load {}", config.store.display());
        let apisix = apisix::Dialect::open(apisix::Options {
            store: Arc::clone(&store),
            keyring: config.keyring.clone(),
            clock: plan.clock.clone(),
            random: plan.random.clone(),
            registry: registries.apisix.with_references(references),
            live: Arc::clone(&live),
            publisher: Arc::clone(&publisher),
        });
        let apisix = apisix.await.with_context(failed)?;
        let upkeep = assertions.clone();
        let kong = kong::Dialect::open(kong::Options {
            store: for_kong,
            keyring: config.keyring.clone(),
            clock: plan.clock.clone(),
            random: plan.random.clone(),
            registry: registries.kong,
            live: Arc::clone(&live),
            publisher: Arc::clone(&publisher),
            environment: Arc::from(environment(config)),
            providers: providers.clone(),
            tokens,
            answer_headers: config.kong.as_ref().map(|kong| kong.headers.clone()).unwrap_or_default(),
            own_keys: kong::OwnKeys {
                keys: assertions.keys(),
                replace: Arc::new(move || {
                    let upkeep = upkeep.clone();
                    Box::pin(async move { upkeep.replace().await.map_err(|error| format!("{error:#}")) })
                }),
            },
        });
        let kong = kong.await.with_context(failed)?;
        if let Some(file) = &config.declarative_config {
            let shown = || file.display();
            let text = std::fs::read(file).with_context(|| format!("{} cannot be read", shown()))?;
            kong.declare(&text).await.map_err(|why| anyhow::anyhow!("{}: {why}", shown()))?;
        }
        if let Some(declared) = &config.resources {
            declare(config, declared, &apisix).await?;
        }
        let (traffic, series) = (Traffic::of(config.workers), registries.series);
        Ok(Self { live, publisher, traffic, providers, assertions, apisix, kong, series })
    }

    /// Resources that do not serve, and why.
    pub(crate) fn broken(&self) -> Vec<(String, String)> {
        self.publisher.current().broken.clone()
    }
}

/// The plugins of each dialect, and what they share.
pub(crate) struct Registries {
    pub(crate) apisix: apisix::plugins::Registry,
    pub(crate) kong: kong::plugins::Registry,
    /// What plugins count for Prometheus.
    pub(crate) series: Arc<prometheus::Registry>,
}

pub(crate) fn registries(plan: &Plan, services: Services) -> Registries {
    let Services { sessions, login_methods, fetcher, .. } = services;
    let (clock, redis) = (&plan.clock, sessions.redis.clone());
    let series = Arc::<prometheus::Registry>::default();
    let limits = rate_limit::Services { counters: Arc::default(), clock: clock.clone() };
    let logs = exchange_log::Services {
        fetcher,
        runtime: Handle::current(),
        hostname: crate::start::hostname().into(),
    };

    let mut for_kong = kong::plugins::shipped(&plan.random, clock);
    for_kong.push(Arc::new(kong::plugins::rate_limiting::RateLimiting::new(limits.clone(), redis.clone())));
    for_kong.push(Arc::new(kong::plugins::prometheus::Prometheus::new(Arc::clone(&series))));
    for_kong.push(Arc::new(kong::plugins::http_log::HttpLog::new(logs.clone())));
    for_kong.push(Arc::new(kong::plugins::file_log::FileLog::new(logs.clone())));
    for_kong.push(Arc::new(kong::plugins::openid_connect::OpenidConnect::new(login_methods)));

    let mut for_apisix = apisix::plugins::shipped(&plan.random, clock);
    for_apisix.push(Arc::new(apisix::plugins::prometheus::Prometheus::new(Arc::clone(&series))));
    for_apisix.push(Arc::new(apisix::plugins::http_logger::HttpLogger::new(logs.clone())));
    for_apisix.push(Arc::new(apisix::plugins::file_logger::FileLogger::new(logs)));
    for_apisix.push(Arc::new(apisix::plugins::limit_count::LimitCount::new(limits, redis)));
    for_apisix.push(Arc::new(apisix::plugins::openid_connect::OpenidConnect::new(sessions)));
    for_apisix.push(Arc::new(apisix::plugins::redirect::Redirect::new(gate::https_port(&plan.config))));

    Registries {
        apisix: apisix::plugins::Registry::with_consumers(for_apisix, clock),
        kong: kong::plugins::Registry::with_built_in(for_kong, clock),
        series,
    }
}

/// What `$env://` may read: not what the configuration file is made of, nor what is meant for the process itself.
fn environment(config: &Config) -> Box<apisix::Environment> {
    let own = config.variables.clone();
    Box::new(move |name| {
        if own.contains(name) || name.starts_with("PORTCULLIS_") {
            return None;
        }
        std::env::var(name).ok()
    })
}

/// Puts the resources of the file in place, by the way that a write to the Admin API takes.
async fn declare(config: &Config, declared: &[Declared], dialect: &apisix::Dialect) -> anyhow::Result<()> {
    let mut refused = Vec::new();
    for resource in declared {
        let one = json!({ resource.kind.plural(): [resource.value] });
        if let Err(problems) = dialect.declare(&one).await {
            let reason = problems.join("; ");
            // The dialect counts within what it was given; here the resource is named.
            let reason = reason.split_once("]: ").map_or(reason.as_str(), |(_, reason)| reason).to_owned();
            refused.push((resource, reason));
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(Rejected::declared(&config.file, refused).into()) }
}
