//! The checks of one upstream while a snapshot uses it: asks its nodes at intervals, and counts what they answer.

use std::{io, sync::Arc, time::Duration};

use base::Random;
use bytes::Bytes;
use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Handle,
    sync::Semaphore,
    task::AbortHandle,
    time::{Instant, sleep_until, timeout},
};

use super::{
    LONGEST, connect,
    health::{ActiveChecks, HealthChecks, Probe, Shortage, Sign},
    live::{Reach, Target},
    spec::Node,
    vitals::{Health, Vitals},
};
use crate::error::Failure;

/// Longest head of an answer that is read for its status.
const MAX_HEAD: usize = 16 * 1024;

/// The checks of one upstream. They end when this is dropped.
#[derive(Debug)]
pub struct Checker {
    /// Stable id under which what is known of the nodes is found.
    pub id: Arc<str>,
    checks: HealthChecks,
    nodes: Vec<Checked>,
    task: Option<AbortHandle>,
}

/// A node that is checked.
#[derive(Clone, Debug)]
pub(super) struct Checked {
    pub(super) host: Box<str>,
    pub(super) port: u16,
    pub(super) weight: u32,
    /// What is asked: the node, or another port of it.
    pub(super) target: Arc<Target>,
    pub(super) vitals: Arc<Vitals>,
}

/// One node as the checks see it.
#[derive(Clone, Copy, Debug)]
pub struct NodeHealth<'a> {
    /// Name or address.
    pub host: &'a str,
    /// Port.
    pub port: u16,
    /// Share of the requests; 0: none, and it is not asked.
    pub weight: u32,
    /// How it is.
    pub health: Health,
}

/// Where the checks of all upstreams run.
#[derive(Clone, Debug)]
pub(super) struct Rounds {
    pub(super) runtime: Handle,
    /// Spreads the questions, so that those of many gates do not come at once.
    pub(super) random: Random,
}

impl Checker {
    pub(super) fn start(
        id: Arc<str>,
        checks: HealthChecks,
        nodes: Vec<Checked>,
        reach: &Arc<Reach>,
        rounds: Option<&Rounds>,
    ) -> Self {
        let asks = checks.active.healthy_interval.is_some() || checks.active.unhealthy_interval.is_some();
        let task = rounds.filter(|_| asks).map(|rounds| {
            let asked = nodes.iter().filter(|node| node.weight > 0).cloned().collect();
            let (active, reach) = (Arc::new(checks.active.clone()), Arc::clone(reach));
            let ask = move |node: Checked, request: Bytes, limit: Duration| {
                let reach = Arc::clone(&reach);
                async move { ask(&node.target, &request, &reach, limit).await }
            };
            let attending = attend(Arc::clone(&id), active, asked, rounds.random.clone(), ask);
            rounds.runtime.spawn(attending).abort_handle()
        });
        Self { id, checks, nodes, task }
    }

