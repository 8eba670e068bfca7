//! `docs/benchmarks.md` and its plots, from the rows.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use serde_json::Value;

use super::{
    aims,
    plot::{self, Bar},
    rivals::Configuration,
    rows::{Rows, Spread},
    scenario::{Scenario, Shape},
};

const PAGE: &str = "docs/benchmarks.md";
const PLOTS: &str = "docs/benchmarks";
const OWN: &str = "Portcullis";

/// Writes the page.
pub(crate) fn write(folder: &Path) -> anyhow::Result<()> {
    let (run, rows) = Rows::existing(&folder.join("rows.jsonl"))?;
    let mut page = String::new();
    introduction(&mut page, &run, &rows);
    aims::write(&mut page, &rows);
    for scenario in Scenario::ALL {
        standard(&mut page, scenario, &rows)?;
    }
    for scenario in Scenario::ALL.into_iter().filter(|scenario| scenario.in_all_shapes()) {
        shapes(&mut page, scenario, &rows)?;
    }
    super::provider::write(&mut page, &rows);
    allocations(&mut page, &rows);
    start_and_memory(&mut page, &rows);
    versions(&mut page, &run);
    let text = fs::read_to_string(folder.join("configurations.json")).unwrap_or_default();
    let configurations: Vec<Configuration> = serde_json::from_str(&text).unwrap_or_default();
    let _ = writeln!(page, "## Configurations\n");
    for (name, text) in configurations {
        let _ = writeln!(page, "### {name}\n\n```\n{}```\n", brief(&text, folder));
    }
    let page = page.trim_end().to_owned() + "\n";
    fs::write(PAGE, page).with_context(|| format!("cannot write {PAGE}"))?;
    println!("wrote {PAGE}");
    Ok(())
}

fn introduction(page: &mut String, run: &Value, rows: &Rows) {
    let effort = run.get("effort").and_then(Value::as_str).unwrap_or_default();
    let noise = rows.rounds("noise", "busy");
    let _ = writeln!(
        page,
        "# Benchmarks\n\nWritten by `cargo xtask bench{}` at revision {}. Load generator (`bench/load`, one thread), \
         proxies and target (nginx, one worker) share the machine, so the figure to compare is the CPU time of the \
         proxy's own processes for each request, and the thing to trust is the ratio within one run: the rounds of a \
         table are interleaved, every other one in reverse order. Medians, with the smallest and the largest round. \
         Before the tables were measured, other work on the machine took {:.0} % of it (up to {:.0} %).\n\n\
         Every proxy runs two threads, keeps its connections on both sides, and shows the same P-256 certificate over \
         TLS 1.3. Rivals write no access log; Portcullis does (to the null device), and serves metrics. Rivals are as \
         their packagers built them; Portcullis is what `cargo build --release` makes, which optimises it for a profile \
         that was recorded under this load (`cargo xtask profile`).\n\n\
         Every table of costs repeats nginx on a plain route: the aim is that a known identity costs no more than \
         nginx without one. \"Every token new\" goes through 40,000 tokens, more than any of the caches holds. \
         nginx has no tokens, HAProxy and Envoy have no introspection, none of them buys tokens for clients, and Envoy's \
         session filter is not measured. Latency is measured at a fixed rate, 70 % of what the table's slowest \
         rival can do, each request timed from the instant it was due (no coordinated omission).\n",
        if effort == "quick" { " --quick" } else { "" },
        run.get("revision").and_then(Value::as_str).unwrap_or_default(),
        noise.median * 100.0,
        noise.most * 100.0
    );
}

