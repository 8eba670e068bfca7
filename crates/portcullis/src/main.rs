//! The binary: command line, configuration file, start-up order, signals. The only crate that knows all others.
//!
//! [`cli`] reads the command line, [`config`] the file, [`start`] builds the process from it and runs it; [`dev`] fills
//! the file in for one machine. Exit codes: 0 done, 1 the work failed, 2 wrong usage.

mod admin;
mod cli;
mod config;
mod configuration;
mod dev;
mod directory;
mod gate;
mod identity;
mod log;
mod metrics;
mod outbound;
mod process;
mod reseal;
mod revocations;
mod serve;
mod services;
mod start;
mod tls;
mod token;
mod upkeep;

use std::{io::Write, path::Path, process::ExitCode};

use anyhow::Context;
use clap::Parser;

use crate::{
    cli::{Cli, Command},
    config::Config,
};

#[cfg(not(feature = "count-allocations"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(feature = "count-allocations")]
#[global_allocator]
static ALLOCATOR: allocations::Counting<mimalloc::MiMalloc> = allocations::Counting(mimalloc::MiMalloc);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    if matches!(cli.command, Command::Dev(_) | Command::Run(_)) {
        process::settle_allocator();
    }
    let done = match cli.command {
        Command::Dev(options) => dev::run(&options),
        Command::Run(file) => run(&file.config),
        Command::Check(file) => check(&file.config),
        Command::Reseal(file) => reseal(&file.config),
        Command::Tenant(cli::Tenant::Export(options)) => directory::export(&options),
        Command::Jose(command) => token::run(&command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{}", line(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(file: &Path) -> anyhow::Result<()> {
    let config = Config::load(file)?;
    log::start(&config.log);
    process::harden(true);
    start::run(start::Plan::production(config))
}

fn check(file: &Path) -> anyhow::Result<()> {
    let config = Config::load(file)?;
    start::check(config)?;
    writeln!(std::io::stdout(), "{}: ok", file.display()).context("cannot write to standard output")
}

fn reseal(file: &Path) -> anyhow::Result<()> {
    let config = Config::load(file)?;
    process::harden(true);
    reseal::run(config)
}

/// An error as what is printed: the problems of a configuration file a line each, anything else on one line.
fn line(error: &anyhow::Error) -> String {
    match error.downcast_ref::<config::Rejected>() {
        Some(rejected) => rejected.to_string(),
        None => format!("portcullis: {}", format!("{error:#}").replace('\n', " ")),
    }
}
