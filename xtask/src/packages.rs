//! Programs that the tests and benchmarks use as peers: Debian packages, and what is built from source.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, bail};

/// A package, and a file that tells it is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Package {
    name: &'static str,
    proof: &'static str,
}

/// Peers of the tests: a browser, a database server, a Redis, other proxies, and what makes a disk fail.
pub(crate) const FOR_TESTS: &[Package] = &[
    Package { name: "curl", proof: "/usr/bin/curl" },
    Package { name: "chromium", proof: "/usr/bin/chromium" },
    Package { name: "chromium-driver", proof: "/usr/bin/chromedriver" },
    Package { name: "postgresql", proof: "/usr/lib/postgresql" },
    Package { name: "nodejs", proof: "/usr/bin/node" },
    Package { name: "npm", proof: "/usr/bin/npm" },
    Package { name: "python3-venv", proof: "/usr/share/doc/python3-venv" },
    Package { name: "redis-server", proof: "/usr/bin/redis-server" },
    Package { name: "strace", proof: "/usr/bin/strace" },
    Package { name: "nginx-light", proof: "/usr/sbin/nginx" },
    Package { name: "haproxy", proof: "/usr/sbin/haproxy" },
    Package { name: "valgrind", proof: "/usr/bin/valgrind" },
];

/// Rivals and the load generator of the benchmarks. Envoy comes from PyPI.
pub(crate) const FOR_BENCHMARKS: &[Package] = &[
    Package { name: "nginx-light", proof: "/usr/sbin/nginx" },
    Package { name: "haproxy", proof: "/usr/sbin/haproxy" },
    Package { name: "wrk", proof: "/usr/bin/wrk" },
    Package { name: "curl", proof: "/usr/bin/curl" },
    Package { name: "openssl", proof: "/usr/bin/openssl" },
    Package { name: "strace", proof: "/usr/bin/strace" },
    Package { name: "python3-venv", proof: "/usr/share/doc/python3-venv" },
];

/// Installs those of `packages` that are missing.
pub(crate) fn install(packages: &[Package]) -> anyhow::Result<()> {
    let missing: Vec<&str> = packages
        .iter()
        .filter(|package| !Path::new(package.proof).exists())
        .map(|package| package.name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing {}", missing.join(", "));
    apt(&["update", "-qq"])?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(&missing);
    apt(&arguments)
}

/// Builds and installs what Debian does not have, in versions that the project pins.
pub(crate) fn build_peers() -> anyhow::Result<()> {
    let peers = std::env::current_dir()?.join("target/peers");
    build_h2spec(&peers.join("h2spec"))?;
    install_from_npm("oidc-provider", &["server.mjs"], &peers)?;
    let clients =
        ["browser.mjs", "openid-client.mjs", "auth0.mjs", "management.mjs", "express.mjs", "deploy.mjs"];
    install_from_npm("oauth-clients", &clients, &peers)?;
    install_authlib(&peers.join("authlib"))
}

fn build_h2spec(binary: &Path) -> anyhow::Result<()> {
    if binary.exists() {
        return Ok(());
    }
    let works =
        |go: &str| Command::new(go).arg("version").output().is_ok_and(|output| output.status.success());
    let known = ["go", "/usr/local/go/bin/go"].into_iter().find(|go| works(go));
    let go = match known {
        Some(go) => go,
        None => {
            install(&[Package { name: "golang-go", proof: "/usr/bin/go" }])?;
            "/usr/bin/go"
        }
    };
    let mut build = Command::new(go);
    build.args(["build", "-o"]).arg(binary).arg("github.com/summerwind/h2spec/cmd/h2spec");
    run(build.current_dir("tests/peers/h2spec"))
}

/// Installs what the lock file of `tests/peers/NAME` names, and copies the programs that use it.
fn install_from_npm(name: &str, programs: &[&str], peers: &Path) -> anyhow::Result<()> {
    let (folder, source) = (peers.join(name), Path::new("tests/peers").join(name));
    fs::create_dir_all(&folder)?;
    let installed = folder.join("package-lock.json");
    let current = fs::read(source.join("package-lock.json"))?;
    for program in programs {
        fs::copy(source.join(program), folder.join(program))?;
    }
    if fs::read(&installed).is_ok_and(|text| text == current) {
        return Ok(());
    }
    fs::copy(source.join("package.json"), folder.join("package.json"))?;
    fs::write(&installed, current)?;
    let mut npm = Command::new("npm");
    let done = run(npm.args(["ci", "--silent", "--no-audit", "--no-fund"]).current_dir(&folder));
    if done.is_err() {
        // Or the next run would take it for installed.
        fs::remove_file(&installed)?;
    }
    done
}

/// Python's Authlib in an environment of its own.
fn install_authlib(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let (installed, source) = (folder.join("requirements.txt"), Path::new("tests/peers/authlib"));
    fs::copy(source.join("client.py"), folder.join("client.py"))?;
    let current = fs::read(source.join("requirements.txt"))?;
    if fs::read(&installed).is_ok_and(|text| text == current) {
        return Ok(());
    }
    run(Command::new("python3").args(["-m", "venv", "venv"]).current_dir(folder))?;
    let wanted = fs::canonicalize(source.join("requirements.txt"))?;
    let mut pip = Command::new(folder.join("venv/bin/pip"));
    run(pip.args(["install", "--quiet", "--no-deps", "-r"]).arg(wanted).current_dir(folder))?;
    Ok(fs::write(&installed, current)?)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    println!("{command:?}");
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed");
    }
    Ok(())
}

fn apt(arguments: &[&str]) -> anyhow::Result<()> {
    let is_root =
        Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    let mut command = if is_root { Command::new("apt-get") } else { Command::new("sudo") };
    if !is_root {
        command.arg("apt-get");
    }
    let status = command
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .context("cannot run apt-get: install the packages by hand")?;
    if !status.success() {
        bail!("apt-get {} failed", arguments.join(" "));
    }
    Ok(())
}
