use std::{collections::HashMap, sync::Arc, time::Duration};

use base::UnixMillis;
use bytes::Bytes;
use fetch::{Request, Response};
use http::{HeaderValue, StatusCode, header};
use jose::KeySet;
use serde_json::Value;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    ProviderError, discovery, freshness,
    keeper::{Ask, Attempt, Keys, Shared},
};

/// Tokens with unknown key ids cause at most one fetch in this time.
const UNKNOWN_KID_EVERY: Duration = Duration::from_secs(30);
/// Waits after the first, second … failure; the last one repeats. None is longer than 10 s.
const RETRIES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];
/// Somebody who waits for what is missing brings the retry forward to this long after the last failure.
const RETRY_WHEN_ASKED: Duration = Duration::from_secs(1);
/// How often an empty key set is looked at again, and how long a good set outlives it at most.
const EMPTY_AGAIN: Duration = Duration::from_secs(60);
const EMPTY_BELIEVED_AFTER: Duration = Duration::from_secs(3600);
/// The task looks at the clock at least this often, since a wall clock may be set.
const LOOK: Duration = Duration::from_secs(60);

const DISCOVERY: &str = "discovery";
const JWKS: &str = "jwks_uri";
const EXTRA_JWKS: &str = "a further key set";

/// The task that owns a provider's refreshing. One fetch at a time: whoever asks meanwhile gets its result.
pub(super) struct Refresher {
    shared: Arc<Shared>,
    metadata: Schedule,
    keys: Schedule,
    /// The text of the key set that is published, to see whether a fetched one differs.
    document: Bytes,
    generation: u64,
    /// When a token with an unknown key id last caused a fetch.
    unknown_kid: Option<UnixMillis>,
    /// What was last in the further key sets, by their addresses.
    extra: HashMap<String, Vec<Value>>,
}

/// When a document is fetched next.
struct Schedule {
    next: Next,
    failures: usize,
}

enum Next {
    /// When the clock says so: what we have has had its time. A clock that shows less than when this was planned was
    /// set back, and the plan is void.
    At { planned: UnixMillis, at: UnixMillis },
    /// After a failure, by a timer that no clock moves.
    Retry { failed: Instant, at: Instant },
}

