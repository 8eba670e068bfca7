//! Portcullis as the benchmark runs it: `dev`, its routes, and credentials of its own provider.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::{
    Scenario, keys, login, ports,
    process::Process,
    rivals::Configuration,
    tokens::{self, Source},
};

const BINARY: &str = "target/release/portcullis";
/// An API whose access tokens are signed with ES256.
const ES256_AUDIENCE: &str = "https://es256.example/";

/// What a request brings.
#[derive(Debug)]
pub(crate) enum Way {
    /// Nothing.
    None,
    /// This header, each time.
    One(String),
    /// A token that was not sent before.
    EachNew { script: PathBuf, tokens: PathBuf, sample: String },
}

impl Way {
    /// A header to try it with.
    pub(crate) fn sample(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::One(header) | Self::EachNew { sample: header, .. } => Some(header),
        }
    }
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

/// Time from start to the line that says so.
#[derive(Debug)]
pub(crate) struct Startup {
    pub(crate) first: Duration,
    pub(crate) again: Duration,
}

/// A `dev` that is ready, and its `dev.env`.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) process: Process,
    environment: HashMap<String, String>,
}

impl Gate {
    /// A variable of `dev.env`.
    pub(crate) fn variable(&self, name: &str) -> anyhow::Result<&str> {
        self.environment.get(name).map(String::as_str).with_context(|| format!("dev.env has no {name}"))
    }
}

/// Starts `dev` twice in a fresh folder, to see how long each takes.
pub(crate) fn startup(folder: &Path) -> anyhow::Result<Startup> {
    let state = state(folder)?;
    let mut times = [Duration::ZERO; 2];
    for time in &mut times {
        let (child, took) = launch(Path::new(BINARY), &state)?;
        *time = took;
        drop(Process::adopt("Portcullis".to_owned(), child));
    }
    let [first, again] = times;
    Ok(Startup { first, again })
}

/// Starts the release build again in the folder of its last run, to see how long that takes.
pub(crate) fn restart(folder: &Path) -> anyhow::Result<Duration> {
    let (child, took) = launch(Path::new(BINARY), &folder.join("portcullis"))?;
    drop(Process::adopt("Portcullis".to_owned(), child));
    Ok(took)
}

/// Starts the release build.
pub(crate) fn start(folder: &Path) -> anyhow::Result<Gate> {
    start_as(Path::new(BINARY), folder)
}

/// Starts `binary` in a fresh folder.
pub(crate) fn start_as(binary: &Path, folder: &Path) -> anyhow::Result<Gate> {
    let state = state(folder)?;
    let (child, _) = launch(binary, &state)?;
    let process = Process::adopt("Portcullis".to_owned(), child);
    let environment = environment(&state)?;
    Ok(Gate { process, environment })
}

/// The URL of a route.
pub(crate) fn url(path: &str) -> String {
    format!("http://127.0.0.1:{}/{path}", 9080 + ports::PORTCULLIS_OFFSET)
}

/// A counter of the metrics page.
pub(crate) fn counter(name: &str) -> anyhow::Result<f64> {
    let page = format!("http://127.0.0.1:{}/metrics", 9091 + ports::PORTCULLIS_OFFSET);
    let output = Command::new("curl").args(["--silent", &page]).output().context("cannot run curl")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.trim().parse().ok()).with_context(|| format!("{name} is not in {text}"))
}

