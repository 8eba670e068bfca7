use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use base::UnixMillis;

use super::{LOGIN_LIFETIME, Login};

/// States that are remembered at a time, about 5 MB.
const CAPACITY: usize = 100_000;

/// The states that have bought their exchange, for the whole process: one `state` buys one, also with ten at once
/// (RFC 9700 section 4.7). Asked once for each callback, never on a warm request.
///
/// It is bounded: when it is full, logins that began no later than the oldest one in it count as used. After a restart
/// it is empty; then the provider's own rule, that a code is good once, still holds.
#[derive(Debug)]
pub struct UsedStates {
    inner: Mutex<Inner>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Inner {
    /// When the login began, and its state.
    used: BTreeSet<(UnixMillis, Box<str>)>,
    /// Logins that began by then count as used.
    floor: Option<UnixMillis>,
}

impl Default for UsedStates {
    fn default() -> Self {
        Self { inner: Mutex::default(), capacity: CAPACITY }
    }
}

impl UsedStates {
    /// Uses `login`'s state. `false` if it was used before.
    pub fn claim(&self, login: &Login, now: UnixMillis) -> bool {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        while inner.used.first().is_some_and(|(created, _)| now.since(*created) >= LOGIN_LIFETIME) {
            inner.used.pop_first();
        }
        if inner.floor.is_some_and(|floor| login.created <= floor) {
            return false;
        }
        let fresh = inner.used.insert((login.created, login.state.as_str().into()));
        if inner.used.len() > self.capacity {
            inner.floor = inner.used.pop_first().map(|(created, _)| created).max(inner.floor);
        }
        fresh
    }
}

#[cfg(test)]
mod tests {
    use base::Random;

    use super::*;

    fn login(second: i64) -> Login {
        Login::begin(&Random::system(), UnixMillis::from_secs(second), "https://a", "/", "https://a/cb")
    }

    #[test]
    fn r02_a_state_buys_one_exchange_also_with_fifty_at_once() {
        let (states, login) = (UsedStates::default(), login(0));
        let won = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..50).map(|_| scope.spawn(|| states.claim(&login, UnixMillis(0)))).collect();
            threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum::<usize>()
        });
        assert_eq!(won, 1);
    }

    #[test]
    fn r26_a_flood_of_callbacks_stays_bounded_and_never_makes_a_state_good_again() {
        let states = UsedStates { capacity: 10, ..UsedStates::default() };
        let logins: Vec<Login> = (0..30).map(login).collect();
        let now = UnixMillis::from_secs(30);
        assert!(logins.iter().all(|login| states.claim(login, now)));
        assert_eq!(states.inner.lock().unwrap().used.len(), 10);
        assert!(!logins.iter().any(|login| states.claim(login, now)));
        assert!(states.claim(&login(30), now));
    }
}