impl Refresher {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let now = shared.clock.now();
        Self {
            shared,
            metadata: Schedule::due(now),
            keys: Schedule::due(now),
            document: Bytes::new(),
            generation: 0,
            unknown_kid: None,
            extra: HashMap::new(),
        }
    }

    /// Works until the last holder of the provider has gone.
    pub(super) async fn run(mut self, mut asks: mpsc::UnboundedReceiver<Ask>) {
        loop {
            let wake = self.wake();
            tokio::select! {
                ask = asks.recv() => match ask {
                    None => return,
                    Some(Ask::Missing) => self.bring_forward(),
                    Some(Ask::UnknownKid { seen, answer }) => {
                        // Nobody may be waiting any more.
                        let _ = answer.send(self.unknown_kid(seen).await);
                    }
                    Some(Ask::Due { done }) => {
                        self.metadata.retry_now();
                        self.keys.retry_now();
                        self.run_due().await;
                        let _ = done.send(());
                    }
                    Some(Ask::Anew { done }) => {
                        let now = self.shared.clock.now();
                        (self.metadata, self.keys) = (Schedule::due(now), Schedule::due(now));
                        self.run_due().await;
                        let _ = done.send(());
                    }
                },
                () = sleep_until(wake) => self.run_due().await,
            }
        }
    }

    fn wake(&self) -> Instant {
        let now = self.shared.clock.now();
        let soonest = self.metadata.wait(now).min(self.keys.wait(now));
        Instant::now() + soonest.min(LOOK)
    }

    async fn run_due(&mut self) {
        if self.metadata.is_due(self.shared.clock.now()) {
            self.fetch_metadata().await;
        }
        // By the time it is now: metadata that are new make the keys due.
        if self.keys.is_due(self.shared.clock.now()) {
            let _ = self.fetch_keys().await;
        }
    }

    /// A waiter need not sit out the longer pauses between retries.
    fn bring_forward(&mut self) {
        for (missing, schedule) in [
            (self.shared.metadata.load().is_none(), &mut self.metadata),
            (self.shared.keys.load().is_none(), &mut self.keys),
        ] {
            if let (true, Next::Retry { failed, at }) = (missing, &mut schedule.next) {
                *at = (*at).min(*failed + RETRY_WHEN_ASKED);
            }
        }
    }

    async fn unknown_kid(&mut self, seen: u64) -> Result<Arc<Keys>, ProviderError> {
        let now = self.shared.clock.now();
        let cooling = self.unknown_kid.is_some_and(|last| last <= now && now.since(last) < UNKNOWN_KID_EVERY);
        match self.shared.keys.load_full() {
            Some(keys) if keys.generation != seen => return Ok(keys),
            // The last fetch failed: whether the key exists is not known.
            keys if cooling => {
                let last = self.shared.attempts.borrow().keys.error.clone();
                return match (last, keys) {
                    (None, Some(keys)) => Ok(keys),
                    (error, _) => Err(error.unwrap_or(ProviderError::NotReady)),
                };
            }
            _ => {}
        }
        self.unknown_kid = Some(now);
        let keys = self.fetch_keys().await?;
        let before = self.jwks_uri();
        if keys.generation == seen && self.metadata.failures == 0 {
            // The set may have moved while the old address still serves the old one.
            self.fetch_metadata().await;
        }
        if self.jwks_uri() == before { Ok(keys) } else { self.fetch_keys().await }
    }

    fn jwks_uri(&self) -> Option<String> {
        self.shared.metadata.load().as_ref()?.jwks_uri.clone()
    }

    async fn fetch_metadata(&mut self) {
        let shared = self.shared.clone();
        let fetched = match fetch(&shared, DISCOVERY, shared.url.as_str()).await {
            Ok(response) => discovery::read(&response.body, &shared.url, &shared.issuers, &shared.fetcher),
            Err(error) => Err(error),
        };
        let error = match fetched {
            Ok(mut metadata) => {
                shared.endpoints.replace(&mut metadata);
                let old = shared.metadata.load_full();
                if old.as_ref().is_none_or(|old| old.jwks_uri != metadata.jwks_uri) {
                    self.keys = Schedule::due(shared.clock.now());
                }
                if old.as_deref() != Some(&metadata) {
                    shared.metadata.store(Some(Arc::new(metadata)));
                }
                self.metadata.succeeded(shared.clock.now(), shared.metadata_ttl());
                None
            }
            Err(error) => {
                self.metadata.failed(shared.metadata.load().is_some());
                Some(error)
            }
        };
        shared.report(DISCOVERY, self.metadata.failures, error.as_ref());
        shared.attempts.send_modify(|attempts| attempts.metadata.ended(error));
    }

    /// Fetches the keys, the metadata before them where there are none, and answers what is published afterwards.
    async fn fetch_keys(&mut self) -> Result<Arc<Keys>, ProviderError> {
        if self.shared.metadata.load().is_none() {
            // A failure just now is the answer; another attempt at once would only hammer.
            if self.metadata.is_due(self.shared.clock.now()) {
                self.fetch_metadata().await;
            }
            if self.shared.metadata.load().is_none() {
                let error = self.shared.attempts.borrow().metadata.error.clone();
                return self.keys_failed(error.unwrap_or(ProviderError::NotReady));
            }
        }
        let shared = self.shared.clone();
        let Some(metadata) = shared.metadata.load_full() else { return Err(ProviderError::NotReady) };
        let Some(url) = metadata.jwks_uri.as_deref() else {
            return self.keys_failed(ProviderError::Missing(JWKS));
        };
        match fetch(&shared, JWKS, url).await {
            Ok(response) => match KeySet::parse(&response.body) {
                Ok(_) if !shared.extra_jwks.is_empty() => self.with_extra(&shared, response).await,
                Ok(set) => Ok(self.publish(set, &response)),
                Err(error) => self.keys_failed(ProviderError::Junk { what: JWKS, why: error.to_string() }),
            },
            Err(error) => self.keys_failed(error),
        }
    }

    /// Publishes the provider's key set with what is in the further ones. Of one that cannot be had, what was there last
    /// counts on.
    async fn with_extra(&mut self, shared: &Shared, response: Response) -> Result<Arc<Keys>, ProviderError> {
        for url in &shared.extra_jwks {
            let fetched = fetch(shared, EXTRA_JWKS, url).await;
            let members = fetched.and_then(|extra| {
                let junk = |why: String| ProviderError::Junk { what: EXTRA_JWKS, why };
                KeySet::parse(&extra.body).map_err(|error| junk(error.to_string()))?;
                members(&extra.body).ok_or_else(|| junk("it has no keys".to_owned()))
            });
            match members {
                Ok(members) => drop(self.extra.insert(url.clone(), members)),
                Err(error) => {
                    tracing::warn!(provider = shared.host(), "a further key set is not refreshed: {error}");
                }
            }
        }
        let mut all = members(&response.body).unwrap_or_default();
        all.extend(shared.extra_jwks.iter().filter_map(|url| self.extra.get(url)).flatten().cloned());
        let body = Bytes::from(serde_json::json!({ "keys": all }).to_string());
        match KeySet::parse(&body) {
            Ok(set) => Ok(self.publish(set, &Response { body, ..response })),
            Err(error) => self.keys_failed(ProviderError::Junk { what: JWKS, why: error.to_string() }),
        }
    }

    fn keys_failed(&mut self, error: ProviderError) -> Result<Arc<Keys>, ProviderError> {
        self.keys.failed(self.shared.keys.load().is_some());
        // A key set that is gone may have moved; the metadata say where to.
        if matches!(error, ProviderError::Status { status: 404 | 410, .. }) && self.metadata.failures == 0 {
            self.metadata = Schedule::due(self.shared.clock.now());
        }
        self.shared.report(JWKS, self.keys.failures, Some(&error));
        self.shared.attempts.send_modify(|attempts| attempts.keys.ended(Some(error.clone())));
        Err(error)
    }

    fn publish(&mut self, set: KeySet, response: &Response) -> Arc<Keys> {
        let shared = self.shared.clone();
        let now = shared.clock.now();
        let ceiling = shared.jwks_ttl();
        let old = shared.keys.load_full();
        let fetched = match old {
            // A provider that starts up, or is being made a fool of, may publish an empty set for a moment; taking it
            // at its word would refuse every token. If it stays empty, it is meant.
            Some(old)
                if set.keys().is_empty()
                    && !old.set.keys().is_empty()
                    && now.since(old.fetched_at) < ceiling.min(EMPTY_BELIEVED_AFTER) =>
            {
                self.keys.succeeded(now, EMPTY_AGAIN.min(ceiling));
                old
            }
            Some(old) if self.document == response.body => {
                self.keys.succeeded(now, freshness::lifetime(&response.headers, ceiling));
                Arc::new(Keys {
                    generation: old.generation,
                    set: old.set.clone(),
                    document: old.document.clone(),
                    fetched_at: now,
                })
            }
            _ => {
                for skipped in set.skipped() {
                    tracing::info!(provider = shared.host(), "a published key is not used: {skipped}");
                }
                let empty = set.keys().is_empty();
                let lifetime = freshness::lifetime(&response.headers, ceiling);
                self.keys.succeeded(now, if empty { lifetime.min(EMPTY_AGAIN) } else { lifetime });
                self.document = response.body.clone();
                self.generation += 1;
                Arc::new(Keys {
                    generation: self.generation,
                    set: Arc::new(set),
                    document: self.document.clone(),
                    fetched_at: now,
                })
            }
        };
        shared.keys.store(Some(fetched.clone()));
        shared.report(JWKS, 0, None);
        shared.attempts.send_modify(|attempts| attempts.keys.ended(None));
        fetched
    }
}

