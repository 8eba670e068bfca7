use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base::{Clock, UnixMillis};

use crate::{
    Condition, Entry, Event, Fut, Operation, Page, Store, StoreError, Watch, store::check, watch::History,
};

/// Conditions and operations of one transaction, each, unless set otherwise: etcd's default.
const DEFAULT_LIMIT: usize = 128;

/// A store that forgets everything when it is dropped. For tests: it can be told to take small transactions only.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
    history: Arc<History>,
    clock: Clock,
    limit: usize,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<String, Entry>,
    revision: u64,
}

impl MemoryStore {
    /// An empty store that takes transactions of 128 operations, as etcd does.
    pub fn new(clock: Clock) -> Self {
        Self::with_limit(clock, DEFAULT_LIMIT)
    }

    /// An empty store that takes transactions of at most `limit` conditions and `limit` operations.
    pub fn with_limit(clock: Clock, limit: usize) -> Self {
        Self { state: Mutex::default(), history: History::starting_at(0), clock, limit }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn transact(&self, conditions: &[Condition], operations: Vec<Operation>) -> Result<u64, StoreError> {
        check(conditions, &operations, self.limit)?;
        let mut state = self.lock();
        for condition in conditions {
            let found = state.entries.get(condition.key()).map(|entry| entry.modify_revision);
            if !condition.holds(found) {
                return Err(StoreError::Conflict { key: condition.key().to_owned() });
            }
        }
        let now = self.clock.now();
        Ok(state.apply(operations, now, &self.history))
    }
}

impl State {
    fn apply(&mut self, operations: Vec<Operation>, now: UnixMillis, history: &History) -> u64 {
        let revision = self.revision + 1;
        let mut events = Vec::with_capacity(operations.len());
        for operation in operations {
            match operation {
                Operation::Put { key, value, ttl } => {
                    let create_revision =
                        self.entries.get(&key).map_or(revision, |entry| entry.create_revision);
                    let lease_expires = ttl.map(|ttl| now + ttl);
                    let entry =
                        Entry { key, value, create_revision, modify_revision: revision, lease_expires };
                    self.entries.insert(entry.key.clone(), entry.clone());
                    events.push(Event::Put(entry));
                }
                Operation::Delete { key } => {
                    if self.entries.remove(&key).is_some() {
                        events.push(Event::Delete { key, revision });
                    }
                }
            }
        }
        if !events.is_empty() {
            self.revision = revision;
            // Under the state's lock, so that watchers see revisions in order.
            history.publish(events, revision);
        }
        self.revision
    }

    fn page(&self, prefix: &str, after: Option<&str>, limit: usize) -> Page {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut found = self
            .entries
            .range::<str, _>((from, Bound::Unbounded))
            .map(|(_, entry)| entry)
            .take_while(|entry| entry.key.starts_with(prefix));
        let entries: Vec<Entry> = found.by_ref().take(limit).cloned().collect();
        let more = found.next().is_some();
        let next = entries.last().filter(|_| more).map(|entry| entry.key.clone());
        Page { entries, revision: self.revision, next }
    }
}

impl Store for MemoryStore {
    fn get<'a>(&'a self, key: &'a str) -> Fut<'a, Option<Entry>> {
        Box::pin(async move { Ok(self.lock().entries.get(key).cloned()) })
    }

    fn range<'a>(&'a self, prefix: &'a str) -> Fut<'a, (Vec<Entry>, u64)> {
        Box::pin(async move {
            let page = self.lock().page(prefix, None, usize::MAX);
            Ok((page.entries, page.revision))
        })
    }

    fn page<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> Fut<'a, Page> {
        Box::pin(async move { Ok(self.lock().page(prefix, after, limit.max(1))) })
    }

    fn commit(&self, conditions: Vec<Condition>, operations: Vec<Operation>) -> Fut<'_, u64> {
        Box::pin(async move { self.transact(&conditions, operations) })
    }

    fn watch<'a>(&'a self, prefix: &'a str, after_revision: u64) -> Fut<'a, Watch> {
        Box::pin(async move { self.history.watch(prefix, after_revision) })
    }

    fn expire_due(&self) -> Fut<'_, usize> {
        Box::pin(async move {
            let now = self.clock.now();
            let mut state = self.lock();
            let due: Vec<Operation> = state
                .entries
                .values()
                .filter(|entry| entry.lease_expires.is_some_and(|at| at <= now))
                .map(|entry| Operation::Delete { key: entry.key.clone() })
                .collect();
            let count = due.len();
            state.apply(due, now, &self.history);
            Ok(count)
        })
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        self.history.close();
    }
}
