//! The one writer: every change goes through it, in batches. Writes that wait together are committed side by side
//! where they do not touch each other, compiled together, published once, and answered after that.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
};

use base::Clock;
use futures_util::future::join_all;
use gateway::snapshot::Publisher;
use serde_json::Value;
use store::{Entry, Event, Store, StoreError};
use tokio::sync::{mpsc, oneshot};

use crate::{
    answer::Answer,
    catalog::{Catalog, Resource},
    change::{Context, Transaction, Use, Verb, Write, mark_key, may_be_in_use},
    compile::Compiler,
    document::Document,
    plugins::Registry,
    references::references_in,
    resources::{Kind, PREFIX, Sealer, is_id, is_username},
    serving::Serving,
};

/// The dialect's name among the contributions to a snapshot.
pub(crate) const NAME: &str = "apisix";
/// Writes that are taken together at most.
const BATCH: usize = 256;
/// How often a write is tried that another node overtakes.
pub(crate) const ATTEMPTS: u32 = 3;
/// Collections of APISIX that this build would ignore.
pub(crate) const FOREIGN: [&str; 2] = ["protos", "stream_routes"];

/// What the writer is asked for.
pub(crate) enum Message {
    /// A write of the Admin API.
    Write(Box<Write>, oneshot::Sender<Answer>),
    /// All resources at once, and the digest of what was sent.
    Replace(Box<Document>, String, oneshot::Sender<Answer>),
    /// References whose values changed: what holds them is compiled again.
    Resolved(BTreeSet<String>, oneshot::Sender<()>),
    /// Changes of the store, by whomever.
    Events(Vec<Event>),
    /// Read everything again.
    Reload(oneshot::Sender<Result<(), StoreError>>),
}

/// The state behind the Admin API, owned by one task.
pub(crate) struct Writer {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) publisher: Arc<Publisher>,
    /// Changed here only; read by the Admin API.
    pub(crate) catalog: Arc<RwLock<Catalog>>,
    pub(crate) judge: Judge,
    /// What changed since the last publication.
    changed: HashSet<(Kind, String)>,
    /// Whether there is something else to publish.
    stale: bool,
    /// Every change of the store up to this revision is in the catalog, whoever made it.
    caught_up: u64,
    /// Our own deletions whose events have not come back yet: older events of the same keys are stale.
    deleted: HashMap<(Kind, String), u64>,
}

/// What writes are judged with, besides the catalog.
pub(crate) struct Judge {
    pub(crate) compiler: Compiler,
    pub(crate) serving: Serving,
    pub(crate) registry: Registry,
    pub(crate) sealer: Sealer,
    pub(crate) clock: Clock,
}

struct Job {
    write: Box<Write>,
    reply: oneshot::Sender<Answer>,
    attempts: u32,
}

