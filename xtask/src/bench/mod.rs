//! `cargo xtask bench`: Portcullis beside nginx, HAProxy and Envoy, in interleaved rounds on one machine.
//!
//! The figure of record is CPU time per request of the proxy's own processes: on a machine where load generator,
//! proxy and target share the cores, requests per second say little about the proxy. Absolute figures hold for one
//! machine and one hour; ratios within one run are what to compare.

mod load;
mod portcullis;
mod process;
mod report;
mod rivals;

use std::{fs, path::PathBuf, thread, time::Duration};

use anyhow::Context;

use self::load::{Load, Sample};
use crate::{packages, run::cargo};

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Enough to see a ratio.
    Quick,
    /// Enough to publish it.
    Full,
}

impl Effort {
    const fn rounds(self) -> usize {
        match self {
            Self::Quick => 3,
            Self::Full => 7,
        }
    }

    const fn seconds(self) -> u64 {
        match self {
            Self::Quick => 3,
            Self::Full => 8,
        }
    }
}

/// What is compared with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scenario {
    /// A route without plugins.
    Plain,
    /// A route that demands an RS256 access token; the same token each time.
    Bearer,
}

impl Scenario {
    pub(crate) const ALL: [Self; 2] = [Self::Plain, Self::Bearer];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Plain => "Plain route",
            Self::Bearer => "RS256 bearer route",
        }
    }
}

/// A proxy under load, in one of its settings.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) scenario: Scenario,
    pub(crate) url: String,
    /// Place of its process in the list of processes.
    pub(crate) process: usize,
}

/// Ports of one run; high, so that nothing of the system is in the way.
pub(crate) mod ports {
    pub(crate) const TARGET: u16 = 28_080;
    pub(crate) const NGINX: u16 = 28_081;
    pub(crate) const HAPROXY_PLAIN: u16 = 28_082;
    pub(crate) const HAPROXY_BEARER: u16 = 28_083;
    pub(crate) const ENVOY_PLAIN: u16 = 28_084;
    pub(crate) const ENVOY_BEARER: u16 = 28_085;
    pub(crate) const ENVOY_CACHED: u16 = 28_086;
    pub(crate) const PORTCULLIS_OFFSET: u16 = 20_000;
}

/// Measures, and writes `docs/benchmarks.md`.
pub(crate) fn run(effort: Effort) -> anyhow::Result<()> {
    packages::install(packages::FOR_BENCHMARKS)?;
    cargo(&["build", "--release", "--package", "portcullis"])?;
    let folder = PathBuf::from("target/bench");
    fs::create_dir_all(&folder).context("cannot make target/bench")?;
    let folder = fs::canonicalize(folder)?;

    let mut configurations = Vec::new();
    let _target = rivals::target(&folder, &mut configurations)?;
    let (gate, token, startup) = portcullis::start(&folder, &mut configurations)?;
    let (mut processes, mut subjects) = rivals::start(&folder, &token, &mut configurations)?;
    processes.push(gate);
    let own = processes.len() - 1;
    let base = 9080 + ports::PORTCULLIS_OFFSET;
    for (scenario, path) in [(Scenario::Plain, "plain"), (Scenario::Bearer, "bearer")] {
        let name = match scenario {
            Scenario::Plain => "Portcullis",
            Scenario::Bearer => "Portcullis, verdict cached",
        };
        let url = format!("http://127.0.0.1:{base}/{path}");
        subjects.push(Subject { name: name.to_owned(), scenario, url, process: own });
    }
    let idle: Vec<(String, u64)> =
        processes.iter().map(|process| (process.name.clone(), process.pss_kib())).collect();

    let load = Load { seconds: effort.seconds(), connections: 64, token: &token.text };
    for subject in &subjects {
        load.check(subject)?;
    }
    let mut samples: Vec<Vec<Sample>> = subjects.iter().map(|_| Vec::new()).collect();
    for round in 0..effort.rounds() {
        println!("round {} of {}", round + 1, effort.rounds());
        // Every other round runs backwards, so that a drift of the machine favours nobody.
        let mut order: Vec<usize> = (0..subjects.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for place in order {
            let (Some(subject), Some(list)) = (subjects.get(place), samples.get_mut(place)) else { continue };
            let process = processes.get(subject.process).context("a subject without process")?;
            let sample = load.apply(subject, process)?;
            println!(
                "  {:<28} {:>6.1} µs/request {:>8.0} requests/s",
                subject.name, sample.cpu_us, sample.rate
            );
            list.push(sample);
            thread::sleep(Duration::from_millis(300));
        }
    }
    let loaded: Vec<(String, u64)> =
        processes.iter().map(|process| (process.name.clone(), process.pss_kib())).collect();
    let memory = process::Memory { idle, loaded };
    report::write(effort, &subjects, &samples, &memory, &startup, &configurations)
}
