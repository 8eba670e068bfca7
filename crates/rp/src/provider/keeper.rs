use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use base::{Clock, UnixMillis};
use bytes::Bytes;
use fetch::{Fetcher, Proxies, Refusal};
use http::HeaderMap;
use jose::KeySet;
use oauth::ProviderMetadata;
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot, watch},
};
use url::Url;

use super::{Endpoints, ProviderError, SourceConfig, introspections::Introspections, refresher::Refresher};

/// How long metadata are used before they are fetched again, where nothing else is said.
const METADATA_TTL: Duration = Duration::from_secs(24 * 3600);
/// The longest that metadata or keys are waited for.
const LONGEST_FETCH: Duration = Duration::from_secs(10);

/// A provider's public keys, as fetched last.
#[derive(Debug)]
pub struct Keys {
    /// Grows with every change of the published set; the same number is the same keys, so verdicts may be cached under
    /// it.
    pub generation: u64,
    /// The keys.
    pub set: Arc<KeySet>,
    /// The set as the provider wrote it, JSON.
    pub document: Bytes,
    /// When this set was last seen at the provider.
    pub fetched_at: UnixMillis,
}

/// One OpenID provider. Its metadata and keys are kept fresh by a task of their own for as long as somebody holds it.
pub struct Provider {
    shared: Arc<Shared>,
    /// To the task that refreshes; it ends when this is dropped.
    asks: mpsc::UnboundedSender<Ask>,
    introspections: Introspections,
}

/// What the provider's holders and its task both see.
pub(super) struct Shared {
    /// The discovery URL.
    pub(super) url: Url,
    pub(super) verify_tls: bool,
    pub(super) keep_alive: bool,
    pub(super) proxies: Option<Arc<Proxies>>,
    pub(super) issuers: Vec<String>,
    pub(super) endpoints: Endpoints,
    pub(super) headers: HeaderMap,
    pub(super) extra_jwks: Vec<String>,
    pub(super) fetcher: Fetcher,
    pub(super) clock: Clock,
    pub(super) metadata: ArcSwapOption<ProviderMetadata>,
    pub(super) keys: ArcSwapOption<Keys>,
    pub(super) attempts: watch::Sender<Attempts>,
    timeout_ms: AtomicU64,
    jwks_ttl_ms: AtomicU64,
    metadata_ttl_ms: AtomicU64,
}

/// How often each document was asked for, and how the last time went.
#[derive(Clone, Debug, Default)]
pub(super) struct Attempts {
    pub(super) metadata: Attempt,
    pub(super) keys: Attempt,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Attempt {
    pub(super) count: u64,
    pub(super) error: Option<ProviderError>,
}

/// What the task is asked for.
pub(super) enum Ask {
    /// Somebody waits for what is missing: fetch it soon.
    Missing,
    /// A token names a key that the set of this generation does not have.
    UnknownKid { seen: u64, answer: oneshot::Sender<Result<Arc<Keys>, ProviderError>> },
    /// The clock may have jumped: fetch what is due, and what failed.
    Due { done: oneshot::Sender<()> },
    /// Fetch everything, due or not.
    Anew { done: oneshot::Sender<()> },
}

impl Provider {
    /// Begins to fetch on `runtime`.
    pub(super) fn start(
        source: &SourceConfig,
        fetcher: Fetcher,
        clock: Clock,
        runtime: &Handle,
    ) -> Result<Self, ProviderError> {
        let refused =
            |refusal: Refusal| ProviderError::Unsupported(format!("a discovery URL like this ({refusal})"));
        fetcher.permits(&source.discovery_url).map_err(refused)?;
        let proxies = source.proxies.iter().flat_map(|proxies| [&proxies.http, &proxies.https]);
        for proxy in proxies.flatten() {
            let refused =
                |refusal: Refusal| ProviderError::Unsupported(format!("a proxy like this ({refusal})"));
            fetcher.permits_proxy(proxy).map_err(refused)?;
        }
        for endpoint in source.endpoints.fetched().chain(&source.extra_jwks) {
            let refused =
                |refusal: Refusal| ProviderError::Unsupported(format!("an endpoint like this ({refusal})"));
            fetcher.permits(endpoint).map_err(refused)?;
        }
        let shared = Arc::new(Shared {
            url: Url::parse(&source.discovery_url).map_err(|_| refused(Refusal::Url))?,
            verify_tls: source.verify_tls,
            keep_alive: source.keep_alive,
            proxies: source.proxies.clone(),
            issuers: source.issuers.clone(),
            endpoints: source.endpoints.clone(),
            headers: source.headers.clone(),
            extra_jwks: source.extra_jwks.clone(),
            fetcher,
            clock,
            metadata: ArcSwapOption::empty(),
            keys: ArcSwapOption::empty(),
            attempts: watch::Sender::default(),
            timeout_ms: AtomicU64::new(millis(source.timeout)),
            jwks_ttl_ms: AtomicU64::new(millis(source.jwks_ttl)),
            metadata_ttl_ms: AtomicU64::new(millis(source.metadata_ttl.unwrap_or(METADATA_TTL))),
        });
        let (asks, inbox) = mpsc::unbounded_channel();
        runtime.spawn(Refresher::new(shared.clone()).run(inbox));
        Ok(Self { shared, asks, introspections: Introspections::default() })
    }

