//! The binary under test: `portcullis dev` on free ports, in a folder of its own.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc},
    thread,
    time::Duration,
};

use loopback::Reserved;
use tempfile::TempDir;

use super::{Admin, Connection, Request, Response};

/// Every port of `dev`, before the offset.
const PORTS: [u16; 11] = [9080, 9443, 9444, 9180, 7443, 8001, 9091, 9400, 9401, 9402, 9480];
/// The last line of `dev`'s banner.
const READY: &str = "portcullis is ready";
/// What `run` logs then, as text and as JSON.
const LOGGED_READY: [&str; 2] = ["INFO ready", "\"message\":\"ready\"}"];
/// A debug build on a busy machine starts slowly.
const START: Duration = Duration::from_secs(90);
/// The contract lets a drain take 30 s.
const STOP: Duration = Duration::from_secs(45);

/// What every production configuration of the tests has.
const PRODUCTION: &str = r#"
listeners: [{address: "127.0.0.1:{9080}"}]
admin:
  apisix:
    listen: "127.0.0.1:{9180}"
    keys: [{key: "${ADMIN}", role: admin}, {key: "${VIEWER}", role: viewer}]
store: {sqlite: gateway.db}
encryption: {keyring: {keys: "${KEYRING}"}}
outbound: {allow: [127.0.0.0/8, "::1/128"]}
metrics: {listen: "127.0.0.1:{9091}"}
"#;

/// How to start the binary.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Without `--test-clock` when false.
    pub(crate) real_clock: bool,
    /// Added to the environment.
    pub(crate) environment: Vec<(String, String)>,
    /// What `tenant.yaml` of the directory given as `--tenant` says; none is given without.
    pub(crate) tenant: Option<String>,
    /// `run` with this file instead of `dev`. `{9080}` stands for that port of the contract, moved; the log's level
    /// must be `info`, because its line `ready` is waited for.
    pub(crate) config: Option<String>,
}

/// A running `portcullis dev`, killed when it is dropped.
pub(crate) struct Portcullis {
    folder: TempDir,
    offset: Offset,
    options: Options,
    running: Mutex<Option<Running>>,
    variables: Mutex<BTreeMap<String, String>>,
    output: Arc<Mutex<Vec<u8>>>,
}

struct Running {
    child: Child,
    readers: Vec<thread::JoinHandle<()>>,
}

/// One instance for all tests of a binary that run at the same time. It lives for as long as any of them holds it.
pub(crate) fn shared() -> Arc<Portcullis> {
    static SHARED: Mutex<Weak<Portcullis>> = Mutex::new(Weak::new());
    let mut shared = locked(&SHARED);
    match shared.upgrade() {
        Some(gate) if gate.is_running() => gate,
        _ => {
            let gate = Arc::new(Portcullis::dev());
            *shared = Arc::downgrade(&gate);
            gate
        }
    }
}

impl Portcullis {
    /// `dev` with a test clock.
    pub(crate) fn dev() -> Self {
        Self::start(Options::default())
    }

    /// `dev` as `options` say, on ports of its own.
    pub(crate) fn start(options: Options) -> Self {
        let gate = Self {
            folder: tempfile::Builder::new().prefix("portcullis-test-").tempdir().unwrap(),
            offset: Offset::reserve(),
            options,
            running: Mutex::new(None),
            variables: Mutex::default(),
            output: Arc::default(),
        };
        match gate.launch() {
            Ok(()) => gate,
            Err(error) => panic!("portcullis did not start: {error}"),
        }
    }

