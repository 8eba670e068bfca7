//! One write of the Admin API, from what the client sent to a transaction of the store.

use std::sync::Arc;

use base::{Clock, Random};
use http::StatusCode;
use serde_json::{Map, Value, json};
use store::{Condition, Entry, Operation};

use crate::{
    answer::Answer,
    catalog::{Catalog, Entity, View},
    compile::Compiler,
    entities::{self, Kind, by_id, is_uuid, reference},
    form::Node,
    plugins::Registry,
    schema::Violations,
    seal::Sealer,
    serving::Serving,
};

/// A write as the client asked for it.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) verb: Verb,
    pub(crate) kind: Kind,
    /// Id or name in the path.
    pub(crate) key: Option<String>,
    /// The entity under which the path puts it, by id or name.
    pub(crate) parent: Option<(Kind, String)>,
    pub(crate) body: Body,
}

/// The four ways to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Post,
    Put,
    Patch,
    Delete,
}

/// What was sent.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Json(Map<String, Value>),
    /// Its types depend on the schema.
    Form(Vec<(String, Node)>),
}

/// A write that may be committed.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) conditions: Vec<Condition>,
    pub(crate) operations: Vec<Operation>,
    /// What is stored afterwards under which kind and id; `None`: nothing.
    pub(crate) outcome: Vec<(Kind, String, Option<Value>)>,
    pub(crate) answer: Answer,
}

/// Everything a write is judged by.
pub(crate) struct Context<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) compiler: &'a mut Compiler,
    pub(crate) serving: &'a Serving,
    pub(crate) registry: &'a Registry,
    pub(crate) sealer: &'a Sealer,
    pub(crate) clock: &'a Clock,
    pub(crate) random: &'a Random,
}

/// Where a reference to an entity leaves its mark: whoever deletes the entity makes sure that no new mark appeared
/// since it looked for references.
pub(crate) fn mark_key(kind: Kind, id: &str) -> String {
    format!("/portcullis/refs/kong/{}/{id}", kind.plural())
}

