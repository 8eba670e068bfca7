//! From entities to what the engine runs. Plugins, upstreams, certificates and layers that did not change are found
//! again by their content, so that a write recompiles only what depends on it.

mod cache;
mod certificate;
mod checks;
mod consumer;
mod grpc;
mod https;
mod route;
mod upstream;

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest;
use base::Random;
use gateway::{
    error::ConfigError,
    plugin::Plugin,
    route::{Entry, Layer},
    snapshot::Certificate,
    upstream::{Checker, HealthChecks, KeepAlive, Live, Node, Upstream, UpstreamSpec},
};
use serde_json::{Map, Value};

pub(crate) use self::{
    checks::are_on as checks_are_on,
    consumer::{Group, Member},
    route::ERRORS,
    upstream::health_id,
};

use self::cache::Cache;
use crate::{
    catalog::View,
    entities::Kind,
    plugins::{DialectPlugin, Registry},
    schema::Violations,
    seal::Sealer,
    vaults::Vaults,
};

/// Idle connections of each core, by Kong's `upstream_keepalive_…` settings as they come.
const KEEP_ALIVE: KeepAlive =
    KeepAlive { size: 512, idle_timeout: Duration::from_secs(60), requests: 10_000 };

/// Compiles, and remembers what it compiled.
pub(crate) struct Compiler {
    registry: Registry,
    sealer: Sealer,
    vaults: Vaults,
    live: Arc<Live>,
    random: Random,
    /// What runs on every route.
    everywhere: Vec<Entry>,
    plugins: Cache<[u8; 32], dyn Plugin>,
    upstreams: Cache<UpstreamSpec, Upstream>,
    checkers: Cache<Watched, Checker>,
    certificates: Cache<[u8; 32], Certificate>,
    layers: Cache<[u8; 32], Layer>,
}

/// A plugin of the dialect, and an instance of it.
type CompiledPlugin = (Arc<dyn DialectPlugin>, Arc<dyn Plugin>);

/// Targets, and how it is found out which of them are well.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Watched {
    /// Under which what is known of them is found again.
    id: Arc<str>,
    nodes: Vec<Node>,
    /// `None`: they are taken to be.
    checks: Option<HealthChecks>,
}

/// One look at one view of the entities.
pub(crate) struct Pass<'a> {
    compiler: &'a mut Compiler,
    view: View<'a>,
}

impl Compiler {
    pub(crate) fn new(
        registry: Registry,
        sealer: Sealer,
        vaults: Vaults,
        live: Arc<Live>,
        random: Random,
        everywhere: Vec<Entry>,
    ) -> Self {
        Self {
            registry,
            sealer,
            vaults,
            live,
            random,
            everywhere,
            plugins: Cache::default(),
            upstreams: Cache::default(),
            checkers: Cache::default(),
            certificates: Cache::default(),
            layers: Cache::default(),
        }
    }

    /// Begins to compile from `view`.
    pub(crate) fn pass<'a>(&'a mut self, view: View<'a>) -> Pass<'a> {
        Pass { compiler: self, view }
    }

    /// Forgets what nothing uses any more.
    pub(crate) fn prune(&mut self) {
        self.layers.prune();
        self.plugins.prune();
        self.upstreams.prune();
        self.checkers.prune();
        self.certificates.prune();
    }

    /// What a plugin entity stands for, and its instance.
    fn plugin(&mut self, entity: &Map<String, Value>) -> Result<CompiledPlugin, Violations> {
        let name = entity.get("name").and_then(Value::as_str).unwrap_or_default();
        let plugin = Arc::clone(self.registry.demand(name)?);
        let empty = Map::new();
        let config = entity.get("config").and_then(Value::as_object).unwrap_or(&empty);
        let place = if plugin.is_placed() { place(entity) } else { String::new() };
        let content = content(&[name, &Value::Object(config.clone()).to_string(), &place]);
        let compiled = self.plugins.find_or(content, || plugin.compile_at(config, &place));
        let compiled = compiled
            .map_err(|error: ConfigError| Violations::of(&error.path, error.reason).within("config"))?;
        Ok((plugin, compiled))
    }

