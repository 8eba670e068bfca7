//! What the engine serves now, and how a change of resources becomes the next contribution to its snapshot.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use gateway::{
    consumer::{Consumers, Credential},
    route::{Plan, Route},
    snapshot::{Certificate, Contribution, Routes},
};

use crate::{
    catalog::{Catalog, View},
    compile::{Broken, Claim, Compiler, ERRORS, GlobalRule, Member},
    resources::Kind,
};

/// The text for a request that no route takes.
pub(crate) const NOT_FOUND: &str = "404 Route Not Found";

/// Everything compiled, by id, and what could not be compiled.
#[derive(Debug)]
pub(crate) struct Serving {
    routes: BTreeMap<String, Slot<Route>>,
    /// The routes, as requests find them.
    served_routes: Routes,
    certificates: BTreeMap<String, Slot<Certificate>>,
    /// The certificates in the order in which they were made; made anew when one of them changes.
    served_certificates: Arc<[Arc<Certificate>]>,
    global_rules: BTreeMap<String, Slot<GlobalRule>>,
    /// What runs on every request; made anew when a global rule changes.
    global: Arc<Plan>,
    members: BTreeMap<String, Member>,
    /// The members, as requests find them.
    consumers: Arc<Consumers>,
    /// Resources that do not compile: `services/1`, and why.
    broken: BTreeMap<String, String>,
    /// Stored resources of kinds that this build does not know: they would be ignored, so they are named.
    foreign: BTreeSet<String>,
}

#[derive(Debug)]
struct Slot<T> {
    /// Revision that made the resource: the order in which equals are tried.
    created: u64,
    /// The last version that compiled.
    good: Option<Arc<T>>,
    /// What stands in for it when there is none.
    closed: Option<Arc<T>>,
}

impl<T> Slot<T> {
    fn served(&self) -> Option<&Arc<T>> {
        self.good.as_ref().or(self.closed.as_ref())
    }
}

impl Serving {
    /// Nothing yet. `pepper` keys the digests by which credentials are found.
    pub(crate) fn new(pepper: &[u8; 32]) -> Self {
        Self {
            routes: BTreeMap::new(),
            served_routes: Routes::default(),
            certificates: BTreeMap::new(),
            served_certificates: Arc::default(),
            global_rules: BTreeMap::new(),
            global: Arc::default(),
            members: BTreeMap::new(),
            consumers: Arc::new(Consumers::new(pepper)),
            broken: BTreeMap::new(),
            foreign: BTreeSet::new(),
        }
    }

    /// The credential that is found by the key of `claim`.
    pub(crate) fn holder(&self, claim: &Claim) -> Option<&Arc<Credential>> {
        self.consumers.credential(claim.compiled.plugin, claim.compiled.lookup.expose())
    }

    /// Whether this route was already out of order, so that a write elsewhere is not to blame.
    pub(crate) fn is_broken(&self, route: &str) -> bool {
        self.broken.contains_key(&Kind::Route.name(route))
    }

    /// Compiles everything that depends on the resources in `changed`, once each.
    pub(crate) fn refresh(
        &mut self,
        compiler: &mut Compiler,
        catalog: &Catalog,
        changed: &HashSet<(Kind, String)>,
    ) {
        let view = View::of(catalog);
        let mut pass = compiler.pass(view);
        let (mut routes, mut consumers) = (BTreeSet::new(), BTreeSet::new());
        let ssls = changed.iter().filter(|(kind, _)| *kind == Kind::Ssl);
        let users = ssls.flat_map(|(_, id)| view.users_of_ssl(id));
        let metadata = changed.iter().filter(|(kind, _)| *kind == Kind::PluginMetadata);
        let rules = metadata.flat_map(|(_, plugin)| view.holding(Kind::GlobalRule, plugin));
        let rules = rules.map(|rule| (Kind::GlobalRule, rule.to_owned()));
        let concerned: BTreeSet<(Kind, String)> = changed.iter().cloned().chain(users).chain(rules).collect();
        for (kind, id) in &concerned {
            routes.extend(view.routes_from(*kind, id));
            consumers.extend(view.consumers_from(*kind, id));
            match kind {
                Kind::Route | Kind::Consumer | Kind::Credential => {}
                Kind::GlobalRule => {
                    let made = pass.global_rule(id);
                    place(&mut self.global_rules, &mut self.broken, catalog, Kind::GlobalRule, id, made);
                }
                Kind::Ssl => {
                    let made = pass.certificate(id);
                    let made = made.map_err(|reason| Failed {
                        reason,
                        closed: pass.closed_certificate(id),
                        was_good: true,
                    });
                    place(&mut self.certificates, &mut self.broken, catalog, Kind::Ssl, id, made);
                }
                Kind::Service
                | Kind::Upstream
                | Kind::ConsumerGroup
                | Kind::PluginConfig
                | Kind::PluginMetadata
                | Kind::Secret => {
                    let name = kind.name(id);
                    match catalog.find(*kind, id).map(|_| pass.try_resource(*kind, id)) {
                        Some(Err(reason)) => self.broken.insert(name, reason),
                        _ => self.broken.remove(&name),
                    };
                }
            }
        }
        for id in routes {
            let compiled = pass.route(&id);
            place(&mut self.routes, &mut self.broken, catalog, Kind::Route, &id, compiled);
            match self.routes.get(&id).and_then(|slot| Some((slot.created, slot.served()?))) {
                Some((created, route)) => self.served_routes.insert(created, Arc::clone(route)),
                None => self.served_routes.remove(&id),
            }
        }
        for username in consumers {
            let member = pass.member(&username);
            self.replace_member(username, member);
        }
        if concerned.iter().any(|(kind, _)| *kind == Kind::Ssl) {
            self.served_certificates = in_order(&self.certificates).into();
        }
        if concerned.iter().any(|(kind, _)| *kind == Kind::GlobalRule) {
            let rules = in_order(&self.global_rules);
            let mut entries: Vec<_> = rules.iter().flat_map(|rule| rule.entries.iter().cloned()).collect();
            entries.sort_by(|a, b| b.priority.cmp(&a.priority).then(a.name.cmp(b.name)));
            self.global = Arc::new(Plan::new(entries));
        }
    }

