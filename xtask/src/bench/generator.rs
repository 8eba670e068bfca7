//! The load generator (`bench/load`), told what to do.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, bail};
use serde_json::Value;

use super::rows::Figures;

const BINARY: &str = "target/release/load";

/// A generator that runs; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// What one did.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) figures: Figures,
    pub(crate) first_failure: Option<String>,
}

/// Starts one and waits until it has begun: warm connections, or all idle ones open.
pub(crate) fn start(plan: &Value) -> anyhow::Result<Running> {
    start_at(plan, 0)
}

/// Starts one whose niceness is raised by so much.
pub(crate) fn start_at(plan: &Value, niceness: u32) -> anyhow::Result<Running> {
    let mut command = if niceness == 0 {
        Command::new(BINARY)
    } else {
        let mut command = Command::new("nice");
        command.args(["-n", &niceness.to_string(), BINARY]);
        command
    };
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .context("cannot start the load generator")?;
    let mut input = child.stdin.take().context("no input")?;
    writeln!(input, "{plan}")?;
    let output = BufReader::new(child.stdout.take().context("no output")?);
    let mut running = Running { child, input: Some(input), output };
    if running.line()? != "begin" {
        bail!("the load generator did not begin with {plan}");
    }
    Ok(running)
}

/// Loads, and fails when one request did.
pub(crate) fn load(plan: &Value) -> anyhow::Result<Figures> {
    let outcome = start(plan)?.finish()?;
    if let Some(failure) = outcome.first_failure {
        bail!("requests failed: {failure}");
    }
    Ok(outcome.figures)
}

impl Running {
    /// Waits for the end of a load.
    pub(crate) fn finish(mut self) -> anyhow::Result<Outcome> {
        let line = self.line()?;
        let report: Value = serde_json::from_str(&line).context("the load generator failed")?;
        let figures = report.as_object().context("no report")?.iter();
        Ok(Outcome {
            figures: figures.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect(),
            first_failure: report.get("first_failure").and_then(Value::as_str).map(str::to_owned),
        })
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The end of its input ends one that only holds connections or hashes; a load ends in time by itself.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
