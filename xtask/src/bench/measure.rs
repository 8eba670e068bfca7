//! One measurement after another, each kept as a row: see [`super::rows`].

use std::{fs, path::PathBuf, thread, time::Duration};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::{
    Effort,
    counters::Counter,
    generator,
    portcullis::{Credentials, Way},
    process::Process,
    rivals::CERTIFICATE,
    rows::{Figures, Rows},
    scenario::{Protocol, Scenario, Shape, Subject},
};

/// Share of the slowest rival's throughput at which latency is measured.
const FIXED_SHARE: f64 = 0.7;
/// Between two measurements.
const PAUSE: Duration = Duration::from_millis(100);

/// Everything that is needed to measure.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) folder: PathBuf,
    pub(crate) effort: Effort,
    pub(crate) rows: Rows,
    pub(crate) processes: Vec<Process>,
    pub(crate) credentials: Vec<Credentials>,
    pub(crate) subjects: Vec<Subject>,
}

/// Rows of one table: `KIND/SCENARIO/SHAPE/SUBJECT`.
pub(crate) fn key(kind: &str, subject: &Subject, shape: Shape) -> String {
    format!("{kind}/{}/{}/{}", subject.scenario.name(), shape.name(), subject.name)
}

impl Bench {
    /// The subjects of one table.
    pub(crate) fn table(&self, scenario: Scenario, shape: Shape) -> Vec<Subject> {
        let of = |subject: &&Subject| subject.scenario == scenario && subject.port(shape).is_some();
        self.subjects.iter().filter(of).cloned().collect()
    }

