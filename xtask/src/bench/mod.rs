//! `cargo xtask bench`: Portcullis beside nginx, HAProxy and Envoy, in interleaved rounds on one machine.
//!
//! The figure of record is CPU time per request of the proxy's own processes: on a machine where load generator,
//! proxy and target share the cores, requests per second say little about the proxy. Absolute figures hold for one
//! machine and one hour; ratios within one run are what to compare.

mod admin;
mod aims;
mod counters;
mod generator;
mod keys;
mod login;
mod measure;
mod options;
mod plot;
mod portcullis;
mod ports;
mod process;
pub(crate) mod profile;
mod provider;
mod report;
mod rivals;
mod rows;
pub(crate) mod scale;
mod scenario;
pub(crate) mod soak;
mod tokens;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use serde_json::{Value, json};

use self::{
    counters::Counter,
    measure::Bench,
    options::{Options, Task},
    rows::{Figures, Rows, Spread},
    scenario::{Scenario, Shape, Subject},
};
use crate::{packages, run::cargo};

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Enough to see a ratio: a quarter of an hour.
    Quick,
    /// Enough to publish it: about two hours.
    Full,
}

impl Effort {
    /// Rounds of a closed loop, and seconds of each.
    const fn closed(self, shape: Shape) -> (usize, f64) {
        let standard = shape.connections == 64 && shape.size == scenario::SMALL;
        match (self, standard) {
            (Self::Quick, true) => (3, 1.0),
            (Self::Quick, false) => (2, 0.6),
            (Self::Full, true) => (7, 6.0),
            (Self::Full, false) => (5, 2.0),
        }
    }

    /// Rounds at a fixed rate, and seconds of each.
    const fn fixed(self) -> (usize, f64) {
        match self {
            Self::Quick => (3, 1.0),
            Self::Full => (5, 10.0),
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Full => "full",
        }
    }
}

/// Reads the words after `bench` and does what they say.
pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let options = Options::read(words)?;
    match options.task {
        Task::Scale => scale::run(),
        Task::Report => report::write(&folder()?),
        Task::Compare => compare(&options),
        Task::Provider => of_provider(&options),
        Task::Everything => everything(&options),
    }
}

fn folder() -> anyhow::Result<PathBuf> {
    fs::create_dir_all("target/bench").context("cannot make target/bench")?;
    Ok(fs::canonicalize("target/bench")?)
}

/// Builds what is measured and what measures it; always together, or their dependencies would be built for each.
fn build(more: &[&str]) -> anyhow::Result<()> {
    cargo(&[&["build", "--release", "--package", "portcullis", "--package", "load"], more].concat())
}

/// Measures all there is, and writes `docs/benchmarks.md`.
fn everything(options: &Options) -> anyhow::Result<()> {
    packages::install(packages::FOR_BENCHMARKS)?;
    let folder = folder()?;
    let counting = folder.join("portcullis-counting");
    build(&["--features", "portcullis/count-allocations"])?;
    // The build that is measured takes its place; only the last crate is compiled twice.
    fs::copy(portcullis::BINARY, &counting).context("cannot keep the counting build")?;
    build(&[])?;
    let path = folder.join("rows.jsonl");
    if options.fresh {
        let _ = fs::remove_file(&path);
    }
    let mut rows = Rows::open(&path, &description(options.effort)?)?;

    rivals::certificate(&folder)?;
    let mut configurations = Vec::new();
    let _target = rivals::target(&folder, &mut configurations)?;
    if !rows.has("startup") {
        let times = portcullis::startup(&folder)?;
        rows.measure("startup", || {
            let milliseconds = |time: std::time::Duration| time.as_secs_f64() * 1000.0;
            Ok(Figures::from([
                ("first_ms".to_owned(), milliseconds(times.first)),
                ("again_ms".to_owned(), milliseconds(times.again)),
                ("idle_kib".to_owned(), f64::from(u32::try_from(times.idle_kib)?)),
            ]))
        })?;
    }
    allocations(&counting, &folder, &mut rows)?;
    // The gateway's figures do not depend on these.
    if let Err(error) = provider::measure(Path::new(portcullis::BINARY), options.effort, &folder, &mut rows) {
        println!("the identity provider was not measured whole: {error:#}");
    }
    let mut bench = start(options, folder.clone(), rows, &mut configurations)?;
    fs::write(folder.join("configurations.json"), serde_json::to_string(&configurations)?)?;
    bench.memory()?;
    for shape in Shape::all() {
        for scenario in Scenario::ALL {
            bench.closed(scenario, shape)?;
        }
    }
    for shape in Shape::all().into_iter().filter(|shape| shape.has_fixed_rate()) {
        for scenario in Scenario::ALL {
            bench.fixed(scenario, shape)?;
        }
    }
    let counter = Counter::of_this_machine();
    for scenario in Scenario::ALL {
        bench.system_calls(scenario, counter)?;
    }
    bench.memory_after()?;
    drop(bench);
    report::write(&folder)
}

