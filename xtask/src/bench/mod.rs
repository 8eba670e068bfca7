//! `cargo xtask bench`: Portcullis beside nginx, HAProxy and Envoy, in interleaved rounds on one machine.
//!
//! The figure of record is CPU time per request of the proxy's own processes: on a machine where load generator,
//! proxy and target share the cores, requests per second say little about the proxy. Absolute figures hold for one
//! machine and one hour; ratios within one run are what to compare.

mod admin;
mod keys;
mod load;
mod login;
mod portcullis;
mod process;
mod report;
mod rivals;
pub(crate) mod scale;
mod tokens;

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::Context;

use self::{
    load::{Load, Sample},
    portcullis::Credentials,
    report::Results,
};
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
    /// A route that demands an access token: RS256, the same one each time.
    Rs256Warm,
    /// RS256, another one each time.
    Rs256Cold,
    /// ES256, the same one each time.
    Es256Warm,
    /// ES256, another one each time.
    Es256Cold,
    /// A token that an introspection endpoint judged before.
    Introspection,
    /// A browser's session cookie after a login.
    Session,
}

impl Scenario {
    pub(crate) const ALL: [Self; 7] = [
        Self::Plain,
        Self::Rs256Warm,
        Self::Rs256Cold,
        Self::Es256Warm,
        Self::Es256Cold,
        Self::Introspection,
        Self::Session,
    ];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Plain => "Plain route",
            Self::Rs256Warm => "RS256 bearer, one token",
            Self::Rs256Cold => "RS256 bearer, every token new",
            Self::Es256Warm => "ES256 bearer, one token",
            Self::Es256Cold => "ES256 bearer, every token new",
            Self::Introspection => "Introspected bearer, answer cached",
            Self::Session => "Session cookie",
        }
    }

    /// Route of Portcullis that it is measured on.
    const fn path(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Rs256Warm | Self::Rs256Cold | Self::Es256Warm | Self::Es256Cold => "bearer",
            Self::Introspection => "introspected",
            Self::Session => "session",
        }
    }

    /// The same request each time, so that what it costs in allocations is a figure of its own.
    const fn is_steady(self) -> bool {
        !matches!(self, Self::Rs256Cold | Self::Es256Cold)
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

impl Subject {
    /// What every other scenario is held against.
    fn is_reference(&self) -> bool {
        self.name == "nginx" && self.scenario == Scenario::Plain
    }
}

/// Ports of one run; high, so that nothing of the system is in the way.
pub(crate) mod ports {
    pub(crate) const TARGET: u16 = 28_080;
    pub(crate) const NGINX: u16 = 28_081;
    pub(crate) const HAPROXY_PLAIN: u16 = 28_082;
    pub(crate) const HAPROXY_RS256: u16 = 28_083;
    pub(crate) const ENVOY_PLAIN: u16 = 28_084;
    pub(crate) const ENVOY_BEARER: u16 = 28_085;
    pub(crate) const ENVOY_CACHED: u16 = 28_086;
    pub(crate) const HAPROXY_ES256: u16 = 28_087;
    pub(crate) const PORTCULLIS_OFFSET: u16 = 20_000;
}

/// Measures, and writes `docs/benchmarks.md`.
pub(crate) fn run(effort: Effort) -> anyhow::Result<()> {
    packages::install(packages::FOR_BENCHMARKS)?;
    let folder = PathBuf::from("target/bench");
    fs::create_dir_all(&folder).context("cannot make target/bench")?;
    let folder = fs::canonicalize(folder)?;

    let mut configurations = Vec::new();
    let _target = rivals::target(&folder, &mut configurations)?;
    let allocations = allocations(&folder)?;

    cargo(&["build", "--release", "--package", "portcullis"])?;
    let startup = portcullis::startup(&folder)?;
    let gate = portcullis::start(&folder)?;
    let credentials = portcullis::configure(&gate, &folder, &mut configurations)?;
    let (mut processes, mut subjects) = rivals::start(&folder, &credentials, &mut configurations)?;
    let own = processes.len();
    processes.push(gate.process);
    for scenario in Scenario::ALL {
        let name = "Portcullis".to_owned();
        subjects.push(Subject { name, scenario, url: portcullis::url(scenario.path()), process: own });
    }
    let idle: Vec<(String, u64)> =
        processes.iter().map(|process| (process.name.clone(), process.pss_kib())).collect();

    let load = Load { seconds: effort.seconds(), connections: 64, credentials: &credentials };
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
                "  {:<36} {:<28} {:>6.1} µs/request {:>8.0} requests/s",
                subject.scenario.title(),
                subject.name,
                sample.cpu_us,
                sample.rate
            );
            list.push(sample);
            thread::sleep(Duration::from_millis(300));
        }
    }
    let loaded: Vec<(String, u64)> =
        processes.iter().map(|process| (process.name.clone(), process.pss_kib())).collect();
    report::write(&Results {
        effort,
        subjects,
        samples,
        memory: process::Memory { idle, loaded },
        startup,
        allocations,
        configurations,
    })
}

/// Allocations per request of each steady scenario, counted in a build that counts them. Nothing else happens in that
/// process meanwhile, so the figure is the request's.
fn allocations(folder: &Path) -> anyhow::Result<Vec<(Scenario, f64)>> {
    cargo(&["build", "--release", "--package", "portcullis", "--features", "count-allocations"])?;
    // The build that is measured takes its place; only the last crate is compiled twice.
    let binary = folder.join("portcullis-counting");
    fs::copy("target/release/portcullis", &binary).context("cannot keep the counting build")?;
    let gate = portcullis::start_as(&binary, folder)?;
    let credentials: Credentials = portcullis::configure(&gate, folder, &mut Vec::new())?;
    let load = Load { seconds: 2, connections: 64, credentials: &credentials };
    let steady = Scenario::ALL.into_iter().filter(|scenario| scenario.is_steady());
    steady
        .map(|scenario| {
            let url = portcullis::url(scenario.path());
            let subject = Subject { name: "Portcullis".to_owned(), scenario, url, process: 0 };
            load.check(&subject)?;
            // Connections and caches are warm before counting begins.
            load.requests(&subject)?;
            let before = portcullis::counter("portcullis_allocations_total")?;
            let requests = load.requests(&subject)?;
            let after = portcullis::counter("portcullis_allocations_total")?;
            println!("  {:<36} {:>6.1} allocations/request", scenario.title(), (after - before) / requests);
            Ok((scenario, (after - before) / requests))
        })
        .collect()
}
