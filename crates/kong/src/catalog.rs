//! The entities as they are stored, in memory: what the Admin API reads and the compiler compiles.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

use serde_json::Value;

use crate::entities::{Kind, is_uuid, named, with_port};

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
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    kinds: BTreeMap<Kind, BTreeMap<String, Arc<Entity>>>,
    /// Ids by what only one entity may have.
    holders: HashMap<String, String>,
    /// Who names an entity, by that entity.
    children: HashMap<(Kind, String), BTreeSet<(Kind, String)>>,
    /// The newest revision of the store that is in it.
    pub(crate) revision: u64,
}

impl Catalog {
    /// Nothing, as of this revision.
    pub(crate) fn at(revision: u64) -> Self {
        Self { revision, ..Self::default() }
    }

    pub(crate) fn find(&self, kind: Kind, id: &str) -> Option<&Arc<Entity>> {
        self.kinds.get(&kind)?.get(id)
    }

    /// The entity that a path names, by its id or by its name, below the entity of that id.
    pub(crate) fn lookup(&self, kind: Kind, key: &str, parent: Option<&str>) -> Option<&Arc<Entity>> {
        if is_uuid(key) {
            return self.find(kind, key);
        }
        if kind == Kind::Certificate {
            let sni = self.lookup(Kind::Sni, key, None)?;
            return self.find(kind, named(&sni.value, "certificate")?);
        }
        if kind == Kind::Target {
            // Stored with its port, which may be left out here as well.
            return self.find(kind, self.holder(&kind.name_key(&with_port(key), parent)?)?);
        }
        self.find(kind, self.holder(&kind.name_key(key, parent)?)?)
    }

    fn upstream(&self, name: &str) -> Option<(&str, &Value)> {
        let found = self.find(Kind::Upstream, self.holder(&Kind::Upstream.name_key(name, None)?)?)?;
        Some((&found.id, &found.value))
    }

    /// The id of the entity that has what `unique_key` stands for.
    pub(crate) fn holder(&self, unique_key: &str) -> Option<&str> {
        self.holders.get(unique_key).map(String::as_str)
    }

    /// All of one kind, by id.
    pub(crate) fn list(&self, kind: Kind) -> impl Iterator<Item = &Arc<Entity>> {
        self.kinds.get(&kind).into_iter().flat_map(BTreeMap::values)
    }

    /// Those of one kind whose ids come after `after`.
    pub(crate) fn list_after(&self, kind: Kind, after: Option<&str>) -> impl Iterator<Item = &Arc<Entity>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = (from, Bound::Unbounded);
        self.kinds
            .get(&kind)
            .into_iter()
            .flat_map(move |all| all.range::<str, _>(range).map(|(_, entity)| entity))
    }

    /// Those of `kind` that name the entity `parent` and `id`, by id.
    pub(crate) fn children(&self, kind: Kind, parent: Kind, id: &str) -> impl Iterator<Item = &Arc<Entity>> {
        let children = self.children.get(&(parent, id.to_owned())).into_iter().flatten();
        children.filter(move |(other, _)| *other == kind).filter_map(move |(_, id)| self.find(kind, id))
    }

    /// Everything that names the entity `parent` and `id`.
    pub(crate) fn all_children(&self, parent: Kind, id: &str) -> impl Iterator<Item = &Arc<Entity>> {
        let children = self.children.get(&(parent, id.to_owned())).into_iter().flatten();
        children.filter_map(|(kind, id)| self.find(*kind, id))
    }

    pub(crate) fn put(&mut self, entity: Entity) {
        self.revision = self.revision.max(entity.modified);
        self.remove(entity.kind, &entity.id);
        for key in entity.kind.stored_keys(&entity.value) {
            self.holders.insert(key, entity.id.clone());
        }
        for parent in entity.kind.references(&entity.value) {
            self.children.entry(parent).or_default().insert((entity.kind, entity.id.clone()));
        }
        self.kinds.entry(entity.kind).or_default().insert(entity.id.clone(), Arc::new(entity));
    }

    pub(crate) fn remove(&mut self, kind: Kind, id: &str) {
        let Some(old) = self.kinds.get_mut(&kind).and_then(|all| all.remove(id)) else { return };
        for key in kind.stored_keys(&old.value) {
            if self.holder(&key) == Some(id) {
                self.holders.remove(&key);
            }
        }
        for parent in kind.references(&old.value) {
            let Some(children) = self.children.get_mut(&parent) else { continue };
            children.remove(&(kind, id.to_owned()));
            if children.is_empty() {
                self.children.remove(&parent);
            }
        }
    }
}

/// The catalog, perhaps with one entity as it would be after a write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    catalog: &'a Catalog,
    instead: Option<(Kind, &'a str, &'a Value)>,
}

/// What of the engine's depends on an entity, by id.
#[derive(Debug, Default)]
pub(crate) struct Affected {
    pub(crate) routes: BTreeSet<String>,
    pub(crate) consumers: BTreeSet<String>,
    pub(crate) groups: BTreeSet<String>,
    pub(crate) certificates: BTreeSet<String>,
    /// Those whose targets are checked.
    pub(crate) upstreams: BTreeSet<String>,
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

    /// Revision that made an entity: of one that is being made, the next.
    pub(crate) fn created(&self, kind: Kind, id: &str) -> u64 {
        self.catalog.find(kind, id).map_or(self.catalog.revision + 1, |entity| entity.created)
    }

