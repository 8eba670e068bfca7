use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_lc_rs::digest;
use base::{Clock, Keyring, Random, Secret, UnixMillis};
use tokio::{runtime::Handle, sync::watch};
use zeroize::Zeroizing;

use super::{Realm, Session};

/// How long the outcome of a refresh is kept, so that an older cookie gets the same new session.
pub const REFRESH_KEPT: Duration = Duration::from_secs(60);
/// How long a provider that could not be reached is left alone for one session.
const RETRY: Duration = Duration::from_secs(5);
/// Refreshes that are kept at a time, and bytes of their outcomes. Who comes when it is full goes on without a new
/// token; dropping an outcome early would send a spent refresh token to the provider again.
const CAPACITY: usize = 20_000;
const CAPACITY_BYTES: usize = 64 << 20;

/// Why a session was not refreshed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefreshError {
    /// The provider said no (`invalid_grant`), or gave somebody else's tokens: the session is over.
    #[error("the provider ended the session")]
    Ended,
    /// The provider said no (`invalid_grant`), and the session goes on, refused, where that is wanted.
    #[error("the provider does not renew the session")]
    Refused,
    /// The provider could not be reached, or talked nonsense: the session goes on as it is.
    #[error("the provider is not available")]
    Unavailable,
}

/// The refreshes of the whole process: one for each refresh token, however many requests and cores ask for it. Many
/// providers end a session when a refresh token comes twice (RFC 9700 section 4.14.2).
///
/// The work runs on the control runtime, so that it goes on when the request that began it is gone. The outcome is
/// kept for [`REFRESH_KEPT`], sealed with a key of this process alone.
pub struct Refreshes {
    runtime: Handle,
    clock: Clock,
    random: Random,
    keys: Keyring,
    flights: Mutex<Flights>,
}

#[derive(Default)]
struct Flights {
    by_token: HashMap<[u8; 32], Flight>,
    /// Those that have landed, in that order, and how many bytes their outcomes have.
    landed: VecDeque<(UnixMillis, [u8; 32])>,
    bytes: usize,
}

/// One refresh: its outcome comes once.
struct Flight(watch::Receiver<Option<Landed>>);

#[derive(Clone)]
struct Landed {
    at: UnixMillis,
    /// The new session, sealed.
    outcome: Result<Arc<[u8]>, RefreshError>,
}

/// What a flight under way must not leave out: to land, also when its work panics or its runtime ends.
struct Landing {
    refreshes: Arc<Refreshes>,
    key: [u8; 32],
    sender: watch::Sender<Option<Landed>>,
    outcome: Result<Arc<[u8]>, RefreshError>,
}

impl Refreshes {
    /// No refreshes yet. `runtime` is the control runtime.
    pub fn new(runtime: Handle, clock: Clock, random: Random) -> Self {
        let keys = Keyring::generate(&random);
        Self { runtime, clock, random, keys, flights: Mutex::default() }
    }

    /// The session that follows from refreshing with `token`. The first to ask does `work`; those who ask while it
    /// runs, or within a minute after, get what came of it.
    ///
    /// # Errors
    ///
    /// As `work`; [`RefreshError::Unavailable`] also when too many refreshes are kept, or `work` panicked.
    pub async fn run<W>(
        self: &Arc<Self>,
        realm: Realm,
        token: &Secret<String>,
        work: W,
    ) -> Result<Session, RefreshError>
    where
        W: Future<Output = Result<Session, RefreshError>> + Send + 'static,
    {
        let key = flight_key(realm, token);
        let mut outcome = self.join(key, work)?;
        let landed = outcome.wait_for(Option::is_some).await.map_err(|_| RefreshError::Unavailable)?.clone();
        let sealed = landed.ok_or(RefreshError::Unavailable)?.outcome?;
        let plain = self.keys.open(&sealed, &key).map_err(|_| RefreshError::Unavailable)?;
        Session::decode(&plain).ok_or(RefreshError::Unavailable)
    }

    fn join<W>(
        self: &Arc<Self>,
        key: [u8; 32],
        work: W,
    ) -> Result<watch::Receiver<Option<Landed>>, RefreshError>
    where
        W: Future<Output = Result<Session, RefreshError>> + Send + 'static,
    {
        let now = self.clock.now();
        let mut flights = self.flights();
        flights.drop_old(now);
        if let Some(Flight(outcome)) = flights.by_token.get(&key) {
            let again = outcome.borrow().as_ref().is_some_and(|landed| landed.is_worth_a_try(now));
            if !again {
                return Ok(outcome.clone());
            }
            flights.forget(&key);
        }
        if flights.by_token.len() >= CAPACITY || flights.bytes >= CAPACITY_BYTES {
            return Err(RefreshError::Unavailable);
        }
        let (sender, outcome) = watch::channel(None);
        flights.by_token.insert(key, Flight(outcome.clone()));
        drop(flights);
        let refreshes = Arc::clone(self);
        let mut landing = Landing { refreshes, key, sender, outcome: Err(RefreshError::Unavailable) };
        self.runtime.spawn(async move {
            let outcome = work.await;
            landing.touch_down(outcome);
        });
        Ok(outcome)
    }

