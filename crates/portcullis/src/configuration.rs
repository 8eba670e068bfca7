//! The gateway's configuration: what the store or the file holds, compiled and published to the engine.

use std::sync::Arc;

use anyhow::Context;
use apisix::{
    Dialect, Options,
    plugins::{Registry, openid_connect::OpenidConnect},
};
use gateway::{error::ErrorBody, snapshot::Publisher, upstream::Live};
use plugins::openid_connect::Services;
use store::{MemoryStore, Operation, Store};

use crate::{
    config::{Rejected, Resources},
    gate, services,
    start::Plan,
};

/// The answer while nothing is configured; a dialect with routes brings its own.
const NOT_FOUND: (ErrorBody, &str) = (ErrorBody { member: "error_msg" }, "404 Route Not Found");

/// Everything between the store and the engine.
pub(crate) struct Configuration {
    pub(crate) live: Arc<Live>,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) services: Services,
    pub(crate) dialect: Arc<Dialect>,
}

impl Configuration {
    /// Compiles and publishes. Declared resources must all be sound; of those in `store`, the sound ones are served and
    /// the others named at [`Configuration::broken`].
    pub(crate) async fn open(plan: &Plan, store: Arc<dyn Store>) -> anyhow::Result<Self> {
        let config = &plan.config;
        let live = gate::live(config)?;
        let publisher = Arc::new(Publisher::new(NOT_FOUND));
        let services = services::openid_connect(config, &plan.clock, &plan.random, &store).await?;
        let resources = match &config.resources {
            Some(declared) => in_memory(plan, declared).await?,
            None => store,
        };
        let dialect = Dialect::open(Options {
            store: resources,
            keyring: config.keyring.clone(),
            clock: plan.clock.clone(),
            random: plan.random.clone(),
            registry: Registry::new(vec![Arc::new(OpenidConnect::new(services.clone()))]),
            live: Arc::clone(&live),
            publisher: Arc::clone(&publisher),
        });
        let dialect = dialect.await.with_context(|| format!("cannot load {}", config.store.display()))?;
        let configuration = Self { live, publisher, services, dialect };
        let broken = configuration.broken();
        match &config.resources {
            Some(declared) if !broken.is_empty() => {
                Err(Rejected::declared(&config.file, declared, &broken).into())
            }
            _ => Ok(configuration),
        }
    }

    /// Resources that do not serve, and why.
    pub(crate) fn broken(&self) -> Vec<(String, String)> {
        self.publisher.current().broken.clone()
    }
}

/// A store of what the file declares. Nothing else ever writes to it.
async fn in_memory(plan: &Plan, declared: &Resources) -> anyhow::Result<Arc<dyn Store>> {
    let store = MemoryStore::new(plan.clock.clone());
    for resource in &declared.declared {
        let (key, value) = (resource.kind.key(&resource.id), resource.value.to_string().into_bytes());
        store.commit(Vec::new(), vec![Operation::Put { key, value, ttl: None }]).await?;
    }
    Ok(Arc::new(store))
}
