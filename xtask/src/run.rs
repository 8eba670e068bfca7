//! `cargo xtask test`: every check and test, in the order in which they fail fastest.

use std::{env, process::Command, thread, time::Instant};

use anyhow::{Context, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::packages;

/// Says how many tests of a program run at once.
const THREADS: &str = "RUST_TEST_THREADS";

/// The steps, each a name and the arguments of cargo.
const STEPS: &[(&str, &[&str])] = &[
    ("formatting", &["fmt", "--all", "--check"]),
    (
        "lints",
        &["clippy", "--quiet", "--workspace", "--all-targets", "--all-features", "--", "--deny", "warnings"],
    ),
    // All features: with them come the tests that need a browser, a database server and the README.
    ("tests", &["test", "--quiet", "--workspace", "--all-features"]),
];

/// Installs what the tests use beside the project itself, so that `cargo test` can run one of them alone.
pub(crate) fn install() -> anyhow::Result<()> {
    packages::install(packages::FOR_TESTS)?;
    packages::build_peers()
}

/// Installs the peers and runs the steps; stops at the first that fails.
pub(crate) fn test() -> anyhow::Result<()> {
    install()?;
    let began = Instant::now();
    for (name, arguments) in STEPS {
        println!("== {name}: cargo {}", arguments.join(" "));
        cargo(arguments)?;
        println!("== {name}: done after {} s", began.elapsed().as_secs());
    }
    Ok(())
}

/// Lets whatever is started from now on open as many files as it may: tests hold thousands of connections, and many a
/// system allows a thousand at first.
pub(crate) fn open_many_files() -> anyhow::Result<()> {
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files })
        .context("cannot raise the limit of open files")
}

/// Runs the cargo that runs this.
pub(crate) fn cargo(arguments: &[&str]) -> anyhow::Result<()> {
    cargo_with(arguments, &[])
}

/// The same, with more in its environment.
pub(crate) fn cargo_with(arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<()> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    if env::var_os(THREADS).is_none() {
        // Most of what the tests do is wait for other processes.
        let cores = thread::available_parallelism().map_or(2, usize::from);
        command.env(THREADS, (2 * cores).to_string());
    }
    let status =
        command.args(arguments).envs(environment.iter().copied()).status().context("cannot run cargo")?;
    if !status.success() {
        bail!("cargo {} failed", arguments.join(" "));
    }
    Ok(())
}
