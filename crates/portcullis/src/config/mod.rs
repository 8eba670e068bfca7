//! The configuration file: what may stand in it, its defaults, and where it is wrong.
//!
//! [`Config::load`] reads the file and looks at everything it points to, so that a configuration that loads also
//! starts. Every problem is found in one go and named with its place.

mod check;
mod read;
mod resources;
mod section;
mod tree;

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fmt, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use base::{Keyring, Secret};
use fetch::Proxies;
use ipnet::IpNet;

use self::{
    section::Findings,
    tree::{Mark, Problem},
};

pub(crate) use self::tree::{Kind as NodeKind, Node};

pub(crate) use self::{check::admin_key, resources::Declared};

/// Reads a YAML document that is no configuration file, but follows the same rules; what is wrong with it where it does
/// not.
pub(crate) fn parse_yaml(text: &str) -> Result<Node, String> {
    let nothing = |_: &str| None;
    tree::parse(text, &nothing)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

/// Bytes of the file that are read at most.
const MAX_FILE: u64 = 1 << 20;

/// Everything the file says, with defaults filled in. Relative paths start from the file's folder.
#[derive(Debug)]
pub(crate) struct Config {
    /// The file itself, for messages.
    pub(crate) file: PathBuf,
    /// Proxy threads. `auto`: one per core.
    pub(crate) workers: usize,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) tls: ListenerTls,
    /// Where clients reach the TLS listeners, if not on their own port.
    pub(crate) https_port: Option<u16>,
    /// Peers whose forwarded headers count.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Admin API, APISIX dialect.
    pub(crate) apisix: Option<AdminApi>,
    /// Admin API, Kong dialect.
    pub(crate) kong: Option<AdminApi>,
    /// SQLite file of the gateway's configuration.
    pub(crate) store: PathBuf,
    /// Where the store is named, for what only comes out when it is opened.
    pub(crate) store_mark: Mark,
    /// Declared here, so that nothing else is: the Admin API is read-only then.
    pub(crate) resources: Option<Vec<Declared>>,
    /// A declarative file of Kong's: then all its entities are in there, and Kong's Admin API is read-only.
    pub(crate) declarative_config: Option<PathBuf>,
    pub(crate) keyring: Keyring,
    pub(crate) outbound: Outbound,
    pub(crate) identity: Option<Identity>,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) log: Log,
    pub(crate) limits: Limits,
    /// Requests in flight get so long after SIGTERM.
    pub(crate) drain: Duration,
    /// APISIX's Control API.
    pub(crate) control: Option<SocketAddr>,
    /// Variables of the environment that the file uses: nothing else may read them.
    pub(crate) variables: BTreeSet<String>,
}

/// One address of the gateway.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    /// Whether HTTP/2 is spoken beside HTTP/1.1: by ALPN, or by prior knowledge in the clear.
    pub(crate) http2: bool,
    pub(crate) tls: bool,
    /// Whether clients are asked for a certificate. None is no error.
    pub(crate) client_certificates: bool,
    /// Whether connections begin with a PROXY header; trusted proxies only.
    pub(crate) proxy_protocol: bool,
}

/// What all TLS listeners of the gateway share.
#[derive(Debug, Default)]
pub(crate) struct ListenerTls {
    /// Shown where no certificate of the Admin API fits the name asked for.
    pub(crate) fallback: Option<Certificate>,
    /// Issuers of the certificates that clients may show, PEM.
    pub(crate) client_ca: Option<PathBuf>,
}

/// A certificate chain and its key, both PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

/// A server of our own over TLS.
#[derive(Clone, Debug)]
pub(crate) struct TlsServer {
    pub(crate) listen: SocketAddr,
    pub(crate) certificate: Certificate,
}

