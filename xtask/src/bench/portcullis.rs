//! Portcullis as the benchmark runs it: a folder filled by `dev`, served by `run` with an access log and metrics, its
//! routes, and credentials of its own provider.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    keys,
    login::Login,
    ports,
    process::Process,
    rivals::{API_KEY, CERTIFICATE, Configuration, KEY},
    scenario::Scenario,
    tokens::Source,
};

pub(crate) const BINARY: &str = "target/release/portcullis";
/// An API whose access tokens are signed with ES256, and one with EdDSA.
pub(crate) const ES256_AUDIENCE: &str = "https://es256.example/";
pub(crate) const EDDSA_AUDIENCE: &str = "https://eddsa.example/";
/// Where browsers come back to; registered for the demo application.
const CALLBACK: &str = "/callback";

/// What a request brings.
#[derive(Debug)]
pub(crate) enum Way {
    /// Nothing.
    None,
    /// This header, each time.
    One(String),
    /// A token that was not sent before, from this file.
    EachNew(PathBuf),
}

/// What opens the routes, and what rivals need to verify it.
#[derive(Debug)]
pub(crate) struct Credentials {
    ways: Vec<(Scenario, Way)>,
    pub(crate) issuer: String,
    pub(crate) jwks: String,
    pub(crate) rs256_pem: String,
    pub(crate) es256_pem: String,
}

impl Credentials {
    pub(crate) fn of(&self, scenario: Scenario) -> &Way {
        self.ways.iter().find(|(known, _)| *known == scenario).map_or(&Way::None, |(_, way)| way)
    }
}

/// Time from start to the line that says so, and what the process then holds.
#[derive(Debug)]
pub(crate) struct Startup {
    pub(crate) first: Duration,
    pub(crate) again: Duration,
    /// Proportional set size two seconds after the second start, KiB.
    pub(crate) idle_kib: u64,
}

/// A process that is ready, and its `dev.env`.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) process: Process,
    offset: u16,
    environment: HashMap<String, String>,
}

impl Gate {
    /// A variable of `dev.env`.
    pub(crate) fn variable(&self, name: &str) -> anyhow::Result<&str> {
        self.environment.get(name).map(String::as_str).with_context(|| format!("dev.env has no {name}"))
    }

    /// One of its ports, by what it is without offset.
    pub(crate) const fn port(&self, port: u16) -> u16 {
        port + self.offset
    }

    /// How the demo user logs in to the route of sessions.
    pub(crate) fn login(&self, folder: &Path) -> anyhow::Result<Login> {
        Ok(Login {
            page: format!("http://localhost:{}/session", self.port(9080)),
            user: self.variable("DEMO_USER")?.to_owned(),
            password: self.variable("DEMO_PASSWORD")?.to_owned(),
            jar: folder.join("cookies.txt"),
        })
    }

    /// A counter of the metrics page.
    pub(crate) fn counter(&self, name: &str) -> anyhow::Result<f64> {
        let page = format!("http://127.0.0.1:{}/metrics", self.port(9091));
        let output = Command::new("curl").args(["--silent", &page]).output().context("cannot run curl")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse().ok()).with_context(|| format!("{name} is not in {text}"))
    }
}

/// Starts `dev` twice in a fresh folder, to see how long each takes.
pub(crate) fn startup(folder: &Path) -> anyhow::Result<Startup> {
    let state = state(folder, ports::OFFSET)?;
    let launch = || {
        let (child, took) = launch_dev(Path::new(BINARY), &state, ports::OFFSET)?;
        anyhow::Ok((Process::adopt("Portcullis".to_owned(), child), took))
    };
    let (_, first) = launch()?;
    let (process, again) = launch()?;
    thread::sleep(Duration::from_secs(2));
    Ok(Startup { first, again, idle_kib: process.pss_kib() })
}

/// Starts the release build again in the folder of its last run, to see how long that takes.
pub(crate) fn restart(folder: &Path) -> anyhow::Result<Duration> {
    let state = folder.join(format!("portcullis-{}", ports::OFFSET));
    let (child, took) = launch_dev(Path::new(BINARY), &state, ports::OFFSET)?;
    drop(Process::adopt("Portcullis".to_owned(), child));
    Ok(took)
}