/// A scenario in the standard shape: cost, its plot, and latency.
fn standard(page: &mut String, scenario: Scenario, rows: &Rows) -> anyhow::Result<()> {
    let shape = Shape::STANDARD;
    let table = |kind: &str| format!("{kind}/{}/{}", scenario.name(), shape.name());
    let closed = table("closed");
    let mut lines: Vec<(String, String)> =
        rows.names(&closed).into_iter().map(|name| (name.to_owned(), format!("{closed}/{name}"))).collect();
    if lines.is_empty() {
        return Ok(());
    }
    if scenario != Scenario::Plain {
        let plain = format!("closed/{}/{}/nginx", Scenario::Plain.name(), shape.name());
        lines.insert(0, ("nginx, plain route".to_owned(), plain));
    }
    let own = rows.rounds(&format!("{closed}/{OWN}"), "cpu_us").median;
    let _ = writeln!(
        page,
        "## {}\n\n{}.\n\n![CPU time for each request]({}.svg)\n\n| proxy | CPU µs per request | Portcullis is … of it | \
         requests/s | context switches per request | system calls per request |\n|---|---:|---:|---:|---:|---:|",
        scenario.title(),
        shape.title(),
        Path::new(PLOTS).file_name().map_or_else(PathBuf::new, PathBuf::from).join(scenario.name()).display()
    );
    let mut bars = Vec::new();
    for (name, key) in &lines {
        let cost = rows.rounds(key, "cpu_us");
        let calls = rows.rounds(&key.replacen("closed", "syscalls", 1), "calls");
        let _ = writeln!(
            page,
            "| {name} | {} | {:.2} | {:.0} | {:.3} | {:.1} |",
            spread(cost, 1),
            own / cost.median,
            rows.rounds(key, "rate").median,
            rows.rounds(key, "switches_each").median,
            calls.median,
        );
        bars.push(Bar { label: name.clone(), value: cost, own: name.starts_with(OWN) });
    }
    draw(scenario.name(), scenario.title(), &bars)?;
    let fixed = table("fixed");
    let names = rows.names(&fixed);
    if let Some(first) = names.first() {
        let rate = rows.rounds(&format!("{fixed}/{first}"), "rate").median;
        let _ = writeln!(
            page,
            "\nLatency at {rate:.0} requests/s, ms:\n\n| proxy | p50 | p99 | p99.9 |\n|---|---:|---:|---:|"
        );
        for name in &names {
            latency(page, rows, name, &format!("{fixed}/{name}"));
        }
    }
    let _ = writeln!(page);
    Ok(())
}

fn latency(page: &mut String, rows: &Rows, name: &str, key: &str) {
    let of = |figure: &str| spread(rows.rounds(key, figure), 2);
    let _ = writeln!(page, "| {name} | {} | {} | {} |", of("p50_ms"), of("p99_ms"), of("p999_ms"));
}

/// A scenario in all shapes: one line for each, one column for each proxy.
fn shapes(page: &mut String, scenario: Scenario, rows: &Rows) -> anyhow::Result<()> {
    let table = |kind: &str, shape: Shape| format!("{kind}/{}/{}", scenario.name(), shape.name());
    let Some(last) = Shape::all().into_iter().next_back() else { return Ok(()) };
    let names = rows.names(&table("closed", last));
    if names.is_empty() {
        return Ok(());
    }
    let _ = writeln!(
        page,
        "## {}: protocols, sizes, connections\n\nCPU µs per request, and in brackets what Portcullis costs in \
         proportion. HTTP/2 has ten requests under way on each connection, with 1,000 connections one.\n\n\
         ![CPU time for each request]({}/{}-shapes.svg)\n\n| traffic | {} |\n|---|{}",
        scenario.title(),
        PLOTS.rsplit('/').next().unwrap_or_default(),
        scenario.name(),
        names.join(" | "),
        "---:|".repeat(names.len())
    );
    let mut bars = Vec::new();
    for shape in Shape::all() {
        let cost = |name: &str| rows.rounds(&format!("{}/{name}", table("closed", shape)), "cpu_us");
        let own = cost(OWN).median;
        let _ = write!(page, "| {} |", shape.title());
        for name in &names {
            let theirs = cost(name);
            let ratio = if *name == OWN { String::new() } else { format!(" ({:.2})", own / theirs.median) };
            let _ = write!(page, " {:.1}{ratio} |", theirs.median);
            let label = format!("{}: {name}", shape.name());
            bars.push(Bar { label, value: theirs, own: name.starts_with(OWN) });
        }
        let _ = writeln!(page);
    }
    draw(&format!("{}-shapes", scenario.name()), scenario.title(), &bars)?;
    for shape in Shape::all().into_iter().filter(|shape| *shape != Shape::STANDARD && shape.has_fixed_rate())
    {
        let fixed = table("fixed", shape);
        let names = rows.names(&fixed);
        let Some(first) = names.first() else { continue };
        let rate = rows.rounds(&format!("{fixed}/{first}"), "rate").median;
        let _ = writeln!(
            page,
            "\n{}: latency at {rate:.0} requests/s, ms:\n\n| proxy | p50 | p99 | p99.9 |\n|---|---:|---:|---:|",
            shape.title()
        );
        for name in &names {
            latency(page, rows, name, &format!("{fixed}/{name}"));
        }
    }
    let _ = writeln!(page);
    Ok(())
}

