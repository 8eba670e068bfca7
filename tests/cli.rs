//! The command line from outside: usage, `check`, `run`, `jose`, exit codes and what is printed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, as tests do"
)]

mod support;

#[path = "cli/databases.rs"]
mod databases;
#[path = "cli/jose.rs"]
mod jose_commands;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use loopback::Reserved;
use serde_json::Value;
use support::Portcullis;
use tempfile::TempDir;

/// Ports of `dev`.
const PORTS: [u16; 11] = [8001, 9080, 9443, 9444, 9180, 7443, 9091, 9400, 9401, 9402, 9480];

fn portcullis() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.env_remove("PORTCULLIS_ADMIN_KEY").env_remove("RUST_LOG");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs to the end with `input` on standard input.
fn with_input(command: &mut Command, input: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A process that refuses before reading closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn wrong_usage_is_exit_code_2_and_help_is_0() {
    for arguments in
        [&[][..], &["serve"], &["run"], &["check", "--config"], &["dev", "--port-offset", "60000"]]
    {
        let output = portcullis().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["--version"], &["dev", "--help"]] {
        let output = portcullis().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(text(&output.stdout).contains("portcullis"), "{arguments:?}");
    }
}

/// A folder with the documentation's example and the files that it names.
fn example() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let documentation = include_str!("../docs/configuration.md");
    let (_, rest) = documentation.split_once("```yaml\n").unwrap();
    let (yaml, _) = rest.split_once("\n```").unwrap();
    fs::write(folder.path().join("portcullis.yaml"), yaml).unwrap();
    let certificate = rcgen::generate_simple_self_signed(["login.example.com".to_owned()]).unwrap();
    fs::create_dir(folder.path().join("tls")).unwrap();
    for name in ["chain.pem", "clients.pem", "internal-ca.pem"] {
        fs::write(folder.path().join("tls").join(name), certificate.cert.pem()).unwrap();
    }
    fs::write(folder.path().join("tls/key.pem"), certificate.signing_key.serialize_pem()).unwrap();
    fs::write(folder.path().join("kong.yaml"), "_format_version: \"3.0\"\nservices: [{name: s, host: a}]\n")
        .unwrap();
    folder
}

fn check(folder: &Path) -> Output {
    let keyring = base::Keyring::generate(&base::Random::system());
    portcullis()
        .args(["check", "--config", "portcullis.yaml"])
        .current_dir(folder)
        .env("ADMIN_KEY", "0123456789abcdef")
        .env("VIEWER_KEY", "fedcba9876543210")
        .env("MANAGEMENT_SECRET", "0123456789abcdef")
        .env("KEYRING", keyring.to_text().trim())
        .output()
        .unwrap()
}

#[test]
fn the_documentations_example_passes_check() {
    let output = check(example().path());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "portcullis.yaml: ok\n");
}

#[test]
fn check_says_what_is_wrong_in_a_declarative_file_of_kongs() {
    let folder = example();
    for (text, why) in [
        ("_format_version: \"9\"\n", "value must be one of: 1.1, 2.1, 3.0"),
        ("_format_version: \"3.0\"\nservices: [{name: s}]\n", "required field missing"),
        ("_format_version: \"3.0\"\nplugins: [{name: nope}]\n", "plugin 'nope' not enabled"),
        ("a: [", ""),
    ] {
        fs::write(folder.path().join("kong.yaml"), text).unwrap();
        let output = check(folder.path());
        let said = self::text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}: {said}");
        assert!(
            said.contains("kong.yaml: ") && said.contains(why) && said.lines().count() == 1,
            "{text}: {said}"
        );
    }
    fs::remove_file(folder.path().join("kong.yaml")).unwrap();
    let output = check(folder.path());
    assert!(
        output.status.code() == Some(1) && self::text(&output.stderr).contains("kong.yaml cannot be read")
    );
}

#[test]
fn check_names_every_problem_with_its_place() {
    let folder = example();
    let file = folder.path().join("portcullis.yaml");
    let yaml = fs::read_to_string(&file).unwrap();
    let yaml = yaml.replace("workers: auto", "workers: none").replace("  streams: 128", "  streems: 128");
    fs::write(&file, &yaml).unwrap();
    let output = check(folder.path());
    let place = |needle: &str| yaml.lines().position(|line| line.contains(needle)).unwrap() + 1;
    let expected = [
        format!("portcullis.yaml:{}:10: `workers`", place("workers: none")),
        format!("portcullis.yaml:{}:3: unknown key `streems` in `limits`", place("streems")),
    ];
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<String> = text(&output.stderr).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().zip(&expected).all(|(line, start)| line.starts_with(start.as_str())), "{lines:?}");
}

