//! Our provider with clients that nobody here wrote. Each program runs its cases and says `ok` for each.

use std::{path::Path, process::Stdio};

use tokio::process::Command;

use crate::support::{Options, Portcullis, tls};

/// The name in the certificate that clients show: the development authority vouches for no other domain.
const CLIENT_NAME: &str = "client.localhost";

/// Runs a program of `target/peers` against an instance of its own; the names of the cases that went well.
async fn run(program: &str, arguments: &[&str], folder: &str) -> Vec<String> {
    run_against(&Portcullis::dev(), program, arguments, folder).await
}

/// The same against an instance that is there.
async fn run_against(gate: &Portcullis, program: &str, arguments: &[&str], folder: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers").join(folder);
    let own = root.join(program);
    let identity = tls::Authority::development(gate).issue(&[CLIENT_NAME], |_| {});
    let output = Command::new(if own.exists() { own } else { program.into() })
        .args(arguments)
        .current_dir(&root)
        .envs(gate.variables())
        .env("NODE_EXTRA_CA_CERTS", gate.authority())
        .env("CALLBACK", format!("http://localhost:{}/callback", gate.port(9080)))
        .env("CLIENT_CERTIFICATE", identity.chain_pem())
        .env("CLIENT_KEY", identity.key_pem())
        .env("CLIENT_NAME", CLIENT_NAME)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("`cargo xtask install` installs it");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let wrong = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{wrong}");
    said.lines().filter_map(|line| line.strip_prefix("ok ")).map(str::to_owned).collect()
}

#[tokio::test]
async fn openid_client_can_do_everything_it_knows() {
    let done = run("node", &["openid-client.mjs"], "oauth-clients").await;
    assert_eq!(done.len(), 15, "{done:?}");
}

#[tokio::test]
async fn auth0s_and_oktas_libraries_take_us_for_auth0() {
    let done = run("node", &["auth0.mjs"], "oauth-clients").await;
    assert_eq!(done.len(), 6, "{done:?}");
}

#[tokio::test]
async fn auth0s_management_client_takes_us_for_auth0() {
    let done = run("node", &["management.mjs"], "oauth-clients").await;
    assert_eq!(done.len(), 14, "{done:?}");
}

/// Two of the things that it deploys are there already, from a directory of the same kind.
#[tokio::test]
async fn auth0s_deploy_cli_takes_us_for_auth0() {
    let tenant = "resourceServers: [{name: Orders, identifier: 'https://orders.example/', scopes: [{value: 'read:orders'}]}]\n\
                  clients: [{name: Shop, app_type: regular_web, callbacks: ['https://shop.example/callback']}]\n";
    let gate = Portcullis::start(Options { tenant: Some(tenant.to_owned()), ..Options::default() });
    let done = run_against(&gate, "node", &["deploy.mjs"], "oauth-clients").await;
    assert_eq!(done, ["import", "export"]);
}

#[tokio::test]
async fn an_application_behind_express_openid_connect_logs_in_and_is_told_of_logouts() {
    let done = run("node", &["express.mjs"], "oauth-clients").await;
    assert_eq!(done.len(), 4, "{done:?}");
}

#[tokio::test]
async fn authlib_logs_in_and_authenticates_in_its_ways() {
    let done = run("venv/bin/python", &["client.py"], "authlib").await;
    assert_eq!(done.len(), 4, "{done:?}");
}
