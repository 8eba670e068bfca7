//! Starts the proxy cores, and stops them without losing a request.

use std::{
    io::{self, Write},
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use base::Clock;
use ipnet::IpNet;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::TcpListener,
    runtime::{Builder, LocalOptions},
    sync::watch,
    time::timeout,
};

use crate::{
    access_log::{self, CoreLog, Sink},
    core::{Core, Settings},
    listener,
    metrics::{self, CoreMetrics},
    snapshot::Publisher,
    tls::TlsAcceptance,
    upstream::{Live, Pools},
};

pub use crate::metrics::{Totals, Traffic};

/// Connections the system may hold until a core accepts them.
const BACKLOG: i32 = 4096;
/// How often a core closes what was idle too long and hands its log over.
const CLOCKWORK: Duration = Duration::from_millis(500);

/// What the engine is made of.
pub struct EngineConfig {
    /// Counts of the proxy threads, of which there are as many; each has its own listeners, connections and caches.
    pub traffic: Traffic,
    /// Bounds of everything a client can make large or slow.
    pub limits: Limits,
    /// Peers whose forwarding headers and PROXY headers count.
    pub trusted_proxies: Vec<IpNet>,
    /// Where access log lines go; `None`: nowhere.
    pub access_log: Option<Box<dyn Write + Send>>,
    /// TLS of the listeners.
    pub tls: TlsAcceptance,
    /// The wall clock of log lines.
    pub clock: Clock,
    /// What is shared with compiled upstreams.
    pub live: Arc<Live>,
    /// Where snapshots come from.
    pub publisher: Arc<Publisher>,
}

/// Bounds of everything a client can make large or slow.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a request's head; more is answered 431.
    pub head_bytes: usize,
    /// Header lines of a request; more is answered 431.
    pub headers: usize,
    /// Bytes of a request's body; more is answered 413.
    pub body_bytes: u64,
    /// Time for a whole head, for the pause between requests of a connection, and for a client that takes nothing of
    /// its answer.
    pub header: Duration,
    /// Time between two pieces of a request's body; a client that is silent longer is answered 408.
    pub body: Duration,
    /// Time for the TLS handshake and for a PROXY header.
    pub handshake: Duration,
    /// Streams of an HTTP/2 connection at once.
    pub streams: u32,
}

impl Default for Limits {
    /// 64 KiB and 100 lines of head, bodies of any length (they are streamed), 60 s for a head and
    /// for each piece of a body, 10 s for a handshake,
    /// 128 streams.
    fn default() -> Self {
        Self {
            head_bytes: 64 * 1024,
            headers: 100,
            body_bytes: u64::MAX,
            header: Duration::from_secs(60),
            body: Duration::from_secs(60),
            handshake: Duration::from_secs(10),
            streams: 128,
        }
    }
}

/// One address to listen on.
#[derive(Clone, Debug)]
pub struct ListenerSpec {
    /// Where.
    pub address: SocketAddr,
    /// Whether connections are TLS.
    pub tls: bool,
    /// Whether HTTP/2 is spoken: by ALPN, or by prior knowledge in the clear.
    pub http2: bool,
    /// Whether TLS asks for a client certificate; clients without one are served all the same.
    pub client_certificates: bool,
    /// Whether connections begin with a PROXY header.
    pub proxy_protocol: bool,
}

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A thread or its runtime could not be made.
    #[error("cannot start a proxy thread: {0}")]
    Thread(io::Error),
}

/// The running cores.
#[derive(Debug)]
pub struct Running {
    threads: Vec<JoinHandle<()>>,
    log_thread: Option<JoinHandle<()>>,
    drain: watch::Sender<Option<Duration>>,
    traffic: Traffic,
    publisher: Arc<Publisher>,
}

