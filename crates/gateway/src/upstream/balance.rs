use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use expr::{Part, Template, Variable, Variables};
use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::{
    checker::Checker,
    health::Sign,
    live::{Live, Target},
    ring::{Crc32, Ring},
    spec::{Balance, HostRewrite, Scheme, Timeouts, UpstreamSpec},
    vitals::{Busy, Vitals},
};
use crate::{error::ConfigError, host::HostName};

/// Longest round of a weighted schedule. Weights that need a longer one are rounded.
const MAX_ROUND: u64 = 16_384;

/// A compiled upstream: tiers of targets, each with the order in which a round visits them.
#[derive(Debug)]
pub struct Upstream {
    pub(crate) id: Arc<str>,
    /// Highest priority first.
    tiers: Vec<Tier>,
    pub(crate) scheme: Scheme,
    pub(crate) host: SentHost,
    pub(crate) timeouts: Timeouts,
    pub(crate) retries: u32,
    pub(crate) retry_timeout: Option<std::time::Duration>,
    pub(crate) failure_header: Option<HeaderName>,
    /// What is hashed where targets are chosen so.
    key: Option<Template>,
    /// Finds out which nodes are well.
    checker: Option<Arc<Checker>>,
}

/// [`HostRewrite`], as it is sent.
#[derive(Debug)]
pub(crate) enum SentHost {
    Pass,
    Node,
    Fixed(HeaderValue),
}

#[derive(Debug)]
struct Tier {
    targets: Vec<Arc<Target>>,
    /// Of each target, where their health is checked.
    vitals: Option<Box<[Arc<Vitals>]>>,
    order: Order,
}

/// In which order the targets of a tier are tried.
#[derive(Debug)]
enum Order {
    Turns {
        /// One round: indices into the targets, each as often as its weight says, spread evenly.
        round: Box<[u16]>,
        /// Counts requests over all cores, and lives longer than a snapshot.
        position: Arc<AtomicUsize>,
    },
    Hashed(Ring),
    LeastBusy {
        /// Of each target: its weight, and what it is at.
        loads: Box<[(u32, Arc<Vitals>)]>,
        /// Counts requests over all cores: where the search begins, so that equals take turns.
        position: Arc<AtomicUsize>,
    },
}

/// The targets that a request has tried in vain.
pub(crate) type Tried = SmallVec<[u64; 4]>;

impl Upstream {
    /// Compiles `spec`. An upstream without usable nodes is allowed; it answers 503.
    pub fn compile(spec: UpstreamSpec, live: &Live) -> Result<Arc<Self>, ConfigError> {
        let is_tls = spec.scheme.is_tls();
        // A client certificate that is none is refused when it is written, not when the scheme changes one day.
        let is_made = is_tls || spec.tls.client.is_some();
        let config = is_made.then(|| live.tls_config(&spec.tls, spec.scheme.is_h2())).transpose()?;
        let tls = config.filter(|_| is_tls);
        let host = match &spec.host {
            HostRewrite::Pass => SentHost::Pass,
            HostRewrite::Node => SentHost::Node,
            HostRewrite::Fixed(host) => SentHost::Fixed(
                HeaderValue::from_str(host)
                    .map_err(|_| ConfigError::new("upstream_host", "a host has no control characters"))?,
            ),
        };
        let name = match &host {
            SentHost::Fixed(host) => HostName::parse(host).map(|host| host.name().to_owned()),
            SentHost::Pass | SentHost::Node => None,
        };
        let tls = tls.as_ref().map(|config| (config, name.as_deref()));
        let mut nodes: Vec<_> = spec.nodes.iter().filter(|node| node.weight > 0).collect();
        if nodes.len() > usize::from(u16::MAX) {
            return Err(ConfigError::new("nodes", "an upstream has at most 65535 nodes"));
        }
        nodes.sort_by_key(|node| std::cmp::Reverse(node.priority));
        let mut tiers = Vec::new();
        for tier in nodes.chunk_by(|a, b| a.priority == b.priority) {
            let targets = tier
                .iter()
                .map(|node| live.target(node, spec.scheme, spec.keep_alive, &spec.tls, tls))
                .collect::<Result<Vec<_>, _>>()?;
            let priority = tier.first().map_or(0, |node| node.priority);
            let order = match &spec.balance {
                Balance::RoundRobin => {
                    let weights: Vec<u64> = tier.iter().map(|node| u64::from(node.weight)).collect();
                    Order::Turns { round: round(&weights), position: live.position(&spec, priority) }
                }
                Balance::Hash(_) => {
                    Order::Hashed(Ring::new(tier.iter().map(|node| (&*node.host, node.port, node.weight))))
                }
                Balance::LeastBusy => Order::LeastBusy {
                    loads: tier.iter().map(|node| (node.weight, live.vitals(&spec.id, node))).collect(),
                    position: live.position(&spec, priority),
                },
            };
            let checked = spec.checks.is_some();
            let vitals = checked.then(|| tier.iter().map(|node| live.vitals(&spec.id, node)).collect());
            tiers.push(Tier { targets, vitals, order });
        }
        let checker = spec.checks.as_ref().map(|checks| live.check(&spec, checks)).transpose()?;
        let further = u32::try_from(nodes.len().saturating_sub(1)).unwrap_or(u32::MAX);
        Ok(Arc::new(Self {
            id: spec.id,
            tiers,
            scheme: spec.scheme,
            host,
            timeouts: spec.timeouts,
            retries: spec.retries.unwrap_or(further),
            retry_timeout: spec.retry_timeout,
            failure_header: spec.failure_header,
            checker,
            key: match spec.balance {
                Balance::RoundRobin | Balance::LeastBusy => None,
                Balance::Hash(key) => Some(key),
            },
        }))
    }

