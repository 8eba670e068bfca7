//! The dialect as the rest of the process sees it: opened once, read by the Admin API, written through one writer.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard},
};

use base::{Clock, Keyring, Random};
use gateway::{snapshot::Publisher, upstream::Live};
use http::StatusCode;
use plugins::grants::ClientTokens;
use rp::{assertion::AssertionKeys, provider::Providers};
use serde_json::Value;
use store::{Store, StoreError};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    admin::digest,
    answer::Answer,
    answer_headers::AnswerHeaders,
    catalog::{Catalog, Entity},
    change::{Write, new_id, with_snis},
    compile::Compiler,
    declared::Declaration,
    entities::{Kind, PREFIX, whole_numbers},
    plugins::Registry,
    seal::Sealer,
    serving::Serving,
    vaults::{Environment, Vaults},
    writer::{Judge, Message, Progress, Writer},
};

/// Writes that may wait for the writer; more wait for a place.
const QUEUE: usize = 1024;

/// What the dialect needs from the process.
pub struct Options {
    /// Where entities are kept.
    pub store: Arc<dyn Store>,
    /// Seals the secrets in them.
    pub keyring: Keyring,
    /// For creation and change times.
    pub clock: Clock,
    /// For ids, salts and sealing.
    pub random: Random,
    /// The plugins of the dialect.
    pub registry: Registry,
    /// What outlives a snapshot in the engine.
    pub live: Arc<Live>,
    /// Takes what is compiled.
    pub publisher: Arc<Publisher>,
    /// What `{vault://env/…}` reads.
    pub environment: Arc<Environment>,
    /// The providers that plugins ask.
    pub providers: Providers,
    /// The gate's own keys.
    pub own_keys: OwnKeys,
    /// Tokens that plugins obtained for callers.
    pub tokens: Arc<ClientTokens>,
    /// What is said of each request on the dialect's routes.
    pub answer_headers: AnswerHeaders,
}

/// The keys by which the gate proves who it is.
#[derive(Clone)]
pub struct OwnKeys {
    /// They themselves.
    pub keys: Arc<AssertionKeys>,
    /// Makes them successors before their time.
    pub replace: Arc<Replace>,
}

/// What makes successors of keys; the error is for the log.
pub type Replace = dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync;

/// The Kong dialect of one process.
pub struct Dialect {
    inbox: mpsc::Sender<Message>,
    catalog: Arc<RwLock<Catalog>>,
    registry: Registry,
    sealer: Sealer,
    store: Arc<dyn Store>,
    publisher: Arc<Publisher>,
    clock: Clock,
    providers: Providers,
    own_keys: OwnKeys,
    tokens: Arc<ClientTokens>,
    live: Arc<Live>,
    /// Names this process in `GET /`.
    node_id: String,
    /// Digest of the declarative configuration that was taken last, and the revision it made.
    declared: Mutex<Option<(String, u64)>>,
    follower: Mutex<JoinHandle<()>>,
}

impl Dialect {
    /// Loads what is stored, publishes it, and begins to follow the store. When this returns, everything that can be
    /// compiled serves; the rest is named among the snapshot's broken resources.
    ///
    /// Must be called within the control runtime: it spawns the writer and the follower there.
    pub async fn open(options: Options) -> Result<Arc<Self>, StoreError> {
        let Options {
            store,
            keyring,
            clock,
            random,
            registry,
            live,
            publisher,
            environment,
            providers,
            own_keys,
            tokens,
            answer_headers,
        } = options;
        let mut pepper = [0; 32];
        random.fill(&mut pepper);
        let sealer = Sealer::new(keyring, random.clone());
        let catalog = Arc::new(RwLock::new(Catalog::default()));
        let judge = Judge {
            compiler: Compiler::new(
                registry.clone(),
                sealer.clone(),
                Vaults::new(environment),
                Arc::clone(&live),
                random.clone(),
                answer_headers.entries(&clock, &random),
            ),
            serving: Serving::new(&pepper),
            registry: registry.clone(),
            sealer: sealer.clone(),
            clock: clock.clone(),
            random: random.clone(),
        };
        let mut writer = Writer {
            store: Arc::clone(&store),
            publisher: Arc::clone(&publisher),
            catalog: Arc::clone(&catalog),
            judge,
            progress: Progress::default(),
        };
        writer.reload().await?;
        writer.publish();
        let (inbox, outbox) = mpsc::channel(QUEUE);
        tokio::spawn(writer.run(outbox));
        let revision = catalog.read().unwrap_or_else(PoisonError::into_inner).revision;
        let follower = Mutex::new(tokio::spawn(follow(Arc::clone(&store), inbox.downgrade(), revision)));
        let node_id = new_id(&random);
        Ok(Arc::new(Self {
            inbox,
            catalog,
            registry,
            sealer,
            store,
            publisher,
            clock,
            providers,
            own_keys,
            tokens,
            live,
            node_id,
            declared: Mutex::default(),
            follower,
        }))
    }

