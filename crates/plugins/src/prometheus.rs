//! Counts requests by route, service, consumer and target, for Prometheus.
//!
//! A core that has counted the same before finds its series in a cache of its own and adds to atomics; the table of all
//! series is locked for the first request of a series on a core, and when somebody asks. Labels are the configuration's
//! names and never a client's text, and their number is bounded: what goes beyond is counted as dropped.

use std::{
    any::Any,
    cell::RefCell,
    collections::HashMap,
    fmt::Write,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use gateway::{
    plugin::{Exchange, Phases, Plugin},
    route::{HostPattern, PathPattern, Route},
};
use quick_cache::unsync::Cache;

/// Upper bounds of latencies, milliseconds.
const BUCKETS: [u64; 15] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000];
/// Series of a process.
const MAX_SERIES: usize = 20_000;
/// Series that one core remembers.
const NEAR: usize = 4096;

thread_local! {
    static NEAR_SERIES: RefCell<Cache<u64, (Key, Arc<Series>)>> = RefCell::new(Cache::new(NEAR));
}

/// What is counted, and whose names it gets.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whose names.
    pub dialect: Dialect,
    /// Whether routes are called by their names instead of their ids.
    pub prefers_names: bool,
    /// Whether consumers are told apart.
    pub by_consumer: bool,
    /// Whether latencies are counted.
    pub latencies: bool,
    /// Whether bytes are counted.
    pub bandwidth: bool,
    /// Whether statuses are counted.
    pub statuses: bool,
}

/// Whose names metrics get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// `apisix_http_status` …
    Apisix,
    /// `kong_http_requests_total` …
    Kong,
}

/// All series of the process.
#[derive(Debug, Default)]
pub struct Registry {
    series: Mutex<HashMap<Key, Arc<Series>>>,
    dropped: AtomicU64,
    hasher: RandomState,
}

/// What tells one series from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    dialect: Dialect,
    route: Arc<str>,
    service: Arc<str>,
    consumer: Arc<str>,
    node: Box<str>,
    uri: Box<str>,
    host: Box<str>,
    code: u16,
    from_upstream: bool,
}

#[derive(Debug, Default)]
struct Series {
    requests: AtomicU64,
    ingress: AtomicU64,
    egress: AtomicU64,
    counts_bytes: AtomicU64,
    latency: Histogram,
    upstream: Histogram,
    own: Histogram,
}

#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BUCKETS.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    fn add(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let place = BUCKETS.iter().position(|bound| micros <= bound * 1000).unwrap_or(BUCKETS.len());
        if let Some(bucket) = self.buckets.get(place) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(micros, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }
}

/// The compiled form.
struct Prometheus {
    config: Config,
    registry: Arc<Registry>,
}

/// Compiles `config`.
pub fn compile(config: Config, registry: &Arc<Registry>) -> Arc<dyn Plugin> {
    Arc::new(Prometheus { config, registry: Arc::clone(registry) })
}

