//! One write of the Admin API, from what the client sent to a transaction of the store.

use std::{collections::HashMap, sync::Arc, time::Duration};

use base::Clock;
use gateway::consumer::Credential;
use http::StatusCode;
use serde_json::{Map, Value, json};
use store::{Condition, Entry, Operation};

use crate::{
    answer::Answer,
    catalog::{Catalog, Resource, View},
    compile::{Claim, Compiler},
    patch,
    plugins::Registry,
    resources::{Kind, Reader, Sealer, answered, id_text, is_id, is_username, refuse_times},
    schema::{NONE_FITS, excerpt},
    serving::Serving,
};

/// A write as the client asked for it.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) verb: Verb,
    pub(crate) kind: Kind,
    /// The consumer in the path of a credential.
    pub(crate) parent: Option<String>,
    /// The id in the path.
    pub(crate) id: Option<String>,
    /// What stands after the id.
    pub(crate) sub_path: Vec<String>,
    pub(crate) body: Option<Value>,
    pub(crate) ttl: Option<Duration>,
    /// Deletes also what is still in use.
    pub(crate) force: bool,
}

impl Write {
    /// A resource's own id as it stands in the catalog.
    pub(crate) fn whole_id(&self, id: &str) -> String {
        match &self.parent {
            Some(parent) => format!("{parent}/{id}"),
            None => id.to_owned(),
        }
    }
}

/// The four ways to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Post,
    Put,
    Patch,
    Delete,
}

/// A write that may be committed.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) kind: Kind,
    pub(crate) id: String,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) operations: Vec<Operation>,
    /// How each key is used, to tell which transactions may be on their way at the same time.
    pub(crate) uses: HashMap<String, Use>,
    /// What is stored afterwards; `None`: nothing.
    pub(crate) stored: Option<Value>,
    /// What is deleted with it.
    pub(crate) along: Vec<(Kind, String)>,
    pub(crate) answer: Answer,
}

/// How a transaction uses a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// It must be there.
    Read,
    /// It is written only to mark a moment: two marks do not disturb each other.
    Mark,
    /// It is written.
    Write,
}

impl Use {
    /// Whether two transactions that use a key in these ways disturb each other.
    pub(crate) fn disturbs(self, other: Self) -> bool {
        self != other || self == Self::Write
    }
}

/// Everything a write is judged by.
pub(crate) struct Context<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) compiler: &'a mut Compiler,
    pub(crate) serving: &'a Serving,
    pub(crate) registry: &'a Registry,
    pub(crate) sealer: &'a Sealer,
    pub(crate) clock: &'a Clock,
    /// The revision that a POST's id is made of.
    pub(crate) next_revision: u64,
}

/// Where a reference to a resource leaves its mark: whoever deletes the resource makes sure that no new mark appeared
/// since it looked for references.
pub(crate) fn mark_key(kind: Kind, id: &str) -> String {
    format!("/portcullis/refs/apisix/{}/{id}", kind.plural())
}

