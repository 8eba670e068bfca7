//! npm's `oidc-provider`, as the tests start it.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::{
    super::{ports, process::Process},
    exchanges::{self, Subject},
};

/// It runs until this is dropped.
#[derive(Debug)]
pub(super) struct Rival {
    pub(super) process: Process,
    pub(super) subject: Subject,
}

pub(super) fn start(folder: &Path) -> anyhow::Result<Rival> {
    let (client, secret) = ("benchmark", "a secret of the benchmark that is long enough");
    let keys: Vec<Value> =
        exchanges::ALGORITHMS.into_iter().map(|alg| key(folder, alg)).collect::<Result<_, _>>()?;
    let clients = json!([{
        "client_id": client, "client_secret": secret, "redirect_uris": [exchanges::CALLBACK],
        "response_types": ["code"], "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
    }]);
    let options = json!({ "port": ports::OIDC_PROVIDER, "clients": clients, "keys": keys });
    let mut command = Command::new("node");
    command.arg("server.mjs").current_dir("target/peers/oidc-provider").env("OPTIONS", options.to_string());
    command.env("NODE_ENV", "production");
    let process = Process::start("oidc-provider", command, ports::OIDC_PROVIDER)?;
    let subject = Subject {
        port: ports::OIDC_PROVIDER,
        client: client.to_owned(),
        secret: secret.to_owned(),
        user: String::new(),
        password: String::new(),
    };
    Ok(Rival { process, subject })
}

/// A new private key, as the program wants it.
fn key(folder: &Path, alg: &str) -> anyhow::Result<Value> {
    let kind: &[&str] = match alg {
        "RS256" => &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        "ES256" => &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        _ => &["-algorithm", "ED25519"],
    };
    let file = folder.join(format!("oidc-provider-{alg}.pem"));
    let mut command = Command::new("openssl");
    command.arg("genpkey").args(kind).arg("-out").arg(&file).stderr(Stdio::null());
    if !command.status().context("cannot run openssl")?.success() {
        bail!("openssl makes no key for {alg}");
    }
    Ok(json!({ "pem": fs::read_to_string(file)?, "kid": alg, "alg": alg }))
}
