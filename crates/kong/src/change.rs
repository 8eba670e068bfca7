//! One write of the Admin API, from what the client sent to a transaction of the store.

use std::sync::Arc;

use base::{Clock, Random};
use http::StatusCode;
use serde_json::{Map, Value, json};
use store::{Condition, Entry, Operation};

use crate::{
    answer::Answer,
    catalog::{Affected, Catalog, Entity, View},
    compile::Compiler,
    entities::{self, Kind, Reference, by_id, is_uuid, named},
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
    pub(crate) parent: Option<(Reference, String)>,
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
    pub(crate) changes: Changes,
    pub(crate) answer: Answer,
}

/// What is to be done to the store, and what is there afterwards.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) conditions: Vec<Condition>,
    pub(crate) operations: Vec<Operation>,
    /// What is stored afterwards under which kind and id; `None`: nothing.
    pub(crate) outcome: Vec<(Kind, String, Option<Value>)>,
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

/// What a body came to, and what of it must be known later.
struct Sent {
    value: Map<String, Value>,
    /// A password in the clear.
    password: bool,
    /// The server names of a certificate.
    snis: Option<Vec<String>>,
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
        let parent = self.parent(write)?;
        let existing = self.existing(write, parent.as_deref())?;
        if let (Verb::Put, Some(key), Some(field), None) =
            (write.verb, write.key.as_deref().filter(|key| !is_uuid(key)), kind.endpoint_key(), &existing)
            && let Some(why) = kind.schema().objection(field, key)
        {
            return Err(Answer::invalid_unique(field, &why));
        }
        let old = existing.as_ref().map(|entity| self.before(write, entity)).transpose()?;
        let Sent { mut value, password, mut snis } = self.sent(write, old.as_ref())?;
        if let (Kind::Certificate, Verb::Put, Some(name)) = (kind, write.verb, &write.key)
            && !is_uuid(name)
        {
            entities::sni(name).map_err(|why| Violations::of("snis", why))?;
            let names = snis.get_or_insert_default();
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        let id = self.identify(write, existing.as_deref(), &mut value)?;
        if let (Some((reference, _)), Some(parent)) = (&write.parent, &parent) {
            value.insert(reference.field.to_owned(), by_id(parent));
        }
        self.resolve_names(kind, &mut value)?;
        self.stamp(kind, &mut value, old.as_ref());
        let schema = self.registry.schema(kind, &value);
        let mut value = schema.complete(value);
        self.generate(kind, &mut value, old.as_ref());
        schema.check(&value)?;
        if password {
            hash_password(&mut value);
        }
        let value = Value::Object(value);
        for Reference { field, kind: parent, .. } in kind.parents() {
            let missing = named(&value, field).filter(|id| self.catalog.find(*parent, id).is_none());
            if let Some(id) = missing {
                return Err(Answer::foreign_key_violation(field, *parent, id));
            }
        }
        for (parent, id) in kind.listed(&value) {
            if self.catalog.find(parent, id).is_none() {
                return Err(Answer::foreign_key_violation(parent.plural(), parent, id));
            }
        }
        self.demand_unique(kind, &id, &value)?;
        self.try_compile(kind, &id, &value)?;
        let mut changes = Changes::default();
        self.add(&mut changes, kind, &id, &value, existing.as_deref());
        let mut shown = value;
        if kind == Kind::Certificate {
            self.set_snis(&mut changes, &id, snis)?;
            shown = with_snis(self.catalog, shown, Some(&changes));
        }
        let status = if write.verb == Verb::Post { StatusCode::CREATED } else { StatusCode::OK };
        Ok(Transaction { changes, answer: Answer::new(status, shown) })
    }

    /// The id of the entity under which the path puts this one.
    fn parent(&self, write: &Write) -> Result<Option<String>, Answer> {
        let Some((reference, key)) = &write.parent else { return Ok(None) };
        let found = self.catalog.lookup(reference.kind, key, None).ok_or_else(Answer::not_found)?;
        Ok(Some(found.id.clone()))
    }