/// The Admin API of one dialect.
#[derive(Debug)]
pub(crate) struct AdminApi {
    pub(crate) listen: SocketAddr,
    pub(crate) tls: Option<TlsServer>,
    /// None: whoever reaches it may do everything. Only the Kong dialect allows that, and only on loopback.
    pub(crate) keys: Vec<AdminKey>,
    /// Names accepted in `Host` besides addresses and `localhost`.
    pub(crate) hosts: Vec<String>,
    /// What is said of each request on Kong's routes.
    pub(crate) headers: kong::AnswerHeaders,
}

/// A key of the Admin API.
#[derive(Clone, Debug)]
pub(crate) struct AdminKey {
    pub(crate) key: Secret<String>,
    pub(crate) role: Role,
}

/// What a key allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Everything.
    Admin,
    /// Reading, with secrets masked.
    Viewer,
}

/// Connections that the process makes on its own account: discovery, keys, tokens.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    /// Certificates trusted besides the system's, PEM.
    pub(crate) ca: Option<PathBuf>,
    /// Networks that may be reached although they are private or loopback; plain http is allowed there too.
    pub(crate) allow: Vec<IpNet>,
    /// The way out; `None`: connections are made directly.
    pub(crate) proxies: Option<Proxies>,
}

/// The identity provider.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) listen: SocketAddr,
    pub(crate) tls: Option<TlsServer>,
    /// A second TLS server that asks for client certificates.
    pub(crate) mtls: Option<TlsServer>,
    /// Who vouches for certificates of `tls_client_auth` clients, PEM.
    pub(crate) client_ca: Option<PathBuf>,
    /// Whether trusted proxies tell of client certificates.
    pub(crate) forwarded_certificates: bool,
    pub(crate) database: Database,
    /// Where the database is named, for what only comes out when it is opened.
    pub(crate) database_mark: Mark,
    pub(crate) tenants: Vec<Tenant>,
}

/// Where identities are kept.
#[derive(Debug)]
pub(crate) enum Database {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL URL, which may hold a password.
    Postgres(Secret<String>),
}

/// A tenant and the origins under which it is reached.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) name: String,
    /// `https://login.example.com`, without a slash at the end; the first one is the issuer of the provider's own
    /// links.
    pub(crate) domains: Vec<String>,
    /// The application that its administrators begin with.
    pub(crate) management: Option<ManagementClient>,
}

/// A client that may do everything at the Management API.
#[derive(Debug)]
pub(crate) struct ManagementClient {
    pub(crate) client_id: String,
    pub(crate) client_secret: Secret<String>,
}

/// What is logged.
#[derive(Debug)]
pub(crate) struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub(crate) level: String,
    pub(crate) json: bool,
    pub(crate) access: AccessLog,
}

/// Where the gateway's access log goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AccessLog {
    Off,
    Stdout,
    File(PathBuf),
}

/// Bounds on what clients of the gateway may send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of a request's head; more is answered 431.
    pub(crate) head_bytes: usize,
    /// Header lines of a request; more is answered 431.
    pub(crate) headers: usize,
    /// Bytes of a request's body; more is answered 413. `None`: no limit, bodies are streamed.
    pub(crate) body_bytes: Option<u64>,
    /// Time for the pause before a request and its head together, and for a client that takes nothing of its answer.
    pub(crate) head_timeout: Duration,
    /// Time between two pieces of a request's body.
    pub(crate) body_timeout: Duration,
    /// Time for a TLS handshake and for a PROXY header.
    pub(crate) handshake_timeout: Duration,
    /// HTTP/2 streams of a connection at once.
    pub(crate) streams: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 64 << 10,
            headers: 100,
            body_bytes: None,
            head_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(10),
            streams: 128,
        }
    }
}

/// Why a configuration does not load: one line for each problem, `FILE:LINE:COLUMN: reason`.
#[derive(Debug)]
pub(crate) struct Rejected {
    file: PathBuf,
    problems: Vec<Problem>,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.problems.iter().map(|problem| format!("{}:{problem}", self.file.display()));
        f.write_str(&lines.collect::<Vec<_>>().join("\n"))
    }
}

impl std::error::Error for Rejected {}

