//! What the engine serves now, and how a change of entities becomes the next contribution to its snapshot.

use std::{collections::BTreeMap, sync::Arc};

use gateway::{
    consumer::{Consumer, Consumers, Credential},
    route::Route,
    snapshot::{Certificate, Contribution, Routes},
    upstream::Checker,
};
use serde_json::Value;

use crate::{
    catalog::{Affected, Catalog, View},
    compile::{Compiler, ERRORS, Group, Member, Pass},
    entities::Kind,
};

/// The text for a request that no route takes.
const NOT_FOUND: &str = "no Route matched with those values";

/// What is compiled, by id, and what could not be.
#[derive(Debug, Default)]
pub(crate) struct Serving {
    routes: BTreeMap<String, Slot<Route>>,
    /// The routes, as requests find them.
    found: Routes,
    certificates: BTreeMap<String, Slot<Certificate>>,
    /// The certificates, in the order in which they were made.
    shown: Arc<[Arc<Certificate>]>,
    members: BTreeMap<String, Served>,
    groups: BTreeMap<String, Group>,
    consumers: Arc<Consumers>,
    /// The checks of every upstream, also where no route leads to it.
    checkers: BTreeMap<String, Arc<Checker>>,
    /// Other entities that do not compile: `services/x`, and why.
    broken: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Slot<T> {
    /// Revision that made it: the order in which equals are tried.
    created: u64,
    /// The last version that compiled, or what stands in for it.
    served: Option<Arc<T>>,
    broken: Option<String>,
}

/// A consumer as it stands in the table.
#[derive(Debug, Default)]
struct Served {
    consumer: Option<Arc<Consumer>>,
    credentials: Vec<Arc<Credential>>,
    broken: Vec<(String, String)>,
}

/// An entity that changed, with its content before or after: what it named decides what is made anew.
#[derive(Clone, Debug)]
pub(crate) struct Changed {
    pub(crate) kind: Kind,
    pub(crate) id: String,
    pub(crate) value: Value,
}

impl Serving {
    /// Nothing yet. `pepper` keys the digests of credentials.
    pub(crate) fn new(pepper: &[u8; 32]) -> Self {
        Self { consumers: Arc::new(Consumers::new(pepper)), ..Self::default() }
    }

    /// Whether this route was already out of order, so that a write elsewhere is not to blame.
    pub(crate) fn is_broken_route(&self, route: &str) -> bool {
        self.routes.get(route).is_some_and(|slot| slot.broken.is_some())
    }

    /// The same of a consumer.
    pub(crate) fn is_broken_consumer(&self, consumer: &str) -> bool {
        self.members.get(consumer).is_some_and(|served| !served.broken.is_empty())
    }

    /// The same of a consumer group.
    pub(crate) fn is_broken_group(&self, group: &str) -> bool {
        self.groups.get(group).is_some_and(|group| group.broken.is_some())
    }

    /// The same of a certificate.
    pub(crate) fn is_broken_certificate(&self, certificate: &str) -> bool {
        self.certificates.get(certificate).is_some_and(|slot| slot.broken.is_some())
    }

    /// Compiles everything that depends on what changed, once each.
    pub(crate) fn refresh(&mut self, compiler: &mut Compiler, catalog: &Catalog, changed: &[Changed]) {
        let view = View::of(catalog);
        let mut pass = compiler.pass(view);
        let mut affected = Affected::default();
        for Changed { kind, id, value } in changed {
            view.affected(*kind, id, value, &mut affected);
            if matches!(kind, Kind::Route | Kind::Consumer | Kind::Certificate) || kind.is_credential() {
                continue;
            }
            let name = format!("{}/{id}", kind.plural());
            match catalog.find(*kind, id).map(|_| pass.try_entity(*kind, id)) {
                Some(Err(violations)) => self.broken.insert(name, violations.message()),
                _ => self.broken.remove(&name),
            };
        }
        for id in &affected.upstreams {
            self.refresh_checker(&mut pass, catalog, id);
        }
        for id in &affected.routes {
            self.refresh_route(&mut pass, catalog, id);
        }
        for id in &affected.certificates {
            self.refresh_certificate(&mut pass, catalog, id);
        }
        if !affected.certificates.is_empty() {
            self.shown = in_order(&self.certificates).into();
        }
        if affected.consumers.is_empty() && affected.groups.is_empty() {
            return;
        }
        let mut table = Consumers::clone(&self.consumers);
        if !affected.groups.is_empty() {
            for id in affected.groups {
                self.refresh_group(&mut pass, id);
            }
            let brought = |group: &Group| (Arc::clone(&group.name), Arc::clone(&group.layer));
            table.set_groups(self.groups.values().map(brought).collect());
        }
        for id in affected.consumers {
            self.refresh_member(&mut pass, &mut table, id);
        }
        self.consumers = Arc::new(table);
    }