    /// What targets are chosen by for a request, whose variables `variables` gives where they are asked for.
    pub(crate) fn hash<V: Variables>(&self, variables: impl FnOnce() -> V) -> KeyHash {
        let Some(key) = &self.key else { return KeyHash::default() };
        let variables = variables();
        let mut found = false;
        let mut sum = Crc32::default();
        for part in key.parts() {
            match part {
                Part::Text(text) => sum = sum.with(text.as_bytes()),
                Part::Variable(variable) => {
                    if let Some(value) = variables.value(variable) {
                        found = true;
                        sum = sum.with(value.as_bytes());
                    }
                }
                Part::Capture(_) => {}
            }
        }
        if !found {
            let address = variables.value(&Variable::RemoteAddr).unwrap_or_default();
            sum = Crc32::default().with(address.as_bytes());
        }
        KeyHash(sum.value())
    }

    /// The next target by weight or by hash that is not in `tried`, from the highest tier that has one: of those that are
    /// well, or where none is, of all.
    pub(crate) fn choose(&self, tried: &Tried, hash: KeyHash) -> Option<&Arc<Target>> {
        let well = self.checker.is_some() && self.tiers.iter().any(Tier::is_well);
        self.tiers.iter().find_map(|tier| tier.choose(tried, hash, well))
    }

    /// Counts what a request to `target` came to, where health is judged by that.
    pub(crate) fn note(&self, target: &Arc<Target>, sign: Sign) {
        let Some(checker) = &self.checker else { return };
        if let Some(vitals) = self.tiers.iter().find_map(|tier| tier.vitals(target)) {
            checker.note(vitals, target, sign);
        }
    }

    /// Counts a request to `target` for as long as what is returned is kept, where targets are chosen by such counts.
    pub(crate) fn engage(&self, target: &Arc<Target>) -> Option<Busy> {
        self.tiers.iter().find_map(|tier| tier.engage(target))
    }
}

/// Stands for the key of a request where targets are chosen by it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeyHash(u32);

impl Tier {
    /// Whether any target is well, or none is checked.
    fn is_well(&self) -> bool {
        self.vitals.as_ref().is_none_or(|all| all.iter().any(|vitals| vitals.health().is_well()))
    }

    fn vitals(&self, target: &Arc<Target>) -> Option<&Arc<Vitals>> {
        let place = self.targets.iter().position(|own| Arc::ptr_eq(own, target))?;
        self.vitals.as_ref()?.get(place)
    }

    /// `well`: only a target that is.
    fn choose(&self, tried: &Tried, hash: KeyHash, well: bool) -> Option<&Arc<Target>> {
        let checked = self.vitals.as_ref().filter(|_| well);
        let is_well = |index: usize| {
            checked.is_none_or(|all| all.get(index).is_none_or(|vitals| vitals.health().is_well()))
        };
        let open = |index: usize| {
            self.targets.get(index).filter(|target| !tried.contains(&target.id) && is_well(index))
        };
        if self.targets.len() == 1 {
            return open(0);
        }
        match &self.order {
            Order::Turns { round, position } => {
                let turn = position.fetch_add(1, Ordering::Relaxed);
                let (before, from) = round.split_at_checked(turn.checked_rem(round.len())?)?;
                // One turn, then onwards without taking turns from others: every target of the round is looked at.
                from.iter().chain(before).find_map(|index| open(usize::from(*index)))
            }
            Order::Hashed(ring) => ring.from(hash.0).find_map(open),
            Order::LeastBusy { loads, position } => {
                let turn = position.fetch_add(1, Ordering::Relaxed).checked_rem(loads.len())?;
                let all = self.targets.iter().zip(loads).enumerate();
                let rest = all.clone().skip(turn).chain(all.take(turn));
                let open = rest.filter(|(index, _)| open(*index).is_some());
                // With this request: (busy + 1) / weight, compared without dividing. The first of equals is taken.
                let load = |vitals: &Vitals| u64::from(vitals.busy()) + 1;
                let least = open
                    .map(|(_, (target, (weight, vitals)))| (target, load(vitals), *weight))
                    .reduce(|best, next| {
                        let less = next.1 * u64::from(best.2) < best.1 * u64::from(next.2);
                        if less { next } else { best }
                    });
                least.map(|(target, ..)| target)
            }
        }
    }

    fn engage(&self, target: &Arc<Target>) -> Option<Busy> {
        let Order::LeastBusy { loads, .. } = &self.order else { return None };
        let place = self.targets.iter().position(|own| Arc::ptr_eq(own, target))?;
        loads.get(place).map(|(_, vitals)| vitals.engage())
    }
}

