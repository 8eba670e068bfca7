//! System calls of other processes: by the kernel's own counter where perf may read it, else by strace.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::Context;

/// What counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counter {
    /// The tracepoint `raw_syscalls:sys_enter`: costs nearly nothing.
    Perf,
    /// Stops the process at each call: true counts of a slow run.
    Strace,
}

/// A count that goes on.
#[derive(Debug)]
pub(crate) struct Counting {
    counter: Counter,
    child: Child,
    file: std::path::PathBuf,
}

impl Counter {
    /// perf where it works on this machine.
    pub(crate) fn of_this_machine() -> Self {
        let tried = Command::new("perf")
            .args(["stat", "-e", "raw_syscalls:sys_enter", "true"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if tried.is_ok_and(|status| status.success()) { Self::Perf } else { Self::Strace }
    }

    /// Counts from now on.
    pub(crate) fn start(self, processes: &[u32], folder: &Path) -> anyhow::Result<Counting> {
        let ids: Vec<String> = processes.iter().map(u32::to_string).collect();
        let file = folder.join("syscalls.txt");
        let _ = fs::remove_file(&file);
        let mut command = match self {
            Self::Perf => {
                let mut command = Command::new("perf");
                command.args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", &ids.join(",")]);
                command
            }
            Self::Strace => {
                let mut command = Command::new("strace");
                command.args(["-f", "-c", "-qq"]).args(ids.iter().flat_map(|id| ["-p", id]));
                command
            }
        };
        let child = command
            .arg("-o")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot count system calls")?;
        // Neither tells when it has attached.
        thread::sleep(Duration::from_millis(300));
        Ok(Counting { counter: self, child, file })
    }
}

impl Counting {
    /// All calls since the start.
    pub(crate) fn finish(mut self) -> anyhow::Result<f64> {
        Command::new("kill").args(["-INT", &self.child.id().to_string()]).status()?;
        self.child.wait()?;
        let text = fs::read_to_string(&self.file)?;
        let count = match self.counter {
            Counter::Perf => text.lines().find_map(|line| line.split_once(",,raw_syscalls")?.0.parse().ok()),
            Counter::Strace => strace_total(&text),
        };
        count.with_context(|| format!("no count in {text}"))
    }
}

/// The sum of the calls: `100.00    0.010000           1     10000        12 total`.
fn strace_total(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_the_fourth_column() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n\
                    ------ ----------- ----------- --------- --------- ----------------\n \
                    99.00    0.100000           1     30000           read\n\
                    ------ ----------- ----------- --------- --------- ----------------\n\
                    100.00    0.110000           1     40012        12 total\n";
        assert_eq!(strace_total(text), Some(40_012.0));
    }
}
