//! Counters of the engine: one set per core, added up when somebody asks.

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::StatusCode;

/// Upper bounds of the latency histogram, milliseconds.
const BUCKETS: [u64; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000, 60_000];

/// What one core counts. Only that core writes, so that counting is a load and a store.
#[derive(Debug)]
pub(crate) struct CoreMetrics {
    /// Answers by status; the place is the code less 100.
    status: Box<[AtomicU64]>,
    latency: [AtomicU64; BUCKETS.len() + 1],
    latency_sum_us: AtomicU64,
    connections: AtomicU64,
    connections_open: AtomicU64,
    upstream_failures: AtomicU64,
    refused_heads: AtomicU64,
    log_dropped: AtomicU64,
}

impl CoreMetrics {
    pub(crate) fn new() -> Self {
        Self {
            status: (0..900).map(|_| AtomicU64::new(0)).collect(),
            latency: Default::default(),
            latency_sum_us: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            connections_open: AtomicU64::new(0),
            upstream_failures: AtomicU64::new(0),
            refused_heads: AtomicU64::new(0),
            log_dropped: AtomicU64::new(0),
        }
    }

    pub(crate) fn answered(&self, status: StatusCode, took: Duration) {
        if let Some(count) = self.status.get(usize::from(status.as_u16()).saturating_sub(100)) {
            add(count, 1);
        }
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.iter().position(|bound| millis < *bound).unwrap_or(BUCKETS.len());
        if let Some(count) = self.latency.get(bucket) {
            add(count, 1);
        }
        add(&self.latency_sum_us, u64::try_from(took.as_micros()).unwrap_or(0));
    }

    pub(crate) fn connection_opened(&self) {
        add(&self.connections, 1);
        add(&self.connections_open, 1);
    }

    pub(crate) fn connection_closed(&self) {
        let open = self.connections_open.load(Ordering::Relaxed);
        self.connections_open.store(open.saturating_sub(1), Ordering::Relaxed);
    }

    #[cold]
    pub(crate) fn upstream_failed(&self) {
        add(&self.upstream_failures, 1);
    }

    #[cold]
    pub(crate) fn head_refused(&self) {
        add(&self.refused_heads, 1);
    }

    pub(crate) fn log_dropped(&self, records: u64) {
        add(&self.log_dropped, records);
    }
}

fn add(count: &AtomicU64, by: u64) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

/// All cores' counters in Prometheus' text format, version 0.0.4.
pub(crate) fn render(cores: &[Arc<CoreMetrics>], broken: usize) -> String {
    let sum = |of: &dyn Fn(&CoreMetrics) -> u64| cores.iter().map(|core| of(core)).sum::<u64>();
    let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let mut out = String::new();
    let mut metric = |name: &str, kind: &str, help: &str, samples: &[(String, u64)]| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(out, "{name}{labels} {value}");
        }
    };
    let by_status: Vec<(String, u64)> = (100..1000_usize)
        .filter_map(|code| {
            let count = sum(&|core| core.status.get(code - 100).map_or(0, load));
            (count > 0).then(|| (format!("{{code=\"{code}\"}}"), count))
        })
        .collect();
    let total = by_status.iter().map(|(_, count)| count).sum::<u64>();
    metric("portcullis_http_status", "counter", "Answers by status code.", &by_status);
    metric("apisix_http_requests_total", "counter", "Requests answered.", &[(String::new(), total)]);
    let mut below = 0;
    let mut buckets: Vec<(String, u64)> = BUCKETS
        .iter()
        .enumerate()
        .map(|(place, bound)| {
            below += sum(&|core| core.latency.get(place).map_or(0, load));
            (format!("_bucket{{le=\"{bound}\"}}"), below)
        })
        .collect();
    buckets.push(("_bucket{le=\"+Inf\"}".to_owned(), total));
    buckets.push(("_sum".to_owned(), sum(&|core| load(&core.latency_sum_us)) / 1000));
    buckets.push(("_count".to_owned(), total));
    metric("portcullis_http_latency", "histogram", "Time to the answer's head, milliseconds.", &buckets);
    let open = sum(&|core| load(&core.connections_open));
    metric(
        "apisix_nginx_http_current_connections",
        "gauge",
        "Client connections.",
        &[
            ("{state=\"active\"}".to_owned(), open),
            ("{state=\"accepted\"}".to_owned(), sum(&|core| load(&core.connections))),
        ],
    );
    let plain = |value| [(String::new(), value)];
    metric(
        "portcullis_upstream_failures_total",
        "counter",
        "Tries that failed on the way to a target.",
        &plain(sum(&|core| load(&core.upstream_failures))),
    );
    metric(
        "portcullis_refused_heads_total",
        "counter",
        "Requests refused before routing.",
        &plain(sum(&|core| load(&core.refused_heads))),
    );
    metric(
        "portcullis_access_log_dropped_total",
        "counter",
        "Access log lines lost because the log could not be written fast enough.",
        &plain(sum(&|core| load(&core.log_dropped))),
    );
    metric(
        "portcullis_broken_resources",
        "gauge",
        "Stored resources that could not be compiled.",
        &plain(broken as u64),
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cores_are_added_up_and_buckets_accumulate() {
        let cores = [Arc::new(CoreMetrics::new()), Arc::new(CoreMetrics::new())];
        cores[0].answered(StatusCode::OK, Duration::from_millis(3));
        cores[1].answered(StatusCode::OK, Duration::from_millis(700));
        let text = render(&cores, 1);
        assert!(text.contains("portcullis_http_status{code=\"200\"} 2\n"), "{text}");
        assert!(text.contains("portcullis_http_latency_bucket{le=\"5\"} 1\n"), "{text}");
        assert!(text.contains("portcullis_http_latency_bucket{le=\"+Inf\"} 2\n"), "{text}");
        assert!(text.contains("portcullis_broken_resources 1\n"), "{text}");
    }
}