    /// Takes the longer timeout and the shorter lifetimes.
    pub(super) fn adopt(&self, source: &SourceConfig) {
        self.shared.timeout_ms.fetch_max(millis(source.timeout), Ordering::Relaxed);
        self.shared.jwks_ttl_ms.fetch_min(millis(source.jwks_ttl), Ordering::Relaxed);
        let metadata = millis(source.metadata_ttl.unwrap_or(METADATA_TTL));
        self.shared.metadata_ttl_ms.fetch_min(metadata, Ordering::Relaxed);
    }

    /// What the provider last said about itself, and said credibly. Kept through outages.
    pub fn metadata(&self) -> Option<Arc<ProviderMetadata>> {
        self.shared.metadata.load_full()
    }

    /// The provider's keys as fetched last. Kept through outages.
    pub fn keys(&self) -> Option<Arc<Keys>> {
        self.shared.keys.load_full()
    }

    /// Whether `set` is the provider's keys as fetched last. Asked on every warm request: it counts no reference, for which
    /// the cores would contend.
    pub fn has_keys(&self, set: &Arc<KeySet>) -> bool {
        self.shared.keys.load().as_ref().is_some_and(|keys| Arc::ptr_eq(&keys.set, set))
    }

    /// Whether `url` may be asked, as far as its text tells: see [`Fetcher::permits`].
    ///
    /// # Errors
    ///
    /// [`ProviderError::Unsupported`], with the reason.
    pub fn permits(&self, url: &str) -> Result<(), ProviderError> {
        let refused = |refusal| ProviderError::Unsupported(format!("a URL like this ({refusal})"));
        self.shared.fetcher.permits(url).map_err(refused)
    }

    /// The metadata; where there are none yet, waits for the next attempt to get them.
    ///
    /// # Errors
    ///
    /// What that attempt ran into, or [`ProviderError::NotReady`] when it took longer than the timeout.
    pub async fn ready(&self) -> Result<Arc<ProviderMetadata>, ProviderError> {
        self.missing(Shared::metadata, |attempts| &attempts.metadata).await
    }

    /// The keys; where there are none yet, waits for the next attempt to get them.
    ///
    /// # Errors
    ///
    /// As [`Provider::ready`].
    pub async fn ready_keys(&self) -> Result<Arc<Keys>, ProviderError> {
        self.missing(Shared::keys, |attempts| &attempts.keys).await
    }

