//! What is counted outside the engine, in Prometheus' text format.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
};

use plugins::exchange_log::{self, Counts};
use rp::bearer::{CacheCounts, cache_counts};

/// Of the caches that every core has: verified tokens, opened sessions, tokens obtained for clients.
pub(crate) fn caches() -> String {
    type Of = fn(&CacheCounts) -> u64;
    const METRICS: [(&str, &str, Of); 3] = [
        ("hits", "Look-ups that found something.", |counts| counts.hits),
        ("misses", "Look-ups that found nothing.", |counts| counts.misses),
        ("evictions", "Entries that made room for others.", |counts| counts.evicted),
    ];
    let counts = cache_counts();
    let mut out = String::new();
    for (name, help, of) in METRICS {
        // Writing to a string does not fail.
        let _ = writeln!(out, "# HELP portcullis_cache_{name}_total {help}");
        let _ = writeln!(out, "# TYPE portcullis_cache_{name}_total counter");
        for (cache, counts) in &counts {
            let _ = writeln!(out, "portcullis_cache_{name}_total{{cache=\"{cache}\"}} {}", of(counts));
        }
    }
    out
}

/// Of the logs that plugins write: entries sent, left out because a queue was full, and given up.
pub(crate) fn logs() -> String {
    type Of = fn(&Counts) -> &AtomicU64;
    const OUTCOMES: [(&str, Of); 3] = [
        ("sent", |counts| &counts.sent),
        ("dropped", |counts| &counts.dropped),
        ("failed", |counts| &counts.failed),
    ];
    let name = "portcullis_log_entries_total";
    let mut out = format!("# HELP {name} Entries of logs that plugins write.\n# TYPE {name} counter\n");
    for (log, counts) in exchange_log::counts() {
        for (outcome, of) in OUTCOMES {
            let count = of(&counts).load(Ordering::Relaxed);
            // Writing to a string does not fail.
            let _ = writeln!(out, "{name}{{log=\"{log}\",outcome=\"{outcome}\"}} {count}");
        }
    }
    out
}
