pub(crate) mod argon2id;
pub(crate) mod digested;
pub(crate) mod imported;

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

use argon2::Params;
use base::{Random, Secret};
use tokio::sync::oneshot;

use self::argon2id::Lender;
use crate::IdpError;

/// Threads that hash, and so passwords that are hashed at the same time: each takes [`Cost::memory_kib`].
const THREADS: usize = 2;
/// Passwords that may wait. At some 20 ms each, the last one of a full queue waits about a second.
const QUEUE: usize = 100;
/// How long the memory of hashes is kept after the last one.
const KEPT: Duration = Duration::from_secs(2);
/// Added to the niceness of the threads: under load, requests come first.
const NICENESS: i32 = 10;
/// Bytes of a longer password are not hashed at all (OWASP ASVS 6.2.9 asks for 64 characters at least).
pub(crate) const MAX_PASSWORD: usize = 512;

/// The answer of a hasher, in the making.
pub type Hashing<'a, T> = Pin<Box<dyn Future<Output = Result<T, IdpError>> + Send + 'a>>;

/// Hashes passwords away from the threads that serve requests.
pub trait PasswordHasher: Send + Sync {
    /// The hash to store, in PHC string format.
    fn hash(&self, password: Secret<String>) -> Hashing<'_, String>;

    /// Whether `password` belongs to `hash`; with `None`, where there is no such user, it takes as long and is `false`.
    fn verify(&self, password: Secret<String>, hash: Option<String>) -> Hashing<'_, bool>;
}

/// What one hash costs. The default is OWASP's first choice for Argon2id: 19 MiB, two passes, one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

impl Default for Cost {
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2 }
    }
}

/// Argon2id on two threads of its own that yield to all others. Where a hundred passwords wait already, the next one is
/// refused with [`IdpError::Busy`].
pub struct Argon2Pool {
    queue: SyncSender<Job>,
}

type Job = Box<dyn FnOnce(&Worker) + Send>;

/// What a thread works with.
#[derive(Clone)]
struct Worker {
    params: Params,
    lender: Arc<Lender>,
    random: Random,
    /// A hash that no password is known for: checked where there is no user, so that it takes as long (O19).
    decoy: Arc<str>,
}

impl Argon2Pool {
    /// Starts the threads with the default cost.
    pub fn start(random: Random) -> Arc<Self> {
        Self::with_cost(random, Cost::default())
    }

    /// Starts the threads with another cost. Hashes of another cost still verify. A cost that Argon2 does not allow
    /// becomes the default.
    pub fn with_cost(random: Random, cost: Cost) -> Arc<Self> {
        let params = Params::new(cost.memory_kib, cost.passes, 1, None).unwrap_or_default();
        let decoy = argon2id::decoy(&params, &random).into();
        let lender = Arc::new(Lender::new(&params));
        let worker = Worker { params, lender, random, decoy };
        let (queue, jobs) = sync_channel::<Job>(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..THREADS {
            let (worker, jobs) = (worker.clone(), jobs.clone());
            let started =
                thread::Builder::new().name(format!("password-{number}")).spawn(move || run(&worker, &jobs));
            if let Err(error) = started {
                tracing::error!(%error, "a password thread could not be started");
            }
        }
        Arc::new(Self { queue })
    }

    fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Worker) -> Result<T, IdpError> + Send + 'static,
    ) -> Hashing<'_, T> {
        let (done, answer) = oneshot::channel();
        let job: Job = Box::new(move |worker| {
            // Nobody waits any more when the request is gone: save the work.
            if !done.is_closed() {
                let _ = done.send(work(worker));
            }
        });
        let sent = self.queue.try_send(job);
        Box::pin(async move {
            match sent {
                Ok(()) => answer.await.unwrap_or(Err(IdpError::Busy)),
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(IdpError::Busy),
            }
        })
    }
}

