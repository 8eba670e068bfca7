//! Counters of the engine: one set per core, added up when somebody asks.

use std::{
    cell::Cell,
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
    connections_reading: AtomicU64,
    connections_answering: AtomicU64,
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
            connections_reading: AtomicU64::new(0),
            connections_answering: AtomicU64::new(0),
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

fn take(count: &AtomicU64, by: u64) {
    count.store(count.load(Ordering::Relaxed).saturating_sub(by), Ordering::Relaxed);
}

/// What a client's connection is about, counted among those of its core from its beginning to its end.
#[derive(Debug)]
pub(crate) struct Occupation {
    core: Arc<CoreMetrics>,
    /// Requests that are being answered; over HTTP/1.1 one at most.
    answering: Cell<usize>,
    /// Whether a handshake or a head has begun and is not over.
    reading: Cell<bool>,
}

impl Occupation {
    /// A connection has come.
    pub(crate) fn new(core: &Arc<CoreMetrics>) -> Self {
        add(&core.connections, 1);
        add(&core.connections_open, 1);
        Self { core: Arc::clone(core), answering: Cell::new(0), reading: Cell::new(false) }
    }

    /// A request has come, or a tunnel.
    pub(crate) fn begin(&self) {
        if self.answering.replace(self.answering.get() + 1) == 0 {
            add(&self.core.connections_answering, 1);
        }
    }

    /// It is answered.
    pub(crate) fn end(&self) {
        if self.answering.replace(self.answering.get().saturating_sub(1)) == 1 {
            take(&self.core.connections_answering, 1);
        }
    }

    /// Whether a request is being answered.
    pub(crate) fn is_answering(&self) -> bool {
        self.answering.get() > 0
    }

    /// Notes whether a handshake or a head has begun and is not over.
    pub(crate) fn set_reading(&self, reading: bool) {
        match (self.reading.replace(reading), reading) {
            (false, true) => add(&self.core.connections_reading, 1),
            (true, false) => take(&self.core.connections_reading, 1),
            _ => {}
        }
    }
}

impl Drop for Occupation {
    fn drop(&mut self) {
        self.set_reading(false);
        // Clients go away in the middle of an answer.
        if self.is_answering() {
            take(&self.core.connections_answering, 1);
        }
        take(&self.core.connections_open, 1);
    }
}

/// Counts of the cores of one engine, which whoever has a clone can add up.
#[derive(Clone, Debug)]
pub struct Traffic(pub(crate) Arc<[Arc<CoreMetrics>]>);

/// What the cores count of clients, added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Connections since the start.
    pub accepted: u64,
    /// Connections that are open.
    pub open: u64,
    /// Those of them on which a handshake or a head has begun and is not over.
    pub reading: u64,
    /// Those on which a request is being answered.
    pub answering: u64,
    /// Requests answered since the start.
    pub requests: u64,
}

impl Traffic {
    /// Of an engine with so many cores, at least one.
    pub fn of(cores: usize) -> Self {
        Self((0..cores.max(1)).map(|_| Arc::new(CoreMetrics::new())).collect())
    }

    /// All cores' counts of this moment.
    pub fn totals(&self) -> Totals {
        let sum = |of: fn(&CoreMetrics) -> &AtomicU64| {
            self.0.iter().map(|core| of(core).load(Ordering::Relaxed)).sum::<u64>()
        };
        let answers = self.0.iter().flat_map(|core| core.status.iter());
        Totals {
            accepted: sum(|core| &core.connections),
            open: sum(|core| &core.connections_open),
            reading: sum(|core| &core.connections_reading),
            answering: sum(|core| &core.connections_answering),
            requests: answers.map(|count| count.load(Ordering::Relaxed)).sum(),
        }
    }
}

impl Totals {
    /// Connections that are open and wait for a request.
    pub const fn waiting(&self) -> u64 {
        self.open.saturating_sub(self.reading).saturating_sub(self.answering)
    }
}

/// All cores' counters in Prometheus' text format, version 0.0.4.
pub(crate) fn render(traffic: &Traffic, broken: usize) -> String {
    let sum = |of: &dyn Fn(&CoreMetrics) -> u64| traffic.0.iter().map(|core| of(core)).sum::<u64>();
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
    let totals = traffic.totals();
    let connections = [
        ("active", totals.open),
        ("accepted", totals.accepted),
        ("handled", totals.accepted),
        ("reading", totals.reading),
        ("writing", totals.answering),
        ("waiting", totals.waiting()),
    ];
    metric(
        "apisix_nginx_http_current_connections",
        "gauge",
        "Client connections.",
        &connections.map(|(state, count)| (format!("{{state=\"{state}\"}}"), count)),
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
        let traffic = Traffic::of(2);
        traffic.0[0].answered(StatusCode::OK, Duration::from_millis(3));
        traffic.0[1].answered(StatusCode::OK, Duration::from_millis(700));
        let text = render(&traffic, 1);
        assert!(text.contains("portcullis_http_status{code=\"200\"} 2\n"), "{text}");
        assert!(text.contains("portcullis_http_latency_bucket{le=\"5\"} 1\n"), "{text}");
        assert!(text.contains("portcullis_http_latency_bucket{le=\"+Inf\"} 2\n"), "{text}");
        assert!(text.contains("portcullis_broken_resources 1\n"), "{text}");
    }
    #[test]
    fn a_connection_is_counted_by_what_it_is_about_until_it_ends() {
        let traffic = Traffic::of(2);
        let counts = || {
            let totals = traffic.totals();
            [totals.accepted, totals.open, totals.reading, totals.answering, totals.waiting()]
        };
        let (one, other) = (Occupation::new(&traffic.0[0]), Occupation::new(&traffic.0[1]));
        one.set_reading(true);
        one.set_reading(true);
        assert_eq!(counts(), [2, 2, 1, 0, 1]);
        one.set_reading(false);
        other.begin();
        other.begin();
        other.end();
        assert_eq!(counts(), [2, 2, 0, 1, 1]);
        drop(other);
        assert_eq!(counts(), [2, 1, 0, 0, 1]);
        one.set_reading(true);
        drop(one);
        assert_eq!(counts(), [2, 0, 0, 0, 0]);
    }
}