    /// `run` with an administrator's and a viewer's key, and `extra` lines of configuration. The client is the
    /// viewer's.
    pub(crate) fn production(extra: &str) -> (Self, Admin) {
        let (admin, viewer) = (super::unique("admin-key-"), super::unique("viewer-key-"));
        let keyring = base::Keyring::generate(&base::Random::system()).to_text().trim().to_owned();
        let config = format!("{PRODUCTION}{extra}\n");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let environment = vec![pair("KEYRING", &keyring), pair("ADMIN", &admin), pair("VIEWER", &viewer)];
        let gate = Self::start(Options { config: Some(config), environment, real_clock: true, tenant: None });
        locked(&gate.variables).insert("ADMIN_KEY".to_owned(), admin);
        let viewer = Admin::new(gate.port(9180), viewer);
        (gate, viewer)
    }

    /// The state folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A port of the contract, moved by this instance's offset.
    pub(crate) const fn port(&self, port: u16) -> u16 {
        port + self.offset.by
    }

    /// A value of `dev.env`.
    pub(crate) fn variable(&self, name: &str) -> String {
        locked(&self.variables).get(name).unwrap_or_else(|| panic!("dev.env has no {name}")).clone()
    }

    /// All of `dev.env`.
    pub(crate) fn variables(&self) -> BTreeMap<String, String> {
        locked(&self.variables).clone()
    }

    /// Everything it has written to stdout and stderr, over all its lives.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&locked(&self.output)).into_owned()
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        locked(&self.running).as_ref().expect("it is running").child.id()
    }

    /// Whether the process is alive.
    pub(crate) fn is_running(&self) -> bool {
        let mut running = locked(&self.running);
        running.as_mut().is_some_and(|running| running.child.try_wait().unwrap().is_none())
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// The Admin API in APISIX's dialect, with the administrator's key.
    pub(crate) fn admin(&self) -> Admin {
        Admin::new(self.port(9180), self.variable("ADMIN_KEY"))
    }

    /// A plain connection to the gateway.
    pub(crate) async fn connect(&self) -> Connection {
        Connection::open(self.port(9080)).await
    }

    /// One request to the gateway over plain HTTP, on a connection of its own.
    pub(crate) async fn send(&self, request: Request) -> Response {
        request.send(self.port(9080)).await
    }

    /// One `GET` to the gateway.
    pub(crate) async fn get(&self, target: &str) -> Response {
        self.send(Request::get(target)).await
    }

    /// Moves the clock of the whole process, and returns when what became due has run.
    pub(crate) async fn advance(&self, by: Duration) {
        let body = serde_json::json!({"advance": by.as_secs()});
        let answer = self.admin().call("POST", "/dev/clock", Some(&body)).await;
        assert!(answer.status < 300, "POST /dev/clock: {answer:?}");
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill9(&self) {
        if let Some(mut running) = locked(&self.running).take() {
            let _ = running.child.kill();
            running.reap();
        }
    }

    /// SIGTERM, and waits until it has drained.
    pub(crate) fn terminate(&self) -> ExitStatus {
        self.signal_term();
        self.wait()
    }

    /// SIGTERM, without waiting.
    pub(crate) fn signal_term(&self) {
        let id = i32::try_from(self.pid()).unwrap();
        let pid = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// Waits for a process that was told to end.
    pub(crate) fn wait(&self) -> ExitStatus {
        let mut running = locked(&self.running).take().expect("it is running");
        let (done, ended) = mpsc::channel::<()>();
        let pid = running.child.id();
        // A child cannot be waited for with a deadline without unsafe code or sleeping; this thread is the deadline.
        let watchdog = thread::spawn(move || {
            if ended.recv_timeout(STOP) == Err(mpsc::RecvTimeoutError::Timeout) {
                let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        });
        let status = running.reap();
        drop(done);
        watchdog.join().unwrap();
        status
    }

    /// Starts it again with the same folder and ports; stops it first if it runs.
    pub(crate) fn restart(&self) {
        self.kill9();
        if let Err(error) = self.launch() {
            panic!("portcullis did not start again: {error}");
        }
    }

    fn launch(&self) -> Result<(), String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        if let Some(config) = &self.options.config {
            let moved = PORTS.iter().fold(config.clone(), |text, port| {
                text.replace(&format!("{{{port}}}"), &self.port(*port).to_string())
            });
            let file = self.folder.path().join("portcullis.yaml");
            fs::write(&file, moved).unwrap();
            command.arg("run").arg("--config").arg(file);
        } else {
            command
                .arg("dev")
                .arg("--dir")
                .arg(self.state())
                .args(["--port-offset", &self.offset.by.to_string()]);
            if let Some(tenant) = &self.options.tenant {
                let folder = self.folder.path().join("tenant");
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join("tenant.yaml"), tenant).unwrap();
                command.arg("--tenant").arg(folder);
            }
            if !self.options.real_clock {
                command.arg("--test-clock");
            }
        }
        command.env_remove("PORTCULLIS_ADMIN_KEY").env_remove("RUST_LOG");
        command.envs(self.options.environment.iter().map(|(name, value)| (name, value)));
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (ready, is_ready) = mpsc::channel();
        let signs: [&'static [&'static str]; 2] =
            if self.options.config.is_none() { [&[READY], &[]] } else { [&[], &LOGGED_READY] };
        let readers = vec![
            self.copy(child.stdout.take().unwrap(), signs[0], ready.clone()),
            self.copy(child.stderr.take().unwrap(), signs[1], ready),
        ];
        let mut running = Running { child, readers };
        // The senders go away with the process, so one that dies is noticed at once.
        if is_ready.recv_timeout(START).is_err() {
            let _ = running.child.kill();
            let status = running.reap();
            return Err(format!("{status}\n{}", self.output()));
        }
        *locked(&self.running) = Some(running);
        if self.options.config.is_none() {
            *locked(&self.variables) = read_variables(&self.state().join("dev.env"));
        }
        Ok(())
    }

    /// The folder given as `--dir`: it does not exist before the first start.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Keeps what it writes, and tells when a line ends in one of `signs`.
    fn copy(
        &self,
        from: impl Read + Send + 'static,
        signs: &'static [&'static str],
        ready: mpsc::Sender<()>,
    ) -> thread::JoinHandle<()> {
        let output = Arc::clone(&self.output);
        thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                if signs.iter().any(|sign| line.trim_ascii_end().ends_with(sign.as_bytes())) {
                    let _ = ready.send(());
                }
                let mut output = locked(&output);
                output.extend_from_slice(&line);
                output.push(b'\n');
            }
        })
    }
}