/// Starts `binary` as `dev` in a fresh folder.
pub(crate) fn start_dev(binary: &Path, folder: &Path) -> anyhow::Result<Gate> {
    let state = state(folder, ports::OFFSET)?;
    let (child, _) = launch_dev(binary, &state, ports::OFFSET)?;
    let process = Process::adopt("Portcullis".to_owned(), child);
    Ok(Gate { process, offset: ports::OFFSET, environment: environment(&state)? })
}

/// Starts `binary` in a fresh folder as a server is run: `dev` fills the folder, and `run` serves it with an access log.
/// The log goes to the null device: formatting and writing it is the gateway's work, the disk is not.
pub(crate) fn start(binary: &Path, folder: &Path, offset: u16) -> anyhow::Result<Gate> {
    let binary = fs::canonicalize(binary).with_context(|| format!("{} is not there", binary.display()))?;
    let state = state(folder, offset)?;
    let (child, _) = launch_dev(&binary, &state, offset)?;
    drop(Process::adopt("Portcullis".to_owned(), child));
    let file = state.join("benchmark.yaml");
    let config = fs::read_to_string(state.join("portcullis.yaml"))?;
    fs::write(&file, config.replace("log: {level: warn}", "log: {level: warn, access: /dev/null}"))?;
    let environment = environment(&state)?;
    let mut command = Command::new(&binary);
    command.args(["run", "--config"]).arg(&file).current_dir(&state).envs(&environment);
    let process = Process::start("Portcullis", command, 9080 + offset)?;
    Ok(Gate { process, offset, environment })
}

/// The URL of a route.
pub(crate) fn url(path: &str) -> String {
    format!("http://127.0.0.1:{}/{path}", 9080 + ports::OFFSET)
}

/// Writes the routes, and gets what opens them. Without `many`, scenarios that need another token each time have none.
pub(crate) fn configure(
    gate: &Gate,
    folder: &Path,
    many: bool,
    configurations: &mut Vec<Configuration>,
) -> anyhow::Result<Credentials> {
    let issuer = gate.variable("ISSUER")?.to_owned();
    let (client_id, client_secret) =
        (gate.variable("AUTH0_CLIENT_ID")?, gate.variable("AUTH0_CLIENT_SECRET")?);
    let audience = gate.variable("AUTH0_AUDIENCE")?;
    for (name, resource) in resources(gate, folder)? {
        put(gate, name, &resource)?;
        if name != "ssls/localhost" {
            let text = serde_json::to_string_pretty(&resource)?;
            let text = text.replace(client_secret, "…").replace(client_id, "…");
            configurations.push((format!("portcullis, {name}"), text + "\n"));
        }
    }
    configure_kong(gate, configurations)?;
    let apis = [(ES256_AUDIENCE, "ES256"), (EDDSA_AUDIENCE, "EdDSA")];
    let known = apis.map(|(audience, alg)| add_api(gate, &issuer, client_id, audience, alg));
    // A build without EdDSA is measured without it; the scenarios of the gateway need the other one.
    known.into_iter().next().context("no API")??;

    let endpoint = format!("{issuer}oauth/token");
    let source = |audience| Source { endpoint: &endpoint, client_id, client_secret, audience };
    let (rs256, es256) = (source(audience), source(ES256_AUDIENCE));
    let (rs256_token, es256_token) = (rs256.one()?, es256.one()?);
    let bearer = |token: &str| Way::One(format!("Authorization: Bearer {token}"));
    let cookie = gate.login(folder)?.cookie()?;
    let basic = STANDARD.encode(format!("{client_id}:{client_secret}"));
    let mut ways = vec![
        (Scenario::KeyAuth, Way::One(format!("apikey: {API_KEY}"))),
        (Scenario::Rs256Warm, bearer(&rs256_token)),
        (Scenario::Es256Warm, bearer(&es256_token)),
        (Scenario::Introspection, bearer(&rs256_token)),
        (Scenario::Session, Way::One(cookie)),
        (Scenario::ClientCredentials, Way::One(format!("Authorization: Basic {basic}"))),
    ];
    if many {
        for (scenario, source) in [(Scenario::Rs256Cold, rs256), (Scenario::Es256Cold, es256)] {
            let file = folder.join(format!("{}-{}.txt", scenario.name(), gate.offset));
            println!("fetching tokens: {}", scenario.title());
            source.many(&file)?;
            ways.push((scenario, Way::EachNew(file)));
        }
    }
    let jwks = curl(&[&format!("{issuer}.well-known/jwks.json")])?;
    Ok(Credentials {
        ways,
        rs256_pem: keys::pem(&jwks, &rs256_token)?,
        es256_pem: keys::pem(&jwks, &es256_token)?,
        jwks: jwks.to_string(),
        issuer,
    })
}