    fn replace_member(&mut self, username: String, member: Member) {
        let (own, below) = (Kind::Consumer.name(&username), format!("{}/", Kind::Consumer.name(&username)));
        self.broken.retain(|name, _| *name != own && !name.starts_with(&below));
        if let Some(Member { consumer: Some(consumer), credentials, .. }) = self.members.remove(&username) {
            Arc::make_mut(&mut self.consumers).remove(&consumer, &credentials);
        }
        for (name, reason) in &member.broken {
            tracing::warn!(resource = %name, %reason, "a resource cannot be used");
            self.broken.insert(name.clone(), reason.clone());
        }
        if let Some(consumer) = &member.consumer {
            Arc::make_mut(&mut self.consumers).insert(consumer, &member.credentials);
            self.members.insert(username, member);
        }
    }

    /// All of it, for the engine.
    pub(crate) fn contribution(&self, revision: u64) -> Contribution {
        Contribution {
            routes: self.served_routes.clone(),
            certificates: Arc::clone(&self.served_certificates),
            consumers: Arc::clone(&self.consumers),
            global: Arc::clone(&self.global),
            revision,
            not_found: (ERRORS, NOT_FOUND),
            broken: self.broken(),
        }
    }

    /// Notes that a resource of an unknown kind is there or not; whether that is news.
    pub(crate) fn set_foreign(&mut self, name: &str, there: bool) -> bool {
        if there { self.foreign.insert(name.to_owned()) } else { self.foreign.remove(name) }
    }

    /// Notes which ones there are; whether that is news.
    pub(crate) fn replace_foreign(&mut self, names: &[&str]) -> bool {
        let names: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let news = names != self.foreign;
        self.foreign = names;
        news
    }

    fn broken(&self) -> Vec<(String, String)> {
        let named = self.broken.iter().map(|(name, why)| (name.clone(), why.clone()));
        let foreign =
            self.foreign.iter().map(|name| (name.clone(), "not implemented in this build".to_owned()));
        let contested = self.consumers.contested().into_iter().map(|contested| {
            let why = format!("its key of {} belongs to consumer {}", contested.plugin, contested.owner);
            (contested.credential.to_string(), why)
        });
        named.chain(foreign).chain(contested).collect()
    }
}

/// Puts what came of compiling into its slot: a failure keeps the last good version.
fn place<T: std::fmt::Debug>(
    slots: &mut BTreeMap<String, Slot<T>>,
    complaints: &mut BTreeMap<String, String>,
    catalog: &Catalog,
    kind: Kind,
    id: &str,
    compiled: Result<Option<Arc<T>>, impl Into<Failed<T>>>,
) {
    let name = kind.name(id);
    let Some(resource) = catalog.find(kind, id) else {
        complaints.remove(&name);
        slots.remove(id);
        return;
    };
    let created = resource.created;
    let slot = match compiled.map_err(Into::into) {
        Ok(good) => {
            complaints.remove(&name);
            Slot { created, good, closed: None }
        }
        Err(Failed { reason, closed, was_good }) => {
            tracing::warn!(resource = %name, %reason, "a resource cannot be used");
            complaints.insert(name, reason);
            let before = slots.remove(id).and_then(|old| old.good);
            Slot { created, good: before.filter(|_| was_good), closed }
        }
    };
    slots.insert(id.to_owned(), slot);
}

struct Failed<T> {
    reason: String,
    closed: Option<Arc<T>>,
    was_good: bool,
}

impl From<Broken> for Failed<Route> {
    fn from(broken: Broken) -> Self {
        Self { reason: broken.reason, closed: broken.closed, was_good: broken.was_good }
    }
}

impl From<String> for Failed<GlobalRule> {
    fn from(reason: String) -> Self {
        Self { reason, closed: Some(Arc::new(GlobalRule::closed())), was_good: true }
    }
}

/// In the order in which they were made: two that are equal otherwise are tried so.
fn in_order<T>(slots: &BTreeMap<String, Slot<T>>) -> Vec<Arc<T>> {
    let mut served: Vec<_> =
        slots.values().filter_map(|slot| Some((slot.created, Arc::clone(slot.served()?)))).collect();
    // Stable: those made by one revision keep the order of their ids.
    served.sort_by_key(|(created, _)| *created);
    served.into_iter().map(|(_, made)| made).collect()
}
