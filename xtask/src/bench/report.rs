//! `docs/benchmarks.md`.

use std::{fmt::Write, fs, path::Path, process::Command};

use anyhow::Context;

use super::{Effort, Scenario, Subject, load::Sample, portcullis::Startup, process::Memory, rivals};

/// All that was measured.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) effort: Effort,
    pub(crate) subjects: Vec<Subject>,
    /// Of each subject, a sample for each round.
    pub(crate) samples: Vec<Vec<Sample>>,
    pub(crate) memory: Memory,
    pub(crate) startup: Startup,
    /// Allocations per request.
    pub(crate) allocations: Vec<(Scenario, f64)>,
    pub(crate) configurations: Vec<rivals::Configuration>,
}

/// Writes the page.
pub(crate) fn write(results: &Results) -> anyhow::Result<()> {
    let Results { effort, subjects, samples, memory, startup, allocations, configurations } = results;
    let mut page = String::new();
    introduction(&mut page, *effort);
    for scenario in Scenario::ALL {
        table(&mut page, scenario, subjects, samples);
    }
    let _ = writeln!(
        page,
        "## Allocations\n\nOf the whole process for each request, all threads together, in a build that counts \
         them:\n\n| scenario | allocations per request |\n|---|---:|"
    );
    for (scenario, count) in allocations {
        let _ = writeln!(page, "| {} | {count:.1} |", scenario.title());
    }
    let _ = writeln!(page);
    let _ = writeln!(
        page,
        "## Start and memory\n\nFrom start to `portcullis is ready`: {} ms the first time (keys and certificates are \
         made), {} ms afterwards. The whole of `dev` is in it: gateway, Admin APIs, identity provider and echo \
         upstream. Aim: 1 s.\n\nProportional set size, KiB (aim for Portcullis when idle: 30,720):\n\n\
         | process | idle | after the load |\n|---|---:|---:|",
        startup.first.as_millis(),
        startup.again.as_millis()
    );
    for ((name, idle), (_, loaded)) in memory.idle.iter().zip(&memory.loaded) {
        let _ = writeln!(page, "| {name} | {idle} | {loaded} |");
    }
    let _ = writeln!(page, "\n## Versions\n");
    for (name, version) in rivals::versions(Path::new("target/bench")) {
        let _ = writeln!(page, "- {name}: {version}");
    }
    let _ = writeln!(page, "- machine: {}", machine());
    let _ = writeln!(page, "\n## Configurations\n");
    for (name, text) in configurations {
        let _ = writeln!(page, "### {name}\n\n```\n{}```\n", brief(text));
    }
    let page = page.trim_end().to_owned() + "\n";
    fs::write("docs/benchmarks.md", page).context("cannot write docs/benchmarks.md")?;
    println!("wrote docs/benchmarks.md");
    Ok(())
}

fn introduction(page: &mut String, effort: Effort) {
    let _ = writeln!(
        page,
        "# Benchmarks\n\nWritten by `cargo xtask bench{}`. wrk, one thread, 64 connections, HTTP/1.1 with kept \
         connections, an nginx target that answers 150 bytes; {} interleaved rounds of {} s, every other one in \
         reverse order; medians, with the smallest and largest round. Load generator, proxies and target share the \
         machine, so the figure to compare is the CPU time of the proxy's own processes for each request, and the \
         thing to trust is the ratio within one run. Every proxy runs two threads and writes no access log.\n\n\
         Every table repeats nginx on a plain route: the aim is that a known identity costs no more than nginx without \
         one. \"Every token new\" goes through 40,000 tokens, more than any of the caches holds. nginx has no \
         tokens, HAProxy and Envoy have no introspection, and Envoy's session filter is not measured.\n",
        if effort == Effort::Quick { " --quick" } else { "" },
        effort.rounds(),
        effort.seconds()
    );
}

fn table(page: &mut String, scenario: Scenario, subjects: &[Subject], samples: &[Vec<Sample>]) {
    let all = || subjects.iter().zip(samples);
    let reference = all().filter(|(subject, _)| scenario != Scenario::Plain && subject.is_reference());
    let rows: Vec<(&Subject, &Vec<Sample>)> =
        reference.chain(all().filter(|(subject, _)| subject.scenario == scenario)).collect();
    let own = rows
        .iter()
        .find(|(subject, _)| subject.name.starts_with("Portcullis"))
        .map_or(f64::NAN, |(_, samples)| median(samples, |sample| sample.cpu_us));
    let _ = writeln!(
        page,
        "## {}\n\n| proxy | CPU µs per request | Portcullis is … of it | requests/s | p50 ms | p99 ms |\n\
         |---|---:|---:|---:|---:|---:|",
        scenario.title()
    );
    for (subject, samples) in rows {
        let cpu = median(samples, |sample| sample.cpu_us);
        let (least, most) = samples.iter().fold((f64::MAX, 0.0_f64), |(least, most), sample| {
            (least.min(sample.cpu_us), most.max(sample.cpu_us))
        });
        let _ = writeln!(
            page,
            "| {}{} | {cpu:.1} ({least:.1}–{most:.1}) | {:.2} | {:.0} | {:.2} | {:.2} |",
            subject.name,
            if subject.scenario == scenario { "" } else { ", plain route" },
            own / cpu,
            median(samples, |sample| sample.rate),
            median(samples, |sample| sample.p50),
            median(samples, |sample| sample.p99),
        );
    }
    let _ = writeln!(page);
}

fn median(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn machine() -> String {
    let output = Command::new("uname").args(["-s", "-r", "-m"]).output();
    let kernel =
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{kernel}, {cores} cores")
}

/// A configuration without what is long and says nothing: key material and the folder of the run.
fn brief(text: &str) -> String {
    let folder =
        fs::canonicalize("target/bench").map(|folder| folder.display().to_string()).unwrap_or_default();
    let text = if folder.is_empty() { text.to_owned() } else { text.replace(&folder, "target/bench") };
    text.lines()
        .map(|line| match line.split_once("inline_string: '") {
            Some((before, _)) => format!("{before}inline_string: '…' }}\n"),
            None => format!("{line}\n"),
        })
        .collect()
}
