//! **U**: an upstream that keeps every byte it is sent and answers whatever it is told to. It runs on threads of its
//! own, so that any test may use it whatever runtime the test has.

use std::{
    collections::HashMap,
    io::{ErrorKind, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use loopback::Reserved;
use rustls::ServerConfig;
use tokio::sync::mpsc::UnboundedSender;

use super::{
    http1::{Kind, Message, Read, read},
    process::locked,
};

/// A request that arrived whole.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Its method.
    pub(crate) method: String,
    /// Its target.
    pub(crate) target: String,
    /// All of it.
    pub(crate) message: Message,
    /// The bytes it came in.
    pub(crate) raw: Vec<u8>,
    /// On which connection, counted from 0.
    pub(crate) connection: usize,
}

impl Seen {
    /// The only value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.message.header(name)
    }

    /// The path of the target.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// What the upstream does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Sends these bytes and waits for the next request.
    Send(Vec<u8>),
    /// Sends these bytes and closes.
    SendAndClose(Vec<u8>),
    /// Sends the first bytes once, then the others until the peer is gone, 100,000 times at most.
    Flood(Vec<u8>, Vec<u8>),
    /// Sends the first bytes at once and the others one by one, with this pause before each.
    Drip(Vec<u8>, Vec<u8>, Duration),
    /// Sends nothing and keeps the connection.
    Stall,
    /// Closes without a byte.
    Close,
}

impl Answer {
    /// A whole answer with its length.
    pub(crate) fn with(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let mut out = format!("HTTP/1.1 {status} Scripted\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        out.push_str("\r\n");
        let mut out = out.into_bytes();
        out.extend_from_slice(body);
        Self::Send(out)
    }

    /// `200` with JSON that is packed a hundred and fifty to one: zeros, `mebibytes` of them.
    pub(crate) fn bomb(mebibytes: usize) -> Self {
        let headers = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")];
        Self::with(200, &headers, packed_zeros(mebibytes << 20))
    }

    /// `200` with a text.
    pub(crate) fn text(body: &str) -> Self {
        Self::with(200, &[("Content-Type", "text/plain")], body)
    }

    /// `200` with JSON.
    pub(crate) fn json(body: &serde_json::Value) -> Self {
        Self::with(200, &[("Content-Type", "application/json")], body.to_string())
    }

    /// These bytes.
    pub(crate) fn raw(bytes: impl AsRef<[u8]>) -> Self {
        Self::Send(bytes.as_ref().to_vec())
    }
}

/// Zeros by gzip (RFC 1951 section 3.2.6, RFC 1952): one literal, then copies of 258 bytes from one byte back. The checksum
/// at the end is not theirs: whoever unpacks that far has the damage already.
fn packed_zeros(length: usize) -> Vec<u8> {
    let mut bits: Vec<u8> = vec![1, 1, 0];
    let mut code = |code: u16, width: u16| bits.extend((0..width).rev().map(|at| (code >> at & 1) as u8));
    code(0x30, 8);
    for _ in 0..length / 258 {
        // Length 258 is symbol 285, distance 1 is symbol 0.
        code(0xc5, 8);
        code(0, 5);
    }
    code(0, 7);
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    out.extend(bits.chunks(8).map(|byte| byte.iter().enumerate().fold(0, |sum, (at, bit)| sum | bit << at)));
    out.extend_from_slice(&[0; 8]);
    out
}

/// Listens on a port of loopback that nobody else gets, even when it is not listened on any more: a gate that tests share
/// may ask for it long after its test is over, which must not reach the upstream of another.
pub(crate) fn listener() -> TcpListener {
    static PORTS: Mutex<Vec<Reserved>> = Mutex::new(Vec::new());
    let reserved = Reserved::any().unwrap();
    let listener = TcpListener::bind(reserved.address()).unwrap();
    locked(&PORTS).push(reserved);
    listener
}

type Script = Arc<dyn Fn(&Seen) -> Answer + Send + Sync>;

/// The upstream. It ends when it is dropped.
pub(crate) struct Upstream {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    script: Mutex<Script>,
    seen: Mutex<Vec<Seen>>,
    /// Every byte of every connection, in the order of their arrival.
    received: Mutex<Vec<Vec<u8>>>,
    open: Mutex<HashMap<usize, TcpStream>>,
    connections: AtomicUsize,
    stopped: AtomicBool,
    tls: Option<Arc<ServerConfig>>,
}

impl Upstream {
    /// One that answers everything with `200 ok`.
    pub(crate) fn start() -> Self {
        Self::scripted(|_| Answer::text("ok"))
    }

    /// One that answers what `script` says.
    pub(crate) fn scripted(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::listen(Arc::new(script), None)
    }

    /// One that answers with its name; it keeps who asks for `/hold` waiting, and tells `held` of it.
    pub(crate) fn holding(name: &'static str, held: &UnboundedSender<&'static str>) -> Self {
        let held = held.clone();
        Self::scripted(move |seen| {
            if !seen.target.ends_with("/hold") {
                return Answer::text(name);
            }
            held.send(name).unwrap();
            Answer::Stall
        })
    }

