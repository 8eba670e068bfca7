use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

/// What is known of one node of an upstream while the process runs. It is found again when the configuration changes and
/// the node stays.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    /// Requests of all cores that the node has not finished.
    busy: AtomicU32,
    /// [`Health`], packed: cores read and change it without a lock.
    health: AtomicU64,
    /// [`Pace`], packed the same way.
    pace: AtomicU64,
    /// Told when the node becomes well or ill.
    pub(super) turned: Notify,
}

impl Vitals {
    /// How many requests the node is at.
    pub(super) fn busy(&self) -> u32 {
        self.busy.load(Ordering::Relaxed)
    }

    /// Counts a request for as long as what is returned is kept.
    pub(super) fn engage(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// How fast it answered lately, as of `now`; `None`: nobody knows.
    pub(super) fn pace(&self, now: Duration) -> Option<f32> {
        Pace::unpack(self.pace.load(Ordering::Relaxed)).map(|pace| pace.after(Duration::ZERO, now).millis)
    }

    /// Takes an answer's time into account.
    pub(super) fn answered(&self, took: Duration, now: Duration) {
        let change = |packed| {
            let fresh = Pace::new(took.as_secs_f32() * 1000.0, now);
            Some(Pace::unpack(packed).map_or(fresh, |pace| pace.after(took, now)).pack())
        };
        let _ = self.pace.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
    }

    /// Has a node of which nobody knows how fast it is begin with what others have.
    pub(super) fn begin_with(&self, millis: f32, now: Duration) {
        let fresh = Pace::new(millis, now).pack();
        let _ = self.pace.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// How the node is.
    pub(super) fn health(&self) -> Health {
        Health::unpack(self.health.load(Ordering::Relaxed))
    }

    /// Holds the node to be well or ill from now on, whatever was counted. `true`: that is news.
    pub(super) fn settle(&self, is_well: bool) -> bool {
        let state = if is_well { HEALTHY } else { UNHEALTHY };
        let before = self.health.swap(Health { state, ..Health::default() }.pack(), Ordering::Relaxed);
        let turned = Health::unpack(before).is_well() != is_well;
        if turned {
            self.turned.notify_waiters();
        }
        turned
    }

    /// Counts for or against the node; `limit` of its kind decide. `Some`: it has become well (`true`) or ill.
    pub(super) fn count(&self, counter: Counter, limit: u8) -> Option<bool> {
        let change = |packed| Health::unpack(packed).after(counter, limit).map(Health::pack);
        let before = self.health.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).ok()?;
        let before = Health::unpack(before);
        let is_well = before.after(counter, limit)?.is_well();
        if is_well == before.is_well() {
            return None;
        }
        self.turned.notify_waiters();
        Some(is_well)
    }
}

/// A request that a node is at.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Vitals>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The mean time of answers, of which what was ten seconds ago counts about a third of what is now.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pace {
    millis: f32,
    /// When it was last changed, in hundredths of a second.
    at: u32,
}

impl Pace {
    /// Seconds.
    const DECAY: f32 = 10.0;

    fn new(millis: f32, now: Duration) -> Self {
        // From 1, so that a pace is never packed to 0. After 497 days it stands still.
        let at = u32::try_from(now.as_millis() / 10).unwrap_or(u32::MAX).saturating_add(1);
        Self { millis, at }
    }

    fn after(self, took: Duration, now: Duration) -> Self {
        let next = Self::new(took.as_secs_f32() * 1000.0, now);
        // Exact up to 46 hours, by when nothing is left of it.
        #[allow(clippy::cast_precision_loss)]
        let passed = next.at.saturating_sub(self.at) as f32 / 100.0;
        let kept = (-passed / Self::DECAY).exp();
        Self { millis: self.millis.mul_add(kept, next.millis * (1.0 - kept)), ..next }
    }

    fn pack(self) -> u64 {
        u64::from(self.millis.to_bits()) << 32 | u64::from(self.at)
    }

    fn unpack(packed: u64) -> Option<Self> {
        let [a, b, c, d, at @ ..] = packed.to_be_bytes();
        let pace = Self { millis: f32::from_be_bytes([a, b, c, d]), at: u32::from_be_bytes(at) };
        (packed != 0).then_some(pace)
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counter {
    Successes,
    HttpFailures,
    TcpFailures,
    Timeouts,
}

/// How a node is, and what was counted since. Failures put an end to the count of successes, and a success to those of
/// all failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// In words: 0 `healthy`, 1 `mostly_healthy`, 2 `mostly_unhealthy`, 3 `unhealthy`.
    state: u8,
    /// Successes in a row.
    pub successes: u8,
    /// Statuses that count against it.
    pub http_failures: u8,
    /// Failed connections and broken exchanges.
    pub tcp_failures: u8,
    /// Timeouts.
    pub timeouts: u8,
}

const HEALTHY: u8 = 0;
const MOSTLY_HEALTHY: u8 = 1;
const MOSTLY_UNHEALTHY: u8 = 2;
const UNHEALTHY: u8 = 3;

impl Health {
    /// Whether it is given requests.
    pub const fn is_well(self) -> bool {
        self.state <= MOSTLY_HEALTHY
    }

