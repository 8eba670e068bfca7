use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
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
