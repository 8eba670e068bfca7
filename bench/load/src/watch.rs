//! What other processes cost so far, from `/proc`.

use std::{fs, path::Path};

/// Of all threads of some processes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Time on a core, nanoseconds.
    pub(crate) cpu: u64,
    /// How often a thread waited, or was made to wait.
    pub(crate) switches: u64,
}

/// Adds it up. A thread that has ended is not in it any more.
pub(crate) fn cost(processes: &[u32]) -> Cost {
    let mut cost = Cost::default();
    for process in processes {
        for thread in fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten() {
            cost.cpu += on_core(&thread.path());
            cost.switches += switches(&thread.path());
        }
    }
    cost
}

/// The first number of `schedstat`.
fn on_core(thread: &Path) -> u64 {
    let text = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0)
}

fn switches(thread: &Path) -> u64 {
    let text = fs::read_to_string(thread.join("status")).unwrap_or_default();
    text.lines().filter_map(|line| line.split_once("ctxt_switches:")?.1.trim().parse::<u64>().ok()).sum()
}
