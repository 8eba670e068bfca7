//! Connections and workers, and the window in which what they do counts.

use std::{
    cell::{Cell, RefCell},
    fs,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::json;
use tokio::{
    task::{JoinSet, spawn_local},
    time::{sleep, timeout},
};

use crate::{
    connect::Connector,
    histogram::Histogram,
    http1::{Http1, Seen},
    http2,
    pace::Pace,
    plan::{Plan, Protocol, Step},
    say,
    steps::{Exchange, Jar, Request},
    until_released,
    watch::cost,
};

/// Connections that are opened at the same time.
const OPENING: usize = 64;
/// How long the answers to requests of a fixed rate may take after its end.
const PATIENCE: Duration = Duration::from_secs(15);
/// Failures after which a worker gives up: nothing is learnt from more.
const TOO_MANY: u64 = 1_000;

/// What the workers share.
struct Shared {
    connector: Connector,
    exchange: Exchange,
    lines: Vec<String>,
    next_line: Cell<usize>,
    each_time: bool,
    cookies: bool,
    pace: Cell<Option<Rc<Pace>>>,
    window: Cell<Option<(Instant, Option<Instant>)>>,
    latencies: RefCell<Histogram>,
    /// All that succeeded, inside the window and outside.
    total: Cell<u64>,
    failures: Cell<u64>,
    first_failure: RefCell<Option<String>>,
}

impl Shared {
    /// Counts an exchange that was due at `due` and is over. In a closed loop it counts where it ends, at a fixed rate
    /// where it was due, however late it ends.
    fn record(&self, due: Instant, fixed: bool) {
        self.total.set(self.total.get() + 1);
        let Some((begin, end)) = self.window.get() else { return };
        let place = if fixed { due } else { Instant::now() };
        if place >= begin && end.is_none_or(|end| place < end) {
            let took = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.latencies.borrow_mut().record(took);
        }
    }

    fn fail(&self, what: impl FnOnce() -> String) {
        self.failures.set(self.failures.get() + 1);
        self.first_failure.borrow_mut().get_or_insert_with(what);
    }

    fn take_line(&self) -> Option<String> {
        let number = self.next_line.get();
        self.next_line.set(number + 1);
        self.lines.get(number % self.lines.len().max(1)).cloned()
    }
}

/// Loads, and tells what came of it.
pub(crate) async fn load(plan: Plan) -> anyhow::Result<()> {
    let shared = Rc::new(shared(&plan)?);
    let fixed = plan.rate.is_some();
    let length = Duration::from_secs_f64(plan.warm_up + plan.seconds);
    let mut workers = JoinSet::new();
    let start = Rc::new(tokio::sync::Semaphore::new(0));
    if plan.protocol == Protocol::H2tls {
        let request = Rc::new(http2::request(&shared.exchange.requests)?);
        for _ in 0..plan.connections {
            let send = http2::open(shared.connector.connect().await?).await?;
            for _ in 0..plan.streams {
                let (shared, start) = (Rc::clone(&shared), Rc::clone(&start));
                let (send, request) = (send.clone(), Rc::clone(&request));
                workers.spawn_local(async move {
                    let _ = start.acquire().await;
                    let (Some(pace), Some(step)) = (pace(&shared), shared.exchange.requests.first()) else {
                        return;
                    };
                    while let Some(due) = pace.next().await {
                        match http2::exchange(&send, &request).await {
                            Ok(seen) if is_good(&step.step, seen) => shared.record(due, fixed),
                            Ok(seen) => shared.fail(|| format!("{seen:?}")),
                            Err(error) => shared.fail(|| error.to_string()),
                        }
                        if shared.failures.get() > TOO_MANY {
                            return;
                        }
                    }
                });
            }
        }
    } else {
        for connection in open_all(&shared, plan.connections).await? {
            let (shared, start) = (Rc::clone(&shared), Rc::clone(&start));
            let mut client = Client::new(&shared, connection);
            client.perform(&shared, &shared.exchange.prologue).await.map_err(anyhow::Error::msg)?;
            workers.spawn_local(async move {
                let _ = start.acquire().await;
                let Some(pace) = pace(&shared) else { return };
                client.work(&shared, &pace, fixed).await;
            });
        }
    }
    shared.pace.set(Some(Rc::new(Pace::new(plan.rate, length)?)));
    start.close();

    sleep(Duration::from_secs_f64(plan.warm_up)).await;
    let own = [std::process::id()];
    let (before, own_before, begin) = (cost(&plan.watch), cost(&own), Instant::now());
    shared.window.set(Some((begin, None)));
    say("begin")?;
    sleep(Duration::from_secs_f64(plan.seconds)).await;
    let (end, after, own_after) = (Instant::now(), cost(&plan.watch), cost(&own));
    shared.window.set(Some((begin, Some(end))));
    if let Some(pace) = pace(&shared) {
        pace.end();
    }
    let drained = timeout(PATIENCE, async { while workers.join_next().await.is_some() {} }).await;
    if drained.is_err() && fixed {
        shared.fail(|| format!("requests that were due had no answer {PATIENCE:?} after the end"));
    }
    let latencies = shared.latencies.borrow();
    let report = json!({
        "requests": latencies.count(),
        "total": shared.total.get(),
        "seconds": (end - begin).as_secs_f64(),
        "failures": shared.failures.get(),
        "first_failure": *shared.first_failure.borrow(),
        "p50_ms": latencies.quantile(0.5),
        "p99_ms": latencies.quantile(0.99),
        "p999_ms": latencies.quantile(0.999),
        "most_ms": latencies.most(),
        "cpu_ns": after.cpu.saturating_sub(before.cpu),
        "switches": after.switches.saturating_sub(before.switches),
        "own_cpu_ns": own_after.cpu.saturating_sub(own_before.cpu),
    });
    say(&report.to_string())
}

/// Opens connections that have one answer each, and holds them.
pub(crate) async fn idle(plan: Plan) -> anyhow::Result<()> {
    let shared = Rc::new(shared(&plan)?);
    if plan.protocol == Protocol::H2tls {
        bail!("idle connections are HTTP/1.1");
    }
    let held = open_all(&shared, plan.connections).await?;
    let Some(request) = shared.exchange.requests.first() else { bail!("idle connections need one step") };
    let values = vec![String::new(); shared.exchange.variables.len()];
    let mut text = Vec::new();
    request.render(&values, &Jar::default(), &mut text);
    let mut idle = Vec::with_capacity(held.len());
    for mut connection in held {
        let seen = connection.exchange(&text, false).await.context("an idle connection was not served")?;
        if !is_good(&request.step, seen) {
            bail!("an idle connection was answered {seen:?}");
        }
        connection.answer = Vec::new();
        idle.push(connection);
    }
    say("begin")?;
    tokio::task::spawn_blocking(until_released).await?;
    drop(idle);
    Ok(())
}

fn shared(plan: &Plan) -> anyhow::Result<Shared> {
    let (lines, each_time) = match &plan.lines {
        Some(lines) => {
            let text = fs::read_to_string(&lines.file).context("cannot read the lines")?;
            (text.lines().map(str::to_owned).collect(), lines.each_time)
        }
        None => (Vec::new(), false),
    };
    Ok(Shared {
        connector: Connector::of(plan)?,
        exchange: Exchange::of(plan)?,
        lines,
        next_line: Cell::new(0),
        each_time,
        cookies: plan.cookies,
        pace: Cell::new(None),
        window: Cell::new(None),
        latencies: RefCell::new(Histogram::new()),
        total: Cell::new(0),
        failures: Cell::new(0),
        first_failure: RefCell::new(None),
    })
}

fn pace(shared: &Shared) -> Option<Rc<Pace>> {
    let pace = shared.pace.take();
    shared.pace.set(pace.clone());
    pace
}

async fn open_all(shared: &Rc<Shared>, number: usize) -> anyhow::Result<Vec<Http1>> {
    let mut open = Vec::with_capacity(number);
    while open.len() < number {
        let batch: Vec<_> = (0..OPENING.min(number - open.len()))
            .map(|_| {
                let shared = Rc::clone(shared);
                spawn_local(async move { shared.connector.connect().await })
            })
            .collect();
        for opening in batch {
            open.push(Http1::new(opening.await?.context("cannot connect")?));
        }
    }
    Ok(open)
}

/// One connection, what it knows and what it keeps.
struct Client {
    connection: Http1,
    values: Vec<String>,
    jar: Jar,
    text: Vec<u8>,
}

impl Client {
    fn new(shared: &Shared, connection: Http1) -> Self {
        let values = vec![String::new(); shared.exchange.variables.len()];
        let mut client = Self { connection, values, jar: Jar::default(), text: Vec::new() };
        client.next_line(shared);
        client
    }

    fn next_line(&mut self, shared: &Shared) {
        let place = shared.exchange.place("line");
        if let Some((value, line)) =
            place.and_then(|place| self.values.get_mut(place)).zip(shared.take_line())
        {
            *value = line;
        }
    }

    async fn work(&mut self, shared: &Shared, pace: &Pace, fixed: bool) {
        while let Some(due) = pace.next().await {
            if shared.each_time {
                self.next_line(shared);
            }
            let Err(reason) = self.perform(shared, &shared.exchange.requests).await else {
                shared.record(due, fixed);
                continue;
            };
            shared.fail(|| reason);
            if shared.failures.get() > TOO_MANY {
                return;
            }
            // The connection may be in the middle of something, or gone.
            match shared.connector.connect().await {
                Ok(stream) => self.connection = Http1::new(stream),
                Err(_) => return,
            }
        }
    }

    /// All requests after one another.
    async fn perform(&mut self, shared: &Shared, requests: &[Request]) -> Result<(), String> {
        for request in requests {
            request.render(&self.values, &self.jar, &mut self.text);
            let exchanged = self.connection.exchange(&self.text, request.captures()).await;
            let seen = exchanged.map_err(|error| error.to_string())?;
            if !is_good(&request.step, seen) {
                return Err(self.said(request));
            }
            if shared.cookies {
                self.jar.take(&self.connection.answer);
            }
            let taken = request.capture(&self.connection.answer, &mut self.values);
            taken.map_err(|name| format!("no {name} in the answer to {}", self.said(request)))?;
        }
        Ok(())
    }

    fn said(&self, request: &Request) -> String {
        let answer = &self.connection.answer;
        let answer = String::from_utf8_lossy(answer.get(..600).unwrap_or(answer));
        format!("{} {}: {answer}", request.step.method, request.step.target)
    }
}

fn is_good(step: &Step, seen: Seen) -> bool {
    step.expect.contains(&seen.status) && step.length.is_none_or(|length| length == seen.length)
}
