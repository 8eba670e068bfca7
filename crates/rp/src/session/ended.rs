use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use base::UnixMillis;
use serde::{Deserialize, Serialize};

use super::{Realm, Session, SessionId};

/// Ended sessions that are remembered for one realm.
const CAPACITY: usize = 50_000;
/// A change copies one shard, so that reading needs no lock.
const SHARDS: usize = 64;

/// Where the record of ended sessions is kept: durable, shared by the nodes that serve the same routes. The binary
/// implements it over its store.
pub trait EndedStore: Send + Sync {
    /// Keeps `record`, under its [key](EndedRecord::key), until [its end](EndedRecord::until) at least. When the
    /// future is done, it is durable.
    fn save(&self, record: EndedRecord) -> Saved;

    /// Drops records that are no longer needed. Best effort.
    fn forget(&self, keys: Vec<String>) -> Saved;
}

/// When a session began, and which; and when its line may go.
type ByAge = BTreeMap<(UnixMillis, SessionId), UnixMillis>;

/// Future of an [`EndedStore`].
pub type Saved = Pin<Box<dyn Future<Output = Result<(), EndedError>> + Send>>;

/// The record of ended sessions could not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the end of a session could not be recorded: {0}")]
pub struct EndedError(pub String);

/// One line of the record, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedRecord {
    /// Provider and client, hexadecimal.
    pub realm: String,
    /// What ended.
    pub ended: Ended,
    /// When the line may go: nothing it ends could be valid any more.
    pub until: i64,
}

/// What a line of the record ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// One session.
    Session {
        /// Its id, hexadecimal.
        id: String,
        /// When it began, Unix milliseconds.
        created: i64,
    },
    /// Every session that began by then, Unix milliseconds.
    Before(i64),
}

/// The sessions that have ended, for the whole process. Reading takes no lock; ending one is durable before it is
/// answered.
///
/// For each realm it is bounded: when it is full, the older half of its lines is replaced by one that ends every
/// session of the realm that began no later. The record itself never forgets.
pub struct EndedSessions {
    shards: [ArcSwap<HashMap<SessionId, UnixMillis>>; SHARDS],
    /// Every session of the realm that began by then has ended.
    floors: ArcSwap<HashMap<Realm, UnixMillis>>,
    /// The owner: what is in the shards, by realm and age.
    lines: Mutex<HashMap<Realm, ByAge>>,
    store: Arc<dyn EndedStore>,
    capacity: usize,
}

impl EndedSessions {
    /// The record as the store has it. `loaded` are all its lines.
    pub fn new(store: Arc<dyn EndedStore>, loaded: impl IntoIterator<Item = EndedRecord>) -> Self {
        let ended = Self {
            shards: std::array::from_fn(|_| ArcSwap::default()),
            floors: ArcSwap::default(),
            lines: Mutex::default(),
            store,
            capacity: CAPACITY,
        };
        loaded.into_iter().for_each(|record| ended.apply(&record));
        ended
    }

    /// Takes in a line that another node wrote.
    pub fn apply(&self, record: &EndedRecord) {
        let Some(realm) = unhex(&record.realm).map(Realm) else { return };
        match &record.ended {
            Ended::Before(created) => self.raise(realm, UnixMillis(*created)),
            Ended::Session { id, created } => {
                if let Some(id) = unhex(id) {
                    self.insert(realm, id, UnixMillis(*created), UnixMillis(record.until));
                }
            }
        }
    }

    /// Whether `session` of `realm` has ended.
    pub fn contains(&self, realm: Realm, session: &Session) -> bool {
        self.shard(&session.id).load().contains_key(&session.id)
            || self.floors.load().get(&realm).is_some_and(|floor| session.created <= *floor)
    }

    /// Ends `session` of `realm`. It counts at once; when the future is done it is durable, until the session would
    /// have ended by itself.
    ///
    /// # Errors
    ///
    /// When the store cannot keep it: it then holds in this process alone, and the logout must not be called done.
    pub async fn end(&self, realm: Realm, session: &Session, now: UnixMillis) -> Result<(), EndedError> {
        let until = session.ends;
        self.insert(realm, session.id, session.created, until);
        let ended = Ended::Session { id: hex(&session.id), created: session.created.0 };
        let saved = self.store.save(EndedRecord { realm: hex(&realm.0), ended, until: until.0 }).await;
        // Also where the store fails: what is held in memory stays bounded then, too.
        let tidied = self.tidy(realm, now).await;
        saved.and(tidied)
    }

