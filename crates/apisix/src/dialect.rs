//! The dialect as the rest of the process sees it: opened once, read by the Admin API, written through one writer.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard},
};

use base::{Clock, Keyring, Random, UnixMillis};
use gateway::{
    snapshot::Publisher,
    upstream::{Checker, Live},
};
use http::StatusCode;
use serde_json::Value;
use store::{Store, StoreError};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    answer::Answer,
    catalog::{Catalog, Resource},
    change::{Verb, Write},
    compile::Compiler,
    document::{Document, STATE_KEY, State},
    listed::Listed,
    plugins::Registry,
    references::references_in,
    resources::{Kind, PREFIX, Reader, Sealer, declared_credential, id_text, manager_of},
    schema::excerpt,
    serving::Serving,
    writer::{Judge, Message, Writer},
};

/// Writes that may wait for the writer; more wait for a place.
const QUEUE: usize = 1024;

/// What the dialect needs from the process.
pub struct Options {
    /// Where resources are kept.
    pub store: Arc<dyn Store>,
    /// Seals the secrets in them.
    pub keyring: Keyring,
    /// For creation and change times, and times to live.
    pub clock: Clock,
    /// For sealing.
    pub random: Random,
    /// The plugins of the dialect.
    pub registry: Registry,
    /// What outlives a snapshot in the engine.
    pub live: Arc<Live>,
    /// Takes what is compiled.
    pub publisher: Arc<Publisher>,
}

/// The APISIX dialect of one process.
pub struct Dialect {
    inbox: mpsc::Sender<Message>,
    catalog: Arc<RwLock<Catalog>>,
    registry: Registry,
    sealer: Sealer,
    store: Arc<dyn Store>,
    clock: Clock,
    live: Arc<Live>,
    follower: Mutex<JoinHandle<()>>,
}

impl Dialect {
    /// Loads what is stored, publishes it, and begins to follow the store. When this returns, everything that can be
    /// compiled serves; the rest is named among the snapshot's broken resources.
    ///
    /// Must be called within the control runtime: it spawns the writer and the follower there.
    pub async fn open(options: Options) -> Result<Arc<Self>, StoreError> {
        let Options { store, keyring, clock, random, registry, live, publisher } = options;
        let mut pepper = [0; 32];
        random.fill(&mut pepper);
        let sealer = Sealer::new(keyring, random);
        let catalog = Arc::new(RwLock::new(Catalog::default()));
        let judge = Judge {
            compiler: Compiler::new(registry.clone(), sealer.clone(), Arc::clone(&live)),
            serving: Serving::new(&pepper),
            registry: registry.clone(),
            sealer: sealer.clone(),
            clock: clock.clone(),
        };
        let mut writer = Writer::new(Arc::clone(&store), publisher, Arc::clone(&catalog), judge);
        writer.reload().await?;
        let used =
            used_references(&catalog.read().unwrap_or_else(PoisonError::into_inner), &registry, &sealer);
        let manager = |name: &str| {
            manager_in(&catalog.read().unwrap_or_else(PoisonError::into_inner), &registry, &sealer, name)
        };
        registry.references().fetch(used, manager).await;
        writer.publish();
        let (inbox, outbox) = mpsc::channel(QUEUE);
        tokio::spawn(writer.run(outbox));
        let revision = catalog.read().unwrap_or_else(PoisonError::into_inner).revision;
        let follower = Mutex::new(tokio::spawn(follow(Arc::clone(&store), inbox.downgrade(), revision)));
        Ok(Arc::new(Self { inbox, catalog, registry, sealer, store, clock, live, follower }))
    }

    /// The health checks of every upstream of this dialect that is used.
    pub(crate) fn checkers(&self) -> Vec<Arc<Checker>> {
        let mut all = self.live.checkers();
        let own = |id: &str| ["routes/", "services/", "upstreams/"].iter().any(|kind| id.starts_with(kind));
        all.retain(|checker| own(&checker.id));
        all
    }