    /// Every subject lets through whom it should, with the target's answer, and nobody else: a proxy that answers errors
    /// is fast.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        for subject in &self.subjects {
            let port = subject.port(Shape::STANDARD).context("a subject without port")?;
            let mut plan = self.plan(subject, Shape { connections: 1, ..Shape::STANDARD }, port, 0.02)?;
            generator::load(&plan).with_context(|| format!("{} at {port}", subject.name))?;
            if subject.scenario != Scenario::Plain {
                if let Some(step) = plan.pointer_mut("/steps/0") {
                    *step = json!({ "target": subject.scenario.path(), "expect": [401, 302] });
                }
                generator::load(&plan).with_context(|| format!("{} lets everybody in", subject.name))?;
            }
        }
        Ok(())
    }

    /// What the generator is told. The watched processes are the subject's own.
    pub(crate) fn plan(
        &self,
        subject: &Subject,
        shape: Shape,
        port: u16,
        seconds: f64,
    ) -> anyhow::Result<Value> {
        let credentials =
            self.credentials.get(subject.credentials).context("a subject without credentials")?;
        let mut headers = vec!["User-Agent: load".to_owned(), "Accept: */*".to_owned()];
        let mut lines = Value::Null;
        match credentials.of(subject.scenario) {
            Way::None => {}
            Way::One(header) => headers.push(header.clone()),
            Way::EachNew(file) => {
                headers.push("Authorization: Bearer {line}".to_owned());
                lines = json!({ "file": file, "each_time": true });
            }
        }
        let target = format!("{}{}", subject.scenario.path(), shape.suffix());
        Ok(json!({
            "address": format!("127.0.0.1:{port}"),
            "protocol": shape.protocol.name(),
            "trust": self.folder.join(CERTIFICATE),
            "connections": shape.connections,
            "streams": shape.streams(),
            "warm_up": 0.25,
            "seconds": seconds,
            "lines": lines,
            "steps": [{ "target": target, "headers": headers, "length": shape.size }],
            "watch": self.process(subject)?.family(),
        }))
    }

    fn process(&self, subject: &Subject) -> anyhow::Result<&Process> {
        self.processes.get(subject.process).context("a subject without process")
    }

    /// A closed loop, round after round; every other one runs backwards, so that a drift of the machine favours nobody.
    pub(crate) fn closed(&mut self, scenario: Scenario, shape: Shape) -> anyhow::Result<()> {
        let (rounds, seconds) = self.effort.closed(shape);
        let table = self.table(scenario, shape);
        if table.is_empty() {
            return Ok(());
        }
        println!("{}: {}", scenario.title(), shape.title());
        self.listen(&format!("closed/{}/{}", scenario.name(), shape.name()))?;
        for round in 0..rounds {
            for subject in in_turn(&table, round) {
                let key = format!("{}/{round}", key("closed", subject, shape));
                if self.rows.has(&key) {
                    continue;
                }
                let port = subject.port(shape).context("a subject without port")?;
                let plan = self.plan(subject, shape, port, seconds)?;
                let figures = self.rows.measure(&key, || {
                    let mut figures = generator::load(&plan)?;
                    per_request(&mut figures);
                    Ok(figures)
                })?;
                tell(&subject.name, figures);
                thread::sleep(PAUSE);
            }
        }
        Ok(())
    }

    /// Latency at a fixed rate, the same for all subjects of the table.
    pub(crate) fn fixed(&mut self, scenario: Scenario, shape: Shape) -> anyhow::Result<()> {
        let (rounds, seconds) = self.effort.fixed();
        let table = self.table(scenario, shape);
        let Some(rate) = self.fixed_rate(&table, shape) else { return Ok(()) };
        println!("{}: {}, {rate:.0} requests/s", scenario.title(), shape.title());
        for round in 0..rounds {
            for subject in in_turn(&table, round) {
                let key = format!("{}/{round}", key("fixed", subject, shape));
                if self.rows.has(&key) {
                    continue;
                }
                let port = subject.port(shape).context("a subject without port")?;
                let mut plan = self.plan(subject, shape, port, seconds)?;
                if let Some(plan) = plan.as_object_mut() {
                    plan.insert("rate".to_owned(), json!(rate));
                }
                let figures = self.rows.measure(&key, || {
                    let mut figures = generator::load(&plan)?;
                    figures.insert("rate".to_owned(), rate);
                    Ok(figures)
                })?;
                let of = |name: &str| figures.get(name).copied().unwrap_or(f64::NAN);
                println!(
                    "  {:<30} p50 {:>7.2} ms  p99 {:>7.2} ms  p99.9 {:>7.2} ms",
                    subject.name,
                    of("p50_ms"),
                    of("p99_ms"),
                    of("p999_ms")
                );
                thread::sleep(PAUSE);
            }
        }
        Ok(())
    }

    /// 70 % of what the slowest rival does, or of our own where there is none.
    fn fixed_rate(&self, table: &[Subject], shape: Shape) -> Option<f64> {
        let rate = |subject: &Subject| self.rows.rounds(&key("closed", subject, shape), "rate").median;
        let slowest = |own: bool| {
            table.iter().filter(|subject| subject.is_own() == own).map(rate).min_by(f64::total_cmp)
        };
        slowest(false).or_else(|| slowest(true)).map(|rate| (rate * FIXED_SHARE).round())
    }

    /// System calls for each request, in the standard shape.
    pub(crate) fn system_calls(&mut self, scenario: Scenario, counter: Counter) -> anyhow::Result<()> {
        for subject in self.table(scenario, Shape::STANDARD) {
            let key = format!("{}/0", key("syscalls", &subject, Shape::STANDARD));
            if self.rows.has(&key) {
                continue;
            }
            let plan = self.plan(&subject, Shape::STANDARD, subject.port, 0.8)?;
            let (processes, folder) = (self.process(&subject)?.family(), self.folder.clone());
            let figures = self.rows.measure(&key, || {
                let counting = counter.start(&processes, &folder)?;
                let figures = generator::load(&plan)?;
                let calls = counting.finish()? / figures.get("total").copied().unwrap_or(f64::NAN);
                Ok(Figures::from([("calls".to_owned(), calls)]))
            })?;
            let calls = figures.get("calls").copied().unwrap_or(f64::NAN);
            println!("  {:<30} {:<30} {calls:.2} system calls/request", scenario.title(), subject.name);
        }
        Ok(())
    }

    /// Memory before any load, and with connections that had one request and stay open.
    pub(crate) fn memory(&mut self) -> anyhow::Result<()> {
        for subject in self.table(Scenario::Plain, Shape::STANDARD) {
            let name = self.process(&subject)?.name.clone();
            let key = format!("memory/{name}");
            if self.rows.has(&key) {
                continue;
            }
            let mut figures = Figures::from([("idle".to_owned(), self.pss(&subject)?)]);
            for connections in [1_000, 10_000] {
                let shape = Shape { protocol: Protocol::H1, connections, ..Shape::STANDARD };
                let mut plan = self.plan(&subject, shape, subject.port, 0.0)?;
                if let Some(plan) = plan.as_object_mut() {
                    plan.insert("mode".to_owned(), json!("idle"));
                }
                let held = generator::start(&plan)?;
                thread::sleep(Duration::from_millis(500));
                figures.insert(connections.to_string(), self.pss(&subject)?);
                drop(held);
            }
            println!("  {name:<30} {figures:?} KiB");
            self.rows.measure(&key, || Ok(figures))?;
        }
        Ok(())
    }

    /// Memory after the load.
    pub(crate) fn memory_after(&mut self) -> anyhow::Result<()> {
        for subject in self.table(Scenario::Plain, Shape::STANDARD) {
            let pss = self.pss(&subject)?;
            let key = format!("memory-after/{}", self.process(&subject)?.name);
            self.rows.measure(&key, || Ok(Figures::from([("after".to_owned(), pss)])))?;
        }
        Ok(())
    }

    #[allow(clippy::cast_precision_loss)] // KiB of one process are far below 2^52
    fn pss(&self, subject: &Subject) -> anyhow::Result<f64> {
        match self.process(subject)?.pss_kib() {
            0 => bail!("the memory of {} cannot be read; run this as root", subject.name),
            pss => Ok(pss as f64),
        }
    }

    /// How busy the machine is while none of ours does anything.
    fn listen(&mut self, table: &str) -> anyhow::Result<()> {
        self.rows
            .measure(&format!("noise/{table}"), || {
                let before = busy().context("/proc/stat is not understood")?;
                thread::sleep(Duration::from_millis(200));
                let after = busy().context("/proc/stat is not understood")?;
                let share = (after.0 - before.0) / (after.1 - before.1).max(1.0);
                Ok(Figures::from([("busy".to_owned(), share)]))
            })
            .map(|_| ())
    }
}