    /// Takes out what can no longer matter, and makes room.
    async fn tidy(&self, realm: Realm, now: UnixMillis) -> Result<(), EndedError> {
        let (dropped, floor) = {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(of_realm) = lines.get_mut(&realm) else { return Ok(()) };
            let mut dropped = Vec::new();
            while let Some(first) = of_realm.first_entry().filter(|first| *first.get() <= now) {
                dropped.push(first.remove_entry());
            }
            let full = of_realm.len() > self.capacity;
            let mut floor = None;
            while full && of_realm.len() > self.capacity / 2 {
                let Some(line) = of_realm.pop_first() else { break };
                floor = Some(line.0.0);
                dropped.push(line);
            }
            (dropped, floor)
        };
        if let Some(created) = floor {
            self.raise(realm, created);
        }
        for ((_, id), _) in &dropped {
            self.change(id, |shard| {
                shard.remove(id);
            });
        }
        if let Some(created) = floor {
            // Nothing that it ends can be younger than what is already dropped, so the latest end is long enough.
            let until =
                dropped.iter().map(|(_, until)| *until).max().unwrap_or(now) + Duration::from_secs(86_400);
            let ended = Ended::Before(created.0);
            self.store.save(EndedRecord { realm: hex(&realm.0), ended, until: until.0 }).await?;
        }
        if dropped.is_empty() {
            return Ok(());
        }
        // What stays behind in the store costs space, not safety.
        let keys = dropped.iter().map(|((_, id), _)| key(realm, &hex(id))).collect();
        if let Err(error) = self.store.forget(keys).await {
            tracing::warn!(%error, "lines of ended sessions stay in the store");
        }
        Ok(())
    }

    fn insert(&self, realm: Realm, id: SessionId, created: UnixMillis, until: UnixMillis) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.entry(realm).or_default().insert((created, id), until);
        self.change(&id, |shard| {
            shard.insert(id, until);
        });
    }

    fn raise(&self, realm: Realm, created: UnixMillis) {
        self.floors.rcu(|floors| {
            let mut floors = HashMap::clone(floors);
            let floor = floors.entry(realm).or_insert(created);
            *floor = created.max(*floor);
            floors
        });
    }

    fn change(&self, id: &SessionId, change: impl Fn(&mut HashMap<SessionId, UnixMillis>)) {
        self.shard(id).rcu(|shard| {
            let mut shard = HashMap::clone(shard);
            change(&mut shard);
            shard
        });
    }

    fn shard(&self, id: &SessionId) -> &ArcSwap<HashMap<SessionId, UnixMillis>> {
        // Ids are random, so any byte spreads them.
        let [first, ..] = id;
        let [any, ..] = &self.shards;
        self.shards.get(usize::from(*first) % SHARDS).unwrap_or(any)
    }
}

impl EndedRecord {
    /// Its name in the store: letters, digits and slashes; two lines about the same have the same.
    pub fn key(&self) -> String {
        match &self.ended {
            Ended::Session { id, .. } => format!("{}/{id}", self.realm),
            Ended::Before(_) => format!("{}/before", self.realm),
        }
    }
}

impl fmt::Debug for EndedSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count: usize = self.shards.iter().map(|shard| shard.load().len()).sum();
        write!(f, "EndedSessions({count})")
    }
}

fn key(realm: Realm, id: &str) -> String {
    format!("{}/{id}", hex(&realm.0))
}