    /// Deletes what has outlived its time to live and publishes the rest. To be called about once a second, and after
    /// the clock was moved. A store that could not be followed for a while is read again and followed from here.
    pub async fn expire_due(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let due = {
            let catalog = self.read();
            let mut all = Kind::ALL.into_iter().flat_map(|kind| catalog.list(kind));
            all.any(|resource| resource.lease_expires.is_some_and(|expires| expires <= now))
        };
        let lost = self.follower.lock().unwrap_or_else(PoisonError::into_inner).is_finished();
        if self.store.expire_due().await? == 0 && !due && !lost {
            return Ok(());
        }
        self.reload().await?;
        if lost {
            let again = follow(Arc::clone(&self.store), self.inbox.downgrade(), self.read().revision);
            *self.follower.lock().unwrap_or_else(PoisonError::into_inner) = tokio::spawn(again);
        }
        Ok(())
    }

    /// Fetches the values of secret managers whose time has come, and what failed before, and has compiled again what
    /// changed by it. To be called about once a second, and after the clock was moved.
    pub async fn refresh_references(&self) {
        let references = self.registry.references();
        if references.due().is_empty() {
            return;
        }
        references.retain(&used_references(&self.read(), &self.registry, &self.sealer));
        let changed = references.fetch(references.due(), |name| self.manager(name)).await;
        if changed.is_empty() {
            return;
        }
        let (reply, done) = oneshot::channel();
        if self.inbox.send(Message::Resolved(changed, reply)).await.is_ok() {
            // An error means that the writer has stopped: nothing is served any more.
            let _ = done.await;
        }
    }

    fn manager(&self, name: &str) -> Option<Value> {
        manager_in(&self.read(), &self.registry, &self.sealer, name)
    }

    /// Makes the resources what `document` says: all of it, or nothing.
    pub(crate) async fn replace(&self, document: Document, digest: String) -> Answer {
        let closed = || Answer::error(StatusCode::SERVICE_UNAVAILABLE, "the gate is shutting down");
        let missing = self.registry.references().missing(document.references());
        if !missing.is_empty() {
            let manager = |name: &str| document.manager(name).or_else(|| self.manager(name));
            self.registry.references().fetch(missing, manager).await;
        }
        let (reply, answer) = oneshot::channel();
        if self.inbox.send(Message::Replace(Box::new(document), digest, reply)).await.is_err() {
            return closed();
        }
        answer.await.unwrap_or_else(|_| closed())
    }

    /// What the last document left behind.
    pub(crate) async fn document_state(&self) -> Result<State, StoreError> {
        let entry = self.store.get(STATE_KEY).await?;
        Ok(entry.map(|entry| State::read(&entry.value)).unwrap_or_default())
    }

    /// The resources of a document's section as `reader` may see them: those of the last document as it had them, and
    /// behind them what was written otherwise.
    pub(crate) fn section(&self, name: &str, state: &State, reader: Reader) -> Vec<Value> {
        let Some(kind) = Kind::of_plural(name) else { return Vec::new() };
        let mut all = self.list(kind);
        if kind == Kind::Consumer {
            all.extend(self.list(Kind::Credential));
        }
        let places: HashMap<&str, (usize, &Listed)> =
            state.listed(name).iter().enumerate().map(|(place, it)| (it.id.as_str(), (place, it))).collect();
        all.sort_by_key(|resource| places.get(&*resource.id).map_or(usize::MAX, |(place, _)| *place));
        let shown = all.iter().map(|resource| {
            let mut value = self.show(resource, reader);
            if let Some(members) = value.as_object_mut() {
                if let (Kind::Credential, Some((consumer, id))) = (resource.kind, resource.id.split_once('/'))
                {
                    members.insert("id".to_owned(), format!("{consumer}/credentials/{id}").into());
                }
                if let Some((_, listed)) = places.get(&*resource.id) {
                    listed.restore(members);
                }
            }
            value
        });
        shown.collect()
    }