    fn upstream(&mut self, spec: UpstreamSpec) -> Result<Arc<Upstream>, ConfigError> {
        let live = &self.live;
        self.upstreams.find_or(spec.clone(), || Upstream::compile(spec, live))
    }

    fn checker(&mut self, watched: Watched) -> Result<Arc<Checker>, ConfigError> {
        let Self { live, checkers, .. } = self;
        let Some(checks) = watched.checks.clone() else {
            return Err(ConfigError::new("healthchecks", "required field missing"));
        };
        let (id, nodes) = (Arc::clone(&watched.id), watched.nodes.clone());
        checkers.find_or(watched, || live.check(&id, &nodes, KEEP_ALIVE, &checks))
    }
}

impl Pass<'_> {
    /// Compiles what an entity is made of, whether or not anything uses it.
    pub(crate) fn try_entity(&mut self, kind: Kind, id: &str) -> Result<(), Violations> {
        let whole = |reason: String| {
            let mut violations = Violations::default();
            violations.add_entity(reason);
            violations
        };
        let value = self.open(kind, id).map_err(whole)?;
        match kind {
            Kind::Route => self.route(id).map(drop).map_err(|broken| whole(broken.reason)),
            Kind::Service => {
                let upstream = self.service_upstream(id, &value, false);
                upstream.map(drop).map_err(|error| Violations::of(&error.path, error.reason))
            }
            Kind::Plugin => self.compiler.plugin(&value).map(drop),
            Kind::Upstream => {
                let checker = self.checker(id);
                checker.map(drop).map_err(|error| Violations::of(&error.path, error.reason))
            }
            Kind::Certificate => self.certificate_of(id, &value).map(drop),
            kind if kind.is_credential() => consumer::credential(kind, &value)
                .map(drop)
                .map_err(|error| Violations::of(&error.path, error.reason)),
            _ => Ok(()),
        }
    }

    /// An entity in the clear, checked: what is stored may be another version's or another program's.
    fn open(&self, kind: Kind, id: &str) -> Result<Map<String, Value>, String> {
        let name = || format!("{}/{id}", kind.plural());
        let missing = || format!("{} is not there or is not readable", name());
        let mut value = self.view.find(kind, id).and_then(Value::as_object).ok_or_else(missing)?.clone();
        self.compiler.sealer.open(&self.compiler.registry, kind, id, &mut value)?;
        if kind == Kind::Plugin {
            let plugin = value.get("name").and_then(Value::as_str).unwrap_or_default();
            let known = self.compiler.registry.demand(plugin);
            known.map_err(|violations| format!("{}: {}", name(), violations.message()))?;
        }
        let schema = self.compiler.registry.schema(kind, &value);
        schema.check(&value).map_err(|violations| format!("{}: {}", name(), violations.message()))?;
        if kind != Kind::Vault {
            self.compiler
                .vaults
                .resolve(self.view, &mut value)
                .map_err(|why| format!("{}: {why}", name()))?;
        }
        Ok(value)
    }
}

/// What a plugin is bound to.
fn place(plugin: &Map<String, Value>) -> String {
    let id = |field| named_in(plugin, field).unwrap_or_default();
    format!("{}:{}:{}", id("route"), id("service"), id("consumer"))
}

fn text<'a>(entity: &'a Map<String, Value>, field: &str) -> Option<&'a str> {
    entity.get(field)?.as_str()
}

fn texts<'a>(entity: &'a Map<String, Value>, field: &str) -> impl Iterator<Item = &'a str> {
    entity.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn flag(entity: &Map<String, Value>, field: &str, unset: bool) -> bool {
    entity.get(field).and_then(Value::as_bool).unwrap_or(unset)
}

fn named_in<'a>(entity: &'a Map<String, Value>, field: &str) -> Option<&'a str> {
    entity.get(field)?.get("id")?.as_str()
}

/// A digest that stands for these texts.
fn content(parts: &[&str]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&part.len().to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut out = [0; 32];
    out.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    out
}
