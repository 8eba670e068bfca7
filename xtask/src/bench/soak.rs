//! `cargo xtask soak`: mixed traffic for half an hour while the configuration changes without pause. No request may fail,
//! and memory may not grow.

use std::{
    fmt::Write,
    fs,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::{
    admin::Admin,
    alone, build, folder, generator,
    login::Login,
    measure::Bench,
    portcullis, ports, report, rivals,
    rows::Spread,
    scenario::{Protocol, Scenario, Shape},
};
use crate::packages;

const PAGE: &str = "docs/benchmarks-soak.md";
/// Minutes, unless said otherwise.
const MINUTES: u64 = 30;
/// Requests each second of each kind of traffic: a third of what one core does, all kinds together.
const RATE: f64 = 250.0;
/// How long one generator runs; the next one opens connections of its own.
const TURN: Duration = Duration::from_secs(20);
/// Between two changes of the configuration.
const CHANGE: Duration = Duration::from_millis(100);
/// Changes that the store keeps at most for watchers that lag, and then some. They are made before memory is looked at:
/// what grows to a bound is not what grows.
const KEPT_CHANGES: u64 = 9_000;
/// Between two looks at the memory.
const LOOK: Duration = Duration::from_secs(5);
/// The floor of memory may be so much higher at the end than it was after the first quarter: what a measurement is off by.
/// Its peaks are bursts, when something else has kept the machine busy and requests have piled up.
const SLACK: f64 = 1.05;

/// What came of it.
struct Outcome {
    requests: u64,
    failures: Vec<String>,
    changes: u64,
    /// KiB, one look after the other.
    memory: Vec<f64>,
}

/// Reads the words after `soak` and does what they say.
pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let minutes = match words {
        [] => MINUTES,
        ["--minutes", minutes] => minutes.parse().context("--minutes takes a number")?,
        _ => bail!("`cargo xtask soak` takes --minutes N and nothing else"),
    };
    packages::install(packages::FOR_BENCHMARKS)?;
    let folder = folder()?;
    build(&[])?;
    rivals::certificate(&folder)?;
    let _target = rivals::target(&folder, &mut Vec::new())?;
    let gate = portcullis::start(Path::new(portcullis::BINARY), &folder, ports::OFFSET)?;
    let credentials = portcullis::configure(&gate, &folder, true, &mut Vec::new())?;
    let admin = Admin::of(&gate)?;
    // The upstream that is written again and again has the plain traffic.
    admin.put("upstreams/soak", &upstream(0))?;
    admin.put("routes/plain", &json!({ "uris": ["/plain", "/plain/*"], "upstream_id": "soak" }))?;
    let login = gate.login(&folder)?;
    for number in 0..KEPT_CHANGES {
        admin.put("upstreams/soak", &upstream(number))?;
    }
    let bench = alone(gate, credentials, &folder)?;
    let outcome = soak(&bench, &admin, &login, Duration::from_secs(60 * minutes))?;
    let (early, late) = outcome.halves();
    write(minutes, &outcome, early, late)?;
    if let Some(first) = outcome.failures.first() {
        bail!("{} kinds of traffic had failures; the first: {first}", outcome.failures.len());
    }
    if late.least > early.least * SLACK {
        bail!("memory grew from {:.0} to {:.0} KiB", early.least, late.least);
    }
    Ok(())
}

/// Every scenario over HTTP/1.1, and plain and bearer over the other protocols too.
fn traffic(bench: &Bench) -> anyhow::Result<Vec<(Scenario, Value)>> {
    let mut plans = Vec::new();
    for subject in &bench.subjects {
        for (protocol, size) in
            [(Protocol::H1, 150), (Protocol::H1Tls, 150), (Protocol::H2Tls, 150), (Protocol::H2Tls, 64 << 10)]
        {
            if protocol != Protocol::H1 && !subject.scenario.in_all_shapes() {
                continue;
            }
            let shape = Shape { protocol, size, connections: 8 };
            let port = subject.port(shape).or(Some(subject.port).filter(|_| protocol == Protocol::H1));
            let mut plan =
                bench.plan(subject, shape, port.context("a subject without port")?, TURN.as_secs_f64())?;
            if let Some(plan) = plan.as_object_mut() {
                plan.insert("rate".to_owned(), json!(RATE));
            }
            plans.push((subject.scenario, plan));
        }
    }
    Ok(plans)
}

fn soak(bench: &Bench, admin: &Admin, login: &Login, length: Duration) -> anyhow::Result<Outcome> {
    let plans = traffic(bench)?;
    let process = bench.processes.first().context("no process")?;
    let (over, changes, requests) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let until = Instant::now() + length;
    thread::scope(|scope| {
        let over = &over;
        let loads: Vec<_> = plans
            .iter()
            .map(|(scenario, plan)| {
                let (requests, login) = (&requests, (*scenario == Scenario::Session).then_some(login));
                scope.spawn(move || repeat(plan.clone(), login, requests, over))
            })
            .collect();
        let changing = scope.spawn(|| change(admin, &changes, over));
        let mut memory = Vec::new();
        while Instant::now() < until && !changing.is_finished() {
            thread::sleep(LOOK.min(until.saturating_duration_since(Instant::now())));
            #[allow(clippy::cast_precision_loss)] // KiB of one process are far below 2^52
            memory.push(process.pss_kib() as f64);
            println!(
                "  {:>8.0} KiB  {:>9} requests  {:>6} changes",
                memory.last().copied().unwrap_or_default(),
                requests.load(Ordering::Relaxed),
                changes.load(Ordering::Relaxed)
            );
        }
        over.store(true, Ordering::Relaxed);
        changing.join().map_err(|_| anyhow::anyhow!("the changes failed"))??;
        let ended = loads.into_iter().map(|load| match load.join() {
            Ok(ended) => ended.map_err(|error| format!("{error:#}")),
            Err(_) => Err("a generator failed".to_owned()),
        });
        let failures = ended.filter_map(Result::err).collect();
        Ok(Outcome {
            requests: requests.load(Ordering::Relaxed),
            failures,
            changes: changes.load(Ordering::Relaxed),
            memory,
        })
    })
}