/// Ticks that the machine was busy, and all ticks.
fn busy() -> Option<(f64, f64)> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let ticks: Vec<f64> =
        text.lines().next()?.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    let all: f64 = ticks.iter().take(8).sum();
    // The fourth and fifth are idle and waiting for a disk.
    Some((all - ticks.get(3)? - ticks.get(4)?, all))
}

/// Forwards in even rounds, backwards in odd ones.
fn in_turn(table: &[Subject], round: usize) -> Vec<&Subject> {
    let mut order: Vec<&Subject> = table.iter().collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

/// Cost and throughput, from what the generator reports.
pub(crate) fn per_request(figures: &mut Figures) {
    let of = |name: &str| figures.get(name).copied().unwrap_or(f64::NAN);
    let requests = of("requests");
    let (cpu, rate) = (of("cpu_ns") / 1000.0 / requests, requests / of("seconds"));
    let switches = of("switches") / requests;
    figures.insert("cpu_us".to_owned(), cpu);
    figures.insert("rate".to_owned(), rate);
    figures.insert("switches_each".to_owned(), switches);
}

fn tell(name: &str, figures: &Figures) {
    let of = |name: &str| figures.get(name).copied().unwrap_or(f64::NAN);
    println!(
        "  {name:<30} {:>7.1} µs/request {:>8.0} requests/s {:>6.3} switches/request",
        of("cpu_us"),
        of("rate"),
        of("switches_each")
    );
}
