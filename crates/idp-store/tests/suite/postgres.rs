//! A PostgreSQL server of one's own, from the system's packages, stopped when the test ends.

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use base::Secret;
use loopback::Reserved;
use tempfile::TempDir;

pub(crate) struct Server {
    process: Child,
    reserved: Reserved,
    databases: AtomicU32,
    programs: PathBuf,
    _folder: TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        let programs = programs();
        let folder = TempDir::new().unwrap();
        let user = unprivileged(folder.path());
        let data = folder.path().join("data");
        let run = |program: &str| command(&programs.join(program), user.as_ref());
        let made = run("initdb")
            .args(["--auth=trust", "--username=test", "--encoding=UTF8", "--no-sync", "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .status();
        assert!(made.unwrap().success(), "initdb failed");
        let reserved = Reserved::any().unwrap();
        let process = run("postgres")
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=127.0.0.1", "-c", &format!("port={}", reserved.port()), "-c"])
            .arg(format!("unix_socket_directories={}", folder.path().display()))
            .args(["-c", "fsync=off", "-c", "max_connections=200"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { process, reserved, databases: AtomicU32::new(0), programs, _folder: folder };
        server.wait();
        server
    }

    /// The URL of a new, empty database.
    pub(crate) fn database(&self) -> Secret<String> {
        let name = format!("world{}", self.databases.fetch_add(1, Ordering::Relaxed));
        assert!(self.sql(&format!("CREATE DATABASE {name}")), "{name} could not be made");
        Secret::new(format!("postgres://test@127.0.0.1:{}/{name}", self.reserved.port()))
    }

    fn wait(&self) {
        for _ in 0..200 {
            if self.sql("SELECT 1") {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("PostgreSQL did not start");
    }

    fn sql(&self, text: &str) -> bool {
        Command::new(self.programs.join("psql"))
            .args([
                "-h",
                "127.0.0.1",
                "-U",
                "test",
                "-d",
                "postgres",
                "-qc",
                text,
                "-p",
                &self.reserved.port().to_string(),
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGINT: end connections, then stop. The process was started here, and its id is still its own.
        let _ = Command::new("kill").args(["-INT", &self.process.id().to_string()]).status();
        let _ = self.process.wait();
    }
}

fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    let mut found: Vec<PathBuf> = versions.flatten().map(|version| version.path().join("bin")).collect();
    found.sort();
    found.pop().expect("PostgreSQL is installed")
}

/// PostgreSQL refuses to run as root: then the user that its package made, who also gets the folder.
fn unprivileged(folder: &Path) -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("the user postgres");
    let numbers: Vec<u32> = line.split(':').skip(2).take(2).map(|number| number.parse().unwrap()).collect();
    chown(folder, Some(numbers[0]), Some(numbers[1])).unwrap();
    Some((numbers[0], numbers[1]))
}

fn command(program: &Path, user: Option<&(u32, u32)>) -> Command {
    match user {
        None => Command::new(program),
        Some((uid, gid)) => {
            let mut command = Command::new("setpriv");
            command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()]);
            command.arg(program).current_dir("/");
            command
        }
    }
}
