//! `PUT configs`: every resource at once, or nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::PoisonError,
};

use http::StatusCode;
use serde_json::Value;
use store::{Condition, Operation, StoreError};

use crate::{
    answer::Answer,
    catalog::{Catalog, Resource, View},
    change::{mark_key, unchanged},
    compile::fingerprint,
    document::{Document, Item, STATE_KEY, State},
    listed::Listed,
    resources::Kind,
    writer::{ATTEMPTS, Judge, Writer},
};

/// What is to be committed.
struct Plan {
    conditions: Vec<Condition>,
    operations: Vec<Operation>,
    /// The document's items by section, those of sections that stay as they are included.
    listed: BTreeMap<String, Vec<Listed>>,
    /// Stands for the resources as they are afterwards.
    resources: String,
}

impl Writer {
    /// Makes the resources what `document` says. Sections that have not changed stay as they are.
    pub(crate) async fn replace(&mut self, document: &Document, digest: &str) -> Answer {
        for _ in 0..ATTEMPTS {
            match self.try_replace(document, digest).await {
                Ok(Some(answer)) => return answer,
                // Another node was faster.
                Ok(None) => {}
                Err(answer) => return answer,
            }
        }
        Answer::overtaken()
    }

    async fn try_replace(&mut self, document: &Document, digest: &str) -> Result<Option<Answer>, Answer> {
        // What other nodes wrote counts.
        self.reload().await?;
        let entry = self.store.get(STATE_KEY).await?;
        let state = entry.as_ref().map(|entry| State::read(&entry.value)).unwrap_or_default();
        let plan = {
            let catalog = self.catalog.read().unwrap_or_else(PoisonError::into_inner);
            let same = state.last().is_some_and(|(known, _)| known == digest);
            let untouched = state.resources == fingerprint(&catalog);
            if same && untouched {
                return Ok(Some(Answer::new(StatusCode::NO_CONTENT, Value::Null)));
            }
            self.judge.plan(&catalog, document, &state, untouched)?
        };
        let Plan { mut conditions, mut operations, listed, resources } = plan;
        let mut next = state.after(document, listed, digest, self.judge.clock.now());
        next.resources = resources;
        conditions.push(unchanged(STATE_KEY, entry.map(|entry| entry.modify_revision)));
        operations.push(Operation::Put { key: STATE_KEY.to_owned(), value: next.to_bytes(), ttl: None });
        match self.store.commit(conditions, operations).await {
            Ok(_) => {
                self.reload().await?;
                Ok(Some(Answer::new(StatusCode::ACCEPTED, Value::Null)))
            }
            Err(StoreError::Conflict { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Judge {
    /// `untouched`: whether the resources are as the last document left them, so that the versions it gave its items
    /// are those of what is stored.
    fn plan(
        &mut self,
        catalog: &Catalog,
        document: &Document,
        state: &State,
        untouched: bool,
    ) -> Result<Plan, Answer> {
        let mut next = Catalog::at(catalog.revision + 1);
        let mut listed = BTreeMap::new();
        // Where in the document a resource stands; those that stay as they are stand nowhere.
        let mut places: BTreeMap<(Kind, String), (&'static str, usize)> = BTreeMap::new();
        for section in &document.sections {
            let replaces = state.replaces(section).map_err(Answer::refuse)?;
            let Some(kind) = Kind::of_plural(section.name) else { continue };
            let last = state.listed(section.name);
            if !replaces {
                let kinds = [Some(kind), (kind == Kind::Consumer).then_some(Kind::Credential)];
                for kept in kinds.into_iter().flatten().flat_map(|kind| catalog.list(kind)) {
                    next.put(Resource::clone(kept));
                }
                listed.insert(section.name.to_owned(), last.to_vec());
                continue;
            }
            let versions: HashMap<&str, i64> = if untouched {
                last.iter().filter_map(|it| Some((it.id.as_str(), it.modified?))).collect()
            } else {
                HashMap::new()
            };
            let mut items = Vec::new();
            for item in section.items(&self.registry).map_err(Answer::refuse)? {
                let said = item.listed.clone();
                places.insert((item.kind, said.id.clone()), (section.name, item.index));
                // Whoever gives an item the version that it had says that it is what it was.
                let same = said.modified.is_some_and(|version| versions.get(&*said.id) == Some(&version));
                next.put(match catalog.find(item.kind, &said.id) {
                    Some(known) if same => Resource::clone(known),
                    _ => self.resource(catalog, item),
                });
                items.push(said);
            }
            listed.insert(section.name.to_owned(), items);
        }
        self.judge_all(&next, &places).map_err(Answer::refuse)?;
        let (conditions, operations) = plan(catalog, &next);
        Ok(Plan { conditions, operations, listed, resources: fingerprint(&next) })
    }

    /// What is stored for an item: what is stored already, where that says the same.
    fn resource(&self, catalog: &Catalog, item: Item) -> Resource {
        let Item { kind, value, listed: Listed { id, .. }, .. } = item;
        let known = catalog.find(kind, &id);
        if let Some(known) = known {
            let mut opened = known.value.clone();
            let opens = self.sealer.open(&self.registry, kind, &id, &mut opened).is_ok();
            if opens && opened == value {
                return Resource::clone(known);
            }
        }
        let mut stored = value;
        self.sealer.seal(&self.registry, kind, &id, &mut stored);
        let modified = catalog.revision + 1;
        let created = known.map_or(modified, |known| known.created);
        Resource { kind, id, value: stored, created, modified, lease_expires: None }
    }

    /// Whether everything leads somewhere and can run; the error says where the first that does not stands.
    fn judge_all(
        &mut self,
        next: &Catalog,
        places: &BTreeMap<(Kind, String), (&'static str, usize)>,
    ) -> Result<(), String> {
        let mut pass = self.compiler.pass(View::of(next));
        let (mut claims, mut global) = (BTreeSet::new(), BTreeSet::new());
        for resource in Kind::ALL.into_iter().flat_map(|kind| next.list(kind)) {
            let (kind, id) = (resource.kind, resource.id.as_str());
            let place = places.get(&(kind, id.to_owned()));
            let wrong = |error: String| match place {
                Some((section, index)) => format!("invalid {section} at index {index}, err: {error}"),
                None => format!("{} would not work with it: {error}", kind.name(id)),
            };
            for (other, name) in kind.references(id, &resource.value) {
                if next.find(other, &name).is_none() {
                    let word = other.word();
                    let text =
                        format!("failed to fetch {word} info by {word} id [{name}], response code: 404");
                    return Err(wrong(text));
                }
            }
            // What was out of order before is not this document's fault.
            if let Err(error) = pass.try_resource(kind, id) {
                if place.is_some() {
                    return Err(wrong(error));
                }
                continue;
            }
            for claim in pass.claims(kind, id).map_err(wrong)? {
                if !claims.insert(claim.name()) {
                    return Err(wrong(format!("duplicate key of plugin {}", claim.plugin)));
                }
            }
            let plugins = resource.value.get("plugins").and_then(Value::as_object);
            for name in
                plugins.into_iter().flatten().map(|(name, _)| name).filter(|_| kind == Kind::GlobalRule)
            {
                if !global.insert(name.clone()) {
                    return Err(wrong(format!("plugin '{name}' already exists in another global rule")));
                }
            }
        }
        Ok(())
    }
}

/// From what is there to what is to be there.
fn plan(catalog: &Catalog, next: &Catalog) -> (Vec<Condition>, Vec<Operation>) {
    let (mut conditions, mut operations, mut marks) = (Vec::new(), Vec::new(), BTreeMap::new());
    for kind in Kind::ALL {
        for gone in catalog.list(kind).filter(|old| next.find(kind, &old.id).is_none()) {
            let key = kind.key(&gone.id);
            conditions.push(unchanged(&key, Some(gone.modified)));
            operations.push(Operation::Delete { key });
        }
        for new in next.list(kind) {
            let old = catalog.find(kind, &new.id);
            if old.is_some_and(|old| old.modified == new.modified) {
                continue;
            }
            let key = kind.key(&new.id);
            conditions.push(unchanged(&key, old.map(|old| old.modified)));
            for (other, name) in kind.references(&new.id, &new.value) {
                // Whoever deletes it at the same time sees that it is referred to.
                marks.insert(mark_key(other, &name), key.clone());
                let stays = catalog.find(other, &name).map(|it| it.modified)
                    == next.find(other, &name).map(|it| it.modified);
                conditions.extend(stays.then(|| Condition::Present(other.key(&name))));
            }
            let value = new.value.to_string().into_bytes();
            operations.push(Operation::Put { key, value, ttl: None });
        }
    }
    for (key, value) in marks {
        operations.push(Operation::Put { key, value: value.into_bytes(), ttl: None });
    }
    (conditions, operations)
}
