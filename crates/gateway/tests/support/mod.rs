//! An engine of one core on a free port, with one route, and targets that follow a script.

#![allow(dead_code, clippy::unwrap_used, clippy::indexing_slicing)] // each test file uses its part; a test that cannot go on fails

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, channel},
    },
    thread,
    time::Duration,
};

use base::Clock;
use gateway::{
    TlsAcceptance,
    consumer::Consumers,
    engine::{self, EngineConfig, Limits, ListenerSpec, Running, Traffic},
    error::ErrorBody,
    route::{Backend, HostPattern, Matcher, PathPattern, Plan, Route},
    snapshot::{Contribution, Publisher, Routes},
    upstream::{
        Balance, FailureWords, HostRewrite, KeepAlive, Live, Node, Scheme, Timeouts, TlsPolicy, Upstream,
        UpstreamSpec,
    },
};
use http::HeaderName;
use loopback::Reserved;

const ERRORS: ErrorBody = ErrorBody { member: "error_msg" };
const DIALECT: &str = "test";

pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    _reserved: Reserved,
    pub(crate) running: Option<Running>,
    live: Arc<Live>,
    publisher: Arc<Publisher>,
}

impl Gate {
    pub(crate) fn start(limits: Limits) -> Self {
        Self::trusting(limits, "")
    }

    /// With these authorities (PEM) beside the system's.
    pub(crate) fn trusting(limits: Limits, roots: &str) -> Self {
        let reserved = Reserved::any().unwrap();
        let address = reserved.address();
        let live = Arc::new(Live::new(roots, Vec::new()).unwrap());
        let publisher = Arc::new(Publisher::new((ERRORS, "404 Route Not Found")));
        let config = EngineConfig {
            traffic: Traffic::of(1),
            limits,
            trusted_proxies: Vec::new(),
            access_log: None,
            tls: TlsAcceptance::new(None, None).unwrap(),
            clock: Clock::system(),
            live: Arc::clone(&live),
            publisher: Arc::clone(&publisher),
        };
        let spec = ListenerSpec {
            address,
            tls: false,
            http2: true,
            client_certificates: false,
            proxy_protocol: false,
        };
        let running = engine::start(config, &[spec]).unwrap();
        Self { _reserved: reserved, address, running: Some(running), live, publisher }
    }

    /// One route for every path to these targets.
    pub(crate) fn route_to(&self, targets: &[SocketAddr], timeouts: Timeouts) {
        self.route_by(Scheme::Http, targets, timeouts);
    }

    /// The same, speaking to them by `scheme`.
    pub(crate) fn route_by(&self, scheme: Scheme, targets: &[SocketAddr], timeouts: Timeouts) {
        let plan = Arc::new(Plan::default());
        let backend = self.backend(scheme, targets, timeouts);
        self.publish(vec![route(plan, backend)], Arc::default(), Plan::default());
    }

    /// What `spec` says.
    pub(crate) fn upstream(&self, spec: UpstreamSpec) -> Backend {
        Backend::Upstream(Upstream::compile(spec, &self.live).unwrap())
    }

    /// These targets.
    pub(crate) fn backend(&self, scheme: Scheme, targets: &[SocketAddr], timeouts: Timeouts) -> Backend {
        self.upstream(UpstreamSpec {
            id: "u".into(),
            vitals_id: "u".into(),
            scheme,
            nodes: targets
                .iter()
                .map(|target| Node {
                    host: target.ip().to_string().into(),
                    port: target.port(),
                    weight: 1,
                    priority: 0,
                })
                .collect(),
            balance: Balance::RoundRobin,
            host: HostRewrite::Pass,
            timeouts,
            retries: None,
            retry_timeout: None,
            keep_alive: KeepAlive::default(),
            tls: TlsPolicy { verify: false, client: None, roots: None },
            failure_header: Some(HeaderName::from_static("x-upstream-status")),
            words: FailureWords::OWN,
            checks: None,
        })
    }

    /// Replaces everything.
    pub(crate) fn publish(&self, routes: Vec<Arc<Route>>, consumers: Arc<Consumers>, global: Plan) {
        let mut table = Routes::default();
        for (place, route) in (0..).zip(routes) {
            table.insert(place, route);
        }
        let contribution = Contribution {
            routes: table,
            certificates: Arc::default(),
            consumers,
            global: Arc::new(global),
            revision: 1,
            not_found: (ERRORS, "404 Route Not Found"),
            broken: Vec::new(),
        };
        self.publisher.publish(DIALECT, contribution);
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    pub(crate) fn ask(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        read_to_end(&mut stream)
    }
}

/// A route for every path.
pub(crate) fn route(plan: Arc<Plan>, backend: Backend) -> Arc<Route> {
    route_for(&[], plan, backend)
}

/// The same for these hosts alone.
pub(crate) fn route_for(hosts: &[&str], plan: Arc<Plan>, backend: Backend) -> Arc<Route> {
    let hosts = hosts.iter().map(|host| HostPattern::parse(host).unwrap()).collect();
    Arc::new(Route {
        id: "r".into(),
        name: None,
        dialect: DIALECT,
        service_id: None,
        service_name: None,
        matcher: Matcher { hosts, paths: vec![PathPattern::parse("/*")], ..Matcher::default() },
        plan,
        backend,
        timeouts: None,
        websocket: true,
        errors: ERRORS,
    })
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.running.take().into_iter().for_each(|running| running.drain(Duration::from_secs(1)));
    }
}

pub(crate) fn read_to_end(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// A target that answers each connection by a script, and tells what it read.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Receiver<String>,
}

impl Target {
    pub(crate) fn new(
        script: impl Fn(usize, &mut TcpStream, &mut dyn FnMut(String)) + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, seen) = channel();
        let script = Arc::new(Mutex::new(script));
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                let (script, sender) = (Arc::clone(&script), sender.clone());
                thread::spawn(move || {
                    script.lock().unwrap()(number, &mut stream, &mut |text| drop(sender.send(text)));
                });
            }
        });
        Self { address, seen }
    }

    /// Answers every request with `answer` after reading its head.
    pub(crate) fn answering(answer: &'static str) -> Self {
        Self::new(move |_, stream, tell| {
            while let Some(head) = read_head(stream) {
                tell(head);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        })
    }

    pub(crate) fn next(&self) -> String {
        self.seen.recv_timeout(Duration::from_secs(10)).unwrap()
    }
}

pub(crate) fn read_head(stream: &mut TcpStream) -> Option<String> {
    read_until(stream, b"\r\n\r\n")
}

pub(crate) fn read_until(stream: &mut TcpStream, end: &[u8]) -> Option<String> {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(end) {
        match stream.read(&mut byte) {
            Ok(1) => text.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8(text).unwrap())
}

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
