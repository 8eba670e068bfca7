//! What the engine serves now, and how a change of entities becomes the next contribution to its snapshot.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gateway::{
    route::Route,
    snapshot::{Contribution, Routes},
};
use serde_json::Value;

use crate::{
    catalog::{Catalog, View},
    compile::{Compiler, ERRORS},
    entities::Kind,
};

/// The text for a request that no route takes.
const NOT_FOUND: &str = "no Route matched with those values";

/// Compiled routes by id, and what could not be compiled.
#[derive(Debug, Default)]
pub(crate) struct Serving {
    routes: BTreeMap<String, Slot>,
    /// The routes, as requests find them.
    served: Routes,
    /// Services and plugins that do not compile: `services/x`, and why.
    broken: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Slot {
    /// The last version that compiled, or what stands in for it.
    route: Option<Arc<Route>>,
    broken: Option<String>,
}

/// An entity that changed, with its content before or after: what it named decides which routes are made anew.
#[derive(Clone, Debug)]
pub(crate) struct Changed {
    pub(crate) kind: Kind,
    pub(crate) id: String,
    pub(crate) value: Value,
}

impl Serving {
    /// Whether this route was already out of order, so that a write elsewhere is not to blame.
    pub(crate) fn is_broken(&self, route: &str) -> bool {
        self.routes.get(route).is_some_and(|slot| slot.broken.is_some())
    }

    /// Compiles everything that depends on what changed, once each.
    pub(crate) fn refresh(&mut self, compiler: &mut Compiler, catalog: &Catalog, changed: &[Changed]) {
        let view = View::of(catalog);
        let mut pass = compiler.pass(view);
        let mut routes = BTreeSet::new();
        for Changed { kind, id, value } in changed {
            routes.extend(view.routes_from(*kind, id, value));
            if *kind == Kind::Route {
                continue;
            }
            let name = format!("{}/{id}", kind.plural());
            match catalog.find(*kind, id).map(|_| pass.try_entity(*kind, id)) {
                Some(Err(violations)) => self.broken.insert(name, violations.message()),
                _ => self.broken.remove(&name),
            };
        }
        for id in routes {
            let Some(entity) = catalog.find(Kind::Route, &id) else {
                self.routes.remove(&id);
                self.served.remove(&id);
                continue;
            };
            let slot = match pass.route(&id) {
                Ok(route) => Slot { route, broken: None },
                Err(broken) => {
                    tracing::warn!(resource = %format_args!("routes/{id}"), reason = %broken.reason, "a resource cannot be used");
                    let good = self.routes.remove(&id).and_then(|old| old.route);
                    Slot { route: good.or(broken.closed), broken: Some(broken.reason) }
                }
            };
            match &slot.route {
                Some(route) => self.served.insert(entity.created, Arc::clone(route)),
                None => self.served.remove(&id),
            }
            self.routes.insert(id, slot);
        }
    }

    /// All of it, for the engine.
    pub(crate) fn contribution(&self, revision: u64) -> Contribution {
        Contribution {
            routes: self.served.clone(),
            certificates: Arc::default(),
            consumers: Arc::default(),
            global: Arc::default(),
            revision,
            not_found: (ERRORS, NOT_FOUND),
            broken: self.broken(),
        }
    }

    fn broken(&self) -> Vec<(String, String)> {
        let complaint = |(id, slot): (&String, &Slot)| Some((format!("routes/{id}"), slot.broken.clone()?));
        let routes = self.routes.iter().filter_map(complaint);
        self.broken.iter().map(|(name, why)| (name.clone(), why.clone())).chain(routes).collect()
    }
}
