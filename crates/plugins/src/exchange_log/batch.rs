//! A bounded queue of entries, and the task that sends them in batches.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::mpsc::{Receiver, Sender, channel},
    time::{Instant, sleep, timeout_at},
};

use super::Sink;

/// Bytes of entries that may wait, beside their number.
const MAX_BYTES: usize = 16 << 20;

/// How entries are sent together.
#[derive(Clone, Copy, Debug)]
pub struct Batches {
    /// At most so many.
    pub most: usize,
    /// When for so long none came, what is there is sent.
    pub idle: Duration,
    /// The first of a batch waits no longer than this.
    pub oldest: Duration,
    /// A batch that could not be sent is sent again so often.
    pub retries: u32,
    /// So long after that.
    pub retry_delay: Duration,
    /// So many entries may wait; more are left out.
    pub waiting: usize,
}

/// What became of the entries of all logs of one name.
#[derive(Debug, Default)]
pub struct Counts {
    /// Sent.
    pub sent: AtomicU64,
    /// Left out, because the queue was full.
    pub dropped: AtomicU64,
    /// Given up, because they could not be sent.
    pub failed: AtomicU64,
}

static COUNTS: Mutex<BTreeMap<&'static str, Arc<Counts>>> = Mutex::new(BTreeMap::new());

/// The counts of every log, by name.
pub fn counts() -> Vec<(&'static str, Arc<Counts>)> {
    let counts = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    counts.iter().map(|(name, counts)| (*name, Arc::clone(counts))).collect()
}

fn counts_of(name: &'static str) -> Arc<Counts> {
    let mut counts = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(counts.entry(name).or_default())
}

/// The cores' end.
pub(super) struct Queue {
    /// What the task begins with, and the queue once it runs: a configuration that is only tried starts none.
    seed: Mutex<Option<Worker>>,
    sender: OnceLock<Sender<Box<str>>>,
    runtime: Handle,
    waiting: usize,
    counts: Arc<Counts>,
    bytes: Arc<AtomicUsize>,
}

/// The task.
struct Worker {
    name: &'static str,
    sink: Sink,
    batches: Batches,
    counts: Arc<Counts>,
    bytes: Arc<AtomicUsize>,
}

impl Queue {
    pub(super) fn new(name: &'static str, batches: Batches, sink: Sink, runtime: Handle) -> Self {
        let (counts, bytes) = (counts_of(name), Arc::new(AtomicUsize::new(0)));
        let worker = Worker { name, sink, batches, counts: Arc::clone(&counts), bytes: Arc::clone(&bytes) };
        Self {
            seed: Mutex::new(Some(worker)),
            sender: OnceLock::new(),
            runtime,
            waiting: batches.waiting.max(1),
            counts,
            bytes,
        }
    }

    /// Whether an entry would be taken; one that would not is counted.
    pub(super) fn has_room(&self) -> bool {
        let room = self.bytes.load(Ordering::Relaxed) < MAX_BYTES && self.sender().capacity() > 0;
        if !room {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
        room
    }

    /// Takes an entry, if there is room.
    pub(super) fn push(&self, entry: String) {
        let length = entry.len();
        self.bytes.fetch_add(length, Ordering::Relaxed);
        if self.sender().try_send(entry.into_boxed_str()).is_err() {
            self.bytes.fetch_sub(length, Ordering::Relaxed);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn sender(&self) -> &Sender<Box<str>> {
        self.sender.get_or_init(|| {
            let (sender, receiver) = channel(self.waiting);
            let worker = self.seed.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(worker) = worker {
                self.runtime.spawn(worker.run(receiver));
            }
            sender
        })
    }
}

impl Worker {
    /// Ends, with everything sent that can be, when the plugin is gone.
    async fn run(self, mut receiver: Receiver<Box<str>>) {
        let most = self.batches.most.max(1);
        let mut batch = Vec::new();
        while let Some(first) = receiver.recv().await {
            batch.push(first);
            let end = Instant::now() + self.batches.oldest;
            while batch.len() < most {
                let patience = end.min(Instant::now() + self.batches.idle);
                match timeout_at(patience, receiver.recv()).await {
                    Ok(Some(next)) => batch.push(next),
                    Ok(None) | Err(_) => break,
                }
            }
            self.send(&batch).await;
            let bytes = batch.iter().map(|entry| entry.len()).sum();
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            batch.clear();
        }
    }

    async fn send(&self, batch: &[Box<str>]) {
        let count = batch.len() as u64;
        for again in 0..=self.batches.retries {
            if again > 0 {
                sleep(self.batches.retry_delay).await;
            }
            match self.sink.send(batch).await {
                Ok(()) => {
                    self.counts.sent.fetch_add(count, Ordering::Relaxed);
                    return;
                }
                Err(error) => {
                    tracing::warn!(log = self.name, entries = count, %error, "a batch was not taken")
                }
            }
        }
        self.counts.failed.fetch_add(count, Ordering::Relaxed);
    }
}
