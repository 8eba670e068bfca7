//! The one writer: every change goes through it. Writes that wait together are committed one after the other, compiled
//! together, published once, and answered after that.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
};

use base::{Clock, Random};
use gateway::snapshot::Publisher;
use serde_json::Value;
use store::{Entry, Event, Store, StoreError};
use tokio::sync::{mpsc, oneshot};

use crate::{
    answer::Answer,
    catalog::{Catalog, Entity},
    change::{Changes, Context, Transaction, Verb, Write, mark_key},
    compile::Compiler,
    declared::Declaration,
    entities::{Kind, PREFIX},
    plugins::Registry,
    seal::Sealer,
    serving::{Changed, Serving},
};

/// The dialect's name among the contributions to a snapshot.
pub(crate) const NAME: &str = "kong";
/// Writes that are taken together at most.
const BATCH: usize = 256;
/// How often a write is tried that another node overtakes.
const ATTEMPTS: u32 = 3;

/// What the writer is asked for.
pub(crate) enum Message {
    /// A write of the Admin API.
    Write(Box<Write>, oneshot::Sender<Answer>),
    /// All entities at once.
    Replace(Box<Declaration>, oneshot::Sender<Answer>),
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
    pub(crate) progress: Progress,
}

/// What writes are judged with, besides the catalog.
pub(crate) struct Judge {
    pub(crate) compiler: Compiler,
    pub(crate) serving: Serving,
    pub(crate) registry: Registry,
    pub(crate) sealer: Sealer,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
}

/// How far the catalog and the engine have followed the store.
#[derive(Default)]
pub(crate) struct Progress {
    /// What changed since the last publication.
    changed: Vec<Changed>,
    /// Whether anything was published yet.
    published: bool,
    /// Every change of the store up to this revision is in the catalog, whoever made it.
    caught_up: u64,
    /// Our own deletions whose events have not come back yet: older events of the same keys are stale.
    deleted: HashMap<(Kind, String), u64>,
}

