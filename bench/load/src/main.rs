//! The benchmark's load generator. A plan in JSON comes on standard input, one line; what was measured leaves as JSON on
//! standard output. One thread, so that what it takes from a shared machine is the same for every proxy.
//!
//! Two ways to load: a closed loop, where each connection sends its next request when it has its last answer (for
//! throughput and cost), and a fixed rate, where requests are due at instants that do not depend on answers and each is
//! timed from the instant it was due (for latency: no coordinated omission). Three other ways to be a burden: connections
//! that only stay open, threads that hash passwords, and nothing.

mod burn;
mod connect;
mod histogram;
mod http1;
mod http2;
mod pace;
mod plan;
mod run;
mod steps;
mod watch;

use std::{
    io::{self, Read, Write},
    process::ExitCode,
};

use anyhow::Context;

use self::plan::{Mode, Plan};

fn main() -> ExitCode {
    match perform() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform() -> anyhow::Result<()> {
    let mut line = String::new();
    io::stdin().read_line(&mut line).context("cannot read the plan")?;
    let plan: Plan = serde_json::from_str(&line).context("the plan is not understood")?;
    if plan.mode == Mode::Burn {
        return burn::burn(plan.threads);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        match plan.mode {
            Mode::Idle => run::idle(plan).await,
            _ => run::load(plan).await,
        }
    })
}

/// Tells whoever started this that it has begun, or how it ended.
fn say(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).context("nobody listens")
}

/// Waits until standard input ends.
fn until_released() {
    let _ = io::stdin().read_to_end(&mut Vec::new());
}