impl Drop for Portcullis {
    fn drop(&mut self) {
        self.kill9();
        if thread::panicking() {
            let output = self.output();
            let tail = output.lines().rev().take(40).collect::<Vec<_>>();
            eprintln!("--- the end of what portcullis wrote ---");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

impl Running {
    fn reap(&mut self) -> ExitStatus {
        let status = self.child.wait().unwrap();
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        status
    }
}

/// Lines of `export NAME=VALUE`, values quoted for a shell where they need it.
fn read_variables(path: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .map(|line| {
            let (name, value) = line.strip_prefix("export ").and_then(|line| line.split_once('=')).unwrap();
            let value = value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')).unwrap_or(value);
            (name.to_owned(), value.replace(r"'\''", "'"))
        })
        .collect()
}

/// How far an instance's ports are moved, below the range that the kernel gives to outgoing connections.
struct Offset {
    by: u16,
    /// Its ports stay its own while it is stopped.
    _ports: Vec<Reserved>,
}

impl Offset {
    fn reserve() -> Self {
        let random = base::Random::system();
        for _ in 0..200 {
            let by = 100 + u16::from_be_bytes(random.bytes()) % 22_000;
            if let Ok(ports) = PORTS.into_iter().map(|port| Reserved::at(port + by)).collect() {
                return Self { by, _ports: ports };
            }
        }
        panic!("no offset has all ports free");
    }
}

/// A test that panicked while it held a lock must not fail its neighbours.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