    /// Follows the store again where that had ended, and does nothing otherwise. To be called about once a second.
    pub async fn recover(&self) -> Result<(), StoreError> {
        let lost = self.follower.lock().unwrap_or_else(PoisonError::into_inner).is_finished();
        if !lost {
            return Ok(());
        }
        self.reload().await?;
        let again = follow(Arc::clone(&self.store), self.inbox.downgrade(), self.read().revision);
        *self.follower.lock().unwrap_or_else(PoisonError::into_inner) = tokio::spawn(again);
        Ok(())
    }

    /// Reads the store again and publishes what changed; when this returns, it serves.
    pub async fn reload(&self) -> Result<(), StoreError> {
        let closed = || StoreError::Unavailable { reason: "the writer has stopped".to_owned() };
        let (reply, answer) = oneshot::channel();
        self.inbox.send(Message::Reload(reply)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// The plugins of the dialect.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Carries a write out: when this returns, it is durable and serves, or nothing happened.
    pub(crate) async fn write(&self, write: Write) -> Answer {
        let closed = || Answer::message(StatusCode::SERVICE_UNAVAILABLE, "the gate is shutting down");
        let (reply, answer) = oneshot::channel();
        if self.inbox.send(Message::Write(Box::new(write), reply)).await.is_err() {
            return closed();
        }
        answer.await.unwrap_or_else(|_| closed())
    }

    /// Makes the entities what a declarative configuration says, all at once or not at all.
    pub(crate) async fn replace(&self, declaration: Declaration, hash: String) -> Answer {
        let closed = || Answer::message(StatusCode::SERVICE_UNAVAILABLE, "the gate is shutting down");
        let (reply, answer) = oneshot::channel();
        if self.inbox.send(Message::Replace(Box::new(declaration), reply)).await.is_err() {
            return closed();
        }
        let answer = answer.await.unwrap_or_else(|_| closed());
        if answer.status == StatusCode::CREATED {
            let revision = self.read().revision;
            *self.declared.lock().unwrap_or_else(PoisonError::into_inner) = Some((hash, revision));
        }
        answer
    }

    /// Makes the entities what the text of a declarative file says.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in one line.
    pub async fn declare(&self, text: &[u8]) -> Result<(), String> {
        let mut document = base::yaml::parse(text).map_err(|why| why.to_string())?;
        whole_numbers(&mut document);
        let declaration = Declaration::read(document, false);
        let answer = match declaration {
            Ok(declaration) => self.replace(declaration, digest(text)).await,
            Err(wrong) => Answer::invalid_declaration(wrong),
        };
        match answer.status {
            StatusCode::CREATED => Ok(()),
            _ => Err(answer.body.get("message").and_then(Value::as_str).unwrap_or_default().to_owned()),
        }
    }

    /// Whether the entities are still what a declarative configuration with this digest made them.
    pub(crate) fn is_current(&self, hash: &str) -> bool {
        let declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        declared.as_ref().is_some_and(|(known, revision)| known == hash && *revision == self.read().revision)
    }

    /// An entity as an administrator (with `secrets`) or a viewer may see it.
    pub(crate) fn show(&self, catalog: &Catalog, entity: &Entity, secrets: bool) -> Value {
        let shown = self.sealer.show(&self.registry, entity.kind, &entity.id, &entity.value, secrets);
        if entity.kind == Kind::Certificate { with_snis(catalog, shown, None) } else { shown }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The digest of the declarative configuration that was taken last.
    pub(crate) fn declared_hash(&self) -> Option<String> {
        let declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        declared.as_ref().map(|(hash, _)| hash.clone())
    }

    pub(crate) fn providers(&self) -> &Providers {
        &self.providers
    }

    /// Throws away what is kept of answers of providers.
    pub(crate) fn clear_cache(&self) {
        self.tokens.clear();
    }

    pub(crate) fn own_keys(&self) -> &OwnKeys {
        &self.own_keys
    }

    /// What outlives a snapshot in the engine.
    pub(crate) fn live(&self) -> &Live {
        &self.live
    }

    pub(crate) fn node_id(&self) -> &str {
        &self.node_id
    }

    /// Entities of this dialect that cannot be used, and why.
    pub(crate) fn broken(&self) -> Vec<(String, String)> {
        self.publisher.current().broken.clone()
    }

    /// Whether the store answers.
    pub(crate) async fn is_reachable(&self) -> bool {
        self.store.get(PREFIX).await.is_ok()
    }
}

impl fmt::Debug for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialect").field("revision", &self.read().revision).finish_non_exhaustive()
    }
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
