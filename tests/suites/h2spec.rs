//! T24: h2spec, every case of RFC 9113 (as RFC 7540) and RFC 7541 that it has, in its strict mode.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::json;

use crate::support::Portcullis;

/// Cases of version 2.2.1 with `--strict`.
const CASES: usize = 146;

/// Where `cargo xtask test` builds it.
fn program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers/h2spec")
}

/// A gate whose every path leads to the echo upstream.
async fn gate() -> Portcullis {
    let gate = Portcullis::dev();
    let upstream = json!({ "nodes": { format!("127.0.0.1:{}", gate.port(9480)): 1 } });
    let uri = "/anything*";
    gate.admin().set("routes/h2spec", &json!({ "uri": uri, "upstream": upstream })).await;
    gate
}

async fn run(gate: &Portcullis, port: u16, arguments: &'static [&'static str]) -> Report {
    let port = gate.port(port).to_string();
    let output = tokio::task::spawn_blocking(move || {
        Command::new(program())
            .args(["--strict", "--host", "127.0.0.1", "--port", &port, "--path", "/anything"])
            // Seconds that a case waits for an answer: a debug build may share its cores with a compiler.
            .args(["--timeout", "10"])
            .args(arguments)
            .output()
            .expect("cannot run h2spec: `cargo xtask test` builds it")
    });
    Report::of(&output.await.unwrap())
}

/// What h2spec said at its end.
#[derive(Debug)]
struct Report {
    tests: usize,
    passed: usize,
    /// Titles of the cases that failed, in order.
    failed: Vec<String>,
    text: String,
}

impl Report {
    fn of(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let summary = text.lines().rfind(|line| line.contains(" tests, ")).unwrap_or_default();
        let number = |word: &str| {
            let part = summary.split(", ").find(|part| part.ends_with(word));
            part.and_then(|part| part.split(' ').next()).and_then(|number| number.parse().ok()).unwrap_or(0)
        };
        // The cases that failed are told once more after the last run, each behind a cross.
        let failures = text.split_once("Failures:").map_or("", |(_, rest)| rest);
        let failed = failures
            .lines()
            .filter_map(|line| line.trim().strip_prefix("× "))
            .map(|title| title.split_once(": ").map_or(title, |(_, title)| title).to_owned())
            .collect();
        Self { tests: number("tests"), passed: number("passed"), failed, text }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t24_h2spec_passes_in_strict_mode_over_tls() {
    let gate = gate().await;
    let report = run(&gate, 9443, &["--tls", "--insecure"]).await;
    assert_eq!((report.tests, report.passed), (CASES, CASES), "{}", report.text);
}

/// In the clear the same port speaks HTTP/1.1, so that a preface which is none is a malformed request of HTTP/1.1: a 400
/// and a close, where h2spec waits for GOAWAY or a close.
#[tokio::test(flavor = "multi_thread")]
async fn t24_h2spec_passes_in_strict_mode_in_the_clear_but_for_a_preface_that_is_none() {
    let gate = gate().await;
    let report = run(&gate, 9080, &[]).await;
    assert_eq!(report.failed, ["Sends invalid connection preface"], "{}", report.text);
    assert_eq!((report.tests, report.passed), (CASES, CASES - 1), "{}", report.text);
}