impl Writer {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        publisher: Arc<Publisher>,
        catalog: Arc<RwLock<Catalog>>,
        judge: Judge,
    ) -> Self {
        let (changed, deleted) = (HashSet::new(), HashMap::new());
        Self { store, publisher, catalog, judge, changed, stale: true, caught_up: 0, deleted }
    }

    /// Serves until every sender is gone.
    pub(crate) async fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        let mut batch = Vec::new();
        while inbox.recv_many(&mut batch, BATCH).await > 0 {
            let (mut jobs, mut reloads) = (Vec::new(), Vec::new());
            let (mut replacements, mut resolved) = (Vec::new(), Vec::new());
            for message in batch.drain(..) {
                match message {
                    Message::Write(write, reply) => jobs.push(Job { write, reply, attempts: 0 }),
                    Message::Events(events) => self.apply_events(events),
                    Message::Replace(document, digest, reply) => replacements.push((document, digest, reply)),
                    Message::Resolved(references, reply) => {
                        self.touch(&references);
                        resolved.push(reply);
                    }
                    Message::Reload(reply) => reloads.push(reply),
                }
            }
            let mut answers = self.carry_out(jobs).await;
            for (document, digest, reply) in replacements {
                let answer = self.replace(&document, &digest).await;
                answers.push((reply, answer));
            }
            let reloaded = if reloads.is_empty() { Ok(()) } else { self.reload().await };
            self.publish();
            for (reply, answer) in answers {
                // A client that went away is not told.
                let _ = reply.send(answer);
            }
            for reply in resolved {
                let _ = reply.send(());
            }
            for reply in reloads {
                let _ = reply.send(reloaded.clone());
            }
        }
    }

    /// Has everything compiled again that holds one of these references.
    fn touch(&mut self, references: &BTreeSet<String>) {
        let catalog = self.catalog.read().unwrap_or_else(PoisonError::into_inner);
        for resource in Kind::ALL.into_iter().flat_map(|kind| catalog.list(kind)) {
            let mut value = resource.value.clone();
            // What does not open is broken already, and says so.
            let _ = self.judge.sealer.open(&self.judge.registry, resource.kind, &resource.id, &mut value);
            if !references_in(&value).is_disjoint(references) {
                self.changed.insert((resource.kind, resource.id.clone()));
            }
        }
    }

    /// Carries the writes out, wave by wave; within a wave no transaction disturbs another.
    async fn carry_out(&mut self, mut jobs: Vec<Job>) -> Vec<(oneshot::Sender<Answer>, Answer)> {
        let mut answers = Vec::with_capacity(jobs.len());
        while !jobs.is_empty() {
            let mut used: HashMap<String, Use> = HashMap::new();
            let (mut wave, mut later) = (Vec::new(), Vec::new());
            for job in jobs {
                let own_key = job.write.id.as_deref().map(|id| job.write.kind.key(&job.write.whole_id(id)));
                if own_key.is_some_and(|key| used.contains_key(&key)) {
                    later.push(job);
                    continue;
                }
                match self.judge(&job.write, wave.len()).await {
                    Err(answer) => answers.push((job.reply, answer)),
                    Ok(transaction) if disturbs(&transaction, &used) => later.push(job),
                    Ok(transaction) => {
                        used.extend(transaction.uses.clone());
                        wave.push((job, transaction));
                    }
                }
            }
            self.commit(wave, &mut answers, &mut later).await;
            jobs = later;
        }
        answers
    }

    /// `ahead` writes of the same wave come first, so that ids made of the next revision differ.
    async fn judge(&mut self, write: &Write, ahead: usize) -> Result<Transaction, Answer> {
        let mark = match (&write.id, write.verb) {
            (Some(id), Verb::Delete) if may_be_in_use(write) && (is_id(id) || is_username(id)) => {
                self.store.get(&mark_key(write.kind, id)).await.map_err(Answer::from)?
            }
            _ => None,
        };
        if mark.as_ref().is_some_and(|mark| mark.modify_revision > self.caught_up) {
            // Another node may have made a reference that has not reached us.
            self.reload().await.map_err(Answer::from)?;
        }
        let catalog = self.catalog.read().unwrap_or_else(PoisonError::into_inner);
        if matches!(write.kind, Kind::Consumer | Kind::Credential) && !self.changed.is_empty() {
            // Whose a key is, is asked of what is compiled: earlier writes of the same batch count.
            let Judge { compiler, serving, .. } = &mut self.judge;
            serving.refresh(compiler, &catalog, &self.changed);
            self.changed.clear();
            self.stale = true;
        }
        let mut context = self.judge.context(&catalog, ahead);
        match write.verb {
            Verb::Delete => context.delete(write, mark.as_ref()),
            Verb::Post | Verb::Put | Verb::Patch => context.put(write),
        }
    }

    async fn commit(
        &mut self,
        wave: Vec<(Job, Transaction)>,
        answers: &mut Vec<(oneshot::Sender<Answer>, Answer)>,
        later: &mut Vec<Job>,
    ) {
        let commits = wave.into_iter().map(|(job, mut transaction)| {
            let conditions = std::mem::take(&mut transaction.conditions);
            let operations = std::mem::take(&mut transaction.operations);
            let store = Arc::clone(&self.store);
            async move { (job, transaction, store.commit(conditions, operations).await) }
        });
        let mut uncertain = false;
        for (mut job, transaction, outcome) in join_all(commits).await {
            match outcome {
                Ok(revision) => {
                    let answer = transaction.answer.clone();
                    self.apply(&job.write, transaction, revision);
                    answers.push((job.reply, answer));
                }
                Err(StoreError::Conflict { .. }) if job.attempts + 1 < ATTEMPTS => {
                    job.attempts += 1;
                    uncertain = true;
                    later.push(job);
                }
                Err(error) => {
                    uncertain = true;
                    answers.push((job.reply, error.into()));
                }
            }
        }
        if uncertain && let Err(error) = self.reload().await {
            tracing::warn!(%error, "the configuration store cannot be read");
        }
    }

    fn apply(&mut self, write: &Write, transaction: Transaction, revision: u64) {
        let Transaction { kind, id, stored, along, .. } = transaction;
        let mut catalog = self.catalog.write().unwrap_or_else(PoisonError::into_inner);
        match stored {
            Some(value) => {
                let created = catalog.find(kind, &id).map_or(revision, |old| old.created);
                let lease_expires = write.ttl.map(|ttl| self.judge.clock.now() + ttl);
                catalog.put(Resource {
                    kind,
                    id: id.clone(),
                    value,
                    created,
                    modified: revision,
                    lease_expires,
                });
            }
            None => {
                catalog.remove(kind, &id);
                self.deleted.insert((kind, id.clone()), revision);
            }
        }
        for (kind, id) in along {
            catalog.remove(kind, &id);
            self.deleted.insert((kind, id.clone()), revision);
            self.changed.insert((kind, id));
        }
        catalog.revision = catalog.revision.max(revision);
        drop(catalog);
        self.changed.insert((kind, id));
    }

    /// Takes up what somebody else changed; our own writes are in the catalog already.
    fn apply_events(&mut self, events: Vec<Event>) {
        let newest = events.last().map_or(0, Event::revision);
        let mut catalog = self.catalog.write().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            let revision = event.revision();
            if revision <= self.caught_up {
                continue;
            }
            let Some((kind, id)) = Kind::of_key(event.key()) else {
                if let Some(name) = foreign(event.key()) {
                    let there = matches!(event, Event::Put(_));
                    self.stale |= self.judge.serving.set_foreign(name, there);
                }
                continue;
            };
            let known = catalog.find(kind, &id).map_or(0, |resource| resource.modified);
            let deleted = self.deleted.get(&(kind, id.clone())).copied().unwrap_or(0);
            if known.max(deleted) < revision {
                match event {
                    Event::Put(entry) => catalog.put(resource(kind, &id, &entry)),
                    Event::Delete { .. } => catalog.remove(kind, &id),
                }
                self.changed.insert((kind, id));
            }
        }
        self.caught_up = self.caught_up.max(newest);
        catalog.revision = catalog.revision.max(newest);
        self.deleted.retain(|_, revision| *revision > newest);
    }

    /// Reads everything and takes up what differs.
    pub(crate) async fn reload(&mut self) -> Result<(), StoreError> {
        let (entries, revision) = self.store.range(PREFIX).await?;
        let mut catalog = self.catalog.write().unwrap_or_else(PoisonError::into_inner);
        let mut seen = HashSet::new();
        let foreign: Vec<&str> = entries.iter().filter_map(|entry| foreign(&entry.key)).collect();
        self.stale |= self.judge.serving.replace_foreign(&foreign);
        for entry in &entries {
            let Some((kind, id)) = Kind::of_key(&entry.key) else { continue };
            seen.insert((kind, id.clone()));
            if catalog.find(kind, &id).is_none_or(|known| known.modified != entry.modify_revision) {
                catalog.put(resource(kind, &id, entry));
                self.changed.insert((kind, id));
            }
        }
        for kind in Kind::ALL {
            let gone: Vec<String> = catalog
                .list(kind)
                .filter(|known| !seen.contains(&(kind, known.id.clone())))
                .map(|known| known.id.clone())
                .collect();
            for id in gone {
                catalog.remove(kind, &id);
                self.changed.insert((kind, id));
            }
        }
        catalog.revision = revision;
        self.caught_up = revision;
        self.deleted.clear();
        Ok(())
    }

    /// Compiles what changed and hands it to the engine.
    pub(crate) fn publish(&mut self) {
        if self.changed.is_empty() && !self.stale {
            // Refused writes leave behind what was compiled to judge them.
            self.judge.compiler.prune();
            return;
        }
        let catalog = self.catalog.read().unwrap_or_else(PoisonError::into_inner);
        let Judge { compiler, serving, .. } = &mut self.judge;
        serving.refresh(compiler, &catalog, &self.changed);
        self.publisher.publish(NAME, serving.contribution(catalog.revision));
        drop(catalog);
        compiler.prune();
        self.changed.clear();
        self.stale = false;
    }
}