    /// The entity that the write is about, if it is there; the answer, if it must be there or must not.
    fn existing(&self, write: &Write, parent: Option<&str>) -> Result<Option<Arc<Entity>>, Answer> {
        let found =
            write.key.as_deref().and_then(|key| self.catalog.lookup(write.kind, key, parent)).cloned();
        if found.is_none() && write.verb == Verb::Patch {
            return Err(Answer::not_found());
        }
        if let (Some((reference, _)), Some(found)) = (&write.parent, &found)
            && named(&found.value, reference.field) != parent
        {
            return Err(Answer::not_found());
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
    fn sent(&self, write: &Write, old: Option<&Map<String, Value>>) -> Result<Sent, Answer> {
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
        let plugin = named.as_str().map(str::to_owned);
        let schema = self.registry.schema(write.kind, &Map::from_iter([("name".to_owned(), named)]));
        let mut members = match &write.body {
            Body::Json(members) => members.clone(),
            Body::Form(members) => schema.infer(members.clone()),
        };
        let snis = match write.kind {
            Kind::Certificate => entities::take_snis(&mut members)?,
            _ => None,
        };
        entities::expand(write.kind, &mut members)?;
        self.registry.expand(write.kind, plugin.as_deref(), &mut members);
        let password = write.kind == Kind::BasicAuth && members.contains_key("password");
        schema.merge(&mut base, members);
        Ok(Sent { value: base, password, snis })
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
            (None, None) if sent.is_none() => new_id(self.random),
            (None, None) => valid.ok_or_else(|| Violations::of("id", "expected a valid UUID"))?,
        };
        if existing.is_none() && self.catalog.find(write.kind, &id).is_some() {
            return Err(Answer::primary_key_violation(&id));
        }
        if let Some(name) = named.filter(|_| write.verb == Verb::Put) {
            match (write.kind.endpoint_key(), existing) {
                (Some(field), _) => {
                    value.insert(field.to_owned(), json!(name));
                    entities::expand(write.kind, value)?;
                }
                // A certificate is found by its server names.
                (None, Some(_)) => {}
                (None, None) if write.kind == Kind::Certificate => {}
                (None, None) => return Err(Answer::not_found()),
            }
        }
        value.insert("id".to_owned(), json!(id));
        Ok(id)
    }

    /// Replaces `{"name": …}` in references by the id of what has that name.
    fn resolve_names(&self, kind: Kind, value: &mut Map<String, Value>) -> Result<(), Answer> {
        for Reference { field, kind: parent, .. } in kind.parents() {
            let Some(Value::Object(members)) = value.get(*field) else { continue };
            let Some(endpoint_key) = parent.endpoint_key() else { continue };
            let name = members.get(endpoint_key).and_then(Value::as_str);
            let Some(name) = name.filter(|_| members.len() == 1) else { continue };
            let found = self.catalog.lookup(*parent, name, None).filter(|_| !is_uuid(name));
            let found = found.ok_or_else(|| Answer::foreign_key_unresolved(field, *parent, name))?;
            value.insert((*field).to_owned(), by_id(&found.id));
        }
        Ok(())
    }

    /// Creation is kept, change is now.
    fn stamp(&self, kind: Kind, value: &mut Map<String, Value>, old: Option<&Map<String, Value>>) {
        stamp(kind, self.clock, value, old.and_then(|old| old.get("created_at")));
    }

    fn generate(&self, kind: Kind, value: &mut Map<String, Value>, old: Option<&Map<String, Value>>) {
        generate(self.registry, self.random, kind, value, old);
    }

    fn demand_unique(&self, kind: Kind, id: &str, value: &Value) -> Result<(), Answer> {
        for (key, fields) in kind.unique_keys(value) {
            if self.catalog.holder(&key).is_some_and(|holder| holder != id) {
                return Err(Answer::unique_violation(fields));
            }
        }
        Ok(())
    }

    /// Compiles the entity and everything that is made from it, as they would be after the write.
    fn try_compile(&mut self, kind: Kind, id: &str, value: &Value) -> Result<(), Answer> {
        let view = View::with(self.catalog, kind, id, value);
        let mut affected = Affected::default();
        view.affected(kind, id, value, &mut affected);
        let mut pass = self.compiler.pass(view);
        pass.try_entity(kind, id)?;
        let refuse = |what: &str, id: &str, reason: &str| {
            let mut violations = Violations::default();
            violations.add_entity(format!("{what} {id} would not work with it: {reason}"));
            Answer::from(violations)
        };
        for route in &affected.routes {
            match pass.route(route) {
                Err(broken) if !self.serving.is_broken_route(route) => {
                    return Err(refuse("route", route, &broken.reason));
                }
                _ => {}
            }
        }
        for certificate in &affected.certificates {
            match pass.certificate(certificate) {
                Err(reason) if !self.serving.is_broken_certificate(certificate) => {
                    return Err(refuse("certificate", certificate, &reason));
                }
                _ => {}
            }
        }
        for group in &affected.groups {
            if let Some(reason) = pass.group(group).and_then(|group| group.broken)
                && !self.serving.is_broken_group(group)
            {
                return Err(refuse("consumer group", group, &reason));
            }
        }
        for consumer in &affected.consumers {
            let Some(member) = pass.member(consumer) else { continue };
            if let Some((_, reason)) = member.broken.first()
                && !self.serving.is_broken_consumer(consumer)
            {
                return Err(refuse("consumer", consumer, reason));
            }
        }
        Ok(())
    }

    fn add(&self, changes: &mut Changes, kind: Kind, id: &str, value: &Value, existing: Option<&Entity>) {
        changes.put(self.registry, self.sealer, kind, id, value, existing);
    }

    /// Makes the server names of a certificate these; names that another certificate has are refused.
    fn set_snis(
        &self,
        changes: &mut Changes,
        certificate: &str,
        snis: Option<Vec<String>>,
    ) -> Result<(), Answer> {
        let Some(names) = snis else { return Ok(()) };
        let own: Vec<&Arc<Entity>> =
            self.catalog.children(Kind::Sni, Kind::Certificate, certificate).collect();
        let name_of = |sni: &Entity| sni.value.get("name").and_then(Value::as_str).map(str::to_owned);
        for sni in own.iter().filter(|sni| name_of(sni).is_none_or(|name| !names.contains(&name))) {
            changes.delete(sni);
        }
        for name in names {
            if own.iter().any(|sni| name_of(sni).as_ref() == Some(&name)) {
                continue;
            }
            let id = new_id(self.random);
            let mut value = Map::from_iter([
                ("id".to_owned(), json!(id)),
                ("name".to_owned(), json!(name)),
                ("certificate".to_owned(), by_id(certificate)),
            ]);
            self.stamp(Kind::Sni, &mut value, None);
            let value = Value::Object(Kind::Sni.schema().complete(value));
            if let Err(taken) = self.demand_unique(Kind::Sni, &id, &value) {
                let holder = self.catalog.lookup(Kind::Sni, &name, None);
                let holder = holder.and_then(|sni| named(&sni.value, "certificate")).ok_or(taken)?;
                let name = entities::excerpt(&name);
                let why = format!("{name} already associated with existing certificate '{holder}'");
                return Err(Violations::of("snis", why).into());
            }
            self.add(changes, Kind::Sni, &id, &value, None);
        }
        Ok(())
    }

    /// Judges a DELETE of what `write` names; `None`: there is no such thing. `mark` is what is stored under
    /// [`mark_key`].
    pub(crate) fn delete(&self, write: &Write, mark: Option<&Entry>) -> Result<Option<Transaction>, Answer> {
        let parent = self.parent(write)?;
        let Some(entity) = self.existing(write, parent.as_deref())? else {
            // What is not there is deleted already, but not from under a parent that never had it.
            return if write.parent.is_some() { Err(Answer::not_found()) } else { Ok(None) };
        };
        let mut changes = Changes::default();
        self.delete_with_children(&entity, &mut changes)?;
        let key = mark_key(entity.kind, &entity.id);
        changes.conditions.push(unchanged(&key, mark.map(|mark| mark.modify_revision)));
        changes.operations.extend(mark.map(|_| Operation::Delete { key }));
        Ok(Some(Transaction { changes, answer: Answer::nothing() }))
    }

    fn delete_with_children(&self, entity: &Entity, changes: &mut Changes) -> Result<(), Answer> {
        let named_by =
            |field: &&Reference, child: &Entity| named(&child.value, field.field) == Some(&entity.id);
        for child in self.catalog.all_children(entity.kind, &entity.id) {
            if child.kind.listed(&child.value).any(|listed| listed == (entity.kind, entity.id.as_str())) {
                return Err(Answer::referenced_by_others(entity, child));
            }
            let of_kind = child.kind.parents().iter().filter(|reference| reference.kind == entity.kind);
            let mut references = of_kind.filter(|reference| named_by(reference, child));
            if references.any(|reference| !reference.cascades) {
                return Err(Answer::still_referenced(entity.kind, child.kind));
            }
            if !changes.deletes(child) {
                self.delete_with_children(child, changes)?;
            }
        }
        changes.delete(entity);
        Ok(())
    }
}

impl Changes {
    /// Puts an entity, `value` in the clear, in the place of `existing`.
    pub(crate) fn put(
        &mut self,
        registry: &Registry,
        sealer: &Sealer,
        kind: Kind,
        id: &str,
        value: &Value,
        existing: Option<&Entity>,
    ) {
        let key = kind.key(id);
        self.conditions.push(unchanged(&key, existing.map(|old| old.modified)));
        let before = existing.map(|old| &old.value);
        let known = before.map(|old| kind.references(old)).unwrap_or_default();
        for (parent, parent_id) in kind.references(value) {
            let new_here = self.outcome.iter().any(|(kind, id, _)| (*kind, id) == (parent, &parent_id));
            if !new_here {
                self.condition(Condition::Present(parent.key(&parent_id)));
            }
            if !known.contains(&(parent, parent_id.clone())) {
                self.operation(put(mark_key(parent, &parent_id), key.clone().into_bytes()));
            }
        }
        let held: Vec<String> = before.map(|old| kind.stored_keys(old)).unwrap_or_default();
        let wanted: Vec<String> = kind.unique_keys(value).into_iter().map(|(key, _)| key).collect();
        for key in wanted.iter().filter(|key| !held.contains(key)) {
            self.conditions.push(Condition::Absent(key.clone()));
            self.operation(put(key.clone(), id.as_bytes().to_vec()));
        }
        for key in held.into_iter().filter(|key| !wanted.contains(key)) {
            self.operation(Operation::Delete { key });
        }
        let mut stored = value.as_object().cloned().unwrap_or_default();
        sealer.seal(registry, kind, id, &mut stored);
        let stored = Value::Object(stored);
        self.operation(put(key, stored.to_string().into_bytes()));
        self.outcome.push((kind, id.to_owned(), Some(stored)));
    }