    fn flights(&self) -> MutexGuard<'_, Flights> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Landing {
    fn touch_down(&mut self, outcome: Result<Session, RefreshError>) {
        let Refreshes { keys, random, .. } = &*self.refreshes;
        let seal = |session: Session| keys.seal(random, &Zeroizing::new(session.encode()), &self.key);
        self.outcome = outcome.map(|session| Arc::from(seal(session)));
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let landed = Landed { at: self.refreshes.clock.now(), outcome: self.outcome.clone() };
        let mut flights = self.refreshes.flights();
        flights.bytes += landed.bytes();
        flights.landed.push_back((landed.at, self.key));
        let _ = self.sender.send(Some(landed));
    }
}

impl Flights {
    /// Drops the outcomes whose time is over. One that only says that the provider is away goes sooner; those in
    /// front of it may keep it a while, and then it does not count.
    fn drop_old(&mut self, now: UnixMillis) {
        while let Some((at, key)) =
            self.landed.front().copied().filter(|(at, _)| now.since(*at) >= REFRESH_KEPT)
        {
            self.landed.pop_front();
            let is_it = |flight: &Flight| flight.0.borrow().as_ref().is_some_and(|landed| landed.at == at);
            if self.by_token.get(&key).is_some_and(is_it) {
                self.forget(&key);
            }
        }
    }

    fn forget(&mut self, key: &[u8; 32]) {
        if let Some(flight) = self.by_token.remove(key) {
            let bytes = flight.0.borrow().as_ref().map_or(0, Landed::bytes);
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }
}

impl Landed {
    fn bytes(&self) -> usize {
        self.outcome.as_ref().map_or(0, |sealed| sealed.len())
    }

    /// Whether it is a failure that a new try may cure.
    fn is_worth_a_try(&self, now: UnixMillis) -> bool {
        self.outcome == Err(RefreshError::Unavailable) && now.since(self.at) >= RETRY
    }
}

impl fmt::Debug for Refreshes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Refreshes")
    }
}

