//! The entities as they are stored, in memory: what the Admin API reads and the compiler compiles.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::Arc,
};

use serde_json::Value;

use crate::entities::{Kind, is_uuid, reference};

/// One stored entity.
#[derive(Clone, Debug)]
pub(crate) struct Entity {
    pub(crate) kind: Kind,
    pub(crate) id: String,
    /// As stored: secrets are sealed. `Null` when what is stored is no JSON.
    pub(crate) value: Value,
    /// Revision that made it.
    pub(crate) created: u64,
    /// Revision that last wrote it.
    pub(crate) modified: u64,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    kinds: [BTreeMap<String, Arc<Entity>>; Kind::ALL.len()],
    /// Ids by what only one entity may have.
    holders: HashMap<String, String>,
    /// The newest revision of the store that is in it.
    pub(crate) revision: u64,
}

impl Catalog {
    pub(crate) fn find(&self, kind: Kind, id: &str) -> Option<&Arc<Entity>> {
        self.of(kind).get(id)
    }

    /// The entity that a path names, by its id or by its name.
    pub(crate) fn lookup(&self, kind: Kind, key: &str) -> Option<&Arc<Entity>> {
        if is_uuid(key) {
            return self.find(kind, key);
        }
        self.find(kind, self.holder(&kind.name_key(key))?)
    }

    /// The id of the entity that has what `unique_key` stands for.
    pub(crate) fn holder(&self, unique_key: &str) -> Option<&str> {
        self.holders.get(unique_key).map(String::as_str)
    }

    /// All of one kind, by id.
    pub(crate) fn list(&self, kind: Kind) -> impl Iterator<Item = &Arc<Entity>> {
        self.of(kind).values()
    }

    /// Those of one kind whose ids come after `after`.
    pub(crate) fn list_after(&self, kind: Kind, after: Option<&str>) -> impl Iterator<Item = &Arc<Entity>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.of(kind).range::<str, _>((from, Bound::Unbounded)).map(|(_, entity)| entity)
    }

    /// Those of `kind` that name the entity `parent` and `id`.
    pub(crate) fn children(&self, kind: Kind, parent: Kind, id: &str) -> impl Iterator<Item = &Arc<Entity>> {
        self.list(kind).filter(move |entity| reference(&entity.value, parent) == Some(id))
    }

    pub(crate) fn put(&mut self, entity: Entity) {
        self.revision = self.revision.max(entity.modified);
        self.remove(entity.kind, &entity.id);
        for (key, _) in entity.kind.unique_keys(&entity.value) {
            self.holders.insert(key, entity.id.clone());
        }
        self.of_mut(entity.kind).insert(entity.id.clone(), Arc::new(entity));
    }

    pub(crate) fn remove(&mut self, kind: Kind, id: &str) {
        let Some(old) = self.of_mut(kind).remove(id) else { return };
        for (key, _) in kind.unique_keys(&old.value) {
            if self.holder(&key) == Some(id) {
                self.holders.remove(&key);
            }
        }
    }

    fn of(&self, kind: Kind) -> &BTreeMap<String, Arc<Entity>> {
        let [services, routes, plugins] = &self.kinds;
        match kind {
            Kind::Service => services,
            Kind::Route => routes,
            Kind::Plugin => plugins,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut BTreeMap<String, Arc<Entity>> {
        let [services, routes, plugins] = &mut self.kinds;
        match kind {
            Kind::Service => services,
            Kind::Route => routes,
            Kind::Plugin => plugins,
        }
    }
}

/// The catalog, perhaps with one entity as it would be after a write.
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
            _ => self.catalog.find(kind, id).map(|entity| &entity.value),
        }
    }

    /// All of one kind.
    pub(crate) fn list(&self, kind: Kind) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let instead = self.instead.filter(|(other, ..)| *other == kind).map(|(_, id, value)| (id, value));
        let stored = self.catalog.list(kind).map(|entity| (entity.id.as_str(), &entity.value));
        stored.filter(move |(id, _)| instead.is_none_or(|(other, _)| other != *id)).chain(instead)
    }

    /// Ids of the routes that are compiled from the entity `kind` and `id`, whose content is `value`.
    pub(crate) fn routes_from(&self, kind: Kind, id: &str, value: &Value) -> Vec<String> {
        match kind {
            Kind::Route => vec![id.to_owned()],
            Kind::Service => self.routes_of(id),
            Kind::Plugin => match (reference(value, Kind::Route), reference(value, Kind::Service)) {
                (Some(route), _) => vec![route.to_owned()],
                (None, Some(service)) => self.routes_of(service),
                (None, None) => self.list(Kind::Route).map(|(id, _)| id.to_owned()).collect(),
            },
        }
    }

    fn routes_of(&self, service: &str) -> Vec<String> {
        let routes =
            self.list(Kind::Route).filter(|(_, route)| reference(route, Kind::Service) == Some(service));
        routes.map(|(id, _)| id.to_owned()).collect()
    }
}