#[test]
fn declared_resources_are_checked_with_their_place() {
    let folder = example();
    let file = folder.path().join("portcullis.yaml");
    let yaml = fs::read_to_string(&file).unwrap();
    let (before, _) = yaml.split_once("resources:\n").unwrap();
    let yaml = before.to_owned();
    let rest = "encryption: {keyring: {keys: \"${KEYRING}\"}}\n";
    let declared = "resources:\n  routes:\n    - {id: a, uri: /a, upstream: {type: roundrobin, nodes: {\"127.0.0.1:1\": 1}}}\n";
    fs::write(&file, format!("{yaml}{rest}{declared}")).unwrap();
    let output = check(folder.path());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    fs::write(&file, format!("{yaml}{rest}{declared}    - {{id: b, uri: /b, upstrem: {{}}}}\n")).unwrap();
    let output = check(folder.path());
    let errors = text(&output.stderr);
    let place = format!("portcullis.yaml:{}:7: `resources`: routes/b: ", yaml.lines().count() + 5);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors.starts_with(&place) && errors.contains("upstrem"), "{errors}");
    assert!(!folder.path().join("gateway.db").exists(), "check leaves nothing behind");
}

#[test]
fn run_refuses_what_check_refuses() {
    let folder = example();
    let output = portcullis()
        .args(["run", "--config", "portcullis.yaml"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("the environment variable ADMIN_KEY is not set"));
    let output =
        portcullis().args(["run", "--config", "nowhere.yaml"]).current_dir(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("nowhere.yaml:1:1: the file cannot be read"));
}

#[test]
fn a03_dev_refuses_sample_empty_and_short_keys() {
    for key in ["edd1c9f034335f136f87ad84b625c8f1", "", "too-short"] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = portcullis();
        command.arg("dev").arg("--dir").arg(folder.path()).env("PORTCULLIS_ADMIN_KEY", key);
        let output = command.output().unwrap();
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{key}");
        assert!(errors.contains("PORTCULLIS_ADMIN_KEY") && errors.lines().count() == 1, "{errors}");
        assert!(key.is_empty() || !errors.contains(key), "{errors}");
    }
}

#[test]
fn a04_dev_listens_on_loopback_only() {
    let gate = Portcullis::dev();
    let mut open = std::collections::BTreeSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (address, port) = fields[1].split_once(':').unwrap();
            let port = u16::from_str_radix(port, 16).unwrap();
            let ours = PORTS.iter().any(|known| gate.port(*known) == port);
            if ours && fields[3] == "0A" {
                open.insert(port);
                assert_eq!(address, "0100007F", "port {port} is open beyond loopback");
            }
        }
    }
    assert_eq!(open.len(), PORTS.len(), "{open:?}");
}

#[test]
fn a_second_process_in_one_folder_is_refused() {
    let gate = Portcullis::dev();
    let output = portcullis().arg("dev").arg("--dir").arg(gate.state()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("in use by another process"), "{}", text(&output.stderr));
}

#[test]
fn a_taken_port_is_named_and_nothing_serves() {
    let gate = Portcullis::dev();
    let folder = tempfile::tempdir().unwrap();
    let offset = (gate.port(9080) - 9080).to_string();
    let mut command = portcullis();
    let output =
        command.arg("dev").arg("--dir").arg(folder.path()).args(["--port-offset", &offset]).output().unwrap();
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors.contains("cannot listen on 127.0.0.1:") && errors.lines().count() == 1, "{errors}");
}