    /// The keys after a token named a key id that the set of generation `seen` does not have. The first such token
    /// causes a fetch at once, those after it share its result, and for 30 s after it the set is what it is: a flood
    /// of made-up ids costs the provider one request in that time.
    ///
    /// # Errors
    ///
    /// When the fetch failed. The token may be good then; nothing is known about it.
    pub async fn keys_after_unknown_kid(&self, seen: u64) -> Result<Arc<Keys>, ProviderError> {
        if let Some(keys) = self.keys().filter(|keys| keys.generation != seen) {
            return Ok(keys);
        }
        let (answer, answered) = oneshot::channel();
        let _ = self.asks.send(Ask::UnknownKid { seen, answer });
        answered.await.unwrap_or(Err(ProviderError::NotReady))
    }

    /// Where its metadata are.
    pub fn discovery_url(&self) -> &str {
        self.shared.url.as_str()
    }

    /// Fetches metadata and keys anew, and returns when that is done. What was known stays where it fails.
    pub async fn rediscover(&self) {
        let (done, waiting) = oneshot::channel();
        let _ = self.asks.send(Ask::Anew { done });
        let _ = waiting.await;
    }

    /// Begins to fetch what is due; the answer comes when it is done.
    pub(super) fn run_due(&self) -> oneshot::Receiver<()> {
        let (done, waiting) = oneshot::channel();
        let _ = self.asks.send(Ask::Due { done });
        waiting
    }

    pub(super) fn introspections(&self) -> &Introspections {
        &self.introspections
    }

    pub(super) fn now(&self) -> UnixMillis {
        self.shared.clock.now()
    }

    #[cfg(test)]
    pub(super) fn timeout(&self) -> Duration {
        self.shared.timeout()
    }

    pub(super) fn verify_tls(&self) -> bool {
        self.shared.verify_tls
    }

    pub(super) fn keep_alive(&self) -> bool {
        self.shared.keep_alive
    }

    pub(super) fn proxies(&self) -> Option<Arc<Proxies>> {
        self.shared.proxies.clone()
    }

    pub(super) fn fetcher(&self) -> &Fetcher {
        &self.shared.fetcher
    }

    async fn missing<T>(
        &self,
        value: fn(&Shared) -> Option<Arc<T>>,
        attempt: fn(&Attempts) -> &Attempt,
    ) -> Result<Arc<T>, ProviderError> {
        if let Some(value) = value(&self.shared) {
            return Ok(value);
        }
        let mut attempts = self.shared.attempts.subscribe();
        let before = attempt(&attempts.borrow_and_update()).count;
        let _ = self.asks.send(Ask::Missing);
        let next = async {
            loop {
                // Looked at again each time: it may have come between the first look and the subscription.
                if let Some(value) = value(&self.shared) {
                    return Ok(value);
                }
                let last = attempt(&attempts.borrow_and_update()).clone();
                if last.count != before {
                    return Err(last.error.unwrap_or(ProviderError::NotReady));
                }
                attempts.changed().await.map_err(|_| ProviderError::NotReady)?;
            }
        };
        tokio::time::timeout(self.shared.patience(), next).await.unwrap_or(Err(ProviderError::NotReady))
    }
}

impl Shared {
    fn metadata(&self) -> Option<Arc<ProviderMetadata>> {
        self.metadata.load_full()
    }

    fn keys(&self) -> Option<Arc<Keys>> {
        self.keys.load_full()
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.load(Ordering::Relaxed))
    }

    /// How long metadata and keys may take, and who needs them waits. Calls with a longer timeout have it for
    /// themselves: a provider that hangs and comes back is to be asked again soon.
    pub(super) fn patience(&self) -> Duration {
        self.timeout().min(LONGEST_FETCH)
    }

    pub(super) fn metadata_ttl(&self) -> Duration {
        Duration::from_millis(self.metadata_ttl_ms.load(Ordering::Relaxed))
    }

    pub(super) fn jwks_ttl(&self) -> Duration {
        Duration::from_millis(self.jwks_ttl_ms.load(Ordering::Relaxed))
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("host", &self.shared.url.host_str()).finish_non_exhaustive()
    }
}

/// At least a millisecond, so that nothing is due at the moment it was done.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}