    /// The time by the process's clock.
    pub(crate) fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    /// Reads the store again and publishes what changed; when this returns, it serves.
    pub async fn reload(&self) -> Result<(), StoreError> {
        let closed = || StoreError::Unavailable { reason: "the writer has stopped".to_owned() };
        let (reply, answer) = oneshot::channel();
        self.inbox.send(Message::Reload(reply)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Puts resources in place that a configuration file declares: a mapping from the names of [`Kind::DECLARED`] to
    /// lists of what the Admin API takes, each with its `id`; a consumer has its `username`, and a credential stands
    /// after its consumer with the id `{username}/credentials/{id}`. Every problem is said, by the place it stands at;
    /// after one the dialect is not to be served.
    pub async fn declare(&self, declared: &Value) -> Result<(), Vec<String>> {
        let Some(kinds) = declared.as_object() else {
            return Err(vec!["`resources` must be a mapping".to_owned()]);
        };
        let known = Kind::DECLARED.map(Kind::plural);
        let unknown = kinds.keys().filter(|name| !known.contains(&name.as_str()));
        let known = known.join(", ");
        let mut problems: Vec<_> =
            unknown.map(|name| format!("resources.{}: unknown; known are {known}", excerpt(name))).collect();
        // What is referred to comes before what refers to it.
        for kind in Kind::DECLARED {
            let place = format!("resources.{}", kind.plural());
            let Some(list) = kinds.get(kind.plural()) else { continue };
            let Some(list) = list.as_array() else {
                problems.push(format!("{place}: must be a list"));
                continue;
            };
            for (number, value) in list.iter().enumerate() {
                if let Err(reason) = self.declare_one(kind, value).await {
                    problems.push(format!("{place}[{number}]: {reason}"));
                }
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    async fn declare_one(&self, kind: Kind, value: &Value) -> Result<(), String> {
        let member = if kind == Kind::Consumer { "username" } else { "id" };
        let in_id = value.get("id").and_then(id_text);
        let credential = in_id.as_deref().filter(|_| kind == Kind::Consumer).and_then(declared_credential);
        let mut body = value.clone();
        let (kind, parent, id) = match credential {
            Some((consumer, id)) => {
                body.as_object_mut()
                    .into_iter()
                    .for_each(|body| drop(body.insert("id".to_owned(), id.into())));
                (Kind::Credential, Some(consumer.to_owned()), Some(id.to_owned()))
            }
            None if kind == Kind::Secret => {
                let whole = value.get("id").and_then(id_text).unwrap_or_default();
                match manager_of(&whole) {
                    Some((manager, id)) => (kind, Some(manager.to_owned()), Some(id.to_owned())),
                    None => (kind, None, None),
                }
            }
            None => (kind, None, value.get(member).and_then(id_text)),
        };
        let id = id.ok_or_else(|| format!("it needs `{member}`"))?;
        let mut write = Write {
            verb: Verb::Put,
            kind,
            parent,
            id: None,
            sub_path: Vec::new(),
            body: Some(body),
            ttl: None,
            force: false,
        };
        if self.find(kind, &write.whole_id(&id)).is_some() {
            return Err(format!("the id `{}` stands twice", excerpt(&id)));
        }
        if matches!(kind, Kind::Credential | Kind::Secret) {
            write.id = Some(id);
        }
        let answer = self.write(write).await;
        if answer.status.is_success() {
            return Ok(());
        }
        Err(answer.body.get("error_msg").and_then(Value::as_str).unwrap_or("it was refused").to_owned())
    }

    /// The plugins of the dialect.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Carries a write out: when this returns, it is durable and serves, or nothing happened.
    pub(crate) async fn write(&self, write: Write) -> Answer {
        let closed = || Answer::error(StatusCode::SERVICE_UNAVAILABLE, "the gate is shutting down");
        let references = self.registry.references();
        let missing = references.missing(write.body.as_ref().map(references_in).unwrap_or_default());
        if !missing.is_empty() {
            references.fetch(missing, |name| self.manager(name)).await;
        }
        let manager = write.id.as_deref().filter(|_| write.kind == Kind::Secret).map(|id| write.whole_id(id));
        let (reply, answer) = oneshot::channel();
        if self.inbox.send(Message::Write(Box::new(write), reply)).await.is_err() {
            return closed();
        }
        let answer = answer.await.unwrap_or_else(|_| closed());
        if let Some(manager) = manager.filter(|_| answer.status.is_success()) {
            references.distrust(&manager);
            self.refresh_references().await;
        }
        answer
    }

    pub(crate) fn find(&self, kind: Kind, id: &str) -> Option<Arc<Resource>> {
        self.read().find(kind, id).cloned()
    }

    /// All of one kind, in the order in which they were made.
    pub(crate) fn list(&self, kind: Kind) -> Vec<Arc<Resource>> {
        let mut list: Vec<_> = self.read().list(kind).cloned().collect();
        list.sort_by_key(|resource| resource.created);
        list
    }

    /// The credentials of a consumer, in the order in which they were made.
    pub(crate) fn credentials_of(&self, username: &str) -> Vec<Arc<Resource>> {
        let mut list: Vec<_> = self.read().credentials_of(username).cloned().collect();
        list.sort_by_key(|resource| resource.created);
        list
    }

    /// A resource as `reader` may see it.
    pub(crate) fn show(&self, resource: &Resource, reader: Reader) -> Value {
        self.sealer.show(&self.registry, resource.kind, &resource.id, &resource.value, reader)
    }

    fn read(&self) -> RwLockReadGuard<'_, Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialect").field("revision", &self.read().revision).finish_non_exhaustive()
    }
}

/// Every reference to a secret manager that some resource holds.
fn used_references(catalog: &Catalog, registry: &Registry, sealer: &Sealer) -> BTreeSet<String> {
    let all = Kind::ALL.into_iter().flat_map(|kind| catalog.list(kind));
    all.flat_map(|resource| {
        let mut value = resource.value.clone();
        // What does not open is named as broken by the compiler.
        let _ = sealer.open(registry, resource.kind, &resource.id, &mut value);
        references_in(&value)
    })
    .collect()
}

/// The configuration of a secret manager, in the clear.
fn manager_in(catalog: &Catalog, registry: &Registry, sealer: &Sealer, name: &str) -> Option<Value> {
    let mut value = catalog.find(Kind::Secret, name)?.value.clone();
    sealer.open(registry, Kind::Secret, name, &mut value).ok()?;
    Some(value)
}

/// Tells the writer what changes in the store, until the dialect is gone. Where changes were missed, all is read again.
async fn follow(store: Arc<dyn Store>, inbox: mpsc::WeakSender<Message>, revision: u64) {
    let mut watch = store.watch(PREFIX, revision).await;
    loop {
        let events = match &mut watch {
            Ok(watch) => watch.next().await,
            Err(error) => Err(error.clone()),
        };
        let Some(inbox) = inbox.upgrade() else { return };
        match events {
            Ok(events) => {
                if inbox.send(Message::Events(events)).await.is_err() {
                    return;
                }
            }
            Err(StoreError::Compacted { .. }) => {
                let Some(newest) = restart(&*store, &inbox).await else { return };
                watch = store.watch(PREFIX, newest).await;
            }
            Err(error) => {
                tracing::warn!(%error, "the configuration store is not followed any more");
                return;
            }
        }
    }
}

/// Has everything read again, and says from where to watch on.
async fn restart(store: &dyn Store, inbox: &mpsc::Sender<Message>) -> Option<u64> {
    let (_, newest) = store.range(PREFIX).await.ok()?;
    let (reply, done) = oneshot::channel();
    inbox.send(Message::Reload(reply)).await.ok()?;
    done.await.ok()?.ok()?;
    Some(newest)
}
