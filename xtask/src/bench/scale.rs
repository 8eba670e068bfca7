//! `cargo xtask bench --scale`: very many routes, consumers and certificates in one gateway. Writes
//! `docs/benchmarks-scale.md`.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::{
    admin::Admin,
    portcullis::{self, Gate},
    ports, rivals,
};
use crate::packages;

/// Routes, consumers and certificates of the last step.
const ROUTES: [usize; 3] = [10, 1_000, 100_000];
const CONSUMERS: usize = 100_000;
const CERTIFICATES: usize = 10_000;
/// Changes whose time is taken.
const CHANGES: usize = 200;

/// What was measured with so much in the configuration.
struct Step {
    what: String,
    loading: Duration,
    writes: usize,
    pss_kib: u64,
    /// CPU, microseconds for each request to the route that was written last.
    cpu_us: f64,
    /// Milliseconds from sending a change to its answer; then it is served.
    change: [f64; 3],
    /// 99th percentile of requests, milliseconds: without changes beside it, and with one after the other.
    p99: [f64; 2],
}

/// Measures, and writes the page.
pub(crate) fn run() -> anyhow::Result<()> {
    packages::install(packages::FOR_BENCHMARKS)?;
    let folder = std::path::PathBuf::from("target/bench");
    fs::create_dir_all(&folder).context("cannot make target/bench")?;
    let folder = fs::canonicalize(folder)?;
    super::build(&[])?;
    let _target = rivals::target(&folder, &mut Vec::new())?;
    let gate = portcullis::start_dev(Path::new(portcullis::BINARY), &folder)?;
    let admin = Admin::of(&gate)?;
    let mut steps = Vec::new();
    let mut before = 0;
    for routes in ROUTES {
        let new = (before..routes).map(|number| (format!("routes/r{number}"), route(number)));
        let what = format!("{routes} routes");
        steps.push(step(&gate, &admin, what, new.collect(), &format!("api/{}/x", routes - 1), None)?);
        before = routes;
    }
    let guarded = json!({ "uri": "/guarded", "plugins": { "key-auth": {} }, "upstream": upstream() });
    let consumers = (0..CONSUMERS).map(|number| {
        let plugins = json!({ "key-auth": { "key": key(number) } });
        let consumer = json!({ "username": format!("c{number}"), "plugins": plugins });
        (format!("consumers/c{number}"), consumer)
    });
    let new = consumers.chain([("routes/guarded".to_owned(), guarded)]).collect();
    let what = format!("and {CONSUMERS} consumers with keys");
    let header = format!("apikey: {}", key(CONSUMERS - 1));
    steps.push(step(&gate, &admin, what, new, "guarded", Some(&header))?);
    let (certificate, private_key) = certificate(&folder)?;
    let new = (0..CERTIFICATES).map(|number| {
        let ssl = json!({ "snis": [format!("h{number}.example")], "cert": certificate, "key": private_key });
        (format!("ssls/s{number}"), ssl)
    });
    let what = format!("and {CERTIFICATES} certificates");
    steps.push(step(&gate, &admin, what, new.collect(), "guarded", Some(&header))?);
    drop(gate);
    let restart = portcullis::restart(&folder)?;
    write(&steps, restart)
}

fn upstream() -> Value {
    json!({ "nodes": { format!("127.0.0.1:{}", ports::TARGET): 1 } })
}

fn route(number: usize) -> Value {
    json!({ "uri": format!("/api/{number}/*"), "upstream": upstream() })
}

fn key(number: usize) -> String {
    format!("key-of-consumer-{number:08}")
}

