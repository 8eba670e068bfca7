//! Our provider with clients that nobody here wrote. Each program runs its cases and says `ok` for each.

use std::{path::Path, process::Stdio};

use tokio::process::Command;

use crate::support::Portcullis;

/// Runs a program of `target/peers` against an instance of its own; the names of the cases that went well.
async fn run(program: &str, arguments: &[&str], folder: &str) -> Vec<String> {
    let gate = Portcullis::dev();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers").join(folder);
    let own = root.join(program);
    let output = Command::new(if own.exists() { own } else { program.into() })
        .args(arguments)
        .current_dir(&root)
        .envs(gate.variables())
        .env("NODE_EXTRA_CA_CERTS", gate.authority())
        .env("CALLBACK", format!("http://localhost:{}/callback", gate.port(9080)))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("`cargo xtask test` installs it");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let wrong = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{wrong}");
    said.lines().filter_map(|line| line.strip_prefix("ok ")).map(str::to_owned).collect()
}

#[tokio::test]
#[ignore = "its program has not been run against the provider yet"]
async fn openid_client_can_do_everything_it_knows() {
    let done = run("node", &["openid-client.mjs"], "oauth-clients").await;
    assert_eq!(done.len(), 13, "{done:?}");
}

#[tokio::test]
#[ignore = "its program has not been run against the provider yet"]
async fn auth0_s_and_okta_s_libraries_take_us_for_auth0() {
    let done = run("node", &["auth0.mjs"], "oauth-clients").await;
    assert_eq!(done.len(), 6, "{done:?}");
}

#[tokio::test]
#[ignore = "its program has not been run against the provider yet"]
async fn authlib_logs_in_and_authenticates_in_its_ways() {
    let done = run("venv/bin/python", &["client.py"], "authlib").await;
    assert_eq!(done.len(), 3, "{done:?}");
}
