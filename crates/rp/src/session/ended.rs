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

use super::{Lifetimes, Mark, Realm, Session, SessionId, SessionSpan};

/// Ended sessions that are remembered for one realm.
const CAPACITY: usize = 50_000;
/// The end of a mark is remembered for a day at least: sessions may have begun under rules that were longer.
const LEAST_KEPT: Duration = Duration::from_secs(86_400);
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

/// When a session began, or until when those of a mark did; which; and when its line may go.
type ByAge = BTreeMap<(UnixMillis, Which), UnixMillis>;

/// What one line of a realm is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Which {
    Session(SessionId),
    Mark(Mark),
}

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
    /// Every session with this mark that began by then: the provider ended its own session, or all of a user.
    Marked {
        /// The mark, hexadecimal.
        mark: String,
        /// Unix milliseconds.
        before: i64,
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
    /// By mark: every session of it that began by then has ended.
    marks: [ArcSwap<HashMap<Mark, UnixMillis>>; SHARDS],
    /// Every session of the realm that began by then has ended.
    floors: ArcSwap<HashMap<Realm, UnixMillis>>,
    /// The owner: what is in the shards, by realm and age.
    lines: Mutex<HashMap<Realm, ByAge>>,
    /// How long sessions of a realm live at most, by all that was configured since the process began.
    longest: Mutex<HashMap<Realm, Duration>>,
    store: Arc<dyn EndedStore>,
    capacity: usize,
}

impl EndedSessions {
    /// The record as the store has it. `loaded` are all its lines.
    pub fn new(store: Arc<dyn EndedStore>, loaded: impl IntoIterator<Item = EndedRecord>) -> Self {
        let ended = Self {
            shards: std::array::from_fn(|_| ArcSwap::default()),
            marks: std::array::from_fn(|_| ArcSwap::default()),
            floors: ArcSwap::default(),
            lines: Mutex::default(),
            longest: Mutex::default(),
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
                    self.insert(realm, Which::Session(id), UnixMillis(*created), UnixMillis(record.until));
                }
            }
            Ended::Marked { mark, before } => {
                if let Some(mark) = unhex(mark).map(Mark) {
                    self.insert(realm, Which::Mark(mark), UnixMillis(*before), UnixMillis(record.until));
                }
            }
        }
    }

    /// Whether `session` of `realm` has ended.
    pub fn contains(&self, realm: Realm, session: &Session) -> bool {
        let is_past = |mark: &Mark| {
            of(&self.marks, &mark.0).load().get(mark).is_some_and(|before| session.created <= *before)
        };
        of(&self.shards, &session.id).load().contains_key(&session.id)
            || session.marks.iter().any(|mark| is_past(&mark))
            || self.floors.load().get(&realm).is_some_and(|floor| session.created <= *floor)
    }

    /// Ends `session` of `realm`. It counts at once; when the future is done it is durable, until the session would
    /// have ended by itself.
    ///
    /// # Errors
    ///
    /// When the store cannot keep it: it then holds in this process alone, and the logout must not be called done.
    pub async fn end(&self, realm: Realm, span: SessionSpan, now: UnixMillis) -> Result<(), EndedError> {
        let ended = Ended::Session { id: hex(&span.id), created: span.created.0 };
        self.insert(realm, Which::Session(span.id), span.created, span.ends);
        self.keep(realm, ended, span.ends, now).await
    }

    /// Ends every session of `realm` with `mark` that began by `now`. As [`EndedSessions::end`]; it is kept until
    /// `until`, when the last of them would have ended by itself.
    ///
    /// # Errors
    ///
    /// As [`EndedSessions::end`].
    pub async fn end_marked(
        &self,
        realm: Realm,
        mark: Mark,
        until: UnixMillis,
        now: UnixMillis,
    ) -> Result<(), EndedError> {
        self.insert(realm, Which::Mark(mark), now, until);
        self.keep(realm, Ended::Marked { mark: hex(&mark.0), before: now.0 }, until, now).await
    }

    /// Says how long sessions live on one of the routes of `realm`.
    pub fn expect_lifetimes(&self, realm: Realm, lifetimes: &Lifetimes) {
        let longest = lifetimes.last_moment(UnixMillis(0)).since(UnixMillis(0)).max(LEAST_KEPT);
        let mut all = self.longest.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(realm).and_modify(|known| *known = longest.max(*known)).or_insert(longest);
    }

    /// When the last session of `realm` that began by `now` has ended by itself.
    pub fn last_moment(&self, realm: Realm, now: UnixMillis) -> UnixMillis {
        let all = self.longest.lock().unwrap_or_else(PoisonError::into_inner);
        now + all.get(&realm).copied().unwrap_or(LEAST_KEPT)
    }

    async fn keep(
        &self,
        realm: Realm,
        ended: Ended,
        until: UnixMillis,
        now: UnixMillis,
    ) -> Result<(), EndedError> {
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
        for ((time, which), _) in &dropped {
            self.remove(*which, *time);
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
        let keys = dropped.iter().map(|((_, which), _)| which.key(realm)).collect();
        if let Err(error) = self.store.forget(keys).await {
            tracing::warn!(%error, "lines of ended sessions stay in the store");
        }
        Ok(())
    }

    fn insert(&self, realm: Realm, which: Which, time: UnixMillis, until: UnixMillis) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let of_realm = lines.entry(realm).or_default();
        match which {
            Which::Session(id) => change(of(&self.shards, &id), |shard| shard.insert(id, until)),
            Which::Mark(mark) => {
                // A later end of the same mark takes the place of the earlier one.
                let before = of(&self.marks, &mark.0).load().get(&mark).copied();
                if let Some(before) = before {
                    of_realm.remove(&(before, which));
                }
                let time = before.map_or(time, |before| before.max(time));
                change(of(&self.marks, &mark.0), |marks| marks.insert(mark, time));
            }
        }
        of_realm.insert((time, which), until);
    }

    fn remove(&self, which: Which, time: UnixMillis) {
        match which {
            Which::Session(id) => change(of(&self.shards, &id), |shard| shard.remove(&id)),
            Which::Mark(mark) => change(of(&self.marks, &mark.0), |marks| {
                // Unless it was ended again meanwhile.
                (marks.get(&mark) == Some(&time)).then(|| marks.remove(&mark)).flatten()
            }),
        }
    }

    fn raise(&self, realm: Realm, created: UnixMillis) {
        self.floors.rcu(|floors| {
            let mut floors = HashMap::clone(floors);
            let floor = floors.entry(realm).or_insert(created);
            *floor = created.max(*floor);
            floors
        });
    }
}

