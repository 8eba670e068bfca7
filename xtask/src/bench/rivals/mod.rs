//! The target and the rivals, each at its best fair setting: two threads, kept connections on both sides, no access log,
//! the same certificate, and no limit on connections that the load could reach.

mod envoy;
mod haproxy;
mod nginx;

use std::{fs, path::Path, process::Command};

use anyhow::{Context, bail};

use super::{
    portcullis::Credentials,
    process::Process,
    scenario::{LARGE, SMALL, Scenario, Subject},
};

pub(crate) use nginx::target;

/// A named configuration, for the report.
pub(crate) type Configuration = (String, String);

/// The key of the one consumer, everywhere.
pub(crate) const API_KEY: &str = "a1f0c5d2-the-key-of-jack";

/// Files for `localhost`: certificate and key apart, and together as HAProxy wants them.
pub(crate) const CERTIFICATE: &str = "localhost.crt";
pub(crate) const KEY: &str = "localhost.key";
const BOTH: &str = "localhost.both.pem";

/// Starts nginx, HAProxy and Envoy.
pub(crate) fn start(
    folder: &Path,
    credentials: &Credentials,
    configurations: &mut Vec<Configuration>,
) -> anyhow::Result<(Vec<Process>, Vec<Subject>)> {
    let processes = vec![
        nginx::start(folder, configurations)?,
        haproxy::start(folder, credentials, configurations)?,
        envoy::start(folder, credentials, configurations)?,
    ];
    let subjects = [nginx::subjects(), haproxy::subjects(), envoy::subjects()].into_iter().enumerate();
    let subjects = subjects.flat_map(|(process, list)| {
        list.into_iter().map(move |(name, scenario, port, tls_port)| Subject {
            name: name.to_owned(),
            scenario,
            port,
            tls_port,
            process,
            credentials: 0,
        })
    });
    Ok((processes, subjects.collect()))
}

/// Name, scenario, port, port with TLS.
type Row = (&'static str, Scenario, u16, Option<u16>);

/// A P-256 certificate for `localhost`; rustls takes none that says it is an authority.
pub(crate) fn certificate(folder: &Path) -> anyhow::Result<()> {
    let (certificate, key) = (folder.join(CERTIFICATE), folder.join(KEY));
    let config = folder.join("openssl.cnf");
    fs::write(
        &config,
        "[req]\ndistinguished_name = name\nx509_extensions = extensions\nprompt = no\n[name]\nCN = localhost\n\
         [extensions]\nbasicConstraints = critical, CA:FALSE\nsubjectAltName = DNS:localhost\n",
    )?;
    let output = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "30",
        ])
        .arg("-config")
        .arg(&config)
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .context("cannot run openssl")?;
    if !output.status.success() {
        bail!("openssl made no certificate: {}", String::from_utf8_lossy(&output.stderr));
    }
    let both = [fs::read(&certificate)?, fs::read(&key)?].concat();
    Ok(fs::write(folder.join(BOTH), both)?)
}

/// What each rival says of its version.
pub(crate) fn versions(folder: &Path) -> Vec<(String, String)> {
    let say = |program: &Path, argument: &str| {
        let output = Command::new(program).arg(argument).output().ok()?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        text.lines().find(|line| !line.trim().is_empty()).map(str::trim).map(str::to_owned)
    };
    let envoy = envoy::binary(folder).unwrap_or_default();
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

/// The bodies that the target answers with.
fn body(size: usize) -> String {
    debug_assert!(size == SMALL || size == LARGE);
    "x".repeat(size)
}