fn step(
    gate: &Gate,
    admin: &Admin,
    what: String,
    new: Vec<(String, Value)>,
    path: &str,
    header: Option<&str>,
) -> anyhow::Result<Step> {
    println!("{what}");
    let began = Instant::now();
    let writes = new.len();
    admin.put_all(new)?;
    let loading = began.elapsed();
    let url = portcullis::url(path);
    let before = gate.process.cpu_us();
    let (requests, calm) = load(&url, header)?;
    #[allow(clippy::cast_precision_loss)] // microseconds of one round are far below 2^52
    let cpu_us = gate.process.cpu_us().saturating_sub(before) as f64 / requests;
    let mut times = Vec::with_capacity(CHANGES);
    for change in 0..CHANGES {
        let began = Instant::now();
        admin.put(
            "routes/changing",
            &json!({ "uri": format!("/changing/{change}"), "upstream": upstream() }),
        )?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    let busy = AtomicBool::new(true);
    let changing = thread::scope(|scope| {
        let changes = scope.spawn(|| {
            for change in 0.. {
                if !busy.load(Ordering::Relaxed) {
                    break;
                }
                let route = json!({ "uri": format!("/changing/{change}"), "upstream": upstream() });
                admin.put("routes/changing", &route)?;
            }
            anyhow::Ok(())
        });
        let loaded = load(&url, header);
        busy.store(false, Ordering::Relaxed);
        changes.join().map_err(|_| anyhow::anyhow!("the changes failed"))??;
        loaded.map(|(_, p99)| p99)
    })?;
    let step = Step {
        what,
        loading,
        writes,
        pss_kib: gate.process.pss_kib(),
        cpu_us,
        change: percentiles(times),
        p99: [calm, changing],
    };
    println!("  {:.1} µs/request, change {:.1} ms, {} KiB", step.cpu_us, step.change[0], step.pss_kib);
    Ok(step)
}

/// Median, 99th percentile and maximum.
fn percentiles(mut times: Vec<f64>) -> [f64; 3] {
    times.sort_by(f64::total_cmp);
    let at = |place: usize| times.get(place.min(times.len().saturating_sub(1))).copied().unwrap_or(f64::NAN);
    [at(times.len() / 2), at(times.len() * 99 / 100), at(times.len())]
}

/// Requests answered in five seconds, and their 99th percentile in milliseconds.
fn load(url: &str, header: Option<&str>) -> anyhow::Result<(f64, f64)> {
    let mut command = Command::new("wrk");
    command.args(["--threads", "1", "--latency", "--connections", "64", "--duration", "5s"]);
    command.args(header.into_iter().flat_map(|header| ["--header", header])).arg(url);
    let output = command.output().context("cannot run wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    requests_and_p99(&text).with_context(|| format!("wrk said: {text}"))
}

/// A certificate and its key, in PEM; which names it is for is said with each use.
fn certificate(folder: &Path) -> anyhow::Result<(String, String)> {
    let (certificate, key) = (folder.join("scale.crt"), folder.join("scale.key"));
    let status = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-days", "30", "-subj", "/CN=scale.example", "-addext", "subjectAltName=DNS:*.example"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .context("cannot run openssl")?
        .status;
    if !status.success() {
        bail!("openssl made no certificate");
    }
    Ok((fs::read_to_string(certificate)?, fs::read_to_string(key)?))
}

fn write(steps: &[Step], restart: Duration) -> anyhow::Result<()> {
    let mut page = String::from(
        "# Benchmarks at scale\n\nWritten by `cargo xtask bench --scale`: one gateway (`dev`, SQLite store) that is \
         filled over the Admin API, eight writers at a time, each write durable and served when it is answered. Then: \
         CPU time for each request to the newest route (wrk, 64 connections); the time from sending one change to its \
         answer, one after the other; the 99th percentile of requests without changes beside them and with them. \
         Aim: one change under 10 ms, and none that requests feel.\n\n\
         | configuration | writes/s | PSS MiB | CPU µs per request | change ms: median, p99, most | \
         p99 ms of requests: calm, with changes |\n|---|---:|---:|---:|---:|---:|\n",
    );
    for step in steps {
        #[allow(clippy::cast_precision_loss)] // both are small
        let (rate, mib) = (step.writes as f64 / step.loading.as_secs_f64(), step.pss_kib as f64 / 1024.0);
        let ([median, p99, most], [calm, changing]) = (step.change, step.p99);
        let _ = writeln!(
            page,
            "| {} | {rate:.0} | {mib:.0} | {:.1} | {median:.1}, {p99:.1}, {most:.1} | {calm:.2}, {changing:.2} |",
            step.what, step.cpu_us
        );
    }
    let _ = writeln!(page, "\nStarted again with all of it: ready after {:.1} s.", restart.as_secs_f64());
    fs::write("docs/benchmarks-scale.md", page).context("cannot write docs/benchmarks-scale.md")?;
    println!("wrote docs/benchmarks-scale.md");
    Ok(())
}

/// Requests answered, and their 99th percentile in milliseconds; `None` when one of them was not answered well.
fn requests_and_p99(text: &str) -> Option<(f64, f64)> {
    // Lines such as `Non-2xx or 3xx responses: 5` or `Socket errors: …` spoil the round.
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        return None;
    }
    let requests = text.lines().find(|line| line.contains("requests in"))?.split_whitespace().next()?;
    let p99 = text.lines().find_map(|line| line.trim().strip_prefix("99%"))?;
    Some((requests.parse().ok()?, milliseconds(p99.trim())?))
}

fn milliseconds(text: &str) -> Option<f64> {
    let scaled =
        |unit: &str, factor: f64| text.strip_suffix(unit)?.parse::<f64>().ok().map(|value| value * factor);
    scaled("us", 0.001).or_else(|| scaled("ms", 1.0)).or_else(|| scaled("s", 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_is_understood_and_errors_spoil_a_round() {
        let text = "  Latency Distribution\n     50%  512.00us\n     99%    1.20ms\n  1000 requests in 2.00s, 1MB read\n";
        assert_eq!(requests_and_p99(text), Some((1000.0, 1.2)));
        assert_eq!(requests_and_p99(&format!("{text}  Non-2xx or 3xx responses: 3\n")), None);
    }
}
