//! `cargo xtask profile`: records what the gateway executes under load, for which release builds are optimised
//! (profile-guided optimisation; `.cargo/rustc.sh` hands the profile to the compiler).
//!
//! Only what requests execute is kept. Everything else is compiled as if there were no profile: what was not executed
//! here (other plugins, the identity provider's pages) is not what nobody needs.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use super::{
    alone, folder, generator, portcullis, ports, rivals,
    scenario::{Scenario, Shape},
};
use crate::{packages, run::cargo_with};

/// What the compiler reads, and what that was recorded from.
const PROFILE: &str = ".cargo/release.profdata";
const ORIGIN: &str = ".cargo/release.profile.txt";
/// Where the recording build is made.
const TARGET: &str = "target/profile";
/// Each scenario in each shape, seconds. Some tens of thousands of requests.
const SECONDS: f64 = 1.5;
/// A function of which some part was executed this often is one that requests execute.
const OFTEN: u64 = 1_000;

/// Builds a gateway that counts what it executes, loads it with every scenario, and writes what it counted.
pub(crate) fn run() -> anyhow::Result<()> {
    let tool = tool()?;
    packages::install(packages::FOR_BENCHMARKS)?;
    let folder = folder()?;
    let raw = folder.join("profile");
    let _ = fs::remove_dir_all(&raw);
    cargo_with(&["build", "--release", "--package", "load"], &[])?;
    let recording = format!("-Cprofile-generate={}", raw.display());
    cargo_with(
        &["build", "--release", "--package", "portcullis", "--target-dir", TARGET],
        &[("CARGO_ENCODED_RUSTFLAGS", &recording)],
    )?;
    // Build scripts and procedural macros were built so as well, and have recorded themselves.
    let _ = fs::remove_dir_all(&raw);
    load(&folder)?;
    let functions = merge(&tool, &raw)?;
    let text = fs::read_to_string("Cargo.toml").context("cannot read Cargo.toml")?;
    fs::write(ORIGIN, origin(&text)?).with_context(|| format!("cannot write {ORIGIN}"))?;
    println!("wrote {PROFILE}, {functions} functions");
    // Cargo does not know of the profile, and would not build again for it.
    cargo_with(&["clean", "--release"], &[])
}

/// Every scenario, and plain and bearer in every shape of 64 connections; each for as long as the others.
fn load(folder: &Path) -> anyhow::Result<()> {
    rivals::certificate(folder)?;
    let _target = rivals::target(folder, &mut Vec::new())?;
    let binary = Path::new(TARGET).join("release/portcullis");
    let gate = portcullis::start(&binary, folder, ports::OFFSET)?;
    let credentials = portcullis::configure(&gate, folder, true, &mut Vec::new())?;
    let bench = alone(gate, credentials, folder)?;
    for shape in Shape::all().into_iter().filter(|shape| shape.connections == 64) {
        for subject in Scenario::ALL.into_iter().flat_map(|scenario| bench.table(scenario, shape)) {
            let port = subject.port(shape).context("a subject without port")?;
            println!("{}: {}", subject.scenario.title(), shape.title());
            generator::load(&bench.plan(&subject, shape, port, SECONDS)?)?;
        }
    }
    // Told to stop, it writes what it has counted.
    drop(bench);
    Ok(())
}