    fn refresh_route(&mut self, pass: &mut Pass<'_>, catalog: &Catalog, id: &str) {
        let Some(entity) = catalog.find(Kind::Route, id) else {
            self.routes.remove(id);
            self.found.remove(id);
            return;
        };
        let slot = match pass.route(id) {
            Ok(route) => Slot { created: entity.created, served: route, broken: None },
            Err(broken) => {
                warn(&format!("routes/{id}"), &broken.reason);
                let good = self.routes.remove(id).and_then(|old| old.served);
                Slot { created: entity.created, served: good.or(broken.closed), broken: Some(broken.reason) }
            }
        };
        match &slot.served {
            Some(route) => self.found.insert(entity.created, Arc::clone(route)),
            None => self.found.remove(id),
        }
        self.routes.insert(id.to_owned(), slot);
    }

    /// An upstream that cannot be compiled is named among the broken ones, and checked as before.
    fn refresh_checker(&mut self, pass: &mut Pass<'_>, catalog: &Catalog, id: &str) {
        if catalog.find(Kind::Upstream, id).is_none() {
            self.checkers.remove(id);
        } else if let Ok(checker) = pass.checker(id) {
            self.checkers.insert(id.to_owned(), checker);
        }
    }

    fn refresh_certificate(&mut self, pass: &mut Pass<'_>, catalog: &Catalog, id: &str) {
        let Some(entity) = catalog.find(Kind::Certificate, id) else {
            self.certificates.remove(id);
            return;
        };
        let slot = match pass.certificate(id) {
            Ok(certificate) => Slot { created: entity.created, served: certificate, broken: None },
            Err(reason) => {
                warn(&format!("certificates/{id}"), &reason);
                let good = self.certificates.remove(id).and_then(|old| old.served);
                Slot {
                    created: entity.created,
                    served: good.or_else(|| pass.closed_certificate(id)),
                    broken: Some(reason),
                }
            }
        };
        self.certificates.insert(id.to_owned(), slot);
    }

    /// A group whose plugins cannot run brings a refusal: without it, its callers would get in where groups are optional.
    fn refresh_group(&mut self, pass: &mut Pass<'_>, id: String) {
        let Some(group) = pass.group(&id) else {
            self.groups.remove(&id);
            return;
        };
        if let Some(reason) = &group.broken {
            warn(&format!("{}/{id}", Kind::ConsumerGroup.plural()), reason);
        }
        self.groups.insert(id, group);
    }

    /// Of a consumer that cannot be compiled nothing older serves on: it might be let in by a key that was taken away.
    fn refresh_member(&mut self, pass: &mut Pass<'_>, table: &mut Consumers, id: String) {
        if let Some(old) = self.members.remove(&id)
            && let Some(consumer) = &old.consumer
        {
            table.remove(consumer, &old.credentials);
        }
        let Some(Member { consumer, credentials, broken }) = pass.member(&id) else { return };
        for (name, reason) in &broken {
            warn(name, reason);
        }
        if let Some(consumer) = &consumer {
            table.insert(consumer, &credentials);
        }
        self.members.insert(id, Served { consumer, credentials, broken });
    }

    /// All of it, for the engine.
    pub(crate) fn contribution(&self, revision: u64) -> Contribution {
        Contribution {
            routes: self.found.clone(),
            certificates: Arc::clone(&self.shown),
            consumers: Arc::clone(&self.consumers),
            global: Arc::default(),
            revision,
            not_found: (ERRORS, NOT_FOUND),
            broken: self.broken(),
        }
    }

    fn broken(&self) -> Vec<(String, String)> {
        let mut out: Vec<(String, String)> =
            self.broken.iter().map(|(name, why)| (name.clone(), why.clone())).collect();
        out.extend(complaints(Kind::Route, &self.routes));
        out.extend(complaints(Kind::Certificate, &self.certificates));
        out.extend(self.members.values().flat_map(|served| served.broken.iter().cloned()));
        let of_group = |(id, group): (&String, &Group)| {
            Some((format!("{}/{id}", Kind::ConsumerGroup.plural()), group.broken.clone()?))
        };
        out.extend(self.groups.iter().filter_map(of_group));
        let contested = self.consumers.contested();
        out.extend(contested.into_iter().map(|it| {
            let why = format!("{} has the same {} key and had it before", it.owner, it.plugin);
            (it.credential.to_string(), why)
        }));
        out
    }
}

fn warn(resource: &str, reason: &str) {
    tracing::warn!(resource, reason, "a resource cannot be used");
}

/// Those made by one revision keep the order of their ids.
fn in_order<T>(slots: &BTreeMap<String, Slot<T>>) -> Vec<Arc<T>> {
    let mut served: Vec<_> =
        slots.values().filter_map(|slot| Some((slot.created, Arc::clone(slot.served.as_ref()?)))).collect();
    served.sort_by_key(|(created, _)| *created);
    served.into_iter().map(|(_, served)| served).collect()
}

fn complaints<T>(kind: Kind, slots: &BTreeMap<String, Slot<T>>) -> impl Iterator<Item = (String, String)> {
    slots.iter().filter_map(move |(id, slot)| Some((format!("{}/{id}", kind.plural()), slot.broken.clone()?)))
}