impl Context<'_> {
    /// Judges POST, PUT and PATCH.
    pub(crate) fn put(&mut self, write: &Write) -> Result<Transaction, Answer> {
        let kind = write.kind;
        let existing = self.existing(write)?;
        let old = existing.as_ref().map(|entity| self.before(write, entity)).transpose()?;
        let mut value = self.sent(write, old.as_ref())?;
        let id = self.identify(write, existing.as_deref(), &mut value)?;
        if let Some((parent, key)) = &write.parent {
            let parent_id = self.catalog.lookup(*parent, key).ok_or_else(Answer::not_found)?.id.clone();
            value.insert(parent.singular().to_owned(), by_id(&parent_id));
        }
        self.resolve_names(kind, &mut value)?;
        self.stamp(&mut value, old.as_ref());
        let schema = self.registry.schema(kind, &value);
        let mut value = schema.complete(value);
        self.generate(kind, &mut value, old.as_ref());
        schema.check(&value)?;
        let value = Value::Object(value);
        for (parent, parent_id) in kind.references(&value) {
            if self.catalog.find(parent, &parent_id).is_none() {
                return Err(Answer::foreign_key_violation(parent, &parent_id));
            }
        }
        self.demand_unique(kind, &id, &value)?;
        self.try_compile(kind, &id, &value)?;
        Ok(self.transaction(write, &id, &value, existing.as_deref()))
    }

    /// The entity that the write is about, if it is there; the answer, if it must be there or must not.
    fn existing(&self, write: &Write) -> Result<Option<Arc<Entity>>, Answer> {
        let found = write.key.as_deref().and_then(|key| self.catalog.lookup(write.kind, key)).cloned();
        if found.is_none() && write.verb == Verb::Patch {
            return Err(Answer::not_found());
        }
        if let Some((parent, parent_key)) = &write.parent {
            let parent_id = &self.catalog.lookup(*parent, parent_key).ok_or_else(Answer::not_found)?.id;
            if found.as_ref().is_some_and(|found| reference(&found.value, *parent) != Some(parent_id)) {
                return Err(Answer::not_found());
            }
        }
        Ok(found)
    }

    /// What is stored already: in the clear for a PATCH, whose result it becomes a part of. A PUT replaces it, also
    /// where it cannot be opened.
    fn before(&self, write: &Write, entity: &Entity) -> Result<Map<String, Value>, Answer> {
        let mut value = entity.value.as_object().cloned().unwrap_or_default();
        if write.verb == Verb::Patch {
            let opened = self.sealer.open(self.registry, entity.kind, &entity.id, &mut value);
            opened.map_err(|error| Answer::message(StatusCode::SERVICE_UNAVAILABLE, error))?;
        }
        Ok(value)
    }

    /// What the body says, in the fields' types; for a PATCH laid over what is there.
    fn sent(&self, write: &Write, old: Option<&Map<String, Value>>) -> Result<Map<String, Value>, Answer> {
        let mut base = if write.verb == Verb::Patch { old.cloned().unwrap_or_default() } else { Map::new() };
        let named = match &write.body {
            Body::Json(members) => members.get("name").cloned(),
            Body::Form(members) => {
                let name = members.iter().find(|(name, _)| name == "name");
                name.and_then(|(_, node)| node.text()).map(|name| json!(name))
            }
        };
        let named = named.or_else(|| base.get("name").cloned()).unwrap_or(Value::Null);
        if write.kind == Kind::Plugin
            && let Some(name) = named.as_str()
        {
            self.registry.demand(name)?;
        }
        let schema = self.registry.schema(write.kind, &Map::from_iter([("name".to_owned(), named)]));
        let mut members = match &write.body {
            Body::Json(members) => members.clone(),
            Body::Form(members) => schema.infer(members.clone()),
        };
        if write.kind == Kind::Service {
            entities::expand_url(&mut members)?;
        }
        schema.merge(&mut base, members);
        Ok(base)
    }

    /// Settles the id, and the name where a PUT asked for the entity by it.
    fn identify(
        &self,
        write: &Write,
        existing: Option<&Entity>,
        value: &mut Map<String, Value>,
    ) -> Result<String, Answer> {
        let sent = value.get("id").filter(|id| !id.is_null());
        let valid = sent.and_then(Value::as_str).filter(|id| is_uuid(id)).map(str::to_owned);
        let named = write.key.as_deref().filter(|key| !is_uuid(key));
        let id = match (existing, write.key.as_deref().filter(|key| is_uuid(key))) {
            (Some(existing), _) => existing.id.clone(),
            (None, Some(key)) => key.to_owned(),
            (None, None) if sent.is_none() => self.new_id(),
            (None, None) => valid.ok_or_else(|| Violations::of("id", "expected a valid UUID"))?,
        };
        if existing.is_none() && self.catalog.find(write.kind, &id).is_some() {
            return Err(Answer::primary_key_violation(&id));
        }
        if let Some(name) = named.filter(|_| write.verb == Verb::Put) {
            value.insert(write.kind.endpoint_key().to_owned(), json!(name));
        }
        value.insert("id".to_owned(), json!(id));
        Ok(id)
    }

    /// UUID version 4 (RFC 9562 section 5.4).
    fn new_id(&self) -> String {
        let random = u128::from_be_bytes(self.random.bytes());
        let id = random & !(0xf000 << 64) & !(0xc000 << 48) | (0x4000 << 64) | (0x8000 << 48);
        let hex = format!("{id:032x}");
        let mut out = String::with_capacity(36);
        for (at, digit) in hex.chars().enumerate() {
            if matches!(at, 8 | 12 | 16 | 20) {
                out.push('-');
            }
            out.push(digit);
        }
        out
    }

    /// Replaces `{"name": …}` in references by the id of what has that name.
    fn resolve_names(&self, kind: Kind, value: &mut Map<String, Value>) -> Result<(), Answer> {
        for parent in kind.parents() {
            let Some(Value::Object(members)) = value.get(parent.singular()) else { continue };
            let name = members.get(parent.endpoint_key()).and_then(Value::as_str);
            let Some(name) = name.filter(|_| members.len() == 1) else { continue };
            let found = self.catalog.lookup(*parent, name).filter(|_| !is_uuid(name));
            let found = found.ok_or_else(|| Answer::foreign_key_unresolved(*parent, name))?;
            value.insert(parent.singular().to_owned(), by_id(&found.id));
        }
        Ok(())
    }

    /// Creation is kept, change is now.
    fn stamp(&self, value: &mut Map<String, Value>, old: Option<&Map<String, Value>>) {
        let now = json!(self.clock.now().secs());
        let created = old.and_then(|old| old.get("created_at")).or_else(|| value.get("created_at"));
        let created = created.filter(|created| !created.is_null()).cloned().unwrap_or_else(|| now.clone());
        value.insert("created_at".to_owned(), created);
        value.insert("updated_at".to_owned(), now);
    }

    fn generate(&self, kind: Kind, value: &mut Map<String, Value>, old: Option<&Map<String, Value>>) {
        let name = (kind == Kind::Plugin).then(|| value.get("name")?.as_str().map(str::to_owned)).flatten();
        let Some(plugin) = name.and_then(|name| self.registry.find(&name)) else { return };
        if let Some(Value::Object(config)) = value.get_mut("config") {
            let old = old.and_then(|old| old.get("config")).and_then(Value::as_object);
            plugin.generate(config, old, self.random);
        }
    }

    fn demand_unique(&self, kind: Kind, id: &str, value: &Value) -> Result<(), Answer> {
        for (key, fields) in kind.unique_keys(value) {
            if self.catalog.holder(&key).is_some_and(|holder| holder != id) {
                return Err(Answer::unique_violation(fields));
            }
        }
        Ok(())
    }

    /// Compiles the entity and every route that is made from it, as they would be after the write.
    fn try_compile(&mut self, kind: Kind, id: &str, value: &Value) -> Result<(), Answer> {
        let view = View::with(self.catalog, kind, id, value);
        let mut pass = self.compiler.pass(view);
        pass.try_entity(kind, id)?;
        for route in view.routes_from(kind, id, value) {
            match pass.route(&route) {
                Err(broken) if !self.serving.is_broken(&route) => {
                    let mut violations = Violations::default();
                    violations.add_entity(format!("route {route} would not work with it: {}", broken.reason));
                    return Err(violations.into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn transaction(&self, write: &Write, id: &str, value: &Value, existing: Option<&Entity>) -> Transaction {
        let kind = write.kind;
        let key = kind.key(id);
        let mut conditions = vec![unchanged(&key, existing.map(|old| old.modified))];
        let mut operations = Vec::new();
        let before = existing.map(|old| &old.value);
        let known = before.map(|old| kind.references(old)).unwrap_or_default();
        for (parent, parent_id) in kind.references(value) {
            conditions.push(Condition::Present(parent.key(&parent_id)));
            if !known.contains(&(parent, parent_id.clone())) {
                operations.push(put(mark_key(parent, &parent_id), key.clone().into_bytes()));
            }
        }
        let held: Vec<String> = before.map(|old| unique_keys(kind, old)).unwrap_or_default();
        let wanted = unique_keys(kind, value);
        for key in wanted.iter().filter(|key| !held.contains(key)) {
            conditions.push(Condition::Absent(key.clone()));
            operations.push(put(key.clone(), id.as_bytes().to_vec()));
        }
        operations.extend(
            held.into_iter().filter(|key| !wanted.contains(key)).map(|key| Operation::Delete { key }),
        );
        let mut stored = value.as_object().cloned().unwrap_or_default();
        self.sealer.seal(self.registry, kind, id, &mut stored);
        let stored = Value::Object(stored);
        operations.push(put(key, stored.to_string().into_bytes()));
        let status = if write.verb == Verb::Post { StatusCode::CREATED } else { StatusCode::OK };
        let answer = Answer::new(status, value.clone());
        Transaction { conditions, operations, outcome: vec![(kind, id.to_owned(), Some(stored))], answer }
    }

    /// Judges a DELETE of what `write` names; `None`: there is no such thing. `mark` is what is stored under
    /// [`mark_key`].
    pub(crate) fn delete(&self, write: &Write, mark: Option<&Entry>) -> Result<Option<Transaction>, Answer> {
        let Some(entity) = self.existing(write)? else {
            // What is not there is deleted already, but not from under a parent that never had it.
            return if write.parent.is_some() { Err(Answer::not_found()) } else { Ok(None) };
        };
        let (kind, id) = (write.kind, entity.id.as_str());
        if kind == Kind::Service && self.catalog.children(Kind::Route, kind, id).next().is_some() {
            return Err(Answer::still_referenced(kind, Kind::Route));
        }
        let mut gone = vec![&entity];
        if kind != Kind::Plugin {
            gone.extend(self.catalog.children(Kind::Plugin, kind, id));
        }
        let (mut conditions, mut operations) = (Vec::new(), Vec::new());
        for entity in &gone {
            let key = entity.kind.key(&entity.id);
            conditions.push(unchanged(&key, Some(entity.modified)));
            operations.push(Operation::Delete { key });
            let held = unique_keys(entity.kind, &entity.value);
            operations.extend(held.into_iter().map(|key| Operation::Delete { key }));
        }
        if kind != Kind::Plugin {
            let key = mark_key(kind, id);
            conditions.push(unchanged(&key, mark.map(|mark| mark.modify_revision)));
            operations.extend(mark.map(|_| Operation::Delete { key }));
        }
        let outcome = gone.iter().map(|entity| (entity.kind, entity.id.clone(), None)).collect();
        Ok(Some(Transaction { conditions, operations, outcome, answer: Answer::nothing() }))
    }
}

fn unique_keys(kind: Kind, value: &Value) -> Vec<String> {
    kind.unique_keys(value).into_iter().map(|(key, _)| key).collect()
}

fn put(key: String, value: Vec<u8>) -> Operation {
    Operation::Put { key, value, ttl: None }
}

fn unchanged(key: &str, modify_revision: Option<u64>) -> Condition {
    match modify_revision {
        Some(modify_revision) => Condition::Unchanged { key: key.to_owned(), modify_revision },
        None => Condition::Absent(key.to_owned()),
    }
}