/// One kind of traffic, turn after turn, each after a `login` where it has one: the generator keeps no cookies that are
/// renewed. Ends with the first turn in which a request failed.
fn repeat(
    mut plan: Value,
    login: Option<&Login>,
    requests: &AtomicU64,
    over: &AtomicBool,
) -> anyhow::Result<()> {
    while !over.load(Ordering::Relaxed) {
        if let Some(login) = login {
            let headers = plan.pointer_mut("/steps/0/headers").and_then(Value::as_array_mut);
            let cookie = headers.and_then(|headers| headers.last_mut()).context("a plan without headers")?;
            *cookie = Value::String(login.cookie()?);
        }
        let figures = generator::load(&plan)?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a count
        requests.fetch_add(figures.get("total").copied().unwrap_or_default() as u64, Ordering::Relaxed);
    }
    Ok(())
}

/// Routes, consumers and certificates come and change, a hundred of each.
fn change(admin: &Admin, changes: &AtomicU64, over: &AtomicBool) -> anyhow::Result<()> {
    let nowhere = |port: u64| json!({ "nodes": { format!("127.0.0.1:{}", 30_000 + port): 1 } });
    let mut number = 0_u64;
    while !over.load(Ordering::Relaxed) {
        let place = number / 3 % 100;
        let (name, value) = match number % 3 {
            0 => (
                format!("routes/soak{place}"),
                json!({ "uri": format!("/soak/{number}/*"), "upstream": nowhere(place) }),
            ),
            1 => (
                format!("consumers/soak{place}"),
                json!({ "username": format!("soak{place}"),
                    "plugins": { "key-auth": { "key": format!("a-key-of-the-soak-{number}") } } }),
            ),
            _ => ("upstreams/soak".to_owned(), upstream(number)),
        };
        admin.put(&name, &value)?;
        changes.fetch_add(1, Ordering::Relaxed);
        number += 1;
        thread::sleep(CHANGE);
    }
    Ok(())
}

/// The upstream of plain traffic, with another timeout each time.
fn upstream(number: u64) -> Value {
    json!({ "nodes": { format!("127.0.0.1:{}", ports::TARGET): 1 },
        "timeout": { "connect": 5, "send": 5, "read": 5 + number % 7 } })
}

impl Outcome {
    /// Memory in the second quarter, when everything is warm, and in the last one.
    fn halves(&self) -> (Spread, Spread) {
        let quarter = self.memory.len() / 4;
        let part =
            |from: usize, to: usize| Spread::of(self.memory.get(from..to).unwrap_or_default().to_vec());
        (part(quarter, 2 * quarter), part(self.memory.len() - quarter, self.memory.len()))
    }
}

fn write(minutes: u64, outcome: &Outcome, early: Spread, late: Spread) -> anyhow::Result<()> {
    let mut page = format!(
        "# Soak\n\nWritten by `cargo xtask soak{}` on {}. Every scenario of [benchmarks.md](benchmarks.md) at once, plain and \
         bearer over HTTP/1.1, HTTP/1.1 with TLS and HTTP/2 with TLS, also with answers of 64 KiB; {RATE:.0} requests each \
         second of each kind, new connections every {} s. Beside it a route, a consumer or an upstream is written every \
         {} ms. {KEPT_CHANGES} writes before it fill what the store keeps for watchers.\n\n",
        if minutes == MINUTES { String::new() } else { format!(" --minutes {minutes}") },
        report::machine(),
        TURN.as_secs(),
        CHANGE.as_millis()
    );
    let _ = writeln!(
        page,
        "| | |\n|---|---:|\n| minutes | {minutes} |\n| requests | {} |\n| kinds of traffic with failed requests | {} |\n\
         | changes of the configuration | {} |\n| PSS in the second quarter, KiB: median (least–most) | {:.0} ({:.0}–{:.0}) |\n\
         | PSS in the last quarter, KiB | {:.0} ({:.0}–{:.0}) |\n\nAim: no failed request, and no growth: the least of the \
         last quarter is at most {:.0} % more than the least of the second.",
        outcome.requests,
        outcome.failures.len(),
        outcome.changes,
        early.median,
        early.least,
        early.most,
        late.median,
        late.least,
        late.most,
        (SLACK - 1.0) * 100.0
    );
    for failure in &outcome.failures {
        let _ = writeln!(page, "\n- {failure}");
    }
    fs::write(PAGE, page).with_context(|| format!("cannot write {PAGE}"))?;
    println!("wrote {PAGE}");
    Ok(())
}