fn hex(bytes: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*bytes))
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    let plain = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u128::from_str_radix(text, 16).ok()).flatten().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::{super::content::tests::session, *};

    /// A store in memory; it fails while `broken`.
    #[derive(Default)]
    struct Memory {
        lines: Mutex<BTreeMap<String, EndedRecord>>,
        broken: std::sync::atomic::AtomicBool,
    }

    impl EndedStore for Memory {
        fn save(&self, record: EndedRecord) -> Saved {
            let broken = self.broken.load(std::sync::atomic::Ordering::Relaxed);
            if !broken {
                self.lines.lock().unwrap().insert(record.key(), record);
            }
            Box::pin(async move { if broken { Err(EndedError("disk full".to_owned())) } else { Ok(()) } })
        }

        fn forget(&self, keys: Vec<String>) -> Saved {
            let mut lines = self.lines.lock().unwrap();
            lines.retain(|key, _| !keys.contains(key));
            Box::pin(async { Ok(()) })
        }
    }

    const REALM: Realm = Realm([1; 16]);

    fn numbered(number: u8) -> Session {
        let ends = UnixMillis(10_000);
        Session { id: [number; 16], created: UnixMillis(i64::from(number)), ends, ..session() }
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn r25_an_ended_session_stays_ended_over_a_restart() {
        let store = Arc::new(Memory::default());
        let ended = EndedSessions::new(store.clone(), []);
        let (gone, alive) = (numbered(1), numbered(2));
        block_on(ended.end(REALM, &gone, UnixMillis(5))).unwrap();
        assert!(ended.contains(REALM, &gone));
        assert!(!ended.contains(REALM, &alive));
        let loaded: Vec<_> = store.lines.lock().unwrap().values().cloned().collect();
        let restarted = EndedSessions::new(store, loaded);
        assert!(restarted.contains(REALM, &gone));
        assert!(!restarted.contains(REALM, &alive));
    }

    #[test]
    fn a_logout_that_cannot_be_recorded_is_an_error_and_counts_here_all_the_same() {
        let store = Arc::new(Memory::default());
        store.broken.store(true, std::sync::atomic::Ordering::Relaxed);
        let ended = EndedSessions::new(store, []);
        assert!(block_on(ended.end(REALM, &numbered(1), UnixMillis(5))).is_err());
        assert!(ended.contains(REALM, &numbered(1)));
    }

    #[test]
    fn a_line_goes_when_its_session_could_not_live_any_more() {
        let store = Arc::new(Memory::default());
        let ended = EndedSessions::new(store.clone(), []);
        let until = |number, ends| Session { ends: UnixMillis(ends), ..numbered(number) };
        block_on(ended.end(REALM, &until(1, 100), UnixMillis(5))).unwrap();
        block_on(ended.end(REALM, &until(2, 200), UnixMillis(100))).unwrap();
        assert!(!ended.contains(REALM, &numbered(1)));
        assert!(ended.contains(REALM, &numbered(2)));
        assert_eq!(store.lines.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_store_that_fails_makes_the_record_no_larger_and_no_shorter() {
        let store = Arc::new(Memory::default());
        let ended = EndedSessions { capacity: 10, ..EndedSessions::new(store.clone(), []) };
        (1..=10).for_each(|n| block_on(ended.end(REALM, &numbered(n), UnixMillis(5))).unwrap());
        store.broken.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(block_on(ended.end(REALM, &numbered(11), UnixMillis(5))).is_err());
        let held: usize = ended.shards.iter().map(|shard| shard.load().len()).sum();
        assert_eq!((ended.lines.lock().unwrap()[&REALM].len(), held), (5, 5));
        assert!((1..=11).all(|n| ended.contains(REALM, &numbered(n))));
        let loaded: Vec<_> = store.lines.lock().unwrap().values().cloned().collect();
        let restarted = EndedSessions::new(store, loaded);
        assert!((1..=10).all(|n| restarted.contains(REALM, &numbered(n))));
    }

    #[test]
    fn a_full_record_ends_the_oldest_sessions_and_forgets_none() {
        let store = Arc::new(Memory::default());
        let ended = EndedSessions { capacity: 10, ..EndedSessions::new(store.clone(), []) };
        (10..=20).for_each(|n| block_on(ended.end(REALM, &numbered(n), UnixMillis(5))).unwrap());
        assert!((0..=20).all(|n| ended.contains(REALM, &numbered(n)) == (n <= 15 || n >= 16)));
        assert!(ended.contains(REALM, &numbered(9)), "older than the oldest that was dropped");
        assert!(!ended.contains(REALM, &numbered(21)));
        assert!(!ended.contains(Realm([2; 16]), &numbered(9)), "another realm is not touched");
        assert_eq!(store.lines.lock().unwrap().len(), 6);
        let loaded: Vec<_> = store.lines.lock().unwrap().values().cloned().collect();
        let restarted = EndedSessions::new(store, loaded);
        assert!((0..=20).all(|n| restarted.contains(REALM, &numbered(n))));
    }
}