    /// All of one kind.
    pub(crate) fn list(&self, kind: Kind) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let instead = self.instead.filter(|(other, ..)| *other == kind).map(|(_, id, value)| (id, value));
        let stored = self.catalog.list(kind).map(|entity| (entity.id.as_str(), &entity.value));
        stored.filter(move |(id, _)| instead.is_none_or(|(other, _)| other != *id)).chain(instead)
    }

    /// Those of `kind` that name the entity `parent` and `id`.
    pub(crate) fn children(
        &self,
        kind: Kind,
        parent: Kind,
        id: &str,
    ) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let changed = self.instead.filter(|(other, ..)| *other == kind);
        let instead =
            changed.filter(|(_, _, value)| kind.names(value, parent, id)).map(|(_, id, value)| (id, value));
        let stored =
            self.catalog.children(kind, parent, id).map(|entity| (entity.id.as_str(), &entity.value));
        stored.filter(move |(id, _)| changed.is_none_or(|(_, other, _)| other != *id)).chain(instead)
    }

    /// What is compiled from the entity `kind` and `id`, whose content is `value`.
    pub(crate) fn affected(&self, kind: Kind, id: &str, value: &Value, out: &mut Affected) {
        match kind {
            Kind::Route => {
                out.routes.insert(id.to_owned());
            }
            Kind::Consumer => {
                out.consumers.insert(id.to_owned());
            }
            Kind::ConsumerGroup => self.of_group(id, out),
            Kind::Member | Kind::KeyAuth | Kind::BasicAuth | Kind::Jwt | Kind::HmacAuth | Kind::Acl => {
                out.consumers.extend(named(value, "consumer").map(str::to_owned));
            }
            Kind::Service => self.routes_of(id, out),
            Kind::Upstream => {
                out.upstreams.insert(id.to_owned());
                self.routes_to(value.get("name").and_then(Value::as_str), out);
            }
            Kind::Target => {
                let Some(id) = named(value, "upstream") else { return };
                out.upstreams.insert(id.to_owned());
                let upstream = self.find(Kind::Upstream, id);
                self.routes_to(upstream.and_then(|upstream| upstream.get("name")?.as_str()), out);
            }
            Kind::Plugin => self.affected_by_plugin(value, out),
            Kind::Certificate => {
                out.certificates.insert(id.to_owned());
                for (service, _) in self.children(Kind::Service, Kind::Certificate, id) {
                    self.routes_of(service, out);
                }
                for (id, upstream) in self.children(Kind::Upstream, Kind::Certificate, id) {
                    out.upstreams.insert(id.to_owned());
                    self.routes_to(upstream.get("name").and_then(Value::as_str), out);
                }
            }
            Kind::Sni => out.certificates.extend(named(value, "certificate").map(str::to_owned)),
            Kind::CaCertificate => {
                for (service, _) in self.children(Kind::Service, Kind::CaCertificate, id) {
                    self.routes_of(service, out);
                }
            }
            // A reference to it may stand anywhere.
            Kind::Vault => {
                out.routes.extend(self.list(Kind::Route).map(|(id, _)| id.to_owned()));
                out.consumers.extend(self.list(Kind::Consumer).map(|(id, _)| id.to_owned()));
                out.groups.extend(self.list(Kind::ConsumerGroup).map(|(id, _)| id.to_owned()));
                out.certificates.extend(self.list(Kind::Certificate).map(|(id, _)| id.to_owned()));
                out.upstreams.extend(self.list(Kind::Upstream).map(|(id, _)| id.to_owned()));
            }
        }
    }

    fn affected_by_plugin(&self, plugin: &Value, out: &mut Affected) {
        if let Some(consumer) = named(plugin, "consumer") {
            out.consumers.insert(consumer.to_owned());
        } else if let Some(group) = named(plugin, "consumer_group") {
            self.of_group(group, out);
        } else if let Some(route) = named(plugin, "route") {
            out.routes.insert(route.to_owned());
        } else if let Some(service) = named(plugin, "service") {
            self.routes_of(service, out);
        } else {
            out.routes.extend(self.list(Kind::Route).map(|(id, _)| id.to_owned()));
        }
    }

    /// The group itself, and its members.
    fn of_group(&self, group: &str, out: &mut Affected) {
        out.groups.insert(group.to_owned());
        let members = self.children(Kind::Member, Kind::ConsumerGroup, group);
        out.consumers.extend(members.filter_map(|(_, member)| Some(named(member, "consumer")?.to_owned())));
    }

    fn routes_of(&self, service: &str, out: &mut Affected) {
        out.routes.extend(self.children(Kind::Route, Kind::Service, service).map(|(id, _)| id.to_owned()));
    }

    /// Routes of the services whose host is the upstream of that name.
    fn routes_to(&self, upstream: Option<&str>, out: &mut Affected) {
        let Some(name) = upstream else { return };
        for (service, value) in self.list(Kind::Service) {
            if value.get("host").and_then(Value::as_str) == Some(name) {
                self.routes_of(service, out);
            }
        }
    }

    /// The upstream of that name.
    pub(crate) fn upstream(&self, name: &str) -> Option<(&'a str, &'a Value)> {
        if let Some((Kind::Upstream, id, value)) = self.instead {
            if value.get("name").and_then(Value::as_str) == Some(name) {
                return Some((id, value));
            }
            return self.catalog.upstream(name).filter(|(found, _)| *found != id);
        }
        self.catalog.upstream(name)
    }

    /// The vault that references call so.
    pub(crate) fn vault(&self, prefix: &str) -> Option<&'a Value> {
        let named = |(_, vault): &(&str, &Value)| vault.get("prefix").and_then(Value::as_str) == Some(prefix);
        self.list(Kind::Vault).find(named).map(|(_, vault)| vault)
    }
}