/// Puts what was recorded together and keeps what requests execute. Tells how many functions that is.
fn merge(tool: &Path, raw: &Path) -> anyhow::Result<usize> {
    let text = raw.join("all.txt");
    let records: Vec<PathBuf> = fs::read_dir(raw)
        .with_context(|| format!("nothing was recorded in {}", raw.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    profdata(Command::new(tool).args(["merge", "--sparse", "--text", "--output"]).arg(&text).args(&records))?;
    let (often, functions) = executed_often(&fs::read_to_string(&text)?)?;
    fs::write(&text, often)?;
    profdata(Command::new(tool).args(["merge", "--sparse", "--output", PROFILE]).arg(&text))?;
    Ok(functions)
}

/// The functions of a profile in LLVM's text format of which some counter is high enough, and how many they are. Each is
/// a block of lines: name, hash, number of counters, counters, and what follows, with a comment before each part.
fn executed_often(profile: &str) -> anyhow::Result<(String, usize)> {
    let (head, functions) = profile.split_once(":ir\n").context("not a profile of LLVM's own")?;
    let (mut kept, mut count) = (format!("{head}:ir\n"), 0);
    for block in functions.split("\n\n") {
        let counters = block
            .lines()
            .skip_while(|line| *line != "# Counter Values:")
            .skip(1)
            .map_while(|line| line.parse::<u64>().ok());
        if counters.max().is_some_and(|most| most >= OFTEN) {
            let _ = writeln!(kept, "{}\n", block.trim_end());
            count += 1;
        }
    }
    Ok((kept, count))
}

/// LLVM's tool of the compiler in use.
fn tool() -> anyhow::Result<PathBuf> {
    let said = |arguments: &[&str]| {
        let output = Command::new("rustc").args(arguments).output().context("cannot run rustc")?;
        anyhow::Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let version = said(&["-vV"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc has no host")?;
    let root = PathBuf::from(said(&["--print", "sysroot"])?.trim_end());
    let tool = root.join("lib/rustlib").join(host).join("bin/llvm-profdata");
    if !tool.exists() {
        bail!("{} is not there; `rustup component add llvm-tools` installs it", tool.display());
    }
    Ok(tool)
}

fn profdata(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().context("cannot run llvm-profdata")?;
    if !status.success() {
        bail!("llvm-profdata failed: {status}");
    }
    Ok(())
}

/// What functions are named after, beside their own names: the compiler, the settings of release builds in `Cargo.toml`,
/// whose text this is, and each crate in the binary with its version and features. What changes of that takes functions out
/// of the profile: all of them, or those of a crate and of what depends on it.
fn origin(manifest: &str) -> anyhow::Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let compiler = Command::new("rustc").arg("--version").output().context("cannot run rustc")?;
    let tree = Command::new(cargo)
        .args([
            "tree",
            "--package",
            "portcullis",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--no-dedupe",
        ])
        .args(["--format", "{p} {f}"])
        .output()
        .context("cannot run cargo")?;
    if !tree.status.success() {
        bail!("cargo tree failed: {}", String::from_utf8_lossy(&tree.stderr));
    }
    let tree = String::from_utf8_lossy(&tree.stdout);
    // Crates of the house come with their place on this machine.
    let mut crates: Vec<String> = tree
        .lines()
        .map(|line| match (line.find(" (/"), line.rfind(')')) {
            (Some(from), Some(to)) => line.replace(line.get(from..=to).unwrap_or_default(), ""),
            _ => line.to_owned(),
        })
        .map(|line| line.trim_end().to_owned())
        .collect();
    crates.sort();
    crates.dedup();
    let settings: Vec<&str> = manifest
        .split("\n[")
        .filter(|section| section.starts_with("profile.release"))
        .map(str::trim_end)
        .collect();
    let compiler = String::from_utf8_lossy(&compiler.stdout).into_owned();
    Ok(format!("{}\n[{}\n\n{}\n", compiler.trim_end(), settings.join("\n["), crates.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    // It was recorded there, and functions have other names elsewhere.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    #[test]
    fn the_profile_is_of_the_crates_that_are_built() {
        let read = |file: &str| {
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)).unwrap()
        };
        let recorded = read(ORIGIN);
        let origin = origin(&read("Cargo.toml")).unwrap();
        let new: Vec<&str> =
            origin.lines().filter(|line| !recorded.lines().any(|known| known == *line)).collect();
        assert!(
            recorded == origin,
            "release builds are no longer optimised for their profile, or only in part; `cargo xtask profile` records it \
             anew. New: {new:?}"
        );
    }

    #[test]
    fn functions_that_requests_execute_are_kept() {
        let function = |name: &str, counters: &str| {
            format!("{name}\n# Func Hash:\n7\n# Num Counters:\n2\n# Counter Values:\n{counters}\n\n")
        };
        let often = function("often", "0\n1000");
        let head = "# IR level Instrumentation Flag\n:ir\n";
        let profile = format!("{head}{}{often}{}", function("once", "1\n1"), function("rarely", "999\n0"));
        assert_eq!(executed_often(&profile).unwrap(), (format!("{head}{often}"), 1));
    }
}
