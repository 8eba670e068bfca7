use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::{Event, StoreError};

/// Events that are kept for watchers that lag, and the bytes their keys and values may take.
const MAX_EVENTS: usize = 8192;
const MAX_BYTES: usize = 16 << 20;

/// The changes of a prefix, in order and without gaps. Made by [`crate::Store::watch`].
#[derive(Debug)]
pub struct Watch {
    history: Arc<History>,
    newest: watch::Receiver<u64>,
    prefix: String,
    seen: u64,
}

impl Watch {
    /// Waits for the next changes and gives all there are by then: whole revisions, in order, at least one event.
    ///
    /// [`StoreError::Compacted`] when the watcher lagged so far that changes were dropped, or the store went back to
    /// an older state; [`StoreError::Unavailable`] when the store was closed. Safe to cancel: nothing is lost.
    pub async fn next(&mut self) -> Result<Vec<Event>, StoreError> {
        loop {
            let newest = *self.newest.borrow_and_update();
            let events = self.history.after(self.seen, &self.prefix)?;
            // The history may have grown since `newest` was read.
            self.seen = events.last().map_or(newest, |last| newest.max(last.revision()));
            if !events.is_empty() {
                return Ok(events);
            }
            if self.newest.changed().await.is_err() {
                return Err(StoreError::Unavailable { reason: "the store was closed".to_owned() });
            }
        }
    }

    /// The newest revision that this watch has reported or passed over.
    pub const fn revision(&self) -> u64 {
        self.seen
    }
}

/// The latest changes, kept in memory: a watcher that needs older ones reloads everything, so they need no disk.
#[derive(Debug)]
pub(crate) struct History {
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    events: VecDeque<Event>,
    bytes: usize,
    /// The newest revision of which events were dropped.
    compacted: u64,
    newest: u64,
    /// `None` once the store is closed, which wakes every watcher.
    signal: Option<watch::Sender<u64>>,
}

impl History {
    /// The history of a store that is now at `revision` and knows nothing older.
    pub(crate) fn starting_at(revision: u64) -> Arc<Self> {
        Arc::new(Self {
            kept: Mutex::new(Kept {
                events: VecDeque::new(),
                bytes: 0,
                compacted: revision,
                newest: revision,
                signal: Some(watch::Sender::new(revision)),
            }),
        })
    }

    /// Adds the events of whole revisions up to `revision` and wakes the watchers.
    pub(crate) fn publish(&self, events: Vec<Event>, revision: u64) {
        let mut kept = self.lock();
        kept.bytes += events.iter().map(weight).sum::<usize>();
        kept.events.extend(events);
        kept.newest = revision;
        while kept.events.len() > MAX_EVENTS || kept.bytes > MAX_BYTES {
            let Some(oldest) = kept.events.pop_front() else { break };
            kept.bytes -= weight(&oldest);
            kept.compacted = oldest.revision();
        }
        if let Some(signal) = &kept.signal {
            signal.send_replace(revision);
        }
    }

    /// Forgets everything: the store is at `revision`, and how it came there is not known.
    pub(crate) fn restart_at(&self, revision: u64) {
        let mut kept = self.lock();
        kept.events.clear();
        kept.bytes = 0;
        kept.compacted = revision;
        kept.newest = revision;
        if let Some(signal) = &kept.signal {
            signal.send_replace(revision);
        }
    }

    pub(crate) fn watch(self: &Arc<Self>, prefix: &str, after: u64) -> Result<Watch, StoreError> {
        let kept = self.lock();
        kept.reaches(after)?;
        let Some(signal) = &kept.signal else {
            return Err(StoreError::Unavailable { reason: "the store was closed".to_owned() });
        };
        Ok(Watch {
            history: Arc::clone(self),
            newest: signal.subscribe(),
            prefix: prefix.to_owned(),
            seen: after,
        })
    }

    /// The newest revision published.
    pub(crate) fn newest(&self) -> u64 {
        self.lock().newest
    }

    pub(crate) fn close(&self) {
        self.lock().signal = None;
    }

    fn after(&self, seen: u64, prefix: &str) -> Result<Vec<Event>, StoreError> {
        let kept = self.lock();
        kept.reaches(seen)?;
        let from = kept.events.partition_point(|event| event.revision() <= seen);
        Ok(kept.events.range(from..).filter(|event| event.key().starts_with(prefix)).cloned().collect())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // No code that holds the lock can panic half-way through a change.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// A revision from the future belongs to another store's life, for instance before a restore.
    fn reaches(&self, after: u64) -> Result<(), StoreError> {
        if after < self.compacted || after > self.newest {
            return Err(StoreError::Compacted { revision: self.compacted });
        }
        Ok(())
    }
}

fn weight(event: &Event) -> usize {
    match event {
        Event::Put(entry) => entry.key.len() + entry.value.len() + size_of::<Event>(),
        Event::Delete { key, .. } => key.len() + size_of::<Event>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deletion(key: &str, revision: u64) -> Event {
        Event::Delete { key: key.to_owned(), revision }
    }

    #[tokio::test]
    async fn a_watcher_that_lags_too_far_is_told_so() {
        let history = History::starting_at(0);
        let mut watch = history.watch("/", 0).unwrap();
        let last = MAX_EVENTS as u64 + 2;
        for revision in 1..=last {
            history.publish(vec![deletion("/a", revision)], revision);
        }
        assert_eq!(watch.next().await, Err(StoreError::Compacted { revision: 2 }));
        assert!(history.watch("/", 1).is_err());
        assert_eq!(history.watch("/", 2).unwrap().next().await.unwrap().len(), MAX_EVENTS);
    }

    #[tokio::test]
    async fn large_values_are_dropped_before_they_fill_the_memory() {
        let history = History::starting_at(0);
        for revision in 1..=20 {
            history.publish(vec![deletion(&"k".repeat(1 << 20), revision)], revision);
        }
        assert!(history.lock().bytes <= MAX_BYTES);
        assert!(history.watch("", 0).is_err());
    }

    #[tokio::test]
    async fn a_closed_store_wakes_its_watchers() {
        let history = History::starting_at(7);
        let mut watch = history.watch("/", 7).unwrap();
        let waiting = tokio::spawn(async move { watch.next().await });
        tokio::task::yield_now().await;
        history.close();
        assert!(matches!(waiting.await.unwrap(), Err(StoreError::Unavailable { .. })));
    }
}