impl Rejected {
    /// What the dialect says about resources that are declared in `file`.
    pub(crate) fn declared(file: &Path, refused: Vec<(&Declared, String)>) -> Self {
        let problem = |(declared, reason): (&Declared, String)| declared.problem(&reason);
        Self::new(file, refused.into_iter().map(problem).collect())
    }

    /// What came out when something was opened that is named at `mark` of `file`.
    pub(crate) fn at(file: &Path, mark: Mark, reason: impl Into<String>) -> Self {
        Self::new(file, vec![tree::problem(mark, reason)])
    }

    fn new(file: &Path, mut problems: Vec<Problem>) -> Self {
        problems.sort();
        problems.dedup();
        Self { file: file.to_owned(), problems }
    }
}

impl Config {
    /// Whether Kong's entities are declared, so that nothing else is.
    pub(crate) fn declares_kong(&self) -> bool {
        self.resources.is_some() || self.declarative_config.is_some()
    }

    /// Reads `file` with variables from the process's environment.
    pub(crate) fn load(file: &Path) -> Result<Self, Rejected> {
        Self::load_with(file, &|name| std::env::var(name).ok())
    }

    /// Reads `file` with variables from `environment`.
    pub(crate) fn load_with(
        file: &Path,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Rejected> {
        let rejected = |problems| Rejected::new(file, problems);
        let text = text_of(file)
            .map_err(|reason| rejected(vec![tree::problem(Mark { line: 1, column: 1 }, reason)]))?;
        let used = RefCell::new(BTreeSet::new());
        let noting = |name: &str| {
            used.borrow_mut().insert(name.to_owned());
            environment(name)
        };
        let root = tree::parse(&text, &noting).map_err(rejected)?;
        let folder = file.parent().map(Path::to_owned).unwrap_or_default();
        let mut findings = Findings { problems: Vec::new(), folder };
        match read::config(&root, &mut findings) {
            Some(config) if findings.problems.is_empty() => {
                Ok(Self { file: file.to_owned(), variables: used.into_inner(), ..config })
            }
            _ => Err(rejected(findings.problems)),
        }
    }
}

fn text_of(file: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("the file cannot be read: {error}");
    let size = fs::metadata(file).map_err(unreadable)?.len();
    if size > MAX_FILE {
        return Err(format!("the file has {size} bytes; {MAX_FILE} are read at most"));
    }
    fs::read_to_string(file).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with what a sound configuration points to.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(folder.path().join("chain.pem"), key.cert.pem()).unwrap();
        fs::write(folder.path().join("key.pem"), key.signing_key.serialize_pem()).unwrap();
        folder
    }

    fn load(folder: &tempfile::TempDir, text: &str) -> Result<Config, Vec<String>> {
        let file = folder.path().join("portcullis.yaml");
        fs::write(&file, text).unwrap();
        let environment = |name: &str| match name {
            "ADMIN_KEY" => Some("0123456789abcdef".to_owned()),
            "KEYRING" => Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned()),
            "PORT" => Some("9080".to_owned()),
            _ => None,
        };
        Config::load_with(&file, &environment).map_err(|rejected| {
            let prefix = format!("{}:", file.display());
            rejected.to_string().lines().map(|line| line.strip_prefix(&prefix).unwrap().to_owned()).collect()
        })
    }

    const SOUND: &str = "\
listeners:
  - address: 127.0.0.1:${PORT}
  - address: 127.0.0.1:9443
    protocols: [h1, h2]
    tls: {certificate: chain.pem, key: key.pem, client_ca: chain.pem}
