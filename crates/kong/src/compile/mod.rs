//! From entities to what the engine runs. Plugins and upstreams that did not change are found again by their content,
//! so that a write recompiles only what depends on it.

mod cache;
mod route;

use std::sync::Arc;

use aws_lc_rs::digest;
use gateway::{
    error::ConfigError,
    plugin::Plugin,
    upstream::{Live, Upstream, UpstreamSpec},
};
use serde_json::{Map, Value};

pub(crate) use self::route::ERRORS;

use self::cache::Cache;
use crate::{catalog::View, entities::Kind, plugins::Registry, schema::Violations, seal::Sealer};

/// Compiles, and remembers what it compiled.
pub(crate) struct Compiler {
    registry: Registry,
    sealer: Sealer,
    live: Arc<Live>,
    plugins: Cache<[u8; 32], dyn Plugin>,
    upstreams: Cache<UpstreamSpec, Upstream>,
}

/// One look at one view of the entities.
pub(crate) struct Pass<'a> {
    compiler: &'a mut Compiler,
    view: View<'a>,
}

impl Compiler {
    pub(crate) fn new(registry: Registry, sealer: Sealer, live: Arc<Live>) -> Self {
        Self { registry, sealer, live, plugins: Cache::default(), upstreams: Cache::default() }
    }

    /// Begins to compile from `view`.
    pub(crate) fn pass<'a>(&'a mut self, view: View<'a>) -> Pass<'a> {
        Pass { compiler: self, view }
    }

    /// Forgets what nothing uses any more.
    pub(crate) fn prune(&mut self) {
        self.plugins.prune();
        self.upstreams.prune();
    }

    /// A plugin entity's name, its priority and its instance.
    fn plugin(
        &mut self,
        entity: &Map<String, Value>,
    ) -> Result<(&'static str, i64, Arc<dyn Plugin>), Violations> {
        let name = entity.get("name").and_then(Value::as_str).unwrap_or_default();
        let plugin = Arc::clone(self.registry.demand(name)?);
        let empty = Map::new();
        let config = entity.get("config").and_then(Value::as_object).unwrap_or(&empty);
        let content = content(&[name, &Value::Object(config.clone()).to_string()]);
        let compiled = self.plugins.find_or(content, || plugin.compile(config));
        Ok((
            plugin.name(),
            plugin.priority(),
            compiled.map_err(|error| Violations::of(&error.path, error.reason).within("config"))?,
        ))
    }

    fn upstream(&mut self, spec: UpstreamSpec) -> Result<Arc<Upstream>, ConfigError> {
        let live = &self.live;
        self.upstreams.find_or(spec.clone(), || Upstream::compile(spec, live))
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
        match kind {
            Kind::Route => self.route(id).map(drop).map_err(|broken| whole(broken.reason)),
            Kind::Service => {
                let service = self.open(kind, id).map_err(whole)?;
                let upstream = self.service_upstream(id, &service, false);
                upstream.map(drop).map_err(|error| Violations::of(&error.path, error.reason))
            }
            Kind::Plugin => {
                let plugin = self.open(kind, id).map_err(whole)?;
                self.compiler.plugin(&plugin).map(drop)
            }
        }
    }

    /// An entity in the clear, checked: what is stored may be another version's or another program's.
    fn open(&self, kind: Kind, id: &str) -> Result<Map<String, Value>, String> {
        let missing = || format!("{}/{id} is not there or is not readable", kind.plural());
        let mut value = self.view.find(kind, id).and_then(Value::as_object).ok_or_else(missing)?.clone();
        self.compiler.sealer.open(&self.compiler.registry, kind, id, &mut value)?;
        if kind == Kind::Plugin {
            let name = value.get("name").and_then(Value::as_str).unwrap_or_default();
            let known = self.compiler.registry.demand(name);
            known.map_err(|violations| format!("{}/{id}: {}", kind.plural(), violations.message()))?;
        }
        let schema = self.compiler.registry.schema(kind, &value);
        schema
            .check(&value)
            .map_err(|violations| format!("{}/{id}: {}", kind.plural(), violations.message()))?;
        Ok(value)
    }
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
