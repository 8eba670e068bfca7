//! What is counted outside the engine, in Prometheus' text format.

use std::fmt::Write;

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
