use std::{
    collections::HashMap,
    fmt,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::hmac;
use base::{Clock, Random, UnixMillis};
use http::{HeaderName, HeaderValue};
use quick_cache::{Weighter, sync::Cache};
use rp::bearer::Weigh;
use tokio::{runtime::Handle, sync::watch};

use super::{Args, Credentials, Means};
use crate::openid_connect::KnownCaller;

/// Bytes of tokens that the process keeps.
const BYTES: u64 = 16 << 20;
/// Tokens that the table is sized for at first.
const ENTRIES: usize = 1024;
/// Tokens that are being obtained at a time. Made-up credentials cost the provider no more than this at once.
const FLIGHTS: usize = 512;

/// Refusals that are remembered; of more, some are asked about again.
const REFUSALS: usize = 8192;

/// The tokens of all clients of this process: one for each client, secret and configuration, obtained once however
/// many requests and cores ask for it.
///
/// The work runs on the control runtime, so that it goes on when the request that began it is gone. What was refused
/// is not kept.
pub struct ClientTokens {
    runtime: Handle,
    clock: Clock,
    /// Of this process alone: the digests mean nothing elsewhere.
    key: hmac::Key,
    /// How often all tokens were thrown away. What a core kept before is not found any more.
    generation: AtomicU64,
    kept: Cache<[u8; 32], Arc<Token>, ByWeight>,
    flights: Mutex<HashMap<[u8; 32], watch::Receiver<Option<Outcome>>>>,
    /// Until when nobody is asked again about credentials that were refused.
    refused: Cache<[u8; 32], UnixMillis>,
}

/// What an attempt to obtain a token came to.
type Outcome = Result<Arc<Token>, Failure>;

/// A token that is in use.
#[derive(Clone)]
pub(super) struct Token {
    /// Headers of the upstream's with the tokens, marked as sensitive.
    pub(super) told: Box<[(HeaderName, HeaderValue)]>,
    /// The client's.
    pub(super) answered: Box<[(HeaderName, HeaderValue)]>,
    /// From then on another one is obtained.
    pub(super) until: UnixMillis,
    /// From then on it is worth nothing, as far as that is said.
    pub(super) ends: Option<UnixMillis>,
    /// What its claims say of the caller.
    pub(super) known: KnownCaller,
}

/// Why there is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// The provider does not accept the credentials.
    #[error("the identity provider refuses the credentials")]
    Denied,
    /// The provider gave a token that does not hold.
    #[error("the identity provider gave a token that does not hold")]
    Unsound,
    /// The provider could not be asked.
    #[error("the identity provider cannot be asked")]
    Unavailable,
}

impl Token {
    /// About how many bytes it takes.
    fn weight(&self) -> usize {
        let known = &self.known;
        let headers = self.told.iter().chain(&self.answered).chain(&known.told).chain(&known.back);
        let header = |(name, value): &(HeaderName, HeaderValue)| 64 + name.as_str().len() + value.len();
        headers.map(header).sum::<usize>()
            + known.consumer.iter().chain(&known.groups).map(|name| name.len()).sum::<usize>()
            + size_of::<Self>()
    }
}

/// A token as one core keeps it.
pub(super) struct Kept(pub(super) Arc<Token>);

impl Weigh for Kept {
    fn weigh(&self) -> usize {
        self.0.weight()
    }
}

#[derive(Clone)]
struct ByWeight;

impl Weighter<[u8; 32], Arc<Token>> for ByWeight {
    fn weight(&self, _key: &[u8; 32], token: &Arc<Token>) -> u64 {
        // Key, table slots and the two counts of the Arc.
        u64::try_from(token.weight() + 96).unwrap_or(u64::MAX)
    }
}