impl Judge {
    fn context<'a>(&'a mut self, catalog: &'a Catalog, ahead: usize) -> Context<'a> {
        Context {
            catalog,
            compiler: &mut self.compiler,
            serving: &self.serving,
            registry: &self.registry,
            sealer: &self.sealer,
            clock: &self.clock,
            next_revision: catalog.revision + 1 + ahead as u64,
        }
    }
}

fn disturbs(transaction: &Transaction, used: &HashMap<String, Use>) -> bool {
    transaction.uses.iter().any(|(key, way)| used.get(key).is_some_and(|other| way.disturbs(*other)))
}

/// The name of a resource of a kind that only APISIX has; the empty entries that APISIX makes at its start are none.
fn foreign(key: &str) -> Option<&str> {
    let name = key.strip_prefix(PREFIX)?;
    let (kind, id) = name.split_once('/')?;
    (FOREIGN.contains(&kind) && !id.is_empty()).then_some(name)
}

/// What is stored under a key. What is no JSON becomes `null`, which no check lets through: it is named as broken.
fn resource(kind: Kind, id: &str, entry: &Entry) -> Resource {
    Resource {
        kind,
        id: id.to_owned(),
        value: crate::json::parse(&entry.value).unwrap_or(Value::Null),
        created: entry.create_revision,
        modified: entry.modify_revision,
        lease_expires: entry.lease_expires,
    }
}
