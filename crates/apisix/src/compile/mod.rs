//! From resources to what the engine runs. Plugins, upstreams and certificates that did not change are found again by
//! their content, so that a write recompiles only what depends on it.

mod cache;
pub(crate) mod checks;
mod consumer;
mod route;
mod shared;
mod ssl;
mod upstream;

use std::{collections::HashMap, sync::Arc};

use aws_lc_rs::digest;
use gateway::{
    plugin::Plugin,
    route::{Entry, Layer},
    snapshot::Certificate,
    upstream::{Live, Upstream, UpstreamSpec},
};
use serde_json::Value;

pub(crate) use self::{
    consumer::{Claim, Member},
    route::{Broken, ERRORS, network},
    shared::GlobalRule,
    ssl::server_names,
    upstream::upstream_spec,
};

use self::cache::Cache;
use crate::{
    catalog::{Catalog, View},
    plugins::{CompileContext, Registry},
    resources::{Kind, Sealer, id_text},
};

/// Compiles, and remembers what it compiled.
pub(crate) struct Compiler {
    registry: Registry,
    sealer: Sealer,
    live: Arc<Live>,
    plugins: Cache<[u8; 32], dyn Plugin>,
    layers: Cache<[u8; 32], Layer>,
    upstreams: Cache<UpstreamSpec, Upstream>,
    certificates: Cache<[u8; 32], Certificate>,
}

/// One look at one view of the resources: each service is opened and checked once in it.
pub(crate) struct Pass<'a> {
    compiler: &'a mut Compiler,
    view: View<'a>,
    services: HashMap<String, Result<Arc<Value>, String>>,
}

impl Compiler {
    pub(crate) fn new(registry: Registry, sealer: Sealer, live: Arc<Live>) -> Self {
        Self {
            registry,
            sealer,
            live,
            plugins: Cache::default(),
            layers: Cache::default(),
            upstreams: Cache::default(),
            certificates: Cache::default(),
        }
    }

    /// Begins to compile from `view`.
    pub(crate) fn pass<'a>(&'a mut self, view: View<'a>) -> Pass<'a> {
        Pass { compiler: self, view, services: HashMap::new() }
    }

    /// Forgets what nothing uses any more.
    pub(crate) fn prune(&mut self) {
        self.layers.prune();
        self.plugins.prune();
        self.upstreams.prune();
        self.certificates.prune();
    }

    /// A plugin by its name, its configuration and its settings for all routes.
    fn plugin(
        &mut self,
        (name, conf): (&str, &Value),
        metadata: Option<&Value>,
        resource: &str,
    ) -> Result<Entry, String> {
        let prepared = self.registry.prepare(name, conf)?.with_metadata(metadata);
        let entry = Entry {
            name: prepared.plugin.name(),
            priority: prepared.priority,
            rank: 0,
            authenticates: prepared.plugin.authenticates(),
            plugin: None,
        };
        if prepared.disabled {
            return Ok(entry);
        }
        let place = if prepared.plugin.is_placed() { resource } else { "" };
        let content = content(&[name, &prepared.conf.value.to_string(), place]);
        let cx = CompileContext { resource };
        let compiled = self.plugins.find_or(content, || prepared.compile(&cx))?;
        Ok(Entry { plugin: Some(prepared.terms.apply(compiled)), ..entry })
    }
}

impl Pass<'_> {
    /// Compiles what a resource is made of, whether or not anything uses it; the error is what the client is told.
    pub(crate) fn try_resource(&mut self, kind: Kind, id: &str) -> Result<(), String> {
        match kind {
            Kind::Route => self.route(id).map(drop).map_err(|broken| broken.reason),
            Kind::Service => self.try_service(id),
            Kind::Upstream => self.named_upstream(id).map(drop),
            Kind::Ssl => self.certificate(id).map(drop),
            Kind::Consumer => self.consumer(id).map(drop),
            Kind::Credential => self.claims(kind, id).map(drop),
            Kind::GlobalRule => self.global_rule(id).map(drop),
            Kind::ConsumerGroup | Kind::PluginConfig => self.shared_plugins(kind, id).map(drop),
            Kind::PluginMetadata | Kind::Secret => self.open(kind, id).map(drop),
        }
    }

    fn try_service(&mut self, id: &str) -> Result<(), String> {
        let service = self.service(id)?;
        for (name, conf) in service.get("plugins").and_then(Value::as_object).into_iter().flatten() {
            self.plugin(name, conf, &format!("services/{id}"))?;
        }
        match service.get("upstream") {
            Some(upstream) => self.upstream(&format!("services/{id}"), upstream).map(drop),
            None => Ok(()),
        }
    }

    /// A plugin by its name and configuration.
    fn plugin(&mut self, name: &str, conf: &Value, resource: &str) -> Result<Entry, String> {
        let metadata = self.view.find(Kind::PluginMetadata, name);
        self.compiler.plugin((name, conf), metadata, resource)
    }

    /// An upstream, with the client certificate that it names.
    fn upstream(&mut self, id: &str, value: &Value) -> Result<Arc<Upstream>, String> {
        let wrong = |error| format!("invalid configuration: {error}");
        let mut spec = upstream_spec(id, value).map_err(wrong)?;
        if let Some(ssl) = value.pointer("/tls/client_cert_id").and_then(id_text) {
            spec.tls.client = Some(self.client_identity(&ssl)?);
        }
        let Compiler { upstreams, live, .. } = &mut *self.compiler;
        upstreams.find_or(spec.clone(), || Upstream::compile(spec, live)).map_err(wrong)
    }

    /// A service in the clear, checked.
    fn service(&mut self, id: &str) -> Result<Arc<Value>, String> {
        if let Some(known) = self.services.get(id) {
            return known.clone();
        }
        let opened = self.open(Kind::Service, id).map(Arc::new);
        self.services.insert(id.to_owned(), opened.clone());
        opened
    }

    /// An upstream resource, compiled.
    fn named_upstream(&mut self, id: &str) -> Result<Arc<Upstream>, String> {
        let value = self.open(Kind::Upstream, id)?;
        self.upstream(&format!("upstreams/{id}"), &value)
    }

    /// A resource in the clear, checked: what is stored may be another version's or another program's.
    fn open(&self, kind: Kind, id: &str) -> Result<Value, String> {
        let word = kind.word();
        let mut value =
            self.view.find(kind, id).ok_or_else(|| format!("{word} [{id}] does not exist"))?.clone();
        self.compiler.sealer.open(&self.compiler.registry, kind, id, &mut value)?;
        kind.check(&self.compiler.registry, &value)?;
        Ok(kind.resolve(&self.compiler.registry, &value)?.into_owned())
    }
}

/// Stands for everything that is stored.
pub(crate) fn fingerprint(catalog: &Catalog) -> String {
    let all = Kind::ALL.into_iter().flat_map(|kind| catalog.list(kind));
    let texts: Vec<String> = all.flat_map(|it| [it.kind.key(&it.id), it.value.to_string()]).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    content(&texts).iter().map(|byte| format!("{byte:02x}")).collect()
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