/// Writes a resource in APISIX's dialect.
pub(crate) fn put(gate: &Gate, name: &str, value: &Value) -> anyhow::Result<()> {
    let url = format!("http://127.0.0.1:{}/apisix/admin/{name}", gate.port(9180));
    let key = format!("X-API-KEY: {}", gate.variable("ADMIN_KEY")?);
    let answer = curl(&["--request", "PUT", "--header", &key, "--data", &value.to_string(), &url])?;
    if answer.get("key").is_none() {
        bail!("the Admin API answers {answer}");
    }
    Ok(())
}

fn resources(gate: &Gate, folder: &Path) -> anyhow::Result<Vec<(&'static str, Value)>> {
    let issuer = gate.variable("ISSUER")?;
    // As many idle connections, kept as long, as nginx has.
    let upstream = json!({
        "nodes": { format!("127.0.0.1:{}", ports::TARGET): 1 },
        "keepalive_pool": { "size": 1024, "requests": 1_000_000_000 },
    });
    let discovery = format!("{issuer}.well-known/openid-configuration");
    let (client_id, client_secret) =
        (gate.variable("AUTH0_CLIENT_ID")?, gate.variable("AUTH0_CLIENT_SECRET")?);
    let guarded = |uris: &[&str], attributes: Value| {
        let mut plugin =
            json!({ "client_id": client_id, "client_secret": client_secret, "discovery": discovery });
        if let (Some(plugin), Some(attributes)) = (plugin.as_object_mut(), attributes.as_object()) {
            plugin.extend(attributes.clone());
        }
        json!({ "uris": uris, "upstream": upstream, "plugins": { "openid-connect": plugin } })
    };
    let callback = format!("http://localhost:{}{CALLBACK}", gate.port(9080));
    let introspection = format!("{issuer}oauth/introspect");
    let (certificate, key) =
        (fs::read_to_string(folder.join(CERTIFICATE))?, fs::read_to_string(folder.join(KEY))?);
    Ok(vec![
        ("ssls/localhost", json!({ "snis": ["localhost"], "cert": certificate, "key": key })),
        ("routes/plain", json!({ "uris": ["/plain", "/plain/*"], "upstream": upstream })),
        ("consumers/jack", json!({ "username": "jack", "plugins": { "key-auth": { "key": API_KEY } } })),
        (
            "routes/keyed",
            json!({ "uris": ["/keyed", "/keyed/*"], "upstream": upstream, "plugins": { "key-auth": {} } }),
        ),
        (
            "routes/bearer",
            guarded(&["/bearer", "/bearer/*"], json!({ "bearer_only": true, "use_jwks": true })),
        ),
        (
            "routes/introspected",
            guarded(
                &["/introspected"],
                json!({ "bearer_only": true, "introspection_endpoint": introspection }),
            ),
        ),
        (
            "routes/session",
            guarded(
                &["/session", CALLBACK],
                json!({ "scope": "openid profile email", "redirect_uri": callback }),
            ),
        ),
    ])
}