impl Schedule {
    fn due(now: UnixMillis) -> Self {
        Self { next: Next::At { planned: now, at: now }, failures: 0 }
    }

    fn succeeded(&mut self, now: UnixMillis, lifetime: Duration) {
        *self = Self { next: Next::At { planned: now, at: now + lifetime }, failures: 0 };
    }

    /// Plans the retry: soon where there is nothing to work with, at the longest pause where something good is `held`.
    fn failed(&mut self, held: bool) {
        let pause = RETRIES.get(self.failures).filter(|_| !held).or(RETRIES.last());
        let pause = pause.copied().unwrap_or(RETRY_WHEN_ASKED);
        self.failures += 1;
        let failed = Instant::now();
        self.next = Next::Retry { failed, at: failed + pause };
    }

    fn retry_now(&mut self) {
        if let Next::Retry { at, failed } = &mut self.next {
            *at = *failed;
        }
    }

    fn is_due(&self, now: UnixMillis) -> bool {
        match self.next {
            Next::At { planned, at } => at <= now || now < planned,
            Next::Retry { at, .. } => at <= Instant::now(),
        }
    }

    fn wait(&self, now: UnixMillis) -> Duration {
        match self.next {
            Next::At { .. } if self.is_due(now) => Duration::ZERO,
            Next::At { at, .. } => at.since(now),
            Next::Retry { at, .. } => at.saturating_duration_since(Instant::now()),
        }
    }
}

