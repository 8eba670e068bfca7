//! One bash session, as a reader's terminal is.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
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
    errors: PathBuf,
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
        // Apart from the output, where curl's progress meter would come between the lines.
        let errors = folder.join("errors");
        writeln!(input, "exec 2>{}", errors.display()).unwrap();
        Self { child, input, lines, errors }
    }

    /// What went to standard error so far.
    pub(crate) fn errors(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default()
    }

    /// Runs commands; what the last of them exits with, and all that they print to standard output.
    pub(crate) fn run(&mut self, commands: &str) -> (i32, String) {
        let end = unique("end-of-block-");
        writeln!(self.input, "{commands}\nprintf '\\n%s %s\\n' {end} $?").unwrap();
        let mut output = String::new();
        loop {
            let line = self.lines.recv_timeout(DEADLINE);
            let Ok(line) = line else { panic!("no end of\n{commands}\n{output}\n{}", self.errors()) };
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
