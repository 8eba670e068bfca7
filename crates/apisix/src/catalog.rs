//! The resources as they are stored, in memory: what the Admin API reads and the compiler compiles.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

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
    kinds: BTreeMap<Kind, BTreeMap<String, Arc<Resource>>>,
    /// Of each resource that others name, there or not: those others.
    referrers: HashMap<(Kind, String), BTreeSet<(Kind, String)>>,
    /// The newest revision of the store that is in it.
    pub(crate) revision: u64,
}

impl Catalog {
    /// An empty one, as of a revision.
    pub(crate) fn at(revision: u64) -> Self {
        Self { revision, ..Self::default() }
    }

    pub(crate) fn find(&self, kind: Kind, id: &str) -> Option<&Arc<Resource>> {
        self.kinds.get(&kind)?.get(id)
    }

    /// All of one kind, by id.
    pub(crate) fn list(&self, kind: Kind) -> impl Iterator<Item = &Arc<Resource>> {
        self.kinds.get(&kind).into_iter().flat_map(BTreeMap::values)
    }

    pub(crate) fn put(&mut self, resource: Resource) {
        self.revision = self.revision.max(resource.modified);
        self.remove(resource.kind, &resource.id);
        for named in resource.kind.references(&resource.id, &resource.value) {
            self.referrers.entry(named).or_default().insert((resource.kind, resource.id.clone()));
        }
        self.kinds.entry(resource.kind).or_default().insert(resource.id.clone(), Arc::new(resource));
    }

    pub(crate) fn remove(&mut self, kind: Kind, id: &str) {
        let Some(old) = self.kinds.get_mut(&kind).and_then(|resources| resources.remove(id)) else { return };
        let own = (kind, old.id.clone());
        for named in kind.references(id, &old.value) {
            if let Some(referrers) = self.referrers.get_mut(&named) {
                referrers.remove(&own);
                if referrers.is_empty() {
                    self.referrers.remove(&named);
                }
            }
        }
    }

    /// The credentials of a consumer.
    pub(crate) fn credentials_of(&self, username: &str) -> impl Iterator<Item = &Arc<Resource>> {
        // `0` follows `/`: everything that begins with the name and a slash.
        let range = format!("{username}/")..format!("{username}0");
        self.kinds
            .get(&Kind::Credential)
            .into_iter()
            .flat_map(move |all| all.range(range.clone()))
            .map(|(_, it)| it)
    }

    /// The first resource that names this one.
    pub(crate) fn referrer(&self, kind: Kind, id: &str) -> Option<&Arc<Resource>> {
        let (kind, id) = self.referrers.get(&(kind, id.to_owned()))?.first()?;
        self.find(*kind, id)
    }

    /// Ids of the resources of `kind` that name `other` and `id`.
    fn naming(&self, kind: Kind, other: Kind, id: &str) -> impl Iterator<Item = &String> {
        let referrers = self.referrers.get(&(other, id.to_owned())).into_iter().flatten();
        referrers.filter(move |(is, _)| *is == kind).map(|(_, id)| id)
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
            Kind::Consumer | Kind::Credential | Kind::ConsumerGroup | Kind::GlobalRule | Kind::Secret => {
                Vec::new()
            }
            Kind::PluginMetadata => {
                let holders = [Kind::Route, Kind::Service, Kind::PluginConfig];
                let mut routes = BTreeSet::new();
                for kind in holders {
                    routes.extend(self.holding(kind, id).flat_map(|holder| self.routes_from(kind, holder)));
                }
                routes.into_iter().collect()
            }
            Kind::PluginConfig => self.naming(Kind::Route, Kind::PluginConfig, id),
            Kind::Ssl => {
                let mut routes = self.naming(Kind::Route, Kind::Ssl, id);
                for (kind, user) in self.users_of_ssl(id) {
                    routes.extend(self.routes_from(kind, &user));
                }
                routes
            }
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

    /// The upstreams and services that show this ssl's certificate to their nodes.
    pub(crate) fn users_of_ssl(&self, id: &str) -> Vec<(Kind, String)> {
        let of = |kind| self.naming(kind, Kind::Ssl, id).into_iter().map(move |user| (kind, user));
        of(Kind::Upstream).chain(of(Kind::Service)).collect()
    }

    /// Names of the consumers that are compiled from this resource, itself included.
    pub(crate) fn consumers_from(&self, kind: Kind, id: &str) -> Vec<String> {
        match kind {
            Kind::Consumer => vec![id.to_owned()],
            Kind::Credential => {
                id.split_once('/').map(|(consumer, _)| consumer.to_owned()).into_iter().collect()
            }
            Kind::ConsumerGroup => self.naming(Kind::Consumer, Kind::ConsumerGroup, id),
            Kind::PluginMetadata => {
                let groups = self.holding(Kind::ConsumerGroup, id);
                let mut consumers: BTreeSet<String> = groups
                    .flat_map(|group| self.naming(Kind::Consumer, Kind::ConsumerGroup, group))
                    .collect();
                consumers.extend(self.holding(Kind::Consumer, id).map(str::to_owned));
                consumers.into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// Ids of the resources of `kind` in which this plugin is configured, as they are stored.
    pub(crate) fn holding(&self, kind: Kind, plugin: &str) -> impl Iterator<Item = &'a str> {
        let holds = move |resource: &&'a Arc<Resource>| {
            resource.value.get("plugins").is_some_and(|plugins| plugins.get(plugin).is_some())
        };
        self.catalog.list(kind).filter(holds).map(|resource| resource.id.as_str())
    }

    /// Revision that made a resource; the next one for one that is still to be made.
    pub(crate) fn created(&self, kind: Kind, id: &str) -> u64 {
        self.catalog.find(kind, id).map_or(self.catalog.revision.saturating_add(1), |known| known.created)
    }

    /// Ids of the credentials of a consumer.
    pub(crate) fn credentials_of(&self, username: &str) -> Vec<String> {
        self.catalog.credentials_of(username).map(|credential| credential.id.clone()).collect()
    }

    /// Ids of the resources of `kind` that name `other` and `id`.
    fn naming(&self, kind: Kind, other: Kind, id: &str) -> Vec<String> {
        let known = self.catalog.naming(kind, other, id);
        let Some((_, instead, value)) = self.instead.filter(|(changed, ..)| *changed == kind) else {
            return known.cloned().collect();
        };
        let mut ids: BTreeSet<&str> = known.map(String::as_str).collect();
        ids.remove(instead);
        let names = kind.references(instead, value).iter().any(|(is, name)| *is == other && name == id);
        if names && self.catalog.find(kind, instead).is_some() {
            ids.insert(instead);
        }
        ids.into_iter().map(str::to_owned).collect()
    }
}