impl Attempt {
    fn ended(&mut self, error: Option<ProviderError>) {
        self.count += 1;
        self.error = error;
    }
}

impl Shared {
    fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Logs the first failure of a row, and its end.
    fn report(&self, what: &str, failures: usize, error: Option<&ProviderError>) {
        let attempts = self.attempts.borrow();
        let before = if what == JWKS { &attempts.keys } else { &attempts.metadata };
        match (error, &before.error) {
            (Some(error), _) if failures == 1 => {
                tracing::warn!(
                    provider = self.host(),
                    what,
                    "not refreshed, what is known stays in use: {error}"
                );
            }
            (None, Some(_)) => tracing::info!(provider = self.host(), what, "refreshed again"),
            _ => {}
        }
    }
}

/// The keys of a set, as they were published.
fn members(document: &[u8]) -> Option<Vec<Value>> {
    match oauth::json_object(document).ok()?.remove("keys")? {
        Value::Array(keys) => Some(keys),
        _ => None,
    }
}

async fn fetch(shared: &Shared, what: &'static str, url: &str) -> Result<Response, ProviderError> {
    let mut request = Request::get(url);
    if what == DISCOVERY {
        request.headers.extend(shared.headers.clone());
    }
    request.headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    request.timeout = shared.patience();
    request.verify_tls = shared.verify_tls;
    request.keep_alive = shared.keep_alive;
    request.proxies = shared.proxies.clone();
    let response =
        shared.fetcher.send(request).await.map_err(|cause| ProviderError::Unreachable { what, cause })?;
    match response.status {
        StatusCode::OK => Ok(response),
        status => Err(ProviderError::Status { what, status: status.as_u16() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_makes_everything_due() {
        let at = UnixMillis::from_secs;
        let mut schedule = Schedule::due(at(0));
        schedule.succeeded(at(1000), Duration::from_secs(60));
        assert!(!schedule.is_due(at(1059)) && schedule.is_due(at(1060)));
        assert!(schedule.is_due(at(999)));
        assert_eq!(schedule.wait(at(999)), Duration::ZERO);
    }

    #[test]
    fn retries_come_sooner_while_there_is_nothing_and_never_later_than_ten_seconds() {
        let mut schedule = Schedule::due(UnixMillis(0));
        let mut pause = |held| {
            schedule.failed(held);
            schedule.wait(UnixMillis(0)).as_secs_f64().ceil() as u64
        };
        assert_eq!([pause(false), pause(false), pause(false), pause(false), pause(false)], [1, 2, 4, 8, 8]);
        assert_eq!(pause(true), 8);
    }
}