/// A service, a route and `openid-connect` with client credentials, in Kong's dialect.
fn configure_kong(gate: &Gate, configurations: &mut Vec<Configuration>) -> anyhow::Result<()> {
    let issuer = format!("{}.well-known/openid-configuration", gate.variable("ISSUER")?);
    let plugin = json!({
        "name": "openid-connect",
        "config": {
            "issuer": issuer,
            "auth_methods": ["client_credentials"],
            "audience": [gate.variable("AUTH0_AUDIENCE")?],
        },
    });
    let all = [
        ("PUT", "services/kong", json!({ "url": format!("http://127.0.0.1:{}", ports::TARGET) })),
        ("PUT", "services/kong/routes/kong", json!({ "paths": ["/kong"] })),
        ("POST", "services/kong/plugins", plugin),
    ];
    for (method, name, body) in all {
        let url = format!("http://127.0.0.1:{}/{name}", gate.port(8001));
        let json = "Content-Type: application/json";
        let answer = curl(&["--request", method, "--header", json, "--data", &body.to_string(), &url])?;
        if answer.get("id").is_none() {
            bail!("Kong's Admin API answers {answer} to {method} /{name}");
        }
        configurations
            .push((format!("portcullis, Kong's {name}"), serde_json::to_string_pretty(&body)? + "\n"));
    }
    Ok(())
}

/// An API whose tokens are signed with `alg`, and the right of the demo application to them.
fn add_api(gate: &Gate, issuer: &str, client_id: &str, audience: &str, alg: &str) -> anyhow::Result<()> {
    let management = format!("{issuer}api/v2/");
    let endpoint = format!("{issuer}oauth/token");
    let source = Source {
        endpoint: &endpoint,
        client_id: gate.variable("AUTH0_MGMT_CLIENT_ID")?,
        client_secret: gate.variable("AUTH0_MGMT_CLIENT_SECRET")?,
        audience: &management,
    };
    let bearer = format!("Authorization: Bearer {}", source.one()?);
    let create = |kind: &str, body: Value| {
        let json = "Content-Type: application/json";
        let url = format!("{management}{kind}");
        let answer = curl(&["--header", &bearer, "--header", json, "--data", &body.to_string(), &url])?;
        if answer.get("id").is_none() {
            bail!("the Management API answers {answer}");
        }
        anyhow::Ok(())
    };
    create("resource-servers", json!({ "name": alg, "identifier": audience, "signing_alg": alg }))?;
    create("client-grants", json!({ "client_id": client_id, "audience": audience, "scope": [] }))
}

fn state(folder: &Path, offset: u16) -> anyhow::Result<PathBuf> {
    let state = folder.join(format!("portcullis-{offset}"));
    if state.exists() {
        fs::remove_dir_all(&state)?;
    }
    Ok(state)
}

fn launch_dev(binary: &Path, state: &Path, offset: u16) -> anyhow::Result<(Child, Duration)> {
    let mut command = Command::new(binary);
    command.arg("dev").arg("--dir").arg(state).args(["--port-offset", &offset.to_string()]);
    launch(command)
}

/// Starts it and waits until it says that it is ready.
fn launch(mut command: Command) -> anyhow::Result<(Child, Duration)> {
    let began = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    let output = child.stdout.take().context("no output")?;
    for line in BufReader::new(output).lines() {
        if line?.trim() == "portcullis is ready" {
            return Ok((child, began.elapsed()));
        }
    }
    bail!("portcullis ended before it was ready: {}", child.wait()?)
}

/// The lines `export NAME=VALUE` of `dev.env`.
fn environment(state: &Path) -> anyhow::Result<HashMap<String, String>> {
    let text = fs::read_to_string(state.join("dev.env"))?;
    let pair = |line: &str| {
        let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
        Some((name.to_owned(), value.trim_matches(['\'', '"']).to_owned()))
    };
    Ok(text.lines().filter_map(pair).collect())
}

pub(crate) fn curl(arguments: &[&str]) -> anyhow::Result<Value> {
    let output = Command::new("curl").arg("--silent").args(arguments).output().context("cannot run curl")?;
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("not JSON: {}", String::from_utf8_lossy(&output.stdout)))
}
