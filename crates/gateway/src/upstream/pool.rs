use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use foldhash::fast::RandomState;
use http::HeaderMap;
use tokio::time::{Instant, timeout};

use super::{
    connect,
    h1::{Connection, KeptTarget},
    h2::Multiplexed,
    live::{Live, Target},
};
use crate::{error::Failure, h1::buffers::Buffers};

/// Names by which one core knows one target at a time. Where clients choose them, the one that was asked for least
/// recently gives way, and its connections with it.
const MAX_NAMES: usize = 64;

/// The connections of one core. They are never shared with another: a socket stays with the reactor that reads it.
#[derive(Clone, Debug)]
pub(crate) struct Pools(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    live: Arc<Live>,
    /// When connections were last swept: all that was put by since counts from then, and no clock is asked.
    swept: Cell<Instant>,
    /// By target id; the last one used is the first one taken, so that spare ones grow old and go.
    #[expect(clippy::vec_box, reason = "every request would move the whole connection in and out")]
    idle: RefCell<HashMap<u64, Vec<Box<Connection>>, RandomState>>,
    multiplexed: RefCell<HashMap<u64, Vec<Multiplexed>, RandomState>>,
    /// TLS targets under other names than their own, by the target's id.
    named: RefCell<HashMap<u64, Named, RandomState>>,
    /// Empty maps for heads.
    spare: RefCell<Vec<HeaderMap>>,
    buffers: Buffers,
}

/// A target under other names than its own.
#[derive(Debug)]
struct Named {
    target: Weak<Target>,
    /// The last one asked for goes first.
    names: Vec<Greeted>,
}

#[derive(Debug)]
struct Greeted {
    name: Box<str>,
    configured: bool,
    target: Arc<Target>,
}

/// Headers that a map has room for from the beginning. Maps go round between requests and answers, and the gate adds up to
/// nine headers of its own: growing a map then would cost two allocations.
const ROOM: usize = 12;
/// Spare maps of one core.
const SPARE: usize = 64;
/// Room of a map that is kept.
const MOST_ROOM: usize = 64;

impl Pools {
    /// Pools of one core.
    pub(crate) fn new(live: Arc<Live>) -> Self {
        Self(Rc::new(Inner {
            live,
            swept: Cell::new(Instant::now()),
            idle: RefCell::default(),
            multiplexed: RefCell::default(),
            named: RefCell::default(),
            spare: RefCell::default(),
            buffers: Buffers::default(),
        }))
    }

    /// `target` under the name, in lower case, that is sent to it as its host; `configured` says that the name is one of
    /// the configuration's. `None`: there is no difference.
    pub(crate) fn greeted(&self, target: &Arc<Target>, name: &str, configured: bool) -> Option<Arc<Target>> {
        let own = target.tls.as_ref().map(|tls| tls.name.to_str());
        if own.is_some_and(|own| own.eq_ignore_ascii_case(name)) {
            return None;
        }
        let mut all = self.0.named.borrow_mut();
        let known = all.get_mut(&target.id).and_then(|known| {
            let is_it = |known: &Greeted| known.configured == configured && &*known.name == name;
            let place = known.names.iter().position(is_it)?;
            known.names.get_mut(..=place)?.rotate_right(1);
            known.names.first()
        });
        if let Some(known) = known {
            return Some(Arc::clone(&known.target));
        }
        let greeted = Arc::new(self.0.live.greeted(target, name, configured)?);
        let names = &mut all
            .entry(target.id)
            .or_insert_with(|| Named { target: Arc::downgrade(target), names: Vec::new() })
            .names;
        if names.len() >= MAX_NAMES
            && let Some(oldest) = names.pop()
        {
            self.retire(&oldest.target);
        }
        names.insert(0, Greeted { name: name.into(), configured, target: Arc::clone(&greeted) });
        Some(greeted)
    }

    /// Closes what is idle of a target that nobody will ask for, and what becomes idle.
    fn retire(&self, target: &Target) {
        target.retired.store(true, Ordering::Relaxed);
        self.0.idle.borrow_mut().remove(&target.id);
        self.0.multiplexed.borrow_mut().remove(&target.id);
    }