    /// `healthy`, `mostly_healthy` (something counts against it), `mostly_unhealthy` (something counts for it) or
    /// `unhealthy`.
    pub const fn word(self) -> &'static str {
        match self.state {
            HEALTHY => "healthy",
            MOSTLY_HEALTHY => "mostly_healthy",
            MOSTLY_UNHEALTHY => "mostly_unhealthy",
            _ => "unhealthy",
        }
    }

    const fn pack(self) -> u64 {
        let Self { state, successes, http_failures, tcp_failures, timeouts } = self;
        u64::from_le_bytes([state, successes, http_failures, tcp_failures, timeouts, 0, 0, 0])
    }

    const fn unpack(packed: u64) -> Self {
        let [state, successes, http_failures, tcp_failures, timeouts, ..] = packed.to_le_bytes();
        Self { state, successes, http_failures, tcp_failures, timeouts }
    }

    /// How it is when one more has been counted; `None`: as it was.
    fn after(self, counter: Counter, limit: u8) -> Option<Self> {
        let success = counter == Counter::Successes;
        let settled = if success { HEALTHY } else { UNHEALTHY };
        if self.state == settled {
            return None;
        }
        let mut next = if success {
            Self { http_failures: 0, tcp_failures: 0, timeouts: 0, ..self }
        } else {
            Self { successes: 0, ..self }
        };
        let count = match counter {
            Counter::Successes => &mut next.successes,
            Counter::HttpFailures => &mut next.http_failures,
            Counter::TcpFailures => &mut next.tcp_failures,
            Counter::Timeouts => &mut next.timeouts,
        };
        *count = count.saturating_add(1);
        next.state = match self.state {
            _ if *count >= limit => settled,
            HEALTHY => MOSTLY_HEALTHY,
            UNHEALTHY => MOSTLY_UNHEALTHY,
            state => state,
        };
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_make_a_node_ill_and_successes_in_a_row_well_again() {
        let vitals = Vitals::default();
        let count = |counter, limit| (vitals.count(counter, limit), vitals.health().word());
        use Counter::{HttpFailures, Successes, TcpFailures, Timeouts};
        assert_eq!(count(Successes, 1), (None, "healthy"));
        assert_eq!(count(TcpFailures, 2), (None, "mostly_healthy"));
        assert_eq!(count(HttpFailures, 2), (None, "mostly_healthy"));
        assert_eq!(count(Successes, 2), (None, "mostly_healthy"), "failures are forgotten");
        assert_eq!(count(TcpFailures, 2), (None, "mostly_healthy"));
        assert_eq!(count(TcpFailures, 2), (Some(false), "unhealthy"));
        assert_eq!(count(Timeouts, 1), (None, "unhealthy"));
        assert_eq!(count(Successes, 2), (None, "mostly_unhealthy"));
        assert_eq!(count(Timeouts, 2), (None, "mostly_unhealthy"), "successes are forgotten");
        assert_eq!(count(Successes, 2), (None, "mostly_unhealthy"));
        assert_eq!(count(Successes, 2), (Some(true), "healthy"));
    }

    #[test]
    fn what_somebody_says_of_a_node_holds_until_something_else_is_counted() {
        let vitals = Vitals::default();
        assert!(vitals.settle(false) && !vitals.settle(false));
        assert_eq!(vitals.health().word(), "unhealthy");
        assert_eq!(vitals.count(Counter::Successes, 2), None);
        assert!(vitals.settle(true), "what was counted is forgotten");
        assert_eq!(vitals.health(), Health::default());
        assert_eq!(vitals.count(Counter::TcpFailures, 1), Some(false));
    }

    #[test]
    fn a_pace_follows_the_answers_and_is_forgotten_in_time() {
        let (vitals, second) = (Vitals::default(), Duration::from_secs);
        assert_eq!(vitals.pace(second(5)), None);
        vitals.answered(Duration::from_millis(100), second(10));
        assert_eq!(vitals.pace(second(10)), Some(100.0));
        vitals.begin_with(7.0, second(10));
        let later = vitals.pace(second(20)).unwrap();
        assert!((later - 36.8).abs() < 0.1, "{later}");
        vitals.answered(Duration::from_millis(300), second(20));
        let mixed = vitals.pace(second(20)).unwrap();
        assert!((mixed - 226.4).abs() < 0.1, "{mixed}");
        vitals.answered(Duration::ZERO, second(500));
        assert!(vitals.pace(second(500)).unwrap() < 0.01);
        let new = Vitals::default();
        new.begin_with(7.0, second(0));
        assert_eq!(new.pace(second(0)), Some(7.0));
    }

    #[test]
    fn counts_do_not_run_into_one_another() {
        let vitals = Vitals::default();
        for _ in 0..600 {
            vitals.count(Counter::HttpFailures, 0xff);
        }
        let health = vitals.health();
        assert_eq!((health.http_failures, health.tcp_failures, health.word()), (0xff, 0, "unhealthy"));
        assert_eq!(Health::unpack(health.pack()), health);
    }
}