/// The identity provider alone. Tells it, and writes nothing.
fn of_provider(options: &Options) -> anyhow::Result<()> {
    packages::install(packages::FOR_BENCHMARKS)?;
    let folder = folder()?;
    if options.binary.is_none() {
        build(&[])?;
    }
    let binary = options.binary.as_deref().unwrap_or(Path::new(portcullis::BINARY));
    let path = folder.join("provider.jsonl");
    let _ = fs::remove_file(&path);
    let mut rows = Rows::open(&path, &json!({}))?;
    rivals::certificate(&folder)?;
    let _target = rivals::target(&folder, &mut Vec::new())?;
    provider::measure(binary, options.effort, &folder, &mut rows)?;
    let mut page = String::new();
    provider::write(&mut page, &rows);
    println!("\n{page}");
    Ok(())
}

/// Some scenarios in the standard shape, and perhaps another build beside this one: what one looks at between two
/// changes. Tells it, and writes nothing.
fn compare(options: &Options) -> anyhow::Result<()> {
    packages::install(packages::FOR_BENCHMARKS)?;
    let folder = folder()?;
    if options.binary.is_none() {
        build(&[])?;
    }
    let path = folder.join("compare.jsonl");
    let _ = fs::remove_file(&path);
    let rows = Rows::open(&path, &json!({}))?;
    rivals::certificate(&folder)?;
    let _target = rivals::target(&folder, &mut Vec::new())?;
    let mut bench = start(options, folder, rows, &mut Vec::new())?;
    let counter = Counter::of_this_machine();
    for scenario in options.scenarios() {
        bench.closed(scenario, Shape::STANDARD)?;
        bench.system_calls(scenario, counter)?;
    }
    println!("\nmedians, and what Portcullis costs in proportion");
    for scenario in options.scenarios() {
        let table = bench.table(scenario, Shape::STANDARD);
        let cost = |subject: &Subject| {
            bench.rows.rounds(&measure::key("closed", subject, Shape::STANDARD), "cpu_us")
        };
        let own = table.iter().find(|subject| subject.is_own()).map_or(f64::NAN, |own| cost(own).median);
        for subject in &table {
            let Spread { median, least, most } = cost(subject);
            println!(
                "  {:<34} {:<30} {median:>6.1} µs ({least:.1}–{most:.1}) {:>6.2}",
                scenario.title(),
                subject.name,
                own / median
            );
        }
    }
    Ok(())
}

/// Starts the gateway, the rivals and, where there is one, the build to compare with.
fn start(
    options: &Options,
    folder: PathBuf,
    rows: Rows,
    configurations: &mut Vec<rivals::Configuration>,
) -> anyhow::Result<Bench> {
    let binary = options.binary.as_deref().unwrap_or(Path::new(portcullis::BINARY));
    let scenarios = options.scenarios();
    let many = scenarios.iter().any(|scenario| !scenario.is_steady());
    let gate = portcullis::start(binary, &folder, ports::OFFSET)?;
    let credentials = portcullis::configure(&gate, &folder, many, configurations)?;
    let (mut processes, mut subjects) = rivals::start(&folder, &credentials, configurations)?;
    let mut all = vec![credentials];
    let mut gates = vec![("Portcullis", gate)];
    if let Some(other) = &options.against {
        let gate = portcullis::start(other, &folder, ports::SECOND_OFFSET)?;
        all.push(portcullis::configure(&gate, &folder, many, &mut Vec::new())?);
        gates.push(("Portcullis, the other build", gate));
    }
    for (number, (name, gate)) in gates.into_iter().enumerate() {
        subjects.extend(own_subjects(name, &gate, processes.len(), number));
        processes.push(gate.process);
    }
    subjects.retain(|subject| scenarios.contains(&subject.scenario));
    let bench = Bench { folder, effort: options.effort, rows, processes, credentials: all, subjects };
    bench.check()?;
    Ok(bench)
}