/// One round over `weights` by smooth weighted round-robin: the target that has waited longest in proportion to its
/// weight goes next, so heavy targets do not come in bursts.
fn round(weights: &[u64]) -> Box<[u16]> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let total: u64 = weights.iter().map(|weight| weight / divisor).sum();
    let scaled: Vec<i64> = weights
        .iter()
        .map(|weight| {
            let weight = weight / divisor;
            let fitted = if total > MAX_ROUND { (weight * MAX_ROUND / total).max(1) } else { weight };
            i64::try_from(fitted).unwrap_or(i64::MAX)
        })
        .collect();
    let length: i64 = scaled.iter().sum();
    let mut credit = vec![0_i64; scaled.len()];
    (0..length)
        .filter_map(|_| {
            credit.iter_mut().zip(&scaled).for_each(|(credit, weight)| *credit += weight);
            // The first of equals, as nginx chooses.
            let (index, _) = credit.iter().enumerate().rev().max_by_key(|(_, credit)| **credit)?;
            *credit.get_mut(index)? -= length;
            u16::try_from(index).ok()
        })
        .collect()
}

const fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use base::Secret;

    use super::*;
    use crate::upstream::spec::{ClientIdentity, PrivateKeyPem};

    #[test]
    fn a_round_visits_each_target_as_often_as_its_weight_and_spreads_the_heavy_one() {
        assert_eq!(&*round(&[5, 1, 1]), &[0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(&*round(&[100, 100]), &[0, 1]);
        assert_eq!(&*round(&[7]), &[0]);
        assert!(round(&[]).is_empty());
    }

    #[test]
    fn absurd_weights_are_rounded_and_nobody_is_left_out() {
        let round = round(&[4_000_000_000, 1, 3_999_999_999]);
        assert!(round.len() <= usize::try_from(MAX_ROUND).unwrap() + 3);
        assert_eq!(round.iter().filter(|index| **index == 1).count(), 1);
    }

    #[test]
    fn a_target_that_was_not_tried_is_found_wherever_the_round_stands() {
        let live = Live::new("", Vec::new()).unwrap();
        let upstream = Upstream::compile(UpstreamSpec::weighted(&[5, 1, 1]), &live).unwrap();
        let first = upstream.choose(&Tried::new(), KeyHash::default()).unwrap().id;
        for _ in 0..20 {
            let mut tried = Tried::from_slice(&[first]);
            let second = upstream.choose(&tried, KeyHash::default()).unwrap().id;
            tried.push(second);
            tried.push(upstream.choose(&tried, KeyHash::default()).unwrap().id);
            assert!(upstream.choose(&tried, KeyHash::default()).is_none());
        }
    }

    #[test]
    fn a_client_certificate_that_is_none_is_refused_whatever_the_scheme() {
        let live = Live::new("", Vec::new()).unwrap();
        for scheme in [Scheme::Http, Scheme::Https] {
            let mut spec = UpstreamSpec { scheme, ..UpstreamSpec::weighted(&[1]) };
            let key = PrivateKeyPem(Secret::new("no key".to_owned()));
            spec.tls.client = Some(ClientIdentity { certificate: "no certificate".into(), key });
            assert!(Upstream::compile(spec, &live).is_err(), "{scheme:?}");
        }
    }

    #[test]
    fn the_target_with_the_fewest_requests_for_its_weight_is_next_and_equals_take_turns() {
        let live = Live::new("", Vec::new()).unwrap();
        let spec =
            |weights: &[u32]| UpstreamSpec { balance: Balance::LeastBusy, ..UpstreamSpec::weighted(weights) };
        let upstream = Upstream::compile(spec(&[3, 2]), &live).unwrap();
        let choose = |upstream: &Upstream| {
            let target = upstream.choose(&Tried::new(), KeyHash::default()).unwrap();
            (target.port, upstream.engage(target).unwrap())
        };
        let mut busy: Vec<(u16, Busy)> = (0..50).map(|_| choose(&upstream)).collect();
        assert_eq!(busy.iter().filter(|(port, _)| *port == 1).count(), 30);
        // Another configuration of the same nodes knows what they are at.
        let again = Upstream::compile(spec(&[1, 1]), &live).unwrap();
        assert_eq!(choose(&again).0, 2);
        busy.retain(|(port, _)| *port == 2);
        assert_eq!(choose(&upstream).0, 1, "what has ended is not counted");
        drop(busy);
        let first: Vec<u16> = (0..4).map(|_| choose(&again).0).collect();
        assert!(first == [1, 2, 1, 2] || first == [2, 1, 2, 1], "{first:?}");
        // A target that was tried is not chosen again.
        let target = again.choose(&Tried::new(), KeyHash::default()).unwrap();
        let other = again.choose(&Tried::from_slice(&[target.id]), KeyHash::default()).unwrap();
        assert_ne!(target.id, other.id);
        assert!(again.choose(&Tried::from_slice(&[target.id, other.id]), KeyHash::default()).is_none());
    }
}