#[test]
fn dev_keeps_its_credentials_and_closes_its_folder() {
    use std::os::unix::fs::PermissionsExt;
    let gate = Portcullis::dev();
    let mode = |name: &str| fs::metadata(gate.state().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(""), 0o700);
    for name in ["dev.env", "keys", "ca.key", "admin.key", "gateway.db", "identity.db"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    let first = gate.variables();
    let names = [
        "ADMIN_KEY",
        "APISIX_ADMIN_KEY",
        "YOUR_API_KEY",
        "ISSUER",
        "AUTH0_DOMAIN",
        "AUTH0_CLIENT_ID",
        "AUTH0_CLIENT_SECRET",
        "AUTH0_AUDIENCE",
        "AUTH0_MGMT_CLIENT_ID",
        "AUTH0_MGMT_CLIENT_SECRET",
        "DEMO_USER",
        "DEMO_PASSWORD",
        "DEV_CA",
        "CURL_CA_BUNDLE",
    ];
    assert!(
        names.iter().all(|name| first.get(*name).is_some_and(|value| !value.is_empty())),
        "{:?}",
        first.keys()
    );
    assert_eq!(first["ISSUER"], format!("http://localhost:{}/", gate.port(9400)));
    assert_eq!(first["AUTH0_DOMAIN"], format!("localhost:{}", gate.port(9401)));
    assert!(gate.terminate().success());
    gate.restart();
    assert_eq!(gate.variables(), first);
}

#[test]
fn dev_takes_the_admin_key_it_is_given() {
    let key = "a-key-from-the-environment".to_owned();
    let environment = vec![("PORTCULLIS_ADMIN_KEY".to_owned(), key.clone())];
    let gate = Portcullis::start(support::Options { environment, ..support::Options::default() });
    for name in ["ADMIN_KEY", "APISIX_ADMIN_KEY", "YOUR_API_KEY"] {
        assert_eq!(gate.variable(name), key);
    }
}

#[test]
fn dev_writes_the_file_that_run_reads() {
    let gate = Portcullis::dev();
    let key = gate.variable("ADMIN_KEY");
    assert!(gate.terminate().success());
    let file = gate.state().join("portcullis.yaml");
    assert!(!fs::read_to_string(&file).unwrap().contains(&key));
    let output =
        portcullis().arg("check").arg("--config").arg(&file).env("ADMIN_KEY", &key).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn jose_verify_prints_the_payload_or_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.json");
    // RFC 7515 appendix A.1.
    fs::write(&key, r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#).unwrap();
    let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let verify = |token: &str| with_input(portcullis().args(["jose", "verify", "--jwk"]).arg(&key), token);
    let good = verify(token);
    assert_eq!(good.status.code(), Some(0), "{}", text(&good.stderr));
    let output = text(&good.stdout);
    let payload: Value = serde_json::from_str(output.strip_prefix("valid\n").unwrap()).unwrap();
    assert_eq!(payload["iss"], "joe");
    let forged = verify(&token.replace("dBjf", "eBjf"));
    assert_eq!(forged.status.code(), Some(1));
    assert!(forged.stdout.is_empty() && text(&forged.stderr).lines().count() == 1);
    let serialised = verify(r#"{"payload":"e30","signatures":[]}"#);
    assert_eq!(serialised.status.code(), Some(1));
}

#[test]
fn the_banners_commands_work_when_pasted() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("curl is not installed; `cargo xtask install` installs it");
        return;
    }
    let gate = Portcullis::dev();
    // The harness hears of the last line before it keeps it.
    while !gate.output().contains("portcullis is ready") {
        std::thread::yield_now();
    }
    let output = gate.output();
    let (_, rest) = output.split_once("# Everything from here on").unwrap();
    let (script, _) = rest.split_once("portcullis is ready").unwrap();
    let script = format!("# {script}");
    let run = with_input(Command::new("sh").arg("-eu"), &script);
    let printed = text(&run.stdout);
    assert!(run.status.success(), "{script}\n{printed}\n{}", text(&run.stderr));
    assert!(printed.contains("HTTP/1.1 200 OK"), "{printed}");
    assert!(printed.contains("X-Access-Token") || printed.contains("X-Userinfo"), "{printed}");
}

/// `portcullis run` with a gateway, an Admin API and one route to an upstream that waits to be told.
struct Production {
    child: Child,
    folder: TempDir,
    gateway: u16,
    admin: u16,
    identity: u16,
    _reserved: [Reserved; 3],
    upstream: TcpListener,
}

impl Production {
    fn start() -> Self {
        let reserved: [Reserved; 3] = std::array::from_fn(|_| Reserved::any().unwrap());
        let [gateway, admin, identity] = reserved.each_ref().map(Reserved::port);
        let folder = tempfile::tempdir().unwrap();
        let yaml = format!(
            "listeners: [{{address: \"127.0.0.1:{gateway}\"}}]\n\
             admin: {{apisix: {{listen: \"127.0.0.1:{admin}\", keys: [{{key: \"{KEY}\"}}]}}}}\n\
             store: {{sqlite: gateway.db}}\n\
             encryption: {{keyring: {{keys: \"{}\"}}}}\n\
             identity:\n  listen: 127.0.0.1:{identity}\n  database: {{sqlite: identity.db}}\n  tenants:\n    \
             - {{name: main, domains: [\"http://localhost:{identity}\"], \
             management: {{client_id: operator, client_secret: \"{KEY}\"}}}}\n\
             log: {{level: info, access: access.log}}\n",
            base::Keyring::generate(&base::Random::system()).to_text().trim()
        );
        fs::write(folder.path().join("portcullis.yaml"), yaml).unwrap();
        let mut child = portcullis()
            .args(["run", "--config", "portcullis.yaml"])
            .current_dir(folder.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(lines.by_ref().map_while(Result::ok).any(|line| line.ends_with("ready")), "it did not start");
        std::thread::spawn(move || lines.for_each(drop));
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let production = Self { child, folder, gateway, admin, identity, _reserved: reserved, upstream };
        let node = production.upstream.local_addr().unwrap();
        let route = format!(r#"{{"uri":"/*","upstream":{{"type":"roundrobin","nodes":{{"{node}":1}}}}}}"#);
        let answer = exchange(admin, &request("PUT", "/apisix/admin/routes/1", &route));
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        production
    }

    fn signal(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// A request that has reached the upstream and waits there.
    fn in_flight(&self) -> (TcpStream, TcpStream) {
        let mut client = TcpStream::connect(("127.0.0.1", self.gateway)).unwrap();
        client.write_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let (mut target, _) = self.upstream.accept().unwrap();
        let mut first = [0; 9];
        target.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"GET /slow");
        (client, target)
    }
}

impl Drop for Production {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const KEY: &str = "0123456789abcdef0123";

fn request(method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-API-KEY: {KEY}\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

fn exchange(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn run_serves_what_the_file_says_and_nothing_else() {
    let production = Production::start();
    let ready = exchange(
        production.admin,
        "GET /status/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    for (method, path) in [("POST", "/dev/clock"), ("GET", "/dev/mail")] {
        let answer = exchange(production.admin, &request(method, path, "{\"advance\": 1}"));
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    }
}

#[test]
fn run_makes_its_tenants_and_the_client_their_administrators_begin_with() {
    let production = Production::start();
    let port = production.identity;
    let body = format!(
        r#"{{"grant_type":"client_credentials","client_id":"operator","client_secret":"{KEY}","audience":"http://localhost:{port}/api/v2/"}}"#
    );
    let ask = |host: &str, extra: &str, start: &str, body: &str| {
        let length = body.len();
        exchange(
            port,
            &format!(
                "{start} HTTP/1.1\r\nHost: {host}\r\n{extra}Content-Type: application/json\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            ),
        )
    };
    let here = format!("localhost:{port}");
    let answer = ask(&here, "", "POST /oauth/token", &body);
    let (head, json) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    let token: Value = serde_json::from_str(json).unwrap();
    let bearer = format!("Authorization: Bearer {}\r\n", token["access_token"].as_str().unwrap());
    let clients = ask(&here, &bearer, "GET /api/v2/clients", "");
    assert!(clients.starts_with("HTTP/1.1 200") && clients.contains("operator"), "{clients}");
    // Only configured origins are served.
    let elsewhere = ask("login.example.org", "", "GET /.well-known/openid-configuration", "");
    assert!(elsewhere.starts_with("HTTP/1.1 404"), "{elsewhere}");
}

#[test]
fn sigterm_finishes_the_request_in_flight_and_exits_0() {
    let mut production = Production::start();
    let (mut client, mut target) = production.in_flight();
    production.signal();
    // New connections are refused before the old ones are done; until then the listener may still be closing.
    while TcpStream::connect(("127.0.0.1", production.gateway)).is_ok() {}
    target.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
    assert_eq!(production.child.wait().unwrap().code(), Some(0));
    let log = fs::read_to_string(production.folder.path().join("access.log")).unwrap();
    assert!(log.contains("/slow"), "{log}");
}

#[test]
fn the_allocator_takes_pages_from_what_it_has_and_gives_large_blocks_back() {
    // What it says of itself with this variable, before `main` and again when the program has started over.
    let output = portcullis()
        .args(["run", "--config", "/nonexistent"])
        .env("MIMALLOC_VERBOSE", "1")
        .env_remove("MIMALLOC_ARENA_MAX_OBJECT_SIZE")
        .output()
        .unwrap();
    let told = text(&output.stderr);
    let last = told.lines().rfind(|line| line.contains("arena_max_object_size"));
    assert_eq!(last, Some("option 'arena_max_object_size': 8192 KiB"), "{told}");
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut production = Production::start();
    let (_client, _target) = production.in_flight();
    production.signal();
    while TcpStream::connect(("127.0.0.1", production.gateway)).is_ok() {}
    production.signal();
    assert_eq!(production.child.wait().unwrap().code(), Some(1));
}

#[test]
fn s08_run_hides_its_environment_and_makes_no_core_dumps() {
    let production = Production::start();
    let limits = fs::read_to_string(format!("/proc/{}/limits", production.child.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    // What belongs to a process that may not be dumped belongs to root.
    let environment = fs::metadata(format!("/proc/{}/environ", production.child.id())).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&environment), 0);
}