/// The gateway without rivals, for who loads it and keeps no rows.
fn alone(
    gate: portcullis::Gate,
    credentials: portcullis::Credentials,
    folder: &Path,
) -> anyhow::Result<Bench> {
    let path = folder.join("alone.jsonl");
    let _ = fs::remove_file(&path);
    let bench = Bench {
        folder: folder.to_owned(),
        effort: Effort::Full,
        rows: Rows::open(&path, &json!({}))?,
        subjects: own_subjects("Portcullis", &gate, 0, 0).collect(),
        processes: vec![gate.process],
        credentials: vec![credentials],
    };
    bench.check()?;
    Ok(bench)
}

/// `gate` in every scenario. `process` and `credentials` are its places in the lists of those.
fn own_subjects(
    name: &str,
    gate: &portcullis::Gate,
    process: usize,
    credentials: usize,
) -> impl Iterator<Item = Subject> {
    Scenario::ALL.into_iter().map(move |scenario| Subject {
        name: name.to_owned(),
        scenario,
        port: gate.port(9080),
        tls_port: scenario.in_all_shapes().then(|| gate.port(9443)),
        process,
        credentials,
    })
}

/// What a run measures, and so when rows of another one count.
fn description(effort: Effort) -> anyhow::Result<Value> {
    let binary = fs::read(portcullis::BINARY).context("there is no build")?;
    // FNV-1a: enough to tell two builds apart.
    let digest = binary.iter().fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| {
        (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let revision = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let revision = revision.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    Ok(json!({
        "effort": effort.name(),
        "revision": revision.unwrap_or_default(),
        "binary": format!("{digest:016x}"),
        "machine": report::machine(),
        "versions": rivals::versions(&folder()?),
    }))
}

/// Allocations per request of each steady scenario, counted in a build that counts them. Nothing else happens in that
/// process meanwhile, so the figure is the request's.
fn allocations(binary: &Path, folder: &Path, rows: &mut Rows) -> anyhow::Result<()> {
    let steady: Vec<Scenario> = Scenario::ALL.into_iter().filter(|scenario| scenario.is_steady()).collect();
    let key = |scenario: Scenario| format!("allocations/{}", scenario.name());
    if steady.iter().all(|scenario| rows.has(&key(*scenario))) {
        return Ok(());
    }
    let gate = portcullis::start(binary, folder, ports::OFFSET)?;
    let credentials = portcullis::configure(&gate, folder, false, &mut Vec::new())?;
    let port = gate.port(9080);
    for scenario in steady {
        let figures = rows.measure(&key(scenario), || {
            let mut headers = vec!["User-Agent: load".to_owned(), "Accept: */*".to_owned()];
            if let portcullis::Way::One(header) = credentials.of(scenario) {
                headers.push(header.clone());
            }
            let plan = json!({
                "address": format!("127.0.0.1:{port}"),
                "connections": 64,
                "seconds": 0.7,
                "steps": [{ "target": scenario.path(), "headers": headers, "length": scenario::SMALL }],
            });
            // Caches are warm before counting begins; what 64 connections cost vanishes among the requests.
            generator::load(&plan)?;
            let before = gate.counter("portcullis_allocations_total")?;
            let figures = generator::load(&plan)?;
            let after = gate.counter("portcullis_allocations_total")?;
            let total = figures.get("total").copied().unwrap_or(f64::NAN);
            Ok(Figures::from([("each".to_owned(), (after - before) / total)]))
        })?;
        let each = figures.get("each").copied().unwrap_or(f64::NAN);
        println!("  {:<36} {each:>6.1} allocations/request", scenario.title());
    }
    Ok(())
}
