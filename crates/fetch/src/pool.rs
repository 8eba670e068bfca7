use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use base::Clock;
use bytes::Bytes;
use http::HeaderValue;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use url::Host;

/// Idle connections kept for one origin.
const PER_ORIGIN: usize = 4;
/// Shorter than any common server's keep-alive (Node's is 5 s), because a connection that the server closes while a
/// POST is on its way leaves unknown whether the POST was done.
const IDLE: Duration = Duration::from_secs(4);

pub(crate) type Sender = SendRequest<Full<Bytes>>;

/// Where a connection goes, through what, and how its other end was verified.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) host: Host<String>,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    pub(crate) verified: bool,
    /// The proxy, with its credentials: connections of one client of it serve no other.
    pub(crate) via: Option<(String, Option<HeaderValue>)>,
}

/// Connections that wait for another request. Their addresses were checked when they were made.
pub(crate) struct Pool {
    idle: Mutex<HashMap<Key, Vec<(Sender, Duration)>>>,
    clock: Clock,
}

impl Pool {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { idle: Mutex::default(), clock }
    }

    /// A connection that can take a request now, the one used last first.
    pub(crate) fn take(&self, key: &Key) -> Option<Sender> {
        let now = self.clock.monotonic();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = idle.get_mut(key)?;
        while let Some((sender, since)) = waiting.pop() {
            if sender.is_ready() && now.saturating_sub(since) < IDLE {
                return Some(sender);
            }
        }
        None
    }

    /// Keeps a connection whose answer has been read to its end.
    pub(crate) fn put(&self, key: Key, sender: Sender) {
        let now = self.clock.monotonic();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|_, waiting| {
            waiting.retain(|(sender, since)| !sender.is_closed() && now.saturating_sub(*since) < IDLE);
            !waiting.is_empty()
        });
        let waiting = idle.entry(key).or_default();
        if waiting.len() < PER_ORIGIN {
            waiting.push((sender, now));
        }
    }
}