admin:
  apisix:
    listen: 127.0.0.1:9180
    keys: [{key: \"${ADMIN_KEY}\", role: admin}]
store: {sqlite: gateway.db}
encryption: {keyring: {keys: \"${KEYRING}\"}}
";

    #[test]
    fn a_sound_file_loads_with_variables_and_defaults() {
        let config = load(&folder(), SOUND).unwrap();
        assert_eq!(config.listeners[0].address.port(), 9080);
        assert!(config.listeners[1].client_certificates);
        assert_eq!(config.drain, Duration::from_secs(30));
        assert!(config.identity.is_none() && config.metrics.is_none());
    }

    #[test]
    fn an_unknown_key_is_named_with_line_and_column_and_all_problems_come_at_once() {
        let text = format!("{SOUND}limits:\n  head_bites: 1KiB\nstorage: 1\nworkers: many\n");
        let problems = load(&folder(), &text).unwrap_err();
        assert_eq!(problems.len(), 3);
        assert!(problems[0].starts_with("13:3: unknown key `head_bites` in `limits`"), "{problems:?}");
        assert!(problems[1].starts_with("14:1: unknown key `storage`"), "{problems:?}");
        assert!(problems[2].starts_with("15:10: `workers`"), "{problems:?}");
    }

    #[test]
    fn what_is_not_built_is_refused_by_name() {
        for (text, name) in [
            ("resources: {protos: []}\n", "unknown key `protos` in `resources`"),
            ("resources: {routes: [{uri: /a}]}\n", "`resources.routes[0].id` must be there"),
            ("resources: {routes: [{id: 1}, {id: \"1\"}]}\n", "`resources.routes[1].id` is taken"),
            (
                "outbound: {proxy: \"socks5://p:1\"}\n",
                "`outbound.proxy`: it is neither http://host:port nor https://host:port",
            ),
            ("outbound: {proxy: {except: [a]}}\n", "`outbound.proxy.url` is missing"),
            ("metrics: {listen: \"127.0.0.1:9080\"}\n", "takes the port of `listeners[0].address`"),
            ("identity: {listen: \"0.0.0.0:9443\"}\n", "takes the port of `listeners[1].address`"),
            ("trusted_proxies: [here]\n", "`trusted_proxies`"),
            ("drain: {timeout: 30}\n", "`drain.timeout`"),
        ] {
            let problems = load(&folder(), &format!("{SOUND}{text}")).unwrap_err();
            assert!(problems.iter().any(|problem| problem.contains(name)), "{text}: {problems:?}");
        }
        for (from, to, name) in [
            ("  apisix:", "  kong: {listen: \"0.0.0.0:8001\"}\n  apisix:", "`admin.kong.keys` is missing"),
            ("{sqlite: gateway.db}", "{etcd: x}", "`store.etcd`"),
            ("{sqlite: gateway.db}", "{sqlite: nowhere/gateway.db}", "does not exist"),
            ("9080", "9080", "is not set"),
            ("[h1, h2]", "[h2]", "h1 must be among them"),
            ("client_ca: chain.pem", "client_ca: key.pem", "holds no certificates"),
            ("[h1, h2]", "[h1, h3]", "knows h1 and h2"),
            ("certificate: chain.pem", "certificate: key.pem", "holds no certificate"),
            ("key: key.pem", "key: missing.pem", "cannot be read"),
        ] {
            let text = if from == to { SOUND.replace("${PORT}", "${NOPE}") } else { SOUND.replace(from, to) };
            let problems = load(&folder(), &text).unwrap_err();
            assert!(problems.iter().any(|problem| problem.contains(name)), "{to}: {problems:?}");
        }
    }

    #[test]
    fn limits_that_let_nothing_through_are_refused() {
        for (limit, name) in [
            ("headers: 0", "`limits.headers` must be 16 or more"),
            ("headers: 15", "`limits.headers` must be 16 or more"),
            ("headers: 10001", "`limits.headers` must be 10000 or less"),
            ("head_bytes: 0", "`limits.head_bytes` must be 8KiB or more"),
            ("head_bytes: 8191", "`limits.head_bytes` must be 8KiB or more"),
            ("streams: 0", "`limits.streams` must be 1 or more"),
            ("head_timeout: 0s", "`limits.head_timeout` must be longer"),
            ("body_timeout: 0ms", "`limits.body_timeout` must be longer"),
            ("handshake_timeout: 0s", "`limits.handshake_timeout` must be longer"),
        ] {
            let problems = load(&folder(), &format!("{SOUND}limits: {{{limit}}}\n")).unwrap_err();
            assert!(problems[0].starts_with("12:") && problems[0].contains(name), "{limit}: {problems:?}");
        }
        let least = "limits: {headers: 16, head_bytes: 8KiB, streams: 1, body_bytes: 0}\n";
        assert!(load(&folder(), &format!("{SOUND}{least}")).is_ok());
    }

    #[test]
    fn one_key_has_one_role() {
        let keys = "[{key: \"${ADMIN_KEY}\"}, {key: \"${ADMIN_KEY}\", role: viewer}]";
        let text = SOUND.replace("[{key: \"${ADMIN_KEY}\", role: admin}]", keys);
        let problems = load(&folder(), &text).unwrap_err();
        assert!(problems[0].starts_with("9:"), "{problems:?}");
        assert!(problems[0].contains("`admin.apisix.keys[1].key` is listed before with another role"));
        assert!(!problems[0].contains("0123456789abcdef"), "{problems:?}");
    }

    #[test]
    fn configuration_and_identities_are_two_files_under_whatever_names() {
        let folder = folder();
        fs::write(folder.path().join("gateway.db"), "").unwrap();
        std::os::unix::fs::symlink("gateway.db", folder.path().join("linked.db")).unwrap();
        fs::hard_link(folder.path().join("gateway.db"), folder.path().join("hard.db")).unwrap();
        let identity = |database: &str| {
            format!(
                "{SOUND}identity:\n  listen: 127.0.0.1:9400\n  tenants: [{{name: a, domains: [\"http://localhost:9400\"]}}]\n  \
                 database: {{sqlite: {database}}}\n"
            )
        };
        for same in ["gateway.db", "./gateway.db", "linked.db", "hard.db"] {
            let problems = load(&folder, &identity(same)).unwrap_err();
            assert!(problems[0].starts_with("15:22: `identity.database.sqlite`"), "{same}: {problems:?}");
            assert!(problems[0].contains("`store.sqlite`"), "{same}: {problems:?}");
        }
        assert!(load(&folder, &identity("identity.db")).is_ok());
        // Neither is there yet.
        fs::remove_file(folder.path().join("gateway.db")).unwrap();
        assert!(load(&folder, &identity("./gateway.db")).is_err());
    }

    #[test]
    fn a03_sample_empty_and_short_admin_keys_are_refused() {
        for key in
            ["edd1c9f034335f136f87ad84b625c8f1", "", "short", "0123456789abcde", "0123456789abcde\u{e9}"]
        {
            let text = SOUND.replace("${ADMIN_KEY}", key);
            let problems = load(&folder(), &text).unwrap_err();
            assert!(problems[0].contains("`admin.apisix.keys[0].key`"), "{problems:?}");
            assert!(key.is_empty() || !problems[0].contains(key), "{problems:?}");
        }
        let none = SOUND.replace("keys: [{key: \"${ADMIN_KEY}\", role: admin}]", "keys: []");
        assert!(load(&folder(), &none).unwrap_err()[0].contains("no built-in key"));
    }

    #[test]
    fn s04_a_malformed_value_is_not_quoted() {
        for text in [
            "encryption: {keyring: {keys: hunter2canary}}\n",
            "encryption: {keyring: hunter2canary}\n",
            "identity: {listen: hunter2canary, database: {postgres: hunter2canary}, tenants: [hunter2canary]}\n",
            "admin: {apisix: {listen: hunter2canary, keys: [hunter2canary, {key: hunter2canary}]}}\n",
            "log: {level: hunter2canary}\nlimits: {headers: hunter2canary}\n",
        ] {
            let problems = load(&folder(), text).unwrap_err().join("\n");
            assert!(!problems.contains("canary"), "{problems}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let rejected = Config::load(Path::new("/nowhere/portcullis.yaml")).unwrap_err().to_string();
        assert!(rejected.starts_with("/nowhere/portcullis.yaml:1:1: the file cannot be read"), "{rejected}");
    }
}
