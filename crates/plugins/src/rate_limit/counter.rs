//! One counter, as one word that all cores change by compare-and-swap: a window and what was counted in it are never
//! seen apart, so that no request is counted in the wrong window and none slips through between two.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Milliseconds of the unit in which windows begin.
const TICK: i64 = 10;
/// Bits of a count; the rest of the word is the tick at which the window began, in a round of 21 years.
const COUNT_BITS: u32 = 28;
/// The most that a fixed window counts.
pub const MAX_COUNT: u64 = (1 << COUNT_BITS) - 1;
const START_BITS: u32 = 64 - COUNT_BITS;
const START_MASK: u64 = (1 << START_BITS) - 1;
/// Bits of each of the two counts of a sliding window.
const SLIDING_BITS: u32 = 24;
/// The most that a sliding window counts.
pub const MAX_SLIDING: u64 = (1 << SLIDING_BITS) - 1;

/// A counter of one key.
#[derive(Debug, Default)]
pub(super) struct Counter {
    word: AtomicU64,
    /// When nothing of it matters any more, Unix milliseconds.
    expires: AtomicI64,
}

/// A window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    /// So many milliseconds from the first request in it.
    FromFirst(i64),
    /// From the first to the second moment, Unix milliseconds.
    Between(i64, i64),
    /// So many milliseconds back from now, of which the part before the last round number is estimated.
    Sliding(i64),
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spent {
    /// Whether there was room for it; otherwise it was not counted.
    pub(super) allowed: bool,
    /// Counted in the window, this request included.
    pub(super) used: u64,
    /// Milliseconds until the window ends.
    pub(super) reset: i64,
}

impl Counter {
    /// Counts one request in, unless `limit` are.
    pub(super) fn spend(&self, span: Span, limit: u64, now: i64) -> Spent {
        let (spent, expires) = match span {
            Span::FromFirst(length) => self.fixed(
                limit.min(MAX_COUNT),
                now,
                |start| {
                    let elapsed = since(start, now);
                    if elapsed < length { Some(length - elapsed) } else { None }
                },
                (now, length),
            ),
            Span::Between(start, end) => self.fixed(
                limit.min(MAX_COUNT),
                now,
                |found| (found == ticks(start)).then_some(end - now),
                (start, end - now),
            ),
            Span::Sliding(length) => self.sliding(limit.min(MAX_SLIDING), now, length),
        };
        if self.expires.load(Ordering::Relaxed) < expires {
            self.expires.store(expires, Ordering::Relaxed);
        }
        spent
    }

    /// Counts a request out again that another limit stopped.
    pub(super) fn refund(&self) {
        let less = |word: u64| {
            // The last count of both layouts is in the lowest bits.
            (word & MAX_SLIDING > 0).then(|| word - 1)
        };
        // Nothing to take back is nothing to do.
        let _ = self.word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Whether nothing of it matters at `now`.
    pub(super) fn is_over(&self, now: i64) -> bool {
        self.expires.load(Ordering::Relaxed) <= now
    }

    /// `left` says how long the window lasts that began at a tick, and nothing of one that is over; `new` is the
    /// beginning of the next, and its length.
    fn fixed(
        &self,
        limit: u64,
        now: i64,
        left: impl Fn(u64) -> Option<i64>,
        new: (i64, i64),
    ) -> (Spent, i64) {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let (start, count) = (word >> COUNT_BITS, word & MAX_COUNT);
            let current = if count == 0 { None } else { left(start) };
            let (start, count, reset) = match current {
                Some(reset) => (start, count, reset),
                None => (ticks(new.0), 0, new.1),
            };
            let expires = now.saturating_add(reset);
            if count >= limit {
                return (Spent { allowed: false, used: count, reset }, expires);
            }
            let next = (start << COUNT_BITS) | (count + 1);
            match self.word.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return (Spent { allowed: true, used: count + 1, reset }, expires),
                Err(newer) => word = newer,
            }
        }
    }

    fn sliding(&self, limit: u64, now: i64, length: i64) -> (Spent, i64) {
        let length = length.max(1);
        let (round, offset) = (now.div_euclid(length), now.rem_euclid(length));
        // Two counts of 24 bits, and of the round's number as much as is left.
        let index = u64::try_from(round).unwrap_or(0) & 0xffff;
        let reset = length - offset;
        let expires = now.saturating_add(reset).saturating_add(length);
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let found = word >> (2 * SLIDING_BITS);
            let (before, current) = ((word >> SLIDING_BITS) & MAX_SLIDING, word & MAX_SLIDING);
            let (before, current) = match index.wrapping_sub(found) & 0xffff {
                0 => (before, current),
                1 => (current, 0),
                _ => (0, 0),
            };
            let weight = u64::try_from(reset).unwrap_or(0);
            let whole = u64::try_from(length).unwrap_or(1);
            let used = before.saturating_mul(weight).div_ceil(whole) + current;
            if used >= limit {
                return (Spent { allowed: false, used, reset }, expires);
            }
            let next = (index << (2 * SLIDING_BITS)) | (before << SLIDING_BITS) | (current + 1);
            match self.word.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return (Spent { allowed: true, used: used + 1, reset }, expires),
                Err(newer) => word = newer,
            }
        }
    }
}