    /// Deletes an entity, and nothing that names it.
    pub(crate) fn delete(&mut self, entity: &Entity) {
        let key = entity.kind.key(&entity.id);
        self.conditions.push(unchanged(&key, Some(entity.modified)));
        self.operation(Operation::Delete { key });
        for key in entity.kind.stored_keys(&entity.value) {
            self.operation(Operation::Delete { key });
        }
        self.outcome.push((entity.kind, entity.id.clone(), None));
    }

    fn deletes(&self, entity: &Entity) -> bool {
        self.outcome
            .iter()
            .any(|(kind, id, value)| (*kind, id) == (entity.kind, &entity.id) && value.is_none())
    }

    fn condition(&mut self, condition: Condition) {
        if !self.conditions.contains(&condition) {
            self.conditions.push(condition);
        }
    }

    /// A transaction writes a key once: of two writes the later one counts, but a key that moves from one entity to
    /// another is not deleted.
    fn operation(&mut self, operation: Operation) {
        let known = self.operations.iter().position(|known| known.key() == operation.key());
        match known.and_then(|at| self.operations.get_mut(at)) {
            Some(known) if matches!(operation, Operation::Put { .. }) => *known = operation,
            Some(_) => {}
            None => self.operations.push(operation),
        }
    }
}

/// Whether the fields of an entity are right by themselves: nothing is looked up or written.
pub(crate) fn validate(registry: &Registry, kind: Kind, body: &Body) -> Result<(), Answer> {
    let named = match body {
        Body::Json(members) => members.get("name").and_then(Value::as_str),
        Body::Form(members) => {
            members.iter().find(|(name, _)| name == "name").and_then(|(_, node)| node.text())
        }
    };
    let plugin = match named.filter(|_| kind == Kind::Plugin) {
        Some(name) => Some(registry.demand(name)?),
        None => None,
    };
    let schema = registry.schema(kind, &Map::from_iter([("name".to_owned(), json!(named))]));
    let mut members = match body {
        Body::Json(members) => members.clone(),
        Body::Form(members) => schema.infer(members.clone()),
    };
    if kind == Kind::Certificate {
        entities::take_snis(&mut members)?;
    }
    entities::expand(kind, &mut members)?;
    registry.expand(kind, named, &mut members);
    let value = schema.complete(members);
    schema.check(&value)?;
    if let (Some(plugin), Some(Value::Object(config))) = (plugin, value.get("config")) {
        let wrong =
            |error: gateway::error::ConfigError| Violations::of(&error.path, error.reason).within("config");
        plugin.compile(config).map_err(wrong)?;
    }
    Ok(())
}

/// A certificate with the server names it has, or will have after `changes`.
pub(crate) fn with_snis(catalog: &Catalog, mut certificate: Value, changes: Option<&Changes>) -> Value {
    let id = certificate.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let outcome =
        || changes.iter().flat_map(|changes| changes.outcome.iter()).filter(|(kind, ..)| *kind == Kind::Sni);
    let stored = catalog
        .children(Kind::Sni, Kind::Certificate, &id)
        .filter(|sni| !outcome().any(|(_, changed, _)| *changed == sni.id))
        .filter_map(|sni| sni.value.get("name"));
    let new = outcome().filter_map(|(_, _, value)| value.as_ref()?.get("name"));
    let mut names: Vec<String> = stored.chain(new).filter_map(Value::as_str).map(str::to_owned).collect();
    names.sort();
    if let Value::Object(members) = &mut certificate {
        members.insert("snis".to_owned(), json!(names));
    }
    certificate
}

/// UUID version 4 (RFC 9562 section 5.4).
pub(crate) fn new_id(random: &Random) -> String {
    uuid(u128::from_be_bytes(random.bytes()), 4)
}

/// A UUID of this version and variant 1, of which the other bits are these.
pub(crate) fn uuid(bits: u128, version: u128) -> String {
    let id = bits & !(0xf000 << 64) & !(0xc000 << 48) | (version << 76) | (0x8000 << 48);
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

/// Creation is kept, change is now. Targets count milliseconds.
pub(crate) fn stamp(kind: Kind, clock: &Clock, value: &mut Map<String, Value>, created: Option<&Value>) {
    let now = clock.now();
    let now = match kind {
        // Beyond this a double no longer holds every millisecond: after the year 287396.
        #[allow(clippy::cast_precision_loss)]
        Kind::Target => json!(now.0 as f64 / 1000.0),
        _ => json!(now.secs()),
    };
    let created = created.or_else(|| value.get("created_at"));
    let created = created.filter(|created| !created.is_null()).cloned().unwrap_or_else(|| now.clone());
    value.insert("created_at".to_owned(), created);
    value.insert("updated_at".to_owned(), now);
}

/// Makes up what Kong makes up where it is left out.
pub(crate) fn generate(
    registry: &Registry,
    random: &Random,
    kind: Kind,
    value: &mut Map<String, Value>,
    old: Option<&Map<String, Value>>,
) {
    for field in entities::generated(kind) {
        let place = value.entry(*field).or_insert(Value::Null);
        if place.is_null() {
            *place = json!(random.alphanumeric(entities::GENERATED));
        }
    }
    let name = (kind == Kind::Plugin).then(|| value.get("name")?.as_str().map(str::to_owned)).flatten();
    let Some(plugin) = name.and_then(|name| registry.find(&name)) else { return };
    if let Some(Value::Object(config)) = value.get_mut("config") {
        let old = old.and_then(|old| old.get("config")).and_then(Value::as_object);
        plugin.generate(config, old, random);
    }
}

/// Replaces the password of a checked credential by what is kept of it.
pub(crate) fn hash_password(credential: &mut Map<String, Value>) {
    let consumer = credential.get("consumer").and_then(|consumer| consumer.get("id")?.as_str());
    let Some(consumer) = consumer.map(str::to_owned) else { return };
    if let Some(password) = credential.get("password").and_then(Value::as_str) {
        let hash = entities::password_hash(password, &consumer);
        credential.insert("password".to_owned(), hash);
    }
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