/// Listens on every address and starts the cores. When this returns, connections are accepted.
pub fn start(config: EngineConfig, listeners: &[ListenerSpec]) -> Result<Running, StartError> {
    let (drain, draining) = watch::channel(None);
    let (sink, log_thread) = match config.access_log {
        Some(out) => {
            let (sink, thread) = access_log::start(out).map_err(StartError::Thread)?;
            (Some(sink), Some(thread))
        }
        None => (None, None),
    };
    for spec in listeners {
        refuse_taken(spec.address).map_err(|source| StartError::Listen { address: spec.address, source })?;
    }
    let settings = Arc::new(Settings {
        limits: config.limits,
        trusted_proxies: config.trusted_proxies,
        clock: config.clock,
        tls: config.tls,
    });
    let mut running = Running {
        threads: Vec::new(),
        log_thread,
        drain,
        traffic: config.traffic.clone(),
        publisher: Arc::clone(&config.publisher),
    };
    for (number, metrics) in config.traffic.0.iter().enumerate() {
        let sockets = listeners
            .iter()
            .map(|spec| {
                let socket = listen(spec.address)
                    .map_err(|source| StartError::Listen { address: spec.address, source })?;
                Ok((socket, Arc::new(spec.clone())))
            })
            .collect::<Result<Vec<_>, StartError>>()?;
        let seed = CoreSeed {
            sockets,
            metrics: Arc::clone(metrics),
            settings: Arc::clone(&settings),
            publisher: Arc::clone(&config.publisher),
            live: Arc::clone(&config.live),
            sink: sink.clone(),
            draining: draining.clone(),
        };
        running.threads.push(seed.spawn(number).map_err(StartError::Thread)?);
    }
    Ok(running)
}

impl Running {
    /// Stops accepting, lets requests in flight finish for at most `limit`, and returns when the cores have ended.
    pub fn drain(self, limit: Duration) {
        // The cores may have ended on their own; then there is nothing to tell them.
        let _ = self.drain.send(Some(limit));
        for thread in self.threads.into_iter().chain(self.log_thread) {
            let _ = thread.join();
        }
    }

    /// The engine's counters in Prometheus' text format.
    pub fn metrics_text(&self) -> String {
        metrics::render(&self.traffic, self.publisher.current().broken.len())
    }
}

/// What a core's thread begins with.
struct CoreSeed {
    sockets: Vec<(std::net::TcpListener, Arc<ListenerSpec>)>,
    metrics: Arc<CoreMetrics>,
    settings: Arc<Settings>,
    publisher: Arc<Publisher>,
    live: Arc<Live>,
    sink: Option<Sink>,
    draining: watch::Receiver<Option<Duration>>,
}

impl CoreSeed {
    fn spawn(self, number: usize) -> io::Result<JoinHandle<()>> {
        let (made, report) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name(format!("proxy-{number}")).spawn(move || {
            // A local runtime is driven by the thread that made it. Its tasks are woken without the detour that a
            // `LocalSet` takes: a lock, a waker and, for what the reactor wakes, a write to an eventfd.
            let mut builder = Builder::new_current_thread();
            match builder.enable_all().build_local(LocalOptions::default()) {
                Ok(runtime) => {
                    let _ = made.send(Ok(()));
                    runtime.block_on(self.run());
                }
                Err(error) => {
                    let _ = made.send(Err(error));
                }
            }
        })?;
        report.recv().map_err(io::Error::other)??;
        Ok(thread)
    }

    async fn run(mut self) {
        let pools = Pools::new(self.live);
        let log = CoreLog::new(self.sink);
        let core = Rc::new(Core::new(self.publisher.cell(), pools, self.metrics, log, self.settings));
        let mut accepting = Vec::new();
        for (socket, spec) in self.sockets {
            match TcpListener::from_std(socket) {
                Ok(listener) => {
                    let listener = Rc::new(listener);
                    let accept = listener::accept(Rc::clone(&core), Rc::clone(&listener), Arc::clone(&spec));
                    accepting.push((tokio::task::spawn_local(accept), listener, spec));
                }
                Err(error) => tracing::error!(%error, address = %spec.address, "cannot accept connections"),
            }
        }
        let clockwork = tokio::task::spawn_local(clockwork(Rc::clone(&core)));
        let limit = match self.draining.wait_for(Option::is_some).await {
            Ok(limit) => limit.unwrap_or_default(),
            Err(_) => Duration::ZERO,
        };
        for (task, listener, spec) in accepting {
            task.abort();
            let _ = task.await;
            listener::close(&core, listener, &spec);
        }
        core.connections.drain();
        let _ = timeout(limit, core.connections.all_closed()).await;
        clockwork.abort();
        core.pools.close();
        core.log.flush(&core.metrics);
    }
}

/// Closes what was idle too long and hands the log over, at a steady pace.
async fn clockwork(core: Rc<Core>) {
    let mut pace = tokio::time::interval(CLOCKWORK);
    loop {
        pace.tick().await;
        // A core without requests does not hold on to what an old snapshot keeps running.
        drop(core.snapshot());
        core.log.flush(&core.metrics);
        core.pools.sweep();
    }
}

/// Sharing a port among the cores would let another process share it too: so it is first asked for alone.
fn refuse_taken(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(1)
}

fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