impl ClientTokens {
    /// No tokens yet. `runtime` is the control runtime.
    pub fn new(runtime: Handle, clock: Clock, random: &Random) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &random.bytes::<32>());
        let kept = Cache::with_weighter(ENTRIES, BYTES, ByWeight);
        let refused = Cache::new(REFUSALS);
        Self { runtime, clock, key, generation: AtomicU64::new(0), kept, flights: Mutex::default(), refused }
    }

    /// Throws all tokens away, on every core: each caller is asked about anew.
    pub fn clear(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
        self.kept.clear();
        self.refused.clear();
    }

    /// Under what a token for `credentials` is kept. Lengths stand before the parts, so that no id and secret can be
    /// read as another pair.
    pub(super) fn key(
        &self,
        identity: &[u8; 32],
        means: Means,
        credentials: &Credentials,
        args: &Args,
    ) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(identity);
        context.update(&self.generation.load(Ordering::Relaxed).to_be_bytes());
        context.update(&[means as u8]);
        let mut headers = Vec::new();
        if !args.headers.is_empty() {
            args.headers.write(&mut headers);
        }
        let args = args.params.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        let own = [credentials.name.as_bytes(), credentials.secret.expose().as_bytes()];
        for part in own.into_iter().chain([headers.as_slice()]).chain(args) {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        let mut key = [0; 32];
        key.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        key
    }

    /// The token under `key`, if there is one that is still good.
    pub(super) fn kept(&self, key: &[u8; 32]) -> Option<Arc<Token>> {
        self.kept.get(key).filter(|token| self.clock.now() < token.until)
    }

    /// Keeps the token under `key` for another `time` where it is due and cannot be replaced, but never beyond its end.
    pub(super) fn keep_on(&self, key: [u8; 32], time: Duration) -> Option<Arc<Token>> {
        let (now, kept) = (self.clock.now(), self.kept.get(&key)?);
        let until = kept.ends.map_or(now + time, |ends| ends.min(now + time));
        if until <= now {
            return None;
        }
        let token = Arc::new(Token { until, ..Token::clone(&kept) });
        self.kept.insert(key, Arc::clone(&token));
        Some(token)
    }

    /// Whether the credentials under `key` were refused just now.
    pub(super) fn is_refused(&self, key: &[u8; 32]) -> bool {
        self.refused.get(key).is_some_and(|until| self.clock.now() < until)
    }

    /// Remembers that they were, for so long.
    pub(super) fn refuse(&self, key: [u8; 32], pause: Duration) {
        if !pause.is_zero() {
            self.refused.insert(key, self.clock.now() + pause);
        }
    }

    /// The token under `key`. The first to ask does `work`; those who ask while it runs get what comes of it.
    pub(super) async fn obtain<W>(self: &Arc<Self>, key: [u8; 32], work: W) -> Outcome
    where
        W: Future<Output = Result<Token, Failure>> + Send + 'static,
    {
        let mut outcome = match self.join(key, work) {
            Ok(outcome) => outcome,
            Err(known) => return known,
        };
        let landed = outcome.wait_for(Option::is_some).await.map_err(|_| Failure::Unavailable)?;
        landed.clone().unwrap_or(Err(Failure::Unavailable))
    }

    /// The flight for `key`, begun if there is none. `Err`: there is no need for one, or no room.
    fn join<W>(self: &Arc<Self>, key: [u8; 32], work: W) -> Result<watch::Receiver<Option<Outcome>>, Outcome>
    where
        W: Future<Output = Result<Token, Failure>> + Send + 'static,
    {
        let mut flights = self.flights();
        if let Some(flight) = flights.get(&key) {
            return Ok(flight.clone());
        }
        // A flight keeps its token before it lands, so that nobody finds neither.
        if let Some(token) = self.kept(&key) {
            return Err(Ok(token));
        }
        if flights.len() >= FLIGHTS {
            tracing::warn!(limit = FLIGHTS, "too many tokens are being obtained at once");
            return Err(Err(Failure::Unavailable));
        }
        let (sender, outcome) = watch::channel(None);
        flights.insert(key, outcome.clone());
        drop(flights);
        let landing = Landing { tokens: Arc::clone(self), key };
        self.runtime.spawn(async move {
            let outcome = work.await.map(Arc::new);
            if let Ok(token) = &outcome
                && landing.tokens.clock.now() < token.until
            {
                landing.tokens.kept.insert(key, Arc::clone(token));
            }
            drop(landing);
            // Everybody who waited may be gone.
            let _ = sender.send(Some(outcome));
        });
        Ok(outcome)
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<[u8; 32], watch::Receiver<Option<Outcome>>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a flight, also one whose work panicked.
struct Landing {
    tokens: Arc<ClientTokens>,
    key: [u8; 32],
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.tokens.flights().remove(&self.key);
    }
}

impl fmt::Debug for ClientTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTokens").field("kept", &self.kept.len()).finish_non_exhaustive()
    }
}
