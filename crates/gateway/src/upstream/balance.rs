use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use expr::{Part, Template, Variable, Variables};
use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::{
    checker::Checker,
    health::{Shortage, Sign},
    live::{Live, Target},
    ring::{Crc32, Ring},
    slots::{Slots, hash as slot_hash},
    spec::{Balance, FailureWords, HostRewrite, Node, Scheme, Timeouts, UpstreamSpec},
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
    pub(crate) retry_timeout: Option<Duration>,
    pub(crate) failure_header: Option<HeaderName>,
    pub(crate) words: FailureWords,
    /// What is hashed where targets are chosen so.
    key: Option<Template>,
    /// Where times of answers are counted from, where targets are chosen by them.
    timed_from: Option<Instant>,
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
    /// Of each target: its weight, and what is known of it. Empty where nobody asks.
    known: Box<[(u32, Arc<Vitals>)]>,
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
    Slots {
        slots: Slots,
        /// Counts requests over all cores of which there is nothing to hash.
        position: Arc<AtomicUsize>,
    },
    Fastest {
        /// Counts requests over all cores: which targets are drawn.
        position: Arc<AtomicUsize>,
    },
    LeastBusy {
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
                Balance::Slots(size) => {
                    let targets = tier.iter().map(|node| (&*node.host, node.port, node.weight));
                    Order::Slots {
                        slots: Slots::new(*size, targets),
                        position: live.position(&spec, priority),
                    }
                }
                Balance::LeastBusy => Order::LeastBusy { position: live.position(&spec, priority) },
                Balance::Fastest => Order::Fastest { position: live.position(&spec, priority) },
            };
            let asks = spec.checks.is_some() || matches!(spec.balance, Balance::LeastBusy | Balance::Fastest);
            let known = |node: &&Node| (node.weight, live.vitals(&spec.vitals_id, node));
            let known = if asks { tier.iter().map(known).collect() } else { Box::default() };
            tiers.push(Tier { targets, known, order });
        }
        let timed_from = matches!(spec.balance, Balance::Fastest).then_some(live.began);
        if let Some(began) = timed_from {
            level(&tiers, began.elapsed());
        }
        let check = |checks| live.check(&spec.vitals_id, &spec.nodes, spec.keep_alive, checks);
        let checker = spec.checks.as_ref().map(check).transpose()?;
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
            words: spec.words,
            timed_from,
            checker,
            key: match spec.balance {
                Balance::RoundRobin | Balance::Slots(_) | Balance::LeastBusy | Balance::Fastest => None,
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
        KeyHash(Some(sum.value()))
    }

    /// The next target by weight or by hash that is not in `tried`, from the highest tier that has one: of those that are
    /// well; or where too few are, of all or of none.
    pub(crate) fn choose(&self, tried: &Tried, hash: KeyHash) -> Option<&Arc<Target>> {
        let only_well = match self.checker.as_ref().map(|checker| checker.shortage()) {
            None => false,
            Some(Shortage::UseAll) => self.tiers.iter().any(Tier::is_well),
            // One that is well is enough, and whether there is one will be seen.
            Some(Shortage::Refuse { share: 0 }) => true,
            Some(shortage) => {
                let (well, total) = self.tiers.iter().map(Tier::weights).fold((0, 0), |sum, own| {
                    let (well, total) = own;
                    (sum.0 + well, sum.1 + total)
                });
                if !shortage.has_enough(well, total) {
                    return None;
                }
                true
            }
        };
        let now = self.timed_from.map(|began| began.elapsed()).unwrap_or_default();
        self.tiers.iter().find_map(|tier| tier.choose(tried, hash, only_well, now))
    }

    /// When a try begins, where targets are chosen by the time that their answers take.
    pub(crate) fn begin(&self) -> Option<Instant> {
        self.timed_from.map(|_| Instant::now())
    }

    /// Takes into account how long the answer to a try took that began then. One that failed took `at_least` so long:
    /// a target that fails fast is not a fast one.
    pub(crate) fn end(&self, target: &Arc<Target>, began: Option<Instant>, at_least: Duration) {
        let Some((began, from)) = began.zip(self.timed_from) else { return };
        if let Some(vitals) = self.tiers.iter().find_map(|tier| tier.vitals(target)) {
            vitals.answered(began.elapsed().max(at_least), from.elapsed());
        }
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
pub(crate) struct KeyHash(pub(crate) Option<u32>);

impl Tier {
    /// Whether any target is well.
    fn is_well(&self) -> bool {
        self.known.iter().any(|(_, vitals)| vitals.health().is_well())
    }

    /// The weight of the targets that are well, and of all.
    fn weights(&self) -> (u64, u64) {
        self.known.iter().fold((0, 0), |(well, total), (weight, vitals)| {
            let weight = u64::from(*weight);
            (if vitals.health().is_well() { well + weight } else { well }, total + weight)
        })
    }

    fn vitals(&self, target: &Arc<Target>) -> Option<&Arc<Vitals>> {
        let place = self.targets.iter().position(|own| Arc::ptr_eq(own, target))?;
        self.known.get(place).map(|(_, vitals)| vitals)
    }

    /// `only_well`: only a target that is.
    fn choose(&self, tried: &Tried, hash: KeyHash, only_well: bool, now: Duration) -> Option<&Arc<Target>> {
        let is_well = |index: usize| {
            !only_well || self.known.get(index).is_none_or(|(_, vitals)| vitals.health().is_well())
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
            Order::Hashed(ring) => ring.from(hash.0.unwrap_or_default()).find_map(open),
            Order::Slots { slots, position } => {
                let turn = || slot_hash(&position.fetch_add(1, Ordering::Relaxed).to_le_bytes());
                slots.from(hash.0.unwrap_or_else(turn)).find_map(open)
            }
            Order::Fastest { position } => {
                let candidates: SmallVec<[usize; 16]> =
                    (0..self.targets.len()).filter(|index| open(*index).is_some()).collect();
                let turn = position.fetch_add(1, Ordering::Relaxed);
                let (one, other) = draw(turn, candidates.len())?;
                let time = |place: usize| {
                    let index = candidates.get(place).copied().unwrap_or_default();
                    let known = self.known.get(index);
                    // A weight is at most 2^32, and need not be exact.
                    #[allow(clippy::cast_precision_loss)]
                    let time = known.map(|(weight, vitals)| {
                        vitals.pace(now).unwrap_or_default() / (*weight).max(1) as f32
                    });
                    (index, time.unwrap_or_default())
                };
                let (one, other) = (time(one), time(other));
                self.targets.get(if other.1 < one.1 { other.0 } else { one.0 })
            }
            Order::LeastBusy { position } => {
                let turn = position.fetch_add(1, Ordering::Relaxed).checked_rem(self.known.len())?;
                let all = self.targets.iter().zip(&self.known).enumerate();
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
        let counts = matches!(self.order, Order::LeastBusy { .. });
        self.vitals(target).filter(|_| counts).map(Vitals::engage)
    }
}

/// Two of so many, which may be the same one: for each turn others, and in the long run all equally often.
fn draw(turn: usize, count: usize) -> Option<(usize, usize)> {
    // The output function of SplitMix64.
    let mut mixed =
        u64::try_from(turn).unwrap_or_default().wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let (high, low) = (usize::try_from(mixed >> 32).ok()?, usize::try_from(mixed & 0xffff_ffff).ok()?);
    let one = high.checked_rem(count)?;
    // Of the others, one that is not the first.
    let step = 1 + low.checked_rem(count - 1).unwrap_or_default();
    Some((one, (one + step).checked_rem(count)?))
}

/// Has targets of which nobody knows how fast they are begin with the mean of the others: a new one is neither spared nor
/// given every request.
fn level(tiers: &[Tier], now: Duration) {
    let all = || tiers.iter().flat_map(|tier| &tier.known);
    let known: Vec<f32> = all().filter_map(|(_, vitals)| vitals.pace(now)).collect();
    if known.is_empty() {
        return;
    }
    // Targets are at most 65535.
    #[allow(clippy::cast_precision_loss)]
    let mean = known.iter().sum::<f32>() / known.len() as f32;
    all().for_each(|(_, vitals)| vitals.begin_with(mean, now));
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
    use std::collections::BTreeSet;

    use base::Secret;

    use super::*;
    use crate::upstream::{
        health::{ActiveChecks, HealthChecks, Probe, Thresholds},
        spec::{ClientIdentity, PrivateKeyPem},
    };

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
    fn of_two_that_are_drawn_the_faster_is_next_and_new_ones_begin_like_the_others() {
        let live = Live::new("", Vec::new()).unwrap();
        let compile = |weights: &[u32]| {
            let spec = UpstreamSpec { balance: Balance::Fastest, ..UpstreamSpec::weighted(weights) };
            Upstream::compile(spec, &live).unwrap()
        };
        let counts = |upstream: &Upstream| {
            let mut counts = vec![0; 4];
            for _ in 0..600 {
                let target = upstream.choose(&Tried::new(), KeyHash::default()).unwrap();
                counts[usize::from(target.port) - 1] += 1;
            }
            counts
        };
        let upstream = compile(&[1, 1, 1]);
        for (target, millis) in upstream.tiers[0].targets.iter().zip([10, 20, 400]) {
            upstream.end(target, upstream.begin(), Duration::from_millis(millis));
        }
        let found = counts(&upstream);
        assert!(found[0] > 330 && found[1] > 130 && found[2] == 0, "{found:?}");
        // A heavy one may take longer, and one that is new begins with the mean: it is not given everything.
        let found = counts(&compile(&[1, 1, 50, 1]));
        assert!(found[2] > 200 && found[3] < 50, "{found:?}");
        let tried: Tried = upstream.tiers[0].targets.iter().take(2).map(|target| target.id).collect();
        assert_eq!(upstream.choose(&tried, KeyHash::default()).unwrap().port, 3);
        let all: Tried = upstream.tiers[0].targets.iter().map(|target| target.id).collect();
        assert!(upstream.choose(&all, KeyHash::default()).is_none());
    }

    #[test]
    fn what_a_plugin_says_finds_a_slot_and_without_it_targets_take_turns() {
        let live = Live::new("", Vec::new()).unwrap();
        let spec = UpstreamSpec { balance: Balance::Slots(10_000), ..UpstreamSpec::weighted(&[1, 1]) };
        let upstream = Upstream::compile(spec, &live).unwrap();
        let chosen = |hash: Option<u32>| upstream.choose(&Tried::new(), KeyHash(hash)).unwrap().port;
        let met = |chosen: &dyn Fn(u32) -> u16| (0..100).map(chosen).collect::<BTreeSet<u16>>();
        assert_eq!(met(&|number| chosen(Some(slot_hash(&number.to_le_bytes())))).len(), 2);
        assert_eq!(met(&|_| chosen(Some(7))).len(), 1);
        assert_eq!(met(&|_| chosen(None)).len(), 2);
        let first = upstream.choose(&Tried::new(), KeyHash(Some(7))).unwrap();
        let next = upstream.choose(&Tried::from_slice(&[first.id]), KeyHash(Some(7))).unwrap();
        assert_ne!(first.id, next.id);
    }

    #[test]
    fn targets_that_are_ill_are_left_out_or_leave_everybody_out() {
        let live = Live::new("", Vec::new()).unwrap();
        let thresholds = Thresholds {
            healthy_statuses: Arc::default(),
            successes: 0,
            unhealthy_statuses: Arc::default(),
            http_failures: 0,
            tcp_failures: 0,
            timeouts: 0,
        };
        let compile = |shortage| {
            let active = ActiveChecks {
                probe: Probe::Tcp,
                timeout: Duration::from_secs(1),
                concurrency: 1,
                port: None,
                healthy_interval: None,
                unhealthy_interval: None,
                thresholds: thresholds.clone(),
            };
            let checks = Some(HealthChecks { active, passive: None, shortage });
            Upstream::compile(UpstreamSpec { checks, ..UpstreamSpec::weighted(&[30, 50, 20]) }, &live)
                .unwrap()
        };
        let refuse = |percent: u32| compile(Shortage::Refuse { share: percent * 10_000 });
        let chosen = |upstream: &Upstream| -> BTreeSet<u16> {
            let port = |_| upstream.choose(&Tried::new(), KeyHash::default()).map(|target| target.port);
            (0..30).filter_map(port).collect()
        };
        let (all, any, half) = (compile(Shortage::UseAll), refuse(0), refuse(50));
        for upstream in [&all, &any, &half] {
            assert_eq!(chosen(upstream), [1, 2, 3].into(), "what is said of a node is said of it everywhere");
        }
        let checker = live.checker("u").unwrap();
        assert!(checker.settle("192.0.2.1", 1, false) && !checker.settle("192.0.2.1", 9, false));
        for upstream in [&all, &any, &half] {
            assert_eq!(chosen(upstream), [2, 3].into());
        }
        checker.settle("192.0.2.1", 3, false);
        assert_eq!((chosen(&any), chosen(&half)), ([2].into(), [].into()), "half is not more than half");
        checker.settle("192.0.2.1", 2, false);
        assert_eq!((chosen(&all), chosen(&any)), ([1, 2, 3].into(), [].into()));
        checker.settle("192.0.2.1", 1, true);
        assert_eq!((chosen(&all), chosen(&any), chosen(&half)), ([1].into(), [1].into(), [].into()));
        // Whoever asks the same of the same nodes shares what asks them.
        assert!(Arc::ptr_eq(any.checker.as_ref().unwrap(), refuse(0).checker.as_ref().unwrap()));
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
