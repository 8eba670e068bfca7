//! A proxy's processes: what they cost.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// Kernel ticks in a second; fixed on Linux for what `/proc` shows.
const TICKS: u64 = 100;

/// A started proxy with its children; stopped when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    child: Child,
}

impl Process {
    /// Starts `command` and waits until `port` of the loopback accepts connections.
    pub(crate) fn start(name: &str, mut command: Command, port: u16) -> anyhow::Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let mut process = Self { name: name.to_owned(), child };
        process.wait_for(port)?;
        Ok(process)
    }

    /// Takes over a child that is ready.
    pub(crate) const fn adopt(name: String, child: Child) -> Self {
        Self { name, child }
    }

    fn wait_for(&mut self, port: u16) -> anyhow::Result<()> {
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at once: {status}", self.name);
            }
            if began.elapsed() > Duration::from_secs(20) {
                bail!("{} does not listen on {port}", self.name);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// CPU time of the process and its children so far, microseconds.
    pub(crate) fn cpu_us(&self) -> u64 {
        let ticks: u64 = self.family().iter().map(|pid| cpu_ticks(*pid)).sum();
        ticks * 1_000_000 / TICKS
    }

    /// Proportional set size of the process and its children, KiB.
    pub(crate) fn pss_kib(&self) -> u64 {
        self.family().iter().map(|pid| kib(&format!("/proc/{pid}/smaps_rollup"), "Pss:")).sum()
    }

    /// The process and its children.
    pub(crate) fn family(&self) -> Vec<u32> {
        let own = self.child.id();
        let mut family = vec![own];
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(pid) = pid.filter(|pid| parent(*pid) == Some(own)) {
                family.push(pid);
            }
        }
        family
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The children of nginx and HAProxy end with their master only when it is asked, not killed.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

/// The fields of `/proc/PID/stat` after the name, which may hold spaces.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split(' ').map(str::to_owned).collect())
}

fn parent(pid: u32) -> Option<u32> {
    stat(pid)?.get(1)?.parse().ok()
}

fn cpu_ticks(pid: u32) -> u64 {
    let field = |fields: &[String], place: usize| {
        fields.get(place).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0)
    };
    stat(pid).map_or(0, |fields| field(&fields, 11) + field(&fields, 12))
}

/// The figure of a line `Name:   123 kB`.
fn kib(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()).and_then(|text| text.parse().ok()).unwrap_or(0)
}
