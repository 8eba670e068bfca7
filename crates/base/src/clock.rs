use std::{
    fmt,
    ops::{Add, Sub},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

/// A moment on the wall clock: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// The moment that lies `seconds` after the epoch, the unit of JWT claims (RFC 7519 section 2, NumericDate).
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Time from `earlier` to this moment; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for UnixMillis {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(later.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for UnixMillis {
    type Output = Self;

    fn sub(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(earlier.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// The process's clock. Clones share one time, so advancing any of them moves all.
#[derive(Clone)]
pub struct Clock(Arc<Source>);

struct Source {
    /// `None` reads the system's clock; otherwise time stands still here until advanced.
    fixed: Option<UnixMillis>,
    /// Milliseconds added by [`Clock::advance`].
    offset: AtomicI64,
    started: Instant,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::new(None)
    }

    /// A clock that stands at `now` until it is advanced.
    pub fn fixed(now: UnixMillis) -> Self {
        Self::new(Some(now))
    }

    fn new(fixed: Option<UnixMillis>) -> Self {
        Self(Arc::new(Source { fixed, offset: AtomicI64::new(0), started: Instant::now() }))
    }

    /// The wall clock.
    pub fn now(&self) -> UnixMillis {
        let base = self.0.fixed.map_or_else(system_now, |now| now.0);
        UnixMillis(base.saturating_add(self.0.offset.load(Ordering::Relaxed)))
    }

    /// Time since this clock was made, which no change of the wall clock moves. For durations in logs and metrics.
    pub fn monotonic(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// Moves the wall clock forward, for `dev --test-clock` and tests.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        let _ = self
            .0
            .offset
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| Some(old.saturating_add(by)));
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

fn system_now() -> i64 {
    match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_a_clock_move_together() {
        let clock = Clock::fixed(UnixMillis::from_secs(10));
        let other = clock.clone();
        other.advance(Duration::from_secs(5));
        assert_eq!(clock.now(), UnixMillis::from_secs(15));
    }

    #[test]
    fn time_since_a_later_moment_is_zero() {
        assert_eq!(UnixMillis(1).since(UnixMillis(5)), Duration::ZERO);
        assert_eq!(UnixMillis(-1).secs(), -1);
    }
}
