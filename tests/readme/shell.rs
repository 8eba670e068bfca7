//! One bash session, as a reader's terminal is.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
};

use crate::support::{DEADLINE, unique};

/// The session. It ends when it is dropped.
pub(crate) struct Shell {
    child: Child,
    input: ChildStdin,
    lines: mpsc::Receiver<String>,
}

impl Shell {
    /// A new one in `folder`.
    pub(crate) fn start(folder: &Path) -> Self {
        let mut child = Command::new("bash")
            .args(["--norc", "--noprofile"])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let lines = output.split(b'\n').map_while(Result::ok);
            lines
                .map(|line| String::from_utf8_lossy(&line).into_owned())
                .try_for_each(|line| sender.send(line))
        });
        let mut input = child.stdin.take().unwrap();
        writeln!(input, "exec 2>&1").unwrap();
        Self { child, input, lines }
    }

    /// Runs commands; what the last of them exits with, and all that they print.
    pub(crate) fn run(&mut self, commands: &str) -> (i32, String) {
        let end = unique("end-of-block-");
        writeln!(self.input, "{commands}\nprintf '\\n%s %s\\n' {end} $?").unwrap();
        let mut output = String::new();
        loop {
            let line = self.lines.recv_timeout(DEADLINE);
            let Ok(line) = line else { panic!("the commands do not end:\n{commands}\n{output}") };
            if let Some(status) = line.strip_prefix(&end) {
                return (status.trim().parse().unwrap(), output);
            }
            output.push_str(&line);
            output.push('\n');
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