    /// One that speaks TLS.
    pub(crate) fn over_tls(config: Arc<ServerConfig>) -> Self {
        Self::scripted_over_tls(config, |_| Answer::text("ok"))
    }

    /// One that speaks TLS and answers what `script` says.
    pub(crate) fn scripted_over_tls(
        config: Arc<ServerConfig>,
        script: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::listen(Arc::new(script), Some(config))
    }

    fn listen(script: Script, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = listener();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            script: Mutex::new(script),
            seen: Mutex::default(),
            received: Mutex::default(),
            open: Mutex::default(),
            connections: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            tls,
        });
        let accepting = Arc::clone(&state);
        thread::spawn(move || accepting.accept(&listener));
        Self { address, state }
    }

    /// Its port on 127.0.0.1.
    pub(crate) const fn port(&self) -> u16 {
        self.address.port()
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn node(&self) -> String {
        self.address.to_string()
    }

    /// Answers differently from now on.
    pub(crate) fn script(&self, script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) {
        *locked(&self.state.script) = Arc::new(script);
    }

    /// Answers this from now on.
    pub(crate) fn answer(&self, answer: Answer) {
        self.script(move |_| answer.clone());
    }

    /// Every whole request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        locked(&self.state.seen).clone()
    }

    /// Every whole request so far, which it then forgets with all the bytes it got.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        locked(&self.state.received).iter_mut().for_each(Vec::clear);
        std::mem::take(&mut *locked(&self.state.seen))
    }

    /// The whole requests whose target holds `part`.
    pub(crate) fn seen_with(&self, part: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.target.contains(part)).collect()
    }

    /// Every byte so far, of whole requests and others, as text.
    pub(crate) fn received(&self) -> String {
        locked(&self.state.received).iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }

    /// How many connections it has accepted.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Closes every open connection; new ones are still taken.
    pub(crate) fn drop_connections(&self) {
        for (_, stream) in locked(&self.state.open).drain() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Ends it: nobody listens at its port any more, and nobody else will.
    pub(crate) fn stop(&self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        self.drop_connections();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop();
    }
}

impl State {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming().map_while(Result::ok) {
            if self.stopped.load(Ordering::SeqCst) {
                return;
            }
            let _ = stream.set_nodelay(true);
            let number = self.connections.fetch_add(1, Ordering::SeqCst);
            locked(&self.received).push(Vec::new());
            locked(&self.open).insert(number, stream.try_clone().unwrap());
            let state = Arc::clone(&self);
            thread::spawn(move || {
                let raw = stream.try_clone().unwrap();
                match &state.tls {
                    None => state.serve(stream, number),
                    Some(config) => {
                        let session = rustls::ServerConnection::new(Arc::clone(config)).unwrap();
                        state.serve(rustls::StreamOwned::new(session, stream), number);
                    }
                }
                // Others may have a handle of it, so dropping this one might close nothing.
                let _ = raw.shutdown(Shutdown::Both);
                locked(&state.open).remove(&number);
            });
        }
    }

    fn serve(&self, mut stream: impl std::io::Read + Write, number: usize) {
        let (mut buffer, mut chunk) = (Vec::new(), [0; 16 << 10]);
        loop {
            match read(&buffer, Kind::Request, false) {
                Read::Whole(message, length) => {
                    let raw = buffer.drain(..length).collect();
                    let mut words = message.start.split(' ');
                    let mut word = || words.next().unwrap_or_default().to_owned();
                    let seen = Seen { method: word(), target: word(), message, raw, connection: number };
                    locked(&self.seen).push(seen.clone());
                    let script = Arc::clone(&locked(&self.script));
                    if !obey(&mut stream, script(&seen)) {
                        return;
                    }
                }
                Read::Malformed(_) => return,
                Read::Partial => match stream.read(&mut chunk) {
                    Ok(0) => return,
                    Ok(read) => {
                        buffer.extend_from_slice(&chunk[..read]);
                        if let Some(received) = locked(&self.received).get_mut(number) {
                            received.extend_from_slice(&chunk[..read]);
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => return,
                },
            }
        }
    }
}

/// Whether the connection goes on.
fn obey(stream: &mut (impl std::io::Read + Write), answer: Answer) -> bool {
    let mut send = |bytes: &[u8]| stream.write_all(bytes).and_then(|()| stream.flush()).is_ok();
    match answer {
        Answer::Send(bytes) => send(&bytes),
        Answer::SendAndClose(bytes) => {
            send(&bytes);
            false
        }
        Answer::Flood(first, again) => send(&first) && (0..100_000).all(|_| send(&again)),
        Answer::Drip(first, slowly, pause) => {
            send(&first)
                && slowly.iter().all(|byte| {
                    thread::sleep(pause);
                    send(&[*byte])
                })
        }
        Answer::Stall => true,
        Answer::Close => false,
    }
}