/// Writes the routes, and gets what opens them.
pub(crate) fn configure(
    gate: &Gate,
    folder: &Path,
    configurations: &mut Vec<Configuration>,
) -> anyhow::Result<Credentials> {
    let issuer = gate.variable("ISSUER")?.to_owned();
    let client_id = gate.variable("AUTH0_CLIENT_ID")?;
    let client_secret = gate.variable("AUTH0_CLIENT_SECRET")?;
    for (id, route) in routes(&issuer, client_id, client_secret) {
        let admin = format!("http://127.0.0.1:{}/apisix/admin/routes/{id}", 9180 + ports::PORTCULLIS_OFFSET);
        let key = format!("X-API-KEY: {}", gate.variable("ADMIN_KEY")?);
        let answer = curl(&["--request", "PUT", "--header", &key, "--data", &route.to_string(), &admin])?;
        if answer.get("key").is_none() {
            bail!("the Admin API answers {answer}");
        }
        let text = serde_json::to_string_pretty(&route)?.replace(client_secret, "…").replace(client_id, "…");
        configurations.push((format!("portcullis, route {id}"), text + "\n"));
    }
    add_es256_api(gate, &issuer, client_id)?;

    let endpoint = format!("{issuer}oauth/token");
    let source = |audience| Source { endpoint: &endpoint, client_id, client_secret, audience };
    let (rs256, es256) = (source(gate.variable("AUTH0_AUDIENCE")?), source(ES256_AUDIENCE));
    let (rs256_token, es256_token) = (rs256.one()?, es256.one()?);
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    let script = tokens::script(folder)?;
    let each_new = |source: &Source<'_>, name: &str, token: &str| {
        let file = folder.join(name);
        source.many(&file)?;
        anyhow::Ok(Way::EachNew { script: script.clone(), tokens: file, sample: bearer(token) })
    };
    let page = format!("http://localhost:{}/session", 9080 + ports::PORTCULLIS_OFFSET);
    let cookie = login::cookie(&page, gate.variable("DEMO_USER")?, gate.variable("DEMO_PASSWORD")?, folder)?;
    let ways = vec![
        (Scenario::Rs256Warm, Way::One(bearer(&rs256_token))),
        (Scenario::Rs256Cold, each_new(&rs256, "rs256.txt", &rs256_token)?),
        (Scenario::Es256Warm, Way::One(bearer(&es256_token))),
        (Scenario::Es256Cold, each_new(&es256, "es256.txt", &es256_token)?),
        (Scenario::Introspection, Way::One(bearer(&rs256_token))),
        (Scenario::Session, Way::One(cookie)),
    ];
    let jwks = curl(&[&format!("{issuer}.well-known/jwks.json")])?;
    Ok(Credentials {
        ways,
        rs256_pem: keys::pem(&jwks, &rs256_token)?,
        es256_pem: keys::pem(&jwks, &es256_token)?,
        jwks: jwks.to_string(),
        issuer,
    })
}

fn routes(issuer: &str, client_id: &str, client_secret: &str) -> [(&'static str, Value); 4] {
    let upstream = json!({ "nodes": { format!("127.0.0.1:{}", ports::TARGET): 1 } });
    let discovery = format!("{issuer}.well-known/openid-configuration");
    let guarded = |uris: &[&str], attributes: Value| {
        let mut plugin =
            json!({ "client_id": client_id, "client_secret": client_secret, "discovery": discovery });
        if let (Some(plugin), Some(attributes)) = (plugin.as_object_mut(), attributes.as_object()) {
            plugin.extend(attributes.clone());
        }
        json!({ "uris": uris, "upstream": upstream, "plugins": { "openid-connect": plugin } })
    };
    let callback = format!("http://localhost:{}/callback", 9080 + ports::PORTCULLIS_OFFSET);
    [
        ("plain", json!({ "uri": "/plain", "upstream": upstream })),
        ("bearer", guarded(&["/bearer"], json!({ "bearer_only": true, "use_jwks": true }))),
        (
            "introspected",
            guarded(
                &["/introspected"],
                json!({ "bearer_only": true, "introspection_endpoint": format!("{issuer}oauth/introspect") }),
            ),
        ),
        (
            "session",
            guarded(
                &["/session", "/callback"],
                json!({ "scope": "openid profile email", "redirect_uri": callback }),
            ),
        ),
    ]
}

/// An API with ES256, and the right of the demo application to its tokens.
fn add_es256_api(gate: &Gate, issuer: &str, client_id: &str) -> anyhow::Result<()> {
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
    create(
        "resource-servers",
        json!({ "name": "ES256", "identifier": ES256_AUDIENCE, "signing_alg": "ES256" }),
    )?;
    create("client-grants", json!({ "client_id": client_id, "audience": ES256_AUDIENCE, "scope": [] }))
}

fn state(folder: &Path) -> anyhow::Result<PathBuf> {
    let state = folder.join("portcullis");
    if state.exists() {
        fs::remove_dir_all(&state)?;
    }
    Ok(state)
}

fn launch(binary: &Path, state: &Path) -> anyhow::Result<(Child, Duration)> {
    let began = Instant::now();
    let mut child = Command::new(binary)
        .arg("dev")
        .arg("--dir")
        .arg(state)
        .args(["--port-offset", &ports::PORTCULLIS_OFFSET.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", binary.display()))?;
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

fn curl(arguments: &[&str]) -> anyhow::Result<Value> {
    let output = Command::new("curl").arg("--silent").args(arguments).output().context("cannot run curl")?;
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("not JSON: {}", String::from_utf8_lossy(&output.stdout)))
}