/// A moment in the unit and the round of a counter's word.
fn ticks(millis: i64) -> u64 {
    u64::try_from(millis.div_euclid(TICK)).unwrap_or(0) & START_MASK
}

/// Milliseconds from the tick `start` to `now`; none when the clock was set back.
fn since(start: u64, now: i64) -> i64 {
    let passed = ticks(now).wrapping_sub(start) & START_MASK;
    if passed > START_MASK / 2 { 0 } else { i64::try_from(passed).unwrap_or(0) * TICK }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    #[test]
    fn a_fixed_window_begins_with_its_first_request() {
        let counter = Counter::default();
        let spend = |at: i64| counter.spend(Span::FromFirst(1000), 2, NOW + at);
        assert_eq!(spend(500), Spent { allowed: true, used: 1, reset: 1000 });
        assert_eq!(spend(700), Spent { allowed: true, used: 2, reset: 800 });
        assert_eq!(spend(1400), Spent { allowed: false, used: 2, reset: 100 });
        assert_eq!(spend(1500), Spent { allowed: true, used: 1, reset: 1000 });
        counter.refund();
        assert_eq!(spend(1600).used, 1);
        assert!(!counter.is_over(NOW + 1700) && counter.is_over(NOW + 9000));
    }

    #[test]
    fn a_calendar_window_ends_with_its_period() {
        let counter = Counter::default();
        let minute = |at: i64| {
            let start = (NOW + at).div_euclid(60_000) * 60_000;
            counter.spend(Span::Between(start, start + 60_000), 1, NOW + at)
        };
        assert!(minute(59_000).allowed);
        assert_eq!(minute(59_900), Spent { allowed: false, used: 1, reset: 100 });
        assert_eq!(minute(60_000), Spent { allowed: true, used: 1, reset: 60_000 });
    }

    #[test]
    fn a_sliding_window_remembers_what_came_before_the_round_number() {
        let counter = Counter::default();
        let spend = |at: i64| counter.spend(Span::Sliding(1000), 10, NOW + at).allowed;
        assert_eq!((0..12).filter(|_| spend(900)).count(), 10);
        // A tenth into the next window, nine tenths of the last one still count.
        assert_eq!((0..12).filter(|_| spend(1100)).count(), 1);
        assert_eq!((0..12).filter(|_| spend(1500)).count(), 4);
        assert_eq!((0..12).filter(|_| spend(9000)).count(), 10);
    }

    #[test]
    fn a_clock_that_is_set_back_opens_nothing() {
        let counter = Counter::default();
        assert!(counter.spend(Span::FromFirst(1000), 1, NOW).allowed);
        assert!(!counter.spend(Span::FromFirst(1000), 1, NOW - 500).allowed);
    }

    #[test]
    fn many_threads_spend_exactly_what_there_is() {
        for span in [Span::FromFirst(60_000), Span::Sliding(60_000), Span::Between(NOW, NOW + 60_000)] {
            let counter = Arc::new(Counter::default());
            let spenders: Vec<_> = (0..4)
                .map(|_| {
                    let counter = Arc::clone(&counter);
                    thread::spawn(move || {
                        (0..5000).filter(|_| counter.spend(span, 7777, NOW).allowed).count()
                    })
                })
                .collect();
            let spent: usize = spenders.into_iter().map(|spender| spender.join().unwrap()).sum();
            assert_eq!(spent, 7777, "{span:?}");
        }
    }
}