impl Context<'_> {
    /// Judges POST, PUT and PATCH.
    pub(crate) fn put(&mut self, write: &Write) -> Result<Transaction, Answer> {
        let (id, mut value) = match write.verb {
            Verb::Patch => self.patched(write)?,
            Verb::Post | Verb::Put | Verb::Delete => self.sent(write)?,
        };
        let existing = self.catalog.find(write.kind, &id).cloned();
        self.stamp(&mut value, existing.as_deref(), write.verb);
        let value = Value::Object(value);
        write.kind.check(self.registry, &value).map_err(Answer::refuse)?;
        if write.kind == Kind::Consumer && write.id.as_ref().is_some_and(|named| *named != id) {
            return Err(Answer::refuse("wrong username"));
        }
        for (kind, other) in write.kind.references(&id, &value) {
            self.demand(write.kind, kind, &other)?;
        }
        if write.kind == Kind::GlobalRule {
            self.demand_only_one(&id, &value)?;
        }
        let claims = self.try_compile(write.kind, &id, &value)?;
        let mut transaction = self.transaction(write, id, &value, existing.as_deref());
        transaction.uses.extend(claims.into_iter().map(|claim| (claim, Use::Write)));
        Ok(transaction)
    }

    /// What a POST or PUT sent, and its id.
    fn sent(&self, write: &Write) -> Result<(String, Map<String, Value>), Answer> {
        let word = write.kind.word();
        let Some(body) = &write.body else { return Err(Answer::refuse("missing configurations")) };
        let mut value = object(body)?;
        if write.kind == Kind::Consumer {
            refuse_times(&value).map_err(Answer::refuse)?;
            return self.sent_consumer(value);
        }
        let in_body = value.get("id").cloned();
        let given = write.id.clone().or_else(|| in_body.as_ref().and_then(id_text));
        let id = match (write.verb, given) {
            (Verb::Post, None) => format!("{:020}", self.next_revision),
            (Verb::Post, Some(_)) => return Err(Answer::refuse(format!("wrong {word} id, do not need it"))),
            (_, None) if write.kind == Kind::PluginMetadata => {
                return Err(Answer::refuse("missing plugin name"));
            }
            (_, None) => return Err(Answer::refuse(format!("missing {word} id"))),
            (_, Some(id)) => id,
        };
        let whole = write.whole_id(&id);
        let named = |sent: &Value| {
            id_text(sent).is_some_and(|sent| sent == id || (write.kind == Kind::Secret && sent == whole))
        };
        if in_body.as_ref().is_some_and(|sent| !named(sent)) {
            return Err(Answer::refuse(format!("wrong {word} id")));
        }
        if !is_id(&id) {
            return Err(Answer::refuse(format!(
                "invalid configuration: property \"id\" validation failed: {NONE_FITS}"
            )));
        }
        refuse_times(&value).map_err(Answer::refuse)?;
        if write.kind == Kind::Secret {
            value.insert("id".to_owned(), json!(whole));
        } else if write.id.is_some() || in_body.is_none() {
            value.insert("id".to_owned(), json!(id));
        }
        Ok((whole, value))
    }

    /// A consumer is called by its name, wherever that stands.
    fn sent_consumer(&self, value: Map<String, Value>) -> Result<(String, Map<String, Value>), Answer> {
        let username = value.get("username").and_then(Value::as_str).filter(|name| is_username(name));
        match username.map(str::to_owned) {
            Some(username) => Ok((username, value)),
            // The schema says what is wrong with it.
            None => Err(Answer::refuse(
                Kind::Consumer.check(self.registry, &Value::Object(value)).err().unwrap_or_default(),
            )),
        }
    }

    /// What a PATCH makes of what is stored.
    fn patched(&self, write: &Write) -> Result<(String, Map<String, Value>), Answer> {
        let Some(id) = &write.id else {
            return Err(Answer::refuse(format!("missing {} id", write.kind.word())));
        };
        let Some(body) = &write.body else { return Err(Answer::refuse("missing new configuration")) };
        if write.sub_path.is_empty() && !body.is_object() {
            return Err(Answer::refuse("invalid configuration"));
        }
        let id = &write.whole_id(id);
        let stored = self.catalog.find(write.kind, id).ok_or_else(Answer::key_not_found)?;
        let mut value = stored.value.clone();
        self.sealer
            .open(self.registry, write.kind, id, &mut value)
            .map_err(|error| Answer::error(StatusCode::SERVICE_UNAVAILABLE, error))?;
        let mut value = object(&value)?;
        let old_id = value.get("id").cloned();
        match body {
            Value::Object(change) if write.sub_path.is_empty() => patch::merge(&mut value, change.clone()),
            node => patch::replace(&mut value, &write.sub_path, node.clone())?,
        }
        match value.get("id").map(id_text) {
            Some(found) if found.as_ref() == Some(id) => {}
            None => {
                value.insert("id".to_owned(), old_id.unwrap_or_else(|| json!(id)));
            }
            Some(_) => return Err(Answer::refuse(format!("wrong {} id", write.kind.word()))),
        }
        let renewed = body.get("update_time").is_none() || !write.sub_path.is_empty();
        if renewed {
            value.shift_remove("update_time");
        }
        Ok((id.clone(), value))
    }

    /// Creation is kept, change is now; what a PATCH set stays.
    fn stamp(&self, value: &mut Map<String, Value>, existing: Option<&Resource>, verb: Verb) {
        let now = self.clock.now().secs();
        let created = existing.and_then(|old| old.value.get("create_time")).cloned();
        if verb != Verb::Patch || !value.contains_key("create_time") {
            value.insert("create_time".to_owned(), created.unwrap_or_else(|| json!(now)));
        }
        value.entry("update_time").or_insert_with(|| json!(now));
    }

    fn demand(&self, by: Kind, kind: Kind, id: &str) -> Result<(), Answer> {
        if self.catalog.find(kind, id).is_some() {
            return Ok(());
        }
        if by == Kind::Credential {
            return Err(Answer::error(StatusCode::NOT_FOUND, "consumer not found"));
        }
        let word = kind.word();
        Err(Answer::refuse(format!(
            "failed to fetch {word} info by {word} id [{}], response code: 404",
            excerpt(id)
        )))
    }

    /// A plugin stands in one global rule only: there is no order among them that could say which one counts.
    fn demand_only_one(&self, id: &str, value: &Value) -> Result<(), Answer> {
        let plugins =
            |value: &Value| value.get("plugins").and_then(Value::as_object).cloned().unwrap_or_default();
        let own = plugins(value);
        for other in self.catalog.list(Kind::GlobalRule).filter(|other| other.id != id) {
            if let Some(name) = own.keys().find(|name| plugins(&other.value).contains_key(*name)) {
                let text = format!("plugin '{name}' already exists in global rule with id '{}'", other.id);
                return Err(Answer::refuse(text));
            }
        }
        Ok(())
    }

    /// Compiles the resource and every route that is made from it, as they would be after the write. The keys that it
    /// claims for its consumer are returned, so that no other write claims them at the same time.
    fn try_compile(&mut self, kind: Kind, id: &str, value: &Value) -> Result<Vec<String>, Answer> {
        let view = View::with(self.catalog, kind, id, value);
        let mut pass = self.compiler.pass(view);
        pass.try_resource(kind, id).map_err(Answer::refuse)?;
        let claims = pass.claims(kind, id).map_err(Answer::refuse)?;
        for claim in &claims {
            let own = |holder: &&Arc<Credential>| match kind {
                Kind::Consumer => *holder.consumer.id == *id,
                _ => *holder.id == *kind.name(id),
            };
            if let Some(holder) = self.serving.holder(claim).filter(|holder| !own(holder)) {
                return Err(Answer::refuse(format!(
                    "duplicate key of plugin {} found with consumer: {}",
                    claim.plugin,
                    holder.consumer.name()
                )));
            }
        }
        for route in view.routes_from(kind, id) {
            match pass.route(&route) {
                Err(broken) if !self.serving.is_broken(&route) => {
                    return Err(Answer::refuse(format!(
                        "route [{route}] would not work with it: {}",
                        broken.reason
                    )));
                }
                _ => {}
            }
        }
        Ok(claims.iter().map(Claim::name).collect())
    }

    /// Whether all routes work without the settings that a plugin has for all of them, which is as with empty ones.
    fn demand_no_route_needs(&mut self, metadata: &str) -> Result<(), Answer> {
        let (kind, empty) = (Kind::PluginMetadata, json!({}));
        let view = View::with(self.catalog, kind, metadata, &empty);
        let mut pass = self.compiler.pass(view);
        for route in view.routes_from(kind, metadata) {
            if pass.route(&route).is_err() && !self.serving.is_broken(&route) {
                let word = kind.word();
                return Err(Answer::refuse(format!(
                    "can not delete this {word}, route [{route}] is still using it now"
                )));
            }
        }
        Ok(())
    }

    fn transaction(
        &self,
        write: &Write,
        id: String,
        value: &Value,
        existing: Option<&Resource>,
    ) -> Transaction {
        let kind = write.kind;
        let key = kind.key(&id);
        let mut conditions = vec![unchanged(&key, existing.map(|old| old.modified))];
        let mut uses = HashMap::from([(key.clone(), Use::Write)]);
        let before = existing.map(|old| kind.references(&id, &old.value)).unwrap_or_default();
        let mut operations = Vec::new();
        for reference in kind.references(&id, value) {
            let (other, name) = &reference;
            conditions.push(Condition::Present(other.key(name)));
            uses.insert(other.key(name), Use::Read);
            if !before.contains(&reference) {
                let mark = mark_key(*other, name);
                operations.push(Operation::Put {
                    key: mark.clone(),
                    value: key.clone().into_bytes(),
                    ttl: None,
                });
                uses.insert(mark, Use::Mark);
            }
        }
        let mut stored = value.clone();
        self.sealer.seal(self.registry, kind, &id, &mut stored);
        operations.push(Operation::Put {
            key: key.clone(),
            value: stored.to_string().into_bytes(),
            ttl: write.ttl,
        });
        let status = if existing.is_some() { StatusCode::OK } else { StatusCode::CREATED };
        let shown = answered(kind, self.sealer.show(self.registry, kind, &id, &stored, Reader::Admin));
        let answer = Answer::new(status, json!({"key": key, "value": shown}));
        // What an earlier consumer of this name left behind, whose time to live has passed, is not the new one's.
        let left = existing.is_none() && kind == Kind::Consumer;
        let along = if left { self.take_along(&id, &mut operations, &mut uses) } else { Vec::new() };
        Transaction { kind, id, conditions, operations, uses, stored: Some(stored), along, answer }
    }

    /// Deletes the credentials of a consumer in the same transaction.
    fn take_along(
        &self,
        username: &str,
        operations: &mut Vec<Operation>,
        uses: &mut HashMap<String, Use>,
    ) -> Vec<(Kind, String)> {
        let mut along = Vec::new();
        for credential in self.catalog.credentials_of(username) {
            let key = credential.kind.key(&credential.id);
            operations.push(Operation::Delete { key: key.clone() });
            uses.insert(key, Use::Write);
            along.push((credential.kind, credential.id.clone()));
        }
        along
    }

    /// Judges a DELETE. `mark` is what is stored under [`mark_key`].
    pub(crate) fn delete(&mut self, write: &Write, mark: Option<&Entry>) -> Result<Transaction, Answer> {
        let (kind, word) = (write.kind, write.kind.word());
        let Some(id) = write.id.as_ref().map(|id| write.whole_id(id)) else {
            return Err(Answer::refuse(format!("missing {word} id")));
        };
        let key = kind.key(&id);
        let mut uses = HashMap::from([(key.clone(), Use::Write)]);
        let mut conditions = Vec::new();
        let mut operations = vec![Operation::Delete { key: key.clone() }];
        if may_be_in_use(write) {
            // A consumer takes its credentials along.
            let user = self.catalog.referrer(kind, &id).filter(|_| kind != Kind::Consumer);
            if let Some(user) = user {
                let (directly, user_kind) =
                    (if kind == Kind::Service { " directly" } else { "" }, user.kind.word());
                return Err(Answer::refuse(format!(
                    "can not delete this {word}{directly}, {user_kind} [{}] is still using it now",
                    user.id
                )));
            }
            let mark_key = mark_key(kind, &id);
            conditions.push(unchanged(&mark_key, mark.map(|entry| entry.modify_revision)));
            if mark.is_some() {
                operations.push(Operation::Delete { key: mark_key.clone() });
            }
            uses.insert(mark_key, Use::Write);
        }
        let existing = self.catalog.find(kind, &id).ok_or_else(Answer::key_not_found)?;
        conditions.push(unchanged(&key, Some(existing.modified)));
        if kind == Kind::PluginMetadata && !write.force {
            self.demand_no_route_needs(&id)?;
        }
        let answer = Answer::new(StatusCode::OK, json!({"key": key, "deleted": "1"}));
        let is_consumer = kind == Kind::Consumer;
        let along = if is_consumer { self.take_along(&id, &mut operations, &mut uses) } else { Vec::new() };
        Ok(Transaction { kind, id, conditions, operations, uses, stored: None, along, answer })
    }
}

/// Whether a DELETE has to look for resources that still name this one.
pub(crate) fn may_be_in_use(write: &Write) -> bool {
    match write.kind {
        Kind::Upstream | Kind::Service | Kind::Ssl | Kind::ConsumerGroup | Kind::PluginConfig => !write.force,
        // Its credentials go with it, also those that another node is adding.
        Kind::Consumer => true,
        _ => false,
    }
}

pub(crate) fn unchanged(key: &str, modify_revision: Option<u64>) -> Condition {
    match modify_revision {
        Some(modify_revision) => Condition::Unchanged { key: key.to_owned(), modify_revision },
        None => Condition::Absent(key.to_owned()),
    }
}

fn object(value: &Value) -> Result<Map<String, Value>, Answer> {
    value.as_object().cloned().ok_or_else(|| Answer::refuse("invalid configuration: it is not an object"))
}
