//! How targets are, and what somebody says of that.

use std::net::IpAddr;

use futures_util::future::join_all;
use gateway::upstream::{Checker, NodeHealth};
use http::StatusCode;
use serde_json::{Value, json};

use super::{read::Listing, request::Query, target::Settled};
use crate::{
    answer::Answer,
    compile::{checks_are_on, health_id},
    dialect::Dialect,
    entities::{Kind, Reference, named, set, split_target},
};

/// `GET /upstreams/{upstream}/health`
pub(super) async fn tell(
    dialect: &Dialect,
    upstream: &str,
    path: &str,
    query: &Query,
) -> Result<Answer, Answer> {
    let (id, on) = {
        let catalog = dialect.read();
        let found = catalog.lookup(Kind::Upstream, upstream, None).ok_or_else(Answer::not_found)?;
        (found.id.clone(), checks_are_on(&found.value))
    };
    let checker = dialect.live().checker(&health_id(&id));
    let nodes = match &checker {
        Some(checker) => Shown::all(dialect, checker, on).await,
        None => Vec::new(),
    };
    if query.get("balancer_health") == Some("1") {
        let data = match checker.filter(|_| on) {
            Some(checker) => of_all(&id, &checker, &nodes),
            None => json!({"health": OFF, "id": id}),
        };
        return Ok(Answer::ok(json!({"data": data, "next": null, "node_id": dialect.node_id()})));
    }
    let parent = Reference { field: "upstream", kind: Kind::Upstream, cascades: true };
    let listing = Listing { kind: Kind::Target, parent: Some((parent, &id)), path, query };
    let mut answer = listing.answer(dialect, false)?;
    if let Some(Value::Array(targets)) = answer.body.get_mut("data") {
        for target in targets {
            let found = target.get("target").and_then(Value::as_str).and_then(split_target);
            let node = found
                .and_then(|(host, port)| nodes.iter().find(|node| *node.host == *host && node.port == port));
            set(target, "health", json!(node.map_or(OFF, Shown::word)));
            if let Some(node) = node {
                set(target, "data", node.data(|address| ("health", json!(address.word()))));
            }
        }
    }
    set(&mut answer.body, "node_id", json!(dialect.node_id()));
    Ok(answer)
}

/// `PUT /upstreams/{upstream}/targets/{target}/healthy`, or `unhealthy`, perhaps for one address.
pub(super) async fn settle(dialect: &Dialect, settled: Settled<'_>) -> Result<Answer, Answer> {
    let (id, host, port) = {
        let catalog = dialect.read();
        let missing = Answer::not_found;
        let upstream = catalog.lookup(Kind::Upstream, settled.upstream, None).ok_or_else(missing)?;
        let target = catalog.lookup(Kind::Target, settled.target, Some(&upstream.id)).or_else(|| {
            // Its port may be left out, as when it is written.
            let (host, port) = split_target(settled.target)?;
            catalog.lookup(Kind::Target, &authority(&host, port), Some(&upstream.id))
        });
        let target = target.filter(|target| named(&target.value, "upstream") == Some(&upstream.id));
        let target = target.ok_or_else(missing)?;
        let address = target.value.get("target").and_then(Value::as_str).and_then(split_target);
        let (host, port) = address.ok_or_else(missing)?;
        (upstream.id.clone(), host, port)
    };
    let refuse = |why: String| Answer::message(StatusCode::BAD_REQUEST, why);
    if let Some(address) = settled.address {
        let (asked, asked_port) =
            split_target(address).ok_or_else(|| refuse(format!("not an address: '{}'", shown(address))))?;
        let known = dialect.live().addresses(&host).await;
        let is_own = asked == host || asked.parse::<IpAddr>().is_ok_and(|asked| known.contains(&asked));
        if !is_own || asked_port != port {
            return Err(refuse("target not found".to_owned()));
        }
        if asked != host && known.len() > 1 {
            let why =
                "health is a target's, and the name of this one has several addresses: leave the address out";
            return Err(refuse(why.to_owned()));
        }
    }
    let checker = dialect.live().checker(&health_id(&id));
    match checker.is_some_and(|checker| checker.settle(&host, port, settled.is_well)) {
        true => Ok(Answer::nothing()),
        false => Err(refuse("target not found".to_owned())),
    }
}

/// Nobody finds out, and Kong has a word for that.
const OFF: &str = "HEALTHCHECKS_OFF";

/// A target as it is shown.
struct Shown {
    host: String,
    port: u16,
    weight: u32,
    is_well: bool,
    /// Whether anybody finds out.
    on: bool,
    addresses: Vec<IpAddr>,
}

impl Shown {
    async fn all(dialect: &Dialect, checker: &Checker, on: bool) -> Vec<Self> {
        let one = |node: NodeHealth<'_>| {
            let (host, port, weight) = (node.host.to_owned(), node.port, node.weight);
            let is_well = node.health.is_well();
            async move {
                let addresses = dialect.live().addresses(&host).await;
                Self { host, port, weight, is_well, on: on && weight > 0, addresses }
            }
        };
        join_all(checker.nodes().map(one)).await
    }

    fn word(&self) -> &'static str {
        match (self.addresses.is_empty(), self.on, self.is_well) {
            (true, ..) => "DNS_ERROR",
            (false, false, _) => OFF,
            (false, true, true) => "HEALTHY",
            (false, true, false) => "UNHEALTHY",
        }
    }

    /// What the balancer has of it. Each of its addresses is as it is.
    fn data(&self, health: impl Fn(&Self) -> (&'static str, Value)) -> Value {
        let dns = if self.addresses.first().is_some_and(IpAddr::is_ipv6) { "AAAA" } else { "A" };
        let addresses: Vec<Value> = self
            .addresses
            .iter()
            .map(|ip| {
                let mut address =
                    json!({"ip": authority_host(&ip.to_string()), "port": self.port, "weight": self.weight});
                let (name, value) = health(self);
                set(&mut address, name, value);
                address
            })
            .collect();
        json!({
            "host": self.host,
            "port": self.port,
            "dns": dns,
            "nodeWeight": self.weight,
            "weight": weights(self.weights()),
            "addresses": addresses,
        })
    }

    /// All of its weight, and what of it is well.
    fn weights(&self) -> (u64, u64) {
        let total = u64::from(self.weight);
        (total, if self.is_well { total } else { 0 })
    }
}

/// The health of a whole upstream.
fn of_all(id: &str, checker: &Checker, nodes: &[Shown]) -> Value {
    let sum = nodes.iter().map(Shown::weights).fold((0, 0), |sum, own| (sum.0 + own.0, sum.1 + own.1));
    let is_well = checker.shortage().has_enough(sum.1, sum.0);
    let hosts: Vec<Value> =
        nodes.iter().map(|node| node.data(|address| ("healthy", json!(address.is_well)))).collect();
    let health = if is_well { "HEALTHY" } else { "UNHEALTHY" };
    json!({
        "health": health,
        "id": id,
        "details": {"healthy": is_well, "weight": weights(sum), "hosts": hosts},
    })
}

fn weights((total, well): (u64, u64)) -> Value {
    json!({"total": total, "available": well, "unavailable": total - well})
}

fn authority(host: &str, port: u16) -> String {
    format!("{}:{port}", authority_host(host))
}

fn authority_host(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn shown(text: &str) -> String {
    text.chars().take(128).collect()
}