impl Writer {
    /// Serves until every sender is gone.
    pub(crate) async fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        let mut batch = Vec::new();
        while inbox.recv_many(&mut batch, BATCH).await > 0 {
            let (mut answers, mut reloads) = (Vec::new(), Vec::new());
            for message in batch.drain(..) {
                match message {
                    Message::Write(write, reply) => answers.push((reply, self.carry_out(&write).await)),
                    Message::Replace(declaration, reply) => {
                        answers.push((reply, self.replace(&declaration).await));
                    }
                    Message::Events(events) => self.apply_events(events),
                    Message::Reload(reply) => reloads.push(reply),
                }
            }
            let reloaded = if reloads.is_empty() { Ok(()) } else { self.reload().await };
            self.publish();
            for (reply, answer) in answers {
                // A client that went away is not told.
                let _ = reply.send(answer);
            }
            for reply in reloads {
                let _ = reply.send(reloaded.clone());
            }
        }
    }

    async fn carry_out(&mut self, write: &Write) -> Answer {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let transaction = match self.judge(write).await {
                Ok(Some(transaction)) => transaction,
                Ok(None) => return Answer::nothing(),
                Err(answer) => return answer,
            };
            let Transaction { changes: Changes { conditions, operations, outcome }, answer } = transaction;
            let error = match self.store.commit(conditions, operations).await {
                Ok(revision) => {
                    self.apply(outcome, revision);
                    return answer;
                }
                Err(error) => error,
            };
            // Another node was faster, or what became of the write is not known: either way the truth is in the store.
            if let Err(error) = self.reload().await {
                tracing::warn!(%error, "the configuration store cannot be read");
            }
            if attempts == ATTEMPTS || !matches!(error, StoreError::Conflict { .. }) {
                return error.into();
            }
        }
    }

    async fn judge(&mut self, write: &Write) -> Result<Option<Transaction>, Answer> {
        if write.verb != Verb::Delete {
            return self.with_context(|context| context.put(write)).map(Some);
        }
        let found = self.with_catalog(|catalog| {
            write
                .key
                .as_deref()
                .and_then(|key| {
                    let parent = write.parent.as_ref();
                    let parent = parent.and_then(|(of, key)| catalog.lookup(of.kind, key, None));
                    catalog.lookup(write.kind, key, parent.map(|parent| parent.id.as_str()))
                })
                .map(|entity| entity.id.clone())
        });
        let mark = match &found {
            Some(id) => self.store.get(&mark_key(write.kind, id)).await?,
            None => None,
        };
        if mark.as_ref().is_some_and(|mark| mark.modify_revision > self.progress.caught_up) {
            // Another node may have made a reference that has not reached us.
            self.reload().await?;
        }
        self.with_context(|context| context.delete(write, mark.as_ref()))
    }

    fn with_catalog<T>(&self, read: impl FnOnce(&Catalog) -> T) -> T {
        read(&self.catalog.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn replace(&mut self, declaration: &Declaration) -> Answer {
        for _ in 0..ATTEMPTS {
            // What other nodes wrote counts.
            if let Err(error) = self.reload().await {
                return error.into();
            }
            let judged = self.with_context(|context| context.replace(declaration));
            let Transaction { changes, answer } = match judged {
                Ok(transaction) => transaction,
                Err(answer) => return answer,
            };
            let Changes { conditions, operations, outcome } = changes;
            if operations.is_empty() {
                return answer;
            }
            match self.store.commit(conditions, operations).await {
                Ok(revision) => {
                    self.apply(outcome, revision);
                    return answer;
                }
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => {
                    // What became of the write is not known: the truth is in the store.
                    if let Err(error) = self.reload().await {
                        tracing::warn!(%error, "the configuration store cannot be read");
                    }
                    return error.into();
                }
            }
        }
        StoreError::Conflict { key: PREFIX.to_owned() }.into()
    }

    fn with_context<T>(&mut self, judge: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let catalog = self.catalog.read().unwrap_or_else(PoisonError::into_inner);
        let parts = &mut self.judge;
        judge(&mut Context {
            catalog: &catalog,
            compiler: &mut parts.compiler,
            serving: &parts.serving,
            registry: &parts.registry,
            sealer: &parts.sealer,
            clock: &parts.clock,
            random: &parts.random,
        })
    }

    fn apply(&mut self, outcome: Vec<(Kind, String, Option<Value>)>, revision: u64) {
        let mut catalog = self.catalog.write().unwrap_or_else(PoisonError::into_inner);
        for (kind, id, stored) in outcome {
            match stored {
                Some(value) => {
                    let created = catalog.find(kind, &id).map_or(revision, |old| old.created);
                    self.progress.put(&mut catalog, Entity { kind, id, value, created, modified: revision });
                }
                None => {
                    self.progress.remove(&mut catalog, kind, &id);
                    self.progress.deleted.insert((kind, id), revision);
                }
            }
        }
        catalog.revision = catalog.revision.max(revision);
    }

    /// Takes up what somebody else changed; our own writes are in the catalog already.
    fn apply_events(&mut self, events: Vec<Event>) {
        let newest = events.last().map_or(0, Event::revision);
        let mut catalog = self.catalog.write().unwrap_or_else(PoisonError::into_inner);
        let progress = &mut self.progress;
        for event in events {
            let revision = event.revision();
            let Some((kind, id)) = Kind::of_key(event.key()).filter(|_| revision > progress.caught_up) else {
                continue;
            };
            let id = id.to_owned();
            let known = catalog.find(kind, &id).map_or(0, |entity| entity.modified);
            let deleted = progress.deleted.get(&(kind, id.clone())).copied().unwrap_or(0);
            if known.max(deleted) < revision {
                match event {
                    Event::Put(entry) => progress.put(&mut catalog, entity(kind, &id, &entry)),
                    Event::Delete { .. } => progress.remove(&mut catalog, kind, &id),
                }
            }
        }
        progress.caught_up = progress.caught_up.max(newest);
        catalog.revision = catalog.revision.max(newest);
        progress.deleted.retain(|_, revision| *revision > newest);
    }

    /// Reads everything and takes up what differs.
    pub(crate) async fn reload(&mut self) -> Result<(), StoreError> {
        let (entries, revision) = self.store.range(PREFIX).await?;
        let mut catalog = self.catalog.write().unwrap_or_else(PoisonError::into_inner);
        let mut seen = HashSet::new();
        for entry in &entries {
            let Some((kind, id)) = Kind::of_key(&entry.key) else { continue };
            seen.insert((kind, id.to_owned()));
            if catalog.find(kind, id).is_none_or(|known| known.modified != entry.modify_revision) {
                self.progress.put(&mut catalog, entity(kind, id, entry));
            }
        }
        for kind in Kind::ALL {
            let known = catalog.list(kind).map(|known| known.id.clone());
            let gone: Vec<String> = known.filter(|id| !seen.contains(&(kind, id.clone()))).collect();
            for id in gone {
                self.progress.remove(&mut catalog, kind, &id);
            }
        }
        catalog.revision = revision;
        self.progress.caught_up = revision;
        self.progress.deleted.clear();
        Ok(())
    }

    /// Compiles what changed and hands it to the engine.
    pub(crate) fn publish(&mut self) {
        if self.progress.changed.is_empty() && self.progress.published {
            return;
        }
        let catalog = self.catalog.read().unwrap_or_else(PoisonError::into_inner);
        let Judge { compiler, serving, .. } = &mut self.judge;
        serving.refresh(compiler, &catalog, &self.progress.changed);
        self.publisher.publish(NAME, serving.contribution(catalog.revision));
        drop(catalog);
        compiler.prune();
        self.progress.changed.clear();
        self.progress.published = true;
    }
}

impl Progress {
    fn put(&mut self, catalog: &mut Catalog, entity: Entity) {
        // Routes that the old content named change as well as those that the new one names.
        self.note(catalog, entity.kind, &entity.id);
        self.changed.push(Changed { kind: entity.kind, id: entity.id.clone(), value: entity.value.clone() });
        catalog.put(entity);
    }

    fn remove(&mut self, catalog: &mut Catalog, kind: Kind, id: &str) {
        self.note(catalog, kind, id);
        catalog.remove(kind, id);
    }

    fn note(&mut self, catalog: &Catalog, kind: Kind, id: &str) {
        if let Some(old) = catalog.find(kind, id) {
            self.changed.push(Changed { kind, id: id.to_owned(), value: old.value.clone() });
        }
    }
}

/// What is stored under a key. What is no JSON becomes `null`, which no check lets through: it is named as broken.
fn entity(kind: Kind, id: &str, entry: &Entry) -> Entity {
    Entity {
        kind,
        id: id.to_owned(),
        value: serde_json::from_slice(&entry.value).unwrap_or(Value::Null),
        created: entry.create_revision,
        modified: entry.modify_revision,
    }
}