impl Plugin for Prometheus {
    fn name(&self) -> &'static str {
        "prometheus"
    }

    fn phases(&self) -> Phases {
        Phases::LOG
    }

    fn log(&self, exchange: &Exchange<'_>) {
        let Some(series) = self.registry.find(self.key(exchange)) else { return };
        let config = &self.config;
        if config.statuses {
            series.requests.fetch_add(1, Ordering::Relaxed);
        }
        if config.bandwidth {
            series.counts_bytes.store(1, Ordering::Relaxed);
            series.ingress.fetch_add(exchange.received, Ordering::Relaxed);
            series.egress.fetch_add(exchange.sent, Ordering::Relaxed);
        }
        if config.latencies {
            series.latency.add(exchange.took);
            if let Some(upstream) = exchange.upstream_took {
                series.upstream.add(upstream);
            }
            series.own.add(exchange.took.saturating_sub(exchange.upstream_took.unwrap_or_default()));
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Prometheus {
    fn key(&self, exchange: &Exchange<'_>) -> Key {
        let Config { dialect, prefers_names, by_consumer, .. } = self.config;
        let route = exchange.route;
        let empty = || Arc::<str>::from("");
        let or_id = |name: &Option<Arc<str>>, id: &Option<Arc<str>>| {
            name.clone().filter(|_| prefers_names).or_else(|| id.clone())
        };
        let service = or_id(&route.service_name, &route.service_id);
        let consumer = exchange.consumer.filter(|_| by_consumer);
        let node = exchange.upstream.and_then(|node| node.rsplit_once(':')).map_or("", |(host, _)| host);
        let is_apisix = dialect == Dialect::Apisix;
        Key {
            dialect,
            route: or_id(&route.name, &None).unwrap_or_else(|| Arc::clone(&route.id)),
            service: service.unwrap_or_else(empty),
            consumer: consumer.map_or_else(empty, |consumer| consumer.name().into()),
            node: if is_apisix { node.into() } else { "".into() },
            uri: if is_apisix { paths(route).into() } else { "".into() },
            host: if is_apisix { hosts(route).into() } else { "".into() },
            code: exchange.status.as_u16(),
            from_upstream: exchange.upstream.is_some(),
        }
    }
}

/// The route's own words for paths.
fn paths(route: &Route) -> String {
    let word = |pattern: &PathPattern| match pattern {
        PathPattern::Exact(path) => path.to_string(),
        PathPattern::Prefix(path) => format!("{path}*"),
    };
    route.matcher.paths.iter().map(word).collect::<Vec<_>>().join(",")
}

/// The route's own words for hosts.
fn hosts(route: &Route) -> String {
    let word = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(host) => host.to_string(),
        HostPattern::Suffix(host) => format!("*{host}"),
    };
    route.matcher.hosts.iter().map(word).collect::<Vec<_>>().join(",")
}

impl Registry {
    fn find(&self, key: Key) -> Option<Arc<Series>> {
        let hash = self.hasher.hash_one(&key);
        NEAR_SERIES.with_borrow_mut(|near| {
            if let Some((own, series)) = near.get(&hash)
                && *own == key
            {
                return Some(Arc::clone(series));
            }
            let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= MAX_SERIES && !all.contains_key(&key) {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            let series = Arc::clone(all.entry(key.clone()).or_default());
            near.insert(hash, (key, Arc::clone(&series)));
            Some(series)
        })
    }

    /// All series in Prometheus' text format, version 0.0.4.
    pub fn render(&self) -> String {
        let all = self.series.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut all: Vec<(Key, Arc<Series>)> = all.into_iter().collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut out = Text::default();
        for dialect in [Dialect::Apisix, Dialect::Kong] {
            let own: Vec<&(Key, Arc<Series>)> =
                all.iter().filter(|(key, _)| key.dialect == dialect).collect();
            match dialect {
                Dialect::Apisix => apisix(&mut out, &own),
                Dialect::Kong => kong(&mut out, &own),
            }
        }
        out.family(
            "portcullis_metric_series_dropped_total",
            "counter",
            "Requests that no series had room for.",
        );
        out.sample("portcullis_metric_series_dropped_total", "", self.dropped.load(Ordering::Relaxed));
        out.0
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    // Writing to a string does not fail.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: u64) {
        let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(self.0, "{name}{braces} {value}");
    }

    fn histogram(&mut self, name: &str, labels: &str, histogram: &Histogram) {
        let mut below = 0;
        for (bound, bucket) in BUCKETS.iter().zip(&histogram.buckets) {
            below += bucket.load(Ordering::Relaxed);
            self.sample(&format!("{name}_bucket"), &format!("{labels},le=\"{bound}\""), below);
        }
        let count = histogram.count();
        self.sample(&format!("{name}_bucket"), &format!("{labels},le=\"+Inf\""), count);
        self.sample(&format!("{name}_sum"), labels, histogram.sum_us.load(Ordering::Relaxed) / 1000);
        self.sample(&format!("{name}_count"), labels, count);
    }
}

/// `name="value"`, with what the format escapes.
fn labels(pairs: &[(&str, &str)]) -> String {
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    pairs.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect::<Vec<_>>().join(",")
}

fn apisix(out: &mut Text, all: &[&(Key, Arc<Series>)]) {
    if all.is_empty() {
        return;
    }
    out.family("apisix_http_status", "counter", "HTTP status codes per service in APISIX");
    for (key, series) in all {
        let (code, source) = (key.code.to_string(), if key.from_upstream { "upstream" } else { "apisix" });
        let labels = labels(&[
            ("code", &code),
            ("route", &key.route),
            ("matched_uri", &key.uri),
            ("matched_host", &key.host),
            ("service", &key.service),
            ("consumer", &key.consumer),
            ("node", &key.node),
            ("request_type", "traditional_http"),
            ("request_llm_model", ""),
            ("llm_model", ""),
            ("response_source", source),
        ]);
        out.sample("apisix_http_status", &labels, series.requests.load(Ordering::Relaxed));
    }
    // Statuses, paths and hosts are not told apart from here on.
    let merged = merged(all, |key| {
        let named = [
            ("route", &*key.route),
            ("service", &key.service),
            ("consumer", &key.consumer),
            ("node", &key.node),
        ];
        labels(
            &[
                &named[..],
                &[("request_type", "traditional_http"), ("request_llm_model", ""), ("llm_model", "")],
            ]
            .concat(),
        )
    });
    out.family(
        "apisix_http_latency",
        "histogram",
        "HTTP request latency in milliseconds per service in APISIX",
    );
    for (labels, series) in &merged {
        for (kind, histogram) in
            [("request", &series.latency), ("upstream", &series.upstream), ("apisix", &series.own)]
        {
            if histogram.count() > 0 {
                out.histogram("apisix_http_latency", &format!("type=\"{kind}\",{labels}"), histogram);
            }
        }
    }
    out.family("apisix_bandwidth", "counter", "Total bandwidth in bytes consumed per service in APISIX");
    for (labels, series) in &merged {
        for (kind, bytes) in [("ingress", &series.ingress), ("egress", &series.egress)] {
            out.sample(
                "apisix_bandwidth",
                &format!("type=\"{kind}\",{labels}"),
                bytes.load(Ordering::Relaxed),
            );
        }
    }
}

fn kong(out: &mut Text, all: &[&(Key, Arc<Series>)]) {
    if all.is_empty() {
        return;
    }
    out.family("kong_http_requests_total", "counter", "HTTP status codes per consumer/service/route in Kong");
    for (key, series) in all {
        let requests = series.requests.load(Ordering::Relaxed);
        if requests > 0 {
            let (code, source) = (key.code.to_string(), if key.from_upstream { "service" } else { "kong" });
            let labels = labels(&[
                ("service", &key.service),
                ("route", &key.route),
                ("code", &code),
                ("source", source),
                ("workspace", "default"),
                ("consumer", &key.consumer),
            ]);
            out.sample("kong_http_requests_total", &labels, requests);
        }
    }
    let merged = merged(all, |key| {
        labels(&[("service", &key.service), ("route", &key.route), ("workspace", "default")])
    });
    type Of = fn(&Series) -> &Histogram;
    let latencies: [(&str, &str, Of); 3] = [
        ("kong_request_latency_ms", "Total latency of requests in milliseconds", |series| &series.latency),
        ("kong_upstream_latency_ms", "Latency of upstreams in milliseconds", |series| &series.upstream),
        ("kong_kong_latency_ms", "Latency added by the gateway in milliseconds", |series| &series.own),
    ];
    for (name, help, of) in latencies {
        out.family(name, "histogram", help);
        for (labels, series) in merged.iter().filter(|(_, series)| of(series).count() > 0) {
            out.histogram(name, labels, of(series));
        }
    }
    out.family("kong_bandwidth_bytes", "counter", "Total bytes of bodies per service/route");
    for (labels, series) in
        merged.iter().filter(|(_, series)| series.counts_bytes.load(Ordering::Relaxed) > 0)
    {
        for (direction, bytes) in [("ingress", &series.ingress), ("egress", &series.egress)] {
            let labels = format!("{labels},direction=\"{direction}\"");
            out.sample("kong_bandwidth_bytes", &labels, bytes.load(Ordering::Relaxed));
        }
    }
}

/// The series added up that have the same labels.
fn merged(all: &[&(Key, Arc<Series>)], labels: impl Fn(&Key) -> String) -> Vec<(String, Series)> {
    let mut out: Vec<(String, Series)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (key, series) in all {
        let labels = labels(key);
        let place = *places.entry(labels.clone()).or_insert_with(|| {
            out.push((labels, Series::default()));
            out.len() - 1
        });
        let Some((_, sum)) = out.get(place) else { continue };
        let add =
            |to: &AtomicU64, from: &AtomicU64| to.fetch_add(from.load(Ordering::Relaxed), Ordering::Relaxed);
        add(&sum.ingress, &series.ingress);
        add(&sum.egress, &series.egress);
        add(&sum.counts_bytes, &series.counts_bytes);
        for (to, from) in
            [(&sum.latency, &series.latency), (&sum.upstream, &series.upstream), (&sum.own, &series.own)]
        {
            add(&to.sum_us, &from.sum_us);
            to.buckets.iter().zip(&from.buckets).for_each(|(to, from)| {
                add(to, from);
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(route: &str, code: u16) -> Key {
        Key {
            dialect: Dialect::Apisix,
            route: route.into(),
            service: "s".into(),
            consumer: "".into(),
            node: "10.0.0.1".into(),
            uri: "/x\"y".into(),
            host: "".into(),
            code,
            from_upstream: true,
        }
    }

    #[test]
    fn series_are_rendered_in_apisix_names_and_latencies_added_up() {
        let registry = Registry::default();
        for (code, millis) in [(200, 3), (200, 700), (404, 70_000)] {
            let series = registry.find(key("r", code)).unwrap();
            series.requests.fetch_add(1, Ordering::Relaxed);
            series.latency.add(Duration::from_millis(millis));
            series.egress.fetch_add(5, Ordering::Relaxed);
        }
        let text = registry.render();
        for line in [
            "apisix_http_status{code=\"200\",route=\"r\",matched_uri=\"/x\\\"y\",matched_host=\"\",service=\"s\",\
             consumer=\"\",node=\"10.0.0.1\",request_type=\"traditional_http\",request_llm_model=\"\",llm_model=\"\",\
             response_source=\"upstream\"} 2\n",
            ",le=\"5\"} 1\n",
            ",le=\"60000\"} 2\n",
            ",le=\"+Inf\"} 3\n",
            "apisix_bandwidth{type=\"egress\",route=\"r\",",
            "llm_model=\"\"} 15\n",
            "portcullis_metric_series_dropped_total 0\n",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert_eq!(text.matches("# TYPE apisix_http_status ").count(), 1);
    }

    #[test]
    fn the_number_of_series_is_bounded() {
        let registry = Registry::default();
        for number in 0..MAX_SERIES + 10 {
            registry.find(key(&number.to_string(), 200));
        }
        assert_eq!(registry.series.lock().unwrap().len(), MAX_SERIES);
        assert_eq!(registry.dropped.load(Ordering::Relaxed), 10);
        assert!(registry.find(key("0", 200)).is_some());
    }
}