/// Changes a copy, so that reading needs no lock.
fn change<K: Clone>(
    shard: &ArcSwap<HashMap<K, UnixMillis>>,
    change: impl Fn(&mut HashMap<K, UnixMillis>) -> Option<UnixMillis>,
) {
    shard.rcu(|shard| {
        let mut shard = HashMap::clone(shard);
        change(&mut shard);
        shard
    });
}

/// The shard of what has these bytes. They are random, or a digest, so any one spreads them.
fn of<'s, T>(shards: &'s [T; SHARDS], bytes: &[u8; 16]) -> &'s T {
    let [first, ..] = bytes;
    let [any, ..] = shards;
    shards.get(usize::from(*first) % SHARDS).unwrap_or(any)
}

impl Which {
    fn key(self, realm: Realm) -> String {
        match self {
            Self::Session(id) => format!("{}/{}", hex(&realm.0), hex(&id)),
            Self::Mark(mark) => format!("{}/mark-{}", hex(&realm.0), hex(&mark.0)),
        }
    }
}

impl EndedRecord {
    /// Its name in the store: letters, digits, hyphens and slashes; two lines about the same have the same.
    pub fn key(&self) -> String {
        match &self.ended {
            Ended::Session { id, .. } => format!("{}/{id}", self.realm),
            Ended::Marked { mark, .. } => format!("{}/mark-{mark}", self.realm),
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
        block_on(ended.end(REALM, gone.span(), UnixMillis(5))).unwrap();
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
        assert!(block_on(ended.end(REALM, numbered(1).span(), UnixMillis(5))).is_err());
        assert!(ended.contains(REALM, &numbered(1)));
    }

    #[test]
    fn a_line_goes_when_its_session_could_not_live_any_more() {
        let store = Arc::new(Memory::default());
        let ended = EndedSessions::new(store.clone(), []);
        let until = |number, ends| Session { ends: UnixMillis(ends), ..numbered(number) };
        block_on(ended.end(REALM, until(1, 100).span(), UnixMillis(5))).unwrap();
        block_on(ended.end(REALM, until(2, 200).span(), UnixMillis(100))).unwrap();
        assert!(!ended.contains(REALM, &numbered(1)));
        assert!(ended.contains(REALM, &numbered(2)));
        assert_eq!(store.lines.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_store_that_fails_makes_the_record_no_larger_and_no_shorter() {
        let store = Arc::new(Memory::default());
        let ended = EndedSessions { capacity: 10, ..EndedSessions::new(store.clone(), []) };
        (1..=10).for_each(|n| block_on(ended.end(REALM, numbered(n).span(), UnixMillis(5))).unwrap());
        store.broken.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(block_on(ended.end(REALM, numbered(11).span(), UnixMillis(5))).is_err());
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
        (10..=20).for_each(|n| block_on(ended.end(REALM, numbered(n).span(), UnixMillis(5))).unwrap());
        assert!((0..=20).all(|n| ended.contains(REALM, &numbered(n)) == (n <= 15 || n >= 16)));
        assert!(ended.contains(REALM, &numbered(9)), "older than the oldest that was dropped");
        assert!(!ended.contains(REALM, &numbered(21)));
        assert!(!ended.contains(Realm([2; 16]), &numbered(9)), "another realm is not touched");
        assert_eq!(store.lines.lock().unwrap().len(), 6);
        let loaded: Vec<_> = store.lines.lock().unwrap().values().cloned().collect();
        let restarted = EndedSessions::new(store, loaded);
        assert!((0..=20).all(|n| restarted.contains(REALM, &numbered(n))));
    }

    fn marked(number: u8, subject: u8, sid: Option<u8>) -> Session {
        let sid = sid.map(|sid| Mark([sid; 16]));
        let marks = super::super::Marks { subject: Mark([subject; 16]), sid, both: None };
        Session { marks, ..numbered(number) }
    }

    #[test]
    fn r20_a_mark_ends_exactly_the_sessions_that_have_it_and_began_by_then_also_over_a_restart() {
        let store = Arc::new(Memory::default());
        let ended = EndedSessions::new(store.clone(), []);
        let (one, two) = (marked(1, 50, Some(60)), marked(2, 50, Some(61)));
        let (later, other, plain) = (marked(9, 50, Some(60)), marked(3, 51, None), marked(4, 50, None));
        block_on(ended.end_marked(REALM, Mark([60; 16]), UnixMillis(10_000), UnixMillis(5))).unwrap();
        let dead =
            |ended: &EndedSessions| [&one, &two, &later, &other, &plain].map(|it| ended.contains(REALM, it));
        assert_eq!(dead(&ended), [true, false, false, false, false]);
        block_on(ended.end_marked(REALM, Mark([50; 16]), UnixMillis(10_000), UnixMillis(6))).unwrap();
        assert_eq!(dead(&ended), [true, true, false, false, true]);
        let loaded: Vec<_> = store.lines.lock().unwrap().values().cloned().collect();
        let restarted = EndedSessions::new(store.clone(), loaded);
        assert_eq!(dead(&restarted), [true, true, false, false, true]);
        block_on(restarted.end_marked(REALM, Mark([50; 16]), UnixMillis(20_000), UnixMillis(9))).unwrap();
        assert_eq!(dead(&restarted), [true, true, true, false, true]);
        assert_eq!(
            store.lines.lock().unwrap().len(),
            2,
            "the later end of a mark takes the earlier one's place"
        );
        block_on(restarted.end(REALM, marked(10, 1, None).span(), UnixMillis(10_000))).unwrap();
        assert!(!restarted.marks.iter().any(|marks| marks.load().contains_key(&Mark([60; 16]))));
        assert!(restarted.contains(REALM, &later), "a line goes when nothing it ends could live any more");
    }
}
