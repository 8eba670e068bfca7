//! The resources as they are stored, in memory: what the Admin API reads and the compiler compiles.

use std::{collections::BTreeMap, sync::Arc};

use base::UnixMillis;
use serde_json::Value;

use crate::resources::Kind;

/// One stored resource.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    pub(crate) kind: Kind,
    pub(crate) id: String,
    /// As stored: secrets are sealed. `Null` when what is stored is no JSON.
    pub(crate) value: Value,
    /// Revision that made it.
    pub(crate) created: u64,
    /// Revision that last wrote it.
    pub(crate) modified: u64,
    /// When it deletes itself.
    pub(crate) lease_expires: Option<UnixMillis>,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    kinds: [BTreeMap<String, Arc<Resource>>; Kind::ALL.len()],
    /// The newest revision of the store that is in it.
    pub(crate) revision: u64,
}

impl Catalog {
    pub(crate) fn find(&self, kind: Kind, id: &str) -> Option<&Arc<Resource>> {
        self.of(kind).get(id)
    }

    /// All of one kind, by id.
    pub(crate) fn list(&self, kind: Kind) -> impl Iterator<Item = &Arc<Resource>> {
        self.of(kind).values()
    }

    pub(crate) fn put(&mut self, resource: Resource) {
        self.revision = self.revision.max(resource.modified);
        self.of_mut(resource.kind).insert(resource.id.clone(), Arc::new(resource));
    }

    pub(crate) fn remove(&mut self, kind: Kind, id: &str) {
        self.of_mut(kind).remove(id);
    }

    /// The first resource that names this one, routes before services.
    pub(crate) fn referrer(&self, kind: Kind, id: &str) -> Option<&Arc<Resource>> {
        let names = |resource: &&Arc<Resource>| {
            resource
                .kind
                .references(&resource.value)
                .iter()
                .any(|(_, other, name)| *other == kind && name == id)
        };
        self.list(Kind::Route).find(names).or_else(|| self.list(Kind::Service).find(names))
    }

    fn of(&self, kind: Kind) -> &BTreeMap<String, Arc<Resource>> {
        let [routes, services, upstreams, ssls] = &self.kinds;
        match kind {
            Kind::Route => routes,
            Kind::Service => services,
            Kind::Upstream => upstreams,
            Kind::Ssl => ssls,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut BTreeMap<String, Arc<Resource>> {
        let [routes, services, upstreams, ssls] = &mut self.kinds;
        match kind {
            Kind::Route => routes,
            Kind::Service => services,
            Kind::Upstream => upstreams,
            Kind::Ssl => ssls,
        }
    }
}

/// The catalog, perhaps with one resource as it would be after a write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    catalog: &'a Catalog,
    instead: Option<(Kind, &'a str, &'a Value)>,
}

impl<'a> View<'a> {
    pub(crate) const fn of(catalog: &'a Catalog) -> Self {
        Self { catalog, instead: None }
    }

    pub(crate) const fn with(catalog: &'a Catalog, kind: Kind, id: &'a str, value: &'a Value) -> Self {
        Self { catalog, instead: Some((kind, id, value)) }
    }

    pub(crate) fn find(&self, kind: Kind, id: &str) -> Option<&'a Value> {
        match self.instead {
            Some((other, name, value)) if other == kind && name == id => Some(value),
            _ => self.catalog.find(kind, id).map(|resource| &resource.value),
        }
    }

    /// Ids of the routes that are compiled from this resource, itself included.
    pub(crate) fn routes_from(&self, kind: Kind, id: &str) -> Vec<String> {
        match kind {
            Kind::Route => vec![id.to_owned()],
            Kind::Ssl => Vec::new(),
            Kind::Service => self.naming(Kind::Route, Kind::Service, id),
            Kind::Upstream => {
                let mut routes = self.naming(Kind::Route, Kind::Upstream, id);
                for service in self.naming(Kind::Service, Kind::Upstream, id) {
                    routes.extend(self.naming(Kind::Route, Kind::Service, &service));
                }
                routes
            }
        }
    }

    /// Ids of the resources of `kind` that name `other` and `id`.
    fn naming(&self, kind: Kind, other: Kind, id: &str) -> Vec<String> {
        let names =
            |value: &Value| kind.references(value).iter().any(|(_, is, name)| *is == other && name == id);
        let ids = self.catalog.list(kind).map(|resource| &resource.id);
        ids.filter(|found| self.find(kind, found).is_some_and(names)).cloned().collect()
    }
}
