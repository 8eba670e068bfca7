//! A real Redis, started by the test on a port of its own.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use loopback::Reserved;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{DEADLINE, tls::Identity, unique};

/// A server with a password, killed when it is dropped.
pub(crate) struct Redis {
    folder: TempDir,
    reserved: Reserved,
    password: String,
    is_tls: bool,
    child: Child,
}

impl Redis {
    /// Over plain TCP.
    pub(crate) fn start() -> Self {
        Self::launch(None)
    }

    /// Over TLS, with this certificate.
    pub(crate) fn over_tls(identity: &Identity) -> Self {
        Self::launch(Some(identity))
    }

    fn launch(identity: Option<&Identity>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let reserved = Reserved::any().unwrap();
        if let Some(identity) = identity {
            std::fs::write(folder.path().join("cert.pem"), identity.chain_pem()).unwrap();
            std::fs::write(folder.path().join("key.pem"), identity.key_pem()).unwrap();
        }
        let password = unique("redis-password-");
        let is_tls = identity.is_some();
        let child = spawn(&folder, reserved.port(), &password, is_tls);
        Self { folder, reserved, password, is_tls, child }
    }

    /// What a route writes to keep its sessions there.
    pub(crate) fn settings(&self) -> serde_json::Value {
        serde_json::json!({
            "host": "127.0.0.1", "port": self.reserved.port(), "password": self.password, "database": 2, "prefix": "pc",
            "ssl": self.is_tls, "read_timeout": 1500, "send_timeout": 1500, "connect_timeout": 5000,
        })
    }

    /// Its password.
    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    /// Takes connections, and answers nothing.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Answers again.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGKILL: what it held is gone, nothing was written to disk.
    pub(crate) fn kill9(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again, empty, on the same port.
    pub(crate) fn restart(&mut self) {
        self.kill9();
        self.child = spawn(&self.folder, self.reserved.port(), &self.password, self.is_tls);
    }

    /// Everything that it holds for the routes, keys and values, as text.
    pub(crate) fn dump(&self) -> Vec<(String, Vec<u8>)> {
        let mut ask = self.line();
        let keys = ask(&["KEYS", "*"]);
        let keys = keys.into_iter().map(|key| String::from_utf8(key).unwrap());
        keys.map(|key| (key.clone(), ask(&["GET", &key]).concat())).collect()
    }

    /// How many connections it has taken, this question's own among them.
    pub(crate) fn connections(&self) -> usize {
        let told = String::from_utf8(self.line()(&["INFO", "stats"]).concat()).unwrap();
        let count = told.lines().find_map(|line| line.strip_prefix("total_connections_received:")).unwrap();
        count.trim().parse().unwrap()
    }

    /// A connection of the test's own, for one command after another.
    fn line(&self) -> impl FnMut(&[&str]) -> Vec<Vec<u8>> + use<> {
        let mut stream = TcpStream::connect(self.reserved.address()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut ask = move |words: &[&str]| {
            let mut out = format!("*{}\r\n", words.len());
            words.iter().for_each(|word| out.push_str(&format!("${}\r\n{word}\r\n", word.len())));
            stream.write_all(out.as_bytes()).unwrap();
            reply(&mut stream)
        };
        ask(&["AUTH", &self.password]);
        ask(&["SELECT", "2"]);
        ask
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill9();
    }
}

fn spawn(folder: &TempDir, port: u16, password: &str, is_tls: bool) -> Child {
    let port = port.to_string();
    let (plain, tls) = if is_tls { ("0", port.as_str()) } else { (port.as_str(), "0") };
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", plain, "--tls-port", tls, "--requirepass", password]);
    command.args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", &at("")]);
    if is_tls {
        command.args(["--tls-cert-file", &at("cert.pem"), "--tls-key-file", &at("key.pem")]);
        command.args(["--tls-auth-clients", "no"]);
    }
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("redis-server is installed");
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    loop {
        let mut line = String::new();
        assert!(lines.read_line(&mut line).unwrap() > 0, "redis-server did not start");
        if line.contains("Ready to accept connections") {
            break;
        }
    }
    // It must go on writing its log somewhere.
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    child
}

/// One reply: the items of a list, one item, or none.
fn reply(stream: &mut TcpStream) -> Vec<Vec<u8>> {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") {
        stream.read_exact(&mut byte).unwrap();
        line.extend_from_slice(&byte);
    }
    let text = String::from_utf8(line[1..line.len() - 2].to_vec()).unwrap();
    match line[0] {
        b'*' => (0..text.parse::<usize>().unwrap()).flat_map(|_| reply(stream)).collect(),
        b'$' if text == "-1" => Vec::new(),
        b'$' => {
            let mut bulk = vec![0; text.parse::<usize>().unwrap() + 2];
            stream.read_exact(&mut bulk).unwrap();
            bulk.truncate(bulk.len() - 2);
            vec![bulk]
        }
        b'-' => panic!("redis says {text}"),
        _ => vec![text.into_bytes()],
    }
}

/// How long a session ended elsewhere may still be served: the gate's own promise.
pub(crate) const SURE: Duration = Duration::from_secs(1);