fn draw(name: &str, title: &str, bars: &[Bar]) -> anyhow::Result<()> {
    fs::create_dir_all(PLOTS)?;
    let there: Vec<&Bar> = bars.iter().filter(|bar| bar.value.is_there()).collect();
    debug_assert_eq!(there.len(), bars.len());
    fs::write(format!("{PLOTS}/{name}.svg"), plot::bars(title, "CPU µs per request (less is better)", bars))?;
    Ok(())
}

fn allocations(page: &mut String, rows: &Rows) {
    let _ = writeln!(
        page,
        "## Allocations\n\nOf the whole process for each request, all threads together, in a build that counts \
         them:\n\n| scenario | allocations per request |\n|---|---:|"
    );
    for scenario in Scenario::ALL {
        let each = rows.one(&format!("allocations/{}", scenario.name())).and_then(|row| row.get("each"));
        if let Some(each) = each {
            let _ = writeln!(page, "| {} | {each:.1} |", scenario.title());
        }
    }
    let _ = writeln!(page);
}

fn start_and_memory(page: &mut String, rows: &Rows) {
    let startup = |name: &str| rows.one("startup").and_then(|row| row.get(name)).copied().unwrap_or(f64::NAN);
    let _ = writeln!(
        page,
        "## Start and memory\n\nFrom start to `portcullis is ready`: {:.0} ms the first time (keys and certificates are \
         made), {:.0} ms afterwards. The whole of `dev` is in it: gateway, Admin APIs, identity provider and echo \
         upstream. Aim: 1 s. Two seconds after that its proportional set size is {:.0} KiB. Aim: 30,720.\n\nProportional \
         set size, KiB, after each proxy's routes and certificates were written, and after Portcullis has also issued \
         80,000 tokens and served the users of the scenarios. An idle connection is plain HTTP/1.1 and has had one \
         request:\n\n| process | with its routes | 1,000 idle connections | 10,000 idle connections | KiB for each of 10,000 | after all load |\n\
         |---|---:|---:|---:|---:|---:|",
        startup("first_ms"),
        startup("again_ms"),
        startup("idle_kib")
    );
    for name in rows.names("memory") {
        let of = |kind: &str, figure: &str| {
            let row = rows.one(&format!("{kind}/{name}"));
            row.and_then(|row| row.get(figure)).copied().unwrap_or(f64::NAN)
        };
        let (idle, many) = (of("memory", "idle"), of("memory", "10000"));
        let _ = writeln!(
            page,
            "| {name} | {idle:.0} | {:.0} | {many:.0} | {:.1} | {:.0} |",
            of("memory", "1000"),
            (many - idle) / 10_000.0,
            of("memory-after", "after")
        );
    }
    let _ = writeln!(page);
}

fn versions(page: &mut String, run: &Value) {
    let _ = writeln!(page, "## Versions\n");
    for pair in run.get("versions").and_then(Value::as_array).into_iter().flatten() {
        let text = |place: usize| pair.get(place).and_then(Value::as_str).unwrap_or_default();
        let _ = writeln!(page, "- {}: {}", text(0), text(1));
    }
    let _ = writeln!(page, "- machine: {}\n", run.get("machine").and_then(Value::as_str).unwrap_or_default());
}

/// Median, smallest, largest.
fn spread(value: Spread, digits: usize) -> String {
    let Spread { median, least, most } = value;
    format!("{median:.digits$} ({least:.digits$}–{most:.digits$})")
}

/// Kernel, cores and their kind.
pub(crate) fn machine() -> String {
    let output = Command::new("uname").args(["-s", "-r", "-m"]).output();
    let kernel =
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let known = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = known.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    format!("{kernel}, {cores} cores, {}", model.map_or("unknown", |(_, model)| model.trim()))
}

/// A configuration without what is long and says nothing: key material, bodies, and the folder of the run.
fn brief(text: &str, folder: &Path) -> String {
    let text = text.replace(&folder.display().to_string(), "target/bench");
    text.lines()
        .map(|line| match line.split_once("inline_string: '") {
            Some((before, _)) => format!("{before}inline_string: '…' }}\n"),
            None => format!("{line}\n"),
        })
        .collect()
}