fn flight_key(realm: Realm, token: &Secret<String>) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&realm.0);
    context.update(token.expose().as_bytes());
    let mut key = [0; 32];
    key.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    key
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::{super::content::tests::session, *};

    const REALM: Realm = Realm([1; 16]);

    fn token() -> Secret<String> {
        Secret::new("old".to_owned())
    }

    /// Counts how often it is run.
    fn work(
        count: &Arc<AtomicUsize>,
        outcome: Result<Session, RefreshError>,
    ) -> impl Future<Output = Result<Session, RefreshError>> + Send + 'static {
        let count = Arc::clone(count);
        async move {
            tokio::task::yield_now().await;
            count.fetch_add(1, Ordering::Relaxed);
            outcome
        }
    }

    #[tokio::test]
    async fn r28_a_hundred_parallel_requests_make_one_refresh_and_all_get_its_session() {
        let refreshes =
            Arc::new(Refreshes::new(Handle::current(), Clock::fixed(UnixMillis(0)), Random::seeded(1)));
        let count = Arc::new(AtomicUsize::new(0));
        let new = Session { subject: "new".to_owned(), ..session() };
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let (refreshes, work) = (refreshes.clone(), work(&count, Ok(new.clone())));
                tokio::spawn(async move { refreshes.run(REALM, &token(), work).await })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap().subject, "new");
        }
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn an_older_cookie_gets_the_same_new_session_for_sixty_seconds() {
        let clock = Clock::fixed(UnixMillis(0));
        let refreshes = Arc::new(Refreshes::new(Handle::current(), clock.clone(), Random::seeded(1)));
        let count = Arc::new(AtomicUsize::new(0));
        for (wait, runs) in [(0, 1), (59, 1), (1, 2)] {
            clock.advance(Duration::from_secs(wait));
            refreshes.run(REALM, &token(), work(&count, Ok(session()))).await.unwrap();
            assert_eq!(count.load(Ordering::Relaxed), runs);
        }
        refreshes.run(Realm([2; 16]), &token(), work(&count, Ok(session()))).await.unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 3, "another client's token is another token");
    }

    #[tokio::test]
    async fn r29_a_provider_that_is_away_is_asked_again_after_five_seconds_and_one_that_said_no_is_not() {
        let clock = Clock::fixed(UnixMillis(0));
        let refreshes = Arc::new(Refreshes::new(Handle::current(), clock.clone(), Random::seeded(1)));
        let count = Arc::new(AtomicUsize::new(0));
        for (wait, runs) in [(0, 1), (4, 1), (1, 2)] {
            clock.advance(Duration::from_secs(wait));
            let away = work(&count, Err(RefreshError::Unavailable));
            assert_eq!(refreshes.run(REALM, &token(), away).await.unwrap_err(), RefreshError::Unavailable);
            assert_eq!(count.load(Ordering::Relaxed), runs);
        }
        clock.advance(Duration::from_secs(5));
        for _ in 0..2 {
            let no = work(&count, Err(RefreshError::Ended));
            assert_eq!(refreshes.run(REALM, &token(), no).await.unwrap_err(), RefreshError::Ended);
            clock.advance(Duration::from_secs(30));
        }
        assert_eq!(count.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn a_refresh_that_takes_longer_than_its_outcome_is_kept_is_still_the_only_one() {
        let clock = Clock::fixed(UnixMillis(0));
        let refreshes = Arc::new(Refreshes::new(Handle::current(), clock.clone(), Random::seeded(1)));
        let count = Arc::new(AtomicUsize::new(0));
        let (done, waiting) = tokio::sync::oneshot::channel::<()>();
        let slow = {
            let work = work(&count, Ok(session()));
            async move {
                let _ = waiting.await;
                work.await
            }
        };
        let first = tokio::spawn({
            let refreshes = refreshes.clone();
            async move { refreshes.run(REALM, &token(), slow).await }
        });
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(600));
        let second = tokio::spawn({
            let (refreshes, work) = (refreshes.clone(), work(&count, Ok(session())));
            async move { refreshes.run(REALM, &token(), work).await }
        });
        tokio::task::yield_now().await;
        done.send(()).unwrap();
        assert!(first.await.unwrap().is_ok() && second.await.unwrap().is_ok());
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_refresh_that_panics_is_a_provider_that_is_away() {
        let clock = Clock::fixed(UnixMillis(0));
        let refreshes = Arc::new(Refreshes::new(Handle::current(), clock.clone(), Random::seeded(1)));
        let broken = async { panic!("as a test wants it") };
        assert_eq!(refreshes.run(REALM, &token(), broken).await.unwrap_err(), RefreshError::Unavailable);
        clock.advance(RETRY);
        let count = Arc::new(AtomicUsize::new(0));
        refreshes.run(REALM, &token(), work(&count, Ok(session()))).await.unwrap();
    }

    #[tokio::test]
    async fn r26_outcomes_are_bounded_by_their_bytes_and_go_after_a_minute() {
        let clock = Clock::fixed(UnixMillis(0));
        let refreshes = Arc::new(Refreshes::new(Handle::current(), clock.clone(), Random::seeded(1)));
        let count = Arc::new(AtomicUsize::new(0));
        let large = Session { userinfo: Some("x".repeat(CAPACITY_BYTES / 3)), ..session() };
        let run = |name: &str| {
            let (refreshes, work) = (refreshes.clone(), work(&count, Ok(large.clone())));
            let token = Secret::new(name.to_owned());
            async move { refreshes.run(REALM, &token, work).await.map(drop) }
        };
        for name in ["1", "2", "3"] {
            assert_eq!(run(name).await, Ok(()));
        }
        assert_eq!(run("4").await, Err(RefreshError::Unavailable));
        assert_eq!(run("1").await, Ok(()), "what is kept is still given");
        clock.advance(REFRESH_KEPT);
        assert_eq!(run("4").await, Ok(()));
        let flights = refreshes.flights();
        assert_eq!((flights.by_token.len(), flights.landed.len()), (1, 1));
        drop(flights);
        assert_eq!(count.load(Ordering::Relaxed), 4);
    }

    #[tokio::test]
    async fn a_refresh_goes_on_when_the_request_that_began_it_is_gone() {
        let refreshes =
            Arc::new(Refreshes::new(Handle::current(), Clock::fixed(UnixMillis(0)), Random::seeded(1)));
        let count = Arc::new(AtomicUsize::new(0));
        let token = token();
        let first = refreshes.run(REALM, &token, work(&count, Ok(session())));
        assert!(futures_util::FutureExt::now_or_never(first).is_none());
        refreshes.run(REALM, &token, work(&count, Ok(session()))).await.unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }
}
