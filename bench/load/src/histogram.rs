//! Latencies, counted in buckets that are at most one percent wide.

/// Buckets for each doubling.
const STEPS: u64 = 128;
/// Doublings of a microsecond: more than an hour.
const DOUBLINGS: u64 = 32;

/// Counts of microseconds.
#[derive(Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    most: u64,
}

impl Histogram {
    /// Without any.
    pub(crate) fn new() -> Self {
        let buckets = usize::try_from(STEPS * (DOUBLINGS + 1)).unwrap_or(usize::MAX);
        Self { counts: vec![0; buckets], most: 0 }
    }

    /// Counts one.
    pub(crate) fn record(&mut self, microseconds: u64) {
        let last = self.counts.len().saturating_sub(1);
        if let Some(count) = self.counts.get_mut(bucket(microseconds).min(last)) {
            *count += 1;
        }
        self.most = self.most.max(microseconds);
    }

    /// How many were counted.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The latency that this share of them does not exceed, in milliseconds.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        // a share of a count
        let rank = ((self.count() as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return milliseconds(upper(bucket).min(self.most));
            }
        }
        milliseconds(self.most)
    }

    /// The longest, in milliseconds.
    pub(crate) fn most(&self) -> f64 {
        milliseconds(self.most)
    }
}

/// Below two times `STEPS` each microsecond has its own bucket; above, each doubling has `STEPS` of them.
fn bucket(microseconds: u64) -> usize {
    let doublings = u64::from((microseconds / STEPS).checked_ilog2().unwrap_or(0));
    usize::try_from(doublings * STEPS + (microseconds >> doublings)).unwrap_or(usize::MAX)
}

/// The largest value of a bucket.
fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let doublings = (bucket / STEPS).saturating_sub(1);
    ((bucket - doublings * STEPS + 1) << doublings) - 1
}

#[allow(clippy::cast_precision_loss)] // hours of microseconds are far below 2^52
fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_value_and_is_at_most_one_percent_wide() {
        for value in (0..100_000).chain([1 << 20, (1 << 31) + 12_345]) {
            let bucket = bucket(value);
            assert!(upper(bucket) >= value, "{value}");
            assert!(bucket == 0 || upper(bucket - 1) < value, "{value}");
            assert!((upper(bucket) - value) * 100 <= value.max(1), "{value}");
        }
    }

    #[test]
    fn quantiles_count_from_the_smallest() {
        let mut histogram = Histogram::new();
        for value in 1..=1000 {
            histogram.record(value * 100);
        }
        assert!((histogram.quantile(0.5) - 50.0).abs() < 0.5);
        assert!((histogram.quantile(0.999) - 99.9).abs() < 1.0);
        assert!((histogram.most() - 100.0).abs() < 1e-9);
    }
}
