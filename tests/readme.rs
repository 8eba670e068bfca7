//! The README keeps what it promises: its commands are run as they stand, and what it shows must come.
//!
//! Every `sh` block is run, in order, in one bash session; the `text` block after it holds lines that must be in the
//! output, in that order, with `...` for anything. `Open <URL>` is done by a browser without JavaScript that logs in
//! where it is asked to, and the `text` block after it is about the page. No other kind of block is allowed, so that
//! nothing in the README goes untested.
//!
//! Two things differ from what a reader does. `cargo run --release -- dev` is the binary under test, started by the
//! harness after its command line was checked, and `cargo xtask test` is not run but looked up. And since other tests use
//! the same ports at the same time, `dev` runs with a port offset, which is added to the README's ports, and to nothing
//! else, before anything is run or compared.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, as tests do"
)]

mod support;

#[path = "readme/markdown.rs"]
mod markdown;
#[path = "readme/shell.rs"]
mod shell;

use std::process::Command;

use self::{
    markdown::{Step, first_missing},
    shell::Shell,
};
use support::{Browser, Options, Portcullis};

const README: &str = include_str!("../README.md");

/// How the README starts the process, and how it runs all tests.
const START: &str = "cargo run --release -- dev";
const TESTS: &str = "cargo xtask test";

#[tokio::test]
async fn every_command_of_the_readme_does_what_it_shows() {
    let gate = Portcullis::start(Options { real_clock: true, ..Options::default() });
    // The README's folder is `.portcullis`, the harness's has another name.
    std::os::unix::fs::symlink(gate.state(), gate.folder().join(".portcullis")).unwrap();
    let readme = markdown::move_ports(README, |port| gate.port(port));
    let mut shell = Shell::start(gate.folder());
    let mut browser = Browser::new();
    let mut shown = String::new();
    for (line, step) in markdown::steps(&readme) {
        match step {
            Step::Run(START | TESTS) => {}
            Step::Run(commands) => {
                let (status, output) = shell.run(commands);
                assert_eq!(status, 0, "README.md:{line}: failed\n{output}\n{}", shell.errors());
                shown = output;
            }
            Step::Open(url) => {
                let page = browser.open(url).await;
                let page = match page.has_id("login-title") {
                    true => {
                        let (user, password) = (gate.variable("DEMO_USER"), gate.variable("DEMO_PASSWORD"));
                        browser.log_in(&page, &user, &password).await
                    }
                    false => page,
                };
                assert_eq!(page.status(), 200, "README.md:{line}: {} {}", page.url, page.response.text());
                shown = page.response.text();
            }
            Step::Expect(lines) => {
                if let Some(missing) = first_missing(lines, &shown) {
                    panic!("README.md:{line}: {missing:?} did not come; what came is\n{shown}");
                }
            }
        }
    }
}

#[test]
fn the_readmes_first_command_is_one_the_binary_knows() {
    let blocks = markdown::steps(README).into_iter().map(|(_, step)| step);
    let commands: Vec<&str> = blocks
        .filter_map(|step| if let Step::Run(commands) = step { Some(commands) } else { None })
        .collect();
    assert_eq!(commands.first(), Some(&START));
    assert!(commands.contains(&TESTS));
    let arguments = START.split_once(" -- ").unwrap().1;
    let status = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(arguments.split(' '))
        .arg("--help")
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    assert!(include_str!("../.cargo/config.toml").contains("xtask = "));
    assert!(include_str!("../xtask/src/main.rs").contains("[\"test\"]"));
}

#[test]
fn the_vendors_public_key_is_not_in_the_readme() {
    assert!(!README.contains("edd1c9f034335f136f87ad84b625c8f1"));
}