impl PasswordHasher for Argon2Pool {
    fn hash(&self, password: Secret<String>) -> Hashing<'_, String> {
        self.submit(move |worker| {
            let Worker { params, lender, random, .. } = worker;
            argon2id::hash(params, lender, random, password.expose().as_bytes()).ok_or(IdpError::Hashing)
        })
    }

    fn verify(&self, password: Secret<String>, hash: Option<String>) -> Hashing<'_, bool> {
        self.submit(move |worker| {
            let too_long = password.expose().len() > MAX_PASSWORD;
            let known = hash.as_deref().filter(|_| !too_long);
            let typed = if too_long { "" } else { password.expose().as_str() };
            let matches = imported::verify(&worker.lender, typed, known.unwrap_or(&worker.decoy));
            // A digest is checked in no time: that would tell that there is such a user (O19). After the right password
            // a hash of ours is made in its place, which takes as long.
            if !matches && known.is_some_and(imported::is_foreign) {
                imported::verify(&worker.lender, typed, &worker.decoy);
            }
            Ok(matches && known.is_some())
        })
    }
}

fn run(worker: &Worker, jobs: &Mutex<Receiver<Job>>) {
    // On Linux the "process" of setpriority is the calling thread.
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%error, "password threads run at normal priority");
    }
    loop {
        let job = match jobs.lock() {
            Ok(jobs) => jobs.recv_timeout(KEPT),
            Err(_) => return,
        };
        match job {
            Ok(job) => job(worker),
            Err(RecvTimeoutError::Timeout) => worker.lender.clear(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 64, passes: 1 };

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_hash_verifies_its_own_password_only() {
        let pool = Argon2Pool::with_cost(Random::seeded(1), CHEAP);
        let hash = pool.hash(secret("correct horse")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
        assert!(pool.verify(secret("correct horse"), Some(hash.clone())).await.unwrap());
        assert!(!pool.verify(secret("correct horsf"), Some(hash)).await.unwrap());
    }

    #[tokio::test]
    async fn o19_an_unknown_user_costs_a_hash_and_is_refused() {
        let pool = Argon2Pool::with_cost(Random::seeded(2), CHEAP);
        assert!(!pool.verify(secret("anything"), None).await.unwrap());
        let params = Params::new(CHEAP.memory_kib, CHEAP.passes, 1, None).unwrap();
        let decoy = argon2id::decoy(&params, &Random::seeded(2));
        let real = pool.hash(secret("anything")).await.unwrap();
        let shape = |hash: &str| hash.split('$').map(str::len).collect::<Vec<_>>();
        assert_eq!((&decoy[..28], shape(&decoy)), (&real[..28], shape(&real)), "{decoy} is none");
        assert!(
            argon2::PasswordHash::new(&decoy).is_ok_and(|read| read.salt.is_some() && read.hash.is_some())
        );
    }

    #[tokio::test]
    async fn o52_passwords_are_neither_cut_nor_normalised() {
        let pool = Argon2Pool::with_cost(Random::seeded(3), CHEAP);
        let long = "x".repeat(73);
        let hash = pool.hash(secret(&long)).await.unwrap();
        assert!(!pool.verify(secret(&long[..72]), Some(hash.clone())).await.unwrap());
        assert!(!pool.verify(secret(&format!(" {long}")), Some(hash)).await.unwrap());
        let endless = "x".repeat(MAX_PASSWORD + 1);
        let hash = pool.hash(secret("")).await.unwrap();
        assert!(!pool.verify(secret(&endless), Some(hash)).await.unwrap());
    }

    #[tokio::test]
    async fn s12_a_full_queue_refuses_instead_of_growing() {
        let pool = Argon2Pool::with_cost(Random::seeded(4), CHEAP);
        let waiting: Vec<_> = (0..500).map(|_| pool.verify(secret("x"), None)).collect();
        let mut refused = 0;
        for answer in waiting {
            refused += usize::from(matches!(answer.await, Err(IdpError::Busy)));
        }
        assert!(refused > 0 && refused <= 400, "{refused}");
    }
}