    /// An idle connection that its target has not closed. Those that grew old were swept out.
    pub(crate) fn take(&self, target: &Target) -> Option<Box<Connection>> {
        let mut idle = self.0.idle.borrow_mut();
        let kept = idle.get_mut(&target.id)?;
        while let Some(mut connection) = kept.pop() {
            if connection.stream.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    /// A new connection for one exchange at a time.
    pub(crate) async fn connect(
        &self,
        target: &Arc<Target>,
        limit: Duration,
    ) -> Result<Box<Connection>, Failure> {
        let stream = self.open(target, limit).await?;
        let kept = KeptTarget { target: Arc::clone(target), pools: self.clone() };
        Ok(Box::new(Connection::new(stream, Rc::new(kept))))
    }

    /// A connection that carries many exchanges at once; an open one if it takes more.
    pub(crate) async fn multiplexed(
        &self,
        target: &Arc<Target>,
        limit: Duration,
    ) -> Result<Multiplexed, Failure> {
        let open = self
            .0
            .multiplexed
            .borrow()
            .get(&target.id)
            .and_then(|kept| kept.iter().find(|connection| connection.has_room()).cloned());
        if let Some(connection) = open {
            return Ok(connection);
        }
        let stream = self.open(target, limit).await?;
        let connection = Multiplexed::start(stream, target).await?;
        if target.retired.load(Ordering::Relaxed) {
            return Ok(connection);
        }
        let mut multiplexed = self.0.multiplexed.borrow_mut();
        let kept = multiplexed.entry(target.id).or_default();
        kept.retain(|connection| !connection.is_closed());
        kept.push(connection.clone());
        Ok(connection)
    }

    async fn open(&self, target: &Arc<Target>, limit: Duration) -> Result<connect::Stream, Failure> {
        let late = |_| Failure::Timeout { target: target.label.to_string(), what: "connect" };
        timeout(limit, connect::connect(target, &self.0.live.reach, limit)).await.map_err(late)?
    }

    /// The core's memory for reading and writing.
    pub(crate) fn buffers(&self) -> &Buffers {
        &self.0.buffers
    }

    /// An empty map.
    pub(crate) fn spare_headers(&self) -> HeaderMap {
        self.0.spare.borrow_mut().pop().unwrap_or_else(|| HeaderMap::with_capacity(ROOM))
    }

    /// Keeps the memory of a request's headers for an answer's, once nobody asks for them any more.
    pub(crate) fn recycle(&self, mut headers: HeaderMap) {
        let mut spare = self.0.spare.borrow_mut();
        if spare.len() < SPARE && (ROOM..=MOST_ROOM).contains(&headers.capacity()) {
            headers.clear();
            spare.push(headers);
        }
    }

    /// Puts a connection by for the next request.
    pub(super) fn keep(&self, mut connection: Box<Connection>) {
        connection.idle_since = self.0.swept.get();
        let target = &connection.target.target;
        if target.retired.load(Ordering::Relaxed) {
            return;
        }
        let mut idle = self.0.idle.borrow_mut();
        let kept = idle.entry(target.id).or_default();
        if kept.len() < usize::try_from(target.keep_alive.size).unwrap_or(usize::MAX) {
            kept.push(connection);
        }
    }

    /// Closes what was idle for too long, and forgets targets without connections.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.0.swept.set(now);
        self.0.idle.borrow_mut().retain(|_, kept| {
            kept.retain_mut(|connection| {
                let limit = connection.target.target.keep_alive.idle_timeout;
                now.duration_since(connection.idle_since) < limit && connection.stream.is_quiet()
            });
            !kept.is_empty()
        });
        self.0.multiplexed.borrow_mut().retain(|_, kept| {
            kept.retain(|connection| !connection.is_closed() && !connection.is_stale(now));
            !kept.is_empty()
        });
        self.0.named.borrow_mut().retain(|_, named| named.target.strong_count() > 0);
    }

    /// Closes everything idle.
    pub(crate) fn close(&self) {
        self.0.idle.borrow_mut().clear();
        self.0.multiplexed.borrow_mut().clear();
    }
}