    /// `http`, `https` or `tcp`.
    pub const fn kind(&self) -> &'static str {
        match &self.checks.active.probe {
            Probe::Tcp => "tcp",
            Probe::Http(http) if http.tls.is_some() => "https",
            Probe::Http(_) => "http",
        }
    }

    /// The nodes and how they are.
    pub fn nodes(&self) -> impl Iterator<Item = NodeHealth<'_>> {
        self.nodes.iter().map(|node| NodeHealth {
            host: &node.host,
            port: node.port,
            weight: node.weight,
            health: node.vitals.health(),
        })
    }

    /// What becomes of requests when too few nodes are well.
    pub const fn shortage(&self) -> Shortage {
        self.checks.shortage
    }

    /// Whether it checks these nodes in this way.
    pub(super) fn is_of(&self, checks: &HealthChecks, nodes: &[Node]) -> bool {
        let same = |(own, node): (&Checked, &Node)| {
            own.host == node.host && own.port == node.port && own.weight == node.weight
        };
        self.checks == *checks && self.nodes.len() == nodes.len() && self.nodes.iter().zip(nodes).all(same)
    }

    /// Holds a node to be well or ill until something else is found out. `false`: there is no such node.
    pub fn settle(&self, host: &str, port: u16, is_well: bool) -> bool {
        let Some(node) = self.nodes.iter().find(|node| &*node.host == host && node.port == port) else {
            return false;
        };
        if node.vitals.settle(is_well) {
            tell(&self.id, &node.target.label, is_well);
        }
        true
    }

    /// Counts what a client's request came to at a node.
    pub(super) fn note(&self, vitals: &Vitals, target: &Target, sign: Sign) {
        if let Some(passive) = &self.checks.passive
            && let Some((counter, limit)) = passive.judge(sign)
            && let Some(is_well) = vitals.count(counter, limit)
        {
            tell(&self.id, &target.label, is_well);
        }
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

fn tell(upstream: &str, node: &str, is_well: bool) {
    if is_well {
        tracing::info!(upstream, node, "the node is healthy again");
    } else {
        tracing::warn!(upstream, node, "the node is unhealthy");
    }
}

/// Asks all nodes, each at its own intervals.
async fn attend<A: Future<Output = Sign>>(
    id: Arc<str>,
    active: Arc<ActiveChecks>,
    nodes: Vec<Checked>,
    random: Random,
    ask: impl Fn(Checked, Bytes, Duration) -> A,
) {
    let places = Semaphore::new(active.concurrency.max(1));
    join_all(nodes.into_iter().map(|node| attend_node(&id, &active, node, &random, &places, &ask))).await;
}

async fn attend_node<A: Future<Output = Sign>>(
    id: &str,
    active: &ActiveChecks,
    node: Checked,
    random: &Random,
    places: &Semaphore,
    ask: &impl Fn(Checked, Bytes, Duration) -> A,
) {
    let request = match &active.probe {
        Probe::Tcp => Bytes::new(),
        Probe::Http(http) => http.request(node.target.authority.to_str().unwrap_or_default()),
    };
    let mut last = Instant::now();
    // The first question comes after a part of the interval, the others about an interval after the one before.
    let mut share = fraction(random);
    loop {
        // Made before the state is read: it hears of every change from here on.
        let turned = node.vitals.turned.notified();
        let interval =
            if node.vitals.health().is_well() { active.healthy_interval } else { active.unhealthy_interval };
        let due = async {
            match interval {
                Some(interval) => sleep_until(last + interval.min(LONGEST).mul_f64(share)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = turned => continue,
        }
        let Ok(_place) = places.acquire().await else { return };
        last = Instant::now();
        share = 0.95 + fraction(random) / 10.0;
        let sign = ask(node.clone(), request.clone(), active.timeout).await;
        if let Some((counter, limit)) = active.thresholds.judge(sign)
            && let Some(is_well) = node.vitals.count(counter, limit)
        {
            tell(id, &node.target.label, is_well);
        }
    }
}

/// From 0 to 1.
fn fraction(random: &Random) -> f64 {
    let mut byte = [0];
    random.fill(&mut byte);
    f64::from(byte[0]) / 255.0
}

/// One question to a node; an empty one asks for the connection alone.
async fn ask(target: &Arc<Target>, request: &[u8], reach: &Reach, limit: Duration) -> Sign {
    let asking = async {
        let mut stream = match connect::connect(target, reach, limit).await {
            Ok(stream) => stream,
            Err(Failure::Timeout { .. }) => return Sign::Late,
            Err(_) => return Sign::Broken,
        };
        if request.is_empty() {
            return Sign::Connected;
        }
        match status(&mut stream, request).await {
            Ok(Some(status)) => Sign::Status(status),
            Ok(None) => Sign::Malformed,
            Err(_) => Sign::Broken,
        }
    };
    timeout(limit, asking).await.unwrap_or(Sign::Late)
}

/// The status of the answer, past interim ones (RFC 9110 section 15.2); `None`: it is not HTTP.
async fn status(stream: &mut connect::Stream, request: &[u8]) -> io::Result<Option<u16>> {
    stream.write_all(request).await?;
    stream.flush().await?;
    let mut head = Vec::new();
    loop {
        let mut lines = [httparse::EMPTY_HEADER; 128];
        let mut response = httparse::Response::new(&mut lines);
        match response.parse(&head) {
            Ok(httparse::Status::Complete(length)) => match response.code {
                Some(100..=199) => {
                    head.drain(..length);
                    continue;
                }
                code => return Ok(code),
            },
            Ok(httparse::Status::Partial) if head.len() <= MAX_HEAD => {}
            _ => return Ok(None),
        }
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
